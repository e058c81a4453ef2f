//! The engine: text in, answer out.
//!
//! ```text
//!  text --parse--> tree --check--> typed tree --lower, rewrite--> plan --build--> operators --> Answer
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ferula_model::{Querier, Queryable, StepGrid, Timestamp, millis};
use parking_lot::Mutex;

use crate::check;
use crate::error::QueryError;
use crate::eval::limits::Limits;
use crate::eval::measure::Measures;
use crate::eval::{self, Env, Ledger, Settings};
use crate::functions::expressions::Expressions;
use crate::gate::Gate;
use crate::options::{EngineOptions, QueryOptions};
use crate::plan::lower::Times;
use crate::plan::reach::Estimate;
use crate::plan::{self, Plan};
use crate::stats::{SampleStatistics, Statistics, Timings};
use crate::syntax;
use crate::value::Answer;

/// What an engine has done since it was made.
///
/// ```
/// use ferula_promql::{Engine, EngineOptions};
///
/// let statistics = Engine::new(EngineOptions::default()).statistics();
/// assert_eq!((statistics.active, statistics.max_concurrency), (0, 20));
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct EngineStatistics {
    /// Queries that run now.
    pub active: usize,
    /// Queries that wait for a place now.
    pub waiting: usize,
    /// The most queries that may run at one time.
    pub max_concurrency: usize,
    /// Queries that ended, well or not.
    pub queries: u64,
    /// Samples read by all of them.
    pub samples: u64,
    /// Bytes that running queries hold now, as far as the engine accounts for them.
    pub bytes: u64,
}

/// Evaluates queries over any storage. Holds no thread while it is idle.
///
/// ```
/// use ferula_model::{StepGrid, Timestamp};
/// use ferula_promql::testing::MemoryStorage;
/// use ferula_promql::{Engine, EngineOptions, QueryOptions};
///
/// let storage = MemoryStorage::default();
/// let engine = Engine::new(EngineOptions::default());
/// let answer = engine.instant(&storage, "1 + 2 * 3", Timestamp(0), &QueryOptions::default()).unwrap();
/// assert_eq!(answer.scalar().unwrap(), 7.0);
/// ```
#[derive(Debug)]
pub struct Engine {
    options: EngineOptions,
    gate: Gate,
    /// Compiled for earlier queries.
    expressions: Expressions,
    /// Bytes that all running queries hold.
    bytes: Arc<AtomicU64>,
    queries: AtomicU64,
    samples: AtomicU64,
}

/// A query on its way through the engine.
struct Run<'a> {
    query: &'a str,
    times: Times,
    lookback_millis: i64,
    limits: Limits,
    timings: Timings,
    statistics: bool,
    per_step: bool,
    analyze: bool,
    only_if_brief: bool,
    entered: Instant,
}

/// A query that can be evaluated.
struct Prepared<'s> {
    plan: Plan,
    querier: Box<dyn Querier + 's>,
    /// How long it took until here.
    took: Duration,
}

impl Engine {
    /// An engine.
    pub fn new(mut options: EngineOptions) -> Self {
        options.dialect.functions.extend(options.functions.signatures().cloned());
        let gate = Gate::new(options.max_concurrency);
        Self {
            options,
            gate,
            expressions: Expressions::default(),
            bytes: Arc::default(),
            queries: AtomicU64::new(0),
            samples: AtomicU64::new(0),
        }
    }

