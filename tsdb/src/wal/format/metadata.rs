//! Type, unit and help of series.

use ferula_model::{Metadata, MetricType};

use super::bytes::{put_string, put_uvarint};
use super::{RecordError, RecordType, open};

/// Appends one item of a metadata record. The record begins with the byte of [`RecordType::Metadata`].
pub fn put_metadata(out: &mut Vec<u8>, series: u64, metadata: &Metadata) {
    put_uvarint(out, series);
    out.push(match metadata.metric_type {
        MetricType::Unknown => 0,
        MetricType::Counter => 1,
        MetricType::Gauge => 2,
        MetricType::Histogram => 3,
        MetricType::GaugeHistogram => 4,
        MetricType::Summary => 5,
        MetricType::Info => 6,
        MetricType::StateSet => 7,
    });
    put_uvarint(out, 2);
    for text in ["UNIT", &metadata.unit, "HELP", &metadata.help] {
        put_string(out, text);
    }
}

/// Hands out the items of a metadata record. Fields that this version does not know are skipped.
///
/// # Errors
///
/// See [`RecordError`].
pub fn read_metadata(record: &[u8], mut each: impl FnMut(u64, Metadata)) -> Result<(), RecordError> {
    let mut bytes = open(record, &[RecordType::Metadata])?;
    while !bytes.is_empty() {
        let series = bytes.uvarint()?;
        let metric_type = match bytes.byte()? {
            1 => MetricType::Counter,
            2 => MetricType::Gauge,
            3 => MetricType::Histogram,
            4 => MetricType::GaugeHistogram,
            5 => MetricType::Summary,
            6 => MetricType::Info,
            7 => MetricType::StateSet,
            _ => MetricType::Unknown,
        };
        let mut metadata = Metadata { metric_type, ..Metadata::default() };
        for _ in 0..bytes.count(2)? {
            match (bytes.str()?, bytes.str()?) {
                ("UNIT", unit) => metadata.unit = unit.to_owned(),
                ("HELP", help) => metadata.help = help.to_owned(),
                _ => {}
            }
        }
        each(series, metadata);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn metadata_skips_fields_of_later_versions() {
        let metadata = Metadata { metric_type: MetricType::Summary, unit: "s".into(), help: "h".into() };
        let mut record = vec![RecordType::Metadata as u8, 3, 5, 3];
        for text in ["NEW", "x", "UNIT", "s", "HELP", "h"] {
            put_string(&mut record, text);
        }
        put_metadata(&mut record, 300, &metadata);
        let mut got = Vec::new();
        read_metadata(&record, |series, metadata| got.push((series, metadata))).unwrap();
        assert_eq!(got, [(3, metadata.clone()), (300, metadata)]);
    }
}
