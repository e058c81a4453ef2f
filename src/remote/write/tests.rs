//! Requests as senders make them, and as they could make them.

use std::sync::Arc;

use ferula_model::{Columns, ManualClock, Matcher, Queryable, SelectHints, TimeRange, Timestamp};
use ferula_tsdb::Db;

use super::{WriteError, WriteReceiver};

const NOW: i64 = 1_700_000_000_000;

struct Bench {
    _folder: tempfile::TempDir,
    db: Arc<Db>,
    receiver: WriteReceiver,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Arc::new(Db::builder(folder.path()).open().unwrap());
        let receiver = WriteReceiver::new(db.clone(), Arc::new(ManualClock::at(Timestamp(NOW))));
        Self { _folder: folder, db, receiver }
    }

    fn write(&self, series: &[Vec<u8>]) -> Result<super::WriteSummary, WriteError> {
        let mut message = Vec::new();
        series.iter().for_each(|series| field(&mut message, 1, series));
        self.receiver.write(&snap::raw::Encoder::new().compress_vec(&message).unwrap())
    }

    /// Labels and values of all series.
    fn stored(&self) -> Vec<(String, Vec<f64>)> {
        let querier = self.db.querier(TimeRange::ALL).unwrap();
        let found = querier.select(&SelectHints::default(), &[Matcher::equal("job", "node")]).unwrap();
        let read = |at| {
            let mut columns = Columns::default();
            found.read(at, TimeRange::ALL, &mut columns).unwrap();
            (found.labels(at).to_string(), columns.values)
        };
        (0..found.len()).map(read).collect()
    }
}

fn field(out: &mut Vec<u8>, number: u8, content: &[u8]) {
    out.push(number << 3 | 2);
    assert!(content.len() < 128 * 128);
    if content.len() >= 128 {
        out.extend([content.len() as u8 | 0x80, (content.len() >> 7) as u8]);
    } else {
        out.push(content.len() as u8);
    }
    out.extend_from_slice(content);
}

fn label(out: &mut Vec<u8>, name: &str, value: &str) {
    let mut message = Vec::new();
    field(&mut message, 1, name.as_bytes());
    field(&mut message, 2, value.as_bytes());
    field(out, 1, &message);
}

