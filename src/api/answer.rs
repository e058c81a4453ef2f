//! Answers of queries as JSON, piece by piece: a large result is never held a second time as text.

use bytes::Bytes;
use ferula_model::number::{FloatForm, push_float};
use ferula_model::{Timestamp, Value as SampleValue};
use ferula_promql::{Answer, FloatPoint, Series, Value, VectorSample};

use super::json;
use super::response::{PIECE_BYTES, next_piece};

/// Of warnings and of infos at most this many are shown.
const ANNOTATIONS_MAX: usize = 10;

/// Writes the envelope of a query's answer in pieces of about 64 KiB and frees each series once it is written.
///
/// `{"status":"success","data":{"resultType":"matrix","result":[...]},"warnings":[...],"infos":[...]}`
pub(crate) struct AnswerPieces {
    rest: Rest,
    any: bool,
    tail: Vec<u8>,
    piece: Vec<u8>,
    moments: Moments,
}

enum Rest {
    Vector(std::vec::IntoIter<VectorSample>),
    Matrix(std::vec::IntoIter<Series>),
    Done,
}

impl AnswerPieces {
    /// `statistics` is the JSON of the cost, if it was asked for; `extra_warnings` stand behind those of the query.
    pub(crate) fn new(answer: Answer, statistics: Option<Vec<u8>>, extra_warnings: &[String]) -> Self {
        let mut piece = Vec::with_capacity(1024);
        piece.extend_from_slice(b"{\"status\":\"success\",\"data\":{\"resultType\":\"");
        piece.extend_from_slice(answer.value.type_name().as_bytes());
        piece.extend_from_slice(b"\",\"result\":[");
        let rest = match answer.value {
            Value::Vector(samples) => Rest::Vector(samples.into_iter()),
            Value::Matrix(series) => Rest::Matrix(series.into_iter()),
            Value::Scalar { at, value } => {
                json::timestamp(&mut piece, at);
                piece.push(b',');
                json::float(&mut piece, value);
                Rest::Done
            }
            Value::String { at, value } => {
                json::timestamp(&mut piece, at);
                piece.push(b',');
                json::string(&mut piece, &value);
                Rest::Done
            }
        };
        let mut tail = b"]".to_vec();
        if let Some(statistics) = statistics {
            tail.extend_from_slice(b",\"stats\":");
            tail.extend_from_slice(&statistics);
        }
        tail.push(b'}');
        let mut warnings = answer.warnings;
        cap(&mut warnings, "warning");
        warnings.extend_from_slice(extra_warnings);
        let mut infos = answer.infos;
        cap(&mut infos, "info");
        annotations(&mut tail, &warnings, &infos);
        tail.push(b'}');
        Self { rest, any: false, tail, piece, moments: Moments::default() }
    }

    /// Writes one more series; false if there is none.
    fn one(&mut self) -> bool {
        let out = &mut self.piece;
        let comma = if std::mem::replace(&mut self.any, true) { &b","[..] } else { b"" };
        match &mut self.rest {
            Rest::Vector(samples) => {
                let Some(sample) = samples.next() else { return false };
                out.extend_from_slice(comma);
                vector_sample(out, &sample);
            }
            Rest::Matrix(all) => {
                let Some(series) = all.next() else { return false };
                out.extend_from_slice(comma);
                matrix_series(out, &series, &mut self.moments);
            }
            Rest::Done => return false,
        }
        true
    }
}

impl Iterator for AnswerPieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.piece.is_empty() && self.tail.is_empty() {
            return None;
        }
        while self.piece.len() < PIECE_BYTES {
            if !self.one() {
                self.piece.append(&mut self.tail);
                break;
            }
        }
        Some(next_piece(&mut self.piece))
    }
}

/// `,"warnings":[...],"infos":[...]`, each only if there is one.
pub(crate) fn annotations(out: &mut Vec<u8>, warnings: &[String], infos: &[String]) {
    for (name, texts) in [("warnings", warnings), ("infos", infos)] {
        if !texts.is_empty() {
            out.extend_from_slice(format!(",\"{name}\":").as_bytes());
            json::list(out, texts, |out, text| json::string(out, text));
        }
    }
}

