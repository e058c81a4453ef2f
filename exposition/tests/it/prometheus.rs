//! Beside a real Prometheus: it accepts what our lenient reading accepts and nothing else, and it reads everything that our
//! encoder writes.
//!
//! One Prometheus scrapes a small server of ours. Each body is a target; whether it is up says whether it was accepted.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferula_exposition::negotiate::{Coding, Negotiated, ScrapeProtocol, accept_header};
use ferula_exposition::{
    Bucket, Escaping, Event, Format, HistogramValue, LabelBuffer, MetricFamily, MetricValue, ParseOptions, Parser,
    SummaryValue, encode_with,
};
use ferula_model::{Clock, Exemplar, Histogram, IntegerHistogram, Labels, MetricType, Span, SystemClock};
use serde_json::Value;

use crate::told;

/// What a target answers, given path and `Accept`: Content-Type and body.
type Answer = dyn Fn(&str, &str) -> (String, Vec<u8>) + Send + Sync;

/// Serves until the test process ends.
fn serve(answer: Arc<Answer>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || respond(&stream.unwrap(), &*answer));
        }
    });
    address
}

fn respond(mut stream: &TcpStream, answer: &Answer) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next().and_then(|line| line.split(' ').nth(1).map(str::to_owned)).unwrap_or_default();
    let headers = lines.take_while(|line| !line.is_empty());
    let accept = headers.filter_map(|line| line.strip_prefix("Accept: ").map(str::to_owned)).last();
    let (content_type, body) = answer(&path, &accept.unwrap_or_default());
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // A scraper that hangs up is seen by what it says of the target.
    let _ = stream.write_all(&[head.as_bytes(), &body].concat());
}

/// A running Prometheus, which ends with the test.
pub(crate) struct Prometheus {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Starts it with a configuration, if `FERULA_PEERS` says where it is.
    fn start(configuration: &str) -> Option<Self> {
        let Some(peers) = std::env::var_os("FERULA_PEERS") else {
            println!("FERULA_PEERS is not set: not compared with Prometheus");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, configuration).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let argument = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let mut command = Command::new(PathBuf::from(peers).join("prometheus"));
        command.arg(argument("config.file", &file)).arg(argument("storage.tsdb.path", &folder.path().join("data")));
        command.arg(format!("--web.listen-address={address}"));
        command.arg("--enable-feature=exemplar-storage,native-histograms");
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Some(Self { child, address, _folder: folder })
    }

    /// Asks for a path again and again until the answer is what the caller waits for. How long that takes is Prometheus'
    /// affair; a minute is taken for never.
    fn wait_for<T>(&self, path: &str, found: impl Fn(&Value) -> Option<T>) -> T {
        let start = Instant::now();
        let mut last = Value::Null;
        while start.elapsed() < Duration::from_secs(60) {
            if let Some(answer) = self.ask(path) {
                if let Some(found) = found(&answer) {
                    return found;
                }
                last = answer;
            }
            std::thread::yield_now();
        }
        panic!("{path}: nothing to be seen in {last:#}");
    }

    fn ask(&self, path: &str) -> Option<Value> {
        serde_json::from_slice(&self.get(path, "identity")?.1).ok()
    }

    /// Head and body of an answer, whose body is packed as it comes.
    fn get(&self, path: &str, accept_encoding: &str) -> Option<(String, Vec<u8>)> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nAccept-Encoding: {accept_encoding}\r\n\r\n").ok()?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response).ok()?;
        let start = response.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let body = response.split_off(start);
        Some((String::from_utf8(response).ok()?, body))
    }
}

