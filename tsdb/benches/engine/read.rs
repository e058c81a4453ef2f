//! The read path: bulk decoding, then select and read.

use ferula_model::{Appendable, Columns, Matcher, Queryable, SelectHints, TimeRange, Timestamp};
use ferula_tsdb::Db;
use ferula_tsdb::chunk::xor::{self, XorAppender};

use super::cpu;
use super::workload::{Host, PER_HOST};

/// Samples in a chunk.
const CHUNK: u64 = 120;

pub(crate) fn run(series: usize, samples: usize) {
    decode();
    let dir = tempfile::tempdir().unwrap();
    let db = Db::builder(dir.path()).open().unwrap();
    let hosts: Vec<Host> = (0..series.div_ceil(PER_HOST) as u64).map(Host::new).collect();
    let mut pairs = Vec::new();
    for step in 0..samples as u64 {
        let mut appender = db.appender();
        for host in &hosts {
            for at in 0..PER_HOST {
                host.labels(at, &mut pairs);
                let id = appender.series(&pairs).unwrap();
                appender.append_float(id, Timestamp(host.time(step)), host.value(at, step)).unwrap();
            }
        }
        appender.commit().unwrap();
    }
    read("head", &db);
}

fn read(place: &str, db: &Db) {
    let mut columns = Columns::default();
    for round in 0..2 {
        let begun = cpu();
        let querier = db.querier(TimeRange::ALL).unwrap();
        let found = querier.select(&SelectHints::default(), &[Matcher::equal("region", "eu-west-1")]).unwrap();
        let selected = cpu();
        let labels: usize = (0..found.len()).map(|at| found.labels(at).len()).sum();
        let labelled = cpu();
        let mut samples = 0;
        for at in 0..found.len() {
            columns.clear();
            found.read(at, TimeRange::ALL, &mut columns).unwrap();
            samples += columns.times.len();
        }
        let done = cpu();
        let each = |seconds: f64| seconds / found.len() as f64 * 1e9;
        println!(
            "{place}, round {round}: {} series: select {:.0} ns a series, labels {:.0} ns a series ({labels}), read {:.2} ns a sample ({samples})",
            found.len(),
            each(selected - begun),
            each(labelled - selected),
            (done - labelled) / samples as f64 * 1e9
        );
    }
}

/// Decodes one chunk of each series of a host, again and again.
fn decode() {
    let host = Host::new(7);
    let mut kinds = vec![Vec::new(); 10];
    for series in 0..PER_HOST {
        let (mut bytes, mut appender) = (Vec::new(), XorAppender::default());
        (0..CHUNK).for_each(|step| appender.append(&mut bytes, host.time(step), host.value(series, step)));
        kinds[series % 10].push(bytes);
    }
    let mut columns = Columns::default();
    for (kind, name) in [(0, "counters"), (4, "decimals"), (6, "bytes"), (8, "gauges"), (9, "constants")] {
        let begun = cpu();
        let mut samples = 0;
        for _ in 0..100 {
            for chunk in &kinds[kind] {
                columns.clear();
                xor::decode(chunk, TimeRange::ALL, &mut columns).unwrap();
                samples += columns.times.len();
            }
        }
        let bytes: usize = kinds[kind].iter().map(Vec::len).sum();
        println!(
            "decode xor, {name}: {:.2} ns a sample, {:.2} B a sample",
            (cpu() - begun) / samples as f64 * 1e9,
            bytes as f64 / (kinds[kind].len() as u64 * CHUNK) as f64
        );
    }
}
