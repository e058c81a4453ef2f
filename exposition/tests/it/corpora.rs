//! Replays the corpora of the fuzz targets.

use std::path::Path;

use ferula_exposition::Format;

use crate::invariants;

fn replay(target: &str, format: Format) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        invariants::body(format, &std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "the corpus of {target} is empty");
}

#[test]
fn exposition_text() {
    replay("exposition_text", Format::Text);
}

#[test]
fn exposition_openmetrics() {
    replay("exposition_openmetrics", Format::OpenMetrics);
}

#[test]
fn exposition_protobuf() {
    replay("exposition_protobuf", Format::Protobuf);
}
