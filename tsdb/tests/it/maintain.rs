//! Maintenance: what is due is done, nothing is lost by it, and appends and queries go on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ferula_model::{
    AppendError, Appendable, Columns, Labels, Matcher, Metadata, Queryable, Question, SelectHints, SeriesRef,
    TimeRange, Timestamp,
};
use ferula_tsdb::compact::Retention;
use ferula_tsdb::fs::{Crash, Fs, MemFs};
use ferula_tsdb::{Db, DbBuilder, Durability, Missing, Reload};

/// Length of a block: 100 s.
const RANGE: i64 = 100_000;

fn builder(disk: &MemFs) -> DbBuilder {
    Db::builder("data")
        .fs(Arc::new(disk.clone()))
        .block_range(Duration::from_millis(RANGE as u64))
        .block_range_max(Duration::from_millis(9 * RANGE as u64))
        .retention(Retention::default())
        .wal_segment_bytes(64 * 1024)
        .seeded_block_names(disk.operations())
}

fn append(db: &Db, name: &str, time: i64, value: f64) -> Result<SeriesRef, AppendError> {
    let mut appender = db.appender();
    let series = appender.series(&[("__name__", "m"), ("name", name)])?;
    appender.append_float(series, Timestamp(time), value)?;
    appender.commit().unwrap();
    Ok(series)
}

fn everything(db: &Db) -> Vec<(Labels, Vec<(i64, f64)>)> {
    let querier = db.querier(TimeRange::ALL).unwrap();
    let set = querier.select(&SelectHints { sorted: true, ..Default::default() }, &[]).unwrap();
    let mut columns = Columns::default();
    let read = |i| {
        set.read(i, TimeRange::ALL, &mut columns).unwrap();
        (set.labels(i), columns.times.iter().copied().zip(columns.values.iter().copied()).collect())
    };
    (0..set.len()).map(read).filter(|(_, samples): &(_, Vec<_>)| !samples.is_empty()).collect()
}

/// A tick without trouble.
fn tick(db: &Db) -> ferula_tsdb::Tick {
    let tick = db.tick(Timestamp(0));
    assert!(tick.problems.is_empty(), "{tick:?}");
    tick
}

/// A sample a second from each of three series.
fn fill(db: &Db, from: i64, to: i64) {
    for time in (from..to).step_by(1000) {
        for name in ["a", "b", "c"] {
            append(db, name, time, time as f64).unwrap();
        }
    }
}

#[test]
fn nothing_is_known_at_once_of_times_that_a_block_has() {
    let disk = MemFs::new();
    let db = builder(&disk).open().unwrap();
    fill(&db, 0, 2 * RANGE);
    assert_eq!(tick(&db).blocks.len(), 1);
    let matchers = [Matcher::equal("name", "a")];
    let at_most = |from, to| {
        let range = TimeRange::new(Timestamp(from), Timestamp(to));
        db.querier(range).unwrap().at_most(Question::Series(&matchers), range)
    };
    assert_eq!(at_most(RANGE, 2 * RANGE), Some(1));
    assert_eq!(at_most(RANGE / 2, 2 * RANGE), None);
}

#[test]
fn ranges_become_blocks_and_blocks_become_larger_ones() {
    let disk = MemFs::new();
    let db = builder(&disk).open().unwrap();
    let mut merged = 0;
    for round in 0..30 {
        fill(&db, round * RANGE / 2, (round + 1) * RANGE / 2);
        merged += tick(&db).compactions.len();
        let all = everything(&db);
        assert_eq!(all.len(), 3);
        assert!(all.iter().all(|(_, samples)| samples.len() as i64 == (round + 1) * RANGE / 2000), "round {round}");
    }
    let stats = db.stats();
    assert_eq!((stats.maintenance.head_blocks, merged), (14, 5), "{stats:?}");
    assert!(stats.head.min_time >= Some(14 * RANGE));
    assert!(stats.head.checkpoints > 5 && stats.head.disk_bytes < 400_000, "the log is trimmed: {stats:?}");
    assert!(db.blocks().iter().any(|meta| meta.compaction.level == 3));
    let before = everything(&db);
    for crash in [Crash::Process, Crash::PowerLoss { seed: 3 }] {
        db.sync().unwrap();
        disk.crash(crash);
        let db = builder(&disk).open().unwrap();
        assert_eq!(db.opened().unknown.total(), 0);
        assert!(everything(&db) == before, "{crash:?}");
        std::mem::forget(db);
    }
}

