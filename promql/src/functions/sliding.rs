//! Windows that slide: sums, extremes and quantiles that do not look at every sample of every window.
//!
//! Where windows overlap, a sample enters once and leaves once. Sums are differences of running sums, which are kept with
//! their rounding errors (two floats that together are exact to about 100 bits): a window's sum comes out correctly
//! rounded, as the compensated sum of its samples does. Where that cannot be promised (infinities, sums that almost
//! cancel), the samples are added one by one.

use std::collections::VecDeque;

use super::over_time::{mean_of, nan_first, quantile_of_sorted, sum_of};
use super::rate::{RateScratch, Windows};
use crate::eval::steps::StepVector;

/// Memory that the series of a query use one after the other.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Running sums and what rounding took from them, before each sample and behind the last.
    sums: Vec<(f64, f64)>,
    /// Positions of samples that may yet become the extreme of a window.
    candidates: VecDeque<usize>,
    /// The samples of the current window by rising value.
    sorted: Vec<f64>,
    pub(crate) rate: RateScratch,
}

/// How large a window's sum must be, compared with the running sums, to be taken as their difference.
const CANCELLATION: f64 = 1e-8;

impl Scratch {
    /// `sum_over_time`, or `avg_over_time` if `is_mean`.
    pub(crate) fn sums(&mut self, values: &[f64], windows: &mut impl Windows, is_mean: bool, out: &mut StepVector) {
        let largest = self.run_up(values);
        out.fill_floats(|step| {
            let (_, _, from, to) = windows.window(step);
            if from == to {
                return None;
            }
            let count = (to - from) as f64;
            let ((before, lost_before), (after, lost_after)) = (self.sums[from], self.sums[to]);
            let (sum, error) = two_sum(after, -before);
            let lost = error + (lost_after - lost_before);
            let value = if (sum + lost).abs() > CANCELLATION * largest {
                if is_mean { sum / count + lost / count } else { sum + lost }
            } else if is_mean {
                mean_of(&values[from..to]).unwrap_or(f64::NAN)
            } else {
                sum_of(&values[from..to])
            };
            Some(value)
        });
    }

    /// Fills the running sums and answers the largest of them; infinite if one of them is not finite.
    fn run_up(&mut self, values: &[f64]) -> f64 {
        self.sums.clear();
        let (mut sum, mut lost, mut largest) = (0.0_f64, 0.0, 0.0_f64);
        self.sums.push((sum, lost));
        for &value in values {
            let (next, error) = two_sum(sum, value);
            sum = next;
            lost += error;
            largest = largest.max(sum.abs());
            self.sums.push((sum, lost));
        }
        // NaN stays NaN once it is in a sum, and so do infinities.
        if sum.is_finite() && lost.is_finite() { largest } else { f64::INFINITY }
    }

    /// `max_over_time`, or `min_over_time`: `better` says whether a value takes the place of another.
    pub(crate) fn extremes(
        &mut self,
        values: &[f64],
        windows: &mut impl Windows,
        better: impl Fn(f64, f64) -> bool,
        out: &mut StepVector,
    ) {
        let Self { candidates, .. } = self;
        candidates.clear();
        let mut seen = 0;
        out.fill_floats(|step| {
            let (_, _, from, to) = windows.window(step);
            for (position, &value) in values.iter().enumerate().take(to).skip(seen.max(from)) {
                if value.is_nan() {
                    continue;
                }
                while candidates.back().is_some_and(|&last| better(value, values[last])) {
                    candidates.pop_back();
                }
                candidates.push_back(position);
            }
            seen = to.max(seen);
            while candidates.front().is_some_and(|&first| first < from) {
                candidates.pop_front();
            }
            (from < to).then(|| candidates.front().map_or(f64::NAN, |&first| values[first]))
        });
    }

