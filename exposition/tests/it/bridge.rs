//! Metrics of other libraries: as bytes, and straight into a storage.

use std::sync::Arc;
use std::time::Duration;

use ferula_exposition::bridge::{ClientRegistry, MetricsOptions, MetricsRecorder, OtelReader};
use ferula_exposition::registry::{Collect, HistogramOptions, NativeOptions, RegisterError};
use ferula_exposition::{Feed, Format, Registry, encode};
use ferula_model::{Labels, ManualClock, Timestamp};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus_client::encoding::EncodeLabelSet;

use crate::storage::Storage;

fn text(collector: &(impl Collect + Clone + 'static), format: Format) -> String {
    let registry = Registry::new();
    registry.collector(Arc::new(collector.clone()));
    let mut body = Vec::new();
    encode(&registry.gather(), format, &mut body);
    String::from_utf8(body).unwrap()
}

/// Lines of what one gathering stores, metadata aside.
fn stored(collector: &(impl Collect + Clone + 'static)) -> Vec<String> {
    let (registry, storage) = (Registry::new(), Storage::default());
    registry.collector(Arc::new(collector.clone()));
    let mut feed = Feed::new(Labels::from_pairs([("job", "j")]));
    feed.gather(&registry, Timestamp(1), &storage).unwrap();
    storage.told().into_iter().filter(|line| !line.contains("} is ")).collect()
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp(0)))
}

