//! What the engine costs: CPU time from the process clock, bytes from `/proc`. Prints, asserts nothing about speed.
//!
//! ```text
//! cargo bench -p ferula-tsdb --bench engine -- ingest [series] [steps]
//! cargo bench -p ferula-tsdb --bench engine -- growth [series,series,...]
//! cargo bench -p ferula-tsdb --bench engine -- replay [series]
//! cargo bench -p ferula-tsdb --bench engine -- read [series] [samples]
//! ```
//!
//! `ingest` appends as a remote-write receiver does: commits of 5,000 samples, every series found by its labels. First
//! with one sample of a series in a commit, then with twenty. `growth` has five processes for each number of series, and
//! says what a new series costs, a sample, and memory per series after four samples, and how many times what the size
//! before it cost: with ten times as many series, x10 is the least that can be hoped for. `replay` kills a writer and
//! opens what it left. `read` decodes float chunks, then selects and reads series from the head.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod read;
mod workload;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use ferula_model::{Appendable, Timestamp};
use ferula_tsdb::Db;
use workload::{Host, PER_HOST};

/// Samples in a commit.
const COMMIT: usize = 5000;
/// Hosts in a commit with one sample of each series.
const HOSTS: usize = COMMIT / PER_HOST;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |at: usize, otherwise: usize| args.get(at).map_or(otherwise, |arg| arg.parse().unwrap());
    match args.first() {
        Some(&"ingest") => ingest(number(1, 100_000), number(2, 20) as u64),
        Some(&"growth") => growth(args.get(1).unwrap_or(&"10000,100000,1000000")),
        Some(&"grow") => grow(number(1, 10_000)),
        Some(&"replay") => replay(number(1, 200_000)),
        Some(&"leave") => leave(Path::new(args[1]), number(2, 200_000)),
        Some(&"read") => read::run(number(1, 5000), number(2, 1000)),
        _ => {
            ingest(5000, 20);
            growth("1000,10000");
            read::run(1000, 240);
        }
    }
}

fn ingest(series: usize, steps: u64) {
    for samples in [1, 20] {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::builder(dir.path()).open().unwrap();
        let hosts: Vec<Host> = (0..series.div_ceil(PER_HOST) as u64).map(Host::new).collect();
        let (new, steady) = append(&db, &hosts, steps, samples);
        let written: u64 = folder_bytes(&dir.path().join("wal"));
        let total = (hosts.len() * PER_HOST) as f64 * steps as f64;
        println!(
            "ingest {} series, {samples} a series and commit: {:.0} ns a sample of a new series, {:.0} ns of a known one, {:.1} B of log",
            hosts.len() * PER_HOST,
            new,
            steady,
            written as f64 / total,
        );
    }
}

/// Appends `steps` samples of each series; CPU ns a sample in commits that create series and in later ones.
fn append(db: &Db, hosts: &[Host], steps: u64, samples: u64) -> (f64, f64) {
    let (mut new, mut known) = ((0.0, 0), (0.0, 0));
    let mut step = 0;
    while step < steps {
        let samples = samples.min(steps - step);
        let sum = if step == 0 { &mut new } else { &mut known };
        // A commit is 5,000 samples: of some hosts whole, or of a part of one host.
        let part = (COMMIT / samples as usize).min(PER_HOST);
        for group in hosts.chunks(HOSTS.div_ceil(samples as usize)) {
            for from in (0..PER_HOST).step_by(part) {
                let to = (from + part).min(PER_HOST);
                let mut values = Vec::with_capacity(COMMIT);
                for host in group {
                    values.extend((from..to).flat_map(|at| (step..step + samples).map(move |s| host.value(at, s))));
                }
                let begun = cpu();
                commit(db, group, from..to, step, samples, &values);
                sum.0 += cpu() - begun;
                sum.1 += values.len();
            }
        }
        step += samples;
    }
    (new.0 / new.1 as f64 * 1e9, known.0 / known.1.max(1) as f64 * 1e9)
}

fn commit(db: &Db, hosts: &[Host], part: std::ops::Range<usize>, step: u64, samples: u64, values: &[f64]) {
    let mut appender = db.appender();
    let mut pairs = Vec::new();
    let mut values = values.iter();
    for host in hosts {
        for series in part.clone() {
            let id = appender.known_series(host.encoded(series)).unwrap_or_else(|| {
                host.labels(series, &mut pairs);
                appender.series(&pairs).unwrap()
            });
            for (step, value) in (step..step + samples).zip(&mut values) {
                appender.append_float(id, Timestamp(host.time(step)), *value).unwrap();
            }
        }
    }
    appender.commit().unwrap();
}

/// How often each size of `growth` is run; the median counts.
const RUNS: usize = 5;

/// What a number of series costs: how many they are, CPU seconds of creating them, each with a sample, and of one more sample
/// of each, and bytes as the kernel and as the database counts them.
type Cost = [f64; 5];