/// Keeps the first ten and says how many more there were.
fn cap(texts: &mut Vec<String>, kind: &str) {
    if texts.len() > ANNOTATIONS_MAX {
        let more = texts.len() - ANNOTATIONS_MAX;
        texts.truncate(ANNOTATIONS_MAX);
        texts.push(format!("{more} more {kind} annotations omitted"));
    }
}

fn vector_sample(out: &mut Vec<u8>, sample: &VectorSample) {
    out.extend_from_slice(b"{\"metric\":");
    json::labels(out, &sample.labels);
    match &sample.value {
        SampleValue::Float(value) => {
            out.extend_from_slice(b",\"value\":");
            json::point(out, sample.at, *value);
        }
        SampleValue::Histogram(histogram) => {
            out.extend_from_slice(b",\"histogram\":");
            json::histogram_point(out, sample.at, &histogram.to_float());
        }
    }
    out.push(b'}');
}

/// The moments of the series written last, as text: the series of a range query share their steps.
#[derive(Default)]
struct Moments {
    known: Vec<Moment>,
}

/// `[1435781430.781,"`, of a fixed length, which is copied faster, and how much of it counts.
struct Moment {
    at: Timestamp,
    text: [u8; 32],
    length: usize,
}

impl Moment {
    fn new(at: Timestamp) -> Self {
        let mut text = Vec::with_capacity(32);
        text.push(b'[');
        json::timestamp(&mut text, at);
        text.extend_from_slice(b",\"");
        // The longest is that of a moment with 17 digits before the point.
        let length = text.len();
        text.resize(32, 0);
        Self { at, text: text.try_into().unwrap_or_default(), length }
    }
}

impl Moments {
    /// Writes points of floats.
    fn points(&mut self, out: &mut Vec<u8>, points: &[FloatPoint]) {
        let mut next = 0;
        json::list(out, points, |out, point| {
            while self.known.get(next).is_some_and(|moment| moment.at < point.at) {
                next += 1;
            }
            if self.known.get(next).is_none_or(|moment| moment.at != point.at) {
                // This one and all behind it belong to another grid.
                self.known.truncate(next);
                self.known.push(Moment::new(point.at));
            }
            if let Some(moment) = self.known.get(next) {
                let end = out.len() + moment.length;
                out.extend_from_slice(&moment.text);
                out.truncate(end);
            }
            push_float(out, point.value, FloatForm::Json);
            out.extend_from_slice(b"\"]");
        });
    }
}

fn matrix_series(out: &mut Vec<u8>, series: &Series, moments: &mut Moments) {
    out.extend_from_slice(b"{\"metric\":");
    json::labels(out, &series.labels);
    if !series.floats.is_empty() {
        out.extend_from_slice(b",\"values\":");
        moments.points(out, &series.floats);
    }
    if !series.histograms.is_empty() {
        out.extend_from_slice(b",\"histograms\":");
        json::list(out, &series.histograms, |out, point| json::histogram_point(out, point.at, &point.histogram));
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_known_and_new_are_written_alike() {
        let grids: [&[i64]; 6] =
            [&[0, 15, 30, 45], &[15, 45], &[0, 15, 30, 45], &[], &[-1, 7, 15, 1_000_000], &[0, 30]];
        let mut moments = Moments::default();
        for grid in grids {
            let points: Vec<_> =
                grid.iter().map(|at| FloatPoint { at: Timestamp(*at), value: *at as f64 / 7.0 }).collect();
            let (mut written, mut expected) = (Vec::new(), Vec::new());
            moments.points(&mut written, &points);
            json::list(&mut expected, &points, |out, point| json::point(out, point.at, point.value));
            assert_eq!(String::from_utf8(written), String::from_utf8(expected));
        }
    }
}
