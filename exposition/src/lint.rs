//! Are these metrics named as others expect?
//!
//! The rules and the words are those of promlint, which `promtool check metrics` runs (client_golang 1.24). An accepted body
//! can still break them: they are advice, not grammar.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use ferula_model::{Labels, MetricType, Timestamp};

use crate::family::MetricFamily;

/// A metric that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LintProblem {
    /// The family.
    pub metric: Arc<str>,
    /// What is wrong with it, and often what would be right.
    pub text: String,
}

impl fmt::Display for LintProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.metric, self.text)
    }
}

/// What promlint finds in these families, by name and text, each once.
///
/// ```
/// use ferula_exposition::{Format, ParseOptions, lint, read_families};
///
/// let body = b"# TYPE jobs counter\njobs 1\n";
/// let problems = lint(&read_families(body, Format::Text, &ParseOptions::default())?);
/// let said: Vec<_> = problems.iter().map(ToString::to_string).collect();
/// assert_eq!(said, ["jobs counter metrics should have \"_total\" suffix", "jobs no help text"]);
/// # Ok::<(), ferula_exposition::ParseError>(())
/// ```
pub fn lint(families: &[MetricFamily]) -> Vec<LintProblem> {
    let mut problems = BTreeSet::new();
    for family in families.iter().filter(|family| !family.metrics.is_empty()) {
        let mut found = Vec::new();
        for rule in RULES {
            rule(family, &mut found);
        }
        problems.extend(found.into_iter().map(|text| LintProblem { metric: Arc::clone(&family.name), text }));
    }
    problems.into_iter().collect()
}

type Rule = fn(&MetricFamily, &mut Vec<String>);

const RULES: [Rule; 9] = [
    help,
    metric_units,
    counter,
    reserved_suffixes_and_labels,
    type_in_name,
    reserved_chars,
    camel_case,
    unit_abbreviations,
    duplicate_metric,
];

fn help(family: &MetricFamily, found: &mut Vec<String>) {
    if family.help.is_empty() {
        found.push("no help text".to_owned());
    }
}

/// Units that are known, and the base unit to use instead.
const UNITS: [(&str, &str); 24] = [
    ("amperes", "amperes"),
    ("bytes", "bytes"),
    ("celsius", "celsius"),
    ("grams", "grams"),
    ("joules", "joules"),
    ("kelvin", "kelvin"),
    ("meters", "meters"),
    ("metres", "metres"),
    ("seconds", "seconds"),
    ("volts", "volts"),
    ("minutes", "seconds"),
    ("hours", "seconds"),
    ("days", "seconds"),
    ("weeks", "seconds"),
    ("kelvins", "kelvin"),
    ("fahrenheit", "celsius"),
    ("rankine", "celsius"),
    ("inches", "meters"),
    ("yards", "meters"),
    ("miles", "meters"),
    ("bits", "bytes"),
    ("calories", "joules"),
    ("pounds", "grams"),
    ("ounces", "grams"),
];

/// Spelling is promlint's.
const UNIT_PREFIXES: [&str; 18] = [
    "pico", "nano", "micro", "milli", "centi", "deci", "deca", "hecto", "kilo", "kibi", "mega", "mibi", "giga", "gibi",
    "tera", "tebi", "peta", "pebi",
];

fn metric_units(family: &MetricFamily, found: &mut Vec<String>) {
    let base = |word: &str| UNITS.iter().find(|(unit, _)| *unit == word).map(|(_, base)| *base);
    let of_word = |word: &str| {
        let prefixed = || UNIT_PREFIXES.iter().find_map(|prefix| word.strip_prefix(prefix).and_then(base));
        base(word).or_else(prefixed)
    };
    let first = family.name.split('_').find_map(|word| of_word(word).map(|base| (word, base)));
    if let Some((unit, base)) = first.filter(|(unit, base)| unit != base) {
        found.push(format!("use base unit {base:?} instead of {unit:?}"));
    }
}

