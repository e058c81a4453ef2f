//! How does a UTF-8 name cross to somebody who only knows `[a-zA-Z0-9_:]`?
//!
//! Source: escaping schemes of Prometheus 3.14, where the exposer applies what the scraper asks for.

use std::borrow::Cow;

use ferula_model::{Labels, is_legacy_metric_name};

use crate::family::{Metric, MetricFamily};

/// What happens to names that are not legacy-valid.
///
/// ```
/// use ferula_exposition::Escaping;
///
/// assert_eq!(Escaping::Underscores.escape("http.requests"), "http_requests");
/// assert_eq!(Escaping::Dots.escape("http.requests_total"), "http_dot_requests__total");
/// assert_eq!(Escaping::Values.escape("http.requests"), "U__http_2e_requests");
/// assert_eq!(Escaping::Values.unescape("U__http_2e_requests"), "http.requests");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Escaping {
    /// Nothing: the other side knows UTF-8 names.
    #[default]
    AllowUtf8,
    /// Every other character becomes `_`. Cannot be undone.
    Underscores,
    /// `_` becomes `__`, `.` becomes `_dot_`, other characters `__`; legacy-valid names too.
    Dots,
    /// After the prefix `U__`, `_` becomes `__` and other characters `_<hex>_`. Can be undone.
    Values,
}

impl Escaping {
    /// The word for it in `escaping=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Escaping::AllowUtf8 => "allow-utf-8",
            Escaping::Underscores => "underscores",
            Escaping::Dots => "dots",
            Escaping::Values => "values",
        }
    }

    /// The scheme of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::AllowUtf8, Self::Underscores, Self::Dots, Self::Values].into_iter().find(|s| s.as_str() == word)
    }

    /// Escapes the name of a metric or a label.
    pub fn escape(self, name: &str) -> Cow<'_, str> {
        let unchanged = match self {
            Escaping::AllowUtf8 => true,
            Escaping::Underscores | Escaping::Values => is_legacy_metric_name(name),
            Escaping::Dots => false,
        };
        if unchanged || name.is_empty() {
            return Cow::Borrowed(name);
        }
        let mut out = String::with_capacity(name.len() + 8);
        if self == Escaping::Values {
            out.push_str("U__");
        }
        for (at, c) in name.char_indices() {
            let legal = c.is_ascii_alphabetic() || matches!(c, '_' | ':') || (at > 0 && c.is_ascii_digit());
            match (self, c) {
                (Escaping::Dots | Escaping::Values, '_') => out.push_str("__"),
                (Escaping::Dots, '.') => out.push_str("_dot_"),
                _ if legal => out.push(c),
                (Escaping::Dots, _) => out.push_str("__"),
                (Escaping::Values, _) => out.push_str(&format!("_{:x}_", u32::from(c))),
                _ => out.push('_'),
            }
        }
        Cow::Owned(out)
    }

    /// Undoes [`escape`](Self::escape) where that is possible; what was not escaped comes back as it is.
    pub fn unescape(self, name: &str) -> Cow<'_, str> {
        match self {
            Escaping::AllowUtf8 | Escaping::Underscores => Cow::Borrowed(name),
            Escaping::Dots => Cow::Owned(name.replace("_dot_", ".").replace("__", "_")),
            Escaping::Values => match unescape_values(name) {
                Some(plain) => Cow::Owned(plain),
                None => Cow::Borrowed(name),
            },
        }
    }
}

fn unescape_values(name: &str) -> Option<String> {
    let mut rest = name.strip_prefix("U__")?;
    let mut out = String::with_capacity(rest.len());
    while let Some((plain, after)) = rest.split_once('_') {
        out.push_str(plain);
        let (code, tail) = after.split_once('_')?;
        match code {
            "" => out.push('_'),
            hex if hex.len() <= 6 && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
                out.push(char::from_u32(u32::from_str_radix(hex, 16).ok()?)?);
            }
            _ => return None,
        }
        rest = tail;
    }
    out.push_str(rest);
    Some(out)
}

/// The families with all names escaped.
pub(crate) fn escape_families(families: &[MetricFamily], escaping: Escaping) -> Cow<'_, [MetricFamily]> {
    if escaping == Escaping::AllowUtf8 || families.iter().all(|family| is_unchanged(family, escaping)) {
        return Cow::Borrowed(families);
    }
    Cow::Owned(families.iter().map(|family| escape_family(family, escaping)).collect())
}

fn is_unchanged(family: &MetricFamily, escaping: Escaping) -> bool {
    let same = |name: &str| escaping.escape(name) == name;
    same(&family.name) && family.metrics.iter().all(|metric| metric.labels.iter().all(|(name, _)| same(name)))
}

/// Exemplars keep their names: upstream escapes only what names series.
fn escape_family(family: &MetricFamily, escaping: Escaping) -> MetricFamily {
    let metrics = family.metrics.iter().map(|metric| Metric {
        labels: Labels::from_pairs(metric.labels.iter().map(|(name, value)| (escaping.escape(name), value))),
        value: metric.value.clone(),
        ..*metric
    });
    MetricFamily { name: escaping.escape(&family.name).into(), metrics: metrics.collect(), ..family.clone() }
}
