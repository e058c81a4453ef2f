//! Attributes as labels.

use std::collections::BTreeMap;

use ferula_model::Labels;
use opentelemetry::InstrumentationScope;

use crate::translate::label_name;

/// Labels of attributes. Where two of them become the same label, their values are joined by semicolons in the order of the
/// attributes' names.
pub(super) fn of<'a>(attributes: impl IntoIterator<Item = (&'a str, impl AsRef<str>)>) -> Labels {
    let mut sorted: Vec<_> = attributes.into_iter().filter(|(name, _)| *name != "__name__").collect();
    sorted.sort_by_key(|(name, _)| *name);
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in sorted {
        let Some(label) = label_name(name) else { continue };
        labels
            .entry(label)
            .and_modify(|joined| {
                joined.push(';');
                joined.push_str(value.as_ref());
            })
            .or_insert_with(|| value.as_ref().to_owned());
    }
    Labels::from_sorted(labels)
}

/// The labels that name a scope.
pub(super) fn of_scope(scope: &InstrumentationScope) -> Labels {
    let attributes = of(scope.attributes().map(|pair| (pair.key.as_str(), pair.value.as_str())));
    let mut labels = Labels::empty().to_builder();
    for (name, value) in &attributes {
        labels.set(&format!("otel_scope_{name}"), value);
    }
    labels.set("otel_scope_name", scope.name());
    labels.set("otel_scope_version", scope.version().unwrap_or_default());
    labels.set("otel_scope_schema_url", scope.schema_url().unwrap_or_default());
    labels.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_that_become_one_label_are_joined() {
        let labels = of([("b.c", "2"), ("b_c", "3"), ("__name__", "x"), ("a", "1"), ("...", "4"), ("b-c", "1")]);
        assert_eq!(labels.to_string(), r#"{a="1", b_c="1;2;3"}"#);
    }
}
