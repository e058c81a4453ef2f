//! The vocabulary of Ferula: labels, matchers, samples, histograms, time and the storage seams.
//!
//! Every other crate speaks in these types, and only in these, when it speaks to its neighbours. There is no I/O here, no
//! clock that is not passed in, and nothing global.
//!
//! ```
//! use ferula_model::{Labels, Matcher, MatchOp, Sample, Timestamp};
//!
//! let series = Labels::from_pairs([("__name__", "http_requests_total"), ("job", "api"), ("code", "200")]);
//! let matcher = Matcher::new(MatchOp::NotEqual, "code", "500").unwrap();
//! assert!(matcher.matches(series.get("code").unwrap_or_default()));
//!
//! let sample = Sample::float(Timestamp::from_millis(1_700_000_000_000), 42.0);
//! assert!(!sample.value.is_stale());
//! ```
//!
//! # Map
//!
//! - [`labels`]: which series is this? - [`matcher`]: does this label value belong?
//! - [`sample`], [`histogram`]: what does a series hold? - [`metadata`]: what does a family say about itself?
//! - [`number`]: how does Go write a float? - [`time`]: when, and for how long?
//! - [`storage`]: how do samples go in and come out?
//! - `yaml` (feature `yaml`): what does a configuration say, and what is wrong with it? - [`Secret`]: what must not be shown.

#![forbid(unsafe_code)]

pub mod histogram;
pub mod labels;
pub mod matcher;
pub mod metadata;
pub mod number;
mod quote;
pub mod sample;
mod secret;
pub mod storage;
pub mod time;
#[cfg(feature = "yaml")]
pub mod yaml;

pub use histogram::{CounterResetHint, FloatHistogram, Histogram, IntegerHistogram, Span};
pub use labels::{Labels, LabelsBuilder, METRIC_NAME, is_legacy_label_name, is_legacy_metric_name};
pub use matcher::{MatchOp, Matcher, Regex, RegexError, RegexErrorKind, SearchRegex, Template};
pub use metadata::{Exemplar, Metadata, MetricType};
pub use quote::{go_quote, write_go_quoted};
pub use sample::{NORMAL_NAN, STALE_MARKER, Sample, Value, is_stale};
pub use secret::Secret;
pub use storage::{
    AppendError, Appendable, Appender, Columns, CommitError, CommitSummary, ExemplarQueryable, Querier, Queryable,
    Question, SelectError, SelectHints, SeriesExemplars, SeriesRef, SeriesSet,
};
pub use time::{
    Clock, DurationError, ManualClock, StepGrid, StepGridError, SystemClock, TimeRange, Timestamp, format_duration,
    millis, parse_duration,
};
