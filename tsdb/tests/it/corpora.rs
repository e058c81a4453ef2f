//! Replays the corpora of the fuzz targets.

use std::path::Path;

use crate::{invariants, log_invariants};

/// What must hold for any bytes.
type Body = fn(&[u8]);

fn replay(target: &str, body: Body) {
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
fn snapshot() {
    replay("tsdb_snapshot", |data| {
        log_invariants::snapshot(data);
    });
    let good = include_bytes!("../../../fuzz/corpus/tsdb_snapshot/plain");
    assert!(log_invariants::snapshot(good));
    let mut bad = good.to_vec();
    *bad.last_mut().unwrap() ^= 0x80;
    assert!(!log_invariants::snapshot(&bad), "the last text of the metadata is not UTF-8");
}

#[test]
fn any_chunk() {
    replay("tsdb_chunk", log_invariants::any_chunk);
}

/// Tries inputs near those of a corpus: some bytes changed, cut out, doubled or joined with another input. The same in
/// every run; `FERULA_MUTATIONS` says how many for each target, for a longer look without a fuzzer.
#[test]
fn neighbours_of_the_corpora() {
    let rounds = std::env::var("FERULA_MUTATIONS").map_or(300, |count| count.parse().unwrap());
    let targets: [(&str, Body); 4] = [
        ("tsdb_wal_record", log_invariants::wal_record),
        ("tsdb_wal_segment", log_invariants::wal_segment),
        ("tsdb_chunk", log_invariants::any_chunk),
        ("tsdb_head_chunks", log_invariants::head_chunks),
    ];
    for (target, body) in targets {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
        let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let inputs: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
        // A database is opened twice for each head chunk file.
        let rounds = if target == "tsdb_head_chunks" { rounds / 20 } else { rounds };
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as usize % below.max(1)
        };
        for round in 0..rounds {
            let mut input = inputs[random(inputs.len())].clone();
            for _ in 0..1 + random(6) {
                let at = random(input.len());
                match random(6) {
                    0 => input.truncate(at.max(1)),
                    1 => input.extend_from_slice(&inputs[random(inputs.len())]),
                    2 => input.insert(at, random(256) as u8),
                    3 => input[at] = [0, 1, 0x7F, 0x80, 0xFF][random(5)],
                    4 => input[at] ^= 1 << random(8),
                    _ => input[at] = random(256) as u8,
                }
            }
            eprintln!("{target}, round {round}: {input:?}");
            body(&input);
        }
    }
}
