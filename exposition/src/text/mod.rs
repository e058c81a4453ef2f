//! The Prometheus text format, 0.0.4 and 1.0.0, which share one grammar.

pub(crate) mod encoder;
mod parser;
pub(crate) mod scan;
mod strict;

pub(crate) use encoder::encode;
pub(crate) use parser::{TextParser, Token};
