//! Field numbers of `io.prometheus.client`, which reader and writer share.
//!
//! Source: `metrics.proto` of the Prometheus client model, as Prometheus 3.14 reads it.

/// `MetricFamily`
pub(super) mod family {
    pub(in crate::protobuf) const NAME: u32 = 1;
    pub(in crate::protobuf) const HELP: u32 = 2;
    pub(in crate::protobuf) const TYPE: u32 = 3;
    pub(in crate::protobuf) const METRIC: u32 = 4;
    pub(in crate::protobuf) const UNIT: u32 = 5;
}

/// `Metric`
pub(super) mod metric {
    pub(in crate::protobuf) const LABEL: u32 = 1;
    pub(in crate::protobuf) const GAUGE: u32 = 2;
    pub(in crate::protobuf) const COUNTER: u32 = 3;
    pub(in crate::protobuf) const SUMMARY: u32 = 4;
    pub(in crate::protobuf) const UNTYPED: u32 = 5;
    pub(in crate::protobuf) const TIMESTAMP_MS: u32 = 6;
    pub(in crate::protobuf) const HISTOGRAM: u32 = 7;
}

/// `LabelPair`
pub(super) mod label {
    pub(in crate::protobuf) const NAME: u32 = 1;
    pub(in crate::protobuf) const VALUE: u32 = 2;
}

/// `Gauge`, `Untyped` and `Counter`, which begin alike.
pub(super) mod number {
    pub(in crate::protobuf) const VALUE: u32 = 1;
    pub(in crate::protobuf) const EXEMPLAR: u32 = 2;
    pub(in crate::protobuf) const START: u32 = 3;
}

/// `Summary`
pub(super) mod summary {
    pub(in crate::protobuf) const COUNT: u32 = 1;
    pub(in crate::protobuf) const SUM: u32 = 2;
    pub(in crate::protobuf) const QUANTILE: u32 = 3;
    pub(in crate::protobuf) const START: u32 = 4;
}

/// `Quantile`
pub(super) mod quantile {
    pub(in crate::protobuf) const QUANTILE: u32 = 1;
    pub(in crate::protobuf) const VALUE: u32 = 2;
}

/// `Histogram`
pub(super) mod histogram {
    pub(in crate::protobuf) const COUNT: u32 = 1;
    pub(in crate::protobuf) const SUM: u32 = 2;
    pub(in crate::protobuf) const BUCKET: u32 = 3;
    pub(in crate::protobuf) const COUNT_FLOAT: u32 = 4;
    pub(in crate::protobuf) const SCHEMA: u32 = 5;
    pub(in crate::protobuf) const ZERO_THRESHOLD: u32 = 6;
    pub(in crate::protobuf) const ZERO_COUNT: u32 = 7;
    pub(in crate::protobuf) const ZERO_COUNT_FLOAT: u32 = 8;
    pub(in crate::protobuf) const NEGATIVE_SPAN: u32 = 9;
    pub(in crate::protobuf) const NEGATIVE_DELTA: u32 = 10;
    pub(in crate::protobuf) const NEGATIVE_COUNT: u32 = 11;
    pub(in crate::protobuf) const POSITIVE_SPAN: u32 = 12;
    pub(in crate::protobuf) const POSITIVE_DELTA: u32 = 13;
    pub(in crate::protobuf) const POSITIVE_COUNT: u32 = 14;
    pub(in crate::protobuf) const START: u32 = 15;
    pub(in crate::protobuf) const EXEMPLARS: u32 = 16;
}

/// `Bucket`
pub(super) mod bucket {
    pub(in crate::protobuf) const CUMULATIVE_COUNT: u32 = 1;
    pub(in crate::protobuf) const UPPER_BOUND: u32 = 2;
    pub(in crate::protobuf) const EXEMPLAR: u32 = 3;
    pub(in crate::protobuf) const CUMULATIVE_COUNT_FLOAT: u32 = 4;
}

/// `BucketSpan`
pub(super) mod span {
    pub(in crate::protobuf) const OFFSET: u32 = 1;
    pub(in crate::protobuf) const LENGTH: u32 = 2;
}

/// `Exemplar`
pub(super) mod exemplar {
    pub(in crate::protobuf) const LABEL: u32 = 1;
    pub(in crate::protobuf) const VALUE: u32 = 2;
    pub(in crate::protobuf) const TIMESTAMP: u32 = 3;
}

/// `google.protobuf.Timestamp`
pub(super) mod timestamp {
    pub(in crate::protobuf) const SECONDS: u32 = 1;
    pub(in crate::protobuf) const NANOS: u32 = 2;
}
