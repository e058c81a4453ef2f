//! The harness itself: it must be as strict as it says.

use ferula_promql::testing::{Options, run_script};

const SERIES: &str = "
load 1m
  requests{job=\"a\"} 0+60x10
  requests{job=\"b\"} 0+120x10
  gap _ 1 _ stale 5
  late{job=\"a\"} _x5 7
  h {{schema:0 count:4 sum:5 buckets:[1 2 1]}}x10
  g {{schema:0 count:4 sum:5 buckets:[1 2 1] counter_reset_hint:gauge}}x10
  mixed 1 1 1 {{schema:0 count:4 sum:5 buckets:[1 2 1]}}x2
";

fn run(block: &str) -> Result<(), String> {
    let report = run_script(&format!("{SERIES}\n{block}\n"), &Options::default());
    assert_eq!(report.passed + report.failed, 1, "{block}");
    report.failures.first().map_or(Ok(()), |failure| Err(failure.message.clone()))
}

#[test]
fn right_expectations_pass() {
    for block in [
        "eval instant at 5m rate(requests[5m])\n  {job=\"a\"} 1\n  {job=\"b\"} 2.0000001",
        "eval instant at 5m sum(requests)\n  {} 900",
        "eval instant at 5m 1 + 1\n  2",
        "eval instant at 5m \"text\"\n  expect string \"text\"",
        "eval instant at 5m sort_desc(requests)\n  expect ordered\n  requests{job=\"b\"} 600\n  requests{job=\"a\"} 300",
        "eval range from 0 to 4m step 1m gap\n  gap _ 1 1 _ 5",
        "eval instant at 4m gap[4m]\n  expect range vector from 1m to 4m step 1m\n  gap 1 _ _ 5",
        "eval instant at 0 rate(nothing[5m])",
        "eval_fail instant at 0 sum(requests) by (job) / on() group_left() requests",
        "eval instant at 0 requests + on() requests\n  expect fail regex: many-to-many",
        "eval instant at 5m quantile(2, requests)\n  expect warn regex: between 0 and 1.*\\(1:10\\)\n  {} Inf",
        "eval instant at 5m rate(g[5m])\n  expect warn\n  {} {{counter_reset_hint:gauge}}",
        "eval instant at 5m h\n  h {{schema:0 count:4 sum:5 buckets:[1 2 1] counter_reset_hint:not_reset}}",
        "eval instant at 0 h\n  h {{schema:0 count:4 sum:5 buckets:[1 2 1 0 0] counter_reset_hint:unknown}}",
        "eval instant at 5m time()\n  300",
        // A name that is dropped at the end is known until then.
        "eval instant at 5m min_over_time((-mixed)[5m:1m])\n  expect info regex: both floats and histograms for metric name \"mixed\"\n  {} -1",
    ] {
        assert_eq!(run(block), Ok(()), "{block}");
    }
}

#[test]
fn wrong_expectations_fail_and_say_why() {
    for (block, says) in [
        ("eval instant at 5m sum(requests)\n  {} 900.01", "expected 900.01, got 900"),
        ("eval instant at 5m sum(requests)\n  {job=\"x\"} 900", "unexpected series {}"),
        ("eval instant at 5m sum(requests)", "unexpected series {}"),
        ("eval instant at 5m nothing\n  {} 1", "{} is missing"),
        ("eval instant at 5m requests\n  requests{job=\"a\"} 300", "unexpected series"),
        ("eval instant at 5m 1 + 1\n  3", "expected scalar 3, got 2"),
        ("eval instant at 5m 1 + 1\n  {} 2", "got scalar 2"),
        ("eval instant at 5m vector(2)\n  2", "got a vector"),
        ("eval instant at 5m \"text\"\n  expect string \"other\"", "expected string"),
        ("eval instant at 5m \"text\"", "expected no string"),
        (
            "eval instant at 5m sort(requests)\n  expect ordered\n  requests{job=\"b\"} 600\n  requests{job=\"a\"} 300",
            "at position",
        ),
        ("eval range from 0 to 4m step 1m gap\n  gap _ 1 1 1 5", "no point at 180s"),
        ("eval range from 0 to 4m step 1m gap\n  gap _ 1 _ _ 5", "at 120s"),
        ("eval range from 0 to 4m step 1m gap\n  gap _ 1 1", "unexpected point 5"),
        ("eval range from 0 to 1m step 1m gap\n  gap _ 1 1", "only 2 can be"),
        ("eval range from 0 to 1m step 1m gap\n  gap NaN 1", "no point at 0s"),
        ("eval instant at 4m gap[4m]\n  gap 1", "expect range vector"),
        ("eval_fail instant at 0 requests", "expected a failure"),
        ("eval instant at 0 requests + on() requests\n  expect fail msg: other", "expected failure"),
        ("eval instant at 5m sum(", "parse error"),
        (
            "eval instant at 5m requests\n  expect warn\n  requests{job=\"a\"} 300\n  requests{job=\"b\"} 600",
            "expected warning",
        ),
        ("eval instant at 5m quantile(2, requests)\n  expect no_warn\n  {} Inf", "expected no warning"),
        ("eval instant at 5m quantile(2, requests)\n  expect warn msg: PromQL warning\n  {} Inf", "unexpected warning"),
        ("eval instant at 5m rate(late[5m])\n  expect info\n", "expected info"),
        ("eval instant at 5m h\n  h {{schema:0 count:5 sum:5 buckets:[1 2 1]}}", "expected"),
        ("eval instant at 5m h\n  h {{schema:1 count:4 sum:5 buckets:[1 2 1]}}", "expected"),
        ("eval instant at 5m h\n  h {{schema:0 count:4 sum:5 buckets:[1 2 1] offset:1}}", "expected"),
        ("eval instant at 5m h\n  h {{schema:0 count:4 sum:5 buckets:[1 2 1] counter_reset_hint:reset}}", "expected"),
        ("eval instant at 5m h\n  h 4", "expected 4"),
        ("eval sometime requests", "expected eval instant"),
        ("eval instant at soon requests", "not a duration"),
        ("eval instant at 5m requests\n  expect nothing", "unknown expectation"),
        ("eval instant at 5m requests\n  requests{job=\"a\"} three", "three"),
        ("load often\n  a 1", "not a duration"),
        ("load 1m\n  a@st 1m", "start timestamps"),
        ("reload", "unknown command"),
    ] {
        let message = run(block).expect_err(block);
        assert!(message.contains(says), "{block}\n  {message}");
    }
}

#[test]
fn failures_name_their_lines() {
    let report = run_script("# a comment\n\nclear\n\n# another\neval instant at 0 1\n  2\n", &Options::default());
    assert_eq!(report.failures.len(), 1);
    assert_eq!(report.failures[0].to_string(), "6: 1: expected scalar 2, got 1");
}
