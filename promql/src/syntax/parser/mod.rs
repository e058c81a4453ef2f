//! Which tree do the tokens form?
//!
//! A Pratt parser by hand over a lazy lexer with one token of lookahead. Mistakes are reported in the order in which
//! Prometheus' generated parser meets them: what is wrong with a finished piece comes before what is wrong with the
//! token behind it. Reading order: this file (operators), [`primary`] (what operators work on), [`selector`], [`lengths`].
//!
//! # Invariants
//!
//! - No tree is higher than [`HEIGHT_MAX`], so that walking it by recursion is safe.

mod lengths;
mod primary;
mod selector;

use super::ast::{Binary, BinaryOp, Cardinality, Expr, Unary, ValueType, VectorMatching};
use super::error::ParseErrorKind;
use super::lexer::Lexer;
use super::span::Span;
use super::token::{Keyword, Token, TokenKind};
use super::{Dialect, ParseError};

/// How deep parentheses, calls, signs and right operands may be nested. Queries from the wild have a tenth of this; the
/// bound is what a thread with 2 MiB of stack parses in an unoptimised build, twice over.
const NESTING_MAX: u32 = 128;

/// How high a tree may be: as [`NESTING_MAX`], but with chains of operators counted too (`a + b + c` has the height 3).
const HEIGHT_MAX: u32 = 256;

/// A mistake without the query's text.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) kind: ParseErrorKind,
    pub(super) span: Span,
    pub(super) message: String,
}

type Outcome<T> = Result<T, Box<Mistake>>;

/// A finished piece and the height of its tree.
struct Piece {
    expr: Expr,
    height: u32,
}

/// Reads the whole query; types are not checked.
pub(super) fn parse_query(query: &str, dialect: &Dialect) -> Result<Expr, ParseError> {
    let mut parser = Parser::new(query, dialect);
    parser.query_expr().map_err(|mistake| ParseError::new(mistake.kind, mistake.span, mistake.message, query))
}

/// Reads a query that is only a selector with a name or matchers, without modifiers.
pub(super) fn parse_selector(query: &str, dialect: &Dialect) -> Result<Expr, ParseError> {
    let mut parser = Parser::new(query, dialect);
    parser.only_selector().map_err(|mistake| ParseError::new(mistake.kind, mistake.span, mistake.message, query))
}

struct Parser<'q> {
    query: &'q str,
    dialect: &'q Dialect,
    lexer: Lexer<'q>,
    lookahead: Option<Token>,
    /// How many aggregations have begun and not ended: messages mention them.
    open_aggregates: u32,
    depth: u32,
}

impl<'q> Parser<'q> {
    fn new(query: &'q str, dialect: &'q Dialect) -> Self {
        Self { query, dialect, lexer: Lexer::new(query), lookahead: None, open_aggregates: 0, depth: 0 }
    }

    fn query_expr(&mut self) -> Outcome<Expr> {
        if self.peek()?.kind == TokenKind::End {
            return fail(ParseErrorKind::Grammar, Span::default(), "no expression found in input");
        }
        let piece = self.expr(1)?;
        match self.peek()?.kind {
            TokenKind::End => Ok(piece.expr),
            _ => self.unexpected("", ""),
        }
    }

    // Tokens.

    fn peek(&mut self) -> Outcome<Token> {
        if let Some(token) = self.lookahead {
            return Ok(token);
        }
        let token = self.lexer.next().map_err(|error| {
            let span = Span::new(error.start, self.query.len().max(error.start));
            Box::new(Mistake { kind: ParseErrorKind::Token, span, message: error.message })
        })?;
        self.lookahead = Some(token);
        Ok(token)
    }

    /// Takes the token that was peeked at.
    fn advance(&mut self) -> Outcome<Token> {
        let token = self.peek()?;
        if token.kind != TokenKind::End {
            self.lookahead = None;
        }
        Ok(token)
    }

    fn accept(&mut self, kind: TokenKind) -> Outcome<Option<Token>> {
        if self.peek()?.kind == kind { self.advance().map(Some) } else { Ok(None) }
    }

