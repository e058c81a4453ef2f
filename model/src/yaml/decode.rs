//! From [`Node`]s to values: the trait, what collects complaints, and the types that everyone needs.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::{Trouble, YamlError};
use super::load::parse;
use super::node::{Kind, Node};
use super::scalar::{Resolved, resolve};
use crate::labels::{Labels, LabelsBuilder};
use crate::matcher::Regex;
use crate::secret::Secret;
use crate::time::parse_duration;

/// What can be read from a [`Node`]. For structs, implement [`Struct`](super::Struct) instead.
pub trait Decode: Sized {
    /// Reads the value. On trouble, says so to the context and gives `None`; the caller goes on, so that all of the
    /// trouble comes out at once.
    fn decode(node: &Node, context: &mut Context) -> Option<Self>;
}

/// Collects what is wrong.
#[derive(Debug, Default)]
pub struct Context {
    troubles: Vec<Trouble>,
}

impl Context {
    /// Something is wrong at a node.
    pub fn trouble(&mut self, at: &Node, problem: impl Into<String>) {
        self.troubles.push(Trouble { line: at.line, column: at.column, problem: problem.into() });
    }

    /// A node is not of the kind that a type needs: ``cannot unmarshal !!str `abc` into int``.
    pub fn mismatch(&mut self, at: &Node, wanted: &str) {
        let found = match &at.kind {
            Kind::Sequence(_) => "!!seq".to_owned(),
            Kind::Mapping(_) => "!!map".to_owned(),
            Kind::Text(text) => format!("!!str `{}`", shortened(text)),
            Kind::Plain(text) => format!("{} `{}`", resolve(text).tag(), shortened(text)),
        };
        self.trouble(at, format!("cannot unmarshal {found} into {wanted}"));
    }

    /// Keeps a value, or the complaint about it, which belongs to a node.
    pub fn keep<T, E: std::fmt::Display>(&mut self, at: &Node, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.trouble(at, error.to_string())).ok()
    }

    /// How much is wrong so far.
    pub fn len(&self) -> usize {
        self.troubles.len()
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.troubles.is_empty()
    }
}

/// go-yaml shows at most ten bytes.
fn shortened(text: &str) -> String {
    if text.len() <= 10 {
        return text.to_owned();
    }
    let end = (0..=7).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}...", &text[..end])
}

/// Reads a document. An empty one gives the default.
///
/// # Errors
///
/// See [`YamlError`].
pub fn decode<T: Decode + Default>(text: &str) -> Result<T, YamlError> {
    match parse(text)? {
        Some(node) => decode_node(&node),
        None => Ok(T::default()),
    }
}

/// Reads a value from a node.
///
/// # Errors
///
/// [`YamlError::Content`].
pub fn decode_node<T: Decode>(node: &Node) -> Result<T, YamlError> {
    decode_with(node, T::decode)
}

/// Reads a value from a node by a way of its own.
///
/// # Errors
///
/// [`YamlError::Content`].
pub fn decode_with<T>(node: &Node, decode: impl FnOnce(&Node, &mut Context) -> Option<T>) -> Result<T, YamlError> {
    let mut context = Context::default();
    match decode(node, &mut context) {
        Some(value) if context.is_empty() => Ok(value),
        _ => {
            context.troubles.sort_by_key(|trouble| trouble.line);
            Err(YamlError::Content(context.troubles))
        }
    }
}

impl Decode for Node {
    fn decode(node: &Node, _: &mut Context) -> Option<Self> {
        Some(node.clone())
    }
}

impl Decode for String {
    fn decode(node: &Node, context: &mut Context) -> Option<Self> {
        let text = node.scalar().map(str::to_owned);
        if text.is_none() {
            context.mismatch(node, "string");
        }
        text
    }
}

impl Decode for bool {
    fn decode(node: &Node, context: &mut Context) -> Option<Self> {
        if let Kind::Plain(text) = &node.kind
            && let Resolved::Bool(value) = resolve(text)
        {
            return Some(value);
        }
        context.mismatch(node, "bool");
        None
    }
}

impl Decode for f64 {
    fn decode(node: &Node, context: &mut Context) -> Option<Self> {
        if let Kind::Plain(text) = &node.kind {
            match resolve(text) {
                Resolved::Float(value) => return Some(value),
                Resolved::Int(value) => return Some(value as f64),
                _ => {}
            }
        }
        context.mismatch(node, "float64");
        None
    }
}

fn integer<T: TryFrom<i128>>(node: &Node, context: &mut Context, wanted: &str) -> Option<T> {
    let number = match &node.kind {
        Kind::Plain(text) => match resolve(text) {
            Resolved::Int(value) => Some(value),
            // `1e6` is a float to YAML and an integer to everyone else.
            Resolved::Float(value) if value.fract() == 0.0 && value.abs() < 1e15 => Some(value as i128),
            _ => None,
        },
        _ => None,
    };
    let value = number.and_then(|number| T::try_from(number).ok());
    if value.is_none() {
        context.mismatch(node, wanted);
    }
    value
}

macro_rules! integers {
    ($($rust:ty as $go:literal),*) => {$(
        impl Decode for $rust {
            fn decode(node: &Node, context: &mut Context) -> Option<Self> {
                integer(node, context, $go)
            }
        }
    )*};
}
integers!(u8 as "uint8", u16 as "uint16", u32 as "uint", u64 as "uint64", usize as "uint", i32 as "int", i64 as "int64");

impl Decode for Duration {
    fn decode(node: &Node, context: &mut Context) -> Option<Self> {
        let text = String::decode(node, context)?;
        context.keep(node, parse_duration(&text))
    }
}

impl Decode for Secret {
    fn decode(node: &Node, context: &mut Context) -> Option<Self> {
        // The message for a wrong kind would show what it holds, but only scalars hold secrets.
        String::decode(node, context).map(Secret::new)
    }
}

impl Decode for Regex {
    fn decode(node: &Node, context: &mut Context) -> Option<Self> {
        let text = String::decode(node, context)?;
        context.keep(node, Regex::new(&text))
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node, context: &mut Context) -> Option<Self> {
        if node.is_null() { Some(None) } else { T::decode(node, context).map(Some) }
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, context: &mut Context) -> Option<Self> {
        match &node.kind {
            Kind::Sequence(items) => {
                let items: Vec<Option<T>> = items.iter().map(|item| T::decode(item, context)).collect();
                items.into_iter().collect()
            }
            _ if node.is_null() => Some(Vec::new()),
            _ => {
                context.mismatch(node, "[]interface {}");
                None
            }
        }
    }
}

impl<T: Decode> Decode for BTreeMap<String, T> {
    fn decode(node: &Node, context: &mut Context) -> Option<Self> {
        let Kind::Mapping(entries) = &node.kind else {
            if !node.is_null() {
                context.mismatch(node, "map[string]interface {}");
            }
            return node.is_null().then(BTreeMap::new);
        };
        let mut map = BTreeMap::new();
        let before = context.len();
        for (key, value) in entries {
            let (Some(name), value) = (String::decode(key, context), T::decode(value, context)) else { continue };
            let Some(value) = value else { continue };
            if map.insert(name.clone(), value).is_some() {
                context.trouble(key, format!("key {} already set in map", crate::quote::go_quote(&name)));
            }
        }
        (context.len() == before).then_some(map)
    }
}

impl Decode for Labels {
    fn decode(node: &Node, context: &mut Context) -> Option<Self> {
        let map = BTreeMap::<String, String>::decode(node, context)?;
        let mut labels = LabelsBuilder::default();
        for (name, value) in &map {
            labels.set(name, value);
        }
        Some(labels.build())
    }
}
