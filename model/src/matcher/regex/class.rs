//! Character classes: `[a-z[:digit:]]`, `\d`, `\pL`, `\p{Greek}`.
//!
//! Go knows no nested classes and no set operations: inside brackets, `[` and `&&` are characters. `\d`, `\s`, `\w` and
//! the POSIX names are ASCII; `\p` knows categories and scripts only, not the other properties of Unicode.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

use super::error::{RegexError, RegexErrorKind};
use super::escape::{parse_escape, take_char};

/// What a class parser found: the class and what follows it.
type Found<'a> = Result<Option<(ClassUnicode, &'a str)>, RegexError>;

/// Reads `[...]` at the start of `whole`.
pub(super) fn parse_brackets(whole: &str, fold: bool) -> Result<(ClassUnicode, &str), RegexError> {
    let mut rest = whole.get(1..).unwrap_or_default();
    let negated = rest.starts_with('^');
    if negated {
        rest = &rest[1..];
    }
    let mut class = ClassUnicode::empty();
    let mut first = true;
    while first || !rest.starts_with(']') {
        // A `]` that comes first is a character.
        first = false;
        if let Some((named, after)) = parse_named(rest, fold)? {
            class.union(&named);
            rest = after;
            continue;
        }
        if let Some((escaped, after)) = parse_class_escape(rest, fold)? {
            class.union(&escaped);
            rest = after;
            continue;
        }
        let (low, after) = parse_class_char(rest, whole)?;
        let (high, after) = match after.strip_prefix('-') {
            // `[a-]` is `a` or `-`.
            Some(tail) if !tail.is_empty() && !tail.starts_with(']') => parse_class_char(tail, whole)?,
            _ => (low, after),
        };
        if high < low {
            return Err(RegexError::new(RegexErrorKind::InvalidCharRange, &rest[..rest.len() - after.len()]));
        }
        push_range(&mut class, low, high);
        rest = after;
    }
    if fold {
        class.case_fold_simple();
    }
    if negated {
        class.negate();
    }
    Ok((class, &rest[1..]))
}

/// Reads `\d`, `\pL` and their kin, in or outside brackets; `None` if `rest` starts with something else.
pub(super) fn parse_class_escape(rest: &str, fold: bool) -> Found<'_> {
    if !rest.starts_with('\\') {
        return Ok(None);
    }
    match rest.as_bytes().get(1) {
        Some(b'p' | b'P') => parse_unicode(rest, fold).map(Some),
        Some(letter) => {
            Ok(perl_class(*letter).map(|(ranges, negated)| (ascii_class(ranges, negated, fold), &rest[2..])))
        }
        None => Ok(None),
    }
}

/// One character of a bracket class, which may be escaped.
fn parse_class_char<'a>(rest: &'a str, whole: &str) -> Result<(u32, &'a str), RegexError> {
    if rest.starts_with('\\') {
        return parse_escape(rest);
    }
    let (c, after) = take_char(rest).ok_or_else(|| RegexError::new(RegexErrorKind::MissingBracket, whole))?;
    Ok((c as u32, after))
}

/// Adds a range of code points. Surrogates, which `\x{D800}` may name, are in no text and so in no class.
fn push_range(class: &mut ClassUnicode, low: u32, high: u32) {
    let low = if (0xd800..0xe000).contains(&low) { 0xe000 } else { low };
    let high = if (0xd800..0xe000).contains(&high) { 0xd7ff } else { high };
    if let (Some(low), Some(high), true) = (char::from_u32(low), char::from_u32(high), low <= high) {
        class.push(ClassUnicodeRange::new(low, high));
    }
}

type AsciiRanges = &'static [(u8, u8)];

const DIGIT: AsciiRanges = &[(b'0', b'9')];
const SPACE: AsciiRanges = &[(b'\t', b'\n'), (0x0c, b'\r'), (b' ', b' ')];
const WORD: AsciiRanges = &[(b'0', b'9'), (b'A', b'Z'), (b'_', b'_'), (b'a', b'z')];

fn perl_class(letter: u8) -> Option<(AsciiRanges, bool)> {
    let ranges = match letter.to_ascii_lowercase() {
        b'd' => DIGIT,
        b's' => SPACE,
        b'w' => WORD,
        _ => return None,
    };
    Some((ranges, letter.is_ascii_uppercase()))
}

