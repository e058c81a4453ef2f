//! Quantiles and fractions of histograms, classic ones most of all.

use ferula_model::{Labels, Value};
use ferula_promql::functions::FunctionId;

use super::over_time::quantile;
use super::{Element, Oracle, Outcome, buckets, distinct, nameless};

/// Upper bounds and cumulative counts.
type Buckets = Vec<(f64, f64)>;

impl Oracle<'_> {
    /// `histogram_quantile` and `histogram_fraction` of the given parameters.
    pub(super) fn histogram(&self, id: FunctionId, params: &[f64], elements: Vec<Element>) -> Outcome<Vec<Element>> {
        let mut histograms: Vec<(Labels, Buckets)> = Vec::new();
        let mut natives = Vec::new();
        for element in elements {
            let count = match element.value {
                Value::Float(count) => count,
                Value::Histogram(histogram) => {
                    natives.push((element.labels, histogram.to_float()));
                    continue;
                }
            };
            let Some(bound) = element.labels.get("le").and_then(bound) else { continue };
            let labels = Labels::from_pairs(element.labels.iter().filter(|(name, _)| *name != "le"));
            match histograms.iter_mut().find(|(known, _)| *known == labels) {
                Some((_, buckets)) => buckets.push((bound, count)),
                None => histograms.push((labels, vec![(bound, count)])),
            }
        }
        let mut results = Vec::new();
        // A native histogram and a classic one under the same labels: neither is answered.
        let clashing: Vec<Labels> = natives
            .iter()
            .map(|(labels, _)| labels.clone())
            .filter(|labels| histograms.iter().any(|(known, _)| known == labels))
            .collect();
        histograms.retain(|(labels, _)| !clashing.contains(labels));
        for (labels, histogram) in natives.iter().filter(|(labels, _)| !clashing.contains(labels)) {
            let value = match id {
                FunctionId::HistogramQuantile => buckets::quantile(params[0], histogram),
                _ => histogram.fraction(params[0], params[1]).value,
            };
            results.push(Element { labels: nameless(labels), value: Value::Float(value) });
        }
        for (labels, buckets) in histograms {
            let value = match id {
                FunctionId::HistogramQuantile => of_buckets(params[0], buckets),
                _ => fraction(params[0], params[1], buckets)?,
            };
            results.push(Element { labels: nameless(&labels), value: Value::Float(value) });
        }
        distinct(results)
    }
}

fn bound(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        text => text.parse().ok(),
    }
}

/// Sorted, each bound once; `None` if the last is not endless.
fn sorted(mut buckets: Buckets) -> Option<Buckets> {
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    if buckets.last()?.0 != f64::INFINITY {
        return None;
    }
    let mut merged: Buckets = Vec::new();
    for (bound, count) in buckets {
        match merged.last_mut() {
            Some(last) if last.0 == bound => last.1 += count,
            _ => merged.push((bound, count)),
        }
    }
    Some(merged)
}

/// Sorted, each bound once, never falling.
fn tidied(buckets: Buckets) -> Option<Buckets> {
    let mut merged = sorted(buckets)?;
    for index in 1..merged.len() {
        let (before, count) = (merged[index - 1].1, merged[index].1);
        let close = (count - before).abs() <= 1e-12 * (count.abs() + before.abs());
        if count < before || close {
            merged[index].1 = before;
        }
    }
    Some(merged)
}

fn of_buckets(phi: f64, buckets: Buckets) -> f64 {
    if phi.is_nan() || !(0.0..=1.0).contains(&phi) {
        return quantile(phi, &[0.0]);
    }
    let Some(buckets) = tidied(buckets) else { return f64::NAN };
    let total = buckets.last().map_or(0.0, |last| last.1);
    if buckets.len() < 2 || total == 0.0 || total.is_nan() {
        return f64::NAN;
    }
    let rank = phi * total;
    let at = buckets[..buckets.len() - 1].iter().position(|(_, count)| *count >= rank).unwrap_or(buckets.len() - 1);
    if at == buckets.len() - 1 {
        return buckets[at - 1].0;
    }
    let (upper, count) = buckets[at];
    if at == 0 && upper <= 0.0 {
        return upper;
    }
    let (lower, below) = if at == 0 { (0.0, 0.0) } else { buckets[at - 1] };
    lower + (upper - lower) * ((rank - below) / (count - below))
}

fn fraction(lower: f64, upper: f64, buckets: Buckets) -> Outcome<f64> {
    let Some(buckets) = sorted(buckets) else { return Ok(f64::NAN) };
    let total = buckets.last().map_or(0.0, |last| last.1);
    if total == 0.0 || total.is_nan() || lower.is_nan() || upper.is_nan() {
        return Ok(f64::NAN);
    }
    if lower >= upper {
        return Ok(0.0);
    }
    let rank = |value: f64| {
        let (mut low, mut below) = (if buckets[0].0 > 0.0 { 0.0 } else { f64::NEG_INFINITY }, 0.0);
        for &(high, count) in &buckets {
            if value <= low {
                return below;
            }
            if value < high {
                // Of a bucket without end nothing is known but that it is there.
                let inside = match (low.is_infinite(), high.is_infinite()) {
                    (true, _) => 1.0,
                    (false, true) => 0.0,
                    (false, false) => (value - low) / (high - low),
                };
                return below + (count - below) * inside;
            }
            (low, below) = (high, count);
        }
        below
    };
    let [lower, upper] = [lower, upper].map(|value| rank(value).min(total));
    Ok((upper - lower) / total)
}
