//! Do the answers of an engine over a storage agree with a script?

use std::time::Duration;

use ferula_model::{Sample, StepGrid, Timestamp};

use super::compare::{compare_instant, compare_matrix, compare_notes, compare_scalar, compare_vector};
use super::nhcb::native_histograms;
use super::replay::{pinned, reads_query_times};
use super::script::{Command, Eval, Expected, Load, When, read_script};
use super::storage::MemoryStorage;
use super::{Failure, Options, Report};
use crate::engine::Engine;
use crate::error::QueryError;
use crate::options::QueryOptions;
use crate::syntax::parse_with;
use crate::value::{Answer, Value, VectorSample};

/// Runs a script over an empty storage.
pub(super) fn run_script(text: &str, options: &Options) -> Report {
    let runner = Runner { engine: Engine::new(options.engine.clone()), storage: MemoryStorage::new(), options };
    let mut report = Report::default();
    for (line, command) in read_script(text) {
        let outcome = match command {
            Err(error) => Some(Err(error.to_string())),
            Ok(Command::Clear) => {
                runner.storage.clear();
                None
            }
            Ok(Command::Load(load)) => {
                runner.load(&load);
                None
            }
            Ok(Command::Eval(eval)) => Some(runner.eval(&eval).map_err(|problem| format!("{}: {problem}", eval.query))),
        };
        match outcome {
            None => {}
            Some(Ok(())) => report.passed += 1,
            Some(Err(message)) => {
                report.failed += 1;
                report.failures.push(Failure { line, message });
            }
        }
    }
    report
}

struct Runner<'o> {
    engine: Engine,
    storage: MemoryStorage,
    options: &'o Options,
}

impl Runner<'_> {
    fn load(&self, load: &Load) {
        let step = ferula_model::millis(load.step);
        let at = |index: usize| i64::try_from(index).unwrap_or(i64::MAX).saturating_mul(step);
        for series in &load.series {
            for (index, point) in series.points.iter().enumerate() {
                let Some(point) = point else { continue };
                let start = series.starts.get(index).copied().flatten();
                let start = start.map(|seconds| Timestamp::from_millis(at(index) + (seconds * 1000.0).round() as i64));
                let sample = Sample { timestamp: Timestamp::from_millis(at(index)), start, value: point.value.clone() };
                self.storage.insert(&series.labels, sample);
            }
        }
        if load.with_native {
            for (labels, index, histogram) in native_histograms(load) {
                self.storage.insert(&labels, Sample::histogram(Timestamp::from_millis(at(index)), histogram));
            }
        }
    }

    fn eval(&self, eval: &Eval) -> Result<(), String> {
        match eval.when {
            When::Range(grid) => {
                let answer = self.range(&eval.query, grid);
                let Some(answer) = expect_success(&eval.expected, answer)? else { return Ok(()) };
                check_notes(&eval.expected, &answer)?;
                match &answer.value {
                    Value::Matrix(series) => compare_matrix(&eval.expected, series, grid),
                    other => Err(format!("expected a matrix, got a {}", other.type_name())),
                }
            }
            When::Instant(at) => {
                self.eval_instant(&eval.query, at, &eval.expected, true)?;
                let Ok(expr) = parse_with(&eval.query, &self.options.engine.dialect) else { return Ok(()) };
                let Some((query, moments)) = pinned(&expr, at) else { return Ok(()) };
                for moment in moments {
                    self.eval_instant(&query, moment, &eval.expected, false)
                        .map_err(|problem| format!("asked as {query} at {}s: {problem}", moment.as_secs_f64()))?;
                }
                Ok(())
            }
        }
    }

    /// Asks at one moment, and again as the middle of three steps. Positions in annotations are those of the query as
    /// the script has it, so they are compared only for that (`as_written`).
    fn eval_instant(&self, query: &str, at: Timestamp, expected: &Expected, as_written: bool) -> Result<(), String> {
        let answer = self.engine.instant(&self.storage, query, at, &QueryOptions::default());
        let Some(answer) = expect_success(expected, answer)? else { return Ok(()) };
        if as_written {
            check_notes(expected, &answer)?;
        }
        compare_instant(expected, &answer.value)?;
        let Ok(expr) = parse_with(query, &self.options.engine.dialect) else { return Ok(()) };
        let same_as_range = matches!(answer.value, Value::Scalar { .. } | Value::Vector(_));
        if !same_as_range || expected.ordered || reads_query_times(&expr) {
            return Ok(());
        }
        self.eval_as_range(query, at, expected, matches!(answer.value, Value::Scalar { .. }))
            .map_err(|problem| format!("asked as a range query: {problem}"))
    }

    fn eval_as_range(&self, query: &str, at: Timestamp, expected: &Expected, scalar: bool) -> Result<(), String> {
        const MINUTE: Duration = Duration::from_secs(60);
        let grid = StepGrid::new(at.saturating_sub(MINUTE), at.saturating_add(MINUTE), MINUTE);
        let answer = self.range(query, grid.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
        let Value::Matrix(series) = &answer.value else {
            return Err(format!("expected a matrix, got a {}", answer.value.type_name()));
        };
        if !series.is_sorted_by(|a, b| a.labels < b.labels) {
            return Err("the series are not sorted by labels".to_owned());
        }
        let mut samples = Vec::new();
        for series in series {
            if let Some((at, value)) = series.points().find(|(found, _)| *found == at) {
                samples.push(VectorSample { labels: series.labels.clone(), at, value });
            }
        }
        match samples.first().map(|sample| &sample.value) {
            Some(ferula_model::Value::Float(value)) if scalar => compare_scalar(expected, *value),
            _ if scalar => Err("expected a scalar".to_owned()),
            _ => compare_vector(expected, &samples),
        }
    }

    fn range(&self, query: &str, grid: StepGrid) -> Result<Answer, QueryError> {
        self.engine.range(&self.storage, query, grid, &QueryOptions::default())
    }
}

/// The answer, if there should be one; `None` for a failure that was expected.
fn expect_success(expected: &Expected, answer: Result<Answer, QueryError>) -> Result<Option<Answer>, String> {
    match answer {
        Ok(_) if expected.fails => Err("expected a failure".to_owned()),
        Ok(answer) => Ok(Some(answer)),
        Err(error) if expected.fails => {
            let message = error.to_string();
            match expected.failure.iter().find(|wanted| !wanted.accepts(&message)) {
                None => Ok(None),
                Some(wanted) => Err(format!("expected failure {wanted:?}, got {message:?}")),
            }
        }
        Err(error) => Err(error.to_string()),
    }
}

fn check_notes(expected: &Expected, answer: &Answer) -> Result<(), String> {
    compare_notes("warning", &expected.warnings, &answer.warnings)?;
    compare_notes("info", &expected.infos, &answer.infos)
}
