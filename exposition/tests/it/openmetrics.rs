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
