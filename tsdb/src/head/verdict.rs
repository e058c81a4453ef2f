//! May this sample enter? Decided from values alone, without locks or log.
//!
//! The order of the questions is upstream's (3.14): see the table in section 3.7 of the census.

use ferula_model::AppendError;

/// What the head takes at this moment, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// The oldest time that may enter in order.
    pub(super) in_order_from: i64,
    /// The oldest time that may enter late; `None` if late samples are refused.
    pub(super) late_from: Option<i64>,
    /// Whether samples of any age may enter late if they are newer than their series.
    pub(super) backfill: bool,
}

/// What becomes of a sample.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// It is newer than its series.
    InOrder,
    /// It goes to the late samples.
    Late,
    /// It is stored already, bit for bit: nothing to do.
    Repeated,
    /// It must not enter.
    Refuse(AppendError),
}

/// Judges a sample at `time` against the newest sample of its series. `is_repetition` is asked only at the same time.
#[inline]
pub(super) fn judge(window: &Window, newest: Option<i64>, time: i64, is_repetition: impl FnOnce() -> bool) -> Verdict {
    let rises = newest.is_none_or(|newest| time > newest);
    if rises && time >= window.in_order_from {
        return Verdict::InOrder;
    }
    if newest == Some(time) {
        if is_repetition() {
            return Verdict::Repeated;
        }
        return Verdict::Refuse(AppendError::DuplicateForTimestamp);
    }
    if rises && window.backfill {
        return Verdict::Late;
    }
    match window.late_from {
        Some(from) if time >= from => Verdict::Late,
        Some(_) => Verdict::Refuse(AppendError::TooOld),
        None if time < window.in_order_from => Verdict::Refuse(AppendError::OutOfBounds),
        None => Verdict::Refuse(AppendError::OutOfOrder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{InOrder, Late, Refuse, Repeated};

    #[test]
    fn the_table_of_upstream() {
        let strict = Window { in_order_from: 100, late_from: None, backfill: false };
        let late = Window { late_from: Some(50), ..strict };
        let backfill = Window { backfill: true, ..strict };
        let cases = [
            (strict, None, 100, InOrder),
            (strict, None, 99, Refuse(AppendError::OutOfBounds)),
            (strict, Some(150), 151, InOrder),
            (strict, Some(150), 150, Refuse(AppendError::DuplicateForTimestamp)),
            (strict, Some(150), 149, Refuse(AppendError::OutOfOrder)),
            (strict, Some(150), 90, Refuse(AppendError::OutOfBounds)),
            (strict, Some(90), 90, Refuse(AppendError::DuplicateForTimestamp)),
            (late, Some(150), 149, Late),
            (late, Some(150), 50, Late),
            (late, Some(150), 49, Refuse(AppendError::TooOld)),
            (late, None, 60, Late),
            (late, None, 40, Refuse(AppendError::TooOld)),
            (backfill, None, 1, Late),
            (backfill, Some(1), 2, Late),
            (backfill, Some(2), 1, Refuse(AppendError::OutOfBounds)),
            (backfill, Some(150), 149, Refuse(AppendError::OutOfOrder)),
        ];
        for (window, newest, time, expected) in cases {
            assert_eq!(judge(&window, newest, time, || false), expected, "{window:?} {newest:?} {time}");
        }
        assert_eq!(judge(&strict, Some(150), 150, || true), Repeated);
    }
}
