//! Jobs as YAML, both ways.

use std::path::PathBuf;

use ferula_model::yaml::{ByteSize, Context, Decode, Encode, Fields, Kind, Node, Struct};

use super::protocol::{escaping_named, protocol_named};
use super::{EscapingScheme, JobError, ScrapeConfig, ScrapeDefaults, ScrapeLimits, ScrapeProtocol};
use crate::discovery::DiscoveryConfig;
use crate::relabel::{NameScheme, RelabelConfig};

impl Default for ScrapeConfig {
    /// A job without a name, which is not valid yet.
    fn default() -> Self {
        Self::new("")
    }
}

/// The protocols of `scrape_protocols`.
fn protocols(node: &Node, context: &mut Context) -> Option<Vec<ScrapeProtocol>> {
    let named = Vec::<Named<ScrapeProtocol>>::decode(node, context)?;
    Some(named.into_iter().map(|Named(protocol)| protocol).collect())
}

fn escaping(node: &Node, context: &mut Context) -> Option<Option<EscapingScheme>> {
    let word = String::decode(node, context)?;
    context.keep(node, escaping_named(&word)).map(Some)
}

/// What a configuration calls by a name, and whose type is of another crate.
struct Named<T>(T);

impl Decode for Named<ScrapeProtocol> {
    fn decode(node: &Node, context: &mut Context) -> Option<Self> {
        let name = String::decode(node, context)?;
        context.keep(node, protocol_named(&name)).map(Self)
    }
}

/// The names of protocols, to be written.
fn names<'a>(protocols: impl IntoIterator<Item = &'a ScrapeProtocol>) -> Vec<String> {
    protocols.into_iter().map(|protocol| protocol.as_str().to_owned()).collect()
}

fn word(scheme: Option<EscapingScheme>) -> String {
    scheme.map(EscapingScheme::as_str).unwrap_or_default().to_owned()
}

impl Decode for NameScheme {
    fn decode(node: &Node, context: &mut Context) -> Option<Self> {
        match String::decode(node, context)?.as_str() {
            "utf8" => Some(Self::Utf8),
            "legacy" => Some(Self::Legacy),
            other => {
                let error = JobError::UnknownScheme { what: "validation scheme", value: other.to_owned() };
                context.trouble(node, error.to_string());
                None
            }
        }
    }
}

impl Encode for NameScheme {
    fn encode(&self) -> Node {
        Node::text(match self {
            Self::Utf8 => "utf8",
            Self::Legacy => "legacy",
        })
    }
}

/// The limits that `global` and jobs share.
fn set_limits(fields: &mut Fields<'_>, limits: &mut ScrapeLimits) {
    let mut size = ByteSize(limits.body_size_limit);
    fields.set("body_size_limit", &mut size);
    limits.body_size_limit = size.0;
    fields.set("sample_limit", &mut limits.sample_limit);
    fields.set("target_limit", &mut limits.target_limit);
    fields.set("label_limit", &mut limits.label_limit);
    fields.set("label_name_length_limit", &mut limits.label_name_length_limit);
    fields.set("label_value_length_limit", &mut limits.label_value_length_limit);
    fields.set("keep_dropped_targets", &mut limits.keep_dropped_targets);
}

fn put_limits(node: Node, limits: &ScrapeLimits) -> Node {
    node.put_some("body_size_limit", &ByteSize(limits.body_size_limit))
        .put_some("sample_limit", &limits.sample_limit)
        .put_some("target_limit", &limits.target_limit)
        .put_some("label_limit", &limits.label_limit)
        .put_some("label_name_length_limit", &limits.label_name_length_limit)
        .put_some("label_value_length_limit", &limits.label_value_length_limit)
}

fn set_path(fields: &mut Fields<'_>, key: &str, place: &mut Option<PathBuf>) {
    let mut text = String::new();
    if fields.set(key, &mut text) && !text.is_empty() {
        *place = Some(text.into());
    }
}

fn path(path: &Option<PathBuf>) -> String {
    path.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
}

