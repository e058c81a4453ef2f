//! What must hold for every body. The fuzz targets look for bodies for which it does not; the corpora that they found are
//! replayed with the tests.

use std::collections::BTreeSet;

use ferula_exposition::{
    EncodeOptions, Event, Format, LabelBuffer, ParseError, ParseLimits, ParseOptions, Parser, encode_with, lint,
    read_families,
};

/// Reading ends well whatever the options, the strict reading accepts nothing else, what is known is read as what is new,
/// and what is written is what was read. The first two bytes are the options.
pub(crate) fn body(format: Format, data: &[u8]) {
    let [first, second, body @ ..] = data else { return };
    let bit = |at: u8| first & (1 << at) != 0;
    let options = ParseOptions {
        strict: bit(0),
        start_timestamps: bit(1),
        native_histograms: bit(2),
        keep_classic_histograms: bit(3),
        convert_classic_histograms: bit(4),
        type_and_unit_labels: bit(5),
        limits: match second {
            0..=199 => ParseLimits::default(),
            limit => ParseLimits { body_bytes: 200, line_bytes: usize::from(*limit) - 150, labels: 3 },
        },
    };
    let accepted = told(body, format, &options).is_ok();
    let lenient = ParseOptions { strict: false, ..options.clone() };
    // Timestamps before 1970 are in the specification of the text format, but Prometheus refuses them.
    if accepted && options.strict && format != Format::Text {
        assert!(told(body, format, &lenient).is_ok(), "strict reading accepts what lenient reading does not");
    }
    known_is_read_as_new(body, format, &lenient);
    written_is_read(body, format);
}

/// Takes each sample as known where that works: everything must come out as if it were new.
fn known_is_read_as_new(body: &[u8], format: Format, options: &ParseOptions) {
    let mut keys = Vec::new();
    let mut parser = Parser::new(body, format, options);
    while let Some(Ok(event)) = parser.next() {
        if let Event::Sample(sample) = event {
            keys.push((sample.key.to_vec(), sample.value.to_bits(), sample.timestamp));
        }
    }
    let mut parser = Parser::new(body, format, options);
    for (at, (key, value, timestamp)) in keys.iter().enumerate() {
        let before = parser.position();
        match parser.next_known(key) {
            Some((known, time)) => {
                assert_eq!((known.to_bits(), time), (*value, *timestamp));
                if at % 3 != 0 {
                    continue;
                }
                parser.unread_known();
                assert_eq!(parser.position(), before);
            }
            None => assert_eq!(parser.position(), before),
        }
        loop {
            match parser.next() {
                Some(Ok(Event::Sample(sample))) => {
                    assert_eq!((sample.key, sample.value.to_bits()), (key.as_slice(), *value));
                    break;
                }
                Some(Ok(_)) => {}
                other => panic!("sample {at} is gone: {other:?}"),
            }
        }
    }
}

/// Reads a body into families and writes them again: the samples are the same, and so are the bytes from then on.
fn written_is_read(body: &[u8], format: Format) {
    // Where a histogram is native and classic at once, the two may contradict each other: one of them is read.
    let options = ParseOptions { native_histograms: true, ..ParseOptions::default() };
    let Ok(families) = read_families(body, format, &options) else { return };
    lint(&families);
    let write = |families| {
        let mut out = Vec::new();
        encode_with(families, format, &EncodeOptions::default(), &mut out);
        out
    };
    let before = distinct_samples(body, format, &options);
    let first = write(&families);
    let again = read_families(&first, format, &options)
        .unwrap_or_else(|error| panic!("{}\nin {}", error.drawn(), String::from_utf8_lossy(&first)));
    // Where a series is there twice, metrics run into each other.
    let Some(before) = before else { return };
    let second = write(&again);
    assert_eq!(String::from_utf8_lossy(&first), String::from_utf8_lossy(&second));
    let Some(after) = distinct_samples(&first, format, &options) else {
        // The last bucket that a histogram was given can be there twice: as another family's, too.
        assert!(before.iter().any(|sample| sample.contains("le=\"+Inf\"")), "what was distinct stays so");
        return;
    };
    let lost: Vec<_> = before.difference(&after).collect();
    assert!(lost.is_empty(), "lost {lost:#?} of {after:#?} in {}", String::from_utf8_lossy(&first));
    // A histogram that lacks its last bucket, or its count and sum in protobuf, is given them.
    let made = |sample: &&String| !sample.contains("le=\"+Inf\"") && format != Format::Protobuf;
    let new: Vec<_> = after.difference(&before).filter(made).collect();
    assert!(new.is_empty(), "new {new:#?} in {}", String::from_utf8_lossy(&first));
}

