//! Series as a cluster has them: hosts of a thousand series (node, container and application metrics), 9 to 12 labels
//! each, made anew from numbers, so that a million of them need no memory of their own.

use std::ops::Range;

/// Series of one host.
pub(crate) const PER_HOST: usize = 1000;
/// Milliseconds between two samples of a series.
pub(crate) const STEP: i64 = 15_000;
/// When the first sample is.
pub(crate) const START: i64 = 1_700_000_000_000;

/// Spreads a number over 64 bits (splitmix64).
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The label sets of one host.
#[derive(Default)]
pub(crate) struct Host {
    number: u64,
    text: String,
    labels: Vec<(Range<usize>, Range<usize>)>,
    series: Vec<Range<usize>>,
    /// The labels of each series as a remote-write message has them.
    encoded: Vec<u8>,
    encoded_ends: Vec<usize>,
}

impl Host {
    pub(crate) fn new(number: u64) -> Self {
        let mut host = Host::default();
        host.become_host(number);
        host
    }

    /// Replaces the label sets by those of another host.
    pub(crate) fn become_host(&mut self, number: u64) {
        self.number = number;
        self.text.clear();
        self.labels.clear();
        self.series.clear();
        self.encoded.clear();
        self.encoded_ends.clear();
        let seed = mix(number);
        let pods: Vec<String> =
            (0..50).map(|pod| format!("service-{}-{:08x}", pod % 25, mix(seed ^ pod) as u32)).collect();
        for series in 0..PER_HOST {
            let (kind, at) = (series / 100, series % 100);
            let pod = pods[at % pods.len()].as_str();
            let namespace = ["shop", "search", "payments", "monitoring"][at % 4];
            let image = format!("registry.example/service-{}:v1.{}", at % 25, number % 40);
            let (one, ten) = ((at % 10).to_string(), (at / 10).to_string());
            let handler = format!("/api/v1/{}", ["orders", "cart", "search", "users", "items"][at % 5]);
            let method = ["GET", "POST"][at / 5 % 2];
            match kind {
                0..4 => {
                    let code = ["200", "204", "301", "404", "500", "503", "504", "429", "400", "401"][at / 10];
                    let metric =
                        ["http_requests_total", "http_errors_total", "http_bytes_total", "http_retries_total"][kind];
                    self.add("app", 8080, metric, &[("code", code), ("handler", &handler), ("method", method)]);
                }
                4 | 5 => {
                    let bound = ["0.005", "0.01", "0.05", "0.1", "0.5", "1", "2.5", "5", "10", "+Inf"][at / 10];
                    let metric = ["http_request_duration_seconds_bucket", "rpc_duration_seconds_bucket"][kind - 4];
                    self.add("app", 8080, metric, &[("handler", &handler), ("le", bound), ("method", method)]);
                }
                6 | 7 => {
                    let metric = if at < 50 { "container_cpu_usage_seconds_total" } else { "container_memory_rss" };
                    let container = if kind == 6 { "main" } else { "proxy" };
                    let more = [("container", container), ("image", &image), ("namespace", namespace), ("pod", pod)];
                    self.add("kubelet", 10250, metric, &more);
                }
                8 => {
                    let metric = if at < 50 { "kube_pod_info" } else { "kube_pod_container_status_restarts_total" };
                    self.add("kube-state-metrics", 8081, metric, &[("namespace", namespace), ("pod", pod)]);
                }
                _ => self.add("node-exporter", 9100, "node_cpu_seconds_total", &[("cpu", &ten), ("mode", &one)]),
            }
        }
    }

    fn add(&mut self, job: &str, port: u16, metric: &str, more: &[(&str, &str)]) {
        let t = self.number;
        let instance = format!("10.{}.{}.{}:{port}", t / 62_500 % 200, t / 250 % 250, t % 250);
        let mut all = vec![
            ("__name__", metric),
            ("cluster", ["prod-eu-1", "prod-us-1", "staging-eu-1"][t as usize % 3]),
            ("env", ["production", "production", "staging"][t as usize % 3]),
            ("instance", &instance),
            ("job", job),
            ("region", ["eu-west-1", "us-east-1", "eu-west-1"][t as usize % 3]),
            ("team", ["infra", "shop", "payments", "search"][t as usize % 4]),
            ("zone", ["a", "b", "c"][t as usize / 3 % 3]),
        ];
        all.extend_from_slice(more);
        all.sort_unstable();
        let first = self.labels.len();
        for (name, value) in all {
            let labels = (self.put(name), self.put(value));
            self.labels.push(labels);
            assert!(name.len() + value.len() < 120, "all lengths are one byte");
            self.encoded.extend([0x0A, (4 + name.len() + value.len()) as u8]);
            for (tag, text) in [(0x0A, name), (0x12, value)] {
                self.encoded.extend([tag, text.len() as u8]);
                self.encoded.extend_from_slice(text.as_bytes());
            }
        }
        self.encoded_ends.push(self.encoded.len());
        self.series.push(first..self.labels.len());
    }

    fn put(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(text);
        start..self.text.len()
    }

    /// Replaces `pairs` by the labels of a series, as a receiver does that reads them from a message.
    #[inline]
    pub(crate) fn labels<'a>(&'a self, series: usize, pairs: &mut Vec<(&'a str, &'a str)>) {
        pairs.clear();
        let labels = &self.labels[self.series[series].clone()];
        pairs.extend(labels.iter().map(|(name, value)| (&self.text[name.clone()], &self.text[value.clone()])));
    }

    /// The labels of a series as a remote-write message has them.
    #[inline]
    pub(crate) fn encoded(&self, series: usize) -> &[u8] {
        let start = if series == 0 { 0 } else { self.encoded_ends[series - 1] };
        &self.encoded[start..self.encoded_ends[series]]
    }

    /// The value of a series at a step: four in ten are counters of whole numbers, the others decimals, bytes, constants.
    pub(crate) fn value(&self, series: usize, step: u64) -> f64 {
        let seed = mix(self.number ^ (series as u64) << 32);
        let noise = mix(seed ^ step) % 16;
        match series % 10 {
            0..4 => (seed % 100_000 + step * 40 + noise) as f64,
            4 | 5 => (seed % 1_000_000 + step * 1500 + noise * 40) as f64 / 100.0,
            6 | 7 => ((seed % 100_000 + noise * 3) * 4096) as f64,
            8 => (5000 + noise * 7) as f64 / 100.0,
            _ => (seed % 3) as f64,
        }
    }

    /// The time of this host's sample at a step.
    pub(crate) fn time(&self, step: u64) -> i64 {
        START + (mix(self.number) % 2000) as i64 + step as i64 * STEP
    }
}
