//! The bulk way in: samples that are complete already become chunks.

use ferula_model::{Columns, Histogram};

use super::ChunkEncoding;
use super::histogram::{Fit, HistogramAppender, ResetHeader};
use super::xor::XorAppender;
use super::xor2::Xor2Appender;

/// A finished chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedChunk {
    /// How `bytes` are encoded.
    pub encoding: ChunkEncoding,
    /// Time of the first sample, in milliseconds.
    pub min_time: i64,
    /// Time of the last sample, in milliseconds.
    pub max_time: i64,
    /// The chunk.
    pub bytes: Vec<u8>,
}

/// How floats are encoded in new chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FloatEncoding {
    /// Encoding 1, which everything reads. Samples with start timestamps become encoding 4 all the same.
    #[default]
    Xor,
    /// Encoding 4, with cheap stale markers; read by Prometheus from 3.11 on.
    Xor2,
}

impl From<FloatEncoding> for ChunkEncoding {
    fn from(encoding: FloatEncoding) -> Self {
        match encoding {
            FloatEncoding::Xor => Self::Xor,
            FloatEncoding::Xor2 => Self::Xor2,
        }
    }
}

/// Samples in a chunk that is written at once (upstream's compaction, 3.14).
const SAMPLES_PER_CHUNK: usize = 120;
/// Bytes after which a histogram chunk ends, if it has at least [`HISTOGRAMS_MIN`] samples.
const HISTOGRAM_BYTES: usize = 1024;
const HISTOGRAMS_MIN: usize = 10;

/// Encodes samples into chunks of at most 120 samples and appends them to `chunks`, by rising time. Floats and histograms
/// are merged by time; each chunk holds one kind. Start timestamps are kept: a chunk that has one is in an encoding that has
/// them.
///
/// The flags of histogram chunks are those of a first chunk for the first one, and what the comparison with the sample
/// before says for the others.
pub fn encode(columns: &Columns, floats: FloatEncoding, chunks: &mut Vec<EncodedChunk>) {
    let (mut f, mut h) = (0, 0);
    let mut previous: Option<HistogramAppender> = None;
    while f < columns.times.len() || h < columns.histogram_times.len() {
        let next_float = columns.times.get(f).copied().unwrap_or(i64::MAX);
        let next_histogram = columns.histogram_times.get(h).copied().unwrap_or(i64::MAX);
        if f < columns.times.len() && next_float <= next_histogram {
            let run = run_length(columns.times.get(f..).unwrap_or_default(), columns.histogram_times.get(h).copied());
            encode_floats(columns, f, f + run, floats, chunks);
            f += run;
            previous = None;
        } else {
            let rest = columns.histogram_times.get(h..).unwrap_or_default();
            let run = run_length(rest, columns.times.get(f).copied());
            encode_histograms(columns, h, h + run, &mut previous, chunks);
            h += run;
        }
    }
}

/// How many of `times` come before `end`; at least one.
fn run_length(times: &[i64], end: Option<i64>) -> usize {
    end.map_or(times.len(), |end| times.partition_point(|time| *time < end)).max(1)
}

fn encode_floats(columns: &Columns, from: usize, to: usize, encoding: FloatEncoding, chunks: &mut Vec<EncodedChunk>) {
    let times = columns.times.get(from..to).unwrap_or_default();
    let values = columns.values.get(from..to).unwrap_or_default();
    let starts = columns.starts.get(from..to).unwrap_or_default();
    for (part, times) in times.chunks(SAMPLES_PER_CHUNK).enumerate() {
        let offset = part * SAMPLES_PER_CHUNK;
        let values = values.iter().skip(offset);
        let starts = starts.iter().skip(offset).copied().take(times.len());
        let mut bytes = Vec::new();
        let encoding = if encoding == FloatEncoding::Xor2 || starts.clone().any(|start| start != 0) {
            let mut appender = Xor2Appender::default();
            let starts = starts.chain(std::iter::repeat(0));
            for ((&time, &value), start) in times.iter().zip(values).zip(starts) {
                appender.append(&mut bytes, time, start, value);
            }
            ChunkEncoding::Xor2
        } else {
            let mut appender = XorAppender::default();
            times.iter().zip(values).for_each(|(&time, &value)| appender.append(&mut bytes, time, value));
            ChunkEncoding::Xor
        };
        if let (Some(&min_time), Some(&max_time)) = (times.first(), times.last()) {
            chunks.push(EncodedChunk { encoding, min_time, max_time, bytes });
        }
    }
}

