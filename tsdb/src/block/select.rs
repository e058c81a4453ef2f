//! Which series of a block satisfy the matchers? Answered by the index, cheapest matcher first.
//!
//! A matcher that refuses the empty value *requires* the label: the series are the union of the lists of its values. One
//! that accepts it can only *exclude*: the lists of the values that it refuses are subtracted. Equality, and expressions
//! that are a set of literals, are looked up by binary search; expressions with a prefix look only at the values that begin
//! with it; the others look at every value of the label. Once the cheap matchers have left fewer series than a costly one
//! has values to look at, the labels of these series are tested instead.

use std::collections::BTreeSet;

use ferula_model::{MatchOp, Matcher};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::BlockError;
use super::index::IndexReader;
use crate::postings::{List, intersect, intersects, subtract, union};

/// Reading the labels of a series costs about as much as looking at so many values.
const VALUES_PER_SERIES: usize = 8;

/// The series that satisfy all matchers, rising; all series if there is no matcher.
pub(super) fn series(index: &IndexReader, matchers: &[Matcher]) -> Result<Vec<u32>, BlockError> {
    let matchers = relevant(matchers);
    let (cheap, costly): (Vec<&Matcher>, Vec<&Matcher>) =
        matchers.into_iter().partition(|matcher| lookups(matcher).is_some());
    let mut required = Vec::new();
    for matcher in cheap.iter().filter(|matcher| !matcher.matches_empty()) {
        required.push(Found::of(index, matcher)?);
    }
    let mut kept = if required.is_empty() {
        None
    } else {
        Some(intersect(&mut required.iter().map(Found::list).collect::<Vec<_>>()))
    };
    for matcher in by_values(index, &costly, |matcher| !matcher.matches_empty()) {
        kept = Some(match kept {
            Some(kept) if is_few(index, &kept, matcher) => test_labels(index, kept, matcher)?,
            Some(kept) => intersect(&mut [List::Native(&kept), Found::of(index, matcher)?.list()]),
            None => Found::of(index, matcher)?.list().to_vec(),
        });
    }
    let mut kept = match kept {
        Some(kept) => kept,
        None => index.all_postings()?.to_vec(),
    };
    let excluding = cheap.iter().copied().filter(|matcher| matcher.matches_empty());
    for matcher in excluding.chain(by_values(index, &costly, Matcher::matches_empty)) {
        kept = if kept.is_empty() {
            break;
        } else if is_few(index, &kept, matcher) {
            test_labels(index, kept, matcher)?
        } else {
            subtract(kept, Found::of(index, matcher)?.list())
        };
    }
    Ok(kept)
}

/// Without the matchers that every series satisfies.
fn relevant(matchers: &[Matcher]) -> Vec<&Matcher> {
    matchers.iter().filter(|matcher| !matcher.is_any() || matcher.op.is_negative()).collect()
}

/// The costly matchers of a kind, those with the fewest values first.
fn by_values<'a>(
    index: &IndexReader,
    matchers: &[&'a Matcher],
    kind: impl Fn(&Matcher) -> bool,
) -> impl Iterator<Item = &'a Matcher> {
    let mut chosen: Vec<&Matcher> = matchers.iter().copied().filter(|matcher| kind(matcher)).collect();
    chosen.sort_by_key(|matcher| index.value_count(&matcher.name));
    chosen.into_iter()
}

/// Whether testing the labels of the series is cheaper than looking at the values of the matcher.
fn is_few(index: &IndexReader, series: &[u32], matcher: &Matcher) -> bool {
    lookups(matcher).is_none() && series.len().saturating_mul(VALUES_PER_SERIES) < index.value_count(&matcher.name)
}

/// The values whose lists a matcher needs, if they are known without looking at the index: those that it accepts if it
/// requires the label, those that it refuses if it excludes.
fn lookups(matcher: &Matcher) -> Option<&[String]> {
    let literals = matcher.literals()?;
    let requires = !matcher.matches_empty();
    // `x="a"`, `x=~"a|b"` accept the literals, `x!="a"`, `x!~"a|b"` refuse them. With the empty literal it is the other
    // way round, and all other values are needed.
    let positive = !matcher.op.is_negative();
    (requires == positive).then_some(literals)
}

/// The lists that a matcher needs, joined.
enum Found<'a> {
    OnDisk(List<'a>),
    Joined(Vec<u32>),
}

impl<'a> Found<'a> {
    /// The series with values that the matcher accepts, if it requires the label; that it refuses, if it excludes.
    fn of(index: &'a IndexReader, matcher: &Matcher) -> Result<Self, BlockError> {
        let mut lists = Vec::new();
        if let Some(values) = lookups(matcher) {
            for value in values {
                lists.extend(index.postings(&matcher.name, value)?);
            }
        } else {
            let wanted = !matcher.matches_empty();
            each_value(index, matcher, |value, list| {
                if matcher.matches(value) == wanted {
                    lists.push(list.open()?);
                }
                Ok(())
            })?;
        }
        Ok(match lists.as_slice() {
            [] => Found::Joined(Vec::new()),
            [only] => Found::OnDisk(*only),
            _ => Found::Joined(union(&lists)),
        })
    }

