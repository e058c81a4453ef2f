//! How is a tree written as text?
//!
//! [`Display`](fmt::Display) writes one line, as the rules API and messages show it: sorted matchers, single spaces,
//! durations in their largest units. What is written parses to the same tree.

use std::fmt;

use ferula_model::{METRIC_NAME, MatchOp, is_legacy_metric_name, write_go_quoted};

use super::ast::{
    Aggregate, At, Binary, Call, Cardinality, DurationExpr, Expr, Length, MatrixSelector, Modifiers, NumberLiteral,
    Subquery, VectorMatching, VectorSelector,
};

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(node) => node.fmt(f),
            Self::String(node) => match &node.bytes {
                None => write_go_quoted(f, &node.text),
                Some(bytes) => write_bytes_quoted(f, bytes),
            },
            Self::Selector(node) => node.fmt(f),
            Self::Matrix(node) => node.fmt(f),
            Self::Subquery(node) => write!(f, "{}{}", node.expr, SubquerySuffix(node)),
            Self::Call(node) => node.fmt(f),
            Self::Aggregate(node) => node.fmt(f),
            Self::Binary(node) => write!(f, "{} {} {}", node.left, Operator(node), node.right),
            Self::Unary(node) => write!(f, "{}{}", if node.negative { '-' } else { '+' }, node.expr),
            Self::Paren(node) => write!(f, "({})", node.expr),
        }
    }
}

impl fmt::Display for NumberLiteral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_duration {
            true if self.value == 0.0 && self.value.is_sign_negative() => f.write_str("-0s"),
            true => write_nanos(f, (self.value * 1e9).round() as i64),
            false => write_float(f, self.value),
        }
    }
}

/// Go's shortest decimal form without an exponent.
fn write_float(f: &mut fmt::Formatter<'_>, value: f64) -> fmt::Result {
    if value.is_infinite() { f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" }) } else { write!(f, "{value}") }
}

/// A length in Prometheus' notation; one that is no whole number of milliseconds, in seconds.
fn write_nanos(f: &mut fmt::Formatter<'_>, nanos: i64) -> fmt::Result {
    if nanos % 1_000_000 != 0 {
        return write!(f, "{}", nanos as f64 / 1e9);
    }
    if nanos < 0 {
        f.write_str("-")?;
    }
    f.write_str(&ferula_model::format_duration(std::time::Duration::from_nanos(nanos.unsigned_abs())))
}

fn write_bytes_quoted(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_str("\"")?;
    for chunk in bytes.utf8_chunks() {
        let quoted = ferula_model::go_quote(chunk.valid());
        f.write_str(quoted.get(1..quoted.len() - 1).unwrap_or_default())?;
        for byte in chunk.invalid() {
            write!(f, "\\x{byte:02x}")?;
        }
    }
    f.write_str("\"")
}

impl fmt::Display for VectorSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Bare(self), Suffix { selector: self, range: None })
    }
}

impl fmt::Display for MatrixSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Bare(&self.selector), Suffix { selector: &self.selector, range: Some(&self.range) })
    }
}

/// A selector without what follows it.
struct Bare<'a>(&'a VectorSelector);

impl fmt::Display for Bare<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let selector = self.0;
        let is_name = |matcher: &ferula_model::Matcher| {
            matcher.name == METRIC_NAME
                && matcher.op == MatchOp::Equal
                && selector.name.as_ref().is_some_and(|name| *name == matcher.value)
        };
        let mut matchers: Vec<String> =
            selector.matchers.iter().filter(|matcher| !is_name(matcher)).map(ToString::to_string).collect();
        matchers.sort_unstable();
        if let Some(name) = &selector.name {
            f.write_str(name)?;
        }
        if selector.name.is_none() || !matchers.is_empty() {
            write!(f, "{{{}}}", matchers.join(","))?;
        }
        Ok(())
    }
}

/// What follows a bare selector.
struct Suffix<'a> {
    selector: &'a VectorSelector,
    range: Option<&'a Length>,
}

impl fmt::Display for Suffix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(range) = self.range {
            write!(f, "[{range}]")?;
        }
        if let Some(extension) = self.selector.extension {
            write!(f, " {}", extension.as_str())?;
        }
        self.selector.modifiers.fmt(f)
    }
}

