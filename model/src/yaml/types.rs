//! Sizes in bytes, as configuration writes them.

use std::fmt;

use thiserror::Error;

use super::decode::{Context, Decode};
use super::emit::Encode;
use super::node::Node;

/// A size in bytes; units are powers of two, with or without the `i`: `512MB` is `512MiB`.
///
/// ```
/// use ferula_model::yaml::ByteSize;
///
/// assert_eq!("1.5KB".parse(), Ok(ByteSize(1536)));
/// assert_eq!(ByteSize(10 << 20).to_string(), "10MiB");
/// assert_eq!("10".parse::<ByteSize>().unwrap_err().to_string(), "units: unknown unit  in 10");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// A text that is no size.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ByteSizeError {
    /// Not numbers with units, or too large.
    #[error("units: invalid {0}")]
    Invalid(String),
    /// A number with a unit that is none, or without one.
    #[error("units: unknown unit {unit} in {text}")]
    UnknownUnit {
        /// What stands in its place.
        unit: String,
        /// All of the text.
        text: String,
    },
}

const UNITS: [char; 6] = ['K', 'M', 'G', 'T', 'P', 'E'];

impl std::str::FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || ByteSizeError::Invalid(text.to_owned());
        if text == "0" {
            return Ok(Self(0));
        }
        let mut rest = text;
        let mut total = 0.0;
        while !rest.is_empty() {
            let (number, tail) =
                rest.split_at(rest.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(rest.len()));
            let (unit, tail) = tail.split_at(tail.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(tail.len()));
            let number: f64 = number.parse().map_err(|_| invalid())?;
            let unknown = || ByteSizeError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() };
            total += number * unit_bytes(unit).ok_or_else(unknown)?;
            rest = tail;
        }
        // Beyond 2^53 fractions of a byte are lost, as they are upstream.
        if text.is_empty() || total >= i64::MAX as f64 {
            return Err(invalid());
        }
        Ok(Self(total as u64))
    }
}

fn unit_bytes(unit: &str) -> Option<f64> {
    let prefix = unit.strip_suffix("iB").or_else(|| unit.strip_suffix('B'))?;
    if prefix.is_empty() {
        return (unit == "B").then_some(1.0);
    }
    let power = UNITS.iter().position(|letter| prefix == letter.to_string())?;
    Some(1024f64.powi(power as i32 + 1))
}

/// The largest units first, each as often as it fits: `1GiB512MiB`.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0B");
        }
        let mut rest = self.0;
        for (power, letter) in UNITS.iter().enumerate().rev() {
            let unit = 1u64 << (10 * (power + 1));
            if rest >= unit {
                write!(f, "{}{letter}iB", rest / unit)?;
                rest %= unit;
            }
        }
        if rest > 0 { write!(f, "{rest}B") } else { Ok(()) }
    }
}

impl Decode for ByteSize {
    fn decode(node: &Node, context: &mut Context) -> Option<Self> {
        let text = String::decode(node, context)?;
        context.keep(node, text.parse())
    }
}

impl Encode for ByteSize {
    fn encode(&self) -> Node {
        Node::text(self.to_string())
    }
}
