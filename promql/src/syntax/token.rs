//! What can a piece of the query be, and how do messages name it?

use super::ast::{AggregateOp, BinaryOp};
use super::span::Span;

/// A piece of the query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// The end of the query.
    End,
    /// A name without colons that is no keyword.
    Identifier,
    /// A name with a colon.
    MetricIdentifier,
    /// A string with its quotes.
    String,
    /// `1.5`, `0x1f`, `inf`
    Number,
    /// `1h30m`
    Duration,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    /// `=`
    Equal,
    /// `=~`
    EqualRegex,
    /// `!~`
    NotRegex,
    /// `@`
    At,
    Op(BinaryOp),
    Aggregate(AggregateOp),
    Keyword(Keyword),
}

/// Words with a meaning that are neither operators nor aggregations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Offset,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Bool,
    Smoothed,
    Anchored,
    Fill,
    FillLeft,
    FillRight,
    Start,
    End,
    Step,
    Range,
    MinOf,
    MaxOf,
}

impl Keyword {
    /// Whether the word may stand as a metric name.
    pub(super) fn is_metric_name(self) -> bool {
        !matches!(self, Self::Bool | Self::On | Self::Ignoring | Self::GroupLeft | Self::GroupRight)
    }

    /// Whether the word names a function when a parenthesis follows.
    pub(super) fn is_function_name(self) -> bool {
        matches!(self, Self::Start | Self::End | Self::Step | Self::Range | Self::MinOf | Self::MaxOf)
    }
}

/// What a word means, in any case of letters; `None` if it is an ordinary name. The `fill` words are ordinary unless a
/// parenthesis follows.
pub(super) fn word(text: &str, before_paren: bool) -> Option<TokenKind> {
    // The longest word is `count_values`.
    let mut buffer = [0_u8; 12];
    let lower = buffer.get_mut(..text.len())?;
    lower.copy_from_slice(text.as_bytes());
    lower.make_ascii_lowercase();
    Some(match &*lower {
        b"sum" => TokenKind::Aggregate(AggregateOp::Sum),
        b"avg" => TokenKind::Aggregate(AggregateOp::Avg),
        b"count" => TokenKind::Aggregate(AggregateOp::Count),
        b"min" => TokenKind::Aggregate(AggregateOp::Min),
        b"max" => TokenKind::Aggregate(AggregateOp::Max),
        b"group" => TokenKind::Aggregate(AggregateOp::Group),
        b"stddev" => TokenKind::Aggregate(AggregateOp::Stddev),
        b"stdvar" => TokenKind::Aggregate(AggregateOp::Stdvar),
        b"topk" => TokenKind::Aggregate(AggregateOp::Topk),
        b"bottomk" => TokenKind::Aggregate(AggregateOp::Bottomk),
        b"count_values" => TokenKind::Aggregate(AggregateOp::CountValues),
        b"quantile" => TokenKind::Aggregate(AggregateOp::Quantile),
        b"limitk" => TokenKind::Aggregate(AggregateOp::Limitk),
        b"limit_ratio" => TokenKind::Aggregate(AggregateOp::LimitRatio),
        b"and" => TokenKind::Op(BinaryOp::And),
        b"or" => TokenKind::Op(BinaryOp::Or),
        b"unless" => TokenKind::Op(BinaryOp::Unless),
        b"atan2" => TokenKind::Op(BinaryOp::Atan2),
        b"inf" | b"nan" => TokenKind::Number,
        b"offset" => TokenKind::Keyword(Keyword::Offset),
        b"by" => TokenKind::Keyword(Keyword::By),
        b"without" => TokenKind::Keyword(Keyword::Without),
        b"on" => TokenKind::Keyword(Keyword::On),
        b"ignoring" => TokenKind::Keyword(Keyword::Ignoring),
        b"group_left" => TokenKind::Keyword(Keyword::GroupLeft),
        b"group_right" => TokenKind::Keyword(Keyword::GroupRight),
        b"bool" => TokenKind::Keyword(Keyword::Bool),
        b"smoothed" => TokenKind::Keyword(Keyword::Smoothed),
        b"anchored" => TokenKind::Keyword(Keyword::Anchored),
        b"fill" if before_paren => TokenKind::Keyword(Keyword::Fill),
        b"fill_left" if before_paren => TokenKind::Keyword(Keyword::FillLeft),
        b"fill_right" if before_paren => TokenKind::Keyword(Keyword::FillRight),
        b"start" => TokenKind::Keyword(Keyword::Start),
        b"end" => TokenKind::Keyword(Keyword::End),
        b"step" => TokenKind::Keyword(Keyword::Step),
        b"range" => TokenKind::Keyword(Keyword::Range),
        b"min_of" => TokenKind::Keyword(Keyword::MinOf),
        b"max_of" => TokenKind::Keyword(Keyword::MaxOf),
        _ => return None,
    })
}

impl Token {
    /// How messages name the token.
    pub(super) fn describe(self, query: &str) -> String {
        let text = self.span.text(query);
        match self.kind {
            TokenKind::End => "end of input".to_owned(),
            TokenKind::Identifier => format!("identifier {}", quote(text)),
            TokenKind::MetricIdentifier => format!("metric identifier {}", quote(text)),
            TokenKind::String => format!("string {}", quote_clipped(text)),
            TokenKind::Number => format!("number {}", quote_clipped(text)),
            TokenKind::Duration => format!("duration {}", quote_clipped(text)),
            TokenKind::Op(_) | TokenKind::At | TokenKind::EqualRegex | TokenKind::NotRegex => format!("<op:{text}>"),
            TokenKind::Aggregate(_) => format!("<aggr:{text}>"),
            TokenKind::Keyword(
                Keyword::Start | Keyword::End | Keyword::Step | Keyword::Range | Keyword::MinOf | Keyword::MaxOf,
            ) => quote(text),
            TokenKind::Keyword(_) => format!("<{text}>"),
            _ => quote(text),
        }
    }
}

fn quote(text: &str) -> String {
    ferula_model::go_quote(text)
}

/// Texts beyond ten bytes are cut to ten characters.
fn quote_clipped(text: &str) -> String {
    if text.len() <= 10 {
        return quote(text);
    }
    let cut = text.char_indices().nth(10).map_or(text.len(), |(at, _)| at);
    format!("{}...", quote(text.get(..cut).unwrap_or(text)))
}
