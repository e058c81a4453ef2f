//! The pieces of a template, and how messages show them.

use std::fmt;

use ferula_model::go_quote;

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What the lexer could not read; the text is the complaint.
    Error,
    End,
    Text,
    LeftDelim,
    RightDelim,
    LeftParen,
    RightParen,
    Space,
    Assign,
    Declare,
    Pipe,
    /// Any other printable character.
    Char,
    Bool,
    CharConstant,
    Number,
    Quoted,
    RawQuoted,
    Dot,
    /// `.name`
    Field,
    /// `$name`
    Variable,
    Identifier,
    Keyword(Keyword),
}

/// Words that control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

impl Keyword {
    pub(super) fn of(word: &str) -> Option<Self> {
        Some(match word {
            "block" => Self::Block,
            "break" => Self::Break,
            "continue" => Self::Continue,
            "define" => Self::Define,
            "else" => Self::Else,
            "end" => Self::End,
            "if" => Self::If,
            "nil" => Self::Nil,
            "range" => Self::Range,
            "template" => Self::Template,
            "with" => Self::With,
            _ => return None,
        })
    }
}

/// A piece with its place.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) text: String,
    /// Byte offset in the template.
    pub(super) at: usize,
    /// From 1.
    pub(super) line: usize,
}

/// As Go's parser shows it.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::End => f.write_str("EOF"),
            Kind::Error => f.write_str(&self.text),
            Kind::Keyword(_) => write!(f, "<{}>", self.text),
            _ if self.text.len() > 10 => {
                write!(f, "{}...", go_quote(&self.text.chars().take(10).collect::<String>()))
            }
            _ => f.write_str(&go_quote(&self.text)),
        }
    }
}
