//! From text to tree: RE2 as Go's `regexp/syntax` reads it, with the same refusals.
//!
//! The parser keeps a stack of open groups instead of calling itself, so that no expression can overflow the thread's
//! stack; the height of the tree is limited.

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange, Look};

use super::ast::{Ast, has_case};
use super::class::{parse_brackets, parse_class_escape};
use super::error::{RegexError, RegexErrorKind};
use super::escape::{parse_escape, take_char};
use super::repeat::{COUNT_MAX, Count, parse_count};

/// The most nodes between root and leaf. Go has 1000; the engine's compiler calls itself once per node, and must do so on
/// a thread with 2 MiB of stack even in a debug build.
const HEIGHT_MAX: u32 = 200;
/// The most ranges of characters in all classes together (8 bytes each).
const CLASS_RANGES_MAX: usize = 1 << 21;

/// A parsed expression.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) ast: Ast,
    /// The names of the capture groups, the first of which is number 1.
    pub(super) group_names: Vec<Option<String>>,
}

/// Reads an expression in which a dot matches newlines, too, as all of Prometheus' expressions are.
pub(super) fn parse(text: &str) -> Result<Parsed, RegexError> {
    let mut parser = Parser {
        whole: text,
        rest: text,
        flags: Flags { fold: false, multi_line: false, dot_newline: true, swap_greed: false },
        open: vec![Level::default()],
        group_names: Vec::new(),
        class_ranges: 0,
        last_repeat: None,
    };
    while !parser.rest.is_empty() {
        let before = parser.rest;
        if !parser.step()? {
            parser.last_repeat = None;
        } else if parser.last_repeat.is_none() {
            parser.last_repeat = Some(before);
        }
    }
    parser.finish()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flags {
    /// `i`: case does not count.
    fold: bool,
    /// `m`: `^` and `$` match at lines.
    multi_line: bool,
    /// `s`: `.` matches newlines.
    dot_newline: bool,
    /// `U`: lazy is greedy and greedy is lazy.
    swap_greed: bool,
}

/// A tree with what the limits need to know.
#[derive(Debug)]
struct Item {
    ast: Ast,
    height: u32,
    /// The largest product of nested counts.
    count_product: u32,
}

/// An open group: finished choices, and the items of the choice that is being read.
#[derive(Debug, Default)]
struct Level {
    choices: Vec<Item>,
    items: Vec<Item>,
    /// What `)` closes; `None` for the whole expression.
    group: Option<Group>,
}

#[derive(Debug)]
struct Group {
    /// `None`: it does not capture.
    index: Option<u32>,
    /// The flags to return to.
    flags: Flags,
}

struct Parser<'a> {
    whole: &'a str,
    rest: &'a str,
    flags: Flags,
    open: Vec<Level>,
    group_names: Vec<Option<String>>,
    class_ranges: usize,
    /// The text from the repetition operator that was just read, if that is what was just read.
    last_repeat: Option<&'a str>,
}

impl<'a> Parser<'a> {
    /// Reads one construct; true if it was a repetition operator.
    fn step(&mut self) -> Result<bool, RegexError> {
        let Some((c, after)) = take_char(self.rest) else { return Ok(false) };
        match c {
            '(' if after.starts_with('?') => self.open_special()?,
            '(' => {
                self.rest = after;
                self.open_group(Some(None));
            }
            '|' => {
                self.rest = after;
                self.end_choice()?;
            }
            ')' => {
                self.rest = after;
                self.close_group()?;
            }
            '^' => self.take_look(if self.flags.multi_line { Look::StartLF } else { Look::Start }, 1)?,
            '$' => self.take_look(if self.flags.multi_line { Look::EndLF } else { Look::End }, 1)?,
            '.' => {
                self.rest = after;
                self.push_dot()?;
            }
            '[' => {
                let (class, after) = parse_brackets(self.rest, self.flags.fold)?;
                self.rest = after;
                self.push_class(class)?;
            }
            '\\' => self.take_escape()?,
            _ => match parse_count(self.rest) {
                Some((count, after)) => {
                    self.repeat(count, after)?;
                    return Ok(true);
                }
                None => {
                    self.rest = after;
                    self.push_char(c)?;
                }
            },
        }
        Ok(false)
    }

