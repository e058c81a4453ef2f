//! What one series holds, and where it lies.
//!
//! A series is a slot in a page of 256, found by two array accesses from its dense number. Each page has one lock: the
//! series of a scrape or a request were created together, so a commit takes a lock per page and not per sample.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use ferula_model::{Histogram, Metadata};
use parking_lot::RwLock;
use smallvec::SmallVec;

use super::index::PackedLabels;
use super::late::Late;
use crate::chunk::histogram::HistogramAppender;
use crate::chunk::xor::XorAppender;
use crate::chunk::{ChunkEncoding, FloatEncoding, Starts, count, sample_count, xor2};

/// Series in a page.
pub(super) const PAGE_SERIES: usize = 256;
const PAGES_PER_BOOK: usize = 4096;
const BOOKS: usize = (u32::MAX as usize + 1) / PAGE_SERIES / PAGES_PER_BOOK;

/// All series by their number.
pub(super) struct Pages {
    books: Box<[OnceLock<Book>]>,
}

type Book = Box<[OnceLock<Page>]>;

/// 256 series behind a lock; empty before the first of them is created and after the last one is gone.
pub(super) type Page = RwLock<Vec<Series>>;

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pages")
    }
}

impl Pages {
    pub(super) fn new() -> Self {
        Self { books: std::iter::repeat_with(OnceLock::new).take(BOOKS).collect() }
    }

    /// The page of a series, if one of its series was ever created.
    #[inline]
    pub(super) fn page(&self, series: u32) -> Option<&Page> {
        let page = series as usize / PAGE_SERIES;
        self.books.get(page / PAGES_PER_BOOK)?.get()?.get(page % PAGES_PER_BOOK)?.get()
    }

    /// The page of a series, created if need be.
    pub(super) fn page_or_new(&self, series: u32) -> &Page {
        let page = series as usize / PAGE_SERIES;
        let book = self.books[page / PAGES_PER_BOOK]
            .get_or_init(|| std::iter::repeat_with(OnceLock::new).take(PAGES_PER_BOOK).collect());
        book[page % PAGES_PER_BOOK].get_or_init(Page::default)
    }

    /// Puts a new series in its slot.
    pub(super) fn put(&self, number: u32, series: Series) {
        let mut page = self.page_or_new(number).write();
        let at = number as usize % PAGE_SERIES;
        if page.is_empty() {
            page.reserve_exact(PAGE_SERIES);
        }
        // Numbers rise, so this is mostly the next slot.
        if page.len() < at {
            page.resize_with(at, Series::default);
        }
        match page.get_mut(at) {
            Some(slot) => *slot = series,
            None => page.push(series),
        }
    }

    /// Reads a living series.
    #[inline]
    pub(super) fn with<T>(&self, number: u32, read: impl FnOnce(&Series) -> T) -> Option<T> {
        let page = self.page(number)?.read();
        let series = page.get(number as usize % PAGE_SERIES)?;
        if series.is_dead() { None } else { Some(read(series)) }
    }

    /// Changes a living series.
    #[inline]
    pub(super) fn with_mut<T>(&self, number: u32, change: impl FnOnce(&mut Series) -> T) -> Option<T> {
        let mut page = self.page(number)?.write();
        let series = page.get_mut(number as usize % PAGE_SERIES)?;
        if series.is_dead() { None } else { Some(change(series)) }
    }

    /// Gives back the memory of pages without a series, but for the newest page, which is being filled. Another one that is filled
    /// later gets its memory again.
    pub(super) fn free_empty(&self) {
        let mut pages: Vec<&Page> = self.iter().map(|(_, page)| page).collect();
        pages.pop();
        for page in pages {
            let mut page = page.write();
            if page.iter().all(Series::is_dead) {
                *page = Vec::new();
            }
        }
    }

