//! What a template says.

use std::collections::BTreeMap;
use std::fmt;

/// A template with everything that it defines, by name; the main one is among them.
#[derive(Clone, Debug, Default)]
pub(super) struct Set {
    pub(super) lists: BTreeMap<String, Vec<Node>>,
}

/// A piece of a template.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(String),
    /// Prints the value of a pipeline, unless it declares something.
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    /// Another template, with what its dot is.
    Template(TemplateCall),
    Break,
    Continue,
}

/// `{{template "name" pipeline}}`
#[derive(Clone, Debug)]
pub(super) struct TemplateCall {
    pub(super) at: usize,
    pub(super) name: String,
    pub(super) quoted: String,
    pub(super) pipe: Option<Pipe>,
}

/// `if`, `with` or `range`.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub(super) pipe: Pipe,
    pub(super) list: Vec<Node>,
    pub(super) otherwise: Option<Vec<Node>>,
}

/// Commands, each of which gets the value of the one before as its last argument.
#[derive(Clone, Debug)]
pub(super) struct Pipe {
    pub(super) at: usize,
    /// `=`, not `:=`.
    pub(super) assigns: bool,
    /// With `$`.
    pub(super) variables: Vec<String>,
    pub(super) commands: Vec<Command>,
}

/// A function or a value, with arguments.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) at: usize,
    pub(super) args: Vec<Operand>,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    pub(super) at: usize,
    pub(super) kind: OperandKind,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum OperandKind {
    Dot,
    Nil,
    Bool(bool),
    Number(Number),
    Text {
        quoted: String,
        text: String,
    },
    /// `.a.b`
    Field(Vec<String>),
    /// `$x.a.b`; the first has its `$`.
    Variable(Vec<String>),
    /// A function.
    Identifier(String),
    /// `(...).a.b`, or a function's value and fields of it.
    Chain(Box<Operand>, Vec<String>),
    Pipe(Box<Pipe>),
}

/// A number as it was written and what it may be.
#[derive(Clone, Debug)]
pub(super) struct Number {
    pub(super) text: String,
    pub(super) int: Option<i64>,
    pub(super) float: f64,
    /// It looks like a float: a constant without a type becomes one.
    pub(super) is_float: bool,
}

impl fmt::Display for TemplateCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{template {}", self.quoted)?;
        self.pipe.iter().try_for_each(|pipe| write!(f, " {pipe}"))?;
        f.write_str("}}")
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            write!(f, "{} {} ", self.variables.join(", "), if self.assigns { "=" } else { ":=" })?;
        }
        for (index, command) in self.commands.iter().enumerate() {
            if index > 0 {
                f.write_str(" | ")?;
            }
            write!(f, "{command}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, arg) in self.args.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{arg}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            OperandKind::Dot => f.write_str("."),
            OperandKind::Nil => f.write_str("nil"),
            OperandKind::Bool(value) => write!(f, "{value}"),
            OperandKind::Number(number) => f.write_str(&number.text),
            OperandKind::Text { quoted, .. } => f.write_str(quoted),
            OperandKind::Field(names) => names.iter().try_for_each(|name| write!(f, ".{name}")),
            OperandKind::Variable(names) => f.write_str(&names.join(".")),
            OperandKind::Identifier(name) => f.write_str(name),
            OperandKind::Chain(operand, names) => {
                write!(f, "{operand}")?;
                names.iter().try_for_each(|name| write!(f, ".{name}"))
            }
            OperandKind::Pipe(pipe) => write!(f, "({pipe})"),
        }
    }
}
