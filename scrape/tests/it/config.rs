//! Jobs in YAML: what is read, refused and written again.

use std::path::PathBuf;

use ferula_model::yaml::{self, Fields, Node, Struct};
use ferula_scrape::{ScrapeConfig, ScrapeDefaults, ScrapeProtocol};

/// As much of `prometheus.yml` as concerns scraping.
#[derive(Debug, Default)]
struct File {
    defaults: ScrapeDefaults,
    jobs: Vec<ScrapeConfig>,
}

impl Struct for File {
    const TYPE: &'static str = "config.plain";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set_with("global", &mut self.defaults, |node, context| {
            // The keys of `global` that are not about scraping are not read here.
            let mut scraping = node.clone();
            if let ferula_model::yaml::Kind::Mapping(entries) = &mut scraping.kind {
                let others = ["evaluation_interval", "external_labels", "query_log_file", "rule_query_offset"];
                entries.retain(|(key, _)| !key.scalar().is_some_and(|key| others.contains(&key)));
            }
            <ScrapeDefaults as yaml::Decode>::decode(&scraping, context)
        });
        fields.set("scrape_configs", &mut self.jobs);
        for key in ["alerting", "remote_write", "remote_read", "otlp", "tracing", "storage", "runtime", "rule_files"] {
            fields.ignore(key);
        }
        fields.ignore("scrape_config_files");
    }
}

fn read(text: &str) -> Result<File, String> {
    let mut file: File = yaml::decode(text).map_err(|error| error.to_string())?;
    for job in &mut file.jobs {
        job.validate(&file.defaults).map_err(|error| error.to_string())?;
    }
    Ok(file)
}

fn conformance(name: &str) -> Option<String> {
    let Some(folder) = std::env::var_os("FERULA_CONFORMANCE") else {
        println!("FERULA_CONFORMANCE is not set: skipped");
        return None;
    };
    Some(std::fs::read_to_string(PathBuf::from(folder).join("config").join(name)).unwrap())
}

#[test]
fn upstreams_good_file_is_read() {
    let Some(text) = conformance("conf.good.yml") else { return };
    let file = read(&text).unwrap();
    assert_eq!(file.jobs.len(), text.matches("- job_name:").count());
    let first = &file.jobs[0];
    assert_eq!(first.scrape_interval.as_secs(), 15);
    assert_eq!(first.fallback_scrape_protocol, Some(ScrapeProtocol::PrometheusText0_0_4));
    assert_eq!(first.limits.sample_limit, 1500);
    assert_eq!(first.relabel_configs.len(), 6);
    assert_eq!(first.relabel_configs[3].fields().regex, "");
    assert_eq!(first.http.http_headers.0["foo"].secrets.len(), 2);
    let second = &file.jobs[1];
    assert_eq!((second.scrape_timeout.as_secs(), second.limits.body_size_limit), (5, 10 << 20));
    assert_eq!(second.scrape_protocols, [ScrapeProtocol::PrometheusText0_0_4]);
    let written = yaml::to_string(&Node::sequence(file.jobs.iter().map(yaml::Encode::encode)));
    assert!(!written.contains("mysecret"), "{written}");
}

#[test]
fn upstreams_bad_files_are_refused_in_its_words() {
    for (name, expected) in [
        ("regex.bad.yml", "error parsing regexp: missing closing ): `abc(def`"),
        ("labeldrop.bad.yml", "labeldrop action requires only 'regex', and no other fields"),
        ("labeldrop2.bad.yml", "labeldrop action requires only 'regex', and no other fields"),
        ("labelkeep4.bad.yml", "labelkeep action requires only 'regex', and no other fields"),
        ("empty_scrape_config_action.bad.yml", "relabel action cannot be empty"),
        ("empty_metric_relabel_config.bad.yml", "empty or null metric relabeling rule in scrape config"),
        ("scrape_body_size_limit.bad.yml", "units: unknown unit  in 100"),
        ("url_in_targetgroup.bad.yml", "\"http://bad\" is not a valid hostname"),
        ("jobname.bad.yml", "job_name is empty"),
        (
            "bearertoken_basicauth.bad.yml",
            "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured",
        ),
        ("bearertoken.bad.yml", "at most one of bearer_token & bearer_token_file must be configured"),
        ("http_token_file.bad.yml", "at most one of bearer_token & bearer_token_file must be configured"),
        ("http_url_no_host.bad.yml", "host is missing in URL"),
        ("http_url_no_scheme.bad.yml", "URL scheme must be 'http' or 'https'"),
        ("http_url_bad_scheme.bad.yml", "URL scheme must be 'http' or 'https'"),
        (
            "scrape_config_files_fallback_scrape_protocol1.bad.yml",
            "invalid fallback_scrape_protocol for scrape config with job name \"node\": unknown scrape protocol prometheusproto, supported: [OpenMetricsText0.0.1 OpenMetricsText1.0.0 PrometheusProto PrometheusText0.0.4 PrometheusText1.0.0]",
        ),
        ("scrape_config_files_scrape_protocols.bad.yml", "unknown scrape protocol prometheusproto, supported: ["),
        ("unknown_attr.bad.yml", "field consult_sd_configs not found in type"),
        ("labelmap.bad.yml", ""),
    ] {
        let folder = std::env::var_os("FERULA_CONFORMANCE").map(PathBuf::from);
        if folder.is_some_and(|folder| !folder.join("config").join(name).exists()) {
            continue;
        }
        let Some(text) = conformance(name) else { return };
        let error = read(&text).err().unwrap_or_else(|| panic!("{name} is accepted"));
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn a_job_is_written_as_upstream_writes_it() {
    let file = read("scrape_configs:\n- job_name: a\n  scrape_interval: 15s\n  static_configs:\n  - targets: ['h:1']\n    labels: {x: y}\n").unwrap();
    assert_eq!(
        yaml::to_string(&file.jobs[0]),
        "\
job_name: a
honor_timestamps: true
track_timestamps_staleness: false
scrape_interval: 15s
scrape_timeout: 10s
scrape_protocols:
- OpenMetricsText1.0.0
- OpenMetricsText0.0.1
- PrometheusText1.0.0
- PrometheusText0.0.4
scrape_native_histograms: false
always_scrape_classic_histograms: false
convert_classic_histograms_to_nhcb: false
extra_scrape_metrics: false
metrics_path: /metrics
scheme: http
enable_compression: true
metric_name_validation_scheme: utf8
metric_name_escaping_scheme: allow-utf-8
follow_redirects: true
enable_http2: true
static_configs:
- targets:
  - h:1
  labels:
    x: \"y\"
"
    );
}

#[test]
fn all_complaints_come_at_once_with_their_lines() {
    let error = read("scrape_configs:\n- job_name: a\n  scrape_intervall: 1s\n  sample_limit: many\n").unwrap_err();
    assert!(error.contains("line 3: field scrape_intervall not found in type config.ScrapeConfig"), "{error}");
    assert!(error.contains("line 4: cannot unmarshal !!str `many` into uint64"), "{error}");
}
