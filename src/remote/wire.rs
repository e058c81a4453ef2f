//! Protobuf's wire format, read in place: which fields does this message have?
//!
//! Only what the remote protocols need: fields one after the other, as numbers or as slices of the message. Groups (wire
//! types 3 and 4) are refused, as every current implementation does.

use thiserror::Error;

/// Bytes that are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WireError {
    /// The message ends inside a field.
    #[error("proto: message ends inside a field")]
    Truncated,
    /// A number of more than 64 bits.
    #[error("proto: integer overflow")]
    Overflow,
    /// A wire type that does not exist, or field number 0.
    #[error("proto: illegal tag {0}")]
    Tag(u64),
    /// A field that should have another wire type.
    #[error("proto: wrong wire type for field {0}")]
    WireType(u32),
    /// A string that is not UTF-8.
    #[error("proto: field {0} contains invalid UTF-8")]
    Utf8(u32),
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// A field: its number and its value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    pub(crate) value: Value<'a>,
}

impl<'a> Field<'a> {
    /// The value as a slice: a message, a string, bytes or a packed list.
    pub(crate) fn bytes(self) -> Result<&'a [u8], WireError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(WireError::WireType(self.number)),
        }
    }

    /// The value as a string.
    pub(crate) fn text(self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| WireError::Utf8(self.number))
    }

    /// The value as a number of the varint kinds.
    pub(crate) fn varint(self) -> Result<u64, WireError> {
        match self.value {
            Value::Varint(number) => Ok(number),
            _ => Err(WireError::WireType(self.number)),
        }
    }

    /// The value as a zigzag number (`sint32`, `sint64`).
    pub(crate) fn zigzag(self) -> Result<i64, WireError> {
        self.varint().map(zigzag)
    }

    /// The value as a double.
    pub(crate) fn double(self) -> Result<f64, WireError> {
        match self.value {
            Value::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(WireError::WireType(self.number)),
        }
    }

    /// Appends a repeated number, which may be packed or not.
    pub(crate) fn varints(self, mut push: impl FnMut(u64)) -> Result<(), WireError> {
        match self.value {
            Value::Varint(number) => push(number),
            Value::Bytes(mut packed) => {
                while !packed.is_empty() {
                    push(read_varint(&mut packed)?);
                }
            }
            _ => return Err(WireError::WireType(self.number)),
        }
        Ok(())
    }

    /// Appends a repeated double, which may be packed or not.
    pub(crate) fn doubles(self, mut push: impl FnMut(f64)) -> Result<(), WireError> {
        match self.value {
            Value::Fixed64(bits) => push(f64::from_bits(bits)),
            Value::Bytes(packed) => {
                let (items, rest) = packed.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(WireError::Truncated);
                }
                items.iter().for_each(|item| push(f64::from_le_bytes(*item)));
            }
            _ => return Err(WireError::WireType(self.number)),
        }
        Ok(())
    }
}

/// Undoes the zigzag of signed numbers: 0, -1, 1, -2, ...
pub(crate) fn zigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// The fields of a message, in the order they stand.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    #[inline]
    fn field(&mut self) -> Result<Field<'a>, WireError> {
        let tag = read_varint(&mut self.rest)?;
        let number = u32::try_from(tag >> 3).ok().filter(|n| *n != 0).ok_or(WireError::Tag(tag))?;
        let value = match tag & 7 {
            0 => Value::Varint(read_varint(&mut self.rest)?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(read_varint(&mut self.rest)?).map_err(|_| WireError::Truncated)?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(WireError::Truncated)?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(WireError::Tag(tag)),
        };
        Ok(Field { number, value })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, WireError>;

    /// After an error the message is over.
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Takes a varint off the front.
#[inline]
pub(crate) fn read_varint(rest: &mut &[u8]) -> Result<u64, WireError> {
    // Nearly every number is a tag or a length below 128.
    if let [byte @ 0..0x80, after @ ..] = rest {
        *rest = after;
        return Ok(u64::from(*byte));
    }
    if let Some((number, bytes)) = rest.first_chunk().and_then(|word| varint_in(u64::from_le_bytes(*word))) {
        *rest = &rest[bytes..];
        return Ok(number);
    }
    let mut number = 0;
    for (i, byte) in rest.iter().take(10).enumerate() {
        if i == 9 && *byte > 1 {
            return Err(WireError::Overflow);
        }
        number |= u64::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            *rest = &rest[i + 1..];
            return Ok(number);
        }
    }
    Err(if rest.len() >= 10 { WireError::Overflow } else { WireError::Truncated })
}

/// A varint that ends in these eight bytes, and how many of them it has: seven bits of each byte, pushed together.
#[inline]
fn varint_in(word: u64) -> Option<(u64, usize)> {
    let ends = !word & 0x8080_8080_8080_8080;
    if ends == 0 {
        return None;
    }
    let bits = (ends.trailing_zeros() & !7) + 8;
    let sevens = word & (u64::MAX >> (64 - bits)) & 0x7F7F_7F7F_7F7F_7F7F;
    let pairs = (sevens & 0x007F_007F_007F_007F) | (sevens & 0x7F00_7F00_7F00_7F00) >> 1;
    let fours = (pairs & 0x0000_3FFF_0000_3FFF) | (pairs & 0x3FFF_0000_3FFF_0000) >> 2;
    let eight = (fours & 0x0FFF_FFFF) | (fours & 0x0FFF_FFFF_0000_0000) >> 4;
    Some((eight, bits as usize / 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_are_read() {
        for bits in 0..64 {
            for number in [1 << bits, (1 << bits) - 1, 0x0123_4567_89AB_CDEF >> bits, u64::MAX >> bits] {
                let mut encoded = Vec::new();
                let mut rest = number;
                while rest >= 0x80 {
                    encoded.push(rest as u8 | 0x80);
                    rest >>= 7;
                }
                encoded.push(rest as u8);
                for behind in [&[][..], &[0xFF; 9]] {
                    let message = [&encoded, behind].concat();
                    let mut rest = message.as_slice();
                    assert_eq!(read_varint(&mut rest), Ok(number));
                    assert_eq!(rest, behind);
                }
            }
        }
    }

    #[test]
    fn every_cut_of_a_message_is_an_error_or_a_shorter_message() {
        let message = [0x08, 0x96, 0x01, 0x12, 0x03, b'a', b'b', b'c', 0x19, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f];
        let fields: Vec<_> = Fields::new(&message).map(Result::unwrap).collect();
        assert_eq!(fields[0].varint(), Ok(150));
        assert_eq!(fields[1].text(), Ok("abc"));
        assert_eq!(fields[2].double(), Ok(1.0));
        for cut in 0..message.len() {
            let whole = Fields::new(&message[..cut]).all(|field| field.is_ok());
            assert_eq!(whole, [0, 3, 8].contains(&cut), "cut at {cut}");
        }
    }

    #[test]
    fn numbers_above_64_bits_are_refused() {
        let mut fields = Fields::new(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]);
        assert_eq!(fields.next(), Some(Err(WireError::Overflow)));
        assert_eq!(fields.next(), None);
    }
}