fn growth(sizes: &str) {
    let sizes: Vec<&str> = sizes.split(',').collect();
    let mut runs: Vec<Vec<Cost>> = vec![Vec::new(); sizes.len()];
    for _ in 0..RUNS {
        for (size, runs) in sizes.iter().zip(&mut runs) {
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["grow", size])
                .stderr(Stdio::inherit())
                .output()
                .unwrap();
            assert!(child.status.success());
            let text = String::from_utf8(child.stdout).unwrap();
            let mut numbers = text.split_whitespace().map(|number| number.parse().unwrap());
            runs.push(std::array::from_fn(|_| numbers.next().unwrap()));
        }
    }
    let median = |runs: &Vec<Cost>, what: usize| {
        let mut values: Vec<f64> = runs.iter().map(|cost| cost[what]).collect();
        values.sort_by(f64::total_cmp);
        values[RUNS / 2]
    };
    let costs: Vec<Cost> = runs.iter().map(|runs| std::array::from_fn(|what| median(runs, what))).collect();
    println!("                  a new series      a known sample    RSS of a series   own count");
    println!("   series    us CPU     times    ns CPU     times         B     times           B");
    let mut before: Option<Cost> = None;
    for cost in costs {
        let [series, create, sample, rss, counted] = cost;
        let times = |what: usize| before.map_or(String::new(), |before| format!("x{:.2}", cost[what] / before[what]));
        println!(
            "{series:>9} {:>9.2} {:>9} {:>9.0} {:>9} {:>9.0} {:>9} {:>11.0}",
            create / series * 1e6,
            times(1),
            sample / series * 1e9,
            times(2),
            rss / series,
            times(3),
            counted / series,
        );
        before = Some(cost);
    }
}

/// Prints the numbers of a [`Cost`].
fn grow(series: usize) {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::builder(dir.path()).open().unwrap();
    let before = status("RssAnon");
    let (mut new, mut known, mut count) = (0.0, 0.0, 0);
    for step in 0..4 {
        let mut hosts: Vec<Host> = Vec::new();
        for first in (0..series.div_ceil(PER_HOST)).step_by(HOSTS) {
            hosts.resize_with(HOSTS.min(series.div_ceil(PER_HOST) - first), Host::default);
            hosts.iter_mut().enumerate().for_each(|(at, host)| host.become_host((first + at) as u64));
            let (one, _) = append_at(&db, &hosts, step);
            if step == 0 {
                new += one;
                count += hosts.len() * PER_HOST;
            } else {
                known += one;
            }
        }
    }
    let rss = status("RssAnon") - before;
    println!("{count} {new} {} {rss} {}", known / 3.0, db.memory_bytes());
}

/// Appends one sample of each series; CPU seconds and samples.
fn append_at(db: &Db, hosts: &[Host], step: u64) -> (f64, usize) {
    let values: Vec<f64> = hosts.iter().flat_map(|host| (0..PER_HOST).map(move |at| host.value(at, step))).collect();
    let begun = cpu();
    commit(db, hosts, 0..PER_HOST, step, 1, &values);
    (cpu() - begun, values.len())
}

/// Writes a database and dies.
fn leave(dir: &Path, series: usize) {
    let db = Db::builder(dir).lock_file(false).open().unwrap();
    let hosts: Vec<Host> = (0..series.div_ceil(PER_HOST) as u64).map(Host::new).collect();
    append(&db, &hosts, 20, 1);
    std::process::exit({
        std::mem::forget(db);
        0
    });
}

fn replay(series: usize) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let exe = std::env::current_exe().unwrap();
    let status_code = Command::new(exe).args(["leave", path, &series.to_string()]).status().unwrap();
    assert!(status_code.success());
    let bytes = folder_bytes(&dir.path().join("wal"));
    let (begun, wall) = (cpu(), Instant::now());
    let db = Db::builder(dir.path()).open().unwrap();
    let (used, wall) = (cpu() - begun, wall.elapsed().as_secs_f64());
    let report = db.opened();
    println!(
        "replay {} series, {} samples, {:.1} MB of log: {used:.2} CPU s, {wall:.2} s by the clock, {:.0} MB RSS, {:.0} MB at the peak",
        report.series,
        report.samples,
        bytes as f64 / 1e6,
        status("VmRSS") / 1e6,
        status("VmHWM") / 1e6
    );
}

/// CPU seconds of this process so far.
pub(crate) fn cpu() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// Bytes of a line of `/proc/self/status`, 0 where there is none.
fn status(line: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value =
        text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':')?.trim().strip_suffix(" kB")?.parse().ok());
    value.map_or(0.0, |kib: f64| kib * 1024.0)
}

fn folder_bytes(dir: &Path) -> u64 {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}