/// Bodies at the edges of the grammars. Every one is also tried without its last byte.
const TEXT: &[&[u8]] = &[
    b"",
    b"\n",
    b" \t\n",
    b"a 1\n",
    b"a 1 \n",
    b"a\t1\n",
    b" a 1\n",
    b"a  1  2\n",
    b"a{}1\n",
    b"a {} 1\n",
    b"a{ } 1\n",
    b"a{,} 1\n",
    b"a{b=\"c\"} 1\n",
    b"a{b=\"c\",} 1\n",
    b"a{b=\"c\",,} 1\n",
    b"a{b=\"c\"d=\"e\"} 1\n",
    b"a{b=\"c\" d=\"e\"} 1\n",
    b"a{ b = \"c\" , d=\"e\" } 1\n",
    b"a{b='c'} 1\n",
    b"a{b=c} 1\n",
    b"a{b} 1\n",
    b"a{b=} 1\n",
    b"a{=\"c\"} 1\n",
    b"a{\"b\"=\"c\"} 1\n",
    b"a{\"b c\"=\"d\"} 1\n",
    b"a{\"b\"} 1\n",
    b"{\"a\"} 1\n",
    b"{\"a b\"} 1\n",
    b"{\"a b\",c=\"d\"} 1\n",
    b"{c=\"d\",\"a b\"} 1\n",
    b"{\"a\" , c=\"d\"} 1\n",
    b"{\"a\" c=\"d\"} 1\n",
    b"{\"a\",\"b\"} 1\n",
    b"{c=\"d\"} 1\n",
    b"{\"a\nb\"} 1\n",
    b"{\"a\\nb\"} 1\n",
    b"{\"a\\\"b\"} 1\n",
    b"a{b=\"c\nd\"} 1\n",
    b"a{b=\"c\\nd\"} 1\n",
    b"a{b=\"c\\zd\"} 1\n",
    b"a{b=\"c\\\"} 1\n",
    b"a{b=\"c\\\\\"} 1\n",
    b"a{b=\"\\\n\"} 1\n",
    b"a{b=\"}\"} 1\n",
    b"a{b=\"#\"} 1\n",
    b"a{b=\"\xff\"} 1\n",
    b"a{\xff=\"b\"} 1\n",
    b"a{\"\xff\"=\"b\"} 1\n",
    b"\xff 1\n",
    b"a \xff\n",
    b"# \xff\n",
    b"# HELP a \xff\n",
    b"# HELP \xff a\n",
    b"# HELP \"\xff\" a\n",
    b"a{b=\"\0\"} 1\n",
    b"a\0 1\n",
    b"\0a 1\n",
    b"a 1\0\n",
    b"a 1\n\0",
    b"a 1 \0\n",
    b"a{\0b=\"c\"} 1\n",
    b"a 1\n\0garbage {\n",
    b"a:b 1\n",
    b":a 1\n",
    b"9a 1\n",
    b"a-b 1\n",
    b"a.b 1\n",
    b"a{b:c=\"d\"} 1\n",
    b"a{9=\"d\"} 1\n",
    b"a",
    b"a\n",
    b"a 1",
    b"a{b=\"c\"}",
    b"a{b=\"c\"",
    b"a{b=\"c",
    b"a{b=",
    b"a{b",
    b"a{",
    b"{",
    b"{}",
    b"{} 1\n",
    b"}\n",
    b"\"a\" 1\n",
    b"a true\n",
    b"a 1_0\n",
    b"a 0x1\n",
    b"a 0x1p3\n",
    b"a 0X1P3\n",
    b"a 0b1\n",
    b"a 0o7\n",
    b"a 1e5\n",
    b"a 1E5\n",
    b"a 1e\n",
    b"a e5\n",
    b"a .5\n",
    b"a 5.\n",
    b"a .\n",
    b"a +1\n",
    b"a -1\n",
    b"a +-1\n",
    b"a 1e400\n",
    b"a -1e400\n",
    b"a 1e-400\n",
    b"a 00012\n",
    b"a inf\n",
    b"a +inf\n",
    b"a -Inf\n",
    b"a INF\n",
    b"a infinity\n",
    b"a -Infinity\n",
    b"a nan\n",
    b"a NaN\n",
    b"a +NaN\n",
    b"a -NaN\n",
    b"a nano\n",
    b"a 1 1\n",
    b"a 1 +1\n",
    b"a 1 -1\n",
    b"a 1 1.5\n",
    b"a 1 1e3\n",
    b"a 1 00001\n",
    b"a 1 9223372036854775807999\n",
    b"a 1 x\n",
    b"a 1 1 1\n",
    b"a 1 1x\n",
    b"a 1 # x\n",
    b"a 1 # {} 1\n",
    b"a 1#\n",
    b"a+1\n",
    b"a1 1\n",
    b"a{}+1\n",
    b"a{} 1{}\n",
    b"a 1{\n",
    b"a 1}\n",
    b"#\n",
    b"#a\n",
    b"# a\n",
    b"##\n",
    b"# HELP\n",
    b"# HELP \n",
    b"# HELP a\n",
    b"# HELP a \n",
    b"# HELP a b\n",
    b"#HELP a b\n",
    b"#  HELP  a  b\n",
    b"#\tHELP\ta\tb\n",
    b"# HELP a b\\n\\\\ \\\" \\z\n",
    b"# HELP 9 b\n",
    b"# HELP \"a b\" c\n",
    b"# HELP \"a b\"c\n",
    b"# HELP \"a\n",
    b"# HELPa b\n",
    b"# HELPER a\n",
    b"# help a b\n",
    b"# HELP a\xc3\xa9 x\n",
    b"# HELP a-b c\n",
    b"# HELP a.b c\n",
    b"# TYPE\n",
    b"# TYPE \n",
    b"# TYPE a\n",
    b"# TYPE a \n",
    b"# TYPE a gauge\n",
    b"# TYPE a gauge \n",
    b"# TYPE a  gauge\n",
    b"# TYPE a\tgauge\n",
    b"# TYPE a Gauge\n",
    b"# TYPE a counter\n",
    b"# TYPE a histogram\n",
    b"# TYPE a summary\n",
    b"# TYPE a untyped\n",
    b"# TYPE a unknown\n",
    b"# TYPE a info\n",
    b"# TYPE a gaugehistogram\n",
    b"# TYPE \"a b\" gauge\n",
    b"# TYPE \"\xff\" gauge\n",
    b"# HELP \"a\nb\" c\n",
    b"# TYPE \"a\\\nb\" gauge\n",
    b"# TYPE \"a b\"gauge\n",
    b"# TYPE #\n",
    b"#TYPE a nonsense\n",
    b"# TYPE a gauge\r\n",
    b"# UNIT a b\n",
    b"# EOF\n",
    b"# EOF\na 1\n",
    b"a 1\r\n",
    b"\ra 1\n",
    b"a 1\n# TYPE a gauge\n",
    b"# TYPE a gauge\n# TYPE a counter\na 1\n",
    b"\xef\xbb\xbfa 1\n",
    b"a 1\n\n\nb 2\n",
    b"a 1\n   \nb 2\n",
    b"a 1\n  # x\nb 2\n",
    b"a 1 b 2\n",
    b"# TYPE h histogram\nh_bucket{le=\"x\"} 1\n",
    b"# TYPE h histogram\nh 1\n",
    b"a{b=\"c\"}\t1\t2\t\n",
    b"a{b=\"c\"\n,d=\"e\"} 1\n",
    b"a{\nb=\"c\"} 1\n",
    b"a\n{} 1\n",
    b"a{} \n1\n",
];

