//! The HTTP API: a request value in, a response value out.
pub mod error;
pub mod params;