    /// Every page with the number of its first series, by rising number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Page)> {
        self.books.iter().enumerate().filter_map(|(at, book)| Some((at, book.get()?))).flat_map(|(at, book)| {
            book.iter().enumerate().filter_map(move |(page, lock)| {
                Some((((at * PAGES_PER_BOOK + page) * PAGE_SERIES) as u32, lock.get()?))
            })
        })
    }
}

/// What kind of sample a series took last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// It has none.
    #[default]
    Empty,
    Float,
    Histogram,
}

/// One series.
#[derive(Debug, Default)]
pub(super) struct Series {
    /// Empty in a slot without a series.
    pub(super) labels: PackedLabels,
    /// The open chunk of floats, in `encoding`; empty between chunks and while a histogram chunk is open.
    pub(super) chunk: Vec<u8>,
    /// How to go on with `chunk`; its time is the newest time of the series, its value the newest float.
    pub(super) floats: XorAppender,
    /// Time of the first sample of the open chunk.
    pub(super) chunk_start: i64,
    /// The open chunk ends before this time.
    pub(super) chunk_end: i64,
    /// The newest commit that added samples in order, and the newest time before it.
    pub(super) commit: u64,
    pub(super) before_commit: i64,
    /// What most series do not have, or not most of the time.
    pub(super) rest: Option<Box<Rest>>,
    pub(super) kind: Kind,
    pub(super) encoding: FloatEncoding,
    /// Asked for since the last garbage collection: somebody may be about to append.
    pub(super) touched: AtomicBool,
}

/// The less usual parts of a series.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// Full chunks in the head chunk files, by rising time.
    pub(super) mapped: Vec<MappedChunk>,
    /// Of the open chunk of floats, if it has start timestamps.
    pub(super) starts: Starts,
    /// The open histogram chunk.
    pub(super) histograms: Option<Box<HistogramAppender>>,
    /// The newest histogram.
    pub(super) last_histogram: Option<Histogram>,
    /// Samples that came late.
    pub(super) late: Option<Box<Late>>,
    /// For readers that are older than `Series::before_commit`: further commits and the newest time before each.
    pub(super) commits: SmallVec<[(u64, i64); 2]>,
    pub(super) metadata: Option<Metadata>,
}

impl Rest {
    fn is_empty(&self) -> bool {
        self.mapped.is_empty()
            && !self.starts.is_used()
            && self.histograms.is_none()
            && self.last_histogram.is_none()
            && self.late.is_none()
            && self.commits.is_empty()
            && self.metadata.is_none()
    }
}

/// A full chunk in the head chunk files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MappedChunk {
    /// File number and offset.
    pub(super) place: u64,
    pub(super) min_time: i64,
    pub(super) max_time: i64,
}

/// Samples after which an open float chunk is cut, unless its end comes first (upstream's default).
pub(super) const SAMPLES_PER_CHUNK: usize = 120;
/// An XOR chunk with more bytes may not have room for another sample in a kilobyte.
const CHUNK_BYTES_MAX: usize = 1005;
/// The size that histogram chunks aim for, and how many samples they have at least.
const HISTOGRAM_BYTES: usize = 1024;
const HISTOGRAMS_MIN: usize = 10;

/// What new chunks of the head have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkRules {
    /// In milliseconds. No chunk crosses the end of a block.
    pub(super) block_range: i64,
    /// The encoding of floats without start timestamps.
    pub(super) floats: FloatEncoding,
}

/// A chunk that is complete.
pub(super) struct FullChunk<'a> {
    pub(super) encoding: ChunkEncoding,
    pub(super) min_time: i64,
    pub(super) max_time: i64,
    pub(super) bytes: &'a [u8],
}

impl Series {
    /// A chunk with so many samples is a quarter full, and its end is predicted.
    pub(super) const QUARTER: usize = SAMPLES_PER_CHUNK / 4;

    pub(super) fn new(labels: PackedLabels) -> Self {
        Self { labels, touched: AtomicBool::new(true), ..Self::default() }
    }

    #[inline]
    pub(super) fn is_dead(&self) -> bool {
        self.labels.is_empty()
    }

