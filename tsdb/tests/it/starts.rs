//! Start timestamps, from the append to the compacted block: what was said with a sample is read with it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ferula_model::{
    Appendable, Columns, Labels, Matcher, Queryable, STALE_MARKER, Sample, SelectHints, TimeRange, Timestamp, Value,
};
use ferula_tsdb::chunk::{ChunkEncoding, FloatEncoding};
use ferula_tsdb::fs::{Crash, Fs, MemFs};
use ferula_tsdb::{Db, DbBuilder, Reload, StartStorage};

use crate::model::{Bits, Samples, columns};

const STEP: i64 = 15_000;
const RANGE: i64 = 2 * 3600 * 1000;

/// Start timestamps by series and time; 0 for samples without one.
type Starts = BTreeMap<(Labels, i64), i64>;

fn builder(disk: &MemFs, starts: StartStorage) -> DbBuilder {
    Db::builder("data")
        .fs(Arc::new(disk.clone()))
        .start_timestamps(starts)
        .out_of_order_window(Duration::from_secs(3600))
        .wal_segment_bytes(1 << 20)
        .seeded_block_names(1)
}

fn sample(bits: Bits, time: i64, start: i64) -> Sample {
    let one = columns(&Samples::from([(time, bits)]));
    let value = match one.histograms.first() {
        Some(histogram) => Value::Histogram(histogram.clone()),
        None => Value::Float(one.values[0]),
    };
    Sample { timestamp: Timestamp(time), start: (start != 0).then_some(Timestamp(start)), value }
}

fn append(db: &Db, samples: &[(Labels, Sample)]) {
    let mut appender = db.appender();
    for (labels, sample) in samples {
        let pairs: Vec<(&str, &str)> = labels.iter().collect();
        let series = appender.series(&pairs).unwrap();
        appender.append(series, sample.clone()).unwrap();
    }
    assert_eq!(appender.commit().unwrap().dropped, 0);
}

/// The start timestamps of all samples of a database.
fn read(db: &Db, range: TimeRange) -> Starts {
    let querier = db.querier(range).unwrap();
    let set = querier.select(&SelectHints { sorted: true, ..Default::default() }, &[]).unwrap();
    let (mut found, mut columns) = (Starts::new(), Columns::default());
    for at in 0..set.len() {
        set.read(at, range, &mut columns).unwrap();
        let Columns { times, starts, histogram_times, histogram_starts, .. } = &mut columns;
        for (times, starts) in [(times, starts), (histogram_times, histogram_starts)] {
            assert!(starts.is_empty() || starts.len() == times.len(), "a start for each, or none at all");
            starts.resize(times.len(), 0);
            found.extend(times.iter().zip(starts).map(|(time, start)| ((set.labels(at), *time), *start)));
        }
    }
    found
}

fn tick(db: &Db, step: i64) {
    let tick = db.tick(Timestamp(step * STEP));
    assert!(tick.problems.is_empty(), "{tick:?}");
    assert!(!tick.blocks.is_empty() || !tick.compactions.is_empty(), "{tick:?}");
}

fn labels(name: &str) -> Labels {
    Labels::from_pairs([("__name__", name)])
}

/// What five series say at a step: a counter that restarts now and then, one that begins late to say since when it counts, a
/// gauge, a histogram, and a series that changes its kind.
fn at_step(step: i64) -> Vec<(Labels, Sample)> {
    let (time, value) = (step * STEP, step as u64 % 50);
    let restarts = 1 + step / 333 * 333 * STEP;
    let late = if step % 700 < 300 { 0 } else { step / 700 * 700 * STEP + 7 };
    let float = Bits::Float(if step % 97 == 0 { STALE_MARKER } else { value as f64 }.to_bits());
    let mixed = if step / 200 % 2 == 0 { float } else { Bits::Histogram(value) };
    vec![
        (labels("counter_total"), sample(float, time, restarts)),
        (labels("second_total"), sample(Bits::Float(step as u64), time, late)),
        (labels("gauge"), sample(float, time, 0)),
        (labels("histogram"), sample(Bits::Histogram(value), time, restarts)),
        (labels("mixed"), sample(mixed, time, restarts)),
    ]
}

/// What is read of samples if only the starts of some kinds are kept.
fn expect(expected: &mut Starts, samples: &[(Labels, Sample)], kept: StartStorage) {
    for (labels, sample) in samples {
        let start = sample.start.map_or(0, Timestamp::as_millis);
        let keeps = match sample.value {
            Value::Float(_) => kept != StartStorage::None,
            Value::Histogram(_) => kept == StartStorage::FloatsAndHistograms,
        };
        expected.insert((labels.clone(), sample.timestamp.as_millis()), if keeps { start } else { 0 });
    }
}

fn check(db: &Db, expected: &Starts, when: &str) {
    let found = read(db, TimeRange::ALL);
    let differing = found.iter().filter(|(place, start)| expected.get(*place) != Some(start)).take(5);
    assert_eq!(differing.collect::<Vec<_>>(), [], "{when}");
    assert_eq!(found.len(), expected.len(), "{when}");
}

