#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use ferula_model::{FloatHistogram, IntegerHistogram, STALE_MARKER, Span};
use proptest::prelude::*;

use super::*;
use crate::chunk::{self, FloatEncoding};

fn counter(count: u64, spans: &[(i32, u32)], absolute: &[i64]) -> Histogram {
    let mut before = 0;
    IntegerHistogram {
        count,
        sum: count as f64 * 1.5,
        zero_threshold: 2f64.powi(-128),
        positive_spans: spans.iter().map(|&(offset, length)| Span { offset, length }).collect(),
        positive_buckets: absolute.iter().map(|&c| c - std::mem::replace(&mut before, c)).collect(),
        ..Default::default()
    }
    .into()
}

fn decoded(chunk: &HistogramAppender) -> Columns {
    let mut columns = Columns::default();
    chunk::decode(chunk.encoding(), chunk.bytes(), TimeRange::ALL, &mut columns).unwrap();
    columns
}

fn as_float(histogram: &Histogram) -> Histogram {
    let Histogram::Integer(h) = histogram else { return histogram.clone() };
    let absolute = |deltas: &[i64]| {
        let mut sum = 0;
        deltas
            .iter()
            .map(|d| {
                sum += d;
                sum as f64
            })
            .collect()
    };
    FloatHistogram {
        counter_reset: h.counter_reset,
        schema: h.schema,
        zero_threshold: h.zero_threshold,
        zero_count: h.zero_count as f64,
        count: h.count as f64,
        sum: h.sum,
        positive_spans: h.positive_spans.clone(),
        negative_spans: h.negative_spans.clone(),
        positive_buckets: absolute(&h.positive_buckets),
        negative_buckets: absolute(&h.negative_buckets),
        custom_values: h.custom_values.clone(),
    }
    .into()
}

fn both(test: impl Fn(&dyn Fn(Histogram) -> Histogram)) {
    test(&|h| h);
    test(&|h| as_float(&h));
}

#[test]
fn new_buckets_widen_the_chunk_and_missing_ones_widen_the_sample() {
    both(|form| {
        let mut chunk = HistogramAppender::begin(ResetHeader::Unknown, 0, &form(counter(3, &[(1, 2)], &[1, 2])));
        chunk.append(10, &form(counter(7, &[(0, 1), (1, 1), (2, 1)], &[1, 2, 4]))).unwrap_err();
        chunk.append(10, &form(counter(9, &[(0, 3), (2, 1)], &[1, 1, 3, 4]))).unwrap();
        chunk.append(20, &form(counter(12, &[(0, 3), (2, 1)], &[1, 1, 3, 7]))).unwrap();
        chunk.append(30, &form(counter(13, &[(0, 6)], &[1, 1, 3, 1, 0, 7]))).unwrap();
        let columns = decoded(&chunk);
        assert_eq!(columns.histogram_times, [0, 10, 20, 30]);
        assert!(columns.histograms[0].same_bits(&{
            let mut wide = counter(3, &[(0, 6)], &[0, 1, 2, 0, 0, 0]);
            if let (Histogram::Integer(h), Histogram::Integer(got)) = (&mut wide, &columns.histograms[0]) {
                Arc::make_mut(h).positive_spans = got.positive_spans.clone();
            }
            form(wide)
        }));
        let hints: Vec<_> = columns.histograms.iter().map(Histogram::counter_reset).collect();
        assert_eq!(hints[..2], [CounterResetHint::Unknown, CounterResetHint::NotReset]);
    });
}

#[test]
fn resets_and_other_layouts_need_a_new_chunk() {
    both(|form| {
        let chunk = HistogramAppender::begin(ResetHeader::Unknown, 0, &form(counter(5, &[(0, 2)], &[2, 3])));
        let cases = [
            (counter(4, &[(0, 2)], &[2, 2]), ResetHeader::Reset),
            (counter(6, &[(0, 2)], &[1, 5]), ResetHeader::Reset),
            (counter(6, &[(1, 1)], &[6]), ResetHeader::Reset),
        ];
        for (next, flag) in cases {
            assert_eq!(chunk.fit(&form(next)), Fit::Cut(flag));
        }
        let mut finer = counter(6, &[(0, 2)], &[3, 3]);
        if let Histogram::Integer(h) = &mut finer {
            Arc::make_mut(h).schema = 3;
        }
        assert_eq!(chunk.fit(&form(finer.clone())), Fit::Cut(ResetHeader::Unknown));
        if let Histogram::Integer(h) = &mut finer {
            Arc::make_mut(h).counter_reset = CounterResetHint::Gauge;
        }
        assert_eq!(chunk.fit(&form(finer)), Fit::Cut(ResetHeader::Gauge));
    });
}

