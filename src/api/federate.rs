//! `/federate`: the newest sample of each series, for another server to scrape.
//!
//! ```text
//!  match[] --select--> newest sample of each series --families--> by name and kind --encode--> text or protobuf
//! ```
//!
//! The window is `(now - lookback, now]`; series that went stale are left out. Floats are untyped. Native histograms are
//! written as floats, and only protobuf can carry them: in the text format they are left out, except those with custom
//! buckets, which are classic histograms in any format. External labels are added where a series has none of that name; a
//! series without `instance` gets an empty one, so that a scraper that honours labels does not add its own.

use std::collections::BTreeMap;

use ferula_exposition::negotiate::Negotiated;
use ferula_exposition::{Bucket, Format, HistogramValue, Metric, MetricFamily, MetricValue, encode_with};
use ferula_model::{
    Columns, CounterResetHint, FloatHistogram, Histogram, Labels, Matcher, MetricType, SelectHints, TimeRange,
    Timestamp, Value,
};

use super::error::{ApiError, ErrorKind};
use super::response::Response;
use super::series::any_selectors;
use super::{Api, Request};

/// Answers with everything that satisfies at least one `match[]`; with nothing if there is none.
pub(super) fn answer(api: &Api, request: &Request) -> Result<Response, ApiError> {
    request.params.well_formed()?;
    let negotiated = Negotiated::among(request.accept.as_deref(), &[Format::Text, Format::Protobuf]);
    let mut found = BTreeMap::new();
    for matchers in any_selectors(request)? {
        collect(api, &matchers, &mut found)?;
    }
    let families = families(found, &(api.external_labels)(), negotiated.format());
    let mut options = negotiated.options();
    options.blank_label = Some("instance");
    let mut body = Vec::new();
    encode_with(&families, negotiated.format(), &options, &mut body);
    Ok(Response::exposition(negotiated.content_type(), body))
}

/// Series by labels, each with its newest sample.
type Newest = BTreeMap<Labels, (Timestamp, Value)>;

fn collect(api: &Api, matchers: &[Matcher], found: &mut Newest) -> Result<(), ApiError> {
    let trouble = |error: ferula_model::SelectError| ApiError::new(ErrorKind::Internal, error.to_string());
    let now = api.clock.now();
    let oldest = now.saturating_sub(api.engine.options().lookback);
    let range = TimeRange::new(Timestamp(oldest.as_millis().saturating_add(1)), now);
    let querier = api.storage.querier(range).map_err(trouble)?;
    let hints = SelectHints { range: Some(range), ..SelectHints::default() };
    let set = querier.select(&hints, matchers).map_err(trouble)?;
    let mut columns = Columns::default();
    for index in 0..set.len() {
        set.read(index, range, &mut columns).map_err(trouble)?;
        if let Some(newest) = newest(&columns).filter(|(_, value)| !value.is_stale()) {
            found.insert(set.labels(index), newest);
        }
    }
    Ok(())
}

fn newest(columns: &Columns) -> Option<(Timestamp, Value)> {
    let float = columns.times.last().zip(columns.values.last());
    let histogram = columns.histogram_times.last().zip(columns.histograms.last());
    match (float, histogram) {
        (Some((at, value)), newer) if newer.is_none_or(|(newer, _)| newer < at) => {
            Some((Timestamp(*at), Value::Float(*value)))
        }
        (_, histogram) => histogram.map(|(at, histogram)| (Timestamp(*at), Value::Histogram(histogram.clone()))),
    }
}

/// Families by rising name. A new one begins wherever the name or the type changes, so that a name can come several times.
fn families(found: Newest, external: &Labels, format: Format) -> Vec<MetricFamily> {
    let mut by_name: Vec<_> = found.into_iter().filter(|(labels, _)| !labels.metric_name().is_empty()).collect();
    by_name.sort_by(|(a, _), (b, _)| a.metric_name().cmp(b.metric_name()));
    let mut families: Vec<MetricFamily> = Vec::new();
    for (labels, (at, value)) in by_name {
        let Some((metric_type, value)) = exposed(value, format) else { continue };
        let metric = Metric { labels: with_external(&labels, external), value, timestamp: Some(at), start: None };
        match families.last_mut() {
            Some(last) if *last.name == *labels.metric_name() && last.metric_type == metric_type => {
                last.metrics.push(metric);
            }
            _ => {
                let mut family = MetricFamily::new(labels.metric_name(), "", metric_type);
                family.metrics.push(metric);
                families.push(family);
            }
        }
    }
    families
}

/// The series' own labels without its name, and external ones that it does not have.
fn with_external(labels: &Labels, external: &Labels) -> Labels {
    let mut all = external.to_builder();
    labels.without_metric_name().iter().for_each(|(name, value)| {
        all.set(name, value);
    });
    all.build()
}

/// A sample as a format can carry it, with the type of its family.
fn exposed(value: Value, format: Format) -> Option<(MetricType, MetricValue)> {
    let histogram = match value {
        Value::Float(value) => return Some((MetricType::Unknown, MetricValue::Unknown(value))),
        Value::Histogram(histogram) => histogram.to_float(),
    };
    let metric_type = match histogram.counter_reset {
        CounterResetHint::Gauge => MetricType::GaugeHistogram,
        _ => MetricType::Histogram,
    };
    let mut exposed =
        HistogramValue { count: Some(histogram.count), sum: Some(histogram.sum), ..HistogramValue::default() };
    if histogram.is_custom() {
        exposed.buckets = classic_buckets(&histogram);
    } else if format == Format::Protobuf {
        exposed.native = Some(Histogram::Float(histogram));
    } else {
        return None;
    }
    Some((metric_type, MetricValue::Histogram(Box::new(exposed))))
}

fn classic_buckets(histogram: &FloatHistogram) -> Vec<Bucket> {
    let bounds = histogram.custom_values.iter().copied().chain([f64::INFINITY]);
    let mut filled = histogram.positive().peekable();
    let mut below = 0.0;
    bounds
        .map(|upper_bound| {
            while let Some(bucket) = filled.next_if(|bucket| bucket.upper <= upper_bound) {
                below += bucket.count;
            }
            Bucket { upper_bound, cumulative_count: below, exemplar: None }
        })
        .collect()
}
