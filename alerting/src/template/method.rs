//! Methods of times and durations.

use super::value::Value;
use crate::civil::Civil;

/// What a method without arguments answers; `None` if the value has no such method.
pub(super) fn method(value: &Value, name: &str) -> Option<Value> {
    match value {
        Value::Duration(nanos) => {
            let seconds = *nanos as f64 / 1e9;
            Some(match name {
                "Hours" => Value::Float(seconds / 3600.0),
                "Minutes" => Value::Float(seconds / 60.0),
                "Seconds" => Value::Float(seconds),
                "Milliseconds" => Value::Int(nanos / 1_000_000),
                "Microseconds" => Value::Int(nanos / 1_000),
                "Nanoseconds" => Value::Int(*nanos),
                "String" => Value::text(value.to_text()),
                _ => return None,
            })
        }
        Value::Time(millis) => {
            let civil = Civil::from_seconds(millis.div_euclid(1000));
            Some(match name {
                "Unix" => Value::Int(millis.div_euclid(1000)),
                "UnixMilli" => Value::Int(*millis),
                "Year" => Value::Int(civil.year),
                "Month" => Value::text(MONTHS.get(usize::from(civil.month) - 1).copied().unwrap_or_default()),
                "Day" => Value::Int(i64::from(civil.day)),
                "Hour" => Value::Int(i64::from(civil.hour)),
                "Minute" => Value::Int(i64::from(civil.minute)),
                "Second" => Value::Int(i64::from(civil.second)),
                "Weekday" => Value::text(WEEKDAYS.get(usize::from(civil.weekday)).copied().unwrap_or_default()),
                "YearDay" => Value::Int(i64::from(civil.day_of_year)),
                "UTC" => value.clone(),
                "String" => Value::text(value.to_text()),
                _ => return None,
            })
        }
        _ => None,
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
