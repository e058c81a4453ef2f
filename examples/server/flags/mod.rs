//! The flags of `prometheus` 3.14, in kingpin's spelling: `--name=value`, `--name value`, `--switch`, `--no-switch`.
//!
//! One table has all of them: name, kind, default and what becomes of it here. What no flag of Prometheus is, is refused.

mod table;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZeroU32;
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

use table::Kind::{List, Number, Regex, Size, Switch, Url};
use table::Support::{Full, NoEffect, Refused};
use table::{FLAGS, Kind, choices};

const WAL_SEGMENT_SIZE: &str = "storage.tsdb.wal-segment-size";

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
        // Zero is the default, as upstream.
        let lookback = self.given_duration("query.lookback-delta");
        options.lookback = lookback.unwrap_or(options.lookback);
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
        let segment = self.size(WAL_SEGMENT_SIZE);
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
        Number => text.parse::<u32>().err().map(|error| error.to_string()),
        Kind::Count => text.parse::<NonZeroU32>().err().map(|error| error.to_string()),
        Size if name == WAL_SEGMENT_SIZE => wal_segment_size(text).err(),
        Size => text.parse::<ByteSize>().err().map(|error| error.to_string()),
        Regex => ferula::server::Cors::matching(text).err().map(|error| error.to_string()),
        Url if !text.is_empty() => text.parse::<ExternalUrl>().err().map(|error| error.to_string()),
        _ => choices(name)
            .filter(|choices| !choices.contains(&&*text.to_lowercase()))
            .map(|choices| format!("must be one of {}", choices.join(", "))),
    };
    wrong.map_or_else(|| Ok(text.to_owned()), Err)
}

/// The limits are upstream's.
fn wal_segment_size(text: &str) -> Result<(), String> {
    match text.parse::<ByteSize>() {
        Ok(ByteSize(0)) => Ok(()),
        Ok(ByteSize(bytes)) if !(10 << 20..=256 << 20).contains(&bytes) => {
            Err("must be set between 10MB and 256MB".to_owned())
        }
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
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
        for wrong in [
            "--nothing",
            "--query.timeout=fast",
            "--web.max-connections=-1",
            "--web.max-connections=0",
            "--log.level=loud",
            "word",
            "--storage.tsdb.wal-segment-size=1MB",
        ] {
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
