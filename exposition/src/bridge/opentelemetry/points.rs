//! Data points as metrics.

use std::time::SystemTime;

use ferula_model::histogram::EXPONENTIAL_SCHEMAS;
use ferula_model::{Exemplar, Histogram, IntegerHistogram, Labels, MetricType, Span, Timestamp, millis};
use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::{
    self, ExponentialBucket, ExponentialHistogramDataPoint, HistogramDataPoint, MetricData,
};

use super::labels;
use crate::family::{Bucket, HistogramValue, Metric, MetricFamily, MetricValue};
use crate::translate::{NameKind, metric_name};

/// The points of one instrument as a family.
pub(super) struct Points<'a> {
    name: &'a str,
    unit: &'a str,
    of_scope: &'a Labels,
    pub(super) family: Option<MetricFamily>,
    pub(super) dropped: u64,
}

/// A number of OpenTelemetry.
pub(super) trait Number: Copy {
    fn to_f64(self) -> f64;
}

impl Number for f64 {
    fn to_f64(self) -> f64 {
        self
    }
}

impl Number for u64 {
    fn to_f64(self) -> f64 {
        self as f64
    }
}

impl Number for i64 {
    fn to_f64(self) -> f64 {
        self as f64
    }
}

impl<'a> Points<'a> {
    pub(super) fn new(name: &'a str, unit: &'a str, of_scope: &'a Labels) -> Self {
        Self { name, unit, of_scope, family: None, dropped: 0 }
    }

    pub(super) fn add<T: Number>(&mut self, data: &MetricData<T>) {
        match data {
            MetricData::Gauge(gauge) => {
                self.begin(MetricType::Gauge, NameKind::Gauge);
                for point in gauge.data_points() {
                    self.push(point.attributes(), None, MetricValue::Gauge(point.value().to_f64()));
                }
            }
            MetricData::Sum(sum) if sum.is_monotonic() => {
                self.begin(MetricType::Counter, NameKind::Counter);
                for point in sum.data_points() {
                    let exemplar = point.exemplars().map(exemplar).max_by_key(|exemplar| exemplar.timestamp);
                    let value = MetricValue::Counter { value: point.value().to_f64(), exemplar };
                    self.push(point.attributes(), Some(sum.start_time()), value);
                }
            }
            MetricData::Sum(sum) => {
                self.begin(MetricType::Gauge, NameKind::Gauge);
                for point in sum.data_points() {
                    self.push(point.attributes(), None, MetricValue::Gauge(point.value().to_f64()));
                }
            }
            MetricData::Histogram(histogram) => {
                self.begin(MetricType::Histogram, NameKind::Other);
                for point in histogram.data_points() {
                    let value = MetricValue::Histogram(Box::new(classic(point)));
                    self.push(point.attributes(), Some(histogram.start_time()), value);
                }
            }
            MetricData::ExponentialHistogram(histogram) => {
                self.begin(MetricType::Histogram, NameKind::Other);
                for point in histogram.data_points() {
                    match exponential(point) {
                        Some(value) => {
                            let value = MetricValue::Histogram(Box::new(value));
                            self.push(point.attributes(), Some(histogram.start_time()), value);
                        }
                        None => self.dropped += 1,
                    }
                }
            }
        }
    }

    fn begin(&mut self, metric_type: MetricType, kind: NameKind) {
        self.family = metric_name(self.name, self.unit, kind).map(|name| MetricFamily::new(&name, "", metric_type));
    }

    fn push<'p>(
        &mut self,
        attributes: impl Iterator<Item = &'p KeyValue>,
        start: Option<SystemTime>,
        value: MetricValue,
    ) {
        let Some(family) = &mut self.family else {
            self.dropped += 1;
            return;
        };
        let of_point = labels::of(attributes.map(|pair| (pair.key.as_str(), pair.value.as_str())));
        let mut labels = of_point.to_builder();
        for (name, value) in self.of_scope {
            labels.set(name, value);
        }
        family.metrics.push(Metric { labels: labels.build(), value, timestamp: None, start: start.map(timestamp) });
    }
}

fn classic<T: Number>(point: &HistogramDataPoint<T>) -> HistogramValue {
    let mut exemplars: Vec<Exemplar> = point.exemplars().map(exemplar).collect();
    exemplars.sort_by_key(|exemplar| exemplar.timestamp);
    let mut total = 0;
    let mut below = f64::NEG_INFINITY;
    let buckets = point.bounds().chain([f64::INFINITY]).zip(point.bucket_counts()).map(|(upper_bound, count)| {
        total += count;
        let inside = exemplars.iter().rev().find(|exemplar| below < exemplar.value && exemplar.value <= upper_bound);
        below = upper_bound;
        Bucket { upper_bound, cumulative_count: total as f64, exemplar: inside.cloned() }
    });
    let buckets = buckets.collect();
    let (count, sum) = (Some(point.count() as f64), Some(point.sum().to_f64()));
    HistogramValue { count, sum, buckets, ..HistogramValue::default() }
}

