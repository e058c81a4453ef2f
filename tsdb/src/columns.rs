//! Columns with holes and columns that overlap: what reading and compaction do to samples after decoding.

use ferula_model::{Columns, CounterResetHint, Histogram};

use crate::chunk::push_start;

/// How many samples of each kind there are: where what is appended next begins.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark {
    floats: usize,
    histograms: usize,
}

impl Mark {
    pub(crate) fn of(columns: &Columns) -> Self {
        Self { floats: columns.times.len(), histograms: columns.histogram_times.len() }
    }
}

/// Takes off what was appended since `mark`.
pub(crate) fn split_off(columns: &mut Columns, mark: Mark) -> Columns {
    let tail =
        |starts: &mut Vec<i64>, from: usize| if starts.len() > from { starts.split_off(from) } else { Vec::new() };
    Columns {
        times: columns.times.split_off(mark.floats),
        values: columns.values.split_off(mark.floats),
        starts: tail(&mut columns.starts, mark.floats),
        histogram_times: columns.histogram_times.split_off(mark.histograms),
        histograms: columns.histograms.split_off(mark.histograms),
        histogram_starts: tail(&mut columns.histogram_starts, mark.histograms),
    }
}

/// Appends samples that are all behind those of `columns`, or belong to somebody who will look.
pub(crate) fn append(columns: &mut Columns, mut part: Columns) {
    append_starts(columns.times.len(), &mut columns.starts, part.times.len(), &mut part.starts);
    append_starts(
        columns.histogram_times.len(),
        &mut columns.histogram_starts,
        part.histogram_times.len(),
        &mut part.histogram_starts,
    );
    columns.times.append(&mut part.times);
    columns.values.append(&mut part.values);
    columns.histogram_times.append(&mut part.histogram_times);
    columns.histograms.append(&mut part.histograms);
}

/// A column of starts is as long as its times, or empty.
fn append_starts(samples: usize, starts: &mut Vec<i64>, more_samples: usize, more: &mut Vec<i64>) {
    if !starts.is_empty() || !more.is_empty() {
        starts.resize(samples, 0);
        starts.append(more);
        starts.resize(samples + more_samples, 0);
    }
}

/// Whether what was appended since `mark` is behind all that was there before.
pub(crate) fn rises_from(columns: &Columns, mark: Mark) -> bool {
    let newest = |times: &[i64], from: usize| times.get(..from).and_then(<[i64]>::last).copied();
    let oldest = |times: &[i64], from: usize| times.get(from).copied().unwrap_or(i64::MAX);
    let before = newest(&columns.times, mark.floats).max(newest(&columns.histogram_times, mark.histograms));
    let behind = oldest(&columns.times, mark.floats).min(oldest(&columns.histogram_times, mark.histograms));
    before.is_none_or(|before| before < behind)
}

/// Removes the samples from `mark` on whose time is not to be kept. A histogram behind a hole loses its counter-reset hint,
/// which spoke of a sample that is gone; `after_hole` says whether the first one stands behind one. Answers whether the end
/// is a hole.
pub(crate) fn retain_from(columns: &mut Columns, mark: Mark, after_hole: bool, keep: impl Fn(i64) -> bool) -> bool {
    let Columns { times, values, starts, histogram_times, histograms, histogram_starts } = columns;
    let kept = kept_places(times, mark.floats, &keep);
    compact(values, mark.floats, &kept);
    compact(starts, mark.floats, &kept);
    compact(times, mark.floats, &kept);
    let end = histograms.len();
    let kept = kept_places(histogram_times, mark.histograms, &keep);
    let mut expected = if after_hole { usize::MAX } else { mark.histograms };
    for &at in &kept {
        if let Some(histogram) = histograms.get_mut(at).filter(|_| at != expected) {
            *histogram = without_hint(histogram);
        }
        expected = at + 1;
    }
    compact(histograms, mark.histograms, &kept);
    compact(histogram_starts, mark.histograms, &kept);
    compact(histogram_times, mark.histograms, &kept);
    end > mark.histograms && expected != end
}

