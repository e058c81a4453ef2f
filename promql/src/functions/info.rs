//! `info`: which further labels does the target have?
//!
//! Info series (`target_info` if nothing else is said) have the value 1 and labels that describe a target. Those that
//! share `instance` and `job` with a series lend it their other labels, for as long as they are there; of several with
//! one name the one with the newest sample does. Source: `evalInfo` of Prometheus 3.14.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ferula_model::{Labels, METRIC_NAME, MatchOp, Matcher, StepGrid};

use crate::error::QueryError;
use crate::eval::build::Builder;
use crate::eval::distinct::{Equal, distinct};
use crate::eval::select::{Reference, Selection, newest};
use crate::eval::steps::StepVector;
use crate::eval::{BoxOperator, Env, Head, Held, Worker, parallel};
use crate::plan::{Answers, Kind, NodeId, Selector};

/// The labels by which a target is known.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// Info series with the times of their newest samples, by what they identify and by name.
#[derive(Debug, Default)]
struct InfoSeries {
    series: Vec<(Labels, StepVector)>,
    by_target: HashMap<Labels, BTreeMap<String, Vec<usize>>>,
}

/// Builds `info(vector, selector)`; the second argument is a selector of info series, name included.
pub(crate) fn info<'q>(
    builder: &mut Builder<'q>,
    args: &'q [NodeId],
    grid: StepGrid,
) -> Result<BoxOperator<'q>, QueryError> {
    let env = builder.env;
    let [base, infos] = args else {
        return Err(QueryError::execution("info needs a vector and a selector"));
    };
    let mut infos = &env.plan.node(*infos).kind;
    while let Kind::Invariant(child) = infos {
        infos = &env.plan.node(*child).kind;
    }
    let Kind::Select(selector) = infos else {
        return Err(QueryError::execution("info needs a selector of info series"));
    };
    let base = builder.vector(*base, grid)?;
    let (names, data): (Vec<&Matcher>, Vec<&Matcher>) =
        selector.matchers.iter().partition(|matcher| matcher.name == METRIC_NAME);
    let is_info = |head: &Head| names.iter().all(|matcher| matcher.matches(head.labels.metric_name()));
    let plain: Vec<&Head> = base.heads().iter().filter(|head| !is_info(head)).collect();
    let found = fetch(env, selector, &plain, grid)?;
    let enrichment = Enrichment { found: &found, data: &data };
    let count = base.heads().len();
    let weight = (count as u64).saturating_mul(grid.len() as u64);
    let series = parallel::run(env, count, weight, |index, worker| {
        let head = &base.heads()[index];
        let mut vector = StepVector::default();
        base.compute(index, worker, &mut vector)?;
        if is_info(head) { Ok(vec![(head.clone(), vector)]) } else { enrichment.enrich(head, &vector) }
    })?;
    let held = Held::new(grid.len(), series.into_iter().flatten().filter(|(_, v)| v.any()).collect(), env.limits)?;
    Ok(distinct(Box::new(held), Equal::Merge))
}

/// The info series of the targets that appear in the vector.
fn fetch(env: &Env<'_>, selector: &Selector, heads: &[&Head], grid: StepGrid) -> Result<InfoSeries, QueryError> {
    let mut found = InfoSeries::default();
    let mut matchers = selector.matchers.clone();
    for label in IDENTIFYING {
        let values: BTreeSet<&str> = heads.iter().filter_map(|head| head.labels.get(label)).collect();
        if !values.is_empty() {
            let expression: Vec<String> = values.into_iter().map(quote_meta).collect();
            let matcher = Matcher::new(MatchOp::Regex, label, expression.join("|"));
            matchers.push(matcher.map_err(|error| QueryError::execution(error.to_string()))?);
        }
    }
    if matchers.len() == selector.matchers.len() {
        return Ok(found);
    }
    let reference = Reference { grid, at_millis: selector.at_millis, offset_millis: selector.offset_millis };
    let wanted = Selector { matchers, ..selector.clone() };
    let selection = Selection::open(env, &wanted, &reference, None)?;
    let lookback = env.settings.lookback_millis;
    let mut worker = Worker::default();
    for (index, head) in selection.heads.iter().enumerate() {
        worker.check(env.limits)?;
        selection.load(index, &mut worker)?;
        let mut times = StepVector::with_steps(grid.len());
        newest(&worker.samples(), &reference, lookback, Answers::Value, &mut times);
        if times.has_histograms() {
            return Err(QueryError::execution("this should be an info metric with float samples"));
        }
        newest(&worker.samples(), &reference, lookback, Answers::Time, &mut times);
        let target = head.labels.only(&IDENTIFYING);
        let by_name = found.by_target.entry(target).or_default();
        by_name.entry(head.labels.metric_name().to_owned()).or_default().push(found.series.len());
        found.series.push((head.labels.clone(), times));
    }
    env.settle(&mut worker);
    Ok(found)
}

