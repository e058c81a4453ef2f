//! From tokens to the tree, with Go's complaints (`text/template/parse` of Go 1.24).

use ferula_model::go_quote;

use super::ast::{Branch, Node, Set, TemplateCall};
use super::lexer::lex;
use super::token::{Keyword, Kind, Token};

mod literal;
mod pipeline;

/// How deep parentheses and controls may nest.
const DEPTH_MAX: usize = 100;

/// Reads a template. The complaint is `template: name:line: problem`.
pub(super) fn parse(name: &str, text: &str) -> Result<Set, String> {
    let mut parser = Parser {
        name,
        tokens: lex(text),
        at: 0,
        variables: vec!["$".to_owned()],
        ranges: 0,
        depth: 0,
        action_line: None,
        set: Set::default(),
    };
    let root = parser.root()?;
    parser.define(name.to_owned(), root)?;
    Ok(parser.set)
}

struct Parser<'a> {
    name: &'a str,
    tokens: Vec<Token>,
    at: usize,
    /// Those in scope.
    variables: Vec<String>,
    /// Ranges around this place.
    ranges: usize,
    depth: usize,
    action_line: Option<usize>,
    set: Set,
}

/// What ended a list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    End,
    Else,
    File,
}

enum Item {
    Node(Node),
    Stop(Stop),
    /// A definition, which is no piece of the template that it stands in.
    Nothing,
}

