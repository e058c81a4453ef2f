//! What must hold for any input: shared by the fuzz targets and the replay of their corpora.

use std::sync::Arc;

use ferula::config::Config;
use ferula::model::{
    AppendError, Appendable, Appender, CommitError, CommitSummary, Exemplar, ManualClock, Metadata, Sample, SeriesRef,
    Timestamp,
};
use ferula::remote::write::WriteReceiver;

/// Reading a configuration ends with a complaint, or with a configuration whose printed form reads back as the same.
pub(crate) fn configurations_end_well(text: &str) {
    match Config::from_yaml(text) {
        Err(error) => assert!(error.to_string().len() > "yaml: ".len(), "there is a complaint"),
        Ok(config) => {
            let printed = config.to_yaml();
            match Config::from_yaml(&printed) {
                Ok(again) => assert_eq!(again.to_yaml(), printed),
                Err(error) => panic!("{error}\n{printed}"),
            }
        }
    }
}

/// A message of remote write, and the same bytes as a whole body, are stored or refused with a complaint; what is handed
/// to the storage keeps its rules.
pub(crate) fn writes_end_well(bytes: &[u8]) {
    let receiver = WriteReceiver::new(Arc::new(Strict), Arc::new(ManualClock::at(Timestamp::from_millis(0))));
    let message = snap::raw::Encoder::new().compress_vec(bytes).unwrap_or_default();
    for body in [message.as_slice(), bytes] {
        if let Err(error) = receiver.write(body) {
            assert!(!error.to_string().is_empty(), "there is a complaint");
        }
    }
}

/// A storage that keeps nothing and is strict about what it is handed.
struct Strict;

impl Appendable for Strict {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(Strict)
    }
}

impl Appender for Strict {
    fn series(&mut self, labels: &[(&str, &str)]) -> Result<SeriesRef, AppendError> {
        assert!(labels.is_sorted_by(|a, b| a.0 < b.0), "sorted, each once: {labels:?}");
        assert!(labels.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()), "nothing empty: {labels:?}");
        Ok(SeriesRef(1))
    }

    fn append(&mut self, series: SeriesRef, _: Sample) -> Result<(), AppendError> {
        assert_eq!(series, SeriesRef(1));
        Ok(())
    }

    fn append_exemplar(&mut self, series: SeriesRef, _: Exemplar) -> Result<(), AppendError> {
        assert_eq!(series, SeriesRef(1));
        Ok(())
    }

    fn set_metadata(&mut self, _: SeriesRef, _: &Metadata) -> Result<(), AppendError> {
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<CommitSummary, CommitError> {
        Ok(CommitSummary::default())
    }

    fn rollback(self: Box<Self>) {}
}
