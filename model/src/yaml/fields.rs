//! Structs: which keys a mapping may have, and where their values go.

use super::decode::{Context, Decode};
use super::node::{Kind, Node};

/// A struct that is read from a mapping. What its default holds, stays where the document says nothing.
pub trait Struct: Default {
    /// Its name in messages, as upstream's users know it: `config.ScrapeConfig`, or `config.plain` where upstream decodes
    /// through a helper of that name.
    const TYPE: &'static str;

    /// Names every key with its place. Another struct's keys among them: `self.http.fields(fields)`.
    fn fields(&mut self, fields: &mut Fields<'_>);

    /// What must hold between the fields, and what is derived from several. Called once all are read without trouble.
    ///
    /// # Errors
    ///
    /// The complaint, in upstream's words.
    fn check(&mut self) -> Result<(), String> {
        Ok(())
    }
}

impl<T: Struct> Decode for T {
    fn decode(node: &Node, context: &mut Context) -> Option<Self> {
        let mut value = T::default();
        if node.is_null() {
            return Some(value);
        }
        let Kind::Mapping(entries) = &node.kind else {
            context.mismatch(node, T::TYPE);
            return None;
        };
        let before = context.len();
        let mut fields = Fields { node, entries, taken: vec![false; entries.len()], type_name: T::TYPE, context };
        value.fields(&mut fields);
        fields.finish();
        if context.len() > before {
            return None;
        }
        context.keep(node, value.check())?;
        Some(value)
    }
}

/// The keys of a mapping that is being read.
#[derive(Debug)]
pub struct Fields<'a> {
    node: &'a Node,
    entries: &'a [(Node, Node)],
    taken: Vec<bool>,
    type_name: &'static str,
    context: &'a mut Context,
}

impl<'a> Fields<'a> {
    /// Reads the value of a key into its place, if the key is there and not null. True if it was read.
    pub fn set<T: Decode>(&mut self, key: &str, place: &mut T) -> bool {
        self.set_with(key, place, T::decode)
    }

    /// As [`set`](Self::set), with another way to read the value.
    pub fn set_with<T>(
        &mut self,
        key: &str,
        place: &mut T,
        decode: impl FnOnce(&Node, &mut Context) -> Option<T>,
    ) -> bool {
        let Some(value) = self.take(key) else { return false };
        if value.is_null() {
            return false;
        }
        match decode(value, self.context) {
            Some(value) => {
                *place = value;
                true
            }
            None => false,
        }
    }

    /// A key that upstream has and we do not act on: its presence (unless null) is the given complaint.
    pub fn refuse(&mut self, key: &str, problem: &str) {
        if let Some(value) = self.take(key).filter(|value| !value.is_null()) {
            self.context.trouble(value, problem);
        }
    }

    /// A key whose value is of no interest. True if it is there and not null.
    pub fn ignore(&mut self, key: &str) -> bool {
        self.take(key).is_some_and(|value| !value.is_null())
    }

    /// The mapping itself and the collector of complaints, for what `set` cannot say.
    pub fn parts(&mut self) -> (&Node, &mut Context) {
        (self.node, self.context)
    }

    /// The first value of a key, which counts as known from now on.
    fn take(&mut self, key: &str) -> Option<&'a Node> {
        let entries = self.entries;
        let mut found = None;
        for ((name, value), taken) in entries.iter().zip(&mut self.taken) {
            if name.scalar() != Some(key) {
                continue;
            }
            *taken = true;
            if found.is_some() {
                self.context.trouble(name, format!("field {key} already set in type {}", self.type_name));
            } else {
                found = Some(value);
            }
        }
        found
    }

    fn finish(self) {
        for ((key, _), taken) in self.entries.iter().zip(&self.taken) {
            if *taken {
                continue;
            }
            let Some(name) = key.scalar() else {
                self.context.mismatch(key, "string");
                continue;
            };
            self.context.trouble(key, format!("field {name} not found in type {}", self.type_name));
        }
    }
}
