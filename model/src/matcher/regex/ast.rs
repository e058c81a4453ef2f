//! The tree of an expression, after flags are resolved: what analysis and the engine are made from.

use regex_syntax::hir::{Capture, Class, ClassUnicode, ClassUnicodeRange, Hir, Look, Repetition};

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ast {
    /// Matches the empty string.
    Empty,
    /// These characters; in any case if `fold`, which is only set if one of them has cases.
    Text { text: String, fold: bool },
    /// One character of any kind, newlines included.
    Any,
    /// One character of a set; of an empty set, nothing matches.
    Class(ClassUnicode),
    /// A condition on the place.
    Look(Look),
    /// `sub` at least `min` and at most `max` times.
    Repeat { sub: Box<Ast>, min: u32, max: Option<u32>, greedy: bool },
    /// Capture group `index`, counted from 1.
    Group { index: u32, sub: Box<Ast> },
    /// One after another; at least two.
    Concat(Vec<Ast>),
    /// The first that leads to a match; at least two.
    Alternate(Vec<Ast>),
}

impl Ast {
    /// The items one after another. Neighbouring texts become one where their case rules agree.
    pub(super) fn concat(items: Vec<Ast>) -> Ast {
        let mut merged: Vec<Ast> = Vec::with_capacity(items.len().min(16));
        for item in items {
            match (merged.last_mut(), item) {
                (Some(Ast::Text { text, fold }), Ast::Text { text: more, fold: more_fold })
                    if same_case_rule((text, *fold), (&more, more_fold)) =>
                {
                    text.push_str(&more);
                    *fold |= more_fold;
                }
                (_, Ast::Empty) => {}
                (_, item) => merged.push(item),
            }
        }
        match merged.len() {
            0 => Ast::Empty,
            1 => merged.swap_remove(0),
            _ => Ast::Concat(merged),
        }
    }

    /// A choice of at least one.
    pub(super) fn alternate(mut choices: Vec<Ast>) -> Ast {
        match choices.len() {
            0 => Ast::Empty,
            1 => choices.swap_remove(0),
            _ => Ast::Alternate(choices),
        }
    }

    /// The same for `regex-automata`; groups become captures if `captures`.
    pub(super) fn to_hir(&self, captures: bool) -> Hir {
        match self {
            Ast::Empty => Hir::empty(),
            Ast::Text { text, fold: false } => Hir::literal(text.as_bytes()),
            Ast::Text { text, fold: true } => Hir::concat(text.chars().map(folded).collect()),
            Ast::Any => Hir::class(Class::Unicode(ClassUnicode::new([ClassUnicodeRange::new('\0', char::MAX)]))),
            Ast::Class(class) => Hir::class(Class::Unicode(class.clone())),
            Ast::Look(look) => Hir::look(*look),
            Ast::Repeat { sub, min, max, greedy } => Hir::repetition(Repetition {
                min: *min,
                max: *max,
                greedy: *greedy,
                sub: Box::new(sub.to_hir(captures)),
            }),
            Ast::Group { index, sub } if captures => {
                Hir::capture(Capture { index: *index, name: None, sub: Box::new(sub.to_hir(true)) })
            }
            Ast::Group { sub, .. } => sub.to_hir(false),
            Ast::Concat(items) => Hir::concat(items.iter().map(|item| item.to_hir(captures)).collect()),
            Ast::Alternate(choices) => Hir::alternation(choices.iter().map(|choice| choice.to_hir(captures)).collect()),
        }
    }
}

/// Whether two texts can be compared as one: digits, for instance, go with either rule.
fn same_case_rule((a, a_fold): (&str, bool), (b, b_fold): (&str, bool)) -> bool {
    a_fold == b_fold || !(if a_fold { b } else { a }).chars().any(has_case)
}

fn folded(c: char) -> Hir {
    Hir::class(Class::Unicode(case_variants(c)))
}

/// A character and all that equal it under Unicode's simple case folding: `k`, `K` and the Kelvin sign, for instance.
fn case_variants(c: char) -> ClassUnicode {
    let mut class = ClassUnicode::new([ClassUnicodeRange::new(c, c)]);
    class.case_fold_simple();
    class
}

/// Whether a character has another case.
pub(super) fn has_case(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphabetic()
    } else {
        case_variants(c).ranges().iter().map(|range| range.len()).sum::<usize>() > 1
    }
}
