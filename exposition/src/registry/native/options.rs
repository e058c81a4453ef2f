//! How a native histogram is kept.

use std::time::Duration;

use thiserror::Error;

use super::RESET_AFTER;

/// How a native histogram is kept: its resolution, its zero bucket and what happens when it has too many buckets.
///
/// A bucket more than [`buckets_max`](Self::buckets_max) is answered by the first of these that is possible:
/// 1. forget everything and begin anew, if [`reset_after`](Self::reset_after) has passed since the last time;
/// 2. widen the zero bucket, up to [`zero_threshold_max`](Self::zero_threshold_max);
/// 3. halve the resolution.
///
/// ```
/// use ferula_exposition::registry::NativeOptions;
///
/// let options = NativeOptions::new(1.1)?.buckets_max(200);
/// assert_eq!(options.schema(), 3, "eight buckets for each power of two");
/// assert!(NativeOptions::new(1.0).is_err());
/// # Ok::<(), ferula_exposition::registry::NativeOptionsError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct NativeOptions {
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    pub(super) zero_threshold_max: f64,
    pub(super) buckets_max: Option<usize>,
    pub(super) reset_after: Option<Duration>,
    pub(crate) exemplars_max: usize,
}

/// Options that make no histogram.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum NativeOptionsError {
    /// A bucket must be wider than the one before it.
    #[error("growth factor {0} of a native histogram is not above 1")]
    Growth(f64),
}

impl Default for NativeOptions {
    /// Buckets that grow by at most a tenth, at most 160 of them, reset at most once an hour.
    fn default() -> Self {
        Self {
            schema: 3,
            zero_threshold: 2f64.powi(-128),
            zero_threshold_max: 0.0,
            buckets_max: Some(160),
            reset_after: Some(RESET_AFTER),
            exemplars_max: 10,
        }
    }
}

impl NativeOptions {
    /// Each bucket ends at no more than `growth` times the end of the one before: the finest of the schemas -4 to 8 that
    /// grows no faster, or 8 if none does.
    ///
    /// # Errors
    ///
    /// `growth` is not above 1.
    pub fn new(growth: f64) -> Result<Self, NativeOptionsError> {
        if growth.is_nan() || growth <= 1.0 {
            return Err(NativeOptionsError::Growth(growth));
        }
        let schema = -growth.log2().log2().floor();
        Ok(Self { schema: schema.clamp(-4.0, 8.0) as i32, ..Self::default() })
    }

    pub(in crate::registry) fn of_schema(schema: i32) -> Self {
        Self { schema, ..Self::default() }
    }

    /// The schema: bounds are the powers of `2^(2^-schema)`.
    pub fn schema(&self) -> i32 {
        self.schema
    }

    /// Observations with an absolute value up to this are counted as zero; 2^-128 by default.
    pub fn zero_threshold(mut self, threshold: f64) -> Self {
        self.zero_threshold = threshold.max(0.0);
        self
    }

    /// How far the zero bucket may be widened to save buckets; not at all by default.
    pub fn zero_threshold_max(mut self, threshold: f64) -> Self {
        self.zero_threshold_max = threshold;
        self
    }

    /// Most buckets with observations, the zero bucket aside; 160 by default, 0 for no limit. At the lowest resolution, -4,
    /// there may be a few more.
    pub fn buckets_max(mut self, buckets: usize) -> Self {
        self.buckets_max = (buckets > 0).then_some(buckets);
        self
    }

    /// How much time lies between two resets; an hour by default, zero for no reset. A registry without a clock never
    /// resets.
    pub fn reset_after(mut self, after: Duration) -> Self {
        self.reset_after = (after > Duration::ZERO).then_some(after);
        self
    }

    /// Most exemplars; 10 by default.
    pub fn exemplars_max(mut self, exemplars: usize) -> Self {
        self.exemplars_max = exemplars;
        self
    }

    #[inline]
    pub(super) fn is_over(&self, buckets: usize) -> bool {
        self.buckets_max.is_some_and(|max| buckets > max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_growth_factor_picks_the_schema_that_client_golang_picks() {
        for (growth, schema) in [
            (65536.0, -4),
            (65535.0, -3),
            (2.0, 0),
            (1.9, 1),
            (1.4143, 1),
            (1.1, 3),
            (1.09, 4),
            (1.0027, 8),
            (1.0000001, 8),
            (1e300, -4),
        ] {
            assert_eq!(NativeOptions::new(growth).unwrap().schema(), schema, "{growth}");
        }
        for growth in [1.0, 0.5, -2.0, f64::NAN] {
            assert!(NativeOptions::new(growth).is_err());
        }
    }
}
