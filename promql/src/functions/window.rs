//! A window: what a range function is given at one step.

use std::sync::Arc;

use ferula_model::FloatHistogram;

use crate::eval::steps::Point;
use crate::functions::note::Notes;

/// All samples of a series that a query needs, without stale markers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Samples<'a> {
    pub(crate) times: &'a [i64],
    pub(crate) values: &'a [f64],
    /// Empty, or one for each float: milliseconds, 0 for none.
    pub(crate) starts: &'a [i64],
    pub(crate) histogram_times: &'a [i64],
    pub(crate) histograms: &'a [Arc<FloatHistogram>],
    /// Empty, or one for each histogram.
    pub(crate) histogram_starts: &'a [i64],
}

impl<'a> Samples<'a> {
    /// Floats `floats` and histograms `histograms`, by position.
    #[inline]
    pub(crate) fn slice(&self, floats: (usize, usize), histograms: (usize, usize)) -> Samples<'a> {
        let (from, to) = floats;
        let (hfrom, hto) = histograms;
        Samples {
            times: &self.times[from..to],
            values: &self.values[from..to],
            starts: if self.starts.is_empty() { &[] } else { &self.starts[from..to] },
            histogram_times: &self.histogram_times[hfrom..hto],
            histograms: &self.histograms[hfrom..hto],
            histogram_starts: if self.histogram_starts.is_empty() { &[] } else { &self.histogram_starts[hfrom..hto] },
        }
    }

    /// How many samples of both kinds.
    pub(crate) fn len(&self) -> usize {
        self.times.len() + self.histogram_times.len()
    }

    /// The start timestamp of float `index`, 0 for none.
    pub(crate) fn start(&self, index: usize) -> i64 {
        self.starts.get(index).copied().unwrap_or(0)
    }

    /// The start timestamp of histogram `index`, 0 for none.
    pub(crate) fn histogram_start(&self, index: usize) -> i64 {
        self.histogram_starts.get(index).copied().unwrap_or(0)
    }

    /// Floats and histograms together by rising time.
    pub(crate) fn merged(&self) -> impl Iterator<Item = (i64, Point)> + '_ {
        let (mut float, mut histogram) = (0, 0);
        std::iter::from_fn(move || {
            let float_at = self.times.get(float);
            let histogram_at = self.histogram_times.get(histogram);
            let float_first = match (float_at, histogram_at) {
                (Some(float), Some(histogram)) => float <= histogram,
                (Some(_), None) => true,
                (None, _) => false,
            };
            if float_first {
                float += 1;
                Some((self.times[float - 1], Point::Float(self.values[float - 1])))
            } else {
                let histogram_value = self.histograms.get(histogram)?;
                histogram += 1;
                Some((self.histogram_times[histogram - 1], Point::Histogram(Arc::clone(histogram_value))))
            }
        })
    }
}

/// What a range function is given at one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window<'a> {
    /// The samples after `start` and not after `end`; for an extended selector, more on either side.
    pub(crate) samples: Samples<'a>,
    /// Where the window begins; a sample at this very time is not in it.
    pub(crate) start: i64,
    /// Where the window ends; a sample at this time is in it.
    pub(crate) end: i64,
    /// When the step is.
    pub(crate) at: i64,
    /// The length of the range selector in milliseconds.
    pub(crate) range: i64,
}

/// Who is asked, and where notes go.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// The metric name of the series, or the empty string.
    pub(crate) name: &'a str,
    pub(crate) notes: Notes<'a>,
    pub(crate) use_start_timestamps: bool,
}
