//! Beside Prometheus' Python client: it reads what we write, and we read what it writes, strictly.
//!
//! `FERULA_PYTHON` names an interpreter that has `prometheus_client`.

use std::io::Write;
use std::process::{Command, Stdio};

use ferula_exposition::{EncodeOptions, Escaping, Event, Format, LabelBuffer, ParseOptions, Parser, encode_with};
use ferula_model::{Labels, METRIC_NAME};
use serde_json::Value;

use crate::prometheus::families;

/// Runs a script and gives its output, if there is a Python for it.
fn python(script: &str, input: &[u8]) -> Option<Vec<u8>> {
    let Some(interpreter) = std::env::var_os("FERULA_PYTHON") else {
        println!("FERULA_PYTHON is not set: not compared with the Python client");
        return None;
    };
    let mut command = Command::new(interpreter);
    let mut child = command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the script failed on {}", String::from_utf8_lossy(input));
    Some(output.stdout)
}

/// Lines of JSON: name, labels and value of a sample.
fn samples_of_json(output: &[u8]) -> Vec<String> {
    let lines = output.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let mut samples: Vec<_> = lines
        .map(|line| {
            let sample: Value = serde_json::from_slice(line).unwrap();
            let pairs =
                sample[1].as_object().unwrap().iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap()));
            let labels = Labels::from_pairs(pairs.chain([(METRIC_NAME, sample[0].as_str().unwrap())]));
            format!("{labels} {:?}", sample[2].as_str().unwrap().parse::<f64>().unwrap())
        })
        .collect();
    samples.sort();
    samples
}

/// The same, as we read a body.
fn samples_of_body(body: &[u8], format: Format, strict: bool) -> Vec<String> {
    let mut parser = Parser::new(body, format, &ParseOptions { strict, ..ParseOptions::default() });
    let (mut samples, mut labels) = (Vec::new(), LabelBuffer::default());
    while let Some(event) = parser.next() {
        if let Event::Sample(sample) = event.unwrap_or_else(|error| panic!("{}", error.drawn())) {
            sample.labels(&mut labels);
            samples.push(format!("{} {:?}", labels.to_labels(), sample.value));
        }
    }
    samples.sort();
    samples
}

const READ: &str = "
import json, sys
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics
body = sys.stdin.buffer.read().decode()
read = openmetrics if body.endswith('# EOF\\n') else parser
for family in read.text_string_to_metric_families(body):
    for sample in family.samples:
        print(json.dumps([sample.name, sample.labels, str(sample.value)]))
";

#[test]
fn the_python_client_reads_what_we_write() {
    for format in [Format::Text, Format::OpenMetrics] {
        let mut body = Vec::new();
        // Its parser of the text format does not know quoted names.
        let options = EncodeOptions { escaping: Escaping::Underscores, ..EncodeOptions::default() };
        encode_with(&families(), format, &options, &mut body);
        let Some(output) = python(READ, &body) else { return };
        // It lays bounds out as OpenMetrics does, and so does our reading.
        let ours = samples_of_body(&body, format, true);
        let theirs = samples_of_json(&output);
        let plain = |samples: Vec<String>| samples.into_iter().map(|s| s.replace(".0\"", "\"")).collect::<Vec<_>>();
        assert_eq!(plain(ours), plain(theirs), "{format:?}");
    }
}

const WRITE: &str = "
import json, sys
from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info, Summary, exposition
from prometheus_client.openmetrics import exposition as openmetrics
registry = CollectorRegistry()
counter = Counter('requests', 'With a \\\\ and\\na newline.', ['path'], registry=registry)
counter.labels('/\"quoted\"\\n').inc(2.5, {'trace_id': 'abc'})
Gauge('depth_meters', 'A gauge.', registry=registry, unit='meters').set(float('-inf'))
histogram = Histogram('latency_seconds', 'A histogram.', registry=registry, buckets=(0.1, 1, 1000000))
histogram.observe(0.05, {'trace_id': 'def'})
histogram.observe(5)
Summary('size_bytes', 'A summary.', registry=registry).observe(7)
Info('build', 'An info.', registry=registry).info({'version': '1'})
Enum('mode', 'A state set.', registry=registry, states=['on', 'off']).state('off')
if sys.stdin.read() == 'openmetrics':
    sys.stdout.buffer.write(openmetrics.generate_latest(registry))
else:
    sys.stdout.buffer.write(exposition.generate_latest(registry))
";

#[test]
fn we_read_what_the_python_client_writes() {
    for (word, format) in [("text", Format::Text), ("openmetrics", Format::OpenMetrics)] {
        let Some(body) = python(WRITE, word.as_bytes()) else { return };
        let ours = samples_of_body(&body, format, true);
        assert!(ours.len() >= 15, "{ours:#?}");
        let Some(theirs) = python(READ, &body) else { return };
        let plain = |samples: Vec<String>| samples.into_iter().map(|s| s.replace(".0\"", "\"")).collect::<Vec<_>>();
        assert_eq!(plain(ours), plain(samples_of_json(&theirs)), "{format:?}");
    }
}
