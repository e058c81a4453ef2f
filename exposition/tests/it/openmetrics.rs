//! OpenMetrics text as Prometheus reads it.

use ferula_exposition::{Format, ParseOptions};

use crate::told;

fn lenient(body: &str) -> Vec<String> {
    told(body.as_bytes(), Format::OpenMetrics, &ParseOptions::default()).unwrap_or_else(|e| panic!("{}", e.drawn()))
}

#[test]
fn every_form_of_line_is_read() {
    let body = "# TYPE a_s counter\n# HELP a_s with \\\\ \\n \\\"\n# UNIT a_s s\n\
         a_s_total{b=\"c\",} 1.5 1.2345 # {trace=\"x y\",\"q.q\"=\"\\\"\"} 0.5 -3.25\n\
         a_s_total 1 # {} 2\n{\"x.y\",b=\"c\"} NaN 1e3\n# TYPE \"x.y\" unknown\n# EOF";
    let expected = [
        "type a_s counter",
        "help a_s \"with \\\\ \\n \\\"\"",
        "unit a_s \"s\"",
        "__name__=\"a_s_total\",b=\"c\" 1.5 at 1234 exemplar {\"q.q\"=\"\\\"\", trace=\"x y\"} 0.5 at -3250",
        "__name__=\"a_s_total\" 1.0 exemplar {} 2.0",
        "__name__=\"x.y\",b=\"c\" NaN at 1000000",
        "type x.y unknown",
    ];
    assert_eq!(lenient(body), expected);
}

#[test]
fn created_lines_become_start_timestamps() {
    let body = "# TYPE c counter\nc_total{a=\"1\"} 1\nc_created{a=\"1\"} 5.5\nc_created{a=\"2\"} 6\nc_total{a=\"2\"} 2\n\
         c_total{a=\"3\"} 3\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_count 1\nh_sum 1\n\
         h_created 7\n# TYPE g gauge\ng_created 8\n# EOF\n";
    let with = ParseOptions { start_timestamps: true, ..ParseOptions::default() };
    let told_with = told(body.as_bytes(), Format::OpenMetrics, &with).unwrap();
    let samples: Vec<_> = told_with.iter().filter(|line| line.starts_with("__name__")).collect();
    let expected = [
        "__name__=\"c_total\",a=\"1\" 1.0 since 5500",
        "__name__=\"c_total\",a=\"2\" 2.0 since 6000",
        "__name__=\"c_total\",a=\"3\" 3.0",
        "__name__=\"h_bucket\",le=\"1.0\" 1.0 since 7000",
        "__name__=\"h_bucket\",le=\"+Inf\" 1.0 since 7000",
        "__name__=\"h_count\" 1.0 since 7000",
        "__name__=\"h_sum\" 1.0 since 7000",
        "__name__=\"g_created\" 8.0",
    ];
    assert_eq!(samples, expected);
    assert!(lenient(body).contains(&"__name__=\"c_created\",a=\"1\" 5.5".to_owned()));
}

#[test]
fn wrong_lines_say_where_and_why() {
    for (body, why) in [
        ("a 1\n", "line 2, column 1: data does not end with # EOF"),
        ("a 1", "line 1, column 4: data does not end with # EOF"),
        ("a 1\n# EOF\nb", "line 2, column 6: unexpected data after # EOF"),
        ("\n# EOF\n", "line 1, column 1: expected a metric name, metadata or an opening brace, found end of line"),
        ("# a comment\n# EOF\n", "line 1, column 2: expected HELP, TYPE, UNIT or EOF, found \" \""),
        ("a  1\n# EOF\n", "line 1, column 3: expected value, found \" \""),
        ("a\t1\n# EOF\n", "line 1, column 2: expected a blank and a value, found \"\\t\""),
        ("a 1 \n# EOF\n", "line 1, column 5: expected timestamp, found end of line"),
        ("a 1 Inf\n# EOF\n", "line 1, column 5: timestamp \"Inf\": value out of range"),
        ("a{b=\"c\"d=\"e\"} 1\n# EOF\n", "line 1, column 8: expected a comma or a closing brace, found \"d\""),
        ("a{ b=\"c\"} 1\n# EOF\n", "line 1, column 3: expected a label name or a closing brace, found \" \""),
        ("a{b=\"c\nd\"} 1\n# EOF\n", "line 1, column 7: expected a closing quote, found end of line"),
        ("a 1 # {\"b\"} 1\n# EOF\n", "line 1, column 11: expected an equals sign, found \"}\""),
        ("# TYPE a untyped\n# EOF\n", "line 1, column 10: invalid metric type \"untyped\""),
        ("# UNIT a_s m\n# EOF\n", "line 1, column 12: unit \"m\" not a suffix of metric \"a_s\""),
    ] {
        let error = told(body.as_bytes(), Format::OpenMetrics, &ParseOptions::default()).unwrap_err();
        assert_eq!(error.to_string(), why, "{body:?}");
    }
}

