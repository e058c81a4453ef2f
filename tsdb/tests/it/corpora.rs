//! Replays the corpora of the fuzz targets.

use std::path::Path;

use crate::{invariants, log_invariants};

fn replay(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        eprintln!("{}", path.display());
        body(&std::fs::read(path).unwrap());
        count += 1;
    }
    assert!(count > 0, "{} is empty", folder.display());
}

#[test]
fn index() {
    replay("tsdb_index", invariants::index);
}

#[test]
fn meta() {
    replay("tsdb_meta", invariants::meta);
}

#[test]
fn tombstones() {
    replay("tsdb_tombstones", invariants::tombstones);
}

#[test]
fn block_chunk() {
    replay("tsdb_block_chunk", invariants::block_chunk);
}

#[test]
fn wal_record() {
    replay("tsdb_wal_record", log_invariants::wal_record);
}

#[test]
fn wal_segment() {
    replay("tsdb_wal_segment", log_invariants::wal_segment);
}

#[test]
fn head_chunks() {
    replay("tsdb_head_chunks", log_invariants::head_chunks);
}

#[test]
fn any_chunk() {
    replay("tsdb_chunk", log_invariants::any_chunk);
}
