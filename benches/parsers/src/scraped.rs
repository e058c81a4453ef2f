//! A whole scrape of known series, but for the network and the storage.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ferula_http::BodyBuffer;
use ferula_model::{
    AppendError, Appendable, Appender, Clock, CommitError, CommitSummary, Exemplar, Metadata, Sample, SeriesRef,
    Timestamp,
};
use ferula_scrape::{
    Fetch, FetchRequest, Fetching, JobTransport, ManagerOptions, ScrapeConfig, ScrapeDefaults, ScrapeManager, Target,
    Transport, TransportError,
};
use tokio::runtime::Runtime;
use tokio::time::Instant;

const INTERVAL: Duration = Duration::from_secs(10);

/// A manager with one target, whose time stands still until it is asked for a scrape.
pub struct Bed {
    runtime: Runtime,
    storage: Arc<Counting>,
    _manager: ScrapeManager,
}

impl Bed {
    pub fn new(body: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let storage = Arc::new(Counting::default());
        let manager = runtime.block_on(async {
            let clock = Arc::new(MovedClock(Instant::now()));
            let transport = Arc::new(Same(body.as_bytes().into()));
            let manager = ScrapeManager::new(ManagerOptions::new(storage.clone(), clock).transport(transport)).unwrap();
            let mut job = ScrapeConfig::new("bench").static_targets(["bench:1"]);
            job.scrape_interval = INTERVAL;
            job.validate(&ScrapeDefaults::default()).unwrap();
            manager.apply(vec![job]).unwrap();
            manager
        });
        let bed = Self { runtime, storage, _manager: manager };
        // The first scrape learns the series, the second one the lines between them.
        for _ in 0..3 {
            bed.scrape();
        }
        bed
    }

    /// One scrape; gives the samples of the body.
    pub fn scrape(&self) -> usize {
        let before = self.storage.samples.load(Relaxed);
        self.runtime.block_on(async { tokio::time::sleep(INTERVAL).await });
        let of_report = 5;
        (self.storage.samples.load(Relaxed) - before).saturating_sub(of_report) as usize
    }
}

/// Time as tokio's paused clock has it.
#[derive(Debug)]
struct MovedClock(Instant);

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000 + self.0.elapsed().as_millis() as i64)
    }
}

/// Answers the same body always.
#[derive(Clone, Debug)]
struct Same(Arc<[u8]>);

impl Transport for Same {
    fn job(&self, _: &ScrapeConfig) -> Result<Box<dyn JobTransport>, TransportError> {
        Ok(Box::new(self.clone()))
    }
}

impl JobTransport for Same {
    fn target(&self, _: &Target) -> Result<Arc<dyn Fetch>, TransportError> {
        Ok(Arc::new(self.clone()))
    }
}

impl Fetch for Same {
    fn fetch<'a>(&'a self, _: &'a FetchRequest, body: &'a mut BodyBuffer) -> Fetching<'a> {
        body.replace(&self.0);
        Box::pin(std::future::ready(Ok("text/plain; version=0.0.4".to_owned())))
    }
}

/// A storage that counts.
#[derive(Debug, Default)]
struct Counting {
    series: AtomicU64,
    samples: AtomicU64,
}

struct Batch<'a>(&'a Counting, u64);

impl Appendable for Counting {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(Batch(self, 0))
    }
}

impl Appender for Batch<'_> {
    fn series(&mut self, _: &[(&str, &str)]) -> Result<SeriesRef, AppendError> {
        Ok(SeriesRef(self.0.series.fetch_add(1, Relaxed)))
    }

    fn append(&mut self, _: SeriesRef, _: Sample) -> Result<(), AppendError> {
        self.1 += 1;
        Ok(())
    }

    fn append_float(&mut self, _: SeriesRef, _: Timestamp, _: f64) -> Result<(), AppendError> {
        self.1 += 1;
        Ok(())
    }

    fn append_exemplar(&mut self, _: SeriesRef, _: Exemplar) -> Result<(), AppendError> {
        Ok(())
    }

    fn set_metadata(&mut self, _: SeriesRef, _: &Metadata) -> Result<(), AppendError> {
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<CommitSummary, CommitError> {
        self.0.samples.fetch_add(self.1, Relaxed);
        Ok(CommitSummary { samples: self.1 as usize, dropped: 0 })
    }

    fn rollback(self: Box<Self>) {}
}