    fn take_escape(&mut self) -> Result<(), RegexError> {
        match self.rest.as_bytes().get(1) {
            Some(b'A') => return self.take_look(Look::Start, 2),
            Some(b'z') => return self.take_look(Look::End, 2),
            Some(b'b') => return self.take_look(Look::WordAscii, 2),
            Some(b'B') => return self.take_look(Look::WordAsciiNegate, 2),
            Some(b'Q') => return self.take_quoted(),
            // "Any byte" would break characters apart; `parse_escape` refuses it like any unknown letter.
            _ => {}
        }
        if let Some((class, after)) = parse_class_escape(self.rest, self.flags.fold)? {
            self.rest = after;
            return self.push_class(class);
        }
        let (code, after) = parse_escape(self.rest)?;
        self.rest = after;
        match char::from_u32(code) {
            Some(c) => self.push_char(c),
            // A surrogate is in no text.
            None => self.push_class(ClassUnicode::empty()),
        }
    }

    /// `\Q...\E`, or to the end of the expression.
    fn take_quoted(&mut self) -> Result<(), RegexError> {
        let inside = self.rest.get(2..).unwrap_or_default();
        let (quoted, after) = inside.split_once("\\E").unwrap_or((inside, ""));
        self.rest = after;
        quoted.chars().try_for_each(|c| self.push_char(c))
    }

    fn take_look(&mut self, look: Look, length: usize) -> Result<(), RegexError> {
        self.rest = self.rest.get(length..).unwrap_or_default();
        self.push(Item { ast: Ast::Look(look), height: 1, count_product: 1 })
    }

    fn push_dot(&mut self) -> Result<(), RegexError> {
        if self.flags.dot_newline {
            return self.push(Item { ast: Ast::Any, height: 1, count_product: 1 });
        }
        let mut class = ClassUnicode::new([ClassUnicodeRange::new('\n', '\n')]);
        class.negate();
        self.push_class(class)
    }

    fn push_char(&mut self, c: char) -> Result<(), RegexError> {
        let fold = self.flags.fold && has_case(c);
        self.push(Item { ast: Ast::Text { text: c.into(), fold }, height: 1, count_product: 1 })
    }

    fn push_class(&mut self, class: ClassUnicode) -> Result<(), RegexError> {
        self.class_ranges += class.ranges().len();
        if self.class_ranges > CLASS_RANGES_MAX {
            return Err(self.error(RegexErrorKind::Large));
        }
        self.push(Item { ast: Ast::Class(class), height: 1, count_product: 1 })
    }

    fn push(&mut self, item: Item) -> Result<(), RegexError> {
        if item.height > HEIGHT_MAX {
            return Err(self.error(RegexErrorKind::NestingDepth));
        }
        self.level().items.push(item);
        Ok(())
    }

    /// The innermost open group. There always is one: the first level is never closed.
    fn level(&mut self) -> &mut Level {
        if self.open.is_empty() {
            self.open.push(Level::default());
        }
        let last = self.open.len() - 1;
        &mut self.open[last]
    }

    fn error(&self, kind: RegexErrorKind) -> RegexError {
        RegexError::new(kind, self.whole)
    }

    /// Repeats the last item. `after` follows the operator.
    fn repeat(&mut self, count: Count, after: &'a str) -> Result<(), RegexError> {
        let operator = self.rest;
        let written = |from: &str, after: &str| from[..from.len() - after.len()].to_owned();
        if !count.is_valid() {
            return Err(RegexError::new(RegexErrorKind::InvalidRepeatSize, written(operator, after)));
        }
        let lazy = after.starts_with('?');
        let after = if lazy { &after[1..] } else { after };
        if let Some(last) = self.last_repeat {
            return Err(RegexError::new(RegexErrorKind::InvalidRepeatOp, written(last, after)));
        }
        let greedy = lazy == self.flags.swap_greed;
        let Some(sub) = self.level().items.pop() else {
            return Err(RegexError::new(RegexErrorKind::MissingRepeatArgument, written(operator, after)));
        };
        let count_product = sub.count_product.saturating_mul(count.factor());
        if count.checks_product() && count_product > COUNT_MAX {
            return Err(RegexError::new(RegexErrorKind::InvalidRepeatSize, written(operator, after)));
        }
        self.rest = after;
        let ast = Ast::Repeat { sub: Box::new(sub.ast), min: count.min, max: count.max, greedy };
        self.push(Item { ast, height: sub.height + 1, count_product })
    }

