//! Values: what is the answer to a query?
//!
//! A scalar or a string, a [`Vector`](Value::Vector) (one sample for each series, at one moment) or a
//! [`Matrix`](Value::Matrix) (series with samples over time). Times are milliseconds since the epoch, histograms are
//! float histograms without empty buckets.

use std::sync::Arc;

use ferula_model::{FloatHistogram, Histogram, Labels, Timestamp};

use crate::error::QueryError;
use crate::stats::Statistics;

/// What a query evaluated to.
///
/// ```
/// use ferula_model::{Labels, Sample, Timestamp};
/// use ferula_promql::testing::MemoryStorage;
/// use ferula_promql::{Engine, EngineOptions, QueryOptions, Value};
///
/// let storage = MemoryStorage::new();
/// storage.insert(&Labels::from_pairs([("__name__", "up"), ("job", "api")]), Sample::float(Timestamp(0), 1.0));
/// let engine = Engine::new(EngineOptions::default());
/// let answer = engine.instant(&storage, "vector(2)", Timestamp(0), &QueryOptions::default())?;
/// match &answer.value {
///     Value::Vector(samples) => assert_eq!(samples.len(), 1),
///     other => panic!("a {}?", other.type_name()),
/// }
/// # Ok::<(), ferula_promql::QueryError>(())
/// ```
#[derive(Clone, Debug)]
pub enum Value {
    /// A number without labels.
    Scalar {
        /// When it was evaluated.
        at: Timestamp,
        /// The number.
        value: f64,
    },
    /// A text.
    String {
        /// When it was evaluated.
        at: Timestamp,
        /// The text.
        value: String,
    },
    /// One sample for each series, all at the same moment; in no particular order unless the query sorts.
    Vector(Vec<VectorSample>),
    /// Samples of series over time, sorted by labels.
    Matrix(Vec<Series>),
}

impl Value {
    /// The type's name as the HTTP API prints it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Scalar { .. } => "scalar",
            Value::String { .. } => "string",
            Value::Vector(_) => "vector",
            Value::Matrix(_) => "matrix",
        }
    }
}

/// One sample of a [`Value::Vector`].
///
/// ```
/// use ferula_model::{Labels, Sample, Timestamp};
/// use ferula_promql::testing::MemoryStorage;
/// use ferula_promql::{Engine, EngineOptions, QueryOptions};
///
/// let storage = MemoryStorage::new();
/// storage.insert(&Labels::from_pairs([("__name__", "up"), ("job", "api")]), Sample::float(Timestamp(0), 1.0));
/// let engine = Engine::new(EngineOptions::default());
/// let answer = engine.instant(&storage, "up * 2", Timestamp(0), &QueryOptions::default())?;
/// let sample = &answer.vector()?[0];
/// assert_eq!(sample.labels.to_string(), r#"{job="api"}"#);
/// assert!(matches!(sample.value, ferula_model::Value::Float(2.0)));
/// # Ok::<(), ferula_promql::QueryError>(())
/// ```
#[derive(Clone, Debug)]
pub struct VectorSample {
    /// The series.
    pub labels: Labels,
    /// When the query was evaluated.
    pub at: Timestamp,
    /// Float or histogram.
    pub value: ferula_model::Value,
}

/// One series of a [`Value::Matrix`]: floats and histograms, each by rising time; no moment has both.
///
/// ```
/// use ferula_model::{Labels, Sample, Timestamp};
/// use ferula_promql::testing::MemoryStorage;
/// use ferula_promql::{Engine, EngineOptions, QueryOptions};
///
/// let storage = MemoryStorage::new();
/// storage.insert(&Labels::from_pairs([("__name__", "up"), ("job", "api")]), Sample::float(Timestamp(0), 1.0));
/// let engine = Engine::new(EngineOptions::default());
/// let answer = engine.instant(&storage, "up[5m]", Timestamp(0), &QueryOptions::default())?;
/// let series = &answer.matrix()?[0];
/// assert_eq!(series.points().count(), 1);
/// # Ok::<(), ferula_promql::QueryError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Which series.
    pub labels: Labels,
    /// Its floats.
    pub floats: Vec<FloatPoint>,
    /// Its histograms.
    pub histograms: Vec<HistogramPoint>,
}

