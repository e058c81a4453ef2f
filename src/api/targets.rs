//! `/targets`, `/targets/metadata`, `/metadata`, `/scrape_pools`: what is scraped, and what does it say about itself?

use std::collections::{BTreeMap, BTreeSet};

use ferula_model::yaml;
use ferula_model::{Metadata, format_duration};
use ferula_scrape::{DroppedTargets, TargetMetadata, TargetStatus};

use super::error::ApiError;
use super::moment::rfc3339;
use super::response::Response;
use super::{Api, Request, json};

/// Under which URL others reach this server. Targets on this machine are shown with it, so that links work elsewhere.
///
/// ```
/// use ferula::api::ExternalUrl;
///
/// let url: ExternalUrl = "https://prom.example.org/prometheus".parse()?;
/// assert_eq!((url.scheme.as_str(), url.host.as_str(), url.path.as_str()), ("https", "prom.example.org", "/prometheus"));
/// # Ok::<(), http::uri::InvalidUri>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalUrl {
    /// `http` or `https`.
    pub scheme: String,
    /// Host, and port if there is one.
    pub host: String,
    /// The path without a slash at its end.
    pub path: String,
    /// The port this server listens on itself.
    pub own_port: u16,
}

impl Default for ExternalUrl {
    fn default() -> Self {
        Self { scheme: "http".to_owned(), host: "localhost".to_owned(), path: String::new(), own_port: 0 }
    }
}

impl std::str::FromStr for ExternalUrl {
    type Err = http::uri::InvalidUri;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: http::Uri = text.parse()?;
        let default = Self::default();
        Ok(Self {
            scheme: uri.scheme_str().unwrap_or(&default.scheme).to_owned(),
            host: uri.authority().map_or(default.host, |authority| authority.as_str().to_owned()),
            path: uri.path().trim_end_matches('/').to_owned(),
            own_port: 0,
        })
    }
}

/// The URL without a slash at its end.
impl std::fmt::Display for ExternalUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.host, self.path)
    }
}

impl ExternalUrl {
    /// A URL of a target as others can follow it: `localhost` becomes the external host, and this server itself is shown
    /// with its external scheme and port.
    fn globalize(&self, url: &str) -> String {
        let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
        let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let Some((host, port)) = authority.rsplit_once(':') else { return url.to_owned() };
        if !matches!(host, "127.0.0.1" | "localhost" | "[::1]") {
            return url.to_owned();
        }
        if port.parse() == Ok(self.own_port) {
            return format!("{}://{}{tail}", self.scheme, self.host);
        }
        match self.host.rsplit_once(':') {
            Some((host, _)) => format!("{scheme}://{host}:{port}{tail}"),
            None => url.to_owned(),
        }
    }
}

/// All targets: `state` (`active`, `dropped` or `any`), `scrapePool`.
pub(super) fn targets(api: &Api, request: &Request) -> Result<Response, ApiError> {
    let state = request.params.first("state").to_lowercase();
    let pool = request.params.first("scrapePool");
    let is_wanted = |name: &str| pool.is_empty() || pool == name;
    let show = |which: &str| matches!(state.as_str(), "" | "any") || state == which;
    let (active, dropped) = match &api.scrape {
        Some(scrape) => (scrape.targets(), scrape.dropped_targets()),
        None => (Vec::new(), Vec::new()),
    };
    let mut out = Vec::new();
    json::object(&mut out, |o| {
        o.with("activeTargets", |out| {
            let shown = active.iter().filter(|target| show("active") && is_wanted(&target.scrape_pool));
            json::list(out, shown, |out, target| active_target(out, target, &api.external_url));
        })
        .with("droppedTargets", |out| {
            let shown = dropped.iter().filter(|pool| show("dropped") && is_wanted(&pool.scrape_pool));
            let each = shown.flat_map(|pool| pool.discovered_labels.iter().map(move |labels| (labels, pool)));
            json::list(out, each, |out, (labels, pool)| {
                json::object(out, |o| {
                    o.labels("discoveredLabels", labels).string("scrapePool", &pool.scrape_pool);
                });
            });
        })
        .with("droppedTargetCounts", |out| match show("dropped") {
            true => counts(out, &dropped),
            false => out.extend_from_slice(b"null"),
        });
    });
    Ok(Response::data(&out))
}

fn counts(out: &mut Vec<u8>, dropped: &[DroppedTargets]) {
    json::object(out, |o| {
        for pool in dropped {
            o.integer(&pool.scrape_pool, pool.count as i64);
        }
    });
}

fn active_target(out: &mut Vec<u8>, target: &TargetStatus, external: &ExternalUrl) {
    json::object(out, |o| {
        o.labels("discoveredLabels", &target.discovered_labels)
            .labels("labels", &target.labels)
            .string("scrapePool", &target.scrape_pool)
            .string("scrapeUrl", &target.scrape_url)
            .string("globalUrl", &external.globalize(&target.scrape_url))
            .string("lastError", &target.last.error)
            .string("lastScrape", &target.last.at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), rfc3339))
            .number("lastScrapeDuration", target.last.duration.as_secs_f64())
            .string("health", target.last.health.as_str())
            .string("scrapeInterval", &format_duration(target.scrape_interval))
            .string("scrapeTimeout", &format_duration(target.scrape_timeout));
    });
}

