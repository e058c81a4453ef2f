//! From text to [`Node`]s: anchors, aliases and merge keys are resolved here, within a budget.

use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::error::YamlError;
use super::node::{Kind, Node};

/// The most nodes of a document, aliases expanded.
const NODES_MAX: usize = 1_000_000;

/// Reads the one document of a text; `None` if there is nothing in it but comments.
///
/// # Errors
///
/// [`YamlError::Syntax`]: it is not YAML, it has a second document, or it exceeds the limits of [this module](super).
pub fn parse(text: &str) -> Result<Option<Node>, YamlError> {
    let mut loader = Loader::default();
    let options = granit_parser::options! { emit_comments: false };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) =
            event.map_err(|error| syntax(error.marker().line(), error.marker().col() + 1, error.info()))?;
        loader.take(event, span.start)?;
    }
    Ok(loader.document)
}

/// Reads the first document of a text, and says whether others follow, which are not looked at.
///
/// # Errors
///
/// [`YamlError::Syntax`]: it is not YAML, or it exceeds the limits of [this module](super).
pub fn parse_first(text: &str) -> Result<(Option<Node>, bool), YamlError> {
    let mut loader = Loader::default();
    let options = granit_parser::options! { emit_comments: false };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) =
            event.map_err(|error| syntax(error.marker().line(), error.marker().col() + 1, error.info()))?;
        if loader.document.is_some() && matches!(event, Event::DocumentStart(..)) {
            return Ok((loader.document, true));
        }
        loader.take(event, span.start)?;
    }
    Ok((loader.document, false))
}

fn syntax(line: usize, column: usize, problem: impl Into<String>) -> YamlError {
    let problem = Some(problem.into()).filter(|problem| !problem.is_empty());
    // Some errors of the parser have no words: they say that the text ends where it may not.
    let problem = problem.unwrap_or_else(|| "unexpected end of the document".to_owned());
    YamlError::Syntax { line, column, problem }
}

/// A list or mapping whose end has not come yet.
struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<Node>,
    /// What `<<` brought in; keys of the mapping itself win.
    merged: Vec<(Node, Node)>,
}

#[derive(Default)]
struct Loader {
    open: Vec<Open>,
    /// Anchored nodes, each with its number of nodes.
    anchors: HashMap<usize, (Node, usize)>,
    document: Option<Node>,
    nodes: usize,
}

impl Loader {
    fn take(&mut self, event: Event<'_>, at: Marker) -> Result<(), YamlError> {
        let (line, column) = (at.line(), at.col() + 1);
        let node = |kind| Node { line, column, kind };
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let kind = match (style, tag.as_deref().map(Tag::suffix)) {
                    (_, Some("str")) => Kind::Text(text.into_owned()),
                    // go-yaml decodes it to bytes, which nothing in a configuration can be.
                    (_, Some("binary")) => return Err(syntax(line, column, "!!binary value is not text")),
                    (ScalarStyle::Plain, _) => Kind::Plain(text.into_owned()),
                    (_, Some("int" | "float" | "bool" | "null")) => Kind::Plain(text.into_owned()),
                    _ => Kind::Text(text.into_owned()),
                };
                self.finish(node(kind), anchor)
            }
            Event::SequenceStart(_, anchor, _) => self.begin(node(Kind::Sequence(Vec::new())), anchor),
            Event::MappingStart(_, anchor, _) => self.begin(node(Kind::Mapping(Vec::new())), anchor),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => {
                    let (anchor, node) = (open.anchor, close(open));
                    self.finish(node, anchor)
                }
                None => Ok(()),
            },
            Event::Alias(anchor) => self.alias(anchor, line, column),
            Event::DocumentStart(..) => {
                self.anchors.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self, nodes: usize, line: usize, column: usize) -> Result<(), YamlError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            return Err(syntax(
                line,
                column,
                format!("document contains more than {NODES_MAX} nodes (excessive aliasing?)"),
            ));
        }
        Ok(())
    }

    fn begin(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        self.count(1, node.line, node.column)?;
        self.open.push(Open { node, anchor, key: None, merged: Vec::new() });
        Ok(())
    }

    fn alias(&mut self, anchor: usize, line: usize, column: usize) -> Result<(), YamlError> {
        let Some((node, nodes)) = self.anchors.get(&anchor) else {
            return Err(syntax(line, column, "anchor value contains itself"));
        };
        let (node, nodes) = (node.clone(), *nodes);
        self.count(nodes, line, column)?;
        self.place(node)
    }

    /// A whole node was read.
    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        if node.scalar().is_some() {
            self.count(1, node.line, node.column)?;
        }
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), size(&node)));
            // The copy counts, too.
            self.count(size(&node), node.line, node.column)?;
        }
        self.place(node)
    }

    fn place(&mut self, node: Node) -> Result<(), YamlError> {
        let Some(open) = self.open.last_mut() else {
            if self.document.is_some() && !node.is_null() {
                return Err(syntax(node.line, node.column, "second document in the same file"));
            }
            // An empty document before another one does not count.
            if !node.is_null() {
                self.document = Some(node);
            }
            return Ok(());
        };
        match (&mut open.node.kind, open.key.take()) {
            (Kind::Sequence(items), _) => items.push(node),
            (Kind::Mapping(_), None) => open.key = Some(node),
            (Kind::Mapping(_), Some(key)) if key.kind == Kind::Plain("<<".to_owned()) => {
                let (line, column) = (node.line, node.column);
                let merged = merge_sources(node)
                    .ok_or_else(|| syntax(line, column, "map merge requires map or sequence of maps as the value"))?;
                open.merged.extend(merged);
            }
            (Kind::Mapping(entries), Some(key)) => entries.push((key, node)),
            _ => {}
        }
        Ok(())
    }
}

/// The finished node: merged keys come in where the mapping does not have them itself, earlier sources first.
fn close(open: Open) -> Node {
    let mut node = open.node;
    if let Kind::Mapping(entries) = &mut node.kind {
        let mut own: HashSet<String> = HashSet::new();
        if !open.merged.is_empty() {
            own.extend(entries.iter().filter_map(|(key, _)| key.scalar().map(str::to_owned)));
        }
        for (key, value) in open.merged {
            if key.scalar().is_none_or(|name| own.insert(name.to_owned())) {
                entries.push((key, value));
            }
        }
    }
    node
}

fn merge_sources(node: Node) -> Option<Vec<(Node, Node)>> {
    match node.kind {
        Kind::Mapping(entries) => Some(entries),
        Kind::Sequence(items) => {
            let mut all = Vec::new();
            for item in items {
                let Kind::Mapping(entries) = item.kind else { return None };
                all.extend(entries);
            }
            Some(all)
        }
        _ => None,
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.kind {
        Kind::Sequence(items) => items.iter().map(size).sum(),
        Kind::Mapping(entries) => entries.iter().map(|(key, value)| size(key) + size(value)).sum(),
        _ => 0,
    }
}