    /// The options it was made with.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// What it has done so far.
    pub fn statistics(&self) -> EngineStatistics {
        let (active, waiting) = self.gate.load();
        EngineStatistics {
            active,
            waiting,
            max_concurrency: self.options.max_concurrency,
            queries: self.queries.load(Ordering::Relaxed),
            samples: self.samples.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// Evaluates a query at one moment. The answer may be of any type.
    ///
    /// # Errors
    ///
    /// See [`QueryError`].
    pub fn instant(
        &self,
        storage: &dyn Queryable,
        query: &str,
        at: Timestamp,
        options: &QueryOptions,
    ) -> Result<Answer, QueryError> {
        let run = self.run(query, StepGrid::instant(at), false, options);
        self.answer(storage, run).map(|(answer, _)| answer)
    }

    /// Evaluates a query at each moment of a grid. The answer is a matrix; a scalar becomes a series without labels.
    ///
    /// # Errors
    ///
    /// See [`QueryError`].
    pub fn range(
        &self,
        storage: &dyn Queryable,
        query: &str,
        grid: StepGrid,
        options: &QueryOptions,
    ) -> Result<Answer, QueryError> {
        let run = self.run(query, grid, true, options);
        self.answer(storage, run).map(|(answer, _)| answer)
    }

    /// The plan of a query as text: one line an operation, operands indented below what uses them.
    ///
    /// # Errors
    ///
    /// The query is not PromQL, or has no meaning for these times.
    pub fn explain(&self, query: &str, grid: StepGrid) -> Result<String, QueryError> {
        let run = self.run(query, grid, grid.len() > 1, &QueryOptions::default());
        Ok(plan::explain::explain(&self.plan(&run)?, &|_| None))
    }

    /// Evaluates a query and answers besides what each operation of its plan cost: time (with that of its operands, added up
    /// over threads), series, samples and bytes that came out of it.
    ///
    /// ```
    /// use ferula_model::{StepGrid, Timestamp};
    /// use ferula_promql::testing::MemoryStorage;
    /// use ferula_promql::{Engine, EngineOptions, QueryOptions};
    ///
    /// let engine = Engine::new(EngineOptions::default());
    /// let at = StepGrid::instant(Timestamp::from_millis(0));
    /// let (_, plan) =
    ///     engine.analyze(&MemoryStorage::new(), "sum(rate(up[5m]))", at, &QueryOptions::default()).unwrap();
    /// assert!(plan.lines().next().unwrap().contains("aggregate sum by ():"));
    /// ```
    ///
    /// # Errors
    ///
    /// See [`QueryError`].
    pub fn analyze(
        &self,
        storage: &dyn Queryable,
        query: &str,
        grid: StepGrid,
        options: &QueryOptions,
    ) -> Result<(Answer, String), QueryError> {
        let mut run = self.run(query, grid, grid.len() > 1, options);
        run.analyze = true;
        self.answer(storage, run)
    }

    /// What a query would cost at most, judged from the series that its selectors find, before a sample is read.
    ///
    /// # Errors
    ///
    /// The query is not PromQL, or the storage cannot answer.
    pub fn estimate(
        &self,
        storage: &dyn Queryable,
        query: &str,
        grid: StepGrid,
        options: &QueryOptions,
    ) -> Result<Estimate, QueryError> {
        let run = self.run(query, grid, grid.len() > 1, options);
        let plan = self.plan(&run)?;
        let range = plan::reach::times_needed(&plan, grid, run.lookback_millis);
        let querier = storage.querier(range)?;
        plan::reach::estimate(&plan, grid, run.lookback_millis, &*querier)
    }

    fn run<'a>(&self, query: &'a str, grid: StepGrid, is_range: bool, options: &QueryOptions) -> Run<'a> {
        let timeout = options.timeout.unwrap_or(self.options.timeout).min(self.options.timeout);
        let max_samples = options.max_samples.unwrap_or(self.options.max_samples).min(self.options.max_samples);
        let lookback = options.lookback.unwrap_or(self.options.lookback);
        Run {
            query,
            times: Times { grid, is_range, subquery_step_millis: millis(self.options.subquery_step) },
            lookback_millis: millis(lookback),
            limits: Limits::new(max_samples, self.options.max_bytes, timeout, options.cancel.clone())
                .together(Arc::clone(&self.bytes), self.options.max_bytes_together),
            timings: Timings::default(),
            statistics: options.statistics || options.per_step_statistics,
            per_step: options.per_step_statistics && self.options.per_step_statistics,
            analyze: false,
            only_if_brief: options.only_if_brief,
            entered: Instant::now(),
        }
    }

    fn plan(&self, run: &Run<'_>) -> Result<Plan, QueryError> {
        let expr = syntax::parse_with(run.query, &self.options.dialect)
            .map_err(|error| QueryError::Parse(error.to_string()))?;
        let typed = check::lower(expr).map_err(|error| QueryError::Parse(error.to_string()))?;
        if run.times.is_range {
            let wrong = match &typed {
                check::Typed::Scalar(_) | check::Typed::Instant(_) => None,
                check::Typed::String(_) => Some("string"),
                check::Typed::Range(_) => Some("range vector"),
            };
            if let Some(wrong) = wrong {
                return Err(QueryError::Parse(format!(
                    "invalid expression type \"{wrong}\" for range query, must be Scalar or instant Vector"
                )));
            }
        }
        let mut plan = plan::lower::lower(&typed, run.times)?;
        plan::rewrite::rewrite(&mut plan);
        Ok(plan)
    }

