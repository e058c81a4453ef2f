//! The formats, both ways, against the real programs: what they wrote we read, what we wrote they read.
//!
//! `FERULA_PEERS` names the folder of the binaries; without it these tests say what is missing and do nothing.

mod directories;
mod exact;
mod server;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use ferula_model::{Labels, TimeRange, Timestamp};
use ferula_tsdb::block::{Block, BlockDirectory, BlockDirectoryOptions, BlockMeta, BlockOptions, BlockWriter, Ulids};
use ferula_tsdb::chunk::{FloatEncoding, encode};
use ferula_tsdb::compact::{CompactionOptions, Retention};
use ferula_tsdb::fs::{Fs, RealFs};
use ferula_tsdb::verify::verify;
use ulid::Ulid;

use self::exact::as_written;
use self::server::Server;
use crate::model::{Bits, Dice, Samples, Series, add_missing, columns, read_block};

/// 2 h in milliseconds.
const RANGE: i64 = 7_200_000;
/// A moment where windows of two and of six hours begin.
const EPOCH: i64 = 1_700_000_000_000 / (3 * RANGE) * (3 * RANGE);

/// The binary of a peer, if the peers are installed.
fn peer(name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("FERULA_PEERS") else {
        eprintln!("FERULA_PEERS is not set: nothing is compared with the real {name}");
        return None;
    };
    let path = Path::new(&folder).join(name);
    if !path.exists() {
        eprintln!("{} is not there: nothing is compared with it", path.display());
        return None;
    }
    Some(path)
}

fn promtool(binary: &Path, arguments: &[&str]) -> String {
    let output = Command::new(binary).args(arguments).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {arguments:?}: {stderr}");
    stdout.into_owned()
}

/// What `promtool tsdb dump` prints, as the model has it: `{labels} value time` a line.
fn parse_dump(text: &str) -> BTreeMap<String, Samples> {
    let mut series: BTreeMap<String, Samples> = Default::default();
    for line in text.lines() {
        let (labels, rest) = line.split_at(end_of_labels(line));
        let (value, time) = rest.trim().rsplit_once(' ').unwrap();
        let value = match value.strip_prefix("{count:") {
            Some(histogram) => {
                let count = histogram.split([',', '}']).next().unwrap();
                Bits::Histogram(count.parse::<f64>().unwrap() as u64)
            }
            None => Bits::Float(value.replace("+Inf", "inf").parse::<f64>().unwrap().to_bits()),
        };
        series.entry(labels.to_owned()).or_default().insert(time.parse().unwrap(), value);
    }
    series
}

/// Behind the brace that closes the labels, which is not one within quotes.
fn end_of_labels(line: &str) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return at + 1,
            _ => {}
        }
    }
    panic!("no labels in {line}");
}

fn assert_same(theirs: &BTreeMap<String, Samples>, ours: &BTreeMap<String, Samples>) {
    assert_eq!(theirs.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>());
    for (labels, samples) in ours {
        let theirs = &theirs[labels];
        let mut samples = samples.clone();
        if samples.values().all(|value| matches!(value, Bits::Histogram(_))) {
            // promtool asks a series for floats, then for float histograms, then for histograms, and each of the first
            // two questions costs it a sample.
            samples.pop_first();
            samples.pop_first();
        }
        let different = samples.iter().find(|(time, value)| theirs.get(time) != Some(value));
        if let Some((time, value)) = different {
            panic!("{labels} at {time}: {value:?}, theirs {:?}", theirs.get(time));
        }
        assert_eq!(theirs.len(), samples.len(), "{labels}");
    }
}

fn by_text(series: &Series) -> BTreeMap<String, Samples> {
    series.iter().map(|(labels, samples)| (labels.to_string(), samples.clone())).collect()
}

fn directory(root: &Path) -> BlockDirectory {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let options = BlockDirectoryOptions {
        compaction: CompactionOptions::for_retention(RANGE, None),
        retention: Retention::default(),
        block: BlockOptions::default(),
    };
    BlockDirectory::open(&fs, root, options, Ulids::random()).unwrap()
}

fn read_all(directory: &BlockDirectory) -> Series {
    let mut all = Series::new();
    for block in directory.list().iter() {
        add_missing(&mut all, &read_block(block));
    }
    all
}

