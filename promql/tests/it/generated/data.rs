//! Series of every kind from a seed.
//!
//! All samples lie in [`SPAN_MILLIS`] from [`START`], but for one of each series an hour before: it makes a storage meet the
//! series in the order of their labels, so that sums and ties come out in one order everywhere.

use ferula_model::{Histogram, Labels, NORMAL_NAN, STALE_MARKER, Sample, Timestamp, Value};
use ferula_promql::testing::MemoryStorage;

use super::histograms;
use super::random::Random;

/// The first moment with samples: on a whole minute, not on a whole hour.
pub(crate) const START: i64 = 1_700_000_040_000;
/// How long samples are there.
pub(crate) const SPAN_MILLIS: i64 = 40 * 60_000;

/// Series with their samples by rising time; series by rising labels.
#[derive(Clone, Debug)]
pub(crate) struct Dataset {
    pub(crate) series: Vec<(Labels, Vec<Sample>)>,
}

impl Dataset {
    /// The series that belong to a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let random = &mut Random::new(seed ^ 0xda7a);
        let mut series = Vec::new();
        floats(random, &mut series);
        classic(random, &mut series);
        histograms::series(random, &mut series);
        info(random, &mut series);
        series.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self { series }
    }

    /// The same as a storage.
    pub(crate) fn storage(&self) -> MemoryStorage {
        let storage = MemoryStorage::new();
        for (labels, samples) in &self.series {
            samples.iter().for_each(|sample| storage.insert(labels, sample.clone()));
        }
        storage
    }
}

pub(super) fn labels(name: &str, pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied().chain([("__name__", name)]))
}

/// Adds a series whose samples `value` makes, at times that may be jittered, with gaps and stale markers in between.
pub(super) fn add(
    random: &mut Random,
    series: &mut Vec<(Labels, Vec<Sample>)>,
    labels: Labels,
    mut value: impl FnMut(&mut Random, usize) -> Option<Value>,
) {
    let interval = random.pick(&[15_000, 15_000, 30_000, 60_000]);
    let jitter = random.pick(&[0, 0, 1, 997]);
    let (gap_percent, stale_percent) = (random.pick(&[0, 2, 10]), random.pick(&[0, 1, 3]));
    let mut samples = Vec::new();
    if let Some(first) = value(random, 0) {
        samples.push(sample(Timestamp::from_millis(START - 3_600_000), first));
    }
    let mut at = START + random.pick(&[0, 0, 0, 5_000, 400_000]);
    let mut index = 1;
    while at < START + SPAN_MILLIS {
        let moment = Timestamp::from_millis(at + random.below(jitter + 1) as i64);
        if random.chance(stale_percent) {
            samples.push(sample(moment, stale(samples.last().map(|sample| &sample.value))));
        } else if let Some(value) = value(random, index) {
            samples.push(sample(moment, value));
        }
        if random.chance(gap_percent) {
            at += interval * random.pick(&[2, 3, 10, 30]);
        }
        at += interval;
        index += 1;
    }
    series.push((labels, samples));
}

fn sample(timestamp: Timestamp, value: Value) -> Sample {
    Sample { timestamp, start: None, value }
}

/// A stale marker of the same kind as the sample before it.
fn stale(previous: Option<&Value>) -> Value {
    match previous {
        Some(Value::Histogram(Histogram::Integer(_))) => {
            Value::Histogram(ferula_model::IntegerHistogram { sum: STALE_MARKER, ..Default::default() }.into())
        }
        Some(Value::Histogram(Histogram::Float(_))) => {
            Value::Histogram(ferula_model::FloatHistogram { sum: STALE_MARKER, ..Default::default() }.into())
        }
        _ => Value::Float(STALE_MARKER),
    }
}

/// Numbers that computations trip over.
pub(super) fn odd(random: &mut Random) -> f64 {
    let ordinary = random.below(10) as f64 - 5.0;
    random.pick(&[
        NORMAL_NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -0.0,
        0.0,
        1e-300,
        5e-324,
        1e300,
        f64::MAX,
        -f64::MAX,
        ordinary,
        ordinary,
        ordinary,
        1.5,
        -1e9,
    ])
}

