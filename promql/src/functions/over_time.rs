//! Functions over the samples of a window that are not rates: `sum_over_time` and its kin.
//!
//! Source: `functions.go` of Prometheus 3.14; sums and means are compensated operation for operation as there.

use std::cmp::Ordering;

use super::sum::{Mean, Sum};
use super::window::{Context, Window};
use crate::eval::steps::Point;

/// What a float-only function says about histograms in its window.
fn floats_only<'a>(window: &Window<'a>, context: &mut Context<'_>) -> Option<&'a [f64]> {
    let samples = window.samples;
    if samples.values.is_empty() {
        return None;
    }
    if !samples.histograms.is_empty() {
        context.notes.histogram_ignored_in_range(context.name);
    }
    Some(samples.values)
}

pub(crate) fn count(window: &Window<'_>, _: &mut Context<'_>) -> Option<Point> {
    let count = window.samples.len();
    (count > 0).then_some(Point::Float(count as f64))
}

pub(crate) fn present(window: &Window<'_>, _: &mut Context<'_>) -> Option<Point> {
    (window.samples.len() > 0).then_some(Point::Float(1.0))
}

/// `sum_over_time` of floats; histograms are [`histogram_over_time`](super::histogram_over_time)'s.
pub(crate) fn sum_of(values: &[f64]) -> f64 {
    let mut sum = Sum::default();
    for &value in values {
        sum.add(value);
    }
    sum.total()
}

/// `avg_over_time` of at least one float.
pub(crate) fn mean_of(values: &[f64]) -> Option<f64> {
    let (&first, rest) = values.split_first()?;
    let mut mean = Mean::starting_with(first);
    for &value in rest {
        mean.add(value);
    }
    Some(mean.value())
}

pub(crate) fn max(window: &Window<'_>, context: &mut Context<'_>) -> Option<Point> {
    extreme(floats_only(window, context)?, |value, best| value > best)
}

pub(crate) fn min(window: &Window<'_>, context: &mut Context<'_>) -> Option<Point> {
    extreme(floats_only(window, context)?, |value, best| value < best)
}

#[inline]
fn extreme(values: &[f64], better: impl Fn(f64, f64) -> bool) -> Option<Point> {
    let mut best = *values.first()?;
    for &value in values {
        if better(value, best) || best.is_nan() {
            best = value;
        }
    }
    Some(Point::Float(best))
}

pub(crate) fn time_of_max(window: &Window<'_>, context: &mut Context<'_>) -> Option<Point> {
    time_of_extreme(window, context, |value, best| value >= best)
}

pub(crate) fn time_of_min(window: &Window<'_>, context: &mut Context<'_>) -> Option<Point> {
    time_of_extreme(window, context, |value, best| value <= best)
}

fn time_of_extreme(
    window: &Window<'_>,
    context: &mut Context<'_>,
    at_least_as_good: impl Fn(f64, f64) -> bool,
) -> Option<Point> {
    let values = floats_only(window, context)?;
    let mut best = 0;
    for (index, &value) in values.iter().enumerate() {
        if at_least_as_good(value, values[best]) || values[best].is_nan() {
            best = index;
        }
    }
    Some(Point::Float(window.samples.times[best] as f64 / 1000.0))
}

pub(crate) fn first(window: &Window<'_>, _: &mut Context<'_>) -> Option<Point> {
    let samples = window.samples;
    match (samples.times.first(), samples.histogram_times.first()) {
        (Some(float), histogram) if histogram.is_none_or(|histogram| float < histogram) => {
            Some(Point::Float(samples.values[0]))
        }
        (_, Some(_)) => samples.histograms.first().map(|h| Point::Histogram(h.clone())),
        _ => None,
    }
}

