//! Every string of every label, once.

use std::hash::BuildHasher;

use super::line_table::LineTable;

/// A table of strings with small dense numbers. A string stays as long as someone uses it.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    strings: Vec<Box<str>>,
    uses: Vec<u32>,
    free: Vec<u32>,
    numbers: LineTable,
    hasher: foldhash::fast::RandomState,
    bytes: usize,
}

/// Bytes that a string costs besides its text: slot, use count, table entry, allocation.
const OVERHEAD: usize = 16 + 4 + 11 + 16;

impl Symbols {
    /// The number of a string, which is added if it is new. It is not in use yet: see [`hold`](Self::hold).
    pub(super) fn intern(&mut self, text: &str) -> u32 {
        let hash = self.hash(text);
        if let Some(number) = self.find(hash, text) {
            return number;
        }
        self.bytes += text.len() + OVERHEAD;
        let number = match self.free.pop() {
            Some(number) => {
                if let Some(slot) = self.strings.get_mut(number as usize) {
                    *slot = text.into();
                }
                number
            }
            None => {
                self.strings.push(text.into());
                self.uses.push(0);
                (self.strings.len() - 1) as u32
            }
        };
        self.numbers.insert(hash, number);
        number
    }

    /// The number of a string that is known.
    pub(super) fn number(&self, text: &str) -> Option<u32> {
        self.find(self.hash(text), text)
    }

    fn hash(&self, text: &str) -> u32 {
        (self.hasher.hash_one(text) >> 32) as u32
    }

    fn find(&self, hash: u32, text: &str) -> Option<u32> {
        self.numbers.find(hash, |number| self.text(number) == text)
    }

    /// The string of a number.
    #[inline]
    pub(super) fn text(&self, number: u32) -> &str {
        self.strings.get(number as usize).map_or("", |text| text)
    }

    /// Counts one more user of a string.
    pub(super) fn hold(&mut self, number: u32) {
        if let Some(uses) = self.uses.get_mut(number as usize) {
            *uses += 1;
        }
    }

    /// Counts one user less; the string goes with its last user.
    pub(super) fn release(&mut self, number: u32) {
        let Some(uses) = self.uses.get_mut(number as usize) else { return };
        *uses = uses.saturating_sub(1);
        if *uses > 0 {
            return;
        }
        let text = std::mem::take(&mut self.strings[number as usize]);
        self.bytes -= (text.len() + OVERHEAD).min(self.bytes);
        self.numbers.remove(self.hash(&text), number);
        self.free.push(number);
    }

    /// All numbers are below this one.
    pub(super) fn numbers_end(&self) -> usize {
        self.strings.len()
    }

    /// How many strings.
    pub(super) fn len(&self) -> usize {
        self.strings.len() - self.free.len()
    }

    /// About how many bytes the strings occupy.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_goes_with_its_last_user() {
        let mut symbols = Symbols::default();
        let a = symbols.intern("a");
        symbols.hold(a);
        symbols.hold(a);
        assert_eq!(symbols.intern("a"), a);
        symbols.release(a);
        assert_eq!(symbols.number("a"), Some(a));
        symbols.release(a);
        assert_eq!((symbols.number("a"), symbols.len(), symbols.bytes()), (None, 0, 0));
        assert_eq!(symbols.intern("b"), a, "numbers are used again");
        assert_eq!(symbols.text(a), "b");
    }
}