fn exponential<T: Number>(point: &ExponentialHistogramDataPoint<T>) -> Option<HistogramValue> {
    let side = |bucket: &ExponentialBucket| (bucket.offset(), bucket.counts().collect::<Vec<_>>());
    let mut histogram = native(point.scale(), side(point.positive_bucket()), side(point.negative_bucket()))?;
    histogram.zero_count = point.zero_count();
    histogram.zero_threshold = point.zero_threshold();
    histogram.count = point.count() as u64;
    histogram.sum = point.sum().to_f64();
    let (count, sum) = (Some(histogram.count as f64), Some(histogram.sum));
    let mut exemplars: Vec<Exemplar> = point.exemplars().map(exemplar).collect();
    exemplars.sort_by_key(|exemplar| exemplar.timestamp);
    let native = Some(Histogram::from(histogram));
    Some(HistogramValue { count, sum, native, exemplars, ..HistogramValue::default() })
}

/// The buckets of a scale as those of a schema; `None` if the scale is below any schema. Bucket `i` of OpenTelemetry begins
/// where bucket `i` of Prometheus ends.
fn native(scale: i8, positive: (i32, Vec<u64>), negative: (i32, Vec<u64>)) -> Option<IntegerHistogram> {
    let (schema, max) = (i32::from(scale), *EXPONENTIAL_SCHEMAS.end());
    if schema < *EXPONENTIAL_SCHEMAS.start() {
        return None;
    }
    let steps = (schema - max).max(0).unsigned_abs().min(31);
    let side = |(offset, counts): (i32, Vec<u64>)| {
        let (mut spans, mut deltas, mut before) = (Vec::new(), Vec::<i64>::new(), 0i64);
        let mut merged: Vec<i64> = Vec::new();
        let mut first = None;
        for (i, count) in counts.iter().enumerate() {
            let index = offset.saturating_add(i32::try_from(i).unwrap_or(i32::MAX)) >> steps;
            let first = *first.get_or_insert(index);
            let place = usize::try_from(index.saturating_sub(first)).unwrap_or_default();
            merged.resize(merged.len().max(place + 1), 0);
            if let Some(sum) = merged.get_mut(place) {
                *sum += *count as i64;
            }
        }
        if let Some(first) = first {
            let length = u32::try_from(merged.len()).unwrap_or(u32::MAX);
            spans.push(Span { offset: first.saturating_add(1), length });
        }
        for count in merged {
            deltas.push(count - before);
            before = count;
        }
        (spans, deltas)
    };
    let ((positive_spans, positive_buckets), (negative_spans, negative_buckets)) = (side(positive), side(negative));
    let mut histogram = IntegerHistogram {
        schema: schema.min(max),
        positive_spans,
        positive_buckets,
        negative_spans,
        negative_buckets,
        ..IntegerHistogram::default()
    };
    histogram.compact(2);
    Some(histogram)
}

fn exemplar<T: Number>(exemplar: &data::Exemplar<T>) -> Exemplar {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut labels = Labels::empty().to_builder();
    if exemplar.trace_id() != &[0; 16] {
        labels.set("trace_id", &hex(exemplar.trace_id()));
        labels.set("span_id", &hex(exemplar.span_id()));
    }
    let ids = labels.build();
    let filtered = labels::of(exemplar.filtered_attributes().map(|pair| (pair.key.as_str(), pair.value.as_str())));
    for (name, value) in &filtered {
        labels.set(name, value);
    }
    let all = labels.build();
    // Longer ones are refused everywhere.
    let length: usize = all.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
    let labels = if length <= 128 { all } else { ids };
    Exemplar { labels, value: exemplar.value.to_f64(), timestamp: Some(timestamp(exemplar.time())) }
}

fn timestamp(time: SystemTime) -> Timestamp {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => Timestamp(millis(after)),
        Err(before) => Timestamp(-millis(before.duration())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_buckets_keep_their_bounds() {
        // Scale 0, offset 0: (1, 2] and (2, 4].
        let histogram = native(0, (0, vec![3, 5]), (-2, vec![1])).unwrap();
        let float = IntegerHistogram { count: 9, ..histogram }.to_float();
        let told: Vec<_> = float.buckets().map(|bucket| bucket.to_string()).collect();
        assert_eq!(told, ["[-0.5,-0.25):1", "(1,2]:3", "(2,4]:5"]);
    }

    #[test]
    fn what_is_too_fine_is_merged_and_what_is_too_coarse_refused() {
        // At scale 10, four buckets are one of schema 8; index 3 and 4 lie on both sides of a bound.
        let histogram = native(10, (3, vec![1, 2, 0, 0, 0, 4]), (0, vec![])).unwrap();
        assert_eq!(histogram.schema, 8);
        assert_eq!(histogram.positive_spans, [Span { offset: 1, length: 3 }]);
        assert_eq!(histogram.positive_buckets, [1, 1, 2], "1, 2 and 4 as deltas");
        assert!(native(-5, (0, vec![1]), (0, vec![])).is_none());
    }
}
