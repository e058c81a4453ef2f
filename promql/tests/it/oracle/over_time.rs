//! What the floats of a window, or of a group, say together.

/// The sum, with the lost low digits kept aside (Neumaier).
pub(super) fn sum(values: &[f64]) -> f64 {
    let (mut sum, mut lost) = (0.0f64, 0.0f64);
    for &value in values {
        let next = sum + value;
        if !next.is_infinite() {
            lost += if sum.abs() >= value.abs() { (sum - next) + value } else { (value - next) + sum };
        }
        sum = next;
    }
    if sum.is_infinite() { sum } else { sum + lost }
}

/// The mean; where the sum is too large, of parts that are not.
pub(super) fn mean(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let total = sum(values);
    let finite = values.iter().all(|value| value.is_finite());
    if total.is_infinite() && finite {
        let parts: Vec<f64> = values.iter().map(|value| value / count).collect();
        return sum(&parts);
    }
    total / count
}

/// The population variance by Welford's method; `keep` keeps the lost low digits aside.
pub(super) fn variance(values: &[f64], keep: bool) -> f64 {
    let (mut means, mut squares) = (Vec::new(), Vec::new());
    let total = |parts: &[f64]| if keep { sum(parts) } else { parts.iter().fold(0.0, |sum, part| sum + part) };
    for (index, &value) in values.iter().enumerate() {
        let delta = value - total(&means);
        means.push(delta / (index + 1) as f64);
        squares.push(delta * (value - total(&means)));
    }
    total(&squares) / values.len() as f64
}

/// The quantile between ranks; NaN is the smallest value.
pub(super) fn quantile(phi: f64, values: &[f64]) -> f64 {
    if values.is_empty() || phi.is_nan() {
        return f64::NAN;
    }
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| b.is_nan().cmp(&a.is_nan()).then(a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal)));
    let rank = phi * (sorted.len() as f64 - 1.0);
    let (low, high) = (rank.floor(), (rank.floor() + 1.0).min(sorted.len() as f64 - 1.0));
    let weight = rank - low;
    sorted[low as usize] * (1.0 - weight) + sorted[high as usize] * weight
}

/// Slope per second and value at `zero` of the line of least squares; `None` below two points.
pub(super) fn line(points: &[(i64, f64)], zero: i64) -> Option<(f64, f64)> {
    if points.len() < 2 {
        return None;
    }
    let first = points[0].1;
    if points.iter().all(|(_, value)| *value == first) {
        return Some(if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) });
    }
    let times: Vec<f64> = points.iter().map(|(time, _)| (time - zero) as f64 / 1000.0).collect();
    let products: Vec<f64> = points.iter().zip(&times).map(|((_, value), time)| value * time).collect();
    let squares: Vec<f64> = times.iter().map(|time| time * time).collect();
    let values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
    let n = points.len() as f64;
    let (x, y) = (sum(&times), sum(&values));
    let slope = (sum(&products) - x * y / n) / (sum(&squares) - x * x / n);
    Some((slope, y / n - slope * x / n))
}

/// Holt's linear smoothing.
pub(super) fn holt(values: &[f64], level_factor: f64, trend_factor: f64) -> Option<f64> {
    let (&first, &second) = (values.first()?, values.get(1)?);
    let (mut level, mut trend) = (first, second - first);
    for &value in &values[1..] {
        let (old_level, old_trend) = (level, trend);
        level = level_factor * value + (1.0 - level_factor) * (old_level + old_trend);
        trend = trend_factor * (level - old_level) + (1.0 - trend_factor) * old_trend;
    }
    Some(level)
}
