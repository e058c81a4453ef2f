//! What may be registered, and what gathering says.

use std::sync::Arc;
use std::time::Duration;

use ferula_exposition::registry::{GatherError, HistogramOptions, NativeOptions, RegisterError, SummaryOptions};
use ferula_exposition::{Format, MetricFamily, MetricValue, Registry, encode};
use ferula_model::{Exemplar, Histogram, Labels, ManualClock, MetricType, Timestamp};

fn text(registry: &Registry, format: Format) -> String {
    let mut body = Vec::new();
    encode(&registry.gather(), format, &mut body);
    String::from_utf8(body).unwrap()
}

#[test]
fn what_cannot_be_registered_says_why() {
    let registry = Registry::new();
    registry.counter("taken", "").unwrap();
    let metric = |name: &str| name.to_owned();
    let label = |label: &str| RegisterError::LabelName { metric: metric("m"), label: label.to_owned() };
    assert_eq!(registry.counter("", "").unwrap_err(), RegisterError::EmptyName);
    assert_eq!(registry.gauge_family("m", "", ["__a"]).unwrap_err(), label("__a"));
    assert_eq!(registry.gauge_family("m", "", ["a", "a"]).unwrap_err(), label("a"));
    assert_eq!(registry.histogram_family("m", "", ["le"], &[]).unwrap_err(), label("le"));
    assert_eq!(registry.state_set_family("m", "", ["m"], &["a"]).unwrap_err(), label("m"));
    for bounds in [&[1.0, 1.0][..], &[2.0, 1.0], &[f64::NAN], &[f64::NEG_INFINITY, 1.0]] {
        assert_eq!(registry.histogram("m", "", bounds).unwrap_err(), RegisterError::Buckets { metric: metric("m") });
    }
    for states in [&[][..], &["a", "a"]] {
        assert_eq!(registry.state_set("m", "", states).unwrap_err(), RegisterError::States { metric: metric("m") });
    }
    assert_eq!(
        registry.summary("m", "", SummaryOptions::new(&[50.0])).unwrap_err().to_string(),
        "metric \"m\": 50 is no quantile between 0 and 1"
    );
    assert_eq!(
        registry.summary("m", "", SummaryOptions::new(&[0.5])).unwrap_err().to_string(),
        "metric \"m\": the window of a summary needs a registry with a clock"
    );
    assert!(registry.summary("without_quantiles", "", SummaryOptions::new(&[])).is_ok());
    let expiring = registry.expiring(Duration::from_secs(1));
    assert!(matches!(expiring.counter("m", "").unwrap_err(), RegisterError::NoClock { .. }));
    let taken = registry.gauge("taken", "").unwrap_err();
    assert!(matches!(&taken, RegisterError::Taken { .. }), "{taken}");
    let elsewhere = registry.labelled([("a", "b")]).gauge("taken", "").unwrap_err();
    assert!(matches!(&elsewhere, RegisterError::Taken { .. }), "{elsewhere}");
    assert!(registry.labelled([("a", "b")]).counter("taken", "").is_ok());
    assert!(registry.remove("taken") && !registry.remove("taken"));
    assert!(registry.gauge("taken", "").is_ok());
}

#[test]
fn the_same_registration_is_the_same_metric() {
    let registry = Registry::new();
    let options = || HistogramOptions::default().buckets(&[1.0]).native(NativeOptions::default());
    registry.histogram_family_with("h", "", ["a"], options()).unwrap().with(["x"]).observe(1.0);
    let again = registry.histogram_family_with("h", "", ["a"], options()).unwrap().with(["x"]);
    assert_eq!(again.count(), 1);
    assert!(registry.histogram_family("h", "", ["a"], &[1.0]).is_err(), "other options");
}

