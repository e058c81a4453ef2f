//! Protobuf on the wire: fields of a message, one behind the other.
//!
//! Source: "Encoding" of the protocol buffers documentation. Groups, which `proto3` does not have, are refused.

use crate::error::{Fault, ParseErrorKind};

/// The fields of a message, in the order in which they are written. Positions count from the start of the body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    body: &'a [u8],
    at: usize,
    end: usize,
}

/// A field: number and value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    pub(super) at: usize,
    pub(super) value: Value<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    /// Skipped: no field that is read has this form.
    Fixed32,
    /// A text, a message, or packed numbers.
    Bytes(Message<'a>),
}

pub(super) fn fault(at: usize, why: &'static str) -> Fault {
    Fault::new(at, ParseErrorKind::Wire(why))
}

impl<'a> Message<'a> {
    /// The part of the body from `at` up to `end`, which lies inside the body.
    pub(super) fn new(body: &'a [u8], at: usize, end: usize) -> Self {
        Self { body, at, end: end.min(body.len()) }
    }

    /// Where it stands.
    pub(super) fn range(self) -> std::ops::Range<usize> {
        self.at..self.end
    }

    /// The next field; `None` at the end.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Field<'a>>, Fault> {
        if self.at >= self.end {
            return Ok(None);
        }
        let at = self.at;
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| fault(at, "field number out of range"))?;
        if number == 0 {
            return Err(fault(at, "field number 0"));
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            5 => {
                self.array::<4>()?;
                Value::Fixed32
            }
            2 => {
                let length = self.varint()?;
                let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
                let end =
                    end.filter(|end| *end <= self.end).ok_or_else(|| fault(at, "field longer than its message"))?;
                let inner = Message { body: self.body, at: self.at, end };
                self.at = end;
                Value::Bytes(inner)
            }
            _ => return Err(fault(at, "unknown wire type")),
        };
        Ok(Some(Field { number, at, value }))
    }

    /// A varint of at most ten bytes.
    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, Fault> {
        let start = self.at;
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let Some(byte) = self.body.get(self.at).filter(|_| self.at < self.end) else {
                return Err(fault(start, "number cut off"));
            };
            self.at += 1;
            value |= u64::from(byte & 0x7f).wrapping_shl(shift);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(fault(start, "number longer than 64 bits"))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let end = self.at + N;
        let bytes = self.body.get(self.at..end).filter(|_| end <= self.end);
        let array = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| fault(self.at, "number cut off"))?;
        self.at = end;
        Ok(array)
    }
}

impl<'a> Field<'a> {
    pub(super) fn message(&self) -> Result<Message<'a>, Fault> {
        match self.value {
            Value::Bytes(message) => Ok(message),
            _ => Err(fault(self.at, "expected a message or text")),
        }
    }

    pub(super) fn double(&self) -> Result<f64, Fault> {
        match self.value {
            Value::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(fault(self.at, "expected a double")),
        }
    }

    pub(super) fn unsigned(&self) -> Result<u64, Fault> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(fault(self.at, "expected an integer")),
        }
    }

    pub(super) fn signed(&self) -> Result<i64, Fault> {
        self.unsigned().map(|value| value as i64)
    }

    pub(super) fn zigzag(&self) -> Result<i64, Fault> {
        self.unsigned().map(unzigzag)
    }

    /// Adds one or, if packed, several zigzag integers.
    pub(super) fn push_zigzags(&self, out: &mut Vec<i64>) -> Result<(), Fault> {
        match self.value {
            Value::Bytes(mut packed) => {
                while packed.at < packed.end {
                    out.push(unzigzag(packed.varint()?));
                }
                Ok(())
            }
            _ => self.zigzag().map(|value| out.push(value)),
        }
    }

    /// Adds one or, if packed, several doubles.
    pub(super) fn push_doubles(&self, out: &mut Vec<f64>) -> Result<(), Fault> {
        match self.value {
            Value::Bytes(mut packed) => {
                while packed.at < packed.end {
                    out.push(f64::from_le_bytes(packed.array()?));
                }
                Ok(())
            }
            _ => self.double().map(|value| out.push(value)),
        }
    }
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Appends fields to a message. Default values are left out, as `proto3` does, unless a method says otherwise.
pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(super) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn tag(&mut self, number: u32, wire_type: u64) {
        self.varint(u64::from(number) << 3 | wire_type);
    }

    pub(super) fn unsigned(&mut self, number: u32, value: u64) {
        if value != 0 {
            self.tag(number, 0);
            self.varint(value);
        }
    }

    pub(super) fn zigzag(&mut self, number: u32, value: i64) {
        self.unsigned(number, zigzag(value));
    }

    /// A double, if it is not zero.
    pub(super) fn double(&mut self, number: u32, value: f64) {
        if value.to_bits() != 0 {
            self.tag(number, 1);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    pub(super) fn text(&mut self, number: u32, text: &str) {
        if !text.is_empty() {
            self.tag(number, 2);
            self.varint(text.len() as u64);
            self.0.extend_from_slice(text.as_bytes());
        }
    }

    /// A message, even if it is empty.
    pub(super) fn message(&mut self, number: u32, write: impl FnOnce(&mut Writer<'_>)) {
        self.tag(number, 2);
        self.delimited(write);
    }

    /// A message after its length.
    pub(super) fn delimited(&mut self, write: impl FnOnce(&mut Writer<'_>)) {
        let start = self.0.len();
        write(self);
        let length = self.0.len() - start;
        let end = self.0.len();
        self.varint(length as u64);
        // The length was written behind the message; it belongs in front.
        let prefix = self.0.len() - end;
        if let Some(both) = self.0.get_mut(start..) {
            both.rotate_right(prefix);
        }
    }

    pub(super) fn packed_zigzags(&mut self, number: u32, values: &[i64]) {
        if !values.is_empty() {
            self.message(number, |packed| values.iter().for_each(|value| packed.varint(zigzag(*value))));
        }
    }

    pub(super) fn packed_doubles(&mut self, number: u32, values: &[f64]) {
        if !values.is_empty() {
            self.message(number, |packed| {
                values.iter().for_each(|value| packed.0.extend_from_slice(&value.to_le_bytes()));
            });
        }
    }
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}
