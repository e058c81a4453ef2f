//! Tests through the public door.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

#[cfg(all(feature = "metrics", feature = "prometheus-client", feature = "opentelemetry"))]
mod bridge;
mod conformance;
mod feed;
mod host;
mod lint;
mod openmetrics;
mod prometheus;
mod protobuf;
mod registry;
mod storage;
mod text;

use ferula_exposition::{Event, Format, LabelBuffer, ParseError, ParseOptions, Parser};

/// Every event of a body in words, one a line.
fn told(body: &[u8], format: Format, options: &ParseOptions) -> Result<Vec<String>, ParseError> {
    told_with(body, format, options, true)
}

/// The same, and whether labels without a value, which are absent ones, are told too.
fn told_with(body: &[u8], format: Format, options: &ParseOptions, empty: bool) -> Result<Vec<String>, ParseError> {
    let pairs = |labels: &LabelBuffer| {
        let pairs = labels.iter().filter(|(_, value)| empty || !value.is_empty());
        pairs.map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>().join(",")
    };
    let mut parser = Parser::new(body, format, options);
    let mut told = Vec::new();
    let mut labels = LabelBuffer::default();
    while let Some(event) = parser.next() {
        told.push(match event? {
            Event::Help { family, text } => format!("help {family} {text:?}"),
            Event::Type { family, metric_type } => format!("type {family} {}", metric_type.as_str()),
            Event::Unit { family, unit } => format!("unit {family} {unit:?}"),
            Event::Comment(text) => format!("comment {}", String::from_utf8_lossy(text)),
            Event::Sample(sample) => {
                sample.labels(&mut labels);
                let mut line = format!("{} {:?}", pairs(&labels), sample.value);
                if let Some(at) = sample.timestamp {
                    line += &format!(" at {}", at.0);
                }
                if let Some(start) = sample.start {
                    line += &format!(" since {}", start.0);
                }
                if let Some(exemplar) = sample.exemplar {
                    let exemplar = exemplar.to_exemplar();
                    line += &format!(" exemplar {} {:?}", exemplar.labels, exemplar.value);
                    if let Some(at) = exemplar.timestamp {
                        line += &format!(" at {}", at.0);
                    }
                }
                line
            }
            Event::Histogram(histogram) => {
                histogram.labels(&mut labels);
                format!("{} {:?} {:?}", pairs(&labels), histogram.histogram, histogram.exemplars)
            }
            other => format!("{other:?}"),
        });
    }
    Ok(told)
}
