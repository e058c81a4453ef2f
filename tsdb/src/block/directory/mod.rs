//! All blocks of a database: which are there, and everything that changes the list.
//!
//! ```text
//!  open --> list --> plan --merge--> new block --publish--> list without its parents --> parents removed
//!             ^                                                |
//!           readers (hold the list they began with)       retention
//! ```
//!
//! # What a crash leaves
//!
//! A new block has its name only when it is complete, and its parents lose theirs only after that: at every moment each
//! sample is in a block with a name. If both parents and child have theirs, the child says so, and opening removes the
//! parents. Folders with temporary names are removed when the directory is opened.
//!
//! A block that is damaged is put aside under another name, with an event; the others serve.

mod stats;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use ferula_model::{Matcher, TimeRange, Timestamp};
use parking_lot::{Mutex, RwLock};
use ulid::Ulid;

use super::{Block, BlockError, BlockMeta, BlockOptions, BlockParent, QUARANTINE, TMP_CREATION, TMP_DELETION, Ulids};
use crate::compact::merge::{merge, merged_meta};
use crate::compact::{Candidate, CompactionOptions, Deletions, Plan, Reason, Retention, Usage, plan};
use crate::fs::{Context, Fs, FsError};
use stats::Counters;

pub use stats::BlockDirectoryStats;

/// What old versions of Prometheus gave to unfinished folders.
const TMP_LEGACY: &str = ".tmp";

/// How blocks are kept.
#[derive(Clone, Debug)]
pub struct BlockDirectoryOptions {
    /// How blocks grow.
    pub compaction: CompactionOptions,
    /// When they go.
    pub retention: Retention,
    /// How they are written.
    pub block: BlockOptions,
}

/// A block that could not be opened.
#[derive(Clone, Debug)]
pub struct Quarantined {
    /// The name of its folder, as it was.
    pub name: String,
    /// Where it is now: the same place, if renaming would not help (the system refused to read it).
    pub place: PathBuf,
    /// What is wrong with it.
    pub error: BlockError,
}

/// What a compaction did.
#[derive(Clone, Debug)]
pub struct Compacted {
    /// What was to be done.
    pub plan: Plan,
    /// The new block; `None` if nothing was left of the old ones.
    pub block: Option<BlockMeta>,
}

/// The blocks of a database.
#[derive(Debug)]
pub struct BlockDirectory {
    fs: Arc<dyn Fs>,
    root: PathBuf,
    options: RwLock<BlockDirectoryOptions>,
    ulids: Ulids,
    /// By rising start.
    list: ArcSwap<Vec<Arc<Block>>>,
    /// Held by whoever changes the list or what is in a block.
    changing: Mutex<()>,
    quarantined: Mutex<Vec<Quarantined>>,
    /// Blocks that are being written, or whose writing failed: perhaps they have their names all the same.
    unfinished: Mutex<Vec<Ulid>>,
    counters: Counters,
    stopped: AtomicBool,
}

impl BlockDirectory {
    /// Opens the blocks in the folder `root`, which must be there. Unfinished and superseded folders are removed, damaged
    /// blocks are put aside (see [`quarantined`](Self::quarantined)).
    ///
    /// # Errors
    ///
    /// The folder cannot be read, or a deletion cannot be made durable. A damaged block is no error.
    pub fn open(fs: &Arc<dyn Fs>, root: &Path, options: BlockDirectoryOptions, ulids: Ulids) -> Result<Self, FsError> {
        let directory = Self {
            fs: Arc::clone(fs),
            root: root.to_owned(),
            options: RwLock::new(options),
            ulids,
            list: ArcSwap::default(),
            changing: Mutex::new(()),
            quarantined: Mutex::default(),
            unfinished: Mutex::default(),
            counters: Counters::default(),
            stopped: AtomicBool::new(false),
        };
        let mut blocks = Vec::new();
        for entry in fs.list(root).context("list", root)? {
            let path = root.join(&entry.name);
            let unfinished =
                [TMP_CREATION, TMP_DELETION, TMP_LEGACY].iter().find_map(|end| entry.name.strip_suffix(end));
            if !entry.is_dir {
                continue;
            } else if unfinished.is_some_and(is_block_name) {
                directory.remove_folder(&path);
            } else if is_block_name(&entry.name) {
                match Block::open(fs, &path) {
                    Ok(block) => {
                        // Perhaps a process ended between renaming and syncing: what is deleted for readers stays deleted.
                        if !block.tombstones().is_empty() {
                            fs.sync_dir(&path).context("sync folder", &path)?;
                        }
                        blocks.push(Arc::new(block));
                    }
                    Err(error) => directory.put_aside(&entry.name, error),
                }
            }
        }
        directory.publish(blocks);
        directory.remove_superseded();
        Ok(directory)
    }