pub(crate) fn last(window: &Window<'_>, _: &mut Context<'_>) -> Option<Point> {
    let samples = window.samples;
    match (samples.times.last(), samples.histogram_times.last()) {
        (Some(float), histogram) if histogram.is_none_or(|histogram| float > histogram) => {
            samples.values.last().map(|value| Point::Float(*value))
        }
        (_, Some(_)) => samples.histograms.last().map(|h| Point::Histogram(h.clone())),
        _ => None,
    }
}

pub(crate) fn time_of_first(window: &Window<'_>, _: &mut Context<'_>) -> Option<Point> {
    let samples = window.samples;
    let at = samples.times.first().into_iter().chain(samples.histogram_times.first()).min()?;
    Some(Point::Float(*at as f64 / 1000.0))
}

pub(crate) fn time_of_last(window: &Window<'_>, _: &mut Context<'_>) -> Option<Point> {
    let samples = window.samples;
    let at = samples.times.last().into_iter().chain(samples.histogram_times.last()).max()?;
    Some(Point::Float(*at as f64 / 1000.0))
}

pub(crate) fn stddev(window: &Window<'_>, context: &mut Context<'_>) -> Option<Point> {
    Some(Point::Float(variance(floats_only(window, context)?).sqrt()))
}

pub(crate) fn stdvar(window: &Window<'_>, context: &mut Context<'_>) -> Option<Point> {
    Some(Point::Float(variance(floats_only(window, context)?)))
}

/// Welford's population variance with compensated sums.
fn variance(values: &[f64]) -> f64 {
    let (mut count, mut mean, mut squares) = (0.0, Sum::default(), Sum::default());
    for &value in values {
        count += 1.0;
        let delta = value - (mean.sum + mean.compensation);
        mean.add(delta / count);
        squares.add(delta * (value - (mean.sum + mean.compensation)));
    }
    (squares.sum + squares.compensation) / count
}

pub(crate) fn quantile_over_time(window: &Window<'_>, context: &mut Context<'_>, quantile: f64) -> Option<Point> {
    let mut values = floats_only(window, context)?.to_vec();
    if !(0.0..=1.0).contains(&quantile) {
        context.notes.invalid_quantile(quantile);
    }
    Some(Point::Float(quantile_of(quantile, &mut values)))
}

/// The quantile between ranks; NaN is the smallest value. Sorts `values`.
pub(crate) fn quantile_of(quantile: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || quantile.is_nan() {
        return f64::NAN;
    }
    if quantile < 0.0 {
        return f64::NEG_INFINITY;
    }
    if quantile > 1.0 {
        return f64::INFINITY;
    }
    // Only two ranks are needed, so nothing else is put in order.
    let (lower, upper, weight) = ranks(quantile, values.len());
    let (_, low, above) = values.select_nth_unstable_by(lower, nan_first);
    let low = *low;
    let high = if upper == lower { low } else { above.iter().copied().min_by(nan_first).unwrap_or(low) };
    low * (1.0 - weight) + high * weight
}

/// [`quantile_of`] of values in the order of [`nan_first`]; at least one, and a quantile between 0 and 1.
pub(crate) fn quantile_of_sorted(quantile: f64, values: &[f64]) -> f64 {
    let (lower, upper, weight) = ranks(quantile, values.len());
    values[lower] * (1.0 - weight) + values[upper] * weight
}

/// The positions between which a quantile lies, and the weight of the upper one.
fn ranks(quantile: f64, count: usize) -> (usize, usize, f64) {
    let rank = quantile * (count as f64 - 1.0);
    let lower = rank.floor().max(0.0) as usize;
    (lower, (lower + 1).min(count.saturating_sub(1)), rank - rank.floor())
}

/// Ascending with NaN before everything.
pub(crate) fn nan_first(a: &f64, b: &f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
    }
}

