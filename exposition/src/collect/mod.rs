//! Collectors: what do the process and its machine say about themselves?
//!
//! Each is a [`Collect`](crate::registry::Collect) for [`Registry::collector`](crate::Registry::collector), reads when it is
//! gathered, and leaves out what the system does not tell.

#[cfg(any(feature = "process", feature = "host", feature = "tokio"))]
mod families;
#[cfg(feature = "host")]
pub mod host;
#[cfg(feature = "process")]
mod process;
#[cfg(feature = "tokio")]
mod tokio;

#[cfg(feature = "host")]
pub use host::{HostCollector, HostOptions};
#[cfg(feature = "process")]
pub use process::ProcessCollector;
#[cfg(feature = "tokio")]
pub use tokio::RuntimeCollector;

#[cfg(any(feature = "process", feature = "host", feature = "tokio"))]
use families::Families;
