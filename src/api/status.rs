//! `/status/...`: what is this server, and how is it doing?

use ferula_model::Timestamp;

use super::error::ApiError;
use super::moment::rfc3339;
use super::response::Response;
use super::{Api, Request, json};

/// How many entries the lists of `/status/tsdb` have if the client does not say.
const CARDINALITY_ENTRIES: usize = 10;

/// What the host knows about itself.
pub trait Status: Send + Sync {
    /// Which build this is.
    fn build(&self) -> BuildInfo;

    /// How the process is doing.
    fn runtime(&self) -> RuntimeInfo;

    /// The configuration in force, with defaults filled in and secrets hidden, as YAML.
    fn config_yaml(&self) -> String;

    /// The flags the program was started with: name and value, sorted by name.
    fn flags(&self) -> Vec<(String, String)>;

    /// The head block and its largest consumers, `limit` entries a list.
    fn cardinality(&self, limit: usize) -> Cardinality;

    /// The blocks on disk by rising start, each as its `meta.json` describes it, without white space.
    fn blocks_json(&self) -> Vec<Vec<u8>>;

    /// The first and last segment to replay, and where the replay is.
    fn wal_replay(&self) -> WalReplay;
}

/// Which build this is.
#[derive(Clone, Debug, Default)]
pub struct BuildInfo {
    /// Version of the program; `3.x` features are detected by it.
    pub version: String,
    /// Revision in version control.
    pub revision: String,
    /// Branch in version control.
    pub branch: String,
    /// Who built it.
    pub build_user: String,
    /// When it was built.
    pub build_date: String,
    /// The compiler, in the field that upstream calls `goVersion`.
    pub compiler: String,
}

/// How the process is doing.
#[derive(Clone, Debug, Default)]
pub struct RuntimeInfo {
    /// When the process started.
    pub start_time: Timestamp,
    /// Its working directory.
    pub working_directory: String,
    /// The machine's name.
    pub hostname: String,
    /// The clock of the server.
    pub server_time: Timestamp,
    /// Whether the last reload succeeded.
    pub reload_succeeded: bool,
    /// When the configuration in force was read.
    pub config_time: Timestamp,
    /// How often the log was found corrupt.
    pub corruptions: u64,
    /// Threads of the process, in the field that upstream calls `goroutineCount`.
    pub threads: usize,
    /// Cores that may be used, in the field that upstream calls `GOMAXPROCS`.
    pub cores: usize,
    /// The ceiling of memory in bytes; `i64::MAX` for none.
    pub memory_limit: i64,
    /// What is kept: `15d`, `15d or 512MiB`.
    pub retention: String,
}

