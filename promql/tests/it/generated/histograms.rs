//! Native histograms of every kind from a seed.

use std::sync::Arc;

use ferula_model::{CounterResetHint, FloatHistogram, IntegerHistogram, Labels, Sample, Span, Value};

use super::data::{add, labels};
use super::random::Random;

/// What a histogram is made of while it grows: counts by bucket, which become spans at the end.
#[derive(Clone, Debug)]
struct Growing {
    schema: i32,
    zero_threshold: f64,
    zero: u64,
    positive: Vec<u64>,
    negative: Vec<u64>,
    first: i32,
    custom: Vec<f64>,
    sum: f64,
    gauge: bool,
}

/// Adds the series.
pub(super) fn series(random: &mut Random, series: &mut Vec<(Labels, Vec<Sample>)>) {
    for job in ["api", "db"] {
        for instance in ["a:1", "b:2", "c:3"] {
            let pairs = [("job", job), ("instance", instance)];
            for name in ["size", "duration", "width_gauge", "custom", "uneven"] {
                let mut growing = Growing::new(random, name);
                let floats = random.chance(40);
                let erratic = instance == "c:3" && name != "custom";
                add(random, series, labels(name, &pairs), |random, _| {
                    growing.step(random, erratic);
                    Some(growing.value(floats))
                });
            }
        }
        let mut growing = Growing::new(random, "size");
        // Floats and histograms take turns.
        add(random, series, labels("mixed", &[("job", job)]), |random, index| {
            growing.step(random, false);
            let float = index / 7 % 2 == 0;
            Some(if float { Value::Float(index as f64) } else { growing.value(false) })
        });
        // So do exponential and custom buckets.
        let mut both = [Growing::new(random, "custom"), Growing::new(random, "size")];
        add(random, series, labels("switching", &[("job", job)]), |random, index| {
            let growing = &mut both[index / 9 % 2];
            growing.step(random, false);
            Some(growing.value(false))
        });
    }
}

impl Growing {
    fn new(random: &mut Random, name: &str) -> Self {
        let custom = match name {
            "custom" => vec![0.5, 1.0, 2.0, 5.0],
            "uneven" => random.pick(&[&[0.5, 1.0, 2.0, 5.0][..], &[0.5, 1.0, 5.0], &[-1.0, 0.0, 1.0]]).to_vec(),
            _ => Vec::new(),
        };
        let buckets = if custom.is_empty() { 3 + random.below(6) as usize } else { custom.len() + 1 };
        // Mostly, a counter has counted much more than it does while it is watched: extrapolation does not reach zero.
        let base = random.pick(&[1, 40_000, 40_000, 40_000]);
        Self {
            schema: if custom.is_empty() { random.pick(&[-1, 0, 0, 1, 3]) } else { -53 },
            zero_threshold: if custom.is_empty() { random.pick(&[0.0, 1e-3, 1e-3, 0.5]) } else { 0.0 },
            zero: 0,
            positive: (0..buckets).map(|_| random.below(base)).collect(),
            negative: vec![0; if custom.is_empty() { random.pick(&[0, 0, 2]) } else { 0 }],
            first: if custom.is_empty() { random.below(5) as i32 - 2 } else { 0 },
            custom,
            sum: 0.0,
            gauge: name.ends_with("gauge"),
        }
    }

    fn step(&mut self, random: &mut Random, erratic: bool) {
        for count in self.positive.iter_mut().chain(&mut self.negative) {
            *count += random.pick(&[0, 0, 1, 5]);
            if self.gauge {
                *count = 1_000 + random.below(300);
            }
        }
        if self.custom.is_empty() {
            self.zero += random.below(2);
        }
        self.sum += random.unit() * 10.0;
        if random.chance(2) {
            // A reset.
            self.positive.iter_mut().for_each(|count| *count /= 10);
            self.negative.fill(0);
            self.zero = 0;
            self.sum = random.unit();
        }
        if erratic && random.chance(10) {
            self.change_layout(random);
        }
    }

    fn change_layout(&mut self, random: &mut Random) {
        if self.custom.is_empty() {
            self.schema = random.pick(&[-1, 0, 1, 2]);
            self.zero_threshold = random.pick(&[1e-3, 0.5, 1.0]);
        } else {
            self.custom = random.pick(&[&[0.5, 1.0, 2.0, 5.0][..], &[0.5, 1.0, 5.0], &[1.0]]).to_vec();
            self.positive.resize(self.custom.len() + 1, 0);
        }
    }

    /// As a sample; of float form, with counts that are no integers.
    fn value(&self, floats: bool) -> Value {
        let counter_reset = if self.gauge { CounterResetHint::Gauge } else { CounterResetHint::Unknown };
        let count = self.zero + self.positive.iter().chain(&self.negative).sum::<u64>();
        let (positive_spans, positive) = spans(self.first, &self.positive);
        let (negative_spans, negative) = spans(self.first, &self.negative);
        let custom_values: Arc<[f64]> = self.custom.clone().into();
        if floats {
            let scaled = |counts: Vec<u64>| counts.into_iter().map(|count| count as f64 * 0.3).collect::<Vec<_>>();
            return Value::Histogram(
                FloatHistogram {
                    counter_reset,
                    schema: self.schema,
                    zero_threshold: self.zero_threshold,
                    zero_count: self.zero as f64 * 0.3,
                    count: count as f64 * 0.3,
                    sum: self.sum,
                    positive_spans,
                    negative_spans,
                    positive_buckets: scaled(positive),
                    negative_buckets: scaled(negative),
                    custom_values,
                }
                .into(),
            );
        }
        let deltas = |counts: Vec<u64>| {
            let mut previous = 0;
            let delta = |count: u64| {
                let delta = count as i64 - previous;
                previous = count as i64;
                delta
            };
            counts.into_iter().map(delta).collect::<Vec<_>>()
        };
        Value::Histogram(
            IntegerHistogram {
                counter_reset,
                schema: self.schema,
                zero_threshold: self.zero_threshold,
                zero_count: self.zero,
                count,
                sum: self.sum,
                positive_spans,
                negative_spans,
                positive_buckets: deltas(positive),
                negative_buckets: deltas(negative),
                custom_values,
            }
            .into(),
        )
    }
}

/// Counts of neighbouring buckets as spans without the empty ones.
fn spans(first: i32, counts: &[u64]) -> (Vec<Span>, Vec<u64>) {
    let mut spans: Vec<Span> = Vec::new();
    let (mut kept, mut end) = (Vec::new(), 0);
    for (index, &count) in (first..).zip(counts) {
        if count == 0 {
            continue;
        }
        match spans.last_mut() {
            Some(span) if index == end => span.length += 1,
            _ => spans.push(Span { offset: index - end, length: 1 }),
        }
        end = index + 1;
        kept.push(count);
    }
    (spans, kept)
}