pub(crate) fn mad(window: &Window<'_>, context: &mut Context<'_>) -> Option<Point> {
    let mut values = floats_only(window, context)?.to_vec();
    let median = quantile_of(0.5, &mut values);
    for value in &mut values {
        *value = (*value - median).abs();
    }
    if values.iter().any(|value| value.is_nan()) {
        return Some(Point::Float(f64::NAN));
    }
    Some(Point::Float(quantile_of(0.5, &mut values)))
}

/// Floats for a regression: at least two; says so where histograms stand beside them.
fn two_floats<'a>(window: &Window<'a>, context: &mut Context<'_>) -> Option<(&'a [i64], &'a [f64])> {
    let values = floats_only(window, context)?;
    (values.len() >= 2).then_some((window.samples.times, values))
}

pub(crate) fn deriv(window: &Window<'_>, context: &mut Context<'_>) -> Option<Point> {
    let (times, values) = two_floats(window, context)?;
    Some(Point::Float(linear_regression(times, values, times[0]).0))
}

pub(crate) fn predict_linear(window: &Window<'_>, context: &mut Context<'_>, ahead_seconds: f64) -> Option<Point> {
    let (times, values) = two_floats(window, context)?;
    let (slope, intercept) = linear_regression(times, values, window.at);
    Some(Point::Float(slope * ahead_seconds + intercept))
}

/// Slope for each second, and the value at `zero_at`, of the least-squares line.
fn linear_regression(times: &[i64], values: &[f64], zero_at: i64) -> (f64, f64) {
    let first = values[0];
    let (mut n, mut x_sum, mut y_sum, mut xy_sum, mut xx_sum) =
        (0.0, Sum::default(), Sum::default(), Sum::default(), Sum::default());
    let mut is_constant = true;
    for (index, (&at, &y)) in times.iter().zip(values).enumerate() {
        if is_constant && index > 0 && y != first {
            is_constant = false;
        }
        n += 1.0;
        let x = (at - zero_at) as f64 / 1e3;
        x_sum.add(x);
        y_sum.add(y);
        xy_sum.add(x * y);
        xx_sum.add(x * x);
    }
    if is_constant {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let [x, y, xy, xx] = [x_sum, y_sum, xy_sum, xx_sum].map(|sum| sum.sum + sum.compensation);
    let covariance = xy - x * y / n;
    let variance = xx - x * x / n;
    let slope = covariance / variance;
    (slope, y / n - slope * x / n)
}

/// Holt's linear smoothing; both factors lie between 0 and 1.
pub(crate) fn double_exponential_smoothing(
    window: &Window<'_>,
    context: &mut Context<'_>,
    smoothing: f64,
    trend_factor: f64,
) -> Option<Point> {
    let (_, values) = two_floats(window, context)?;
    let mut before = 0.0;
    let mut level = values[0];
    let mut trend = values[1] - values[0];
    for (index, &value) in values.iter().enumerate().skip(1) {
        let scaled = smoothing * value;
        if index > 1 {
            trend = trend_factor * (level - before) + (1.0 - trend_factor) * trend;
        }
        let carried = (1.0 - smoothing) * (level + trend);
        (before, level) = (level, scaled + carried);
    }
    Some(Point::Float(level))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_and_put_nan_first() {
        assert_eq!(quantile_of(0.5, &mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(quantile_of(0.5, &mut [4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(quantile_of(1.0, &mut [f64::NAN, 1.0]), 1.0);
        assert!(quantile_of(0.0, &mut [1.0, f64::NAN]).is_nan());
        assert_eq!(quantile_of(-0.1, &mut [1.0]), f64::NEG_INFINITY);
    }

    #[test]
    fn a_straight_line_has_its_slope() {
        let (slope, intercept) = linear_regression(&[0, 1_000, 2_000], &[1.0, 3.0, 5.0], 2_000);
        assert!((slope - 2.0).abs() < 1e-12 && (intercept - 5.0).abs() < 1e-12);
        assert_eq!(linear_regression(&[0, 1_000], &[7.0, 7.0], 0), (0.0, 7.0));
    }
}
