//! Many tasks, few threads: who computes what?
//!
//! Tasks are taken in order; results come back in order. When one fails, no new one is begun and the failure with the
//! lowest number is the answer, so that neither result nor error depends on the timing of threads.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::{Env, Worker};
use crate::error::QueryError;

/// Runs `task` for each number below `tasks`. `weight` is the work of all tasks in steps: little work stays on the
/// calling thread.
pub(crate) fn run<T: Send>(
    env: &Env<'_>,
    tasks: usize,
    weight: u64,
    task: impl Fn(usize, &mut Worker) -> Result<T, QueryError> + Sync,
) -> Result<Vec<T>, QueryError> {
    // Below this many steps a thread costs more than it saves.
    const WORTH_A_THREAD: u64 = 20_000;
    let threads = env.settings.threads.min(tasks).min(usize::try_from(weight / WORTH_A_THREAD).unwrap_or(usize::MAX));
    if threads <= 1 {
        let mut worker = Worker::default();
        let results = (0..tasks).map(|index| {
            env.limits.check("expression evaluation")?;
            task(index, &mut worker)
        });
        let results = results.collect();
        env.settle(&mut worker);
        return results;
    }
    let next = AtomicUsize::new(0);
    let failure: Mutex<Option<(usize, QueryError)>> = Mutex::new(None);
    let body = || {
        let mut worker = Worker::default();
        let mut done = Vec::new();
        while failure.lock().is_none() {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= tasks {
                break;
            }
            match env.limits.check("expression evaluation").and_then(|()| task(index, &mut worker)) {
                Ok(result) => done.push((index, result)),
                Err(error) => {
                    let mut first = failure.lock();
                    if first.as_ref().is_none_or(|(at, _)| index < *at) {
                        *first = Some((index, error));
                    }
                }
            }
        }
        env.settle(&mut worker);
        done
    };
    let mut done = std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(body)).collect();
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
    Ok(done.into_iter().map(|(_, result)| result).collect())
}
