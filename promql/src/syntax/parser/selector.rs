//! Which series does a selector name, and which labels does a list name?

use ferula_model::{METRIC_NAME, MatchOp, Matcher};

use super::super::ast::{BinaryOp, Expr, Modifiers, VectorSelector};
use super::super::error::ParseErrorKind;
use super::super::span::Span;
use super::super::string::unquote;
use super::super::token::{Keyword, Token, TokenKind};
use super::{Outcome, Parser, fail};

impl Parser<'_> {
    /// A selector whose name, if it has one, was taken already.
    pub(super) fn selector(&mut self, name: Option<Token>) -> Outcome<Expr> {
        let open = self.peek()?;
        let mut span = name.map_or(open.span, |name| name.span);
        let mut matchers = Vec::new();
        if open.kind == TokenKind::LeftBrace {
            self.advance()?;
            span = span.to(self.matchers(&mut matchers)?);
        }
        let name = name.map(|name| self.text(name).to_owned());
        if let Some(name) = &name {
            matchers.push(Matcher::equal(METRIC_NAME, name.clone()));
        }
        let selector = VectorSelector { name, matchers, modifiers: Modifiers::default(), extension: None, span };
        Ok(Expr::Selector(Box::new(selector)))
    }

    /// The whole query as one selector.
    pub(super) fn only_selector(&mut self) -> Outcome<Expr> {
        let token = self.peek()?;
        let selector = match token.kind {
            TokenKind::LeftBrace => self.selector(None)?,
            TokenKind::Identifier | TokenKind::MetricIdentifier | TokenKind::Aggregate(_) => {
                self.advance()?;
                self.selector(Some(token))?
            }
            TokenKind::Op(op) if op.is_set() => {
                self.advance()?;
                self.selector(Some(token))?
            }
            TokenKind::Keyword(keyword) if keyword.is_metric_name() => {
                self.advance()?;
                self.selector(Some(token))?
            }
            _ => return self.unexpected("", ""),
        };
        match self.peek()?.kind {
            TokenKind::End => Ok(selector),
            _ => self.unexpected("", ""),
        }
    }

    /// The list behind an opening brace; answers where it closes.
    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> Outcome<Span> {
        const CONTEXT: &str = "label matching";
        loop {
            let token = self.peek()?;
            match token.kind {
                TokenKind::RightBrace => return self.advance().map(|token| token.span),
                TokenKind::Identifier | TokenKind::String => {
                    self.advance()?;
                    let matcher = self.matcher(token)?;
                    matchers.push(matcher);
                }
                _ => return self.unexpected(CONTEXT, "identifier or \"}\""),
            }
            if self.accept(TokenKind::Comma)?.is_none() && self.peek()?.kind != TokenKind::RightBrace {
                return self.unexpected(CONTEXT, "\",\" or \"}\"");
            }
        }
    }

    /// `label="value"`, or a quoted metric name.
    fn matcher(&mut self, label: Token) -> Outcome<Matcher> {
        const CONTEXT: &str = "label matching";
        let quoted = label.kind == TokenKind::String;
        let name = if quoted { self.unquoted(label) } else { self.text(label).to_owned() };
        let op = match self.peek()?.kind {
            TokenKind::Equal => MatchOp::Equal,
            TokenKind::Op(BinaryOp::NotEqual) => MatchOp::NotEqual,
            TokenKind::EqualRegex => MatchOp::Regex,
            TokenKind::NotRegex => MatchOp::NotRegex,
            TokenKind::Comma | TokenKind::RightBrace if quoted => return Ok(Matcher::equal(METRIC_NAME, name)),
            _ if quoted => return self.unexpected(CONTEXT, "\",\" or \"}\""),
            _ => return self.unexpected(CONTEXT, "label matching operator"),
        };
        self.advance()?;
        let Some(value) = self.accept(TokenKind::String)? else { return self.unexpected(CONTEXT, "string") };
        let text = self.unquoted(value);
        match Matcher::new(op, name, text) {
            Ok(matcher) => Ok(matcher),
            Err(error) => fail(ParseErrorKind::Name, label.span.to(value.span), error.to_string()),
        }
    }

    /// What a string says, with U+FFFD for bytes that are not UTF-8: no label has such a name or value.
    fn unquoted(&self, token: Token) -> String {
        match String::from_utf8(unquote(self.text(token))) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }
    }

    /// `(a, b, "c d")` behind `by`, `without`, `on`, `ignoring`, `group_left` or `group_right`.
    pub(super) fn grouping_labels(&mut self) -> Outcome<Vec<String>> {
        const CONTEXT: &str = "grouping opts";
        if self.accept(TokenKind::LeftParen)?.is_none() {
            return self.unexpected(CONTEXT, "\"(\"");
        }
        let mut labels = Vec::new();
        if self.accept(TokenKind::RightParen)?.is_some() {
            return Ok(labels);
        }
        loop {
            let label = self.grouping_label()?;
            labels.push(label);
            let comma = self.accept(TokenKind::Comma)?.is_some();
            if self.accept(TokenKind::RightParen)?.is_some() {
                return Ok(labels);
            }
            if !comma {
                return self.unexpected(CONTEXT, "\",\" or \")\"");
            }
        }
    }

    fn grouping_label(&mut self) -> Outcome<String> {
        let token = self.peek()?;
        match token.kind {
            TokenKind::Identifier | TokenKind::MetricIdentifier | TokenKind::Aggregate(_) => {}
            TokenKind::Keyword(keyword) if keyword != Keyword::Without => {}
            TokenKind::Op(op) if op.is_set() || op == BinaryOp::Atan2 => {}
            TokenKind::String => {
                self.advance()?;
                let label = self.unquoted(token);
                if label.is_empty() {
                    let message = "invalid label name for grouping: \"\"";
                    return fail(ParseErrorKind::Name, token.span, message);
                }
                return Ok(label);
            }
            _ => return self.unexpected("grouping opts", "label"),
        }
        self.advance()?;
        Ok(self.text(token).to_owned())
    }
}
