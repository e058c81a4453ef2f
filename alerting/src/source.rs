//! Where the answers to rules' queries come from.

use std::sync::Arc;

use ferula_model::{Queryable, Timestamp};
use ferula_promql::{Answer, CancelToken, Engine, QueryError, QueryOptions};

/// Answers instant queries. The usual one is an [`EngineSource`].
pub trait QuerySource: Send + Sync {
    /// Evaluates a query at one moment. May block: it is called where blocking is allowed.
    ///
    /// # Errors
    ///
    /// See [`QueryError`].
    fn instant(&self, query: &str, at: Timestamp) -> Result<Answer, QueryError>;
}

/// An engine over a storage.
#[derive(Clone)]
pub struct EngineSource {
    engine: Arc<Engine>,
    storage: Arc<dyn Queryable>,
    cancel: CancelToken,
}

impl EngineSource {
    /// Asks `engine` about what `storage` holds.
    pub fn new(engine: Arc<Engine>, storage: Arc<dyn Queryable>) -> Self {
        Self { engine, storage, cancel: CancelToken::new() }
    }

    /// The same source, whose queries end early once `cancel` is pulled: to stop quickly.
    #[must_use]
    pub fn cancel(mut self, cancel: CancelToken) -> Self {
        self.cancel = cancel;
        self
    }
}

impl QuerySource for EngineSource {
    fn instant(&self, query: &str, at: Timestamp) -> Result<Answer, QueryError> {
        let mut options = QueryOptions::default();
        options.cancel = self.cancel.clone();
        self.engine.instant(&*self.storage, query, at, &options)
    }
}

impl std::fmt::Debug for EngineSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineSource").field("engine", &self.engine).finish_non_exhaustive()
    }
}