const OPENMETRICS: &[&[u8]] = &[
    b"",
    b"# EOF",
    b"# EOF\n",
    b"# EOF\n\n",
    b"# EOF ",
    b"# EOF\n# EOF\n",
    b"#EOF\n",
    b"# EOFx",
    b" # EOF\n",
    b"\n# EOF\n",
    b"#  EOF\n",
    b"# eof\n",
    b"a 1\n",
    b"a 1",
    b"a 1# EOF\n",
    b"a 1\n#EOF\n",
    b"a",
    b"a\n",
    b"a \n",
    b"a{",
    b"a{b",
    b"a{b=",
    b"a{b=\"",
    b"a{b=\"c\"",
    b"a{b=\"c\"}",
    b"a 1 # {",
    b"a 1 # {b=\"c\"}",
    b"a 1 # {b=\"c\"} 1",
];

/// Lines that are tried before the line `# EOF`.
const OPENMETRICS_LINES: &[&[u8]] = &[
    b"a 1",
    b"a  1",
    b"a\t1",
    b"a 1 ",
    b"a 1\t",
    b" a 1",
    b"a 1\n",
    b"\na 1",
    b"a 1\r",
    b"a{}1",
    b"a{} 1",
    b"a {} 1",
    b"a{ } 1",
    b"a{,} 1",
    b"a{b=\"c\"} 1",
    b"a{b=\"c\",} 1",
    b"a{b=\"c\",,} 1",
    b"a{,b=\"c\"} 1",
    b"a{b=\"c\"d=\"e\"} 1",
    b"a{b=\"c\", d=\"e\"} 1",
    b"a{ b=\"c\"} 1",
    b"a{b =\"c\"} 1",
    b"a{b= \"c\"} 1",
    b"a{b=\"c\" } 1",
    b"a{b='c'} 1",
    b"a{b=c} 1",
    b"a{b} 1",
    b"a{=\"c\"} 1",
    b"a{\"b\"=\"c\"} 1",
    b"a{\"b c\"=\"d\"} 1",
    b"a{\"b\"} 1",
    b"{\"a\"} 1",
    b"{\"a b\"} 1",
    b"{\"a b\",c=\"d\"} 1",
    b"{c=\"d\",\"a b\"} 1",
    b"{\"a\",} 1",
    b"{\"a\",\"b\"} 1",
    b"{c=\"d\"} 1",
    b"{c=\"d\",} 1",
    b"{} 1",
    b"{\"a\nb\"} 1",
    b"{\"a\\nb\"} 1",
    b"a{b=\"c\nd\"} 1",
    b"a{b=\"c\\nd\"} 1",
    b"a{b=\"c\\zd\"} 1",
    b"a{b=\"c\\\"} 1",
    b"a{b=\"c\\\\\"} 1",
    b"a{b=\"}\"} 1",
    b"a{b=\" # \"} 1",
    b"a{b=\"\xff\"} 1",
    b"a{\xff=\"b\"} 1",
    b"\xff 1",
    b"a{b=\"\0\"} 1",
    b"a\0 1",
    b"a 1\0",
    b"\0",
    b"a:b 1",
    b":a 1",
    b"9a 1",
    b"a-b 1",
    b"a true",
    b"a 1_0",
    b"a 0x1p3",
    b"a 0x1",
    b"a 1e5",
    b"a .5",
    b"a 5.",
    b"a +1",
    b"a 1e400",
    b"a inf",
    b"a +Inf",
    b"a nan",
    b"a +NaN",
    b"a 1 1",
    b"a 1 -1",
    b"a 1 +1",
    b"a 1 1.5",
    b"a 1 1e3",
    b"a 1 .5",
    b"a 1 NaN",
    b"a 1 Inf",
    b"a 1 -Inf",
    b"a 1 x",
    b"a 1 1x",
    b"a 1 1_0",
    b"a 1 1 1",
    b"a 1 1 ",
    b"a 1 99999999999",
    b"a 1  1",
    b"a 1 1\t",
    b"a 1 # {} 1",
    b"a 1 #{} 1",
    b"a 1# {} 1",
    b"a 1 # {}1",
    b"a 1 # {} 1 ",
    b"a 1 # {} 1 1",
    b"a 1 # {} 1 1 ",
    b"a 1 # {} 1 1 1",
    b"a 1 # {b=\"c\"} 1 1.5",
    b"a 1 # {b=\"c\",} 1",
    b"a 1 # {b=\"c\",,d=\"e\"} 1",
    b"a 1 # {,b=\"c\"} 1",
    b"a 1 # {b=\"c\", d=\"e\"} 1",
    b"a 1 # {b=\"c\"d=\"e\"} 1",
    b"a 1 # {b=c} 1",
    b"a 1 # {b=} 1",
    b"a 1 # {b} 1",
    b"a 1 # {\"b\"} 1",
    b"a 1 # {\"b\"=\"c\"} 1",
    b"a 1 # {\"b c\"=\"d\"} 1",
    b"a 1 # {b=\"c\"}",
    b"a 1 # {b=\"c\"} ",
    b"a 1 # {b=\"c\"} x",
    b"a 1 # {b=\"c\"} NaN",
    b"a 1 # {b=\"c\"} 1_0",
    b"a 1 # {b=\"c\"} 1 NaN",
    b"a 1 # {b=\"c\"} 1 Inf",
    b"a 1 # {b=\"c\"} 1 x",
    b"a 1 # {b=\"\xff\"} 1",
    b"a 1 # b",
    b"a 1 #",
    b"a 1 # ",
    b"a 1 #\t{} 1",
    b"a 1  # {} 1",
    b"a 1 # {} 1 # {} 1",
    b"a 1 5 # {} 1",
    b"a # {} 1",
    b"# TYPE a gauge",
    b"# TYPE a gauge ",
    b"# TYPE a  gauge",
    b"#  TYPE a gauge",
    b"# TYPE  a gauge",
    b"#TYPE a gauge",
    b"#\tTYPE a gauge",
    b"# TYPE\ta gauge",
    b"# TYPE a\tgauge",
    b"# TYPE a",
    b"# TYPE a ",
    b"# TYPE ",
    b"# TYPE",
    b"# TYPE a untyped",
    b"# TYPE a unknown",
    b"# TYPE a info",
    b"# TYPE a stateset",
    b"# TYPE a gaugehistogram",
    b"# TYPE a Gauge",
    b"# TYPE \"a b\" gauge",
    b"# TYPE \"a b\"gauge",
    b"# TYPE 9 gauge",
    b"# TYPE # gauge",
    b"# TYPE a gauge\r",
    b"# TYPE a\0 gauge",
    b"# HELP a b",
    b"# HELP a",
    b"# HELP a ",
    b"# HELP a  b ",
    b"# HELP \"a b\" c",
    b"# HELP \"\xff\" c",
    b"# TYPE \"\xff\" gauge",
    b"# HELP \"a\nb\" c",
    b"# UNIT \"a\nb_c\" c",
    b"a{\"b\nc\"=\"d\"} 1",
    b"a{\"b\\\nc\"=\"d\"} 1",
    b"a 1 # {\"b\nc\"=\"d\"} 1",
    b"a 1 # {b=\"c\nd\"} 1",
    b"# HELP a \xff",
    b"# HELP a b\\n\\\\\\\"\\z\"",
    b"# HELP",
    b"# HELP ",
    b"# HELPa b",
    b"# help a b",
    b"# UNIT a_b b",
    b"# UNIT a_b c",
    b"# UNIT ab b",
    b"# UNIT b b",
    b"# UNIT a_b ",
    b"# UNIT a_b",
    b"# UNIT a_b b ",
    b"# UNIT ",
    b"# UNIT \"a b_c\" c",
    b"# comment",
    b"#",
    b"# ",
    b"#comment",
    b"# FOO a b",
    b"a 1\n# TYPE a gauge",
    b"# TYPE a gauge\n# TYPE a gauge",
    b"# TYPE a counter\na 1",
    b"# TYPE a counter\na_total -1",
    b"# TYPE a histogram\na_bucket{le=\"x\"} 1",
    b"a 1\na 1 1\na 2 2",
];

