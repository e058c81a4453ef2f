//! What one says about Alertmanagers: the keys of an `alertmanagers` entry that do not belong to discovery or relabelling.

use std::time::Duration;

use ferula_http::HttpClientConfig;
use ferula_model::yaml::{Context, Encode, Fields, Node, Struct};

/// How a set of Alertmanagers is reached.
///
/// The other keys of an `alertmanagers` entry (`*_sd_configs`, `relabel_configs`, `alert_relabel_configs`) belong to
/// whoever knows discovery: read them beside these, `self.alertmanager.fields(fields)`.
///
/// ```
/// use ferula_alerting::AlertmanagerConfig;
/// use ferula_model::yaml;
///
/// let config: AlertmanagerConfig = yaml::decode("path_prefix: /alerts\ntimeout: 5s\n").unwrap();
/// assert_eq!(config.post_path(), "/alerts/api/v2/alerts");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertmanagerConfig {
    /// `http` or `https`, where discovery does not say.
    pub scheme: String,
    /// Where the API begins.
    pub path_prefix: String,
    /// How long a request may take; 10 seconds.
    pub timeout: Duration,
    /// How the HTTP client is built.
    pub http: HttpClientConfig,
}

impl Default for AlertmanagerConfig {
    fn default() -> Self {
        Self {
            scheme: "http".to_owned(),
            path_prefix: String::new(),
            timeout: Duration::from_secs(10),
            http: HttpClientConfig::default(),
        }
    }
}

impl AlertmanagerConfig {
    /// The path that alerts are posted to: the prefix and `api/v2/alerts`, without empty or dotted steps.
    pub fn post_path(&self) -> String {
        let mut steps: Vec<&str> = Vec::new();
        for step in self.path_prefix.split('/').chain(["api", "v2", "alerts"]) {
            match step {
                "" | "." => {}
                ".." => {
                    steps.pop();
                }
                step => steps.push(step),
            }
        }
        format!("/{}", steps.join("/"))
    }
}

/// Upstream reads `api_version` and knows only `v2`.
fn api_version(node: &Node, context: &mut Context) -> Option<()> {
    let text = node.scalar().unwrap_or_default();
    if text == "v2" {
        return Some(());
    }
    context.trouble(node, format!("expected Alertmanager api version to be one of [v2] but got {text}"));
    None
}

impl Struct for AlertmanagerConfig {
    const TYPE: &'static str = "config.plain";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("scheme", &mut self.scheme);
        fields.set("path_prefix", &mut self.path_prefix);
        fields.set("timeout", &mut self.timeout);
        fields.set_with("api_version", &mut (), api_version);
        fields.refuse("sigv4", "sigv4 is not supported yet: put a signing proxy in front of the Alertmanager");
        self.http.fields(fields);
    }

    fn check(&mut self) -> Result<(), String> {
        self.http.validate().map_err(|error| error.to_string())
    }
}

impl Encode for AlertmanagerConfig {
    fn encode(&self) -> Node {
        Node::mapping()
            .put_all(&self.http)
            .put("scheme", &self.scheme)
            .put_some("path_prefix", &self.path_prefix)
            .put("timeout", &self.timeout)
            .put("api_version", &"v2".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use ferula_model::yaml;

    use super::*;

    #[test]
    fn paths_are_joined_as_go_joins_them() {
        for (prefix, path) in [
            ("", "/api/v2/alerts"),
            ("/", "/api/v2/alerts"),
            ("am//x/", "/am/x/api/v2/alerts"),
            ("/a/../b/.", "/b/api/v2/alerts"),
        ] {
            let config = AlertmanagerConfig { path_prefix: prefix.to_owned(), ..AlertmanagerConfig::default() };
            assert_eq!(config.post_path(), path);
        }
    }

    #[test]
    fn version_1_of_the_api_is_refused() {
        let error = yaml::decode::<AlertmanagerConfig>("api_version: v1").unwrap_err();
        assert!(error.to_string().ends_with("line 1: expected Alertmanager api version to be one of [v2] but got v1"));
    }
}
