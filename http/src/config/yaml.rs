//! The configuration as YAML, both ways.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ferula_model::yaml::{Context, Decode, Encode, Fields, Node, Struct};

use super::{
    Authorization, BasicAuth, HeaderValues, HttpClientConfig, HttpHeaders, OAuth2, ProxyConfig, SecretSource,
    TlsConfig, TlsVersion,
};

/// Reads a key whose value names a file.
fn set_path(fields: &mut Fields<'_>, key: &str, place: &mut Option<PathBuf>) {
    let mut text = String::new();
    if fields.set(key, &mut text) && !text.is_empty() {
        *place = Some(text.into());
    }
}

fn path(path: &Option<PathBuf>) -> String {
    path.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
}

/// `key`, `key_file`, `key_ref`.
fn set_source(fields: &mut Fields<'_>, key: &str, place: &mut SecretSource) {
    fields.set(key, &mut place.value);
    set_path(fields, &format!("{key}_file"), &mut place.file);
    fields.set(&format!("{key}_ref"), &mut place.reference);
}

fn put_source(node: Node, key: &str, source: &SecretSource, hidden: bool) -> Node {
    let node =
        if hidden { node.put_some(key, &source.value) } else { node.put_some(key, &source.value.expose().to_owned()) };
    node.put_some(&format!("{key}_file"), &path(&source.file)).put_some(&format!("{key}_ref"), &source.reference)
}

/// Its keys stand among those of what they configure: `self.http.fields(fields)`. Whoever reads them calls
/// [`HttpClientConfig::validate`] when all keys are read.
impl Struct for HttpClientConfig {
    const TYPE: &'static str = "config.HTTPClientConfig";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("basic_auth", &mut self.basic_auth);
        fields.set("authorization", &mut self.authorization);
        fields.set("oauth2", &mut self.oauth2);
        fields.set("bearer_token", &mut self.bearer_token);
        set_path(fields, "bearer_token_file", &mut self.bearer_token_file);
        fields.set("tls_config", &mut self.tls_config);
        fields.set("follow_redirects", &mut self.follow_redirects);
        fields.set("enable_http2", &mut self.enable_http2);
        self.proxy.fields(fields);
        fields.set("http_headers", &mut self.http_headers);
    }

    fn check(&mut self) -> Result<(), String> {
        self.validate().map_err(|error| error.to_string())
    }
}

impl Encode for HttpClientConfig {
    fn encode(&self) -> Node {
        let node = Node::mapping()
            .put_some("basic_auth", &self.basic_auth)
            .put_some("authorization", &self.authorization)
            .put_some("oauth2", &self.oauth2)
            .put_some("bearer_token", &self.bearer_token)
            .put_some("bearer_token_file", &path(&self.bearer_token_file));
        let node =
            if self.tls_config == TlsConfig::default() { node } else { node.put("tls_config", &self.tls_config) };
        node.put("follow_redirects", &self.follow_redirects)
            .put("enable_http2", &self.enable_http2)
            .put_all(&self.proxy)
            .put_some("http_headers", &self.http_headers)
    }
}

impl Struct for BasicAuth {
    const TYPE: &'static str = "config.plain";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        set_source(fields, "username", &mut self.username);
        set_source(fields, "password", &mut self.password);
    }
}

impl Encode for BasicAuth {
    fn encode(&self) -> Node {
        put_source(put_source(Node::mapping(), "username", &self.username, false), "password", &self.password, true)
    }
}

impl Struct for Authorization {
    const TYPE: &'static str = "config.plain";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("type", &mut self.kind);
        set_source(fields, "credentials", &mut self.credentials);
    }
}

impl Encode for Authorization {
    fn encode(&self) -> Node {
        put_source(Node::mapping().put_some("type", &self.kind), "credentials", &self.credentials, true)
    }
}

/// Upstream's other grant type and what belongs to it.
const JWT_KEYS: [&str; 8] = [
    "client_certificate_key",
    "client_certificate_key_file",
    "client_certificate_key_ref",
    "client_certificate_key_id",
    "signature_algorithm",
    "iss",
    "audience",
    "claims",
];

impl Struct for OAuth2 {
    const TYPE: &'static str = "config.plain";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("client_id", &mut self.client_id);
        set_source(fields, "client_secret", &mut self.client_secret);
        for key in JWT_KEYS {
            fields.refuse(key, &format!("oauth2 {key}: the JWT bearer grant is not supported"));
        }
        let mut grant = String::new();
        fields.set_with("grant_type", &mut grant, |node, context| {
            let text = String::decode(node, context)?;
            if !matches!(text.as_str(), "" | "client_credentials") {
                context.trouble(node, format!("oauth2 grant_type {text:?} is not supported"));
            }
            Some(text)
        });
        fields.set("scopes", &mut self.scopes);
        fields.set("token_url", &mut self.token_url);
        fields.set("endpoint_params", &mut self.endpoint_params);
        fields.set("tls_config", &mut self.tls_config);
        self.proxy.fields(fields);
    }
}

impl Encode for OAuth2 {
    fn encode(&self) -> Node {
        let node = Node::mapping().put("client_id", &self.client_id);
        let node = put_source(node, "client_secret", &self.client_secret, true)
            .put_some("scopes", &self.scopes)
            .put("token_url", &self.token_url)
            .put_some("endpoint_params", &self.endpoint_params);
        let node =
            if self.tls_config == TlsConfig::default() { node } else { node.put("tls_config", &self.tls_config) };
        node.put_all(&self.proxy)
    }
}

