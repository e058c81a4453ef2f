//! Which expressions need no engine? Most do not: in queries they are a few words, a prefix, or "anything".
//!
//! ```text
//!  api|web|db        Words        found by binary search
//!  (?i)error|warn    Words, fold  the same, in lower case
//!  api-.*            Globs        prefix
//!  .*api.*|web-.+    Globs        prefix, inner texts from left to right, suffix
//!  api-[0-9]+        Engine       regex-automata; the prefix `api-` is still known to the index
//! ```
//!
//! Each analysis gives up (`None`) where the answer would grow beyond a small multiple of the expression.

use regex_syntax::hir::Look;

use super::ast::{Ast, has_case};
use super::glob::Glob;

/// How an expression is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Exactly these, sorted, each once; in lower case if `fold`, and then ASCII.
    Words { words: Vec<String>, fold: bool },
    /// What one of these matches.
    Globs(Vec<Glob>),
    /// Only the engine knows.
    Engine,
}

impl Shape {
    /// The shape of an anchored expression.
    pub(super) fn of(ast: &Ast) -> Shape {
        let anchored = Anchored { ast, start: true, end: true };
        let budget = Budget { words: 256.max(choices(ast)), globs: 64 };
        if let Some(words) = words(anchored, budget.words).and_then(Words::sorted) {
            return Shape::Words { words: words.words, fold: words.fold };
        }
        globs(anchored, budget.globs).map_or(Shape::Engine, Shape::Globs)
    }
}

/// How many words or globs an expression may become.
struct Budget {
    words: usize,
    globs: usize,
}

/// A long alternation may have as many words as it has choices.
fn choices(ast: &Ast) -> usize {
    match ast {
        Ast::Alternate(items) => items.iter().map(choices).sum(),
        Ast::Concat(items) => items.iter().map(choices).max().unwrap_or(1),
        Ast::Group { sub, .. } => choices(sub),
        _ => 1,
    }
}

/// A part of the expression, and whether it begins or ends it: there, `^` and `$` say nothing new.
#[derive(Clone, Copy)]
struct Anchored<'a> {
    ast: &'a Ast,
    start: bool,
    end: bool,
}

impl<'a> Anchored<'a> {
    fn with(self, ast: &'a Ast) -> Self {
        Self { ast, ..self }
    }

    /// The items of a concatenation, each with its own place.
    fn items(self, items: &'a [Ast]) -> impl Iterator<Item = Anchored<'a>> {
        let last = items.len().saturating_sub(1);
        items.iter().enumerate().map(move |(index, ast)| Anchored {
            ast,
            start: self.start && index == 0,
            end: self.end && index == last,
        })
    }

    fn is_redundant(self, look: Look) -> bool {
        match look {
            Look::Start => self.start,
            Look::End => self.end,
            _ => false,
        }
    }
}

/// The words that a part can match, in order of preference.
#[derive(Clone, Debug)]
struct Words {
    words: Vec<String>,
    fold: bool,
}

impl Words {
    fn one(text: &str, fold: bool) -> Self {
        Self { words: vec![text.to_owned()], fold }
    }

    /// Both under one case rule, if there is one.
    fn agree(&self, other: &Words) -> Option<bool> {
        let plain = if self.fold { other } else { self };
        let agree = self.fold == other.fold || !plain.words.iter().any(|word| word.chars().any(has_case));
        agree.then_some(self.fold || other.fold)
    }

    fn or(mut self, other: Words, limit: usize) -> Option<Words> {
        self.fold = self.agree(&other)?;
        self.words.extend(other.words);
        (self.words.len() <= limit).then_some(self)
    }

    fn then(mut self, next: &Words, limit: usize) -> Option<Words> {
        let fold = self.agree(next)?;
        if let [only] = next.words.as_slice() {
            self.words.iter_mut().for_each(|word| word.push_str(only));
            return Some(Words { fold, ..self });
        }
        if self.words.len().saturating_mul(next.words.len()) > limit {
            return None;
        }
        let joined = |a: &String| next.words.iter().map(move |b| format!("{a}{b}")).collect::<Vec<_>>();
        Some(Words { words: self.words.iter().flat_map(joined).collect(), fold })
    }

