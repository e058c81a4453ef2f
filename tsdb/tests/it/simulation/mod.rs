//! A database's life by dice, against the model: commits of floats and histograms, in order, late and wrong; maintenance,
//! deletions, snapshots, full disks, operations that fail, deaths of the process, losses of power, and reopening. Half of the
//! samples say since when they count; which of them the database keeps, and how, changes from opening to opening.
//!
//! What must hold after every step: what was acknowledged and not deleted is read, nothing else is, and nothing twice. What is
//! uncertain for a while is kept apart: a batch whose commit failed may be there after a crash or not; what was not synced may
//! be lost with the power; a deletion that failed may be half done.
//!
//! A seed that fails is printed; `FERULA_SIMULATION_SEEDS=FROM..TO` runs others (`N` for the first N), on all cores.

mod events;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferula_model::{
    Appendable, Columns, Labels, ManualClock, Matcher, Queryable, Sample, SelectHints, TimeRange, Timestamp, Value,
};
use ferula_tsdb::block::BlockMeta;
use ferula_tsdb::chunk::FloatEncoding;
use ferula_tsdb::compact::Retention;
use ferula_tsdb::fs::{Crash, MemFs};
use ferula_tsdb::wal::writer::WalCompression;
use ferula_tsdb::{Db, Durability, OpenError, Reload, StartStorage, Tick};

use crate::model::{Bits, Dice, Samples, Series, columns, samples};

/// Length of a block.
const RANGE: i64 = 10_000;
/// Steps of a life.
const STEPS: u64 = 120;
/// The seeds of an ordinary test run.
const SEEDS: u64 = 40;

