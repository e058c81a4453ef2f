//! Replays the corpora of the fuzz targets.

use std::path::Path;

use crate::invariants::{configurations_end_well, writes_end_well};

fn replay(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("a corpus") {
        check(&std::fs::read(entry.expect("an entry").path()).expect("a file"));
        count += 1;
    }
    assert!(count > 0, "the corpus of {target} is empty");
}

#[test]
fn configurations() {
    replay("config", |bytes| configurations_end_well(&String::from_utf8_lossy(bytes)));
}

#[test]
fn remote_write() {
    replay("remote_write", writes_end_well);
}
