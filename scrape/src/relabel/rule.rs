//! One rule: its keys, and what they may not say together.

use std::fmt;
use std::str::FromStr;

use ferula_model::is_legacy_label_name;
use ferula_model::matcher::{Regex, RegexError, Template};
use thiserror::Error;

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Action {
    /// Sets the target label to the replacement, if the expression matches the source.
    #[default]
    Replace,
    /// Keeps the label set only if the expression matches the source.
    Keep,
    /// Drops the label set if the expression matches the source.
    Drop,
    /// Keeps the label set only if the source equals the target label.
    KeepEqual,
    /// Drops the label set if the source equals the target label.
    DropEqual,
    /// Sets the target label to a hash of the source, modulo `modulus`.
    HashMod,
    /// Copies every label whose name matches to the name that the replacement gives.
    LabelMap,
    /// Removes every label whose name matches.
    LabelDrop,
    /// Removes every label whose name does not match.
    LabelKeep,
    /// Sets the target label to the source in small letters.
    Lowercase,
    /// Sets the target label to the source in capital letters.
    Uppercase,
}

impl Action {
    const ALL: [Self; 11] = [
        Self::Replace,
        Self::Keep,
        Self::Drop,
        Self::KeepEqual,
        Self::DropEqual,
        Self::HashMod,
        Self::LabelMap,
        Self::LabelDrop,
        Self::LabelKeep,
        Self::Lowercase,
        Self::Uppercase,
    ];

    /// As configuration files write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::KeepEqual => "keepequal",
            Self::DropEqual => "dropequal",
            Self::HashMod => "hashmod",
            Self::LabelMap => "labelmap",
            Self::LabelDrop => "labeldrop",
            Self::LabelKeep => "labelkeep",
            Self::Lowercase => "lowercase",
            Self::Uppercase => "uppercase",
        }
    }
}

impl FromStr for Action {
    type Err = RelabelError;