/// Go's `regexp.QuoteMeta`.
fn quote_meta(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

struct Enrichment<'a> {
    found: &'a InfoSeries,
    /// Conditions on labels other than the name.
    data: &'a [&'a Matcher],
}

impl Enrichment<'_> {
    fn enrich(&self, head: &Head, vector: &StepVector) -> Result<Vec<(Head, StepVector)>, QueryError> {
        let target = head.labels.only(&IDENTIFYING);
        let by_name = self.found.by_target.get(&target);
        let needs_match = self.data.iter().any(|matcher| !matcher.matches(""));
        let mut outputs: HashMap<Vec<usize>, usize> = HashMap::new();
        let mut series: Vec<(Head, StepVector)> = Vec::new();
        for step in 0..vector.steps() {
            let Some(point) = vector.get(step) else { continue };
            let mut chosen = Vec::new();
            for candidates in by_name.into_iter().flat_map(BTreeMap::values) {
                chosen.extend(self.newest(candidates, step)?);
            }
            if chosen.is_empty() && needs_match {
                continue;
            }
            let at = match outputs.get(&chosen) {
                Some(at) => *at,
                None => {
                    let enriched = self.with_labels(head, &chosen)?;
                    series.push((enriched, StepVector::with_steps(vector.steps())));
                    outputs.insert(chosen, series.len() - 1);
                    series.len() - 1
                }
            };
            series[at].1.set(step, point.to_point());
        }
        Ok(series)
    }

    /// Of info series with one name, the one whose newest sample is the newest.
    fn newest(&self, candidates: &[usize], step: usize) -> Result<Option<usize>, QueryError> {
        let mut best: Option<(usize, f64)> = None;
        for &candidate in candidates {
            let (labels, times) = &self.found.series[candidate];
            if !times.present.get(step) {
                continue;
            }
            let time = times.floats[step];
            match best {
                Some((known, known_time)) if known_time == time => {
                    let millis = (time * 1000.0).round();
                    return Err(QueryError::execution(format!(
                        "found duplicate series for info metric: existing {} @ {millis}, new {labels} @ {millis}",
                        self.found.series[known].0
                    )));
                }
                Some((_, known_time)) if known_time > time => {}
                _ => best = Some((candidate, time)),
            }
        }
        Ok(best.map(|(candidate, _)| candidate))
    }

    fn with_labels(&self, head: &Head, chosen: &[usize]) -> Result<Head, QueryError> {
        let named: HashSet<&str> = self.data.iter().map(|matcher| matcher.name.as_str()).collect();
        let mut lent: BTreeMap<&str, &str> = BTreeMap::new();
        for &at in chosen {
            for (name, value) in self.found.series[at].0.iter() {
                if name == METRIC_NAME || (!named.is_empty() && !named.contains(name)) {
                    continue;
                }
                if lent.get(name).is_some_and(|known| *known != value) {
                    return Err(QueryError::execution(format!("conflicting label: {name}")));
                }
                if head.labels.get(name).is_none() {
                    lent.insert(name, value);
                }
            }
        }
        let mut builder = head.labels.to_builder();
        for (name, value) in lent {
            builder.set(name, value);
        }
        Ok(Head { labels: builder.build(), drop_name: head.drop_name })
    }
}
