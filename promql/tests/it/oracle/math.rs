//! Functions of one float.

use ferula_promql::functions::FunctionId;

pub(super) fn math(id: FunctionId, x: f64) -> Option<f64> {
    Some(match id {
        FunctionId::Abs => x.abs(),
        FunctionId::Ceil => x.ceil(),
        FunctionId::Floor => x.floor(),
        FunctionId::Exp => x.exp(),
        FunctionId::Ln => x.ln(),
        FunctionId::Log2 => x.log2(),
        FunctionId::Log10 => x.log10(),
        FunctionId::Sqrt => x.sqrt(),
        FunctionId::Sgn if x > 0.0 => 1.0,
        FunctionId::Sgn if x < 0.0 => -1.0,
        FunctionId::Sgn => x,
        FunctionId::Sin => x.sin(),
        FunctionId::Cos => x.cos(),
        FunctionId::Tan => x.tan(),
        FunctionId::Asin => x.asin(),
        FunctionId::Acos => x.acos(),
        FunctionId::Atan => x.atan(),
        FunctionId::Sinh => x.sinh(),
        FunctionId::Cosh => x.cosh(),
        FunctionId::Tanh => x.tanh(),
        FunctionId::Asinh => x.asinh(),
        FunctionId::Acosh => x.acosh(),
        FunctionId::Atanh => x.atanh(),
        FunctionId::Deg => x * 180.0 / std::f64::consts::PI,
        FunctionId::Rad => x * std::f64::consts::PI / 180.0,
        _ => return None,
    })
}

/// The part of a date that a function asks for, of a moment in seconds; of moments in this and the last century only.
pub(super) fn date(id: FunctionId, seconds: f64) -> Option<f64> {
    if seconds.is_nan() || seconds.abs() > 4e9 {
        return None;
    }
    let seconds = seconds.trunc() as i64;
    let days = seconds.div_euclid(86_400);
    // Day by day from the epoch: as slow and as plain as it gets.
    let (mut year, mut left) = (1970i64, days);
    let length = |year: i64| if (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 { 366 } else { 365 };
    while left < 0 {
        year -= 1;
        left += length(year);
    }
    while left >= length(year) {
        left -= length(year);
        year += 1;
    }
    let day_of_year = left + 1;
    let february = if length(year) == 366 { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= months[month] {
        left -= months[month];
        month += 1;
    }
    let number = match id {
        FunctionId::Minute => seconds.div_euclid(60).rem_euclid(60),
        FunctionId::Hour => seconds.div_euclid(3_600).rem_euclid(24),
        FunctionId::DayOfWeek => (days + 4).rem_euclid(7),
        FunctionId::DayOfMonth => left + 1,
        FunctionId::DayOfYear => day_of_year,
        FunctionId::DaysInMonth => months[month],
        FunctionId::Month => month as i64 + 1,
        FunctionId::Year => year,
        _ => return None,
    };
    Some(number as f64)
}

/// The larger of two; NaN if one is, unless the other is the largest of all.
pub(super) fn max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        return f64::INFINITY;
    }
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// The smaller of two; NaN if one is, unless the other is the smallest of all.
pub(super) fn min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}
