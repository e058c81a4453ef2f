//! Texts with gaps between them: `api-.*`, `.+-canary`, `.*a.+b.*`.

/// Texts in order, with a gap between each two of them. Texts may be empty, at the ends above all.
///
/// `gaps[i]` lies between `texts[i]` and `texts[i + 1]`, so there is one text more than gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    texts: Vec<String>,
    gaps: Vec<Gap>,
}

/// How many characters a gap has at least: `.*` or `.+`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    Any,
    NonEmpty,
}

impl Default for Glob {
    fn default() -> Self {
        Self::text("")
    }
}

impl Glob {
    pub(super) fn text(text: &str) -> Self {
        Self { texts: vec![text.to_owned()], gaps: Vec::new() }
    }

    /// `.*` or `.+`; no other count is a gap.
    pub(super) fn gap(min: u32, max: Option<u32>) -> Option<Self> {
        let gap = match (min, max) {
            (0, None) => Gap::Any,
            (1, None) => Gap::NonEmpty,
            _ => return None,
        };
        Some(Self { texts: vec![String::new(), String::new()], gaps: vec![gap] })
    }

    /// One after the other. Gaps that meet are not merged: `.+.+` is two characters at least.
    pub(super) fn then(&self, next: &Glob) -> Glob {
        let mut joined = self.clone();
        let mut texts = next.texts.iter();
        if let (Some(last), Some(first)) = (joined.texts.last_mut(), texts.next()) {
            last.push_str(first);
        }
        joined.texts.extend(texts.cloned());
        joined.gaps.extend_from_slice(&next.gaps);
        joined
    }

    /// What every match begins with.
    pub(super) fn prefix(&self) -> &str {
        self.texts.first().map_or("", String::as_str)
    }

    /// `.*` and nothing else.
    pub(super) fn is_any(&self) -> bool {
        self.gaps.contains(&Gap::Any) && self.min_chars() == 0
    }

    /// `.+` and nothing else, or the same in a longer spelling such as `.*.+`.
    pub(super) fn is_non_empty(&self) -> bool {
        self.min_chars() == 1 && self.gaps.contains(&Gap::NonEmpty)
    }

    fn min_chars(&self) -> usize {
        let texts: usize = self.texts.iter().map(|text| text.chars().count()).sum();
        texts + self.gaps.iter().filter(|gap| **gap == Gap::NonEmpty).count()
    }

    /// Whether the whole value is texts and gaps in order. Taking each text as early as it comes leaves the most for the
    /// rest, so nothing is ever tried twice.
    pub(super) fn matches(&self, value: &str) -> bool {
        let Some((last_text, inner)) = self.texts.split_last() else { return value.is_empty() };
        let Some((first_text, inner)) = inner.split_first() else { return value == last_text };
        let Some(mut rest) = value.strip_prefix(first_text.as_str()) else { return false };
        let mut gaps = self.gaps.iter();
        for text in inner {
            let Some(tail) = skip_gap(rest, gaps.next()) else { return false };
            let Some(at) = tail.find(text.as_str()) else { return false };
            rest = tail.get(at + text.len()..).unwrap_or_default();
        }
        let Some(tail) = skip_gap(rest, gaps.next()) else { return false };
        tail.ends_with(last_text.as_str())
    }
}

/// The value behind the characters that a gap must have.
fn skip_gap<'a>(value: &'a str, gap: Option<&Gap>) -> Option<&'a str> {
    match gap {
        Some(Gap::NonEmpty) => value.chars().next().and_then(|c| value.get(c.len_utf8()..)),
        _ => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::Glob;

    #[test]
    fn gaps_keep_their_own_characters() {
        let any = Glob::gap(0, None).unwrap();
        let some = Glob::gap(1, None).unwrap();
        let glob = Glob::text("a").then(&some).then(&Glob::text("b")).then(&any).then(&Glob::text("b"));
        for (value, expected) in [("axbb", true), ("abb", false), ("abbb", true), ("axb", false), ("aébéb", true)] {
            assert_eq!(glob.matches(value), expected, "{value}");
        }
        assert!(!some.then(&some).is_non_empty() && some.then(&any).is_non_empty() && any.then(&any).is_any());
        assert!(!some.then(&some).matches("x") && some.then(&some).matches("xy"));
    }
}
