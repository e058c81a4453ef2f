//! The functions of templates: one table of names, parameters and what they do.

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
use crate::civil::Civil;
use crate::evaluate::samples;

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

fn length(value: &Value) -> Result<Value, String> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::Labels(labels) => labels.len(),
        Value::Map(map) => map.len(),
        Value::Samples(samples) => samples.len(),
        Value::Nil => return Err("len of nil pointer".to_owned()),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(length as i64))
}

fn index(args: &[Value]) -> Result<Value, String> {
    let Some((collection, indexes)) = args.split_first() else { return Ok(Value::Nil) };
    let mut value = collection.clone();
    if matches!(value, Value::Nil) {
        return Err("index of untyped nil".to_owned());
    }
    for index in indexes {
        value = match (&value, index) {
            (Value::Labels(labels), Value::Text(name)) => Value::text(labels.get(name).unwrap_or_default()),
            (Value::Map(map), Value::Text(name)) => map.get(&**name).cloned().unwrap_or(Value::Nil),
            (Value::Labels(_) | Value::Map(_), Value::Nil) => return Err("value is nil; should be string".to_owned()),
            (Value::Labels(_) | Value::Map(_), other) => {
                return Err(format!("value has type {}; should be string", other.type_name()));
            }
            (Value::Samples(samples), index) => {
                Value::Sample(Arc::clone(samples.get(position(index, samples.len())?).ok_or("index out of range")?))
            }
            (Value::Text(text), index) => {
                let byte = text.as_bytes().get(position(index, text.len())?).copied();
                Value::Int(i64::from(byte.ok_or("index out of range")?))
            }
            (Value::Nil, _) => return Err("index of nil pointer".to_owned()),
            (other, _) => return Err(format!("can't index item of type {}", other.type_name())),
        };
    }
    Ok(value)
}

/// An index below `length`.
fn position(index: &Value, length: usize) -> Result<usize, String> {
    let Value::Int(number) = index else {
        return Err(match index {
            Value::Nil => "cannot index slice/array with nil".to_owned(),
            other => format!("cannot index slice/array with type {}", other.type_name()),
        });
    };
    usize::try_from(*number).ok().filter(|at| *at < length).ok_or_else(|| format!("index out of range: {number}"))
}

fn slice(args: &[Value]) -> Result<Value, String> {
    let Some((item, indexes)) = args.split_first() else { return Ok(Value::Nil) };
    let length = match item {
        Value::Text(text) => text.len(),
        Value::Samples(samples) => samples.len(),
        Value::Nil => return Err("slice of untyped nil".to_owned()),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    if indexes.len() > 3 {
        return Err(format!("too many slice indexes: {}", indexes.len()));
    }
    if indexes.len() == 3 && matches!(item, Value::Text(_)) {
        return Err("cannot 3-index slice a string".to_owned());
    }
    let mut bounds = [0, length, length];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        *bound = position(index, length + 1)?;
    }
    let [from, to, _] = bounds;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    match item {
        Value::Text(text) => {
            let bytes = text.as_bytes().get(from..to).unwrap_or_default();
            Ok(Value::text(String::from_utf8_lossy(bytes)))
        }
        Value::Samples(samples) => Ok(Value::Samples(samples.get(from..to).unwrap_or_default().into())),
        _ => Ok(Value::Nil),
    }
}

/// Go's `fmt.Sprint`: a space between two operands of which neither is a text.
fn print(args: &[Value]) -> String {
    let mut out = String::new();
    let mut after_text = true;
    for value in args {
        let is_text = matches!(value, Value::Text(_));
        if !after_text && !is_text {
            out.push(' ');
        }
        print_operand(value, &mut out);
        after_text = is_text;
    }
    out
}

fn println(args: &[Value]) -> String {
    let mut out = String::new();
    for (index, value) in args.iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        print_operand(value, &mut out);
    }
    out.push('\n');
    out
}

fn print_operand(value: &Value, out: &mut String) {
    match value {
        Value::Nil => out.push_str("<nil>"),
        value => value.print(out),
    }
}

/// What `html`, `js` and `urlquery` work on: one text as it is, everything else as `print` prints it.
fn joined(args: &[Value]) -> String {
    match args {
        [Value::Text(text)] => text.to_string(),
        args => print(args),
    }
}

fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' => out.push_str("\\u003C"),
            '>' => out.push_str("\\u003E"),
            '&' => out.push_str("\\u0026"),
            '=' => out.push_str("\\u003D"),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// Whether the first is equal to one of the others.
fn equal(args: &[Value]) -> Result<Value, String> {
    let Some((first, others)) = args.split_first() else { return Ok(Value::Bool(false)) };
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        let same = match (first, other) {
            (Value::Nil, other) => matches!(other, Value::Nil),
            (_, Value::Nil) => false,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Labels(_) | Value::Map(_) | Value::Samples(_), _) => {
                return Err(format!("non-comparable type {}: {}", first.to_text(), first.type_name()));
            }
            _ => return Err(incompatible(first, other)),
        };
        if same {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn incompatible(a: &Value, b: &Value) -> String {
    format!("incompatible types for comparison: {} and {}", a.type_name(), b.type_name())
}

fn ordered(args: &[Value], is: fn(Ordering) -> bool) -> Result<Value, String> {
    let order = match args {
        [Value::Int(a), Value::Int(b)] => Some(a.cmp(b)),
        [Value::Float(a), Value::Float(b)] => a.partial_cmp(b),
        [Value::Text(a), Value::Text(b)] => Some(a.cmp(b)),
        [
            a @ (Value::Int(_) | Value::Float(_) | Value::Text(_)),
            b @ (Value::Int(_) | Value::Float(_) | Value::Text(_)),
        ] => return Err(incompatible(a, b)),
        _ => return Err("invalid type for comparison".to_owned()),
    };
    // A NaN is in no order with anything.
    Ok(Value::Bool(order.is_some_and(is)))
}

/// Methods of times and durations that need no argument.
pub(super) fn method(value: &Value, name: &str) -> Option<Value> {
    match value {
        Value::Duration(nanos) => {
            let seconds = *nanos as f64 / 1e9;
            Some(match name {
                "Hours" => Value::Float(seconds / 3600.0),
                "Minutes" => Value::Float(seconds / 60.0),
                "Seconds" => Value::Float(seconds),
                "Milliseconds" => Value::Int(nanos / 1_000_000),
                "Microseconds" => Value::Int(nanos / 1_000),
                "Nanoseconds" => Value::Int(*nanos),
                "String" => Value::text(value.to_text()),
                _ => return None,
            })
        }
        Value::Time(millis) => {
            let civil = Civil::from_seconds(millis.div_euclid(1000));
            Some(match name {
                "Unix" => Value::Int(millis.div_euclid(1000)),
                "UnixMilli" => Value::Int(*millis),
                "Year" => Value::Int(civil.year),
                "Month" => Value::text(MONTHS.get(usize::from(civil.month) - 1).copied().unwrap_or_default()),
                "Day" => Value::Int(i64::from(civil.day)),
                "Hour" => Value::Int(i64::from(civil.hour)),
                "Minute" => Value::Int(i64::from(civil.minute)),
                "Second" => Value::Int(i64::from(civil.second)),
                "Weekday" => Value::text(WEEKDAYS.get(usize::from(civil.weekday)).copied().unwrap_or_default()),
                "YearDay" => Value::Int(i64::from(civil.day_of_year)),
                "UTC" => value.clone(),
                "String" => Value::text(value.to_text()),
                _ => return None,
            })
        }
        _ => None,
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
