//! Step vectors: one series at all steps of a query.
//!
//! A value for each step and a bit that says whether it is there. Histograms stand aside: most series have none.

use std::sync::Arc;

use ferula_model::FloatHistogram;

/// Which of `len` steps are present. Bits beyond the length are zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    pub(crate) fn with_steps(steps: usize) -> Self {
        let mut bitmap = Self::default();
        bitmap.reset(steps);
        bitmap
    }

    pub(crate) fn reset(&mut self, steps: usize) {
        self.words.clear();
        self.words.resize(steps.div_ceil(64), 0);
    }

    #[inline]
    pub(crate) fn set(&mut self, at: usize) {
        self.words[at / 64] |= 1 << (at % 64);
    }

    #[inline]
    pub(crate) fn clear(&mut self, at: usize) {
        self.words[at / 64] &= !(1 << (at % 64));
    }

    #[inline]
    pub(crate) fn get(&self, at: usize) -> bool {
        self.words[at / 64] & (1 << (at % 64)) != 0
    }

    pub(crate) fn set_all(&mut self, steps: usize) {
        self.reset(steps);
        self.words.fill(u64::MAX);
        if !steps.is_multiple_of(64)
            && let Some(last) = self.words.last_mut()
        {
            *last = (1 << (steps % 64)) - 1;
        }
    }

    pub(crate) fn any(&self) -> bool {
        self.words.iter().any(|word| *word != 0)
    }

    pub(crate) fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    /// Adds the steps of another bitmap of the same length.
    pub(crate) fn union(&mut self, other: &Bitmap) {
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine |= theirs;
        }
    }

    /// Keeps only the steps that another bitmap of the same length has too.
    pub(crate) fn intersect(&mut self, other: &Bitmap) {
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine &= theirs;
        }
    }

    /// Whether another bitmap of the same length has one of the steps of this one.
    pub(crate) fn meets(&self, other: &Bitmap) -> bool {
        self.words.iter().zip(&other.words).any(|(mine, theirs)| mine & theirs != 0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(index, word)| Ones(*word).map(move |bit| index * 64 + bit))
    }
}

/// The positions of the bits of a word.
pub(crate) struct Ones(pub(crate) u64);

impl Iterator for Ones {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

/// A value at one step.
#[derive(Clone, Debug)]
pub(crate) enum Point {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

/// A value at one step, borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PointRef<'a> {
    Float(f64),
    Histogram(&'a Arc<FloatHistogram>),
}

impl PointRef<'_> {
    pub(crate) fn to_point(self) -> Point {
        match self {
            PointRef::Float(value) => Point::Float(value),
            PointRef::Histogram(histogram) => Point::Histogram(Arc::clone(histogram)),
        }
    }
}

/// One series at all steps. At most one of float and histogram is present at a step.
#[derive(Clone, Debug, Default)]
pub(crate) struct StepVector {
    /// One for each step; without meaning where `present` has no bit.
    pub(crate) floats: Vec<f64>,
    /// Where floats are.
    pub(crate) present: Bitmap,
    /// Empty, or one entry for each step.
    pub(crate) histograms: Vec<Option<Arc<FloatHistogram>>>,
}

impl StepVector {
    pub(crate) fn with_steps(steps: usize) -> Self {
        let mut vector = Self::default();
        vector.reset(steps);
        vector
    }

    /// Empties all steps and keeps the memory.
    pub(crate) fn reset(&mut self, steps: usize) {
        self.floats.resize(steps, 0.0);
        self.present.reset(steps);
        self.histograms.clear();
    }

    pub(crate) fn steps(&self) -> usize {
        self.floats.len()
    }

    #[inline]
    pub(crate) fn set_float(&mut self, at: usize, value: f64) {
        self.floats[at] = value;
        self.present.set(at);
    }

