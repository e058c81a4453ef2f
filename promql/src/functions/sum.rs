//! Sums and means that do not lose what is small beside what is large.
//!
//! Upstream sums with Neumaier's improvement of Kahan's algorithm and so do we, operation for operation: a sum must not
//! differ in the last bit from what Prometheus 3.14 answers.

/// A running sum with its compensation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    pub(crate) sum: f64,
    pub(crate) compensation: f64,
}

impl Sum {
    pub(crate) fn starting_with(sum: f64) -> Self {
        Self { sum, compensation: 0.0 }
    }

    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        let total = self.sum + value;
        if total.is_infinite() {
            self.compensation = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.compensation += (self.sum - total) + value;
        } else {
            self.compensation += (value - total) + self.sum;
        }
        self.sum = total;
    }

    /// Adds another sum: what was split is put together.
    pub(crate) fn merge(&mut self, other: Sum) {
        self.add(other.sum);
        self.compensation += other.compensation;
    }

    /// The sum; of an infinite one the compensation means nothing.
    #[inline]
    pub(crate) fn total(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.compensation }
    }
}

/// A running mean: a sum as long as that does not overflow, then incremental.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mean {
    sum: Sum,
    mean: f64,
    count: f64,
    incremental: bool,
}

impl Mean {
    pub(crate) fn starting_with(value: f64) -> Self {
        Self { sum: Sum::starting_with(value), mean: 0.0, count: 1.0, incremental: false }
    }

    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.incremental {
            let mut next = self.sum;
            next.add(value);
            if !next.sum.is_infinite() {
                self.sum = next;
                return;
            }
            self.incremental = true;
            self.mean = self.sum.sum / (self.count - 1.0);
            self.sum.compensation /= self.count - 1.0;
        }
        let share = (self.count - 1.0) / self.count;
        let mut next = Sum { sum: share * self.mean, compensation: share * self.sum.compensation };
        next.add(value / self.count);
        self.mean = next.sum;
        self.sum.compensation = next.compensation;
    }

    pub(crate) fn value(self) -> f64 {
        if self.incremental {
            self.mean + self.sum.compensation
        } else {
            self.sum.sum / self.count + self.sum.compensation / self.count
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_survive_beside_large_ones() {
        let mut sum = Sum::default();
        for value in [1.0, 1e100, 1.0, -1e100] {
            sum.add(value);
        }
        assert_eq!(sum.total(), 2.0);
    }

    #[test]
    fn a_mean_of_huge_values_does_not_overflow() {
        let mut mean = Mean::starting_with(f64::MAX);
        mean.add(f64::MAX);
        assert_eq!(mean.value(), f64::MAX);
        let mut mean = Mean::starting_with(f64::INFINITY);
        mean.add(f64::NEG_INFINITY);
        assert!(mean.value().is_nan());
    }
}
