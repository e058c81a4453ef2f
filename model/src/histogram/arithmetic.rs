//! Adding, subtracting, scaling; sums and means that do not lose small addends.
//!
//! Two histograms are brought to one layout first: to the coarser of their schemas, to the wider of their zero buckets
//! (widened further while it would cut through a populated bucket), or, with custom buckets, to the bounds that they have
//! in common. [`Body`] does that for plain counts and for [`Compensated`] ones alike.
//!
//! Source: Prometheus 3.14; compensation after Neumaier (Kahan-Babuška), as it does it.

use std::sync::Arc;

use thiserror::Error;

use super::convert::reduce;
use super::layout::{Side, indexes, reduced_index, upper_bound};
use super::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram};

/// Exponential and custom buckets have nothing in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("cannot apply this operation on histograms with a mix of exponential and custom bucket schemas")]
pub struct IncompatibleSchemas;

/// What an addition or subtraction did besides, and its caller should mention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Combined {
    /// One histogram says there was a counter reset, the other that there was none.
    pub hints_collided: bool,
    /// Custom bounds differed; the result has those that both have.
    pub bounds_reconciled: bool,
}

impl Combined {
    /// What either of two steps did.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            hints_collided: self.hints_collided || other.hints_collided,
            bounds_reconciled: self.bounds_reconciled || other.bounds_reconciled,
        }
    }
}

impl FloatHistogram {
    /// Adds another histogram. The result is not compacted.
    ///
    /// ```
    /// use ferula_model::{FloatHistogram, Span};
    ///
    /// let one = FloatHistogram {
    ///     count: 2.0,
    ///     positive_spans: vec![Span { offset: 1, length: 1 }], positive_buckets: vec![2.0],
    ///     ..FloatHistogram::default()
    /// };
    /// let mut sum = one.clone();
    /// sum.add(&one).unwrap();
    /// assert_eq!((sum.count, sum.positive_buckets), (4.0, vec![4.0]));
    /// ```
    ///
    /// # Errors
    ///
    /// [`IncompatibleSchemas`]; nothing is changed then.
    pub fn add(&mut self, other: &FloatHistogram) -> Result<Combined, IncompatibleSchemas> {
        self.combine(other, 1.0)
    }

    /// Subtracts another histogram. The result is not compacted, and counts may be negative: PromQL's `-` makes it a
    /// gauge.
    ///
    /// # Errors
    ///
    /// [`IncompatibleSchemas`]; nothing is changed then.
    pub fn sub(&mut self, other: &FloatHistogram) -> Result<Combined, IncompatibleSchemas> {
        self.combine(other, -1.0)
    }

    /// Multiplies every count and the sum. By a negative number, the result is a gauge.
    pub fn multiply(&mut self, factor: f64) {
        self.for_each_count(|count| *count *= factor);
        if factor < 0.0 {
            self.counter_reset = CounterResetHint::Gauge;
        }
    }

    /// Divides every count and the sum. By zero, no buckets are left; by a negative number, the result is a gauge.
    pub fn divide(&mut self, divisor: f64) {
        if divisor == 0.0 {
            for side in [&mut self.positive_spans, &mut self.negative_spans] {
                side.clear();
            }
            for side in [&mut self.positive_buckets, &mut self.negative_buckets] {
                side.clear();
            }
        }
        self.for_each_count(|count| *count /= divisor);
        if divisor < 0.0 {
            self.counter_reset = CounterResetHint::Gauge;
        }
    }

    /// Whether count, sum or any bucket is infinite.
    pub fn has_overflow(&self) -> bool {
        let buckets = self.positive_buckets.iter().chain(&self.negative_buckets);
        buckets.chain([&self.zero_count, &self.count, &self.sum]).any(|count| count.is_infinite())
    }

