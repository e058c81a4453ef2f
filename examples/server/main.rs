//! A drop-in Prometheus: its flags, its files, its API.
//!
//! Without an argument it works at once: data in `./data`, listening on 127.0.0.1:9090, scraping itself every 15 seconds.
//! With `--config.file` it does what that file says. SIGHUP reads the file again, SIGTERM and SIGINT end in order.

mod flags;
mod log;

use std::process::ExitCode;
use std::time::Duration;

use ferula::api::BuildInfo;
use ferula::server::Cors;
use ferula::{Error, Feature, Features, Job, Monitor, MonitorBuilder};
use tokio::signal::unix::{SignalKind, signal};

use flags::Flags;

/// The release of Prometheus whose API and formats this is; clients decide by it what they may ask for.
const COMPATIBLE_WITH: &str = "3.14.0";

/// What Prometheus exits with for wrong flags.
const WRONG_FLAGS: u8 = 2;

/// What Prometheus exits with for a configuration or a rule file that cannot be used.
const WRONG_CONFIGURATION: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let flags = match Flags::parse(std::env::args_os()) {
        Ok(flags) => flags,
        // Help and the version are no errors, but come this way too.
        Err(message) => {
            let _ = message.print();
            return if message.use_stderr() { ExitCode::from(WRONG_FLAGS) } else { ExitCode::SUCCESS };
        }
    };
    log::start(flags.text("log.level"), flags.text("log.format"));
    match run(&flags).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the server ended");
            if is_about_configuration(&error) { ExitCode::from(WRONG_CONFIGURATION) } else { ExitCode::FAILURE }
        }
    }
}

fn is_about_configuration(error: &Error) -> bool {
    matches!(error, Error::Config(_) | Error::Job(_) | Error::Scrape(_) | Error::Rules(_) | Error::RuleApply(_))
}

async fn run(flags: &Flags) -> Result<(), Error> {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "Starting Ferula");
    for warning in flags.warnings() {
        tracing::warn!("{warning}");
    }
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let monitor = tokio::select! {
        started = builder(flags).start() => started?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    for address in monitor.addresses() {
        tracing::info!(%address, "Server is ready to receive web requests.");
    }
    loop {
        tokio::select! {
            _ = interrupt.recv() => tracing::warn!("Received an OS signal, exiting gracefully..."),
            _ = terminate.recv() => tracing::warn!("Received an OS signal, exiting gracefully..."),
            () = monitor.stopping() => tracing::warn!("Received termination request via web service, exiting gracefully..."),
            _ = hangup.recv() => {
                // What went wrong was logged, and the configuration in force stays.
                let _ = monitor.reload().await;
                continue;
            }
        }
        break;
    }
    monitor.closed().await?;
    tracing::info!("See you next time!");
    Ok(())
}

fn builder(flags: &Flags) -> MonitorBuilder {
    let mut builder = Monitor::builder(flags.text("storage.tsdb.path"))
        .environment(|name| std::env::var(name).ok())
        .build_info(BuildInfo {
            version: COMPATIBLE_WITH.to_owned(),
            revision: format!("ferula-{}", env!("CARGO_PKG_VERSION")),
            compiler: "rust".to_owned(),
            ..BuildInfo::default()
        })
        .flags(flags.all())
        .features(features(flags.text("enable-feature")))
        .engine(flags.engine())
        .storage(flags.storage())
        .alert_outage_tolerance(flags.duration("rules.alert.for-outage-tolerance"))
        .alert_grace_period(flags.duration("rules.alert.for-grace-period"))
        .alert_resend_delay(flags.duration("rules.alert.resend-delay"))
        .rule_concurrency(rule_concurrency(flags))
        .notifier(flags.notifier())
        .connections_max(flags.number("web.max-connections"))
        .read_timeout(flags.duration("web.read-timeout"))
        .remote_write_receiver(flags.is_on("web.enable-remote-write-receiver"))
        .admin_api(flags.is_on("web.enable-admin-api"))
        .lifecycle(flags.is_on("web.enable-lifecycle"));
    for address in flags.list("web.listen-address") {
        builder = builder.listen(address);
    }
    builder = match flags.text("config.file") {
        "" => builder.job(itself(flags)),
        file => builder.config_file(file),
    };
    if flags.is_on("config.auto-reload") {
        builder = builder.auto_reload(flags.duration("config.auto-reload-interval"));
    }
    if let Some(url) = flags.external_url() {
        builder = builder.external_url(url);
    }
    if let Some(prefix) = flags.given("web.route-prefix") {
        builder = builder.route_prefix(prefix);
    }
    if let Ok(cors) = Cors::matching(flags.text("web.cors.origin")) {
        builder = builder.cors(cors);
    }
    if let Some(time) = flags.given_duration("storage.tsdb.retention.time") {
        builder = builder.retention(time);
    }
    match flags.size("storage.tsdb.retention.size") {
        0 => builder,
        bytes => builder.retention_bytes(bytes),
    }
}

/// Rules are evaluated side by side only with the feature for it, as upstream.
fn rule_concurrency(flags: &Flags) -> usize {
    let is_on = flags.list("enable-feature").any(|name| name.trim() == "concurrent-rule-eval");
    if is_on { flags.number("rules.max-concurrent-evals") } else { 0 }
}

/// The job of a server without a configuration.
fn itself(flags: &Flags) -> Job {
    let addresses = flags.list("web.listen-address").map(|address| match address.rsplit_once(':') {
        Some(("" | "0.0.0.0" | "[::]", port)) => format!("localhost:{port}"),
        _ => address.to_owned(),
    });
    Job::new("prometheus").every(Duration::from_secs(15)).targets(addresses.collect::<Vec<_>>())
}

fn features(names: &str) -> Features {
    let mut features = Features::default();
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match features.enable(name) {
            Ok(Feature::Enabled) => tracing::info!(name, "Experimental feature enabled"),
            Ok(Feature::AlwaysOn) => tracing::warn!(name, "This option for --enable-feature is a no-op: always on"),
            Ok(Feature::NotSupported) => tracing::warn!(name, "This option for --enable-feature is not supported yet"),
            Err(error) => tracing::warn!("{error}"),
        }
    }
    features
}
