//! Appending, querying and replaying the head.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ferula_model::{
    AppendError, Appendable, Columns, Exemplar, ExemplarQueryable, Histogram, IntegerHistogram, Labels, MatchOp,
    Matcher, Metadata, Queryable, Question, STALE_MARKER, Sample, SelectHints, SeriesRef, TimeRange, Timestamp,
    is_stale,
};
use ferula_tsdb::fs::{Crash, Fs, MemFs};
use ferula_tsdb::wal::format::{RecordType, read_series};
use ferula_tsdb::wal::reader::WalReader;
use ferula_tsdb::{Db, DbBuilder, Durability};

fn builder(disk: &MemFs) -> DbBuilder {
    Db::builder("data").fs(Arc::new(disk.clone())).wal_segment_bytes(1 << 20).seeded_block_names(1)
}

fn append(db: &Db, labels: &[(&str, &str)], time: i64, value: f64) -> Result<SeriesRef, AppendError> {
    let mut appender = db.appender();
    let series = appender.series(labels)?;
    appender.append_float(series, Timestamp(time), value)?;
    appender.commit().unwrap();
    Ok(series)
}

/// All series with their floats, sorted.
fn everything(db: &Db, matchers: &[Matcher]) -> Vec<(Labels, Vec<(i64, f64)>)> {
    let querier = db.querier(TimeRange::ALL).unwrap();
    let set = querier.select(&SelectHints { sorted: true, ..Default::default() }, matchers).unwrap();
    let mut columns = Columns::default();
    let read = |i| {
        set.read(i, TimeRange::ALL, &mut columns).unwrap();
        (set.labels(i), columns.times.iter().copied().zip(columns.values.iter().copied()).collect())
    };
    (0..set.len()).map(read).collect()
}

fn histogram(count: u64) -> Histogram {
    IntegerHistogram { count, zero_count: count, zero_threshold: 0.001, sum: 1.0, ..Default::default() }.into()
}

#[test]
fn what_was_committed_is_read_before_and_after_a_crash() {
    let disk = MemFs::new();
    let db = builder(&disk).open().unwrap();
    for step in 0..500 {
        let mut appender = db.appender();
        for host in 0..20 {
            let host = format!("h{host}");
            let series = appender.series(&[("__name__", "m"), ("host", &host), ("job", "j")]).unwrap();
            appender.append_float(series, Timestamp(step * 15_000), step as f64).unwrap();
        }
        assert_eq!(appender.commit().unwrap().samples, 20);
    }
    let before = everything(&db, &[]);
    assert_eq!(before.len(), 20);
    assert!(before.iter().all(|(_, samples)| samples.len() == 500 && samples[499] == (499 * 15_000, 499.0)));
    for crash in [Crash::Process, Crash::Process] {
        disk.crash(crash);
        let db = builder(&disk).open().unwrap();
        assert!(db.opened().damage.is_empty(), "{:?}", db.opened());
        assert_eq!(everything(&db, &[]), before);
    }
}

#[test]
fn with_durability_always_a_power_cut_loses_nothing() {
    for seed in 0..20 {
        let disk = MemFs::new();
        let open = || builder(&disk).durability(Durability::Always).open().unwrap();
        let db = open();
        for step in 0..50 {
            append(&db, &[("a", "b")], step, step as f64).unwrap();
        }
        disk.crash(Crash::PowerLoss { seed });
        assert_eq!(everything(&open(), &[])[0].1.len(), 50);
    }
}

#[test]
fn samples_are_judged_as_upstream_does() {
    let disk = MemFs::new();
    let db = builder(&disk).open().unwrap();
    append(&db, &[("a", "b")], 10_000_000, 1.0).unwrap();
    let duplicate = append(&db, &[("a", "b")], 10_000_000, 2.5e9).unwrap_err();
    let text = "duplicate sample for timestamp 10000000; overrides not allowed: existing 1, new value 2.5e+09";
    assert_eq!(duplicate.to_string(), text);
    assert!(duplicate.is_ordering());
    append(&db, &[("a", "b")], 10_000_000, 1.0).unwrap();
    assert_eq!(append(&db, &[("a", "b")], 9_999_999, 1.0), Err(AppendError::OutOfOrder));
    assert_eq!(append(&db, &[("a", "c")], 1, 1.0), Err(AppendError::OutOfBounds));
    assert_eq!(append(&db, &[], 1, 1.0), Err(AppendError::InvalidLabels("empty labelset".into())));
    assert!(matches!(append(&db, &[("a", "c"), ("a", "d")], 1, 1.0), Err(AppendError::InvalidLabels(_))));
    let stats = db.stats().head;
    assert_eq!((stats.duplicates, stats.out_of_order, stats.out_of_bounds), (1, 1, 1));
    let unknown = SeriesRef(999);
    assert_eq!(db.appender().append_float(unknown, Timestamp(0), 0.0), Err(AppendError::UnknownSeries(999)));
}

