//! Blocks against the model: what was written is read, merging loses nothing and brings nothing back, and a crash at any
//! operation leaves a readable directory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ferula_model::{Columns, Labels, MatchOp, Matcher, TimeRange, Timestamp};
use ferula_tsdb::block::{Block, BlockDirectory, BlockDirectoryOptions, BlockOptions, Ulids};
use ferula_tsdb::compact::{CompactionOptions, Retention, Usage};
use ferula_tsdb::fs::{Crash, Fs, MemFs};
use ulid::Ulid;

use crate::model::{Bits, Dice, Samples, Series, add_missing, read_block, write_block};

/// The length of a block.
const RANGE: i64 = 1_000;

fn options() -> BlockDirectoryOptions {
    BlockDirectoryOptions {
        compaction: CompactionOptions::new(RANGE, 9 * RANGE),
        retention: Retention::default(),
        block: BlockOptions { segment_bytes_max: 2_000 },
    }
}

fn data() -> &'static Path {
    Path::new("data")
}

fn new_disk() -> (MemFs, Arc<dyn Fs>) {
    let disk = MemFs::new();
    disk.create_dir(data()).unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    (disk.clone(), Arc::new(disk))
}

fn open(fs: &Arc<dyn Fs>, seed: u64) -> BlockDirectory {
    BlockDirectory::open(fs, data(), options(), Ulids::seeded(seed)).unwrap()
}

/// Up to six series with samples in `range`, floats, histograms or both.
fn some_series(dice: &mut Dice, range: (i64, i64)) -> Series {
    let mut series = Series::new();
    for i in 0..6u64 {
        if dice.one_in(3) {
            continue;
        }
        let labels = Labels::from_pairs([
            ("__name__", format!("m{}", i % 2)),
            ("i", i.to_string()),
            ("block", range.0.to_string()),
        ]);
        let labels = if dice.one_in(4) { labels } else { labels.without(&["block"]) };
        let step = 1 + dice.below(40) as i64;
        let mut samples = Samples::new();
        let mut time = range.0 + dice.below(200) as i64;
        while time < range.1 {
            let histogram = i >= 4 && (i == 5 || time % 300 < 150);
            let value = dice.below(50);
            samples
                .insert(time, if histogram { Bits::Histogram(value) } else { Bits::Float((value as f64).to_bits()) });
            time += step + dice.below(3) as i64;
        }
        if !samples.is_empty() {
            series.insert(labels, samples);
        }
    }
    series
}

/// All samples of all blocks; where blocks overlap, the earlier one wins.
fn read_all(directory: &BlockDirectory) -> Series {
    let mut all = Series::new();
    for block in directory.list().iter() {
        add_missing(&mut all, &read_block(block));
    }
    all
}

fn delete(series: &mut Series, range: TimeRange, matchers: &[Matcher]) {
    for (labels, samples) in series.iter_mut() {
        if matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name).unwrap_or_default())) {
            samples.retain(|time, _| !range.contains(Timestamp(*time)));
        }
    }
    series.retain(|_, samples| !samples.is_empty());
}

#[test]
fn a_block_gives_back_what_was_written() {
    let (_, fs) = new_disk();
    let series = some_series(&mut Dice::new(7), (0, RANGE));
    let meta = write_block(&fs, Ulid::from_parts(1, 1), (0, RANGE), &series).unwrap();
    let block = Block::open(&fs, &data().join(meta.ulid.to_string())).unwrap();
    assert_eq!(read_block(&block), series);
    let samples: usize = series.values().map(|samples| samples.len()).sum();
    assert_eq!((meta.stats.num_samples, meta.stats.num_series), (samples as u64, series.len() as u64));
    assert_eq!(meta.stats.num_float_samples + meta.stats.num_histogram_samples, samples as u64);

    let range = TimeRange::new(Timestamp(300), Timestamp(500));
    for number in block.select(range, &[Matcher::new(MatchOp::Regex, "i", "[1-3]").unwrap()]).unwrap() {
        let mut columns = Columns::default();
        block.read(number, range, &mut columns).unwrap();
        let mut expected = series[&block.labels(number).unwrap()].clone();
        expected.retain(|time, _| range.contains(Timestamp(*time)));
        assert_eq!(crate::model::samples(&columns), expected);
    }
}

