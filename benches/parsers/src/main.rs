//! What does it cost to parse what a target says? Ours beside the other parsers of Rust, in one run, in CPU time.
//!
//! ```text
//! cargo run --release --manifest-path benches/parsers/Cargo.toml -- node_exporter.text ...
//! ```
//!
//! Each body is parsed by each parser in turn, round by round, so that a busy machine troubles all of them alike; the best
//! round counts. `known` is the least that series cost which were seen before: keys and comments are compared with those of
//! the last body and only values are read. `scraped` is all that a scrape of them costs between the transport and the
//! storage, of a [`ScrapeManager`](ferula_scrape::ScrapeManager) with its series cache: a copy of the body, looking up,
//! counting, reporting and appending to a storage that only counts. `events` yields every sample with its raw key;
//! `labels` decodes name and labels of every sample as well.

mod scraped;

use std::hint::black_box;

use ferula_exposition::{Event, Format, LabelBuffer, ParseOptions, Parser};
use ferula_model::MetricType;

const ROUNDS: usize = 15;

fn main() {
    for path in std::env::args().skip(1) {
        match std::fs::read_to_string(&path) {
            Ok(body) => compare(&path, &body),
            Err(error) => println!("{path}: {error}"),
        }
    }
}

fn compare(path: &str, body: &str) {
    let known = Known::learn(body);
    let scraped = scraped::Bed::new(body);
    let samples = events(body);
    println!("{path}: {} bytes, {samples} samples", body.len());
    let parsers: [(&str, &dyn Fn() -> usize); 6] = [
        ("ferula known", &|| known.read(body)),
        ("ferula scraped", &|| scraped.scrape()),
        ("ferula events", &|| events(body)),
        ("ferula labels", &|| labels(body)),
        ("prometheus-parse", &|| prometheus_parse(body)),
        ("openmetrics-parser", &|| openmetrics_parser(body)),
    ];
    let mut best = [f64::INFINITY; 6];
    let mut read = [0; 6];
    for _ in 0..ROUNDS {
        for (place, (_, parse)) in parsers.iter().enumerate() {
            let runs = if place < 4 { 200 } else { 5 };
            let before = cpu_nanos();
            for _ in 0..runs {
                read[place] = parse();
            }
            best[place] = best[place].min((cpu_nanos() - before) as f64 / runs as f64);
        }
    }
    for (place, (name, _)) in parsers.iter().enumerate() {
        let (nanos, of) = (best[place], read[place]);
        let (gigabytes, each, times) = (body.len() as f64 / nanos, nanos / samples as f64, nanos / best[2]);
        println!("  {name:20} {gigabytes:7.3} GB/s {each:9.1} ns/sample {times:7.2} x events, {of} samples");
    }
}

fn events(body: &str) -> usize {
    let mut parser = Parser::new(body.as_bytes(), Format::Text, &ParseOptions::default());
    let mut samples = 0;
    while let Some(event) = parser.next() {
        if let Ok(Event::Sample(sample)) = &event {
            black_box((sample.key, sample.value));
            samples += 1;
        }
    }
    samples
}

fn labels(body: &str) -> usize {
    let mut parser = Parser::new(body.as_bytes(), Format::Text, &ParseOptions::default());
    let mut buffer = LabelBuffer::default();
    let mut samples = 0;
    while let Some(event) = parser.next() {
        if let Ok(Event::Sample(sample)) = &event {
            sample.labels(&mut buffer);
            black_box((&buffer, sample.value));
            samples += 1;
        }
    }
    samples
}

/// What a scraper remembers of the body before.
struct Known(Vec<Piece>);

enum Piece {
    Key(Vec<u8>),
    Comments(Vec<u8>, MetricType),
}

impl Known {
    fn learn(body: &str) -> Self {
        let mut parser = Parser::new(body.as_bytes(), Format::Text, &ParseOptions::default());
        let (mut pieces, mut from) = (Vec::new(), 0);
        loop {
            let key = match parser.next() {
                Some(Ok(Event::Sample(sample))) => Some(sample.key.to_vec()),
                Some(Ok(_)) => None,
                _ => break,
            };
            let read = &body.as_bytes()[from..parser.position()];
            match key {
                Some(key) => pieces.push(Piece::Key(key)),
                None => match pieces.last_mut() {
                    Some(Piece::Comments(text, metric_type)) => {
                        text.extend_from_slice(read);
                        *metric_type = parser.metric_type();
                    }
                    _ => pieces.push(Piece::Comments(read.to_vec(), parser.metric_type())),
                },
            }
            from = parser.position();
        }
        Self(pieces)
    }

    fn read(&self, body: &str) -> usize {
        let mut parser = Parser::new(body.as_bytes(), Format::Text, &ParseOptions::default());
        let mut samples = 0;
        for piece in &self.0 {
            match piece {
                Piece::Key(key) => samples += usize::from(black_box(parser.next_known(key)).is_some()),
                Piece::Comments(text, metric_type) => assert!(parser.skip_known(text.len(), *metric_type, |lines| lines == text)),
            }
        }
        samples
    }
}

fn prometheus_parse(body: &str) -> usize {
    let lines = body.lines().map(|line| Ok(line.to_owned()));
    prometheus_parse::Scrape::parse(lines).map_or(0, |scrape| black_box(scrape).samples.len())
}

fn openmetrics_parser(body: &str) -> usize {
    let parsed = openmetrics_parser::prometheus::parse_prometheus(body);
    parsed.map_or(0, |exposition| {
        let families = black_box(&exposition.families);
        families.values().map(|family| family.iter_samples().count()).sum()
    })
}

/// CPU time of this thread.
fn cpu_nanos() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
