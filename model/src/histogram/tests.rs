//! The laws of the algebra, and the histogram cases of upstream's promqltest scripts.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::number::{nearly_equal, parse_float};

fn spans_and_counts() -> impl Strategy<Value = (Vec<Span>, Vec<f64>)> {
    proptest::collection::vec((0i32..6, proptest::collection::vec(0u32..50, 0..5)), 0..4).prop_map(|parts| {
        let spans = parts.iter().enumerate().map(|(at, (offset, counts))| Span {
            offset: if at == 0 { offset - 3 } else { *offset },
            length: counts.len() as u32,
        });
        let counts = parts.iter().flat_map(|(_, counts)| counts.iter().map(|count| f64::from(*count)));
        (spans.collect(), counts.collect())
    })
}

/// Exponential histograms with whole counts, so that floats add up exactly.
fn exponential() -> impl Strategy<Value = FloatHistogram> {
    let zero = prop_oneof![Just(0.0), Just(0.001), Just(0.3), Just(2.5)];
    (-2i32..4, zero, 0u32..9, spans_and_counts(), spans_and_counts()).prop_map(
        |(schema, zero, zeros, positive, negative)| {
            let zero_count = f64::from(zeros);
            let mut histogram = FloatHistogram {
                schema,
                zero_count,
                count: zero_count + positive.1.iter().sum::<f64>() + negative.1.iter().sum::<f64>(),
                sum: 17.0,
                positive_spans: positive.0,
                positive_buckets: positive.1,
                negative_spans: negative.0,
                negative_buckets: negative.1,
                ..FloatHistogram::default()
            };
            // Buckets inside the zero bucket are empty in a histogram that makes sense.
            let widener = FloatHistogram { schema, zero_threshold: zero, ..FloatHistogram::default() };
            histogram.add(&widener).unwrap();
            histogram
        },
    )
}

fn custom() -> impl Strategy<Value = FloatHistogram> {
    proptest::collection::btree_set(0i32..12, 0..6).prop_flat_map(|bounds| {
        let buckets = bounds.len() + 1;
        proptest::collection::vec(0u32..50, buckets).prop_map(move |counts| FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            custom_values: bounds.iter().map(|bound| f64::from(*bound)).collect(),
            positive_spans: vec![Span { offset: 0, length: counts.len() as u32 }],
            count: counts.iter().map(|count| f64::from(*count)).sum(),
            positive_buckets: counts.into_iter().map(f64::from).collect(),
            ..FloatHistogram::default()
        })
    })
}

fn compacted(mut histogram: FloatHistogram) -> FloatHistogram {
    histogram.compact(0);
    histogram
}

fn in_buckets(histogram: &FloatHistogram) -> f64 {
    histogram.zero_count
        + histogram.positive_buckets.iter().sum::<f64>()
        + histogram.negative_buckets.iter().sum::<f64>()
}

fn populated(histogram: &FloatHistogram) -> Vec<bucket::Bucket> {
    histogram.buckets().filter(|bucket| bucket.count != 0.0).collect()
}

