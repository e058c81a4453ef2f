//! Bits: most significant first, with the variable-width integers that chunks are made of.

use super::ChunkError;

/// Appends bits to a byte buffer that someone else owns.
///
/// Only `free`, the number of unused low bits of the last byte, lives here: a head with a million open chunks keeps one
/// byte of state for each, not one writer.
#[derive(Debug)]
pub struct BitWriter<'a> {
    bytes: &'a mut Vec<u8>,
    free: u8,
}

/// Takes bits.
pub trait PutBits {
    /// Appends the lowest `count` (1 to 64) bits of `value`; higher bits are ignored.
    fn put(&mut self, value: u64, count: u32);

    /// Appends an unsigned LEB128 integer.
    #[inline]
    fn put_uvarint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put(value & 0x7F | 0x80, 8);
            value >>= 7;
        }
        self.put(value, 8);
    }

    /// Appends a zigzag LEB128 integer.
    #[inline]
    fn put_varint(&mut self, value: i64) {
        self.put_uvarint(((value << 1) ^ (value >> 63)) as u64);
    }

    /// Appends a signed integer as prefix and two's complement: the smaller, the shorter.
    fn put_varbit(&mut self, value: i64) {
        if value == 0 {
            return self.put(0, 1);
        }
        let class = VARBIT_WIDTHS.iter().position(|&width| fits(value, width)).unwrap_or(VARBIT_WIDTHS.len() - 1);
        put_class(self, class, value as u64);
    }

    /// Appends an unsigned integer as prefix and value: the smaller, the shorter.
    fn put_uvarbit(&mut self, value: u64) {
        if value == 0 {
            return self.put(0, 1);
        }
        let class = VARBIT_WIDTHS.iter().position(|&width| width == 64 || value >> width == 0).unwrap_or(7);
        put_class(self, class, value);
    }
}

fn put_class(bits: &mut (impl PutBits + ?Sized), class: usize, value: u64) {
    match class {
        7 => bits.put(0xFF, 8),
        class => bits.put((1 << (class + 2)) - 2, class as u32 + 2),
    }
    bits.put(value, VARBIT_WIDTHS.get(class).copied().unwrap_or(64));
}

impl PutBits for BitWriter<'_> {
    #[inline]
    fn put(&mut self, value: u64, count: u32) {
        BitWriter::put(self, value, count);
    }
}

/// Up to 31 bytes of bits on their way to a buffer: one copy for all the pieces of a sample.
#[derive(Debug)]
pub struct StagedBits {
    words: [u8; 32],
    /// Whole words in `words`, in bytes, and the bits behind them, leftmost first.
    bytes: usize,
    tail: u64,
    bits: u32,
}

impl StagedBits {
    /// Takes the last byte off `bytes` if it has `free` (below 8) unused bits, to go on behind it.
    #[inline]
    pub fn resume(bytes: &mut Vec<u8>, free: u8) -> Self {
        let last = if free > 0 { bytes.pop() } else { None };
        let (tail, bits) = last.map_or((0, 0), |last| (u64::from(last) << 56, 8 - u32::from(free)));
        Self { words: [0; 32], bytes: 0, tail, bits }
    }

    /// The bytes, and how many low bits of the last one are unused.
    #[inline]
    pub fn finish(&mut self) -> (&[u8], u8) {
        self.store();
        let length = self.bytes + self.bits.div_ceil(8) as usize;
        (self.words.get(..length).unwrap_or(&self.words), (self.bits.wrapping_neg() % 8) as u8)
    }

    #[inline]
    fn store(&mut self) {
        if let Some(word) = self.words.get_mut(self.bytes..).and_then(<[u8]>::first_chunk_mut) {
            *word = self.tail.to_be_bytes();
        }
    }
}

impl PutBits for StagedBits {
    #[inline]
    fn put(&mut self, value: u64, count: u32) {
        let value = value << (64 - count);
        self.tail |= value >> self.bits;
        let bits = self.bits + count;
        if bits < 64 {
            self.bits = bits;
            return;
        }
        self.store();
        self.bytes += 8;
        // What did not fit; a shift by all 64 bits leaves nothing.
        self.tail = value.checked_shl(64 - self.bits).unwrap_or(0);
        self.bits = bits - 64;
    }
}