    /// Reads an action in small or capital letters.
    fn from_str(text: &str) -> Result<Self, RelabelError> {
        let known = Self::ALL.into_iter().find(|action| action.as_str().eq_ignore_ascii_case(text));
        known.ok_or_else(|| RelabelError::UnknownAction(text.to_owned()))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which names are legal (`metric_name_validation_scheme`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NameScheme {
    /// Any non-empty UTF-8.
    #[default]
    Utf8,
    /// Letters, digits and underscores; colons in metric names.
    Legacy,
}

impl NameScheme {
    /// Whether a label may have this name.
    pub fn is_label_name(self, name: &str) -> bool {
        match self {
            Self::Utf8 => !name.is_empty(),
            Self::Legacy => is_legacy_label_name(name),
        }
    }

    /// Whether a metric may have this name.
    pub fn is_metric_name(self, name: &str) -> bool {
        match self {
            Self::Utf8 => !name.is_empty(),
            Self::Legacy => ferula_model::is_legacy_metric_name(name),
        }
    }
}

/// A rule as it is written: the keys of Prometheus' `<relabel_config>` with its defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelabelFields {
    /// The labels whose values are joined to the source.
    pub source_labels: Vec<String>,
    /// What stands between them.
    pub separator: String,
    /// RE2, anchored at both ends.
    pub regex: String,
    /// Divisor of [`Action::HashMod`]; 0 otherwise.
    pub modulus: u64,
    /// The label that is set or compared.
    pub target_label: String,
    /// The new value, with `$1` and `${name}` for what the expression captured.
    pub replacement: String,
    /// What the rule does.
    pub action: Action,
}

impl Default for RelabelFields {
    fn default() -> Self {
        Self {
            source_labels: Vec::new(),
            separator: ";".to_owned(),
            regex: "(.*)".to_owned(),
            modulus: 0,
            target_label: String::new(),
            replacement: "$1".to_owned(),
            action: Action::Replace,
        }
    }
}

/// A rule that has no meaning; the words are those of Prometheus.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RelabelError {
    /// There is no such action.
    #[error("unknown relabel action {0:?}")]
    UnknownAction(String),
    /// `action` is there but empty.
    #[error("relabel action cannot be empty")]
    EmptyAction,
    /// The expression is not RE2.
    #[error(transparent)]
    Regex(#[from] RegexError),
    /// Nothing can be divided by zero.
    #[error("relabel configuration for hashmod requires non-zero modulus")]
    Modulus,
    /// The action needs a label to work on.
    #[error("relabel configuration for {0} action requires 'target_label' value")]
    NoTarget(Action),
    /// No label can have this name.
    #[error("{label:?} is invalid 'target_label' for {action} action")]
    Target {
        /// The name.
        label: String,
        /// The action.
        action: Action,
    },
    /// The action makes its value itself.
    #[error("'replacement' can not be set for {0} action")]
    Replacement(Action),
    /// No label can have this name.
    #[error("{replacement:?} is invalid 'replacement' for {action} action")]
    MapName {
        /// The name.
        replacement: String,
        /// The action.
        action: Action,
    },
    /// The action compares two values and nothing else.
    #[error("{0} action requires only 'source_labels' and `target_label`, and no other fields")]
    OnlyLabels(Action),
    /// The action looks at names and nothing else.
    #[error("{0} action requires only 'regex', and no other fields")]
    OnlyRegex(Action),
}

/// A valid rule, ready to be applied by [`relabel`](super::relabel). Two rules are equal if they are written equally.
///
/// ```
/// use ferula_scrape::relabel::{Action, RelabelConfig, RelabelFields};
///
/// let rule = RelabelConfig::new(RelabelFields {
///     source_labels: vec!["__address__".into()],
///     regex: "(.+):\\d+".into(),
///     target_label: "host".into(),
///     ..RelabelFields::default()
/// })?;
/// assert_eq!(rule.fields().action, Action::Replace);
/// # Ok::<(), ferula_scrape::relabel::RelabelError>(())
/// ```
#[derive(Clone, Debug)]
pub struct RelabelConfig {
    fields: RelabelFields,
    scheme: NameScheme,
    pub(super) regex: Regex,
    /// The expression is the default one, which matches everything.
    pub(super) matches_all: bool,
    pub(super) target: Template,
    pub(super) replacement: Template,
}

impl PartialEq for RelabelConfig {
    fn eq(&self, other: &Self) -> bool {
        self.fields == other.fields && self.scheme == other.scheme
    }
}

impl Eq for RelabelConfig {}

impl RelabelConfig {
    /// Checks a rule under UTF-8 names and compiles it.
    ///
    /// # Errors
    ///
    /// The rule has no meaning; see [`RelabelError`].
    pub fn new(fields: RelabelFields) -> Result<Self, RelabelError> {
        Self::with_scheme(fields, NameScheme::Utf8)
    }

    /// Checks a rule and compiles it. What the rule names must be legal in `scheme`.
    ///
    /// # Errors
    ///
    /// The rule has no meaning; see [`RelabelError`].
    pub fn with_scheme(fields: RelabelFields, scheme: NameScheme) -> Result<Self, RelabelError> {
        validate(&fields, scheme)?;
        let defaults = RelabelFields::default();
        Ok(Self {
            regex: Regex::new(&fields.regex)?,
            matches_all: fields.regex == defaults.regex,
            target: Template::new(fields.target_label.as_str()),
            replacement: Template::new(fields.replacement.as_str()),
            fields,
            scheme,
        })
    }

    /// The same rule under another scheme of names.
    ///
    /// # Errors
    ///
    /// The rule names what is not legal there.
    pub fn in_scheme(&self, scheme: NameScheme) -> Result<Self, RelabelError> {
        if scheme == self.scheme {
            return Ok(self.clone());
        }
        validate(&self.fields, scheme)?;
        Ok(Self { scheme, ..self.clone() })
    }

    /// The rule as it was written.
    pub fn fields(&self) -> &RelabelFields {
        &self.fields
    }

    pub(super) fn scheme(&self) -> NameScheme {
        self.scheme
    }
}

fn validate(fields: &RelabelFields, scheme: NameScheme) -> Result<(), RelabelError> {
    use Action::{DropEqual, HashMod, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace, Uppercase};
    let (action, defaults) = (fields.action, RelabelFields::default());
    if action == HashMod && fields.modulus == 0 {
        return Err(RelabelError::Modulus);
    }
    let needs_target = matches!(action, Replace | KeepEqual | DropEqual | HashMod | Lowercase | Uppercase);
    if needs_target && fields.target_label.is_empty() {
        return Err(RelabelError::NoTarget(action));
    }
    let target_is_legal = match action {
        Replace => is_name_or_template(&fields.target_label, scheme),
        _ => scheme.is_label_name(&fields.target_label),
    };
    if needs_target && !target_is_legal {
        return Err(RelabelError::Target { label: fields.target_label.clone(), action });
    }
    let sets_replacement = fields.replacement != defaults.replacement;
    if matches!(action, Lowercase | Uppercase | KeepEqual | DropEqual) && sets_replacement {
        return Err(RelabelError::Replacement(action));
    }
    if action == LabelMap && !is_name_or_template(&fields.replacement, scheme) {
        return Err(RelabelError::MapName { replacement: fields.replacement.clone(), action });
    }
    let sets_other = fields.modulus != 0 || fields.separator != defaults.separator || sets_replacement;
    if matches!(action, KeepEqual | DropEqual) && (sets_other || fields.regex != defaults.regex) {
        return Err(RelabelError::OnlyLabels(action));
    }
    let sets_labels = !fields.source_labels.is_empty() || !fields.target_label.is_empty();
    if matches!(action, LabelDrop | LabelKeep) && (sets_other || sets_labels) {
        return Err(RelabelError::OnlyRegex(action));
    }
    Ok(())
}

/// Upstream's pattern for legacy names with references: `^(?:(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))+\w*)+$`.
fn is_name_or_template(text: &str, scheme: NameScheme) -> bool {
    if scheme == NameScheme::Utf8 {
        return !text.is_empty();
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = text;
    let mut first = true;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = if c == '$' {
            let reference = match after.strip_prefix('{') {
                Some(inside) => {
                    inside.split_once('}').filter(|(name, _)| !name.is_empty() && name.chars().all(is_word))
                }
                None => Some(after.split_at(after.find(|c| !is_word(c)).unwrap_or(after.len()))),
            };
            match reference {
                Some((name, rest)) if !name.is_empty() => rest,
                _ => return false,
            }
        } else if is_word(c) && !(first && c.is_ascii_digit()) {
            after
        } else {
            return false;
        };
        first = false;
    }
    !first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut RelabelFields)) -> String {
        let mut fields = RelabelFields { target_label: "t".into(), ..Default::default() };
        change(&mut fields);
        RelabelConfig::new(fields).unwrap_err().to_string()
    }

