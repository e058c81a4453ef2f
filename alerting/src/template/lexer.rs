//! From text to tokens. The first mistake is the last token.
//!
//! Spaces inside actions are tokens, since `$x .y` and `$x.y` differ. Trim markers (`{{- `, ` -}}`) take spaces off the text
//! next to them and leave no token; neither do comments.

use super::token::{Keyword, Kind, Token};

const LEFT: &str = "{{";
const RIGHT: &str = "}}";
const SPACES: &[char] = &[' ', '\t', '\r', '\n'];

/// Reads a whole template.
pub(super) fn lex(input: &str) -> Vec<Token> {
    let mut lexer = Lexer { input, at: 0, start: 0, line: 1, start_line: 1, parens: 0, tokens: Vec::new() };
    lexer.run();
    lexer.tokens
}

struct Lexer<'a> {
    input: &'a str,
    at: usize,
    start: usize,
    line: usize,
    start_line: usize,
    parens: usize,
    tokens: Vec<Token>,
}

/// The lexing is over: a mistake was noted, or the end was reached.
struct Over;

impl<'a> Lexer<'a> {
    fn run(&mut self) {
        while self.text().is_ok() && self.action().is_ok() {}
    }

    fn rest(&self) -> &'a str {
        self.input.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.skip(c.len_utf8());
        Some(c)
    }

    fn skip(&mut self, bytes: usize) {
        let end = (self.at + bytes).min(self.input.len());
        self.line += self.input.get(self.at..end).unwrap_or_default().matches('\n').count();
        self.at = end;
    }

    /// Takes a character if it is one of these.
    fn accept(&mut self, set: &str) -> bool {
        let found = self.peek().is_some_and(|c| set.contains(c));
        if found {
            self.next();
        }
        found
    }

    fn accept_run(&mut self, set: &str) {
        while self.accept(set) {}
    }

    fn taken(&self) -> &'a str {
        self.input.get(self.start..self.at).unwrap_or_default()
    }

    fn begin(&mut self) {
        self.start = self.at;
        self.start_line = self.line;
    }

    fn emit(&mut self, kind: Kind) {
        let (text, at, line) = (self.taken().to_owned(), self.start, self.start_line);
        self.tokens.push(Token { kind, text, at, line });
        self.begin();
    }

    fn fail<T>(&mut self, problem: impl Into<String>) -> Result<T, Over> {
        self.tokens.push(Token { kind: Kind::Error, text: problem.into(), at: self.start, line: self.start_line });
        Err(Over)
    }

    /// Text up to an action, and the opening of the action.
    fn text(&mut self) -> Result<(), Over> {
        loop {
            let rest = self.rest();
            let Some(length) = rest.find(LEFT) else {
                self.skip(rest.len());
                if !self.taken().is_empty() {
                    self.emit(Kind::Text);
                }
                self.emit(Kind::End);
                return Err(Over);
            };
            let (text, action) = rest.split_at(length);
            let inside = action.get(LEFT.len()..).unwrap_or_default();
            let trims = has_left_trim(inside);
            let kept = if trims { text.trim_end_matches(SPACES) } else { text };
            self.skip(kept.len());
            if !kept.is_empty() {
                self.emit(Kind::Text);
            }
            self.skip(text.len() - kept.len());
            self.begin();
            let marker = if trims { 2 } else { 0 };
            if inside.get(marker..).unwrap_or_default().starts_with("/*") {
                self.skip(LEFT.len() + marker);
                self.begin();
                self.comment()?;
                continue;
            }
            self.skip(LEFT.len());
            self.emit(Kind::LeftDelim);
            self.skip(marker);
            self.begin();
            self.parens = 0;
            return Ok(());
        }
    }

    fn comment(&mut self) -> Result<(), Over> {
        self.skip(2);
        let Some(length) = self.rest().find("*/") else { return self.fail("unclosed comment") };
        self.skip(length + 2);
        let Some(trims) = self.at_right() else { return self.fail("comment ends before closing delimiter") };
        self.close(trims);
        Ok(())
    }

    /// Whether the action ends here, and if so, whether it trims.
    fn at_right(&self) -> Option<bool> {
        let rest = self.rest();
        if rest.starts_with(SPACES) && rest.get(1..).is_some_and(|r| r.starts_with("-}}")) {
            return Some(true);
        }
        rest.starts_with(RIGHT).then_some(false)
    }

    /// Goes past the end of an action.
    fn close(&mut self, trims: bool) {
        self.skip(RIGHT.len() + if trims { 2 } else { 0 });
        if trims {
            let rest = self.rest();
            self.skip(rest.len() - rest.trim_start_matches(SPACES).len());
        }
        self.begin();
    }

    /// All of an action, its end included.
    fn action(&mut self) -> Result<(), Over> {
        loop {
            if let Some(trims) = self.at_right() {
                if self.parens > 0 {
                    return self.fail("unclosed left paren");
                }
                let (at, line) = (self.at + if trims { 2 } else { 0 }, self.line);
                self.tokens.push(Token { kind: Kind::RightDelim, text: RIGHT.to_owned(), at, line });
                self.close(trims);
                return Ok(());
            }
            let Some(c) = self.next() else { return self.fail("unclosed action") };
            match c {
                c if SPACES.contains(&c) => self.spaces(),
                '=' => self.emit(Kind::Assign),
                ':' => {
                    if !self.accept("=") {
                        return self.fail("expected :=");
                    }
                    self.emit(Kind::Declare);
                }
                '|' => self.emit(Kind::Pipe),
                '"' => self.quoted('"', Kind::Quoted, "unterminated quoted string")?,
                '\'' => self.quoted('\'', Kind::CharConstant, "unterminated character constant")?,
                '`' => {
                    let Some(length) = self.rest().find('`') else {
                        return self.fail("unterminated raw quoted string");
                    };
                    self.skip(length + 1);
                    self.emit(Kind::RawQuoted);
                }
                '$' => self.field_or_variable(Kind::Variable)?,
                '.' if !self.peek().is_some_and(|c| c.is_ascii_digit()) => self.field_or_variable(Kind::Field)?,
                '.' | '+' | '-' | '0'..='9' => self.number(c)?,
                c if is_alphanumeric(c) => self.word()?,
                '(' => {
                    self.parens += 1;
                    self.emit(Kind::LeftParen);
                }
                ')' => {
                    if self.parens == 0 {
                        return self.fail("unexpected right paren");
                    }
                    self.parens -= 1;
                    self.emit(Kind::RightParen);
                }
                c if c.is_ascii_graphic() => self.emit(Kind::Char),
                c => return self.fail(format!("unrecognized character in action: {}", unicode(c))),
            }
        }
    }

    /// Spaces; the last of them may belong to the end of the action.
    fn spaces(&mut self) {
        loop {
            let before = self.at;
            if self
                .input
                .get(before - 1..)
                .is_some_and(|from_space| from_space.get(1..).is_some_and(|r| r.starts_with("-}}")))
            {
                self.at = before - 1;
                self.line -= self.input.get(before - 1..before).unwrap_or_default().matches('\n').count();
                if self.at > self.start {
                    self.emit(Kind::Space);
                }
                return;
            }
            if !self.peek().is_some_and(|c| SPACES.contains(&c)) {
                break;
            }
            self.next();
        }
        self.emit(Kind::Space);
    }

    fn quoted(&mut self, quote: char, kind: Kind, problem: &str) -> Result<(), Over> {
        loop {
            match self.next() {
                Some('\\') if self.peek().is_some_and(|c| c != '\n') => {
                    self.next();
                }
                Some(c) if c == quote => {
                    self.emit(kind);
                    return Ok(());
                }
                None | Some('\n' | '\\') => return self.fail(problem),
                Some(_) => {}
            }
        }
    }

    fn field_or_variable(&mut self, kind: Kind) -> Result<(), Over> {
        if self.at_terminator() {
            self.emit(if kind == Kind::Field { Kind::Dot } else { kind });
            return Ok(());
        }
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
        self.check_terminator()?;
        self.emit(kind);
        Ok(())
    }

    fn word(&mut self) -> Result<(), Over> {
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
        self.check_terminator()?;
        let kind = match (self.taken(), Keyword::of(self.taken())) {
            (_, Some(keyword)) => Kind::Keyword(keyword),
            ("true" | "false", None) => Kind::Bool,
            _ => Kind::Identifier,
        };
        self.emit(kind);
        Ok(())
    }

    fn check_terminator(&mut self) -> Result<(), Over> {
        match self.peek() {
            Some(c) if !self.at_terminator() => self.fail(format!("bad character {}", unicode(c))),
            _ => Ok(()),
        }
    }

    fn at_terminator(&self) -> bool {
        match self.peek() {
            None | Some('.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(c) => SPACES.contains(&c) || self.rest().starts_with(RIGHT),
        }
    }

    fn number(&mut self, first: char) -> Result<(), Over> {
        // The first character is looked at again.
        self.at -= first.len_utf8();
        self.accept("+-");
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        let exponent = if digits.len() == 11 { "eE" } else { "pP" };
        if digits.len() >= 11 && self.accept(exponent) {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        if self.peek().is_some_and(is_alphanumeric) {
            self.next();
            let problem = format!("bad number syntax: {}", ferula_model::go_quote(self.taken()));
            return self.fail(problem);
        }
        self.emit(Kind::Number);
        Ok(())
    }
}

fn has_left_trim(inside: &str) -> bool {
    inside.strip_prefix('-').is_some_and(|rest| rest.starts_with(SPACES))
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Go's `%#U`.
pub(super) fn unicode(c: char) -> String {
    format!("U+{:04X} '{c}'", u32::from(c))
}
