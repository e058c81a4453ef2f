//! Selectors, ranges and subqueries.

use super::random::Random;
use super::{Scope, data, queries};

const FLOATS: &[&str] = &[
    "requests_total",
    "requests_total",
    "requests_total",
    "requests_total",
    "load",
    "load",
    "load",
    "odd",
    "odd",
    "constant",
    "sparse",
    "flapping",
    "once",
    "latency_bucket",
    "latency_bucket",
    "nothing",
];

const HISTOGRAMS: &[&str] =
    &["size", "size", "duration", "duration", "width_gauge", "custom", "custom", "mixed", "switching", "uneven"];

/// Matchers of a label that nearly every series has, or of one that few have.
const MATCHERS: &[&str] = &[
    "job=\"api\"",
    "job=\"db\"",
    "job!=\"db\"",
    "job=~\"a.*\"",
    "job!~\"a.+|x\"",
    "instance=\"a:1\"",
    "instance=~\"[ab]:[12]\"",
    "instance!=\"c:3\"",
    "nowhere=\"\"",
    "nowhere!=\"x\"",
    "le!=\"0.5\"",
];

const SPECIAL_MATCHERS: &[(&str, &[&str])] = &[
    ("requests_total", &["code=\"200\"", "code=~\"2..|\"", "code!=\"500\""]),
    ("latency_bucket", &["le=\"1\"", "le!=\"+Inf\"", "form=\"falling\"", "form!=\"malformed\"", "form=\"well\""]),
    ("flapping", &["version!=\"v2\"", "version=\"v1\""]),
];

/// A metric name of either kind.
pub(super) fn metric(random: &mut Random, scope: Scope) -> &'static str {
    if scope.histograms && random.chance(35) { random.pick(HISTOGRAMS) } else { random.pick(FLOATS) }
}

/// An instant selector with its modifiers.
pub(super) fn instant(random: &mut Random, scope: Scope) -> String {
    let selector = bare(random, scope);
    let smoothed = if scope.newer && random.chance(6) { " smoothed" } else { "" };
    format!("{selector}{smoothed}{}", modifiers(random))
}

fn bare(random: &mut Random, scope: Scope) -> String {
    let metric = metric(random, scope);
    of_metric(random, metric)
}

/// A selector of a given metric without modifiers.
pub(super) fn of_metric(random: &mut Random, metric: &str) -> String {
    let mut matchers = Vec::new();
    while random.chance(30) && matchers.len() < 3 {
        let special = SPECIAL_MATCHERS.iter().find(|(name, _)| *name == metric).map(|(_, matchers)| *matchers);
        let of_special = random.chance(60);
        // Series of classic histograms have no job.
        let matchers_of = if metric == "latency_bucket" { &MATCHERS[5..] } else { MATCHERS };
        let chosen = special.filter(|_| of_special).unwrap_or(matchers_of);
        matchers.push(random.pick(chosen).to_owned());
    }
    if random.chance(3) {
        matchers.push(random.pick(&["__name__=~\"load|requests_total\"", "__name__=~\"l.*|once\""]).to_owned());
        return format!("{{{}}}", matchers.join(","));
    }
    if matchers.is_empty() { metric.to_owned() } else { format!("{metric}{{{}}}", matchers.join(",")) }
}

/// A range vector: mostly of a selector, sometimes a subquery.
pub(super) fn range(random: &mut Random, scope: Scope, depth: usize) -> String {
    if depth > 0 && random.chance(20) { subquery(random, scope, depth) } else { plain_range(random, scope, "") }
}

/// A range selector, with `extension` behind its brackets.
pub(super) fn plain_range(random: &mut Random, scope: Scope, extension: &str) -> String {
    format!("{}[{}]{extension}{}", bare(random, scope), length(random, scope), modifiers(random))
}

fn subquery(random: &mut Random, scope: Scope, depth: usize) -> String {
    let inner = queries::vector(random, scope, depth - 1);
    let step = random.pick(&["", "30s", "1m", "15s", "77s"]);
    let range = random.pick(&["1m", "2m", "5m", "5m", "10m1s"]);
    format!("({inner})[{range}:{step}]{}", modifiers(random))
}

/// What stands in brackets.
fn length(random: &mut Random, scope: Scope) -> &'static str {
    if scope.newer && random.chance(15) {
        return random.pick(&[
            "step()+1m",
            "max_of(step(), 90s)",
            "range()+1m",
            "2*75s",
            "min_of(5m,step()+30)",
            "5m-1s",
        ]);
    }
    random.pick(&["15s", "30s", "1m", "1m", "2m", "5m", "5m", "5m", "7m1s", "20m", "1h", "3s", "100ms", "2h"])
}

/// `offset` and `@`, each sometimes.
pub(super) fn modifiers(random: &mut Random) -> String {
    let mut text = String::new();
    if random.chance(12) {
        let offset = random.pick(&["15s", "30s", "1m", "7s", "-15s", "-1m", "20m", "1h"]);
        text.push_str(&format!(" offset {offset}"));
    }
    if random.chance(8) {
        let millis = data::START + random.below(data::SPAN_MILLIS as u64) as i64;
        let at = match random.below(4) {
            0 => "start()".to_owned(),
            1 => "end()".to_owned(),
            2 => format!("{}", (millis - millis % 15_000) / 1000),
            _ => format!("{}.{:03}", millis / 1000, millis % 1000),
        };
        text.push_str(&format!(" @ {at}"));
    }
    text
}
