//! Targets: what is scraped, and how does a discovered group become it?
//!
//! ```text
//!  group labels + target labels --defaults of the job--> discovered labels --relabel_configs--> target | dropped | error
//! ```
//!
//! Labels that begin with `__` steer the scrape (`__address__`, `__scheme__`, `__metrics_path__`, `__param_*`,
//! `__scrape_interval__`, ...) and never reach a series; the others are attached to every one of them.

use std::path::PathBuf;
use std::time::Duration;

use ferula_model::{Labels, LabelsBuilder, format_duration, parse_duration};
use thiserror::Error;

use crate::job::ScrapeConfig;
use crate::relabel::relabel;
use crate::schedule::fnv1a;

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const METRICS_PATH: &str = "__metrics_path__";
const INTERVAL: &str = "__scrape_interval__";
const TIMEOUT: &str = "__scrape_timeout__";
const NATIVE_HISTOGRAMS: &str = "__scrape_native_histograms__";
const CONVERT_CLASSIC: &str = "__convert_classic_histograms_to_nhcb__";
const ALWAYS_CLASSIC: &str = "__always_scrape_classic_histograms__";
const UNIX_SOCKET: &str = "__unix_socket__";
const PARAM_PREFIX: &str = "__param_";
const META_PREFIX: &str = "__meta_";

/// Targets that a discovery found together, with the labels that they share. A newer group of the same source replaces
/// the older one; a group without targets deletes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetGroup {
    /// One label set per target; `__address__` says where it is.
    pub targets: Vec<Labels>,
    /// Labels of all of them; the target's own win.
    pub labels: Labels,
    /// What names the group within its discovery.
    pub source: String,
}

impl TargetGroup {
    /// A group of addresses.
    ///
    /// ```
    /// use ferula_model::Labels;
    /// use ferula_scrape::TargetGroup;
    ///
    /// let group = TargetGroup::of_addresses(["db-1:9100", "db-2:9100"], Labels::from_pairs([("tier", "db")]));
    /// assert_eq!(group.targets.len(), 2);
    /// ```
    pub fn of_addresses<A: AsRef<str>>(addresses: impl IntoIterator<Item = A>, labels: Labels) -> Self {
        let targets = addresses.into_iter().map(|address| Labels::from_pairs([(ADDRESS, address.as_ref())])).collect();
        Self { targets, labels, source: String::new() }
    }
}

/// Something that is scraped.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The labels attached to every series: none begins with `__`.
    pub labels: Labels,
    /// The labels before relabelling.
    pub discovered_labels: Labels,
    /// Where it is scraped, parameters included.
    pub url: String,
    /// How often.
    pub interval: Duration,
    /// How long a scrape may take; at most the interval.
    pub timeout: Duration,
    /// Which forms of histograms are taken.
    pub histograms: HistogramForms,
    /// The UNIX socket through which it is reached.
    pub unix_socket: Option<PathBuf>,
    /// FNV-1a over all labels after relabelling and the URL: targets of the same identity are one target.
    pub identity: u64,
}

/// Which forms of histograms a scrape takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistogramForms {
    /// Native histograms are asked for and taken.
    pub native: bool,
    /// Classic histograms become native ones with custom buckets.
    pub convert_classic: bool,
    /// Classic histograms are taken even beside native ones.
    pub always_classic: bool,
}

/// What relabelling decided about a discovered target.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is scraped.
    Keep(Box<Target>),
    /// A rule dropped it; these are its labels before relabelling.
    Drop(Labels),
}

/// Why a discovered target cannot be scraped.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Nothing says where it is.
    #[error("no address")]
    NoAddress,
    /// An address is a host and a port.
    #[error("{0:?} is not a valid hostname")]
    Address(String),
    /// A label that steers the schedule is not a positive duration.
    #[error("error parsing scrape {what}: {problem}")]
    Duration {
        /// `interval` or `timeout`.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The timeout is longer than the interval.
    #[error("scrape timeout cannot be greater than scrape interval ({timeout:?} > {interval:?})")]
    TimeoutBeyondInterval {
        /// The timeout, as written.
        timeout: String,
        /// The interval, as written.
        interval: String,
    },
    /// A label that switches something is neither `true` nor `false`.
    #[error("error parsing {label}: invalid boolean {value:?}")]
    Switch {
        /// The label.
        label: &'static str,
        /// Its value.
        value: String,
    },
}

/// Every target of a group, judged one by one.
pub fn targets_of_group(config: &ScrapeConfig, group: &TargetGroup) -> Vec<Result<Verdict, TargetError>> {
    group.targets.iter().map(|labels| judge(config, labels, &group.labels)).collect()
}

