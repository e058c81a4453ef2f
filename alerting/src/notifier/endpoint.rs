//! From discovered labels to the URLs of Alertmanagers.

use ferula_model::{Labels, go_quote};
use thiserror::Error;

use super::{AlertRelabel, AlertmanagerConfig};

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const PATH: &str = "__alerts_path__";

/// The Alertmanagers of a set, as URLs that alerts are posted to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Those in use.
    pub active: Vec<String>,
    /// Those that relabelling dropped, as they were before it.
    pub dropped: Vec<String>,
}

impl Endpoints {
    /// These and others, each URL once.
    #[must_use]
    pub fn and(mut self, other: Endpoints) -> Self {
        for url in other.active {
            if !self.active.contains(&url) {
                self.active.push(url);
            }
        }
        self.dropped.extend(other.dropped);
        self
    }
}

/// A discovered address that is none; its whole group is out of use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// A URL or a path where host and port should be.
    #[error("{} is not a valid hostname", go_quote(.0))]
    Address(String),
}

/// The Alertmanagers of one target group: labels of the targets, over labels of the group, over what the set says, then
/// relabelled.
///
/// ```
/// use ferula_alerting::{AlertmanagerConfig, endpoints_of_group};
/// use ferula_model::Labels;
///
/// let targets = [Labels::from_pairs([("__address__", "127.0.0.1:9093")])];
/// let found = endpoints_of_group(&AlertmanagerConfig::default(), &targets, &Labels::empty(), None)?;
/// assert_eq!(found.active, ["http://127.0.0.1:9093/api/v2/alerts"]);
/// # Ok::<(), ferula_alerting::EndpointError>(())
/// ```
///
/// # Errors
///
/// See [`EndpointError`].
pub fn endpoints_of_group(
    config: &AlertmanagerConfig,
    targets: &[Labels],
    group: &Labels,
    relabel: Option<&dyn AlertRelabel>,
) -> Result<Endpoints, EndpointError> {
    let mut found = Endpoints::default();
    for target in targets {
        let mut labels = group.to_builder();
        labels.set(SCHEME, &config.scheme).set(PATH, &config.post_path());
        for (name, value) in target {
            labels.set(name, value);
        }
        let before = labels.build();
        let after = match relabel {
            Some(rules) => rules.relabel(before.clone()),
            None => Some(before.clone()),
        };
        let Some(after) = after else {
            found.dropped.push(url(&before));
            continue;
        };
        let address = after.get(ADDRESS).unwrap_or_default();
        if address.contains('/') {
            return Err(EndpointError::Address(address.to_owned()));
        }
        found = found.and(Endpoints { active: vec![url(&after)], dropped: Vec::new() });
    }
    Ok(found)
}

fn url(labels: &Labels) -> String {
    let part = |name| labels.get(name).unwrap_or_default();
    format!("{}://{}{}", part(SCHEME), part(ADDRESS), part(PATH))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(address: &str) -> Labels {
        Labels::from_pairs([(ADDRESS, address)])
    }

    #[test]
    fn relabelling_chooses_and_the_dropped_are_remembered() {
        let config = AlertmanagerConfig::default();
        let rules = |labels: Labels| {
            labels.get(ADDRESS).filter(|a| a.starts_with('b')).is_none().then(|| {
                let mut labels = labels.to_builder();
                labels.set(SCHEME, "https");
                labels.build()
            })
        };
        let targets = [address("a:1"), address("b:1"), address("a:1")];
        let found = endpoints_of_group(&config, &targets, &Labels::empty(), Some(&rules)).unwrap();
        assert_eq!(found.active, ["https://a:1/api/v2/alerts"]);
        assert_eq!(found.dropped, ["http://b:1/api/v2/alerts"]);
    }

    #[test]
    fn an_address_with_a_path_spoils_its_group() {
        let targets = [address("a:1"), address("http://b:1")];
        let error = endpoints_of_group(&AlertmanagerConfig::default(), &targets, &Labels::empty(), None).unwrap_err();
        assert_eq!(error.to_string(), "\"http://b:1\" is not a valid hostname");
    }
}