#[test]
fn a_start_is_read_with_its_sample_wherever_that_lies() {
    for kept in [StartStorage::None, StartStorage::Floats, StartStorage::FloatsAndHistograms] {
        let disk = MemFs::new();
        let mut expected = Starts::new();
        let mut db = builder(&disk, kept).open().unwrap();
        let reopen = |db: Db| {
            drop(db);
            builder(&disk, kept).open().unwrap()
        };
        for step in 1..2500 {
            let samples = at_step(step);
            append(&db, &samples);
            expect(&mut expected, &samples, kept);
            if step % 50 == 49 {
                // Late, between two steps; enough for a late chunk.
                let late: Vec<_> = (0..40)
                    .flat_map(|back| at_step((step - back).max(1)))
                    .map(|(labels, sample)| {
                        (labels, Sample { timestamp: Timestamp(sample.timestamp.0 - 7000), ..sample })
                    })
                    .collect();
                let fresh: Vec<_> = late
                    .into_iter()
                    .filter(|(labels, sample)| !expected.contains_key(&(labels.clone(), sample.timestamp.0)))
                    .collect();
                append(&db, &fresh);
                expect(&mut expected, &fresh, kept);
            }
            match step {
                150 | 700 | 1601 => {
                    check(&db, &expected, "in the head");
                    disk.crash(Crash::Process);
                    std::mem::forget(db);
                    db = builder(&MemFs::clone(&disk), kept).lock_file(false).open().unwrap();
                    check(&db, &expected, "after a crash");
                }
                400 | 1300 => {
                    db = reopen(db);
                    assert!(db.opened().from_snapshot);
                    check(&db, &expected, "after a clean restart");
                }
                900 => {
                    let range = TimeRange::new(Timestamp(850 * STEP), Timestamp(870 * STEP));
                    db.delete(range, &[Matcher::equal("__name__", "counter_total")]).unwrap();
                    expected.retain(|(series, time), _| {
                        *series != labels("counter_total") || !(850 * STEP..=870 * STEP).contains(time)
                    });
                    check(&db, &expected, "after a deletion");
                }
                1000 | 1500 | 2000 | 2400 => {
                    tick(&db, step);
                    check(&db, &expected, "after a tick");
                }
                _ => {}
            }
        }
        assert!(db.blocks().iter().any(|meta| meta.compaction.level > 1), "some blocks were merged");
        let copy = db.snapshot(false).unwrap();
        db = reopen(db);
        check(&db, &expected, "at the end");
        let copy = Db::builder(format!("data/snapshots/{copy}")).fs(Arc::new(disk.clone())).lock_file(false);
        check(&copy.open().unwrap(), &expected, "in a copy");
        let part = TimeRange::new(Timestamp(RANGE), Timestamp(RANGE + 600 * STEP));
        let found = read(&db, part);
        assert!(found.iter().all(|(place, start)| expected.get(place) == Some(start)) && !found.is_empty());
    }
}

/// All files, by their names.
fn files(disk: &MemFs, dir: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in disk.list(dir).unwrap() {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            files(disk, &path, found);
        } else {
            found.insert(path.display().to_string(), disk.read(&path).unwrap().to_vec());
        }
    }
}

#[test]
fn what_is_not_kept_leaves_no_trace_on_disk() {
    let write = |with_starts: bool| {
        let disk = MemFs::new();
        let db = builder(&disk, StartStorage::None).open().unwrap();
        for step in 1..1500 {
            let mut samples = at_step(step);
            for (_, sample) in &mut samples {
                sample.start = sample.start.filter(|_| with_starts);
            }
            append(&db, &samples);
        }
        tick(&db, 1500);
        db.close().unwrap();
        let mut found = BTreeMap::new();
        files(&disk, Path::new("data"), &mut found);
        found
    };
    assert!(write(true) == write(false), "bytes differ");
}

#[test]
fn keeping_can_begin_and_end_with_any_opening() {
    let disk = MemFs::new();
    let mut expected = Starts::new();
    let order = [StartStorage::None, StartStorage::FloatsAndHistograms, StartStorage::None, StartStorage::Floats];
    for (round, kept) in (0i64..).zip(order) {
        let db = builder(&disk, kept).open().unwrap();
        check(&db, &expected, "opened");
        for step in round * 250 + 1..=round * 250 + 250 {
            let samples = at_step(step);
            append(&db, &samples);
            expect(&mut expected, &samples, kept);
        }
        check(&db, &expected, "appended");
    }
}

/// The encodings of all chunks of blocks.
fn encodings(disk: &MemFs) -> BTreeMap<u8, usize> {
    let mut found = BTreeMap::new();
    let mut all = BTreeMap::new();
    files(disk, Path::new("data"), &mut all);
    for (_, bytes) in all.iter().filter(|(name, _)| name.contains("/chunks/")) {
        let mut at = 8;
        while at < bytes.len() {
            let mut length = 0;
            for shift in (0..).step_by(7) {
                let byte = bytes[at];
                at += 1;
                length |= usize::from(byte & 0x7F) << shift;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            *found.entry(bytes[at]).or_default() += 1;
            at += 1 + length + 4;
        }
    }
    found
}

#[test]
fn only_series_with_starts_need_other_encodings() {
    let disk = MemFs::new();
    let db = builder(&disk, StartStorage::FloatsAndHistograms).open().unwrap();
    for step in 1..1500 {
        append(&db, &[at_step(step)[2].clone()]);
    }
    tick(&db, 1500);
    assert_eq!(encodings(&disk).into_keys().collect::<Vec<_>>(), [ChunkEncoding::Xor.byte()]);
    db.set_options(&Reload::default().float_encoding(FloatEncoding::Xor2)).unwrap();
    for step in 1500..3000 {
        append(&db, &at_step(step));
    }
    tick(&db, 3000);
    let found: Vec<u8> = encodings(&disk).into_keys().collect();
    assert!(found.contains(&ChunkEncoding::Xor2.byte()) && found.contains(&ChunkEncoding::HistogramWithStarts.byte()));
}