/// The POSIX classes by name, as in `[[:alpha:]]`.
fn posix_class(name: &str) -> Option<AsciiRanges> {
    Some(match name {
        "alnum" => &[(b'0', b'9'), (b'A', b'Z'), (b'a', b'z')],
        "alpha" => &[(b'A', b'Z'), (b'a', b'z')],
        "ascii" => &[(0, 0x7f)],
        "blank" => &[(b'\t', b'\t'), (b' ', b' ')],
        "cntrl" => &[(0, 0x1f), (0x7f, 0x7f)],
        "digit" => DIGIT,
        "graph" => &[(b'!', b'~')],
        "lower" => &[(b'a', b'z')],
        "print" => &[(b' ', b'~')],
        "punct" => &[(b'!', b'/'), (b':', b'@'), (b'[', b'`'), (b'{', b'~')],
        "space" => &[(b'\t', b'\r'), (b' ', b' ')],
        "upper" => &[(b'A', b'Z')],
        "word" => WORD,
        "xdigit" => &[(b'0', b'9'), (b'A', b'F'), (b'a', b'f')],
        _ => return None,
    })
}

fn ascii_class(ranges: AsciiRanges, negated: bool, fold: bool) -> ClassUnicode {
    let class = ranges.iter().map(|(low, high)| ClassUnicodeRange::new(char::from(*low), char::from(*high)));
    finish(ClassUnicode::new(class), negated, fold)
}

/// Folding comes before negation: `(?i)\W` does not match the Kelvin sign, for `(?i)\w` does.
fn finish(mut class: ClassUnicode, negated: bool, fold: bool) -> ClassUnicode {
    if fold {
        class.case_fold_simple();
    }
    if negated {
        class.negate();
    }
    class
}

/// Reads `[:name:]` or `[:^name:]`. Without a `:]`, the bracket is a character.
fn parse_named(rest: &str, fold: bool) -> Found<'_> {
    let Some(inside) = rest.strip_prefix("[:") else { return Ok(None) };
    let Some(end) = inside.find(":]") else { return Ok(None) };
    let (name, negated) = match inside[..end].strip_prefix('^') {
        Some(name) => (name, true),
        None => (&inside[..end], false),
    };
    let after = &inside[end + 2..];
    match posix_class(name) {
        Some(ranges) => Ok(Some((ascii_class(ranges, negated, fold), after))),
        None => Err(RegexError::new(RegexErrorKind::InvalidCharRange, &rest[..rest.len() - after.len()])),
    }
}

/// Reads `\pN`, `\p{Name}`, `\p{^Name}` and the same with `P`; `rest` starts with `\p` or `\P`.
fn parse_unicode(rest: &str, fold: bool) -> Result<(ClassUnicode, &str), RegexError> {
    let wrong = |fragment: &str| RegexError::new(RegexErrorKind::InvalidCharRange, fragment);
    let mut negated = rest.starts_with("\\P");
    let tail = rest.get(2..).unwrap_or_default();
    let (mut name, after) = match tail.strip_prefix('{') {
        Some(inside) => inside.split_once('}').ok_or_else(|| wrong(rest))?,
        None => tail.split_at(tail.chars().next().map_or(0, char::len_utf8)),
    };
    if let Some(positive) = name.strip_prefix('^') {
        negated = !negated;
        name = positive;
    }
    let class = unicode_class(name).ok_or_else(|| wrong(&rest[..rest.len() - after.len()]))?;
    Ok((finish(class, negated, fold), after))
}

/// A general category (`L`, `Lu`), a script (`Greek`, `Old_Italic`) or `Any`, written exactly so.
fn unicode_class(name: &str) -> Option<ClassUnicode> {
    const CATEGORIES: &str =
        "C Cc Cf Co Cs L Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So Z Zl Zp Zs";
    // Surrogates are in no text.
    match name {
        "Any" => property(r"\p{any}"),
        "Cs" => Some(ClassUnicode::empty()),
        "C" => property(r"[\p{Cc}\p{Cf}\p{Co}]"),
        _ if CATEGORIES.split(' ').any(|category| category == name) => property(&format!(r"\p{{gc={name}}}")),
        _ if is_script_name(name) => property(&format!(r"\p{{sc={name}}}")),
        _ => None,
    }
}

/// Words in title case, joined by underscores.
fn is_script_name(name: &str) -> bool {
    let title = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_uppercase()) && word.bytes().skip(1).all(|b| b.is_ascii_lowercase())
    };
    name == "SignWriting" || name.split('_').all(title)
}

fn property(escape: &str) -> Option<ClassUnicode> {
    match regex_syntax::parse(escape).ok()?.into_kind() {
        HirKind::Class(Class::Unicode(class)) => Some(class),
        _ => None,
    }
}
