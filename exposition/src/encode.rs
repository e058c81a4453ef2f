//! One door to all encoders.

use crate::family::MetricFamily;
use crate::parser::Format;
use crate::text;

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
    match format {
        Format::Text | Format::OpenMetrics | Format::Protobuf => text::encode(families, out),
    }
}
