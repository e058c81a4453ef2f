//! A day of scraping, small; `cargo run --release -p ferula-tsdb --example day` is the large one.

use ferula_tsdb::fs::MemFs;

use crate::day::{Day, Place};

#[test]
fn every_sample_inside_the_retention_is_answered_through_a_day() {
    const HOUR: i64 = 3_600_000;
    let day = Day {
        series: 100,
        interval: 60_000,
        length: 24 * HOUR,
        retention: 8 * HOUR,
        block_range: 2 * HOUR,
        life: HOUR,
        check_every: HOUR,
    };
    let folder = tempfile::tempdir().unwrap();
    for place in [Place::Memory(MemFs::new()), Place::Folder(folder.path().to_owned())] {
        let report = day.run(&place, |_, _| {});
        assert_eq!((report.appended, report.checks), (100 * 24 * 60, 24), "{place:?}");
        assert!(report.cuts >= 10 && report.compactions >= 2 && report.expired >= 2, "{place:?}: {report:?}");
    }
}
