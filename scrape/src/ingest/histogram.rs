//! Limits of native histograms: how fine may they be?

use std::sync::Arc;

use ferula_model::{FloatHistogram, Histogram, IntegerHistogram, histogram::CUSTOM_BUCKETS_SCHEMA};

const SCHEMA_MIN: i32 = -4;
const SCHEMA_MAX: i32 = 8;

/// What applies to the native histograms of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BucketLimits {
    /// 0: no limit.
    buckets_max: u64,
    schema_max: i32,
}

impl Default for BucketLimits {
    fn default() -> Self {
        Self { buckets_max: 0, schema_max: SCHEMA_MAX }
    }
}

impl BucketLimits {
    /// From the keys of a job: `native_histogram_bucket_limit` and `native_histogram_min_bucket_factor`.
    pub(crate) fn new(buckets_max: u64, factor_min: f64) -> Self {
        Self { buckets_max, schema_max: schema_of_factor(factor_min) }
    }

    /// The histogram within the limits, at a coarser resolution if need be; `None` if there is none coarse enough.
    pub(crate) fn apply(self, histogram: Histogram) -> Option<Histogram> {
        match histogram {
            Histogram::Integer(integer) => self.fit(integer).map(Histogram::Integer),
            Histogram::Float(float) => self.fit(float).map(Histogram::Float),
        }
    }

    fn fit<H: Reduce>(self, mut histogram: Arc<H>) -> Option<Arc<H>> {
        let over = |histogram: &H| self.buckets_max > 0 && histogram.buckets() as u64 > self.buckets_max;
        if histogram.schema() == CUSTOM_BUCKETS_SCHEMA {
            return (!over(&histogram)).then_some(histogram);
        }
        if histogram.schema() > self.schema_max {
            Arc::make_mut(&mut histogram).reduce(self.schema_max)?;
        }
        while over(&histogram) {
            if histogram.schema() <= SCHEMA_MIN {
                return None;
            }
            let coarser = histogram.schema() - 1;
            Arc::make_mut(&mut histogram).reduce(coarser)?;
        }
        Some(histogram)
    }
}

/// The finest schema whose buckets grow by at least `factor`: `floor(-log2(log2(factor)))`.
fn schema_of_factor(factor: f64) -> i32 {
    if factor <= 1.0 {
        return SCHEMA_MAX;
    }
    (-factor.log2().log2()).floor().clamp(f64::from(SCHEMA_MIN), f64::from(SCHEMA_MAX)) as i32
}

/// What both forms of histograms can do.
trait Reduce: Clone {
    fn schema(&self) -> i32;
    fn buckets(&self) -> usize;
    fn reduce(&mut self, schema: i32) -> Option<()>;
}

impl Reduce for IntegerHistogram {
    fn schema(&self) -> i32 {
        self.schema
    }

    fn buckets(&self) -> usize {
        self.positive_buckets.len() + self.negative_buckets.len()
    }

    fn reduce(&mut self, schema: i32) -> Option<()> {
        self.reduce_resolution(schema).ok()
    }
}

impl Reduce for FloatHistogram {
    fn schema(&self) -> i32 {
        self.schema
    }

    fn buckets(&self) -> usize {
        self.positive_buckets.len() + self.negative_buckets.len()
    }

    fn reduce(&mut self, schema: i32) -> Option<()> {
        self.reduce_resolution(schema).ok()
    }
}

/// A histogram of the same layout that has counted nothing.
pub(super) fn empty_like(histogram: &Histogram) -> Histogram {
    match histogram {
        Histogram::Integer(integer) => IntegerHistogram {
            schema: integer.schema,
            zero_threshold: integer.zero_threshold,
            custom_values: Arc::clone(&integer.custom_values),
            ..IntegerHistogram::default()
        }
        .into(),
        Histogram::Float(float) => FloatHistogram {
            schema: float.schema,
            zero_threshold: float.zero_threshold,
            custom_values: Arc::clone(&float.custom_values),
            ..FloatHistogram::default()
        }
        .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferula_model::Span;

    fn histogram(schema: i32, buckets: u32) -> Histogram {
        IntegerHistogram {
            schema,
            count: u64::from(buckets),
            positive_spans: vec![Span { offset: 1, length: buckets }],
            positive_buckets: std::iter::once(1).chain(std::iter::repeat_n(0, buckets as usize - 1)).collect(),
            ..Default::default()
        }
        .into()
    }

    fn schema(histogram: &Histogram) -> i32 {
        match histogram {
            Histogram::Integer(integer) => integer.schema,
            Histogram::Float(float) => float.schema,
        }
    }

    #[test]
    fn too_many_buckets_are_merged_until_they_fit() {
        let limits = BucketLimits::new(5, 0.0);
        assert_eq!(schema(&limits.apply(histogram(3, 5)).unwrap()), 3);
        assert_eq!(schema(&limits.apply(histogram(3, 6)).unwrap()), 2);
        assert_eq!(schema(&limits.apply(histogram(3, 40)).unwrap()), 0);
        assert!(limits.apply(histogram(-4, 6)).is_none());
    }

    #[test]
    fn the_factor_sets_the_finest_schema() {
        for (factor, expected) in [(0.0, 8), (1.0, 8), (1.002, 8), (1.1, 2), (2.0, 0), (4.0, -1), (1e300, -4)] {
            assert_eq!(schema_of_factor(factor), expected, "{factor}");
        }
        assert_eq!(schema(&BucketLimits::new(0, 2.0).apply(histogram(3, 4)).unwrap()), 0);
    }
}
