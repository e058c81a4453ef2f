//! `alerting`: to whom alerts go.

use std::path::Path;

use ferula_alerting::AlertmanagerConfig;
use ferula_model::go_quote;
use ferula_model::yaml::{Encode, Fields, Node, Struct};
use ferula_scrape::discovery::DiscoveryConfig;
use ferula_scrape::relabel::RelabelConfig;

use super::set_rules;

/// The section `alerting`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlertingConfig {
    /// Rules for the labels of all alerts.
    pub alert_relabel_configs: Vec<RelabelConfig>,
    /// The sets of Alertmanagers.
    pub alertmanagers: Vec<AlertmanagerSection>,
}

/// An entry of `alerting.alertmanagers`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlertmanagerSection {
    /// How they are reached.
    pub alertmanager: AlertmanagerConfig,
    /// Where they are found.
    pub discovery: Vec<DiscoveryConfig>,
    /// Rules for those that were found.
    pub relabel_configs: Vec<RelabelConfig>,
    /// Rules for the labels of alerts that go to them.
    pub alert_relabel_configs: Vec<RelabelConfig>,
}

impl AlertingConfig {
    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        for section in &mut self.alertmanagers {
            section.alertmanager.http.resolve_paths(directory);
            section.discovery.iter_mut().for_each(|discovery| discovery.resolve_paths(directory));
        }
    }
}

impl Struct for AlertingConfig {
    const TYPE: &'static str = "config.plain";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        let complaint = "empty or null alert relabeling rule";
        set_rules(fields, "alert_relabel_configs", complaint, &mut self.alert_relabel_configs);
        fields.set("alertmanagers", &mut self.alertmanagers);
    }
}

impl Encode for AlertingConfig {
    fn encode(&self) -> Node {
        Node::mapping()
            .put_some("alert_relabel_configs", &self.alert_relabel_configs)
            .put_some("alertmanagers", &self.alertmanagers)
    }
}

impl Struct for AlertmanagerSection {
    const TYPE: &'static str = "config.plain";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        self.alertmanager.fields(fields);
        DiscoveryConfig::set_all(fields, &mut self.discovery);
        let complaint = "empty or null Alertmanager target relabeling rule";
        set_rules(fields, "relabel_configs", complaint, &mut self.relabel_configs);
        let complaint = "empty or null Alertmanager alert relabeling rule";
        set_rules(fields, "alert_relabel_configs", complaint, &mut self.alert_relabel_configs);
    }

    fn check(&mut self) -> Result<(), String> {
        self.alertmanager.check()?;
        // Relabelling may mend an address.
        match self.discovery.iter().find_map(DiscoveryConfig::impossible_address) {
            Some(address) if self.relabel_configs.is_empty() => {
                Err(format!("{} is not a valid hostname", go_quote(address)))
            }
            _ => Ok(()),
        }
    }
}

impl Encode for AlertmanagerSection {
    fn encode(&self) -> Node {
        let node = self
            .alertmanager
            .encode()
            .put_some("relabel_configs", &self.relabel_configs)
            .put_some("alert_relabel_configs", &self.alert_relabel_configs);
        DiscoveryConfig::put_all(node, &self.discovery)
    }
}