fn floats(random: &mut Random, series: &mut Vec<(Labels, Vec<Sample>)>) {
    for job in ["api", "db"] {
        for instance in ["a:1", "b:2", "c:3"] {
            let target = [("job", job), ("instance", instance)];
            for code in ["200", "500"] {
                let with_code = [target[0], target[1], ("code", code)];
                let mut total = 0.0;
                add(random, series, labels("requests_total", &with_code), |random, _| {
                    total += random.below(50) as f64 * random.pick(&[0.0, 1.0, 1.0, 0.1]);
                    if random.chance(4) {
                        total = random.below(20) as f64;
                    }
                    Some(Value::Float(total))
                });
            }
            let mut level = random.unit() * 10.0;
            add(random, series, labels("load", &target), |random, _| {
                level += random.unit() - 0.5;
                Some(Value::Float(level))
            });
            add(random, series, labels("odd", &target), |random, _| Some(Value::Float(odd(random))));
        }
        add(random, series, labels("constant", &[("job", job)]), |_, _| Some(Value::Float(3.25)));
        // Its samples are further apart than instant selectors look back.
        add(random, series, labels("sparse", &[("job", job)]), |random, index| {
            (index % 23 == 3).then(|| Value::Float(random.below(3) as f64))
        });
        for version in 1..=3 {
            let text = format!("v{version}");
            let times = move |index: usize| index == 0 || index / 40 + 1 == version;
            add(random, series, labels("flapping", &[("job", job), ("version", &text)]), |random, index| {
                times(index).then(|| Value::Float(random.below(4) as f64))
            });
        }
    }
    add(random, series, labels("once", &[("le", "1"), ("ünicode", "ß\n\"\\")]), |_, index| {
        (index % 97 == 50 || index == 0).then_some(Value::Float(7.0))
    });
}

/// Classic histograms: well-formed, and with every flaw that quantiles must survive.
fn classic(random: &mut Random, series: &mut Vec<(Labels, Vec<Sample>)>) {
    let flawed: [(&str, &[&str], bool); 5] = [
        ("well", &["0.1", "0.5", "1", "2.5", "+Inf"], false),
        ("falling", &["0.1", "0.5", "1", "2.5", "+Inf"], true),
        ("endless", &["0.1", "1", "10"], false),
        ("twice", &["1", "1.0", "2", "+Inf"], false),
        ("malformed", &["-1", "one", "0", "3", "+Inf"], false),
    ];
    for (form, bounds, falls) in flawed {
        for instance in ["a:1", "b:2"] {
            let mut totals = vec![0.0; bounds.len()];
            for (at, bound) in bounds.iter().enumerate() {
                let pairs = [("form", form), ("instance", instance), ("le", *bound)];
                let mut random_of_form = random.clone();
                let totals = &mut totals;
                add(&mut random_of_form, series, labels("latency_bucket", &pairs), |random, _| {
                    totals[at] += (at + 1) as f64 * (1 + random.below(1)) as f64;
                    let dent = if falls && random.chance(20) { random.unit() * 20.0 } else { 0.0 };
                    Some(Value::Float((totals[at] - dent).max(0.0)))
                });
            }
            random.bits();
        }
    }
    // Of the same labels as a native histogram but for `le`.
    for bound in ["1", "+Inf"] {
        let mut total = 0.0;
        let pairs = [("job", "api"), ("instance", "a:1"), ("le", bound)];
        add(random, series, labels("size", &pairs), |random, _| {
            total += random.below(5) as f64;
            Some(Value::Float(total))
        });
    }
}

fn info(random: &mut Random, series: &mut Vec<(Labels, Vec<Sample>)>) {
    for (job, instance, cluster) in
        [("api", "a:1", "east"), ("api", "b:2", "west"), ("db", "a:1", "east"), ("db", "z:9", "")]
    {
        let target = [("job", job), ("instance", instance), ("cluster", cluster)];
        add(random, series, labels("target_info", &target), |_, _| Some(Value::Float(1.0)));
        let build = [("job", job), ("instance", instance), ("version", "1.2")];
        add(random, series, labels("build_info", &build), |_, _| Some(Value::Float(1.0)));
    }
}
