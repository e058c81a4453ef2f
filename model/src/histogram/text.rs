//! Histograms as text.

use std::fmt;

use super::bucket::Bucket;
use super::{CounterResetHint, FloatHistogram, Histogram, IntegerHistogram};
use crate::number::{FloatForm, write_float};

/// `{count:3, sum:2.5, (1,2]:3}`: count, sum and the populated buckets by rising bounds, as Prometheus prints it.
impl fmt::Display for FloatHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{count:")?;
        write_float(f, self.count, FloatForm::Shortest)?;
        f.write_str(", sum:")?;
        write_float(f, self.sum, FloatForm::Shortest)?;
        // Dividing by zero leaves NaN there, also where no zero bucket can be.
        let zero = (!self.is_custom()).then(|| self.zero_bucket());
        let mut negative: Vec<_> = self.negative().collect();
        negative.reverse();
        for bucket in negative.into_iter().chain(zero).chain(self.positive()).filter(|bucket| bucket.count != 0.0) {
            write!(f, ", {bucket}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Display for IntegerHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_float().fmt(f)
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_float().fmt(f)
    }
}

/// `(1,2]:3`.
impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.lower_inclusive { "[" } else { "(" })?;
        write_float(f, self.lower, FloatForm::Shortest)?;
        f.write_str(",")?;
        write_float(f, self.upper, FloatForm::Shortest)?;
        f.write_str(if self.upper_inclusive { "]:" } else { "):" })?;
        write_float(f, self.count, FloatForm::Shortest)
    }
}

impl FloatHistogram {
    /// The histogram in the notation of promqltest scripts and rule tests: `{{schema:1 count:3 buckets:[1 2]}}`.
    ///
    /// ```
    /// use ferula_model::{FloatHistogram, Span};
    ///
    /// let histogram = FloatHistogram {
    ///     count: 3.0, sum: 2.5,
    ///     positive_spans: vec![Span { offset: 1, length: 2 }], positive_buckets: vec![1.0, 2.0],
    ///     ..FloatHistogram::default()
    /// };
    /// assert_eq!(histogram.test_expression(), "{{count:3 sum:2.5 offset:1 buckets:[1 2]}}");
    /// ```
    pub fn test_expression(&self) -> String {
        let number = |value: f64| crate::number::format_float(value, FloatForm::Shortest);
        let list = |values: &[f64]| values.iter().map(|value| number(*value)).collect::<Vec<_>>().join(" ");
        let mut whole = self.clone();
        whole.compact(usize::MAX);
        let mut parts = Vec::new();
        if whole.schema != 0 {
            parts.push(format!("schema:{}", whole.schema));
        }
        for (name, value) in [
            ("count", whole.count),
            ("sum", whole.sum),
            ("z_bucket", whole.zero_count),
            ("z_bucket_w", whole.zero_threshold),
        ] {
            if value != 0.0 {
                parts.push(format!("{name}:{}", number(value)));
            }
        }
        if whole.is_custom() {
            parts.push(format!("custom_values:[{}]", list(&whole.custom_values)));
        }
        match whole.counter_reset {
            CounterResetHint::Unknown => {}
            CounterResetHint::Reset => parts.push("counter_reset_hint:reset".to_owned()),
            CounterResetHint::NotReset => parts.push("counter_reset_hint:not_reset".to_owned()),
            CounterResetHint::Gauge => parts.push("counter_reset_hint:gauge".to_owned()),
        }
        for (prefix, spans, buckets) in [
            ("", &whole.positive_spans, &whole.positive_buckets),
            ("n_", &whole.negative_spans, &whole.negative_buckets),
        ] {
            if let Some(span) = spans.first().filter(|span| span.offset != 0) {
                parts.push(format!("{prefix}offset:{}", span.offset));
            }
            if !buckets.is_empty() {
                parts.push(format!("{prefix}buckets:[{}]", list(buckets)));
            }
        }
        format!("{{{{{}}}}}", parts.join(" "))
    }
}
