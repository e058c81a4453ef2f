//! Postings: which series carry this label? Rising lists of series numbers, and their set algebra.
//!
//! The head keeps its lists in vectors, a block has them in the mapped index as big-endian integers. A [`List`] is a
//! borrowed view of either; the algebra reads lists where they lie and writes its result into a vector.
//!
//! ```
//! use ferula_tsdb::postings::{List, intersect, subtract, union};
//!
//! let (api, prod) = (List::Native(&[1, 4, 7]), List::Native(&[4, 7, 9]));
//! assert_eq!(intersect(&mut [api, prod]), [4, 7]);
//! assert_eq!(union(&[api, prod]), [1, 4, 7, 9]);
//! assert_eq!(subtract(vec![1, 4, 7], prod), [1]);
//! ```
//!
//! Intersection takes the shortest list and gallops through the others, so that its cost follows the shortest list and not
//! the longest. Union chooses between merging, sorting and a bitmap by the size of what goes in.
//!
//! # Invariants
//!
//! Lists rise strictly. A list from disk that does not (its checksum was right, so its writer was wrong) leads to wrong
//! answers, never to a panic.

mod set;

pub use set::{intersect, intersects, subtract, union};

/// A strictly rising list of series numbers, borrowed.
#[derive(Clone, Copy, Debug)]
pub enum List<'a> {
    /// In memory.
    Native(&'a [u32]),
    /// As a block's index has them.
    BigEndian(&'a [[u8; 4]]),
}

impl<'a> List<'a> {
    /// How many series.
    pub fn len(self) -> usize {
        match self {
            List::Native(list) => list.len(),
            List::BigEndian(list) => list.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The series at a position, if there are so many.
    pub fn at(self, index: usize) -> Option<u32> {
        match self {
            List::Native(list) => list.get(index).copied(),
            List::BigEndian(list) => list.get(index).map(|bytes| u32::from_be_bytes(*bytes)),
        }
    }

    /// The first and the last series, if there are any.
    pub fn bounds(self) -> Option<(u32, u32)> {
        Some((self.at(0)?, self.at(self.len() - 1)?))
    }

    /// Appends all series to a vector.
    pub fn copy_to(self, out: &mut Vec<u32>) {
        match self {
            List::Native(list) => out.extend_from_slice(list),
            List::BigEndian(list) => out.extend(list.iter().map(|bytes| u32::from_be_bytes(*bytes))),
        }
    }

    /// All series.
    pub fn to_vec(self) -> Vec<u32> {
        let mut out = Vec::with_capacity(self.len());
        self.copy_to(&mut out);
        out
    }

    /// Whether a series is in the list.
    pub fn contains(self, series: u32) -> bool {
        self.at(self.seek(0, series)) == Some(series)
    }

    /// The first position at or after `from` whose series is not below `series`; doubles its steps, so that near
    /// positions are found at once.
    pub(crate) fn seek(self, from: usize, series: u32) -> usize {
        match self {
            List::Native(list) => gallop(list, from, |item| *item < series),
            List::BigEndian(list) => {
                let wanted = series.to_be_bytes();
                gallop(list, from, |item| *item < wanted)
            }
        }
    }
}

impl<'a> From<&'a [u32]> for List<'a> {
    fn from(list: &'a [u32]) -> Self {
        List::Native(list)
    }
}

fn gallop<T>(list: &[T], from: usize, below: impl Fn(&T) -> bool) -> usize {
    let (mut low, mut step) = (from, 1);
    while list.get(low + step - 1).is_some_and(&below) {
        low += step;
        step *= 2;
    }
    let window = list.get(low..list.len().min(low + step)).unwrap_or_default();
    low + window.partition_point(below)
}
