//! Reading ahead: the bytes of the log become records on a thread of their own, while another makes its files durable.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use super::ReplayError;
use crate::fs::{Fs, FsError, sync_file};
use crate::wal::reader::{Corruption, ReadError, WalReader};

/// Bytes of records after which a batch is handed on, and batches that may wait.
const BATCH_BYTES: usize = 256 * 1024;
const WAITING: usize = 4;

/// Records of one segment in the order of the log.
#[derive(Debug, Default)]
pub(super) struct Batch {
    segment: u64,
    bytes: Vec<u8>,
    /// Where each record ends.
    ends: Vec<usize>,
}

impl Batch {
    /// The segment that the records came from.
    pub(super) fn segment(&self) -> u64 {
        self.segment
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| self.bytes.get(start..end).unwrap_or_default())
    }

    fn begin(&mut self, segment: u64) {
        self.segment = segment;
        self.bytes.clear();
        self.ends.clear();
        // One large record should not pin its memory for the whole log.
        self.bytes.shrink_to(2 * BATCH_BYTES);
    }

    fn add(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
    }
}

/// The end of a log: `None` if it is sound.
type End = Result<Option<Corruption>, ReplayError>;

/// A log that another thread reads.
pub(super) struct Ahead<'scope> {
    receive: Receiver<Batch>,
    give_back: SyncSender<Batch>,
    thread: ScopedJoinHandle<'scope, End>,
    sync: ScopedJoinHandle<'scope, Result<(), FsError>>,
}

impl<'scope> Ahead<'scope> {
    /// Begins to read, and to make the files `unsynced` durable: whoever waits for the records need not wait for the disk too.
    pub(super) fn start(
        scope: &'scope Scope<'scope, '_>,
        fs: &Arc<dyn Fs>,
        reader: WalReader,
        unsynced: Vec<PathBuf>,
    ) -> Self {
        let (send, receive) = sync_channel(WAITING);
        let (give_back, spare) = sync_channel(WAITING);
        let fs = Arc::clone(fs);
        let to_sync = Arc::clone(&fs);
        let sync = scope.spawn(move || unsynced.iter().try_for_each(|path| sync_file(&*to_sync, path)));
        let thread = scope.spawn(move || read(&*fs, reader, &send, &spare));
        Self { receive, give_back, thread, sync }
    }

    /// The next records; `None` at the end of the log, or where it is damaged.
    pub(super) fn next(&mut self) -> Option<Batch> {
        self.receive.recv().ok()
    }

    /// Lets a batch be filled again.
    pub(super) fn give_back(&mut self, batch: Batch) {
        // If enough of them wait, this one is not needed any more.
        let _ = self.give_back.try_send(batch);
    }

    /// How the log ended.
    pub(super) fn finish(self) -> End {
        drop(self.receive);
        let (end, synced) = (self.thread.join(), self.sync.join());
        synced.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        end.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn read(fs: &dyn Fs, mut reader: WalReader, send: &SyncSender<Batch>, spare: &Receiver<Batch>) -> End {
    let mut batch = Batch::default();
    loop {
        let end = match reader.next(fs) {
            Ok(Some(record)) => {
                batch.add(record);
                None
            }
            Ok(None) => Some(Ok(None)),
            Err(ReadError::Corrupt(damage)) => Some(Ok(Some(damage))),
            Err(ReadError::Fs(error)) => Some(Err(error.into())),
        };
        let segment = reader.segment();
        if end.is_some() || batch.bytes.len() >= BATCH_BYTES || segment != Some(batch.segment) {
            let next = spare.try_recv().unwrap_or_default();
            let mut full = std::mem::replace(&mut batch, next);
            full.segment = segment.unwrap_or(full.segment);
            batch.begin(full.segment);
            if !full.ends.is_empty() && send.send(full).is_err() {
                // Nobody wants to know any more.
                return Ok(None);
            }
        }
        if let Some(end) = end {
            return end;
        }
    }
}
