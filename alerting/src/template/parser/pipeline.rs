//! Pipelines: commands behind each other, and what they are made of.

use ferula_model::go_quote;

use super::super::ast::{Command, Operand, OperandKind, Pipe};
use super::super::functions;
use super::super::token::{Keyword, Kind};
use super::{DEPTH_MAX, Parser, literal};

impl Parser<'_> {
    pub(super) fn pipe(&mut self, context: &str, end: Kind) -> Result<Pipe, String> {
        let at = self.peek().at;
        let mut pipe = Pipe { at, assigns: false, variables: Vec::new(), commands: Vec::new() };
        self.declarations(&mut pipe, context)?;
        loop {
            let token = self.next_solid();
            match token.kind {
                kind if kind == end => break,
                Kind::Bool
                | Kind::CharConstant
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Keyword(Keyword::Nil)
                | Kind::RawQuoted
                | Kind::Quoted
                | Kind::Variable
                | Kind::LeftParen => {
                    self.back();
                    pipe.commands.push(self.command()?);
                }
                _ => return self.unexpected(&token, context),
            }
        }
        if pipe.commands.is_empty() {
            return self.fail(format!("missing value for {context}"));
        }
        for (index, command) in pipe.commands.iter().enumerate().skip(1) {
            let first = command.args.first().map(|arg| &arg.kind);
            if matches!(
                first,
                Some(
                    OperandKind::Bool(_)
                        | OperandKind::Dot
                        | OperandKind::Nil
                        | OperandKind::Number(_)
                        | OperandKind::Text { .. }
                )
            ) {
                return self.fail(format!("non executable command in pipeline stage {}", index + 1));
            }
        }
        Ok(pipe)
    }

    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Result<(), String> {
        while self.peek().kind == Kind::Variable {
            let begin = self.at;
            let variable = self.next().text;
            match self.peek() {
                token if matches!(token.kind, Kind::Assign | Kind::Declare) => {
                    self.next();
                    pipe.assigns = token.kind == Kind::Assign;
                    pipe.variables.push(variable.clone());
                    self.variables.push(variable);
                    return Ok(());
                }
                token if token.kind == Kind::Char && token.text == "," => {
                    self.next();
                    pipe.variables.push(variable.clone());
                    self.variables.push(variable);
                    if context != "range" || pipe.variables.len() >= 2 {
                        return self.fail(format!("too many declarations in {context}"));
                    }
                    if !matches!(self.peek().kind, Kind::Variable | Kind::RightDelim | Kind::RightParen) {
                        return self.fail("range can only initialize variables");
                    }
                }
                _ => {
                    self.at = begin;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Result<Command, String> {
        let mut command = Command { at: self.peek().at, args: Vec::new() };
        loop {
            self.skip_space();
            if let Some(operand) = self.operand()? {
                command.args.push(operand);
            }
            let token = self.next();
            match token.kind {
                Kind::Space => {}
                Kind::RightDelim | Kind::RightParen => {
                    self.back();
                    break;
                }
                Kind::Pipe => break,
                _ => return self.unexpected(&token, "operand"),
            }
        }
        if command.args.is_empty() { self.fail("empty command") } else { Ok(command) }
    }

    fn operand(&mut self) -> Result<Option<Operand>, String> {
        let Some(operand) = self.term()? else { return Ok(None) };
        if self.token().kind != Kind::Field {
            return Ok(Some(operand));
        }
        let at = self.token().at;
        let mut fields = Vec::new();
        while self.token().kind == Kind::Field {
            fields.push(self.next().text.trim_start_matches('.').to_owned());
        }
        let shown = operand.to_string();
        Ok(Some(match operand.kind {
            OperandKind::Field(mut names) => {
                names.extend(fields);
                Operand { at, kind: OperandKind::Field(names) }
            }
            OperandKind::Variable(mut names) => {
                names.extend(fields);
                Operand { at, kind: OperandKind::Variable(names) }
            }
            OperandKind::Bool(_)
            | OperandKind::Text { .. }
            | OperandKind::Number(_)
            | OperandKind::Nil
            | OperandKind::Dot => return self.fail(format!("unexpected . after term {}", go_quote(&shown))),
            kind => Operand { at, kind: OperandKind::Chain(Box::new(Operand { at: operand.at, kind }), fields) },
        }))
    }

    fn term(&mut self) -> Result<Option<Operand>, String> {
        let token = self.next_solid();
        let kind = match token.kind {
            Kind::Identifier => {
                if !functions::exists(&token.text) {
                    return self.fail(format!("function {} not defined", go_quote(&token.text)));
                }
                OperandKind::Identifier(token.text)
            }
            Kind::Dot => OperandKind::Dot,
            Kind::Keyword(Keyword::Nil) => OperandKind::Nil,
            Kind::Variable => {
                if !self.variables.contains(&token.text) {
                    return self.fail(format!("undefined variable {}", go_quote(&token.text)));
                }
                OperandKind::Variable(vec![token.text])
            }
            Kind::Field => OperandKind::Field(vec![token.text.trim_start_matches('.').to_owned()]),
            Kind::Bool => OperandKind::Bool(token.text == "true"),
            Kind::CharConstant | Kind::Number => match literal::number(&token) {
                Ok(number) => OperandKind::Number(number),
                Err(problem) => return self.fail(problem),
            },
            Kind::LeftParen => {
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return self.fail(format!("nested more than {DEPTH_MAX} deep"));
                }
                let pipe = self.pipe("parenthesized pipeline", Kind::RightParen)?;
                self.depth -= 1;
                return Ok(Some(Operand { at: pipe.at, kind: OperandKind::Pipe(Box::new(pipe)) }));
            }
            Kind::Quoted | Kind::RawQuoted => {
                let text = self.unquote(&token)?;
                OperandKind::Text { quoted: token.text, text }
            }
            _ => {
                self.back();
                return Ok(None);
            }
        };
        Ok(Some(Operand { at: token.at, kind }))
    }
}
