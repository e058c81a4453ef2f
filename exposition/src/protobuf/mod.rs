//! Delimited protobuf: messages `io.prometheus.client.MetricFamily`, each after its length.
//!
//! The wire format is read and written by hand (`wire`), because a scraper wants to borrow the texts and skip what it
//! does not ask for, which generated structs do not do. The tests compare with `prost`.

mod encoder;
mod format;
mod histogram;
mod metric;
mod parser;
mod wire;

pub(crate) use encoder::encode;
pub(crate) use parser::ProtobufParser;
