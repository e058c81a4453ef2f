//! What does measuring cost? `cargo bench -p ferula-exposition --bench registry`
//!
//! Each line is the cost of one operation in nanoseconds, alone and with a second thread that does the same to the same
//! metric, and its ratio to one relaxed atomic addition. The operations take turns within one run and the best of many short
//! rounds counts, so that other work on the machine changes figures but hardly ratios.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints figures")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ferula_exposition::registry::{DEFAULT_BUCKETS, NativeOptions, SummaryOptions};
use ferula_exposition::{Feed, Format, ParseOptions, Parser, Registry, encode};
use ferula_model::{
    AppendError, Appendable, Appender, CommitError, CommitSummary, Exemplar, Labels, Metadata, Sample, SeriesRef,
    SystemClock, Timestamp,
};

const ROUNDS: usize = 200;
const PER_ROUND: u32 = 20_000;
const CONTENDED_FOR: Duration = Duration::from_millis(1500);

type Operation = (&'static str, Arc<dyn Fn(u32) + Send + Sync>);

/// An operation repeated, with the loop inside so that the call through the pointer is not measured.
fn operation(name: &'static str, run: impl Fn(u32) + Send + Sync + 'static) -> Operation {
    (name, Arc::new(move |times| (0..times).for_each(&run)))
}

fn operations() -> Vec<Operation> {
    let registry = Registry::with_clock(Arc::new(SystemClock));
    let atomic = AtomicU64::new(0);
    let counter = registry.counter("a", "").unwrap();
    let fractions = counter.clone();
    let gauge = registry.gauge("b", "").unwrap();
    let family = registry.counter_family("c", "", ["method", "code"]).unwrap();
    let classic = registry.histogram("d", "", &DEFAULT_BUCKETS).unwrap();
    let native = registry.native_histogram("e", "", NativeOptions::default()).unwrap();
    let summary = registry.summary("f", "", SummaryOptions::new(&[0.5, 0.99])).unwrap();
    let seconds = |i: u32| f64::from(i % 1000 + 1) / 500.0;
    vec![
        operation("one relaxed atomic addition", move |_| {
            black_box(&atomic).fetch_add(1, Ordering::Relaxed);
        }),
        operation("Counter::inc", move |_| black_box(&counter).inc()),
        operation("Counter::add of a fraction", move |_| black_box(&fractions).add(0.5)),
        operation("Gauge::set", move |i| black_box(&gauge).set(f64::from(i))),
        operation("Family::with and Counter::inc", move |_| black_box(&family).with(["GET", "200"]).inc()),
        operation("Histogram::observe, 11 classic bounds", move |i| black_box(&classic).observe(seconds(i))),
        operation("Histogram::observe, native", move |i| black_box(&native).observe(seconds(i))),
        operation("Summary::observe, two quantiles", move |i| black_box(&summary).observe(seconds(i))),
    ]
}

/// The best nanoseconds per operation for each.
fn measure_alone(operations: &[Operation]) -> Vec<f64> {
    let mut best = vec![f64::INFINITY; operations.len()];
    for _ in 0..ROUNDS {
        for ((_, run), best) in operations.iter().zip(&mut best) {
            *best = best.min(timed(|| run(PER_ROUND)));
        }
    }
    best
}

/// The same while a second thread is at it as well. Only rounds count in which it did at least half as much: on a busy machine
/// it does not always run.
fn measure_contended(operations: &[Operation]) -> Vec<f64> {
    let contended = |run: &Arc<dyn Fn(u32) + Send + Sync>| {
        let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    run(1000);
                    done.fetch_add(1000, Ordering::Relaxed);
                }
            });
            let mut best = f64::NAN;
            let start = Instant::now();
            while start.elapsed() < CONTENDED_FOR {
                let before = done.load(Ordering::Relaxed);
                let nanos = timed(|| run(PER_ROUND));
                if done.load(Ordering::Relaxed) - before >= u64::from(PER_ROUND / 2) {
                    best = nanos.min(best);
                }
            }
            stop.store(true, Ordering::Relaxed);
            best
        })
    };
    operations.iter().map(|(_, run)| contended(run)).collect()
}

fn timed(round: impl Fn()) -> f64 {
    let start = Instant::now();
    round();
    start.elapsed().as_nanos() as f64 / f64::from(PER_ROUND)
}

/// A storage that takes everything and keeps nothing.
struct Nowhere(u64);

impl Appendable for Nowhere {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(Self(0))
    }
}

impl Appender for Nowhere {
    fn series(&mut self, _: &[(&str, &str)]) -> Result<SeriesRef, AppendError> {
        self.0 += 1;
        Ok(SeriesRef(self.0))
    }
    fn append(&mut self, _: SeriesRef, sample: Sample) -> Result<(), AppendError> {
        black_box(&sample);
        Ok(())
    }
    fn append_exemplar(&mut self, _: SeriesRef, _: Exemplar) -> Result<(), AppendError> {
        Ok(())
    }
    fn set_metadata(&mut self, _: SeriesRef, _: &Metadata) -> Result<(), AppendError> {
        Ok(())
    }
    fn commit(self: Box<Self>) -> Result<CommitSummary, CommitError> {
        Ok(CommitSummary::default())
    }
    fn rollback(self: Box<Self>) {}
}

/// Nanoseconds per series of storing a registry, and of what a scrape of it would do instead before it stores.
fn measure_feed() {
    const SERIES: u32 = 2000;
    let registry = Registry::new();
    let family = registry.counter_family("http_requests_total", "Requests.", ["method", "path"]).unwrap();
    (0..SERIES).for_each(|i| family.with(["GET", &format!("/some/path/{i}")]).inc_by(u64::from(i)));
    let mut feed = Feed::new(Labels::from_pairs([("job", "bench"), ("instance", "here")]));
    let mut best = [f64::INFINITY; 3];
    for round in 0..ROUNDS {
        let steps: [&mut dyn FnMut(); 3] = [
            &mut || drop(black_box(registry.gather())),
            &mut || drop(feed.gather(&registry, Timestamp(round as i64), &Nowhere(0)).unwrap()),
            &mut || {
                let mut body = Vec::new();
                encode(&registry.gather(), Format::Text, &mut body);
                let mut parser = Parser::new(&body, Format::Text, &ParseOptions::default());
                while let Some(event) = parser.next() {
                    let _ = black_box(event.unwrap());
                }
            },
        ];
        for (step, best) in steps.into_iter().zip(&mut best) {
            let start = Instant::now();
            step();
            *best = best.min(start.elapsed().as_nanos() as f64 / f64::from(SERIES));
        }
    }
    let [gather, fed, parsed] = best;
    println!(
        "\nns per series: gathered {gather:.0}, fed {fed:.0}; encoded and parsed, nothing stored yet: {parsed:.0}"
    );
}

fn main() {
    measure_feed();
    let operations = operations();
    let (alone, contended) = (measure_alone(&operations), measure_contended(&operations));
    println!("{:40} {:>8} {:>7} {:>12} {:>7}", "", "alone ns", "ratio", "2 threads ns", "ratio");
    for (((name, _), alone_ns), contended_ns) in operations.iter().zip(&alone).zip(&contended) {
        let (of_alone, of_contended) = (alone_ns / alone[0], contended_ns / contended[0]);
        println!("{name:40} {alone_ns:8.2} {of_alone:7.2} {contended_ns:12.2} {of_contended:7.2}");
    }
}
