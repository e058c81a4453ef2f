//! Which series is a part of a metric?

use ferula_model::number::{FloatForm, write_float};
use ferula_model::{Labels, LabelsBuilder, METRIC_NAME};

use super::parts::Part;

const EXPORTED: &str = "exported_";

/// How series are named.
#[derive(Debug)]
pub(super) struct SeriesNames {
    /// Labels of the feed.
    pub(super) labels: Labels,
    pub(super) honor_labels: bool,
}

impl SeriesNames {
    /// The labels of a part of the metric with these labels in the family of this name.
    pub(super) fn of(&self, family: &str, of_metric: &Labels, part: &Part) -> Labels {
        let mut labels = of_metric.to_builder();
        match part {
            Part::Whole | Part::Native | Part::Count | Part::Sum => {}
            Part::Bucket(bound) => {
                labels.set("le", &number(*bound));
            }
            Part::Quantile(quantile) => {
                labels.set("quantile", &number(*quantile));
            }
            Part::State(state) => {
                labels.set(family, state);
            }
        }
        self.add_labels(&mut labels);
        let suffix = match part {
            Part::Whole | Part::Native | Part::Quantile(_) | Part::State(_) => "",
            Part::Count => "_count",
            Part::Sum => "_sum",
            Part::Bucket(_) => "_bucket",
        };
        labels.set(METRIC_NAME, &format!("{family}{suffix}"));
        labels.build()
    }

    /// The labels of a report.
    pub(super) fn of_report(&self, name: &str) -> Labels {
        let mut labels = self.labels.to_builder();
        labels.set(METRIC_NAME, name);
        labels.build()
    }

    fn add_labels(&self, labels: &mut LabelsBuilder) {
        let mut displaced: Vec<(&str, String)> = Vec::new();
        for (name, value) in &self.labels {
            match labels.get(name).map(str::to_owned) {
                Some(_) if self.honor_labels => continue,
                Some(existing) => displaced.push((name, existing)),
                None => {}
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
}

/// The float in `bits` as the value of a label, which all formats agree upon once they are scraped.
fn number(bits: u64) -> String {
    let mut text = String::new();
    // Writing into a string never errs.
    let _ = write_float(&mut text, f64::from_bits(bits), FloatForm::OpenMetrics);
    text
}
