//! Numbers as text: how does Go write and read a float?
//!
//! Prometheus is a Go program and its clients compare bytes, so every float that leaves Ferula is laid out as Go's
//! `strconv` does it, and every float that enters is read by the rules of `strconv.ParseFloat`.
//!
//! - [`format`](self::format_float): the shortest text that reads back as the same float, in one of the [`FloatForm`]s,
//!   without allocation into a `Vec<u8>` or any [`fmt::Write`](std::fmt::Write); and the forms with a fixed precision.
//! - [`parse`](self::parse_float): the same backwards, with a fast path for short decimals.
//!
//! ```
//! use ferula_model::number::{FloatForm, format_float, parse_float};
//!
//! assert_eq!(format_float(1234567.0, FloatForm::Shortest), "1.234567e+06"); // /metrics
//! assert_eq!(format_float(1234567.0, FloatForm::Json), "1234567"); // /api/v1
//! assert_eq!(parse_float("0x1p-2"), Ok(0.25));
//! ```
//!
//! Source: `strconv` and `fmt` of Go 1.25; which form is used where: Prometheus 3.14.

mod compare;
mod decimal;
mod format;
mod parse;

pub use compare::nearly_equal;
pub use format::{FloatForm, PrecisionForm, format_float, push_float, write_float, write_float_precise};
pub use parse::{NumberError, parse_exposition_float, parse_float, parse_int, parse_promql_number};