#[test]
fn late_samples_become_blocks_with_a_hint_and_are_merged() {
    let disk = MemFs::new();
    let open = || {
        let window = Duration::from_secs(1000);
        builder(&disk).out_of_order_window(window).snapshot_on_close(false).open().unwrap()
    };
    let db = open();
    fill(&db, 0, 5 * RANGE);
    for time in (500..5 * RANGE).step_by(7000) {
        append(&db, "a", time, -1.0).unwrap();
    }
    let before = everything(&db);
    let done = tick(&db);
    assert!(everything(&db) == before);
    let hinted = done.blocks.iter().filter(|meta| meta.has_hint("from-out-of-order")).count();
    // The first range takes its late samples along; the last one was cut later.
    assert_eq!((done.blocks.len(), hinted), (8, 4), "{:?}", done.blocks);
    assert!(!done.compactions.is_empty());
    append(&db, "a", 2 * RANGE + 501, -2.0).unwrap();
    let done = db.compact_head(Timestamp(0));
    assert!(done.problems.is_empty() && done.blocks.len() == 1);
    let before = everything(&db);
    drop(db);
    let db = open();
    assert!(everything(&db) == before);
    assert_eq!(db.opened().samples as usize, 3 * 100, "the log has no late samples any more");
}

#[test]
fn what_was_deleted_does_not_return() {
    let disk = MemFs::new();
    let open = || builder(&disk).out_of_order_window(Duration::from_secs(1000)).open().unwrap();
    let db = open();
    fill(&db, 0, 2 * RANGE + RANGE / 2);
    let _ = tick(&db);
    for time in (500..2 * RANGE).step_by(1000) {
        append(&db, "b", time, -1.0).unwrap();
    }
    let range = TimeRange::new(Timestamp(RANGE / 2), Timestamp(2 * RANGE + RANGE / 4));
    assert!(db.delete(range, &[Matcher::equal("name", "b")]).unwrap() > 0);
    // A late sample may come back to a time that was deleted.
    append(&db, "b", RANGE + 1, 7.0).unwrap();
    let before = everything(&db);
    let b = &before[1].1;
    assert_eq!(b.iter().filter(|(time, _)| range.contains(Timestamp(*time))).collect::<Vec<_>>(), [&(RANGE + 1, 7.0)]);
    assert_eq!(before[0].1.len(), 250);
    let check = |db: &Db| assert_eq!(everything(db)[1], before[1]);
    drop(db);
    let db = open();
    check(&db);
    let _ = db.compact_head(Timestamp(0));
    check(&db);
    assert!(db.clean_tombstones(Timestamp(0)).unwrap() > 0);
    check(&db);
    let _ = tick(&db);
    disk.crash(Crash::Process);
    std::mem::forget(db);
    check(&open());
}

#[test]
fn the_head_waits_for_readers() {
    let disk = MemFs::new();
    let db = builder(&disk).open().unwrap();
    fill(&db, 0, 2 * RANGE);
    let before = everything(&db);
    let querier = db.querier(TimeRange::ALL).unwrap();
    let set = querier.select(&SelectHints { sorted: true, ..Default::default() }, &[]).unwrap();
    let waiting = tick(&db);
    assert!(waiting.is_waiting);
    assert_eq!(waiting.next, Timestamp(1_000), "it looks again soon");
    let mut columns = Columns::default();
    set.read(0, TimeRange::ALL, &mut columns).unwrap();
    assert_eq!(columns.times.len(), before[0].1.len(), "an old reader does not know the block");
    assert_eq!(db.stats().head.truncations, 0);
    assert!(everything(&db) == before, "a new one knows both");
    drop(set);
    drop(querier);
    let done = tick(&db);
    assert!(!done.is_waiting);
    assert_eq!(done.next, Timestamp(60_000));
    assert_eq!(db.stats().head.truncations, 1);
    assert!(everything(&db) == before);
}

#[test]
fn idle_series_go_and_come_back_under_a_new_number() {
    let disk = MemFs::new();
    let db = builder(&disk).open().unwrap();
    let old = append(&db, "idle", 0, 1.0).unwrap();
    let mut staged = db.appender();
    let held = staged.series(&[("name", "held")]).unwrap();
    for round in 0..6 {
        fill(&db, round * RANGE, (round + 1) * RANGE);
        let _ = tick(&db);
    }
    assert_eq!(db.stats().head.series, 5, "an open batch keeps what it asked for");
    staged.append_float(held, Timestamp(6 * RANGE), 1.0).unwrap();
    assert_eq!(staged.commit().unwrap().samples, 1);
    for round in 6..9 {
        fill(&db, round * RANGE + 1, (round + 1) * RANGE);
        let _ = tick(&db);
    }
    assert_eq!(db.stats().head.series, 3);
    assert_eq!(
        db.appender().append_float(old, Timestamp(9 * RANGE), 2.0),
        Err(AppendError::UnknownSeries(old.0)),
        "the caller asks again by labels"
    );
    let new = append(&db, "idle", 9 * RANGE, 2.0).unwrap();
    assert!(new > old);
    let querier = db.querier(TimeRange::ALL).unwrap();
    let set = querier.select(&SelectHints::default(), &[Matcher::equal("name", "idle")]).unwrap();
    let mut columns = Columns::default();
    set.read(0, TimeRange::ALL, &mut columns).unwrap();
    assert_eq!((set.len(), columns.values.as_slice()), (1, [1.0, 2.0].as_slice()));
}

