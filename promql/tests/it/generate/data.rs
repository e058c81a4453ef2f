//! Generated series of every kind: counters that reset, gauges with every special float, gaps, stale markers, series
//! that come and go, classic and native histograms of every layout.

use ferula_model::{
    CounterResetHint, FloatHistogram, Labels, NORMAL_NAN, STALE_MARKER, Sample, Span, Timestamp,
    histogram::CUSTOM_BUCKETS_SCHEMA,
};
use ferula_promql::testing::MemoryStorage;

use super::Random;

/// The first moment, in milliseconds: where a block of two hours begins, as the head of Prometheus cuts its chunks.
pub(crate) const BEGIN: i64 = 1_699_999_200_000 / 7_200_000 * 7_200_000;

/// How long the series last, in milliseconds.
pub(crate) const LENGTH: i64 = 95 * 60_000;

/// Series by rising labels, samples by rising time.
pub(crate) struct Data {
    pub(crate) series: Vec<(Labels, Vec<Sample>)>,
}

impl Data {
    pub(crate) fn generate(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut maker = Maker { random: &mut random, series: Vec::new() };
        maker.counters();
        maker.gauges();
        maker.comers_and_goers();
        maker.classic_histograms();
        maker.native_histograms();
        maker.infos();
        let mut series = maker.series;
        series.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (_, samples) in &mut series {
            // Every series begins at once: a storage that keeps them in the order of their beginnings has them sorted.
            samples.insert(0, Sample::float(Timestamp::from_millis(BEGIN), STALE_MARKER));
        }
        Self { series }
    }

    pub(crate) fn storage(&self) -> MemoryStorage {
        let storage = MemoryStorage::new();
        for (labels, samples) in &self.series {
            for sample in samples {
                storage.insert(labels, sample.clone());
            }
        }
        storage
    }
}

struct Maker<'r> {
    random: &'r mut Random,
    series: Vec<(Labels, Vec<Sample>)>,
}

const JOBS: [&str; 2] = ["api", "web"];
const INSTANCES: [&str; 3] = ["a:1", "b:1", "c:1"];

