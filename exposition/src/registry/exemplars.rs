//! Which exemplars does a histogram keep?

use ferula_model::{Exemplar, Timestamp};

/// Exemplars older than this, in milliseconds, make way first. As in client_golang 1.24.
const AGE_MAX_MILLIS: i64 = 5 * 60 * 1000;

/// One exemplar for each classic bucket, and a few that lie well apart for the native ones.
#[derive(Debug)]
pub(super) struct Exemplars {
    classic: Vec<Option<Exemplar>>,
    /// In the order in which they came.
    native: Vec<Exemplar>,
    native_max: usize,
}

impl Exemplars {
    pub(super) fn new(classic_buckets: usize, native_max: usize) -> Self {
        Self { classic: vec![None; classic_buckets], native: Vec::new(), native_max }
    }

    pub(super) fn keep(&mut self, bucket: usize, exemplar: Exemplar) {
        if self.native_max > 0 {
            if self.native.len() >= self.native_max {
                let gone = self.least_wanted(&exemplar);
                self.native.remove(gone);
            }
            self.native.push(exemplar.clone());
        }
        if let Some(slot) = self.classic.get_mut(bucket) {
            *slot = Some(exemplar);
        }
    }

    pub(super) fn of_bucket(&self, bucket: usize) -> Option<Exemplar> {
        self.classic.get(bucket).cloned().flatten()
    }

    /// Those of the native buckets, by rising time.
    pub(super) fn native(&self) -> Vec<Exemplar> {
        let mut exemplars = self.native.clone();
        exemplars.sort_by_key(|exemplar| exemplar.timestamp);
        exemplars
    }

    /// The oldest one if it is too old, else the one whose value is nearest to the new one's on a logarithmic scale.
    fn least_wanted(&self, new: &Exemplar) -> usize {
        let millis = |timestamp: Option<Timestamp>| timestamp.map_or(i64::MIN, Timestamp::as_millis);
        let oldest = (0..self.native.len()).min_by_key(|i| self.native.get(*i).map(|e| millis(e.timestamp)));
        let too_old = |i: &usize| {
            let age = self.native.get(*i).map(|old| millis(new.timestamp).saturating_sub(millis(old.timestamp)));
            new.timestamp.is_some() && age.is_some_and(|age| age > AGE_MAX_MILLIS)
        };
        // Rises over the whole line, by the logarithm on either side of zero.
        let scale = |value: f64| value.signum() * (value.abs().max(f64::MIN_POSITIVE).ln() + 709.0);
        let distance = |i: &usize| {
            let old = self.native.get(*i).map_or(f64::INFINITY, |old| old.value);
            (scale(old) - scale(new.value)).abs()
        };
        let nearest = || (0..self.native.len()).min_by(|a, b| distance(a).total_cmp(&distance(b)));
        oldest.filter(too_old).or_else(nearest).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferula_model::Labels;

    fn exemplar(value: f64, seconds: i64) -> Exemplar {
        Exemplar { labels: Labels::empty(), value, timestamp: Some(Timestamp(seconds * 1000)) }
    }

    #[test]
    fn the_most_alike_or_the_too_old_makes_way() {
        let mut exemplars = Exemplars::new(1, 3);
        for (value, seconds) in [(1.0, 0), (10.0, 1), (100.0, 2), (11.0, 3)] {
            exemplars.keep(0, exemplar(value, seconds));
        }
        let values = |exemplars: &Exemplars| exemplars.native().iter().map(|e| e.value).collect::<Vec<_>>();
        assert_eq!(values(&exemplars), [1.0, 100.0, 11.0]);
        exemplars.keep(0, exemplar(99.0, 302));
        assert_eq!(values(&exemplars), [100.0, 11.0, 99.0], "the first one was too old");
        assert_eq!(exemplars.of_bucket(0).map(|e| e.value), Some(99.0));
        assert_eq!(exemplars.of_bucket(1), None);
    }
}