#[test]
fn late_samples_are_merged_and_survive() {
    let disk = MemFs::new();
    let open = || builder(&disk).out_of_order_window(Duration::from_secs(3600)).open().unwrap();
    let db = open();
    for step in 0..200 {
        append(&db, &[("a", "b")], 3_600_000 + step * 1000, step as f64).unwrap();
    }
    for step in (0..150).rev() {
        append(&db, &[("a", "b")], 3_600_500 + step * 1000, -1.0).unwrap();
    }
    // The sample in order wins.
    append(&db, &[("a", "b")], 3_600_000 + 7000, -7.0).unwrap();
    assert_eq!(append(&db, &[("a", "b")], 100, 1.0), Err(AppendError::TooOld));
    let lateness = db.stats().head.lateness;
    // The one that lost and the one that was refused are among them.
    assert_eq!((lateness.count(), lateness.buckets().next()), (152, Some((600.0, 151))));
    let before = everything(&db, &[]);
    assert_eq!(before[0].1.len(), 350);
    assert!(before[0].1.is_sorted_by(|a, b| a.0 < b.0));
    assert!(before[0].1.contains(&(3_607_000, 7.0)));
    for _ in 0..3 {
        disk.crash(Crash::Process);
        assert_eq!(everything(&open(), &[]), before);
    }
}

#[test]
fn backfill_takes_any_age_in_order_per_series() {
    let disk = MemFs::new();
    let db = builder(&disk).backfill(true).open().unwrap();
    append(&db, &[("a", "now")], 1_000_000_000, 1.0).unwrap();
    for step in 0..100 {
        append(&db, &[("a", "old")], step * 60_000, step as f64).unwrap();
    }
    assert_eq!(everything(&db, &[Matcher::equal("a", "old")])[0].1.len(), 100);
}

#[test]
fn a_reader_never_sees_half_a_commit() {
    let disk = MemFs::new();
    let db = builder(&disk).open().unwrap();
    let names: Vec<String> = (0..300).map(|i| format!("s{i}")).collect();
    let scrape = |step: i64| {
        let mut appender = db.appender();
        for name in &names {
            let series = appender.series(&[("__name__", name)]).unwrap();
            appender.append_float(series, Timestamp(step), step as f64).unwrap();
        }
        appender.commit().unwrap();
    };
    scrape(0);
    std::thread::scope(|scope| {
        scope.spawn(|| (1..300).for_each(scrape));
        for _ in 0..100 {
            let querier = db.querier(TimeRange::ALL).unwrap();
            let set = querier.select(&SelectHints::default(), &[]).unwrap();
            let mut columns = Columns::default();
            let newest: std::collections::HashSet<_> = (0..set.len())
                .map(|i| {
                    set.read(i, TimeRange::ALL, &mut columns).unwrap();
                    columns.times.last().copied()
                })
                .collect();
            assert_eq!(newest.len(), 1, "every series ends with the same scrape: {newest:?}");
        }
    });
}