fn counter(family: &MetricFamily, found: &mut Vec<String>) {
    let is_total = family.name.ends_with("_total");
    match family.metric_type {
        MetricType::Counter if !is_total => found.push("counter metrics should have \"_total\" suffix".to_owned()),
        MetricType::Counter | MetricType::Unknown => {}
        _ if is_total => found.push("non-counter metrics should not have \"_total\" suffix".to_owned()),
        _ => {}
    }
}

fn reserved_suffixes_and_labels(family: &MetricFamily, found: &mut Vec<String>) {
    if family.metric_type == MetricType::Unknown {
        return;
    }
    let histogram = matches!(family.metric_type, MetricType::Histogram | MetricType::GaugeHistogram);
    let summary = family.metric_type == MetricType::Summary;
    let ends = |suffix: &str| family.name.ends_with(suffix);
    let labelled = |label: &str| family.metrics.iter().any(|metric| metric.labels.get(label).is_some());
    let rules = [
        (!histogram && ends("_bucket"), "non-histogram metrics should not have \"_bucket\" suffix"),
        (
            !histogram && !summary && ends("_count"),
            "non-histogram and non-summary metrics should not have \"_count\" suffix",
        ),
        (
            !histogram && !summary && ends("_sum"),
            "non-histogram and non-summary metrics should not have \"_sum\" suffix",
        ),
        (!histogram && labelled("le"), "non-histogram metrics should not have \"le\" label"),
        (!summary && labelled("quantile"), "non-summary metrics should not have \"quantile\" label"),
    ];
    found.extend(rules.into_iter().filter(|(broken, _)| *broken).map(|(_, text)| text.to_owned()));
}

/// Whether a lower-case name has this word in the middle or at the end.
fn has_word(name: &str, word: &str) -> bool {
    let after = |at: usize| name.get(at + word.len()..).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
    name.match_indices(word).any(|(at, _)| name.get(..at).is_some_and(|before| before.ends_with('_')) && after(at))
}

fn type_in_name(family: &MetricFamily, found: &mut Vec<String>) {
    let word = match family.metric_type {
        MetricType::Counter => "counter",
        MetricType::Gauge | MetricType::Info | MetricType::StateSet => "gauge",
        MetricType::Summary => "summary",
        MetricType::Histogram => "histogram",
        MetricType::GaugeHistogram => "gauge_histogram",
        MetricType::Unknown => return,
    };
    if has_word(&family.name.to_lowercase(), word) {
        found.push(format!("metric name should not include type '{word}'"));
    }
}

fn reserved_chars(family: &MetricFamily, found: &mut Vec<String>) {
    if family.name.contains(':') {
        found.push("metric names should not contain ':'".to_owned());
    }
}

fn camel_case(family: &MetricFamily, found: &mut Vec<String>) {
    let is_camel = |name: &str| {
        let pairs = name.as_bytes().windows(2);
        pairs.into_iter().any(|pair| matches!(pair, [a, b] if a.is_ascii_lowercase() && b.is_ascii_uppercase()))
    };
    if is_camel(&family.name) {
        found.push("metric names should be written in 'snake_case' not 'camelCase'".to_owned());
    }
    if family.metrics.iter().any(|metric| metric.labels.iter().any(|(label, _)| is_camel(label))) {
        found.push("label names should be written in 'snake_case' not 'camelCase'".to_owned());
    }
}

fn unit_abbreviations(family: &MetricFamily, found: &mut Vec<String>) {
    let name = family.name.to_lowercase();
    let short = ["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"];
    if short.into_iter().any(|word| has_word(&name, word)) {
        found.push("metric names should not contain abbreviated units".to_owned());
    }
}

fn duplicate_metric(family: &MetricFamily, found: &mut Vec<String>) {
    let mut seen: BTreeSet<(&Labels, Option<Timestamp>)> = BTreeSet::new();
    if family.metrics.iter().any(|metric| !seen.insert((&metric.labels, metric.timestamp))) {
        found.push("metric not unique".to_owned());
    }
}
