//! How much memory does merging take? Counted by the allocator, for the thread that merges.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ferula_model::Labels;
use ferula_tsdb::block::{Block, BlockMeta, BlockOptions, BlockWriter};
use ferula_tsdb::chunk::{FloatEncoding, encode};
use ferula_tsdb::compact::merge::{merge, merged_meta};
use ferula_tsdb::fs::{Fs, RealFs};
use ulid::Ulid;

use crate::model::{Bits, Samples, columns};

thread_local! {
    static USED: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

fn count(bytes: isize) {
    // A thread that is ending has no counters any more.
    let _ = USED.try_with(|used| {
        used.set(used.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(used.get())));
    });
}

// SAFETY: all calls go to the system allocator unchanged; the counters touch no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that `work` had allocated at once, beyond what was there before, in bytes.
fn peak_of(work: impl FnOnce()) -> usize {
    let before = USED.with(Cell::get);
    PEAK.with(|peak| peak.set(before));
    work();
    usize::try_from(PEAK.with(Cell::get) - before).unwrap()
}

fn write(fs: &Arc<dyn Fs>, root: &Path, number: i64, series: usize) -> Arc<Block> {
    const RANGE: i64 = 7_200_000;
    let meta = BlockMeta::new(Ulid::from_parts(number as u64, 1), number * RANGE, (number + 1) * RANGE);
    let ulid = meta.ulid;
    let mut writer = BlockWriter::create(fs, root, meta, BlockOptions::default()).unwrap();
    let samples: Samples = (0..120).map(|i| (number * RANGE + i * 60_000, Bits::Float(i as u64))).collect();
    let mut chunks = Vec::new();
    encode(&columns(&samples), FloatEncoding::Xor, &mut chunks);
    let mut labels: Vec<Labels> = (0..series)
        .map(|i| {
            let (a, b, c) = (i % 100, i / 100 % 100, i / 10_000);
            Labels::from_pairs([("__name__", format!("m{a}")), ("b", format!("{b}")), ("c", format!("{c}"))])
        })
        .collect();
    labels.sort();
    for labels in &labels {
        writer.series(labels, chunks.iter().map(Into::into)).unwrap();
    }
    writer.finish().unwrap().unwrap();
    Arc::new(Block::open(fs, &root.join(ulid.to_string())).unwrap())
}

/// Twenty times the series, the same memory: what grows lies in temporary files.
#[test]
fn merging_takes_no_more_memory_for_a_larger_block() {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let peak = |series| {
        let folder = tempfile::tempdir().unwrap();
        let blocks: Vec<_> = (0..3).map(|number| write(&fs, folder.path(), number, series)).collect();
        let metas: Vec<_> = blocks.iter().map(|block| block.meta()).collect();
        let meta = merged_meta(Ulid::from_parts(9, 9), &metas);
        peak_of(|| {
            let merged = merge(&fs, folder.path(), &blocks, meta, BlockOptions::default(), &AtomicBool::new(false));
            let merged = merged.unwrap().unwrap();
            assert_eq!(merged.stats.num_series, series as u64);
        })
    };
    // The larger block has 30 MB. Buffers of bounded size fill up, chiefly the sort of labels to series: 3 MiB, twice while
    // it grows.
    let (small, large) = (peak(4_000), peak(80_000));
    assert!(large < small + 8 * 1024 * 1024, "{small} and {large} bytes");
}
