//! The worker: one task per target, from slot to slot.
//!
//! ```text
//!  sleep until the slot --> fetch --> ingest + report --> commit --> note the status --.
//!        ^                                                                             |
//!        '-----------------------------------------------------------------------------'
//! ```
//!
//! Orders (a new configuration, the end of the target, the end of everything) are heard between scrapes: one that is
//! under way always ends. Everything that decides is elsewhere: [`schedule`](crate::schedule) says when,
//! [`ingest`](crate::ingest) what.

use std::sync::Arc;
use std::time::Duration;

use ferula_exposition::Format;
use ferula_exposition::negotiate::format_of_response;
use ferula_http::BodyBuffer;
use ferula_model::{Appendable, Clock, Timestamp};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::bodies::Bodies;
use crate::failure::FailureLog;
use crate::fetch::{Fetch, FetchError, FetchRequest};
use crate::ingest::{Counts, IngestError, IngestRules, Ingestor};
use crate::job::ScrapeProtocol;
use crate::metrics::ScrapeMetrics;
use crate::report::{ExtraReport, Reporter, ScrapeReport};
use crate::schedule::Slots;
use crate::status::{Health, LastScrape};
use crate::target::Target;

/// Bodies up to this size are read on the async worker: that takes well below a millisecond. Longer ones, and batches of
/// storages that may wait, go to a thread of their own.
const INLINE_BYTES_MAX: usize = 256 << 10;

/// What the worker of a target needs of its surroundings.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) storage: Arc<dyn Appendable>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<ScrapeMetrics>,
    pub(crate) bodies: Arc<Bodies>,
    pub(crate) seed: u64,
}

/// How a target is scraped; replaced as a whole.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) target: Arc<Target>,
    pub(crate) fetch: Arc<dyn Fetch>,
    pub(crate) request: FetchRequest,
    pub(crate) fallback: Option<ScrapeProtocol>,
    pub(crate) rules: Arc<IngestRules>,
    pub(crate) extra_metrics: bool,
    /// The job has more targets than it may: nothing is fetched, everything fails.
    pub(crate) forced_error: Option<String>,
    pub(crate) failures: Option<Arc<FailureLog>>,
    pub(crate) job: Arc<str>,
}

/// What a worker is told.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// Scrape by this plan.
    Scrape(Arc<Plan>),
    /// The target is gone: end its series, once it is sure that nobody else goes on with them.
    EndSeries,
    /// Stop as it is.
    Stop,
}

/// One target's worker.
pub(crate) struct Worker {
    around: Surroundings,
    orders: watch::Receiver<Order>,
    plan: Arc<Plan>,
    status: Arc<Mutex<LastScrape>>,
    /// What a scrape works with; `None` only while another thread has it.
    bench: Option<Box<Bench>>,
    last_start: Option<Instant>,
}

/// What a scrape works with, and what it remembers from one to the next.
struct Bench {
    ingestor: Ingestor,
    reporter: Reporter,
}

/// A fetched scrape, about to be stored.
struct Arrival {
    at: Timestamp,
    started: Instant,
    fetched: Result<String, FetchError>,
    body: BodyBuffer,
}

impl Worker {
    pub(crate) fn new(
        around: Surroundings,
        orders: watch::Receiver<Order>,
        plan: Arc<Plan>,
        ingestor: Ingestor,
        status: Arc<Mutex<LastScrape>>,
    ) -> Self {
        let reporter = Reporter::new(plan.target.labels.clone());
        let bench = Some(Box::new(Bench { ingestor, reporter }));
        Self { around, orders, plan, status, bench, last_start: None }
    }

    /// Scrapes until it is told to end.
    pub(crate) async fn run(mut self) {
        let mut last = self.around.clock.now();
        loop {
            let order = self.orders.borrow_and_update().clone();
            match order {
                Order::Stop => return,
                Order::EndSeries => return self.end_series(last).await,
                Order::Scrape(plan) => self.adopt(plan),
            }
            let slot = self.slots().next(last, self.around.clock.now());
            tokio::select! {
                biased;
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = sleep_until(&*self.around.clock, slot) => {
                    self.scrape(slot).await;
                    last = slot;
                }
            }
        }
    }

    fn slots(&self) -> Slots {
        Slots::new(self.plan.target.interval, self.plan.target.identity, self.around.seed)
    }

    fn adopt(&mut self, plan: Arc<Plan>) {
        if Arc::ptr_eq(&plan, &self.plan) {
            return;
        }
        let same_series = same_series(&self.plan, &plan);
        if let Some(bench) = &mut self.bench {
            bench.ingestor.change_rules(Arc::clone(&plan.rules), same_series);
        }
        self.plan = plan;
    }

    async fn scrape(&mut self, slot: Timestamp) {
        let Some(mut bench) = self.bench.take() else { return };
        let started = Instant::now();
        if let Some(before) = self.last_start.replace(started) {
            self.around.metrics.interval_length.observe(self.plan.target.interval, started - before);
        }
        let at = self.slots().stamp(slot, self.around.clock.now());
        let mut body = self.around.bodies.take();
        let fetched = match &self.plan.forced_error {
            Some(error) => Err(FetchError::Other(error.clone())),
            None => self.plan.fetch.fetch(&self.plan.request, &mut body).await,
        };
        let body_bytes = body.as_slice().len();
        let arrival = Arrival { at, started, fetched, body };
        let (plan, around) = (Arc::clone(&self.plan), self.around.clone());
        let (bench, scraped) = if body_bytes <= INLINE_BYTES_MAX {
            let scraped = bench.store(&plan, &around, arrival);
            (bench, scraped)
        } else {
            let elsewhere = tokio::task::spawn_blocking(move || {
                let scraped = bench.store(&plan, &around, arrival);
                (bench, scraped)
            });
            match elsewhere.await {
                Ok(done) => done,
                // The runtime is shutting down, or a storage panicked: there is nothing to go on with.
                Err(error) => {
                    tracing::error!(target = %self.plan.target.url, %error, "storing a scrape");
                    return;
                }
            }
        };
        self.bench = Some(bench);
        *self.status.lock() = scraped;
    }