    #[test]
    fn rules_without_meaning_are_refused_in_upstreams_words() {
        assert_eq!(
            refused(|f| f.action = Action::HashMod),
            "relabel configuration for hashmod requires non-zero modulus"
        );
        assert_eq!(
            refused(|f| f.target_label.clear()),
            "relabel configuration for replace action requires 'target_label' value"
        );
        assert_eq!(
            refused(|f| (f.action, f.replacement) = (Action::Uppercase, "x".into())),
            "'replacement' can not be set for uppercase action"
        );
        assert_eq!(
            refused(|f| (f.action, f.modulus) = (Action::KeepEqual, 8)),
            "keepequal action requires only 'source_labels' and `target_label`, and no other fields"
        );
        assert_eq!(
            refused(|f| f.action = Action::LabelDrop),
            "labeldrop action requires only 'regex', and no other fields"
        );
        assert!(refused(|f| f.regex = "abc(def".into()).contains("error parsing regexp: missing closing )"));
        assert_eq!("yolo".parse::<Action>().unwrap_err().to_string(), "unknown relabel action \"yolo\"");
        assert_eq!("LabelMap".parse::<Action>().unwrap(), Action::LabelMap);
    }

    #[test]
    fn legacy_names_may_contain_references() {
        for (text, legal) in [
            ("${1}", true),
            ("a$1_b", true),
            ("$host", true),
            ("a b", false),
            ("1a", false),
            ("$", false),
            ("${1", false),
            ("${}x", false),
            ("é", false),
        ] {
            let fields = RelabelFields { target_label: text.into(), ..Default::default() };
            assert_eq!(RelabelConfig::with_scheme(fields, NameScheme::Legacy).is_ok(), legal, "{text}");
        }
    }
}