    fn for_each_count(&mut self, mut change: impl FnMut(&mut f64)) {
        self.positive_buckets.iter_mut().for_each(&mut change);
        self.negative_buckets.iter_mut().for_each(&mut change);
        for count in [&mut self.zero_count, &mut self.count, &mut self.sum] {
            change(count);
        }
    }

    fn combine(&mut self, other: &FloatHistogram, sign: f64) -> Result<Combined, IncompatibleSchemas> {
        let mut body = Body::from(std::mem::take(self));
        let combined = body.combine(other, sign);
        *self = body.into();
        combined
    }
}

/// The sum of many histograms, compensated so that small addends are not lost among large ones.
///
/// ```
/// use ferula_model::FloatHistogram;
/// use ferula_model::histogram::HistogramSum;
///
/// let of = |count| FloatHistogram { count, ..FloatHistogram::default() };
/// let mut sum = HistogramSum::new(of(1e17));
/// sum.add(&of(1.0)).unwrap();
/// sum.add(&of(-1e17)).unwrap();
/// assert_eq!(sum.finish().count, 1.0);
/// ```
#[derive(Clone, Debug)]
pub struct HistogramSum {
    body: Body<Compensated>,
}

impl HistogramSum {
    /// Begins with a first addend.
    pub fn new(first: FloatHistogram) -> Self {
        Self { body: Body::from(first).map(Compensated::from) }
    }

    /// Adds a histogram.
    ///
    /// # Errors
    ///
    /// [`IncompatibleSchemas`]; nothing is changed then.
    pub fn add(&mut self, histogram: &FloatHistogram) -> Result<Combined, IncompatibleSchemas> {
        self.body.combine(histogram, 1.0)
    }

    /// The sum, compacted.
    pub fn finish(self) -> FloatHistogram {
        let mut sum = FloatHistogram::from(self.body.map(|count| count.value()));
        sum.compact(0);
        sum
    }
}

/// The mean of many histograms. It sums, as [`HistogramSum`] does, until a number would overflow, and goes on from mean to
/// mean then.
#[derive(Clone, Debug)]
pub struct HistogramMean {
    body: Body<Compensated>,
    count: f64,
    incremental: bool,
}

impl HistogramMean {
    /// Begins with a first histogram.
    pub fn new(first: FloatHistogram) -> Self {
        Self { body: Body::from(first).map(Compensated::from), count: 1.0, incremental: false }
    }

    /// Counts a histogram in.
    ///
    /// # Errors
    ///
    /// [`IncompatibleSchemas`]; the mean has no meaning any more then.
    pub fn add(&mut self, histogram: &FloatHistogram) -> Result<Combined, IncompatibleSchemas> {
        self.count += 1.0;
        if !self.incremental {
            if !self.body.may_overflow() && !Body::from(histogram.clone()).may_overflow() {
                return self.body.combine(histogram, 1.0);
            }
            let mut tried = self.body.clone();
            let combined = tried.combine(histogram, 1.0)?;
            if !tried.has_overflow() {
                self.body = tried;
                return Ok(combined);
            }
            self.incremental = true;
            let before = self.count - 1.0;
            self.body.for_each_count(|count| count.divide(before));
        }
        let weight = (self.count - 1.0) / self.count;
        self.body.for_each_count(|count| count.multiply(weight));
        let mut part = histogram.clone();
        part.divide(self.count);
        self.body.combine(&part, 1.0)
    }

    /// The mean, compacted.
    pub fn finish(mut self) -> FloatHistogram {
        if !self.incremental {
            let count = self.count;
            self.body.for_each_count(|cell| cell.divide(count));
        }
        HistogramSum { body: self.body }.finish()
    }
}

/// A number that is summed: plain, or with what rounding took away.
trait Cell: Copy + Default {
    fn add(&mut self, addend: f64);
    fn join(&mut self, other: Self);
    fn is_empty(self) -> bool;
    fn magnitude(self) -> f64;
}

impl Cell for f64 {
    fn add(&mut self, addend: f64) {
        *self += addend;
    }

