//! The flags of `prometheus` 3.14, in kingpin's spelling: `--name=value`, `--name value`, `--switch`, `--no-switch`.
//!
//! One table has all of them: name, kind, default and what becomes of it here. What no flag of Prometheus is, is refused.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command};
use ferula::alerting::NotifierOptions;
use ferula::api::ExternalUrl;
use ferula::model::parse_duration;
use ferula::model::yaml::ByteSize;
use ferula::promql::EngineOptions;
use ferula::tsdb::DbBuilder;
use ferula::tsdb::wal::writer::WalCompression;

/// What a flag takes.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
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
    /// `host:port`.
    Url,
    Regex,
}
use Kind::{List, Number, Regex, Size, Switch, Text, Url};

/// What becomes of a flag.
#[derive(Clone, Copy, PartialEq)]
enum Support {
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

type Row = (&'static str, Kind, &'static str, Support, &'static str);

/// Name, kind, default, support, help.
const FLAGS: &[Row] = &[
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
    ("web.max-connections", Number, "512", Full, "Maximum number of simultaneous connections."),
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
    ("query.max-concurrency", Number, "20", Full, "Maximum number of queries executed concurrently."),
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
fn choices(name: &str) -> Option<&'static [&'static str]> {
    match name {
        "log.level" => Some(&["debug", "info", "warn", "error"]),
        "log.format" => Some(&["logfmt", "json"]),
        "storage.tsdb.wal-compression-type" => Some(&["snappy", "zstd"]),
        _ => None,
    }
}

/// The flags of one start: the value of each, and which were given.
pub(crate) struct Flags {
    values: BTreeMap<&'static str, String>,
    given: Vec<&'static str>,
}

impl Flags {
    /// Reads a command line, the name of the program first.
    ///
    /// # Errors
    ///
    /// A flag is unknown or its value is none; also for `--help` and `--version`.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = command().try_get_matches_from(arguments)?;
        let mut flags = Self { values: BTreeMap::new(), given: Vec::new() };
        for (name, kind, default, ..) in FLAGS {
            let value = match kind {
                Switch => {
                    // Of a switch and its opposite only the last one counts.
                    let (on, off) = (matches.get_flag(name), matches.get_flag(&no(name)));
                    if on || off {
                        flags.given.push(name);
                    }
                    (on || *default == "on" && !off).to_string()
                }
                _ => match matches.get_many::<String>(name) {
                    Some(values) => {
                        flags.given.push(name);
                        values.cloned().collect::<Vec<_>>().join(",")
                    }
                    None => (*default).to_owned(),
                },
            };
            flags.values.insert(name, value);
        }
        let refused = FLAGS.iter().find(|row| row.3 == Refused && flags.asks_for(row.0));
        if let Some((name, ..)) = refused {
            let message = format!("--{name} is not supported yet; remove it to start without\n");
            return Err(command().error(ErrorKind::InvalidValue, message));
        }
        Ok(flags)
    }

    /// Every flag with its value.
    pub(crate) fn all(&self) -> impl Iterator<Item = (String, String)> {
        self.values.iter().map(|(name, value)| ((*name).to_owned(), value.clone()))
    }

    /// What was given but changes nothing, a line each.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        FLAGS.iter().filter(|row| self.given.contains(&row.0)).filter_map(|(name, _, _, support, _)| match support {
            NoEffect(why) => Some(format!("--{name} has no effect: {why}")),
            Full | Refused => None,
        })
    }

    /// The value of a flag.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.values.get(name).map(String::as_str).unwrap_or_default()
    }

    /// The value of a flag, if it was given.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        self.given.contains(&name).then(|| self.text(name))
    }

    /// Whether a flag was given, with something in it.
    fn asks_for(&self, name: &str) -> bool {
        self.given(name).is_some_and(|value| !matches!(value, "" | "false"))
    }

    /// The values of a flag that may come several times.
    pub(crate) fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        self.text(name).split(',').filter(|value| !value.is_empty())
    }

    /// Whether a switch is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    /// A duration. Values were checked when the command line was read.
    pub(crate) fn duration(&self, name: &str) -> Duration {
        parse_duration(self.text(name)).unwrap_or_default()
    }

    /// A duration, if it was given and is not zero.
    pub(crate) fn given_duration(&self, name: &str) -> Option<Duration> {
        self.given(name).map(|_| self.duration(name)).filter(|duration| !duration.is_zero())
    }

    /// A size in bytes.
    pub(crate) fn size(&self, name: &str) -> u64 {
        self.text(name).parse::<ByteSize>().map_or(0, |size| size.0)
    }

    /// A whole number.
    pub(crate) fn number(&self, name: &str) -> usize {
        self.text(name).parse().unwrap_or_default()
    }

    /// `--web.external-url`, if it was given.
    pub(crate) fn external_url(&self) -> Option<ExternalUrl> {
        self.given("web.external-url").filter(|url| !url.is_empty())?.parse().ok()
    }

    /// `--alertmanager.*`.
    pub(crate) fn notifier(&self) -> NotifierOptions {
        NotifierOptions::default()
            .queue_capacity(self.number("alertmanager.notification-queue-capacity"))
            .batch_size(self.number("alertmanager.notification-batch-size"))
            .drain(self.is_on("alertmanager.drain-notification-queue-on-shutdown"))
    }

    /// `--query.*`.
    pub(crate) fn engine(&self) -> EngineOptions {
        let mut options = EngineOptions::default();
        options.lookback = self.duration("query.lookback-delta");
        options.timeout = self.duration("query.timeout");
        options.max_concurrency = self.number("query.max-concurrency");
        options.max_samples = self.number("query.max-samples") as u64;
        options
    }

    /// `--storage.tsdb.*`, without what is kept.
    pub(crate) fn storage(&self) -> impl FnOnce(DbBuilder) -> DbBuilder + Send + 'static {
        let lock_file = !self.is_on("storage.tsdb.no-lockfile");
        let block_range = self.duration("storage.tsdb.min-block-duration");
        let block_range_max = self.given_duration("storage.tsdb.max-block-duration");
        let segment = self.size("storage.tsdb.wal-segment-size");
        let overlapping = self.is_on("storage.tsdb.allow-overlapping-compaction");
        let compression =
            match (self.is_on("storage.tsdb.wal-compression"), self.text("storage.tsdb.wal-compression-type")) {
                (false, _) => WalCompression::None,
                (true, "zstd") => WalCompression::Zstd,
                _ => WalCompression::Snappy,
            };
        move |mut db| {
            db = db.wal_compression(compression);
            db = db.lock_file(lock_file).block_range(block_range).merge_overlapping(overlapping);
            if let Some(range) = block_range_max {
                db = db.block_range_max(range);
            }
            if segment > 0 { db.wal_segment_bytes(segment) } else { db }
        }
    }
}

