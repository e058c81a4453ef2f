//! The functions of templates: one table of names, parameters and what they do.

mod compare;
mod elements;
mod print;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ferula_model::matcher::{SearchRegex, Template as Replacement};
use ferula_model::{Value as Stored, go_quote, parse_duration};

use super::humanize;
use super::printf::printf;
use super::value::{Sample, Value};
use super::{Environment, query_escape};
use crate::evaluate::samples;
use compare::{equal, ordered};
use elements::{index, length, slice};
use print::{html, joined, js, print, println};

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Param {
    Any,
    Text,
    Sample,
    Samples,
}

impl Param {
    pub(super) fn type_name(self) -> &'static str {
        match self {
            Param::Any => "interface {}",
            Param::Text => "string",
            Param::Sample => "*template.sample",
            Param::Samples => "template.queryResult",
        }
    }

    pub(super) fn takes(self, value: &Value) -> bool {
        match self {
            Param::Any => true,
            Param::Text => matches!(value, Value::Text(_)),
            Param::Sample => matches!(value, Value::Sample(_)),
            Param::Samples => matches!(value, Value::Samples(_)),
        }
    }
}

/// The parameters of a function: some, and any number of one kind after them.
pub(super) struct Params {
    pub(super) fixed: &'static [Param],
    pub(super) more: Option<Param>,
}

type Call = fn(&Environment<'_>, &[Value]) -> Result<Value, String>;

/// A function.
pub(super) struct Function {
    name: &'static str,
    pub(super) params: Params,
    pub(super) call: Call,
}

const fn function(name: &'static str, fixed: &'static [Param], call: Call) -> Function {
    Function { name, params: Params { fixed, more: None }, call }
}

const fn variadic(name: &'static str, fixed: &'static [Param], call: Call) -> Function {
    Function { name, params: Params { fixed, more: Some(Param::Any) }, call }
}

use Param::{Any, Samples, Text};

/// Upstream's functions (3.14), then Go's.
static FUNCTIONS: &[Function] = &[
    function("query", &[Text], |env, args| query(env, text(args, 0))),
    function("first", &[Samples], |_, args| first(list(args, 0))),
    function("label", &[Text, Param::Sample], |_, args| Ok(label(text(args, 0), args.get(1)))),
    function("value", &[Param::Sample], |_, args| Ok(sample(args.first()).map_or(Value::Nil, |s| s.value.clone()))),
    function("strvalue", &[Param::Sample], |_, args| Ok(label("__value__", args.first()))),
    function("sortByLabel", &[Text, Samples], |_, args| Ok(sort_by_label(text(args, 0), list(args, 1)))),
    variadic("args", &[], |_, args| Ok(numbered(args))),
    function("humanize", &[Any], |_, args| humanize::si(one(args)).map(Value::text)),
    function("humanize1024", &[Any], |_, args| humanize::binary(one(args)).map(Value::text)),
    function("humanizeDuration", &[Any], |_, args| humanize::duration(one(args)).map(Value::text)),
    function("humanizePercentage", &[Any], |_, args| humanize::percentage(one(args)).map(Value::text)),
    function("humanizeTimestamp", &[Any], |_, args| humanize::timestamp(one(args)).map(Value::text)),
    function("toTime", &[Any], |_, args| humanize::to_time(one(args))),
    function("toDuration", &[Any], |_, args| humanize::to_duration(one(args))),
    function("now", &[], |env, _| Ok(Value::Float(env.at.as_secs_f64()))),
    function("title", &[Text], |_, args| Ok(Value::text(title(text(args, 0))))),
    function("toUpper", &[Text], |_, args| Ok(Value::text(text(args, 0).to_uppercase()))),
    function("toLower", &[Text], |_, args| Ok(Value::text(text(args, 0).to_lowercase()))),
    function("stripPort", &[Text], |_, args| Ok(Value::text(strip_port(text(args, 0))))),
    function("stripDomain", &[Text], |_, args| Ok(Value::text(strip_domain(text(args, 0))))),
    function("match", &[Text, Text], |_, args| matches(text(args, 0), text(args, 1))),
    function("reReplaceAll", &[Text, Text, Text], |_, args| replace_all(text(args, 0), text(args, 1), text(args, 2))),
    function("graphLink", &[Text], |_, args| Ok(Value::text(super::graph_link(text(args, 0))))),
    function("tableLink", &[Text], |_, args| Ok(Value::text(super::table_link(text(args, 0))))),
    function("parseDuration", &[Text], |_, args| seconds(text(args, 0))),
    function("safeHtml", &[Text], |_, args| Ok(Value::text(text(args, 0)))),
    function("externalURL", &[], |env, _| Ok(Value::text(env.external_url))),
    function("pathPrefix", &[], |env, _| Ok(Value::text(path_of(env.external_url)))),
    function("urlQueryEscape", &[Text], |_, args| Ok(Value::text(query_escape(text(args, 0))))),
    // These two evaluate their arguments themselves.
    variadic("and", &[Any], |_, _| Ok(Value::Nil)),
    variadic("or", &[Any], |_, _| Ok(Value::Nil)),
    function("not", &[Any], |_, args| Ok(Value::Bool(!one(args).is_true()))),
    function("len", &[Any], |_, args| length(one(args))),
    variadic("index", &[Any], |_, args| index(args)),
    variadic("slice", &[Any], |_, args| slice(args)),
    variadic("print", &[], |_, args| Ok(Value::text(print(args)))),
    variadic("println", &[], |_, args| Ok(Value::text(println(args)))),
    variadic("printf", &[Text], |_, args| Ok(Value::text(printf(text(args, 0), args.get(1..).unwrap_or_default())))),
    variadic("html", &[], |_, args| Ok(Value::text(html(&joined(args))))),
    variadic("js", &[], |_, args| Ok(Value::text(js(&joined(args))))),
    variadic("urlquery", &[], |_, args| Ok(Value::text(query_escape(&joined(args))))),
    variadic("call", &[Any], |_, args| {
        Err(format!("non-function {} of type {}", one(args).to_text(), one(args).type_name()))
    }),
    variadic("eq", &[Any], |_, args| equal(args)),
    function("ne", &[Any, Any], |_, args| equal(args).map(|equal| Value::Bool(!equal.is_true()))),
    function("lt", &[Any, Any], |_, args| ordered(args, |o| o == Ordering::Less)),
    function("le", &[Any, Any], |_, args| ordered(args, |o| o != Ordering::Greater)),
    function("gt", &[Any, Any], |_, args| ordered(args, |o| o == Ordering::Greater)),
    function("ge", &[Any, Any], |_, args| ordered(args, |o| o != Ordering::Less)),
];

pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

pub(super) fn exists(name: &str) -> bool {
    find(name).is_some()
}

fn one(args: &[Value]) -> &Value {
    args.first().unwrap_or(&Value::Nil)
}

/// A text parameter; its kind was checked.
fn text(args: &[Value], index: usize) -> &str {
    match args.get(index) {
        Some(Value::Text(text)) => text,
        _ => "",
    }
}

fn sample(value: Option<&Value>) -> Option<&Arc<Sample>> {
    match value {
        Some(Value::Sample(sample)) => Some(sample),
        _ => None,
    }
}

fn list(args: &[Value], index: usize) -> &[Arc<Sample>] {
    match args.get(index) {
        Some(Value::Samples(samples)) => samples,
        _ => &[],
    }
}

fn query(environment: &Environment<'_>, query: &str) -> Result<Value, String> {
    let answer = environment.queries.instant(query, environment.at).map_err(|error| error.to_string())?;
    let found = samples(answer).map_err(|error| error.to_string())?;
    let found = found.into_iter().map(|sample| {
        let value = stored(&sample.value);
        Arc::new(Sample { labels: sample.labels, value })
    });
    Ok(Value::Samples(found.collect()))
}

pub(super) fn stored(value: &Stored) -> Value {
    match value {
        Stored::Float(value) => Value::Float(*value),
        Stored::Histogram(histogram) => Value::Histogram(histogram.to_float()),
    }
}

fn first(samples: &[Arc<Sample>]) -> Result<Value, String> {
    match samples.first() {
        Some(sample) => Ok(Value::Sample(Arc::clone(sample))),
        None => Err("first() called on vector with no elements".to_owned()),
    }
}

fn label(name: &str, of: Option<&Value>) -> Value {
    Value::text(sample(of).and_then(|sample| sample.labels.get(name)).unwrap_or_default())
}

fn sort_by_label(name: &str, samples: &[Arc<Sample>]) -> Value {
    let mut sorted = samples.to_vec();
    sorted.sort_by(|a, b| a.labels.get(name).unwrap_or_default().cmp(b.labels.get(name).unwrap_or_default()));
    Value::Samples(sorted.into())
}

fn numbered(args: &[Value]) -> Value {
    let entries = args.iter().enumerate().map(|(index, value)| (format!("arg{index}"), value.clone()));
    Value::Map(Arc::new(entries.collect::<BTreeMap<_, _>>()))
}

/// Go's `strings.Title`.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.push(c);
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c == '_' || c.is_alphanumeric() || (!c.is_ascii() && !c.is_whitespace());
    }
    out
}