impl<'a> BitWriter<'a> {
    /// Goes on behind `bytes`, whose last byte has `free` (below 8) unused bits, all zero.
    pub fn resume(bytes: &'a mut Vec<u8>, free: u8) -> Self {
        Self { bytes, free }
    }

    /// How many low bits of the last byte are unused.
    pub fn free(&self) -> u8 {
        self.free
    }

    /// Appends the lowest `count` (1 to 64) bits of `value`; higher bits are ignored.
    #[inline]
    pub fn put(&mut self, value: u64, count: u32) {
        let value = if count == 64 { value } else { value & ((1 << count) - 1) };
        let free = u32::from(self.free);
        if let Some(last) = self.bytes.last_mut().filter(|_| free > 0) {
            if count <= free {
                *last |= (value << (free - count)) as u8;
                self.free = (free - count) as u8;
                return;
            }
            *last |= (value >> (count - free)) as u8;
        }
        let rest = count - free;
        let length = rest.div_ceil(8);
        self.free = (length * 8 - rest) as u8;
        let aligned = (value << (64 - rest)).to_be_bytes();
        self.bytes.extend_from_slice(aligned.get(..length as usize).unwrap_or(&aligned));
    }

    /// Appends whole bytes, wherever the bit position is.
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.put(u64::from(*byte), 8);
        }
    }
}

/// Widths behind the prefixes `10`, `110`, ... `11111110`, `11111111`.
const VARBIT_WIDTHS: [u32; 8] = [3, 6, 9, 12, 18, 25, 56, 64];

/// Whether `value` fits `width` bits of the format's lopsided two's complement, `-(2^(n-1)-1)..=2^(n-1)`.
#[inline]
pub fn fits(value: i64, width: u32) -> bool {
    width >= 64 || (-((1 << (width - 1)) - 1)..=(1 << (width - 1))).contains(&value)
}

/// Undoes the lopsided two's complement.
#[inline]
pub fn signed(bits: u64, width: u32) -> i64 {
    if (1..64).contains(&width) && bits > 1 << (width - 1) { bits as i64 - (1 << width) } else { bits as i64 }
}

/// Reads bits from a byte slice.
#[derive(Clone, Debug)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    /// Bits that have been read. There is no other state: what comes next is one load and one shift away, which is less
    /// to wait for than a buffer that must be refilled.
    position: usize,
}

/// How many bits [`BitReader::peek`] shows at least, if there are as many.
pub(super) const PEEKED: u32 = 57;

impl<'a> BitReader<'a> {
    /// Starts at the first bit.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// The next bits, leftmost first, without reading them: [`PEEKED`] of them at least, zeros beyond the end.
    #[inline]
    pub(super) fn peek(&self) -> u64 {
        let from = self.position / 8;
        let word = match self.bytes.get(from..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(word) => u64::from_be_bytes(*word),
            None => last_word(self.bytes, from),
        };
        word << (self.position % 8)
    }

    /// Reads bits that were peeked at.
    ///
    /// # Errors
    ///
    /// [`ChunkError::Truncated`].
    #[inline]
    pub(super) fn skip(&mut self, count: u32) -> Result<(), ChunkError> {
        let position = self.position + count as usize;
        if position > self.bytes.len() * 8 {
            return Err(ChunkError::Truncated);
        }
        self.position = position;
        Ok(())
    }

    /// Reads bits that were peeked at and may lie beyond the end: who passes over bits asks [`is_past_end`](Self::is_past_end)
    /// before anybody else reads.
    #[inline]
    pub(super) fn pass(&mut self, count: u32) {
        self.position += count as usize;
    }

    /// Passes over the next `count` (1 to 64) bits and gives them; zeros beyond the end.
    #[inline]
    pub(super) fn pass_value(&mut self, count: u32) -> u64 {
        let value = if count <= PEEKED { self.peek() >> (64 - count) } else { wide(self.bytes, self.position, count) };
        self.pass(count);
        value
    }