/// Keeps the samples of `columns` that `all` has as well, bit for bit and with the same start. `all` holds every moment of
/// `columns`.
pub(crate) fn keep_same(columns: &mut Columns, all: &Columns) {
    let start = |starts: &[i64], at: usize| starts.get(at).copied().unwrap_or(0);
    let is_same_float = |at: usize, time: &i64, value: &f64| {
        let there =
            all.times.binary_search(time).ok().filter(|&there| start(&all.starts, there) == start(&columns.starts, at));
        there.and_then(|there| all.values.get(there)).is_some_and(|known| known.to_bits() == value.to_bits())
    };
    let is_same_histogram = |at: usize, time: &i64, value: &Histogram| {
        let there = all.histogram_times.binary_search(time).ok();
        let there = there.filter(|&there| start(&all.histogram_starts, there) == start(&columns.histogram_starts, at));
        let known = there.and_then(|there| all.histograms.get(there));
        known.is_some_and(|known| without_hint(known).same_bits(&without_hint(value)))
    };
    let floats = columns.times.iter().zip(&columns.values).enumerate();
    let floats: Vec<bool> = floats.map(|(at, (time, value))| is_same_float(at, time, value)).collect();
    let histograms = columns.histogram_times.iter().zip(&columns.histograms).enumerate();
    let histograms: Vec<bool> = histograms.map(|(at, (time, value))| is_same_histogram(at, time, value)).collect();
    let gone: std::collections::HashSet<i64> = (columns.times.iter().zip(floats))
        .chain(columns.histogram_times.iter().zip(histograms))
        .filter_map(|(time, keep)| (!keep).then_some(*time))
        .collect();
    if !gone.is_empty() {
        retain_from(columns, Mark::default(), false, |time| !gone.contains(&time));
    }
}

fn kept_places(times: &[i64], from: usize, keep: impl Fn(i64) -> bool) -> Vec<usize> {
    let tail = times.iter().enumerate().skip(from);
    tail.filter(|(_, time)| keep(**time)).map(|(at, _)| at).collect()
}

/// Moves the kept items to the front of the tail. A column that is empty (no start timestamps) stays so.
fn compact<T>(items: &mut Vec<T>, from: usize, kept: &[usize]) {
    if items.is_empty() {
        return;
    }
    for (to, at) in kept.iter().enumerate() {
        items.swap(from + to, *at);
    }
    items.truncate(from + kept.len());
}

/// Appends `a` and `b` merged by time to `out`. For a moment that both have, the sample of `a` wins, whatever its kind.
/// Within `a` and within `b` no moment is both a float and a histogram.
///
/// Histograms next to which the other side put something lose their counter-reset hint: it spoke of another neighbour.
pub(crate) fn merge(a: &Columns, b: &Columns, out: &mut Columns) {
    let (mut a, mut b) = (Side::new(a), Side::new(b));
    let mut last_side = None;
    loop {
        let first_is_a = match (a.time(), b.time()) {
            (None, None) => return,
            (Some(x), Some(y)) => {
                if x == y {
                    b.skip();
                }
                x <= y
            }
            (x, _) => x.is_some(),
        };
        let switched = last_side.is_some_and(|side| side != first_is_a);
        last_side = Some(first_is_a);
        let side = if first_is_a { &mut a } else { &mut b };
        side.take(switched, out);
    }
}

/// A position in columns, by time over both kinds.
struct Side<'a> {
    columns: &'a Columns,
    float: usize,
    histogram: usize,
}

impl<'a> Side<'a> {
    fn new(columns: &'a Columns) -> Self {
        Self { columns, float: 0, histogram: 0 }
    }

    fn next_is_float(&self) -> Option<bool> {
        match (self.columns.times.get(self.float), self.columns.histogram_times.get(self.histogram)) {
            (None, None) => None,
            (Some(float), Some(histogram)) => Some(float <= histogram),
            (float, _) => Some(float.is_some()),
        }
    }

    fn time(&self) -> Option<i64> {
        let float = self.columns.times.get(self.float).copied();
        let histogram = self.columns.histogram_times.get(self.histogram).copied();
        [float, histogram].into_iter().flatten().min()
    }

    fn skip(&mut self) {
        match self.next_is_float() {
            Some(true) => self.float += 1,
            _ => self.histogram += 1,
        }
    }

    fn take(&mut self, switched: bool, out: &mut Columns) {
        let columns = self.columns;
        let (f, h) = (self.float, self.histogram);
        if self.next_is_float() == Some(true) {
            if let (Some(time), Some(value)) = (columns.times.get(f), columns.values.get(f)) {
                push_start(&mut out.starts, out.times.len(), columns.starts.get(f).copied().unwrap_or(0));
                out.times.push(*time);
                out.values.push(*value);
            }
        } else if let (Some(time), Some(value)) = (columns.histogram_times.get(h), columns.histograms.get(h)) {
            let start = columns.histogram_starts.get(h).copied().unwrap_or(0);
            push_start(&mut out.histogram_starts, out.histogram_times.len(), start);
            out.histogram_times.push(*time);
            out.histograms.push(if switched { without_hint(value) } else { value.clone() });
        }
        self.skip();
    }
}

