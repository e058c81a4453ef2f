//! New series: which labels does a series have in the storage that a target calls so?
//!
//! The target's own labels first, then those of the target, then `metric_relabel_configs`, then the checks. Known series
//! never come here: the cache remembers what became of them.

use std::sync::Arc;

use ferula_exposition::LabelBuffer;
use ferula_model::{Labels, LabelsBuilder, METRIC_NAME};
use thiserror::Error;

use crate::relabel::{NameScheme, RelabelConfig, relabel};

const EXPORTED: &str = "exported_";

/// What applies to the series of a target.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct SeriesRules {
    pub(crate) target: Labels,
    pub(crate) honor_labels: bool,
    pub(crate) relabel: Arc<[RelabelConfig]>,
    pub(crate) names: NameScheme,
    /// 0: no limit.
    pub(crate) label_limit: u64,
    pub(crate) name_length_limit: u64,
    pub(crate) value_length_limit: u64,
}

/// Why a series cannot be; the scrape fails with it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SeriesError {
    /// Relabelling took the name away.
    #[error("missing metric name (__name__ label)")]
    NoName,
    /// The name is not legal in this job.
    #[error("invalid metric name or label names: {0}")]
    Name(String),
    /// The target gives a label twice.
    #[error("label name {0:?} is not unique: invalid sample")]
    RepeatedLabel(String),
    /// More labels than `label_limit`.
    #[error("label_limit exceeded (metric: {metric:.50}, number of labels: {labels}, limit: {limit})")]
    LabelLimit {
        /// The metric.
        metric: String,
        /// How many labels it has.
        labels: usize,
        /// The limit.
        limit: u64,
    },
    /// A longer name than `label_name_length_limit`.
    #[error(
        "label_name_length_limit exceeded (metric: {metric:.50}, label name: {label:.50}, length: {length}, limit: {limit})"
    )]
    NameLength {
        /// The metric.
        metric: String,
        /// The label.
        label: String,
        /// Bytes of its name.
        length: usize,
        /// The limit.
        limit: u64,
    },
    /// A longer value than `label_value_length_limit`.
    #[error(
        "label_value_length_limit exceeded (metric: {metric:.50}, label name: {label:.50}, value: {value:.50}, length: {length}, limit: {limit})"
    )]
    ValueLength {
        /// The metric.
        metric: String,
        /// The label.
        label: String,
        /// Its value.
        value: String,
        /// Bytes of the value.
        length: usize,
        /// The limit.
        limit: u64,
    },
}

impl SeriesError {
    /// Whether it is one of the limits of labels.
    pub(crate) fn is_label_limit(&self) -> bool {
        matches!(self, Self::LabelLimit { .. } | Self::NameLength { .. } | Self::ValueLength { .. })
    }
}

/// The labels of a series, ready for the storage.
pub(crate) struct SeriesLabels(LabelsBuilder);

impl SeriesLabels {
    /// Calls `with` on the pairs, sorted by name.
    pub(crate) fn with_pairs<T>(&self, with: impl FnOnce(&[(&str, &str)]) -> T) -> T {
        let pairs: Vec<(&str, &str)> = self.0.iter().collect();
        with(&pairs)
    }

    /// The metric name.
    pub(crate) fn name(&self) -> Option<&str> {
        self.0.get(METRIC_NAME)
    }
}

impl SeriesRules {
    /// The labels in the storage; `None` if relabelling drops the series.
    pub(crate) fn apply(&self, scraped: &LabelBuffer) -> Result<Option<SeriesLabels>, SeriesError> {
        if let Some(name) = scraped.duplicate() {
            return Err(SeriesError::RepeatedLabel(name.to_owned()));
        }
        let mut labels = LabelsBuilder::new();
        for (name, value) in scraped.iter() {
            labels.set(name, value);
        }
        if self.honor_labels {
            // An empty label of the target's series still says that the target's label does not belong.
            for (name, value) in self.target.iter().filter(|(name, _)| scraped.get(name).is_none()) {
                labels.set(name, value);
            }
        } else {
            self.set_target_labels(&mut labels);
        }
        if !relabel(&mut labels, &self.relabel) || labels.iter().next().is_none() {
            return Ok(None);
        }
        self.check(&labels)?;
        Ok(Some(SeriesLabels(labels)))
    }

    /// Target labels win; what they displace is kept as `exported_...`, shorter names first.
    fn set_target_labels(&self, labels: &mut LabelsBuilder) {
        let mut displaced: Vec<(String, String)> = Vec::new();
        for (name, value) in &self.target {
            if let Some(existing) = labels.get(name) {
                displaced.push((name.to_owned(), existing.to_owned()));
            }
            labels.set(name, value);
        }
        displaced.sort_by_key(|(name, _)| name.len());
        for (name, value) in displaced {
            let mut name = format!("{EXPORTED}{name}");
            while labels.get(&name).is_some() {
                name.insert_str(0, EXPORTED);
            }
            labels.set(&name, &value);
        }
    }

    fn check(&self, labels: &LabelsBuilder) -> Result<(), SeriesError> {
        let metric = labels.get(METRIC_NAME).ok_or(SeriesError::NoName)?;
        let legal = |(name, _): (&str, &str)| name == METRIC_NAME || self.names.is_label_name(name);
        if !self.names.is_metric_name(metric) || !labels.iter().all(legal) {
            return Err(SeriesError::Name(labels.build().to_string()));
        }
        let beyond = |length: usize, limit: u64| limit > 0 && length as u64 > limit;
        let count = labels.iter().count();
        if beyond(count, self.label_limit) {
            return Err(SeriesError::LabelLimit { metric: metric.to_owned(), labels: count, limit: self.label_limit });
        }
        for (name, value) in labels.iter() {
            let (metric, label) = (|| metric.to_owned(), || name.to_owned());
            if beyond(name.len(), self.name_length_limit) {
                let (length, limit) = (name.len(), self.name_length_limit);
                return Err(SeriesError::NameLength { metric: metric(), label: label(), length, limit });
            }
            if beyond(value.len(), self.value_length_limit) {
                let (length, limit) = (value.len(), self.value_length_limit);
                let value = value.to_owned();
                return Err(SeriesError::ValueLength { metric: metric(), label: label(), value, length, limit });
            }
        }
        Ok(())
    }
}
