//! Rules as YAML, both ways.

use ferula_model::matcher::Regex;
use ferula_model::yaml::{Context, Decode, Encode, Fields, Node, Struct};

use super::rule::{Action, RelabelConfig, RelabelError, RelabelFields};

impl Decode for Action {
    fn decode(node: &Node, context: &mut Context) -> Option<Self> {
        let text = String::decode(node, context)?;
        context.keep(node, text.parse())
    }
}

impl Struct for RelabelFields {
    const TYPE: &'static str = "relabel.plain";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("source_labels", &mut self.source_labels);
        fields.set("separator", &mut self.separator);
        fields.set_with("regex", &mut self.regex, |node, context| {
            let text = String::decode(node, context)?;
            context.keep(node, Regex::new(&text)).map(|_| text)
        });
        fields.set("modulus", &mut self.modulus);
        fields.set("target_label", &mut self.target_label);
        fields.set("replacement", &mut self.replacement);
        fields.set("action", &mut self.action);
        let (node, context) = fields.parts();
        // Upstream's zero values: a key that is there without a value is not the same as none.
        if node.get("action").is_some_and(Node::is_null) {
            context.trouble(node, RelabelError::EmptyAction.to_string());
        }
        if node.get("regex").is_some_and(Node::is_null) {
            self.regex.clear();
        }
    }
}

impl Decode for RelabelConfig {
    fn decode(node: &Node, context: &mut Context) -> Option<Self> {
        if node.is_null() {
            context.trouble(node, "empty or null relabeling rule");
            return None;
        }
        let fields = RelabelFields::decode(node, context)?;
        context.keep(node, RelabelConfig::new(fields))
    }
}

impl Encode for RelabelConfig {
    fn encode(&self) -> Node {
        let fields = self.fields();
        Node::mapping()
            .put_some("source_labels", &fields.source_labels)
            .put("separator", &fields.separator)
            .put("regex", &fields.regex)
            .put_some("modulus", &fields.modulus)
            .put_some("target_label", &fields.target_label)
            .put_some("replacement", &fields.replacement)
            .put("action", &fields.action.as_str().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use ferula_model::yaml;

    use super::*;

    fn rules(text: &str) -> Result<Vec<RelabelConfig>, String> {
        yaml::decode(text).map_err(|error| error.to_string())
    }

    #[test]
    fn rules_are_read_with_upstreams_defaults() {
        let read = rules("- source_labels: [job, x]\n  target_label: t\n- regex:\n  target_label: t\n").unwrap();
        assert_eq!(read[0].fields().regex, "(.*)");
        assert_eq!(read[1].fields().regex, "");
    }

    #[test]
    fn what_is_wrong_is_said_in_upstreams_words() {
        for (text, expected) in [
            ("- regex: abc(def", "error parsing regexp: missing closing ): `abc(def`"),
            ("- action: null", "relabel action cannot be empty"),
            ("- action: nothing", "unknown relabel action \"nothing\""),
            ("-", "empty or null relabeling rule"),
            ("- modulus: 8\n  action: labeldrop", "labeldrop action requires only 'regex', and no other fields"),
            ("- regexp: x", "line 1: field regexp not found in type relabel.plain"),
        ] {
            let error = rules(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