    /// Whether bits were passed over that are not there.
    #[inline]
    pub(super) fn is_past_end(&self) -> bool {
        self.position > self.bytes.len() * 8
    }

    /// The next `count` (0 to 64) bits.
    ///
    /// # Errors
    ///
    /// [`ChunkError::Truncated`].
    #[inline]
    pub fn take(&mut self, count: u32) -> Result<u64, ChunkError> {
        if count > PEEKED {
            let high = self.take_peeked(count - 32)?;
            return Ok(high << 32 | self.take_peeked(32)?);
        }
        self.take_peeked(count)
    }

    #[inline]
    fn take_peeked(&mut self, count: u32) -> Result<u64, ChunkError> {
        // Two shifts: one by all 64 bits would be none.
        let value = self.peek() >> 1 >> (63 - count);
        self.skip(count)?;
        Ok(value)
    }

    /// Counts ones up to a zero, which is read too, or up to `most` ones.
    ///
    /// # Errors
    ///
    /// [`ChunkError::Truncated`].
    #[inline]
    pub fn take_ones(&mut self, most: u32) -> Result<u32, ChunkError> {
        let ones = self.peek().leading_ones().min(most);
        self.skip((ones + 1).min(most))?;
        Ok(ones)
    }

    /// An unsigned LEB128 integer.
    ///
    /// # Errors
    ///
    /// [`ChunkError::Truncated`], or [`ChunkError::Malformed`] beyond 64 bits.
    pub fn take_uvarint(&mut self) -> Result<u64, ChunkError> {
        if let Some(value) = self.take_whole_bytes() {
            return Ok(value);
        }
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(8)?;
            value |= (byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ChunkError::Malformed("varint beyond 64 bits"))
    }

    /// An unsigned LEB128 integer that begins with a byte, as those at the beginning of a chunk do. `None` leaves the bits as
    /// they are: it does not, or something is wrong with it.
    #[inline]
    fn take_whole_bytes(&mut self) -> Option<u64> {
        if !self.position.is_multiple_of(8) {
            return None;
        }
        let mut value = 0;
        for (place, byte) in self.bytes.get(self.position / 8..)?.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7F) << (7 * place);
            if byte & 0x80 == 0 {
                self.position += 8 * (place + 1);
                return Some(value);
            }
        }
        None
    }

    /// A zigzag LEB128 integer.
    ///
    /// # Errors
    ///
    /// As [`take_uvarint`](Self::take_uvarint).
    pub fn take_varint(&mut self) -> Result<i64, ChunkError> {
        let value = self.take_uvarint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// What [`BitWriter::put_varbit`] wrote.
    ///
    /// # Errors
    ///
    /// [`ChunkError::Truncated`].
    pub fn take_varbit(&mut self) -> Result<i64, ChunkError> {
        let width = self.take_width()?;
        self.take(width).map(|bits| signed(bits, width))
    }

    /// What [`BitWriter::put_uvarbit`] wrote.
    ///
    /// # Errors
    ///
    /// [`ChunkError::Truncated`].
    pub fn take_uvarbit(&mut self) -> Result<u64, ChunkError> {
        let width = self.take_width()?;
        self.take(width)
    }

    fn take_width(&mut self) -> Result<u32, ChunkError> {
        match self.take_ones(8)? {
            0 => Ok(0),
            ones => Ok(VARBIT_WIDTHS.get(ones as usize - 1).copied().unwrap_or(64)),
        }
    }

    /// Bits that are not read yet.
    pub fn left(&self) -> usize {
        self.bytes.len() * 8 - self.position
    }

    /// Unused low bits of the byte that holds the last bit read: what a [`BitWriter`] needs to go on behind it.
    pub fn free(&self) -> u8 {
        (self.left() % 8) as u8
    }
}