    /// `quantile_over_time`.
    pub(crate) fn quantiles(
        &mut self,
        values: &[f64],
        windows: &mut impl Windows,
        quantile: impl Fn(usize) -> f64,
        out: &mut StepVector,
    ) {
        self.sorted.clear();
        let (mut entered, mut left) = (0, 0);
        for step in 0..out.steps() {
            let (_, _, from, to) = windows.window(step);
            while left < from.min(entered) {
                self.remove(values[left]);
                left += 1;
            }
            (left, entered) = (left.max(from), entered.max(from));
            for &value in &values[entered..to.max(entered)] {
                let at = self.sorted.partition_point(|other| nan_first(other, &value).is_lt());
                self.sorted.insert(at, value);
            }
            entered = entered.max(to);
            if from < to {
                out.set_float(step, quantile_of_sorted(quantile(step), &self.sorted));
            }
        }
    }

    fn remove(&mut self, value: f64) {
        let at = self.sorted.partition_point(|other| nan_first(other, &value).is_lt());
        // Of 0 and -0, which are equal, the right one.
        let same = |other: &&f64| nan_first(other, &value).is_eq();
        let bits = |other: &f64| other.to_bits() == value.to_bits();
        let exact = self.sorted[at..].iter().take_while(same).position(bits);
        if at < self.sorted.len() {
            self.sorted.remove(at + exact.unwrap_or(0));
        }
    }
}

/// A sum and what rounding took from it (Knuth).
#[inline]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let shadow = sum - a;
    (sum, (a - (sum - shadow)) + (b - shadow))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::over_time::quantile_of;

    /// Windows of five samples that move by two.
    struct Fives(usize);

    impl Windows for Fives {
        fn window(&mut self, step: usize) -> (i64, i64, usize, usize) {
            let from = (step * 2).min(self.0);
            (0, 0, from, (from + 5).min(self.0))
        }
    }

    fn series() -> Vec<Vec<f64>> {
        let wave = (0..60).map(|i| (f64::from(i) * 0.7).sin() * 1e3 + f64::from(i % 7)).collect();
        let special =
            vec![1.0, f64::NAN, -2.0, 5.0, 5.0, f64::INFINITY, 0.0, -0.0, f64::NEG_INFINITY, 3.0, f64::NAN, 4.0];
        let cancelling = vec![1e17, 1.0, -1e17, 2.0, 1e-3, 4.0, 1e17, -1e17, 1e16, 1.0, 1.0, 1.0];
        vec![wave, special, cancelling, vec![f64::NAN; 9], vec![0.1; 30], vec![f64::MAX; 12], Vec::new()]
    }

    fn check(slide: impl Fn(&[f64], &mut StepVector), plain: impl Fn(&[f64]) -> f64) {
        for values in series() {
            let mut out = StepVector::with_steps(20);
            slide(&values, &mut out);
            for step in 0..20 {
                let (_, _, from, to) = Fives(values.len()).window(step);
                assert_eq!(out.present.get(step), from < to);
                if from < to {
                    let (a, b) = (out.floats[step], plain(&values[from..to]));
                    let near = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-15 * b.abs();
                    assert!(near, "{a} for {b} of {:?}", &values[from..to]);
                }
            }
        }
    }

    #[test]
    fn sliding_windows_answer_as_windows_on_their_own() {
        check(|values, out| Scratch::default().sums(values, &mut Fives(values.len()), false, out), sum_of);
        check(
            |values, out| Scratch::default().sums(values, &mut Fives(values.len()), true, out),
            |values| mean_of(values).unwrap(),
        );
        let fold = |better: fn(f64, f64) -> bool| {
            move |values: &[f64]| {
                values.iter().copied().reduce(|a, b| if better(b, a) || a.is_nan() { b } else { a }).unwrap()
            }
        };
        check(
            |values, out| Scratch::default().extremes(values, &mut Fives(values.len()), |a, b| a > b, out),
            fold(|a, b| a > b),
        );
        check(
            |values, out| Scratch::default().extremes(values, &mut Fives(values.len()), |a, b| a < b, out),
            fold(|a, b| a < b),
        );
        for quantile in [0.0, 0.3, 0.5, 1.0] {
            check(
                |values, out| Scratch::default().quantiles(values, &mut Fives(values.len()), |_| quantile, out),
                |values| quantile_of(quantile, &mut values.to_vec()),
            );
        }
    }
}