fn sample(out: &mut Vec<u8>, time: i64, value: f64) {
    let mut message = vec![0x09];
    message.extend_from_slice(&value.to_le_bytes());
    message.push(0x10);
    let mut rest = time as u64;
    while rest >= 0x80 {
        message.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    message.push(rest as u8);
    field(out, 2, &message);
}

fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> Vec<u8> {
    let mut message = Vec::new();
    labels.iter().for_each(|(name, value)| label(&mut message, name, value));
    samples.iter().for_each(|(time, value)| sample(&mut message, *time, *value));
    message
}

#[test]
fn a_series_is_the_same_however_its_labels_are_encoded() {
    let bench = Bench::new();
    let long = "x".repeat(300);
    let labels = [("__name__", "up"), ("job", "node"), ("long", long.as_str())];
    bench.write(&[series(&labels, &[(NOW, 1.0)])]).unwrap();
    bench.write(&[series(&labels, &[(NOW + 1, 2.0), (NOW + 2, 3.0)])]).unwrap();
    let turned: Vec<_> = labels.iter().rev().copied().collect();
    bench.write(&[series(&turned, &[(NOW + 3, 4.0)])]).unwrap();
    // Samples first.
    let mut message = series(&[], &[(NOW + 4, 5.0)]);
    labels.iter().for_each(|(name, value)| label(&mut message, name, value));
    bench.write(&[message]).unwrap();
    // A label without a value is none.
    let mut with_empty = labels.to_vec();
    with_empty.push(("none", ""));
    bench.write(&[series(&with_empty, &[(NOW + 5, 6.0)])]).unwrap();
    assert_eq!(bench.stored().len(), 1);
    assert_eq!(bench.stored()[0].1, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn a_label_behind_the_samples_belongs_to_the_series() {
    let bench = Bench::new();
    let labels = [("__name__", "up"), ("job", "node")];
    bench.write(&[series(&labels, &[(NOW, 1.0)])]).unwrap();
    let mut message = series(&labels, &[(NOW, 2.0)]);
    label(&mut message, "more", "yes");
    bench.write(&[message]).unwrap();
    let stored = bench.stored();
    assert_eq!(stored.iter().map(|(_, values)| values[0]).collect::<Vec<_>>(), [1.0, 2.0], "{stored:?}");
}

#[test]
fn samples_may_be_written_in_another_way() {
    let bench = Bench::new();
    let labels = [("__name__", "up"), ("job", "node")];
    bench.write(&[series(&labels, &[(NOW, 1.0)])]).unwrap();
    let mut message = series(&labels, &[(NOW + 1, 2.0)]);
    // The value, and then the timestamp, as a sender has them; each sample is a byte of tag and one of length before them.
    let parts = |at: i64, value: f64| {
        let mut plain = Vec::new();
        sample(&mut plain, at, value);
        (plain[2..11].to_vec(), plain[11..].to_vec())
    };
    let (value, time) = parts(NOW + 2, 3.0);
    field(&mut message, 2, &[time, value].concat());
    // No value, which is zero, and a field that is not known.
    let (_, time) = parts(NOW + 3, 4.0);
    field(&mut message, 2, &[&time[..], &[0x18, 7]].concat());
    sample(&mut message, NOW + 4, 5.0);
    bench.write(&[message]).unwrap();
    assert_eq!(bench.stored()[0].1, [1.0, 2.0, 3.0, 0.0, 5.0]);
}

#[test]
fn known_and_new_series_are_judged_alike() {
    let bench = Bench::new();
    let labels = [("__name__", "up"), ("job", "node")];
    let summary = bench.write(&[series(&labels, &[(NOW, 1.0)]), series(&[("job", "node")], &[(NOW, 1.0)])]).unwrap();
    assert_eq!((summary.samples, summary.series_invalid), (1, 1), "a series without a name is skipped");
    let refused = bench.write(&[series(&labels, &[(NOW - 1, 1.0)])]).unwrap_err();
    assert_eq!((refused.status().as_u16(), refused.to_string().as_str()), (400, "out of order sample"));
    let duplicate = bench.write(&[series(&labels, &[(NOW, 2.0)])]).unwrap_err();
    let duplicate = (duplicate.status().as_u16(), duplicate.to_string());
    let text = format!("duplicate sample for timestamp {NOW}; overrides not allowed: existing 1, new value 2");
    assert_eq!(duplicate, (400, text));
    let future = bench.write(&[series(&labels, &[(NOW + 601_000, 1.0)])]).unwrap_err();
    let future = (future.status().as_u16(), future.to_string());
    assert_eq!(future, (400, "out of bounds: timestamp is too far in the future".to_owned()));
    // 32 MiB and one byte, says the head of the block.
    let long = bench.receiver.write(&[0x81, 0x80, 0x80, 0x10, 0, b'a']).unwrap_err();
    let long = (long.status().as_u16(), long.to_string());
    assert_eq!(long, (400, "snappy: decoded length 33554433 exceeds limit 33554432".to_owned()));
    let mut cut = series(&labels, &[(NOW + 1, 1.0)]);
    cut.truncate(cut.len() - 1);
    assert!(matches!(bench.write(&[cut]), Err(WriteError::Message(_))));
    assert_eq!(bench.stored()[0].1, [1.0]);
}

#[test]
fn a_label_that_is_not_utf8_costs_its_series_and_no_other() {
    let bench = Bench::new();
    let mut wrong = Vec::new();
    label(&mut wrong, "__name__", "up");
    let mut message = Vec::new();
    field(&mut message, 1, b"job");
    field(&mut message, 2, b"\xff");
    field(&mut wrong, 1, &message);
    sample(&mut wrong, NOW, 1.0);
    let right = series(&[("__name__", "up"), ("job", "node")], &[(NOW, 2.0)]);
    let summary = bench.write(&[wrong, right]).unwrap();
    assert_eq!((summary.samples, summary.series_invalid, summary.samples_invalid), (1, 1, 1));
    assert_eq!(bench.stored()[0].1, [2.0]);
}
