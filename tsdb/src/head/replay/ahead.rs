//! Reading ahead: the bytes of the log become records on a thread of their own.
//!
//! Label sets are most of a log and the dearest to read, so this thread takes them apart too and hashes them
//! ([`labels`](super::labels)).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use super::ReplayError;
use super::labels::{LabelReader, LabelSets, Set};
use crate::fs::Fs;
use crate::head::snapshot;
use crate::head::table::Table;
use crate::wal::format::{RecordError, RecordType};
use crate::wal::reader::{Corruption, ReadError, WalReader};

/// Bytes of records after which a batch is handed on, and batches that may wait.
const BATCH_BYTES: usize = 256 * 1024;
const WAITING: usize = 4;

/// What kind of log is read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Log {
    /// One with records of many series.
    Wal,
    /// A snapshot of the head, in which each series has a record with its open chunk.
    Snapshot,
}

/// Records of one segment in the order of the log.
#[derive(Debug, Default)]
pub(super) struct Batch {
    segment: u64,
    records: Vec<Stored>,
    sets: LabelSets,
    /// What records have besides label sets, one after the other.
    bytes: Vec<u8>,
}

/// Where a record lies in its batch.
#[derive(Debug)]
enum Stored {
    Series { sets_end: usize, is_sound: bool },
    Open { sets_end: usize, end: usize, labels: Result<(), RecordError> },
    Other { end: usize },
}

/// A record of the log.
pub(super) enum Record<'a, S> {
    /// New series. Not sound: there is damage behind these.
    Series { sets: S, is_sound: bool },
    /// A series of a snapshot, and what follows its labels.
    Open(Result<(Set<'a>, &'a [u8]), RecordError>),
    /// Another one, as it stands in the log.
    Other(&'a [u8]),
}

impl Batch {
    /// The segment that the records came from.
    pub(super) fn segment(&self) -> u64 {
        self.segment
    }

    pub(super) fn records(&self) -> impl Iterator<Item = Record<'_, impl Iterator<Item = Set<'_>>>> {
        let (mut set, mut byte) = (0, 0);
        let mut sets = move |end| self.sets.between(std::mem::replace(&mut set, end), end);
        let mut bytes = move |end| self.bytes.get(std::mem::replace(&mut byte, end)..end).unwrap_or_default();
        self.records.iter().map(move |record| match *record {
            Stored::Series { sets_end, is_sound } => Record::Series { sets: sets(sets_end), is_sound },
            Stored::Open { sets_end, end, labels } => {
                let set = sets(sets_end).next();
                Record::Open(labels.and_then(|()| Ok((set.ok_or(RecordError::Truncated)?, bytes(end)))))
            }
            Stored::Other { end } => Record::Other(bytes(end)),
        })
    }

    fn begin(&mut self, segment: u64) {
        self.segment = segment;
        self.records.clear();
        self.sets.clear();
        self.bytes.clear();
        // One large record should not pin its memory for the whole log.
        self.sets.shrink_to(2 * BATCH_BYTES);
        self.bytes.shrink_to(2 * BATCH_BYTES);
    }

    fn is_full(&self) -> bool {
        size_of_val(&*self.records) + self.bytes.len() + self.sets.bytes() >= BATCH_BYTES
    }

    fn add(&mut self, log: Log, record: &[u8], labels: &mut LabelReader, table: &Table) {
        let Self { records, sets, bytes, .. } = self;
        records.push(match (log, record) {
            (Log::Wal, record) if RecordType::of(record) == Some(RecordType::Series) => {
                let is_sound = labels.read(record, table, sets).is_ok();
                Stored::Series { sets_end: sets.len(), is_sound }
            }
            (Log::Snapshot, [snapshot::SERIES, content @ ..]) => {
                let rest = labels.read_one(content, table, sets);
                bytes.extend_from_slice(rest.unwrap_or_default());
                Stored::Open { sets_end: sets.len(), end: bytes.len(), labels: rest.map(|_| ()) }
            }
            _ => {
                bytes.extend_from_slice(record);
                Stored::Other { end: bytes.len() }
            }
        });
    }
}

/// The end of a log: `None` if it is sound.
type End = Result<Option<Corruption>, ReplayError>;

/// A log that another thread reads.
pub(super) struct Ahead<'scope> {
    receive: Receiver<Batch>,
    give_back: SyncSender<Batch>,
    thread: ScopedJoinHandle<'scope, End>,
}

impl<'scope> Ahead<'scope> {
    pub(super) fn start(
        scope: &'scope Scope<'scope, '_>,
        fs: &Arc<dyn Fs>,
        table: &'scope Table,
        reader: WalReader,
        log: Log,
    ) -> Self {
        let (send, receive) = sync_channel(WAITING);
        let (give_back, spare) = sync_channel(WAITING);
        let fs = Arc::clone(fs);
        let thread = scope.spawn(move || read(&*fs, table, (reader, log), &send, &spare));
        Self { receive, give_back, thread }
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
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn read(
    fs: &dyn Fs,
    table: &Table,
    (mut reader, log): (WalReader, Log),
    send: &SyncSender<Batch>,
    spare: &Receiver<Batch>,
) -> End {
    let mut labels = LabelReader::default();
    let mut batch = Batch::default();
    loop {
        let end = match reader.next(fs) {
            Ok(Some(record)) => {
                batch.add(log, record, &mut labels, table);
                None
            }
            Ok(None) => Some(Ok(None)),
            Err(ReadError::Corrupt(damage)) => Some(Ok(Some(damage))),
            Err(ReadError::Fs(error)) => Some(Err(error.into())),
        };
        let segment = reader.segment();
        if end.is_some() || batch.is_full() || segment != Some(batch.segment) {
            let next = spare.try_recv().unwrap_or_default();
            let mut full = std::mem::replace(&mut batch, next);
            full.segment = segment.unwrap_or(full.segment);
            batch.begin(full.segment);
            if !full.records.is_empty() && send.send(full).is_err() {
                // Nobody wants to know any more.
                return Ok(None);
            }
        }
        if let Some(end) = end {
            return end;
        }
    }
}
