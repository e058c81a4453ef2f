//! Annotations: what should the reader of an answer know?
//!
//! A warning says that something is probably wrong, an info that something may be. Each has a text in upstream's words
//! and the place in the query that raised it. Identical texts are merged; of several places the one evaluated last
//! stays, as upstream has it.

use std::collections::BTreeMap;

use ferula_model::number::{FloatForm, PrecisionForm, format_float, write_float_precise};

use crate::eval::NodeOrder;
use crate::syntax::Span;

/// How serious an annotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Severity {
    /// The result is probably not what was meant.
    Warning,
    /// Worth knowing.
    Info,
}

/// The annotations of one evaluation, merged by text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Annotations {
    entries: BTreeMap<(Severity, String), Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    order: NodeOrder,
    /// Byte offset into the query; none for what the storage said.
    position: Option<usize>,
    monotonicity: Option<ForcedMonotonicity>,
}

/// Where and how far classic buckets had to be made monotonic; merged over all samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForcedMonotonicity {
    pub(crate) first_at_millis: i64,
    pub(crate) last_at_millis: i64,
    pub(crate) min_bucket: f64,
    pub(crate) max_bucket: f64,
    pub(crate) max_difference: f64,
    pub(crate) count: u64,
}

impl ForcedMonotonicity {
    fn merge(&mut self, other: &Self) {
        self.first_at_millis = self.first_at_millis.min(other.first_at_millis);
        self.last_at_millis = self.last_at_millis.max(other.last_at_millis);
        self.min_bucket = self.min_bucket.min(other.min_bucket);
        self.max_bucket = self.max_bucket.max(other.max_bucket);
        self.max_difference = self.max_difference.max(other.max_difference);
        self.count += other.count;
    }

    fn suffix(&self) -> String {
        format!(
            ", from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
            short(self.min_bucket),
            short(self.max_bucket),
            two_digits(self.max_difference),
            self.count,
            rfc3339(self.first_at_millis),
            rfc3339(self.last_at_millis)
        )
    }
}

impl Annotations {
    pub(crate) fn add(&mut self, severity: Severity, order: NodeOrder, position: usize, text: impl Into<String>) {
        self.insert((severity, text.into()), Entry { order, position: Some(position), monotonicity: None });
    }

    pub(crate) fn forced_monotonicity(
        &mut self,
        order: NodeOrder,
        position: usize,
        text: String,
        change: ForcedMonotonicity,
    ) {
        self.insert((Severity::Info, text), Entry { order, position: Some(position), monotonicity: Some(change) });
    }

    /// What a storage said; it has no place in the query and is printed as it is.
    pub(crate) fn storage(&mut self, text: String) {
        self.insert(
            (Severity::Warning, text),
            Entry { order: NodeOrder::default(), position: None, monotonicity: None },
        );
    }

    fn insert(&mut self, key: (Severity, String), entry: Entry) {
        match self.entries.entry(key) {
            std::collections::btree_map::Entry::Vacant(vacant) => {
                vacant.insert(entry);
            }
            std::collections::btree_map::Entry::Occupied(mut occupied) => {
                let known = occupied.get_mut();
                if entry.order >= known.order {
                    (known.order, known.position) = (entry.order, entry.position);
                }
                match (&mut known.monotonicity, &entry.monotonicity) {
                    (Some(known), Some(new)) => known.merge(new),
                    (known @ None, new) => *known = *new,
                    (Some(_), None) => {}
                }
            }
        }
    }

    pub(crate) fn merge(&mut self, other: Annotations) {
        for (key, entry) in other.entries {
            self.insert(key, entry);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The texts with their places, warnings and infos apart, sorted.
    pub(crate) fn into_texts(self, query: &str) -> (Vec<String>, Vec<String>) {
        let (mut warnings, mut infos) = (Vec::new(), Vec::new());
        for ((severity, text), entry) in self.entries {
            let Some(position) = entry.position else {
                warnings.push(text);
                continue;
            };
            let suffix = entry.monotonicity.map(|change| change.suffix()).unwrap_or_default();
            let place = Span::new(position, position).line_column(query);
            match severity {
                Severity::Warning => warnings.push(format!("PromQL warning: {text}{suffix} ({place})")),
                Severity::Info => infos.push(format!("PromQL info: {text}{suffix} ({place})")),
            }
        }
        (warnings, infos)
    }
}

/// Go's `%g`.
fn short(value: f64) -> String {
    format_float(value, FloatForm::Shortest)
}

/// Go's `%.2g`.
fn two_digits(value: f64) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_float_precise(&mut out, value, PrecisionForm::General, 2);
    out
}

/// Seconds since the epoch as upstream prints moments here.
fn rfc3339(millis: i64) -> String {
    let (days, rest) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    let (year, month, day) = crate::functions::date::civil_from_days(days);
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identical_texts_merge_and_the_last_evaluated_place_stays() {
        let mut annotations = Annotations::default();
        annotations.add(Severity::Warning, crate::plan::NodeId(2), 7, "same");
        annotations.add(Severity::Warning, crate::plan::NodeId(1), 0, "same");
        annotations.add(Severity::Info, crate::plan::NodeId(1), 3, "other");
        let (warnings, infos) = annotations.into_texts("sum(a) +\nb");
        assert_eq!(warnings, ["PromQL warning: same (1:8)"]);
        assert_eq!(infos, ["PromQL info: other (1:4)"]);
    }

    #[test]
    fn two_digits_is_percent_two_g() {
        for (value, text) in
            [(0.0, "0"), (5.0, "5"), (12.34, "12"), (123.0, "1.2e+02"), (0.00001234, "1.2e-05"), (0.125, "0.12")]
        {
            assert_eq!(two_digits(value), text);
        }
    }
}