/// The samples in words without their exemplars; `None` if two are of one series and time, or one is of no series.
fn distinct_samples(body: &[u8], format: Format, options: &ParseOptions) -> Option<BTreeSet<String>> {
    let mut parser = Parser::new(body, format, options);
    let (mut samples, mut series) = (BTreeSet::new(), BTreeSet::new());
    let mut labels = LabelBuffer::default();
    while let Some(event) = parser.next() {
        let (value, timestamp) = match event.ok()? {
            Event::Sample(sample) => {
                sample.labels(&mut labels);
                // Zero is written without its sign.
                (format!("{:?}", sample.value + 0.0), sample.timestamp)
            }
            Event::Histogram(histogram) => {
                histogram.labels(&mut labels);
                (format!("{:?}", histogram.histogram), histogram.timestamp)
            }
            _ => continue,
        };
        let name = labels.to_labels().to_string();
        // A native histogram and the count of a classic one are the same metric.
        let is_new = series.insert((name.replacen("_count\"", "\"", 1), timestamp));
        // No label has an empty name; a scraper refuses it later.
        let nameless = labels.iter().any(|(name, _)| name.is_empty());
        if !is_new || nameless || labels.duplicate().is_some() {
            return None;
        }
        samples.insert(format!("{name} {value} at {timestamp:?}"));
    }
    Some(samples)
}

/// Every event of a body in words, one a line.
pub(crate) fn told(body: &[u8], format: Format, options: &ParseOptions) -> Result<Vec<String>, ParseError> {
    told_with(body, format, options, true)
}

/// The same, and whether labels without a value, which are absent ones, are told too.
pub(crate) fn told_with(
    body: &[u8],
    format: Format,
    options: &ParseOptions,
    empty: bool,
) -> Result<Vec<String>, ParseError> {
    let pairs = |labels: &LabelBuffer| {
        let pairs = labels.iter().filter(|(_, value)| empty || !value.is_empty());
        pairs.map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>().join(",")
    };
    let mut parser = Parser::new(body, format, options);
    let mut told = Vec::new();
    let mut labels = LabelBuffer::default();
    while let Some(event) = parser.next() {
        told.push(match event? {
            Event::Help { family, text } => format!("help {family} {text:?}"),
            Event::Type { family, metric_type } => format!("type {family} {}", metric_type.as_str()),
            Event::Unit { family, unit } => format!("unit {family} {unit:?}"),
            Event::Comment(text) => format!("comment {}", String::from_utf8_lossy(text)),
            Event::Sample(sample) => {
                sample.labels(&mut labels);
                let mut line = format!("{} {:?}", pairs(&labels), sample.value);
                if let Some(at) = sample.timestamp {
                    line += &format!(" at {}", at.0);
                }
                if let Some(start) = sample.start {
                    line += &format!(" since {}", start.0);
                }
                if let Some(exemplar) = sample.exemplar {
                    let exemplar = exemplar.to_exemplar();
                    line += &format!(" exemplar {} {:?}", exemplar.labels, exemplar.value);
                    if let Some(at) = exemplar.timestamp {
                        line += &format!(" at {}", at.0);
                    }
                }
                line
            }
            Event::Histogram(histogram) => {
                histogram.labels(&mut labels);
                format!("{} {:?} {:?}", pairs(&labels), histogram.histogram, histogram.exemplars)
            }
            other => format!("{other:?}"),
        });
    }
    Ok(told)
}
