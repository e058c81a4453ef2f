//! What was acknowledged survives `kill -9`, however often.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use crate::program::Program;
use crate::write_request::WriteRequest;

const SERIES: usize = 50;

/// `FERULA_CRASH_ROUNDS` sets how often the server is killed.
fn rounds() -> usize {
    std::env::var("FERULA_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

#[test]
fn every_acknowledged_sample_survives_being_killed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("prometheus.yml"), "scrape_configs: []\n").unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let first = now - 3_600_000;
    let next = AtomicI64::new(first);
    for round in 0..rounds() {
        let server = Program::start(folder.path(), &["--web.enable-remote-write-receiver"]);
        missing(&server, first, next.load(Ordering::SeqCst), round);
        write_until_killed(server, &next);
    }
    let server = Program::start(folder.path(), &["--web.enable-remote-write-receiver"]);
    missing(&server, first, next.load(Ordering::SeqCst), rounds());
}

/// Sends request after request and kills the server while the next one is on its way. `next` is the time of the first
/// sample that was not acknowledged.
fn write_until_killed(server: Program, next: &AtomicI64) {
    let acknowledged = AtomicI64::new(0);
    let gone = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            while let Ok((status, body)) =
                server.request("POST", "/api/v1/write", &request(next.load(Ordering::SeqCst)))
            {
                assert_eq!(status, 204, "{}", String::from_utf8_lossy(&body));
                next.fetch_add(1, Ordering::SeqCst);
                acknowledged.fetch_add(1, Ordering::SeqCst);
                if gone.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        while acknowledged.load(Ordering::SeqCst) < 40 && !writer.is_finished() {
            std::thread::yield_now();
        }
        server.kill();
        gone.store(true, Ordering::SeqCst);
    });
    // The request that was on its way may or may not be stored: it was not acknowledged. Go past it.
    next.fetch_add(1, Ordering::SeqCst);
}

fn request(at: i64) -> Vec<u8> {
    let mut request = WriteRequest::default();
    for series in 0..SERIES {
        let number = series.to_string();
        request.series(&[("__name__", "crash"), ("series", &number)], &[(at, at as f64 + series as f64)]);
    }
    request.snappy()
}

/// Reads everything back and fails if an acknowledged sample is not there. Times that lie between two rounds were never
/// acknowledged and may be missing.
fn missing(server: &Program, first: i64, next: i64, round: usize) {
    if next == first {
        return;
    }
    let seconds = (next - first) / 1000 + 2;
    let path = format!("/api/v1/query?query=crash%5B{seconds}s%5D&time={}", next as f64 / 1000.0);
    let (status, body) = server.request("GET", &path, b"").unwrap();
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let stored: BTreeMap<&str, usize> = answer["data"]["result"]
        .as_array()
        .unwrap()
        .iter()
        .map(|series| (series["metric"]["series"].as_str().unwrap(), series["values"].as_array().unwrap().len()))
        .collect();
    assert_eq!(stored.len(), SERIES, "series after round {round}");
    let wanted = (next - first) as usize - round;
    for (series, samples) in stored {
        assert!(
            samples >= wanted,
            "series {series} has {samples} of {wanted} acknowledged samples after round {round}"
        );
    }
}
