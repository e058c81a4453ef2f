//! What must hold for any bytes: the bodies of the fuzz targets `tsdb_*`, which the tests replay over the corpora.
//!
//! A checksum stands before most of what is worth fuzzing, and a fuzzer does not guess it. So the first byte of the input
//! chooses: the rest is a file as it is, or parts from which a file with right checksums is made.

use std::path::Path;

use ferula_model::{Columns, TimeRange};
use ferula_tsdb::block::index::{IndexReader, SeriesEntry};
use ferula_tsdb::block::{BlockMeta, ChunkBytes, Tombstones};
use ferula_tsdb::chunk;
use ferula_tsdb::fs::Map;

/// An index that opens can be walked to its end, by errors or by values; what it lists rises.
pub(crate) fn index(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    let file = if mode % 2 == 0 { data.to_vec() } else { assembled_index(*mode, data) };
    let Ok(index) = IndexReader::from_map(Map::from_vec(file), Path::new("index")) else { return };
    let names: Vec<&str> = index.label_names().collect();
    assert!(names.is_sorted_by(|a, b| a < b));
    for name in names {
        let mut previous = None;
        for value in index.label_values(name).take(1_000) {
            let Ok((value, list)) = value else { break };
            assert!(previous < Some(value));
            previous = Some(value);
            let found = index.label_values(name).seek(value).ok().and_then(|mut values| values.next());
            assert_eq!(found.and_then(Result::ok).map(|(value, _)| value), Some(value));
            let _ = list.open().map(|list| list.to_vec());
        }
    }
    let mut entry = SeriesEntry::default();
    let Ok(all) = index.all_postings() else { return };
    for series in all.to_vec().into_iter().take(1_000) {
        if index.series(series, &mut entry).is_ok() {
            assert!(entry.chunks.is_sorted_by(|a, b| a.max_time <= b.min_time));
            for (name, value) in &entry.labels {
                let _ = (index.symbol(*name), index.symbol(*value));
            }
        }
    }
}

/// `length u16 | bytes` for symbols, series, list and table in turn, then a file with right checksums and offsets.
fn assembled_index(mode: u8, mut data: &[u8]) -> Vec<u8> {
    let mut part = || {
        let Some((length, rest)) = data.split_first_chunk::<2>() else { return &[][..] };
        let (part, rest) = rest.split_at(rest.len().min(usize::from(u16::from_be_bytes(*length))));
        data = rest;
        part
    };
    let (symbols, series, list, table) = (part(), part(), part(), part());
    let mut file = vec![0xBA, 0xAA, 0xD7, 0x00, 1 + (mode / 2) % 3];
    let mut offsets = [0u64; 6];
    offsets[0] = file.len() as u64;
    section(&mut file, symbols);
    file.resize(file.len().next_multiple_of(16), 0);
    offsets[1] = file.len() as u64;
    file.push(series.len().min(127) as u8);
    file.extend_from_slice(&series[..series.len().min(127)]);
    file.extend_from_slice(&crc32c::crc32c(&series[..series.len().min(127)]).to_be_bytes());
    file.resize(file.len().next_multiple_of(4), 0);
    offsets[4] = file.len() as u64;
    section(&mut file, list);
    offsets[5] = file.len() as u64;
    section(&mut file, table);
    let toc: Vec<u8> = offsets.iter().flat_map(|offset| offset.to_be_bytes()).collect();
    file.extend_from_slice(&toc);
    file.extend_from_slice(&crc32c::crc32c(&toc).to_be_bytes());
    file
}

fn section(file: &mut Vec<u8>, content: &[u8]) {
    file.extend_from_slice(&(content.len() as u32).to_be_bytes());
    file.extend_from_slice(content);
    file.extend_from_slice(&crc32c::crc32c(content).to_be_bytes());
}

/// A description that is read survives being written and read again.
pub(crate) fn meta(data: &[u8]) {
    let path = Path::new("meta.json");
    if let Ok(meta) = BlockMeta::from_json(data, path) {
        let again = BlockMeta::from_json(&meta.to_json(), path).expect("what we write we read");
        assert_eq!(again, meta);
    }
}

/// Tombstones that are read survive being written and read again.
pub(crate) fn tombstones(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    let mut file = data.to_vec();
    if mode % 2 == 1 {
        file = [&[0x01, 0x30, 0xBA, 0x30, 1], data, &crc32c::crc32c(data).to_be_bytes()].concat();
    }
    let path = Path::new("tombstones");
    if let Ok(tombstones) = Tombstones::decode(&file, path) {
        let again = Tombstones::decode(&tombstones.encode(), path).expect("what we write we read");
        assert_eq!(again, tombstones);
    }
}

/// A chunk of a segment is read or refused; its times rise, and it holds no more samples than it says.
pub(crate) fn block_chunk(data: &[u8]) {
    let path = Path::new("000001");
    let Some((mode, data)) = data.split_first() else { return };
    let mut file = data.to_vec();
    if mode % 2 == 1 {
        let checked = [&[1 + (mode / 2) % 6], data].concat();
        let length = data.len().min((1 << 14) - 1);
        let checked = &checked[..=length];
        file = vec![0x85, 0xBD, 0x40, 0xDD, 1, 0, 0, 0, length as u8 | 0x80, (length >> 7) as u8];
        file.extend_from_slice(checked);
        file.extend_from_slice(&crc32c::crc32c(checked).to_be_bytes());
    }
    let Ok(ChunkBytes { encoding, bytes }) = ChunkBytes::parse(&file, 8, path) else { return };
    let mut columns = Columns::default();
    if chunk::decode(encoding, bytes, TimeRange::ALL, &mut columns).is_ok() {
        assert_eq!(Ok(columns.len()), chunk::sample_count(encoding, bytes));
        assert!(columns.times.is_sorted_by(|a, b| a < b));
        assert!(columns.histogram_times.is_sorted_by(|a, b| a < b));
        let of_other_kind = if encoding.is_float() { columns.histogram_times.len() } else { columns.times.len() };
        assert_eq!(of_other_kind, 0);
    }
}
