//! How does the HTTP API show a tree? As JSON with upstream's keys, sorted, compact.

use std::fmt::Write as _;

use ferula_model::Matcher;

use super::ast::{At, Binary, Call, DurationExpr, Expr, Length, Modifiers, NumberLiteral, VectorSelector};
use crate::functions::Variadic;

impl Expr {
    /// The tree as `parse_query` of the HTTP API answers it: one JSON object, without spaces, its keys sorted, numbers
    /// that stand for values as strings, times in milliseconds.
    ///
    /// ```
    /// use ferula_promql::syntax::{parse, Features};
    ///
    /// let json = parse("-(1)", &Features::default()).unwrap().to_json();
    /// let inner = r#"{"expr":{"type":"numberLiteral","val":"1"},"type":"parenExpr"}"#;
    /// assert_eq!(json, format!(r#"{{"expr":{inner},"op":"-","type":"unaryExpr"}}"#));
    /// ```
    pub fn to_json(&self) -> String {
        let mut json = Json(String::new());
        json.expr(self);
        json.0
    }
}

/// A `String` takes everything that is written to it, so the results of `write!` say nothing.
struct Json(String);

impl Json {
    fn raw(&mut self, text: &str) -> &mut Self {
        self.0.push_str(text);
        self
    }

    /// A JSON string; `<`, `>`, `&` and the line separators are escaped as Go does.
    fn text(&mut self, text: &str) -> &mut Self {
        self.0.push('"');
        for c in text.chars() {
            match c {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                '\r' => self.0.push_str("\\r"),
                '\t' => self.0.push_str("\\t"),
                '\u{8}' => self.0.push_str("\\b"),
                '\u{c}' => self.0.push_str("\\f"),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                    let _ = write!(self.0, "\\u{:04x}", c as u32);
                }
                c => self.0.push(c),
            }
        }
        self.0.push('"');
        self
    }

    fn number(&mut self, number: i64) -> &mut Self {
        let _ = write!(self.0, "{number}");
        self
    }

    fn bool(&mut self, value: bool) -> &mut Self {
        self.raw(if value { "true" } else { "false" })
    }

    fn list<T>(&mut self, items: impl IntoIterator<Item = T>, mut each: impl FnMut(&mut Self, T)) -> &mut Self {
        self.raw("[");
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.raw(",");
            }
            each(self, item);
        }
        self.raw("]")
    }

    fn texts(&mut self, items: &[String]) -> &mut Self {
        self.list(items, |json, item| {
            json.text(item);
        })
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Number(node) => self.number_literal(node),
            Expr::String(node) => {
                self.raw("{\"type\":\"stringLiteral\",\"val\":").text(&node.text).raw("}");
            }
            Expr::Selector(node) => self.selector(node, None),
            Expr::Matrix(node) => self.selector(&node.selector, Some(&node.range)),
            Expr::Subquery(node) => {
                self.raw("{\"expr\":").expr(&node.expr);
                self.raw(",").offset(&node.modifiers);
                self.raw(",").length("range", Some(&node.range));
                self.raw(",").start_or_end(&node.modifiers);
                self.raw(",").length("step", node.step.as_ref());
                self.raw(",").timestamp(&node.modifiers);
                self.raw(",\"type\":\"subquery\"}");
            }
            Expr::Call(node) => self.call(node),
            Expr::Aggregate(node) => {
                self.raw("{\"expr\":").expr(&node.expr);
                self.raw(",\"grouping\":").texts(&node.grouping.labels);
                self.raw(",\"op\":").text(node.op.name()).raw(",\"param\":");
                match &node.param {
                    Some(param) => self.expr(param),
                    None => {
                        self.raw("null");
                    }
                }
                self.raw(",\"type\":\"aggregation\",\"without\":").bool(node.grouping.without).raw("}");
            }
            Expr::Binary(node) => self.binary(node),
            Expr::Unary(node) => {
                self.raw("{\"expr\":").expr(&node.expr);
                let op = if node.negative { "-" } else { "+" };
                self.raw(",\"op\":").text(op).raw(",\"type\":\"unaryExpr\"}");
            }
            Expr::Paren(node) => {
                self.raw("{\"expr\":").expr(&node.expr);
                self.raw(",\"type\":\"parenExpr\"}");
            }
        }
    }

    fn number_literal(&mut self, node: &NumberLiteral) {
        self.raw("{");
        if node.is_duration {
            self.raw("\"duration\":true,");
        }
        let value = NumberLiteral { is_duration: false, ..*node }.to_string();
        self.raw("\"type\":\"numberLiteral\",\"val\":").text(&value).raw("}");
    }

    fn selector(&mut self, node: &VectorSelector, range: Option<&Length>) {
        use super::ast::Extension::{Anchored, Smoothed};
        self.raw("{\"anchored\":").bool(node.extension == Some(Anchored));
        self.raw(",\"matchers\":").list(&node.matchers, |json, matcher| json.matcher(matcher));
        self.raw(",\"name\":").text(node.name.as_deref().unwrap_or_default());
        self.raw(",").offset(&node.modifiers);
        if range.is_some() {
            self.raw(",").length("range", range);
        }
        self.raw(",\"smoothed\":").bool(node.extension == Some(Smoothed));
        self.raw(",").start_or_end(&node.modifiers);
        self.raw(",").timestamp(&node.modifiers);
        let kind = if range.is_some() { "matrixSelector" } else { "vectorSelector" };
        self.raw(",\"type\":").text(kind).raw("}");
    }

    fn matcher(&mut self, matcher: &Matcher) {
        self.raw("{\"name\":").text(&matcher.name).raw(",\"type\":").text(matcher.op.as_str());
        self.raw(",\"value\":").text(&matcher.value).raw("}");
    }

    fn offset(&mut self, modifiers: &Modifiers) -> &mut Self {
        self.length("offset", modifiers.offset.as_ref())
    }

    /// `"key":millis,"keyExpr":expr`; a length that has to be computed has 0 milliseconds, one that is known no expression.
    fn length(&mut self, key: &str, length: Option<&Length>) -> &mut Self {
        let (millis, expr) = match length {
            None => (0, None),
            Some(Length::Nanos(nanos)) => (nanos / 1_000_000, None),
            Some(Length::Expr(expr)) => (0, Some(expr)),
        };
        self.text(key).raw(":").number(millis).raw(",").text(&format!("{key}Expr")).raw(":");
        match expr {
            Some(expr) => self.duration(expr),
            None => {
                self.raw("null");
            }
        }
        self
    }

    fn start_or_end(&mut self, modifiers: &Modifiers) -> &mut Self {
        self.raw(match modifiers.at {
            Some(At::Start) => "\"startOrEnd\":\"start\"",
            Some(At::End) => "\"startOrEnd\":\"end\"",
            Some(At::Timestamp(_)) | None => "\"startOrEnd\":null",
        })
    }

    fn timestamp(&mut self, modifiers: &Modifiers) -> &mut Self {
        match modifiers.at {
            Some(At::Timestamp(millis)) => self.raw("\"timestamp\":").number(millis),
            _ => self.raw("\"timestamp\":null"),
        }
    }

    fn duration(&mut self, expr: &DurationExpr) {
        let mut wrapped = false;
        let mut expr = expr;
        while let DurationExpr::Paren { inner, .. } = expr {
            wrapped = true;
            expr = inner;
        }
        let (op, left, right) = match expr {
            DurationExpr::Number(number) => return self.number_literal(number),
            DurationExpr::Step(_) => ("step", None, None),
            DurationExpr::Range(_) => ("range", None, None),
            DurationExpr::Unary { negative, operand, .. } => (if *negative { "-" } else { "+" }, None, Some(operand)),
            DurationExpr::Binary { op, left, right, .. } => (op.as_str(), Some(left), Some(right)),
            DurationExpr::Paren { .. } => return,
        };
        self.raw("{\"lhs\":").optional_duration(left.map(|left| &**left));
        self.raw(",\"op\":").text(op).raw(",\"rhs\":").optional_duration(right.map(|right| &**right));
        self.raw(",\"type\":\"durationExpr\",\"wrapped\":").bool(wrapped).raw("}");
    }

    fn optional_duration(&mut self, expr: Option<&DurationExpr>) -> &mut Self {
        match expr {
            Some(expr) => {
                self.duration(expr);
                self
            }
            None => self.raw("null"),
        }
    }

    fn call(&mut self, node: &Call) {
        let function = &node.function;
        self.raw("{\"args\":").list(&node.args, Self::expr);
        self.raw(",\"func\":{\"argTypes\":").list(function.args(), |json, arg| {
            json.text(arg.as_str());
        });
        self.raw(",\"name\":").text(function.name());
        self.raw(",\"returnType\":").text(function.returns().as_str());
        let variadic = match function.variadic() {
            Variadic::No => 0,
            Variadic::UpTo(times) => i64::try_from(times).unwrap_or(i64::MAX),
            Variadic::Any => -1,
        };
        self.raw(",\"variadic\":").number(variadic).raw("},\"type\":\"call\"}");
    }

    fn binary(&mut self, node: &Binary) {
        self.raw("{\"bool\":").bool(node.return_bool).raw(",\"lhs\":").expr(&node.left);
        self.raw(",\"matching\":");
        match &node.matching {
            None => {
                self.raw("null");
            }
            Some(matching) => {
                self.raw("{\"card\":").text(matching.cardinality.as_str()).raw(",\"fillValues\":{\"lhs\":");
                self.fill(matching.fill_left).raw(",\"rhs\":").fill(matching.fill_right);
                self.raw("},\"include\":").texts(&matching.include);
                self.raw(",\"labels\":").texts(&matching.labels);
                self.raw(",\"on\":").bool(matching.on).raw("}");
            }
        }
        self.raw(",\"op\":").text(node.op.as_str()).raw(",\"rhs\":").expr(&node.right);
        self.raw(",\"type\":\"binaryExpr\"}");
    }

    fn fill(&mut self, value: Option<f64>) -> &mut Self {
        match value {
            None => self.raw("null"),
            Some(value) => {
                let literal = NumberLiteral { value, is_duration: false, span: super::Span::default() };
                self.text(&literal.to_string())
            }
        }
    }
}
