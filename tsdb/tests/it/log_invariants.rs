//! What must hold for any bytes of logs, head chunk files and chunks: the bodies of the fuzz targets `tsdb_wal_record`,
//! `tsdb_wal_segment`, `tsdb_head_chunks`, `tsdb_snapshot` and `tsdb_chunk`, which the tests replay over the corpora.

use std::path::Path;
use std::sync::Arc;

use ferula_model::{AppendError, Appendable, Columns, Labels, Matcher, Queryable, SelectHints, TimeRange, Timestamp};
use ferula_tsdb::Db;
use ferula_tsdb::chunk::xor::XorAppender;
use ferula_tsdb::chunk::{self, ChunkEncoding, FloatEncoding};
use ferula_tsdb::fs::{Fs, MemFs};
use ferula_tsdb::wal::format::{self, RecordType};
use ferula_tsdb::wal::reader::{ReadError, WalReader, repair};

/// A record that is read survives being written and read again, item by item.
pub(crate) fn wal_record(record: &[u8]) {
    use RecordType::*;
    let Some(kind) = RecordType::of(record) else { return };
    let mut out = Vec::new();
    match kind {
        Series => {
            let _ = format::read_series(record, |series, labels| {
                out.clear();
                out.push(Series as u8);
                format::put_series(&mut out, series, labels.iter().copied());
                let mut count = 0;
                let again = format::read_series(&out, |number, texts| {
                    assert_eq!((number, texts), (series, labels));
                    count += 1;
                });
                assert_eq!((again, count), (Ok(()), 1));
            });
        }
        Samples | SamplesV2 => {
            let (mut samples, mut again) = (Vec::new(), Vec::new());
            let _ = format::read_floats(record, &mut samples);
            format::put_floats(&mut out, &samples);
            if !samples.is_empty() {
                format::read_floats(&out, &mut again).expect("what we write we read");
            }
            assert_eq!(again.len(), samples.len());
            for (one, other) in samples.iter().zip(&again) {
                assert_eq!((one.series, one.time, one.start), (other.series, other.time, other.start));
                assert_eq!(one.value.to_bits(), other.value.to_bits());
            }
        }
        Histograms | FloatHistograms | CustomHistograms | CustomFloatHistograms | HistogramsV2 | FloatHistogramsV2 => {
            let mut samples = Vec::new();
            let _ = format::read_histograms(record, &mut samples);
            for sample in &samples {
                let mut again = Vec::new();
                format::put_histograms(std::slice::from_ref(sample), &mut out, |record| {
                    format::read_histograms(record, &mut again).expect("what we write we read");
                });
                let [back] = again.as_slice() else { unreachable!("one sample, one record") };
                assert_eq!((back.series, back.time, back.start), (sample.series, sample.time, sample.start));
                assert!(back.value.same_bits(&sample.value));
            }
        }
        Tombstones => {
            let (mut items, mut again) = (Vec::new(), Vec::new());
            let _ = format::read_tombstones(record, &mut items);
            format::put_tombstones(&mut out, &items);
            format::read_tombstones(&out, &mut again).expect("what we write we read");
            assert_eq!(again, items);
        }
        Exemplars => {
            let (mut items, mut again) = (Vec::new(), Vec::new());
            let _ = format::read_exemplars(record, &mut items);
            format::put_exemplars(&mut out, &items);
            if !items.is_empty() {
                format::read_exemplars(&out, &mut again).expect("what we write we read");
            }
            assert_eq!(again.len(), items.len());
            for (one, other) in items.iter().zip(&again) {
                assert_eq!((one.series, one.time, &one.labels), (other.series, other.time, &other.labels));
                assert_eq!(one.value.to_bits(), other.value.to_bits());
            }
        }
        MmapMarkers => {
            let (mut items, mut again) = (Vec::new(), Vec::new());
            let _ = format::read_markers(record, &mut items);
            format::put_markers(&mut out, &items);
            format::read_markers(&out, &mut again).expect("what we write we read");
            assert_eq!(again, items);
        }
        Metadata => {
            let _ = format::read_metadata(record, |series, metadata| {
                out.clear();
                out.push(Metadata as u8);
                format::put_metadata(&mut out, series, &metadata);
                let mut count = 0;
                let again = format::read_metadata(&out, |number, text| {
                    assert_eq!((number, text), (series, metadata.clone()));
                    count += 1;
                });
                assert_eq!((again, count), (Ok(()), 1));
            });
        }
    }
}

