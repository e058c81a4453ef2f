//! The table of flags, and what a value may be.

/// What a flag takes.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// Nothing: it is on or off.
    Switch,
    Text,
    /// As text, but may come several times.
    List,
    /// In Prometheus' notation, `1h30m`.
    Duration,
    /// In bytes, `512MB`.
    Size,
    Number,
    /// A number of at least one.
    Count,
    /// `host:port`.
    Url,
    Regex,
}
use Kind::{Count, List, Number, Regex, Size, Switch, Text, Url};

/// What becomes of a flag.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Support {
    /// It does what it does in Prometheus.
    Full,
    /// It is accepted and changes nothing; there is a warning if it is given.
    NoEffect(&'static str),
    /// It is refused: whoever gives it would believe in something that is not there.
    Refused,
}
use Support::{Full, NoEffect, Refused};

const NOT_YET: Support = NoEffect("not supported yet");
const NOT_NEEDED: Support = NoEffect("nothing to set here");

pub(super) type Row = (&'static str, Kind, &'static str, Support, &'static str);

/// Name, kind, default, support, help.
pub(super) const FLAGS: &[Row] = &[
    ("config.file", Text, "", Full, "Prometheus configuration file path. Without one the server scrapes itself."),
    ("config.auto-reload", Switch, "", Full, "Reload when the configuration file changes."),
    ("config.auto-reload-interval", Kind::Duration, "30s", Full, "How often to look for changes."),
    ("web.listen-address", List, "127.0.0.1:9090", Full, "Address to listen on. Can be repeated."),
    ("auto-gomaxprocs", Switch, "on", NOT_NEEDED, "For Go's runtime."),
    ("auto-gomemlimit", Switch, "on", NOT_NEEDED, "For Go's runtime."),
    ("auto-gomemlimit.ratio", Text, "0.9", NOT_NEEDED, "For Go's runtime."),
    ("auto-gomemlimit.refresh-interval", Kind::Duration, "0s", NOT_NEEDED, "For Go's runtime."),
    ("web.config.file", Text, "", Refused, "File with TLS and authentication settings."),
    ("web.read-timeout", Kind::Duration, "5m", Full, "How long a client may take to send a request's head."),
    ("web.max-connections", Count, "512", Full, "Maximum number of simultaneous connections."),
    ("web.max-notifications-subscribers", Number, "16", NOT_YET, "Limits subscribers to live notifications."),
    ("web.external-url", Url, "", Full, "URL under which others reach this server."),
    ("web.route-prefix", Text, "", Full, "Prefix for all routes. Default: path of --web.external-url."),
    ("web.user-assets", Text, "", NOT_YET, "Static files to serve at /user."),
    ("web.page-title", Text, "", NOT_YET, "Title of the user interface."),
    ("web.cors.origin", Regex, ".*", Full, "Expression for the origins a browser may ask from; fully anchored."),
    ("web.enable-lifecycle", Switch, "", Full, "Enable shutdown and reload via HTTP request."),
    ("web.enable-admin-api", Switch, "", Full, "Enable API endpoints for admin control actions."),
    ("web.enable-remote-write-receiver", Switch, "", Full, "Enable API endpoint accepting remote write requests."),
    (
        "web.remote-write-receiver.accepted-protobuf-messages",
        List,
        "prometheus.WriteRequest",
        NOT_YET,
        "Messages to accept.",
    ),
    ("web.enable-otlp-receiver", Switch, "", Refused, "Enable API endpoint accepting OTLP write requests."),
    ("web.console.templates", Text, "consoles", NOT_YET, "Console template directory."),
    ("web.console.libraries", Text, "console_libraries", NOT_YET, "Console library directory."),
    ("web.search.max-limit", Number, "10000", NOT_YET, "Maximum limit of the search API."),
    ("storage.tsdb.path", Text, "data/", Full, "Base path for metrics storage."),
    (
        "storage.tsdb.retention.time",
        Kind::Duration,
        "0s",
        Full,
        "How long to retain samples. Default: 15d if nothing else is set.",
    ),
    ("storage.tsdb.retention.size", Size, "0B", Full, "Maximum number of bytes that can be stored."),
    ("storage.tsdb.no-lockfile", Switch, "", Full, "Do not create lockfile in data directory."),
    ("storage.tsdb.head-chunks-write-queue-size", Number, "0", NOT_NEEDED, "Size of the queue of head chunks."),
    ("storage.tsdb.delay-compact-file.path", Text, "", NOT_YET, "File that says which blocks are uploaded."),
    ("storage.tsdb.min-block-duration", Kind::Duration, "2h", Full, "Minimum duration of a data block."),
    (
        "storage.tsdb.max-block-duration",
        Kind::Duration,
        "0s",
        Full,
        "Maximum duration of compacted blocks. Default: 10% of the retention, at most 31d.",
    ),
    ("storage.tsdb.max-block-chunk-segment-size", Size, "0B", NOT_YET, "Maximum size of a segment of chunks."),
    ("storage.tsdb.wal-segment-size", Size, "0B", Full, "Size of a segment of the log. Default: 128MiB."),
    ("storage.tsdb.allow-overlapping-compaction", Switch, "on", Full, "Merge blocks that overlap."),
    ("storage.tsdb.wal-compression", Switch, "on", Full, "Compress the log."),
    ("storage.tsdb.wal-compression-type", Text, "snappy", Full, "Compression algorithm of the log: snappy."),
    ("storage.tsdb.samples-per-chunk", Number, "120", NOT_YET, "Target number of samples per chunk."),
    ("storage.tsdb.delayed-compaction.max-percent", Number, "10", NOT_YET, "For --enable-feature=delayed-compaction."),
    ("storage.tsdb.block-reload-interval", Kind::Duration, "1m", NOT_YET, "How often to look for new blocks."),
    ("storage.remote.flush-deadline", Kind::Duration, "1m", NOT_YET, "How long to wait flushing samples on shutdown."),
    ("storage.remote.read-sample-limit", Number, "50000000", NOT_YET, "Maximum number of samples by remote read."),
    ("storage.remote.read-concurrent-limit", Number, "10", NOT_YET, "Maximum number of concurrent remote read calls."),
    ("storage.remote.read-max-bytes-in-frame", Number, "1048576", NOT_YET, "Maximum bytes of a frame by remote read."),
    (
        "rules.alert.for-outage-tolerance",
        Kind::Duration,
        "1h",
        Full,
        "Max time to tolerate an outage for restoring \"for\" state.",
    ),
    (
        "rules.alert.for-grace-period",
        Kind::Duration,
        "10m",
        Full,
        "Minimum duration between alert and restored \"for\" state.",
    ),
    ("rules.alert.resend-delay", Kind::Duration, "1m", Full, "Minimum time to wait before resending an alert."),
    ("rules.max-concurrent-evals", Number, "4", Full, "Concurrency limit for independent rules."),
    ("alertmanager.notification-queue-capacity", Number, "10000", Full, "Capacity of the queue of notifications."),
    ("alertmanager.notification-batch-size", Number, "256", Full, "Maximum number of notifications per batch."),
    (
        "alertmanager.drain-notification-queue-on-shutdown",
        Switch,
        "on",
        Full,
        "Send what is queued before shutting down.",
    ),
    ("query.lookback-delta", Kind::Duration, "5m", Full, "Maximum lookback duration for retrieving metrics."),
    ("query.timeout", Kind::Duration, "2m", Full, "Maximum time a query may take before being aborted."),
    ("query.max-concurrency", Count, "20", Full, "Maximum number of queries executed concurrently."),
    ("query.max-samples", Number, "50000000", Full, "Maximum number of samples a query can hold in memory."),
    ("scrape.adjust-timestamps", Switch, "on", NOT_YET, "Adjust scrape timestamps to align them."),
    ("scrape.timestamp-tolerance", Kind::Duration, "2ms", NOT_YET, "Tolerance of scrape timestamps."),
    ("scrape.discovery-reload-interval", Kind::Duration, "5s", NOT_YET, "Interval of target updates."),
    ("enable-feature", List, "", Full, "Comma separated feature names to enable."),
    ("agent", Switch, "", Refused, "Run in agent mode."),
    ("log.level", Text, "info", Full, "Only log messages with this severity or above: debug, info, warn, error."),
    ("log.format", Text, "logfmt", Full, "Output format of log messages: logfmt, json."),
];

/// Texts that a flag may have, for those that take one of a few.
pub(super) fn choices(name: &str) -> Option<&'static [&'static str]> {
    match name {
        "log.level" => Some(&["debug", "info", "warn", "error"]),
        "log.format" => Some(&["logfmt", "json"]),
        "storage.tsdb.wal-compression-type" => Some(&["snappy", "zstd"]),
        _ => None,
    }
}