    /// Remembers that somebody asked for the series.
    #[inline]
    pub(super) fn touch(&self) {
        if !self.touched.load(Ordering::Relaxed) {
            self.touched.store(true, Ordering::Relaxed);
        }
    }

    /// The time of the newest sample that came in order.
    #[inline]
    pub(super) fn newest(&self) -> Option<i64> {
        (self.kind != Kind::Empty).then(|| self.floats.time())
    }

    /// The time of the oldest sample that came in order.
    pub(super) fn oldest(&self) -> Option<i64> {
        let mapped = self.rest.as_ref().and_then(|rest| rest.mapped.first()).map(|chunk| chunk.min_time);
        mapped.or_else(|| self.has_open_chunk().then_some(self.chunk_start))
    }

    pub(super) fn has_open_chunk(&self) -> bool {
        !self.chunk.is_empty() || self.rest.as_ref().is_some_and(|rest| rest.histograms.is_some())
    }

    /// Whether nothing of the series is left.
    pub(super) fn is_empty(&self) -> bool {
        let rest_is_empty =
            |rest: &Rest| rest.mapped.is_empty() && rest.late.as_ref().is_none_or(|late| late.is_empty());
        !self.has_open_chunk() && self.rest.as_deref().is_none_or(rest_is_empty)
    }

    pub(super) fn rest_mut(&mut self) -> &mut Rest {
        self.rest.get_or_insert_default()
    }

