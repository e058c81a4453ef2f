//! Groups as JSON: `[{"targets": ["host:port"], "labels": {"name": "value"}}]`, strictly.

use ferula_model::LabelsBuilder;
use serde_json::Value;

use crate::target::TargetGroup;

/// Reads the groups of a document; their sources are empty. A null counts as nothing, as it does in Go.
pub(super) fn groups(text: &[u8]) -> Result<Vec<TargetGroup>, String> {
    match serde_json::from_slice(text).map_err(|error| error.to_string())? {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => items.into_iter().map(group).collect(),
        other => Err(format!("expected a list of target groups, found {}", kind(&other))),
    }
}

fn group(value: Value) -> Result<TargetGroup, String> {
    let Value::Object(fields) = value else {
        return Err(format!("expected a target group, found {}", kind(&value)));
    };
    let mut group = TargetGroup::default();
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("targets" | "labels", Value::Null) => {}
            ("targets", Value::Array(addresses)) => {
                let addresses: Result<Vec<String>, String> =
                    addresses.into_iter().map(|it| text(it, "targets")).collect();
                group.targets = TargetGroup::of_addresses(addresses?, ferula_model::Labels::empty()).targets;
            }
            ("labels", Value::Object(labels)) => {
                let mut builder = LabelsBuilder::new();
                for (name, value) in labels {
                    builder.set(&name, &text(value, "labels")?);
                }
                group.labels = builder.build();
            }
            ("targets" | "labels", other) => return Err(format!("{name} cannot be {}", kind(&other))),
            _ => return Err(format!("unknown field {name:?}")),
        }
    }
    Ok(group)
}

fn text(value: Value, place: &str) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(format!("{place} holds {}, which is not a string", kind(&other))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_strictly() {
        let read = groups(br#"[{"targets": ["a:1", "b:2"], "labels": {"x": "y"}}, {"targets": []}]"#).unwrap();
        assert_eq!((read.len(), read[0].targets.len(), read[0].labels.get("x")), (2, 2, Some("y")));
        for (wrong, expected) in [
            (r#"{"targets": []}"#, "expected a list of target groups, found an object"),
            (r#"[{"target": []}]"#, "unknown field \"target\""),
            (r#"[{"targets": [1]}]"#, "targets holds a number, which is not a string"),
            (r#"[{"targets": "a"}]"#, "targets cannot be a string"),
            ("[", "EOF while parsing a list at line 1 column 1"),
        ] {
            assert_eq!(groups(wrong.as_bytes()).unwrap_err(), expected);
        }
    }
}
