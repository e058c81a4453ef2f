//! The registry: the metrics of this program.
//!
//! ```text
//!  Counter, Gauge, Histogram, Summary, StateSet, Info --.
//!  Family (one per label set)  -------------------------+--> Registry --gather--> Vec<MetricFamily> --encode--> bytes
//!  Collect (asked when gathered) ----------------------'                               '--Feed--> Appender
//! ```
//!
//! A handle is cheap to clone, and using it is one or two atomic operations: nothing is locked, looked up or allocated. A
//! family's [`with`](Family::with) does look up; keep what it returns where it matters. (Native histograms and the quantiles of
//! summaries search a table, which locks only when a bucket is one too many; an exemplar locks what holds exemplars.)
//!
//! There is no global registry: whoever measures is handed one. Two registries share nothing.
//!
//! # More than numbers
//!
//! - A metric whose value is computed when it is asked for: [`Registry::computed`]. A whole source of families: [`Collect`],
//!   which [`MetricFamily`] itself is, for what never changes.
//! - The same labels, idle time, limit or unit for many metrics: [`Registry::labelled`], [`Registry::expiring`],
//!   [`Registry::limited`], [`Registry::in_unit`] give another handle to the same registry.

mod collector;
mod counter;
mod error;
mod exemplars;
mod family;
mod gauge;
mod histogram;
pub(crate) mod members;
mod native;
mod state_set;
mod summary;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ferula_model::{Clock, Labels, MetricType};
use parking_lot::Mutex;

pub use collector::Collect;
pub use counter::Counter;
pub use error::{GatherError, RegisterError};
pub use family::{Family, Instrument, OVERFLOW};
pub use gauge::Gauge;
pub use histogram::{DEFAULT_BUCKETS, Histogram, HistogramOptions, exponential_buckets, linear_buckets};
pub use native::{NativeOptions, NativeOptionsError};
pub use state_set::{Info, StateSet};
pub use summary::{Summary, SummaryOptions};
pub use window::ObservationWindow;

use crate::family::MetricFamily;
use family::Gathered;
use members::{Bounds, Members};

/// The metrics of a program, or of a part of it. Clones share one content.
///
/// Asking for a metric that exists already, with the same type and the same label names, returns the one that exists; so two
/// parts of a program can share a metric without knowing each other.
///
/// ```
/// use ferula_exposition::Registry;
///
/// let registry = Registry::new();
/// let requests = registry.counter_family("http_requests_total", "Requests served.", ["method", "code"])?;
/// let ok = requests.with(["GET", "200"]);
/// ok.inc();
/// ok.inc_by(2);
/// registry.gauge("queue_length", "Requests that wait.")?.set(7.0);
///
/// let families = registry.gather();
/// assert_eq!(families.len(), 2);
/// assert_eq!(families[0].metrics[0].labels.to_string(), r#"{code="200", method="GET"}"#);
/// # Ok::<(), ferula_exposition::registry::RegisterError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Registry {
    shared: Arc<Shared>,
    /// What every metric registered through this handle gets.
    scope: Scope,
}

#[derive(Clone, Debug, Default)]
struct Scope {
    labels: Labels,
    unit: Option<Arc<str>>,
    bounds: Bounds,
}

#[derive(Debug, Default)]
struct Shared {
    families: Mutex<BTreeMap<FamilyKey, Arc<dyn Gathered>>>,
    collectors: Mutex<Vec<Arc<dyn Collect>>>,
    clock: Option<Arc<dyn Clock>>,
}

/// Name and constant labels.
type FamilyKey = (Arc<str>, Labels);

impl Registry {
    /// A registry without a clock: metrics have no start timestamps, never expire, and summaries have no quantiles.
    pub fn new() -> Self {
        Self::default()
    }