proptest! {
    #[test]
    fn compacting_changes_no_populated_bucket(histogram in exponential(), empty_max in 0usize..4) {
        let mut compact = histogram.clone();
        compact.compact(empty_max);
        prop_assert_eq!(populated(&compact), populated(&histogram));
        prop_assert!(compacted(compact.clone()).equals(&compacted(histogram)));
        let once = compact.clone();
        compact.compact(empty_max);
        prop_assert!(compact.same_layout(&once), "compacting twice is compacting once");
        prop_assert!(compact.validate().is_ok());
    }

    #[test]
    fn addition_is_commutative_and_keeps_every_observation(a in exponential(), b in exponential()) {
        let (mut ab, mut ba) = (a.clone(), b.clone());
        ab.add(&b).unwrap();
        ba.add(&a).unwrap();
        prop_assert!(compacted(ab.clone()).equals(&compacted(ba)));
        prop_assert_eq!(in_buckets(&ab), in_buckets(&a) + in_buckets(&b));
        prop_assert_eq!(ab.count, a.count + b.count);
        prop_assert_eq!(ab.validate(), Ok(()));
    }

    #[test]
    fn what_was_added_can_be_subtracted(a in exponential(), b in exponential()) {
        let mut a = a;
        // The layouts must be one before, or the sum is coarser than what it began with.
        let mut first = a.clone();
        first.add(&b).unwrap();
        a.add(&b).unwrap();
        let mut back = first.clone();
        back.sub(&b).unwrap();
        back.add(&b).unwrap();
        prop_assert!(compacted(back).equals(&compacted(a)));
    }

    #[test]
    fn subtracting_oneself_leaves_nothing(a in exponential()) {
        let mut none = a.clone();
        none.sub(&a).unwrap();
        none.compact(0);
        prop_assert_eq!(none.count, 0.0);
        prop_assert!(none.positive_spans.is_empty() && none.negative_spans.is_empty());
    }

    #[test]
    fn custom_buckets_meet_on_common_bounds(a in custom(), b in custom()) {
        let (mut ab, mut ba) = (a.clone(), b.clone());
        let combined = ab.add(&b).unwrap();
        ba.add(&a).unwrap();
        prop_assert_eq!(combined.bounds_reconciled, a.custom_values != b.custom_values);
        prop_assert_eq!(in_buckets(&ab), in_buckets(&a) + in_buckets(&b));
        prop_assert_eq!(ab.validate(), Ok(()));
        for (bound, count) in ab.cumulative() {
            let until = |h: &FloatHistogram| h.cumulative().filter(|(upper, _)| *upper <= bound).last().map_or(0.0, |(_, c)| c);
            prop_assert_eq!(count, until(&a) + until(&b));
        }
        prop_assert!(compacted(ab).equals(&compacted(ba)));
    }

    #[test]
    fn reducing_the_resolution_keeps_counts(histogram in exponential(), steps in 0i32..3) {
        let mut coarse = histogram.clone();
        coarse.reduce_resolution(histogram.schema - steps).unwrap();
        prop_assert_eq!(in_buckets(&coarse), in_buckets(&histogram));
        prop_assert_eq!(coarse.validate(), Ok(()));
        let mut in_steps = histogram.clone();
        (1..=steps).for_each(|step| in_steps.reduce_resolution(histogram.schema - step).unwrap());
        prop_assert!(in_steps.same_layout(&coarse), "one step of two is two steps of one");
    }

    #[test]
    fn a_sum_detects_no_reset_against_its_addends(a in exponential(), b in exponential()) {
        let (mut a, mut b) = (a, b);
        let widener = |zero_threshold, schema| FloatHistogram { schema, zero_threshold, ..FloatHistogram::default() };
        a.add(&widener(b.zero_threshold, a.schema)).unwrap();
        b.add(&widener(a.zero_threshold, b.schema)).unwrap();
        let mut sum = a.clone();
        sum.add(&b).unwrap();
        // A zero bucket that was widened over the edge of a bucket need not end at one of the sum's resolution.
        prop_assume!(a.zero_threshold == b.zero_threshold);
        prop_assert!(!sum.detect_reset(&a) && !sum.detect_reset(&b));
    }

    #[test]
    fn compensated_sums_agree_with_plain_ones(all in proptest::collection::vec(exponential(), 1..5)) {
        let mut plain = all[0].clone();
        let (mut sum, mut mean) = (HistogramSum::new(all[0].clone()), HistogramMean::new(all[0].clone()));
        for histogram in &all[1..] {
            plain.add(histogram).unwrap();
            sum.add(histogram).unwrap();
            mean.add(histogram).unwrap();
        }
        plain.compact(0);
        prop_assert!(sum.finish().equals(&plain));
        plain.divide(all.len() as f64);
        prop_assert!(mean.finish().nearly_equals(&plain, 1e-12));
    }

    #[test]
    fn trimming_both_ways_parts_a_histogram(histogram in prop_oneof![exponential(), custom()], limit in -5.0f64..20.0) {
        let (mut below, mut above) = (histogram.clone(), histogram.clone());
        below.trim_upper(limit);
        above.trim_lower(limit);
        if !histogram.is_custom() {
            prop_assert!(nearly_equal(below.count + above.count, histogram.count, 1e-9) || histogram.count == 0.0);
        }
        prop_assert!(below.count <= histogram.count + 1e-9 && above.count <= histogram.count + 1e-9);
        prop_assert!(below.buckets().all(|b| b.count == 0.0 || b.lower <= limit));
    }

    #[test]
    fn quantile_and_fraction_are_inverse(histogram in exponential(), phi in 0.01f64..0.99) {
        prop_assume!(histogram.count > 0.0);
        let value = histogram.quantile(phi).value;
        let share = histogram.fraction(f64::NEG_INFINITY, value).value;
        // A quantile at the edge of an empty stretch stands for the whole stretch.
        let populated_there = histogram.buckets().any(|b| b.count > 0.0 && b.lower < value && value < b.upper);
        prop_assume!(populated_there && value != 0.0);
        prop_assert!((share - phi).abs() < 1e-9, "{} is the {}-quantile, but {} lies below", value, phi, share);
    }

    #[test]
    fn integers_and_floats_are_one_histogram(histogram in exponential(), reduce in 0i32..2) {
        let mut histogram = histogram;
        let mut integer = IntegerHistogram {
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold,
            zero_count: histogram.zero_count as u64,
            count: histogram.count as u64,
            sum: histogram.sum,
            positive_spans: histogram.positive_spans.clone(),
            negative_spans: histogram.negative_spans.clone(),
            positive_buckets: convert::deltas(&histogram.positive_buckets.iter().map(|c| *c as i64).collect::<Vec<_>>()),
            negative_buckets: convert::deltas(&histogram.negative_buckets.iter().map(|c| *c as i64).collect::<Vec<_>>()),
            ..IntegerHistogram::default()
        };
        prop_assert_eq!(integer.validate(), Ok(()));
        prop_assert!(integer.to_float().equals(&histogram));
        integer.compact(1);
        histogram.compact(1);
        prop_assert!(integer.to_float().same_layout(&histogram));
        integer.reduce_resolution(histogram.schema - reduce).unwrap();
        histogram.reduce_resolution(histogram.schema - reduce).unwrap();
        prop_assert!(integer.to_float().same_layout(&histogram));
    }

    #[test]
    fn nothing_panics_on_contradictions(
        spans in proptest::collection::vec((any::<i32>(), 0u32..4), 0..4),
        counts in proptest::collection::vec(any::<f64>(), 0..6),
        schema in -60i32..60,
        zero in any::<f64>(),
        value in any::<f64>(),
    ) {
        let spans: Vec<Span> = spans.into_iter().map(|(offset, length)| Span { offset, length }).collect();
        let mut odd = FloatHistogram {
            schema, zero_threshold: zero, zero_count: value, count: value, sum: value,
            positive_spans: spans.clone(), positive_buckets: counts.clone(),
            negative_spans: spans, negative_buckets: counts,
            ..FloatHistogram::default()
        };
        let _ = (odd.validate(), odd.quantile(0.3), odd.quantile(0.9), odd.fraction(value, 1.0), odd.variance());
        let _ = (odd.to_string(), odd.detect_reset(&odd.clone()), odd.equals(&odd.clone()), odd.cumulative().count());
        let mut twice = odd.clone();
        let _ = twice.add(&odd);
        twice.trim_upper(value);
        let _ = (odd.reduce_reserved(), odd.reduce_resolution(-4));
        odd.compact(0);
    }
}

