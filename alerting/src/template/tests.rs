//! Templates as text: `testdata/templates.txt` has template and result in turn.

use ferula_model::{FloatHistogram, Sample, Value as Stored};
use ferula_promql::testing::MemoryStorage;
use ferula_promql::{Engine, EngineOptions};

use super::*;
use crate::source::EngineSource;

fn storage() -> MemoryStorage {
    let storage = MemoryStorage::new();
    for (name, instance, value) in
        [("metric", "a", 11.0), ("metric", "b", 21.0), ("other", "d", 1.5), ("other", "c", -2.0), ("other", "b", 3.0)]
    {
        let labels = Labels::from_pairs([("__name__", name), ("instance", instance), ("__value__", "vv")]);
        storage.insert(&labels, Sample::float(Timestamp(60_000), value));
    }
    storage
}

fn expand_with(text: &str, value: &Stored) -> String {
    let engine = Arc::new(Engine::new(EngineOptions::default()));
    let source = EngineSource::new(engine, Arc::new(storage()));
    let labels = Labels::from_pairs([("__name__", "up"), ("job", "node"), ("instance", "db.example.com:9100")]);
    let external = Labels::from_pairs([("cluster", "eu")]);
    let environment =
        Environment { queries: &source, at: Timestamp(60_000), external_url: "http://localhost:9090/prom" };
    let data = AlertData { labels: &labels, external_labels: &external, value };
    let expanded = Template::of_alert("A", text).and_then(|template| template.expand(&data, &environment));
    expanded.unwrap_or_else(|error| error.in_place())
}

fn expand(text: &str) -> String {
    expand_with(text, &Stored::Float(0.25))
}

/// Pairs of template and text; lines that begin with `# ` are comments.
fn cases(file: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = file.lines().filter(|line| !line.starts_with("# ")).collect();
    let text = lines.join("\n");
    let pair = |case: &str| {
        let (template, text) = case.split_once("\n----\n").unwrap_or_else(|| panic!("no result: {case}"));
        (template.to_owned(), text.to_owned())
    };
    text.split("\n====\n").map(pair).collect()
}

#[test]
fn templates_give_what_upstream_gives() {
    let mut wrong = Vec::new();
    for (template, expected) in cases(include_str!("../../testdata/templates.txt")) {
        let expanded = expand(&template);
        if expanded != expected {
            wrong.push(format!("{template}\n  is       {expanded}\n  expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_no_template_is_refused_in_upstreams_words() {
    let mut wrong = Vec::new();
    for (template, expected) in cases(include_str!("../../testdata/wrong_templates.txt")) {
        let refused = Template::of_alert("A", &template).err().map(|error| error.to_string());
        if refused.as_ref() != Some(&expected) {
            wrong.push(format!("{template}\n  is       {refused:?}\n  expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_histogram_is_a_value_too() {
    let histogram = FloatHistogram { count: 3.0, sum: 2.5, ..FloatHistogram::default() };
    let value = Stored::Histogram(histogram.into());
    assert_eq!(expand_with("{{ $value.Count }} {{ .Value.Sum }} {{ $value }}", &value), "3 2.5 {count:3, sum:2.5}");
    assert_eq!(
        expand_with("{{ $value | humanize }}", &value),
        "<error expanding template: error executing template __alert_A: template: __alert_A:1:124: executing \
         \"__alert_A\" at <humanize>: error calling humanize: can't convert *histogram.FloatHistogram to float>"
    );
}

#[test]
fn what_would_not_end_ends() {
    let deep = expand("{{ define \"x\" }}{{ template \"x\" }}{{ end }}{{ template \"x\" }}");
    assert!(deep.contains("exceeded maximum template depth"), "{deep}");
    let wide = "{{ define \"x\" }}{{ if lt (len .) 90 }}{{ template \"x\" (print . \"x\") }}{{ template \"x\" (print . \"x\") }}{{ end }}{{ end }}{{ template \"x\" \"\" }}";
    let wide = expand(wide);
    assert!(wide.contains("exceeded maximum number of steps"), "{wide}");
    let long = expand("{{ range 9999 }}{{ printf \"%999999d\" . }}{{ end }}");
    assert!(long.contains("exceeded maximum size of the text"), "{}", long.len());
    let nested = format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000));
    assert!(expand(&nested).contains("nested more than 100 deep"));
    let ifs = "{{ if true }}".repeat(5000);
    assert!(expand(&ifs).contains("nested more than 100 deep"));
}