#[test]
fn a_stale_marker_joins_and_only_stale_markers_follow() {
    both(|form| {
        let stale: Histogram = IntegerHistogram { sum: STALE_MARKER, ..Default::default() }.into();
        let mut chunk = HistogramAppender::begin(ResetHeader::Unknown, 0, &form(counter(5, &[(0, 2)], &[2, 3])));
        chunk.append(5, &form(counter(6, &[(0, 2)], &[2, 4]))).unwrap();
        chunk.append(10, &form(stale.clone())).unwrap();
        chunk.append(20, &form(stale.clone())).unwrap();
        assert_eq!(chunk.fit(&form(counter(6, &[(0, 2)], &[2, 4]))), Fit::Cut(ResetHeader::Unknown));
        let columns = decoded(&chunk);
        assert!(!stale_at(&columns, 1) && stale_at(&columns, 2) && stale_at(&columns, 3));
        let first = HistogramAppender::begin(ResetHeader::Unknown, 0, &form(stale));
        assert!(stale_at(&decoded(&first), 0));
    });
}

/// Written once by this version. Upstream calls the format unstable: should it change, this is what was there before.
#[test]
fn the_layout_with_starts_is_fixed() {
    let mut chunk = HistogramAppender::begin_with_start(ResetHeader::Reset, 1000, 400, &counter(1, &[(0, 1)], &[1]));
    chunk.append_with_start(2000, 400, &counter(2, &[(0, 1)], &[2])).unwrap();
    chunk.append_with_start(3000, 2500, &counter(3, &[(0, 1)], &[3])).unwrap();
    assert_eq!(chunk.encoding(), ChunkEncoding::HistogramWithStarts);
    let fixed = [
        0x80, 3, 0x82, 116, 70, 39, 143, 162, 35, 255, 128, 0, 0, 0, 0, 0, 8, 216, 4, 248, 250, 34, 194, 95, 255, 136,
        214, 38, 189, 193, 128,
    ];
    assert_eq!(chunk.bytes(), fixed);
    assert_eq!(decoded(&chunk).histogram_starts, [400, 400, 2500]);
    let plain = HistogramAppender::begin(ResetHeader::Unknown, 0, &counter(1, &[(0, 1)], &[1]));
    assert!(plain.admits(0) && !plain.admits(5), "a chunk without starts takes none");
}

fn stale_at(columns: &Columns, index: usize) -> bool {
    is_stale(columns.histograms[index].sum())
}

#[test]
fn custom_bounds_and_thresholds_survive() {
    for bounds in [vec![0.005, 0.01, 1.0, 33_554.43], vec![-1.0, 0.1 + 0.2, 1e9]] {
        let length = bounds.len() as u32 + 1;
        let h: Histogram = IntegerHistogram {
            schema: -53,
            count: u64::from(length),
            positive_spans: vec![Span { offset: 0, length }],
            positive_buckets: (0..length).map(|i| i64::from(i == 0)).collect(),
            custom_values: bounds.into(),
            ..Default::default()
        }
        .into();
        let columns = decoded(&HistogramAppender::begin(ResetHeader::Reset, -5, &h));
        assert!(columns.histograms[0].same_bits(&h), "{columns:?}");
        assert_eq!(columns.histograms[0].counter_reset(), CounterResetHint::Reset);
    }
    for threshold in [0.0, 2f64.powi(-243), 2f64.powi(10), 2f64.powi(11), 2f64.powi(-244), 0.001, 1e-128, -0.0] {
        let h: Histogram = FloatHistogram { zero_threshold: threshold, ..Default::default() }.into();
        let columns = decoded(&HistogramAppender::begin(ResetHeader::Unknown, 0, &h));
        assert!(columns.histograms[0].same_bits(&h), "{threshold}");
    }
}