/// Floats and histograms, strange values and strange labels, two hours of them.
fn some_series(seed: u64, start: i64) -> Series {
    let mut dice = Dice::new(seed);
    let mut series = Series::new();
    for i in 0..80u64 {
        let name = if i % 2 == 0 { "requests_total" } else { "température.celsius" };
        let strange = ["plain", "quo\"te", "back\\slash", "new\nline", "日本", "{brace}"][(i % 6) as usize];
        let pairs = [("__name__", name), ("instance", &format!("host-{i}:9100")), ("kind", strange)];
        let mut samples = Samples::new();
        let mut time = start + dice.below(15_000) as i64;
        while time < start + RANGE {
            let value = match dice.below(40) {
                0 => f64::INFINITY,
                1 => f64::NEG_INFINITY,
                2 => -0.0,
                3 => 1e-300,
                _ => dice.below(100_000) as f64 / 8.0,
            };
            let value = if i % 5 == 4 { Bits::Histogram(dice.below(1_000)) } else { Bits::Float(value.to_bits()) };
            samples.insert(time, value);
            time += 15_000 + if dice.one_in(10) { dice.below(100) as i64 } else { 0 };
        }
        series.insert(Labels::from_pairs(pairs), samples);
    }
    series
}

fn write_block(root: &Path, ulid: Ulid, start: i64, series: &Series) -> BlockMeta {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let meta = BlockMeta::new(ulid, start, start + RANGE);
    let mut writer = BlockWriter::create(&fs, root, meta, BlockOptions::default()).unwrap();
    for (labels, samples) in series {
        let mut chunks = Vec::new();
        encode(&columns(samples), FloatEncoding::Xor, &mut chunks);
        writer.series(labels, chunks.iter().map(Into::into)).unwrap();
    }
    writer.finish().unwrap().unwrap()
}

/// Three blocks, of which a compaction makes one, with a deletion.
fn our_directory(root: &Path) -> BlockDirectory {
    for i in 0..4i64 {
        let start = EPOCH + (i - 3) * RANGE;
        write_block(root, Ulid::from_parts(i as u64, 5), start, &some_series(i as u64, start));
    }
    let directory = directory(root);
    let compacted = directory.compact(Timestamp(EPOCH)).unwrap().unwrap();
    assert_eq!(compacted.plan.blocks.len(), 3);
    let range = TimeRange::new(Timestamp(EPOCH - 9 * RANGE), Timestamp(EPOCH - 2 * RANGE));
    let matcher = ferula_model::Matcher::equal("kind", "plain");
    directory.delete(range, &[matcher]).unwrap();
    // promtool wants a log.
    std::fs::create_dir_all(root.join("wal")).unwrap();
    directory
}

#[test]
fn promtool_reads_blocks_that_we_wrote() {
    let Some(binary) = peer("promtool") else { return };
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let directory = our_directory(root);
    let path = root.to_str().unwrap();
    let list = promtool(&binary, &["tsdb", "list", path]);
    for block in directory.list().iter() {
        let meta = block.meta();
        let line = list.lines().find(|line| line.starts_with(&meta.ulid.to_string())).unwrap();
        let fields: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(
            fields[4..7],
            [meta.stats.num_samples, meta.stats.num_chunks, meta.stats.num_series].map(|n| n.to_string())
        );
        let analysis = promtool(&binary, &["tsdb", "analyze", path, &meta.ulid.to_string()]);
        assert!(analysis.contains(&format!("Total Series: {}", meta.stats.num_series)), "{analysis}");
        assert!(analysis.contains("Label names: 3"), "{analysis}");
    }
    let dumped = parse_dump(&promtool(&binary, &["tsdb", "dump", path]));
    assert_same(&dumped, &by_text(&read_all(&directory)));
    assert!(verify(&(Arc::new(RealFs) as Arc<dyn Fs>), root).unwrap().is_sound());
}

