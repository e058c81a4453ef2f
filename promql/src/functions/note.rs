//! Notes: what a function has to say besides its result, in upstream's words.

use ferula_model::go_quote;
use ferula_model::number::{FloatForm, format_float};

use crate::annotation::{Annotations, ForcedMonotonicity, Severity};
use crate::eval::NodeOrder;

/// Takes notes of one node about one place of the query.
#[derive(Debug)]
pub(crate) struct Notes<'a> {
    pub(crate) annotations: &'a mut Annotations,
    pub(crate) place: Place,
}

/// Who speaks, and about which place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) order: NodeOrder,
    /// Byte offset into the query.
    pub(crate) position: usize,
}

/// An operation on two or more histograms that can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HistogramOperation {
    Addition,
    Subtraction,
    Aggregation,
}

impl HistogramOperation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Addition => "addition",
            Self::Subtraction => "subtraction",
            Self::Aggregation => "aggregation",
        }
    }
}

fn short(value: f64) -> String {
    format_float(value, FloatForm::Shortest)
}

fn for_metric(text: &str, name: &str) -> String {
    if name.is_empty() { text.to_owned() } else { format!("{text} for metric name {}", go_quote(name)) }
}

impl<'a> Notes<'a> {
    pub(crate) fn new(annotations: &'a mut Annotations, place: Place) -> Self {
        Self { annotations, place }
    }

    /// The same speaker about the same place, for a shorter while.
    pub(crate) fn again(&mut self) -> Notes<'_> {
        Notes { annotations: self.annotations, place: self.place }
    }

    fn warn(&mut self, text: impl Into<String>) {
        self.annotations.add(Severity::Warning, self.place.order, self.place.position, text);
    }

    fn info(&mut self, text: impl Into<String>) {
        self.annotations.add(Severity::Info, self.place.order, self.place.position, text);
    }

    pub(crate) fn mixed_floats_and_histograms(&mut self, name: &str) {
        self.warn(format!("encountered a mix of histograms and floats for metric name {}", go_quote(name)));
    }

    pub(crate) fn mixed_in_aggregation(&mut self) {
        self.warn("encountered a mix of histograms and floats for aggregation");
    }

    pub(crate) fn mixed_schemas(&mut self, name: &str) {
        self.warn(for_metric("vector contains a mix of histograms with exponential and custom buckets schemas", name));
    }

    pub(crate) fn mixed_classic_and_native(&mut self, name: &str) {
        self.warn(for_metric("vector contains a mix of classic and native histograms", name));
    }

    pub(crate) fn not_a_counter_histogram(&mut self, name: &str) {
        self.warn(format!("this native histogram metric is not a counter: {}", go_quote(name)));
    }

    pub(crate) fn not_a_gauge_histogram(&mut self, name: &str) {
        self.warn(format!("this native histogram metric is not a gauge: {}", go_quote(name)));
    }

    pub(crate) fn invalid_quantile(&mut self, quantile: f64) {
        self.warn(format!("quantile value should be between 0 and 1, got {}", short(quantile)));
    }

    pub(crate) fn invalid_ratio(&mut self, ratio: f64, capped: f64) {
        self.warn(format!(
            "ratio value should be between -1 and 1, got {}, capping to {}",
            short(ratio),
            short(capped)
        ));
    }

    pub(crate) fn bad_bucket_label(&mut self, name: &str, value: &str) {
        let text = format!("bucket label \"le\" is missing or has a malformed value of {}", go_quote(value));
        self.warn(for_metric(&text, name));
    }

    pub(crate) fn possibly_not_a_counter(&mut self, name: &str) {
        self.info(format!(
            "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {}",
            go_quote(name)
        ));
    }

    pub(crate) fn type_is_not_a_counter(&mut self, name: &str, metric_type: &str) {
        self.info(format!(
            "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got {}: {}",
            go_quote(metric_type),
            go_quote(name)
        ));
    }

    pub(crate) fn overlapping_start(&mut self, name: &str) {
        self.warn(format!(
            "sample has start time that overlaps with previous sample timestamp for metric {}",
            go_quote(name)
        ));
    }

    pub(crate) fn histogram_ignored_in_range(&mut self, name: &str) {
        self.info(for_metric("ignored histograms in a range containing both floats and histograms", name));
    }

    pub(crate) fn histogram_ignored_in_aggregation(&mut self, aggregation: &str) {
        self.info(format!("ignored histogram in {aggregation} aggregation"));
    }

    pub(crate) fn counter_reset_collision(&mut self, operation: HistogramOperation) {
        self.warn(format!("conflicting counter resets during histogram {}", operation.as_str()));
    }

    pub(crate) fn custom_buckets_reconciled(&mut self, operation: HistogramOperation) {
        self.info(format!("mismatched custom buckets were reconciled during {}", operation.as_str()));
    }

    pub(crate) fn incompatible_buckets(&mut self, operator: &str) {
        self.warn(format!("incompatible bucket layout encountered for binary operator {operator}"));
    }

    pub(crate) fn incompatible_types(&mut self, left: &str, operator: &str, right: &str) {
        self.info(format!(
            "incompatible sample types encountered for binary operator {}: {left} {operator} {right}",
            go_quote(operator)
        ));
    }

    pub(crate) fn sort_in_range_query(&mut self) {
        self.warn("sort is ineffective for range queries since results are always ordered by labels");
    }

    pub(crate) fn quantile_is_nan(&mut self, name: &str) {
        self.info(for_metric("input to histogram_quantile has NaN observations, result is NaN", name));
    }

    pub(crate) fn quantile_is_skewed(&mut self, name: &str) {
        self.info(for_metric("input to histogram_quantile has NaN observations, result is skewed higher", name));
    }

    pub(crate) fn fraction_excludes_nan(&mut self, name: &str) {
        let text = "input to histogram_fraction has NaN observations, which are excluded from all fractions";
        self.info(for_metric(text, name));
    }

    pub(crate) fn forced_monotonicity(&mut self, name: &str, change: ForcedMonotonicity) {
        let text = "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
        self.annotations.forced_monotonicity(self.place.order, self.place.position, for_metric(text, name), change);
    }
}