/// The name of a switch's opposite.
fn no(name: &str) -> String {
    format!("no-{name}")
}

fn command() -> Command {
    let mut command = Command::new("server")
        .about("A monitoring server that speaks Prometheus: its flags, files and API.")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true);
    for (name, kind, default, support, help) in FLAGS {
        let help = match support {
            Full => (*help).to_owned(),
            NoEffect(why) => format!("{help} ({why})"),
            Refused => format!("{help} (refused: not supported yet)"),
        };
        let arg = Arg::new(*name).long(*name).help(help);
        command = match kind {
            Switch => {
                let opposite = Arg::new(no(name)).long(no(name)).action(ArgAction::SetTrue).hide(true);
                command.arg(arg.action(ArgAction::SetTrue).overrides_with(no(name))).arg(opposite.overrides_with(*name))
            }
            List => command.arg(arg.action(ArgAction::Append)),
            _ => {
                let (name, kind) = (*name, *kind);
                let shown = if default.is_empty() { "\"\"" } else { default };
                let arg = arg.action(ArgAction::Set).value_name(shown.to_owned());
                command.arg(arg.value_parser(move |text: &str| check(name, kind, text)))
            }
        };
    }
    command
}

/// A value as it was written, if the flag can have it.
fn check(name: &str, kind: Kind, text: &str) -> Result<String, String> {
    let wrong = match kind {
        Kind::Duration => parse_duration(text).err().map(|error| error.to_string()),
        Size => text.parse::<ByteSize>().err().map(|error| error.to_string()),
        Number => text.parse::<u32>().err().map(|error| error.to_string()),
        Regex => ferula::server::Cors::matching(text).err().map(|error| error.to_string()),
        Url if !text.is_empty() => text.parse::<ExternalUrl>().err().map(|error| error.to_string()),
        _ => choices(name)
            .filter(|choices| !choices.contains(&text))
            .map(|choices| format!("must be one of {}", choices.join(", "))),
    };
    wrong.map_or_else(|| Ok(text.to_owned()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Flags, clap::Error> {
        Flags::parse(std::iter::once(&"server").chain(arguments).map(OsString::from))
    }

    #[test]
    fn flags_are_spelled_as_kingpin_does() {
        let flags = parse(&["--query.timeout=30s", "--web.max-connections", "7", "--web.enable-lifecycle"]).unwrap();
        assert_eq!(flags.duration("query.timeout"), Duration::from_secs(30));
        assert_eq!(flags.number("web.max-connections"), 7);
        assert!(flags.is_on("web.enable-lifecycle") && !flags.is_on("web.enable-admin-api"));
        let flags =
            parse(&["--web.listen-address=a:1", "--web.listen-address=b:2", "--no-storage.tsdb.wal-compression"]);
        let flags = flags.unwrap();
        assert_eq!(flags.list("web.listen-address").collect::<Vec<_>>(), ["a:1", "b:2"]);
        assert!(!flags.is_on("storage.tsdb.wal-compression"));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for wrong in ["--nothing", "--query.timeout=fast", "--web.max-connections=-1", "--log.level=loud", "word"] {
            assert!(parse(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_would_be_missed_is_refused_until_it_is_there() {
        for missed in ["--web.config.file=web.yml", "--agent", "--web.enable-otlp-receiver"] {
            assert!(parse(&[missed]).err().unwrap().to_string().contains("not supported yet"), "{missed}");
        }
        assert!(parse(&["--web.config.file=", "--no-agent"]).is_ok());
    }

    #[test]
    fn what_has_no_effect_says_so() {
        let flags = parse(&["--storage.tsdb.samples-per-chunk=240"]).unwrap();
        assert_eq!(flags.warnings().count(), 1);
        assert_eq!(parse(&[]).unwrap().warnings().count(), 0);
        assert_eq!(parse(&[]).unwrap().duration("query.lookback-delta"), Duration::from_secs(300));
    }
}
