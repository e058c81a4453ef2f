//! Applying rules, in order, until one drops the label set.

use ferula_model::{Labels, LabelsBuilder};
use md5::{Digest, Md5};

use super::rule::{Action, RelabelConfig};

/// Applies rules to a label set in place. False if a rule drops the set; what it then holds has no meaning.
///
/// ```
/// use ferula_model::LabelsBuilder;
/// use ferula_scrape::relabel::{Action, RelabelConfig, RelabelFields, relabel};
///
/// let rules = [
///     RelabelConfig::new(RelabelFields {
///         source_labels: vec!["__address__".into()],
///         regex: "(.+):\\d+".into(),
///         target_label: "host".into(),
///         ..RelabelFields::default()
///     })?,
///     RelabelConfig::new(RelabelFields {
///         source_labels: vec!["host".into()],
///         regex: "test-.*".into(),
///         action: Action::Drop,
///         ..RelabelFields::default()
///     })?,
/// ];
/// let mut labels = LabelsBuilder::new();
/// labels.set("__address__", "db-1:9100");
/// assert!(relabel(&mut labels, &rules));
/// assert_eq!(labels.get("host"), Some("db-1"));
/// # Ok::<(), ferula_scrape::relabel::RelabelError>(())
/// ```
pub fn relabel(labels: &mut LabelsBuilder, rules: &[RelabelConfig]) -> bool {
    let mut source = String::new();
    rules.iter().all(|rule| apply(labels, rule, &mut source))
}

/// What one rule made of a label set, for the step-by-step view.
#[derive(Clone, Debug, PartialEq)]
pub struct RelabelStep<'a> {
    /// The rule.
    pub rule: &'a RelabelConfig,
    /// The label set after it; empty if it was dropped.
    pub output: Labels,
    /// Whether the label set survived.
    pub keep: bool,
}

/// Applies rules and notes what each of them does. After a rule that drops the set, no further one is tried.
pub fn relabel_steps<'a>(labels: &Labels, rules: &'a [RelabelConfig]) -> Vec<RelabelStep<'a>> {
    let mut builder = labels.to_builder();
    let (mut steps, mut source) = (Vec::new(), String::new());
    for rule in rules {
        let keep = apply(&mut builder, rule, &mut source);
        let output = if keep { builder.build() } else { Labels::empty() };
        steps.push(RelabelStep { rule, output, keep });
        if !keep {
            break;
        }
    }
    steps
}

fn apply(labels: &mut LabelsBuilder, rule: &RelabelConfig, source: &mut String) -> bool {
    let fields = rule.fields();
    source.clear();
    for (i, name) in fields.source_labels.iter().enumerate() {
        if i > 0 {
            source.push_str(&fields.separator);
        }
        source.push_str(labels.get(name).unwrap_or_default());
    }
    let target = fields.target_label.as_str();
    match fields.action {
        Action::Drop => return !rule.regex.is_match(source),
        Action::Keep => return rule.regex.is_match(source),
        Action::DropEqual => return labels.get(target).unwrap_or_default() != source,
        Action::KeepEqual => return labels.get(target).unwrap_or_default() == source,
        Action::Replace => replace(labels, rule, source),
        Action::Lowercase => set(labels, target, &source.chars().map(simple_lowercase).collect::<String>()),
        Action::Uppercase => set(labels, target, &source.chars().map(simple_uppercase).collect::<String>()),
        Action::HashMod => set(labels, target, &hash_mod(source, fields.modulus).to_string()),
        Action::LabelMap => map_names(labels, rule),
        Action::LabelDrop => _ = labels.retain(|name, _| !rule.regex.is_match(name)),
        Action::LabelKeep => _ = labels.retain(|name, _| rule.regex.is_match(name)),
    }
    true
}

fn set(labels: &mut LabelsBuilder, name: &str, value: &str) {
    labels.set(name, value);
}

fn replace(labels: &mut LabelsBuilder, rule: &RelabelConfig, source: &str) {
    let fields = rule.fields();
    if rule.matches_all && rule.target.is_constant() && rule.replacement.is_constant() && source.is_empty() {
        set(labels, &fields.target_label, &fields.replacement);
        return;
    }
    let (mut target, mut value) = (String::new(), String::new());
    if !rule.regex.expand(source, &rule.target, &mut target) || !rule.scheme().is_label_name(&target) {
        return;
    }
    rule.regex.expand(source, &rule.replacement, &mut value);
    set(labels, &target, &value);
}

fn map_names(labels: &mut LabelsBuilder, rule: &RelabelConfig) {
    let mut mapped = Vec::new();
    for (name, value) in labels.iter() {
        let mut new_name = String::new();
        if rule.regex.expand(name, &rule.replacement, &mut new_name) {
            mapped.push((new_name, value.to_owned()));
        }
    }
    for (name, value) in mapped {
        if !name.is_empty() {
            set(labels, &name, &value);
        }
    }
}

/// The last eight bytes of the MD5 sum, as upstream has always had it.
fn hash_mod(source: &str, modulus: u64) -> u64 {
    let sum: [u8; 16] = Md5::digest(source.as_bytes()).into();
    let hash = sum.iter().skip(8).fold(0u64, |hash, byte| hash << 8 | u64::from(*byte));
    hash.checked_rem(modulus).unwrap_or_default()
}

/// Go maps letter to letter, never one letter to several.
fn simple_lowercase(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(only), None) => only,
        _ if c == 'İ' => 'i',
        _ => c,
    }
}

fn simple_uppercase(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(only), None) => only,
        // Greek small letters with a subscript iota: the capital stands eight or nine places further.
        _ => match c {
            '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => shifted(c, 8),
            '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => shifted(c, 9),
            _ => c,
        },
    }
}