    /// The blocks by rising start. The list stays as it is while it is held.
    pub fn list(&self) -> Arc<Vec<Arc<Block>>> {
        self.list.load_full()
    }

    /// The folder of the database.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How blocks are kept.
    pub fn options(&self) -> BlockDirectoryOptions {
        self.options.read().clone()
    }

    /// Changes how blocks are kept, from the next compaction on.
    pub fn set_options(&self, options: BlockDirectoryOptions) {
        *self.options.write() = options;
    }

    /// A name for a new block.
    pub fn new_ulid(&self, now: Timestamp) -> Ulid {
        self.ulids.next(now)
    }

    /// A name for a block of this directory that is about to be written: [`add`](Self::add) lets it serve.
    pub(crate) fn begin(&self, now: Timestamp) -> Ulid {
        let ulid = self.ulids.next(now);
        self.unfinished.lock().push(ulid);
        ulid
    }

    /// Removes blocks that got their names although their writing failed. As long as one of them is there, a deletion would
    /// not reach it, and what was deleted would return with the next start.
    fn remove_unfinished(&self) -> Result<(), FsError> {
        let mut unfinished = self.unfinished.lock();
        while let Some(ulid) = unfinished.last() {
            let dir = self.root.join(ulid.to_string());
            if self.fs.exists(&dir) {
                self.fs.remove_dir(&dir).context("remove", &dir)?;
            }
            self.fs.sync_dir(&self.root).context("sync", &self.root)?;
            unfinished.pop();
        }
        Ok(())
    }

    fn finished(&self, ulid: Ulid) {
        self.unfinished.lock().retain(|other| *other != ulid);
    }

    /// Blocks that could not be opened, since the directory was.
    pub fn quarantined(&self) -> Vec<Quarantined> {
        self.quarantined.lock().clone()
    }

    /// What happened, and what is there.
    pub fn stats(&self) -> BlockDirectoryStats {
        self.counters.stats(&self.list())
    }

    /// Opens a block that was written into the folder, and lets it serve.
    ///
    /// # Errors
    ///
    /// The block cannot be opened; it does not serve.
    pub fn add(&self, meta: &BlockMeta) -> Result<Arc<Block>, BlockError> {
        let _changing = self.changing.lock();
        let block = Arc::new(Block::open(&self.fs, &self.root.join(meta.ulid.to_string()))?);
        self.publish(self.list().iter().cloned().chain([Arc::clone(&block)]).collect());
        self.finished(meta.ulid);
        Ok(block)
    }

    /// Merges what should be merged next; once. `None`: there was nothing to do.
    ///
    /// # Errors
    ///
    /// A block is damaged: it is marked and not tried again. Or the disk refused, because it is full for instance: try again
    /// later. All blocks serve as before.
    pub fn compact(&self, now: Timestamp) -> Result<Option<Compacted>, BlockError> {
        self.compact_before(now, i64::MAX)
    }

    /// As [`compact`](Self::compact), but leaves alone the blocks that end after `settled` (milliseconds): the head still has
    /// samples of their time, and a block that seems to have them all would let Prometheus pass over these at its next start.
    ///
    /// # Errors
    ///
    /// As [`compact`](Self::compact).
    pub fn compact_before(&self, now: Timestamp, settled: i64) -> Result<Option<Compacted>, BlockError> {
        let _changing = self.changing.lock();
        let options = self.options();
        let list = self.list();
        let all = list.iter().map(|block| block.meta());
        let metas: Vec<Arc<BlockMeta>> = all.filter(|meta| meta.max_time <= settled).collect();
        let Some(plan) = plan(metas.iter().map(|meta| &**meta), &options.compaction) else {
            return Ok(None);
        };
        let chosen = |block: &&Arc<Block>| plan.blocks.contains(&block.meta().ulid);
        let mut parents: Vec<Arc<Block>> = list.iter().filter(chosen).cloned().collect();
        parents.sort_by_key(|block| block.meta().rank());
        let metas: Vec<Arc<BlockMeta>> = parents.iter().map(|block| block.meta()).collect();
        let meta = merged_meta(self.begin(now), &metas);
        let block = self.replace(&parents, meta, options.block)?;
        Counters::count(&self.counters.compactions);
        if plan.reason == Reason::Overlap {
            Counters::count(&self.counters.vertical_compactions);
        }
        Ok(Some(Compacted { plan, block }))
    }

