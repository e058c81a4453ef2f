//! Reads what a target exposes, as a scraper or as the specification would, and says whether it is accepted.
//!
//! ```text
//! curl -s 127.0.0.1:9100/metrics | cargo run --release --example check_exposition -- --format text --lint
//! ```
//!
//! The body comes from standard input. `--format` is `text` (the default), `openmetrics` or `protobuf` (delimited).
//! `--strict` accepts exactly what the specification of the format allows, otherwise exactly what Prometheus accepts.
//! `--lint` also applies the naming rules of promlint, one finding a line.
//!
//! Exit status: 0 accepted; 1 refused, with the line and a caret under the place; 2 bad arguments or unreadable input;
//! 3 accepted, but `--lint` found something (as `promtool check metrics`).

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::{Read, Write};
use std::process::ExitCode;

use ferula_exposition::{Format, ParseOptions, Parser, lint, read_families};

const USAGE: &str = "usage: check_exposition [--format text|openmetrics|protobuf] [--strict] [--lint] < BODY";

struct Arguments {
    format: Format,
    strict: bool,
    lint: bool,
}

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut body = Vec::new();
    if let Err(error) = std::io::stdin().lock().read_to_end(&mut body) {
        eprintln!("standard input: {error}");
        return ExitCode::from(2);
    }
    // Native histograms are only looked at, and refused if they contradict themselves, where they are wanted.
    let options = ParseOptions { strict: arguments.strict, native_histograms: true, ..ParseOptions::default() };
    if let Err(error) = Parser::new(&body, arguments.format, &options).check() {
        eprintln!("{}", error.drawn());
        return ExitCode::from(1);
    }
    if !arguments.lint {
        return ExitCode::SUCCESS;
    }
    match read_families(&body, arguments.format, &options) {
        Ok(families) => {
            let problems = lint(&families);
            let mut out = std::io::stdout().lock();
            // Whoever reads may have seen enough, as `head` does.
            let _ = problems.iter().try_for_each(|problem| writeln!(out, "{problem}"));
            if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(3) }
        }
        Err(error) => {
            eprintln!("{}", error.drawn());
            ExitCode::from(1)
        }
    }
}

impl Arguments {
    /// `None` if help was asked for.
    fn read(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut arguments = Self { format: Format::Text, strict: false, lint: false };
        while let Some(word) = words.next() {
            let (flag, value) = match word.split_once('=') {
                Some((flag, value)) => (flag, Some(value.to_owned())),
                None => (word.as_str(), None),
            };
            match flag {
                "--format" => {
                    let name = value.or_else(|| words.next()).unwrap_or_default();
                    arguments.format = match name.as_str() {
                        "text" => Format::Text,
                        "openmetrics" => Format::OpenMetrics,
                        "protobuf" => Format::Protobuf,
                        other => return Err(format!("unknown format {other:?}")),
                    };
                }
                "--strict" => arguments.strict = true,
                "--lint" => arguments.lint = true,
                "--help" | "-h" => return Ok(None),
                other => return Err(format!("unknown argument {other:?}")),
            }
        }
        Ok(Some(arguments))
    }
}