/// The head block and its largest consumers.
#[derive(Clone, Debug, Default)]
pub struct Cardinality {
    /// Series in the head.
    pub series: u64,
    /// Pairs of label name and value in the head.
    pub label_pairs: u64,
    /// Chunks in the head.
    pub chunks: u64,
    /// The oldest sample in the head, in milliseconds.
    pub min_time: i64,
    /// The newest sample in the head, in milliseconds.
    pub max_time: i64,
    /// Series by metric name.
    pub series_by_metric: Vec<(String, u64)>,
    /// Values by label name.
    pub values_by_label: Vec<(String, u64)>,
    /// Bytes of values by label name.
    pub bytes_by_label: Vec<(String, u64)>,
    /// Series by `name=value`.
    pub series_by_pair: Vec<(String, u64)>,
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalReplay {
    /// The first segment to replay.
    pub min: i64,
    /// The last segment to replay.
    pub max: i64,
    /// The segment that is being replayed.
    pub current: i64,
}

/// One of the pages below `/status`.
pub(super) fn answer(api: &Api, request: &Request, page: &str) -> Result<Response, ApiError> {
    let Some(status) = &api.status else { return Ok(Response::not_found()) };
    let mut out = Vec::new();
    match page {
        "buildinfo" => build(&mut out, &status.build()),
        "runtimeinfo" => runtime(&mut out, &status.runtime()),
        "config" => json::object(&mut out, |o| {
            o.string("yaml", &status.config_yaml());
        }),
        "flags" => json::object(&mut out, |o| {
            for (name, value) in status.flags() {
                o.string(&name, &value);
            }
        }),
        "tsdb" => cardinality(&mut out, &status.cardinality(entries(request)?)),
        "tsdb/blocks" => json::object(&mut out, |o| {
            o.with("blocks", |out| json::list(out, status.blocks_json(), |out, block| out.extend_from_slice(&block)));
        }),
        "walreplay" => return Ok(replay(status.wal_replay())),
        _ => return Ok(Response::not_found()),
    }
    Ok(Response::data(&out))
}

/// Which build this is, as `/version` has it.
pub(crate) fn version(info: &BuildInfo) -> Vec<u8> {
    let mut out = Vec::new();
    build(&mut out, info);
    out.push(b'\n');
    out
}

/// How far a replay is.
pub(crate) fn replay(replay: WalReplay) -> Response {
    let mut out = Vec::new();
    json::object(&mut out, |o| {
        o.integer("min", replay.min).integer("max", replay.max).integer("current", replay.current);
    });
    Response::data(&out)
}

fn entries(request: &Request) -> Result<usize, ApiError> {
    match request.params.first("limit") {
        "" => Ok(CARDINALITY_ENTRIES),
        text => match text.parse::<usize>() {
            Ok(entries @ 1..=10_000) => Ok(entries),
            Ok(0) | Err(_) => Err(ApiError::bad_data("limit must be a positive number")),
            Ok(_) => Err(ApiError::bad_data("limit must not exceed 10000")),
        },
    }
}

fn build(out: &mut Vec<u8>, info: &BuildInfo) {
    json::object(out, |o| {
        o.string("version", &info.version)
            .string("revision", &info.revision)
            .string("branch", &info.branch)
            .string("buildUser", &info.build_user)
            .string("buildDate", &info.build_date)
            .string("goVersion", &info.compiler);
    });
}

fn runtime(out: &mut Vec<u8>, info: &RuntimeInfo) {
    json::object(out, |o| {
        o.string("startTime", &rfc3339(info.start_time))
            .string("CWD", &info.working_directory)
            .string("hostname", &info.hostname)
            .string("serverTime", &rfc3339(info.server_time))
            .boolean("reloadConfigSuccess", info.reload_succeeded)
            .string("lastConfigTime", &rfc3339(info.config_time))
            .integer("corruptionCount", info.corruptions as i64)
            .integer("goroutineCount", info.threads as i64)
            .integer("GOMAXPROCS", info.cores as i64)
            .integer("GOMEMLIMIT", info.memory_limit)
            .string("GOGC", "")
            .string("GODEBUG", "")
            .string("storageRetention", &info.retention);
    });
}

fn cardinality(out: &mut Vec<u8>, head: &Cardinality) {
    json::object(out, |o| {
        o.with("headStats", |out| {
            json::object(out, |o| {
                o.integer("numSeries", head.series as i64)
                    .integer("numLabelPairs", head.label_pairs as i64)
                    .integer("chunkCount", head.chunks as i64)
                    .integer("minTime", head.min_time)
                    .integer("maxTime", head.max_time);
            });
        });
        for (name, list) in [
            ("seriesCountByMetricName", &head.series_by_metric),
            ("labelValueCountByLabelName", &head.values_by_label),
            ("memoryInBytesByLabelName", &head.bytes_by_label),
            ("seriesCountByLabelValuePair", &head.series_by_pair),
        ] {
            o.with(name, |out| {
                json::list(out, list, |out, (name, value)| {
                    json::object(out, |o| {
                        o.string("name", name).integer("value", *value as i64);
                    });
                });
            });
        }
    });
}
