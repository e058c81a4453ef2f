//! Rule files: what does the YAML say, and what is wrong with it, all of it at once?
//!
//! Unknown keys are errors. Places are those of the value to blame, or of the rule where a value is missing.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ferula_model::go_quote;
use ferula_model::yaml::{self, Context, Decode, Fields, Kind, Node, Struct};

use super::error::{LoadError, RuleError, RuleFileError, RuleProblem};
use super::{
    AlertingRule, Expression, RecordingRule, Rule, RuleGroup, RuleLanguage, Texts, check_annotation_name,
    check_label_name, check_record_name, check_template,
};

/// The groups of one file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleFile {
    /// The name under which its groups are known: the path.
    pub name: String,
    /// The groups, in order.
    pub groups: Vec<RuleGroup>,
    /// The file had more than one document; only the first counts.
    pub has_more_documents: bool,
}

impl RuleFile {
    /// A file that exists only in this program.
    pub fn new(name: impl Into<String>, groups: Vec<RuleGroup>) -> Self {
        Self { name: name.into(), groups, has_more_documents: false }
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn parse(name: &str, text: &str, language: &RuleLanguage) -> Result<Self, RuleFileError> {
        let wrong = |source| RuleFileError::Yaml { file: name.to_owned(), source };
        let (node, has_more_documents) = yaml::parse_first(text).map_err(wrong)?;
        let file: FileText = match node {
            Some(node) => yaml::decode_node(&node).map_err(wrong)?,
            None => FileText::default(),
        };
        let mut check = Check { language, problems: Vec::new() };
        let groups = check.groups(file.groups);
        if check.problems.is_empty() {
            Ok(Self { name: name.to_owned(), groups, has_more_documents })
        } else {
            Err(RuleFileError::Content { file: name.to_owned(), problems: check.problems })
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or everything that is wrong with it.
    pub fn load(path: impl AsRef<Path>, language: &RuleLanguage) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|source| LoadError::Io { path: path.to_owned(), source: Arc::new(source) })?;
        Ok(Self::parse(&path.display().to_string(), &text, language)?)
    }
}

/// The rules of a program: any number of files.
///
/// ```
/// use ferula_alerting::Rules;
///
/// let rules = Rules::parse("rules.yml", "
/// groups:
///   - name: node
///     rules:
///       - alert: Down
///         expr: up == 0
///         for: 5m
/// ")?;
/// assert_eq!(rules.files[0].groups[0].rules[0].name(), "Down");
///
/// let error = Rules::parse("rules.yml", "groups: [{name: node, rules: [{record: a b, expr: rate(up)}]}]").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "rules.yml: 1:51: group \"node\", rule 1, \"a b\": could not parse expression: 1:6: parse error: \
///      expected type range vector in call to function \"rate\", got instant vector"
/// );
/// # Ok::<(), ferula_alerting::rule::RuleFileError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// The files; each name once.
    pub files: Vec<RuleFile>,
}

impl Rules {
    /// Reads a file in upstream's stable language.
    ///
    /// # Errors
    ///
    /// See [`RuleFile::load`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        Ok(Self { files: vec![RuleFile::load(path, &RuleLanguage::default())?] })
    }

    /// Reads a text in upstream's stable language; `name` stands for the path of the file.
    ///
    /// # Errors
    ///
    /// See [`RuleFile::parse`].
    pub fn parse(name: &str, text: &str) -> Result<Self, RuleFileError> {
        Ok(Self { files: vec![RuleFile::parse(name, text, &RuleLanguage::default())?] })
    }

    /// These rules and others.
    #[must_use]
    pub fn and(mut self, other: Rules) -> Self {
        self.files.extend(other.files);
        self
    }
}

impl From<Vec<RuleFile>> for Rules {
    fn from(files: Vec<RuleFile>) -> Self {
        Self { files }
    }
}

/// A value that remembers where it stood.
#[derive(Debug, Default)]
struct Placed<T> {
    value: T,
    place: (usize, usize),
}

impl<T: Decode> Decode for Placed<T> {
    fn decode(node: &Node, context: &mut Context) -> Option<Self> {
        T::decode(node, context).map(|value| Self { value, place: (node.line, node.column) })
    }
}

#[derive(Debug, Default)]
struct FileText {
    groups: Vec<Placed<GroupText>>,
}

impl Struct for FileText {
    const TYPE: &'static str = "rulefmt.RuleGroups";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("groups", &mut self.groups);
    }
}

/// Labels with the place of each name.
#[derive(Debug, Default)]
struct PlacedTexts(Vec<(Placed<String>, String)>);

impl Decode for PlacedTexts {
    fn decode(node: &Node, context: &mut Context) -> Option<Self> {
        let texts = Texts::decode(node, context)?;
        let Kind::Mapping(entries) = &node.kind else { return Some(Self::default()) };
        let place = |name: &str| {
            entries.iter().find(|(key, _)| key.scalar() == Some(name)).map_or((0, 0), |(key, _)| (key.line, key.column))
        };
        let placed = texts.into_iter().map(|(name, value)| (Placed { place: place(&name), value: name }, value));
        Some(Self(placed.collect()))
    }
}

impl PlacedTexts {
    fn texts(self) -> Texts {
        self.0.into_iter().map(|(name, value)| (name.value, value)).collect()
    }
}

#[derive(Debug, Default)]
struct GroupText {
    name: String,
    interval: Duration,
    query_offset: Option<Duration>,
    limit: usize,
    labels: PlacedTexts,
    rules: Vec<Placed<RuleText>>,
}