fn shifted(c: char, by: u32) -> char {
    char::from_u32(u32::from(c) + by).unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::super::RelabelFields;
    use super::*;

    fn rule(action: Action, sources: &[&str], regex: &str, target: &str, replacement: &str) -> RelabelConfig {
        RelabelConfig::new(RelabelFields {
            source_labels: sources.iter().map(|s| (*s).to_owned()).collect(),
            regex: regex.into(),
            target_label: target.into(),
            replacement: replacement.into(),
            modulus: if action == Action::HashMod { 1000 } else { 0 },
            action,
            ..Default::default()
        })
        .unwrap()
    }

    /// `{...}` after the rules, or `dropped`.
    fn after(labels: &[(&str, &str)], rules: &[RelabelConfig]) -> String {
        let mut builder = Labels::from_pairs(labels.iter().copied()).to_builder();
        if relabel(&mut builder, rules) { builder.build().to_string() } else { "dropped".to_owned() }
    }

    const ABC: [(&str, &str); 3] = [("a", "foo"), ("b", "bar"), ("c", "baz")];

    #[test]
    fn actions_do_what_upstream_does() {
        use Action::{
            Drop, DropEqual, HashMod, Keep, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace, Uppercase,
        };
        let all = "(.*)";
        for (rule, expected) in [
            (rule(Replace, &["a"], "f(.*)", "d", "ch${1}-ch${1}"), r#"{a="foo", b="bar", c="baz", d="choo-choo"}"#),
            (rule(Replace, &["a", "b"], "f(.*);(.*)r", "a", "b${1}${2}m"), r#"{a="boobam", b="bar", c="baz"}"#),
            (rule(Replace, &["a"], "x(.*)", "d", "$1"), r#"{a="foo", b="bar", c="baz"}"#),
            (rule(Replace, &["a"], "foo", "b", ""), r#"{a="foo", c="baz"}"#),
            (rule(Replace, &["a"], "(f)(.*)", "${1}_$2", "v"), r#"{a="foo", b="bar", c="baz", f_oo="v"}"#),
            (rule(Replace, &["missing"], all, "d", "x"), r#"{a="foo", b="bar", c="baz", d="x"}"#),
            (rule(Replace, &["a"], "foo", "d", "$0$$1"), r#"{a="foo", b="bar", c="baz", d="foo$1"}"#),
            (rule(Drop, &["a"], "fo", "", "$1"), r#"{a="foo", b="bar", c="baz"}"#),
            (rule(Drop, &["a"], ".*o.*", "", "$1"), "dropped"),
            (rule(Keep, &["a", "b"], "foo;bar", "", "$1"), r#"{a="foo", b="bar", c="baz"}"#),
            (rule(Keep, &["a"], "no-match", "", "$1"), "dropped"),
            (rule(KeepEqual, &["a"], all, "b", "$1"), "dropped"),
            (rule(DropEqual, &["a"], all, "a", "$1"), "dropped"),
            (rule(KeepEqual, &["x"], all, "y", "$1"), r#"{a="foo", b="bar", c="baz"}"#),
            (rule(HashMod, &["c"], all, "d", "$1"), r#"{a="foo", b="bar", c="baz", d="976"}"#),
            (rule(LabelMap, &[], "([ab])", "", "x_$1"), r#"{a="foo", b="bar", c="baz", x_a="foo", x_b="bar"}"#),
            (rule(LabelDrop, &[], "[ab]", "", "$1"), r#"{c="baz"}"#),
            (rule(LabelKeep, &[], "[ab]", "", "$1"), r#"{a="foo", b="bar"}"#),
            (rule(Uppercase, &["a"], all, "d", "$1"), r#"{a="foo", b="bar", c="baz", d="FOO"}"#),
            (rule(Lowercase, &["a"], all, "d", "$1"), r#"{a="foo", b="bar", c="baz", d="foo"}"#),
        ] {
            assert_eq!(after(&ABC, std::slice::from_ref(&rule)), expected, "{:?}", rule.fields());
        }
    }

    #[test]
    fn dots_match_newlines_and_expressions_are_anchored() {
        let labels = [("a", "x\ny")];
        assert_eq!(after(&labels, &[rule(Action::Keep, &["a"], "x.y", "", "$1")]), "{a=\"x\\ny\"}");
        assert_eq!(after(&labels, &[rule(Action::Keep, &["a"], "x", "", "$1")]), "dropped");
    }

    #[test]
    fn letters_map_one_to_one() {
        let labels = [("a", "straße ᾳ ŉ")];
        let upper = rule(Action::Uppercase, &["a"], "(.*)", "a", "$1");
        assert_eq!(after(&labels, &[upper]), r#"{a="STRAßE ᾼ ŉ"}"#);
        let labels = [("a", "İX")];
        let lower = rule(Action::Lowercase, &["a"], "(.*)", "a", "$1");
        assert_eq!(after(&labels, &[lower]), r#"{a="ix"}"#);
    }

    #[test]
    fn steps_end_where_the_set_is_dropped() {
        let rules = [
            rule(Action::Replace, &["a"], "foo", "d", "1"),
            rule(Action::Drop, &["d"], "1", "", "$1"),
            rule(Action::Replace, &["a"], "foo", "e", "1"),
        ];
        let steps = relabel_steps(&Labels::from_pairs(ABC), &rules);
        let seen: Vec<_> = steps.iter().map(|step| (step.keep, step.output.len())).collect();
        assert_eq!(seen, [(true, 4), (false, 0)]);
    }
}