fn judge(config: &ScrapeConfig, target: &Labels, group: &Labels) -> Result<Verdict, TargetError> {
    let mut labels = group.to_builder();
    for (name, value) in target {
        labels.set(name, value);
    }
    add_defaults(&mut labels, config);
    let discovered_labels = labels.build();
    if !relabel(&mut labels, &config.relabel_configs) {
        return Ok(Verdict::Drop(discovered_labels));
    }
    let address = labels.get(ADDRESS).ok_or(TargetError::NoAddress)?;
    if address.contains('/') {
        return Err(TargetError::Address(address.to_owned()));
    }
    let (interval, timeout) = cadence(&labels)?;
    let histograms = HistogramForms {
        native: switch(&labels, NATIVE_HISTOGRAMS)?,
        convert_classic: switch(&labels, CONVERT_CLASSIC)?,
        always_classic: switch(&labels, ALWAYS_CLASSIC)?,
    };
    if labels.get("instance").is_none() {
        let address = address.to_owned();
        labels.set("instance", &address);
    }
    labels.retain(|name, _| !name.starts_with(META_PREFIX));
    let url = url(&labels, config);
    let all = labels.build();
    let identity = fnv1a(format!("{:016}", all.hash64()).as_bytes(), url.as_bytes());
    let unix_socket = labels.get(UNIX_SOCKET).map(PathBuf::from);
    let labels = Labels::from_sorted(all.iter().filter(|(name, _)| !name.starts_with("__")));
    let target = Target { labels, discovered_labels, url, interval, timeout, histograms, unix_socket, identity };
    Ok(Verdict::Keep(Box::new(target)))
}

fn add_defaults(labels: &mut LabelsBuilder, config: &ScrapeConfig) {
    let mut add = |name: &str, value: &str| {
        if labels.get(name).is_none() {
            labels.set(name, value);
        }
    };
    let text = |on: bool| if on { "true" } else { "false" };
    add("job", &config.job_name);
    add(INTERVAL, &format_duration(config.scrape_interval));
    add(TIMEOUT, &format_duration(config.scrape_timeout));
    add(METRICS_PATH, &config.metrics_path);
    add(SCHEME, &config.scheme);
    add(NATIVE_HISTOGRAMS, text(config.scrape_native_histograms()));
    add(CONVERT_CLASSIC, text(config.convert_classic_histograms()));
    add(ALWAYS_CLASSIC, text(config.always_scrape_classic_histograms()));
    for (name, values) in &config.params {
        if let Some(first) = values.first() {
            add(&format!("{PARAM_PREFIX}{name}"), first);
        }
    }
}

fn cadence(labels: &LabelsBuilder) -> Result<(Duration, Duration), TargetError> {
    let read = |label, what| {
        let text = labels.get(label).unwrap_or_default();
        let duration =
            parse_duration(text).map_err(|error| TargetError::Duration { what, problem: error.to_string() })?;
        if duration.is_zero() {
            return Err(TargetError::Duration { what, problem: format!("scrape {what} cannot be 0") });
        }
        Ok((duration, text.to_owned()))
    };
    let (interval, interval_text) = read(INTERVAL, "interval")?;
    let (timeout, timeout_text) = read(TIMEOUT, "timeout")?;
    if timeout > interval {
        return Err(TargetError::TimeoutBeyondInterval { timeout: timeout_text, interval: interval_text });
    }
    Ok((interval, timeout))
}

/// A boolean as Go's `strconv.ParseBool` reads it.
fn switch(labels: &LabelsBuilder, label: &'static str) -> Result<bool, TargetError> {
    match labels.get(label).unwrap_or_default() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(TargetError::Switch { label, value: other.to_owned() }),
    }
}

fn url(labels: &LabelsBuilder, config: &ScrapeConfig) -> String {
    let mut params = config.params.clone();
    for (name, value) in labels.iter() {
        let Some(name) = name.strip_prefix(PARAM_PREFIX) else { continue };
        let values = params.entry(name.to_owned()).or_default();
        match values.first_mut() {
            Some(first) => value.clone_into(first),
            None => values.push(value.to_owned()),
        }
    }
    let mut out = format!("{}://", labels.get(SCHEME).unwrap_or_default());
    let host = labels.get(ADDRESS).unwrap_or_default();
    out.push_str(if host.is_empty() { "localhost" } else { host });
    let path = labels.get(METRICS_PATH).unwrap_or_default();
    if !path.is_empty() && !path.starts_with('/') {
        out.push('/');
    }
    escape_into(&mut out, path, |byte| b"-_.~$&+,/:;=@".contains(&byte));
    let mut separator = '?';
    for (name, values) in &params {
        for value in values {
            out.push(separator);
            escape_query_into(&mut out, name);
            out.push('=');
            escape_query_into(&mut out, value);
            separator = '&';
        }
    }
    out
}