    /// Rewrites every block with deletions, so that the space comes back at once. Gives the number of blocks rewritten.
    ///
    /// # Errors
    ///
    /// As [`compact`](Self::compact).
    pub fn clean_tombstones(&self, now: Timestamp) -> Result<usize, BlockError> {
        let _changing = self.changing.lock();
        let options = self.options();
        let mut count = 0;
        for block in self.list().iter().filter(|block| !block.tombstones().is_empty()) {
            let old = BlockMeta::clone(&block.meta());
            let parent = BlockParent { ulid: old.ulid, min_time: old.min_time, max_time: old.max_time };
            let mut meta = BlockMeta { ulid: self.begin(now), ..old };
            meta.compaction.parents = vec![parent];
            self.replace(&[Arc::clone(block)], meta, options.block)?;
            count += 1;
        }
        Ok(count)
    }

    /// Writes `meta` from `parents`, lets it serve in their place, and removes them.
    fn replace(
        &self,
        parents: &[Arc<Block>],
        meta: BlockMeta,
        options: BlockOptions,
    ) -> Result<Option<BlockMeta>, BlockError> {
        let ulid = meta.ulid;
        let written = self.writing(|| merge(&self.fs, &self.root, parents, meta, options, &self.stopped));
        let written = written.inspect_err(|error| self.note_failure(parents, error))?;
        let child = match &written {
            None => None,
            Some(meta) => Some(Arc::new(self.open_written(meta)?)),
        };
        let stays = |block: &&Arc<Block>| !parents.iter().any(|parent| Arc::ptr_eq(parent, block));
        self.publish(self.list().iter().filter(stays).cloned().chain(child).collect());
        self.finished(ulid);
        for parent in parents {
            self.remove_block(parent);
        }
        Ok(written)
    }

    /// Lets a block be written, which [`stats`](Self::stats) shows.
    pub(crate) fn writing<T>(&self, write: impl FnOnce() -> T) -> T {
        self.counters.writing.fetch_add(1, Ordering::Relaxed);
        let written = write();
        self.counters.writing.fetch_sub(1, Ordering::Relaxed);
        written
    }

    /// A block that was written and cannot be read must not supersede its parents at the next start.
    fn open_written(&self, meta: &BlockMeta) -> Result<Block, BlockError> {
        let dir = self.root.join(meta.ulid.to_string());
        Block::open(&self.fs, &dir).inspect_err(|_| {
            Counters::count(&self.counters.compactions_failed);
            self.remove_named(&dir);
        })
    }

    fn note_failure(&self, parents: &[Arc<Block>], error: &BlockError) {
        if matches!(error, BlockError::Stopped) {
            return;
        }
        Counters::count(&self.counters.compactions_failed);
        tracing::error!(%error, blocks = parents.len(), "blocks could not be merged; they serve as before");
        if error.is_corrupt() {
            for parent in parents {
                if let Err(error) = parent.annotate(|meta| meta.compaction.failed = true) {
                    tracing::error!(%error, "a block could not be marked as damaged");
                }
            }
        }
    }

    /// Becomes true when the directory is stopped.
    pub(crate) fn stopped(&self) -> &AtomicBool {
        &self.stopped
    }

    /// Ends a merge that is under way in another thread, and refuses further ones with [`BlockError::Stopped`]: the database is
    /// being closed.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Removes the blocks that may go. `usage` says what else lies on the disk.
    pub fn retain(&self, usage: Usage) -> Deletions {
        let _changing = self.changing.lock();
        let list = self.list();
        let metas: Vec<(Arc<BlockMeta>, u64)> = list.iter().map(|block| (block.meta(), block.file_bytes())).collect();
        let candidates: Vec<Candidate<'_>> =
            metas.iter().map(|(meta, bytes)| Candidate { meta, bytes: *bytes }).collect();
        let deletions = self.options.read().retention.deletions(&candidates, usage);
        self.counters.time_retentions.fetch_add(deletions.by_time.len() as u64, Ordering::Relaxed);
        self.counters.size_retentions.fetch_add(deletions.by_size.len() as u64, Ordering::Relaxed);
        self.remove_all(&deletions);
        deletions
    }

    fn remove_superseded(&self) {
        let list = self.list();
        let metas: Vec<Arc<BlockMeta>> = list.iter().map(|block| block.meta()).collect();
        let candidates: Vec<Candidate<'_>> = metas.iter().map(|meta| Candidate { meta, bytes: 0 }).collect();
        self.remove_all(&Retention::default().deletions(&candidates, Usage::default()));
    }