    fn answer(&self, storage: &dyn Queryable, mut run: Run<'_>) -> Result<(Answer, String), QueryError> {
        let brief = if run.only_if_brief { Some(self.prepare_brief(storage, &run)?) } else { None };
        let queued = Instant::now();
        let place = match &brief {
            Some(_) => self.gate.enter_at_once().ok_or(QueryError::NotBrief)?,
            None => self.gate.enter(&run.limits)?,
        };
        run.timings.exec_queue = queued.elapsed();
        let token = self.options.observer.as_ref().map(|observer| observer.started(run.query));
        let prepared = brief.map_or_else(|| self.prepare(storage, &run), Ok);
        let answer = prepared.and_then(|prepared| self.evaluate(&prepared, run));
        if let (Some(observer), Some(token)) = (&self.options.observer, token) {
            observer.finished(token);
        }
        drop(place);
        self.queries.fetch_add(1, Ordering::Relaxed);
        answer
    }

    fn prepare<'s>(&self, storage: &'s dyn Queryable, run: &Run<'_>) -> Result<Prepared<'s>, QueryError> {
        let began = Instant::now();
        let plan = self.plan(run)?;
        let range = plan::reach::times_needed(&plan, run.times.grid, run.lookback_millis);
        let querier = storage.querier(range)?;
        Ok(Prepared { plan, querier, took: began.elapsed() })
    }

    /// The same of a query that is known to be brief. What is wrong with others is said when they are asked again.
    fn prepare_brief<'s>(&self, storage: &'s dyn Queryable, run: &Run<'_>) -> Result<Prepared<'s>, QueryError> {
        if run.query.len() > plan::brief::BRIEF_TEXT_BYTES {
            return Err(QueryError::NotBrief);
        }
        let in_time = run.limits.check("query queue");
        let prepared = in_time.and_then(|()| self.prepare(storage, run)).map_err(|_| QueryError::NotBrief)?;
        let Prepared { plan, querier, .. } = &prepared;
        let brief = plan::brief::is_brief(plan, run.times.grid, run.lookback_millis, &**querier);
        brief.then_some(prepared).ok_or(QueryError::NotBrief)
    }

    /// The answer, and what the plan cost if that was asked.
    fn evaluate(&self, prepared: &Prepared<'_>, mut run: Run<'_>) -> Result<(Answer, String), QueryError> {
        let began = Instant::now();
        let Prepared { plan, querier, took } = prepared;
        let grid = run.times.grid;
        run.timings.query_preparation = *took;
        let env = Env {
            plan,
            querier: &**querier,
            functions: &self.options.functions,
            expressions: &self.expressions,
            settings: self.settings(&run),
            limits: &run.limits,
            ledger: Mutex::default(),
            measures: run.analyze.then(|| Measures::of(plan)),
        };
        run.limits.check("query execution")?;
        let inner = Instant::now();
        let value = if run.times.is_range {
            eval::result::range(&env, grid)?
        } else {
            eval::result::instant(&env, grid.start())?
        };
        run.timings.inner_eval = inner.elapsed();
        let costs = match &env.measures {
            Some(measures) => plan::explain::explain(plan, &|id| measures.describe(id)),
            None => String::new(),
        };
        let Ledger { annotations, counters } = env.ledger.into_inner();
        self.samples.fetch_add(counters.read, Ordering::Relaxed);
        let (warnings, infos) = annotations.into_texts(run.query);
        run.timings.eval_total = *took + began.elapsed();
        run.timings.exec_total = run.entered.elapsed();
        let per_step = |counts: Vec<u64>| {
            counts.into_iter().enumerate().map(|(step, count)| (grid.at(step), count)).collect::<Vec<_>>()
        };
        let samples = SampleStatistics {
            total_queryable: counters.total_queryable,
            read: counters.read,
            peak: run.limits.peak_samples(),
            bytes_peak: run.limits.peak_bytes(),
            total_queryable_per_step: per_step(counters.queryable_per_step),
            read_per_step: per_step(counters.read_per_step),
        };
        let statistics = Statistics { timings: run.timings, samples };
        Ok((Answer { value, warnings, infos, statistics }, costs))
    }

    fn settings(&self, run: &Run<'_>) -> Settings {
        Settings {
            lookback_millis: run.lookback_millis,
            query_grid: run.times.grid,
            is_range: run.times.is_range,
            threads: if run.only_if_brief { 1 } else { self.options.threads.max(1) },
            delayed_name_removal: self.options.delayed_name_removal,
            use_start_timestamps: self.options.use_start_timestamps,
            type_and_unit_labels: self.options.type_and_unit_labels,
            count_queryable: run.statistics,
            per_step_statistics: run.per_step,
        }
    }
}