#[test]
fn merging_and_deleting_agree_with_the_model() {
    for seed in 0..60 {
        let mut dice = Dice::new(seed);
        let (_, fs) = new_disk();
        let mut directory = open(&fs, seed);
        for i in 0..8i64 {
            // Every third block overlaps the one before.
            let start = (i - i64::from(dice.one_in(3))).max(0) * RANGE - if dice.one_in(5) { RANGE / 2 } else { 0 };
            let series = some_series(&mut dice, (start, start + RANGE));
            if let Some(meta) = write_block(&fs, directory.new_ulid(Timestamp(i)), (start, start + RANGE), &series) {
                directory.add(&meta).unwrap();
            }
            // The list, not the order of writing, says which block wins.
            let mut model = read_all(&directory);
            if dice.one_in(2) {
                let from = dice.below(9_000) as i64 - 500;
                let range = TimeRange::new(Timestamp(from), Timestamp(from + dice.below(2_000) as i64));
                let matchers =
                    [Matcher::new(MatchOp::Regex, "i", ["0|3|5", ".+", "9"][dice.below(3) as usize]).unwrap()];
                directory.delete(range, &matchers).unwrap();
                delete(&mut model, range, &matchers);
                assert_eq!(read_all(&directory), model, "seed {seed}: after a deletion");
            }
            while let Some(compacted) = directory.compact(Timestamp(i)).unwrap() {
                assert_eq!(read_all(&directory), model, "seed {seed}: after {:?}", compacted.plan);
            }
            if dice.one_in(4) {
                directory.clean_tombstones(Timestamp(i)).unwrap();
                assert_eq!(directory.stats().tombstones, 0);
                assert_eq!(read_all(&directory), model, "seed {seed}: after cleaning");
            }
            if dice.one_in(3) {
                directory = open(&fs, seed + 1000 + i as u64);
                assert_eq!(read_all(&directory), model, "seed {seed}: after reopening");
            }
        }
        assert!(directory.quarantined().is_empty());
    }
}

/// Merges, with the power cut at every operation in turn: the samples are there, whichever blocks hold them.
#[test]
fn a_crash_at_any_operation_leaves_a_readable_directory() {
    let mut crashed = 0;
    for seed in 0..6 {
        for cut in (0..).step_by(1 + seed as usize % 5) {
            let (disk, fs) = new_disk();
            let mut dice = Dice::new(seed);
            let directory = open(&fs, seed);
            for i in 0..4 {
                let range = (i * RANGE, (i + 1) * RANGE + if seed % 2 == 0 { 1 } else { 0 });
                let series = some_series(&mut dice, range);
                if let Some(meta) = write_block(&fs, directory.new_ulid(Timestamp(i)), range, &series) {
                    directory.add(&meta).unwrap();
                }
            }
            directory.delete(TimeRange::new(Timestamp(100), Timestamp(400)), &[]).unwrap();
            let model = read_all(&directory);
            disk.fail_at(cut, true);
            let done = directory.compact(Timestamp(9)).is_ok_and(|compacted| compacted.is_some())
                && directory.clean_tombstones(Timestamp(9)).is_ok();
            if dice.one_in(2) {
                assert_eq!(read_all(&directory), model, "seed {seed}, operation {cut}: before the crash");
            }
            drop(directory);
            disk.crash(if dice.one_in(3) {
                Crash::PowerLossKeepNothing
            } else {
                Crash::PowerLoss { seed: seed ^ cut }
            });
            let directory = open(&fs, seed + 1);
            assert!(directory.quarantined().is_empty(), "seed {seed}, operation {cut}: {:?}", directory.quarantined());
            assert_eq!(read_all(&directory), model, "seed {seed}, operation {cut}");
            let leftovers: Vec<_> = fs.list(data()).unwrap().into_iter().filter(|e| e.name.contains(".tmp")).collect();
            assert!(leftovers.is_empty(), "{leftovers:?}");
            crashed += 1;
            if done && directory.stats().removals_failed == 0 && cut > 200 {
                break;
            }
        }
    }
    assert!(crashed > 100, "{crashed}");
}

#[test]
fn a_full_disk_fails_the_merge_and_gets_its_space_back() {
    let (disk, fs) = new_disk();
    let directory = open(&fs, 1);
    let mut dice = Dice::new(1);
    for i in 0..2 {
        let range = (i * RANGE, (i + 1) * RANGE + 1);
        let meta = write_block(&fs, directory.new_ulid(Timestamp(i)), range, &some_series(&mut dice, range)).unwrap();
        directory.add(&meta).unwrap();
    }
    let (model, used) = (read_all(&directory), disk.used());
    disk.limit_space(used + 500);
    let error = directory.compact(Timestamp(5)).unwrap_err();
    assert!(!error.is_corrupt(), "{error}");
    assert_eq!((read_all(&directory), disk.used()), (model.clone(), used));
    disk.heal();
    assert!(directory.compact(Timestamp(6)).unwrap().is_some(), "it is tried again");
    assert_eq!(read_all(&directory), model);
}

#[test]
fn a_stopped_merge_leaves_everything_as_it_was() {
    let (disk, fs) = new_disk();
    let directory = open(&fs, 1);
    let mut dice = Dice::new(1);
    for i in 0..2 {
        let range = (i * RANGE, (i + 1) * RANGE + 1);
        let meta = write_block(&fs, directory.new_ulid(Timestamp(i)), range, &some_series(&mut dice, range)).unwrap();
        directory.add(&meta).unwrap();
    }
    let (model, used) = (read_all(&directory), disk.used());
    directory.stop();
    assert_eq!(directory.compact(Timestamp(5)).unwrap_err().to_string(), "stopped");
    assert_eq!((read_all(&directory), disk.used()), (model, used));
    assert_eq!(directory.stats().compactions_failed, 0);
}

