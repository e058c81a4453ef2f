//! Memory for bodies: shared by all targets, because few of them answer at the same moment.
//!
//! What was given back last is taken first: it is still in the processor's caches, and the memory follows how many
//! scrapes are under way, not how many targets there are.

use ferula_http::BodyBuffer;
use parking_lot::Mutex;

/// Buffers that are kept while nobody has a use for them.
const SPARE_MAX: usize = 8;

/// Buffers that wait for the next scrape.
#[derive(Debug, Default)]
pub(crate) struct Bodies(Mutex<Vec<BodyBuffer>>);

impl Bodies {
    pub(crate) fn take(&self) -> BodyBuffer {
        self.0.lock().pop().unwrap_or_default()
    }

    /// Takes a buffer back, and what is in it away: the next body is another target's.
    pub(crate) fn give_back(&self, mut body: BodyBuffer) {
        body.clear();
        let mut spare = self.0.lock();
        if spare.len() < SPARE_MAX {
            spare.push(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_kept_and_all_come_back_empty() {
        let bodies = Bodies::default();
        for _ in 0..2 * SPARE_MAX {
            let mut body = BodyBuffer::default();
            body.replace(b"up 1");
            bodies.give_back(body);
        }
        assert_eq!(bodies.0.lock().len(), SPARE_MAX);
        assert!(bodies.take().as_slice().is_empty());
    }
}