fn encode_histograms(
    columns: &Columns,
    from: usize,
    to: usize,
    previous: &mut Option<HistogramAppender>,
    chunks: &mut Vec<EncodedChunk>,
) {
    let times = columns.histogram_times.get(from..to).unwrap_or_default();
    let histograms = columns.histograms.get(from..to).unwrap_or_default();
    let starts = columns.histogram_starts.get(from..to).unwrap_or_default();
    let with_starts = starts.iter().any(|start| *start != 0);
    let mut starts = starts.iter().copied().chain(std::iter::repeat(0));
    let mut open: Option<(HistogramAppender, i64, i64, usize)> = None;
    for (&time, histogram) in times.iter().zip(histograms) {
        let start = starts.next().unwrap_or(0);
        if let Some((chunk, _, last, samples)) = &mut open {
            let full =
                *samples >= SAMPLES_PER_CHUNK || *samples >= HISTOGRAMS_MIN && chunk.bytes().len() >= HISTOGRAM_BYTES;
            if !full && chunk.append_with_start(time, start, histogram).is_ok() {
                *last = time;
                *samples += 1;
                continue;
            }
        }
        if let Some((chunk, first, last, _)) = open.take() {
            finish(chunk.clone(), first, last, chunks);
            *previous = Some(chunk);
        }
        let flag = header_after(previous.as_ref(), histogram);
        let chunk = if with_starts {
            HistogramAppender::begin_with_start(flag, time, start, histogram)
        } else {
            HistogramAppender::begin(flag, time, histogram)
        };
        open = Some((chunk, time, time, 1));
    }
    if let Some((chunk, first, last, _)) = open {
        finish(chunk.clone(), first, last, chunks);
        *previous = Some(chunk);
    }
}

/// The flags of a chunk that follows `previous` and begins with `histogram`.
fn flag_after(previous: &HistogramAppender, histogram: &Histogram) -> ResetHeader {
    match previous.fit(histogram) {
        Fit::Append(_) if ResetHeader::of_first(histogram) == ResetHeader::Gauge => ResetHeader::Gauge,
        Fit::Append(_) => ResetHeader::NotReset,
        Fit::Cut(flag) => flag,
    }
}

/// The flags of a chunk that begins with `histogram`, with or without a chunk before it.
pub(crate) fn header_after(previous: Option<&HistogramAppender>, histogram: &Histogram) -> ResetHeader {
    previous.map_or_else(|| ResetHeader::of_first(histogram), |chunk| flag_after(chunk, histogram))
}

fn finish(chunk: HistogramAppender, min_time: i64, max_time: i64, chunks: &mut Vec<EncodedChunk>) {
    chunks.push(EncodedChunk { encoding: chunk.encoding(), min_time, max_time, bytes: chunk.into_bytes() });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::chunk;
    use ferula_model::{IntegerHistogram, TimeRange};

    #[test]
    fn mixed_kinds_become_chunks_in_time_order() {
        let mut columns = Columns::default();
        for i in 0..500i64 {
            if (200..230).contains(&i) {
                columns.histogram_times.push(i);
                columns
                    .histograms
                    .push(IntegerHistogram { count: i as u64, zero_count: i as u64, ..Default::default() }.into());
            } else {
                columns.times.push(i);
                columns.values.push(i as f64);
            }
        }
        for floats in [FloatEncoding::Xor, FloatEncoding::Xor2] {
            let mut chunks = Vec::new();
            encode(&columns, floats, &mut chunks);
            assert!(chunks.windows(2).all(|pair| pair[0].max_time < pair[1].min_time));
            let mut back = Columns::default();
            for chunk in &chunks {
                chunk::decode(chunk.encoding, &chunk.bytes, TimeRange::ALL, &mut back).unwrap();
            }
            assert_eq!((back.times, back.histogram_times), (columns.times.clone(), columns.histogram_times.clone()));
        }
    }
}
