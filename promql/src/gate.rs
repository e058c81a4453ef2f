//! The gate: may one more query run?

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::QueryError;
use crate::eval::limits::Limits;

/// Lets a number of queries run at one time; others wait, and their waiting counts against their time.
#[derive(Debug)]
pub(crate) struct Gate {
    places: usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    active: usize,
    waiting: usize,
}

/// A place inside; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place<'a>(&'a Gate);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.state.lock().active -= 1;
        self.0.freed.notify_one();
    }
}

impl Gate {
    pub(crate) fn new(places: usize) -> Self {
        Self { places: places.max(1), state: Mutex::default(), freed: Condvar::new() }
    }

    /// Queries inside and in the queue.
    pub(crate) fn load(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.active, state.waiting)
    }

    /// A place, if one is free.
    pub(crate) fn enter_at_once(&self) -> Option<Place<'_>> {
        let mut state = self.state.lock();
        if state.active >= self.places {
            return None;
        }
        state.active += 1;
        Some(Place(self))
    }

    /// Waits for a place.
    pub(crate) fn enter(&self, limits: &Limits) -> Result<Place<'_>, QueryError> {
        // A cancelled query must not wait for somebody else to finish.
        const LOOK_EVERY: Duration = Duration::from_millis(20);
        let mut state = self.state.lock();
        state.waiting += 1;
        let verdict = loop {
            if let Err(error) = limits.check("query queue") {
                break Err(error);
            }
            if state.active < self.places {
                break Ok(());
            }
            self.freed.wait_for(&mut state, LOOK_EVERY);
        };
        state.waiting -= 1;
        verdict?;
        state.active += 1;
        Ok(Place(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::CancelToken;

    #[test]
    fn a_full_gate_keeps_others_out_until_a_place_is_free() {
        let gate = Gate::new(1);
        let patient = Limits::new(1, 0, Duration::from_secs(60), CancelToken::new());
        let cancel = CancelToken::new();
        cancel.cancel();
        let gone = Limits::new(1, 0, Duration::from_secs(60), cancel);
        let inside = gate.enter(&patient).unwrap();
        assert!(gate.enter_at_once().is_none());
        assert_eq!(gate.enter(&gone).unwrap_err().to_string(), "query was canceled in query queue");
        drop(inside);
        assert!(gate.enter(&patient).is_ok());
        assert!(gate.enter_at_once().is_some());
        assert_eq!(gate.load(), (0, 0));
    }
}
