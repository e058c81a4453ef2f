//! A client that goes away: its query ends.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use bytes::Bytes;
use ferula::api::Api;
use ferula::model::{
    Columns, Labels, ManualClock, Matcher, Querier, Queryable, SelectError, SelectHints, SeriesSet, TimeRange,
    Timestamp,
};
use ferula::promql::{Engine, EngineOptions};
use ferula::server::Server;
use http_body_util::Empty;
use tokio::sync::mpsc::UnboundedSender;

const SERIES: usize = 1000;

/// A storage whose series wait until the gate opens.
struct Slow {
    reads: AtomicUsize,
    gate: Mutex<mpsc::Receiver<()>>,
    /// Given to the first selection: told of each read, and closed when its series are not needed any more.
    asked: Mutex<Option<UnboundedSender<()>>>,
}

struct View<'a> {
    slow: &'a Slow,
    told: Option<UnboundedSender<()>>,
}

impl Queryable for Slow {
    fn querier(&self, _: TimeRange) -> Result<Box<dyn Querier + '_>, SelectError> {
        Ok(Box::new(View { slow: self, told: None }))
    }
}

impl Querier for View<'_> {
    fn select(&self, _: &SelectHints, _: &[Matcher]) -> Result<Box<dyn SeriesSet + '_>, SelectError> {
        Ok(Box::new(View { slow: self.slow, told: self.slow.asked.lock().unwrap().take() }))
    }

    fn label_names(&self, _: &[Matcher], _: usize) -> Result<Vec<String>, SelectError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _: &[Matcher], _: usize) -> Result<Vec<String>, SelectError> {
        Ok(Vec::new())
    }
}

impl SeriesSet for View<'_> {
    fn len(&self) -> usize {
        SERIES
    }

    fn labels(&self, index: usize) -> Labels {
        Labels::from_pairs([("__name__", "slow"), ("number", index.to_string().as_str())])
    }

    fn read(&self, _: usize, _: TimeRange, columns: &mut Columns) -> Result<(), SelectError> {
        self.slow.reads.fetch_add(1, Ordering::SeqCst);
        if let Some(told) = &self.told {
            let _ = told.send(());
        }
        // It never opens: it is given up.
        let _ = self.slow.gate.lock().unwrap().recv();
        columns.times.push(0);
        columns.values.push(1.0);
        Ok(())
    }
}

#[test]
fn a_client_that_goes_away_cancels_its_query() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let (gate, waiting) = mpsc::channel();
        let (asked, mut told) = tokio::sync::mpsc::unbounded_channel();
        let slow = Slow { reads: AtomicUsize::new(0), gate: Mutex::new(waiting), asked: Mutex::new(Some(asked)) };
        let slow = Arc::new(slow);
        let clock = Arc::new(ManualClock::at(Timestamp(0)));
        let api =
            Api::new(Arc::clone(&slow) as Arc<dyn Queryable>, Arc::new(Engine::new(EngineOptions::default())), clock);
        let server = Arc::new(Server::new(api));
        let client = tokio::spawn(async move {
            let request = http::Request::get("/api/v1/query?query=sum(slow)").body(Empty::<Bytes>::new()).unwrap();
            server.handle(request).await
        });
        told.recv().await.unwrap();
        client.abort();
        assert!(client.await.is_err_and(|ended| ended.is_cancelled()));
        drop(gate);
        while told.recv().await.is_some() {}
        let reads = slow.reads.load(Ordering::SeqCst);
        assert!((1..SERIES).contains(&reads), "{reads} series were read");
    });
}