impl Maker<'_> {
    /// Moments every `every` seconds, some off the grid, some missing, with holes of up to ten minutes.
    fn moments(&mut self, every: i64) -> Vec<i64> {
        let mut moments = Vec::new();
        let mut at = BEGIN + 10 + (self.random.below(every as usize * 1000) as i64);
        while at < BEGIN + LENGTH {
            if self.random.percent(2) {
                at += self.random.below(600_000) as i64;
            }
            let off = if self.random.percent(10) { self.random.below(9) as i64 - 4 } else { 0 };
            if !self.random.percent(3) && at + off < BEGIN + LENGTH {
                moments.push(at + off);
            }
            at += every * 1000;
        }
        moments
    }

    fn add(&mut self, labels: &[(&str, &str)], samples: Vec<Sample>) {
        if !samples.is_empty() {
            self.series.push((Labels::from_pairs(labels.iter().copied()), samples));
        }
    }

    fn counters(&mut self) {
        for name in ["req_total", "bytes_total"] {
            for job in JOBS {
                for instance in INSTANCES {
                    for code in ["200", "404", "500"] {
                        if self.random.percent(25) {
                            continue;
                        }
                        let fraction = name == "bytes_total" && self.random.percent(50);
                        let samples = self.counter(15, fraction);
                        self.add(&[("__name__", name), ("job", job), ("instance", instance), ("code", code)], samples);
                    }
                }
            }
        }
    }

    fn counter(&mut self, every: i64, fraction: bool) -> Vec<Sample> {
        let mut value = if self.random.percent(30) { 0.0 } else { self.random.below(1000) as f64 };
        let speed = self.random.below(40) + 1;
        let mut samples = Vec::new();
        for at in self.moments(every) {
            if self.random.percent(2) {
                value = self.random.below(3) as f64;
            }
            value += self.random.below(speed) as f64;
            if fraction {
                value += self.random.unit();
            }
            let shown = if self.random.percent(1) { STALE_MARKER } else { value };
            samples.push(Sample::float(Timestamp::from_millis(at), shown));
        }
        samples
    }

    fn gauges(&mut self) {
        for (name, every) in [("temp", 15), ("depth", 30), ("sparse", 240), ("flat", 20)] {
            for job in JOBS {
                for instance in INSTANCES {
                    let mut samples = Vec::new();
                    let (mut value, whole) = (self.random.unit() * 40.0 - 10.0, self.random.percent(40));
                    let special = self.random.percent(40);
                    for at in self.moments(every) {
                        if name != "flat" {
                            value += self.random.unit() * 4.0 - 2.0;
                        }
                        let mut shown = if whole { value.round() } else { value };
                        if special && self.random.percent(6) {
                            shown = self.random.pick(&[
                                NORMAL_NAN,
                                f64::INFINITY,
                                f64::NEG_INFINITY,
                                0.0,
                                -0.0,
                                STALE_MARKER,
                                1e300,
                                -1e-300,
                                1e17,
                                STALE_MARKER,
                            ]);
                        }
                        samples.push(Sample::float(Timestamp::from_millis(at), shown));
                    }
                    self.add(&[("__name__", name), ("job", job), ("instance", instance)], samples);
                }
            }
        }
    }

    fn comers_and_goers(&mut self) {
        for pod in ["p0", "p1", "p2", "p3", "p4", "p5", "p6"] {
            let job = self.random.pick(&JOBS);
            let mut samples = self.counter(15, false);
            let from = self.random.below(samples.len().max(1));
            let length = self.random.below(samples.len()) + 1;
            samples = samples.into_iter().skip(from).take(length).collect();
            if let Some(last) = samples.last()
                && self.random.percent(70)
            {
                let at = last.timestamp.as_millis() + 15_000;
                samples.push(Sample::float(Timestamp::from_millis(at), STALE_MARKER));
            }
            self.add(&[("__name__", "churn_total"), ("job", job), ("pod", pod)], samples);
        }
    }

    fn classic_histograms(&mut self) {
        const BOUNDS: [&str; 6] = ["0.1", "0.5", "1", "2.5", "10", "+Inf"];
        for (job, name) in [("api", "lat_seconds"), ("web", "lat_seconds"), ("api", "odd")] {
            for instance in INSTANCES {
                let moments = self.moments(15);
                let mut counts = [0.0; BOUNDS.len()];
                let mut rows = Vec::new();
                for _ in &moments {
                    if self.random.percent(2) {
                        counts = [0.0; BOUNDS.len()];
                    }
                    for _ in 0..self.random.below(6) {
                        for count in counts.iter_mut().skip(self.random.below(BOUNDS.len())) {
                            *count += 1.0;
                        }
                    }
                    rows.push(counts);
                }
                for (index, le) in BOUNDS.iter().enumerate() {
                    let odd = name == "odd";
                    if odd && self.random.percent(15) {
                        continue;
                    }
                    let le = if odd && self.random.percent(15) { "much" } else { le };
                    let mut samples = Vec::new();
                    for (at, row) in moments.iter().zip(&rows) {
                        if self.random.percent(1) {
                            continue;
                        }
                        let error = if odd && self.random.percent(10) { 1.5 } else { 0.0 };
                        samples.push(Sample::float(Timestamp::from_millis(*at), row[index] - error));
                    }
                    let bucket = format!("{name}_bucket");
                    self.add(&[("__name__", &bucket), ("job", job), ("instance", instance), ("le", le)], samples);
                }
                let count: Vec<_> = moments
                    .iter()
                    .zip(&rows)
                    .map(|(at, row)| Sample::float(Timestamp::from_millis(*at), row[BOUNDS.len() - 1]))
                    .collect();
                self.add(&[("__name__", &format!("{name}_count")), ("job", job), ("instance", instance)], count);
            }
        }
    }

    fn native_histograms(&mut self) {
        for job in JOBS {
            for instance in INSTANCES {
                let kind = Kind::exponential(self.random);
                let samples = self.histograms(kind, false, false);
                self.add(&[("__name__", "nh"), ("job", job), ("instance", instance)], samples);
                let kind = Kind::exponential(self.random);
                let samples = self.histograms(kind, true, false);
                self.add(&[("__name__", "nh_gauge"), ("job", job), ("instance", instance)], samples);
                let samples = self.histograms(Kind::Custom(0), false, false);
                self.add(&[("__name__", "nhcb"), ("job", job), ("instance", instance)], samples);
            }
            let kind = Kind::exponential(self.random);
            let samples = self.histograms(kind, false, true);
            self.add(&[("__name__", "mix"), ("job", job), ("instance", "a:1")], samples);
            let floats = self.counter(15, false);
            self.add(&[("__name__", "mix"), ("job", job), ("instance", "b:1")], floats);
            let samples = self.histograms(Kind::Custom(1), false, true);
            self.add(&[("__name__", "mix"), ("job", job), ("instance", "c:1")], samples);
        }
    }

    fn histograms(&mut self, mut kind: Kind, gauge: bool, with_floats: bool) -> Vec<Sample> {
        let whole = self.random.percent(50);
        let mut current = kind.empty(self.random);
        let mut samples = Vec::new();
        for at in self.moments(15) {
            let at = Timestamp::from_millis(at);
            if self.random.percent(2) {
                if let Kind::Exponential { .. } = kind
                    && self.random.percent(40)
                {
                    kind = Kind::exponential(self.random);
                }
                current = kind.empty(self.random);
            }
            if self.random.percent(1) {
                samples.push(Sample::float(at, STALE_MARKER));
                continue;
            }
            if with_floats && self.random.percent(8) {
                samples.push(Sample::float(at, self.random.below(100) as f64));
                continue;
            }
            kind.observe(&mut current, self.random, whole);
            let mut shown = current.clone();
            if gauge {
                shown.counter_reset = CounterResetHint::Gauge;
            }
            samples.push(Sample::histogram(at, shown));
        }
        samples
    }

    fn infos(&mut self) {
        for job in JOBS {
            for instance in INSTANCES {
                let steps: Vec<i64> = self.moments(60);
                let change = self.random.below(steps.len());
                for (version, range) in [("1", 0..change), ("2", change..steps.len())] {
                    let at = |at: &i64| Sample::float(Timestamp::from_millis(*at), 1.0);
                    let mut samples: Vec<_> = steps[range].iter().map(at).collect();
                    if version == "1"
                        && let Some(next) = steps.get(change)
                    {
                        samples.push(Sample::float(Timestamp::from_millis(*next), STALE_MARKER));
                    }
                    for name in ["build_info", "target_info"] {
                        let labels = [("__name__", name), ("job", job), ("instance", instance), ("version", version)];
                        self.add(&labels, samples.clone());
                    }
                }
            }
        }
    }
}

