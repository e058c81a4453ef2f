//! How a label set is changed: by name, before it becomes immutable.

use super::Labels;

/// Collects labels by name; [`build`](Self::build) gives the immutable set.
///
/// ```
/// use ferula_model::{Labels, LabelsBuilder};
///
/// let mut builder = Labels::from_pairs([("job", "node"), ("env", "dev")]).to_builder();
/// builder.set("env", "prod").remove("job");
/// assert_eq!(builder.build(), Labels::from_pairs([("env", "prod")]));
/// ```
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    /// Sorted by name, each name once.
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// A builder without labels.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn from_labels(labels: &Labels) -> Self {
        Self { pairs: labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect() }
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.pairs.binary_search_by(|(n, _)| n.as_str().cmp(name))
    }

    /// Sets a label; an empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        match self.position(name) {
            Ok(_) if value.is_empty() => return self.remove(name),
            Ok(at) => value.clone_into(&mut self.pairs[at].1),
            Err(_) if value.is_empty() => {}
            Err(at) => self.pairs.insert(at, (name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Removes a label, if it is there.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        if let Ok(at) = self.position(name) {
            self.pairs.remove(at);
        }
        self
    }

    /// Keeps the labels for which `keep` answers true.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) -> &mut Self {
        self.pairs.retain(|(n, v)| keep(n, v));
        self
    }

    /// The value of a label, if it is set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.position(name).ok().map(|at| self.pairs[at].1.as_str())
    }

    /// Name and value of each label, by rising name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// The immutable set.
    pub fn build(&self) -> Labels {
        Labels::from_sorted(self.iter())
    }
}
