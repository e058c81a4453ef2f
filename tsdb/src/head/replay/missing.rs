//! What of the log is not there at all?
//!
//! A log without gaps begins with segment 0, or with a checkpoint and the segment behind it. What is missing was taken away
//! from outside: nothing in this crate removes a segment before a checkpoint stands for it.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// A part of the log that should be there. What only it had is lost; everything else is replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// A checkpoint without a segment. The segments that it stood for are gone: series that only they introduced cannot be
    /// known, nor their samples in the segments behind it.
    #[error("{} is empty: put its files back from a backup, with the database closed, or live without what they had", .0.display())]
    Checkpoint(PathBuf),
    /// Segments, by their numbers.
    #[error(
        "segments {} to {} of {} are gone: put them, or the checkpoint that stood for them, back from a backup, with the \
        database closed, or live without what they had",
        .numbers.start(), .numbers.end(), .dir.display()
    )]
    Segments {
        /// The folder of the log.
        dir: PathBuf,
        /// Their numbers.
        numbers: RangeInclusive<u64>,
    },
}

/// What is missing of the log in `dir`, which has a checkpoint with this number, and these segments, by rising number.
pub(super) fn missing(dir: &Path, checkpoint: Option<u64>, segments: &[u64]) -> Vec<Missing> {
    let mut expected = checkpoint.map_or(0, |number| number + 1);
    let mut missing = Vec::new();
    for &number in segments {
        if number < expected {
            continue;
        }
        if number > expected {
            missing.push(Missing::Segments { dir: dir.to_owned(), numbers: expected..=number - 1 });
        }
        expected = number + 1;
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_found() {
        type Row = (Option<u64>, &'static [u64], &'static [RangeInclusive<u64>]);
        let table: [Row; 9] = [
            (None, &[], &[]),
            (None, &[0], &[]),
            (None, &[0, 1, 2], &[]),
            (None, &[2, 3], &[0..=1]),
            (None, &[0, 3, 5], &[1..=2, 4..=4]),
            (Some(4), &[], &[]),
            (Some(4), &[5, 6], &[]),
            // The crash came before the segments went that the checkpoint stands for.
            (Some(4), &[3, 4, 5], &[]),
            (Some(4), &[1, 7], &[5..=6]),
        ];
        for (checkpoint, segments, gaps) in table {
            let found = missing(Path::new("wal"), checkpoint, segments);
            let expected = gaps.iter().map(|gap| Missing::Segments { dir: "wal".into(), numbers: gap.clone() });
            assert_eq!(found, expected.collect::<Vec<_>>(), "{checkpoint:?} {segments:?}");
        }
    }
}