/// The scraping keys of `global`, to be read among its others: `self.scrape.fields(fields)`.
impl Struct for ScrapeDefaults {
    const TYPE: &'static str = "config.GlobalConfig";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        let every = fields.set("scrape_interval", &mut self.scrape_interval);
        let within = fields.set("scrape_timeout", &mut self.scrape_timeout);
        if every && !within {
            self.scrape_timeout = self.scrape_timeout.min(self.scrape_interval);
        }
        if self.scrape_timeout > self.scrape_interval {
            let (node, context) = fields.parts();
            context.trouble(node, "global scrape timeout greater than scrape interval");
        }
        fields.set_with("scrape_protocols", &mut self.scrape_protocols, protocols);
        fields.set("scrape_native_histograms", &mut self.scrape_native_histograms);
        fields.set("convert_classic_histograms_to_nhcb", &mut self.convert_classic_histograms_to_nhcb);
        fields.set("always_scrape_classic_histograms", &mut self.always_scrape_classic_histograms);
        fields.set("extra_scrape_metrics", &mut self.extra_scrape_metrics);
        set_path(fields, "scrape_failure_log_file", &mut self.scrape_failure_log_file);
        set_limits(fields, &mut self.limits);
        fields.set("metric_name_validation_scheme", &mut self.metric_name_validation_scheme);
        fields.set_with("metric_name_escaping_scheme", &mut self.metric_name_escaping_scheme, escaping);
    }
}

impl Encode for ScrapeDefaults {
    fn encode(&self) -> Node {
        let node = Node::mapping()
            .put("scrape_interval", &self.scrape_interval)
            .put("scrape_timeout", &self.scrape_timeout)
            .put_some("scrape_protocols", &names(&self.scrape_protocols))
            .put_some("scrape_native_histograms", &self.scrape_native_histograms)
            .put_some("convert_classic_histograms_to_nhcb", &self.convert_classic_histograms_to_nhcb)
            .put_some("always_scrape_classic_histograms", &self.always_scrape_classic_histograms)
            .put_some("extra_scrape_metrics", &self.extra_scrape_metrics)
            .put_some("scrape_failure_log_file", &path(&self.scrape_failure_log_file));
        put_limits(node, &self.limits)
            .put_some("keep_dropped_targets", &self.limits.keep_dropped_targets)
            .put("metric_name_validation_scheme", &self.metric_name_validation_scheme)
            .put_some("metric_name_escaping_scheme", &word(self.metric_name_escaping_scheme))
    }
}

/// Rules of which none may be empty; `whose` names them in the complaint.
fn set_rules(fields: &mut Fields<'_>, key: &str, whose: &str, place: &mut Vec<RelabelConfig>) {
    fields.set_with(key, place, |node, context| {
        if let Kind::Sequence(rules) = &node.kind
            && let Some(empty) = rules.iter().find(|rule| rule.is_null())
        {
            context.trouble(empty, format!("empty or null {whose} relabeling rule in scrape config"));
            return None;
        }
        Vec::decode(node, context)
    });
}

