//! Discovery keys as YAML, both ways.

use ferula_model::Labels;
use ferula_model::yaml::{Context, Decode, Encode, Fields, Kind, Node, Struct};

use super::{DiscoveryConfig, FileDiscovery, HttpDiscovery, UNSUPPORTED};
use crate::target::TargetGroup;

/// A group as files write it: `targets` and `labels`.
#[derive(Debug, Default)]
pub(super) struct StaticGroup(pub(super) TargetGroup);

impl Struct for StaticGroup {
    const TYPE: &'static str =
        "struct { Targets []string \"yaml:\\\"targets\\\"\"; Labels model.LabelSet \"yaml:\\\"labels\\\"\" }";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        let mut addresses: Vec<String> = Vec::new();
        fields.set("targets", &mut addresses);
        self.0.targets = TargetGroup::of_addresses(addresses, Labels::empty()).targets;
        fields.set("labels", &mut self.0.labels);
    }
}

impl Encode for TargetGroup {
    fn encode(&self) -> Node {
        let address = |labels: &Labels| labels.get("__address__").unwrap_or_default().to_owned();
        let addresses: Vec<String> = self.targets.iter().map(address).collect();
        Node::mapping().put("targets", &addresses).put_some("labels", &self.labels)
    }
}

impl Default for FileDiscovery {
    fn default() -> Self {
        Self::new(Vec::<String>::new())
    }
}

impl Struct for FileDiscovery {
    const TYPE: &'static str = "file.plain";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("files", &mut self.files);
        fields.set("refresh_interval", &mut self.refresh_interval);
    }

    fn check(&mut self) -> Result<(), String> {
        FileDiscovery::check(self)
    }
}

impl Encode for FileDiscovery {
    fn encode(&self) -> Node {
        Node::mapping().put("files", &self.files).put_some("refresh_interval", &self.refresh_interval)
    }
}

impl Default for HttpDiscovery {
    fn default() -> Self {
        Self::new("")
    }
}

impl Struct for HttpDiscovery {
    const TYPE: &'static str = "http.plain";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("url", &mut self.url);
        fields.set("refresh_interval", &mut self.refresh_interval);
        self.http.fields(fields);
    }

    fn check(&mut self) -> Result<(), String> {
        self.check_url()?;
        self.http.validate().map_err(|error| error.to_string())
    }
}

impl Encode for HttpDiscovery {
    fn encode(&self) -> Node {
        let node = Node::mapping().put_all(&self.http).put_some("refresh_interval", &self.refresh_interval);
        node.put("url", &self.url)
    }
}

/// A list of which no item may be null.
fn entries<T: Decode>(node: &Node, context: &mut Context, key: &str) -> Option<Vec<T>> {
    if let Kind::Sequence(items) = &node.kind
        && let Some(empty) = items.iter().find(|item| item.is_null())
    {
        context.trouble(empty, format!("empty or null section in {key}"));
        return None;
    }
    Vec::decode(node, context)
}

impl DiscoveryConfig {
    /// Reads all discovery keys of a mapping.
    ///
    /// ```
    /// use ferula_model::yaml;
    /// use ferula_scrape::ScrapeConfig;
    ///
    /// let job: ScrapeConfig = yaml::decode("job_name: a\nstatic_configs:\n- targets: ['a:1']\n").unwrap();
    /// assert_eq!(job.discovery[0].mechanism(), "static");
    /// ```
    pub fn set_all(fields: &mut Fields<'_>, place: &mut Vec<Self>) {
        let mut groups: Vec<StaticGroup> = Vec::new();
        if fields.set_with("static_configs", &mut groups, |node, context| entries(node, context, "static_configs")) {
            let mut groups: Vec<TargetGroup> = groups.into_iter().map(|group| group.0).collect();
            for (at, group) in groups.iter_mut().enumerate() {
                group.source = at.to_string();
            }
            place.push(Self::Static(groups));
        }
        let mut files: Vec<FileDiscovery> = Vec::new();
        fields.set_with("file_sd_configs", &mut files, |node, context| entries(node, context, "file_sd_configs"));
        place.extend(files.into_iter().map(Self::File));
        let mut endpoints: Vec<HttpDiscovery> = Vec::new();
        fields.set_with("http_sd_configs", &mut endpoints, |node, context| entries(node, context, "http_sd_configs"));
        place.extend(endpoints.into_iter().map(|endpoint| Self::Http(Box::new(endpoint))));
        for key in UNSUPPORTED {
            let mut others: Vec<Node> = Vec::new();
            fields.set_with(key, &mut others, |node, context| entries(node, context, key));
            place.extend(others.into_iter().map(|entry| Self::Unsupported { key, entry: Box::new(entry) }));
        }
    }

    /// Adds all discovery keys to a mapping.
    pub fn put_all(mut node: Node, configs: &[Self]) -> Node {
        let statics =
            configs.iter().filter_map(|config| if let Self::Static(groups) = config { Some(groups) } else { None });
        let statics: Vec<&TargetGroup> = statics.flatten().collect();
        let files: Vec<_> =
            configs.iter().filter_map(|config| if let Self::File(file) = config { Some(file) } else { None }).collect();
        let endpoints: Vec<_> = configs
            .iter()
            .filter_map(|config| if let Self::Http(http) = config { Some(&**http) } else { None })
            .collect();
        node = node
            .put_some("static_configs", &statics)
            .put_some("file_sd_configs", &files)
            .put_some("http_sd_configs", &endpoints);
        for key in UNSUPPORTED {
            let of_key = configs.iter().filter_map(|config| match config {
                Self::Unsupported { key: this, entry } if *this == key => Some(entry.without_secrets()),
                _ => None,
            });
            node = node.put_some(key, &Node::sequence(of_key));
        }
        node
    }
}