impl Struct for TlsConfig {
    const TYPE: &'static str = "config.plain";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("ca", &mut self.ca);
        fields.set("cert", &mut self.cert);
        fields.set("key", &mut self.key);
        set_path(fields, "ca_file", &mut self.ca_file);
        set_path(fields, "cert_file", &mut self.cert_file);
        set_path(fields, "key_file", &mut self.key_file);
        for key in ["ca_ref", "cert_ref", "key_ref"] {
            fields.refuse(key, &format!("tls_config {key}: no secret manager is configured"));
        }
        fields.set("server_name", &mut self.server_name);
        fields.set("insecure_skip_verify", &mut self.insecure_skip_verify);
        fields.set("min_version", &mut self.min_version);
        fields.set("max_version", &mut self.max_version);
    }

    fn check(&mut self) -> Result<(), String> {
        self.validate().map_err(|error| error.to_string())
    }
}

impl Encode for TlsConfig {
    fn encode(&self) -> Node {
        Node::mapping()
            .put_some("ca", &self.ca)
            .put_some("cert", &self.cert)
            .put_some("key", &self.key)
            .put_some("ca_file", &path(&self.ca_file))
            .put_some("cert_file", &path(&self.cert_file))
            .put_some("key_file", &path(&self.key_file))
            .put_some("server_name", &self.server_name)
            .put("insecure_skip_verify", &self.insecure_skip_verify)
            .put_some("min_version", &self.min_version)
            .put_some("max_version", &self.max_version)
    }
}

impl Decode for TlsVersion {
    fn decode(node: &Node, context: &mut Context) -> Option<Self> {
        let text = String::decode(node, context)?;
        context.keep(node, text.parse())
    }
}

impl Encode for TlsVersion {
    fn encode(&self) -> Node {
        Node::text(self.as_str())
    }
}

impl Struct for ProxyConfig {
    const TYPE: &'static str = "config.ProxyConfig";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("proxy_url", &mut self.proxy_url);
        fields.set("no_proxy", &mut self.no_proxy);
        fields.set("proxy_from_environment", &mut self.proxy_from_environment);
        fields.set("proxy_connect_header", &mut self.proxy_connect_header);
    }
}

impl Encode for ProxyConfig {
    fn encode(&self) -> Node {
        Node::mapping()
            .put_some("proxy_url", &without_password(self.proxy_url.expose()))
            .put_some("no_proxy", &self.no_proxy)
            .put_some("proxy_from_environment", &self.proxy_from_environment)
            .put_some("proxy_connect_header", &self.proxy_connect_header)
    }
}

/// A URL with `xxxxx` for its password, as Go shows it.
fn without_password(url: &str) -> String {
    let Some((before, host)) = url.rsplit_once('@') else { return url.to_owned() };
    let start = before.find("://").map_or(0, |at| at + 3);
    match before.get(start..).and_then(|credentials| credentials.split_once(':')) {
        Some((name, _)) => format!("{}{name}:xxxxx@{host}", before.get(..start).unwrap_or_default()),
        None => url.to_owned(),
    }
}

impl Decode for HttpHeaders {
    fn decode(node: &Node, context: &mut Context) -> Option<Self> {
        let headers = Self(BTreeMap::decode(node, context)?);
        context.keep(node, headers.validate()).map(|()| headers)
    }
}

impl Encode for HttpHeaders {
    fn encode(&self) -> Node {
        self.0.encode()
    }
}

impl Struct for HeaderValues {
    const TYPE: &'static str = "config.Header";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("values", &mut self.values);
        fields.set("secrets", &mut self.secrets);
        let mut files: Vec<String> = Vec::new();
        fields.set("files", &mut files);
        self.files = files.into_iter().map(PathBuf::from).collect();
    }
}

impl Encode for HeaderValues {
    fn encode(&self) -> Node {
        let files: Vec<String> = self.files.iter().map(|file| file.display().to_string()).collect();
        Node::mapping().put_some("values", &self.values).put_some("secrets", &self.secrets).put_some("files", &files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferula_model::yaml;

    #[test]
    fn what_is_read_is_written_again_without_secrets() {
        let text = "\
basic_auth:
  username: admin
  password: hunter2
tls_config:
  ca_file: ca.pem
  insecure_skip_verify: true
  min_version: TLS12
follow_redirects: false
enable_http2: true
proxy_url: http://u:pw@proxy:1
no_proxy: localhost
http_headers:
  X-A:
    values:
    - shown
    secrets:
    - hidden
";
        let config: HttpClientConfig = yaml::decode(text).unwrap();
        assert_eq!(config.basic_auth.as_ref().unwrap().password.value.expose(), "hunter2");
        assert_eq!(config.tls_config.min_version, Some(TlsVersion::Tls12));
        let shown = text.replace("hunter2", "<secret>").replace("hidden", "<secret>").replace(":pw@", ":xxxxx@");
        assert_eq!(yaml::to_string(&config), shown);
    }

    #[test]
    fn what_is_wrong_has_its_line_and_upstreams_words() {
        for (text, expected) in [
            ("basic_aut: x", "line 1: field basic_aut not found in type config.HTTPClientConfig"),
            ("basic_auth:\n  user: x", "line 2: field user not found in type config.plain"),
            (
                "bearer_token: a\nbearer_token_file: b",
                "at most one of bearer_token & bearer_token_file must be configured",
            ),
            ("tls_config:\n  min_version: TLS9", "line 2: unknown TLS version: TLS9"),
            ("http_headers:\n  host:\n    values: [x]", "setting header \"Host\" is not allowed"),
        ] {
            let error = yaml::decode::<HttpClientConfig>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
