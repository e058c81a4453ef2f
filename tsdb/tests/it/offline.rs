//! What needs no running database: checking a directory, and importing samples.

use std::path::Path;
use std::sync::Arc;

use ferula_model::{Labels, Sample, Timestamp};
use ferula_tsdb::backfill::Backfill;
use ferula_tsdb::block::{BlockDirectory, BlockDirectoryOptions, BlockOptions, Ulids};
use ferula_tsdb::compact::{CompactionOptions, Retention};
use ferula_tsdb::fs::{Fs, MemFs};
use ferula_tsdb::verify::{Severity, verify};
use ulid::Ulid;

use crate::model::{Bits, Dice, Samples, Series, add_missing, read_block, write_block};

const HOUR: i64 = 3_600_000;

fn new_disk() -> (MemFs, Arc<dyn Fs>) {
    let disk = MemFs::new();
    disk.create_dir(Path::new("data")).unwrap();
    (disk.clone(), Arc::new(disk))
}

fn two_series() -> Series {
    let samples: Samples = (0..300).map(|i| (i * 15_000, Bits::Float((i as f64).to_bits()))).collect();
    ["a", "b"].map(|name| (Labels::from_pairs([("__name__", "m"), ("name", name)]), samples.clone())).into()
}

#[test]
fn a_sound_directory_is_summed_up() {
    let (_, fs) = new_disk();
    write_block(&fs, Ulid::from_parts(1, 1), (0, 2 * HOUR), &two_series()).unwrap();
    let report = verify(&fs, Path::new("data")).unwrap();
    assert_eq!(report.to_string(), "1 blocks, 2 series, 600 samples; 0 log records: sound\n");
    assert_eq!((report.blocks[0].chunks, report.blocks[0].samples), (6, 600));
}

#[test]
fn every_damaged_byte_of_a_block_is_found() {
    let (disk, fs) = new_disk();
    let meta = write_block(&fs, Ulid::from_parts(1, 1), (0, 2 * HOUR), &two_series()).unwrap();
    let folder = Path::new("data").join(meta.ulid.to_string());
    for (name, harmless_max) in [("index", 40), ("chunks/000001", 3), ("tombstones", 0)] {
        let path = folder.join(name);
        let length = fs.read(&path).unwrap().len();
        let mut missed = Vec::new();
        for at in 0..length {
            disk.flip(&path, at, 0x11).unwrap();
            let report = verify(&fs, Path::new("data")).unwrap();
            if report.is_sound() {
                missed.push(at);
            } else {
                let finding = report.findings.iter().find(|finding| finding.severity == Severity::Damage).unwrap();
                assert!(finding.place.starts_with(&folder), "{finding:?}");
            }
            disk.flip(&path, at, 0x11).unwrap();
        }
        assert!(missed.len() <= harmless_max, "{name}: {missed:?} of {length} are more than padding");
    }
}

#[test]
fn strange_folders_and_overlaps_are_notes() {
    let (_, fs) = new_disk();
    write_block(&fs, Ulid::from_parts(1, 1), (0, 2 * HOUR), &two_series()).unwrap();
    write_block(&fs, Ulid::from_parts(2, 1), (0, 2 * HOUR), &two_series()).unwrap();
    fs.create_dir(&Path::new("data").join(format!("{}.tmp-for-creation", Ulid::from_parts(3, 1)))).unwrap();
    let report = verify(&fs, Path::new("data")).unwrap();
    assert!(report.is_sound());
    let text = report.to_string();
    assert!(text.contains("left by a crash") && text.contains("overlaps"), "{text}");
}

#[test]
fn a_cut_log_is_said_to_be_damaged() {
    let (disk, fs) = new_disk();
    fs.create_dir(Path::new("data/wal")).unwrap();
    let file = fs.create(Path::new("data/wal/00000000")).unwrap();
    file.write_at(0, &[1, 0, 200, 9, 9, 9, 9, 1, 2, 3]).unwrap();
    let report = verify(&fs, Path::new("data")).unwrap();
    assert!(!report.is_sound());
    assert!(report.findings[0].place.ends_with("wal/00000000"), "{report}");
    drop(disk);
}

/// Samples in any order and in any number of parts become the same content.
#[test]
fn imported_samples_are_all_there() {
    for (samples_max, seed) in [(1_000_000, 1), (500, 2), (37, 3)] {
        let (_, fs) = new_disk();
        let mut dice = Dice::new(seed);
        let mut backfill = Backfill::new(&fs, Path::new("data"), Ulids::seeded(seed)).samples_max(samples_max);
        let mut model = Series::new();
        for _ in 0..4_000 {
            let series = dice.below(9).to_string();
            let pairs = [("__name__", "imported"), ("series", series.as_str())];
            let time = dice.below(20 * HOUR as u64) as i64 - 5 * HOUR;
            let value = dice.below(1_000) as f64;
            // Of two samples for one moment, only equal ones are promised to be kept.
            let known = model.entry(Labels::from_pairs(pairs)).or_default().entry(time);
            let Bits::Float(bits) = *known.or_insert(Bits::Float(value.to_bits())) else { unreachable!() };
            backfill.add(&pairs, Sample::float(Timestamp(time), f64::from_bits(bits))).unwrap();
        }
        let metas = backfill.finish().unwrap();
        assert!(metas.iter().all(|meta| meta.max_time - meta.min_time <= 2 * HOUR));
        let options = BlockDirectoryOptions {
            compaction: CompactionOptions::for_retention(2 * HOUR, None),
            retention: Retention::default(),
            block: BlockOptions::default(),
        };
        let directory = BlockDirectory::open(&fs, Path::new("data"), options, Ulids::seeded(9)).unwrap();
        assert_eq!(directory.list().len(), metas.len());
        for round in 0.. {
            let mut all = Series::new();
            directory.list().iter().for_each(|block| add_missing(&mut all, &read_block(block)));
            assert!(all == model, "parts of {samples_max}, round {round}");
            assert!(verify(&fs, Path::new("data")).unwrap().is_sound());
            if directory.compact(Timestamp(0)).unwrap().is_none() {
                break;
            }
        }
        assert!(directory.list().len() <= 8, "compaction merged the parts: {}", directory.list().len());
    }
}
