//! Documents in, values and complaints out.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{Labels, Secret};

#[derive(Clone, Debug, Default, PartialEq)]
struct Inner {
    user: String,
    password: Secret,
}

impl Struct for Inner {
    const TYPE: &'static str = "config.BasicAuth";
    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("username", &mut self.user);
        fields.set("password", &mut self.password);
    }
}

impl Encode for Inner {
    fn encode(&self) -> Node {
        Node::mapping().put("username", &self.user).put_some("password", &self.password)
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Outer {
    name: String,
    on: bool,
    every: Duration,
    limit: u64,
    size: ByteSize,
    labels: Labels,
    list: Vec<Inner>,
    auth: Option<Inner>,
    map: BTreeMap<String, f64>,
    flat: Inner,
}

impl Struct for Outer {
    const TYPE: &'static str = "config.plain";
    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("name", &mut self.name);
        fields.set("on", &mut self.on);
        fields.set("every", &mut self.every);
        fields.set("limit", &mut self.limit);
        fields.set("size", &mut self.size);
        fields.set("labels", &mut self.labels);
        fields.set("list", &mut self.list);
        fields.set("auth", &mut self.auth);
        fields.set("map", &mut self.map);
        fields.refuse("future", "future is not supported yet");
        self.flat.fields(fields);
    }
    fn check(&mut self) -> Result<(), String> {
        if self.limit > 5000 { Err("limit is too high".to_owned()) } else { Ok(()) }
    }
}

fn complaint(text: &str) -> String {
    decode::<Outer>(text).unwrap_err().to_string()
}

#[test]
fn values_of_every_kind() {
    let text = "\
# comment
name: 127.0.0.1:9090
on: yes
every: 1h30m
limit: 1_000
size: 10MB
labels: {b: 2, a: x}
list:
- username: u
  password: p
- {username: v}
auth:
map: {x: 1, y: .5}
username: flat
";
    let outer: Outer = decode(text).unwrap();
    assert_eq!((outer.name.as_str(), outer.on, outer.limit), ("127.0.0.1:9090", true, 1000));
    assert_eq!((outer.every, outer.size), (Duration::from_secs(5400), ByteSize(10 << 20)));
    assert_eq!(outer.labels, Labels::from_pairs([("a", "x"), ("b", "2")]));
    assert_eq!((outer.list[0].password.expose(), outer.list.len(), outer.auth), ("p", 2, None));
    assert_eq!((outer.map["y"], outer.flat.user.as_str()), (0.5, "flat"));
}

#[test]
fn nothing_at_all_is_the_default() {
    for text in ["", "# only a comment\n", "---\n", "~", "name:\non: ~\nlist: null\nlabels:\nauth:\n"] {
        assert_eq!(decode::<Outer>(text).unwrap(), Outer::default(), "{text:?}");
    }
}

#[test]
fn all_complaints_come_at_once_with_their_lines() {
    let text = "\
name: [a]
on: \"yes\"
every: 1x
nope: 1
limit: -1
list:
- username: u
  pass: secret
labels: {a: 1, a: 2}
on: true
future: {a: b}
map: {x: a long text}
";
    assert_eq!(
        complaint(text),
        "yaml: unmarshal errors:
  line 1: cannot unmarshal !!seq into string
  line 2: cannot unmarshal !!str `yes` into bool
  line 3: not a valid duration string: \"1x\"
  line 4: field nope not found in type config.plain
  line 5: cannot unmarshal !!int `-1` into uint64
  line 8: field pass not found in type config.BasicAuth
  line 9: key \"a\" already set in map
  line 10: field on already set in type config.plain
  line 11: future is not supported yet
  line 12: cannot unmarshal !!str `a long ...` into float64"
    );
    assert_eq!(complaint("\n\nlimit: 5001\n"), "yaml: unmarshal errors:\n  line 3: limit is too high");
    assert_eq!(complaint("- a\n"), "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!seq into config.plain");
}

#[test]
fn what_is_not_yaml_says_where() {
    for (text, line) in [("a: b\nc: [\n", 2), ("a: b\n c: d\n", 2), ("a: *nope\n", 1), ("a: 1\n---\nb: 2\n", 3)] {
        match parse(text) {
            Err(YamlError::Syntax { line: at, .. }) => assert_eq!(at, line, "{text:?}"),
            other => panic!("{text:?}: {other:?}"),
        }
    }
}

#[test]
fn anchors_and_merge_keys() {
    let text = "\
base: &base {username: u, password: p}
list:
- <<: *base
  username: own
- *base
- <<: [{username: first}, *base]
";
    let node = parse(text).unwrap().unwrap();
    let list: Vec<Inner> = decode_node(node.get("list").unwrap()).unwrap();
    let users: Vec<_> = list.iter().map(|inner| (inner.user.as_str(), inner.password.expose())).collect();
    assert_eq!(users, [("own", "p"), ("u", "p"), ("first", "p")]);
}

#[test]
fn alias_bombs_are_errors() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let aliases = vec![format!("*a{}", i - 1); 9].join(", ");
        text.push_str(&format!("a{i}: &a{i} [{aliases}]\n"));
    }
    assert!(parse(&text).unwrap_err().to_string().contains("excessive aliasing"));
    assert!(parse(&"[".repeat(100_000)).is_err());
    assert!(parse("a: &a [*a]").is_err());
}

