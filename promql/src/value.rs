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
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FloatPoint {
    /// When.
    pub at: Timestamp,
    /// What.
    pub value: f64,
}

/// A histogram at a moment.
#[derive(Clone, Debug)]
pub struct HistogramPoint {
    /// When.
    pub at: Timestamp,
    /// What.
    pub histogram: Arc<FloatHistogram>,
}

/// The answer to a query.
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
