//! `/rules`, `/alerts` and `/alertmanagers`: what is watched, what is wrong, and who is told?

use std::collections::BTreeMap;
use std::time::Duration;

use ferula_alerting::rule::Rule;
use ferula_alerting::{AlertState, AlertStatus, GroupStatus, RuleStatus};
use ferula_model::number::{FloatForm, format_float};
use ferula_model::{Matcher, Timestamp, go_quote};

use super::error::ApiError;
use super::moment::rfc3339;
use super::params::parse_whole;
use super::response::Response;
use super::series::selectors;
use super::{Api, Request, json};

/// What a request wants to see.
struct Filter<'r> {
    alerting: bool,
    recording: bool,
    rule_names: Vec<&'r str>,
    groups: Vec<&'r str>,
    files: Vec<&'r str>,
    selectors: Vec<Vec<Matcher>>,
    with_alerts: bool,
}

impl<'r> Filter<'r> {
    fn of(request: &'r Request) -> Result<Self, ApiError> {
        let params = &request.params;
        let selectors = selectors(request)?;
        let kind = params.first("type").to_lowercase();
        if !matches!(kind.as_str(), "" | "alert" | "record") {
            return Err(ApiError::parameter("type", format!("not supported value {}", go_quote(&kind))));
        }
        Ok(Self {
            alerting: kind != "record",
            recording: kind != "alert",
            rule_names: params.all("rule_name[]").collect(),
            groups: params.all("rule_group[]").collect(),
            files: params.all("file[]").collect(),
            selectors,
            with_alerts: !params.boolean("exclude_alerts", "error converting exclude_alerts")?,
        })
    }

    fn takes_group(&self, group: &GroupStatus) -> bool {
        (self.groups.is_empty() || self.groups.contains(&group.name.as_str()))
            && (self.files.is_empty() || self.files.contains(&group.file.as_str()))
    }

    fn takes(&self, status: &RuleStatus) -> bool {
        let kind = match &*status.rule {
            Rule::Alerting(_) => self.alerting,
            Rule::Recording(_) => self.recording,
        };
        let value = |name: &str| status.rule.labels().get(name).map(String::as_str).unwrap_or_default();
        let matches = |set: &Vec<Matcher>| set.iter().all(|matcher| matcher.matches(value(&matcher.name)));
        kind && (self.rule_names.is_empty() || self.rule_names.contains(&status.rule.name()))
            && (self.selectors.is_empty() || self.selectors.iter().any(matches))
    }
}

/// All groups with their rules: `type`, `rule_name[]`, `rule_group[]`, `file[]`, `match[]`, `exclude_alerts`,
/// `group_limit`, `group_next_token`.
pub(super) fn rules(api: &Api, request: &Request) -> Result<Response, ApiError> {
    let filter = Filter::of(request)?;
    let page = Page::of(request)?;
    let mut groups = api.rules.as_ref().map(|rules| rules.groups()).unwrap_or_default();
    groups.sort_by(|a, b| (&a.file, &a.name).cmp(&(&b.file, &b.name)));
    groups.retain(|group| filter.takes_group(group));
    if let Some(token) = page.token {
        let first = groups.iter().position(|group| self::token(group) == token).ok_or_else(|| {
            let text = format!("invalid group_next_token '{token}'. were rule groups changed?");
            ApiError::parameter("group_next_token", text)
        })?;
        groups.drain(..first);
    }
    let shown = |group: &GroupStatus| group.rules.iter().any(|rule| filter.takes(rule));
    groups.retain(shown);
    let next = page.limit.and_then(|limit| groups.get(limit)).map(token);
    groups.truncate(page.limit.unwrap_or(usize::MAX));
    let mut out = Vec::new();
    json::object(&mut out, |o| {
        o.with("groups", |out| json::list(out, &groups, |out, group| write_group(out, group, &filter)));
        if let Some(token) = next {
            o.string("groupNextToken", &token);
        }
    });
    Ok(Response::data(&out))
}

/// Which groups of many.
struct Page<'r> {
    limit: Option<usize>,
    token: Option<&'r str>,
}

impl<'r> Page<'r> {
    fn of(request: &'r Request) -> Result<Self, ApiError> {
        let wrong = |text: &str| ApiError::parameter("group_limit", text);
        let token = Some(request.params.first("group_next_token")).filter(|token| !token.is_empty());
        let limit = match (request.params.first("group_limit"), token) {
            ("", None) => None,
            ("", Some(_)) => {
                let text = "group_limit needs to be present in order to paginate over the groups";
                return Err(ApiError::parameter("group_next_token", text));
            }
            (text, _) => {
                let number: i32 = parse_whole(text).map_err(|reason| {
                    let cause = format!("strconv.ParseInt: parsing {}: {reason}", go_quote(text));
                    wrong(&format!("group_limit needs to be a valid number: {cause}"))
                })?;
                let limit = usize::try_from(number).ok().filter(|limit| *limit > 0);
                Some(limit.ok_or_else(|| wrong("group_limit needs to be greater than 0"))?)
            }
        };
        Ok(Self { limit, token })
    }
}