/// One rule of the specification a line: what it says, a body that keeps it, a body that breaks it.
const RULES: &[(&str, &str, &str)] = &[
    ("nothing follows # EOF", "a 1\n", "a 1\n# EOF\nb 1\n"),
    ("no blank lines", "a 1\n", "a 1\n\n"),
    ("no comments", "# HELP a b\n", "# a b\n"),
    ("a single blank between tokens", "a 1 2\n", "a 1  2\n"),
    ("no blank at the end", "a 1\n", "a 1 \n"),
    ("no carriage return", "a 1\n", "a 1\r\n"),
    ("no blank inside braces", "a{b=\"1\",c=\"2\"} 1\n", "a{b=\"1\", c=\"2\"} 1\n"),
    ("no comma behind the last label", "a{b=\"1\"} 1\n", "a{b=\"1\",} 1\n"),
    ("a blank before the value", "a{b=\"1\"} 1\n", "a{b=\"1\"}1\n"),
    ("label names are unique", "a{b=\"1\",c=\"1\"} 1\n", "a{b=\"1\",b=\"1\"} 1\n"),
    ("label names that begin with __ are reserved", "a{_b=\"1\"} 1\n", "a{__b=\"1\"} 1\n"),
    ("label names have no colon", "a:b{c=\"1\"} 1\n", "a{b:c=\"1\"} 1\n"),
    ("names do not begin with a digit", "a9 1\n", "9a 1\n"),
    ("names are not empty", "{\"a b\"} 1\n", "{\"\"} 1\n"),
    ("a newline in a value is escaped", "a{b=\"\\n\"} 1\n", "a{b=\"\n\"} 1\n"),
    ("numbers are decimal", "a 1.5e-3\n", "a 0x1p-3\n"),
    ("numbers have no separators", "a 1000\n", "a 1_000\n"),
    ("not a number has no sign", "a NaN\n", "a -NaN\n"),
    ("timestamps are real numbers", "a 1 1.5e3\n", "a 1 Inf\n"),
    ("types are those of the list", "# TYPE a unknown\n", "# TYPE a untyped\n"),
    ("keywords are upper case", "# TYPE a gauge\n", "# type a gauge\n"),
    ("TYPE at most once", "# TYPE a gauge\n# HELP a b\n", "# TYPE a gauge\n# TYPE a gauge\n"),
    ("HELP at most once", "# HELP a b\n", "# HELP a b\n# HELP a b\n"),
    ("UNIT at most once", "# UNIT a_s s\n", "# UNIT a_s s\n# UNIT a_s s\n"),
    ("metadata before the samples", "# HELP a b\na 1\n", "a 1\n# HELP a b\n"),
    ("the name ends with the unit", "# UNIT a_s s\n", "# UNIT a_s m\n"),
    ("infos have no unit", "# TYPE a_s gauge\n# UNIT a_s s\n", "# TYPE a_s info\n# UNIT a_s s\n"),
    ("state sets have no unit", "# TYPE a_s gauge\n# UNIT a_s s\n", "# TYPE a_s stateset\n# UNIT a_s s\n"),
    ("families are not interleaved", "a{b=\"1\"} 1\na 1\nc 1\n", "a 1\nc 1\na{b=\"1\"} 1\n"),
    (
        "families do not share names",
        "# TYPE a counter\n# TYPE b_total gauge\n",
        "# TYPE a counter\n# TYPE a_total gauge\n",
    ),
    ("nor created series", "# TYPE a counter\n# TYPE b gauge\n", "# TYPE a_created gauge\n# TYPE a counter\n"),
    ("a counter's total has its suffix", "# TYPE a counter\na_total 1\n", "# TYPE a counter\na_total 1\na 1\n"),
    ("a total does not fall below zero", "# TYPE a counter\na_total 0\n", "# TYPE a counter\na_total -1\n"),
    ("a total is a number", "# TYPE a counter\na_total +Inf\n", "# TYPE a counter\na_total NaN\n"),
    ("an info is one", "# TYPE a info\na_info{b=\"1\"} 1\n", "# TYPE a info\na_info{b=\"1\"} 2\n"),
    ("a state is named by the set", "# TYPE a stateset\na{a=\"x\"} 1\n", "# TYPE a stateset\na{b=\"x\"} 1\n"),
    ("a state holds or does not", "# TYPE a stateset\na{a=\"x\"} 0\n", "# TYPE a stateset\na{a=\"x\"} 0.5\n"),
    (
        "quantiles are between 0 and 1",
        "# TYPE a summary\na{quantile=\"1\"} 1\n",
        "# TYPE a summary\na{quantile=\"1.01\"} 1\n",
    ),
    ("a summary's sum is not negative", "# TYPE a summary\na_sum 1\n", "# TYPE a summary\na_sum -1\n"),
    ("counts are whole", "# TYPE a summary\na_count 1\n", "# TYPE a summary\na_count 1.5\n"),
    ("and finite", "# TYPE a summary\na_count 1\n", "# TYPE a summary\na_count +Inf\n"),
    (
        "a histogram has a +Inf bucket",
        "# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\n",
        "# TYPE a histogram\na_bucket{le=\"1\"} 1\n",
    ),
    (
        "bounds rise",
        "# TYPE a histogram\na_bucket{le=\"1\"} 1\na_bucket{le=\"2\"} 1\na_bucket{le=\"+Inf\"} 1\n",
        "# TYPE a histogram\na_bucket{le=\"2\"} 1\na_bucket{le=\"1\"} 1\na_bucket{le=\"+Inf\"} 1\n",
    ),
    (
        "buckets are cumulative",
        "# TYPE a histogram\na_bucket{le=\"1\"} 1\na_bucket{le=\"+Inf\"} 1\n",
        "# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\n",
    ),
    (
        "the count is the +Inf bucket",
        "# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_count 1\na_sum 1\n",
        "# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_count 2\na_sum 1\n",
    ),
    (
        "count and sum come together",
        "# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_count 1\na_sum 1\n",
        "# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_count 1\n",
    ),
    (
        "no sum with negative bounds",
        "# TYPE a histogram\na_bucket{le=\"-1\"} 0\na_bucket{le=\"+Inf\"} 1\n",
        "# TYPE a histogram\na_bucket{le=\"-1\"} 0\na_bucket{le=\"+Inf\"} 1\na_count 1\na_sum 1\n",
    ),
    (
        "a gauge histogram has its own suffixes",
        "# TYPE a gaugehistogram\na_bucket{le=\"+Inf\"} 1\na_gcount 1\na_gsum 1\n",
        "# TYPE a gaugehistogram\na_bucket{le=\"+Inf\"} 1\na_count 1\na_sum 1\na_gcount 1\n",
    ),
    (
        "groups are not interleaved",
        "# TYPE a summary\na_sum{b=\"1\"} 1\na_count{b=\"1\"} 1\na_sum{b=\"2\"} 1\n",
        "# TYPE a summary\na_sum{b=\"1\"} 1\na_sum{b=\"2\"} 1\na_count{b=\"1\"} 1\n",
    ),
    ("timestamps of a group rise", "# TYPE a gauge\na 1 1\na 1 2\n", "# TYPE a gauge\na 1 2\na 1 1\n"),
    (
        "all samples of a group have timestamps, or none",
        "# TYPE a gauge\na 1 1\na 1 2\n",
        "# TYPE a gauge\na 1\na 1 2\n",
    ),
    ("counters have exemplars", "# TYPE a counter\na_total 1 # {b=\"1\"} 1\n", "# TYPE a gauge\na 1 # {b=\"1\"} 1\n"),
    (
        "buckets have exemplars",
        "# TYPE a histogram\na_bucket{le=\"+Inf\"} 1 # {b=\"1\"} 1 2\n",
        "# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 1 # {b=\"1\"} 1\na_count 1\n",
    ),
    ("exemplars have braces", "# TYPE a counter\na_total 1 # {} 1\n", "# TYPE a counter\na_total 1 # 1\n"),
];

#[test]
fn strict_reading_keeps_every_rule_of_the_specification() {
    let strict = ParseOptions { strict: true, ..ParseOptions::default() };
    let read = |body: &str| told(body.as_bytes(), Format::OpenMetrics, &strict);
    for (rule, keeps, breaks) in RULES {
        if let Err(error) = read(&format!("{keeps}# EOF\n")) {
            panic!("{rule}: {}", error.drawn());
        }
        assert!(read(&format!("{breaks}# EOF\n")).is_err(), "{rule}: {breaks:?}");
    }
    let exemplar =
        |chars: usize| format!("# TYPE a counter\na_total 1 # {{b=\"{}\"}} 1\n# EOF\n", "ä".repeat(chars - 1));
    assert!(read(&exemplar(128)).is_ok());
    assert!(read(&exemplar(129)).is_err(), "the labels of an exemplar have at most 128 characters");
    assert!(read("a 1\n").is_err() && read("a 1\n# EOF").is_ok() && read("# EOF\n").is_ok());
}