impl Struct for GroupText {
    const TYPE: &'static str = "rulefmt.RuleGroup";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("name", &mut self.name);
        fields.set("interval", &mut self.interval);
        fields.set("query_offset", &mut self.query_offset);
        fields.set_with("limit", &mut self.limit, |node, context| {
            // Upstream takes anything below one for "no limit".
            i64::decode(node, context).map(|limit| usize::try_from(limit).unwrap_or(0))
        });
        fields.set("labels", &mut self.labels);
        fields.set("rules", &mut self.rules);
    }
}

#[derive(Debug, Default)]
struct RuleText {
    record: Placed<String>,
    alert: Placed<String>,
    expr: Placed<String>,
    hold: Duration,
    keep_firing_for: Duration,
    labels: PlacedTexts,
    annotations: PlacedTexts,
}

impl Struct for RuleText {
    const TYPE: &'static str = "rulefmt.Rule";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("record", &mut self.record);
        fields.set("alert", &mut self.alert);
        fields.set("expr", &mut self.expr);
        fields.set("for", &mut self.hold);
        fields.set("keep_firing_for", &mut self.keep_firing_for);
        fields.set("labels", &mut self.labels);
        fields.set("annotations", &mut self.annotations);
    }
}

/// From what was read to what is valid.
struct Check<'a> {
    language: &'a RuleLanguage,
    problems: Vec<RuleProblem>,
}

impl Check<'_> {
    fn groups(&mut self, groups: Vec<Placed<GroupText>>) -> Vec<RuleGroup> {
        let mut names = BTreeSet::new();
        let mut checked = Vec::new();
        for Placed { value: group, place } in groups {
            if group.name.is_empty() {
                self.problem(place, "Groupname must not be empty");
            }
            if !names.insert(group.name.clone()) {
                self.problem(place, format!("groupname: \"{}\" is repeated in the same file", group.name));
            }
            for (name, _) in &group.labels.0 {
                if let Err(error) = check_label_name(&name.value, self.language.legacy_names) {
                    self.problem(name.place, error.to_string());
                }
            }
            let rules = group.rules.into_iter().enumerate();
            checked.push(RuleGroup {
                rules: rules.filter_map(|(index, rule)| self.rule(&group.name, index, rule)).collect(),
                name: group.name,
                interval: Some(group.interval).filter(|interval| !interval.is_zero()),
                query_offset: group.query_offset,
                limit: group.limit,
                labels: group.labels.texts(),
            });
        }
        checked
    }

    fn problem(&mut self, place: (usize, usize), message: impl Into<String>) {
        self.problems.push(RuleProblem { places: vec![place], message: message.into() });
    }

    /// The rule, or `None` once its problems are noted.
    fn rule(&mut self, group: &str, index: usize, rule: Placed<RuleText>) -> Option<Rule> {
        let Placed { value: rule, place } = rule;
        let mut found: Vec<(Vec<(usize, usize)>, RuleError)> = Vec::new();
        let (record, alert) = (rule.record.value, rule.alert.value);
        match (record.is_empty(), alert.is_empty()) {
            (false, false) => found.push((vec![rule.record.place, rule.alert.place], RuleError::BothKinds)),
            (true, true) => found.push((vec![place], RuleError::NoName)),
            _ => {}
        }
        let expr = if rule.expr.value.is_empty() {
            found.push((vec![place], RuleError::NoExpr));
            None
        } else {
            let expr = Expression::parse(&rule.expr.value, &self.language.dialect);
            expr.map_err(|error| found.push((vec![rule.expr.place], error.into()))).ok()
        };
        if !record.is_empty() {
            let alerts_only = [
                ("annotations", !rule.annotations.0.is_empty()),
                ("for", !rule.hold.is_zero()),
                ("keep_firing_for", !rule.keep_firing_for.is_zero()),
            ];
            for (field, _) in alerts_only.into_iter().filter(|(_, is_set)| *is_set) {
                found.push((vec![rule.record.place], RuleError::OnlyForAlerts(field)));
            }
            if let Err(error) = check_record_name(&record, self.language.legacy_names) {
                found.push((vec![rule.record.place], error));
            }
        }
        let legacy = self.language.legacy_names;
        let names = (rule.labels.0.iter().map(|(name, _)| (name, check_label_name(&name.value, legacy))))
            .chain(rule.annotations.0.iter().map(|(name, _)| (name, check_annotation_name(&name.value, legacy))));
        for (name, result) in names {
            if let Err(error) = result {
                found.push((vec![name.place], error));
            }
        }
        if !alert.is_empty() {
            let texts = (rule.labels.0.iter().map(|text| ("label", text)))
                .chain(rule.annotations.0.iter().map(|text| ("annotation", text)));
            for (kind, (name, text)) in texts {
                if let Err(error) = check_template(&alert, kind, &name.value, text) {
                    found.push((vec![name.place], error));
                }
            }
        }
        let name = go_quote(if alert.is_empty() { &record } else { &alert });
        let group = go_quote(group);
        let is_fine = found.is_empty();
        self.problems.extend(found.into_iter().map(|(places, error)| RuleProblem {
            places,
            message: format!("group {group}, rule {}, {name}: {error}", index + 1),
        }));
        let expr = expr.filter(|_| is_fine)?;
        let labels = rule.labels.texts();
        Some(if alert.is_empty() {
            Rule::Recording(RecordingRule { name: record, expr, labels })
        } else {
            Rule::Alerting(AlertingRule {
                name: alert,
                expr,
                hold: rule.hold,
                keep_firing_for: rule.keep_firing_for,
                labels,
                annotations: rule.annotations.texts(),
            })
        })
    }
}