fn any_histogram() -> impl Strategy<Value = Histogram> {
    let buckets = prop::collection::btree_map(-20i32..20, 0i64..1000, 0..12);
    (buckets, 0u64..10, any::<bool>(), any::<bool>()).prop_map(|(buckets, zero_count, float, gauge)| {
        let (mut spans, mut end, mut deltas, mut before) = (Vec::<Span>::new(), 0, Vec::new(), 0);
        for (&index, &count) in &buckets {
            match spans.last_mut() {
                Some(span) if index == end => span.length += 1,
                _ => spans.push(Span { offset: index - end, length: 1 }),
            }
            end = index + 1;
            deltas.push(count - std::mem::replace(&mut before, count));
        }
        let h: Histogram = IntegerHistogram {
            counter_reset: if gauge { CounterResetHint::Gauge } else { CounterResetHint::Unknown },
            zero_count,
            count: zero_count + buckets.values().sum::<i64>() as u64,
            sum: zero_count as f64 / 3.0,
            positive_spans: spans,
            positive_buckets: deltas,
            ..Default::default()
        }
        .into();
        if float { as_float(&h) } else { h }
    })
}

/// Absolute counts by bucket, without the empty ones.
fn filled(h: &Histogram) -> Vec<(i64, u64)> {
    let Histogram::Float(h) = as_float(h) else { return Vec::new() };
    let counts = layout::indices(&h.positive_spans).zip(&h.positive_buckets);
    counts.filter(|(_, count)| **count != 0.0).map(|(index, count)| (index, count.to_bits())).collect()
}

proptest! {
    #[test]
    fn any_run_of_histograms_comes_back(run in prop::collection::vec(any_histogram(), 1..20)) {
        let mut chunks: Vec<HistogramAppender> = Vec::new();
        for (i, h) in run.iter().enumerate() {
            let time = i as i64 * 3000;
            match chunks.last().map(|chunk| chunk.fit(h)) {
                Some(Fit::Append(_)) => chunks.last_mut().unwrap().append(time, h).unwrap(),
                Some(Fit::Cut(flag)) => chunks.push(HistogramAppender::begin(flag, time, h)),
                None => chunks.push(HistogramAppender::begin(ResetHeader::of_first(h), time, h)),
            }
        }
        let mut columns = Columns::default();
        for chunk in &chunks {
            chunk::decode(chunk.encoding(), chunk.bytes(), TimeRange::ALL, &mut columns).unwrap();
        }
        prop_assert_eq!(columns.histograms.len(), run.len());
        for (got, want) in columns.histograms.iter().zip(&run) {
            prop_assert_eq!(filled(got), filled(want));
            prop_assert_eq!(got.sum().to_bits(), want.sum().to_bits());
        }
    }

    #[test]
    fn any_run_of_starts_comes_back(
        run in prop::collection::vec((any_histogram(), prop_oneof![Just(0i64), Just(1_000), any::<i64>()]), 1..20)
    ) {
        let mut columns = Columns::default();
        for (i, (h, start)) in run.iter().enumerate() {
            columns.histogram_times.push(i as i64 * 3000);
            columns.histograms.push(h.clone());
            columns.histogram_starts.push(*start);
        }
        let (mut chunks, mut back) = (Vec::new(), Columns::default());
        chunk::encode(&columns, FloatEncoding::Xor, &mut chunks);
        for part in &chunks {
            prop_assert_eq!(part.encoding.has_starts(), columns.histogram_starts.iter().any(|start| *start != 0));
            let said = chunk::sample_count(part.encoding, &part.bytes).unwrap();
            let before = back.len();
            chunk::decode(part.encoding, &part.bytes, TimeRange::ALL, &mut back).unwrap();
            prop_assert_eq!(back.len() - before, said);
        }
        back.histogram_starts.resize(back.histogram_times.len(), 0);
        prop_assert_eq!(&back.histogram_starts, &columns.histogram_starts);
        prop_assert_eq!(&back.histogram_times, &columns.histogram_times);
        prop_assert!(back.histograms.iter().zip(&run).all(|(got, (want, _))| filled(got) == filled(want)));
    }

    #[test]
    fn hostile_bytes_are_an_error_or_samples(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        float in any::<bool>(),
        with_starts in any::<bool>(),
    ) {
        let mut columns = Columns::default();
        let decode = if float { decode_float } else { decode_integer };
        let _ = decode(&bytes, with_starts, TimeRange::ALL, &mut columns);
        prop_assert_eq!(columns.histograms.len(), columns.histogram_times.len());
    }
}
