//! What an appender has staged, in the order in which it came.

use ferula_model::{Exemplar, Histogram, Metadata};

use crate::chunk::push_start;

/// What an appender has staged. Kept for the next one when it is done.
#[derive(Debug)]
pub(super) struct Batch {
    /// The oldest time that was staged in order.
    oldest: i64,
    pub(super) floats: FloatItems,
    pub(super) histograms: Vec<HistogramItem>,
    pub(super) exemplars: Vec<(u32, i64, Exemplar)>,
    pub(super) metadata: Vec<(u32, Metadata)>,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            oldest: i64::MAX,
            floats: FloatItems::default(),
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

/// Floats on their way into their series, and their start timestamps.
#[derive(Debug, Default)]
pub(in crate::head) struct FloatItems {
    items: Vec<FloatItem>,
    /// In milliseconds, 0 for none; no item at all, or one for each float.
    starts: Vec<i64>,
}

/// Some of [`FloatItems`].
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::head) struct Floats<'a> {
    pub(in crate::head) items: &'a [FloatItem],
    /// No item at all, or one for each float.
    pub(in crate::head) starts: &'a [i64],
}

impl FloatItems {
    pub(in crate::head) fn with_capacity(items: usize) -> Self {
        Self { items: Vec::with_capacity(items), starts: Vec::new() }
    }

    /// Adds a float without a start timestamp.
    #[inline]
    pub(in crate::head) fn push(&mut self, item: FloatItem) {
        if !self.starts.is_empty() {
            self.starts.push(0);
        }
        self.items.push(item);
    }

    /// Says the start timestamp of the float that was added last.
    pub(in crate::head) fn start_last(&mut self, start: i64) {
        self.starts.pop();
        push_start(&mut self.starts, self.items.len().saturating_sub(1), start);
    }

    pub(in crate::head) fn len(&self) -> usize {
        self.items.len()
    }

    pub(in crate::head) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(in crate::head) fn last(&self) -> Option<&FloatItem> {
        self.items.last()
    }

    pub(in crate::head) fn all(&self) -> Floats<'_> {
        Floats { items: &self.items, starts: &self.starts }
    }

    pub(in crate::head) fn retain(&mut self, keep: impl Fn(&FloatItem) -> bool) {
        let mut items = self.items.iter();
        self.starts.retain(|_| items.next().is_some_and(&keep));
        self.items.retain(keep);
    }

    pub(in crate::head) fn clear(&mut self) {
        self.items.clear();
        self.starts.clear();
    }

    fn shrink_to(&mut self, items: usize) {
        self.items.shrink_to(items);
        self.starts.shrink_to(items);
    }
}

impl<'a> Floats<'a> {
    /// Those from `from` to before `until`.
    pub(in crate::head) fn between(self, from: usize, until: usize) -> Self {
        let starts = self.starts.get(from..until).unwrap_or_default();
        Self { items: self.items.get(from..until).unwrap_or_default(), starts }
    }

    /// Parts of at most `size`.
    pub(in crate::head) fn chunks(self, size: usize) -> impl Iterator<Item = Floats<'a>> {
        (0..self.items.len()).step_by(size).map(move |from| self.between(from, (from + size).min(self.items.len())))
    }
}

#[derive(Clone, Debug)]
pub(in crate::head) struct HistogramItem {
    pub(in crate::head) series: u32,
    pub(in crate::head) late: bool,
    /// How many floats were staged before it.
    pub(in crate::head) after: usize,
    pub(in crate::head) time: i64,
    /// In milliseconds, 0 for none.
    pub(in crate::head) start: i64,
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
            let mut floats = self.floats.all().items.iter().enumerate().peekable();
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
    pub(super) fn runs(&self) -> Vec<(Floats<'_>, &[HistogramItem])> {
        let floats = self.floats.all();
        let mixed = !self.histograms.is_empty() && {
            let mut series: Vec<u32> = self.histograms.iter().map(|item| item.series).collect();
            series.sort_unstable();
            floats.items.iter().any(|item| series.binary_search(&item.series).is_ok())
        };
        if !mixed {
            return vec![(floats, &self.histograms)];
        }
        let (mut runs, mut done) = (Vec::new(), 0);
        for run in self.histograms.chunk_by(|a, b| a.after == b.after) {
            let until = run.first().map_or(done, |item| item.after);
            runs.push((floats.between(done, until), run));
            done = until;
        }
        runs.push((floats.between(done, floats.items.len()), &[]));
        runs
    }
}
