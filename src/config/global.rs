//! `global`: what holds for everything.

use std::path::Path;
use std::time::Duration;

use ferula_model::yaml::{Encode, Fields, Kind, Node, Struct};
use ferula_model::{Labels, go_quote};
use ferula_scrape::ScrapeDefaults;

/// The section `global`.
#[derive(Clone, Debug, PartialEq)]
pub struct GlobalConfig {
    /// What jobs inherit.
    pub scrape: ScrapeDefaults,
    /// How often rules are evaluated; one minute.
    pub evaluation_interval: Duration,
    /// How far in the past rules look, so that late samples are there; zero.
    pub rule_query_offset: Duration,
    /// A file to which queries are logged; none if empty.
    pub query_log_file: String,
    /// Labels that name this server to others.
    pub external_labels: Labels,
}

impl Default for GlobalConfig {
    fn default() -> Self {
        Self {
            scrape: ScrapeDefaults::default(),
            evaluation_interval: Duration::from_secs(60),
            rule_query_offset: Duration::ZERO,
            query_log_file: String::new(),
            external_labels: Labels::empty(),
        }
    }
}

impl GlobalConfig {
    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        super::files::resolve(&mut self.query_log_file, directory);
        if let Some(file) = self.scrape.scrape_failure_log_file.as_mut().filter(|file| file.is_relative()) {
            *file = directory.join(&*file);
        }
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.query_log_file.is_empty() {
            warnings.push("global.query_log_file has no effect: not supported yet".to_owned());
        }
        warnings
    }
}

impl Struct for GlobalConfig {
    const TYPE: &'static str = "config.GlobalConfig";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        self.scrape.fields(fields);
        fields.set("evaluation_interval", &mut self.evaluation_interval);
        fields.set("rule_query_offset", &mut self.rule_query_offset);
        fields.set("query_log_file", &mut self.query_log_file);
        fields.set("external_labels", &mut self.external_labels);
    }

    fn check(&mut self) -> Result<(), String> {
        if self.evaluation_interval.is_zero() {
            self.evaluation_interval = Self::default().evaluation_interval;
        }
        match self.external_labels.iter().find(|(name, _)| name.is_empty()) {
            Some((name, _)) => Err(format!("{} is not a valid label name", go_quote(name))),
            None => Ok(()),
        }
    }
}

impl Encode for GlobalConfig {
    /// Upstream's order: the keys of this server stand among those of scraping.
    fn encode(&self) -> Node {
        let own = Node::mapping()
            .put("evaluation_interval", &self.evaluation_interval)
            .put_some("rule_query_offset", &self.rule_query_offset)
            .put_some("query_log_file", &self.query_log_file);
        let own = own.put_some("external_labels", &self.external_labels);
        let (Kind::Mapping(mut entries), Kind::Mapping(own)) = (self.scrape.encode().kind, own.kind) else {
            return Node::mapping();
        };
        let first = ["scrape_interval", "scrape_timeout", "scrape_protocols"];
        let place = entries.iter().take_while(|(key, _)| key.scalar().is_some_and(|key| first.contains(&key))).count();
        entries.splice(place..place, own);
        Kind::Mapping(entries).into()
    }
}

/// Replaces `$NAME` and `${NAME}` by their values; `$$` is a dollar sign. As Go's `os.Expand` reads names.
pub(super) fn expand(text: &str, value: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, after) = variable(after);
        match name {
            Some("$") => out.push('$'),
            Some(name) => out.push_str(&value(name).unwrap_or_default()),
            None => {}
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The name behind a dollar sign and what follows it. No name: the dollar sign alone goes, or with it a bad `{...}`.
fn variable(text: &str) -> (Option<&str>, &str) {
    if let Some(braced) = text.strip_prefix('{') {
        return match braced.split_once('}') {
            Some((name, rest)) => (Some(name).filter(|name| !name.is_empty()), rest),
            None => (None, braced),
        };
    }
    let is_special = |c: char| "*#$@!?-0123456789".contains(c);
    if text.starts_with(is_special) {
        let (name, rest) = text.split_at(1);
        return (Some(name), rest);
    }
    let end = text.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    match end {
        0 => (None, text),
        _ => (Some(&text[..end]), &text[end..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_as_go_does() {
        let value = |name: &str| (name == "A_1").then(|| "x".to_owned());
        for (text, expected) in [
            ("$A_1-b", "x-b"),
            ("${A_1}b", "xb"),
            ("$$A_1", "$A_1"),
            ("$nothing.", "."),
            ("a$", "a"),
            ("${", ""),
            ("5", "5"),
        ] {
            assert_eq!(expand(text, &value), expected, "{text}");
        }
    }
}
