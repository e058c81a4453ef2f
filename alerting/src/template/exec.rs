//! Evaluation: from the tree and the data to text (`text/template` of Go 1.24, with `missingkey=zero`).

use std::fmt::Display;

use ferula_model::go_quote;

use super::ast::{Branch, Command, Node, Operand, OperandKind, Pipe, Set, TemplateCall};
use super::functions::{self, Params};
use super::method;
use super::value::Value;
use super::{DEPTH_MAX, Environment, OUTPUT_BYTES_MAX, STEPS_MAX};

/// Evaluates the template `name` of a set, which was read from `source`.
///
/// The complaint is `template: name:line:column: executing "name" at <piece>: problem`.
pub(super) fn execute(
    set: &Set,
    name: &str,
    source: &str,
    dot: Value,
    environment: &Environment<'_>,
) -> Result<String, String> {
    let mut state = State {
        set,
        file: name,
        source,
        environment,
        out: String::new(),
        name: name.to_owned(),
        variables: vec![("$".to_owned(), dot.clone())],
        depth: 0,
        steps: 0,
        at: (0, &""),
    };
    let Some(list) = set.lists.get(name) else {
        return Err(format!("template: {name}: {} is an incomplete or empty template", go_quote(name)));
    };
    state.list(&dot, list)?;
    Ok(state.out)
}

struct State<'a> {
    set: &'a Set,
    file: &'a str,
    source: &'a str,
    environment: &'a Environment<'a>,
    out: String,
    /// Of the template that is being executed.
    name: String,
    variables: Vec<(String, Value)>,
    depth: usize,
    steps: usize,
    /// The piece that a complaint is about: byte offset and text.
    at: (usize, &'a dyn Display),
}

/// How a list ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

