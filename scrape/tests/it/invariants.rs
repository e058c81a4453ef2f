//! What must hold for every relabelling configuration. A fuzz target looks for one for which it does not; its corpus is
//! replayed with the tests.

use ferula_model::yaml::{self, Encode, Node};
use ferula_model::{Labels, LabelsBuilder};
use ferula_scrape::relabel::{RelabelConfig, relabel, relabel_steps};

/// A configuration is refused with reasons or read; what is read is written and read as the same, and applying it ends well,
/// at once or step by step.
pub(crate) fn relabelling(text: &str) {
    let Ok(rules) = yaml::decode::<Vec<RelabelConfig>>(text) else { return };
    let write = |rules: &[RelabelConfig]| yaml::to_string(&Node::sequence(rules.iter().map(Encode::encode)));
    let written = write(&rules);
    let again: Vec<RelabelConfig> =
        yaml::decode(&written).unwrap_or_else(|error| panic!("written but not read: {error}\n{written}"));
    assert_eq!(written, write(&again));
    let labels = [
        ("__address__", "db-1.example:9100"),
        ("__meta_kubernetes_pod_label_app", "ÄPFEL und Birnen"),
        ("__tmp", "3"),
        ("env", ""),
        ("job", "node"),
    ];
    let apply = |rules: &[RelabelConfig]| {
        let mut builder = LabelsBuilder::new();
        for (name, value) in labels {
            builder.set(name, value);
        }
        relabel(&mut builder, rules).then(|| builder.build())
    };
    let result = apply(&rules);
    assert_eq!(result, apply(&again), "{written}");
    if let Some(labels) = &result {
        assert!(labels.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()), "{labels}");
    }
    let steps = relabel_steps(&Labels::from_pairs(labels), &rules);
    assert!(steps.len() <= rules.len());
}