/// The names of all jobs, sorted.
pub(super) fn pools(api: &Api) -> Result<Response, ApiError> {
    let pools = api.scrape.as_ref().map(|scrape| scrape.pools()).unwrap_or_default();
    let mut out = Vec::new();
    json::object(&mut out, |o| {
        o.with("scrapePools", |out| json::list(out, &pools, |out, name| json::string(out, name)));
    });
    Ok(Response::data(&out))
}

/// The configuration of a job in force: `scrapePool`.
pub(super) fn pool_config(api: &Api, request: &Request) -> Result<Response, ApiError> {
    let name = request.params.first("scrapePool");
    if name.is_empty() {
        return Err(ApiError::bad_data("no scrapePool parameter provided"));
    }
    let config = api.scrape.as_ref().and_then(|scrape| scrape.config(name));
    let Some(config) = config else { return Err(ApiError::bad_data(format!("scrape pool {name:?} not found"))) };
    let mut out = Vec::new();
    json::object(&mut out, |o| {
        o.string("yaml", &yaml::to_string(&*config));
    });
    Ok(Response::data(&out))
}

/// What families say about themselves, by name: `metric`, `limit`, `limit_per_metric`.
pub(super) fn metadata(api: &Api, request: &Request) -> Result<Response, ApiError> {
    let (limit, limit_per_metric) = (limit(request, "limit")?, limit(request, "limit_per_metric")?);
    let metric = request.params.first("metric");
    let mut families: BTreeMap<String, BTreeSet<(String, String, String)>> = BTreeMap::new();
    for (name, metadata) in all(api).iter().flat_map(|target| &target.families) {
        if !metric.is_empty() && metric != &**name {
            continue;
        }
        let known = families.entry(name.to_string()).or_default();
        if limit_per_metric.is_none_or(|most| most == 0 || known.len() < most) {
            known.insert((
                metadata.metric_type.as_str().to_owned(),
                metadata.unit.to_string(),
                metadata.help.to_string(),
            ));
        }
    }
    let mut out = Vec::new();
    json::object(&mut out, |o| {
        for (name, entries) in families.iter().take(limit.unwrap_or(usize::MAX)) {
            o.with(name, |out| {
                json::list(out, entries, |out, (metric_type, unit, help)| {
                    json::object(out, |o| {
                        o.string("type", metric_type).string("unit", unit).string("help", help);
                    });
                });
            });
        }
    });
    Ok(Response::data(&out))
}

/// What families say about themselves, target by target: `match_target`, `metric`, `limit`.
pub(super) fn target_metadata(api: &Api, request: &Request) -> Result<Response, ApiError> {
    let limit = limit(request, "limit")?.unwrap_or(usize::MAX);
    let metric = request.params.first("metric");
    let matchers = match request.params.first("match_target") {
        "" => Vec::new(),
        text => {
            ferula_promql::syntax::parse_selector(text).map_err(|error| ApiError::parameter("match_target", error))?
        }
    };
    let mut found: Vec<(&TargetMetadata, &str, &Metadata)> = Vec::new();
    let targets = all(api);
    for target in &targets {
        if found.len() >= limit {
            break;
        }
        let matches = |m: &ferula_model::Matcher| m.matches(target.labels.get(&m.name).unwrap_or_default());
        if matchers.iter().all(matches) {
            let of_metric = target.families.iter().filter(|(name, _)| metric.is_empty() || metric == &**name);
            found.extend(of_metric.map(|(name, metadata)| (target, &**name, metadata)));
        }
    }
    let mut out = Vec::new();
    json::list(&mut out, found, |out, (target, name, metadata)| {
        json::object(out, |o| {
            o.labels("target", &target.labels);
            if metric.is_empty() {
                o.string("metric", name);
            }
            o.string("type", metadata.metric_type.as_str())
                .string("help", &metadata.help)
                .string("unit", &metadata.unit);
        });
    });
    Ok(Response::data(&out))
}

fn all(api: &Api) -> Vec<TargetMetadata> {
    api.scrape.as_ref().map(|scrape| scrape.metadata()).unwrap_or_default()
}

/// A limit as these endpoints read it: absent or negative is none.
fn limit(request: &Request, name: &str) -> Result<Option<usize>, ApiError> {
    let text = request.params.first(name);
    if text.is_empty() {
        return Ok(None);
    }
    let number: i64 = text.parse().map_err(|_| ApiError::bad_data(format!("{name} must be a number")))?;
    Ok(usize::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_on_this_machine_are_shown_as_others_reach_them() {
        let mut external: ExternalUrl = "https://example.org:8443/p/".parse().unwrap();
        external.own_port = 9090;
        for (url, global) in [
            ("http://localhost:9090/metrics", "https://example.org:8443/metrics"),
            ("http://127.0.0.1:9100/metrics?a=b", "http://example.org:9100/metrics?a=b"),
            ("http://[::1]:9100/metrics", "http://example.org:9100/metrics"),
            ("http://other:9090/metrics", "http://other:9090/metrics"),
        ] {
            assert_eq!(external.globalize(url), global);
        }
    }
}
