//! What would a classic histogram be as a native one with custom buckets? `load_with_nhcb` loads both.

use std::collections::BTreeMap;

use ferula_model::histogram::CUSTOM_BUCKETS_SCHEMA;
use ferula_model::{FloatHistogram, Labels, METRIC_NAME, Span, Value};

use super::script::Load;

/// The parts of one histogram at one moment.
#[derive(Default)]
struct Parts {
    /// Cumulative counts by upper bound; the bounds are kept as keys that sort like the floats.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

/// The native forms of all classic histograms of a block: series, index of the moment, histogram.
pub(super) fn native_histograms(load: &Load) -> Vec<(Labels, usize, FloatHistogram)> {
    let mut parts: BTreeMap<(Labels, usize), Parts> = BTreeMap::new();
    for series in &load.series {
        let name = series.labels.metric_name();
        let (base, role) = if let Some(base) = name.strip_suffix("_bucket") {
            let bound = series.labels.get("le").and_then(|le| ferula_model::number::parse_float(le).ok());
            let Some(bound) = bound else { continue };
            (base, Role::Bucket(bound))
        } else if let Some(base) = name.strip_suffix("_count") {
            (base, Role::Count)
        } else if let Some(base) = name.strip_suffix("_sum") {
            (base, Role::Sum)
        } else {
            continue;
        };
        let mut labels = series.labels.to_builder();
        labels.remove("le").set(METRIC_NAME, base);
        let labels = labels.build();
        for (index, point) in series.points.iter().enumerate() {
            let Some(Value::Float(value)) = point.as_ref().map(|point| &point.value) else { continue };
            let parts = parts.entry((labels.clone(), index)).or_default();
            match role {
                Role::Bucket(bound) => parts.buckets.push((bound, *value)),
                Role::Count => parts.count = Some(*value),
                Role::Sum => parts.sum = *value,
            }
        }
    }
    parts.into_iter().map(|((labels, index), parts)| (labels, index, parts.histogram())).collect()
}

#[derive(Clone, Copy)]
enum Role {
    Bucket(f64),
    Count,
    Sum,
}

impl Parts {
    fn histogram(mut self) -> FloatHistogram {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by(|a, b| a.0 == b.0);
        let highest = self.buckets.last().copied();
        let count = self.count.or(highest.map(|(_, count)| count)).unwrap_or(0.0);
        if highest.is_some_and(|(bound, _)| bound != f64::INFINITY) || highest.is_none() {
            self.buckets.push((f64::INFINITY, count));
        }
        let mut before = 0.0;
        let mut counts = Vec::with_capacity(self.buckets.len());
        for &(_, cumulative) in &self.buckets {
            counts.push(cumulative - before);
            before = cumulative;
        }
        let bounds = self.buckets.iter().map(|&(bound, _)| bound).filter(|&bound| bound != f64::INFINITY);
        let mut histogram = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count,
            sum: self.sum,
            positive_spans: vec![Span { offset: 0, length: u32::try_from(counts.len()).unwrap_or(u32::MAX) }],
            positive_buckets: counts,
            custom_values: bounds.collect(),
            ..FloatHistogram::default()
        };
        histogram.compact(0);
        histogram
    }
}