#[test]
fn a_full_disk_stops_writing_but_not_reading_until_there_is_space() {
    let disk = MemFs::new();
    let db = builder(&disk).open().unwrap();
    fill(&db, 0, 2 * RANGE);
    let before = everything(&db);
    for room in [0, 100, 1000, 2000, 4000] {
        disk.limit_space(disk.used() + room);
        let done = db.tick(Timestamp(0));
        if !done.problems.is_empty() {
            assert!(done.problems[0].is_full(), "{done:?}");
            assert!(done.next < Timestamp(60_001));
        }
        assert!(everything(&db) == before);
        disk.heal();
    }
    fill(&db, 2 * RANGE, 3 * RANGE);
    let _ = tick(&db);
    assert!(db.stats().head.truncations > 0);
    assert_eq!(everything(&db)[2].1.len(), 300);
    assert!(!disk.list(std::path::Path::new("data")).unwrap().iter().any(|entry| entry.name.contains("tmp")));
}

#[test]
fn snapshots_have_everything_and_retention_can_change() {
    let disk = MemFs::new();
    let db = builder(&disk).out_of_order_window(Duration::from_secs(50)).open().unwrap();
    fill(&db, 0, 4 * RANGE);
    append(&db, "a", 4 * RANGE - 2500, 5.0).unwrap();
    let _ = tick(&db);
    let before = everything(&db);
    let (whole, blocks) = (db.snapshot(false).unwrap(), db.snapshot(true).unwrap());
    let open = |name: &str| {
        let path = format!("data/snapshots/{name}");
        Db::builder(path).fs(Arc::new(disk.clone())).retention(Retention::default()).open().unwrap()
    };
    assert!(everything(&open(&whole)) == before);
    assert!(everything(&open(&blocks))[0].1.len() < before[0].1.len());
    let time = Duration::from_millis(RANGE as u64);
    db.set_options(&Reload::default().retention(Retention { time: Some(time), ..Retention::default() })).unwrap();
    let count = db.blocks().len();
    assert_eq!(tick(&db).deletions.by_time.len(), count - 1);
    db.set_options(&Reload::default().out_of_order_window(Duration::ZERO).exemplars(0)).unwrap();
    assert_eq!(append(&db, "a", 4 * RANGE - 2600, 5.0), Err(AppendError::OutOfOrder));
}

#[test]
fn appends_and_queries_go_on_during_maintenance() {
    let disk = MemFs::new();
    let db = builder(&disk).open().unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for time in (0..20 * RANGE).step_by(1000) {
                let mut appender = db.appender();
                for name in ["a", "b", "c"] {
                    let series = appender.series(&[("name", name)]).unwrap();
                    appender.append_float(series, Timestamp(time), 1.0).unwrap();
                }
                assert_eq!(appender.commit().unwrap().dropped, 0);
            }
        });
        let mut seen = 0;
        while !writer.is_finished() {
            let _ = tick(&db);
            let all = everything(&db);
            let lengths: std::collections::HashSet<usize> = all.iter().map(|(_, samples)| samples.len()).collect();
            assert!(lengths.len() <= 1, "no half commit: {lengths:?}");
            let length = lengths.into_iter().next().unwrap_or(0);
            assert!(length >= seen, "{length} after {seen}");
            seen = length;
        }
    });
    let _ = tick(&db);
    assert!(everything(&db).iter().all(|(_, samples)| samples.len() == 2000));
}

#[test]
fn a_log_that_processes_left_behind_becomes_durable_with_what_comes_after_it() {
    for durability in [Durability::Os, Durability::Always] {
        let disk = MemFs::new();
        // Processes that die one after the other, each with a segment of its own.
        for time in 0..3 {
            let db = builder(&disk).fs(Arc::new(disk.session())).open().unwrap();
            append(&db, "a", time, 1.0).unwrap();
            disk.crash(Crash::Process);
        }
        let open = || builder(&disk).fs(Arc::new(disk.session())).durability(durability).open().unwrap();
        let db = open();
        append(&db, "a", 3, 1.0).unwrap();
        if durability == Durability::Os {
            db.sync().unwrap();
        }
        disk.crash(Crash::PowerLossKeepNothing);
        assert_eq!(everything(&open())[0].1.len(), 4, "{durability:?}");
    }
}