/// Host and port, as Go's `net.SplitHostPort` takes them apart.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let (before, port) = text.rsplit_once(':')?;
    let host = match before.strip_prefix('[') {
        Some(inside) => inside.strip_suffix(']')?,
        None if before.contains(':') => return None,
        None => before,
    };
    if host.contains(['[', ']']) || port.contains(['[', ']']) { None } else { Some((host, port)) }
}

fn strip_port(text: &str) -> &str {
    split_host_port(text).map_or(text, |(host, _)| host)
}

fn strip_domain(text: &str) -> String {
    let (host, port) = split_host_port(text).unwrap_or((text, ""));
    if host.parse::<IpAddr>().is_ok() {
        return text.to_owned();
    }
    let host = host.split('.').next().unwrap_or_default();
    match (port, host.contains(':')) {
        ("", _) => host.to_owned(),
        (port, true) => format!("[{host}]:{port}"),
        (port, false) => format!("{host}:{port}"),
    }
}

fn matches(pattern: &str, text: &str) -> Result<Value, String> {
    let regex = SearchRegex::new(pattern).map_err(|error| error.to_string())?;
    Ok(Value::Bool(regex.is_match(text)))
}

fn replace_all(pattern: &str, replacement: &str, text: &str) -> Result<Value, String> {
    let quoted =
        if pattern.contains(|c: char| c == '`' || c.is_control()) { go_quote(pattern) } else { format!("`{pattern}`") };
    let regex = SearchRegex::new(pattern).map_err(|error| format!("regexp: Compile({quoted}): {error}"))?;
    Ok(Value::text(regex.replace_all(text, &Replacement::new(replacement))))
}

fn seconds(text: &str) -> Result<Value, String> {
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let duration = parse_duration(unsigned).map_err(|error| error.to_string())?.as_secs_f64();
    Ok(Value::Float(if negative { -duration } else { duration }))
}

fn path_of(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    after_scheme.find('/').and_then(|at| after_scheme.get(at..)).unwrap_or_default()
}
