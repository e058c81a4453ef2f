//! Configurations: what is accepted, how it is shown, and what is said about the rest.

use std::path::{Path, PathBuf};

use ferula::config::Config;

/// Runs `testdata/config.txt`.
#[test]
fn configurations_are_read_strictly_and_printed_whole() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/config.txt")).unwrap();
    let mut wrong = Vec::new();
    let cases: Vec<&str> = text.split("\n=== ").skip(1).collect();
    assert!(cases.len() > 10, "the cases were found");
    for case in cases {
        let (title, rest) = case.split_once('\n').unwrap();
        let (file, expected) = rest.split_once("--- ").unwrap();
        let (kind, expected) = expected.split_once('\n').unwrap();
        let found = match Config::from_yaml(file) {
            Ok(config) => ("printed", config.to_yaml()),
            Err(error) => ("error", error.to_string()),
        };
        if found.0 != kind || found.1.trim_end() != expected.trim_end() {
            wrong.push(format!("{title}:\n{}\n{}", found.0, found.1));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is printed can be read again and says the same.
#[test]
fn what_is_printed_reads_back() {
    for path in conformance_files() {
        let Ok(config) = Config::load(&path) else { continue };
        let printed = config.to_yaml();
        let again =
            Config::from_yaml(&printed).unwrap_or_else(|error| panic!("{}: {error}\n{printed}", path.display()));
        let again = again.to_yaml();
        let difference = again.lines().zip(printed.lines()).find(|(again, first)| again != first);
        assert!(difference.is_none() && again.len() == printed.len(), "{}: {difference:?}", path.display());
    }
}

/// Wrong files of Prometheus' own tests and the complaint about each.
const BAD: &[(&str, &str)] = &[
    ("bearertoken.bad.yml", "at most one of bearer_token & bearer_token_file must be configured"),
    (
        "bearertoken_basicauth.bad.yml",
        "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured",
    ),
    ("config_with_deprecated_am_api_config.yml", "expected Alertmanager api version to be one of [v2] but got v1"),
    ("empty_alertmanager_relabel_config.bad.yml", "empty or null Alertmanager target relabeling rule"),
    ("empty_metric_relabel_config.bad.yml", "empty or null metric relabeling rule in scrape config"),
    ("empty_scrape_config_action.bad.yml", "relabel action cannot be empty"),
    ("http_token_file.bad.yml", "at most one of bearer_token & bearer_token_file must be configured"),
    ("http_url_bad_scheme.bad.yml", "URL scheme must be 'http' or 'https'"),
    ("http_url_no_host.bad.yml", "host is missing in URL"),
    ("http_url_no_scheme.bad.yml", "URL scheme must be 'http' or 'https'"),
    ("jobname.bad.yml", "job_name is empty"),
    ("labeldrop2.bad.yml", "labeldrop action requires only 'regex', and no other fields"),
    ("labeldrop4.bad.yml", "labeldrop action requires only 'regex', and no other fields"),
    ("labelkeep2.bad.yml", "labelkeep action requires only 'regex', and no other fields"),
    ("labelkeep4.bad.yml", "labelkeep action requires only 'regex', and no other fields"),
    // Upstream's YAML library says it in other words.
    ("labelmap.bad.yml", "!!binary value is not text"),
    ("oci_authentication_method.bad.yml", "job_name is empty"),
    ("openstack_availability.bad.yml", "job_name is empty"),
    ("openstack_role.bad.yml", "job_name is empty"),
    ("ovhcloud_no_secret.bad.yml", "job_name is empty"),
    ("puppetdb_no_url.bad.yml", "job_name is empty"),
    ("regex.bad.yml", "missing closing )"),
    ("scaleway_two_secrets.bad.yml", "job_name is empty"),
    ("scrape_body_size_limit.bad.yml", "units: unknown unit  in 100"),
    (
        "scrape_config_files.bad.yml",
        "scrape timeout greater than scrape interval for scrape config with job name \"prometheus\"",
    ),
    (
        "scrape_config_files_fallback_scrape_protocol1.bad.yml",
        "invalid fallback_scrape_protocol for scrape config with job name \"node\": unknown scrape protocol \
         prometheusproto, supported: [OpenMetricsText0.0.1 OpenMetricsText1.0.0 PrometheusProto PrometheusText0.0.4 \
         PrometheusText1.0.0]",
    ),
    ("scrape_config_files_glob.bad.yml", "invalid scrape config file path \"scrape_configs/*/*\""),
    ("scrape_config_files_global.bad.yml", "scrape timeout greater than scrape interval for scrape config"),
    ("scrape_config_files_scrape_protocols.bad.yml", "unknown scrape protocol prometheusproto, supported: ["),
    ("tsdb_chunk_encoding_floats.bad.yml", "\"xor3\""),
    ("tsdb_chunk_encoding_floats_wrong_case.bad.yml", "\"XOR\""),
    ("unknown_attr.bad.yml", "line 19: field consult_sd_configs not found in type config.ScrapeConfig"),
    ("url_in_targetgroup.bad.yml", "\"http://bad\" is not a valid hostname"),
];

/// Wrong files that are accepted, and why.
const ACCEPTED: &[(&str, &str)] = &[
    ("scrape_config_files_d", "the file that brings the job a second time is not part of the data"),
    ("remote_", "the section is not acted on: a monitor refuses to start with it"),
    ("empty_rw_relabel_config", "as remote_write"),
    ("tracing_", "the section has no effect, and a warning says so"),
    ("otlp_", "the section has no effect, and a warning says so"),
    // Entries of discoveries that this build does not know are kept as they are; a monitor refuses to start with them.
    ("azure_", "discovery"),
    ("ec2_", "discovery"),
    ("eureka_", "discovery"),
    ("kubernetes_", "discovery"),
    ("marathon_", "discovery"),
    ("outscale_", "discovery"),
    ("uyuni_", "discovery"),
];

#[test]
fn prometheus_own_files_are_judged_as_prometheus_does() {
    let mut wrong = Vec::new();
    for path in conformance_files() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_bad = name.contains(".bad.") || BAD.iter().any(|(bad, _)| *bad == name);
        match (Config::load(&path), BAD.iter().find(|(bad, _)| *bad == name)) {
            (Err(error), Some((_, text))) if error.to_string().contains(text) => {}
            (Err(error), _) => wrong.push(format!("{name}: {error}")),
            (Ok(_), _) if is_bad && !ACCEPTED.iter().any(|(start, _)| name.starts_with(start)) => {
                wrong.push(format!("{name}: is accepted"));
            }
            (Ok(_), _) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_found_from_the_folder_of_the_file_that_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("jobs")).unwrap();
    write("prometheus.yml", "scrape_config_files: [jobs/*.yml]\nrule_files: ['*.rules', b.rules]\n");
    write("jobs/a.yml", "scrape_configs:\n- job_name: a\n  authorization: {credentials_file: token}\n");
    write("b.rules", "groups: []\n");
    let config = Config::load(&folder.path().join("prometheus.yml")).unwrap();
    assert_eq!(config.scrape_configs[0].job_name, "a");
    assert_eq!(config.rule_file_paths(), [folder.path().join("b.rules")]);
    let printed = config.to_yaml();
    assert!(printed.contains(&format!("credentials_file: {}/jobs/token", folder.path().display())), "{printed}");

    write("jobs/b.yml", "scrape_configs:\n- job_name: a\n");
    let error = Config::load(&folder.path().join("prometheus.yml")).unwrap_err().to_string();
    assert!(error.ends_with("jobs/b.yml: found multiple scrape configs with job name \"a\""), "{error}");
    write("jobs/b.yml", "global: {}\n");
    let error = Config::load(&folder.path().join("prometheus.yml")).unwrap_err().to_string();
    assert!(error.ends_with("line 1: field global not found in type config.ScrapeConfigs"), "{error}");
}

#[test]
fn external_labels_take_variables() {
    let mut config = Config::from_yaml("global: {external_labels: {a: '$X-${Y}', b: $$X}}").unwrap();
    config.expand_external_labels(&|name| (name == "X").then(|| "x".to_owned()));
    assert_eq!(config.global.external_labels.to_string(), r#"{a="x-", b="$X"}"#);
}

fn conformance_files() -> Vec<PathBuf> {
    let Some(folder) = std::env::var_os("FERULA_CONFORMANCE") else {
        eprintln!("FERULA_CONFORMANCE is not set: Prometheus' own configurations are not read");
        return Vec::new();
    };
    let entries = std::fs::read_dir(Path::new(&folder).join("config")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yml"));
    paths.sort();
    paths
}
