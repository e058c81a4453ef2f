//! Repetition operators: `*`, `+`, `?`, `{2,5}`, and the same with a `?` behind them.

/// How often, before anything is checked. A number that is too large for Go's parser is [`TOO_LARGE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) min: u32,
    /// `None`: without end.
    pub(super) max: Option<u32>,
    /// Written with numbers, so that it multiplies the size of what it repeats.
    pub(super) counted: bool,
}

/// The largest count, also of the product of nested counts.
pub(super) const COUNT_MAX: u32 = 1000;
const TOO_LARGE: u32 = u32::MAX;

impl Count {
    /// Whether the numbers are in order and small enough.
    pub(super) fn is_valid(self) -> bool {
        self.min <= COUNT_MAX && self.max.is_none_or(|max| self.min <= max && max <= COUNT_MAX)
    }

    /// By how much it multiplies the size of what it repeats: 0 for "never", 1 for the uncounted operators.
    pub(super) fn factor(self) -> u32 {
        match self {
            Count { counted: false, .. } => 1,
            Count { max: Some(max), .. } => max,
            Count { min, .. } => min.max(1),
        }
    }

    /// Whether Go checks the product of nested counts here.
    pub(super) fn checks_product(self) -> bool {
        self.counted && (self.min >= 2 || self.max.is_some_and(|max| max >= 2))
    }
}

/// Reads a repetition operator without its laziness mark. `None` if there is none: `{` is a character then.
pub(super) fn parse_count(text: &str) -> Option<(Count, &str)> {
    let (min, max) = match text.as_bytes().first()? {
        b'*' => (0, None),
        b'+' => (1, None),
        b'?' => (0, Some(1)),
        b'{' => return parse_braces(&text[1..]),
        _ => return None,
    };
    Some((Count { min, max, counted: false }, &text[1..]))
}

fn parse_braces(text: &str) -> Option<(Count, &str)> {
    let (min, rest) = parse_number(text)?;
    let (max, rest) = match rest.strip_prefix(',') {
        None => (Some(min), rest),
        Some(rest) if rest.starts_with('}') => (None, rest),
        Some(rest) => parse_number(rest).map(|(max, rest)| (Some(max), rest))?,
    };
    Some((Count { min, max, counted: true }, rest.strip_prefix('}')?))
}

/// A decimal number without leading zeros.
fn parse_number(text: &str) -> Option<(u32, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    if number.is_empty() || (number.len() > 1 && number.starts_with('0')) {
        return None;
    }
    Some((number.parse().unwrap_or(TOO_LARGE), rest))
}
