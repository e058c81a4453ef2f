//! Exposition formats: metrics from bytes, bytes from metrics, and the registry.
//!
//! A target says what it measures in one of three formats. [`Parser`] pulls [`Event`]s out of the bytes without copying
//! them; [`Registry`] holds the metrics of this program; [`encode`] writes either kind back to bytes.
//!
//! ```
//! use ferula_exposition::{Event, Format, ParseOptions, Parser, Registry, encode};
//!
//! let registry = Registry::new();
//! registry.counter_family("jobs_total", "Jobs done.", ["queue"])?.with(["mail"]).inc_by(3);
//! let mut body = Vec::new();
//! encode(&registry.gather(), Format::Text, &mut body);
//!
//! let mut parser = Parser::new(&body, Format::Text, &ParseOptions::default());
//! let value = parser.find_map(|event| match event {
//!     Ok(Event::Sample(sample)) if sample.key == br#"jobs_total{queue="mail"}"# => Some(sample.value),
//!     _ => None,
//! });
//! assert_eq!(value, Some(3.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Map
//!
//! - Reading: [`Parser`] yields [`Event`]s; [`LabelBuffer`] decodes the labels of those that are new; [`ParseError`] says
//!   where a body is wrong.
//! - Writing: [`MetricFamily`] is what is written, [`encode`] writes it.
//! - Measuring: [`registry`]; [`collect`] has collectors of the process and its machine.
//! - Measuring with other libraries: [`bridge`], and [`translate`] for the names of OpenTelemetry.
//! - Storing without bytes in between: [`Feed`] appends what a registry gathers to a storage.
//! - Judging names: [`lint`].

#![forbid(unsafe_code)]

pub mod bridge;
mod coding;
pub mod collect;
mod encode;
mod error;
mod escape;
mod event;
mod family;
mod feed;
mod lint;
pub mod negotiate;
mod nhcb;
mod openmetrics;
mod parser;
mod protobuf;
mod read;
pub mod registry;
mod series;
mod text;
pub mod translate;

pub use encode::{EncodeOptions, encode, encode_with};
pub use error::{ParseError, ParseErrorKind};
pub use escape::Escaping;
pub use event::{Event, ExemplarEvent, HistogramEvent, SampleEvent};
pub use family::{Bucket, HistogramValue, Metric, MetricFamily, MetricValue, SummaryValue};
pub use feed::{Feed, FeedError, FeedSummary};
pub use lint::{LintProblem, lint};
pub use parser::{Format, ParseLimits, ParseOptions, Parser};
pub use read::read_families;
pub use registry::Registry;
pub use series::LabelBuffer;