/// Content-Type and body of each target.
fn bodies() -> Vec<(Format, Vec<u8>)> {
    let mut bodies = Vec::new();
    let mut add = |format, body: Vec<u8>| {
        if !bodies.contains(&(format, body.clone())) {
            bodies.push((format, body));
        }
    };
    for body in TEXT {
        add(Format::Text, body.to_vec());
        add(Format::Text, body.split_last().map_or(Vec::new(), |(_, rest)| rest.to_vec()));
    }
    for body in OPENMETRICS {
        // A scrape without a body is accepted before any parser sees it.
        if !body.is_empty() {
            add(Format::OpenMetrics, body.to_vec());
        }
    }
    for line in OPENMETRICS_LINES {
        add(Format::OpenMetrics, [line, &b"\n# EOF\n"[..]].concat());
        add(Format::OpenMetrics, [line, &b"# EOF\n"[..]].concat());
    }
    bodies
}

#[test]
fn what_we_accept_is_what_prometheus_accepts() {
    let bodies = Arc::new(bodies());
    let served = Arc::clone(&bodies);
    let address = serve(Arc::new(move |path, _| {
        let index: usize = path.trim_start_matches('/').parse().unwrap_or(usize::MAX);
        match served.get(index) {
            Some((Format::Text, body)) => ("text/plain; version=0.0.4".to_owned(), body.clone()),
            Some((_, body)) => ("application/openmetrics-text; version=1.0.0".to_owned(), body.clone()),
            None => ("text/html".to_owned(), Vec::new()),
        }
    }));
    let groups = (0..bodies.len()).map(|index| {
        format!("  - targets: ['{address}']\n    labels: {{__metrics_path__: /{index}, body: '{index}'}}\n")
    });
    let configuration = format!(
        "global: {{scrape_interval: 5s, scrape_timeout: 5s}}\nscrape_configs:\n- job_name: bodies\n  static_configs:\n{}",
        groups.collect::<String>()
    );
    let Some(prometheus) = Prometheus::start(&configuration) else { return };
    let targets = prometheus.wait_for("/api/v1/targets?state=active", |answer| {
        let targets = answer["data"]["activeTargets"].as_array()?.clone();
        let done = targets.iter().filter(|target| target["health"] != "unknown").count();
        (done == bodies.len()).then_some(targets)
    });
    let mut wrong = Vec::new();
    for target in &targets {
        let index: usize = target["labels"]["body"].as_str().and_then(|text| text.parse().ok()).unwrap();
        let (format, body) = &bodies[index];
        let theirs = target["lastError"].as_str().unwrap_or_default();
        let ours = told(body, *format, &ParseOptions::default()).err().map(|error| error.to_string());
        // Prometheus appends as well; what it refuses then was accepted by its parser.
        let parsed = theirs.is_empty() || ["out of bounds", "out of order"].iter().any(|why| theirs.contains(why));
        if parsed != ours.is_none() {
            wrong.push(format!("{format:?} {:?}\n  ours {ours:?}\n  theirs {theirs:?}", String::from_utf8_lossy(body)));
        }
    }
    assert!(wrong.is_empty(), "{} of {} bodies:\n{}", wrong.len(), bodies.len(), wrong.join("\n"));
}