#[test]
fn a_damaged_block_is_put_aside_and_the_others_serve() {
    let (disk, fs) = new_disk();
    let directory = open(&fs, 1);
    let mut dice = Dice::new(3);
    let mut metas = Vec::new();
    for i in 0..3 {
        let range = (i * RANGE, (i + 1) * RANGE);
        let meta = write_block(&fs, directory.new_ulid(Timestamp(i)), range, &some_series(&mut dice, range)).unwrap();
        directory.add(&meta).unwrap();
        metas.push(meta);
    }
    let folder = data().join(metas[1].ulid.to_string());
    disk.flip(&folder.join("index"), 3, 1).unwrap();
    fs.remove(&data().join(metas[2].ulid.to_string()).join("meta.json")).unwrap();
    let directory = open(&fs, 2);
    assert_eq!(directory.list().len(), 1);
    let names: Vec<String> = directory.quarantined().into_iter().map(|block| block.name).collect();
    assert_eq!(names, [metas[1].ulid.to_string(), metas[2].ulid.to_string()]);
    assert!(directory.quarantined()[0].error.to_string().contains("not an index file"));
    assert!(fs.exists(&directory.quarantined()[0].place), "nothing is lost");
    assert!(open(&fs, 3).quarantined().is_empty(), "it is not met again");
}

#[test]
fn damage_met_while_merging_is_marked_and_not_tried_again() {
    let (disk, fs) = new_disk();
    let directory = open(&fs, 1);
    let mut dice = Dice::new(3);
    let mut metas = Vec::new();
    for i in 0..2 {
        let range = (i * RANGE, (i + 1) * RANGE + 500);
        let meta = write_block(&fs, directory.new_ulid(Timestamp(i)), range, &some_series(&mut dice, range)).unwrap();
        metas.push(directory.add(&meta).unwrap().meta());
    }
    disk.flip(&data().join(metas[0].ulid.to_string()).join("chunks/000001"), 30, 1).unwrap();
    let directory = open(&fs, 1);
    let error = directory.compact(Timestamp(5)).unwrap_err();
    assert!(error.is_corrupt() && error.to_string().contains("chunks/000001"), "{error}");
    assert!(directory.compact(Timestamp(6)).unwrap().is_none());
    assert_eq!(directory.list().len(), 2);
    assert!(directory.list().iter().all(|block| block.meta().compaction.failed));
}

#[test]
fn a_snapshot_outlives_the_original() {
    let (_, fs) = new_disk();
    let directory = open(&fs, 1);
    let series = some_series(&mut Dice::new(5), (0, RANGE));
    let meta = write_block(&fs, directory.new_ulid(Timestamp(1)), (0, RANGE), &series).unwrap();
    directory.add(&meta).unwrap();
    directory.snapshot(Path::new("copy")).unwrap();
    directory.delete(TimeRange::ALL, &[]).unwrap();
    directory.clean_tombstones(Timestamp(2)).unwrap();
    assert!(directory.list().is_empty(), "a block of which nothing is left goes");
    let copy = BlockDirectory::open(&fs, Path::new("copy"), options(), Ulids::seeded(1)).unwrap();
    assert_eq!(read_all(&copy), series);
}

#[test]
fn deleted_names_do_not_linger_in_the_index() {
    let (_, fs) = new_disk();
    let directory = open(&fs, 1);
    let samples: Samples = (0..10).map(|time| (time, Bits::Float(1))).collect();
    let series: Series = ["kept", "secret"].map(|name| (Labels::from_pairs([("user", name)]), samples.clone())).into();
    let meta = write_block(&fs, directory.new_ulid(Timestamp(1)), (0, RANGE), &series).unwrap();
    directory.add(&meta).unwrap();
    directory.delete(TimeRange::ALL, &[Matcher::equal("user", "secret")]).unwrap();
    directory.clean_tombstones(Timestamp(1)).unwrap();
    let list = directory.list();
    let index = fs.read(list[0].index().path()).unwrap();
    assert!(!index.windows(6).any(|window| window == b"secret"));
    assert_eq!(list[0].label_values("user", &[], 0).unwrap(), ["kept"]);
}

#[test]
fn retention_removes_old_blocks_and_readers_keep_theirs() {
    let (_, fs) = new_disk();
    let retention = Retention { time: Some(Duration::from_millis(2 * RANGE as u64)), ..Retention::default() };
    let directory =
        BlockDirectory::open(&fs, data(), BlockDirectoryOptions { retention, ..options() }, Ulids::seeded(1)).unwrap();
    let mut dice = Dice::new(11);
    for i in 0..4 {
        let range = (i * RANGE, (i + 1) * RANGE);
        let meta = write_block(&fs, directory.new_ulid(Timestamp(i)), range, &some_series(&mut dice, range)).unwrap();
        directory.add(&meta).unwrap();
    }
    let held = directory.list();
    let before = read_block(&held[0]);
    assert_eq!(directory.retain(Usage::default()).by_time.len(), 2);
    assert_eq!(directory.list().len(), 2);
    assert_eq!(read_block(&held[0]), before);
    assert_eq!(fs.list(data()).unwrap().len(), 2);
}
