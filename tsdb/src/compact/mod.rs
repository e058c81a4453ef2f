//! Compaction: which blocks become one, which go, and how they are merged.
//!
//! ```text
//!  metas, options, now --plan-->      Plan      --merge--> a new block --> snapshot
//!                      --retention--> Deletions --rename--> .tmp-for-deletion --remove
//! ```
//!
//! [`mod@plan`] and [`retention`] decide, as pure functions of what the blocks say about themselves; [`merge`] does, streaming.

pub mod merge;
pub mod plan;
pub mod retention;

pub use plan::{CompactionOptions, Plan, Reason, plan};
pub use retention::{Candidate, Deletions, Retention, Usage};
