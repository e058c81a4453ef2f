//! What is experimental, under the names of Prometheus' `--enable-feature`.

use ferula_promql::EngineOptions;
use ferula_scrape::{ManagerOptions, StartTimestamps};
use ferula_tsdb::chunk::FloatEncoding;
use ferula_tsdb::{DbBuilder, StartStorage};
use thiserror::Error;

use crate::config::ChunkEncoding;

/// Experimental behaviour, all off by default.
///
/// ```
/// use ferula::{Feature, Features};
///
/// let mut features = Features::default();
/// assert_eq!(features.enable("promql-experimental-functions"), Ok(Feature::Enabled));
/// assert_eq!(features.enable("native-histograms"), Ok(Feature::AlwaysOn));
/// assert!(features.enable("warp-drive").is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    promql: ferula_promql::syntax::Features,
    delayed_name_removal: bool,
    use_start_timestamps: bool,
    type_and_unit_labels: bool,
    per_step_statistics: bool,
    zero_samples: bool,
    starts: bool,
    histogram_starts: bool,
    xor2: bool,
    metadata: bool,
    /// Whether all that a scrape knows about itself is stored too.
    pub(crate) extra_scrape_metrics: bool,
}

/// What became of a feature that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// It is on now.
    Enabled,
    /// It is no experiment any more: always on.
    AlwaysOn,
    /// Prometheus has it, this build does not: nothing changes.
    NotSupported,
}

/// No release of Prometheus has such a feature.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("Unknown option for --enable-feature: {0}")]
pub struct UnknownFeature(pub String);

impl Features {
    /// Switches a feature on by Prometheus' name.
    ///
    /// # Errors
    ///
    /// [`UnknownFeature`].
    pub fn enable(&mut self, name: &str) -> Result<Feature, UnknownFeature> {
        match name {
            "promql-duration-expr"
            | "native-histograms"
            | "ooo-native-histograms"
            | "exemplar-storage"
            | "concurrent-rule-eval" => return Ok(Feature::AlwaysOn),
            "promql-delayed-name-removal" => self.delayed_name_removal = true,
            "promql-per-step-stats" => self.per_step_statistics = true,
            "use-start-timestamps" => self.use_start_timestamps = true,
            "type-and-unit-labels" => self.type_and_unit_labels = true,
            "created-timestamp-zero-ingestion" => self.zero_samples = true,
            "st-storage" => self.starts = true,
            "histograms-st-encoding" => self.histogram_starts = true,
            "xor2-encoding" => self.xor2 = true,
            "metadata-wal-records" => self.metadata = true,
            "extra-scrape-metrics" => self.extra_scrape_metrics = true,
            "delayed-compaction"
            | "memory-snapshot-on-shutdown"
            | "old-ui"
            | "otlp-deltatocumulative"
            | "otlp-native-delta-ingestion"
            | "search-api"
            | "st-synthesis"
            | "use-uncached-io"
            | "fast-startup"
            | "auto-reload-config" => {
                return Ok(Feature::NotSupported);
            }
            language if self.promql.enable(language) => {}
            other => return Err(UnknownFeature(other.to_owned())),
        }
        Ok(Feature::Enabled)
    }

    pub(crate) fn apply_to_engine(&self, options: &mut EngineOptions) {
        let own = &mut options.dialect.features;
        own.experimental_functions |= self.promql.experimental_functions;
        own.extended_range_selectors |= self.promql.extended_range_selectors;
        own.fill_modifiers |= self.promql.fill_modifiers;
        options.delayed_name_removal |= self.delayed_name_removal;
        options.use_start_timestamps |= self.use_start_timestamps;
        options.type_and_unit_labels |= self.type_and_unit_labels;
        options.per_step_statistics |= self.per_step_statistics;
    }

    pub(crate) fn scrape_options(&self, options: ManagerOptions) -> ManagerOptions {
        let options = options.type_and_unit_labels(self.type_and_unit_labels).append_metadata(self.metadata);
        options.start_timestamps(StartTimestamps::of_features(self.starts, self.zero_samples))
    }

    /// Whether targets are asked for protobuf first: it says since when counters count, in fewer bytes than OpenMetrics.
    pub(crate) fn prefers_protobuf(&self) -> bool {
        self.starts || self.zero_samples
    }

    pub(crate) fn storage_options(&self, options: DbBuilder) -> DbBuilder {
        options.start_timestamps(match (self.starts, self.histogram_starts) {
            (false, _) => StartStorage::None,
            (true, false) => StartStorage::Floats,
            (true, true) => StartStorage::FloatsAndHistograms,
        })
    }

    /// How floats are encoded if a configuration says so, or does not.
    pub(crate) fn float_encoding(&self, configured: Option<ChunkEncoding>) -> FloatEncoding {
        match configured {
            Some(ChunkEncoding::Xor2) => FloatEncoding::Xor2,
            None if self.xor2 => FloatEncoding::Xor2,
            _ => FloatEncoding::Xor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_goes_before_a_feature() {
        let mut features = Features::default();
        assert_eq!(features.float_encoding(None), FloatEncoding::Xor);
        assert_eq!(features.float_encoding(Some(ChunkEncoding::Xor2)), FloatEncoding::Xor2);
        assert_eq!(features.enable("xor2-encoding"), Ok(Feature::Enabled));
        assert_eq!(features.float_encoding(None), FloatEncoding::Xor2);
        assert_eq!(features.float_encoding(Some(ChunkEncoding::Xor)), FloatEncoding::Xor);
    }

    #[test]
    fn targets_are_asked_for_protobuf_where_starts_are_wanted() {
        for (name, wanted) in
            [("st-storage", true), ("created-timestamp-zero-ingestion", true), ("histograms-st-encoding", false)]
        {
            let mut features = Features::default();
            assert_eq!(features.enable(name), Ok(Feature::Enabled));
            assert_eq!(features.prefers_protobuf(), wanted, "{name}");
        }
    }
}
