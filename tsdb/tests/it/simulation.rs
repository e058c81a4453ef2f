//! A database's life by dice, against the model: commits of floats and histograms, in order, late and wrong; maintenance,
//! deletions, snapshots, full disks, operations that fail, deaths of the process, losses of power, and reopening. Half of the
//! samples say since when they count; which of them the database keeps, and how, changes from opening to opening.
//!
//! What must hold after every step: what was acknowledged and not deleted is read, nothing else is, and nothing twice. What is
//! uncertain for a while is kept apart: a batch whose commit failed may be there after a crash or not; what was not synced may
//! be lost with the power; a deletion that failed may be half done.
//!
//! A seed that fails is printed; `FERULA_SIMULATION_SEEDS=FROM..TO` runs others (`N` for the first N), on all cores.

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

    fn labels(&mut self) -> Labels {
        if self.dice.one_in(12) {
            self.names += 1;
        }
        let i = self.names - 1 - self.dice.below(6);
        Labels::from_pairs([("__name__", format!("m{}", i % 2)), ("i", i.to_string())])
    }

    fn commit(&mut self) {
        let many = if self.dice.one_in(6) { 120 } else { 12 };
        let count = 1 + self.dice.below(many);
        let mut staged: Vec<(Labels, i64, Bits)> = Vec::new();
        let mut last: BTreeMap<Labels, i64> = BTreeMap::new();
        for _ in 0..count {
            let labels = self.labels();
            let time = match self.dice.below(10) {
                0 => self.now - self.dice.below(4 * RANGE as u64) as i64,
                1 => self.now,
                // The first and the last moment of a range, now or lately.
                2 if self.dice.one_in(2) => {
                    let range = self.now / RANGE - self.dice.below(2) as i64;
                    range * RANGE - self.dice.below(2) as i64
                }
                _ => last.get(&labels).map_or(self.now - 50, |time| time + 1 + self.dice.below(40) as i64),
            };
            last.entry(labels.clone()).and_modify(|known| *known = time.max(*known)).or_insert(time);
            let value = if self.dice.one_in(3) { self.dice.below(3) } else { self.dice.below(1000) };
            let is_histogram = labels.get("i").is_some_and(|i| i.ends_with('3')) || self.dice.one_in(40);
            let bits = if is_histogram { Bits::Histogram(value) } else { Bits::Float((value as f64).to_bits()) };
            // As of a counter: the same for a while.
            let start = match self.dice.below(4) {
                0..=1 => 0,
                2 => time - time.rem_euclid(RANGE / 4) + 1,
                _ => time - self.dice.below(RANGE as u64) as i64,
            };
            staged.push((labels, time, bits.since(start)));
        }
        let accepted = {
            let db = self.db.as_ref().unwrap();
            let mut appender = db.appender();
            let mut accepted = Vec::new();
            for (labels, time, bits) in staged {
                let pairs: Vec<(&str, &str)> = labels.iter().collect();
                let Ok(series) = appender.series(&pairs) else { continue };
                let one = columns(&Samples::from([(time, bits)]));
                let start = one.starts.first().or(one.histogram_starts.first()).copied().map(Timestamp);
                let value = one.values.first().copied().map(Value::Float);
                let value = value.unwrap_or_else(|| Value::Histogram(one.histograms[0].clone()));
                let done = match (&value, start) {
                    (Value::Float(value), None) => appender.append_float(series, Timestamp(time), *value),
                    _ => appender.append(series, Sample { timestamp: Timestamp(time), start, value }),
                };
                if done.is_ok() {
                    let kept = match bits {
                        Bits::FloatSince(..) => self.starts != StartStorage::None,
                        _ => self.starts == StartStorage::FloatsAndHistograms,
                    };
                    accepted.push((labels, time, if kept { bits } else { bits.since(0) }));
                }
            }
            (appender.commit(), accepted)
        };
        let (result, accepted) = accepted;
        self.note(format!(
            "commit of {} at {}: {:?}",
            accepted.len(),
            self.now,
            result.as_ref().map_err(ToString::to_string)
        ));
        if self.is_verbose {
            self.note(format!("  {accepted:?}"));
        }
        let summary = match result {
            Ok(summary) => summary,
            Err(error) => {
                assert!(self.is_faulty, "{error:?}\n{}", self.story());
                for (labels, time, bits) in accepted {
                    let place = (time, labels);
                    if let Some(others) = self.late.get_mut(&place) {
                        others.insert(bits);
                    }
                    self.perhaps.entry(place).or_default().insert(bits);
                }
                return;
            }
        };
        let mut uncertain = Vec::new();
        let in_order_from = self.cut_early.max(self.newest().saturating_sub(RANGE / 2));
        for (labels, time, bits) in accepted {
            let newest = self.newest.entry(labels.clone()).or_insert(i64::MIN);
            let place = (time, labels.clone());
            let is_first = !self.known.get(&labels).is_some_and(|samples| samples.contains_key(&time));
            let is_late = time <= *newest || time < in_order_from;
            if is_late && (is_first || self.late.contains_key(&place)) {
                self.late.entry(place).or_default().insert(bits);
            }
            *newest = time.max(*newest);
            if summary.dropped > 0 {
                // Some lost a race: within the batch, of one moment the first counts.
                self.perhaps.entry((time, labels.clone())).or_default().insert(bits);
            }
            let series = self.known.entry(labels.clone()).or_default();
            if let std::collections::btree_map::Entry::Vacant(slot) = series.entry(time) {
                slot.insert(bits);
                if summary.dropped > 0 && self.doubtful.insert((time, labels.clone())) {
                    uncertain.push((time, labels.clone()));
                }
                if self.durability != Durability::Always {
                    self.unsynced.insert((time, labels));
                }
            } else {
                self.shadowed.entry((time, labels.clone())).or_default().insert(bits);
                self.hide((time, labels), [bits]);
            }
        }
        if summary.dropped > 0 {
            self.settle("dropped");
            uncertain.iter().for_each(|place| {
                self.doubtful.remove(place);
            });
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

    fn tick(&mut self) {
        let blocks = self.db().blocks();
        let tick = self.db().tick(Timestamp(self.now));
        self.note(format!(
            "tick at {}: blocks {:?}, {} compactions, deleted {:?}, problems {:?}",
            self.now,
            tick.blocks.iter().map(|m| (m.min_time, m.max_time, m.has_hint("from-out-of-order"))).collect::<Vec<_>>(),
            tick.compactions.len(),
            tick.deletions,
            tick.problems
        ));
        assert!(tick.problems.is_empty() || self.is_faulty, "{:?}\n{}", tick.problems, self.story());
        self.expire(&blocks, &tick);
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

    fn compact_head(&mut self) {
        self.cut_early = self.cut_early.max(self.newest().div_euclid(RANGE) * RANGE);
        let tick = self.db().compact_head(Timestamp(self.now));
        self.note(format!("compact head: {} blocks, {:?}", tick.blocks.len(), tick.problems));
        assert!(tick.problems.is_empty() || self.is_faulty, "{:?}\n{}", tick.problems, self.story());
    }

    fn delete(&mut self) {
        let max = self.now - self.dice.below(2 * RANGE as u64) as i64;
        let range = TimeRange::new(Timestamp(max - self.dice.below(6 * RANGE as u64) as i64), Timestamp(max));
        let i = (self.names - 1 - self.dice.below(6)).to_string();
        let result = self.db().delete(range, &[Matcher::equal("i", &i)]);
        self.note(format!("delete {i} in {range:?}: {:?}", result.as_ref().map_err(ToString::to_string)));
        let concerned: Vec<Place> = self
            .known
            .iter()
            .filter(|(labels, _)| labels.get("i") == Some(&i))
            .flat_map(|(labels, samples)| samples.keys().map(|time| (*time, labels.clone())))
            .filter(|(time, _)| range.contains(Timestamp(*time)))
            .collect();
        match result {
            Ok(_) => {
                for (time, labels) in &concerned {
                    self.known.get_mut(labels).unwrap().remove(time);
                }
                let goes = |(time, labels): &Place| {
                    labels.get("i") == Some(&i) && range.contains(Timestamp(*time)) && !self.is_faulty
                };
                self.perhaps.retain(|place, _| !goes(place));
                self.hidden.retain(|place, _| !goes(place));
                self.shadowed.retain(|place, _| !goes(place));
                self.late.retain(|place, _| !goes(place));
            }
            Err(error) => {
                assert!(self.is_faulty, "{error:?}\n{}", self.story());
                self.doubtful.extend(concerned);
            }
        }
    }

    fn clean(&mut self) {
        let result = self.db().clean_tombstones(Timestamp(self.now));
        self.note(format!("clean: {result:?}"));
        assert!(result.is_ok() || self.is_faulty, "{result:?}\n{}", self.story());
    }

    fn sync(&mut self) {
        let result = self.db().sync();
        self.note(format!("sync: {result:?}"));
        match result {
            Ok(()) if !self.is_faulty => self.all_is_durable(),
            Ok(()) => {}
            Err(error) => assert!(self.is_faulty, "{error:?}\n{}", self.story()),
        }
    }

    /// A clean end and a new beginning.
    fn reopen(&mut self, why: &str) {
        let result = self.db().close();
        self.note(format!("{why}: {result:?}"));
        assert!(result.is_ok() || self.is_faulty, "{result:?}\n{}", self.story());
        self.db = None;
        self.disk.heal();
        self.open();
        let report = self.db().opened().clone();
        self.note(format!("opened: {report:?}"));
        assert!(report.damage.is_empty() || self.is_faulty, "{report:?}\n{}", self.story());
        if !self.is_faulty {
            self.all_is_durable();
        }
        self.begin_anew(&report);
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

    fn power_loss(&mut self) -> Crash {
        Crash::PowerLoss { seed: self.dice.roll() }
    }

    fn die(&mut self, how: Crash) {
        self.crash(how);
        self.db = None;
        while self.dice.one_in(4) {
            self.die_opening();
        }
        self.open();
        let report = self.db().opened().clone();
        self.note(format!("opened: {report:?}"));
        self.begin_anew(&report);
    }

    fn crash(&mut self, how: Crash) {
        self.note(format!("{how:?} at {}", self.now));
        if how != Crash::Process {
            self.doubtful.append(&mut self.unsynced);
            for (place, bits) in std::mem::take(&mut self.hidden) {
                self.perhaps.entry(place).or_default().extend(bits);
            }
        }
        self.disk.crash(how);
    }

    /// Whoever dies once may die again before all is as it was.
    fn die_opening(&mut self) {
        self.disk.fail_at(self.dice.below(30), true);
        let db = self.try_open();
        self.note(format!("opening: {:?}", db.as_ref().map(Db::opened).map_err(ToString::to_string)));
        let how = if self.dice.one_in(2) { Crash::Process } else { self.power_loss() };
        self.crash(how);
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

    /// Lets operations fail, works on, and heals or dies.
    fn injure(&mut self) {
        let (n, forever) = (self.dice.below(60), self.dice.one_in(2));
        self.note(format!("operation {n} fails, {}", if forever { "and all after it" } else { "once" }));
        self.is_faulty = true;
        if self.dice.one_in(6) {
            self.disk.fail_syncs(true);
        } else {
            self.disk.fail_at(n, forever);
        }
        self.suffer();
    }

    fn fill_disk(&mut self) {
        let room = self.dice.below(20_000);
        self.note(format!("{room} bytes of room"));
        self.is_faulty = true;
        self.disk.limit_space(self.disk.used() + room);
        self.suffer();
        // With space, writing goes on, unless a file could not be cut back.
    }

    fn suffer(&mut self) {
        for _ in 0..1 + self.dice.below(6) {
            match self.dice.below(8) {
                0..=3 => self.commit(),
                4..=5 => self.tick(),
                6 => self.delete(),
                _ => self.compact_head(),
            }
            self.now += self.dice.below(RANGE as u64 / 2) as i64;
            self.check("suffering");
        }
        match self.dice.below(4) {
            0 => self.die(Crash::Process),
            1 => {
                let how = self.power_loss();
                self.die(how);
            }
            2 => self.reopen("close"),
            // The next opening tells what was lost.
            _ => self.disk.heal(),
        }
    }

    /// A copy has what the database has.
    fn copy(&mut self) {
        let result = self.db().snapshot(false);
        self.note(format!("snapshot: {result:?}"));
        let Ok(name) = result else {
            assert!(self.is_faulty, "{result:?}\n{}", self.story());
            return;
        };
        let copy = Db::builder(format!("data/snapshots/{name}")).fs(Arc::new(self.disk.clone())).lock_file(false);
        let copy = copy.retention(Retention::default()).snapshot_on_close(false).open().unwrap();
        let (here, there) = (read(self.db()), read(&copy));
        let is_same = |labels: &Labels, time: i64, bits: &Bits| {
            let other = there.get(labels).and_then(|samples| samples.get(&time));
            other.is_some_and(|other| other == bits || self.is_one_of_late(&(time, labels.clone()), other))
        };
        let count = |all: &Series| all.values().map(Samples::len).sum::<usize>();
        let all_same =
            here.iter().all(|(labels, samples)| samples.iter().all(|(time, bits)| is_same(labels, *time, bits)));
        let is_same = count(&here) == count(&there) && all_same;
        assert!(is_same, "a copy differs: {}\n{}", difference(&there, &here), self.story());
    }

    /// A reader keeps what it began with while everything goes on.
    fn read_long(&mut self) {
        let mut before = read(self.db());
        let db = self.db.take().unwrap();
        let (blocks, tick);
        {
            let querier = db.querier(TimeRange::ALL).unwrap();
            let set = querier.select(&SelectHints { sorted: true, ..Default::default() }, &[]).unwrap();
            self.note("a reader begins".into());
            let mut appender = db.appender();
            let series = appender.series(&[("__name__", "m0"), ("i", "0")]).unwrap();
            let appended = appender.append_float(series, Timestamp(self.now), 7.0).is_ok();
            let committed = appender.commit();
            if let (true, Ok(summary)) = (appended, &committed) {
                let place = (self.now, Labels::from_pairs([("__name__", "m0"), ("i", "0")]));
                if summary.samples == 1 {
                    let fresh =
                        self.known.entry(place.1.clone()).or_default().insert(place.0, Bits::Float(7f64.to_bits()));
                    assert!(fresh.is_none() || fresh == Some(Bits::Float(7f64.to_bits())));
                    if self.durability != Durability::Always {
                        self.unsynced.insert(place);
                    }
                }
            } else if appended {
                assert!(self.is_faulty, "{committed:?}\n{}", self.story());
                let labels = Labels::from_pairs([("__name__", "m0"), ("i", "0")]);
                self.perhaps.entry((self.now, labels)).or_default().insert(Bits::Float(7f64.to_bits()));
            }
            blocks = db.blocks();
            tick = db.tick(Timestamp(self.now));
            self.note(format!("tick beside a reader: {tick:?}"));
            let mut read = Series::new();
            let mut columns = Columns::default();
            for at in 0..set.len() {
                set.read(at, TimeRange::ALL, &mut columns).unwrap();
                let found = samples(&columns);
                if !found.is_empty() {
                    read.insert(set.labels(at), found);
                }
            }
            // What expired is read until the head forgets it.
            let expired = |(labels, time): (&Labels, &i64)| self.doubtful.contains(&(*time, labels.clone()));
            for (labels, samples) in &mut read {
                samples.retain(|time, _| !expired((labels, time)));
            }
            for (labels, samples) in &mut before {
                samples.retain(|time, _| !expired((labels, time)));
            }
            read.retain(|_, samples| !samples.is_empty());
            before.retain(|_, samples| !samples.is_empty());
            assert!(read == before, "a reader's view changed: {}\n{}", difference(&read, &before), self.story());
        }
        self.db = Some(db);
        self.expire(&blocks, &tick);
    }

    fn reload(&mut self) {
        self.late_window = [0, RANGE / 2, 3 * RANGE][self.dice.below(3) as usize];
        let reload = Reload::default().out_of_order_window(Duration::from_millis(self.late_window as u64));
        let result = self.db().set_options(&reload);
        self.note(format!("late window {}: {result:?}", self.late_window));
        assert!(result.is_ok() || self.is_faulty, "{result:?}\n{}", self.story());
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