impl Series {
    /// All points by rising time.
    pub fn points(&self) -> impl Iterator<Item = (Timestamp, ferula_model::Value)> + '_ {
        let mut floats = self.floats.iter().peekable();
        let mut histograms = self.histograms.iter().peekable();
        std::iter::from_fn(move || {
            let float_first = match (floats.peek(), histograms.peek()) {
                (Some(float), Some(histogram)) => float.at <= histogram.at,
                (Some(_), None) => true,
                (None, _) => false,
            };
            if float_first {
                floats.next().map(|p| (p.at, ferula_model::Value::Float(p.value)))
            } else {
                histograms.next().map(|p| (p.at, ferula_model::Value::Histogram(Histogram::Float(p.histogram.clone()))))
            }
        })
    }
}

/// A float at a moment.
///
/// ```
/// use ferula_model::Timestamp;
/// use ferula_promql::FloatPoint;
///
/// let point = FloatPoint { at: Timestamp(60_000), value: 1.5 };
/// assert_eq!(point.at.as_secs_f64() * point.value, 90.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FloatPoint {
    /// When.
    pub at: Timestamp,
    /// What.
    pub value: f64,
}

/// A histogram at a moment.
///
/// ```
/// use std::sync::Arc;
/// use ferula_model::{FloatHistogram, Timestamp};
/// use ferula_promql::HistogramPoint;
///
/// let point = HistogramPoint { at: Timestamp(0), histogram: Arc::new(FloatHistogram::default()) };
/// assert_eq!(point.histogram.count, 0.0);
/// ```
#[derive(Clone, Debug)]
pub struct HistogramPoint {
    /// When.
    pub at: Timestamp,
    /// What.
    pub histogram: Arc<FloatHistogram>,
}

/// The answer to a query.
///
/// ```
/// use ferula_model::{Labels, Sample, Timestamp};
/// use ferula_promql::testing::MemoryStorage;
/// use ferula_promql::{Engine, EngineOptions, QueryOptions};
///
/// let storage = MemoryStorage::new();
/// storage.insert(&Labels::from_pairs([("__name__", "up"), ("job", "api")]), Sample::float(Timestamp(0), 1.0));
/// let engine = Engine::new(EngineOptions::default());
/// let answer = engine.instant(&storage, "rate(up[5m])", Timestamp(0), &QueryOptions::default())?;
/// assert!(answer.vector()?.is_empty(), "one sample has no rate");
/// assert!(answer.scalar().is_err());
/// assert!(answer.warnings.is_empty());
/// # Ok::<(), ferula_promql::QueryError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Answer {
    /// What the query evaluated to.
    pub value: Value,
    /// What the reader should worry about; texts as upstream prints them (`PromQL warning: ... (line:column)`).
    pub warnings: Vec<String>,
    /// What the reader may want to know (`PromQL info: ... (line:column)`).
    pub infos: Vec<String>,
    /// What the query cost.
    pub statistics: Statistics,
}

impl Answer {
    /// The samples of an instant vector.
    ///
    /// # Errors
    ///
    /// The answer is of another type.
    pub fn vector(&self) -> Result<&[VectorSample], QueryError> {
        match &self.value {
            Value::Vector(samples) => Ok(samples),
            other => Err(QueryError::wrong_type("vector", other.type_name())),
        }
    }

    /// The series of a matrix.
    ///
    /// # Errors
    ///
    /// The answer is of another type.
    pub fn matrix(&self) -> Result<&[Series], QueryError> {
        match &self.value {
            Value::Matrix(series) => Ok(series),
            other => Err(QueryError::wrong_type("matrix", other.type_name())),
        }
    }

    /// The number of a scalar.
    ///
    /// # Errors
    ///
    /// The answer is of another type.
    pub fn scalar(&self) -> Result<f64, QueryError> {
        match &self.value {
            Value::Scalar { value, .. } => Ok(*value),
            other => Err(QueryError::wrong_type("scalar", other.type_name())),
        }
    }
}