/// One family of each type, with everything that its type can say.
pub(crate) fn families() -> Vec<MetricFamily> {
    let labels = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied());
    let exemplar = |id: &str, value| Exemplar { labels: labels(&[("trace_id", id)]), value, timestamp: None };
    let family = |name: &str, metric_type, metrics: Vec<(Labels, MetricValue)>| {
        let mut family = MetricFamily::new(name, "A \"help\" with \\ and\nnewline.", metric_type);
        metrics.into_iter().for_each(|(labels, value)| family.push(labels, value));
        family
    };
    let bucket = |upper_bound, cumulative_count, exemplar| Bucket { upper_bound, cumulative_count, exemplar };
    let classic = HistogramValue {
        count: Some(3.0),
        sum: Some(2.5),
        buckets: vec![
            bucket(0.1, 1.0, Some(exemplar("b", 0.05))),
            bucket(1.0, 2.0, None),
            bucket(f64::INFINITY, 3.0, None),
        ],
        ..HistogramValue::default()
    };
    let native = IntegerHistogram {
        schema: 3,
        count: 6,
        sum: 4.5,
        zero_threshold: 0.001,
        zero_count: 1,
        positive_spans: vec![Span { offset: -2, length: 2 }, Span { offset: 3, length: 1 }],
        positive_buckets: vec![2, -1, 1],
        ..IntegerHistogram::default()
    };
    let native = HistogramValue {
        count: Some(6.0),
        sum: Some(4.5),
        native: Some(native.into()),
        exemplars: vec![Exemplar { timestamp: Some(SystemClock.now()), ..exemplar("n", 1.5) }],
        ..HistogramValue::default()
    };
    let summary = SummaryValue { count: Some(4.0), sum: Some(8.0), quantiles: vec![(0.5, 2.0), (0.99, f64::NAN)] };
    let state = |name: &str, holds| (std::sync::Arc::from(name), holds);
    vec![
        family(
            "requests_total",
            MetricType::Counter,
            vec![(
                labels(&[("path", "/\"x\"\\\n")]),
                MetricValue::Counter { value: 5.0, exemplar: Some(exemplar("c", 1.0)) },
            )],
        ),
        family("temperature_celsius", MetricType::Gauge, vec![(Labels::empty(), MetricValue::Gauge(-1.5e-7))]),
        family("dotted.name", MetricType::Gauge, vec![(labels(&[("label.with.dots", "ü")]), MetricValue::Gauge(1e21))]),
        family(
            "latency_seconds",
            MetricType::Histogram,
            vec![(Labels::empty(), MetricValue::Histogram(Box::new(classic)))],
        ),
        family(
            "native_seconds",
            MetricType::Histogram,
            vec![(Labels::empty(), MetricValue::Histogram(Box::new(native)))],
        ),
        family("size_bytes", MetricType::Summary, vec![(Labels::empty(), MetricValue::Summary(summary))]),
        family("build_info", MetricType::Info, vec![(labels(&[("version", "1")]), MetricValue::Info)]),
        family(
            "mode",
            MetricType::StateSet,
            vec![(Labels::empty(), MetricValue::StateSet(vec![state("on", true), state("off", false)]))],
        ),
        family("anything", MetricType::Unknown, vec![(Labels::empty(), MetricValue::Unknown(f64::INFINITY))]),
    ]
}

