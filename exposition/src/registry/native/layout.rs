//! Which bucket does a value fall into?

use ferula_model::histogram::upper_bound;

/// The bounds of one power of two, for a schema above 0; empty for the others.
#[derive(Debug)]
pub(super) struct Bounds {
    schema: i32,
    /// The upper bounds of the buckets in `[0.5, 1)`.
    fractions: Box<[f64]>,
}

impl Bounds {
    pub(super) fn new(schema: i32) -> Self {
        let count = if schema > 0 { 1 << schema } else { 0 };
        Self { schema, fractions: (0..count).map(|index| upper_bound(index, schema, &[]) / 2.0).collect() }
    }

    /// The index of the bucket of a positive value.
    #[inline]
    pub(super) fn index(&self, value: f64) -> i32 {
        if value == f64::INFINITY {
            return self.index(f64::MAX) + 1;
        }
        let (fraction, exponent) = split(value);
        if self.schema > 0 {
            let in_power = self.fractions.partition_point(|bound| *bound < fraction);
            return in_power as i32 + (exponent - 1) * self.fractions.len() as i32;
        }
        let exponent = if fraction == 0.5 { exponent - 1 } else { exponent };
        let shift = self.schema.unsigned_abs();
        (exponent + (1 << shift) - 1) >> shift
    }
}

/// The value as a fraction in `[0.5, 1)` times a power of two.
#[inline]
fn split(value: f64) -> (f64, i32) {
    const FRACTION: u64 = (1 << 52) - 1;
    let (value, shift) = if value < f64::MIN_POSITIVE { (value * 2f64.powi(54), 54) } else { (value, 0) };
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32 - 1022 - shift;
    (f64::from_bits((bits & FRACTION) | (1022 << 52)), exponent)
}

/// The bucket that holds bucket `index` in a schema that is `steps` lower.
pub(super) fn coarser(index: i32, steps: u32) -> i32 {
    (index.wrapping_sub(1) >> steps.min(31)) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferula_model::histogram::EXPONENTIAL_SCHEMAS;

    #[test]
    fn a_value_lies_between_the_bounds_of_its_bucket() {
        let mut values =
            vec![5e-324, 1e-310, f64::MIN_POSITIVE, 0.1, 1.0, 1.0000001, 2.0, 3.0, 65536.0, 1e300, f64::MAX];
        values.extend((0..2000).map(|i| 1.0 + f64::from(i) / 999.0));
        for schema in EXPONENTIAL_SCHEMAS {
            let bounds = Bounds::new(schema);
            for value in &values {
                let index = bounds.index(*value);
                let (below, bound) = (upper_bound(index - 1, schema, &[]), upper_bound(index, schema, &[]));
                // Bounds among the subnormal floats are rounded until they coincide.
                let above = below < *value || *value < f64::MIN_POSITIVE;
                assert!(above && *value <= bound, "{value} in {index} of {schema}: {below} to {bound}");
            }
            for index in -40..40 {
                let bound = upper_bound(index, schema, &[]);
                if bound > 0.0 && bound < f64::MAX {
                    assert_eq!(bounds.index(bound), index, "the bound belongs to the bucket");
                }
            }
            assert_eq!(bounds.index(f64::INFINITY), bounds.index(f64::MAX) + 1);
        }
    }
}
