//! A day of scraping on a moved clock, through cuts, compactions, retention, a restart and a killed process; checks every
//! hour that each sample inside the retention is answered, with its value. See `tests/support/day.rs`.
//!
//! ```text
//! cargo run --release -p ferula-tsdb --example day -- [series] [hours] [interval seconds] [retention hours] [memory]
//! ```
//!
//! Defaults: 10000 series, 24 hours, 15 seconds, 8 hours. The database lies in a temporary folder; with
//! `memory`, on a disk in memory.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic)]

#[path = "../tests/support/day.rs"]
mod day;

use std::time::Instant;

use day::{Day, Place};
use ferula_tsdb::fs::MemFs;

const HOUR: i64 = 3_600_000;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, otherwise: i64| args.get(at).map_or(otherwise, |arg| arg.parse().unwrap());
    let day = Day {
        series: number(0, 10_000) as u64,
        interval: number(2, 15) * 1000,
        length: number(1, 24) * HOUR,
        retention: number(3, 8) * HOUR,
        block_range: 2 * HOUR,
        life: HOUR,
        check_every: HOUR,
    };
    println!("{day:?}, times in milliseconds");
    let folder = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let place = match args.get(4) {
        Some(word) if word == "memory" => Place::Memory(MemFs::new()),
        _ => Place::Folder(folder.path().to_owned()),
    };
    let report = day.run(&place, |since, report| {
        println!("{:4} h in {:6.1} s: {report:?}", since / HOUR, started.elapsed().as_secs_f64());
    });
    println!(
        "{} samples appended, {} answers of {} checks as scraped, in {:.1} s",
        report.appended,
        report.compared,
        report.checks,
        started.elapsed().as_secs_f64()
    );
}