#[test]
fn histograms_stale_markers_exemplars_and_metadata_survive() {
    let disk = MemFs::new();
    let db = builder(&disk).open().unwrap();
    let mut appender = db.appender();
    let series = appender.series(&[("__name__", "h")]).unwrap();
    for step in 0..300u64 {
        appender.append(series, Sample::histogram(Timestamp(step as i64 * 1000), histogram(step % 170))).unwrap();
    }
    let exemplar =
        Exemplar { labels: Labels::from_pairs([("trace_id", "x")]), value: 5.0, timestamp: Some(Timestamp(299_000)) };
    appender.append_exemplar(series, exemplar.clone()).unwrap();
    let metadata = Metadata { help: "helps".into(), ..Default::default() };
    appender.set_metadata(series, &metadata).unwrap();
    appender.commit().unwrap();
    let mut appender = db.appender();
    appender.append_float(series, Timestamp(300_000), STALE_MARKER).unwrap();
    appender.commit().unwrap();
    let mut appender = db.appender();
    appender.append_float(series, Timestamp(301_000), 5.0).unwrap();
    appender.commit().unwrap();
    let check = |db: &Db| {
        let querier = db.querier(TimeRange::ALL).unwrap();
        let set = querier.select(&SelectHints::default(), &[]).unwrap();
        let mut columns = Columns::default();
        set.read(0, TimeRange::ALL, &mut columns).unwrap();
        assert_eq!((columns.histograms.len(), columns.values.as_slice()), (301, [5.0].as_slice()));
        assert!(is_stale(columns.histograms[300].sum()));
        let found = db.exemplars(TimeRange::ALL, &[vec![Matcher::equal("__name__", "h")]]).unwrap();
        assert_eq!(found[0].exemplars, std::slice::from_ref(&exemplar));
    };
    check(&db);
    disk.crash(Crash::Process);
    check(&builder(&disk).open().unwrap());
}

#[test]
fn labels_are_answered_by_the_index() {
    let disk = MemFs::new();
    let db = builder(&disk).open().unwrap();
    for i in 0..100 {
        let (host, job) = (format!("h{i:02}"), format!("j{}", i % 3));
        append(&db, &[("__name__", "up"), ("host", &host), ("job", &job)], 1, 1.0).unwrap();
    }
    append(&db, &[("__name__", "other")], 1, 1.0).unwrap();
    let regex = |op, name: &str, value: &str| Matcher::new(op, name, value).unwrap();
    let count = |matchers: &[Matcher]| everything(&db, matchers).len();
    use MatchOp::{NotEqual, NotRegex, Regex};
    assert_eq!(count(&[Matcher::equal("job", "j0")]), 34);
    assert_eq!(count(&[regex(NotEqual, "job", "j0")]), 67);
    assert_eq!(count(&[regex(Regex, "job", "j0|j1")]), 67);
    assert_eq!(count(&[regex(NotRegex, "job", "j0|j1")]), 34);
    assert_eq!(count(&[regex(Regex, "host", "h1.*")]), 10);
    assert_eq!(count(&[regex(Regex, "host", ".+")]), 100);
    assert_eq!(count(&[regex(NotRegex, "host", ".+")]), 1);
    assert_eq!(count(&[regex(Regex, "host", ".*")]), 101);
    assert_eq!(count(&[regex(Regex, "host", "|h05")]), 2);
    assert_eq!(count(&[regex(Regex, "host", "h.[05]"), Matcher::equal("job", "j0")]), 7);
    assert_eq!(count(&[Matcher::equal("host", "")]), 1);
    assert_eq!(count(&[Matcher::equal("nothing", "")]), 101);
    let querier = db.querier(TimeRange::ALL).unwrap();
    assert_eq!(querier.label_names(&[], 0).unwrap(), ["__name__", "host", "job"]);
    assert_eq!(querier.label_names(&[Matcher::equal("__name__", "other")], 0).unwrap(), ["__name__"]);
    assert_eq!(querier.label_values("job", &[], 2).unwrap(), ["j0", "j1"]);
    assert_eq!(querier.label_values("job", &[Matcher::equal("host", "h04")], 0).unwrap(), ["j1"]);
    assert_eq!(querier.label_values("host", &[Matcher::equal("job", "j2")], 0).unwrap().len(), 33);
    // Where the head has no samples it has no labels.
    let before = db.querier(TimeRange::new(Timestamp(-100), Timestamp(-1))).unwrap();
    assert!(before.label_names(&[], 0).unwrap().is_empty());
    assert!(before.label_values("job", &[Matcher::equal("host", "h04")], 0).unwrap().is_empty());
    let top = db.cardinality(1);
    assert_eq!(top.series_by_metric, [("up".to_owned(), 100)]);
    assert_eq!(top.values_by_label, [("host".to_owned(), 100)]);
}