impl FloatHistogram {
    fn same_layout(&self, other: &Self) -> bool {
        Histogram::from(self.clone()).same_bits(&Histogram::from(other.clone()))
    }
}

#[test]
fn large_means_do_not_overflow() {
    let large = FloatHistogram {
        count: 1e308,
        sum: 1.7e308,
        positive_spans: vec![Span { offset: 0, length: 1 }],
        positive_buckets: vec![1e308],
        ..FloatHistogram::default()
    };
    let mut mean = HistogramMean::new(large.clone());
    for _ in 0..4 {
        mean.add(&large).unwrap();
    }
    assert!(mean.finish().nearly_equals(&large, 1e-12));
}

#[test]
fn a_zero_bucket_that_cuts_a_populated_one_swallows_it() {
    let mut narrow = parse("{{schema:0 count:10 z_bucket:1 z_bucket_w:0.5 buckets:[2 3 4]}}");
    let wide = parse("{{schema:0 count:6 z_bucket:1 z_bucket_w:1.5 offset:2 buckets:[5]}}");
    narrow.add(&wide).unwrap();
    // 1.5 lies in (1,2], which is populated on the left: the zero bucket reaches to 2. (0.5,1] is inside it too.
    assert_eq!(narrow.zero_threshold, 2.0);
    assert_eq!(narrow.test_expression(), "{{count:16 z_bucket:7 z_bucket_w:2 offset:2 buckets:[9]}}");
}

