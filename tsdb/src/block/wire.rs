//! The primitives of the block formats: big-endian integers, varints and length-prefixed bytes, over bytes that nobody
//! has checked yet.
//!
//! Reading goes through a [`Cursor`], which knows where in the file it stands and answers [`Malformed`] instead of
//! panicking. Writing appends to a `Vec<u8>`.

/// Bytes that are not what the format says, without the name of the file (see
/// [`BlockError::corrupt`](super::BlockError)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Where in the file.
    pub(crate) offset: u64,
    /// What is wrong there.
    pub(crate) problem: &'static str,
}

/// Reads forward over bytes of a file.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    /// File offset of the first byte of `rest`.
    offset: u64,
}

impl<'a> Cursor<'a> {
    /// Over `bytes`, the first of which stands at `offset` of its file.
    pub(crate) fn new(bytes: &'a [u8], offset: u64) -> Self {
        Self { rest: bytes, offset }
    }

    /// Over all bytes of a file from `offset` on.
    ///
    /// # Errors
    ///
    /// The file is shorter.
    pub(crate) fn at(file: &'a [u8], offset: u64) -> Result<Self, Malformed> {
        let rest = usize::try_from(offset).ok().and_then(|at| file.get(at..));
        rest.map(|rest| Self { rest, offset }).ok_or(Malformed { offset, problem: "offset lies behind the end" })
    }

    /// File offset of the next byte.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes are left.
    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is wrong at the next byte.
    pub(crate) fn malformed(&self, problem: &'static str) -> Malformed {
        Malformed { offset: self.offset, problem }
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(self.malformed("unexpected end"));
        };
        self.rest = rest;
        self.offset += count as u64;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.malformed("unexpected end"));
        };
        self.rest = rest;
        self.offset += N as u64;
        Ok(*taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn be_u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn be_u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// An unsigned LEB128 of at most 64 bits.
    pub(crate) fn uvarint(&mut self) -> Result<u64, Malformed> {
        if let Some((&byte, rest)) = self.rest.split_first()
            && byte < 0x80
        {
            self.rest = rest;
            self.offset += 1;
            return Ok(u64::from(byte));
        }
        self.long_uvarint()
    }

    fn long_uvarint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for (i, &byte) in self.rest.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7F);
            if i == 9 && byte > 1 {
                return Err(self.malformed("varint does not fit 64 bits"));
            }
            value |= bits << (7 * i);
            if byte < 0x80 {
                self.take(i + 1)?;
                return Ok(value);
            }
        }
        Err(self.malformed("varint has no end"))
    }

    /// A zig-zag varint.
    pub(crate) fn varint(&mut self) -> Result<i64, Malformed> {
        let raw = self.uvarint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// A uvarint that must fit 32 bits.
    pub(crate) fn uvarint32(&mut self) -> Result<u32, Malformed> {
        let place = self.malformed("number does not fit 32 bits");
        u32::try_from(self.uvarint()?).map_err(|_| place)
    }

    /// A uvarint length and as many bytes.
    pub(crate) fn counted(&mut self) -> Result<&'a [u8], Malformed> {
        let count = self.uvarint()?;
        let count = usize::try_from(count).map_err(|_| self.malformed("unexpected end"))?;
        self.take(count)
    }

    /// A uvarint length and as many bytes of UTF-8.
    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        let place = self.malformed("text is not UTF-8");
        std::str::from_utf8(self.counted()?).map_err(|_| place)
    }

    /// The content of a section: `len u32 | content | crc32c u32`, with the checksum compared. The cursor over the
    /// content keeps counting file offsets.
    pub(crate) fn section(&mut self) -> Result<Cursor<'a>, Malformed> {
        let length = self.be_u32()? as usize;
        let offset = self.offset;
        let content = self.take(length)?;
        if self.be_u32()? != crc32c::crc32c(content) {
            return Err(Malformed { offset, problem: "checksum differs" });
        }
        Ok(Cursor::new(content, offset))
    }
}

pub(crate) fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_varint(out: &mut Vec<u8>, value: i64) {
    put_uvarint(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub(crate) fn put_counted(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uvarint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_be_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(crate) fn put_be_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        let mut out = Vec::new();
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), i64::MAX as u64, u64::MAX];
        for number in numbers {
            put_uvarint(&mut out, number);
            put_varint(&mut out, number as i64);
        }
        let mut cursor = Cursor::new(&out, 7);
        for number in numbers {
            assert_eq!(cursor.uvarint(), Ok(number));
            assert_eq!(cursor.varint(), Ok(number as i64));
        }
        assert!(cursor.is_empty());
        assert_eq!(cursor.offset(), 7 + out.len() as u64);
    }

    #[test]
    fn hostile_numbers_are_errors() {
        let problem = |bytes: &[u8]| Cursor::new(bytes, 0).uvarint().unwrap_err().problem;
        assert_eq!(problem(&[]), "varint has no end");
        assert_eq!(problem(&[0x80; 9]), "varint has no end");
        assert_eq!(problem(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2]), "varint does not fit 64 bits");
        assert_eq!(Cursor::new(&[5, b'a'], 0).counted().unwrap_err().problem, "unexpected end");
        assert_eq!(Cursor::new(&[1, 0xFF], 0).text().unwrap_err().problem, "text is not UTF-8");
        assert!(Cursor::at(&[0; 4], 5).is_err());
    }
}
