//! How long is a range, a step or an offset? Literals, or expressions over lengths.

use super::super::ast::{BinaryOp, DurationExpr, DurationOp, Length, NumberLiteral};
use super::super::error::ParseErrorKind;
use super::super::span::Span;
use super::super::token::{Keyword, TokenKind};
use super::{Outcome, Parser, fail};

/// What messages say may stand where a length is wanted.
const EXPECTED: &str = "number, duration, step(), or range()";

/// The seconds whose nanoseconds no longer fit 64 bits.
const SECONDS_END: f64 = 9_223_372_036.854_776;

/// Where a length stands, for messages.
#[derive(Clone, Copy)]
struct Place {
    context: &'static str,
    expected: &'static str,
}

impl Parser<'_> {
    /// The first length in brackets.
    pub(super) fn range_length(&mut self) -> Outcome<Length> {
        self.positive_length(Place { context: "subquery selector", expected: EXPECTED })
    }

    /// The length behind the colon of a subquery.
    pub(super) fn step_length(&mut self) -> Outcome<Length> {
        self.positive_length(Place {
            context: "subquery selector",
            expected: "number, duration, step(), range(), or \"]\"",
        })
    }

    fn positive_length(&mut self, place: Place) -> Outcome<Length> {
        match self.duration_expr(1, place)? {
            DurationExpr::Number(number) if number.value <= 0.0 => {
                fail(ParseErrorKind::Value, number.span, "duration must be greater than 0")
            }
            DurationExpr::Number(number) => literal(number),
            expr => Ok(Length::Expr(Box::new(expr))),
        }
    }

    /// The length behind `offset`: one literal or call with signs, or any expression in parentheses. Answers also
    /// where it ends.
    pub(super) fn offset_length(&mut self) -> Outcome<(Length, Span)> {
        let expr = self.duration_operand(Place { context: "offset", expected: EXPECTED }, true)?;
        let end = expr.span();
        let length = match expr {
            DurationExpr::Number(number) => literal(number)?,
            expr => Length::Expr(Box::new(expr)),
        };
        Ok((length, end))
    }

    fn duration_expr(&mut self, binding: u8, place: Place) -> Outcome<DurationExpr> {
        let mut left = self.duration_operand(place, false)?;
        let mut links = 0;
        loop {
            let token = self.peek()?;
            let TokenKind::Op(operator) = token.kind else { return Ok(left) };
            let Some(op) = duration_op(operator).filter(|_| operator.precedence() >= binding) else {
                return Ok(left);
            };
            self.advance()?;
            let right_binding = operator.precedence() + u8::from(op != DurationOp::Pow);
            let right = self.nested(|parser| parser.duration_expr(right_binding, place))?;
            if matches!(&right, DurationExpr::Number(number) if number.value == 0.0) {
                let problem = match op {
                    DurationOp::Div => Some("division by zero"),
                    DurationOp::Mod => Some("modulo by zero"),
                    _ => None,
                };
                if let Some(problem) = problem {
                    return fail(ParseErrorKind::Value, token.span, problem);
                }
            }
            links += 1;
            self.check_height(links)?;
            let span = left.span().to(right.span());
            left = DurationExpr::Binary { op, left: Box::new(left), right: Box::new(right), span };
        }
    }

    /// A literal, a call, or parentheses, with signs before it. Behind `offset` a sign takes only the next operand;
    /// elsewhere it binds as strongly as `*`.
    fn duration_operand(&mut self, place: Place, offset: bool) -> Outcome<DurationExpr> {
        let token = self.peek()?;
        let call = |keyword| TokenKind::Keyword(keyword);
        match token.kind {
            TokenKind::Op(sign @ (BinaryOp::Add | BinaryOp::Sub)) => {
                self.advance()?;
                let operand = self.nested(|parser| {
                    if offset {
                        parser.duration_operand(place, true)
                    } else {
                        parser.duration_expr(BinaryOp::Pow.precedence(), place)
                    }
                })?;
                Ok(signed(sign == BinaryOp::Sub, token.span, operand))
            }
            TokenKind::Number | TokenKind::Duration => {
                self.advance()?;
                let number = self.number(token)?;
                if number.value.is_nan() || number.value.abs() > SECONDS_END {
                    return fail(ParseErrorKind::Value, token.span, "duration out of range");
                }
                Ok(DurationExpr::Number(number))
            }
            TokenKind::LeftParen => {
                self.advance()?;
                let inner = self.nested(|parser| parser.duration_expr(1, place))?;
                let Some(close) = self.accept(TokenKind::RightParen)? else {
                    return self.unexpected(place.context, place.expected);
                };
                let span = token.span.to(close.span);
                Ok(match inner {
                    DurationExpr::Number(number) => DurationExpr::Number(NumberLiteral { span, ..number }),
                    inner => DurationExpr::Paren { inner: Box::new(inner), span },
                })
            }
            kind if kind == call(Keyword::Step) || kind == call(Keyword::Range) => {
                self.advance()?;
                let end = self.empty_arguments(place)?;
                let span = token.span.to(end);
                Ok(if kind == call(Keyword::Step) { DurationExpr::Step(span) } else { DurationExpr::Range(span) })
            }
            kind if kind == call(Keyword::MinOf) => self.two_lengths(DurationOp::Min, place),
            kind if kind == call(Keyword::MaxOf) => self.two_lengths(DurationOp::Max, place),
            _ => self.unexpected(place.context, place.expected),
        }
    }

    fn empty_arguments(&mut self, place: Place) -> Outcome<Span> {
        if self.accept(TokenKind::LeftParen)?.is_none() {
            return self.unexpected(place.context, place.expected);
        }
        match self.accept(TokenKind::RightParen)? {
            Some(close) => Ok(close.span),
            None => self.unexpected(place.context, place.expected),
        }
    }

    /// `min_of(a, b)` from its name on.
    fn two_lengths(&mut self, op: DurationOp, place: Place) -> Outcome<DurationExpr> {
        let name = self.advance()?;
        if self.accept(TokenKind::LeftParen)?.is_none() {
            return self.unexpected(place.context, place.expected);
        }
        let left = self.nested(|parser| parser.duration_expr(1, place))?;
        if self.accept(TokenKind::Comma)?.is_none() {
            return self.unexpected(place.context, place.expected);
        }
        let right = self.nested(|parser| parser.duration_expr(1, place))?;
        match self.accept(TokenKind::RightParen)? {
            Some(close) => {
                let span = name.span.to(close.span);
                Ok(DurationExpr::Binary { op, left: Box::new(left), right: Box::new(right), span })
            }
            None => self.unexpected(place.context, place.expected),
        }
    }
}

fn duration_op(op: BinaryOp) -> Option<DurationOp> {
    Some(match op {
        BinaryOp::Add => DurationOp::Add,
        BinaryOp::Sub => DurationOp::Sub,
        BinaryOp::Mul => DurationOp::Mul,
        BinaryOp::Div => DurationOp::Div,
        BinaryOp::Mod => DurationOp::Mod,
        BinaryOp::Pow => DurationOp::Pow,
        _ => return None,
    })
}

fn signed(negative: bool, sign: Span, operand: DurationExpr) -> DurationExpr {
    let span = sign.to(operand.span());
    match operand {
        DurationExpr::Number(number) => {
            let value = if negative { -number.value } else { number.value };
            DurationExpr::Number(NumberLiteral { value, span, ..number })
        }
        operand => DurationExpr::Unary { negative, operand: Box::new(operand), span },
    }
}

/// A literal to the nearest nanosecond.
fn literal(number: NumberLiteral) -> Outcome<Length> {
    if number.value.is_nan() || number.value.abs() >= SECONDS_END {
        return fail(ParseErrorKind::Value, number.span, "duration out of range");
    }
    Ok(Length::Nanos((number.value * 1e9).round() as i64))
}