    /// Opens a group; `Some(name)` if it captures.
    fn open_group(&mut self, capture: Option<Option<String>>) {
        let index = capture.map(|name| {
            self.group_names.push(name);
            self.group_names.len() as u32
        });
        self.open.push(Level { group: Some(Group { index, flags: self.flags }), ..Level::default() });
    }

    /// `(?...`: a named group, a group with flags, or flags for the rest of the group.
    fn open_special(&mut self) -> Result<(), RegexError> {
        let text = self.rest;
        let inside = text.get(2..).unwrap_or_default();
        let named = inside.strip_prefix("P<").filter(|rest| !rest.is_empty()).or_else(|| inside.strip_prefix('<'));
        if let Some(name_on) = named.filter(|rest| !rest.is_empty()) {
            return self.open_named(text, name_on);
        }
        let (flags, opens, after) = parse_flags(text, inside, self.flags)?;
        self.rest = after;
        if opens {
            self.open_group(None);
        }
        self.flags = flags;
        Ok(())
    }

    fn open_named(&mut self, text: &'a str, name_on: &'a str) -> Result<(), RegexError> {
        let Some((name, after)) = name_on.split_once('>') else {
            return Err(RegexError::new(RegexErrorKind::InvalidNamedCapture, text));
        };
        if name.is_empty() || !name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric()) {
            return Err(RegexError::new(RegexErrorKind::InvalidNamedCapture, &text[..text.len() - after.len()]));
        }
        self.rest = after;
        self.open_group(Some(Some(name.to_owned())));
        Ok(())
    }

    /// `|`: the items so far are a choice.
    fn end_choice(&mut self) -> Result<(), RegexError> {
        let items = std::mem::take(&mut self.level().items);
        let choice = join(items, Ast::concat);
        if choice.height > HEIGHT_MAX {
            return Err(self.error(RegexErrorKind::NestingDepth));
        }
        self.level().choices.push(choice);
        Ok(())
    }

    fn close_group(&mut self) -> Result<(), RegexError> {
        self.end_choice()?;
        let level = std::mem::take(self.level());
        self.open.pop();
        let Some(group) = level.group else {
            return Err(self.error(RegexErrorKind::UnexpectedParen));
        };
        let mut item = join(level.choices, Ast::alternate);
        if let Some(index) = group.index {
            item = Item { ast: Ast::Group { index, sub: Box::new(item.ast) }, height: item.height + 1, ..item };
        }
        self.flags = group.flags;
        self.push(item)
    }

    fn finish(mut self) -> Result<Parsed, RegexError> {
        self.end_choice()?;
        let level = std::mem::take(self.level());
        if level.group.is_some() {
            return Err(self.error(RegexErrorKind::MissingParen));
        }
        Ok(Parsed { ast: join(level.choices, Ast::alternate).ast, group_names: self.group_names })
    }
}

/// Several items as one.
fn join(items: Vec<Item>, combine: fn(Vec<Ast>) -> Ast) -> Item {
    let single = items.len() == 1;
    let height = items.iter().map(|item| item.height).max().unwrap_or(0) + u32::from(!single);
    let count_product = items.iter().map(|item| item.count_product).max().unwrap_or(1);
    Item { ast: combine(items.into_iter().map(|item| item.ast).collect()), height, count_product }
}

/// Reads flags up to `:` or `)`. `text` starts at the parenthesis, `rest` behind `(?`. Gives the flags, whether a group
/// opens, and what follows.
fn parse_flags<'a>(text: &'a str, mut rest: &'a str, mut flags: Flags) -> Result<(Flags, bool, &'a str), RegexError> {
    let mut set = true;
    let mut any_since_minus = true;
    while let Some((c, after)) = take_char(rest) {
        rest = after;
        match c {
            'i' => flags.fold = set,
            'm' => flags.multi_line = set,
            's' => flags.dot_newline = set,
            'U' => flags.swap_greed = set,
            '-' if set => {
                set = false;
                any_since_minus = false;
                continue;
            }
            ':' | ')' if any_since_minus => return Ok((flags, c == ':', after)),
            _ => break,
        }
        any_since_minus = true;
    }
    Err(RegexError::new(RegexErrorKind::InvalidPerlOp, &text[..text.len() - rest.len()]))
}
