//! When did the metrics of a family begin to count?
//!
//! OpenMetrics 1.0 says it in samples of their own, `<family>_created`, which may stand before or after the samples they
//! belong to. So the rest of the family is read ahead once, up to the next metadata line, and the moments are kept by
//! label set.

use std::collections::HashMap;

use ferula_model::{Labels, METRIC_NAME, MetricType, Timestamp};

use super::parser::sample;
use crate::series::{Body, LabelBuffer, SeriesLine, SeriesText};
use crate::text::scan::LabelRules;

/// Start timestamps by the labels of the metric, without name and without `le` and `quantile`.
#[derive(Debug, Default)]
pub(super) struct Created(HashMap<Labels, Timestamp>);

impl Created {
    /// Reads from `at` to the next metadata line, or as far as it makes sense.
    pub(super) fn look_ahead(body: Body<'_>, mut at: usize, rules: LabelRules) -> Self {
        let mut created = HashMap::new();
        let (mut series, mut exemplar) = (SeriesLine::default(), SeriesLine::default());
        let mut buffer = LabelBuffer::default();
        let rest = body.bytes.get(at..).unwrap_or_default();
        let family = rest.windows(3).position(|three| three == b"\n# ").unwrap_or(rest.len());
        let any = memchr::memmem::find(rest.get(..family).unwrap_or_default(), b"_created").is_some();
        while any && !matches!(body.bytes.get(at), None | Some(b'#')) {
            let Ok(line) = sample(body, at, rules, &mut series, &mut exemplar) else { break };
            at = line.next;
            if body.slice(line.metric.range()).ends_with(b"_created") {
                buffer.decode(&body, &series);
                created.entry(metric_labels(&buffer)).or_insert(Timestamp((line.value * 1000.0) as i64));
            }
        }
        Self(created)
    }

    /// The start timestamp of a sample.
    pub(super) fn of(&self, series: SeriesText<'_>, metric_type: MetricType) -> Option<Timestamp> {
        let counts = matches!(metric_type, MetricType::Counter | MetricType::Histogram | MetricType::Summary);
        if self.0.is_empty() || !counts {
            return None;
        }
        let mut buffer = LabelBuffer::default();
        series.decode(&mut buffer);
        self.0.get(&metric_labels(&buffer)).copied().filter(|start| start.0 != 0)
    }
}

fn metric_labels(buffer: &LabelBuffer) -> Labels {
    let apart = [METRIC_NAME, "le", "quantile"];
    Labels::from_pairs(buffer.iter().filter(|(name, _)| !apart.contains(name)))
}