/// What a scraper that reads this body stores, in words: labels, and the value or `native`.
fn expected(body: &[u8], format: Format) -> Vec<String> {
    let options = ParseOptions { native_histograms: true, ..ParseOptions::default() };
    let mut parser = Parser::new(body, format, &options);
    let (mut stored, mut labels) = (Vec::new(), LabelBuffer::default());
    while let Some(event) = parser.next() {
        match event.unwrap() {
            Event::Sample(sample) => {
                sample.labels(&mut labels);
                stored.push(format!("{} {:?}", labels.to_labels(), sample.value));
            }
            Event::Histogram(histogram) => {
                histogram.labels(&mut labels);
                let Histogram::Integer(native) = &histogram.histogram else { panic!("integer") };
                stored.push(format!("{} native {:?} {:?}", labels.to_labels(), native.count as f64, native.sum));
            }
            _ => {}
        }
    }
    stored.sort();
    stored
}

/// The same of an answer of Prometheus.
fn stored(answer: &Value) -> Option<Vec<String>> {
    let number = |text: &Value| text.as_str()?.parse::<f64>().ok();
    let mut stored = Vec::new();
    for series in answer["data"]["result"].as_array()? {
        let metric =
            series["metric"].as_object()?.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap_or("")));
        let labels = Labels::from_pairs(metric.filter(|(name, _)| !matches!(*name, "job" | "instance")));
        let native = &series["histogram"][1];
        stored.push(if native.is_null() {
            format!("{labels} {:?}", number(&series["value"][1])?)
        } else {
            format!("{labels} native {:?} {:?}", number(&native["count"])?, number(&native["sum"])?)
        });
    }
    stored.sort();
    (!stored.is_empty()).then_some(stored)
}

