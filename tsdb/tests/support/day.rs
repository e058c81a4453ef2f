//! Days of scraping on a moved clock: is every sample inside the retention answered, whatever maintenance does meanwhile?
//!
//! Every sample follows from its series and its step, so nothing has to be remembered to check what is read. A tenth of the
//! series come and go as pods do, one in a hundred is a native histogram. Maintenance runs once a minute of simulated time;
//! halfway the database is closed and opened, at three quarters its process dies.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ferula_model::{
    Appendable, Columns, IntegerHistogram, Labels, ManualClock, Queryable, Sample, SelectHints, TimeRange, Timestamp,
};
use ferula_tsdb::Db;
use ferula_tsdb::compact::Retention;
use ferula_tsdb::fs::{Crash, MemFs};

/// When the first sample is scraped, in milliseconds.
const START: i64 = 1_700_000_000_000;
/// Series of one target.
const PER_TARGET: u64 = 100;

/// Where the database lies.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// On a disk in memory.
    Memory(MemFs),
    /// In this folder.
    Folder(PathBuf),
}

/// What is scraped, and how it is kept. Times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Day {
    pub(crate) series: u64,
    pub(crate) interval: i64,
    pub(crate) length: i64,
    pub(crate) retention: i64,
    pub(crate) block_range: i64,
    /// After how long a series that comes and goes has another successor.
    pub(crate) life: i64,
    /// How often everything inside the retention is read.
    pub(crate) check_every: i64,
}

/// What happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) appended: u64,
    pub(crate) cuts: u64,
    pub(crate) compactions: u64,
    pub(crate) expired: u64,
    pub(crate) checks: u64,
    pub(crate) compared: u64,
    pub(crate) series: u64,
}

impl Day {
    /// Lives through it. Panics at the first answer that is wrong.
    pub(crate) fn run(&self, place: &Place, mut tell: impl FnMut(i64, &Report)) -> Report {
        let clock = Arc::new(ManualClock::at(Timestamp(START)));
        let mut report = Report::default();
        let mut db = self.open(place, &clock);
        let mut labels: Vec<(u64, [String; 3])> = (0..self.series).map(|series| (0, texts(series, 0))).collect();
        let every = |span: i64| (span / self.interval).max(1);
        let steps = self.length / self.interval;
        for step in 0..steps {
            self.scrape(&db, step, &mut labels, &mut report);
            let now = self.end(step);
            clock.set(Timestamp(now));
            if (step + 1) % every(60_000) == 0 {
                maintain(&db, now, &mut report);
            }
            if step + 1 == steps / 2 {
                db.close().expect("closes");
                db = self.open(place, &clock);
                assert!(db.opened().from_snapshot, "a clean start reads no log: {:?}", db.opened());
            }
            if step + 1 == steps * 3 / 4 {
                die(place, db);
                db = self.open(place, &clock);
                assert!(db.opened().damage.is_empty(), "{:?}", db.opened());
            }
            if (step + 1) % every(self.check_every) == 0 || step + 1 == steps {
                self.check(&db, step, &mut report);
                tell(now - START, &report);
            }
        }
        db.close().expect("closes");
        report
    }

    fn open(&self, place: &Place, clock: &Arc<ManualClock>) -> Db {
        let builder = match place {
            Place::Memory(disk) => Db::builder("data").fs(Arc::new(disk.session())),
            // Whoever dies in this process keeps its lock.
            Place::Folder(path) => Db::builder(path).lock_file(false),
        };
        let retention = Retention { time: Some(Duration::from_millis(self.retention as u64)), ..Retention::default() };
        let builder = builder.clock(Arc::clone(clock) as _).retention(retention);
        let builder = builder.block_range(Duration::from_millis(self.block_range as u64));
        let db = builder.block_range_max(Duration::from_millis(3 * self.block_range as u64)).open().expect("opens");
        assert!(db.quarantined().is_empty(), "{:?}", db.quarantined());
        db
    }

    /// The moment at which everything of a step is scraped.
    fn end(&self, step: i64) -> i64 {
        START + (step + 1) * self.interval
    }

    /// Targets are scraped one after the other within the interval.
    fn time(&self, series: u64, step: i64) -> i64 {
        START + step * self.interval + (series / PER_TARGET) as i64 * 137 % self.interval
    }

    fn generation(&self, series: u64, step: i64) -> u64 {
        if !series.is_multiple_of(10) {
            return 0;
        }
        let life = (self.life / self.interval) as u64;
        (step as u64 + series * life / self.series) / life
    }

    /// The steps in which a series had this generation, of those up to `last`.
    fn steps(&self, series: u64, generation: u64, last: i64) -> Range<i64> {
        if !series.is_multiple_of(10) {
            return 0..last + 1;
        }
        let life = (self.life / self.interval) as u64;
        let shift = (series * life / self.series) as i64;
        let first = (generation * life) as i64 - shift;
        first.max(0)..(first + life as i64).min(last + 1)
    }