#[test]
fn a_deletion_that_was_seen_does_not_go_with_the_power() {
    let mut half_done = 0;
    for operation in 0..20 {
        let disk = MemFs::new();
        let open = || builder(&disk).fs(Arc::new(disk.session())).open();
        let db = open().unwrap();
        fill(&db, 0, 3 * RANGE);
        assert!(db.compact_head(Timestamp(0)).blocks.len() >= 2);
        db.sync().unwrap();
        disk.fail_at(operation, false);
        half_done += u32::from(db.delete(TimeRange::ALL, &[Matcher::equal("name", "a")]).is_err());
        disk.crash(Crash::Process);
        drop(db);
        let db = open().unwrap();
        let seen = everything(&db);
        disk.crash(Crash::PowerLossKeepNothing);
        drop(db);
        assert_eq!(everything(&open().unwrap()), seen, "operation {operation}");
    }
    assert!(half_done > 10, "{half_done}");
}

#[test]
fn in_a_snapshot_late_samples_hide_no_others() {
    let disk = MemFs::new();
    let db = builder(&disk).out_of_order_window(Duration::from_secs(1000)).open().unwrap();
    append(&db, "a", RANGE, 1.0).unwrap();
    append(&db, "a", 2 * RANGE, 1.5).unwrap();
    append(&db, "b", 3 * RANGE, 2.0).unwrap();
    assert_eq!(tick(&db).blocks.len(), 1);
    append(&db, "a", RANGE - 1, 3.0).unwrap();
    append(&db, "a", RANGE, 4.0).unwrap();
    let before = everything(&db);
    assert_eq!(before[0].1, [(RANGE - 1, 3.0), (RANGE, 1.0), (2 * RANGE, 1.5)], "the sample in order counts");
    let name = db.snapshot(false).unwrap();
    let copy = Db::builder(format!("data/snapshots/{name}")).fs(Arc::new(disk.clone())).retention(Retention::default());
    assert_eq!(everything(&copy.open().unwrap()), before);
}

#[test]
fn what_went_with_the_oldest_block_does_not_return_from_the_log() {
    let disk = MemFs::new();
    let open = || builder(&disk).fs(Arc::new(disk.session())).open().unwrap();
    let db = open();
    fill(&db, 0, 2 * RANGE);
    let querier = db.querier(TimeRange::ALL).unwrap();
    assert!(tick(&db).is_waiting, "the head waits for the reader");
    disk.crash(Crash::Process);
    drop(querier);
    drop(db);
    let db = open();
    db.set_options(&Reload::default().retention(Retention { bytes_max: Some(1), ..Retention::default() })).unwrap();
    assert_eq!(tick(&db).deletions.by_size.len(), 1);
    let left = everything(&db);
    assert!(left.iter().all(|(_, samples)| samples.len() as i64 == RANGE / 1000));
    disk.crash(Crash::Process);
    drop(db);
    assert_eq!(everything(&open()), left);
}

#[test]
fn a_part_of_the_log_that_is_missing_is_reported_and_the_rest_is_replayed() {
    let left = || {
        let disk = MemFs::new();
        let db = builder(&disk).snapshot_on_close(false).open().unwrap();
        for round in 0..6 {
            fill(&db, round * RANGE, (round + 1) * RANGE);
            let _ = tick(&db);
        }
        db.close().unwrap();
        let wal = std::path::Path::new("data/wal");
        let entries = disk.list(wal).unwrap();
        let checkpoint = entries.iter().find(|entry| entry.name.starts_with("checkpoint.")).unwrap();
        (disk.clone(), wal.join(&checkpoint.name))
    };
    let missing = |disk: &MemFs| {
        let db = builder(disk).open().unwrap();
        assert_eq!(db.stats().head.replay_damage, db.opened().missing.len() as u64);
        assert!(!everything(&db).is_empty(), "the blocks serve");
        // Writing goes on, under new numbers.
        fill(&db, 6 * RANGE, 6 * RANGE + 2000);
        (db.opened().missing.clone(), db.opened().unknown.samples)
    };
    let (disk, _) = left();
    assert_eq!(missing(&disk), (vec![], 0));
    let (disk, checkpoint) = left();
    for entry in disk.list(&checkpoint).unwrap() {
        disk.remove(&checkpoint.join(&entry.name)).unwrap();
    }
    let (found, unknown) = missing(&disk);
    assert_eq!(found, [Missing::Checkpoint(checkpoint)]);
    assert!(unknown > 0);
    let (disk, checkpoint) = left();
    disk.remove_dir(&checkpoint).unwrap();
    let (found, unknown) = missing(&disk);
    assert!(matches!(found.as_slice(), [Missing::Segments { numbers, .. }] if *numbers.start() == 0), "{found:?}");
    assert!(unknown > 0);
}