#[test]
fn the_macros_of_metrics_are_recorded() {
    let options = MetricsOptions::default().histograms(HistogramOptions::default().buckets(&[1.0]));
    let recorder = MetricsRecorder::new(options, clock()).unwrap();
    metrics::with_local_recorder(&recorder, || {
        metrics::describe_counter!("jobs_total", metrics::Unit::Count, "Jobs done.");
        metrics::describe_histogram!("wait_seconds", metrics::Unit::Seconds, "Waits.");
        metrics::counter!("jobs_total", "queue" => "mail").increment(2);
        metrics::counter!("jobs_total", "queue" => "mail").absolute(1);
        metrics::counter!("jobs_total", "queue" => "news").absolute(9);
        metrics::gauge!("open").set(5.0);
        metrics::gauge!("open").decrement(1.5);
        metrics::histogram!("wait_seconds", "le" => "own").record(0.5);
        metrics::histogram!("wait_seconds", "le" => "own").record_many(2.0, 3);
    });
    assert_eq!(
        text(&recorder, Format::OpenMetrics),
        "# TYPE jobs counter\n# HELP jobs Jobs done.\njobs_total{queue=\"mail\"} 2.0\njobs_total{queue=\"news\"} 9.0\n\
         # TYPE open gauge\nopen 3.5\n\
         # TYPE wait_seconds histogram\n# UNIT wait_seconds seconds\n# HELP wait_seconds Waits.\n\
         wait_seconds_bucket{exported_le=\"own\",le=\"1.0\"} 1.0\n\
         wait_seconds_bucket{exported_le=\"own\",le=\"+Inf\"} 4.0\n\
         wait_seconds_sum{exported_le=\"own\"} 6.5\nwait_seconds_count{exported_le=\"own\"} 4.0\n# EOF\n"
    );
    assert_eq!(stored(&recorder)[0], r#"{__name__="jobs_total", job="j", queue="mail"} 2 @1 since 0"#);
}

#[test]
fn histograms_of_metrics_have_the_buckets_of_their_prefix() {
    let native = HistogramOptions::default().native(NativeOptions::new(2.0).unwrap());
    let options = MetricsOptions::default()
        .histograms(HistogramOptions::default().buckets(&[1.0]))
        .histograms_named("rpc_", HistogramOptions::default().buckets(&[2.0]))
        .histograms_named("rpc_size", native);
    let recorder = MetricsRecorder::new(options, clock()).unwrap();
    metrics::with_local_recorder(&recorder, || {
        for name in ["a", "rpc_a", "rpc_size"] {
            metrics::histogram!(name).record(3.0);
        }
    });
    let told = stored(&recorder).join("\n");
    assert!(told.contains(r#"{__name__="a_bucket", job="j", le="1.0"} 0"#), "{told}");
    assert!(told.contains(r#"{__name__="rpc_a_bucket", job="j", le="2.0"} 0"#), "{told}");
    assert!(told.contains(r#"{__name__="rpc_size", job="j"} {count:1, sum:3, (2,4]:1}"#), "{told}");
    let wrong = MetricsOptions::default().histograms_named("x", HistogramOptions::default().buckets(&[2.0, 1.0]));
    assert_eq!(MetricsRecorder::new(wrong, clock()).unwrap_err(), RegisterError::Buckets { metric: "x".to_owned() });
}

#[test]
fn idle_metrics_of_metrics_leave_and_come_back() {
    let clock = clock();
    let options = MetricsOptions::default().expiring(Duration::from_secs(60)).conventional_names(true);
    let recorder = MetricsRecorder::new(options, clock.clone()).unwrap();
    let count = || metrics::with_local_recorder(&recorder, || metrics::counter!("jobs").increment(1));
    count();
    assert!(text(&recorder, Format::Text).ends_with("jobs_total 1\n"));
    clock.advance(Duration::from_secs(60));
    assert_eq!(text(&recorder, Format::Text), "");
    count();
    assert!(text(&recorder, Format::Text).ends_with("jobs_total 1\n"), "nobody held it, so it began anew");
}

#[test]
fn metrics_that_are_too_many_share_one() {
    let recorder = MetricsRecorder::new(MetricsOptions::default().limited(1), clock()).unwrap();
    metrics::with_local_recorder(&recorder, || {
        for user in ["ann", "bob", "eve", "ann"] {
            metrics::counter!("logins", "user" => user).increment(1);
        }
    });
    let expected = "# TYPE logins counter\nlogins{overflow=\"true\"} 2\nlogins{user=\"ann\"} 2\n";
    assert_eq!(text(&recorder, Format::Text), expected);
}

#[test]
fn two_recorders_share_nothing() {
    let [one, other] = [(); 2].map(|()| MetricsRecorder::new(MetricsOptions::default(), clock()).unwrap());
    metrics::with_local_recorder(&one, || metrics::counter!("a").increment(1));
    metrics::with_local_recorder(&other, || metrics::counter!("b").increment(1));
    assert!(text(&one, Format::Text).contains("a 1\n") && !text(&one, Format::Text).contains("b 1\n"));
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Queue {
    queue: String,
}

#[test]
fn registries_of_prometheus_client_are_read() {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::histogram::Histogram;
    use prometheus_client::metrics::info::Info;
    use prometheus_client::registry::{Registry as Theirs, Unit};

    let mut theirs = Theirs::with_prefix("app");
    let jobs = Family::<Queue, Counter>::default();
    theirs.register("jobs", "Jobs done", jobs.clone());
    jobs.get_or_create(&Queue { queue: "a \"b\"\n".to_owned() }).inc_by(3);
    let wait = Histogram::new([1.0, 2.0]);
    theirs.register_with_unit("wait", "Waits", Unit::Seconds, wait.clone());
    wait.observe(1.5);
    let open = Gauge::<i64>::default();
    theirs.sub_registry_with_label(("part".into(), "one".into())).register("open", "Open", open.clone());
    open.set(-4);
    theirs.register("build", "Build", Info::new([("version", "1")]));
    let collector = ClientRegistry::new(Arc::new(theirs));
    assert_eq!(
        text(&collector, Format::OpenMetrics),
        "# TYPE app_build info\n# HELP app_build Build.\napp_build_info{version=\"1\"} 1.0\n\
         # TYPE app_jobs counter\n# HELP app_jobs Jobs done.\napp_jobs_total{queue=\"a \\\"b\\\"\\n\"} 3.0\n\
         # TYPE app_open gauge\n# HELP app_open Open.\napp_open{part=\"one\"} -4.0\n\
         # TYPE app_wait_seconds histogram\n# UNIT app_wait_seconds seconds\n# HELP app_wait_seconds Waits.\n\
         app_wait_seconds_bucket{le=\"1.0\"} 0.0\napp_wait_seconds_bucket{le=\"2.0\"} 1.0\n\
         app_wait_seconds_bucket{le=\"+Inf\"} 1.0\napp_wait_seconds_sum 1.5\napp_wait_seconds_count 1.0\n# EOF\n"
    );
    assert_eq!(stored(&collector)[0], r#"{__name__="app_build_info", job="j", version="1"} 1 @1"#);
    assert_eq!(collector.failures(), 0);
}

#[test]
fn what_is_not_openmetrics_is_counted() {
    let mut theirs = prometheus_client::registry::Registry::default();
    theirs.register("not a name", "", prometheus_client::metrics::counter::Counter::<u64>::default());
    let collector = ClientRegistry::new(Arc::new(theirs));
    assert_eq!(text(&collector, Format::Text), "");
    assert_eq!(collector.failures(), 1);
}

#[test]
fn instruments_of_opentelemetry_are_read() {
    let reader = OtelReader::default();
    let resource = Resource::builder_empty().with_attribute(KeyValue::new("service.name", "shop")).build();
    let provider = SdkMeterProvider::builder().with_reader(reader.clone()).with_resource(resource).build();
    let scope = InstrumentationScope::builder("lib").with_version("2").build();
    let meter = provider.meter_with_scope(scope);
    let attributes = [KeyValue::new("http.method", "GET")];
    meter.u64_counter("http.requests").with_description("Requests.").build().add(4, &attributes);
    meter.i64_up_down_counter("open").build().add(-2, &[]);
    meter.f64_gauge("memory.usage").with_unit("1").build().record(0.5, &[]);
    let histogram = meter.f64_histogram("wait").with_unit("s").with_boundaries(vec![1.0, 2.0]).build();
    [0.5, 1.5, 9.0].into_iter().for_each(|value| histogram.record(value, &[]));
    let scope = "otel_scope_name=\"lib\",otel_scope_version=\"2\"";
    let expected = format!(
        "# HELP http_requests_total Requests.\n# TYPE http_requests_total counter\n\
         http_requests_total{{http_method=\"GET\",{scope}}} 4\n\
         # TYPE memory_usage_ratio gauge\nmemory_usage_ratio{{{scope}}} 0.5\n\
         # TYPE open gauge\nopen{{{scope}}} -2\n\
         # HELP target_info Target metadata\n# TYPE target_info gauge\ntarget_info{{service_name=\"shop\"}} 1\n\
         # TYPE wait_seconds histogram\n\
         wait_seconds_bucket{{{scope},le=\"1\"}} 1\nwait_seconds_bucket{{{scope},le=\"2\"}} 2\n\
         wait_seconds_bucket{{{scope},le=\"+Inf\"}} 3\nwait_seconds_sum{{{scope}}} 11\nwait_seconds_count{{{scope}}} 3\n"
    );
    assert_eq!(text(&reader, Format::Text), expected);
    let told = stored(&reader);
    assert_eq!(told.len(), 9);
    assert!(told[0].contains(" 4 @1 since "), "the start is known: {}", told[0]);
    provider.shutdown().unwrap();
    assert_eq!(text(&reader, Format::Text), "");
    assert_eq!(reader.failures(), 1);
}

#[test]
fn scopes_can_be_left_out() {
    let reader = OtelReader::with_scope_labels(false);
    let provider = SdkMeterProvider::builder()
        .with_reader(reader.clone())
        .with_resource(Resource::builder_empty().build())
        .build();
    provider.meter("lib").u64_counter("a").build().add(1, &[]);
    assert_eq!(text(&reader, Format::Text), "# TYPE a_total counter\na_total 1\n");
    assert_eq!(reader.dropped(), 0);
}
