//! PromQL over data of one's own: a table of temperatures becomes a storage by implementing three small traits.
//!
//! `promql_over_my_data [QUERY]` prints the answer over the last day.

#![allow(clippy::print_stdout)]

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use ferula::model::{
    Columns, Labels, METRIC_NAME, Matcher, Querier, Queryable, SelectError, SelectHints, SeriesSet, StepGrid,
    TimeRange, Timestamp,
};
use ferula::promql::{Engine, EngineOptions, QueryOptions};

const HOUR_MILLIS: i64 = 3_600_000;

/// What the host has: a row for each city, a reading for each hour since the epoch.
struct Weather {
    rows: Vec<(&'static str, Vec<f64>)>,
}

/// The rows that a question is about.
struct Selected<'w> {
    rows: Vec<&'w (&'static str, Vec<f64>)>,
}

impl Weather {
    fn labels(city: &str) -> Labels {
        Labels::from_pairs([(METRIC_NAME, "temperature_celsius"), ("city", city)])
    }

    fn selected(&self, matchers: &[Matcher]) -> Selected<'_> {
        let rows = self.rows.iter().filter(|(city, _)| {
            let labels = Self::labels(city);
            matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name).unwrap_or_default()))
        });
        Selected { rows: rows.collect() }
    }

    /// Of each selected row, what `read` finds in its labels; sorted, each once.
    fn texts(
        &self,
        matchers: &[Matcher],
        limit: usize,
        read: impl Fn(&Labels) -> Vec<String>,
    ) -> Result<Vec<String>, SelectError> {
        let found: BTreeSet<String> =
            self.selected(matchers).rows.iter().flat_map(|(city, _)| read(&Self::labels(city))).collect();
        Ok(found.into_iter().take(if limit == 0 { usize::MAX } else { limit }).collect())
    }
}

impl Queryable for Weather {
    fn querier(&self, _: TimeRange) -> Result<Box<dyn Querier + '_>, SelectError> {
        Ok(Box::new(self))
    }
}

impl Querier for &Weather {
    fn select(&self, _: &SelectHints, matchers: &[Matcher]) -> Result<Box<dyn SeriesSet + '_>, SelectError> {
        Ok(Box::new(self.selected(matchers)))
    }

    fn label_names(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<String>, SelectError> {
        self.texts(matchers, limit, |labels| labels.iter().map(|(name, _)| name.to_owned()).collect())
    }

    fn label_values(&self, name: &str, matchers: &[Matcher], limit: usize) -> Result<Vec<String>, SelectError> {
        self.texts(matchers, limit, |labels| labels.get(name).map(str::to_owned).into_iter().collect())
    }
}

impl SeriesSet for Selected<'_> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn labels(&self, index: usize) -> Labels {
        Weather::labels(self.rows[index].0)
    }

    fn read(&self, index: usize, range: TimeRange, columns: &mut Columns) -> Result<(), SelectError> {
        columns.clear();
        for (hour, reading) in (0_i64..).zip(&self.rows[index].1) {
            if range.contains(Timestamp::from_millis(hour * HOUR_MILLIS)) {
                columns.times.push(hour * HOUR_MILLIS);
                columns.values.push(*reading);
            }
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let query =
        std::env::args().nth(1).unwrap_or_else(|| "max by (city) (max_over_time(temperature_celsius[6h]))".into());
    let day = |base: f64, swing: f64| {
        (0..48).map(|hour| base - swing * (f64::from(hour) * std::f64::consts::TAU / 24.0).cos()).collect()
    };
    let weather = Weather { rows: vec![("Bergen", day(8.0, 2.0)), ("Sevilla", day(24.0, 9.0))] };

    let mut options = EngineOptions::default();
    options.lookback = Duration::from_secs(3600); // readings come by the hour
    let engine = Engine::new(options);
    let hours = |n: i64| Timestamp::from_millis(n * HOUR_MILLIS);
    let grid = StepGrid::new(hours(24), hours(47), Duration::from_secs(6 * 3600))?;
    let answer = engine.range(&weather, &query, grid, &QueryOptions::default())?;
    for series in answer.matrix()? {
        println!("{}", series.labels);
        for point in &series.floats {
            println!("  hour {:>2}: {:.1}", point.at.as_millis() / HOUR_MILLIS, point.value);
        }
    }
    Ok(())
}
