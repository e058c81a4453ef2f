//! The HTTP API's answers, read back.

use ferula_model::Labels;
use serde_json::Value as Json;

use super::answer::{Answered, Bucket, Buckets, Point, Reply, Row};

/// Reads the body of an answer.
pub(super) fn reply(body: &str) -> Reply {
    let json: Json = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    if json["status"] == "error" {
        let message = text(&json["error"]);
        return Reply::Error(message.strip_prefix("invalid parameter \"query\": ").unwrap_or(message).to_owned());
    }
    let texts = |name: &str| list(&json[name]).iter().map(|item| text(item).to_owned()).collect();
    let kind = text(&json["data"]["resultType"]).to_owned();
    let result = &json["data"]["result"];
    let rows = match kind.as_str() {
        "scalar" => vec![Row { labels: Labels::empty(), points: vec![float(result)] }],
        "vector" | "matrix" => list(result).iter().map(row).collect(),
        _ => Vec::new(),
    };
    Reply::Answer(Answered { kind, rows, warnings: texts("warnings"), infos: texts("infos") })
}

fn row(json: &Json) -> Row {
    let metric = json["metric"].as_object().expect("labels");
    let labels = Labels::from_pairs(metric.iter().map(|(name, value)| (name, text(value))));
    let floats = json.get("value").map(float).into_iter().chain(list(&json["values"]).iter().map(float));
    let histograms = json.get("histogram").map(histogram);
    let mut points: Vec<_> = floats.chain(histograms).chain(list(&json["histograms"]).iter().map(histogram)).collect();
    points.sort_by_key(|(at, _)| *at);
    Row { labels, points }
}

fn float(json: &Json) -> (i64, Point) {
    (time(&json[0]), Point::Float(number(&json[1])))
}

fn histogram(json: &Json) -> (i64, Point) {
    let histogram = &json[1];
    let buckets = list(&histogram["buckets"]).iter().map(|bucket| Bucket {
        boundaries: bucket[0].as_u64().expect("a form of boundaries"),
        lower: number(&bucket[1]),
        upper: number(&bucket[2]),
        count: number(&bucket[3]),
    });
    let buckets =
        Buckets { count: number(&histogram["count"]), sum: number(&histogram["sum"]), buckets: buckets.collect() };
    (time(&json[0]), Point::Histogram(buckets))
}

fn time(json: &Json) -> i64 {
    (json.as_f64().expect("a time") * 1000.0).round() as i64
}

fn text(json: &Json) -> &str {
    json.as_str().unwrap_or_default()
}

fn number(json: &Json) -> f64 {
    match text(json) {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        text => text.parse().expect("a number"),
    }
}

fn list(json: &Json) -> &[Json] {
    json.as_array().map_or(&[], Vec::as_slice)
}