/// The same histogram with an unknown counter-reset hint, unless it is a gauge.
pub(crate) fn without_hint(histogram: &Histogram) -> Histogram {
    let keep = matches!(histogram.counter_reset(), CounterResetHint::Gauge | CounterResetHint::Unknown);
    match histogram {
        _ if keep => histogram.clone(),
        Histogram::Integer(integer) => {
            let mut integer = (**integer).clone();
            integer.counter_reset = CounterResetHint::Unknown;
            integer.into()
        }
        Histogram::Float(float) => {
            let mut float = (**float).clone();
            float.counter_reset = CounterResetHint::Unknown;
            float.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferula_model::IntegerHistogram;

    fn histogram(count: u64, counter_reset: CounterResetHint) -> Histogram {
        IntegerHistogram { count, zero_count: count, counter_reset, ..Default::default() }.into()
    }

    fn floats(samples: &[(i64, f64)]) -> Columns {
        let (times, values) = samples.iter().copied().unzip();
        Columns { times, values, ..Columns::default() }
    }

    #[test]
    fn a_hole_takes_every_column_with_it() {
        let mut columns = floats(&[(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]);
        columns.starts = vec![10, 20, 30, 40];
        columns.histogram_times = vec![2, 5];
        columns.histograms = vec![histogram(2, CounterResetHint::Unknown), histogram(5, CounterResetHint::Unknown)];
        let hole = retain_from(&mut columns, Mark { floats: 1, histograms: 0 }, false, |time| time > 2);
        assert!(!hole);
        assert_eq!(
            (columns.times, columns.values, columns.starts),
            (vec![1, 3, 4], vec![1.0, 3.0, 4.0], vec![10, 30, 40])
        );
        assert_eq!((columns.histogram_times, columns.histograms.len()), (vec![5], 1));
    }

    #[test]
    fn the_same_sample_has_the_same_start() {
        let mut columns = floats(&[(1, 1.0), (2, 2.0), (3, 3.0)]);
        columns.starts = vec![10, 20, 0];
        columns.histogram_times = vec![4, 5];
        columns.histograms = vec![histogram(4, CounterResetHint::Unknown), histogram(5, CounterResetHint::Unknown)];
        let mut all = columns.clone();
        all.starts[1] = 21;
        all.histogram_starts = vec![0, 7];
        keep_same(&mut columns, &all);
        assert_eq!((columns.times, columns.starts, columns.histogram_times), (vec![1, 3], vec![10, 0], vec![4]));
    }

    #[test]
    fn what_was_appended_comes_off_again() {
        let mut columns = floats(&[(1, 1.0), (2, 2.0)]);
        let mark = Mark::of(&columns);
        assert!(rises_from(&columns, mark));
        columns.histogram_times.push(3);
        columns.histograms.push(histogram(3, CounterResetHint::Unknown));
        assert!(rises_from(&columns, mark));
        columns.times.push(2);
        columns.values.push(4.0);
        columns.starts = vec![0, 0, 1];
        assert!(!rises_from(&columns, mark));
        let tail = split_off(&mut columns, mark);
        assert_eq!((columns.times, columns.starts, columns.histogram_times), (vec![1, 2], vec![0, 0], vec![]));
        assert_eq!(
            (tail.times, tail.values, tail.starts, tail.histogram_times),
            (vec![2], vec![4.0], vec![1], vec![3])
        );
    }

    #[test]
    fn a_hint_is_forgotten_behind_a_hole() {
        let mut columns = Columns {
            histogram_times: vec![1, 2, 3, 4],
            histograms: (1..5).map(|count| histogram(count, CounterResetHint::NotReset)).collect(),
            ..Columns::default()
        };
        assert!(retain_from(&mut columns, Mark::default(), true, |time| time == 1 || time == 3));
        assert!(columns.histograms.iter().all(|h| h.counter_reset() == CounterResetHint::Unknown));
    }

    #[test]
    fn the_first_side_wins_whatever_the_kind() {
        let mut a = floats(&[(1, 1.0), (4, 4.0)]);
        a.histogram_times = vec![2];
        a.histograms = vec![histogram(2, CounterResetHint::NotReset)];
        let mut b = floats(&[(1, 9.0), (2, 9.0), (3, 3.0), (5, 5.0)]);
        b.starts = vec![0, 0, 7, 0];
        b.histogram_times = vec![4];
        b.histograms = vec![histogram(9, CounterResetHint::NotReset)];
        let mut out = Columns::default();
        merge(&a, &b, &mut out);
        assert_eq!((out.times, out.values), (vec![1, 3, 4, 5], vec![1.0, 3.0, 4.0, 5.0]));
        assert_eq!(out.starts, [0, 7, 0, 0]);
        assert_eq!(out.histogram_times, [2]);
    }

    #[test]
    fn a_hint_is_forgotten_where_the_neighbour_changes() {
        let side = |times: &[i64]| Columns {
            histogram_times: times.to_vec(),
            histograms: times.iter().map(|t| histogram(*t as u64, CounterResetHint::NotReset)).collect(),
            ..Columns::default()
        };
        let mut out = Columns::default();
        merge(&side(&[1, 2, 5]), &side(&[3, 4]), &mut out);
        let hints: Vec<bool> = out.histograms.iter().map(|h| h.counter_reset() == CounterResetHint::NotReset).collect();
        assert_eq!(hints, [true, true, false, true, false]);
    }
}
