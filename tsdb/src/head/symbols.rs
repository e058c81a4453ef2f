//! Every string of every label, once.

use std::hash::BuildHasher;

use hashbrown::HashTable;

/// A table of strings with small dense numbers. A string stays as long as someone uses it.
#[derive(Debug)]
pub(super) struct Symbols {
    strings: Vec<Box<str>>,
    uses: Vec<u32>,
    free: Vec<u32>,
    numbers: HashTable<u32>,
    hasher: foldhash::fast::RandomState,
    bytes: usize,
}

/// Bytes that a string costs besides its text: slot, use count, table entry, allocation.
const OVERHEAD: usize = 16 + 4 + 8 + 16;

impl Default for Symbols {
    fn default() -> Self {
        Self {
            strings: Vec::new(),
            uses: Vec::new(),
            free: Vec::new(),
            numbers: HashTable::new(),
            hasher: foldhash::fast::RandomState::default(),
            bytes: 0,
        }
    }
}

impl Symbols {
    /// The number of a string, which is added if it is new. It is not in use yet: see [`hold`](Self::hold).
    pub(super) fn intern(&mut self, text: &str) -> u32 {
        if let Some(number) = self.number(text) {
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
        let Self { strings, numbers, hasher, .. } = self;
        numbers.insert_unique(hasher.hash_one(text), number, |&n| hasher.hash_one(text_of(strings, n)));
        number
    }

    /// The number of a string that is known.
    pub(super) fn number(&self, text: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(text);
        self.numbers.find(hash, |&n| text_of(&self.strings, n) == text).copied()
    }

    /// The string of a number.
    #[inline]
    pub(super) fn text(&self, number: u32) -> &str {
        text_of(&self.strings, number)
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
        if let Ok(entry) = self.numbers.find_entry(self.hasher.hash_one(&*text), |&n| n == number) {
            entry.remove();
        }
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

fn text_of(strings: &[Box<str>], number: u32) -> &str {
    strings.get(number as usize).map_or("", |text| text)
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