    /// Sorted and in lower case. Case folding beyond ASCII is left to the engine.
    fn sorted(mut self) -> Option<Words> {
        if self.fold {
            if !self.words.iter().all(|word| word.is_ascii()) {
                return None;
            }
            self.words.iter_mut().for_each(|word| word.make_ascii_lowercase());
        }
        self.words.sort_unstable();
        self.words.dedup();
        Some(self)
    }
}

fn words(part: Anchored<'_>, limit: usize) -> Option<Words> {
    match part.ast {
        Ast::Empty => Some(Words::one("", false)),
        Ast::Look(look) => part.is_redundant(*look).then(|| Words::one("", false)),
        Ast::Text { text, fold } => Some(Words::one(text, *fold)),
        Ast::Any => None,
        Ast::Class(class) => {
            let count: usize = class.ranges().iter().map(|range| range.len()).sum();
            let chars = class.ranges().iter().flat_map(|range| range.start()..=range.end());
            (count <= limit).then(|| Words { words: chars.map(String::from).collect(), fold: false })
        }
        Ast::Repeat { sub, min, max: Some(max), .. } => repeated_words(part.with(sub), *min, *max, limit),
        Ast::Repeat { .. } => None,
        Ast::Group { sub, .. } => words(part.with(sub), limit),
        Ast::Concat(items) => {
            part.items(items).try_fold(Words::one("", false), |so_far, item| so_far.then(&words(item, limit)?, limit))
        }
        Ast::Alternate(items) => {
            let mut rest = items.iter().map(|item| words(part.with(item), limit));
            let first = rest.next()??;
            rest.try_fold(first, |so_far, next| so_far.or(next?, limit))
        }
    }
}

/// `(a|b){1,2}`: counts of one are common (`?`), higher ones soon exceed the limit.
fn repeated_words(sub: Anchored<'_>, min: u32, max: u32, limit: usize) -> Option<Words> {
    if max as usize > limit {
        return None;
    }
    // What stands inside a repetition is not alone at the start or at the end.
    let once = words(Anchored { start: false, end: false, ..sub }, limit)?;
    let mut power = Words::one("", false);
    let mut all: Option<Words> = None;
    for count in 0..=max {
        if count > 0 {
            power = power.then(&once, limit)?;
        }
        if count >= min {
            all = Some(match all {
                Some(all) => all.or(power.clone(), limit)?,
                None => power.clone(),
            });
        }
        if power.words.iter().map(String::len).sum::<usize>() > 1 << 16 {
            return None;
        }
    }
    all
}

/// The expression as a choice of globs.
fn globs(part: Anchored<'_>, limit: usize) -> Option<Vec<Glob>> {
    match part.ast {
        Ast::Empty => Some(vec![Glob::default()]),
        Ast::Look(look) => part.is_redundant(*look).then(|| vec![Glob::default()]),
        Ast::Text { text, fold: false } => Some(vec![Glob::text(text)]),
        Ast::Any => Some(vec![Glob::gap(1, Some(1))?]),
        Ast::Repeat { sub, min, max, .. } if **sub == Ast::Any => Some(vec![Glob::gap(*min, *max)?]),
        Ast::Group { sub, .. } => globs(part.with(sub), limit),
        Ast::Concat(items) if items.len() > limit => None,
        Ast::Concat(items) => part.items(items).try_fold(vec![Glob::default()], |so_far, item| {
            let next = globs(item, limit)?;
            if so_far.len() * next.len() > limit {
                return None;
            }
            Some(so_far.iter().flat_map(|a| next.iter().map(move |b| a.then(b))).collect())
        }),
        Ast::Alternate(items) => {
            let mut all = Vec::new();
            for item in items {
                all.extend(globs(part.with(item), limit)?);
                if all.len() > limit {
                    return None;
                }
            }
            Some(all)
        }
        _ => optional_text(part, limit),
    }
}

/// A small set of words inside a glob: `x?`, `[ab]`.
fn optional_text(part: Anchored<'_>, limit: usize) -> Option<Vec<Glob>> {
    let words = words(part, limit.min(16)).filter(|words| !words.fold)?;
    Some(words.words.iter().map(|word| Glob::text(word)).collect())
}

/// The text that every match begins with, for expressions that only the engine knows. May be empty.
pub(super) fn engine_prefix(ast: &Ast) -> String {
    let mut prefix = String::new();
    collect_prefix(ast, &mut prefix);
    prefix
}

/// Adds to `prefix`; true if the whole part is text, so that what follows goes on.
fn collect_prefix(ast: &Ast, prefix: &mut String) -> bool {
    match ast {
        Ast::Empty => true,
        Ast::Look(look) => *look == Look::Start && prefix.is_empty(),
        Ast::Text { text, fold: false } => {
            prefix.push_str(text);
            true
        }
        Ast::Group { sub, .. } => collect_prefix(sub, prefix),
        Ast::Concat(items) => items.iter().all(|item| collect_prefix(item, prefix)),
        Ast::Alternate(items) => {
            let common = items.iter().map(engine_prefix).reduce(|a, b| common_prefix(&a, &b).to_owned());
            prefix.push_str(&common.unwrap_or_default());
            false
        }
        Ast::Repeat { sub, min, .. } if *min > 0 => {
            collect_prefix(sub, prefix);
            false
        }
        _ => false,
    }
}

/// The longest text that both begin with.
pub(super) fn common_prefix<'a>(a: &'a str, b: &str) -> &'a str {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
    a.get(..same).unwrap_or_default()
}