    /// A registry whose metrics know when they began, by this clock.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { shared: Arc::new(Shared { clock: Some(clock), ..Shared::default() }), scope: Scope::default() }
    }

    /// The same registry, but what is registered through the new handle, collectors included, gets these labels as well.
    ///
    /// ```
    /// use ferula_exposition::Registry;
    ///
    /// let registry = Registry::new();
    /// registry.labelled([("shard", "7")]).counter("rows_total", "Rows written.")?.inc();
    /// assert_eq!(registry.gather()[0].metrics[0].labels.get("shard"), Some("7"));
    /// # Ok::<(), ferula_exposition::registry::RegisterError>(())
    /// ```
    pub fn labelled<N: AsRef<str>, V: AsRef<str>>(&self, labels: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut builder = self.scope.labels.to_builder();
        for (name, value) in labels {
            builder.set(name.as_ref(), value.as_ref());
        }
        let scope = Scope { labels: builder.build(), ..self.scope.clone() };
        Self { shared: Arc::clone(&self.shared), scope }
    }

    /// The same registry, but metrics registered through the new handle leave it when they have not changed for so long,
    /// as gatherings see it. One that somebody still holds a handle to comes back with its next change.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::time::Duration;
    /// use ferula_exposition::Registry;
    /// use ferula_model::{ManualClock, Timestamp};
    ///
    /// let clock = Arc::new(ManualClock::at(Timestamp(0)));
    /// let registry = Registry::with_clock(clock.clone());
    /// let sessions = registry.expiring(Duration::from_secs(300)).gauge_family("sessions", "Sessions.", ["user"])?;
    /// sessions.with(["ann"]).set(1.0);
    /// assert_eq!(registry.gather()[0].metrics.len(), 1);
    /// clock.advance(Duration::from_secs(300));
    /// assert!(registry.gather()[0].metrics.is_empty());
    /// # Ok::<(), ferula_exposition::registry::RegisterError>(())
    /// ```
    pub fn expiring(&self, idle: Duration) -> Self {
        self.bounded(Bounds { idle: Some(idle), ..self.scope.bounds })
    }

    /// The same registry, but families registered through the new handle have at most so many metrics, one more aside: what
    /// would be too many is measured by a metric whose label values are [`OVERFLOW`]. So label values from outside cannot fill
    /// the memory, and nothing goes uncounted.
    ///
    /// ```
    /// use ferula_exposition::Registry;
    /// use ferula_exposition::registry::OVERFLOW;
    ///
    /// let registry = Registry::new();
    /// let hits = registry.limited(2).counter_family("hits_total", "Hits by path.", ["path"])?;
    /// for path in ["/a", "/b", "/c", "/d", "/a"] {
    ///     hits.with([path]).inc();
    /// }
    /// assert_eq!(hits.len(), 3);
    /// assert_eq!(hits.with([OVERFLOW]).value(), 2.0);
    /// # Ok::<(), ferula_exposition::registry::RegisterError>(())
    /// ```
    pub fn limited(&self, metrics_max: usize) -> Self {
        self.bounded(Bounds { metrics_max: Some(metrics_max), ..self.scope.bounds })
    }

    fn bounded(&self, bounds: Bounds) -> Self {
        Self { shared: Arc::clone(&self.shared), scope: Scope { bounds, ..self.scope.clone() } }
    }

    /// The same registry, but metrics registered through the new handle have this unit, which their names should end with
    /// (before `_total`): `seconds`, `bytes`.
    pub fn in_unit(&self, unit: &str) -> Self {
        Self { shared: Arc::clone(&self.shared), scope: Scope { unit: Some(unit.into()), ..self.scope.clone() } }
    }

    /// A counter. By custom its name ends with `_total`.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub fn counter(&self, name: &str, help: &str) -> Result<Counter, RegisterError> {
        Ok(self.counter_family(name, help, [])?.with([]))
    }

    /// A counter per label set.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub fn counter_family<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
    ) -> Result<Family<Counter, N>, RegisterError> {
        self.family(name, help, labels, ())
    }

    /// A gauge.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub fn gauge(&self, name: &str, help: &str) -> Result<Gauge, RegisterError> {
        Ok(self.gauge_family(name, help, [])?.with([]))
    }

    /// A gauge per label set.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub fn gauge_family<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
    ) -> Result<Family<Gauge, N>, RegisterError> {
        self.family(name, help, labels, ())
    }

    /// A histogram with the given upper bounds, which rise strictly; the last bucket, up to `+Inf`, is added. See
    /// [`DEFAULT_BUCKETS`].
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Result<Histogram, RegisterError> {
        Ok(self.histogram_family(name, help, [], bounds)?.with([]))
    }

    /// A histogram per label set.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub fn histogram_family<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        bounds: &[f64],
    ) -> Result<Family<Histogram, N>, RegisterError> {
        self.histogram_family_with(name, help, labels, HistogramOptions::default().buckets(bounds))
    }

    /// A histogram with native buckets only. They reach a scraper in protobuf, and a storage through
    /// [`Feed`](crate::Feed); for scrapers that read text, add classic ones ([`HistogramOptions`]).
    ///
    /// ```
    /// use ferula_exposition::Registry;
    /// use ferula_exposition::registry::NativeOptions;
    ///
    /// let registry = Registry::new();
    /// let latency = registry.native_histogram("latency_seconds", "How long requests take.", NativeOptions::new(1.1)?)?;
    /// latency.observe(0.034);
    /// assert_eq!(latency.count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub fn native_histogram(&self, name: &str, help: &str, native: NativeOptions) -> Result<Histogram, RegisterError> {
        Ok(self.histogram_family_with(name, help, [], HistogramOptions::default().native(native))?.with([]))
    }

    /// A histogram per label set, with buckets of either kind.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub fn histogram_family_with<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        options: HistogramOptions,
    ) -> Result<Family<Histogram, N>, RegisterError> {
        if !options.are_valid() {
            return Err(RegisterError::Buckets { metric: name.to_owned() });
        }
        self.family(name, help, labels, options)
    }

    /// A summary.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub fn summary(&self, name: &str, help: &str, options: SummaryOptions) -> Result<Summary, RegisterError> {
        Ok(self.summary_family(name, help, [], options)?.with([]))
    }

    /// A summary per label set.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`]; quantiles need a clock.
    pub fn summary_family<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        options: SummaryOptions,
    ) -> Result<Family<Summary, N>, RegisterError> {
        let metric = || name.to_owned();
        if let Some(quantile) = options.wrong_quantile() {
            return Err(RegisterError::Quantile { metric: metric(), quantile });
        }
        if options.need_clock() && self.shared.clock.is_none() {
            return Err(RegisterError::NoClock { metric: metric(), what: "the window of a summary" });
        }
        self.family(name, help, labels, options)
    }

    /// A set of states, none of which holds yet.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub fn state_set(&self, name: &str, help: &str, states: &[&str]) -> Result<StateSet, RegisterError> {
        Ok(self.state_set_family(name, help, [], states)?.with([]))
    }

    /// A set of states per label set.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub fn state_set_family<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        states: &[&str],
    ) -> Result<Family<StateSet, N>, RegisterError> {
        let repeated = states.iter().enumerate().any(|(i, state)| states.iter().take(i).any(|before| before == state));
        if repeated || states.is_empty() || states.len() > state_set::STATES_MAX {
            return Err(RegisterError::States { metric: name.to_owned() });
        }
        self.family(name, help, labels, states.iter().map(|state| Arc::from(*state)).collect())
    }

    /// Labels as content, such as a version. By custom the name ends with `_info`.
    ///
    /// ```
    /// use ferula_exposition::Registry;
    ///
    /// let registry = Registry::new();
    /// registry.info("build_info", "What was built.", [("version", "1.2.3"), ("revision", "abc")])?;
    /// # Ok::<(), ferula_exposition::registry::RegisterError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub fn info<const N: usize>(&self, name: &str, help: &str, labels: [(&str, &str); N]) -> Result<(), RegisterError> {
        self.info_family(name, help, labels.map(|(name, _)| name))?.with(labels.map(|(_, value)| value));
        Ok(())
    }

    /// Infos that come and go.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub fn info_family<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
    ) -> Result<Family<Info, N>, RegisterError> {
        self.family(name, help, labels, ())
    }

    /// A family of a kind of metric of your own. The registry's own kinds have methods of their own.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub fn family<I: Instrument, const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        options: I::Options,
    ) -> Result<Family<I, N>, RegisterError> {
        check_names(name, I::TYPE, &labels)?;
        let scope = &self.scope;
        if scope.bounds.idle.is_some() && self.shared.clock.is_none() {
            return Err(RegisterError::NoClock { metric: name.to_owned(), what: "an idle time" });
        }
        let mut families = self.shared.families.lock();
        let key = (Arc::from(name), scope.labels.clone());
        let taken =
            |existing: &dyn Gathered| RegisterError::Taken { metric: name.to_owned(), existing: existing.describe() };
        if let Some(existing) = families.get(&key) {
            let family = Arc::clone(existing).as_any().downcast::<family::Shared<I, N>>().ok();
            let same = family.filter(|family| family.same_as(&labels, &options, scope.bounds));
            return same.map(Family::from).ok_or_else(|| taken(&**existing));
        }
        // The same name with other constant labels is the same family to whoever reads it.
        let other = families.iter().find(|((of, _), family)| **of == *name && family.metric_type() != I::TYPE);
        if let Some((_, existing)) = other {
            return Err(taken(&**existing));
        }
        let members = Members::new(options, self.shared.clock.clone(), scope.bounds);
        let unit = scope.unit.clone().unwrap_or_else(|| "".into());
        let family = Arc::new(family::Shared::<I, N>::new(&key, help, unit, labels, members));
        families.insert(key, Arc::clone(&family) as Arc<dyn Gathered>);
        Ok(Family::from(family))
    }

    /// Adds a source of families that is asked at each [`gather`](Self::gather).
    pub fn collector(&self, collector: Arc<dyn Collect>) {
        let collector = match self.scope.labels.is_empty() {
            true => collector,
            false => Arc::new(collector::Labelled::new(self.scope.labels.clone(), collector)),
        };
        self.shared.collectors.lock().push(collector);
    }

    /// A metric whose value is computed when it is asked for; `metric_type` is counter, gauge or unknown.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub fn computed(
        &self,
        name: &str,
        help: &str,
        metric_type: MetricType,
        value: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Result<(), RegisterError> {
        check_names(name, metric_type, &[])?;
        self.collector(Arc::new(collector::Computed::new(name, help, metric_type, value)));
        Ok(())
    }

    /// Forgets the families of this name, whatever their constant labels; their handles count on unseen. Whether there was
    /// one.
    pub fn remove(&self, name: &str) -> bool {
        let mut families = self.shared.families.lock();
        let before = families.len();
        families.retain(|(of, _), _| **of != *name);
        families.len() < before
    }

    /// All families with all their metrics, sorted by name and labels. Families of one name are one family here; what
    /// collectors say twice or contradict is left out, see [`gather_checked`](Self::gather_checked).
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.gather_checked().0
    }

    /// As [`gather`](Self::gather), and what was left out.
    pub fn gather_checked(&self) -> (Vec<MetricFamily>, Vec<GatherError>) {
        let (mut families, mut errors) = self.gather_unordered();
        collector::sort(&mut families, &mut errors);
        (families, errors)
    }

    /// As [`gather_checked`](Self::gather_checked), for those who need no order and find duplicates themselves: sorting costs
    /// more than everything else.
    pub(crate) fn gather_unordered(&self) -> (Vec<MetricFamily>, Vec<GatherError>) {
        let mut gathered = Vec::new();
        let families: Vec<_> = self.shared.families.lock().values().cloned().collect();
        for family in families {
            gathered.push(family.read());
        }
        let collectors = self.shared.collectors.lock().clone();
        for collector in collectors {
            collector.collect(&mut gathered);
        }
        collector::merge(gathered)
    }
}

fn check_names(metric: &str, metric_type: MetricType, labels: &[&str]) -> Result<(), RegisterError> {
    if metric.is_empty() {
        return Err(RegisterError::EmptyName);
    }
    let reserved = match metric_type {
        MetricType::StateSet => Some(metric),
        _ => crate::series::float_label(metric_type),
    };
    for (i, label) in labels.iter().enumerate() {
        let repeated = labels.iter().take(i).any(|before| before == label);
        if label.is_empty() || label.starts_with("__") || Some(*label) == reserved || repeated {
            return Err(RegisterError::LabelName { metric: metric.to_owned(), label: (*label).to_owned() });
        }
    }
    Ok(())
}
