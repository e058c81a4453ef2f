//! Many tasks, few threads: who computes what?
//!
//! Tasks are taken in order; results come back in order. When one fails, no new one is begun and the failure with the
//! lowest number is the answer, so that neither result nor error depends on the timing of threads.
//!
//! A thread costs tens of microseconds. Where the number of steps promises more work than that, helpers begin with the calling
//! thread; elsewhere it works alone for a moment, and calls for helpers if what is left would take it much longer than that.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{EVALUATION, Env, Worker};
use crate::error::QueryError;

/// From this many steps on, helpers begin at once.
const STEPS_WORTH_HELP: u64 = 200_000;
/// How long the calling thread works alone before it looks at what is left.
const ALONE: Duration = Duration::from_micros(200);
/// How long it must have to go on alone before it calls for help.
const WORTH_HELP: Duration = Duration::from_millis(1);

/// Runs `task` for each number below `tasks`. `weight` is the work of all tasks in steps, 0 if there is next to none.
pub(crate) fn run<T: Send>(
    env: &Env<'_>,
    tasks: usize,
    weight: u64,
    task: impl Fn(usize, &mut Worker) -> Result<T, QueryError> + Sync,
) -> Result<Vec<T>, QueryError> {
    env.limits.check(EVALUATION)?;
    let threads = env.settings.threads.min(tasks);
    let mut results = Vec::with_capacity(tasks);
    if threads <= 1 || weight < STEPS_WORTH_HELP {
        let patience = if threads > 1 && weight > 0 { Some(ALONE) } else { None };
        alone(env, tasks, patience, &task, &mut results)?;
    }
    if results.len() < tasks {
        together(env, results.len()..tasks, threads, &task, &mut results)?;
    }
    Ok(results)
}

/// Runs tasks on the calling thread: all of them, or until its patience ends and the others are worth help.
fn alone<T>(
    env: &Env<'_>,
    tasks: usize,
    patience: Option<Duration>,
    task: &impl Fn(usize, &mut Worker) -> Result<T, QueryError>,
    results: &mut Vec<T>,
) -> Result<(), QueryError> {
    let mut worker = Worker::default();
    let began = patience.map(|_| Instant::now());
    let mut outcome = Ok(());
    for index in 0..tasks {
        match worker.check(env.limits).and_then(|()| task(index, &mut worker)) {
            Ok(result) => results.push(result),
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
        let (Some(patience), Some(began)) = (patience, began) else { continue };
        // A look at the clock may cost as much as a small task.
        if index % 4 == 3 || index < 4 {
            let elapsed = began.elapsed();
            let left = elapsed.as_nanos() * (tasks - index - 1) as u128 / (index + 1) as u128;
            if elapsed >= patience && left >= WORTH_HELP.as_nanos() {
                break;
            }
        }
    }
    env.settle(&mut worker);
    outcome
}

/// Runs tasks on several threads.
fn together<T: Send>(
    env: &Env<'_>,
    tasks: std::ops::Range<usize>,
    threads: usize,
    task: &(impl Fn(usize, &mut Worker) -> Result<T, QueryError> + Sync),
    results: &mut Vec<T>,
) -> Result<(), QueryError> {
    let next = AtomicUsize::new(tasks.start);
    let failed = AtomicBool::new(false);
    let failure: Mutex<Option<(usize, QueryError)>> = Mutex::new(None);
    let body = || {
        let mut worker = Worker::default();
        let mut done = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= tasks.end {
                break;
            }
            match worker.check(env.limits).and_then(|()| task(index, &mut worker)) {
                Ok(result) => done.push((index, result)),
                Err(error) => {
                    let mut first = failure.lock();
                    if first.as_ref().is_none_or(|(at, _)| index < *at) {
                        *first = Some((index, error));
                    }
                    failed.store(true, Ordering::Relaxed);
                }
            }
        }
        env.settle(&mut worker);
        done
    };
    let mut done = std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads.min(tasks.len())).map(|_| scope.spawn(body)).collect();
        let mut done = body();
        for helper in helpers {
            match helper.join() {
                Ok(results) => done.extend(results),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    if let Some((_, error)) = failure.into_inner() {
        return Err(error);
    }
    done.sort_unstable_by_key(|(index, _)| *index);
    results.extend(done.into_iter().map(|(_, result)| result));
    Ok(())
}