/// What stands for a group in `group_next_token`: no client reads it.
fn token(group: &GroupStatus) -> String {
    format!("{};{}", group.file, group.name).bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn write_group(out: &mut Vec<u8>, group: &GroupStatus, filter: &Filter<'_>) {
    json::object(out, |o| {
        o.string("name", &group.name)
            .string("file", &group.file)
            .with("rules", |out| {
                let shown = group.rules.iter().filter(|rule| filter.takes(rule));
                json::list(out, shown, |out, rule| write_rule(out, rule, filter.with_alerts));
            })
            .number("interval", group.interval.as_secs_f64())
            .integer("limit", group.limit as i64);
        evaluated(o, group.evaluation_duration, group.last_evaluation);
    });
}

fn evaluated(o: &mut json::Object<'_>, took: Duration, at: Option<Timestamp>) {
    o.number("evaluationTime", took.as_secs_f64())
        .string("lastEvaluation", &at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), rfc3339));
}

fn write_rule(out: &mut Vec<u8>, status: &RuleStatus, with_alerts: bool) {
    json::object(out, |o| {
        if let Rule::Alerting(_) = &*status.rule {
            o.string("state", status.state().map_or("unknown", AlertState::as_str));
        }
        o.string("name", status.rule.name()).string("query", status.rule.expr().as_str());
        if let Rule::Alerting(rule) = &*status.rule {
            o.number("duration", rule.hold.as_secs_f64())
                .number("keepFiringFor", rule.keep_firing_for.as_secs_f64())
                .with("labels", |out| texts(out, &rule.labels))
                .with("annotations", |out| texts(out, &rule.annotations))
                .with("alerts", |out| match with_alerts {
                    true => json::list(out, &status.alerts, write_alert),
                    false => out.extend_from_slice(b"null"),
                });
        } else if !status.rule.labels().is_empty() {
            o.with("labels", |out| texts(out, status.rule.labels()));
        }
        o.string("health", status.health.as_str());
        if let Some(error) = status.last_error.as_deref().filter(|error| !error.is_empty()) {
            o.string("lastError", error);
        }
        evaluated(o, status.evaluation_duration, status.last_evaluation);
        o.string("type", if matches!(*status.rule, Rule::Alerting(_)) { "alerting" } else { "recording" });
    });
}

fn texts(out: &mut Vec<u8>, texts: &BTreeMap<String, String>) {
    json::pairs(out, texts.iter().map(|(name, value)| (name.as_str(), value.as_str())));
}

fn write_alert(out: &mut Vec<u8>, alert: &AlertStatus) {
    json::object(out, |o| {
        o.labels("labels", &alert.labels)
            .labels("annotations", &alert.annotations)
            .string("state", alert.state.as_str())
            .string("activeAt", &rfc3339(alert.active_at));
        if let Some(since) = alert.keep_firing_since {
            o.string("keepFiringSince", &rfc3339(since));
        }
        o.string("value", &format_float(alert.value, FloatForm::Exponent));
    });
}

/// All alerts that are pending or firing.
pub(super) fn alerts(api: &Api) -> Result<Response, ApiError> {
    let alerts = api.rules.as_ref().map(|rules| rules.alerts()).unwrap_or_default();
    let mut out = Vec::new();
    json::object(&mut out, |o| {
        o.with("alerts", |out| json::list(out, &alerts, write_alert));
    });
    Ok(Response::data(&out))
}

/// The Alertmanagers that are told.
pub(super) fn alertmanagers(api: &Api) -> Result<Response, ApiError> {
    let (active, dropped) = match &api.notifier {
        Some(notifier) => (notifier.alertmanagers(), notifier.dropped_alertmanagers()),
        None => (Vec::new(), Vec::new()),
    };
    let urls = |out: &mut Vec<u8>, urls: &[String]| {
        json::list(out, urls, |out, url| {
            json::object(out, |o| {
                o.string("url", url);
            });
        });
    };
    let mut out = Vec::new();
    json::object(&mut out, |o| {
        o.with("activeAlertmanagers", |out| urls(out, &active)).with("droppedAlertmanagers", |out| urls(out, &dropped));
    });
    Ok(Response::data(&out))
}