/// What is inherited, and what must hold between the keys, is settled by [`ScrapeConfig::validate`] once `global` is
/// known.
impl Struct for ScrapeConfig {
    const TYPE: &'static str = "config.ScrapeConfig";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("job_name", &mut self.job_name);
        fields.set("scrape_interval", &mut self.scrape_interval);
        fields.set("scrape_timeout", &mut self.scrape_timeout);
        fields.set_with("scrape_protocols", &mut self.scrape_protocols, |node, context| {
            let protocols = protocols(node, context)?;
            if protocols.is_empty() {
                context.trouble(node, "scrape_protocols cannot be empty");
                return None;
            }
            Some(protocols)
        });
        let job = self.job_name.clone();
        fields.set_with("fallback_scrape_protocol", &mut self.fallback_scrape_protocol, |node, context| {
            let text = String::decode(node, context)?;
            let read = protocol_named(&text).map_err(|error| {
                format!("invalid fallback_scrape_protocol for scrape config with job name {job:?}: {error}")
            });
            context.keep(node, read).map(Some)
        });
        fields.set("scrape_native_histograms", &mut self.scrape_native_histograms);
        fields.set("convert_classic_histograms_to_nhcb", &mut self.convert_classic_histograms_to_nhcb);
        fields.set("always_scrape_classic_histograms", &mut self.always_scrape_classic_histograms);
        fields.set("extra_scrape_metrics", &mut self.extra_scrape_metrics);
        fields.set("metrics_path", &mut self.metrics_path);
        fields.set("scheme", &mut self.scheme);
        fields.set("params", &mut self.params);
        fields.set("honor_labels", &mut self.honor_labels);
        fields.set("honor_timestamps", &mut self.honor_timestamps);
        fields.set("track_timestamps_staleness", &mut self.track_timestamps_staleness);
        fields.set("enable_compression", &mut self.enable_compression);
        set_path(fields, "scrape_failure_log_file", &mut self.scrape_failure_log_file);
        self.http.fields(fields);
        set_limits(fields, &mut self.limits);
        fields.set("native_histogram_bucket_limit", &mut self.limits.native_histogram_bucket_limit);
        fields.set("native_histogram_min_bucket_factor", &mut self.limits.native_histogram_min_bucket_factor);
        fields.set("metric_name_validation_scheme", &mut self.metric_name_validation_scheme);
        fields.set_with("metric_name_escaping_scheme", &mut self.metric_name_escaping_scheme, escaping);
        DiscoveryConfig::set_all(fields, &mut self.discovery);
        set_rules(fields, "relabel_configs", "target", &mut self.relabel_configs);
        set_rules(fields, "metric_relabel_configs", "metric", &mut self.metric_relabel_configs);
    }

    fn check(&mut self) -> Result<(), String> {
        if self.job_name.is_empty() {
            return Err(JobError::NoName.to_string());
        }
        self.http.validate().map_err(|error| error.to_string())?;
        match self.discovery.iter().find_map(DiscoveryConfig::impossible_address) {
            Some(address) if self.relabel_configs.is_empty() => Err(JobError::Address(address.to_owned()).to_string()),
            _ => Ok(()),
        }
    }
}

impl Encode for ScrapeConfig {
    fn encode(&self) -> Node {
        let node = Node::mapping()
            .put("job_name", &self.job_name)
            .put_some("honor_labels", &self.honor_labels)
            .put("honor_timestamps", &self.honor_timestamps)
            .put("track_timestamps_staleness", &self.track_timestamps_staleness)
            .put_some("params", &self.params)
            .put_some("scrape_interval", &self.scrape_interval)
            .put_some("scrape_timeout", &self.scrape_timeout)
            .put_some("scrape_protocols", &names(&self.scrape_protocols))
            .put_some("fallback_scrape_protocol", &names(&self.fallback_scrape_protocol).concat());
        let node = put_set(node, "scrape_native_histograms", self.scrape_native_histograms);
        let node = put_set(node, "always_scrape_classic_histograms", self.always_scrape_classic_histograms);
        let node = put_set(node, "convert_classic_histograms_to_nhcb", self.convert_classic_histograms_to_nhcb);
        let node = put_set(node, "extra_scrape_metrics", self.extra_scrape_metrics)
            .put_some("scrape_failure_log_file", &path(&self.scrape_failure_log_file))
            .put_some("metrics_path", &self.metrics_path)
            .put_some("scheme", &self.scheme)
            .put("enable_compression", &self.enable_compression);
        let node = put_limits(node, &self.limits)
            .put_some("native_histogram_bucket_limit", &self.limits.native_histogram_bucket_limit)
            .put_some("native_histogram_min_bucket_factor", &self.limits.native_histogram_min_bucket_factor)
            .put_some("keep_dropped_targets", &self.limits.keep_dropped_targets)
            .put_some("metric_name_validation_scheme", &self.metric_name_validation_scheme)
            .put_some("metric_name_escaping_scheme", &word(self.metric_name_escaping_scheme))
            .put_all(&self.http)
            .put_some("relabel_configs", &self.relabel_configs)
            .put_some("metric_relabel_configs", &self.metric_relabel_configs);
        DiscoveryConfig::put_all(node, &self.discovery)
    }
}

/// A switch that is shown once it is set, even to false.
fn put_set(node: Node, key: &str, value: Option<bool>) -> Node {
    match value {
        Some(value) => node.put(key, &value),
        None => node,
    }
}
