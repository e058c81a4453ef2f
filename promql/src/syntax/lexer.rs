//! Where does the query fall into tokens?
//!
//! Each kind of token is a small nom parser; [`Lexer`] chooses among them by the next character and by where it stands:
//! inside braces every word is a label name, inside brackets only lengths may stand. Tokens are made when they are asked
//! for, so that of several mistakes the parser reports the first. The texts of errors are those of Prometheus 3.14.

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::character::complete::satisfy;
use nom::combinator::recognize;
use nom::multi::many0_count;
use nom::sequence::pair;
use nom::{IResult, Parser};

use super::ast::BinaryOp;
use super::number::{Scan, scan_number};
use super::span::Span;
use super::string::check_string;
use super::token::{Token, TokenKind, word};

/// What is wrong with the characters from `start` on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LexError {
    pub(super) start: usize,
    pub(super) message: String,
}

#[derive(Debug)]
pub(super) struct Lexer<'q> {
    query: &'q str,
    at: usize,
    open_parens: u32,
    in_braces: bool,
    brackets: Brackets,
}

/// Where the lexer stands with respect to `[...]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Brackets {
    Outside,
    /// Behind `[`, before the first length.
    Empty,
    /// Behind the first length.
    Filled,
    /// Behind the colon.
    Colon,
}

impl<'q> Lexer<'q> {
    pub(super) fn new(query: &'q str) -> Self {
        Self { query, at: 0, open_parens: 0, in_braces: false, brackets: Brackets::Outside }
    }

    /// The next token; at the end, [`TokenKind::End`] again and again.
    pub(super) fn next(&mut self) -> Result<Token, LexError> {
        self.skip_blanks();
        let start = self.at;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return self.end() };
        let kind = if self.in_braces { self.inside_braces(rest, first)? } else { self.outside_braces(rest, first)? };
        Ok(Token { kind, span: Span::new(start, self.at) })
    }

    fn rest(&self) -> &'q str {
        self.query.get(self.at..).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        let comment = recognize(pair(tag::<_, _, ()>("#"), take_while(|c| c != '\n' && c != '\r')));
        let mut blanks = many0_count(alt((take_while1(is_space), comment)));
        let rest = self.rest();
        if let Ok((behind, _)) = blanks.parse(rest) {
            self.at += rest.len() - behind.len();
        }
    }

    fn end(&self) -> Result<Token, LexError> {
        let problem = if self.in_braces {
            "unexpected end of input inside braces"
        } else if self.brackets == Brackets::Empty {
            "unexpected end of input in duration expression"
        } else if self.open_parens > 0 {
            "unclosed left parenthesis"
        } else if self.brackets != Brackets::Outside {
            "unclosed left bracket"
        } else {
            return Ok(Token { kind: TokenKind::End, span: Span::new(self.at, self.at) });
        };
        self.fail(problem)
    }

    /// An error that begins where the lexer stands.
    fn fail<T>(&self, message: impl Into<String>) -> Result<T, LexError> {
        Err(LexError { start: self.at, message: message.into() })
    }

    fn take(&mut self, length: usize, kind: TokenKind) -> Result<TokenKind, LexError> {
        self.at += length;
        Ok(kind)
    }

    fn inside_braces(&mut self, rest: &'q str, first: char) -> Result<TokenKind, LexError> {
        match first {
            ',' => self.take(1, TokenKind::Comma),
            '}' => {
                self.in_braces = false;
                self.take(1, TokenKind::RightBrace)
            }
            '{' => self.fail(format!("unexpected left brace {}", quote_char('{'))),
            '"' | '\'' | '`' => self.string(rest),
            _ if is_alpha(first) => {
                let length = identifier(rest).map_or(0, |(_, name)| name.len());
                self.take(length, TokenKind::Identifier)
            }
            '=' | '!' => match match_operator(rest) {
                Ok((_, operator)) => {
                    let kind = match operator {
                        "=~" => TokenKind::EqualRegex,
                        "!~" => TokenKind::NotRegex,
                        "!=" => TokenKind::Op(BinaryOp::NotEqual),
                        _ => TokenKind::Equal,
                    };
                    self.take(operator.len(), kind)
                }
                Err(_) => self.fail(format!("unexpected character after '!' inside braces: {}", quote_second(rest))),
            },
            _ => self.fail(format!("unexpected character inside braces: {}", quote_char(first))),
        }
    }

    fn outside_braces(&mut self, rest: &'q str, first: char) -> Result<TokenKind, LexError> {
        if let Ok((_, operator)) = operator(rest) {
            return self.take(operator.0, TokenKind::Op(operator.1));
        }
        match first {
            ',' => self.take(1, TokenKind::Comma),
            '@' => self.take(1, TokenKind::At),
            '(' => {
                self.open_parens += 1;
                self.take(1, TokenKind::LeftParen)
            }
            ')' if self.open_parens == 0 => {
                self.at += 1;
                self.fail(format!("unexpected right parenthesis {}", quote_char(')')))
            }
            ')' => {
                self.open_parens -= 1;
                self.take(1, TokenKind::RightParen)
            }
            '{' => {
                self.in_braces = true;
                self.take(1, TokenKind::LeftBrace)
            }
            '=' if rest.starts_with("=~") => self.fail("unexpected character after '=': '~'"),
            '=' => self.take(1, TokenKind::Equal),
            '!' => self.fail(format!("unexpected character after '!': {}", quote_second(rest))),
            '[' | ']' | ':' => self.bracket(rest, first),
            '"' | '\'' | '`' if self.brackets != Brackets::Empty => self.string(rest),
            _ if first.is_ascii_digit() || (first == '.' && second(rest).is_some_and(|c| c.is_ascii_digit())) => {
                self.number(rest)
            }
            _ if is_alpha(first) => self.word(rest, first),
            _ if self.brackets == Brackets::Empty => self.unexpected_in_length(first),
            _ => self.fail(format!("unexpected character: {}", quote_char(first))),
        }
    }

    fn unexpected_in_length(&self, found: char) -> Result<TokenKind, LexError> {
        self.fail(format!("unexpected character in duration expression: {}", quote_char(found)))
    }

    fn bracket(&mut self, rest: &'q str, first: char) -> Result<TokenKind, LexError> {
        match (first, self.brackets) {
            ('[', Brackets::Outside) => {
                self.brackets = Brackets::Empty;
                self.take(1, TokenKind::LeftBracket)
            }
            ('[', Brackets::Empty) => self.unexpected_in_length('['),
            ('[', _) => self.fail(format!("unexpected left bracket {}", quote_char('['))),
            (']', Brackets::Outside) => self.fail(format!("unexpected right bracket {}", quote_char(']'))),
            (']', _) => {
                self.brackets = Brackets::Outside;
                self.take(1, TokenKind::RightBracket)
            }
            (_, Brackets::Outside) => self.word(rest, first),
            (_, Brackets::Empty) => {
                self.at += 1;
                self.fail("unexpected colon before duration in duration expression")
            }
            (_, Brackets::Filled) => {
                self.brackets = Brackets::Colon;
                self.take(1, TokenKind::Colon)
            }
            (_, Brackets::Colon) => self.fail(format!("unexpected colon {}", quote_char(':'))),
        }
    }

    fn number(&mut self, rest: &'q str) -> Result<TokenKind, LexError> {
        if self.brackets == Brackets::Empty {
            self.brackets = Brackets::Filled;
        }
        match scan_number(rest) {
            Scan::Number(length) => self.take(length, TokenKind::Number),
            Scan::Duration(length) => self.take(length, TokenKind::Duration),
            Scan::Bad(length) => {
                let seen = rest.get(..length).unwrap_or(rest);
                self.fail(format!("bad number or duration syntax: {}", ferula_model::go_quote(seen)))
            }
        }
    }

    fn string(&mut self, rest: &'q str) -> Result<TokenKind, LexError> {
        match check_string(rest) {
            Ok(length) => self.take(length, TokenKind::String),
            Err(problem) => self.fail(problem),
        }
    }

    fn word(&mut self, rest: &'q str, first: char) -> Result<TokenKind, LexError> {
        let Ok((behind, name)) = metric_identifier(rest) else {
            return self.fail(format!("unexpected character: {}", quote_char(first)));
        };
        let kind = word(name, behind.trim_start_matches(is_space).starts_with('('));
        if self.brackets != Brackets::Outside {
            match kind {
                Some(TokenKind::Keyword(keyword)) if keyword.is_function_name() => {}
                _ => return self.unexpected_in_length(first),
            }
            if self.brackets == Brackets::Empty {
                self.brackets = Brackets::Filled;
            }
        }
        let otherwise = || if name.contains(':') { TokenKind::MetricIdentifier } else { TokenKind::Identifier };
        self.take(name.len(), kind.unwrap_or_else(otherwise))
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}

