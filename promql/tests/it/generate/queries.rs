//! Generated queries: every function, aggregation, operator and modifier that Prometheus 3.5 knows, well typed.

use super::Random;
use super::data::{BEGIN, LENGTH};

/// A query, and when it is asked: one moment, or `from`, `to` and step, in milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) text: String,
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) step: i64,
    pub(crate) is_range: bool,
}

impl Query {
    pub(crate) fn generate(random: &mut Random) -> Self {
        let is_range = random.percent(60);
        let from = BEGIN - 120_000 + random.below((LENGTH + 600_000) as usize) as i64;
        let from = if random.percent(70) { from / 15_000 * 15_000 } else { from };
        let step = random.pick(&[1000, 7000, 15_000, 30_000, 60_000, 61_001, 300_000, 600_000]);
        let to = if is_range { from + step * random.below(40) as i64 + random.below(2) as i64 * 500 } else { from };
        let depth = random.below(4) + 1;
        let mut writer = Writer { random, is_range };
        let text = match writer.random.below(20) {
            0 => writer.scalar(depth),
            1 if !is_range => writer.range(depth.min(2)),
            _ => writer.vector(depth),
        };
        Query { text, from, to, step, is_range }
    }
}

struct Writer<'r> {
    random: &'r mut Random,
    is_range: bool,
}

const FLOATS: [&str; 9] =
    ["req_total", "bytes_total", "temp", "depth", "sparse", "flat", "churn_total", "lat_seconds_bucket", "build_info"];
const HISTOGRAMS: [&str; 4] = ["nh", "nh_gauge", "nhcb", "mix"];
const LABELS: [&str; 6] = ["job", "instance", "code", "pod", "le", "version"];
const ELEMENTWISE: [&str; 41] = [
    "abs",
    "ceil",
    "floor",
    "exp",
    "ln",
    "log2",
    "log10",
    "sqrt",
    "sgn",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "deg",
    "rad",
    "round",
    "timestamp",
    "minute",
    "hour",
    "day_of_week",
    "day_of_month",
    "day_of_year",
    "days_in_month",
    "month",
    "year",
    "histogram_count",
    "histogram_sum",
    "histogram_avg",
    "histogram_stddev",
    "histogram_stdvar",
    "-",
    "+",
    "absent",
];
const OVER_TIME: [&str; 24] = [
    "rate",
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "deriv",
    "changes",
    "resets",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "count_over_time",
    "last_over_time",
    "present_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "mad_over_time",
    "absent_over_time",
    "ts_of_min_over_time",
    "ts_of_max_over_time",
    "ts_of_last_over_time",
    "sum_over_time",
];
const AGGREGATIONS: [&str; 9] = ["sum", "avg", "count", "min", "max", "group", "stddev", "stdvar", "sum"];

