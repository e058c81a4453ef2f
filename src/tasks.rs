//! Tasks of a monitor: they end when they are told to, and somebody waits for them.

use std::future::Future;

use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Tasks that end when they are told to. Dropping this tells them.
#[derive(Default)]
pub(crate) struct Tasks {
    stop: Option<watch::Sender<bool>>,
    handles: Vec<JoinHandle<()>>,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self { stop: Some(watch::Sender::new(false)), handles: Vec::new() }
    }

    pub(crate) fn signal(&self) -> watch::Receiver<bool> {
        self.stop.as_ref().map_or_else(|| watch::Sender::new(true).subscribe(), watch::Sender::subscribe)
    }

    pub(crate) fn add(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.handles.push(tokio::spawn(task));
    }

    pub(crate) async fn end(mut self) {
        self.tell();
        for task in std::mem::take(&mut self.handles) {
            // A task that panicked has said so already.
            let _ = task.await;
        }
    }

    pub(crate) fn tell(&self) {
        if let Some(stop) = &self.stop {
            stop.send_replace(true);
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.tell();
    }
}
