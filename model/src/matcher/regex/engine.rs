//! The engine of last resort: `regex-automata` over the whole of a text.

use regex_automata::meta;
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::{Hir, Look};

use super::ast::Ast;
use super::error::{RegexError, RegexErrorKind};

/// The most memory for one compiled program.
const PROGRAM_BYTES_MAX: usize = 32 << 20;

/// A compiled expression, anchored at both ends.
#[derive(Debug)]
pub(super) struct Engine {
    regex: meta::Regex,
}

impl Engine {
    /// Compiles; `text` is what the error quotes.
    pub(super) fn new(ast: &Ast, captures: bool, text: &str) -> Result<Self, RegexError> {
        let hir = Hir::concat(vec![Hir::look(Look::Start), ast.to_hir(captures), Hir::look(Look::End)]);
        let which = if captures { WhichCaptures::All } else { WhichCaptures::None };
        let config = meta::Config::new().nfa_size_limit(Some(PROGRAM_BYTES_MAX)).which_captures(which);
        let regex = meta::Builder::new().configure(config).build_from_hir(&hir);
        regex.map(|regex| Self { regex }).map_err(|_| RegexError::new(RegexErrorKind::Large, text))
    }

    /// The bytes of the compiled expression.
    pub(super) fn heap_bytes(&self) -> usize {
        self.regex.memory_usage()
    }

    /// Compiles without anchors, with captures.
    pub(super) fn searching(ast: &Ast, text: &str) -> Result<Self, RegexError> {
        let config = meta::Config::new().nfa_size_limit(Some(PROGRAM_BYTES_MAX)).which_captures(WhichCaptures::All);
        let regex = meta::Builder::new().configure(config).build_from_hir(&ast.to_hir(true));
        regex.map(|regex| Self { regex }).map_err(|_| RegexError::new(RegexErrorKind::Large, text))
    }

    /// Whether it is found somewhere. Of an engine without anchors.
    pub(super) fn is_found(&self, text: &str) -> bool {
        self.regex.is_match(Input::new(text))
    }

    /// Where the groups of each match are, from the left, without overlaps. Of an engine without anchors.
    pub(super) fn all<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Slots> + 'a {
        self.regex.captures_iter(text).map(|captures| {
            let slots = captures.slots().iter();
            Slots(slots.map(|slot| slot.map(NonMaxUsize::get)).collect())
        })
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(Input::new(text).anchored(Anchored::Yes))
    }

    /// Where the groups are, if the text matches.
    pub(super) fn slots(&self, text: &str) -> Option<Slots> {
        let mut slots = vec![None; self.regex.group_info().slot_len()];
        self.regex.search_slots(&Input::new(text).anchored(Anchored::Yes), &mut slots)?;
        Some(Slots(slots.into_iter().map(|slot| slot.map(NonMaxUsize::get)).collect()))
    }
}

/// Start and end of each group; the first is the whole match.
pub(super) struct Slots(Vec<Option<usize>>);

impl Slots {
    /// Every group is the whole text.
    pub(super) fn whole(text: &str, groups: usize) -> Self {
        Self([Some(0), Some(text.len())].repeat(groups + 1))
    }

    /// Where the whole match is.
    pub(super) fn whole_match(&self) -> (usize, usize) {
        let at = |index: usize| self.0.get(index).copied().flatten().unwrap_or_default();
        (at(0), at(1))
    }

    /// The text of a group, which is empty if it does not exist or did not take part.
    pub(super) fn group<'a>(&self, text: &'a str, index: usize) -> &'a str {
        self.taken(text, index).unwrap_or_default()
    }

    /// The text of a group that took part.
    pub(super) fn taken<'a>(&self, text: &'a str, index: usize) -> Option<&'a str> {
        let at = index.checked_mul(2)?;
        let (start, end) = (*self.0.get(at)?, *self.0.get(at.checked_add(1)?)?);
        text.get(start?..end?)
    }
}
