//! The protocols by which other servers send samples here and fetch them.

pub(crate) mod wire;
pub mod write;