    fn text(&self, token: Token) -> &'q str {
        self.query.get(token.span.range()).unwrap_or_default()
    }

    /// The token at hand cannot stand here.
    fn unexpected<T>(&mut self, context: &str, expected: &str) -> Outcome<T> {
        let token = self.peek()?;
        let mut message = format!("unexpected {}", token.describe(self.query));
        let context = if context.is_empty() && self.open_aggregates > 0 { "aggregation" } else { context };
        if !context.is_empty() {
            message.push_str(" in ");
            message.push_str(context);
        }
        if !expected.is_empty() {
            message.push_str(", expected ");
            message.push_str(expected);
        }
        fail(ParseErrorKind::Grammar, token.span, message)
    }

    // Depth.

    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        self.depth += 1;
        self.check_limit(self.depth, NESTING_MAX)?;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// A piece of that height, at the present depth, is not too much.
    fn check_height(&mut self, height: u32) -> Outcome<()> {
        self.check_limit(self.depth + height, HEIGHT_MAX)
    }

    fn check_limit(&mut self, value: u32, limit: u32) -> Outcome<()> {
        if value <= limit {
            return Ok(());
        }
        let at = self.lookahead.map_or(Span::new(self.query.len(), self.query.len()), |token| token.span);
        fail(ParseErrorKind::Limit, at, format!("query is nested more than {limit} levels deep"))
    }

    // Operators.

    /// An expression whose operators bind at least as strongly as `binding`.
    fn expr(&mut self, binding: u8) -> Outcome<Piece> {
        let mut left = self.operand()?;
        loop {
            let token = self.peek()?;
            let TokenKind::Op(op) = token.kind else { return Ok(left) };
            if op.precedence() < binding {
                return Ok(left);
            }
            self.advance()?;
            let modifiers = self.binary_modifiers()?;
            let right_binding = if op == BinaryOp::Pow { op.precedence() } else { op.precedence() + 1 };
            let right = self.nested(|parser| parser.expr(right_binding))?;
            let height = 1 + left.height.max(right.height);
            self.check_height(height)?;
            left = Piece { expr: binary(op, token.span, modifiers, left.expr, right.expr), height };
        }
    }

    /// Signs and what they are applied to. A sign binds as strongly as `*`, so `-2 ^ 2` is `-(2 ^ 2)`.
    fn operand(&mut self) -> Outcome<Piece> {
        let token = self.peek()?;
        let negative = match token.kind {
            TokenKind::Op(BinaryOp::Sub) => true,
            TokenKind::Op(BinaryOp::Add) => false,
            _ => return self.primary(),
        };
        self.advance()?;
        let operand = self.nested(|parser| parser.expr(BinaryOp::Pow.precedence()))?;
        let span = token.span.to(operand.expr.span());
        if let Expr::Number(mut number) = operand.expr {
            number.span = span;
            number.value = if negative { -number.value } else { number.value };
            return Ok(Piece { expr: Expr::Number(number), height: operand.height });
        }
        let unary = Unary { negative, expr: Box::new(operand.expr), span };
        Ok(Piece { expr: Expr::Unary(unary), height: operand.height + 1 })
    }

    /// `bool`, `on (...)`, `group_left (...)`, `fill(...)` behind a binary operator.
    fn binary_modifiers(&mut self) -> Outcome<BinaryModifiers> {
        let return_bool = self.accept(TokenKind::Keyword(Keyword::Bool))?.is_some();
        let mut modifiers = BinaryModifiers { return_bool, ..BinaryModifiers::default() };
        let matching = &mut modifiers.matching;
        let on = self.accept(TokenKind::Keyword(Keyword::On))?.is_some();
        if on || self.accept(TokenKind::Keyword(Keyword::Ignoring))?.is_some() {
            modifiers.written = true;
            matching.on = on;
            matching.labels = self.grouping_labels()?;
            let left = self.accept(TokenKind::Keyword(Keyword::GroupLeft))?.is_some();
            if left || self.accept(TokenKind::Keyword(Keyword::GroupRight))?.is_some() {
                matching.cardinality = if left { Cardinality::ManyToOne } else { Cardinality::OneToMany };
                match self.peek()?.kind {
                    TokenKind::LeftParen => matching.include = self.grouping_labels()?,
                    TokenKind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight) => {}
                    _ if self.at_expression()? => {}
                    _ => return self.unexpected("grouping opts", "\"(\""),
                }
            }
        }
        self.fill_modifiers(matching)?;
        Ok(modifiers)
    }

    fn fill_modifiers(&mut self, matching: &mut VectorMatching) -> Outcome<()> {
        let first = self.peek()?;
        let TokenKind::Keyword(keyword) = first.kind else { return Ok(()) };
        let (left, right) = match keyword {
            Keyword::Fill => (true, true),
            Keyword::FillLeft => (true, false),
            Keyword::FillRight => (false, true),
            _ => return Ok(()),
        };
        self.advance()?;
        let value = self.fill_value()?;
        if !self.dialect.features.fill_modifiers {
            let message = "binop fill modifiers are experimental and not enabled";
            return fail(ParseErrorKind::Feature, first.span, message);
        }
        matching.fill_left = left.then_some(value);
        matching.fill_right = right.then_some(value);
        if keyword == Keyword::FillLeft && self.accept(TokenKind::Keyword(Keyword::FillRight))?.is_some() {
            matching.fill_right = Some(self.fill_value()?);
        } else if keyword == Keyword::FillRight && self.accept(TokenKind::Keyword(Keyword::FillLeft))?.is_some() {
            matching.fill_left = Some(self.fill_value()?);
        }
        Ok(())
    }

    fn fill_value(&mut self) -> Outcome<f64> {
        if self.accept(TokenKind::LeftParen)?.is_none() {
            return self.unexpected("fill modifier", "\"(\"");
        }
        let Some((value, _)) = self.signed_number()? else {
            return self.unexpected("fill modifier", "number");
        };
        match self.accept(TokenKind::RightParen)? {
            Some(_) => Ok(value),
            None => self.unexpected("fill modifier", "\")\""),
        }
    }
}

#[derive(Default)]
struct BinaryModifiers {
    return_bool: bool,
    /// Whether `on` or `ignoring` was written.
    written: bool,
    matching: VectorMatching,
}

/// Between two vectors there always is a matching; elsewhere only one that says something, which is a type error.
fn binary(op: BinaryOp, op_span: Span, modifiers: BinaryModifiers, left: Expr, right: Expr) -> Expr {
    let mut matching = modifiers.matching;
    let vectors = left.value_type() == ValueType::Vector && right.value_type() == ValueType::Vector;
    if vectors && op.is_set() && matching.cardinality == Cardinality::OneToOne {
        matching.cardinality = Cardinality::ManyToMany;
    }
    let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
    let says_something = fills || (modifiers.written && !matching.labels.is_empty());
    Expr::Binary(Box::new(Binary {
        op,
        op_span,
        left,
        right,
        return_bool: modifiers.return_bool,
        matching: (vectors || says_something).then_some(matching),
    }))
}

fn fail<T>(kind: ParseErrorKind, span: Span, message: impl Into<String>) -> Outcome<T> {
    Err(Box::new(Mistake { kind, span, message: message.into() }))
}
