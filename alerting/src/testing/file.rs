//! A test file: what does it give, and what does it expect?

use std::collections::BTreeSet;
use std::time::Duration;

use ferula_model::yaml::{self, Context, Decode, Fields, Node, Struct};
use ferula_model::{Labels, Timestamp, number};

use super::TestFileError;
use crate::civil;
use crate::rule::Texts;

#[derive(Debug)]
pub(super) struct TestFile {
    pub(super) rule_files: Vec<String>,
    pub(super) evaluation_interval: Duration,
    pub(super) fuzzy_compare: bool,
    pub(super) group_eval_order: Vec<String>,
    pub(super) tests: Vec<Test>,
}

impl Default for TestFile {
    fn default() -> Self {
        Self {
            rule_files: Vec::new(),
            evaluation_interval: Duration::from_mins(1),
            fuzzy_compare: false,
            group_eval_order: Vec::new(),
            tests: Vec::new(),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Test {
    pub(super) name: String,
    /// Between the points of the series; the evaluation interval if zero.
    pub(super) interval: Duration,
    pub(super) start: Start,
    pub(super) input_series: Vec<InputSeries>,
    pub(super) external_labels: Labels,
    pub(super) external_url: String,
    pub(super) alert_tests: Vec<AlertTest>,
    pub(super) expr_tests: Vec<ExprTest>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Start(pub(super) Timestamp);

#[derive(Debug, Default)]
pub(super) struct InputSeries {
    pub(super) series: String,
    pub(super) values: String,
}

#[derive(Debug, Default)]
pub(super) struct AlertTest {
    pub(super) eval_time: Duration,
    pub(super) alertname: String,
    pub(super) exp_alerts: Vec<ExpectedAlert>,
}

#[derive(Debug, Default)]
pub(super) struct ExpectedAlert {
    pub(super) labels: Texts,
    pub(super) annotations: Texts,
}

#[derive(Debug, Default)]
pub(super) struct ExprTest {
    pub(super) expr: String,
    pub(super) eval_time: Duration,
    pub(super) exp_samples: Vec<ExpectedSample>,
}

#[derive(Debug, Default)]
pub(super) struct ExpectedSample {
    pub(super) labels: String,
    pub(super) value: f64,
    pub(super) histogram: String,
}

/// Reads a test file.
pub(super) fn read(text: &str) -> Result<TestFile, TestFileError> {
    let file: TestFile = yaml::decode(text)?;
    let mut seen = BTreeSet::new();
    match file.group_eval_order.iter().find(|name| !seen.insert(*name)) {
        Some(name) => Err(TestFileError::RepeatedGroup(name.clone())),
        None => Ok(file),
    }
}

impl Struct for TestFile {
    const TYPE: &'static str = "main.unitTestFile";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("rule_files", &mut self.rule_files);
        fields.set("evaluation_interval", &mut self.evaluation_interval);
        fields.set("fuzzy_compare", &mut self.fuzzy_compare);
        fields.set("group_eval_order", &mut self.group_eval_order);
        fields.set("tests", &mut self.tests);
        if self.evaluation_interval.is_zero() {
            self.evaluation_interval = Duration::from_mins(1);
        }
    }
}

impl Struct for Test {
    const TYPE: &'static str = "main.testGroup";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("name", &mut self.name);
        fields.set("interval", &mut self.interval);
        fields.set("start_timestamp", &mut self.start);
        fields.set("input_series", &mut self.input_series);
        fields.set("external_labels", &mut self.external_labels);
        fields.set("external_url", &mut self.external_url);
        fields.set("alert_rule_test", &mut self.alert_tests);
        fields.set("promql_expr_test", &mut self.expr_tests);
    }
}

impl Decode for Start {
    fn decode(node: &Node, context: &mut Context) -> Option<Self> {
        let text = String::decode(node, context)?;
        let seconds = number::parse_float(&text).ok().filter(|seconds| seconds.is_finite());
        let moment =
            seconds.map(|seconds| Timestamp((seconds * 1000.0) as i64)).or_else(|| civil::parse_rfc3339(&text));
        if moment.is_none() {
            context.trouble(node, format!("cannot parse {} to a valid timestamp", ferula_model::go_quote(&text)));
        }
        moment.map(Self)
    }
}

impl Struct for InputSeries {
    const TYPE: &'static str = "main.series";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("series", &mut self.series);
        fields.set("values", &mut self.values);
    }
}

impl Struct for AlertTest {
    const TYPE: &'static str = "main.alertTestCase";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("eval_time", &mut self.eval_time);
        fields.set("alertname", &mut self.alertname);
        fields.set("exp_alerts", &mut self.exp_alerts);
    }
}

impl Struct for ExpectedAlert {
    const TYPE: &'static str = "main.alert";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("exp_labels", &mut self.labels);
        fields.set("exp_annotations", &mut self.annotations);
    }
}

impl Struct for ExprTest {
    const TYPE: &'static str = "main.promqlTestCase";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("expr", &mut self.expr);
        fields.set("eval_time", &mut self.eval_time);
        fields.set("exp_samples", &mut self.exp_samples);
    }
}

impl Struct for ExpectedSample {
    const TYPE: &'static str = "main.sample";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("labels", &mut self.labels);
        fields.set("value", &mut self.value);
        fields.set("histogram", &mut self.histogram);
    }
}