#[test]
fn prometheus_reads_what_we_write_in_every_format() {
    let address = serve(Arc::new(|_, accept| {
        let negotiated = Negotiated::from_accept(Some(accept));
        let mut body = Vec::new();
        encode_with(&families(), negotiated.format(), &negotiated.options(), &mut body);
        (negotiated.content_type(), body)
    }));
    let jobs = ScrapeProtocol::PROTO_FIRST.map(|protocol| {
        let name = protocol.as_str();
        format!("- job_name: {name}\n  scrape_protocols: [{name}]\n  static_configs: [{{targets: ['{address}']}}]\n")
    });
    let configuration =
        format!("global: {{scrape_interval: 2s, scrape_timeout: 2s}}\nscrape_configs:\n{}", jobs.concat());
    let Some(prometheus) = Prometheus::start(&configuration) else { return };
    let encoded = |text: &str| {
        text.bytes()
            .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
            .collect::<String>()
    };
    for protocol in ScrapeProtocol::PROTO_FIRST {
        let negotiated = Negotiated::from_accept(Some(&accept_header(&[protocol], Escaping::AllowUtf8)));
        assert_eq!(negotiated.format(), protocol.format());
        let mut body = Vec::new();
        encode_with(&families(), negotiated.format(), &negotiated.options(), &mut body);
        let name = protocol.as_str();
        let selector = format!("{{job=\"{name}\",__name__!~\"up|scrape_.*\"}}");
        let theirs = prometheus.wait_for(&format!("/api/v1/query?query={}", encoded(&selector)), stored);
        assert_eq!(expected(&body, protocol.format()), theirs, "{name}");

        if protocol.format() == Format::Text {
            continue;
        }
        let selector = format!("{{job=\"{name}\"}}");
        let path = format!("/api/v1/query_exemplars?query={}&start=0&end=99999999999", encoded(&selector));
        let ids = prometheus.wait_for(&path, |answer| {
            let series = answer["data"].as_array()?.iter().flat_map(|series| series["exemplars"].as_array());
            let ids =
                series.flatten().filter_map(|exemplar| exemplar["labels"]["trace_id"].as_str().map(str::to_owned));
            let ids: std::collections::BTreeSet<String> = ids.collect();
            (!ids.is_empty()).then_some(ids)
        });
        let native = if protocol.format() == Format::Protobuf { "b c n" } else { "b c" };
        assert_eq!(ids.into_iter().collect::<Vec<_>>().join(" "), native, "{name}");
    }
}

