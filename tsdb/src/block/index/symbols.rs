//! The symbol table: every string of the index once, sorted; series refer to it by number.

use super::format::HEADER_BYTES;
use crate::block::wire::{Cursor, Malformed};

/// Every so many symbols, the place of one is kept in memory.
const STRIDE: usize = 16;

/// Looks symbols up by number in the mapped section.
#[derive(Clone, Debug, Default)]
pub(super) struct Symbols {
    /// File offsets from the first symbol to behind the last.
    start: u64,
    end: u64,
    count: u32,
    /// Offset, relative to `start`, of every [`STRIDE`]th symbol.
    sampled: Vec<u32>,
    /// Version 1 numbers a symbol by its file offset.
    by_offset: bool,
}

impl Symbols {
    /// Checks the section at `offset`; the symbols must be UTF-8, and sorted unless `by_offset`.
    pub(super) fn open(file: &[u8], offset: u64, by_offset: bool) -> Result<Self, Malformed> {
        if offset < HEADER_BYTES {
            return Err(Malformed { offset, problem: "symbol table lies in the header" });
        }
        let mut cursor = Cursor::at(file, offset)?.section()?;
        let count = cursor.be_u32()?;
        let start = cursor.offset();
        let end = start + cursor.len() as u64;
        let mut sampled = Vec::new();
        let mut previous = None;
        for at in 0..count as usize {
            if at.is_multiple_of(STRIDE) {
                sampled.push(u32::try_from(cursor.offset() - start).unwrap_or(u32::MAX));
            }
            let place = cursor.malformed("symbols do not rise");
            let symbol = cursor.text()?;
            if !by_offset && previous.is_some_and(|previous| previous >= symbol) {
                return Err(place);
            }
            previous = Some(symbol);
        }
        Ok(Self { start, end, count, sampled, by_offset })
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of the table in memory.
    pub(super) fn heap_bytes(&self) -> usize {
        self.sampled.capacity() * size_of::<u32>()
    }

    /// The symbol with a number. `file` is what the table was opened over.
    pub(super) fn lookup<'a>(&self, file: &'a [u8], symbol: u32) -> Result<&'a str, Malformed> {
        let unknown = Malformed { offset: self.start, problem: "unknown symbol" };
        if self.by_offset {
            let inside = (self.start..self.end).contains(&u64::from(symbol));
            return if inside { Cursor::at(file, symbol.into())?.text() } else { Err(unknown) };
        }
        let at = symbol as usize;
        let sample = self.sampled.get(at / STRIDE).filter(|_| symbol < self.count).ok_or(unknown)?;
        let mut cursor = Cursor::at(file, self.start + u64::from(*sample))?;
        for _ in 0..at % STRIDE {
            cursor.counted()?;
        }
        cursor.text()
    }

    /// The number of a symbol, by binary search; never found where symbols are numbered by offset.
    pub(super) fn find(&self, file: &[u8], text: &str) -> Result<Option<u32>, Malformed> {
        if self.by_offset {
            return Ok(None);
        }
        let at = |sample: &u32| Cursor::at(file, self.start + u64::from(*sample));
        let mut problem = None;
        let sample = self.sampled.partition_point(|sample| match at(sample).and_then(|mut cursor| cursor.text()) {
            Ok(symbol) => symbol <= text,
            Err(error) => {
                problem = Some(error);
                false
            }
        });
        if let Some(error) = problem {
            return Err(error);
        }
        let Some(sample) = sample.checked_sub(1) else { return Ok(None) };
        let mut cursor = self.sampled.get(sample).map(at).transpose()?.unwrap_or(Cursor::new(&[], 0));
        let first = sample * STRIDE;
        for number in first..(first + STRIDE).min(self.count as usize) {
            let symbol = cursor.text()?;
            if symbol >= text {
                return Ok((symbol == text).then_some(number as u32));
            }
        }
        Ok(None)
    }

    /// All symbols with their numbers, in the order of the table.
    pub(super) fn iter<'a>(&self, file: &'a [u8]) -> impl Iterator<Item = Result<(u32, &'a str), Malformed>> + use<'a> {
        let (by_offset, count) = (self.by_offset, self.count);
        let mut cursor = Cursor::at(file, self.start);
        (0..count).map(move |at| {
            let cursor = cursor.as_mut().map_err(|error| *error)?;
            let number = if by_offset { u32::try_from(cursor.offset()).unwrap_or(u32::MAX) } else { at };
            Ok((number, cursor.text()?))
        })
    }
}