/// More bits than are in sight at once.
#[cold]
#[inline(never)]
fn wide(bytes: &[u8], position: usize, count: u32) -> u64 {
    let high = BitReader { bytes, position }.peek() >> (96 - count);
    high << 32 | BitReader { bytes, position: position + count as usize - 32 }.peek() >> 32
}

/// The bytes from `from` on, less than eight. Apart from the reader, so that it can live in registers.
#[cold]
fn last_word(bytes: &[u8], from: usize) -> u64 {
    let rest = bytes.get(from..).unwrap_or_default().iter();
    rest.zip((0..8).rev()).map(|(byte, place)| u64::from(*byte) << (8 * place)).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Piece {
        Bits(u64, u32),
        Varint(i64),
        Varbit(i64),
        Uvarbit(u64),
    }

    fn number() -> impl Strategy<Value = i64> {
        (any::<i64>(), 0u32..64).prop_map(|(value, shift)| value >> shift)
    }

    fn piece() -> impl Strategy<Value = Piece> {
        prop_oneof![
            (any::<u64>(), 1u32..=64).prop_map(|(v, n)| Piece::Bits(v & (u64::MAX >> (64 - n)), n)),
            number().prop_map(Piece::Varint),
            number().prop_map(Piece::Varbit),
            number().prop_map(|v| Piece::Uvarbit(v as u64)),
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_and_a_cut_is_noticed(pieces in prop::collection::vec(piece(), 1..40)) {
            let mut bytes = Vec::new();
            let mut writer = BitWriter::resume(&mut bytes, 0);
            for piece in &pieces {
                match *piece {
                    Piece::Bits(v, n) => writer.put(v, n),
                    Piece::Varint(v) => writer.put_varint(v),
                    Piece::Varbit(v) => writer.put_varbit(v),
                    Piece::Uvarbit(v) => writer.put_uvarbit(v),
                }
            }
            let free = writer.free();
            let read = |bytes: &[u8]| -> Result<u8, ChunkError> {
                let mut reader = BitReader::new(bytes);
                for piece in &pieces {
                    let same = match *piece {
                        Piece::Bits(v, n) => reader.take(n)? == v,
                        Piece::Varint(v) => reader.take_varint()? == v,
                        Piece::Varbit(v) => reader.take_varbit()? == v,
                        Piece::Uvarbit(v) => reader.take_uvarbit()? == v,
                    };
                    assert!(same, "{piece:?}");
                }
                Ok(reader.free())
            };
            prop_assert_eq!(read(&bytes), Ok(free));
            prop_assert_eq!(read(&bytes[..bytes.len() - 1]), Err(ChunkError::Truncated));
        }
    }

    proptest! {
        #[test]
        fn staged_bits_are_the_same_bits(
            before in prop::collection::vec((any::<u64>(), 1u32..=64), 0..5),
            pieces in prop::collection::vec((any::<u64>(), 1u32..=64), 0..3),
        ) {
            let (mut plain, mut staged) = (Vec::new(), Vec::new());
            let mut writer = BitWriter::resume(&mut plain, 0);
            before.iter().for_each(|(value, count)| writer.put(*value, *count));
            let free = writer.free();
            staged.extend_from_slice(&plain);
            let mut writer = BitWriter::resume(&mut plain, free);
            let mut stage = StagedBits::resume(&mut staged, free);
            for (value, count) in pieces {
                writer.put(value, count);
                stage.put(value, count);
            }
            let free = writer.free();
            let (bytes, staged_free) = stage.finish();
            staged.extend_from_slice(bytes);
            prop_assert_eq!((staged, staged_free), (plain, free));
        }
    }

    #[test]
    fn class_borders_are_lopsided() {
        for (value, bits) in [(4, 5), (-3, 5), (5, 9), (-4, 9), (32, 9), (33, 13), (i64::MIN, 72), (i64::MAX, 72)] {
            let mut bytes = Vec::new();
            let mut writer = BitWriter::resume(&mut bytes, 0);
            writer.put_varbit(value);
            let free = usize::from(writer.free());
            assert_eq!(bytes.len() * 8 - free, bits, "{value}");
        }
    }
}
