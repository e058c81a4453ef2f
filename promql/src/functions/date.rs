//! Dates: which day is this? UTC, proleptic Gregorian.

/// Year, month (1-12) and day (1-31) of a count of days since 1970-01-01.
pub(crate) fn civil_from_days(days: i64) -> (i64, u32, u32) {
    // Eras of 400 years that begin on 1 March, so that the leap day is the last of its year.
    let shifted = days.saturating_add(719_468);
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u32, day as u32)
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The date functions of PromQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DatePart {
    Minute,
    Hour,
    DayOfWeek,
    DayOfMonth,
    DayOfYear,
    DaysInMonth,
    Month,
    Year,
}

impl DatePart {
    /// The part of the moment `seconds` after the epoch; fractions of a second are cut off.
    pub(crate) fn of(self, seconds: f64) -> f64 {
        let seconds = i128::from(go_int64(seconds));
        // Go counts from a zero of its own in 64 bits: before it, time turns round.
        let seconds = if seconds < GO_ZERO { seconds + (1 << 64) } else { seconds };
        let (days, rest) = (seconds.div_euclid(86_400) as i64, seconds.rem_euclid(86_400) as u32);
        let (year, month, day) = civil_from_days(days);
        match self {
            DatePart::Minute => f64::from(rest / 60 % 60),
            DatePart::Hour => f64::from(rest / 3_600),
            DatePart::DayOfWeek => (days + 4).rem_euclid(7) as f64,
            DatePart::DayOfMonth => f64::from(day),
            DatePart::DayOfYear => f64::from((1..month).map(|month| days_in_month(year, month)).sum::<u32>() + day),
            DatePart::DaysInMonth => f64::from(days_in_month(year, month)),
            DatePart::Month => f64::from(month),
            DatePart::Year => year as f64,
        }
    }
}

/// The first moment of Go's `time`, in seconds after the epoch: 1 March of the year -292277022400.
const GO_ZERO: i128 = -9_223_372_028_741_760_000;

/// What Go on amd64 makes of a float that becomes an integer: what does not fit is the lowest integer.
fn go_int64(value: f64) -> i64 {
    if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value) {
        return i64::MIN;
    }
    value as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leap_years_and_negative_times() {
        let at = |seconds: f64| {
            [DatePart::Year, DatePart::Month, DatePart::DayOfMonth, DatePart::DayOfWeek].map(|part| part.of(seconds))
        };
        assert_eq!(at(0.0), [1970.0, 1.0, 1.0, 4.0]);
        assert_eq!(at(1_709_164_800.0), [2024.0, 2.0, 29.0, 4.0]);
        assert_eq!(at(-1.0), [1969.0, 12.0, 31.0, 3.0]);
        assert_eq!(DatePart::DayOfYear.of(1_709_164_800.0), 60.0);
        assert_eq!(DatePart::DaysInMonth.of(1_709_164_800.0), 29.0);
    }

    #[test]
    fn what_is_no_time_is_the_date_that_go_makes_of_it() {
        assert_eq!(DatePart::Minute.of(1e300), 30.0);
        assert_eq!(DatePart::DayOfYear.of(f64::NAN), 339.0);
    }
}
