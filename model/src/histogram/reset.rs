//! Was there a counter reset between two histograms?

use super::arithmetic::{common_bounds, rolled_up, same_bounds};
use super::convert::reduce;
use super::layout::{Side, indexes, upper_bound};
use super::{CounterResetHint, FloatHistogram, Span};

impl FloatHistogram {
    /// Whether counting began anew between `previous` and this histogram: the hint says so, or, if it says nothing, some
    /// count fell, a bucket vanished, the resolution rose or the zero bucket shrank.
    ///
    /// ```
    /// use ferula_model::FloatHistogram;
    ///
    /// let of = |count| FloatHistogram { count, ..FloatHistogram::default() };
    /// assert!(of(3.0).detect_reset(&of(4.0)));
    /// assert!(!of(4.0).detect_reset(&of(3.0)));
    /// ```
    pub fn detect_reset(&self, previous: &FloatHistogram) -> bool {
        match self.counter_reset {
            CounterResetHint::Reset => return true,
            CounterResetHint::NotReset => return false,
            CounterResetHint::Unknown | CounterResetHint::Gauge => {}
        }
        if self.count < previous.count || self.is_custom() != previous.is_custom() {
            return true;
        }
        if self.is_custom() {
            return self.custom_buckets_fell(previous);
        }
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        let Some(zero_count) = previous.zero_count_within(self.zero_threshold) else { return true };
        self.zero_count < zero_count
            || fell(&self.outside_zero(self, true), &previous.outside_zero(self, true))
            || fell(&self.outside_zero(self, false), &previous.outside_zero(self, false))
    }

    fn custom_buckets_fell(&self, previous: &FloatHistogram) -> bool {
        let side = |h: &FloatHistogram| Side::of(h.positive_spans.clone(), h.positive_buckets.clone());
        if same_bounds(&self.custom_values, &previous.custom_values) {
            return fell(&side(self), &side(previous));
        }
        let bounds = common_bounds(&self.custom_values, &previous.custom_values);
        let onto_common = |h: &FloatHistogram| {
            let buckets = side(h);
            let uppers = buckets.iter().map(|(i, count)| (upper_bound(i, h.schema, &h.custom_values), count));
            rolled_up(uppers, &bounds, |sum, count| *sum += count)
        };
        fell(&onto_common(self), &onto_common(previous))
    }

    /// What a wider zero bucket would hold; `None` if it would end inside a populated bucket.
    fn zero_count_within(&self, threshold: f64) -> Option<f64> {
        let mut sum = self.zero_count;
        if threshold == self.zero_threshold {
            return Some(sum);
        }
        for (spans, buckets) in self.sides() {
            for (index, count) in indexes(spans).zip(buckets) {
                if upper_bound(index.wrapping_sub(1), self.schema, &[]) >= threshold {
                    break;
                }
                if upper_bound(index, self.schema, &[]) > threshold && *count != 0.0 {
                    return None;
                }
                sum += count;
            }
        }
        Some(sum)
    }

    /// One side's buckets outside the zero bucket of `like` and at its resolution.
    fn outside_zero(&self, like: &FloatHistogram, positive: bool) -> Side<f64> {
        let [positives, negatives] = self.sides();
        let (spans, buckets) = if positive { positives } else { negatives };
        let mut side = Side::new();
        for (index, count) in indexes(spans).zip(buckets) {
            if upper_bound(index, self.schema, &[]) > like.zero_threshold {
                side.push(index, *count);
            }
        }
        match self.schema.abs_diff(like.schema) {
            0 => side,
            steps => reduce(side, steps, |sum, count| *sum += count),
        }
    }

    fn sides(&self) -> [(&[Span], &[f64]); 2] {
        [(&self.positive_spans, &self.positive_buckets), (&self.negative_spans, &self.negative_buckets)]
    }
}

/// Whether a populated bucket of `previous` is smaller in `current`, or not there.
fn fell(current: &Side<f64>, previous: &Side<f64>) -> bool {
    let mut currents = current.iter().peekable();
    previous.iter().any(|(index, before)| {
        while currents.next_if(|(at, _)| *at < index).is_some() {}
        let now = currents.next_if(|(at, _)| *at == index).map_or(0.0, |(_, count)| count);
        now < before
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(positive: &[f64]) -> FloatHistogram {
        FloatHistogram {
            count: positive.iter().sum(),
            zero_threshold: 0.001,
            positive_spans: vec![Span { offset: 1, length: positive.len() as u32 }],
            positive_buckets: positive.to_vec(),
            ..FloatHistogram::default()
        }
    }

    #[test]
    fn every_sign_of_a_reset_is_seen() {
        let previous = of(&[3.0, 4.0, 5.0]);
        let reset = |change: fn(&mut FloatHistogram)| {
            let mut current = of(&[4.0, 4.0, 5.0]);
            change(&mut current);
            current.detect_reset(&previous)
        };
        assert!(!reset(|_| {}));
        assert!(reset(|h| h.counter_reset = CounterResetHint::Reset));
        assert!(!reset(|h| (h.counter_reset, h.count) = (CounterResetHint::NotReset, 0.0)));
        assert!(reset(|h| h.count = 11.0));
        assert!(reset(|h| h.positive_buckets[1] = 3.0));
        assert!(reset(|h| h.positive_spans[0].length = 2), "a vanished bucket");
        assert!(reset(|h| h.schema = 1), "a finer resolution");
        assert!(reset(|h| h.zero_threshold = 0.0), "a narrower zero bucket");
        assert!(reset(|h| h.zero_threshold = 3.0), "a zero bucket that cuts a populated one");
        assert!(reset(|h| h.schema = -53), "custom buckets");
        assert!(!reset(|h| h.negative_spans = vec![Span { offset: 0, length: 0 }]));
    }

    #[test]
    fn a_wider_zero_bucket_swallows_buckets() {
        let previous = of(&[3.0, 4.0, 5.0]);
        let mut current = of(&[0.0, 4.0, 5.0]);
        (current.zero_threshold, current.zero_count, current.count) = (2.0, 3.0, 12.0);
        assert!(!current.detect_reset(&previous));
        current.zero_count = 2.0;
        assert!(current.detect_reset(&previous));
    }

    #[test]
    fn a_coarser_resolution_is_compared_there() {
        // Schema 1, buckets 1..=3 are schema 0, buckets 1, 1, 2.
        let previous = FloatHistogram { schema: 1, ..of(&[3.0, 4.0, 5.0]) };
        assert!(!of(&[7.0, 5.0]).detect_reset(&previous));
        assert!(of(&[6.0, 6.0]).detect_reset(&previous));
    }

    #[test]
    fn custom_bounds_are_compared_where_they_agree() {
        let custom = |bounds: &[f64], counts: &[f64]| FloatHistogram {
            schema: -53,
            zero_threshold: 0.0,
            custom_values: bounds.into(),
            positive_spans: vec![Span { offset: 0, length: counts.len() as u32 }],
            ..of(counts)
        };
        let previous = custom(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0, 4.0]);
        assert!(!custom(&[2.0, 3.0, 4.0], &[3.0, 3.0, 2.0, 2.0]).detect_reset(&previous));
        assert!(custom(&[2.0, 3.0, 4.0], &[2.0, 4.0, 2.0, 2.0]).detect_reset(&previous));
    }
}
