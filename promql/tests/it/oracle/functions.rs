//! Calls of functions of instant vectors.

use ferula_model::{Labels, Value};
use ferula_promql::check::{Arg, Call, Instant, Typed};
use ferula_promql::functions::FunctionId;
use ferula_promql::syntax::ast::{ValueType, VectorSelector};

use super::labels::{label_join, label_replace, sort_by_label};
use super::math::{date, math, max, min};
use super::range::absent_of;
use super::{Element, Fault, Oracle, Outcome, distinct, nameless};

impl Oracle<'_> {
    pub(super) fn scalar_call(&self, call: &Call, at: i64) -> Outcome<f64> {
        let seconds = |millis: i64| millis as f64 / 1000.0;
        let Some(id) = call.function.builtin() else { return Err(Fault::Unsure("a function of the host")) };
        Ok(match id {
            FunctionId::Time => seconds(at),
            FunctionId::Pi => std::f64::consts::PI,
            FunctionId::Start => seconds(self.start),
            FunctionId::End => seconds(self.end),
            FunctionId::Step => seconds(self.step),
            FunctionId::Range => seconds(self.end - self.start),
            FunctionId::MaxOf => max(self.number(call, 0, at)?, self.number(call, 1, at)?),
            FunctionId::MinOf => min(self.number(call, 0, at)?, self.number(call, 1, at)?),
            FunctionId::Scalar => match self.operand(&call.args, at)?.as_slice() {
                [Element { value: Value::Float(value), .. }] => *value,
                elements if elements.iter().any(|element| matches!(element.value, Value::Histogram(_))) => {
                    return Err(Fault::Unsure("a scalar of histograms"));
                }
                _ => f64::NAN,
            },
            _ => return Err(Fault::Unsure("another function of scalars")),
        })
    }

    fn number(&self, call: &Call, index: usize, at: i64) -> Outcome<f64> {
        match call.args.get(index).map(|arg| &arg.value) {
            Some(Typed::Scalar(scalar)) => self.scalar(scalar, at),
            _ => Err(Fault::Unsure("no such number")),
        }
    }

    fn operand(&self, args: &[Arg], at: i64) -> Outcome<Vec<Element>> {
        self.vector(instant(args)?, at)
    }

    pub(super) fn call(&self, call: &Call, at: i64) -> Outcome<Vec<Element>> {
        let Some(id) = call.function.builtin() else { return Err(Fault::Unsure("a function of the host")) };
        if id.signature().args.contains(&ValueType::Matrix) {
            return self.over_windows(id, call, at);
        }
        let unlabelled = |value: f64| vec![Element { labels: Labels::empty(), value: Value::Float(value) }];
        match id {
            FunctionId::Vector => Ok(unlabelled(self.number(call, 0, at)?)),
            FunctionId::Absent => {
                let operand = instant(&call.args)?;
                let element = Element { labels: absent_of(operand), value: Value::Float(1.0) };
                Ok(if self.vector(operand, at)?.is_empty() { vec![element] } else { Vec::new() })
            }
            FunctionId::Timestamp => self.timestamps(instant(&call.args)?, at),
            FunctionId::LabelJoin => label_join(call, self.operand(&call.args, at)?),
            FunctionId::LabelReplace => label_replace(call, self.operand(&call.args, at)?),
            FunctionId::SortByLabel | FunctionId::SortByLabelDesc => sort_by_label(call, self.operand(&call.args, at)?),
            FunctionId::Sort | FunctionId::SortDesc => {
                let mut elements = self.operand(&call.args, at)?;
                elements.retain(|element| matches!(element.value, Value::Float(_)));
                Ok(elements)
            }
            FunctionId::HistogramQuantile => {
                let params = [self.number(call, 0, at)?];
                self.histogram(id, &params, self.operand(&call.args, at)?)
            }
            FunctionId::HistogramFraction => {
                let params = [self.number(call, 0, at)?, self.number(call, 1, at)?];
                self.histogram(id, &params, self.operand(&call.args, at)?)
            }
            FunctionId::Info | FunctionId::HistogramQuantiles | FunctionId::StartTimestamp => {
                Err(Fault::Unsure("another function"))
            }
            id if call.args.is_empty() => match date(id, at.div_euclid(1000) as f64) {
                Some(part) => Ok(unlabelled(part)),
                None => Err(Fault::Unsure("a date far away")),
            },
            id => self.each(id, call, at),
        }
    }

    fn timestamps(&self, operand: &Instant, at: i64) -> Outcome<Vec<Element>> {
        let times: Vec<(Labels, i64)> = match operand {
            Instant::Selector(selector) => {
                // The times are those of real samples.
                let plain = VectorSelector { extension: None, ..(**selector).clone() };
                self.instant(&plain, at)?.into_iter().map(|(element, time)| (element.labels, time)).collect()
            }
            other => self.vector(other, at)?.into_iter().map(|element| (element.labels, at)).collect(),
        };
        let element = |(labels, time): (Labels, i64)| Element {
            labels: nameless(&labels),
            value: Value::Float(time as f64 / 1000.0),
        };
        distinct(times.into_iter().map(element).collect())
    }

    /// Functions of each sample by itself.
    fn each(&self, id: FunctionId, call: &Call, at: i64) -> Outcome<Vec<Element>> {
        let mut results = Vec::new();
        for element in self.operand(&call.args, at)? {
            let labels = nameless(&element.labels);
            let value = match &element.value {
                Value::Float(value) => self.of_float(id, call, *value, at)?,
                Value::Histogram(histogram) => {
                    let histogram = histogram.to_float();
                    match id {
                        FunctionId::HistogramCount => Some(histogram.count),
                        FunctionId::HistogramSum => Some(histogram.sum),
                        FunctionId::HistogramAvg => Some(histogram.sum / histogram.count),
                        FunctionId::HistogramStddev => Some(histogram.standard_deviation()),
                        FunctionId::HistogramStdvar => Some(histogram.variance()),
                        _ => None,
                    }
                }
            };
            results.extend(value.map(|value| Element { labels, value: Value::Float(value) }));
        }
        distinct(results)
    }

    fn of_float(&self, id: FunctionId, call: &Call, value: f64, at: i64) -> Outcome<Option<f64>> {
        let number = |index: usize| self.number(call, index, at);
        Ok(match id {
            FunctionId::Clamp => {
                let (low, high) = (number(1)?, number(2)?);
                (low <= high || low.is_nan() || high.is_nan()).then(|| max(low, min(high, value)))
            }
            FunctionId::ClampMin => Some(max(number(1)?, value)),
            FunctionId::ClampMax => Some(min(number(1)?, value)),
            FunctionId::Round => {
                let inverse = if call.args.len() > 1 { 1.0 / number(1)? } else { 1.0 };
                Some((value * inverse + 0.5).floor() / inverse)
            }
            FunctionId::HistogramCount
            | FunctionId::HistogramSum
            | FunctionId::HistogramAvg
            | FunctionId::HistogramStddev
            | FunctionId::HistogramStdvar => None,
            id => match math(id, value) {
                Some(value) => Some(value),
                None => return date(id, value).map(Some).ok_or(Fault::Unsure("a date far away")),
            },
        })
    }
}

fn instant(args: &[Arg]) -> Outcome<&Instant> {
    let found = args.iter().find_map(|arg| if let Typed::Instant(instant) = &arg.value { Some(instant) } else { None });
    found.ok_or(Fault::Unsure("no vector"))
}