#[test]
fn compacting_keeps_gaps_up_to_the_limit() {
    let compact = |empty_max| {
        let mut histogram = parse("{{buckets:[0 1 0 0 2 0 0 0 3 0]}}");
        histogram.compact(empty_max);
        let spans: Vec<_> = histogram.positive_spans.iter().map(|span| (span.offset, span.length)).collect();
        (spans, histogram.positive_buckets)
    };
    assert_eq!(compact(0), (vec![(1, 1), (2, 1), (3, 1)], vec![1.0, 2.0, 3.0]));
    assert_eq!(compact(2), (vec![(1, 4), (3, 1)], vec![1.0, 0.0, 0.0, 2.0, 3.0]));
    assert_eq!(compact(3), (vec![(1, 8)], vec![1.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 3.0]));
}

#[test]
fn subtraction_has_the_other_sign_on_every_path() {
    let mut same = parse("{{count:3 sum:6 z_bucket:1 buckets:[2 3]}}");
    same.sub(&parse("{{count:2 sum:2 z_bucket:1 buckets:[1 1]}}")).unwrap();
    assert_eq!(same.test_expression(), "{{count:1 sum:4 buckets:[1 2]}}");
    let mut other = parse("{{count:3 sum:6 buckets:[2 3]}}");
    other.sub(&parse("{{count:2 sum:2 offset:1 buckets:[1 1]}}")).unwrap();
    assert_eq!(other.test_expression(), "{{count:1 sum:4 buckets:[2 2 -1]}}");
}

#[test]
fn hints_combine_and_collide() {
    use CounterResetHint::*;
    let of = |counter_reset| FloatHistogram { counter_reset, ..FloatHistogram::default() };
    for (a, b, result, collided) in [
        (Unknown, Unknown, Unknown, false),
        (NotReset, NotReset, NotReset, false),
        (Gauge, Reset, Gauge, false),
        (NotReset, Gauge, Gauge, false),
        (Unknown, Reset, Unknown, false),
        (NotReset, Unknown, Unknown, false),
        (Reset, NotReset, Unknown, true),
    ] {
        let mut sum = of(a);
        let combined = sum.add(&of(b)).unwrap();
        assert_eq!((sum.counter_reset, combined.hints_collided), (result, collided), "{a:?} + {b:?}");
    }
}

#[test]
fn exponential_and_custom_do_not_mix() {
    let custom = FloatHistogram { schema: CUSTOM_BUCKETS_SCHEMA, ..FloatHistogram::default() };
    let mut exponential = FloatHistogram { count: 1.0, ..FloatHistogram::default() };
    assert_eq!(exponential.add(&custom), Err(IncompatibleSchemas));
    assert_eq!(exponential.count, 1.0);
}

