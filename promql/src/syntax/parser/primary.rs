//! What do operators work on? Literals, selectors, calls, aggregations, parentheses; and what may follow each of them.

use super::super::ast::{
    Aggregate, AggregateOp, At, Call, Expr, Extension, Grouping, Length, MatrixSelector, Modifiers, NumberLiteral,
    Paren, StringLiteral, Subquery,
};
use super::super::error::ParseErrorKind;
use super::super::number::{duration_value, number_value};
use super::super::span::Span;
use super::super::string::unquote;
use super::super::token::{Keyword, Token, TokenKind};
use super::{Outcome, Parser, Piece, fail};
use crate::functions::{Function, FunctionId};

impl Parser<'_> {
    /// An operand with everything that follows it directly: brackets, `offset`, `@`, `anchored`, `smoothed`.
    pub(super) fn primary(&mut self) -> Outcome<Piece> {
        let mut piece = self.bare_primary()?;
        loop {
            let token = self.peek()?;
            match token.kind {
                TokenKind::LeftBracket => {
                    self.advance()?;
                    piece = self.brackets(piece, token)?;
                }
                TokenKind::Keyword(Keyword::Offset) => {
                    self.advance()?;
                    self.offset(&mut piece.expr)?;
                }
                TokenKind::At => {
                    self.advance()?;
                    self.at(&mut piece.expr)?;
                }
                TokenKind::Keyword(Keyword::Anchored) => {
                    self.advance()?;
                    self.extend(&mut piece.expr, Extension::Anchored, token)?;
                }
                TokenKind::Keyword(Keyword::Smoothed) => {
                    self.advance()?;
                    self.extend(&mut piece.expr, Extension::Smoothed, token)?;
                }
                _ => return Ok(piece),
            }
        }
    }

    fn bare_primary(&mut self) -> Outcome<Piece> {
        let token = self.peek()?;
        let leaf = |expr| Ok(Piece { expr, height: 1 });
        match token.kind {
            TokenKind::Number | TokenKind::Duration => {
                self.advance()?;
                leaf(Expr::Number(self.number(token)?))
            }
            TokenKind::String => {
                self.advance()?;
                leaf(Expr::String(self.string(token)))
            }
            TokenKind::LeftBrace => leaf(self.selector(None)?),
            TokenKind::LeftParen => self.paren(),
            TokenKind::Identifier => {
                self.advance()?;
                self.name_or_call(token)
            }
            TokenKind::Keyword(keyword) if keyword.is_function_name() => {
                self.advance()?;
                self.name_or_call(token)
            }
            TokenKind::Aggregate(op) => {
                self.advance()?;
                self.name_or_aggregate(token, op)
            }
            TokenKind::MetricIdentifier => {
                self.advance()?;
                leaf(self.selector(Some(token))?)
            }
            TokenKind::Op(op) if op.is_set() => {
                self.advance()?;
                leaf(self.selector(Some(token))?)
            }
            TokenKind::Keyword(keyword) if keyword.is_metric_name() => {
                self.advance()?;
                leaf(self.selector(Some(token))?)
            }
            _ => self.unexpected("", ""),
        }
    }

    /// The value of a number or duration token that was taken.
    pub(super) fn number(&mut self, token: Token) -> Outcome<NumberLiteral> {
        let text = self.text(token);
        let is_duration = token.kind == TokenKind::Duration;
        let value = if is_duration { duration_value(text) } else { number_value(text) };
        match value {
            Ok(value) => Ok(NumberLiteral { value, is_duration, span: token.span }),
            Err(problem) => fail(ParseErrorKind::Value, token.span, problem),
        }
    }

    fn string(&mut self, token: Token) -> StringLiteral {
        match String::from_utf8(unquote(self.text(token))) {
            Ok(text) => StringLiteral { text, bytes: None, span: token.span },
            Err(error) => {
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                StringLiteral { text, bytes: Some(error.into_bytes().into()), span: token.span }
            }
        }
    }

    /// A number with an optional sign; `None`, with nothing but the sign taken, if there is none.
    pub(super) fn signed_number(&mut self) -> Outcome<Option<(f64, Span)>> {
        use super::super::ast::BinaryOp::{Add, Sub};
        let sign = self.peek()?;
        let negative = sign.kind == TokenKind::Op(Sub);
        if negative || sign.kind == TokenKind::Op(Add) {
            self.advance()?;
        }
        let token = self.peek()?;
        if !matches!(token.kind, TokenKind::Number | TokenKind::Duration) {
            return Ok(None);
        }
        self.advance()?;
        let value = self.number(token)?.value;
        Ok(Some((if negative { -value } else { value }, sign.span.to(token.span))))
    }

    fn paren(&mut self) -> Outcome<Piece> {
        let open = self.advance()?;
        let inner = self.nested(|parser| parser.expr(1))?;
        let Some(close) = self.accept(TokenKind::RightParen)? else { return self.unexpected("", "") };
        let paren = Paren { expr: Box::new(inner.expr), span: open.span.to(close.span) };
        Ok(Piece { expr: Expr::Paren(paren), height: inner.height + 1 })
    }

    fn name_or_call(&mut self, name: Token) -> Outcome<Piece> {
        if self.peek()?.kind != TokenKind::LeftParen {
            return Ok(Piece { expr: self.selector(Some(name))?, height: 1 });
        }
        let (args, height, end) = self.arguments()?;
        let function = self.function(name)?;
        let call = Call { function, args, span: name.span.to(end) };
        Ok(Piece { expr: Expr::Call(call), height: height + 1 })
    }

    fn function(&mut self, name: Token) -> Outcome<Function> {
        let text = self.text(name);
        let features = self.dialect.features;
        let lower;
        let known = match name.kind {
            TokenKind::Keyword(_) => {
                lower = text.to_ascii_lowercase();
                FunctionId::by_name(&lower)
            }
            _ => FunctionId::by_name(text),
        };
        let Some(id) = known else {
            if let Some(host) = self.dialect.functions.iter().find(|host| host.name == text) {
                return Ok(Function::Host(host.clone()));
            }
            let message = format!("unknown function with name {}", ferula_model::go_quote(text));
            return fail(ParseErrorKind::Name, name.span, message);
        };
        if id.signature().experimental && !features.experimental_functions {
            let message = format!("function {} is not enabled", ferula_model::go_quote(text));
            return fail(ParseErrorKind::Feature, name.span, message);
        }
        Ok(Function::Builtin(id))
    }

    /// `(a, b, ...)`, with the greatest height among them and the place of the closing parenthesis.
    fn arguments(&mut self) -> Outcome<(Vec<Expr>, u32, Span)> {
        self.advance()?;
        let mut args = Vec::new();
        let mut height = 0;
        if let Some(close) = self.accept(TokenKind::RightParen)? {
            return Ok((args, height, close.span));
        }
        loop {
            let piece = self.nested(|parser| parser.expr(1))?;
            height = height.max(piece.height);
            args.push(piece.expr);
            if let Some(close) = self.accept(TokenKind::RightParen)? {
                return Ok((args, height, close.span));
            }
            let Some(comma) = self.accept(TokenKind::Comma)? else { return self.unexpected("", "") };
            if !self.at_expression()? {
                let message = "trailing commas not allowed in function call args";
                return fail(ParseErrorKind::Grammar, comma.span, message);
            }
        }
    }

    /// Whether an expression may begin with the next token.
    pub(super) fn at_expression(&mut self) -> Outcome<bool> {
        use super::super::ast::BinaryOp::{Add, Sub};
        Ok(match self.peek()?.kind {
            TokenKind::Identifier
            | TokenKind::MetricIdentifier
            | TokenKind::String
            | TokenKind::Number
            | TokenKind::Duration
            | TokenKind::LeftParen
            | TokenKind::LeftBrace
            | TokenKind::Aggregate(_)
            | TokenKind::Op(Add | Sub) => true,
            TokenKind::Op(op) => op.is_set(),
            TokenKind::Keyword(keyword) => keyword.is_metric_name(),
            _ => false,
        })
    }

    fn name_or_aggregate(&mut self, name: Token, op: AggregateOp) -> Outcome<Piece> {
        let next = self.peek()?;
        let grouped = matches!(next.kind, TokenKind::Keyword(Keyword::By | Keyword::Without));
        if !grouped && next.kind != TokenKind::LeftParen {
            return Ok(Piece { expr: self.selector(Some(name))?, height: 1 });
        }
        self.open_aggregates += 1;
        let mut grouping = self.grouping()?;
        if self.peek()?.kind != TokenKind::LeftParen {
            return self.unexpected("aggregation", "");
        }
        let (args, height, mut end) = self.arguments()?;
        if !grouped {
            let next = self.peek()?;
            grouping = self.grouping()?;
            if grouping.is_some() {
                end = end.to(next.span);
            }
        }
        self.open_aggregates -= 1;
        let expr = self.aggregate(op, args, grouping.unwrap_or_default(), name.span.to(end))?;
        Ok(Piece { expr, height: height + 1 })
    }

    fn grouping(&mut self) -> Outcome<Option<Grouping>> {
        let without = self.accept(TokenKind::Keyword(Keyword::Without))?.is_some();
        if !without && self.accept(TokenKind::Keyword(Keyword::By))?.is_none() {
            return Ok(None);
        }
        Ok(Some(Grouping { without, labels: self.grouping_labels()? }))
    }

    fn aggregate(&mut self, op: AggregateOp, args: Vec<Expr>, grouping: Grouping, span: Span) -> Outcome<Expr> {
        let signature = op.signature();
        if args.is_empty() {
            return fail(ParseErrorKind::Type, span, "no arguments for aggregate expression provided");
        }
        if signature.experimental && !self.dialect.features.experimental_functions {
            let message = format!(
                "{}() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
                signature.name
            );
            return fail(ParseErrorKind::Feature, span, message);
        }
        let expected = 1 + usize::from(signature.param.is_some());
        let given = args.len();
        let mut args = args.into_iter();
        let param = if signature.param.is_some() { args.next() } else { None };
        match (given == expected, args.next()) {
            (true, Some(expr)) => Ok(Expr::Aggregate(Box::new(Aggregate { op, expr, param, grouping, span }))),
            _ => fail(
                ParseErrorKind::Type,
                span,
                format!(
                    "wrong number of arguments for aggregate expression provided, expected {expected}, got {given}"
                ),
            ),
        }
    }

    /// `[5m]` or `[5m:1m]`, behind the opening bracket.
    fn brackets(&mut self, piece: Piece, open: Token) -> Outcome<Piece> {
        let range = self.range_length()?;
        if let Some(close) = self.accept(TokenKind::RightBracket)? {
            let expr = matrix(piece.expr, range, open.span.to(close.span))?;
            return Ok(Piece { expr, height: 1 });
        }
        if self.accept(TokenKind::Colon)?.is_none() {
            return self.unexpected("subquery or range", "\":\" or \"]\"");
        }
        let step = match self.peek()?.kind {
            TokenKind::RightBracket => None,
            _ => Some(self.step_length()?),
        };
        let Some(close) = self.accept(TokenKind::RightBracket)? else {
            return self.unexpected("subquery selector", "\"]\"");
        };
        let span = piece.expr.span().to(close.span);
        let subquery = Subquery { expr: piece.expr, range, step, modifiers: Modifiers::default(), span };
        self.check_height(piece.height + 1)?;
        Ok(Piece { expr: Expr::Subquery(Box::new(subquery)), height: piece.height + 1 })
    }

    fn offset(&mut self, expr: &mut Expr) -> Outcome<()> {
        let (offset, end) = self.offset_length()?;
        let span = expr.span();
        let Some((modifiers, place)) = modifiers(expr) else {
            return fail(
                ParseErrorKind::Grammar,
                span,
                "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            );
        };
        if modifiers.offset.is_some() {
            return fail(ParseErrorKind::Grammar, span, "offset may not be set multiple times");
        }
        // An offset of nothing is none.
        modifiers.offset = Some(offset).filter(|offset| *offset != Length::Nanos(0));
        *place = place.to(end);
        Ok(())
    }

    fn at(&mut self, expr: &mut Expr) -> Outcome<()> {
        let (at, end) = self.at_operand(expr.span())?;
        let span = expr.span();
        let Some((modifiers, place)) = modifiers(expr) else {
            return fail(
                ParseErrorKind::Grammar,
                span,
                "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            );
        };
        if modifiers.at.is_some() {
            return fail(ParseErrorKind::Grammar, span, "@ <timestamp> may not be set multiple times");
        }
        modifiers.at = Some(at);
        *place = place.to(end);
        Ok(())
    }

    fn at_operand(&mut self, target: Span) -> Outcome<(At, Span)> {
        let token = self.peek()?;
        let named = match token.kind {
            TokenKind::Keyword(Keyword::Start) => At::Start,
            TokenKind::Keyword(Keyword::End) => At::End,
            _ => {
                let Some((seconds, span)) = self.signed_number()? else {
                    return self.unexpected("@", "timestamp");
                };
                return match timestamp_millis(seconds) {
                    Some(millis) => Ok((At::Timestamp(millis), span)),
                    None => {
                        let shown = fixed(seconds);
                        let message = format!("timestamp out of bounds for @ modifier: {shown}");
                        fail(ParseErrorKind::Value, target, message)
                    }
                };
            }
        };
        self.advance()?;
        if self.accept(TokenKind::LeftParen)?.is_none() {
            return self.unexpected("@", "timestamp");
        }
        match self.accept(TokenKind::RightParen)? {
            Some(close) => Ok((named, close.span)),
            None => self.unexpected("@", "timestamp"),
        }
    }

    fn extend(&mut self, expr: &mut Expr, extension: Extension, keyword: Token) -> Outcome<()> {
        let span = expr.span();
        let word = extension.as_str();
        if !self.dialect.features.extended_range_selectors {
            let message = format!("{word} modifier is experimental and not enabled");
            return fail(ParseErrorKind::Feature, span, message);
        }
        let (slot, place) = match expr {
            Expr::Selector(node) => (&mut node.extension, &mut node.span),
            Expr::Matrix(node) => (&mut node.selector.extension, &mut node.span),
            Expr::Subquery(_) => {
                let message = format!("{word} modifier is not supported for subqueries");
                return fail(ParseErrorKind::Grammar, span, message);
            }
            _ => return fail(ParseErrorKind::Grammar, span, format!("{word} modifier not implemented")),
        };
        if slot.is_some_and(|before| before != extension) {
            return fail(ParseErrorKind::Grammar, span, "anchored and smoothed modifiers cannot be used together");
        }
        *slot = Some(extension);
        *place = place.to(keyword.span);
        Ok(())
    }
}

/// Where the modifiers of a selector, range or subquery are kept, and its span.
fn modifiers(expr: &mut Expr) -> Option<(&mut Modifiers, &mut Span)> {
    match expr {
        Expr::Selector(node) => Some((&mut node.modifiers, &mut node.span)),
        Expr::Matrix(node) => Some((&mut node.selector.modifiers, &mut node.span)),
        Expr::Subquery(node) => Some((&mut node.modifiers, &mut node.span)),
        _ => None,
    }
}

fn matrix(expr: Expr, range: Length, brackets: Span) -> Outcome<Expr> {
    let problem = match expr {
        Expr::Selector(selector) if selector.modifiers.offset.is_some() => "no offset modifiers allowed before range",
        Expr::Selector(selector) if selector.modifiers.at.is_some() => "no @ modifiers allowed before range",
        Expr::Selector(selector) => {
            let span = selector.span.to(brackets);
            return Ok(Expr::Matrix(Box::new(MatrixSelector { selector: *selector, range, span })));
        }
        _ => "ranges only allowed for vector selectors",
    };
    fail(ParseErrorKind::Grammar, brackets, problem)
}

/// Seconds to the nearest millisecond; `None` if 64 bits do not hold the seconds.
fn timestamp_millis(seconds: f64) -> Option<i64> {
    // 2^63, where 64-bit integers end.
    let in_bounds = seconds.abs() < 9_223_372_036_854_775_808.0;
    in_bounds.then(|| (seconds * 1000.0).round() as i64)
}

/// Go's `%f`.
fn fixed(value: f64) -> String {
    if value.is_infinite() { format!("{}Inf", if value > 0.0 { '+' } else { '-' }) } else { format!("{value:.6}") }
}