    fn remove_all(&self, deletions: &Deletions) {
        let gone = deletions.all();
        let (removed, kept): (Vec<_>, Vec<_>) =
            self.list().iter().cloned().partition(|block| gone.contains(&block.meta().ulid));
        if !removed.is_empty() {
            self.publish(kept);
            removed.iter().for_each(|block| self.remove_block(block));
        }
    }

    /// Deletes the samples in `range` of the series that satisfy all matchers, in every block. Gives the number of series
    /// concerned, counted in each block.
    ///
    /// # Errors
    ///
    /// A block is damaged or cannot be written; blocks before it are done.
    pub fn delete(&self, range: TimeRange, matchers: &[Matcher]) -> Result<usize, BlockError> {
        let _changing = self.changing.lock();
        self.remove_unfinished()?;
        let mut count = 0;
        for block in self.list().iter().filter(|block| block.range().overlaps(range)) {
            count += block.delete(range, matchers)?;
        }
        Ok(count)
    }

    /// Makes a copy of every block in the folder `to`, by hard links where the file system has them: it takes no space and
    /// stays when the originals go.
    ///
    /// # Errors
    ///
    /// Files cannot be linked or copied.
    pub fn snapshot(&self, to: &Path) -> Result<(), FsError> {
        let _changing = self.changing.lock();
        self.fs.create_dir(to).context("create", to)?;
        for block in self.list().iter() {
            let place = to.join(block.meta().ulid.to_string());
            link_folder(&*self.fs, block.dir(), &place)?;
        }
        self.fs.sync_dir(to).context("sync", to)
    }

    fn publish(&self, mut blocks: Vec<Arc<Block>>) {
        blocks.sort_by_key(|block| (block.meta().min_time, block.meta().max_time, block.meta().ulid));
        self.list.store(Arc::new(blocks));
        Counters::count(&self.counters.reloads);
    }

    fn remove_block(&self, block: &Block) {
        self.remove_named(block.dir());
    }

    /// Takes the name first, so that a crash does not leave half a block under it.
    fn remove_named(&self, dir: &Path) {
        let mut away = dir.as_os_str().to_owned();
        away.push(TMP_DELETION);
        let away = PathBuf::from(away);
        let renamed = self.fs.rename(dir, &away).context("rename", dir);
        match renamed.and_then(|()| self.fs.sync_dir(&self.root).context("sync", &self.root)) {
            Ok(()) => self.remove_folder(&away),
            Err(error) => self.note_remaining(&error),
        }
    }

    fn remove_folder(&self, dir: &Path) {
        if let Err(error) = self.fs.remove_dir(dir).context("remove", dir) {
            self.note_remaining(&error);
        }
    }

    fn note_remaining(&self, error: &FsError) {
        Counters::count(&self.counters.removals_failed);
        tracing::warn!(%error, "a folder could not be removed; the next start tries again");
    }

    /// Renames a damaged block, so that no other program stumbles over it either. One that the system refused to read stays
    /// where it is: it may be sound.
    fn put_aside(&self, name: &str, error: BlockError) {
        Counters::count(&self.counters.quarantined);
        let dir = self.root.join(name);
        let incomplete = matches!(&error, BlockError::Io(error) if error.source.kind() == std::io::ErrorKind::NotFound);
        let mut place = dir.clone();
        if error.is_corrupt() || incomplete {
            let aside = self.root.join(format!("{name}{QUARANTINE}"));
            match self.fs.rename(&dir, &aside).and_then(|()| self.fs.sync_dir(&self.root)) {
                Ok(()) => place = aside,
                Err(error) => tracing::error!(%error, block = name, "a damaged block could not be renamed"),
            }
        }
        tracing::error!(%error, block = name, place = %place.display(), "a block is damaged and does not serve");
        self.quarantined.lock().push(Quarantined { name: name.to_owned(), place, error });
    }
}

fn is_block_name(name: &str) -> bool {
    Ulid::from_string(name).is_ok()
}

fn link_folder(fs: &dyn Fs, from: &Path, to: &Path) -> Result<(), FsError> {
    fs.create_dir(to).context("create", to)?;
    for entry in fs.list(from).context("list", from)? {
        let (from, to) = (from.join(&entry.name), to.join(&entry.name));
        if entry.is_dir {
            link_folder(fs, &from, &to)?;
        } else if !entry.name.ends_with(TMP_LEGACY) && fs.link(&from, &to).is_err() {
            // Another file system, or one without hard links.
            let content = fs.read(&from).context("read", &from)?;
            fs.replace(&to, &content).context("write", &to)?;
        }
    }
    fs.sync_dir(to).context("sync", to)
}