/// A segment is read to its end or to the damage; cut there, it is whole and has the same records.
pub(crate) fn wal_segment(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    let file = if mode % 2 == 0 { data.to_vec() } else { assembled_segment(data) };
    let fs = MemFs::new();
    let dir = Path::new("wal");
    fs.create_dir(dir).expect("memory");
    let segment = fs.create(&dir.join("00000000")).expect("memory");
    segment.write_at(0, &file).expect("memory");
    let (records, damage) = read_log(&fs, dir);
    if let Some(ReadError::Corrupt(damage)) = damage {
        repair(&fs, dir, &damage).expect("memory");
        let (again, damage) = read_log(&fs, dir);
        assert!(damage.is_none(), "{damage:?}");
        assert_eq!(again, records);
    }
}

fn read_log(fs: &MemFs, dir: &Path) -> (Vec<Vec<u8>>, Option<ReadError>) {
    let mut reader = WalReader::open(fs, dir, 0).expect("memory");
    let mut records = Vec::new();
    loop {
        match reader.next(fs) {
            Ok(Some(record)) => records.push(record.to_vec()),
            Ok(None) => return (records, None),
            Err(damage) => return (records, Some(damage)),
        }
    }
}

/// `type u8 | length u8 | bytes` again and again, then fragments with right lengths and checksums.
fn assembled_segment(mut data: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    while let [kind, length, rest @ ..] = data {
        let (part, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        file.push(*kind);
        file.extend_from_slice(&(part.len() as u16).to_be_bytes());
        file.extend_from_slice(&crc32c::crc32c(part).to_be_bytes());
        file.extend_from_slice(part);
        data = rest;
    }
    file
}

/// Whatever a head chunk file holds, the database opens, what it answers rises, and new samples are taken.
pub(crate) fn head_chunks(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    let mut file = vec![0x01, 0x30, 0xBC, 0x91, 1, 0, 0, 0];
    if mode % 2 == 0 {
        file = data.to_vec();
    } else {
        assemble_head_chunks(&mut file, data);
    }
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    append_and_read(&fs, 1_000);
    let dir = Path::new("data/chunks_head");
    fs.create_dir(dir).expect("memory");
    fs.create(&dir.join("000001")).expect("memory").write_at(0, &file).expect("memory");
    append_and_read(&fs, i64::MAX / 4);
}

/// Opens a database and appends to the series `m`. What it answers rises, and has the new sample if that was taken.
/// Says whether the database began with a snapshot.
fn append_and_read(fs: &Arc<dyn Fs>, time: i64) -> bool {
    let db = Db::builder("data").fs(Arc::clone(fs)).lock_file(false).open().expect("the database opens");
    let mut appender = db.appender();
    let series = match appender.series(&[("__name__", "m")]) {
        Ok(series) => series,
        // The highest number of all is in use.
        Err(error) => {
            assert_eq!(error, AppendError::SeriesLimit { limit: u64::from(u32::MAX) });
            return db.opened().from_snapshot;
        }
    };
    let taken = appender.append_float(series, Timestamp(time), 1.0);
    appender.commit().expect("a commit");
    let querier = db.querier(TimeRange::ALL).expect("a querier");
    let found = querier.select(&SelectHints::default(), &[Matcher::equal("__name__", "m")]).expect("a selection");
    let mut columns = Columns::default();
    for at in 0..found.len() {
        if found.read(at, TimeRange::ALL, &mut columns).is_err() {
            continue;
        }
        assert!(columns.times.is_sorted_by(|a, b| a < b));
        assert!(columns.histogram_times.is_sorted_by(|a, b| a < b));
        for (starts, times) in
            [(&columns.starts, &columns.times), (&columns.histogram_starts, &columns.histogram_times)]
        {
            assert!(starts.is_empty() || starts.len() == times.len(), "a start for each, or none at all");
        }
        let is_ours = found.labels(at) == Labels::from_pairs([("__name__", "m")]);
        assert!(!is_ours || taken.is_err() || columns.times.contains(&time));
    }
    db.opened().from_snapshot
}

/// Whatever a snapshot of the head holds, the database opens, what it answers rises, and new samples are taken. The first
/// two bytes say how many of the others are series and their like; what follows those is metadata. Says whether the
/// snapshot was taken.
pub(crate) fn snapshot(data: &[u8]) -> bool {
    let Some((series, data)) = data.split_first_chunk() else { return false };
    let (series, metadata) = data.split_at(data.len().min(usize::from(u16::from_be_bytes(*series))));
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    for (dir, segment) in [
        ("data/wal", Vec::new()),
        ("data/chunk_snapshot.000000.0000000000", assembled_segment(series)),
        ("data/chunk_snapshot.000000.0000000000/metadata", assembled_segment(metadata)),
    ] {
        let dir = Path::new(dir);
        fs.create_dir(dir).expect("memory");
        fs.create(&dir.join("00000000")).expect("memory").write_at(0, &segment).expect("memory");
    }
    let is_taken = append_and_read(&fs, 1_000);
    append_and_read(&fs, i64::MAX / 4);
    is_taken
}

/// `length u8 | series u8 | min u16 | max u16 | encoding u8 | bytes` again and again, then chunks with right checksums.
fn assemble_head_chunks(file: &mut Vec<u8>, mut data: &[u8]) {
    while let [length, series, min_high, min_low, max_high, max_low, encoding, rest @ ..] = data {
        let (part, rest) = rest.split_at(rest.len().min(usize::from(*length) % 128));
        let start = file.len();
        file.extend_from_slice(&u64::from(*series % 3).to_be_bytes());
        file.extend_from_slice(&u64::from(u16::from_be_bytes([*min_high, *min_low])).to_be_bytes());
        file.extend_from_slice(&u64::from(u16::from_be_bytes([*max_high, *max_low])).to_be_bytes());
        file.extend([*encoding, part.len() as u8]);
        file.extend_from_slice(part);
        let crc = crc32c::crc32c(&file[start..]);
        file.extend_from_slice(&crc.to_be_bytes());
        data = rest;
    }
}

/// The first byte is the encoding. A part of a chunk's time is that part of its samples; floats survive being encoded
/// again, and an appender goes on behind any chunk that is whole.
pub(crate) fn any_chunk(data: &[u8]) {
    let Some((encoding, bytes)) = data.split_first() else { return };
    let Ok(encoding) = ChunkEncoding::from_byte(encoding % 6 + 1) else { return };
    let mut all = Columns::default();
    let whole = chunk::decode(encoding, bytes, TimeRange::ALL, &mut all).is_ok();
    assert!(all.times.is_sorted_by(|a, b| a < b));
    assert!(all.histogram_times.is_sorted_by(|a, b| a < b));
    assert_eq!(all.times.len(), all.values.len());
    assert_eq!(all.histogram_times.len(), all.histograms.len());
    if !whole {
        return;
    }
    assert_eq!(Ok(all.len()), chunk::sample_count(encoding, bytes));
    let times = if encoding.is_float() { &all.times } else { &all.histogram_times };
    if let (Some(&min), Some(&max)) = (times.get(times.len() / 3), times.get(times.len() * 2 / 3)) {
        let mut part = Columns::default();
        chunk::decode(encoding, bytes, TimeRange::new(Timestamp(min), Timestamp(max)), &mut part).expect("as before");
        let of_part = if encoding.is_float() { &part.times } else { &part.histogram_times };
        assert!(of_part.iter().eq(times.iter().filter(|time| (min..=max).contains(*time))));
    }
    for (starts, times) in [(&mut all.starts, &all.times), (&mut all.histogram_starts, &all.histogram_times)] {
        assert!(starts.is_empty() || starts.len() == times.len());
        starts.resize(times.len(), 0);
    }
    if !encoding.is_float() {
        return;
    }
    for float in [FloatEncoding::Xor, FloatEncoding::Xor2] {
        let (mut chunks, mut again) = (Vec::new(), Columns::default());
        chunk::encode(&all, float, &mut chunks);
        for part in &chunks {
            chunk::decode(part.encoding, &part.bytes, TimeRange::ALL, &mut again).expect("what we write we read");
        }
        again.starts.resize(again.times.len(), 0);
        assert_eq!((&again.times, &again.starts), (&all.times, &all.starts));
        assert!(again.values.iter().map(|v| v.to_bits()).eq(all.values.iter().map(|v| v.to_bits())));
    }
    let next = all.times.last().and_then(|last| last.checked_add(1 << 40));
    if let (ChunkEncoding::Xor, Some(next), true) = (encoding, next, all.len() < 60_000) {
        let mut bytes = bytes.to_vec();
        let mut appender = XorAppender::resume(&mut bytes).expect("a chunk that is whole");
        appender.append(&mut bytes, next, 2.5);
        all.times.push(next);
        all.values.push(2.5);
        let mut again = Columns::default();
        chunk::decode(encoding, &bytes, TimeRange::ALL, &mut again).expect("what we write we read");
        assert_eq!(again.times, all.times);
        assert!(again.values.iter().map(|v| v.to_bits()).eq(all.values.iter().map(|v| v.to_bits())));
    }
}