    fn join(&mut self, other: Self) {
        *self += other;
    }

    fn is_empty(self) -> bool {
        self == 0.0
    }

    fn magnitude(self) -> f64 {
        self.abs()
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Compensated {
    sum: f64,
    lost: f64,
}

impl Compensated {
    fn value(self) -> f64 {
        self.sum + self.lost
    }

    fn multiply(&mut self, factor: f64) {
        self.sum *= factor;
        self.lost *= factor;
    }

    fn divide(&mut self, divisor: f64) {
        self.sum /= divisor;
        self.lost /= divisor;
    }
}

impl From<f64> for Compensated {
    fn from(sum: f64) -> Self {
        Self { sum, lost: 0.0 }
    }
}

impl Cell for Compensated {
    fn add(&mut self, addend: f64) {
        let total = self.sum + addend;
        if total.is_infinite() {
            self.lost = 0.0;
        } else if self.sum.abs() >= addend.abs() {
            self.lost += (self.sum - total) + addend;
        } else {
            self.lost += (addend - total) + self.sum;
        }
        self.sum = total;
    }

    fn join(&mut self, other: Self) {
        self.add(other.sum);
        self.lost += other.lost;
    }

    fn is_empty(self) -> bool {
        self.sum == 0.0 && self.lost == 0.0
    }

    fn magnitude(self) -> f64 {
        self.sum.abs()
    }
}

/// A histogram in the middle of a computation.
#[derive(Clone, Debug)]
struct Body<C> {
    hint: CounterResetHint,
    schema: i32,
    zero_threshold: f64,
    zero_count: C,
    count: C,
    sum: C,
    positive: Side<C>,
    negative: Side<C>,
    custom_values: Arc<[f64]>,
}

impl From<FloatHistogram> for Body<f64> {
    fn from(h: FloatHistogram) -> Self {
        Self {
            hint: h.counter_reset,
            schema: h.schema,
            zero_threshold: h.zero_threshold,
            zero_count: h.zero_count,
            count: h.count,
            sum: h.sum,
            positive: Side::of(h.positive_spans, h.positive_buckets),
            negative: Side::of(h.negative_spans, h.negative_buckets),
            custom_values: h.custom_values,
        }
    }
}

impl From<Body<f64>> for FloatHistogram {
    fn from(body: Body<f64>) -> Self {
        Self {
            counter_reset: body.hint,
            schema: body.schema,
            zero_threshold: body.zero_threshold,
            zero_count: body.zero_count,
            count: body.count,
            sum: body.sum,
            positive_spans: body.positive.spans,
            negative_spans: body.negative.spans,
            positive_buckets: body.positive.counts,
            negative_buckets: body.negative.counts,
            custom_values: body.custom_values,
        }
    }
}

impl<C: Cell> Body<C> {
    fn map<D: Cell>(self, convert: impl Fn(C) -> D) -> Body<D> {
        let side = |side: Side<C>| Side::of(side.spans, side.counts.into_iter().map(&convert).collect());
        Body {
            hint: self.hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: convert(self.zero_count),
            count: convert(self.count),
            sum: convert(self.sum),
            positive: side(self.positive),
            negative: side(self.negative),
            custom_values: self.custom_values,
        }
    }

    fn combine(&mut self, other: &FloatHistogram, sign: f64) -> Result<Combined, IncompatibleSchemas> {
        if (self.schema == CUSTOM_BUCKETS_SCHEMA) != other.is_custom() {
            return Err(IncompatibleSchemas);
        }
        let (hint, hints_collided) = combined_hint(self.hint, other.counter_reset);
        self.hint = hint;
        let mut combined = Combined { hints_collided, bounds_reconciled: false };
        if self.schema == CUSTOM_BUCKETS_SCHEMA {
            combined.bounds_reconciled = self.combine_custom(other, sign);
        } else {
            self.combine_exponential(other, sign);
        }
        self.count.add(sign * other.count);
        self.sum.add(sign * other.sum);
        Ok(combined)
    }

    fn combine_exponential(&mut self, other: &FloatHistogram, sign: f64) {
        if self.zero_threshold != other.zero_threshold {
            let mut widened = Body::from(other.clone());
            self.level_zero_buckets(&mut widened);
            return self.combine_levelled(&widened.into(), sign);
        }
        self.combine_levelled(other, sign);
    }

    /// Widens both zero buckets until they are equally wide; widening one over a populated bucket may make it the wider
    /// one again.
    fn level_zero_buckets<D: Cell>(&mut self, other: &mut Body<D>) {
        while self.zero_threshold < other.zero_threshold || other.zero_threshold < self.zero_threshold {
            if self.zero_threshold < other.zero_threshold {
                self.widen_zero(other.zero_threshold);
            } else {
                other.widen_zero(self.zero_threshold);
            }
        }
    }

    fn combine_levelled(&mut self, other: &FloatHistogram, sign: f64) {
        self.zero_count.add(sign * other.zero_count);
        if other.schema < self.schema {
            let steps = self.schema.abs_diff(other.schema);
            for side in [&mut self.positive, &mut self.negative] {
                *side = reduce(std::mem::replace(side, Side::new()), steps, C::join);
            }
            self.schema = other.schema;
        }
        let steps = other.schema.abs_diff(self.schema);
        // As upstream: of the histogram that is added, buckets inside the zero bucket are passed over. They ought not to be.
        let (schema, threshold) = (self.schema, self.zero_threshold);
        let is_hidden = |index: i32| threshold > 0.0 && upper_bound(index, schema, &[]) <= threshold;
        for (side, spans, buckets) in [
            (&mut self.positive, &other.positive_spans, &other.positive_buckets),
            (&mut self.negative, &other.negative_spans, &other.negative_buckets),
        ] {
            let begins_hidden = indexes(spans).next().is_some_and(|index| is_hidden(reduced_index(index, steps)));
            if steps == 0 && !begins_hidden && side.spans == *spans && side.counts.len() == buckets.len() {
                side.counts.iter_mut().zip(buckets).for_each(|(count, addend)| count.add(sign * addend));
                continue;
            }
            let mut addends: Side<f64> = Side::new();
            for (index, count) in indexes(spans).zip(buckets) {
                let index = reduced_index(index, steps);
                if !(begins_hidden && is_hidden(index)) {
                    addends.push_or(index, *count, |sum, count| *sum += count);
                }
            }
            *side = merged(side, &addends, sign);
        }
    }

    /// Whether the bounds had to be reconciled.
    fn combine_custom(&mut self, other: &FloatHistogram, sign: f64) -> bool {
        if same_bounds(&self.custom_values, &other.custom_values) {
            self.combine_levelled(other, sign);
            return false;
        }
        let bounds: Arc<[f64]> = common_bounds(&self.custom_values, &other.custom_values).into();
        let own =
            self.positive.iter().map(|(index, count)| (upper_bound(index, self.schema, &self.custom_values), count));
        let mut onto = rolled_up(own, &bounds, C::join);
        let addends = indexes(&other.positive_spans)
            .zip(&other.positive_buckets)
            .map(|(index, count)| (upper_bound(index, other.schema, &other.custom_values), *count));
        onto = merged(&onto, &rolled_up(addends, &bounds, |sum, count| *sum += count), sign);
        self.positive = onto;
        self.custom_values = bounds;
        true
    }

    /// Widens the zero bucket to a threshold, and beyond it as long as it ends inside a populated bucket.
    fn widen_zero(&mut self, threshold: f64) {
        let mut threshold = threshold;
        let bounds =
            |index: i32, schema| (upper_bound(index.wrapping_sub(1), schema, &[]), upper_bound(index, schema, &[]));
        loop {
            let cut = self.positive.iter().chain(self.negative.iter()).find_map(|(index, count)| {
                let (lower, upper) = bounds(index, self.schema);
                (lower < threshold && threshold < upper && !count.is_empty()).then_some(upper)
            });
            match cut {
                Some(upper) => threshold = upper,
                None => break,
            }
        }
        for side in [&mut self.positive, &mut self.negative] {
            let mut kept = Side::new();
            for (index, count) in side.iter() {
                if bounds(index, self.schema).0 < threshold {
                    self.zero_count.join(count);
                } else {
                    kept.push(index, count);
                }
            }
            *side = kept;
        }
        self.zero_threshold = threshold;
    }

    fn for_each_count(&mut self, mut change: impl FnMut(&mut C)) {
        self.positive.counts.iter_mut().for_each(&mut change);
        self.negative.counts.iter_mut().for_each(&mut change);
        for count in [&mut self.zero_count, &mut self.count, &mut self.sum] {
            change(count);
        }
    }

    fn magnitudes(&self) -> impl Iterator<Item = f64> + '_ {
        let buckets = self.positive.counts.iter().chain(&self.negative.counts);
        buckets.chain([&self.zero_count, &self.count, &self.sum]).map(|count| count.magnitude())
    }

    fn has_overflow(&self) -> bool {
        self.magnitudes().any(f64::is_infinite)
    }

    /// Whether one more addend could overflow: two numbers below this cannot, even after resolutions are reduced.
    fn may_overflow(&self) -> bool {
        self.magnitudes().any(|magnitude| magnitude > 1e300)
    }
}

/// The hint of a sum, and whether the hints contradict each other.
fn combined_hint(a: CounterResetHint, b: CounterResetHint) -> (CounterResetHint, bool) {
    use CounterResetHint::{Gauge, Unknown};
    match (a, b) {
        (a, b) if a == b => (a, false),
        (Gauge, _) | (_, Gauge) => (Gauge, false),
        (Unknown, _) | (_, Unknown) => (Unknown, false),
        _ => (Unknown, true),
    }
}

/// Both sides' buckets; those of one index are added.
fn merged<C: Cell>(left: &Side<C>, right: &Side<f64>, sign: f64) -> Side<C> {
    let mut out = Side::new();
    let (mut lefts, mut rights) = (left.iter().peekable(), right.iter().peekable());
    loop {
        let index = match (lefts.peek(), rights.peek()) {
            (Some((left, _)), Some((right, _))) => *left.min(right),
            (Some((index, _)), None) | (None, Some((index, _))) => *index,
            (None, None) => return out,
        };
        let mut count = lefts.next_if(|(left, _)| *left == index).map_or_else(C::default, |(_, count)| count);
        if let Some((_, addend)) = rights.next_if(|(right, _)| *right == index) {
            count.add(sign * addend);
        }
        out.push(index, count);
    }
}

/// Bit for bit the same custom bounds.
pub(super) fn same_bounds(a: &Arc<[f64]>, b: &Arc<[f64]>) -> bool {
    Arc::ptr_eq(a, b) || super::same_bits(a, b)
}

/// The bounds in both lists, which rise.
pub(super) fn common_bounds(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut others = b.iter().peekable();
    a.iter()
        .filter(|bound| {
            while others.next_if(|other| other < bound).is_some() {}
            others.next_if(|other| other == bound).is_some()
        })
        .copied()
        .collect()
}

/// Buckets, given by their upper bounds, onto fewer bounds: each goes into the first bucket that ends no earlier.
pub(super) fn rolled_up<C: Copy>(
    buckets: impl Iterator<Item = (f64, C)>,
    bounds: &[f64],
    join: impl Fn(&mut C, C),
) -> Side<C> {
    let mut out = Side::new();
    for (upper, count) in buckets {
        let target = bounds.partition_point(|bound| *bound < upper);
        out.push_or(i32::try_from(target).unwrap_or(i32::MAX), count, &join);
    }
    out
}
