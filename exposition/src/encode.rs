//! One door to all encoders.

use crate::escape::{Escaping, escape_families};
use crate::family::{Metric, MetricFamily};
use crate::parser::Format;
use crate::{openmetrics, text};

/// How families are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncodeOptions {
    /// What happens to names that are not legacy-valid.
    pub escaping: Escaping,
    /// In OpenMetrics, write start timestamps as `_created` lines. A scraper that does not ask for them takes them for
    /// series, so they are off by default. Protobuf always carries start timestamps.
    pub created_lines: bool,
    /// A label that is written with an empty value where a metric does not have it. A scraper that honours labels then
    /// adds none of its own; federation does this with `instance`.
    pub blank_label: Option<&'static str>,
}

impl EncodeOptions {
    /// The labels to write for a metric.
    pub(crate) fn labels<'m>(&self, metric: &'m Metric) -> impl Iterator<Item = (&'m str, &'m str)> + use<'m> {
        let blank = self.blank_label.filter(|name| metric.labels.get(name).is_none());
        metric.labels.iter().chain(blank.map(|name| (name, "")))
    }
}

/// Writes families in a format, behind what `out` already holds. Families without metrics are left out.
///
/// ```
/// use ferula_exposition::{Format, Registry, encode};
///
/// let registry = Registry::new();
/// registry.counter("jobs_total", "Jobs done.")?.inc();
/// let mut body = Vec::new();
/// encode(&registry.gather(), Format::Text, &mut body);
/// assert_eq!(body, b"# HELP jobs_total Jobs done.\n# TYPE jobs_total counter\njobs_total 1\n");
/// # Ok::<(), ferula_exposition::registry::RegisterError>(())
/// ```
pub fn encode(families: &[MetricFamily], format: Format, out: &mut Vec<u8>) {
    encode_with(families, format, &EncodeOptions::default(), out);
}

/// Writes families in a format and with options, behind what `out` already holds.
pub fn encode_with(families: &[MetricFamily], format: Format, options: &EncodeOptions, out: &mut Vec<u8>) {
    let families = escape_families(families, options.escaping);
    match format {
        Format::Text => text::encode(&families, options, out),
        Format::OpenMetrics => openmetrics::encode(&families, options, out),
        Format::Protobuf => crate::protobuf::encode(&families, options, out),
    }
}
