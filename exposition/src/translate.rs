//! OpenTelemetry's names in Prometheus' form.
//!
//! Words are joined with underscores, the unit is written out at the end, counters end with `_total` and ratios with `_ratio`.
//!
//! Source: translation strategy `UnderscoreEscapingWithSuffixes` of Prometheus 3.14.

/// What the end of a name depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// A sum that only rises: `_total`.
    Counter,
    /// A number that goes anywhere: `_ratio` if its unit is `1`.
    Gauge,
    /// Neither.
    Other,
}

/// The name of a metric; `None` if nothing legal remains of it.
///
/// ```
/// use ferula_exposition::translate::{NameKind, metric_name};
///
/// let name = metric_name("http.server.duration", "ms", NameKind::Other);
/// assert_eq!(name.as_deref(), Some("http_server_duration_milliseconds"));
/// assert_eq!(metric_name("system.io", "By/s", NameKind::Gauge).as_deref(), Some("system_io_bytes_per_second"));
/// ```
pub fn metric_name(name: &str, unit: &str, kind: NameKind) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == ':';
    let mut words: Vec<&str> = name.split(|c| !legal(c)).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        return None;
    }
    let unit_words = unit_words(unit);
    for unit in &unit_words {
        if !words.contains(&unit.strip_prefix("per_").unwrap_or(unit)) {
            words.push(unit);
        }
    }
    for (applies, suffix) in [(kind == NameKind::Counter, "total"), (kind == NameKind::Gauge && unit == "1", "ratio")] {
        if applies {
            words.retain(|word| *word != suffix);
            words.push(suffix);
        }
    }
    let mut name = words.join("_");
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    Some(name)
}

/// The unit written out, as it stands in a metadata line: `bytes_per_second`; empty for none.
pub fn unit_name(unit: &str) -> String {
    unit_words(unit).join("_")
}

/// The name of a label; `None` if only underscores would remain.
///
/// ```
/// use ferula_exposition::translate::label_name;
///
/// assert_eq!(label_name("http.status_code").as_deref(), Some("http_status_code"));
/// assert_eq!(label_name("2xx").as_deref(), Some("key_2xx"));
/// assert_eq!(label_name("..."), None);
/// ```
pub fn label_name(name: &str) -> Option<String> {
    let legal = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let mut label: String = name.chars().map(legal).collect();
    if label.chars().all(|c| c == '_') {
        return None;
    }
    if label.starts_with(|c: char| c.is_ascii_digit()) {
        label.insert_str(0, "key_");
    } else if label.starts_with('_') && !label.starts_with("__") {
        label.insert_str(0, "key");
    }
    Some(label)
}

/// The unit and `per` what, written out.
fn unit_words(unit: &str) -> Vec<String> {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let words = |unit: &str, written: fn(&str) -> Option<&'static str>| {
        let unit = unit.trim();
        // Annotations in braces are for people.
        if unit.is_empty() || unit.contains(['{', '}']) {
            return String::new();
        }
        let unit = written(unit).unwrap_or(unit);
        let parts: Vec<_> = unit.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty()).collect();
        parts.join("_")
    };
    let (main, per) = (words(main, unit_word), words(per, per_word));
    let per = if per.is_empty() { per } else { format!("per_{per}") };
    [main, per].into_iter().filter(|words| !words.is_empty()).collect()
}

fn unit_word(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tibibytes",
        "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "%" => "percent",
        "1" => "",
        _ => return None,
    })
}

fn per_word(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_as_prometheus_has_them() {
        for (name, unit, kind, expected) in [
            ("requests", "", NameKind::Counter, "requests_total"),
            ("requests.total.count", "", NameKind::Counter, "requests_count_total"),
            ("requests", "{request}", NameKind::Counter, "requests_total"),
            ("sent", "By", NameKind::Counter, "sent_bytes_total"),
            ("sent.bytes", "By", NameKind::Counter, "sent_bytes_total"),
            ("memory.usage", "1", NameKind::Gauge, "memory_usage_ratio"),
            ("memory.usage", "1", NameKind::Other, "memory_usage"),
            ("cpu.load", "%", NameKind::Gauge, "cpu_load_percent"),
            ("speed", "m/s", NameKind::Gauge, "speed_meters_per_second"),
            ("work", "widget/mo", NameKind::Gauge, "work_widget_per_month"),
            ("watts.per.panel", "W/h", NameKind::Gauge, "watts_per_panel_per_hour"),
            ("2xx", "", NameKind::Gauge, "_2xx"),
            ("a__b..c:d", "", NameKind::Gauge, "a_b_c:d"),
            ("größe", "", NameKind::Gauge, "gr_e"),
        ] {
            assert_eq!(metric_name(name, unit, kind).as_deref(), Some(expected), "{name} in {unit:?}");
        }
        assert_eq!(metric_name("---", "s", NameKind::Gauge), None);
        assert_eq!(unit_name("By/s"), "bytes_per_second");
        assert_eq!(unit_name("1"), "");
    }

    #[test]
    fn labels_are_legal() {
        for (name, expected) in [("a.b", "a_b"), ("_a", "key_a"), ("__a", "__a"), ("a", "a"), ("1", "key_1")] {
            assert_eq!(label_name(name).as_deref(), Some(expected));
        }
    }
}
