//! The bell: how do the halves of a connection wake the one task that drives them both?
//!
//! A connection and the body that comes over it tell each other what is new by waking whoever waits. Where one task polls
//! both, it would wake itself in the middle of its work; the runtime would then poll it once more, for nothing, and wake
//! another thread to share the work. Rung during work, the bell lets the work go on for another round instead.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A head, a piece of the body and its end ring once each; more than this is no conversation.
const ROUNDS_MAX: usize = 8;

/// Wakes a task from outside, and lets it go on from inside.
pub(super) struct Bell {
    state: Arc<State>,
    waker: Waker,
}

struct State {
    task: Mutex<Waker>,
    is_working: AtomicBool,
    rang: AtomicBool,
}

impl Bell {
    pub(super) fn new() -> Self {
        let task = Mutex::new(Waker::noop().clone());
        let state = Arc::new(State { task, is_working: AtomicBool::new(false), rang: AtomicBool::new(false) });
        Self { waker: Waker::from(Arc::clone(&state)), state }
    }

    /// Does something that may ring, before work that looks at everything anyway.
    pub(super) fn silently<T>(&self, act: impl FnOnce() -> T) -> T {
        self.state.is_working.store(true, Ordering::SeqCst);
        let done = act();
        self.state.is_working.store(false, Ordering::SeqCst);
        done
    }

    /// Does a round of work, and some more as long as the bell rang during the last and there is no outcome. A bell that
    /// does not stop means that the task's turn is over (as tokio's budget says it, outside its threads); it is woken for
    /// another one.
    pub(super) fn work<T>(&self, context: &Context<'_>, mut round: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let state = &*self.state;
        {
            let mut task = state.task.lock().unwrap_or_else(PoisonError::into_inner);
            task.clone_from(context.waker());
        }
        let mut inside = Context::from_waker(&self.waker);
        for _ in 0..ROUNDS_MAX {
            state.is_working.store(true, Ordering::SeqCst);
            state.rang.store(false, Ordering::SeqCst);
            let outcome = round(&mut inside);
            // In this order: who rings now either sees that nobody is at work, or is seen.
            state.is_working.store(false, Ordering::SeqCst);
            if outcome.is_ready() || !state.rang.load(Ordering::SeqCst) {
                return outcome;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Wake for State {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Ordering::SeqCst);
        if !self.is_working.load(Ordering::SeqCst) {
            self.task.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn the_task_is_woken_only_when_it_is_not_at_work() {
        let (bell, woken) = (Bell::new(), Arc::new(Woken::default()));
        let task = Waker::from(Arc::clone(&woken));
        let outside = Context::from_waker(&task);
        let (mut rounds, mut kept) = (0, None);
        let outcome = bell.work(&outside, |inside| {
            rounds += 1;
            if rounds < 3 {
                inside.waker().wake_by_ref();
            }
            kept = Some(inside.waker().clone());
            Poll::<()>::Pending
        });
        assert_eq!((outcome, rounds, woken.0.load(Ordering::SeqCst)), (Poll::Pending, 3, 0));
        kept.unwrap().wake();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        let outcome = bell.work(&outside, |inside| {
            inside.waker().wake_by_ref();
            Poll::Ready(7)
        });
        assert_eq!((outcome, woken.0.load(Ordering::SeqCst)), (Poll::Ready(7), 1));
        bell.silently(|| bell.waker.wake_by_ref());
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        let outcome = bell.work(&outside, |inside| {
            inside.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert_eq!((outcome, woken.0.load(Ordering::SeqCst)), (Poll::Pending, 2), "another turn");
    }
}
