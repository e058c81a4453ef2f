//! Differences that are meant: the peer is Prometheus 3.5, and Ferula is to behave as 3.14.

use crate::generate::queries::Query;

/// Why the difference is none of our faults, if it is known. `delayed` tells whether names are dropped at the end.
pub(crate) fn reason(query: &Query, delayed: bool, difference: &str) -> Option<&'static str> {
    let text = query.text.as_str();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let only_ours = difference.contains("only theirs []");
    let is_note = difference.starts_with("warning") || difference.starts_with("info");
    let is_error = difference.starts_with("error");
    let histograms = has(&["nh", "mix", "__name__", "{job"]);
    if is_error {
        if difference.starts_with("error Some(\"multiple matches for labels") {
            return Some("3.5 does not look for matches of pairs that give nothing");
        }
        if delayed && difference.contains("error None") && difference.contains("the same labelset") {
            return Some("3.5 does not merge series that become equal when names are dropped at the end");
        }
        if has(&["label_replace", "label_join", "-("])
            && difference.contains("error None")
            && difference.contains("the same labelset")
        {
            return Some("3.5 does not merge series that label_replace, label_join and - make equal");
        }
        return None;
    }
    if is_note {
        if query.is_range && has(&["sort_by_label"]) && only_ours && difference.contains("sort is ineffective") {
            return Some("3.5 does not warn about sort_by_label in range queries");
        }
        if query.is_range
            && difference.contains("for monotonicity")
            && difference.contains("lat_seconds_bucket\\\"") | difference.contains("odd_bucket\\\"")
        {
            return Some("3.5 loses the name of a classic histogram in some range queries");
        }
        if difference.contains("only ours []") && has(&[" and ", " unless "]) {
            return Some("conditions of the left side of `and` and `unless` are asked of the right side too");
        }
        if query.is_range && difference.contains("exponential and custom buckets") {
            return Some("the peer adds histograms up in the order of a map");
        }
        if only_ours && difference.contains("conflicting counter resets") {
            return Some("3.5 does not warn about conflicting counter resets");
        }
        if difference.contains("mismatched custom buckets") || difference.contains("incompatible bucket layout") {
            return Some(RECONCILED);
        }
        return None;
    }
    if has(&["topk", "bottomk", "limitk"]) {
        return Some("the peer breaks ties in the order of a map");
    }
    if has(&["count_values"]) {
        return Some("the last digits of a value are part of a label");
    }
    if has(&["histogram_fraction("]) && has(&["_bucket"]) && difference.contains("theirs NaN")
        || has(&["histogram_fraction(-"])
    {
        return Some("3.5 does not interpolate in the lowest bucket of a classic histogram");
    }
    if histograms && has(&["rate(", "increase("]) {
        return Some("3.5 does not stop extrapolating a histogram at zero");
    }
    if has(&["mad_over_time"]) && difference.contains("NaN") {
        return Some("3.5 takes the median of NaN too");
    }
    if delayed && has(&["last_over_time(("]) {
        return Some("3.5 keeps a name in last_over_time that was to be dropped");
    }
    if has(&["nhcb"]) && has(&["mix", "__name__"]) || has(&["nhcb", "{job"]) && has(&["sum", "avg", " + ", " - "]) {
        return Some(RECONCILED);
    }
    if histograms && difference.contains("NaN") && difference.contains(": count ") {
        return Some("the peer's storage adds empty buckets, which an infinite factor makes NaN");
    }
    let shares = has(&["changes(", "resets(", "_over_time("]) || difference.contains(": count ");
    if histograms && text.contains('[') && shares {
        return Some("3.5 lets histograms of a range share their buckets");
    }
    if has(&TRANSCENDENTAL) && has(&AMPLIFIERS) {
        return Some("Go's mathematical functions differ in the last bit, which another operation makes large");
    }
    if has(&["histogram_fraction"]) && difference.contains("e-1") {
        return Some("a difference of two nearly equal shares");
    }
    None
}

const RECONCILED: &str = "3.5 does not reconcile custom buckets";

const TRANSCENDENTAL: [&str; 17] = [
    "exp(",
    "ln(",
    "log2(",
    "log10(",
    "sin(",
    "cos(",
    "tan(",
    "sinh(",
    "cosh(",
    "tanh(",
    "atan2",
    "^",
    "asin",
    "acos",
    "atan",
    "histogram_",
    "stddev",
];

const AMPLIFIERS: [&str; 16] = [
    "%", " - ", "stdvar", "stddev", "floor", "ceil", "round", "==", "!=", ">", "<", "sgn", "sin(", "cos(", "tan(",
    "deriv",
];
