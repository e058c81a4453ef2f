//! Observations in buckets: how long did it take, how large was it?

use std::time::Duration;

/// Counts of observations by bound: the content of a classic histogram.
///
/// ```
/// use ferula_tsdb::Distribution;
///
/// let mut sizes = Distribution::new(&[1.0, 10.0]);
/// [0.5, 7.0, 100.0].into_iter().for_each(|size| sizes.observe(size));
/// assert_eq!(sizes.buckets().collect::<Vec<_>>(), [(1.0, 1), (10.0, 2), (f64::INFINITY, 3)]);
/// assert_eq!((sizes.count(), sizes.sum()), (3, 107.5));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    bounds: &'static [f64],
    /// One more than the bounds; not cumulative.
    counts: Vec<u64>,
    sum: f64,
}

/// Seconds that a compaction takes, and samples, bytes and milliseconds of a chunk: the bounds are upstream's (3.14).
pub(crate) const COMPACTION_SECONDS: &[f64] =
    &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0];
pub(crate) const CHUNK_SAMPLES: &[f64] =
    &[4.0, 6.0, 9.0, 13.5, 20.25, 30.375, 45.5625, 68.34375, 102.515625, 153.7734375, 230.66015625, 345.990234375];
pub(crate) const CHUNK_BYTES: &[f64] =
    &[32.0, 48.0, 72.0, 108.0, 162.0, 243.0, 364.5, 546.75, 820.125, 1230.1875, 1845.28125, 2767.921875];
pub(crate) const CHUNK_MILLIS: &[f64] =
    &[100.0, 400.0, 1600.0, 6400.0, 25600.0, 102400.0, 409600.0, 1638400.0, 6553600.0, 26214400.0];
/// Seconds by which a sample is late; upstream's bounds too.
pub(crate) const LATE_SECONDS: &[f64] = &[600.0, 1800.0, 3600.0, 7200.0, 10800.0, 21600.0, 43200.0];
/// Seconds of anything.
pub(crate) const SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

impl Distribution {
    /// Of no observation yet. `bounds` rise, and each belongs to its bucket.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// Adds one.
    pub fn observe(&mut self, value: f64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get_mut(at) {
            *count += 1;
            self.sum += value;
        }
    }

    pub(crate) fn observe_duration(&mut self, duration: Duration) {
        self.observe(duration.as_secs_f64());
    }

    /// Adds the observations of another one with the same bounds.
    pub(crate) fn add(&mut self, other: &Self) {
        debug_assert_eq!(self.bounds, other.bounds);
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.sum += other.sum;
    }

    /// How many observations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Every bound, infinity last, and how many observations were at most that.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().scan(0, |total, count| {
            *total += count;
            Some(*total)
        }))
    }
}

/// What the chunks of a new block are like.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ChunkStats {
    /// Samples in a chunk.
    pub samples: Distribution,
    /// Bytes of a chunk.
    pub bytes: Distribution,
    /// From the first to the last sample of a chunk, in milliseconds.
    pub range_millis: Distribution,
}

impl Default for ChunkStats {
    fn default() -> Self {
        Self {
            samples: Distribution::new(CHUNK_SAMPLES),
            bytes: Distribution::new(CHUNK_BYTES),
            range_millis: Distribution::new(CHUNK_MILLIS),
        }
    }
}

impl ChunkStats {
    pub(crate) fn observe(&mut self, samples: u64, bytes: usize, range_millis: i64) {
        self.samples.observe(samples as f64);
        self.bytes.observe(bytes as f64);
        self.range_millis.observe(range_millis as f64);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.samples.add(&other.samples);
        self.bytes.add(&other.bytes);
        self.range_millis.add(&other.range_millis);
    }
}
