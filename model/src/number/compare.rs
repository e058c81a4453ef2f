//! Are two computed floats the same but for rounding?

use crate::sample::is_stale;

/// Whether two floats differ by less than `relative` of the sum of their magnitudes. `NaN` equals `NaN`, the stale marker
/// only itself. This is how Prometheus 3.14 compares results with expectations (with 1e-6).
///
/// ```
/// use ferula_model::number::nearly_equal;
///
/// assert!(nearly_equal(1.0, 1.0 + 1e-9, 1e-6));
/// assert!(!nearly_equal(1.0, 1.1, 1e-6));
/// assert!(nearly_equal(f64::NAN, f64::NAN, 1e-6));
/// ```
pub fn nearly_equal(a: f64, b: f64, relative: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (size, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || size < f64::MIN_POSITIVE {
        return difference < relative * f64::MIN_POSITIVE;
    }
    difference / size.min(f64::MAX) < relative
}