#[test]
fn dividing_by_zero_leaves_no_buckets() {
    let mut histogram = parse("{{schema:0 count:5 sum:-2 z_bucket:1 buckets:[4]}}");
    histogram.divide(0.0);
    assert_eq!(histogram.to_string(), "{count:+Inf, sum:-Inf, [-0,0]:+Inf}");
}

#[test]
fn text_is_that_of_prometheus() {
    let histogram =
        parse("{{schema:1 count:1234567 sum:0.5 z_bucket:2 z_bucket_w:0.25 buckets:[1 0 3] n_buckets:[4 5]}}");
    assert_eq!(
        histogram.to_string(),
        "{count:1.234567e+06, sum:0.5, [-1.414213562373095,-1):5, [-1,-0.7071067811865475):4, [-0.25,0.25]:2, \
         (0.7071067811865475,1]:1, (1.414213562373095,2]:3}"
    );
    let text = "{{schema:-53 count:3 sum:5 custom_values:[1 2] counter_reset_hint:gauge offset:1 buckets:[3]}}";
    assert_eq!(parse(text).test_expression(), text);
}

#[test]
fn sizes_are_those_of_prometheus() {
    assert_eq!(FloatHistogram::default().size_in_samples(), 11);
    assert_eq!(parse("{{buckets:[1 2 3]}}").size_in_samples(), (168 + 8 * 4 + 8) / 16);
}

#[test]
fn fine_schemas_are_reduced_on_the_way_in() {
    let mut fine = IntegerHistogram { schema: 10, ..IntegerHistogram::default() };
    fine.positive_spans = vec![Span { offset: 1, length: 4 }];
    fine.positive_buckets = vec![1, 0, 0, 0];
    fine.count = 4;
    fine.reduce_reserved().unwrap();
    assert_eq!((fine.schema, fine.positive_spans.as_slice()), (8, [Span { offset: 1, length: 1 }].as_slice()));
    assert_eq!(fine.validate(), Ok(()));
    let coarse = |schema| IntegerHistogram { schema, ..IntegerHistogram::default() }.reduce_reserved();
    assert_eq!(coarse(-9), Err(HistogramError::Schema(-9)));
    assert_eq!(coarse(53), Err(HistogramError::UnknownSchema(53)));
    assert_eq!(coarse(-53), Ok(()));
}

/// `{{key:value key:[a b]}}`, as test scripts write histograms.
fn parse(text: &str) -> FloatHistogram {
    let body = text.trim().trim_start_matches("{{").trim_end_matches("}}");
    let mut histogram = FloatHistogram::default();
    let (mut offset, mut n_offset) = (0, 0);
    let mut rest = body.trim();
    while let Some((key, after)) = rest.split_once(':') {
        let (value, after) = match after.strip_prefix('[') {
            Some(list) => list.split_once(']').unwrap(),
            None => after.split_once(' ').unwrap_or((after, "")),
        };
        rest = after.trim_start();
        let number = || parse_float(value).unwrap();
        let list = || value.split_whitespace().map(|v| parse_float(v).unwrap()).collect::<Vec<_>>();
        match key {
            "schema" => histogram.schema = number() as i32,
            "count" => histogram.count = number(),
            "sum" => histogram.sum = number(),
            "z_bucket" => histogram.zero_count = number(),
            "z_bucket_w" => histogram.zero_threshold = number(),
            "custom_values" => histogram.custom_values = list().into(),
            "offset" => offset = number() as i32,
            "n_offset" => n_offset = number() as i32,
            "buckets" => histogram.positive_buckets = list(),
            "n_buckets" => histogram.negative_buckets = list(),
            "counter_reset_hint" => {
                histogram.counter_reset = match value {
                    "gauge" => CounterResetHint::Gauge,
                    "reset" => CounterResetHint::Reset,
                    "not_reset" => CounterResetHint::NotReset,
                    _ => CounterResetHint::Unknown,
                }
            }
            other => panic!("unknown key {other}"),
        }
    }
    let span = |offset, buckets: &[f64]| match buckets.len() {
        0 => Vec::new(),
        length => vec![Span { offset, length: length as u32 }],
    };
    histogram.positive_spans = span(offset, &histogram.positive_buckets);
    histogram.negative_spans = span(n_offset, &histogram.negative_buckets);
    histogram
}

