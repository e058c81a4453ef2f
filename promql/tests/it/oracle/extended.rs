//! `anchored` and `smoothed`: windows with a value at each border.

use ferula_promql::functions::FunctionId;

use super::select::Window;

type Points = [(i64, f64)];

/// From the last sample at or before the window's start, or the first in the window; nothing is extrapolated.
pub(super) fn anchored(id: FunctionId, window: &Window, points: &Points) -> Option<f64> {
    let inside: Vec<_> =
        points.iter().copied().filter(|(time, _)| *time > window.start && *time <= window.end).collect();
    let before = points.iter().copied().rfind(|(time, _)| *time <= window.start);
    let &last = inside.last()?;
    let path: Vec<f64> = before.into_iter().chain(inside.iter().copied()).map(|(_, value)| value).collect();
    let pairs = || path.windows(2).map(|pair| (pair[0], pair[1]));
    let dropped: f64 = pairs().filter(|(a, b)| b < a).map(|(a, _)| a).sum();
    let difference = last.1 - path[0];
    match id {
        FunctionId::Changes => Some(pairs().filter(|(a, b)| a != b && !(a.is_nan() && b.is_nan())).count() as f64),
        FunctionId::Resets => Some(pairs().filter(|(a, b)| b < a).count() as f64),
        FunctionId::Delta => Some(difference),
        FunctionId::Increase => Some(difference + dropped),
        FunctionId::Rate => Some((difference + dropped) / ((window.end - window.start) as f64 / 1000.0)),
        _ => None,
    }
}

/// How far the series has come between both borders.
///
/// Of a counter this is the way it would have gone had it never been reset: where it falls between two samples, it is taken
/// to have risen from zero to the later one, evenly all the time between them.
pub(super) fn smoothed(id: FunctionId, window: &Window, points: &Points) -> Option<f64> {
    let is_counter = id != FunctionId::Delta;
    let (first, last) = (points.first()?, points.last()?);
    if first.0 > window.end || last.0 <= window.start {
        return None;
    }
    let mut path = vec![(first.0, 0.0)];
    for pair in points.windows(2) {
        let (before, (time, value)) = (pair[0].1, pair[1]);
        let step = if is_counter && value < before { value } else { value - before };
        path.push((time, path[path.len() - 1].1 + step));
    }
    let result = on_path(&path, window.end) - on_path(&path, window.start);
    Some(if id == FunctionId::Rate { result / ((window.end - window.start) as f64 / 1000.0) } else { result })
}

/// Where a path is at a moment; before its first point it is there, behind its last point there.
fn on_path(path: &Points, at: i64) -> f64 {
    let before = path.iter().rfind(|(time, _)| *time <= at);
    let after = path.iter().find(|(time, _)| *time > at);
    match (before, after) {
        (Some((time, low)), Some((later, high))) => low + (high - low) * ((at - time) as f64 / (later - time) as f64),
        (Some(only), None) | (None, Some(only)) => only.1,
        (None, None) => f64::NAN,
    }
}
