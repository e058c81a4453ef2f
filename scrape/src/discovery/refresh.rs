//! Refreshing: discovery by asking again and again.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use super::{Discoverer, Groups};
use crate::target::TargetGroup;

/// Why targets could not be found. What was known before stays.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// The configuration names a discovery that this build does not have.
    #[error("{0} is not supported by this build")]
    Unsupported(&'static str),
    /// The HTTP client cannot be made.
    #[error(transparent)]
    Client(#[from] ferula_http::BuildError),
    /// The endpoint did not answer.
    #[error(transparent)]
    Http(#[from] ferula_http::Error),
    /// The endpoint answered something else than groups.
    #[error("{0}")]
    Answer(String),
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A host's own discovery has its own trouble.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

/// A future of groups.
pub type Found<'a> = Pin<Box<dyn Future<Output = Result<Vec<TargetGroup>, DiscoveryError>> + Send + 'a>>;

/// Something that can be asked for all groups at once.
pub trait Refresh: Send + Sync + fmt::Debug {
    /// A word for metrics and messages.
    fn mechanism(&self) -> &str;

    /// All groups there are now, with distinct sources.
    fn refresh(&self) -> Found<'_>;
}

/// Asks a [`Refresh`] at once and then in regular intervals. Groups that are no longer among the answer are deleted;
/// after an error, those of the last good answer stay.
#[derive(Debug)]
pub struct RefreshDiscoverer<R> {
    source: R,
    interval: Duration,
}

impl<R: Refresh> RefreshDiscoverer<R> {
    /// Asks `source` every `interval`, which is at least a millisecond.
    pub fn new(source: R, interval: Duration) -> Self {
        Self { source, interval: interval.max(Duration::from_millis(1)) }
    }
}

impl<R: Refresh + 'static> Discoverer for RefreshDiscoverer<R> {
    fn mechanism(&self) -> &str {
        self.source.mechanism()
    }

    fn run(self: Arc<Self>, groups: Groups) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let mut known = BTreeSet::new();
            let mut ticks = tokio::time::interval(self.interval);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = groups.closed() => return,
                }
                let started = Instant::now();
                let found = self.source.refresh().await;
                groups.metrics().refreshed(self.mechanism(), groups.job(), started.elapsed(), found.is_err());
                match found {
                    Ok(found) => {
                        if !groups.send(with_deletions(&mut known, found)).await {
                            return;
                        }
                    }
                    Err(error) => {
                        tracing::error!(mechanism = self.mechanism(), job = groups.job(), %error, "refresh of targets");
                    }
                }
            }
        })
    }
}

/// Adds empty groups for the sources that were known and are not found any more.
pub(super) fn with_deletions(known: &mut BTreeSet<String>, mut found: Vec<TargetGroup>) -> Vec<TargetGroup> {
    let now: BTreeSet<String> = found.iter().map(|group| group.source.clone()).collect();
    let gone = known.difference(&now).map(|source| TargetGroup { source: source.clone(), ..TargetGroup::default() });
    found.extend(gone);
    *known = now;
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_that_are_gone_are_deleted_once() {
        let group = |source: &str| TargetGroup { source: source.into(), ..Default::default() };
        let mut known = BTreeSet::new();
        let sources = |groups: Vec<TargetGroup>| groups.into_iter().map(|group| group.source).collect::<Vec<_>>();
        assert_eq!(sources(with_deletions(&mut known, vec![group("a"), group("b")])), ["a", "b"]);
        assert_eq!(sources(with_deletions(&mut known, vec![group("b")])), ["b", "a"]);
        assert_eq!(sources(with_deletions(&mut known, vec![group("b")])), ["b"]);
    }
}