#[test]
fn how_much_an_answer_has_at_most_is_known_where_the_index_knows_it() {
    let db = builder(&MemFs::new()).open().unwrap();
    for number in 0..100 {
        let (name, host, id) = (format!("m{}", number % 2), format!("h{}", number % 10), format!("i{number}"));
        append(&db, &[("__name__", &name), ("host", &host), ("id", &id)], 1000, 1.0).unwrap();
    }
    let querier = db.querier(TimeRange::ALL).unwrap();
    let at_most = |question: Question<'_>| querier.at_most(question, TimeRange::ALL);
    let series = |matchers: &[(&str, MatchOp, &str)]| {
        let matchers: Vec<_> =
            matchers.iter().map(|(name, op, value)| Matcher::new(*op, *name, *value).unwrap()).collect();
        let most = at_most(Question::Series(&matchers));
        let found = querier.select(&SelectHints::default(), &matchers).unwrap().len();
        assert!(most.is_none_or(|most| found <= most), "{found} of {most:?}");
        most
    };
    use MatchOp::{Equal, NotEqual, NotRegex, Regex};
    assert_eq!(series(&[("__name__", Equal, "m0")]), Some(50));
    assert_eq!(series(&[("__name__", Equal, "m0"), ("host", Equal, "h3")]), Some(10));
    assert_eq!(series(&[("id", Regex, "i1|i2|i3|none")]), Some(3));
    assert_eq!(series(&[("__name__", Equal, "none")]), Some(0));
    // Tried on each of the 50.
    assert_eq!(series(&[("__name__", Equal, "m0"), ("id", Regex, ".*7")]), Some(50));
    assert_eq!(series(&[("__name__", Equal, "m0"), ("id", NotRegex, ".*7")]), Some(50));
    assert_eq!(series(&[("__name__", Equal, "m0"), ("none", NotEqual, "x")]), Some(50));
    // The lists of all hosts would be put together, however long they are.
    assert_eq!(series(&[("__name__", Equal, "m0"), ("host", NotRegex, ".*7")]), None);
    assert_eq!(series(&[("host", Regex, ".+")]), None);
    assert_eq!(series(&[]), None);
    assert_eq!(at_most(Question::LabelNames), Some(3));
    assert_eq!(at_most(Question::LabelValues("host")), Some(10));
    assert_eq!(at_most(Question::LabelValues("none")), Some(0));
}

#[test]
fn the_series_of_one_appender_lie_together_whoever_creates_others_meanwhile() {
    let disk = MemFs::new();
    let db = builder(&disk).open().unwrap();
    let mut appenders: Vec<_> = (0..3).map(|_| db.appender()).collect();
    for i in 0..1000 {
        for (target, appender) in appenders.iter_mut().enumerate() {
            let (target, i) = (target.to_string(), i.to_string());
            let series = appender.series(&[("i", &i), ("same", "x"), ("target", &target)]).unwrap();
            appender.append_float(series, Timestamp(1), 1.0).unwrap();
        }
    }
    for appender in appenders {
        appender.commit().unwrap();
    }
    let before = everything(&db, &[Matcher::new(MatchOp::Equal, "same", "x").unwrap()]);
    assert_eq!(before.len(), 3000);
    disk.crash(Crash::Process);
    let mut log = WalReader::open(&disk, Path::new("data/wal"), 0).unwrap();
    let mut targets = Vec::new();
    while let Some(record) = log.next(&disk).unwrap() {
        let _ = read_series(record, |_, labels| targets.push(labels.last().map(|(_, target)| target.to_string())));
    }
    assert_eq!(targets.len(), 3000);
    let changes = targets.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(changes < 100, "{changes}");
    let db = builder(&disk).open().unwrap();
    assert_eq!(everything(&db, &[Matcher::new(MatchOp::Equal, "same", "x").unwrap()]), before);
}

