//! Relabelling: how do rules rewrite a label set, and does it survive them?
//!
//! The same rules serve targets, samples, alerts and remote write. A [`RelabelConfig`] is valid once it exists: what a
//! configuration file may get wrong is found when it is made of [`RelabelFields`], in the words of Prometheus 3.14.

mod apply;
mod rule;
mod yaml;

pub use apply::{RelabelStep, relabel, relabel_steps};
pub use rule::{Action, NameScheme, RelabelConfig, RelabelError, RelabelFields};