impl Writer<'_> {
    fn matchers(&mut self) -> String {
        let mut matchers = Vec::new();
        for _ in 0..self.random.below(3) {
            matchers.push(self.random.pick(&[
                "job=\"api\"",
                "job!=\"api\"",
                "instance=~\"[ab]:.*\"",
                "instance!~\"c.*\"",
                "code=\"500\"",
                "code=~\"4..|5..\"",
                "code!=\"\"",
                "pod=~\"p[0-3]\"",
                "le=\"1\"",
                "le!~\"10|.Inf\"",
                "job=~\".+\"",
                "instance=\"b:1\"",
                "nothing=\"\"",
                "job=~\"(api|web)\"",
                "version=\"2\"",
            ]));
        }
        if matchers.is_empty() { String::new() } else { format!("{{{}}}", matchers.join(",")) }
    }

    fn metric(&mut self) -> &'static str {
        if self.random.percent(70) { self.random.pick(&FLOATS) } else { self.random.pick(&HISTOGRAMS) }
    }

    fn selector(&mut self) -> String {
        if self.random.percent(4) {
            return self
                .random
                .pick(&[
                    "{__name__=~\"temp|depth\"}",
                    "{__name__=~\"nh.*\",job=\"api\"}",
                    "{__name__=~\".*_total\"}",
                    "nothing",
                    "{job=\"web\",instance=\"a:1\"}",
                    "{__name__!~\"lat.*|odd.*\",instance=~\"a.*\"}",
                ])
                .to_owned();
        }
        format!("{}{}", self.metric(), self.matchers())
    }

    fn modifiers(&mut self) -> String {
        let mut modifiers = String::new();
        if self.random.percent(12) {
            modifiers.push_str(self.random.pick(&[
                " offset 1m",
                " offset 7m",
                " offset -2m",
                " offset 13s",
                " offset 1h",
            ]));
        }
        if self.random.percent(6) {
            let at = (BEGIN + self.random.below(LENGTH as usize) as i64) as f64 / 1000.0;
            modifiers.push_str(&match self.random.below(3) {
                0 => " @ start()".to_owned(),
                1 => " @ end()".to_owned(),
                _ => format!(" @ {at:.3}"),
            });
        }
        modifiers
    }

    fn length(&mut self) -> &'static str {
        self.random.pick(&["1m", "2m", "5m", "5m", "5m", "10m", "30s", "1h", "7m13s", "100ms", "15s"])
    }

    fn range(&mut self, depth: usize) -> String {
        if depth > 0 && self.random.percent(25) {
            let inner = self.vector(depth - 1);
            let length = self.random.pick(&["5m", "10m", "3m", "20m"]);
            let step = self.random.pick(&["", "1m", "30s", "17s", "2m"]);
            return format!("({inner})[{length}:{step}]{}", self.modifiers());
        }
        format!("{}[{}]{}", self.selector(), self.length(), self.modifiers())
    }

    fn number(&mut self) -> String {
        self.random
            .pick(&[
                "0", "1", "2", "-1", "0.5", "10", "100", "1e3", "-0.25", "NaN", "Inf", "-Inf", "3", "7", "1e-3", "5m",
            ])
            .to_owned()
    }

    fn scalar(&mut self, depth: usize) -> String {
        if depth == 0 {
            return match self.random.below(8) {
                0 => "time()".to_owned(),
                1 => "pi()".to_owned(),
                _ => self.number(),
            };
        }
        match self.random.below(5) {
            0 => format!("scalar({})", self.vector(depth - 1)),
            1 => {
                let op = self.random.pick(&["+", "-", "*", "/", "%", "^", "atan2", "== bool", "< bool", ">= bool"]);
                format!("({} {op} {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
            2 => format!("-{}", self.scalar(depth - 1)),
            _ => self.scalar(0),
        }
    }

    fn labels(&mut self) -> String {
        let mut labels = Vec::new();
        for _ in 0..self.random.below(4) {
            let label = self.random.pick(&LABELS);
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
        labels.join(", ")
    }

    fn grouping(&mut self) -> String {
        match self.random.below(3) {
            0 => String::new(),
            1 => format!(" by ({})", self.labels()),
            _ => format!(" without ({})", self.labels()),
        }
    }

    pub(crate) fn vector(&mut self, depth: usize) -> String {
        if depth == 0 {
            return format!("{}{}", self.selector(), self.modifiers());
        }
        match self.random.below(100) {
            0..=7 => format!("{}{}", self.selector(), self.modifiers()),
            8..=29 => self.over_time(depth - 1),
            30..=41 => {
                let function = self.random.pick(&ELEMENTWISE);
                format!("{function}({})", self.vector(depth - 1))
            }
            42..=59 => self.aggregation(depth - 1),
            60..=69 => self.with_scalar(depth - 1),
            70..=82 => self.join(depth - 1),
            83..=87 => {
                let op = self.random.pick(&["and", "or", "unless"]);
                let side = self.matching();
                format!("({} {op}{side} {})", self.vector(depth - 1), self.vector(depth - 1))
            }
            88..=93 => self.histogram(depth - 1),
            _ => self.other(depth - 1),
        }
    }

    fn over_time(&mut self, depth: usize) -> String {
        match self.random.below(12) {
            0 => {
                let quantile = self.random.pick(&["0.5", "0.9", "0", "1", "-1", "2", "0.123", "NaN"]);
                format!("quantile_over_time({quantile}, {})", self.range(depth))
            }
            1 => format!("predict_linear({}, {})", self.range(depth), self.random.pick(&["60", "3600", "-100", "0"])),
            2 => {
                let factors = self.random.pick(&["0.5, 0.5", "0.1, 0.9", "0.99, 0.01"]);
                format!("double_exponential_smoothing({}, {factors})", self.range(depth))
            }
            _ => format!("{}({})", self.random.pick(&OVER_TIME), self.range(depth)),
        }
    }

    fn aggregation(&mut self, depth: usize) -> String {
        let grouping = self.grouping();
        let (op, param) = match self.random.below(14) {
            0 => ("topk", self.random.pick(&["1, ", "3, ", "100, ", "0, "])),
            1 => ("bottomk", self.random.pick(&["1, ", "2, ", "5, ", "-1, "])),
            2 => ("quantile", self.random.pick(&["0.5, ", "0.95, ", "0, ", "1, ", "-0.1, ", "1.2, ", "NaN, "])),
            3 => ("count_values", self.random.pick(&["\"value\", ", "\"job\", "])),
            4 => ("limitk", self.random.pick(&["1, ", "2, ", "50, "])),
            _ => (self.random.pick(&AGGREGATIONS), ""),
        };
        format!("{op}{grouping} ({param}{})", self.vector(depth))
    }

    fn operator(&mut self) -> &'static str {
        self.random.pick(&[
            "+", "-", "*", "/", "%", "^", "atan2", "==", "!=", ">", "<", ">=", "<=", "== bool", "!= bool", "> bool",
            "< bool", ">= bool", "<= bool", "+", "-", "*", "/",
        ])
    }

    fn with_scalar(&mut self, depth: usize) -> String {
        let (op, scalar, vector) = (self.operator(), self.scalar(depth.min(1)), self.vector(depth));
        if self.random.percent(50) { format!("({vector} {op} {scalar})") } else { format!("({scalar} {op} {vector})") }
    }

    fn matching(&mut self) -> String {
        match self.random.below(3) {
            0 => String::new(),
            1 => {
                format!(" on ({})", self.random.pick(&["job, instance", "job", "instance, job, code", "", "instance"]))
            }
            _ => format!(" ignoring ({})", self.random.pick(&["code", "version", "le, code", "pod", "job"])),
        }
    }

    fn join(&mut self, depth: usize) -> String {
        let op = self.operator();
        if self.random.percent(40) {
            // Likely to match: both sides grouped alike.
            let by = self.random.pick(&["job", "job, instance", "instance"]);
            let (left, right) = (self.vector(depth), self.vector(depth));
            let ops = [self.random.pick(&AGGREGATIONS), self.random.pick(&AGGREGATIONS)];
            return format!("({} by ({by}) ({left}) {op} {} by ({by}) ({right}))", ops[0], ops[1]);
        }
        if self.random.percent(40) {
            let info = self.random.pick(&["build_info", "target_info", "sum by (job, instance) (temp)"]);
            let include = self.random.pick(&["", "(version)", "()", "(job)"]);
            let on = self.random.pick(&["on (job, instance)", "on (instance, job)"]);
            let op = if self.random.percent(70) { "*" } else { op };
            if self.random.percent(70) {
                return format!("({} {op} {on} group_left {include} {info})", self.vector(depth));
            }
            return format!("({info} {op} {on} group_right {include} {})", self.vector(depth));
        }
        if self.random.percent(30) {
            let vector = self.vector(depth);
            return format!("({vector} {op} {vector})");
        }
        format!("({} {op}{} {})", self.vector(depth), self.matching(), self.vector(depth))
    }

    fn histogram(&mut self, depth: usize) -> String {
        let name = self.random.pick(&["nh", "nhcb", "nh_gauge", "mix"]);
        let classic = self.random.pick(&["lat_seconds_bucket", "odd_bucket"]);
        let function = self.random.pick(&["rate", "increase", "sum_over_time", "avg_over_time", "last_over_time"]);
        let length = self.length();
        let inner = match self.random.below(7) {
            0 => self.vector(depth),
            1 => format!("{function}({name}[{length}])"),
            2 => format!("sum by (job) ({function}({name}[{length}]))"),
            3 => format!("{function}({classic}[{length}])"),
            4 => format!("sum by (le) (rate({classic}[{length}]))"),
            5 => format!("sum by (job, le) (rate({classic}[{length}])) or sum by (job) (rate({name}[{length}]))"),
            _ => name.to_owned(),
        };
        match self.random.below(3) {
            0 => {
                let bounds = self.random.pick(&["0, 1", "0.2, 0.7", "-Inf, 1", "1, +Inf", "-1, 5", "3, 1", "NaN, 1"]);
                format!("histogram_fraction({bounds}, {inner})")
            }
            _ => {
                let quantile = self.random.pick(&["0.5", "0.9", "0.99", "0", "1", "-1", "1.5", "NaN", "0.1"]);
                format!("histogram_quantile({quantile}, {inner})")
            }
        }
    }

    fn other(&mut self, depth: usize) -> String {
        let vector = self.vector(depth);
        match self.random.below(11) {
            0 => format!("label_replace({vector}, \"dst\", \"x$1\", \"instance\", \"(.*):.*\")"),
            1 => format!("label_replace({vector}, \"job\", \"$1\", \"job\", \"(a).*\")"),
            2 => format!("label_join({vector}, \"both\", \"-\", \"job\", \"instance\")"),
            3 => format!("clamp({vector}, {}, {})", self.scalar(0), self.scalar(0)),
            4 => format!("clamp_min({vector}, {})", self.scalar(0)),
            5 => format!("clamp_max({vector}, {})", self.scalar(0)),
            6 => format!("round({vector}, {})", self.random.pick(&["0.1", "5", "0.3", "-2"])),
            7 => format!("vector({})", self.scalar(depth)),
            8 if !self.is_range => {
                let sort = self.random.pick(&["sort", "sort_desc"]);
                format!("{sort}({vector})")
            }
            8 | 9 => {
                let sort = self.random.pick(&["sort_by_label", "sort_by_label_desc"]);
                format!("{sort}({vector}, \"instance\", \"code\")")
            }
            _ => format!("label_replace({vector}, \"instance\", \"\", \"instance\", \".*\")"),
        }
    }
}