    /// Sets the float of each step to what `value` says about it; of `None` there is none.
    #[inline]
    pub(crate) fn fill_floats(&mut self, mut value: impl FnMut(usize) -> Option<f64>) {
        let words = self.present.words.iter_mut();
        for (index, (cells, word)) in self.floats.chunks_mut(64).zip(words).enumerate() {
            let mut present = 0;
            for (bit, cell) in cells.iter_mut().enumerate() {
                if let Some(value) = value(index * 64 + bit) {
                    *cell = value;
                    present |= 1 << bit;
                }
            }
            *word = present;
        }
    }

    pub(crate) fn set_histogram(&mut self, at: usize, histogram: Arc<FloatHistogram>) {
        if self.histograms.is_empty() {
            self.histograms.resize(self.floats.len(), None);
        }
        self.histograms[at] = Some(histogram);
    }

    pub(crate) fn set(&mut self, at: usize, point: Point) {
        match point {
            Point::Float(value) => self.set_float(at, value),
            Point::Histogram(histogram) => self.set_histogram(at, histogram),
        }
    }

    pub(crate) fn clear(&mut self, at: usize) {
        self.present.clear(at);
        if let Some(histogram) = self.histograms.get_mut(at) {
            *histogram = None;
        }
    }

    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<PointRef<'_>> {
        if self.present.get(at) {
            return Some(PointRef::Float(self.floats[at]));
        }
        self.histogram(at).map(PointRef::Histogram)
    }

    #[inline]
    pub(crate) fn histogram(&self, at: usize) -> Option<&Arc<FloatHistogram>> {
        self.histograms.get(at).and_then(Option::as_ref)
    }

    #[inline]
    pub(crate) fn has(&self, at: usize) -> bool {
        self.present.get(at) || self.histogram(at).is_some()
    }

    pub(crate) fn has_histograms(&self) -> bool {
        self.histograms.iter().any(Option::is_some)
    }

    pub(crate) fn any(&self) -> bool {
        self.present.any() || self.has_histograms()
    }

    /// Floats and histograms, histograms counted by size.
    pub(crate) fn samples(&self) -> u64 {
        let histograms: u64 = self.histograms.iter().flatten().map(|h| histogram_samples(h)).sum();
        self.present.count() as u64 + histograms
    }

    /// All steps at which something is.
    pub(crate) fn presence(&self) -> Bitmap {
        let mut presence = self.present.clone();
        for (at, histogram) in self.histograms.iter().enumerate() {
            if histogram.is_some() {
                presence.set(at);
            }
        }
        presence
    }

    /// Drops all histograms.
    pub(crate) fn floats_only(&mut self) {
        self.histograms.clear();
    }

    /// Becomes a copy of another vector and keeps its own memory.
    pub(crate) fn copy_from(&mut self, other: &StepVector) {
        self.floats.clone_from(&other.floats);
        self.present.clone_from(&other.present);
        self.histograms.clone_from(&other.histograms);
    }

    /// The bytes that this vector holds.
    pub(crate) fn heap_bytes(&self) -> u64 {
        (self.floats.len() * 8 + self.present.words.len() * 8 + self.histograms.len() * 8) as u64
            + self.histogram_bytes()
    }

    /// The bytes of its histograms themselves.
    pub(crate) fn histogram_bytes(&self) -> u64 {
        self.histograms.iter().flatten().map(|histogram| histogram_bytes(histogram) as u64).sum()
    }
}

/// How many samples a histogram counts for: upstream's measure of its size in samples of 16 bytes.
pub(crate) fn histogram_samples(histogram: &FloatHistogram) -> u64 {
    (histogram_bytes(histogram) as u64 + 8) / 16
}

fn histogram_bytes(histogram: &FloatHistogram) -> usize {
    168 + 8
        * (histogram.positive_spans.len()
            + histogram.negative_spans.len()
            + histogram.positive_buckets.len()
            + histogram.negative_buckets.len()
            + histogram.custom_values.len())
}
