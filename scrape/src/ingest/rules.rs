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

/// The labels of a series, ready for the storage: none is empty, and they are sorted by name.
pub(crate) enum SeriesLabels<'a> {
    /// Those of the target's own series and of the target, side by side.
    Merged(Vec<(&'a str, &'a str)>),
    /// Something was renamed or relabelled.
    Changed(LabelsBuilder),
}

impl SeriesLabels<'_> {
    /// Calls `with` on the pairs, sorted by name.
    pub(crate) fn with_pairs<T>(&self, with: impl FnOnce(&[(&str, &str)]) -> T) -> T {
        match self {
            Self::Merged(pairs) => with(pairs),
            Self::Changed(labels) => with(&labels.iter().collect::<Vec<_>>()),
        }
    }

    /// The metric name.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Merged(pairs) => pairs.iter().find(|(name, _)| *name == METRIC_NAME).map(|(_, value)| *value),
            Self::Changed(labels) => labels.get(METRIC_NAME),
        }
    }
}

impl SeriesRules {
    /// The labels in the storage; `None` if relabelling drops the series.
    pub(crate) fn apply<'a>(&'a self, scraped: &'a LabelBuffer) -> Result<Option<SeriesLabels<'a>>, SeriesError> {
        if let Some(name) = scraped.duplicate() {
            return Err(SeriesError::RepeatedLabel(name.to_owned()));
        }
        let labels = match self.merged(scraped) {
            Some(pairs) => SeriesLabels::Merged(pairs),
            None => SeriesLabels::Changed(self.changed(scraped)),
        };
        let labels = match labels {
            SeriesLabels::Changed(mut labels) => {
                if !relabel(&mut labels, &self.relabel) {
                    return Ok(None);
                }
                SeriesLabels::Changed(labels)
            }
            merged => merged,
        };
        labels
            .with_pairs(|pairs| if pairs.is_empty() { Ok(false) } else { self.check(pairs).map(|()| true) })
            .map(|is_any| is_any.then_some(labels))
    }

    /// The usual case, for which no text is copied: nothing is relabelled, and no label of the target displaces another.
    fn merged<'a>(&'a self, scraped: &'a LabelBuffer) -> Option<Vec<(&'a str, &'a str)>> {
        if !self.relabel.is_empty() {
            return None;
        }
        let mut pairs = Vec::with_capacity(scraped.len() + 8);
        let mut own = scraped.iter().peekable();
        for (name, value) in &self.target {
            while let Some(before) = own.next_if(|(own, _)| *own < name) {
                pairs.push(before);
            }
            match own.next_if(|(own, _)| *own == name) {
                // An empty label of the target's series still says that the target's label does not belong.
                Some(own) if self.honor_labels => pairs.push(own),
                Some((_, own)) if !own.is_empty() => return None,
                _ => pairs.push((name, value)),
            }
        }
        pairs.extend(own);
        pairs.retain(|(_, value)| !value.is_empty());
        Some(pairs)
    }

    fn changed(&self, scraped: &LabelBuffer) -> LabelsBuilder {
        let mut labels = LabelsBuilder::new();
        for (name, value) in scraped.iter() {
            labels.set(name, value);
        }
        if self.honor_labels {
            // As in `merged`.
            for (name, value) in self.target.iter().filter(|(name, _)| scraped.get(name).is_none()) {
                labels.set(name, value);
            }
        } else {
            self.set_target_labels(&mut labels);
        }
        labels
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

    fn check(&self, labels: &[(&str, &str)]) -> Result<(), SeriesError> {
        let metric = labels.iter().find(|(name, _)| *name == METRIC_NAME).map(|(_, metric)| *metric);
        let metric = metric.ok_or(SeriesError::NoName)?;
        let legal = |(name, _): &(&str, &str)| *name == METRIC_NAME || self.names.is_label_name(name);
        if !self.names.is_metric_name(metric) || !labels.iter().all(legal) {
            return Err(SeriesError::Name(Labels::from_pairs(labels.iter().copied()).to_string()));
        }
        let beyond = |length: usize, limit: u64| limit > 0 && length as u64 > limit;
        let count = labels.len();
        if beyond(count, self.label_limit) {
            return Err(SeriesError::LabelLimit { metric: metric.to_owned(), labels: count, limit: self.label_limit });
        }
        for &(name, value) in labels {
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

#[cfg(test)]
mod tests {
    use ferula_exposition::{Event, Format, ParseOptions, Parser};

    use super::*;
    use crate::relabel::{Action, RelabelFields};

    /// The labels in the storage, or why there are none.
    fn applied(rules: &SeriesRules, line: &str) -> Result<Option<Vec<(String, String)>>, SeriesError> {
        let mut scraped = LabelBuffer::default();
        let mut parser = Parser::new(line.as_bytes(), Format::Text, &ParseOptions::default());
        let Some(Ok(Event::Sample(sample))) = parser.next() else { panic!("{line}") };
        sample.labels(&mut scraped);
        let own = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Ok(rules.apply(&scraped)?.map(|labels| labels.with_pairs(own)))
    }

    #[test]
    fn what_is_merged_is_what_relabelling_without_effect_makes() {
        let nothing = RelabelFields { regex: "no_such_label".into(), action: Action::LabelDrop, ..Default::default() };
        let nothing = RelabelConfig::new(nothing).unwrap();
        for honor_labels in [false, true] {
            let rules = |relabel: &[RelabelConfig]| SeriesRules {
                target: Labels::from_pairs([("instance", "i"), ("job", "j"), ("zone", "z")]),
                honor_labels,
                relabel: relabel.into(),
                label_limit: 7,
                ..SeriesRules::default()
            };
            for line in [
                "up 1",
                "up{a=\"1\",k=\"2\",zz=\"3\"} 1",
                "up{job=\"other\",exported_job=\"x\"} 1",
                "up{job=\"\",b=\"\"} 1",
                "up{instance=\"\",zone=\"own\"} 1",
                "up{Z=\"1\",_=\"2\",__z=\"3\",a=\"4\"} 1",
                "{\"with space\",\"a b\"=\"c\"} 1",
                "up{a=\"1\",a=\"2\"} 1",
            ] {
                assert_eq!(applied(&rules(&[]), line), applied(&rules(std::slice::from_ref(&nothing)), line), "{line}");
            }
        }
    }
}