impl fmt::Display for Modifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            None => {}
            Some(At::Start) => f.write_str(" @ start()")?,
            Some(At::End) => f.write_str(" @ end()")?,
            Some(At::Timestamp(millis)) => {
                let (sign, millis) = (if millis < 0 { "-" } else { "" }, millis.unsigned_abs());
                write!(f, " @ {sign}{}.{:03}", millis / 1000, millis % 1000)?;
            }
        }
        match &self.offset {
            None => Ok(()),
            Some(offset) => write!(f, " offset {offset}"),
        }
    }
}

/// What follows a subquery's expression.
pub(super) struct SubquerySuffix<'a>(pub(super) &'a Subquery);

impl fmt::Display for SubquerySuffix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}:", self.0.range)?;
        if let Some(step) = &self.0.step {
            step.fmt(f)?;
        }
        f.write_str("]")?;
        self.0.modifiers.fmt(f)
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nanos(nanos) => write_nanos(f, *nanos),
            Self::Expr(expr) => expr.fmt(f),
        }
    }
}

impl fmt::Display for DurationExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use super::ast::DurationOp::{Max, Min};
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Step(_) => f.write_str("step()"),
            Self::Range(_) => f.write_str("range()"),
            Self::Paren { inner, .. } => write!(f, "({inner})"),
            Self::Unary { negative, operand, .. } => write!(f, "{}{operand}", if *negative { '-' } else { '+' }),
            Self::Binary { op: op @ (Min | Max), left, right, .. } => {
                write!(f, "{}({left}, {right})", op.as_str())
            }
            Self::Binary { op, left, right, .. } => write!(f, "{left} {} {right}", op.as_str()),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.function.name())?;
        f.write_str("(")?;
        for (index, arg) in self.args.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            arg.fmt(f)?;
        }
        f.write_str(")")
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", AggregateHead(self))?;
        if let Some(param) = &self.param {
            write!(f, "{param}, ")?;
        }
        write!(f, "{})", self.expr)
    }
}

/// An aggregation up to its parenthesis.
pub(super) struct AggregateHead<'a>(pub(super) &'a Aggregate);

impl fmt::Display for AggregateHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.op.name())?;
        let grouping = &self.0.grouping;
        if grouping.without {
            write!(f, " without ({}) ", LabelList(&grouping.labels))?;
        } else if !grouping.labels.is_empty() {
            write!(f, " by ({}) ", LabelList(&grouping.labels))?;
        }
        Ok(())
    }
}

/// A binary operator with its modifiers.
pub(super) struct Operator<'a>(pub(super) &'a Binary);

impl fmt::Display for Operator<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.op.as_str())?;
        if self.0.return_bool {
            f.write_str(" bool")?;
        }
        match &self.0.matching {
            Some(matching) => matching.fmt(f),
            None => Ok(()),
        }
    }
}

impl fmt::Display for VectorMatching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = match self.cardinality {
            Cardinality::ManyToOne => Some("group_left"),
            Cardinality::OneToMany => Some("group_right"),
            Cardinality::OneToOne | Cardinality::ManyToMany => None,
        };
        if self.on || !self.labels.is_empty() || group.is_some() {
            write!(f, " {} ({})", if self.on { "on" } else { "ignoring" }, LabelList(&self.labels))?;
        }
        if let Some(group) = group {
            write!(f, " {group} ({})", LabelList(&self.include))?;
        }
        let mut fill = |word: &str, value: f64| {
            write!(f, " {word} (")?;
            write_float(f, value)?;
            f.write_str(")")
        };
        match (self.fill_left, self.fill_right) {
            (Some(left), Some(right)) if left.to_bits() == right.to_bits() => fill("fill", left),
            (left, right) => {
                left.map_or(Ok(()), |value| fill("fill_left", value))?;
                right.map_or(Ok(()), |value| fill("fill_right", value))
            }
        }
    }
}

/// Label names as a list; those that are no legacy names in quotes.
struct LabelList<'a>(&'a [String]);

impl fmt::Display for LabelList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, label) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            // `without` is the one word that the grammar does not take as a label in a list.
            if is_legacy_metric_name(label) && !is_number(label) && !label.eq_ignore_ascii_case("without") {
                f.write_str(label)?;
            } else {
                write_go_quoted(f, label)?;
            }
        }
        Ok(())
    }
}

/// Whether a legal label name would be read as a number.
fn is_number(label: &str) -> bool {
    label.eq_ignore_ascii_case("inf") || label.eq_ignore_ascii_case("nan")
}