impl Parser<'_> {
    fn token(&self) -> Token {
        // The last token is the end or a mistake, and stays.
        let last = self.tokens.len().saturating_sub(1);
        let end = || Token { kind: Kind::End, text: String::new(), at: 0, line: 1 };
        self.tokens.get(self.at.min(last)).cloned().unwrap_or_else(end)
    }

    fn next(&mut self) -> Token {
        let token = self.token();
        self.at += 1;
        token
    }

    fn back(&mut self) {
        self.at -= 1;
    }

    fn skip_space(&mut self) {
        while self.token().kind == Kind::Space {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> Token {
        self.skip_space();
        self.token()
    }

    fn next_solid(&mut self) -> Token {
        self.skip_space();
        self.next()
    }

    fn fail<T>(&self, problem: impl std::fmt::Display) -> Result<T, String> {
        let line = self.tokens.get(self.at.saturating_sub(1).min(self.tokens.len().saturating_sub(1)));
        Err(format!("template: {}:{}: {problem}", self.name, line.map_or(1, |token| token.line)))
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Result<T, String> {
        if token.kind != Kind::Error {
            return self.fail(format!("unexpected {token} in {context}"));
        }
        let mut extra = String::new();
        if let Some(line) = self.action_line.filter(|line| *line != token.line) {
            let action = if token.text.ends_with(" action") { "" } else { " in action" };
            extra = format!("{action} started at {}:{line}", self.name);
        }
        self.fail(format!("{token}{extra}"))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result<Token, String> {
        let token = self.next_solid();
        if token.kind == kind { Ok(token) } else { self.unexpected(&token, context) }
    }

    fn define(&mut self, name: String, list: Vec<Node>) -> Result<(), String> {
        let is_empty = |list: &[Node]| list.iter().all(|n| matches!(n, Node::Text(text) if text.trim().is_empty()));
        match self.set.lists.get(&name) {
            Some(known) if !is_empty(known) => {
                if is_empty(&list) {
                    return Ok(());
                }
                self.fail(format!("template: multiple definition of template {}", go_quote(&name)))
            }
            _ => {
                self.set.lists.insert(name, list);
                Ok(())
            }
        }
    }

    fn root(&mut self) -> Result<Vec<Node>, String> {
        let mut list = Vec::new();
        loop {
            if self.token().kind == Kind::End {
                return Ok(list);
            }
            match self.item(true)? {
                Item::Node(node) => list.push(node),
                Item::Nothing => {}
                Item::Stop(Stop::File) => return Ok(list),
                Item::Stop(Stop::End) => return self.fail("unexpected {{end}}"),
                Item::Stop(Stop::Else) => return self.fail("unexpected {{else}}"),
            }
        }
    }

    /// Pieces up to `end` or `else`.
    fn list(&mut self) -> Result<(Vec<Node>, Stop), String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.fail(format!("nested more than {DEPTH_MAX} deep"));
        }
        let mut list = Vec::new();
        loop {
            if self.peek().kind == Kind::End {
                return self.fail("unexpected EOF");
            }
            match self.item(false)? {
                Item::Node(node) => list.push(node),
                Item::Nothing => {}
                Item::Stop(stop) => {
                    self.depth -= 1;
                    return Ok((list, stop));
                }
            }
        }
    }

    fn item(&mut self, at_top: bool) -> Result<Item, String> {
        let token = self.next_solid();
        match token.kind {
            Kind::Text => Ok(Item::Node(Node::Text(token.text))),
            Kind::LeftDelim => {
                self.action_line = Some(token.line);
                if at_top && self.peek().kind == Kind::Keyword(Keyword::Define) {
                    self.next();
                    self.definition()?;
                    self.action_line = None;
                    return Ok(Item::Nothing);
                }
                let item = self.action();
                self.action_line = None;
                item
            }
            Kind::End => Ok(Item::Stop(Stop::File)),
            _ => self.unexpected(&token, "input"),
        }
    }

    fn definition(&mut self) -> Result<(), String> {
        let context = "define clause";
        let token = self.next_solid();
        let name = self.template_name(&token, context)?;
        self.expect(Kind::RightDelim, context)?;
        let (list, stop) = self.with_own_variables(Self::list)?;
        if stop != Stop::End {
            return self.fail(format!("unexpected {{{{else}}}} in {context}"));
        }
        self.define(name, list)
    }

    fn with_own_variables<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let ranges = std::mem::take(&mut self.ranges);
        let result = act(self);
        (self.variables, self.ranges) = (outer, ranges);
        result
    }

    fn template_name(&mut self, token: &Token, context: &str) -> Result<String, String> {
        match token.kind {
            Kind::Quoted | Kind::RawQuoted => self.unquote(token),
            _ => self.unexpected(token, context),
        }
    }

    fn unquote(&self, token: &Token) -> Result<String, String> {
        match literal::unquote(&token.text) {
            Some(text) => Ok(text),
            None => self.fail("invalid syntax"),
        }
    }

    fn action(&mut self) -> Result<Item, String> {
        let token = self.next_solid();
        let Kind::Keyword(keyword) = token.kind else {
            self.back();
            return Ok(Item::Node(Node::Action(self.pipe("command", Kind::RightDelim)?)));
        };
        match keyword {
            Keyword::If => Ok(Item::Node(Node::If(self.branch("if")?))),
            Keyword::With => Ok(Item::Node(Node::With(self.branch("with")?))),
            Keyword::Range => Ok(Item::Node(Node::Range(self.branch("range")?))),
            Keyword::End => {
                self.expect(Kind::RightDelim, "end")?;
                Ok(Item::Stop(Stop::End))
            }
            Keyword::Else => {
                // `else if` and `else with` are read by whoever is in the middle of an `if` or `with`.
                if !matches!(self.peek().kind, Kind::Keyword(Keyword::If | Keyword::With)) {
                    self.expect(Kind::RightDelim, "else")?;
                }
                Ok(Item::Stop(Stop::Else))
            }
            Keyword::Break | Keyword::Continue => {
                let context = format!("{{{{{}}}}}", token.text);
                self.expect(Kind::RightDelim, &context)?;
                if self.ranges == 0 {
                    return self.fail(format!("{context} outside {{{{range}}}}"));
                }
                Ok(Item::Node(if keyword == Keyword::Break { Node::Break } else { Node::Continue }))
            }
            Keyword::Template => {
                let context = "template clause";
                let token = self.next_solid();
                let name = self.template_name(&token, context)?;
                let pipe = if self.peek().kind == Kind::RightDelim {
                    self.next();
                    None
                } else {
                    Some(self.pipe(context, Kind::RightDelim)?)
                };
                Ok(Item::Node(Node::Template(TemplateCall { at: token.at, name, quoted: token.text, pipe })))
            }
            Keyword::Block => {
                let context = "block clause";
                let token = self.next_solid();
                let name = self.template_name(&token, context)?;
                let pipe = self.pipe(context, Kind::RightDelim)?;
                let (list, stop) = self.with_own_variables(Self::list)?;
                if stop != Stop::End {
                    return self.fail(format!("unexpected {{{{else}}}} in {context}"));
                }
                self.define(name.clone(), list)?;
                Ok(Item::Node(Node::Template(TemplateCall {
                    at: token.at,
                    name,
                    quoted: token.text,
                    pipe: Some(pipe),
                })))
            }
            Keyword::Define | Keyword::Nil => {
                self.back();
                Ok(Item::Node(Node::Action(self.pipe("command", Kind::RightDelim)?)))
            }
        }
    }

    fn branch(&mut self, context: &'static str) -> Result<Branch, String> {
        let scope = self.variables.len();
        let pipe = self.pipe(context, Kind::RightDelim)?;
        let is_range = usize::from(context == "range");
        self.ranges += is_range;
        let (list, stop) = self.list()?;
        self.ranges -= is_range;
        let otherwise = match stop {
            Stop::Else => Some(self.otherwise(context)?),
            Stop::End | Stop::File => None,
        };
        self.variables.truncate(scope);
        Ok(Branch { pipe, list, otherwise })
    }

    fn otherwise(&mut self, context: &'static str) -> Result<Vec<Node>, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.fail(format!("nested more than {DEPTH_MAX} deep"));
        }
        let list = match (context, self.peek().kind) {
            ("if", Kind::Keyword(Keyword::If)) => {
                self.next();
                vec![Node::If(self.branch("if")?)]
            }
            ("with", Kind::Keyword(Keyword::With)) => {
                self.next();
                vec![Node::With(self.branch("with")?)]
            }
            _ => {
                let (list, stop) = self.list()?;
                if stop != Stop::End {
                    return self.fail("expected end; found {{else}}");
                }
                list
            }
        };
        self.depth -= 1;
        Ok(list)
    }
}
