//! The Prometheus text format: what is accepted, what is not, and what it means.

use ferula_exposition::{Event, Format, ParseLimits, ParseOptions, Parser};

use crate::told;

fn lenient(body: &str) -> Vec<String> {
    told(body.as_bytes(), Format::Text, &ParseOptions::default()).unwrap_or_else(|e| panic!("{}", e.drawn()))
}

fn refused(body: &[u8], strict: bool) -> String {
    let options = ParseOptions { strict, ..ParseOptions::default() };
    told(body, Format::Text, &options).expect_err("the body should be refused").to_string()
}

#[test]
fn every_form_of_line_is_read() {
    let body = "# HELP a help \\\\ with \\n and \\\" \n# TYPE a counter\n# a comment\n#another\n\n\
         a 1\na{} 2\n \ta { b = \"c\" , d=\"\", } \t3 \t 123 \n{\"a.b\",c=\"d\"} 4\n{x=\"y\",\"a.b\"} 5\n\
         a{\"l.l\"=\"q\\\"\\\\\\n\\z\"} +Inf\n# HELP \"u.f\"\n# TYPE \"u.f\" gauge\nb NaN 0";
    let expected = [
        "help a \"help \\\\ with \\n and \\\\\\\" \"",
        "type a counter",
        "comment # a comment",
        "comment #another",
        "__name__=\"a\" 1.0",
        "__name__=\"a\" 2.0",
        "__name__=\"a\",b=\"c\",d=\"\" 3.0 at 123",
        "__name__=\"a.b\",c=\"d\" 4.0",
        "__name__=\"a.b\",x=\"y\" 5.0",
        "__name__=\"a\",l.l=\"q\\\"\\\\\\n\\\\z\" inf",
        "help u.f \"\"",
        "type u.f gauge",
        "__name__=\"b\" NaN at 0",
    ];
    assert_eq!(lenient(body), expected);
}

#[test]
fn bounds_are_laid_out_as_openmetrics_does_after_a_matching_type_line() {
    let body = "# TYPE h histogram\nh{le=\"1\",q=\"1\"} 1\nh{le=\"1e6\"} 1\nh{le=\"+Inf\"} 1\nh{le=\"x\"} 1\n\
         # TYPE s summary\ns{quantile=\"0\",le=\"1\"} 1\n# TYPE g gauge\ng{le=\"1\"} 1\n";
    let samples: Vec<_> = lenient(body).into_iter().filter(|line| !line.starts_with("type")).collect();
    let expected = [
        "__name__=\"h\",le=\"1.0\",q=\"1\" 1.0",
        "__name__=\"h\",le=\"1e+06\" 1.0",
        "__name__=\"h\",le=\"+Inf\" 1.0",
        "__name__=\"h\",le=\"x\" 1.0",
        "__name__=\"s\",le=\"1\",quantile=\"0.0\" 1.0",
        "__name__=\"g\",le=\"1\" 1.0",
    ];
    assert_eq!(samples, expected);
}

#[test]
fn the_oddities_of_prometheus_are_kept() {
    assert_eq!(lenient("a{b=\"1\"c=\"2\"}3\n"), ["__name__=\"a\",b=\"1\",c=\"2\" 3.0"], "no comma, no blank");
    assert_eq!(lenient("a{b=\"x\ny\"} 1\n"), ["__name__=\"a\",b=\"x\\ny\" 1.0"], "raw newline in a value");
    assert_eq!(lenient("a 1\n\0 anything{"), ["__name__=\"a\" 1.0"], "NUL ends the input");
    assert_eq!(lenient("# HELP\n# TYPES\n#HELP x\n").len(), 3, "not quite metadata is a comment");
    assert_eq!(lenient("a+5\n"), ["__name__=\"a\" 5.0"], "the value may touch the name");
    assert_eq!(lenient("a{b=\"\0\"} 1\n"), ["__name__=\"a\",b=\"\\0\" 1.0"]);
}