fn identifier(rest: &str) -> IResult<&str, &str> {
    recognize(pair(satisfy(is_alpha), take_while(is_alphanumeric))).parse(rest)
}

fn metric_identifier(rest: &str) -> IResult<&str, &str> {
    let first = satisfy(|c| is_alpha(c) || c == ':');
    recognize(pair(first, take_while(|c| is_alphanumeric(c) || c == ':'))).parse(rest)
}

fn match_operator(rest: &str) -> IResult<&str, &str> {
    alt((tag("=~"), tag("!~"), tag("!="), tag("="))).parse(rest)
}

/// An operator written in signs, with its length.
fn operator(rest: &str) -> IResult<&str, (usize, BinaryOp)> {
    let two = alt((
        tag("==").map(|_| (2, BinaryOp::Equal)),
        tag("!=").map(|_| (2, BinaryOp::NotEqual)),
        tag("<=").map(|_| (2, BinaryOp::LessOrEqual)),
        tag(">=").map(|_| (2, BinaryOp::GreaterOrEqual)),
        tag("</").map(|_| (2, BinaryOp::TrimUpper)),
        tag(">/").map(|_| (2, BinaryOp::TrimLower)),
    ));
    let one = alt((
        tag("+").map(|_| (1, BinaryOp::Add)),
        tag("-").map(|_| (1, BinaryOp::Sub)),
        tag("*").map(|_| (1, BinaryOp::Mul)),
        tag("/").map(|_| (1, BinaryOp::Div)),
        tag("%").map(|_| (1, BinaryOp::Mod)),
        tag("^").map(|_| (1, BinaryOp::Pow)),
        tag("<").map(|_| (1, BinaryOp::Less)),
        tag(">").map(|_| (1, BinaryOp::Greater)),
    ));
    alt((two, one)).parse(rest)
}

fn second(rest: &str) -> Option<char> {
    rest.chars().nth(1)
}

/// The second character as messages quote it; behind the end, the replacement character.
fn quote_second(rest: &str) -> String {
    quote_char(second(rest).unwrap_or(char::REPLACEMENT_CHARACTER))
}

/// A character in single quotes with Go's escapes.
pub(super) fn quote_char(c: char) -> String {
    match c {
        '\'' => "'\\''".to_owned(),
        '"' => "'\"'".to_owned(),
        _ => {
            let quoted = ferula_model::go_quote(c.encode_utf8(&mut [0; 4]));
            format!("'{}'", quoted.trim_matches('"'))
        }
    }
}