#[test]
fn what_prometheus_packs_is_unpacked() {
    let Some(prometheus) = Prometheus::start("") else { return };
    prometheus.wait_for("/api/v1/status/buildinfo", |answer| answer["data"].as_object().map(|_| ()));
    let codings = Coding::ACCEPTED.split(", ").chain(["identity"]);
    for word in codings {
        let (head, packed) = prometheus.get("/metrics", word).unwrap();
        let named = head.lines().find_map(|line| line.strip_prefix("Content-Encoding: "));
        let coding = Coding::from_response(named).unwrap();
        // zstd is built into the servers of some releases only; the others answer as they are.
        if coding != Coding::Identity || word != "zstd" {
            assert_eq!(coding.content_encoding().unwrap_or("identity"), word, "{head}");
        }
        let body = coding.unpack(&packed, 1 << 20).unwrap();
        let samples = told(&body, Format::Text, &ParseOptions::default()).unwrap();
        assert!(samples.len() > 100, "{word}: {samples:#?}");
    }
}

#[test]
#[cfg(feature = "zstd")]
fn what_we_pack_the_zstd_program_unpacks() {
    let mut body = Vec::new();
    encode_with(&families(), Format::Text, &Default::default(), &mut body);
    let command = Command::new("zstd").args(["-dc"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = command else {
        println!("there is no program zstd: not compared with it");
        return;
    };
    child.stdin.take().unwrap().write_all(&Coding::Zstd.pack(body.clone())).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stdout == body);
}