#[test]
fn of_late_samples_of_one_moment_the_first_counts_wherever_it_lies() {
    let disk = MemFs::new();
    let db = builder(&disk).out_of_order_window(Duration::from_secs(100)).open().unwrap();
    let moment = RANGE + 20_500;
    let value = |db: &Db| {
        let found = everything(db).into_iter().find(|(labels, _)| labels.get("name") == Some("a")).unwrap();
        found.1.into_iter().find(|(time, _)| *time == moment).unwrap().1
    };
    fill(&db, 0, RANGE + 50_000);
    append(&db, "a", moment, 1.0).unwrap();
    let early = db.compact_head(Timestamp(0));
    assert!(early.problems.is_empty() && early.blocks.len() == 2, "{early:?}");
    // The head does not know that one any more.
    append(&db, "a", moment, 2.0).unwrap();
    assert_eq!(value(&db), 1.0);
    let copy = format!("data/snapshots/{}", db.snapshot(false).unwrap());
    assert_eq!(value(&Db::builder(copy).fs(Arc::new(disk.clone())).open().unwrap()), 1.0);
    for round in 0..20 {
        fill(&db, RANGE + 50_000 + round * RANGE / 2, RANGE + 50_000 + (round + 1) * RANGE / 2);
        let _ = tick(&db);
        assert_eq!(value(&db), 1.0, "round {round}");
    }
    assert!(db.blocks().iter().any(|meta| meta.compaction.level > 1));
}

#[test]
fn a_copy_has_late_samples_that_came_while_earlier_ones_were_on_their_way() {
    let disk = MemFs::new();
    let db = builder(&disk).out_of_order_window(Duration::from_secs(100)).open().unwrap();
    fill(&db, 0, RANGE + 50_000);
    append(&db, "a", RANGE + 20_500, 1.0).unwrap();
    // The head keeps what became a block for as long as somebody reads it.
    let reader = db.querier(TimeRange::ALL).unwrap();
    assert_eq!(db.compact_head(Timestamp(0)).blocks.len(), 2);
    append(&db, "a", RANGE + 30_500, 2.0).unwrap();
    let copy = format!("data/snapshots/{}", db.snapshot(false).unwrap());
    let copy = Db::builder(copy).fs(Arc::new(disk.clone())).open().unwrap();
    assert_eq!(everything(&copy), everything(&db));
    drop(reader);
}

#[test]
fn a_damaged_snapshot_costs_nothing_but_time() {
    let after_damage = |in_folder: &str, nth: usize| {
        let disk = MemFs::new();
        let db = builder(&disk).open().unwrap();
        fill(&db, 0, 90_000);
        fill(&db, 100_000, 250_000);
        let mut appender = db.appender();
        let series = appender.series(&[("__name__", "m"), ("name", "a")]).unwrap();
        appender.set_metadata(series, &Metadata { help: "h".to_string(), ..Metadata::default() }).unwrap();
        appender.commit().unwrap();
        let before = everything(&db);
        db.close().unwrap();
        let snapshot = disk.list(Path::new("data")).unwrap().into_iter().find(|e| e.name.starts_with("chunk_snapshot"));
        let folder = Path::new("data").join(in_folder.replace("snapshot", &snapshot.unwrap().name));
        let file = disk.list(&folder).unwrap().into_iter().rfind(|entry| !entry.is_dir).unwrap();
        let bytes = file.bytes as usize;
        if let Some(offset) = [bytes / 3, bytes / 2, bytes - 1].get(nth) {
            disk.flip(&folder.join(file.name), *offset, 0x10).unwrap();
        }
        let db = builder(&disk).open().unwrap();
        assert_eq!(everything(&db), before, "{in_folder}, {nth}");
        db.opened().from_snapshot
    };
    for folder in ["snapshot", "snapshot/metadata", "chunks_head"] {
        let taken: Vec<bool> = (0..4).map(|nth| after_damage(folder, nth)).collect();
        assert_eq!(taken, [false, false, false, true], "{folder}");
    }
}
