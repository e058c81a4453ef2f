//! Numbers, texts and label sets as records write them.

use super::RecordError;

/// Appends an unsigned LEB128 integer.
#[inline]
pub(crate) fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a zigzag LEB128 integer.
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, value: i64) {
    put_uvarint(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub(crate) fn put_string(out: &mut Vec<u8>, text: &str) {
    put_uvarint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Appends a label set: count, then each name and value with its length.
pub(crate) fn put_labels<'a>(out: &mut Vec<u8>, labels: impl ExactSizeIterator<Item = (&'a str, &'a str)>) {
    put_uvarint(out, labels.len() as u64);
    for (name, value) in labels {
        put_string(out, name);
        put_string(out, value);
    }
}

/// Appends what the deltas of a record of the first version refer to: series and time of its first item.
pub(super) fn put_base(out: &mut Vec<u8>, series: u64, time: i64) {
    out.extend_from_slice(&series.to_be_bytes());
    out.extend_from_slice(&time.to_be_bytes());
}

/// Checks that bytes are a text.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, RecordError> {
    std::str::from_utf8(bytes).map_err(|_| RecordError::Malformed("text is not UTF-8"))
}

/// Reads the items of a record.
#[derive(Clone, Debug)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], RecordError> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(RecordError::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, RecordError> {
        let (&byte, tail) = self.0.split_first().ok_or(RecordError::Truncated)?;
        self.0 = tail;
        Ok(byte)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, RecordError> {
        let (head, tail) = self.0.split_first_chunk::<8>().ok_or(RecordError::Truncated)?;
        self.0 = tail;
        Ok(u64::from_be_bytes(*head))
    }

    #[inline]
    pub(crate) fn f64(&mut self) -> Result<f64, RecordError> {
        self.u64().map(f64::from_bits)
    }

    #[inline]
    pub(crate) fn uvarint(&mut self) -> Result<u64, RecordError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordError::Malformed("varint beyond 64 bits"))
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<i64, RecordError> {
        let value = self.uvarint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    #[inline]
    pub(crate) fn str(&mut self) -> Result<&'a str, RecordError> {
        text(self.text_bytes()?)
    }

    /// The bytes of a text, unchecked.
    #[inline]
    pub(crate) fn text_bytes(&mut self) -> Result<&'a [u8], RecordError> {
        let length = usize::try_from(self.uvarint()?).map_err(|_| RecordError::Truncated)?;
        self.take(length)
    }

    /// A count of items of at least `bytes` bytes each.
    pub(super) fn count(&mut self, bytes: usize) -> Result<usize, RecordError> {
        let count = usize::try_from(self.uvarint()?).map_err(|_| RecordError::Truncated)?;
        if count > self.0.len() / bytes { Err(RecordError::Truncated) } else { Ok(count) }
    }

    /// How many labels the label set has that begins here.
    pub(crate) fn label_count(&mut self) -> Result<usize, RecordError> {
        self.count(2)
    }

    /// Replaces `labels` by a label set.
    pub(crate) fn labels(&mut self, labels: &mut Vec<(&'a str, &'a str)>) -> Result<(), RecordError> {
        labels.clear();
        for _ in 0..self.count(2)? {
            labels.push((self.str()?, self.str()?));
        }
        Ok(())
    }
}