#[test]
fn we_read_blocks_that_promtool_wrote() {
    let Some(binary) = peer("promtool") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (file, root) = (folder.path().join("metrics.om"), folder.path().join("data"));
    let mut text = String::from("# TYPE temperature gauge\n");
    let mut dice = Dice::new(1);
    for i in 0..30 {
        for minute in 0..600i64 {
            let seconds = EPOCH / 1000 + minute * 60;
            text += &format!("temperature{{room=\"r{i}\",side=\"é\"}} {} {seconds}\n", dice.below(1_000) as f64 / 16.0);
        }
    }
    text += "# EOF\n";
    std::fs::write(&file, text).unwrap();
    promtool(&binary, &["tsdb", "create-blocks-from", "openmetrics", file.to_str().unwrap(), root.to_str().unwrap()]);
    std::fs::create_dir_all(root.join("wal")).unwrap();
    let theirs = parse_dump(&promtool(&binary, &["tsdb", "dump", root.to_str().unwrap()]));
    let directory = directory(&root);
    assert!(directory.list().len() >= 5 && directory.quarantined().is_empty());
    assert_same(&theirs, &by_text(&read_all(&directory)));
    assert_eq!(theirs.values().map(|samples| samples.len()).sum::<usize>(), 18_000);
    let report = verify(&(Arc::new(RealFs) as Arc<dyn Fs>), &root).unwrap();
    assert!(report.is_sound(), "{report}");
    no_larger_than_theirs(&directory);
}

/// Writes the same content anew and compares sizes, file by file.
fn no_larger_than_theirs(directory: &BlockDirectory) {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let folder = tempfile::tempdir().unwrap();
    for block in directory.list().iter() {
        let old = block.meta();
        let meta = BlockMeta::new(old.ulid, old.min_time, old.max_time);
        let mut writer = BlockWriter::create(&fs, folder.path(), meta, BlockOptions::default()).unwrap();
        for (labels, samples) in read_block(block) {
            let mut chunks = Vec::new();
            encode(&columns(&samples), FloatEncoding::Xor, &mut chunks);
            writer.series(&labels, chunks.iter().map(Into::into)).unwrap();
        }
        writer.finish().unwrap().unwrap();
        let ours = Block::open(&fs, &folder.path().join(old.ulid.to_string())).unwrap();
        assert!(ours.index().file_bytes() <= block.index().file_bytes(), "index");
        assert!(ours.file_bytes() <= block.file_bytes() + 64, "{} > {}", ours.file_bytes(), block.file_bytes());
    }
}

#[test]
fn we_read_a_snapshot_of_the_real_server() {
    let (Some(binary), Some(tool)) = (peer("prometheus"), peer("promtool")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&binary, folder.path(), "", &[]);
    let mut written = Series::new();
    for i in 0..3 {
        let start = EPOCH + i * RANGE;
        let series = some_series(i as u64 + 20, start);
        server.write(&as_written(&series));
        add_missing(&mut written, &series);
    }
    let answer = server.request("POST", "/api/v1/admin/tsdb/snapshot", &[], &[]).unwrap();
    let name = answer.split('"').rev().nth(1).unwrap();
    let snapshot = folder.path().join("data/snapshots").join(name);
    drop(server);
    let directory = directory(&snapshot);
    assert!(!directory.list().is_empty() && directory.quarantined().is_empty());
    let ours = read_all(&directory);
    assert!(ours == written, "what was written is read");
    let report = verify(&(Arc::new(RealFs) as Arc<dyn Fs>), &snapshot).unwrap();
    assert!(report.is_sound(), "{report}");
    std::fs::create_dir_all(snapshot.join("wal")).unwrap();
    let dumped = parse_dump(&promtool(&tool, &["tsdb", "dump", snapshot.to_str().unwrap()]));
    assert_same(&dumped, &by_text(&ours));
    no_larger_than_theirs(&directory);
}

#[test]
fn the_real_server_answers_from_blocks_that_we_wrote() {
    let Some(binary) = peer("prometheus") else { return };
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    std::fs::create_dir_all(&root).unwrap();
    let directory = our_directory(&root);
    let model = read_all(&directory);
    drop(directory);
    let server = Server::start(&binary, folder.path(), "", &[]);
    for name in ["requests_total", "température.celsius"] {
        let of_name = model.iter().filter(|(labels, _)| labels.metric_name() == name);
        let count: usize = of_name.map(|(_, samples)| samples.len()).sum();
        let query = format!("sum(count_over_time({{\"{name}\"}}[1w]))");
        let query: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let path = format!("/api/v1/query?query={query}&time={}", (EPOCH + RANGE) / 1000);
        let answer = server.request("GET", &path, &[], &[]).unwrap();
        assert!(answer.contains(&format!(",\"{count}\"]")), "{name}: {count} samples, {answer}");
    }
}