    fn list(&self) -> List<'_> {
        match self {
            Found::OnDisk(list) => *list,
            Found::Joined(list) => List::Native(list),
        }
    }
}

/// Values of the matcher's label among which are all that the expression matches or refuses: those with its prefix, if it
/// has one and it is they that count, or else all.
fn each_value<'a>(
    index: &'a IndexReader,
    matcher: &Matcher,
    mut each: impl FnMut(&'a str, super::index::UnreadList<'a>) -> Result<(), BlockError>,
) -> Result<(), BlockError> {
    let only_prefix = match matcher.op {
        MatchOp::Regex => !matcher.matches_empty(),
        MatchOp::NotRegex => matcher.matches_empty(),
        MatchOp::Equal | MatchOp::NotEqual => false,
    };
    let prefix = matcher.prefix().filter(|_| only_prefix).unwrap_or_default();
    for value in index.label_values(&matcher.name).seek(prefix)? {
        let (value, list) = value?;
        if !value.starts_with(prefix) {
            break;
        }
        each(value, list)?;
    }
    Ok(())
}

/// Keeps the series whose labels satisfy the matcher; each different value is tested once.
fn test_labels(index: &IndexReader, series: Vec<u32>, matcher: &Matcher) -> Result<Vec<u32>, BlockError> {
    let mut verdicts: HashMap<u32, bool, RandomState> = HashMap::default();
    let mut kept = Vec::new();
    each_label_of(index, &series, &matcher.name, |series, value| {
        let accepted = match value {
            None => matcher.matches_empty(),
            Some(symbol) => match verdicts.get(&symbol) {
                Some(verdict) => *verdict,
                None => {
                    let verdict = matcher.matches(index.symbol(symbol)?);
                    verdicts.insert(symbol, verdict);
                    verdict
                }
            },
        };
        kept.extend(accepted.then_some(series));
        Ok(())
    })?;
    Ok(kept)
}

/// Calls `each` with each series and the symbol of its value of a label, if it has the label.
fn each_label_of(
    index: &IndexReader,
    series: &[u32],
    name: &str,
    mut each: impl FnMut(u32, Option<u32>) -> Result<(), BlockError>,
) -> Result<(), BlockError> {
    let symbol = index.find_symbol(name)?;
    let mut labels = Vec::new();
    for &series in series {
        index.labels(series, &mut labels)?;
        let mut found = None;
        for (label, value) in &labels {
            if Some(*label) == symbol || (index.version() == 1 && index.symbol(*label)? == name) {
                found = Some(*value);
            }
        }
        each(series, found)?;
    }
    Ok(())
}

/// Values of a label on series that satisfy all matchers; sorted, at most `limit` (0: no limit).
pub(super) fn label_values(
    index: &IndexReader,
    name: &str,
    matchers: &[Matcher],
    limit: usize,
) -> Result<Vec<String>, BlockError> {
    let limit = if limit == 0 { usize::MAX } else { limit };
    let (own, others): (Vec<&Matcher>, Vec<&Matcher>) = matchers.iter().partition(|matcher| matcher.name == name);
    let accepted = |value: &str| own.iter().all(|matcher| matcher.matches(value));
    let others: Vec<Matcher> = relevant_owned(&others);
    if others.is_empty() {
        let values = index.label_values(name).map(|value| value.map(|(value, _)| value));
        let accepted = values.filter(|value| value.as_ref().map_or(true, |value| accepted(value)));
        return accepted.take(limit).map(|value| value.map(str::to_owned)).collect();
    }
    let series = series(index, &others)?;
    let mut values = Vec::new();
    if series.len().saturating_mul(VALUES_PER_SERIES) < index.value_count(name) {
        let mut symbols = BTreeSet::new();
        each_label_of(index, &series, name, |_, value| {
            symbols.extend(value);
            Ok(())
        })?;
        for symbol in symbols {
            values.extend(Some(index.symbol(symbol)?).filter(|value| accepted(value)).map(str::to_owned));
        }
        values.sort_unstable();
        values.truncate(limit);
        return Ok(values);
    }
    for value in index.label_values(name) {
        let (value, list) = value?;
        if values.len() < limit && accepted(value) && intersects(List::Native(&series), list.open()?) {
            values.push(value.to_owned());
        }
    }
    Ok(values)
}

fn relevant_owned(matchers: &[&Matcher]) -> Vec<Matcher> {
    let owned: Vec<Matcher> = matchers.iter().map(|matcher| (*matcher).clone()).collect();
    relevant(&owned).into_iter().cloned().collect()
}