impl<'a> State<'a> {
    fn fail<T>(&self, problem: impl Display) -> Result<T, String> {
        let before = self.source.get(..self.at.0).unwrap_or_default();
        let line = 1 + before.matches('\n').count();
        let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1);
        let (file, name, piece) = (self.file, go_quote(&self.name), self.at.1);
        Err(format!("template: {file}:{line}:{column}: executing {name} at <{piece}>: {problem}"))
    }

    fn at(&mut self, at: usize, piece: &'a dyn Display) {
        self.at = (at, piece);
    }

    fn deeper(&mut self) -> Result<(), String> {
        self.depth += 1;
        self.steps += 1;
        if self.depth > DEPTH_MAX {
            return self.fail(format!("exceeded maximum template depth ({DEPTH_MAX})"));
        }
        if self.steps > STEPS_MAX {
            return self.fail(format!("exceeded maximum number of steps ({STEPS_MAX})"));
        }
        Ok(())
    }

    fn print(&mut self, text: &str) -> Result<(), String> {
        self.out.push_str(text);
        if self.out.len() > OUTPUT_BYTES_MAX {
            return self.fail(format!("exceeded maximum size of the text ({OUTPUT_BYTES_MAX} bytes)"));
        }
        Ok(())
    }

    fn list(&mut self, dot: &Value, list: &'a [Node]) -> Result<Flow, String> {
        self.deeper()?;
        let mut flow = Flow::Next;
        for node in list {
            flow = self.node(dot, node)?;
            if flow != Flow::Next {
                break;
            }
        }
        self.depth -= 1;
        Ok(flow)
    }

    fn node(&mut self, dot: &Value, node: &'a Node) -> Result<Flow, String> {
        match node {
            Node::Text(text) => self.print(text)?,
            Node::Action(pipe) => {
                let value = self.pipe(dot, pipe)?;
                if pipe.variables.is_empty() {
                    self.print(&value.to_text())?;
                }
            }
            Node::If(branch) => return self.scoped(|state| state.branch(dot, branch, false)),
            Node::With(branch) => return self.scoped(|state| state.branch(dot, branch, true)),
            Node::Range(branch) => return self.scoped(|state| state.range(dot, branch)),
            Node::Template(call) => self.template(dot, call)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    /// Variables that are declared in there end with it.
    fn scoped<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        let scope = self.variables.len();
        let result = act(self);
        self.variables.truncate(scope);
        result
    }

    fn branch(&mut self, dot: &Value, branch: &'a Branch, is_with: bool) -> Result<Flow, String> {
        let value = self.pipe(dot, &branch.pipe)?;
        if value.is_true() {
            self.list(if is_with { &value } else { dot }, &branch.list)
        } else {
            branch.otherwise.as_deref().map_or(Ok(Flow::Next), |list| self.list(dot, list))
        }
    }

    fn range(&mut self, dot: &Value, branch: &'a Branch) -> Result<Flow, String> {
        let value = self.pipe(dot, &branch.pipe)?;
        let turns: Box<dyn Iterator<Item = (Value, Value)>> = match &value {
            Value::Nil => Box::new(std::iter::empty()),
            Value::Samples(samples) => {
                Box::new(samples.iter().enumerate().map(|(i, s)| (Value::Int(i as i64), Value::Sample(s.clone()))))
            }
            Value::Labels(labels) => Box::new(labels.iter().map(|(name, v)| (Value::text(name), Value::text(v)))),
            Value::Map(map) => Box::new(map.iter().map(|(name, v)| (Value::text(name), v.clone()))),
            Value::Int(count) => Box::new((0..*count).map(|i| (Value::Int(i), Value::Int(i)))),
            other => return self.fail(format!("range can't iterate over {}", other.to_text())),
        };
        let names = &branch.pipe.variables;
        let scope = self.variables.len();
        let mut any = false;
        for (index, item) in turns {
            any = true;
            if branch.pipe.assigns {
                match names.as_slice() {
                    [only] => self.assign(only, item.clone())?,
                    [first, second] => {
                        self.assign(first, index)?;
                        self.assign(second, item.clone())?;
                    }
                    _ => {}
                }
            } else {
                // They were pushed by the pipeline, with the collection as their value.
                let declared = self.variables.len() - names.len();
                let values = if names.len() > 1 { vec![index, item.clone()] } else { vec![item.clone()] };
                for ((_, place), value) in self.variables.iter_mut().skip(declared).zip(values) {
                    *place = value;
                }
            }
            let flow = self.list(&item, &branch.list)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        if any {
            return Ok(Flow::Next);
        }
        branch.otherwise.as_deref().map_or(Ok(Flow::Next), |list| self.list(dot, list))
    }

    fn template(&mut self, dot: &Value, call: &'a TemplateCall) -> Result<(), String> {
        let TemplateCall { at, name, pipe, .. } = call;
        self.at(*at, call);
        let set = self.set;
        let Some(list) = set.lists.get(name) else {
            return self.fail(format!("template {} not defined", go_quote(name)));
        };
        let dot = pipe.as_ref().map_or(Ok(Value::Nil), |pipe| self.pipe(dot, pipe))?;
        let outer = std::mem::replace(&mut self.variables, vec![("$".to_owned(), dot.clone())]);
        let outer_name = std::mem::replace(&mut self.name, name.clone());
        self.list(&dot, list)?;
        (self.variables, self.name) = (outer, outer_name);
        Ok(())
    }

    fn assign(&mut self, name: &str, value: Value) -> Result<(), String> {
        match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            Some((_, place)) => {
                *place = value;
                Ok(())
            }
            None => self.fail(format!("undefined variable: {name}")),
        }
    }

    fn pipe(&mut self, dot: &Value, pipe: &'a Pipe) -> Result<Value, String> {
        self.deeper()?;
        self.at(pipe.at, pipe);
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(dot, command, value)?);
        }
        let value = value.unwrap_or(Value::Nil);
        for name in &pipe.variables {
            if pipe.assigns {
                self.assign(name, value.clone())?;
            } else {
                self.variables.push((name.clone(), value.clone()));
            }
        }
        self.depth -= 1;
        Ok(value)
    }

    /// The value of a command. `last` is the value of the one before it in the pipeline.
    fn command(&mut self, dot: &Value, command: &'a Command, last: Option<Value>) -> Result<Value, String> {
        let Some((first, args)) = command.args.split_first() else { return Ok(Value::Nil) };
        let has_args = !args.is_empty() || last.is_some();
        match &first.kind {
            OperandKind::Identifier(name) => return self.call(dot, first, name, Some(command), args, last),
            OperandKind::Field(names) => {
                self.at(first.at, first);
                return self.fields(dot.clone(), names, has_args);
            }
            OperandKind::Chain(operand, names) => {
                self.at(first.at, first);
                let value = self.chain_start(dot, operand)?;
                return self.fields(value, names, has_args);
            }
            OperandKind::Variable(names) => return self.variable(first, names, has_args),
            _ => {}
        }
        self.at(first.at, first);
        if has_args {
            return self.fail(format!("can't give argument to non-function {first}"));
        }
        match &first.kind {
            OperandKind::Nil => self.fail("nil is not a command"),
            _ => self.operand(dot, first),
        }
    }

    fn chain_start(&mut self, dot: &Value, operand: &'a Operand) -> Result<Value, String> {
        if matches!(operand.kind, OperandKind::Nil) {
            return self.fail("indirection through explicit nil in ".to_owned() + &operand.to_string());
        }
        self.operand(dot, operand)
    }

    fn variable(&mut self, operand: &'a Operand, names: &'a [String], has_args: bool) -> Result<Value, String> {
        self.at(operand.at, operand);
        let Some((name, fields)) = names.split_first() else { return Ok(Value::Nil) };
        let Some(value) = self.variables.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        else {
            return self.fail(format!("undefined variable: {name}"));
        };
        if fields.is_empty() {
            return if has_args {
                self.fail(format!("can't give argument to non-function {operand}"))
            } else {
                Ok(value)
            };
        }
        self.fields(value, fields, has_args)
    }

    /// Field after field; only the last may have arguments, and none of ours takes any.
    fn fields(&mut self, value: Value, names: &[String], has_args: bool) -> Result<Value, String> {
        let mut value = value;
        for (index, name) in names.iter().enumerate() {
            value = self.field(value, name, has_args && index + 1 == names.len())?;
        }
        Ok(value)
    }

    fn field(&mut self, value: Value, name: &str, has_args: bool) -> Result<Value, String> {
        let unknown = |state: &Self, value: &Value| {
            state.fail(format!("can't evaluate field {name} in type {}", value.type_name()))
        };
        let field = match &value {
            Value::Nil => return Ok(Value::Nil),
            Value::Labels(_) | Value::Map(_) if has_args => {
                return self.fail(format!("{name} is not a method but has arguments"));
            }
            Value::Labels(labels) => return Ok(Value::text(labels.get(name).unwrap_or_default())),
            Value::Map(map) => return Ok(map.get(name).cloned().unwrap_or(Value::Nil)),
            Value::Alert(alert) => match name {
                "Labels" => Value::Labels(alert.labels.clone()),
                "ExternalLabels" => Value::Labels(alert.external_labels.clone()),
                "ExternalURL" => Value::text(&alert.external_url),
                "Value" => alert.value.clone(),
                _ => return unknown(self, &value),
            },
            Value::Sample(sample) => match name {
                "Labels" => Value::Labels(sample.labels.clone()),
                "Value" => sample.value.clone(),
                _ => return unknown(self, &value),
            },
            Value::Histogram(histogram) => match name {
                "Count" => Value::Float(histogram.count),
                "Sum" => Value::Float(histogram.sum),
                "ZeroCount" => Value::Float(histogram.zero_count),
                "ZeroThreshold" => Value::Float(histogram.zero_threshold),
                "Schema" => Value::Int(i64::from(histogram.schema)),
                _ => return unknown(self, &value),
            },
            Value::Time(_) | Value::Duration(_) => match method::method(&value, name) {
                Some(result) => result,
                None => return unknown(self, &value),
            },
            _ => return unknown(self, &value),
        };
        if has_args { self.fail(format!("{name} has arguments but cannot be invoked as function")) } else { Ok(field) }
    }

    /// The value of an operand without arguments.
    fn operand(&mut self, dot: &Value, operand: &'a Operand) -> Result<Value, String> {
        self.at(operand.at, operand);
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Value::Nil),
            OperandKind::Bool(value) => Ok(Value::Bool(*value)),
            OperandKind::Number(number) => match number.int {
                Some(int) if !number.is_float => Ok(Value::Int(int)),
                _ => Ok(Value::Float(number.float)),
            },
            OperandKind::Text { text, .. } => Ok(Value::text(text)),
            OperandKind::Field(names) => self.fields(dot.clone(), names, false),
            OperandKind::Variable(names) => self.variable(operand, names, false),
            OperandKind::Identifier(name) => self.call(dot, operand, name, None, &[], None),
            OperandKind::Chain(start, names) => {
                let value = self.chain_start(dot, start)?;
                self.fields(value, names, false)
            }
            OperandKind::Pipe(pipe) => self.pipe(dot, pipe),
        }
    }

    fn call(
        &mut self,
        dot: &Value,
        operand: &'a Operand,
        name: &str,
        command: Option<&'a Command>,
        args: &'a [Operand],
        last: Option<Value>,
    ) -> Result<Value, String> {
        self.deeper()?;
        self.at(operand.at, operand);
        let Some(function) = functions::find(name) else {
            return self.fail(format!("{} is not a defined function", go_quote(name)));
        };
        let count = args.len() + usize::from(last.is_some());
        let (fixed, more) = (function.params.fixed, function.params.more);
        if more.is_some() && count < fixed.len() {
            return self.fail(format!("wrong number of args for {name}: want at least {} got {count}", fixed.len()));
        }
        if more.is_none() && count != fixed.len() {
            return self.fail(format!("wrong number of args for {name}: want {} got {count}", fixed.len()));
        }
        if name == "and" || name == "or" {
            let result = self.and_or(dot, name == "or", args, last);
            self.depth -= 1;
            return result;
        }
        let mut values = Vec::with_capacity(count);
        for (index, arg) in args.iter().enumerate() {
            values.push(self.arg(dot, arg, function.params.at(index))?);
        }
        if let Some(last) = last {
            let wanted = function.params.at(args.len());
            values.push(self.checked(last, wanted)?);
        }
        match command {
            Some(command) => self.at(command.at, command),
            None => self.at(operand.at, operand),
        }
        let result = (function.call)(self.environment, &values);
        self.depth -= 1;
        match result {
            Ok(value) => Ok(value),
            Err(problem) => self.fail(format!("error calling {name}: {problem}")),
        }
    }

    /// Arguments behind the one that decides are not evaluated.
    fn and_or(&mut self, dot: &Value, is_or: bool, args: &'a [Operand], last: Option<Value>) -> Result<Value, String> {
        let mut value = Value::Nil;
        for arg in args {
            value = self.arg(dot, arg, functions::Param::Any)?;
            if value.is_true() == is_or {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    fn arg(&mut self, dot: &Value, arg: &'a Operand, wanted: functions::Param) -> Result<Value, String> {
        use functions::Param;
        self.at(arg.at, arg);
        match (&arg.kind, wanted) {
            (OperandKind::Nil, Param::Text) => self.fail("cannot assign nil to string"),
            (OperandKind::Bool(_) | OperandKind::Number(_), Param::Text) => {
                self.fail(format!("expected string; found {arg}"))
            }
            (
                OperandKind::Bool(_) | OperandKind::Number(_) | OperandKind::Text { .. },
                Param::Sample | Param::Samples,
            ) => self.fail(format!("can't handle {arg} for arg of type {}", wanted.type_name())),
            _ => {
                let value = self.operand(dot, arg)?;
                self.at(arg.at, arg);
                self.checked(value, wanted)
            }
        }
    }

    fn checked(&self, value: Value, wanted: functions::Param) -> Result<Value, String> {
        if wanted.takes(&value) {
            return Ok(value);
        }
        match value {
            Value::Nil => self.fail(format!("invalid value; expected {}", wanted.type_name())),
            value => {
                self.fail(format!("wrong type for value; expected {}; got {}", wanted.type_name(), value.type_name()))
            }
        }
    }
}

impl Params {
    fn at(&self, index: usize) -> functions::Param {
        self.fixed.get(index).copied().or(self.more).unwrap_or(functions::Param::Any)
    }
}
