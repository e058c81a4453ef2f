//! What the head forgets: ranges that a block has, series without samples, segments without need.

use super::Head;
use crate::fs::FsError;

impl Head {
    /// Ends writing and makes everything durable.
    pub(crate) fn close(&self) -> Result<(), FsError> {
        self.chunks.flush();
        let result = self.sync();
        self.commit.lock().broken.get_or_insert_with(|| "the database is closed".into());
        result
    }
}