/// Names of labels on series that satisfy all matchers; sorted, at most `limit` (0: no limit).
pub(super) fn label_names(index: &IndexReader, matchers: &[Matcher], limit: usize) -> Result<Vec<String>, BlockError> {
    let limit = if limit == 0 { usize::MAX } else { limit };
    if relevant(matchers).is_empty() {
        return Ok(index.label_names().take(limit).map(str::to_owned).collect());
    }
    let mut symbols = BTreeSet::new();
    let mut labels = Vec::new();
    for series in series(index, matchers)? {
        index.labels(series, &mut labels)?;
        symbols.extend(labels.iter().map(|(name, _)| *name));
    }
    let mut names = Vec::new();
    for symbol in symbols {
        names.push(index.symbol(symbol)?.to_owned());
    }
    names.sort_unstable();
    names.truncate(limit);
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::index::{ChunkRef, IndexWriter};
    use crate::fs::{Fs, MemFs};
    use ferula_model::Labels;
    use proptest::prelude::*;
    use std::path::Path;
    use std::sync::Arc;

    /// 300 series: many values of `i`, few of `job`, `env` on every second one only.
    fn labels() -> BTreeSet<Labels> {
        let series = |i: usize| {
            let env = if i.is_multiple_of(2) { ["prod", "dev", "pro"][i % 3] } else { "" };
            let pairs = [("__name__", format!("m{}", i % 5)), ("i", i.to_string()), ("job", format!("job-{}", i % 7))];
            Labels::from_pairs(pairs.into_iter().chain([("env", env.to_owned())]))
        };
        (0..300).map(series).collect()
    }

    fn index(labels: &BTreeSet<Labels>) -> IndexReader {
        let disk: Arc<dyn Fs> = Arc::new(MemFs::new());
        let mut writer = IndexWriter::create(&disk, Path::new("")).unwrap();
        let symbols: BTreeSet<&str> = labels.iter().flatten().flat_map(|(name, value)| [name, value]).collect();
        writer.symbols(symbols.iter().map(Ok)).unwrap();
        let number = |text: &str| symbols.iter().position(|symbol| *symbol == text).unwrap() as u32;
        for series in labels {
            let pairs: Vec<_> = series.iter().map(|(name, value)| (number(name), number(value))).collect();
            writer.series(&pairs, &[ChunkRef { reference: 8, min_time: 0, max_time: 1 }]).unwrap();
        }
        writer.finish().unwrap();
        IndexReader::open(&*disk, Path::new("index")).unwrap()
    }

    fn fixture() -> &'static (BTreeSet<Labels>, IndexReader) {
        static FIXTURE: std::sync::OnceLock<(BTreeSet<Labels>, IndexReader)> = std::sync::OnceLock::new();
        FIXTURE.get_or_init(|| (labels(), index(&labels())))
    }

    fn satisfies(labels: &Labels, matchers: &[Matcher]) -> bool {
        matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name).unwrap_or_default()))
    }

    fn matcher() -> impl Strategy<Value = Matcher> {
        let op = prop::sample::select(vec![MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex]);
        let name = prop::sample::select(vec!["__name__", "i", "job", "env", "absent"]);
        let value = prop::sample::select(vec![
            "",
            "m1",
            "prod",
            "7",
            ".*",
            ".+",
            "m1|m2",
            "|prod",
            "1.*",
            "1.*|",
            ".*9",
            "job-[1-3]",
            "pro.*",
            "(?i)PROD",
            "a^",
            "job-.+",
            "[^p].*|",
            "2[0-9]+",
        ]);
        (op, name, value).prop_map(|(op, name, value)| Matcher::new(op, name, value).unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        /// The index against looking at every series.
        #[test]
        fn the_index_answers_as_a_walk_over_all_series_does(matchers in prop::collection::vec(matcher(), 0..4)) {
            let (all, index) = fixture();
            let numbers = index.all_postings().unwrap().to_vec();
            let chosen: Vec<(u32, &Labels)> =
                numbers.into_iter().zip(all).filter(|(_, labels)| satisfies(labels, &matchers)).collect();
            let expected: Vec<u32> = chosen.iter().map(|(number, _)| *number).collect();
            prop_assert_eq!(series(index, &matchers).unwrap(), expected);

            let names: BTreeSet<&str> = chosen.iter().flat_map(|(_, labels)| labels.iter().map(|(name, _)| name)).collect();
            prop_assert_eq!(label_names(index, &matchers, 0).unwrap(), names.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(label_names(index, &matchers, 2).unwrap().len(), names.len().min(2));
            for name in ["i", "env", "absent"] {
                let values: BTreeSet<&str> = chosen.iter().filter_map(|(_, labels)| labels.get(name)).collect();
                prop_assert_eq!(label_values(index, name, &matchers, 0).unwrap(), values.iter().copied().collect::<Vec<_>>());
                let first: Vec<&str> = values.into_iter().take(3).collect();
                prop_assert_eq!(label_values(index, name, &matchers, 3).unwrap(), first);
            }
        }
    }
}
