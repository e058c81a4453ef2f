//! OpenMetrics text, 1.0.0 and the older 0.0.1, which share one grammar.

mod created;
mod encoder;
mod parser;
mod strict;

pub(crate) use encoder::encode;
pub(crate) use parser::OpenMetricsParser;