/// The layout of a native histogram.
#[derive(Clone, Copy)]
enum Kind {
    Exponential { schema: i32, first: i32, buckets: usize, negative: bool, zero_threshold: f64 },
    Custom(usize),
}

const CUSTOM: [&[f64]; 2] = [&[0.1, 0.5, 1.0, 2.5, 10.0], &[-1.0, 0.0, 1.0, 5.0]];

impl Kind {
    fn exponential(random: &mut Random) -> Self {
        let schema = random.below(5) as i32 - 1;
        Kind::Exponential {
            schema,
            // No bucket lies below the zero bucket's bound.
            first: if schema < 0 { random.below(6) as i32 - 2 } else { random.below(8) as i32 - 4 },
            buckets: random.below(8) + 1,
            negative: random.percent(30),
            zero_threshold: random.pick(&[0.0, 0.001, 0.01]),
        }
    }

    fn empty(self, random: &mut Random) -> FloatHistogram {
        match self {
            Kind::Exponential { schema, first, buckets, negative, zero_threshold } => {
                let gap = random.below(2) * random.below(3);
                let spans = |first: i32| {
                    let head = Span { offset: first, length: (buckets as u32).div_ceil(2) };
                    let tail = Span { offset: gap as i32, length: buckets as u32 / 2 };
                    if tail.length == 0 { vec![head] } else { vec![head, tail] }
                };
                FloatHistogram {
                    schema,
                    zero_threshold,
                    positive_spans: spans(first),
                    positive_buckets: vec![0.0; buckets],
                    negative_spans: if negative { spans(first + 1) } else { Vec::new() },
                    negative_buckets: if negative { vec![0.0; buckets] } else { Vec::new() },
                    ..FloatHistogram::default()
                }
            }
            Kind::Custom(which) => FloatHistogram {
                schema: CUSTOM_BUCKETS_SCHEMA,
                positive_spans: vec![Span { offset: 0, length: CUSTOM[which].len() as u32 + 1 }],
                positive_buckets: vec![0.0; CUSTOM[which].len() + 1],
                custom_values: CUSTOM[which].into(),
                ..FloatHistogram::default()
            },
        }
    }

    fn observe(self, histogram: &mut FloatHistogram, random: &mut Random, whole: bool) {
        for _ in 0..random.below(6) {
            let weight = if whole { 1.0 } else { random.unit() * 2.0 };
            histogram.count += weight;
            let exponential = matches!(self, Kind::Exponential { .. });
            if exponential && random.percent(10) {
                histogram.zero_count += weight;
                continue;
            }
            let negative = !histogram.negative_buckets.is_empty() && random.percent(30);
            let buckets = if negative { &mut histogram.negative_buckets } else { &mut histogram.positive_buckets };
            let at = random.below(buckets.len());
            buckets[at] += weight;
            histogram.sum += weight * random.unit() * if negative { -3.0 } else { 3.0 };
        }
    }
}
