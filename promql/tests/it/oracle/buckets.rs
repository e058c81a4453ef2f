//! Native histograms as what they are: counts of numbered buckets. Sums of them, and what a window of them says.
//!
//! The model's types are taken for samples and results, its bounds of buckets, and its word on whether a counter was reset; sums
//! are made here, bucket by bucket.

use std::collections::BTreeMap;

use ferula_model::histogram::upper_bound;
use ferula_model::{CounterResetHint, FloatHistogram, Span};

use super::over_time::sum;

/// Counts by number of the bucket.
type Counts = BTreeMap<i32, Vec<f64>>;

/// A sum of histograms: what is added to a count is kept apart until the end.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    schema: i32,
    custom: Vec<f64>,
    zero_threshold: f64,
    /// The zero bucket, all observations, and their sum.
    totals: [Vec<f64>; 3],
    /// Positive and negative ones.
    sides: [Counts; 2],
    hint: CounterResetHint,
}

impl Buckets {
    pub(super) fn of(histogram: &FloatHistogram) -> Self {
        let side = |spans: &[Span], counts: &[f64]| {
            let mut side = Counts::new();
            let (mut index, mut counts) = (0, counts.iter());
            for span in spans {
                index += span.offset;
                for _ in 0..span.length {
                    side.insert(index, counts.next().copied().into_iter().collect());
                    index += 1;
                }
            }
            side
        };
        Self {
            schema: histogram.schema,
            custom: histogram.custom_values.to_vec(),
            zero_threshold: histogram.zero_threshold,
            totals: [histogram.zero_count, histogram.count, histogram.sum].map(|total| vec![total]),
            sides: [
                side(&histogram.positive_spans, &histogram.positive_buckets),
                side(&histogram.negative_spans, &histogram.negative_buckets),
            ],
            hint: histogram.counter_reset,
        }
    }

    pub(super) fn is_custom(&self) -> bool {
        self.schema == -53
    }

    /// Adds `sign` times another; `None` if one has custom buckets and the other has not.
    pub(super) fn add(mut self, other: &FloatHistogram, sign: f64) -> Option<Self> {
        let mut other = Self::of(other);
        if self.is_custom() != other.is_custom() {
            return None;
        }
        if self.is_custom() {
            let common: Vec<f64> = self.custom.iter().copied().filter(|bound| other.custom.contains(bound)).collect();
            self.roll_up(&common);
            other.roll_up(&common);
        } else {
            while self.zero_threshold != other.zero_threshold {
                // The narrower zero bucket is widened, perhaps so far that it is the wider one.
                let (narrow, wide) = if self.zero_threshold < other.zero_threshold {
                    (&mut self, other.zero_threshold)
                } else {
                    (&mut other, self.zero_threshold)
                };
                let threshold = narrow.uncut(wide);
                narrow.widen(threshold);
            }
            let schema = self.schema.min(other.schema);
            self.reduce(schema);
            other.reduce(schema);
            // As upstream: of the histogram that is added, buckets inside the zero bucket are lost.
            let hidden = |index: &i32| upper_bound(*index, schema, &[]) <= other.zero_threshold;
            other.sides.iter_mut().for_each(|side| side.retain(|index, _| !hidden(index)));
        }
        for (mine, theirs) in self.totals.iter_mut().zip(&other.totals) {
            mine.push(sign * sum(theirs));
        }
        for (mine, theirs) in self.sides.iter_mut().zip(&other.sides) {
            for (index, counts) in theirs {
                mine.entry(*index).or_default().push(sign * sum(counts));
            }
        }
        Some(self)
    }

    /// The threshold, or the end of a populated bucket that it lies in, until it lies in none.
    fn uncut(&self, mut threshold: f64) -> f64 {
        while let Some(upper) = self.sides.iter().flatten().find_map(|(&index, counts)| {
            let (lower, upper) = (upper_bound(index - 1, self.schema, &[]), upper_bound(index, self.schema, &[]));
            (lower < threshold && threshold < upper && sum(counts) != 0.0).then_some(upper)
        }) {
            threshold = upper;
        }
        threshold
    }

    fn widen(&mut self, threshold: f64) {
        if threshold == self.zero_threshold {
            return;
        }
        let schema = self.schema;
        for side in &mut self.sides {
            let (outside, inside) = std::mem::take(side)
                .into_iter()
                .partition(|(index, _)| upper_bound(index - 1, schema, &[]) >= threshold);
            *side = outside;
            let inside: Counts = inside;
            self.totals[0].extend(inside.into_values().flatten());
        }
        self.zero_threshold = threshold;
    }

    pub(super) fn reduce(&mut self, schema: i32) {
        let steps = self.schema - schema;
        for side in &mut self.sides {
            let mut reduced = Counts::new();
            for (index, counts) in std::mem::take(side) {
                // Two neighbours become one: (-1, 0], (1, 2], ...
                reduced.entry(((index - 1) >> steps) + 1).or_default().extend(counts);
            }
            *side = reduced;
        }
        self.schema = schema;
    }

    /// Keeps only some of the bounds: each bucket counts for the next of them.
    fn roll_up(&mut self, bounds: &[f64]) {
        let mut rolled = Counts::new();
        for (index, counts) in std::mem::take(&mut self.sides[0]) {
            let upper = upper_bound(index, self.schema, &self.custom);
            let at = bounds.iter().position(|bound| *bound >= upper).unwrap_or(bounds.len());
            rolled.entry(at as i32).or_default().extend(counts);
        }
        self.sides[0] = rolled;
        self.custom = bounds.to_vec();
    }

