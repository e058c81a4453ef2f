//! Replays the corpora of the fuzz targets.

use std::path::Path;

fn replay(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        check(&std::fs::read(path).unwrap());
        count += 1;
    }
    assert!(count > 0, "the corpus is empty");
}

#[test]
fn relabelling() {
    replay("scrape_relabel", |input| crate::invariants::relabelling(&String::from_utf8_lossy(input)));
}

#[test]
fn ingesting() {
    replay("scrape_ingest", crate::ingesting::ingesting);
}

/// Tries inputs near those of the corpus: bytes changed, cut out, doubled or joined with another input, labels and numbers
/// exchanged. The same in every run; `FERULA_MUTATIONS` says how many, for a longer look without a fuzzer.
#[test]
fn ingesting_neighbours_of_the_corpus() {
    let rounds = std::env::var("FERULA_MUTATIONS").map_or(300, |count| count.parse().unwrap());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/scrape_ingest");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let inputs: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below.max(1)
    };
    const WORDS: [&[u8]; 8] =
        [b"\nzz 7\n", b"{x=\"1\"}", b" 1700000000123", b"\xff\xfe\xff", b"NaN", b"# TYPE a gauge\n", b"a 1\n", b"\\n"];
    for round in 0..rounds {
        let mut input = inputs[random(inputs.len())].clone();
        for _ in 0..1 + random(5) {
            let at = random(input.len());
            match random(8) {
                0 => input.truncate(at.max(1)),
                1 => input.extend_from_slice(&inputs[random(inputs.len())]),
                2 => input.insert(at, random(256) as u8),
                3 => input[at] ^= 1 << random(8),
                4 => input[random(3)] = random(256) as u8,
                5 => drop(input.splice(at..at, WORDS[random(WORDS.len())].iter().copied())),
                6 => drop(input.drain(at..(at + random(20)).min(input.len()))),
                _ => input[at] = b"019azAZ{}\"= \n#_"[random(15)],
            }
            if input.len() < 4 {
                input.resize(4, 0);
            }
        }
        println!("round {round}: {:?}", String::from_utf8_lossy(&input));
        crate::ingesting::ingesting(&input);
    }
}
