//! What an evaluation stores: its samples, and stale markers for what the last one had and this one has not.

use std::collections::HashMap;

use ferula_model::{
    AppendError, Appendable, Appender, CommitError, Labels, STALE_MARKER, Sample, SeriesRef, Timestamp, Value,
};
use tracing::warn;

use crate::group::Written;

/// A sample that a rule gives.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) labels: Labels,
    pub(crate) value: Value,
}

/// What became of the samples of a rule.
pub(crate) struct Outcome {
    /// The series that count as written.
    pub(crate) series: Written,
    /// What went wrong, if something did.
    pub(crate) trouble: Option<String>,
    /// Whether nothing at all was stored.
    pub(crate) lost: bool,
}

/// Stores samples. Those that are refused are left out; if nothing can be stored, the last evaluation's series stay as
/// they are known.
pub(crate) fn write(appendable: &dyn Appendable, output: Vec<Output>, previous: Written, at: Timestamp) -> Outcome {
    let mut appender = appendable.appender();
    appender.refuse_late();
    let mut series: Written = HashMap::with_capacity(output.len());
    let (mut trouble, mut refused) = (None, Refused::default());
    for Output { labels, value } in output {
        let known = previous.get(&labels).copied();
        match append(&mut *appender, &labels, known, Sample { timestamp: at, start: None, value }) {
            Ok(reference) => {
                series.insert(labels, reference);
            }
            Err(error) => {
                refused.count(&error, &labels);
                trouble = Some(error.to_string());
            }
        }
    }
    for (labels, reference) in previous.iter().filter(|(labels, _)| !series.contains_key(*labels)) {
        // What is not in order here is not worth a word: a newer sample says more than the marker.
        if let Err(error) = append(&mut *appender, labels, Some(*reference), Sample::float(at, STALE_MARKER))
            && !error.is_ordering()
        {
            warn!(series = %labels, err = %error, "Adding stale sample failed");
        }
    }
    refused.report();
    match appender.commit() {
        Ok(_) => Outcome { series, trouble, lost: false },
        Err(error) => Outcome { series: previous, trouble: Some(error.to_string()), lost: true },
    }
}

/// Ends series.
///
/// # Errors
///
/// Nothing could be stored.
pub(crate) fn end(appendable: &dyn Appendable, series: &[Labels], at: Timestamp) -> Result<(), CommitError> {
    let mut appender = appendable.appender();
    appender.refuse_late();
    for labels in series {
        if let Err(error) = append(&mut *appender, labels, None, Sample::float(at, STALE_MARKER))
            && !error.is_ordering()
        {
            warn!(series = %labels, err = %error, "Adding stale sample for previous configuration failed");
        }
    }
    appender.commit().map(|_| ())
}

/// Appends to a series by its ref if that is known and still valid, else by its labels.
fn append(
    appender: &mut dyn Appender,
    labels: &Labels,
    known: Option<SeriesRef>,
    sample: Sample,
) -> Result<SeriesRef, AppendError> {
    if let Some(known) = known {
        match appender.append(known, sample.clone()) {
            Err(AppendError::UnknownSeries(_)) => {}
            other => return other.map(|()| known),
        }
    }
    let pairs: Vec<(&str, &str)> = labels.iter().collect();
    let series = appender.series(&pairs)?;
    appender.append(series, sample).map(|()| series)
}

/// Refused samples by reason: one line of log for each reason, not for each sample.
#[derive(Default)]
struct Refused {
    out_of_order: usize,
    too_old: usize,
    duplicate: usize,
}

impl Refused {
    fn count(&mut self, error: &AppendError, labels: &Labels) {
        match error {
            AppendError::OutOfOrder => self.out_of_order += 1,
            AppendError::TooOld | AppendError::OutOfBounds => self.too_old += 1,
            AppendError::DuplicateForTimestamp | AppendError::DuplicateFloat { .. } => self.duplicate += 1,
            _ => warn!(series = %labels, err = %error, "Rule evaluation result discarded"),
        }
    }

    fn report(&self) {
        for (count, message) in [
            (self.out_of_order, "Error on ingesting out-of-order result from rule evaluation"),
            (self.too_old, "Error on ingesting too old result from rule evaluation"),
            (self.duplicate, "Error on ingesting results from rule evaluation with different value but same timestamp"),
        ] {
            if count > 0 {
                warn!(num_dropped = count, "{message}");
            }
        }
    }
}
