//! What series hold, counted as it changes: a look at all of them for each scrape of ourselves would cost more than they do.

use std::sync::atomic::{AtomicI64, Ordering};

use ferula_model::{Histogram, is_stale};

use super::series::{Kind, Series};

/// What one series counts for, or by how much a count changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Open chunks.
    pub(super) open: i64,
    /// Full chunks in order.
    pub(super) mapped: i64,
    /// Series whose newest sample in order is a stale marker.
    pub(super) stale: i64,
    /// Series whose newest sample in order is a histogram.
    pub(super) histograms: i64,
    /// Filled and empty buckets of these.
    pub(super) buckets: i64,
}

impl Tally {
    /// What a series counts for, but for its full chunks, which are counted where they are stored.
    #[inline]
    pub(super) fn of(series: &Series) -> Self {
        let open = i64::from(series.has_open_chunk());
        match series.kind {
            Kind::Empty => Self { open, ..Self::default() },
            Kind::Float => Self { open, stale: i64::from(is_stale(series.floats.value())), ..Self::default() },
            Kind::Histogram => Self { open, ..Self::of_histogram(series) },
        }
    }

    fn of_histogram(series: &Series) -> Self {
        let Some(last) = series.rest.as_ref().and_then(|rest| rest.last_histogram.as_ref()) else {
            return Self::default();
        };
        let buckets = match last {
            Histogram::Integer(h) => h.positive_buckets.len() + h.negative_buckets.len(),
            Histogram::Float(h) => h.positive_buckets.len() + h.negative_buckets.len(),
        };
        Self { stale: i64::from(is_stale(last.sum())), histograms: 1, buckets: buckets as i64, ..Self::default() }
    }

    /// Notes that a series, which counted for `before`, has changed.
    #[inline]
    pub(super) fn changed(&mut self, before: Self, series: &Series) {
        let now = Self::of(series);
        self.open += now.open - before.open;
        self.stale += now.stale - before.stale;
        self.histograms += now.histograms - before.histograms;
        self.buckets += now.buckets - before.buckets;
    }

    /// Notes that a series is gone.
    pub(super) fn gone(&mut self, series: &Series) {
        self.changed(Self::of(series), &Series::default());
    }
}

/// What all series of the head count for.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    open: AtomicI64,
    mapped: AtomicI64,
    stale: AtomicI64,
    histograms: AtomicI64,
    buckets: AtomicI64,
}

impl Gauges {
    pub(super) fn add(&self, change: Tally) {
        for (gauge, change) in self.each(&change) {
            if change != 0 {
                gauge.fetch_add(change, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn read(&self) -> Tally {
        let load = |gauge: &AtomicI64| gauge.load(Ordering::Relaxed);
        Tally {
            open: load(&self.open),
            mapped: load(&self.mapped),
            stale: load(&self.stale),
            histograms: load(&self.histograms),
            buckets: load(&self.buckets),
        }
    }

    fn each(&self, tally: &Tally) -> [(&AtomicI64, i64); 5] {
        [
            (&self.open, tally.open),
            (&self.mapped, tally.mapped),
            (&self.stale, tally.stale),
            (&self.histograms, tally.histograms),
            (&self.buckets, tally.buckets),
        ]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use ferula_model::{Appendable, IntegerHistogram, STALE_MARKER, Sample, Timestamp};

    use super::*;
    use crate::db::Db;
    use crate::fs::{Crash, MemFs};
    use crate::head::Head;

    /// What a look at every series says.
    fn looked_at(head: &Head) -> Tally {
        let mut sum = Tally::default();
        for (_, page) in head.pages.iter() {
            for series in page.read().iter().filter(|series| !series.is_dead()) {
                sum.changed(Tally::default(), series);
                sum.mapped += series.rest.as_ref().map_or(0, |rest| rest.mapped.len()) as i64;
            }
        }
        sum
    }

    fn open(fs: &MemFs) -> Db {
        Db::builder("db").fs(Arc::new(fs.session())).open().unwrap()
    }

    fn check(db: &Db) -> Tally {
        let counted = db.head.counters.gauges.read();
        assert_eq!(counted, looked_at(&db.head));
        counted
    }

    /// A sample a minute of some floats and a histogram; every 100th is a stale marker.
    fn append(db: &Db, minutes: std::ops::Range<i64>) {
        for minute in minutes {
            let mut appender = db.appender();
            let time = Timestamp(minute * 60_000);
            let is_stale = minute % 100 == 0;
            for name in ["a", "b", "c"] {
                let series = appender.series(&[("__name__", name)]).unwrap();
                appender.append_float(series, time, if is_stale { STALE_MARKER } else { 1.0 }).unwrap();
            }
            if minute < 400 {
                let series = appender.series(&[("__name__", "h")]).unwrap();
                let sum = if is_stale { STALE_MARKER } else { 0.0 };
                let value = IntegerHistogram { sum, ..IntegerHistogram::default() };
                appender.append(series, Sample::histogram(time, value)).unwrap();
            }
            appender.commit().unwrap();
        }
    }

    #[test]
    fn what_is_counted_is_what_a_look_at_every_series_says() {
        let fs = MemFs::new();
        let db = open(&fs);
        append(&db, 0..401);
        let before = check(&db);
        assert_eq!((before.open, before.stale, before.histograms), (4, 3, 1));
        assert!(before.mapped > 10);
        let _ = db.tick(Timestamp(401 * 60_000));
        assert!(check(&db).mapped < before.mapped);
        // The log once more, and the chunks that were stored.
        fs.crash(Crash::Process);
        drop(db);
        let db = open(&fs);
        check(&db);
        append(&db, 401..410);
        assert_eq!(check(&db).stale, 0);
        // The snapshot of a clean close.
        db.close().unwrap();
        drop(db);
        let db = open(&fs);
        assert!(db.opened().from_snapshot);
        check(&db);
        // The histogram leaves for good.
        append(&db, 410..900);
        for _ in 0..3 {
            let _ = db.tick(Timestamp(900 * 60_000));
        }
        let after = check(&db);
        assert_eq!((after.open, after.histograms), (3, 0));
    }
}