    fn scrape(&self, db: &Db, step: i64, labels: &mut [(u64, [String; 3])], report: &mut Report) {
        for (target, labels) in labels.chunks_mut(PER_TARGET as usize).enumerate() {
            let mut appender = db.appender();
            for (at, (generation, texts_of_it)) in labels.iter_mut().enumerate() {
                let series = target as u64 * PER_TARGET + at as u64;
                let due = self.generation(series, step);
                if due != *generation {
                    (*generation, *texts_of_it) = (due, texts(series, due));
                }
                let [name, generation, instance] = texts_of_it;
                let pairs = [("__name__", &**name), ("generation", &**generation), ("instance", &**instance)];
                let reference = appender.series(&pairs).expect("takes the series");
                let time = Timestamp(self.time(series, step));
                if is_histogram(series) {
                    let sample = Sample::histogram(time, histogram(series, step));
                    appender.append(reference, sample).expect("takes the histogram");
                } else {
                    appender.append_float(reference, time, value(series, step)).expect("takes the sample");
                }
            }
            let summary = appender.commit().expect("commits");
            assert_eq!((summary.samples, summary.dropped), (labels.len(), 0), "everything is taken");
            report.appended += summary.samples as u64;
        }
    }

    /// Reads everything inside the retention, and compares it with what was scraped.
    fn check(&self, db: &Db, last: i64, report: &mut Report) {
        let now = self.end(last);
        let range = TimeRange::new(Timestamp(now - self.retention), Timestamp(now));
        let querier = db.querier(range).expect("answers");
        let set = querier.select(&SelectHints::default(), &[]).expect("selects");
        let mut columns = Columns::default();
        let mut found = 0;
        for at in 0..set.len() {
            set.read(at, range, &mut columns).expect("reads");
            let labels = set.labels(at);
            let (series, generation) = numbers(&labels);
            let inside = |step: &i64| self.time(series, *step) >= range.min.as_millis();
            let steps = || self.steps(series, generation, last).filter(inside);
            let times: Vec<i64> = steps().map(|step| self.time(series, step)).collect();
            if is_histogram(series) {
                assert_eq!(columns.histogram_times, times, "{labels:?}");
                let counts = columns.histograms.iter().map(|histogram| match histogram {
                    ferula_model::Histogram::Integer(histogram) => histogram.count,
                    ferula_model::Histogram::Float(histogram) => histogram.count as u64,
                });
                assert!(counts.eq(steps().map(|step| histogram(series, step).count)), "{labels:?}: {columns:?}");
            } else {
                assert_eq!(columns.times, times, "{labels:?}");
                let bits = columns.values.iter().map(|value| value.to_bits());
                assert!(bits.eq(steps().map(|step| value(series, step).to_bits())), "{labels:?}: {columns:?}");
            }
            found += u64::from(!times.is_empty());
            report.compared += times.len() as u64;
        }
        let generations = (0..self.series).map(|series| {
            let all = 0..=self.generation(series, last);
            let is_inside = |generation: &u64| {
                let steps = self.steps(series, *generation, last);
                !steps.is_empty() && self.time(series, steps.end - 1) >= range.min.as_millis()
            };
            all.filter(is_inside).count() as u64
        });
        assert_eq!(found, generations.sum::<u64>(), "every series that has samples is found");
        let blocks = db.blocks();
        let newest = blocks.iter().map(|meta| meta.max_time).max().unwrap_or(i64::MIN);
        assert!(blocks.iter().all(|meta| newest - meta.max_time < self.retention), "what is too old goes: {blocks:?}");
        report.checks += 1;
        report.series = report.series.max(found);
    }
}

fn maintain(db: &Db, now: i64, report: &mut Report) {
    let tick = db.tick(Timestamp(now));
    assert!(tick.problems.is_empty(), "{:?}", tick.problems);
    report.cuts += tick.blocks.len() as u64;
    report.compactions += tick.compactions.len() as u64;
    report.expired += tick.deletions.by_time.len() as u64;
}

/// The process ends between two scrapes, without a word.
fn die(place: &Place, db: Db) {
    match place {
        Place::Memory(disk) => disk.crash(Crash::Process),
        Place::Folder(_) => std::mem::forget(db),
    }
}

fn texts(series: u64, generation: u64) -> [String; 3] {
    [format!("metric_{}", series % PER_TARGET), generation.to_string(), format!("target-{}", series / PER_TARGET)]
}

fn numbers(labels: &Labels) -> (u64, u64) {
    let number = |name: &str, before: &str| -> u64 {
        let text = labels.get(name).and_then(|text| text.strip_prefix(before));
        text.and_then(|text| text.parse().ok()).expect("labels as they were written")
    };
    (number("instance", "target-") * PER_TARGET + number("__name__", "metric_"), number("generation", ""))
}

fn is_histogram(series: u64) -> bool {
    series % PER_TARGET == 99
}

fn histogram(series: u64, step: i64) -> IntegerHistogram {
    let count = step as u64 * (1 + series % 7);
    IntegerHistogram { count, zero_count: count, sum: count as f64, ..IntegerHistogram::default() }
}

/// Counters, gauges, constants, and counters that begin again.
fn value(series: u64, step: i64) -> f64 {
    match series % 4 {
        0 => (step as u64 * (1 + series % 50)) as f64,
        1 => ((series ^ step as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54) as f64 / 10.0,
        2 => series as f64,
        _ => (step % 720) as f64,
    }
}