fn escape_query_into(out: &mut String, text: &str) {
    for (i, word) in text.split(' ').enumerate() {
        if i > 0 {
            out.push('+');
        }
        escape_into(out, word, |byte| b"-_.~".contains(&byte));
    }
}

/// Percent-encodes all but letters, digits and what `keeps` says, as Go's `net/url` does.
fn escape_into(out: &mut String, text: &str, keeps: impl Fn(u8) -> bool) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || keeps(byte) {
            out.push(char::from(byte));
        } else {
            out.extend(['%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relabel::{Action, RelabelConfig, RelabelFields};

    fn config() -> ScrapeConfig {
        let mut config = ScrapeConfig::new("node");
        config.scrape_interval = Duration::from_secs(15);
        config.scrape_timeout = Duration::from_secs(10);
        config
    }

    fn judged(config: &ScrapeConfig, target: &[(&str, &str)]) -> Result<Verdict, TargetError> {
        judge(
            config,
            &Labels::from_pairs(target.iter().copied()),
            &Labels::from_pairs([("env", "prod"), ("a", "group")]),
        )
    }

    fn kept(config: &ScrapeConfig, target: &[(&str, &str)]) -> Target {
        match judged(config, target).unwrap() {
            Verdict::Keep(target) => *target,
            Verdict::Drop(labels) => panic!("dropped {labels}"),
        }
    }

    #[test]
    fn a_target_has_the_labels_of_group_target_and_job() {
        let target = kept(&config(), &[("__address__", "h:1"), ("a", "own"), ("__meta_x", "y")]);
        assert_eq!(target.labels.to_string(), r#"{a="own", env="prod", instance="h:1", job="node"}"#);
        assert_eq!(target.url, "http://h:1/metrics");
        assert_eq!((target.interval, target.timeout), (Duration::from_secs(15), Duration::from_secs(10)));
        assert_eq!(target.discovered_labels.get("__scrape_interval__"), Some("15s"));
        assert_eq!(target.discovered_labels.get("__meta_x"), Some("y"));
    }

    #[test]
    fn labels_steer_the_scrape() {
        let mut config = config();
        config.params.insert("q".into(), vec!["one".into(), "two".into()]);
        let target = kept(
            &config,
            &[
                ("__address__", "h"),
                ("__scheme__", "https"),
                ("__metrics_path__", "probe a?b"),
                ("__param_q", "x y&z"),
                ("__param_module", "http*"),
                ("__scrape_interval__", "1m"),
                ("__scrape_timeout__", "1m"),
                ("__scrape_native_histograms__", "true"),
            ],
        );
        assert_eq!(target.url, "https://h/probe%20a%3Fb?module=http%2A&q=x+y%26z&q=two");
        assert_eq!(target.interval, Duration::from_mins(1));
        assert!(target.histograms.native);
    }

    #[test]
    fn targets_that_cannot_be_scraped_say_why() {
        for (labels, expected) in [
            (vec![], "no address"),
            (vec![("__address__", "http://h")], "\"http://h\" is not a valid hostname"),
            (
                vec![("__address__", "h"), ("__scrape_interval__", "0s")],
                "error parsing scrape interval: scrape interval cannot be 0",
            ),
            (
                vec![("__address__", "h"), ("__scrape_timeout__", "x")],
                "error parsing scrape timeout: not a valid duration string: \"x\"",
            ),
            (
                vec![("__address__", "h"), ("__scrape_timeout__", "30s")],
                "scrape timeout cannot be greater than scrape interval (\"30s\" > \"15s\")",
            ),
        ] {
            assert_eq!(judged(&config(), &labels).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_rule_can_drop_a_target() {
        let mut config = config();
        let fields = RelabelFields { source_labels: vec!["env".into()], action: Action::Drop, ..Default::default() };
        config.relabel_configs = vec![RelabelConfig::new(fields).unwrap()];
        assert!(matches!(judged(&config, &[("__address__", "h")]), Ok(Verdict::Drop(labels)) if labels.len() == 11));
    }

    #[test]
    fn identity_follows_labels_and_address() {
        let identity = |labels: &[(&str, &str)]| kept(&config(), labels).identity;
        assert_eq!(identity(&[("__address__", "h")]), identity(&[("__address__", "h"), ("__meta_x", "1")]));
        assert_ne!(identity(&[("__address__", "h")]), identity(&[("__address__", "h"), ("x", "1")]));
        assert_ne!(identity(&[("__address__", "h")]), identity(&[("__address__", "h"), ("__param_x", "1")]));
    }
}
