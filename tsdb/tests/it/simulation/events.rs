//! What happens in a life: to the database, to its disk and to its process, and what the model makes of it.

use super::*;

impl World {
    fn labels(&mut self) -> Labels {
        if self.dice.one_in(12) {
            self.names += 1;
        }
        let i = self.names - 1 - self.dice.below(6);
        Labels::from_pairs([("__name__", format!("m{}", i % 2)), ("i", i.to_string())])
    }

    pub(super) fn commit(&mut self) {
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
        // Sometimes two write at the same time, each to series of its own.
        let writers = 1 + u64::from(self.dice.one_in(3));
        let commits = {
            let db = self.db.as_ref().unwrap();
            let mut batches: Vec<_> = (0..writers).map(|_| (db.appender(), Vec::new())).collect();
            for (labels, time, bits) in staged {
                let writer = labels.get("i").and_then(|i| i.parse::<u64>().ok()).unwrap() % writers;
                let (appender, accepted) = &mut batches[writer as usize];
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
            batches.into_iter().map(|(appender, accepted)| (appender.commit(), accepted)).collect::<Vec<_>>()
        };
        let (mut committed, mut dropped) = (Vec::new(), 0);
        for (result, accepted) in commits {
            self.note(format!(
                "commit of {} at {}: {:?}",
                accepted.len(),
                self.now,
                result.as_ref().map_err(ToString::to_string)
            ));
            if self.is_verbose {
                self.note(format!("  {accepted:?}"));
            }
            match result {
                Ok(summary) => {
                    dropped += summary.dropped;
                    committed.extend(accepted);
                }
                Err(error) => {
                    assert!(self.is_faulty, "{error:?}\n{}", self.story());
                    self.failed(accepted);
                }
            }
        }
        self.committed(committed, dropped);
    }

    /// A commit failed: after a crash its samples may be there or not.
    fn failed(&mut self, samples: Vec<(Labels, i64, Bits)>) {
        for (labels, time, bits) in samples {
            let place = (time, labels);
            if let Some(others) = self.late.get_mut(&place) {
                others.insert(bits);
            }
            self.perhaps.entry(place).or_default().insert(bits);
        }
    }

    /// Samples were committed, but for `dropped` of them.
    fn committed(&mut self, samples: Vec<(Labels, i64, Bits)>, dropped: usize) {
        let mut uncertain = Vec::new();
        let in_order_from = self.cut_early.max(self.newest().saturating_sub(RANGE / 2));
        for (labels, time, bits) in samples {
            let newest = self.newest.entry(labels.clone()).or_insert(i64::MIN);
            let place = (time, labels.clone());
            let is_first = !self.known.get(&labels).is_some_and(|samples| samples.contains_key(&time));
            let is_late = time <= *newest || time < in_order_from;
            if is_late && (is_first || self.late.contains_key(&place)) {
                self.late.entry(place).or_default().insert(bits);
            }
            *newest = time.max(*newest);
            if dropped > 0 {
                // Some lost a race: within the batch, of one moment the first counts.
                self.perhaps.entry((time, labels.clone())).or_default().insert(bits);
            }
            let known = self.known.entry(labels.clone()).or_default();
            if let std::collections::btree_map::Entry::Vacant(slot) = known.entry(time) {
                slot.insert(bits);
                if dropped > 0 && self.doubtful.insert((time, labels.clone())) {
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
        if dropped > 0 {
            self.settle("dropped");
            uncertain.iter().for_each(|place| {
                self.doubtful.remove(place);
            });
        }
    }

    pub(super) fn tick(&mut self) {
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

    pub(super) fn compact_head(&mut self) {
        self.cut_early = self.cut_early.max(self.newest().div_euclid(RANGE) * RANGE);
        let tick = self.db().compact_head(Timestamp(self.now));
        self.note(format!("compact head: {} blocks, {:?}", tick.blocks.len(), tick.problems));
        assert!(tick.problems.is_empty() || self.is_faulty, "{:?}\n{}", tick.problems, self.story());
    }

    pub(super) fn delete(&mut self) {
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

    pub(super) fn clean(&mut self) {
        let result = self.db().clean_tombstones(Timestamp(self.now));
        self.note(format!("clean: {result:?}"));
        assert!(result.is_ok() || self.is_faulty, "{result:?}\n{}", self.story());
    }

    pub(super) fn sync(&mut self) {
        let result = self.db().sync();
        self.note(format!("sync: {result:?}"));
        match result {
            Ok(()) if !self.is_faulty => self.all_is_durable(),
            Ok(()) => {}
            Err(error) => assert!(self.is_faulty, "{error:?}\n{}", self.story()),
        }
    }

    /// A clean end and a new beginning.
    pub(super) fn reopen(&mut self, why: &str) {
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

    pub(super) fn power_loss(&mut self) -> Crash {
        Crash::PowerLoss { seed: self.dice.roll() }
    }

    pub(super) fn die(&mut self, how: Crash) {
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

    /// Lets operations fail, works on, and heals or dies.
    pub(super) fn injure(&mut self) {
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

    pub(super) fn fill_disk(&mut self) {
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
    pub(super) fn copy(&mut self) {
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
    pub(super) fn read_long(&mut self) {
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

    pub(super) fn reload(&mut self) {
        self.late_window = [0, RANGE / 2, 3 * RANGE][self.dice.below(3) as usize];
        let reload = Reload::default().out_of_order_window(Duration::from_millis(self.late_window as u64));
        let result = self.db().set_options(&reload);
        self.note(format!("late window {}: {result:?}", self.late_window));
        assert!(result.is_ok() || self.is_faulty, "{result:?}\n{}", self.story());
    }
}