    /// As a histogram, each count multiplied, without empty buckets.
    pub(super) fn times(&self, factor: f64) -> FloatHistogram {
        let side = |side: &Counts| {
            let (mut spans, mut buckets): (Vec<Span>, Vec<f64>) = (Vec::new(), Vec::new());
            let mut end = 0;
            for (&index, counts) in side {
                let count = sum(counts) * factor;
                if count != 0.0 {
                    spans.push(Span { offset: index - end, length: 1 });
                    buckets.push(count);
                    end = index + 1;
                }
            }
            (spans, buckets)
        };
        let [(positive_spans, positive_buckets), (negative_spans, negative_buckets)] =
            [side(&self.sides[0]), side(&self.sides[1])];
        let [zero_count, count, sum] = [0, 1, 2].map(|at| sum(&self.totals[at]) * factor);
        FloatHistogram {
            counter_reset: self.hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count,
            count,
            sum,
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            custom_values: self.custom.clone().into(),
        }
    }

    /// How many observations.
    pub(super) fn count(&self) -> f64 {
        sum(&self.totals[1])
    }

    /// A gauge: what is left of counters.
    pub(super) fn gauge(mut self) -> Self {
        self.hint = CounterResetHint::Gauge;
        self
    }
}

/// The sum of some histograms; `None` if there is none, or not one kind of them.
pub(super) fn total<'h>(histograms: impl IntoIterator<Item = &'h FloatHistogram>) -> Option<Buckets> {
    let mut histograms = histograms.into_iter();
    let first = Buckets::of(histograms.next()?);
    histograms.try_fold(first, |sum, histogram| sum.add(histogram, 1.0))
}

/// How much the histograms of a window grew: the last less the first, and whatever a reset took.
pub(super) fn growth(histograms: &[FloatHistogram], is_counter: bool) -> Option<Buckets> {
    let [first, .., last] = histograms else { return None };
    let starts_anew = is_counter && histograms[1].detect_reset(first);
    let start = if starts_anew {
        FloatHistogram {
            schema: histograms[1].schema,
            custom_values: histograms[1].custom_values.clone(),
            ..FloatHistogram::default()
        }
    } else {
        first.clone()
    };
    let between = if is_counter { &histograms[1..histograms.len() - 1] } else { &[] };
    let all = || between.iter().chain([&start, last]);
    if all().any(|histogram| (histogram.schema == -53) != (last.schema == -53)) {
        return None;
    }
    let mut growth = Buckets::of(last);
    if !growth.is_custom() {
        growth.reduce(all().map(|histogram| histogram.schema).min()?);
    }
    growth = growth.add(&start, -1.0)?;
    let mut previous = &start;
    for histogram in &histograms[1..] {
        if is_counter && histogram.detect_reset(previous) {
            growth = growth.add(previous, 1.0)?;
        }
        previous = histogram;
    }
    Some(growth.gauge())
}

/// The quantile of the observations, between the bounds of the bucket that it falls into.
pub(super) fn quantile(phi: f64, histogram: &FloatHistogram) -> f64 {
    if !phi.is_nan() && !(0.0..=1.0).contains(&phi) {
        return f64::INFINITY.copysign(phi);
    }
    if phi.is_nan() || histogram.count == 0.0 {
        return f64::NAN;
    }
    let mut buckets: Vec<(f64, f64, f64)> =
        histogram.buckets().filter(|bucket| bucket.count != 0.0).map(|b| (b.lower, b.upper, b.count)).collect();
    let upward = histogram.sum.is_nan() || phi < 0.5;
    if !upward {
        buckets.reverse();
    }
    let rank = if upward { phi } else { 1.0 - phi } * histogram.count;
    let mut reached = 0.0;
    let at = buckets.iter().position(|bucket| {
        reached += bucket.2;
        reached >= rank
    });
    let Some(&(mut lower, mut upper, count)) = at.map_or(buckets.last(), |at| buckets.get(at)) else {
        return if rank > 0.0 && !histogram.sum.is_nan() { 0.0 } else { f64::NAN };
    };
    let is_custom = histogram.schema == -53;
    if is_custom && lower == f64::NEG_INFINITY {
        if upper <= 0.0 {
            return upper;
        }
        lower = 0.0;
    } else if is_custom && upper == f64::INFINITY {
        return lower;
    } else if !is_custom && lower < 0.0 && upper > 0.0 {
        match (histogram.negative_buckets.is_empty(), histogram.positive_buckets.is_empty()) {
            (true, false) => lower = 0.0,
            (false, true) => upper = 0.0,
            _ => {}
        }
    }
    let reached = reached.min(histogram.count);
    if reached < rank {
        return if histogram.sum.is_nan() { f64::NAN } else { upper };
    }
    let share = if upward { rank - (reached - count) } else { reached - rank } / count;
    if is_custom || lower <= 0.0 && upper >= 0.0 {
        return lower + (upper - lower) * share;
    }
    let (from, to) = (lower.abs().log2(), upper.abs().log2());
    if lower > 0.0 { (from + (to - from) * share).exp2() } else { -(to + (from - to) * (1.0 - share)).exp2() }
}
