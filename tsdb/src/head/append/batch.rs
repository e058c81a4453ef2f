//! What an appender has staged, in the order in which it came.

use ferula_model::{Exemplar, Histogram, Metadata};

/// What an appender has staged. Kept for the next one when it is done.
#[derive(Debug)]
pub(super) struct Batch {
    /// The oldest time that was staged in order.
    oldest: i64,
    pub(super) floats: Vec<FloatItem>,
    pub(super) histograms: Vec<HistogramItem>,
    pub(super) exemplars: Vec<(u32, i64, Exemplar)>,
    pub(super) metadata: Vec<(u32, Metadata)>,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            oldest: i64::MAX,
            floats: Vec::new(),
            histograms: Vec::new(),
            exemplars: Vec::new(),
            metadata: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(in crate::head) struct FloatItem {
    pub(in crate::head) series: u32,
    pub(in crate::head) late: bool,
    pub(in crate::head) time: i64,
    pub(in crate::head) value: f64,
}

#[derive(Clone, Debug)]
pub(in crate::head) struct HistogramItem {
    pub(in crate::head) series: u32,
    pub(in crate::head) late: bool,
    /// How many floats were staged before it.
    pub(in crate::head) after: usize,
    pub(in crate::head) time: i64,
    pub(in crate::head) value: Histogram,
}

impl Batch {
    pub(super) fn clear(&mut self) {
        self.oldest = i64::MAX;
        self.floats.clear();
        self.histograms.clear();
        self.exemplars.clear();
        self.metadata.clear();
        // One large batch should not pin its memory for ever.
        self.floats.shrink_to(1 << 17);
        self.histograms.shrink_to(1 << 12);
    }

    #[inline]
    pub(super) fn note(&mut self, time: i64, late: bool) {
        if !late && time < self.oldest {
            self.oldest = time;
        }
    }

    /// Takes out the samples in order that are older than `time`: their range has become a block since they were staged.
    /// Says how many.
    pub(super) fn drop_before(&mut self, time: i64) -> usize {
        let before = self.floats.len() + self.histograms.len();
        if self.oldest >= time {
            return 0;
        }
        if !self.histograms.is_empty() {
            let outrun = |item: &FloatItem| !item.late && item.time < time;
            let mut outrun_before = 0;
            let mut floats = self.floats.iter().enumerate().peekable();
            for histogram in &mut self.histograms {
                while let Some((_, float)) = floats.next_if(|(at, _)| *at < histogram.after) {
                    outrun_before += usize::from(outrun(float));
                }
                histogram.after -= outrun_before;
            }
        }
        self.floats.retain(|item| item.late || item.time >= time);
        self.histograms.retain(|item| item.late || item.time >= time);
        before - self.floats.len() - self.histograms.len()
    }

    /// The batch as runs of floats and histograms in the order they were staged, so that the log has the order in which
    /// they are applied. Unless a series has both kinds, that is one run of each.
    pub(super) fn runs(&self) -> Vec<(&[FloatItem], &[HistogramItem])> {
        let mixed = !self.histograms.is_empty() && {
            let mut series: Vec<u32> = self.histograms.iter().map(|item| item.series).collect();
            series.sort_unstable();
            self.floats.iter().any(|item| series.binary_search(&item.series).is_ok())
        };
        if !mixed {
            return vec![(&self.floats, &self.histograms)];
        }
        let (mut runs, mut done) = (Vec::new(), 0);
        for run in self.histograms.chunk_by(|a, b| a.after == b.after) {
            let until = run.first().map_or(done, |item| item.after);
            runs.push((self.floats.get(done..until).unwrap_or_default(), run));
            done = until;
        }
        runs.push((self.floats.get(done..).unwrap_or_default(), &[]));
        runs
    }
}