#[test]
fn wrong_lines_say_where_and_why() {
    for (body, why) in [
        (&b"a\n"[..], "line 1, column 2: expected a value, found end of line"),
        (b"a 1\nb{\n", "line 2, column 3: expected a label name or a closing brace, found end of line"),
        (b"a{b} 1\n", "line 1, column 4: expected an equals sign, found \"}\""),
        (b"a{b=c} 1\n", "line 1, column 5: expected a quoted label value, found \"c\""),
        (b"a{b=\"c\n", "line 2, column 1: expected a closing quote, found end of body"),
        (b"a 1 -1\n", "line 1, column 5: expected a timestamp or the end of the line, found \"-\""),
        (b"a 1 1 1\n", "line 1, column 7: expected the end of the line, found \"1\""),
        (b"a 1 9223372036854775808\n", "line 1, column 5: timestamp \"9223372036854775808\": value out of range"),
        (b"a 1_0\n", "line 1, column 3: value \"1_0\": unsupported character in float"),
        (b"a 1e999\n", "line 1, column 3: value \"1e999\": value out of range"),
        (b"a x\n", "line 1, column 3: value \"x\": invalid syntax"),
        (b"{b=\"c\"} 1\n", "line 1, column 1: metric name not set"),
        (b"{\"a\",\"b\"} 1\n", "line 1, column 7: metric name already set"),
        (b"a{\"b\"} 1\n", "line 1, column 4: metric name already set"),
        (b"a{b=\"\xff\"} 1\n", "line 1, column 6: label value is not valid UTF-8"),
        (b"# HELP a \xff\n", "line 1, column 10: help text is not valid UTF-8"),
        (b"# TYPE a thing\n", "line 1, column 10: invalid metric type \"thing\""),
        (b"# TYPE a\n", "line 1, column 9: invalid metric type \"\""),
        (b"# HELP 9\n", "line 1, column 8: expected a metric name, found \"9\""),
        (b"9 1\n", "line 1, column 1: expected a metric name, a comment or an opening brace, found \"9\""),
    ] {
        assert_eq!(refused(body, false), why, "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn strict_reading_refuses_what_the_specification_forbids() {
    for (body, why) in [
        ("a 1", "the last line does not end with a newline"),
        ("a 1\na 2\n", "series repeated"),
        ("a{b=\"1\",b=\"2\"} 1\n", "label \"b\" repeated"),
        ("a{b=\"1\"c=\"2\"} 1\n", "expected a comma or a closing brace, found \"c\""),
        ("a{b=\"\\z\"} 1\n", "unknown escape"),
        ("a 1\nb 1\na{x=\"y\"} 1\n", "lines of \"a\" are not in one group"),
        ("# TYPE a gauge\n# TYPE a gauge\n", "metadata of \"a\" repeated"),
        ("a 1\n# TYPE a gauge\n", "metadata of \"a\" after its samples"),
        ("# TYPE a histogram\na_bucket{le=\"1\"} 1\na_count 1\n", "histogram \"a\" has no +Inf bucket"),
        ("# TYPE a histogram\na_bucket{le=\"+Inf\"} 2\na_count 1\n", "+Inf bucket of \"a\" is not its count"),
        ("# TYPE a histogram\na_bucket{le=\"2\"} 1\na_bucket{le=\"1\"} 1\n", "buckets do not rise"),
        ("# TYPE a summary\na 1\n", "a summary needs a label quantile between 0 and 1"),
    ] {
        let said = refused(body.as_bytes(), true);
        assert!(said.ends_with(why), "{body:?}: {said}");
    }
    let fine =
        "# HELP a b\n# TYPE a histogram\na_bucket{le=\"1\",} 1\na_bucket{le=\"+Inf\"} 2 -5\na_sum 1\na_count 2\n";
    let options = ParseOptions { strict: true, ..ParseOptions::default() };
    assert_eq!(told(fine.as_bytes(), Format::Text, &options).map(|events| events.len()), Ok(6));
}

#[test]
fn limits_refuse_the_body() {
    let limits = ParseLimits { labels: 1, ..ParseLimits::default() };
    let options = ParseOptions { limits, ..ParseOptions::default() };
    let error = told(b"a{b=\"1\",c=\"2\"} 1\n", Format::Text, &options).unwrap_err();
    assert_eq!(error.to_string(), "line 1, column 11: series exceeds the limit of 1 labels");
    let limits = ParseLimits { line_bytes: 8, ..ParseLimits::default() };
    let options = ParseOptions { limits, ..ParseOptions::default() };
    for body in ["short 1\nlonger_name 1\n", "short 1\n# longer comment\n", "short 1\n# HELP a longer text\n"] {
        let error = told(body.as_bytes(), Format::Text, &options).unwrap_err();
        assert_eq!(error.to_string(), "line 2, column 1: line exceeds the limit of 8 bytes");
    }
    let limits = ParseLimits { body_bytes: 8, ..ParseLimits::default() };
    let options = ParseOptions { limits, ..ParseOptions::default() };
    let error = told(b"a_metric 1\n", Format::Text, &options).unwrap_err();
    assert_eq!(error.to_string(), "line 1, column 1: body of 11 bytes exceeds the limit of 8");
}

#[test]
fn known_keys_are_taken_without_parsing_them() {
    let body = b"# TYPE a counter\na{b=\"c\"} 1\na 2 7\nab 3\na {x=\"y\"} 4\n";
    let mut parser = Parser::new(body, Format::Text, &ParseOptions::default());
    assert!(!parser.skip_known(17, Default::default(), |lines| lines == b"# TYPE b counter\n"));
    assert!(!parser.skip_known(1000, Default::default(), |_| true));
    assert!(parser.skip_known(17, ferula_model::MetricType::Counter, |lines| lines == b"# TYPE a counter\n"));
    assert_eq!(parser.next_known(b"a{b=\"d\"}"), None);
    assert_eq!(parser.next_known(b"a{b=\"c\"}"), Some((1.0, None)));
    assert_eq!(parser.next_known(b"a"), Some((2.0, Some(ferula_model::Timestamp(7)))));
    parser.unread_known();
    assert!(matches!(parser.next(), Some(Ok(Event::Sample(sample))) if sample.key == b"a" && sample.value == 2.0));
    parser.unread_known();
    assert_eq!(parser.next_known(b"a"), None, "the name goes on");
    assert!(matches!(parser.next(), Some(Ok(Event::Sample(sample))) if sample.key == b"ab"));
    assert_eq!(parser.next_known(b"a"), None, "the labels are still to come");
    assert!(matches!(parser.next(), Some(Ok(Event::Sample(sample))) if sample.key == b"a {x=\"y\"}"));
    assert!(parser.next().is_none());
}