    /// Appends a float that is newer than everything in the series; `start` is 0 for none. A chunk that becomes full goes to
    /// `full`, which says where it went.
    #[inline]
    pub(super) fn push_float(
        &mut self,
        time: i64,
        start: i64,
        value: f64,
        rules: ChunkRules,
        full: &mut dyn FnMut(FullChunk<'_>) -> u64,
    ) {
        let samples = count(&self.chunk);
        if samples == Self::QUARTER {
            self.chunk_end = predicted_end(self.chunk_start, self.floats.time(), self.chunk_end, 4.0);
        }
        let is_full = samples > 0
            && (time >= self.chunk_end
                || samples >= 2 * SAMPLES_PER_CHUNK
                || self.chunk.len() > CHUNK_BYTES_MAX
                || !self.admits(samples, start));
        if is_full || (samples == 0 && self.has_open_chunk()) {
            self.close_chunk(full);
        }
        if self.chunk.is_empty() {
            self.chunk_start = time;
            self.chunk_end = range_end(time, rules.block_range);
            self.encoding = if start == 0 { rules.floats } else { FloatEncoding::Xor2 };
        }
        match self.encoding {
            FloatEncoding::Xor => self.floats.append(&mut self.chunk, time, value),
            FloatEncoding::Xor2 => self.append_xor2(time, start, value),
        }
        self.kind = Kind::Float;
    }

    /// Whether the open chunk of floats, of so many samples, can hold a sample with this start.
    #[inline]
    fn admits(&self, samples: usize, start: i64) -> bool {
        match self.encoding {
            FloatEncoding::Xor => start == 0,
            FloatEncoding::Xor2 => self.xor2_admits(samples, start),
        }
    }

    #[inline(never)]
    fn xor2_admits(&self, samples: usize, start: i64) -> bool {
        self.starts().admits(samples, start)
    }

    fn starts(&self) -> Starts {
        self.rest.as_ref().map_or_else(Starts::default, |rest| rest.starts)
    }

    #[inline(never)]
    fn append_xor2(&mut self, time: i64, start: i64, value: f64) {
        let mut starts = self.starts();
        xor2::append(&mut self.floats, &mut starts, &mut self.chunk, time, start, value);
        // A series without starts needs no place for them.
        if starts.is_used() || self.rest.is_some() {
            self.rest_mut().starts = starts;
        }
    }

    /// Sets the end of an open chunk that was not filled sample by sample. `quarter` is the time of the sample with which it
    /// was a quarter full.
    pub(super) fn begin_range(&mut self, block_range: i64, quarter: Option<i64>) {
        let end = range_end(self.chunk_start, block_range);
        self.chunk_end = quarter.map_or(end, |quarter| predicted_end(self.chunk_start, quarter, end, 4.0));
    }

    /// Appends a histogram that is newer than everything in the series; `start` is 0 for none.
    pub(super) fn push_histogram(
        &mut self,
        time: i64,
        start: i64,
        histogram: &Histogram,
        rules: ChunkRules,
        full: &mut dyn FnMut(FullChunk<'_>) -> u64,
    ) {
        if !self.chunk.is_empty() {
            self.close_chunk(full);
        }
        let end = self.chunk_end;
        let open = self.rest_mut().histograms.as_mut();
        let appended = open.is_some_and(|chunk| {
            let samples = sample_count(chunk.encoding(), chunk.bytes()).unwrap_or(0);
            let is_full = chunk.bytes().len() >= HISTOGRAM_BYTES && samples >= HISTOGRAMS_MIN;
            time < end && !is_full && chunk.append_with_start(time, start, histogram).is_ok()
        });
        if !appended {
            let previous = self.rest_mut().histograms.clone();
            self.close_chunk(full);
            self.chunk_start = time;
            self.chunk_end = range_end(time, rules.block_range);
            let reset = crate::chunk::header_after(previous.as_deref(), histogram);
            let chunk = if start == 0 {
                HistogramAppender::begin(reset, time, histogram)
            } else {
                HistogramAppender::begin_with_start(reset, time, start, histogram)
            };
            self.rest_mut().histograms = Some(Box::new(chunk));
        }
        self.rest_mut().last_histogram = Some(histogram.clone());
        self.floats.note_time(time);
        self.kind = Kind::Histogram;
    }

    /// Hands the open chunk, if there is one, to `full`, and begins none.
    pub(super) fn close_chunk(&mut self, full: &mut dyn FnMut(FullChunk<'_>) -> u64) {
        let (min_time, max_time) = (self.chunk_start, self.floats.time());
        let place = if !self.chunk.is_empty() {
            let encoding = self.encoding.into();
            let place = full(FullChunk { encoding, min_time, max_time, bytes: &self.chunk });
            self.chunk.clear();
            self.rest_mut().starts = Starts::default();
            place
        } else if let Some(chunk) = self.rest.as_mut().and_then(|rest| rest.histograms.take()) {
            full(FullChunk { encoding: chunk.encoding(), min_time, max_time, bytes: chunk.bytes() })
        } else {
            return;
        };
        self.rest_mut().mapped.push(MappedChunk { place, min_time, max_time });
    }

    /// Forgets the samples before `time`: whole chunks, for none crosses the end of a block range. Says how many chunks.
    pub(super) fn forget_before(&mut self, time: i64) -> u64 {
        let mut count = 0;
        if self.has_open_chunk() && self.floats.time() < time {
            self.chunk = Vec::new();
            if let Some(rest) = &mut self.rest {
                rest.histograms = None;
                rest.starts = Starts::default();
            }
            count += 1;
        }
        if let Some(rest) = &mut self.rest {
            let gone = rest.mapped.partition_point(|chunk| chunk.max_time < time);
            rest.mapped.drain(..gone);
            rest.mapped.shrink_to_fit();
            count += gone as u64;
            if rest.is_empty() {
                self.rest = None;
            }
        }
        count
    }

    /// Notes that a commit is about to add samples. Readers older than it see the series as it is now; `oldest_reader`
    /// is the commit that the oldest reader sees, if there is a reader.
    #[inline]
    pub(super) fn begin_commit(&mut self, commit: u64, oldest_reader: Option<u64>) {
        if self.commit == commit {
            return;
        }
        if oldest_reader.is_some_and(|reader| reader < self.commit) || self.has_old_commits() {
            let (last, before) = (self.commit, self.before_commit);
            let rest = self.rest_mut();
            rest.commits.retain(|(commit, _)| oldest_reader.is_some_and(|reader| reader < *commit));
            if oldest_reader.is_some_and(|reader| reader < last) {
                rest.commits.push((last, before));
            }
        }
        self.commit = commit;
        self.before_commit = self.newest().unwrap_or(i64::MIN);
    }

    fn has_old_commits(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| !rest.commits.is_empty())
    }

    /// The newest time that a reader may see who sees the commits up to `commit`.
    pub(super) fn visible_until(&self, commit: u64) -> i64 {
        if self.commit <= commit {
            return i64::MAX;
        }
        let older = self.rest.iter().flat_map(|rest| &rest.commits).filter(|(number, _)| *number > commit);
        older.min().map_or(self.before_commit, |(_, before)| *before)
    }

    /// Bytes of the parts that lie elsewhere.
    pub(super) fn heap_bytes(&self) -> usize {
        let rest = |rest: &Rest| {
            size_of::<Rest>()
                + rest.mapped.capacity() * size_of::<MappedChunk>()
                + rest.histograms.as_ref().map_or(0, |chunk| chunk.heap_bytes())
                + rest.late.as_ref().map_or(0, |late| late.heap_bytes())
        };
        self.labels.len() * 4 + self.chunk.capacity() + self.rest.as_deref().map_or(0, rest)
    }
}

/// The end of the block range that holds `time`.
pub(super) fn range_end(time: i64, block_range: i64) -> i64 {
    time.saturating_sub(time.rem_euclid(block_range)).saturating_add(block_range)
}

/// Where a chunk should end so that the rest of its range divides into equal chunks: upstream's rule, asked when a chunk
/// is a quarter full.
fn predicted_end(start: i64, now: i64, end: i64, ratio: f64) -> i64 {
    let parts = (end - start) as f64 / ((now - start + 1) as f64 * ratio);
    if parts <= 1.0 { end } else { start + (end - start) / (parts as i64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: ChunkRules = ChunkRules { block_range: 7_200_000, floats: FloatEncoding::Xor };

    #[test]
    fn chunks_divide_a_range_evenly_and_never_cross_it() {
        let mut series = Series::new(Box::from([0]));
        let mut cut = Vec::new();
        for i in 0..2000 {
            series.push_float(i * 15_000, 0, i as f64, RULES, &mut |chunk| {
                cut.push((chunk.min_time, chunk.max_time, count(chunk.bytes)));
                cut.len() as u64
            });
        }
        assert!(cut.iter().all(|(min, max, _)| min / 7_200_000 == max / 7_200_000));
        assert!(cut.iter().all(|(.., samples)| (96..=120).contains(samples)), "{cut:?}");
        assert_eq!(series.oldest(), Some(0));
        assert_eq!(series.newest(), Some(1999 * 15_000));
    }

    #[test]
    fn what_few_series_have_takes_no_room_in_the_others() {
        // A head has a million of these: whoever adds to them says why here. Open histogram chunks and late samples are boxed.
        assert_eq!((size_of::<Series>(), size_of::<Rest>()), (128, 176));
    }

    #[test]
    fn a_reader_sees_whole_commits_only() {
        let mut series = Series::new(Box::from([0]));
        let push = |series: &mut Series, commit, time, oldest| {
            series.begin_commit(commit, oldest);
            series.push_float(time, 0, 0.0, RULES, &mut |_| 0);
        };
        push(&mut series, 1, 10, None);
        push(&mut series, 2, 20, Some(1));
        push(&mut series, 2, 21, Some(1));
        push(&mut series, 5, 30, Some(1));
        let seen: Vec<_> = (0..6).map(|commit| series.visible_until(commit)).collect();
        assert_eq!(seen, [10, 10, 21, 21, 21, i64::MAX]);
        push(&mut series, 6, 40, Some(5));
        assert_eq!(series.visible_until(5), 30);
        assert!(!series.has_old_commits());
    }
}