    /// Ends the series of a target that is gone. It may have come back under another configuration, so that somebody else
    /// goes on with them: only after the next scrape would have been there for a while, the ends are marked, at the time
    /// of the first scrape that is missing. If the series went on, the markers are out of order and refused.
    async fn end_series(mut self, last: Timestamp) {
        let interval = self.plan.target.interval;
        let missing = self.slots().next(last, self.around.clock.now());
        let sure = missing.saturating_add(interval + interval / 10);
        loop {
            tokio::select! {
                () = sleep_until(&*self.around.clock, sure) => break,
                changed = self.orders.changed() => {
                    if changed.is_err() || matches!(*self.orders.borrow_and_update(), Order::Stop) {
                        return;
                    }
                }
            }
        }
        if let Some(bench) = &mut self.bench {
            bench.end(&self.plan, &self.around, missing);
        }
    }
}

impl Bench {
    /// Stores what was fetched, or that nothing was, and says how it went.
    fn store(&mut self, plan: &Plan, around: &Surroundings, arrival: Arrival) -> LastScrape {
        let Arrival { at, started, fetched, body } = arrival;
        let mut appender = around.storage.appender();
        let (counts, problem) = match &fetched {
            Err(error) => (Counts::default(), Some(error.to_string())),
            Ok(content_type) => {
                let body = body.as_slice();
                // Without a body there is nothing to read in any format, and nothing that would need a type.
                let format = if body.is_empty() {
                    Ok(Format::Text)
                } else {
                    format_of_response(Some(content_type), plan.fallback)
                };
                let (counts, outcome) = match format {
                    Ok(format) => self.ingestor.ingest(&mut *appender, body, format, at),
                    Err(error) => (Counts::default(), Err(IngestError::from(error))),
                };
                around.metrics.ingested(&counts, outcome.as_ref().copied());
                (counts, outcome.err().map(|error| error.to_string()))
            }
        };
        if let Some(problem) = &problem {
            appender.rollback();
            appender = around.storage.appender();
            if self.ingestor.mark_all_stale(&mut *appender, at) {
                around.metrics.cache_flush_forced.inc();
            }
            if let Some(failures) = &plan.failures {
                failures.write(around.clock.now(), &plan.job, &plan.target.url, problem);
            }
            tracing::debug!(job = &*plan.job, target = %plan.target.url, error = %problem, "scrape failed");
        }
        let body_bytes = match &fetched {
            Err(FetchError::BodyTooLarge) => {
                around.metrics.exceeded_body_size_limit.inc();
                -1
            }
            Err(_) => 0,
            Ok(_) => i64::try_from(body.as_slice().len()).unwrap_or(i64::MAX),
        };
        around.bodies.give_back(body);
        let (timeout, sample_limit) = (plan.target.timeout, plan.rules.sample_limit);
        let report = ScrapeReport {
            up: problem.is_none(),
            duration: started.elapsed(),
            scraped: counts.scraped,
            after_relabelling: counts.after_relabelling,
            series_added: counts.series_added,
            extra: plan.extra_metrics.then_some(ExtraReport { timeout, sample_limit, body_bytes }),
        };
        if let Err(error) = self.reporter.append(&mut *appender, at, &report) {
            tracing::warn!(job = &*plan.job, target = %plan.target.url, %error, "appending the report of a scrape");
        }
        if let Err(error) = appender.commit() {
            around.metrics.commits_failed.inc();
            tracing::error!(job = &*plan.job, target = %plan.target.url, %error, "committing a scrape");
        }
        let health = if report.up { Health::Up } else { Health::Down };
        LastScrape { health, error: problem.unwrap_or_default(), at: Some(at), duration: report.duration }
    }

    fn end(&mut self, plan: &Plan, around: &Surroundings, at: Timestamp) {
        let mut appender = around.storage.appender();
        self.ingestor.mark_all_stale(&mut *appender, at);
        let reported = self.reporter.append_stale(&mut *appender, at);
        let committed = appender.commit();
        if let Err(error) = reported {
            tracing::warn!(job = &*plan.job, target = %plan.target.url, %error, "ending the series of a target");
        }
        if let Err(error) = committed {
            tracing::warn!(job = &*plan.job, target = %plan.target.url, %error, "ending the series of a target");
        }
    }
}

/// Whether two plans make the same series of the same bytes.
fn same_series(a: &Plan, b: &Plan) -> bool {
    a.rules.series == b.rules.series && a.rules.parse.type_and_unit_labels == b.rules.parse.type_and_unit_labels
}

/// Sleeps until a moment of the clock, or up to a millisecond less: the timer wakes late rather than early, and a slot
/// snaps in both directions.
async fn sleep_until(clock: &dyn Clock, moment: Timestamp) {
    let rest = moment.since(clock.now()).saturating_sub(Duration::from_millis(1));
    tokio::time::sleep(rest).await;
}