#[test]
fn a_life_by_dice_agrees_with_the_model() {
    let (from, to) = match std::env::var("FERULA_SIMULATION_SEEDS") {
        Ok(text) => match text.split_once("..") {
            Some((from, to)) => (from.parse().unwrap(), to.parse().unwrap()),
            None => (0, text.parse().unwrap()),
        },
        Err(_) => (0, SEEDS),
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()) as u64;
    let failed = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let failed = &failed;
            scope.spawn(move || {
                for seed in (from + thread..to).step_by(threads as usize) {
                    // One seed that fails does not keep the others from being tried.
                    if std::panic::catch_unwind(|| live(seed, to == from + 1)).is_err() {
                        eprintln!("seed {seed}: FERULA_SIMULATION_SEEDS={seed}..{} repeats it", seed + 1);
                        failed.lock().unwrap().insert(seed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} seeds fail: {failed:?}", failed.len(), to - from);
}

fn live(seed: u64, is_verbose: bool) {
    let mut world = World::new(seed);
    world.is_verbose = is_verbose;
    for _ in 0..STEPS {
        world.step();
    }
    world.disk.heal();
    world.reopen("end");
    world.check("end");
}

/// One sample of one series. The time stands first because comparing labels is dear.
type Place = (i64, Labels);

struct World {
    dice: Dice,
    disk: MemFs,
    db: Option<Db>,
    log: Vec<String>,
    /// The time of the newest samples.
    now: i64,
    names: u64,
    late_window: i64,
    durability: Durability,
    compression: WalCompression,
    snapshot_on_close: bool,
    retention: Retention,
    starts: StartStorage,
    opened: u64,
    /// What must be read.
    known: Series,
    /// What may be read as well, until the next opening.
    perhaps: BTreeMap<Place, BTreeSet<Bits>>,
    /// What need not be read any more, until the next opening.
    doubtful: BTreeSet<Place>,
    /// What a loss of power may take.
    unsynced: BTreeSet<Place>,
    /// What may be read after a loss of power: the other samples of the same moment, late ones, should it take what is read now;
    /// samples of a commit that failed.
    hidden: BTreeMap<Place, BTreeSet<Bits>>,
    /// Samples for a moment that had one already: read when the block with the other one is too old and theirs is not.
    shadowed: BTreeMap<Place, BTreeSet<Bits>>,
    /// What came late. Of several late samples of one moment any may be read: a block of late samples may have one of them, the
    /// head the other.
    late: BTreeMap<Place, BTreeSet<Bits>>,
    /// The newest sample that a series ever had.
    newest: BTreeMap<Labels, i64>,
    /// Until where the head was cut before that was due.
    cut_early: i64,
    /// Whether the database may refuse everything: an operation failed in a way that needs reopening.
    is_faulty: bool,
    /// Whether the story tells every sample.
    is_verbose: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let late_window = [0, 0, RANGE / 2, 3 * RANGE][dice.below(4) as usize];
        let durability =
            [Durability::Os, Durability::Always, Durability::Interval(Duration::from_secs(5))][dice.below(3) as usize];
        let compression = [WalCompression::None, WalCompression::Snappy][dice.below(2) as usize];
        let retention = Retention {
            time: dice.one_in(4).then(|| Duration::from_millis(8 * RANGE as u64)),
            bytes_max: dice.one_in(8).then_some(60_000),
            ..Retention::default()
        };
        let mut world = Self {
            dice,
            disk: MemFs::new(),
            db: None,
            log: Vec::new(),
            now: 1_000_000,
            names: 6,
            late_window,
            durability,
            compression,
            snapshot_on_close: true,
            retention,
            starts: StartStorage::None,
            opened: 0,
            known: Series::new(),
            perhaps: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            hidden: BTreeMap::new(),
            shadowed: BTreeMap::new(),
            late: BTreeMap::new(),
            newest: BTreeMap::new(),
            cut_early: 0,
            is_faulty: false,
            is_verbose: false,
        };
        world.snapshot_on_close = !world.dice.one_in(3);
        world.open();
        world
    }

    fn open(&mut self) {
        match self.try_open() {
            Ok(db) => {
                assert_eq!(db.quarantined().len(), 0, "{:?}\n{}", db.quarantined(), self.story());
                self.db = Some(db);
            }
            Err(error) => panic!("{error:?}\n{}", self.story()),
        }
    }

    fn try_open(&mut self) -> Result<Db, OpenError> {
        self.opened += 1;
        let kept = [StartStorage::None, StartStorage::Floats, StartStorage::FloatsAndHistograms];
        self.starts = kept[self.dice.below(3) as usize];
        let encoding = [FloatEncoding::Xor, FloatEncoding::Xor2][self.dice.below(2) as usize];
        Db::builder("data")
            .start_timestamps(self.starts)
            .float_encoding(encoding)
            .fs(Arc::new(self.disk.session()))
            .clock(Arc::new(ManualClock::at(Timestamp(self.now))))
            .block_range(Duration::from_millis(RANGE as u64))
            .block_range_max(Duration::from_millis(9 * RANGE as u64))
            .retention(self.retention)
            .out_of_order_window(Duration::from_millis(self.late_window as u64))
            .durability(self.durability)
            .wal_compression(self.compression)
            .wal_segment_bytes(32 * 1024)
            .snapshot_on_close(self.snapshot_on_close)
            .seeded_block_names(self.opened << 32 | self.disk.operations())
            .open()
    }

    fn story(&self) -> String {
        self.log.join("\n")
    }

    fn note(&mut self, what: String) {
        self.log.push(what);
    }

    fn db(&self) -> &Db {
        self.db.as_ref().unwrap()
    }

    fn step(&mut self) {
        self.now += self.dice.below(RANGE as u64 / 6) as i64;
        match self.dice.below(100) {
            0..=54 => self.commit(),
            55..=66 => self.tick(),
            67..=69 => self.compact_head(),
            70..=74 => self.delete(),
            75 => self.clean(),
            76..=77 => self.sync(),
            78..=80 => self.reopen("close"),
            81..=84 => self.die(Crash::Process),
            85..=87 => {
                let how = self.power_loss();
                self.die(how);
            }
            88 => self.die(Crash::PowerLossKeepNothing),
            89..=92 => self.injure(),
            93..=94 => self.fill_disk(),
            95 => self.copy(),
            96..=97 => self.read_long(),
            98 => self.reload(),
            _ => self.now += RANGE,
        }
        if self.dice.one_in(3) || self.log.len() as u64 >= STEPS {
            self.check("step");
        }
    }

    fn newest(&self) -> i64 {
        self.newest.values().max().copied().unwrap_or(0)
    }

    /// Whether this may be read although it is not what is known.
    fn may_be(&self, place: &Place, bits: &Bits) -> bool {
        self.perhaps.get(place).is_some_and(|all| all.contains(bits)) || self.is_one_of_late(place, bits)
    }

    /// Whether this may be read because several samples of the moment came late.
    fn is_one_of_late(&self, place: &Place, bits: &Bits) -> bool {
        self.late.get(place).is_some_and(|all| all.len() > 1 && all.contains(bits))
    }

    /// Old blocks went, and what was as old as they; or it goes when the head forgets it.
    fn expire(&mut self, before: &[Arc<BlockMeta>], tick: &Tick) {
        let gone = tick.deletions.all();
        let merged = tick.compactions.iter().filter_map(|done| done.block.as_ref());
        let all = before.iter().map(|meta| &**meta).chain(&tick.blocks).chain(merged);
        let limit = all.filter(|meta| gone.contains(&meta.ulid)).map(|meta| meta.max_time).max();
        let Some(limit) = limit else { return };
        let before = self.is_faulty.then(|| self.known.clone());
        for (labels, samples) in &self.known {
            self.doubtful.extend(samples.range(..limit).map(|(time, _)| (*time, labels.clone())));
        }
        for (place, bits) in self.shadowed.iter().filter(|((time, _), _)| *time < limit) {
            self.perhaps.entry(place.clone()).or_default().extend(bits);
        }
        self.settle("expire");
        // A block that could not be removed is there again at the next start, for a while.
        for (labels, samples) in before.into_iter().flatten() {
            for (time, bits) in samples {
                self.perhaps.entry((time, labels.clone())).or_default().insert(bits);
            }
        }
    }

    fn all_is_durable(&mut self) {
        self.unsynced.clear();
        self.hidden.clear();
    }

    fn hide(&mut self, place: Place, bits: impl IntoIterator<Item = Bits>) {
        if self.unsynced.contains(&place) {
            self.hidden.entry(place).or_default().extend(bits);
        }
    }

    fn begin_anew(&mut self, report: &ferula_tsdb::ReplayReport) {
        assert_eq!(report.bad_records, 0, "{}", self.story());
        self.settle("opened");
        // What came back did so from a log that need not be durable, and what did not may come back yet: to cut it off need not
        // be durable either.
        self.unsynced.append(&mut self.doubtful);
        for (place, bits) in std::mem::take(&mut self.perhaps) {
            let is_known = |bits| self.known.get(&place.1).and_then(|samples| samples.get(&place.0)) == Some(bits);
            if bits.iter().any(is_known) {
                self.unsynced.insert(place.clone());
            }
            self.hidden.entry(place).or_default().extend(bits);
        }
        self.is_faulty = false;
    }

    /// What is read is what must or may be read.
    fn check(&self, when: &str) -> Series {
        let read = read(self.db());
        for (labels, samples) in &read {
            let all_known = self.known.get(labels);
            for (time, bits) in samples {
                let is_known = all_known.and_then(|samples| samples.get(time)) == Some(bits);
                assert!(
                    is_known || self.may_be(&(*time, labels.clone()), bits),
                    "{when}: {labels:?} has {bits:?} at {time} from nowhere\n{}",
                    self.story()
                );
            }
        }
        for (labels, samples) in &self.known {
            let all_read = read.get(labels);
            for (time, bits) in samples {
                let found = all_read.and_then(|samples| samples.get(time));
                if found == Some(bits) {
                    continue;
                }
                let place = (*time, labels.clone());
                assert!(
                    found.map_or_else(|| self.doubtful.contains(&place), |found| self.may_be(&place, found)),
                    "{when}: {labels:?} lost {bits:?} at {time}, has {found:?}\n{}",
                    self.story()
                );
            }
        }
        read
    }

    /// What was uncertain is now as it is read.
    fn settle(&mut self, when: &str) {
        let read = self.check(when);
        let is_known = |labels: &Labels, time: &i64| read.get(labels).is_some_and(|samples| samples.contains_key(time));
        self.doubtful.retain(|(time, labels)| is_known(labels, time));
        self.known = read;
    }
}

fn difference(a: &Series, b: &Series) -> String {
    let mut text = String::new();
    for labels in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
        let empty = Samples::new();
        let (a, b) = (a.get(labels).unwrap_or(&empty), b.get(labels).unwrap_or(&empty));
        for time in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
            if a.get(time) != b.get(time) {
                text.push_str(&format!("\n{labels:?} at {time}: {:?}, not {:?}", a.get(time), b.get(time)));
            }
        }
    }
    text
}

/// Everything in a database.
fn read(db: &Db) -> Series {
    let querier = db.querier(TimeRange::ALL).unwrap();
    let set = querier.select(&SelectHints { sorted: true, ..Default::default() }, &[]).unwrap();
    let mut columns = Columns::default();
    let mut all = Series::new();
    for at in 0..set.len() {
        set.read(at, TimeRange::ALL, &mut columns).unwrap();
        let found = samples(&columns);
        if !found.is_empty() {
            let labels = set.labels(at);
            let mut shown = labels.iter();
            set.each_label(at, &mut |name, value| assert_eq!(shown.next(), Some((name, value))));
            assert_eq!(shown.next(), None, "every label is shown");
            assert!(all.insert(labels, found).is_none(), "no series twice");
        }
    }
    all
}
