//! A document as a tree that remembers where everything stood.

/// A value in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The line where it starts, counted from 1; 0 if it was not read from a document.
    pub line: usize,
    /// The column where it starts, counted from 1; 0 if it was not read from a document.
    pub column: usize,
    /// What it is.
    pub kind: Kind,
}

/// What a [`Node`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A scalar without quotes, whose meaning (null, number, text) depends on its spelling and on who asks.
    Plain(String),
    /// A scalar that is text for sure: it was quoted, a block, or tagged `!!str`.
    Text(String),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values, in order; merge keys are resolved, duplicates are kept.
    Mapping(Vec<(Node, Node)>),
}

impl Default for Kind {
    fn default() -> Self {
        Kind::Plain(String::new())
    }
}

/// Words in the names of keys whose values are not shown.
const SECRET_WORDS: [&str; 5] = ["secret", "password", "token", "key", "credentials"];

impl Node {
    /// A copy with everything hidden that may be a secret, judged by the names of keys: for parts of a document that
    /// nobody understands, where too much is hidden rather than too little.
    ///
    /// ```
    /// use ferula_model::yaml;
    ///
    /// let node = yaml::parse("user: a\npassword: hunter2\npassword_file: b\n")?.unwrap_or_default();
    /// assert_eq!(yaml::to_string(&node.without_secrets()), "user: a\npassword: <secret>\npassword_file: b\n");
    /// # Ok::<(), yaml::YamlError>(())
    /// ```
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        let is_secret = |key: &str| {
            SECRET_WORDS.iter().any(|word| key.contains(word)) && !key.ends_with("_file") && !key.ends_with("_ref")
        };
        let kind = match &self.kind {
            Kind::Sequence(items) => Kind::Sequence(items.iter().map(Self::without_secrets).collect()),
            Kind::Mapping(entries) => {
                let shown = entries.iter().map(|(key, value)| match (key.scalar(), value.scalar()) {
                    (Some(name), Some(_)) if is_secret(name) => (key.clone(), Node::text("<secret>")),
                    _ => (key.clone(), value.without_secrets()),
                });
                Kind::Mapping(shown.collect())
            }
            scalar => scalar.clone(),
        };
        Self { kind, ..*self }
    }

    /// A scalar as it stands: `5`, `true`.
    pub fn plain(text: impl Into<String>) -> Self {
        Kind::Plain(text.into()).into()
    }

    /// A text, which is quoted where it must be.
    pub fn text(text: impl Into<String>) -> Self {
        Kind::Text(text.into()).into()
    }

    /// A list.
    pub fn sequence(items: impl IntoIterator<Item = Node>) -> Self {
        Kind::Sequence(items.into_iter().collect()).into()
    }

    /// A mapping without keys, for [`put`](Self::put).
    pub fn mapping() -> Self {
        Kind::Mapping(Vec::new()).into()
    }

    /// Whether it is null: nothing, `~` or `null` without quotes.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Plain(text) if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Whether it is an empty text, list or mapping, or null.
    pub fn is_empty(&self) -> bool {
        match &self.kind {
            Kind::Plain(_) => self.is_null(),
            Kind::Text(text) => text.is_empty(),
            Kind::Sequence(items) => items.is_empty(),
            Kind::Mapping(entries) => entries.is_empty(),
        }
    }

    /// The text of a scalar.
    pub fn scalar(&self) -> Option<&str> {
        match &self.kind {
            Kind::Plain(text) | Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a key of a mapping; the first, if there are several.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Mapping(entries) => entries.iter().find(|(k, _)| k.scalar() == Some(key)).map(|(_, value)| value),
            _ => None,
        }
    }
}

impl From<Kind> for Node {
    fn from(kind: Kind) -> Self {
        Self { kind, ..Self::default() }
    }
}