#[test]
fn limits_refuse_new_series_and_let_known_ones_go_on() {
    let disk = MemFs::new();
    let db = builder(&disk).series_limit(2).open().unwrap();
    append(&db, &[("a", "1")], 1, 1.0).unwrap();
    append(&db, &[("a", "2")], 1, 1.0).unwrap();
    assert_eq!(append(&db, &[("a", "3")], 1, 1.0), Err(AppendError::SeriesLimit { limit: 2 }));
    append(&db, &[("a", "2")], 2, 1.0).unwrap();
    assert_eq!(db.stats().head.series_refused, 1);
    let disk = MemFs::new();
    let db = builder(&disk).memory_limit(200_000).open().unwrap();
    let refused = (0..10_000).find(|i| append(&db, &[("a", &i.to_string())], 1, 1.0).is_err());
    assert!(refused.is_some_and(|i| i > 100), "{refused:?}");
    append(&db, &[("a", "1")], 2, 1.0).unwrap();
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_space() {
    let disk = MemFs::new();
    let db = builder(&disk).open().unwrap();
    append(&db, &[("a", "1")], 1, 1.0).unwrap();
    disk.limit_space(disk.used() + 10);
    let mut appender = db.appender();
    let series = appender.series(&[("a", "2")]).unwrap();
    appender.append_float(series, Timestamp(2), 2.0).unwrap();
    assert!(appender.commit().is_err());
    assert_eq!(everything(&db, &[]).len(), 1, "reading goes on, nothing of the batch is visible");
    disk.heal();
    append(&db, &[("a", "2")], 3, 3.0).unwrap();
    disk.crash(Crash::Process);
    let after = everything(&builder(&disk).open().unwrap(), &[]);
    assert_eq!(after[1].1, [(3, 3.0)]);
}

#[test]
fn after_a_failed_sync_nothing_is_written_any_more() {
    let disk = MemFs::new();
    let db = builder(&disk).durability(Durability::Always).open().unwrap();
    append(&db, &[("a", "1")], 1, 1.0).unwrap();
    disk.fail_syncs(true);
    for _ in 0..2 {
        let mut appender = db.appender();
        let series = appender.series(&[("a", "1")]).unwrap();
        appender.append_float(series, Timestamp(2), 2.0).unwrap();
        assert!(appender.commit().is_err());
        disk.fail_syncs(false);
    }
    assert_eq!(everything(&db, &[])[0].1, [(1, 1.0)]);
}

#[test]
fn a_damaged_log_opens_with_what_is_intact_and_says_what_it_lost() {
    let disk = MemFs::new();
    let db = builder(&disk).open().unwrap();
    for step in 0..100 {
        append(&db, &[("a", "1")], step, 1.0).unwrap();
    }
    disk.crash(Crash::Process);
    let wal = std::path::Path::new("data/wal/00000000");
    let length = disk.read(wal).unwrap().len();
    disk.flip(wal, length / 2, 0x10).unwrap();
    let db = builder(&disk).open().unwrap();
    assert_eq!(db.opened().damage.len(), 1);
    assert!(db.opened().damage[0].1.bytes > 0);
    let left = everything(&db, &[])[0].1.len();
    assert!((20..80).contains(&left), "{left}");
    append(&db, &[("a", "1")], 1000, 1.0).unwrap();
    disk.crash(Crash::Process);
    let db = builder(&disk).open().unwrap();
    assert!(db.opened().damage.is_empty());
    assert_eq!(everything(&db, &[])[0].1.len(), left + 1);
}

#[test]
fn one_folder_has_one_database() {
    let disk = MemFs::new();
    let db = builder(&disk).open().unwrap();
    assert!(builder(&disk).open().is_err());
    db.close().unwrap();
    assert!(db.appender().series(&[("a", "b")]).is_err());
    builder(&disk).open().unwrap();
}

/// Upstream, when it reads the log of late samples, takes a marker as the word that all samples of the series before it are in
/// chunks.
#[test]
fn a_marker_in_the_log_speaks_of_all_late_samples_before_it() {
    let disk = MemFs::new();
    let db = builder(&disk).out_of_order_window(Duration::from_secs(3600)).open().unwrap();
    append(&db, &[("__name__", "m")], 3_600_000, 1.0).unwrap();
    let mut appender = db.appender();
    let series = appender.series(&[("__name__", "m")]).unwrap();
    for at in 0..70 {
        appender.append_float(series, Timestamp(1_000 + at * 29 % 70), at as f64).unwrap();
    }
    appender.commit().unwrap();
    let mut log = WalReader::open(&disk, Path::new("data/wbl"), 0).unwrap();
    let mut kinds = Vec::new();
    while let Some(record) = log.next(&disk).unwrap() {
        kinds.push(RecordType::of(record).unwrap());
    }
    assert_eq!(kinds, [RecordType::Samples, RecordType::MmapMarkers]);
    db.close().unwrap();
    // File header; series, oldest and newest time, encoding, length; then the number of samples.
    let file = disk.map(Path::new("data/chunks_head/000001")).unwrap();
    assert_eq!((file[32] >> 7, file[33] >> 7, u16::from_be_bytes([file[35], file[36]])), (1, 1, 70));
    drop(db);
    let db = builder(&disk).out_of_order_window(Duration::from_secs(3600)).open().unwrap();
    assert_eq!(everything(&db, &[])[0].1.len(), 71);
}
