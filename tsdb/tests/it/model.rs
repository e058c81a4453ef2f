//! The slow, obvious twin of a database: series as maps from time to value.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ferula_model::{Columns, Labels, TimeRange};
use ferula_tsdb::block::{Block, BlockMeta, BlockOptions, BlockWriter};
use ferula_tsdb::chunk::{self, FloatEncoding};
use ferula_tsdb::fs::Fs;
use ulid::Ulid;

/// A value by its bits, so that it can be compared: floats as they are, histograms by their count; and since when it counts, if
/// that was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bits {
    Float(u64),
    Histogram(u64),
    FloatSince(u64, i64),
    HistogramSince(u64, i64),
}

impl Bits {
    /// The same value with a start timestamp, 0 for none.
    pub(crate) fn since(self, start: i64) -> Self {
        match self {
            Bits::Float(bits) | Bits::FloatSince(bits, _) if start == 0 => Bits::Float(bits),
            Bits::Histogram(count) | Bits::HistogramSince(count, _) if start == 0 => Bits::Histogram(count),
            Bits::Float(bits) | Bits::FloatSince(bits, _) => Bits::FloatSince(bits, start),
            Bits::Histogram(count) | Bits::HistogramSince(count, _) => Bits::HistogramSince(count, start),
        }
    }
}

pub(crate) type Samples = BTreeMap<i64, Bits>;
pub(crate) type Series = BTreeMap<Labels, Samples>;

/// A generator that gives the same numbers for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x1234_5678_9ABC_DEF1))
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.roll() >> 11) % bound.max(1)
    }

    pub(crate) fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// Samples as the storage takes them.
pub(crate) fn columns(samples: &Samples) -> Columns {
    let mut columns = Columns::default();
    for (time, value) in samples {
        let start = match *value {
            Bits::FloatSince(_, start) | Bits::HistogramSince(_, start) => start,
            _ => 0,
        };
        match *value {
            Bits::Float(bits) | Bits::FloatSince(bits, _) => {
                columns.starts.push(start);
                columns.times.push(*time);
                columns.values.push(f64::from_bits(bits));
            }
            Bits::Histogram(count) | Bits::HistogramSince(count, _) => {
                columns.histogram_starts.push(start);
                columns.histogram_times.push(*time);
                let histogram = ferula_model::IntegerHistogram {
                    count,
                    zero_count: count,
                    sum: count as f64,
                    ..Default::default()
                };
                columns.histograms.push(histogram.into());
            }
        }
    }
    for starts in [&mut columns.starts, &mut columns.histogram_starts] {
        if starts.iter().all(|start| *start == 0) {
            starts.clear();
        }
    }
    columns
}

/// Samples as the storage gave them; panics if times do not rise.
pub(crate) fn samples(columns: &Columns) -> Samples {
    assert!(columns.times.is_sorted_by(|a, b| a < b), "times rise: {:?}", columns.times);
    assert!(columns.histogram_times.is_sorted_by(|a, b| a < b), "times rise: {:?}", columns.histogram_times);
    let since = |starts: &[i64], times: &[i64]| {
        assert!(starts.is_empty() || starts.len() == times.len(), "a start for each, or none at all");
        starts.iter().copied().chain(std::iter::repeat(0)).take(times.len()).collect::<Vec<_>>()
    };
    let starts = since(&columns.starts, &columns.times);
    let floats = columns.times.iter().zip(&columns.values).zip(starts);
    let floats = floats.map(|((time, value), start)| (*time, Bits::Float(value.to_bits()).since(start)));
    let count = |histogram: &ferula_model::Histogram| match histogram {
        ferula_model::Histogram::Integer(h) => h.count,
        ferula_model::Histogram::Float(h) => h.count as u64,
    };
    let starts = since(&columns.histogram_starts, &columns.histogram_times);
    let histograms = columns.histogram_times.iter().zip(&columns.histograms).zip(starts);
    let histograms = histograms.map(|((time, h), start)| (*time, Bits::Histogram(count(h)).since(start)));
    let all: Samples = floats.chain(histograms).collect();
    assert_eq!(all.len(), columns.len(), "no moment twice");
    all
}

/// Writes series into a block from `min_time` to `max_time`.
pub(crate) fn write_block(fs: &Arc<dyn Fs>, ulid: Ulid, range: (i64, i64), series: &Series) -> Option<BlockMeta> {
    let meta = BlockMeta::new(ulid, range.0, range.1);
    let mut writer = BlockWriter::create(fs, Path::new("data"), meta, BlockOptions::default()).unwrap();
    for (labels, samples) in series {
        let mut chunks = Vec::new();
        chunk::encode(&columns(samples), FloatEncoding::Xor, &mut chunks);
        writer.series(labels, chunks.iter().map(Into::into)).unwrap();
    }
    writer.finish().unwrap()
}

/// Everything in a block.
pub(crate) fn read_block(block: &Block) -> Series {
    let mut series = Series::new();
    for number in block.select(TimeRange::ALL, &[]).unwrap() {
        let mut columns = Columns::default();
        block.read(number, TimeRange::ALL, &mut columns).unwrap();
        let read = samples(&columns);
        if !read.is_empty() {
            let labels = block.labels(number).unwrap();
            assert!(series.insert(labels, read).is_none(), "no series twice");
        }
    }
    series
}

/// Adds samples that are not there yet.
pub(crate) fn add_missing(to: &mut Series, from: &Series) {
    for (labels, samples) in from {
        let known = to.entry(labels.clone()).or_default();
        for (time, value) in samples {
            known.entry(*time).or_insert(*value);
        }
    }
}