#[test]
fn contradictions_of_collectors_are_told_and_left_out() {
    let registry = Registry::new();
    registry.counter("a", "").unwrap().inc();
    let family = |name: &str, metric_type| {
        let mut family = MetricFamily::new(name, "", metric_type);
        family.push_number(Labels::empty(), 7.0);
        Arc::new(family)
    };
    registry.collector(family("a", MetricType::Gauge));
    registry.collector(family("b", MetricType::Gauge));
    registry.labelled([("c", "d")]).collector(family("b", MetricType::Gauge));
    registry.collector(family("b", MetricType::Gauge));
    let (families, errors) = registry.gather_checked();
    assert_eq!(
        errors,
        [
            GatherError::Type { metric: "a".to_owned(), first: "counter", second: "gauge" },
            GatherError::Duplicate { metric: "b".to_owned(), labels: Labels::empty() },
        ]
    );
    let labels: Vec<_> = families[1].metrics.iter().map(|metric| metric.labels.to_string()).collect();
    assert_eq!(labels, ["{}", r#"{c="d"}"#]);
}

#[test]
fn a_histogram_of_both_kinds_agrees_with_itself() {
    let registry = Registry::with_clock(Arc::new(ManualClock::at(Timestamp(0))));
    let options = HistogramOptions::default().buckets(&[1.0, 10.0]).native(NativeOptions::new(2.0).unwrap());
    let both = registry.histogram_family_with("h", "", [], options).unwrap().with([]);
    for value in [0.5, 3.0, 3.5, 100.0] {
        both.observe(value);
    }
    both.observe_times(1000.0, 3);
    let exemplar = Exemplar { labels: Labels::empty(), value: 4.0, timestamp: None };
    both.observe_with_exemplar(4.0, exemplar);
    let families = registry.gather();
    let MetricValue::Histogram(value) = &families[0].metrics[0].value else { unreachable!() };
    let buckets: Vec<_> = value.buckets.iter().map(|bucket| bucket.cumulative_count).collect();
    assert_eq!(buckets, [1.0, 4.0, 8.0]);
    assert!(value.buckets[1].exemplar.is_some() && value.exemplars.len() == 1);
    assert_eq!((value.count, value.sum), (Some(8.0), Some(3111.0)));
    let Some(Histogram::Integer(native)) = &value.native else { unreachable!() };
    native.validate().unwrap();
    assert_eq!((native.count, native.sum, native.schema), (8, 3111.0, 0));
}

#[test]
fn a_gauge_that_is_set_to_the_same_value_is_not_idle() {
    let clock = Arc::new(ManualClock::at(Timestamp(0)));
    let registry = Registry::with_clock(clock.clone());
    let gauge = registry.expiring(Duration::from_secs(10)).gauge("g", "").unwrap();
    let mut lives = Vec::new();
    for set in [true, true, false, false, true] {
        if set {
            gauge.set(1.0);
        }
        lives.push(!registry.gather()[0].metrics.is_empty());
        clock.advance(Duration::from_secs(6));
    }
    assert_eq!(lives, [true, true, true, false, true]);
}

#[test]
fn a_family_with_a_limit_has_room_again_once_a_metric_is_gone() {
    let registry = Registry::new();
    let hits = registry.limited(1).counter_family("hits", "", ["path"]).unwrap();
    assert!(registry.counter_family("hits", "", ["path"]).is_err(), "without a limit it is another one");
    hits.with(["/a"]).inc();
    hits.with(["/b"]).inc();
    hits.remove(["/a"]);
    hits.remove([ferula_exposition::registry::OVERFLOW]);
    hits.with(["/b"]).inc();
    assert_eq!(text(&registry, Format::Text), "# TYPE hits counter\nhits{path=\"/b\"} 1\n");
}

#[test]
fn registries_nest_and_units_are_told() {
    let inner = Registry::new();
    inner.in_unit("seconds").counter("work_seconds_total", "Work.").unwrap().add(1.5);
    let outer = Registry::new();
    outer.labelled([("part", "inner")]).collector(Arc::new(inner));
    assert_eq!(
        text(&outer, Format::OpenMetrics),
        "# TYPE work_seconds counter\n# UNIT work_seconds seconds\n# HELP work_seconds Work.\n\
         work_seconds_total{part=\"inner\"} 1.5\n# EOF\n"
    );
}