/// Runs those cases of upstream's script that are one function of one constant histogram.
#[test]
fn upstream_cases_of_trim_quantile_and_fraction_hold() {
    let Some(folder) = std::env::var_os("FERULA_CONFORMANCE") else {
        eprintln!("skipped: FERULA_CONFORMANCE is not set");
        return;
    };
    let path = std::path::Path::new(&folder).join("promqltest/native_histograms.test");
    let script = std::fs::read_to_string(path).unwrap();
    let mut known: HashMap<&str, FloatHistogram> = HashMap::new();
    let mut checked = [0; 3];
    let mut lines = script.lines().peekable();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if line == "clear" {
            known.clear();
        } else if let Some((name, value)) = line.split_once(' ')
            && value.trim().starts_with("{{")
            && !name.contains('{')
        {
            // A constant, perhaps repeated.
            let (value, repeat) = value.trim().rsplit_once("}}").unwrap();
            if (repeat.is_empty() || repeat.starts_with('x')) && !value.contains("}}") {
                known.insert(name, parse(value));
            } else {
                known.remove(name);
            }
        }
        let Some(expression) = line.strip_prefix("eval instant at ").and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        let expression = expression.1.trim();
        let mut expected = || loop {
            let line = lines.next()?.trim();
            if line.is_empty() || line.starts_with("eval") {
                return None;
            }
            if !line.starts_with("expect") && !line.starts_with('#') {
                return line.split_once(' ').map(|(_, value)| value.trim());
            }
        };
        let argument = |function: &str| expression.strip_prefix(function)?.strip_prefix('(')?.strip_suffix(')');
        let words: Vec<&str> = expression.split(' ').collect();
        if let [name, operator @ ("</" | ">/"), limit] = words[..]
            && let (Some(histogram), Ok(limit)) = (known.get(name), parse_float(limit))
        {
            let mut histogram = histogram.clone();
            if operator == "</" {
                histogram.trim_upper(limit)
            } else {
                histogram.trim_lower(limit)
            }
            let expected = compacted(parse(expected().unwrap()));
            assert!(histogram.nearly_equals(&expected, 1e-6), "{expression}: {histogram}, not {expected}");
            checked[0] += 1;
        } else if let Some(arguments) = argument("histogram_quantile")
            && let [phi, name] = arguments.split(", ").collect::<Vec<_>>()[..]
            && let (Ok(phi), Some(histogram)) = (parse_float(phi), known.get(name))
        {
            let expected = parse_float(expected().unwrap()).unwrap();
            let value = histogram.quantile(phi).value;
            assert!(nearly_equal(value, expected, 1e-6), "{expression}: {value}, not {expected}");
            checked[1] += 1;
        } else if let Some(arguments) = argument("histogram_fraction")
            && let [lower, upper, name] = arguments.split(", ").collect::<Vec<_>>()[..]
            && let (Ok(lower), Ok(upper), Some(histogram)) = (parse_float(lower), parse_float(upper), known.get(name))
        {
            let expected = parse_float(expected().unwrap()).unwrap();
            let value = histogram.fraction(lower, upper).value;
            assert!(nearly_equal(value, expected, 1e-6), "{expression}: {value}, not {expected}");
            checked[2] += 1;
        }
    }
    assert!(checked.into_iter().all(|count| count > 30), "too few cases found: {checked:?}");
    println!("{checked:?} cases of trim, quantile, fraction");
}
