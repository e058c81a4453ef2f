//! What came of a question, from either side, in one form that can be compared.

use std::fmt;

use ferula_model::{FloatHistogram, Labels, Value as Stored};
use ferula_promql::{Answer, QueryError, Value};

/// What came of a question.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Answer(Answered),
    Error(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Answered {
    /// `scalar`, `string`, `vector`, `matrix`
    pub(crate) kind: String,
    /// In the order they came. A scalar is a row without labels.
    pub(crate) rows: Vec<Row>,
    pub(crate) warnings: Vec<String>,
    pub(crate) infos: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) labels: Labels,
    /// By rising milliseconds.
    pub(crate) points: Vec<(i64, Point)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Point {
    Float(f64),
    Histogram(Buckets),
}

/// A histogram as the API shows it.
#[derive(Clone, Debug)]
pub(crate) struct Buckets {
    pub(crate) count: f64,
    pub(crate) sum: f64,
    pub(crate) buckets: Vec<Bucket>,
}

#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    /// 0 `(]`, 1 `[)`, 2 `()`, 3 `[]`
    pub(crate) boundaries: u64,
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) count: f64,
}

impl Reply {
    /// The engine's.
    pub(crate) fn of(result: Result<Answer, QueryError>) -> Self {
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => return Self::Error(error.to_string()),
        };
        let kind = answer.value.type_name().to_owned();
        let rows = match answer.value {
            Value::Scalar { at, value } => {
                vec![Row { labels: Labels::empty(), points: vec![(at.as_millis(), Point::Float(value))] }]
            }
            Value::String { .. } => Vec::new(),
            Value::Vector(samples) => samples
                .into_iter()
                .map(|sample| Row {
                    labels: sample.labels,
                    points: vec![(sample.at.as_millis(), point(&sample.value))],
                })
                .collect(),
            Value::Matrix(series) => series
                .into_iter()
                .map(|series| {
                    let points = series.points().map(|(at, value)| (at.as_millis(), point(&value))).collect();
                    Row { labels: series.labels, points }
                })
                .collect(),
        };
        Self::Answer(Answered { kind, rows, warnings: answer.warnings, infos: answer.infos })
    }
}

pub(crate) fn point(value: &Stored) -> Point {
    match value {
        Stored::Float(value) => Point::Float(*value),
        Stored::Histogram(histogram) => Point::Histogram(buckets(&histogram.to_float())),
    }
}

fn buckets(histogram: &FloatHistogram) -> Buckets {
    let buckets = histogram.buckets().filter(|bucket| bucket.count != 0.0).map(|bucket| Bucket {
        boundaries: match (bucket.lower_inclusive, bucket.upper_inclusive) {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        },
        lower: bucket.lower,
        upper: bucket.upper,
        count: bucket.count,
    });
    Buckets { count: histogram.count, sum: histogram.sum, buckets: buckets.collect() }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = match self {
            Self::Error(error) => return writeln!(f, "    error: {error}"),
            Self::Answer(answer) => answer,
        };
        const SHOWN: usize = 3;
        writeln!(f, "    {} of {}", answer.kind, answer.rows.len())?;
        for row in answer.rows.iter().take(SHOWN) {
            writeln!(f, "    {}", row.labels)?;
            for (at, point) in row.points.iter().take(SHOWN) {
                match point {
                    Point::Float(value) => writeln!(f, "      {at} {value:e}")?,
                    Point::Histogram(h) => {
                        write!(f, "      {at} count:{:e} sum:{:e}", h.count, h.sum)?;
                        for b in &h.buckets {
                            write!(f, " {}({:e},{:e}):{:e}", b.boundaries, b.lower, b.upper, b.count)?;
                        }
                        writeln!(f)?;
                    }
                }
            }
        }
        answer.warnings.iter().chain(&answer.infos).try_for_each(|text| writeln!(f, "    {text}"))
    }
}