#[test]
fn layout_is_that_of_go_yaml() {
    let node = Node::mapping()
        .put("plain", &"a b".to_owned())
        .put("number", &"5".to_owned())
        .put("bool", &"yes".to_owned())
        .put("empty", &String::new())
        .put("colon", &"a: b".to_owned())
        .put("star", &"*.x".to_owned())
        .put("regex", &"(.+);$1".to_owned())
        .put("lines", &"a\nb\n".to_owned())
        .put("time", &"1:30".to_owned())
        .put("every", &Duration::from_secs(90))
        .put_some("zero", &Duration::ZERO)
        .put_some("none", &Vec::<String>::new())
        .put("nothing", &Vec::<String>::new())
        .put("list", &vec![Inner { user: "u".into(), password: Secret::new("p") }, Inner::default()])
        .put("map", &BTreeMap::from([("x".to_owned(), 1.5)]))
        .put("nested", &Node::sequence([Node::sequence([Node::plain("1"), Node::plain("2")])]));
    let expected = "\
plain: a b
number: \"5\"
bool: \"yes\"
empty: \"\"
colon: 'a: b'
star: '*.x'
regex: (.+);$1
lines: |
  a
  b
time: \"1:30\"
every: 1m30s
nothing: []
list:
- username: u
  password: <secret>
- username: \"\"
map:
  x: 1.5
nested:
- - 1
  - 2
";
    assert_eq!(to_string(&node), expected);
}

/// Without places and with plain texts as texts, for comparison.
fn bare(node: &Node) -> Node {
    match &node.kind {
        Kind::Sequence(items) => Node::sequence(items.iter().map(bare)),
        Kind::Mapping(entries) => Kind::Mapping(entries.iter().map(|(k, v)| (bare(k), bare(v))).collect()).into(),
        Kind::Plain(text) | Kind::Text(text) => Node::text(text.as_str()),
    }
}

fn any_node() -> impl Strategy<Value = Node> {
    let text = prop_oneof!["[ -~]{0,12}", "[a-z: #'\"\n-]{0,8}", "\\PC{0,4}", "[\\x00-\\x20]{0,3}"];
    let leaf = text.prop_map(Node::text);
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Node::sequence),
            prop::collection::btree_map("[a-z *:#]{1,4}", inner, 0..4)
                .prop_map(|map| Kind::Mapping(map.into_iter().map(|(k, v)| (Node::text(k), v)).collect()).into()),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(node in any_node()) {
        let text = to_string(&node);
        let read = parse(&text).unwrap_or_else(|error| panic!("{error} in\n{text}")).unwrap_or_default();
        prop_assert_eq!(bare(&read), bare(&node), "{}", text);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[ \n:\\-&*a<\\[\\]{},|>'\"#!?%]{0,60}") {
        let _ = decode::<Outer>(&text);
    }
}

#[test]
fn the_first_of_several_documents_can_be_read_alone() {
    let (node, more) = super::parse_first("a: 1\n---\n[not read\n").unwrap();
    assert_eq!((node.unwrap().get("a").unwrap().scalar(), more), (Some("1"), true));
    assert!(!super::parse_first("---\na: 1\n...\n").unwrap().1);
}
