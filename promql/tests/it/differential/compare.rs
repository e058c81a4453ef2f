//! Are two replies the same?

use super::answer::{Answered, Buckets, Point, Reply, Row};

/// How much alike two replies must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measure {
    /// How far two floats may be apart, in parts of the larger.
    pub(crate) tolerance: f64,
    /// How far apart they may be at least.
    pub(crate) slack: f64,
    /// Whether rows must come in the same order of values.
    pub(crate) ordered: bool,
}

/// As alike as the engine must be to Prometheus. Subnormal numbers have fewer digits than the tolerance.
pub(crate) const STRICT: Measure = Measure { tolerance: 1e-12, slack: f64::MIN_POSITIVE, ordered: false };

/// The first thing that differs, or `None`.
pub(crate) fn difference(ours: &Reply, theirs: &Reply, measure: Measure) -> Option<String> {
    match (ours, theirs) {
        (Reply::Error(ours), Reply::Error(theirs)) => (ours != theirs).then(|| "the errors differ".to_owned()),
        (Reply::Error(_), _) => Some("only ours is an error".to_owned()),
        (_, Reply::Error(_)) => Some("only theirs is an error".to_owned()),
        (Reply::Answer(ours), Reply::Answer(theirs)) => {
            answers(ours, theirs, measure).or_else(|| annotations(ours, theirs))
        }
    }
}

fn answers(ours: &Answered, theirs: &Answered, measure: Measure) -> Option<String> {
    if ours.kind != theirs.kind {
        return Some(format!("ours is a {}, theirs a {}", ours.kind, theirs.kind));
    }
    if measure.ordered {
        let points = |rows: &[Row]| rows.iter().map(|row| row.points.clone()).collect::<Vec<_>>();
        let (ours, theirs) = (points(&ours.rows), points(&theirs.rows));
        if ours.len() == theirs.len() && !ours.iter().zip(&theirs).all(|(a, b)| measure.same_points(a, b)) {
            return Some("the orders differ".to_owned());
        }
    }
    let (ours, theirs) = (sorted(&ours.rows), sorted(&theirs.rows));
    if let Some(row) = ours.iter().find(|row| !theirs.iter().any(|other| other.labels == row.labels)) {
        return Some(format!("only ours has {}", row.labels));
    }
    if let Some(row) = theirs.iter().find(|row| !ours.iter().any(|other| other.labels == row.labels)) {
        return Some(format!("only theirs has {}", row.labels));
    }
    if ours.len() != theirs.len() {
        return Some("labels are there more than once".to_owned());
    }
    let differs = ours.iter().zip(&theirs).find(|(a, b)| !measure.same_points(&a.points, &b.points));
    differs.map(|(row, _)| format!("points of {} differ", row.labels))
}

/// Both replies without the points that are the same in both.
pub(crate) fn without_equal_points(ours: &Reply, theirs: &Reply, measure: Measure) -> (Reply, Reply) {
    let (Reply::Answer(a), Reply::Answer(b)) = (ours, theirs) else { return (ours.clone(), theirs.clone()) };
    let without = |answer: &Answered, other: &Answered| {
        let mut answer = answer.clone();
        for row in &mut answer.rows {
            let Some(other) = other.rows.iter().find(|other| other.labels == row.labels) else { continue };
            row.points
                .retain(|(at, point)| !other.points.iter().any(|o| o.0 == *at && measure.same_point(&o.1, point)));
        }
        answer.rows.retain(|row| !row.points.is_empty());
        Reply::Answer(answer)
    };
    (without(a, b), without(b, a))
}

fn sorted(rows: &[Row]) -> Vec<&Row> {
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_by(|a, b| a.labels.cmp(&b.labels));
    rows
}

impl Measure {
    fn same_points(self, ours: &[(i64, Point)], theirs: &[(i64, Point)]) -> bool {
        ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| a.0 == b.0 && self.same_point(&a.1, &b.1))
    }

    fn same_point(self, ours: &Point, theirs: &Point) -> bool {
        match (ours, theirs) {
            (Point::Float(ours), Point::Float(theirs)) => self.same(*ours, *theirs),
            (Point::Histogram(ours), Point::Histogram(theirs)) => self.same_buckets(ours, theirs),
            _ => false,
        }
    }

    fn same_buckets(self, ours: &Buckets, theirs: &Buckets) -> bool {
        self.same(ours.count, theirs.count)
            && self.same(ours.sum, theirs.sum)
            && ours.buckets.len() == theirs.buckets.len()
            && ours.buckets.iter().zip(&theirs.buckets).all(|(a, b)| {
                a.boundaries == b.boundaries && a.lower == b.lower && a.upper == b.upper && self.same(a.count, b.count)
            })
    }

    /// `NaN` equals `NaN`, an infinity itself, zero only a zero of its sign.
    fn same(self, ours: f64, theirs: f64) -> bool {
        if ours == theirs {
            return ours.is_sign_negative() == theirs.is_sign_negative();
        }
        if ours.is_nan() || theirs.is_nan() {
            return ours.is_nan() && theirs.is_nan();
        }
        (ours - theirs).abs() <= (self.tolerance * ours.abs().max(theirs.abs())).max(self.slack)
    }
}

fn annotations(ours: &Answered, theirs: &Answered) -> Option<String> {
    for (what, ours, theirs) in [("warnings", &ours.warnings, &theirs.warnings), ("infos", &ours.infos, &theirs.infos)]
    {
        let (mut ours, mut theirs) = (ours.clone(), theirs.clone());
        ours.sort();
        theirs.sort();
        // The API shows ten and says how many more there are.
        let omitted = theirs.len() > 10;
        if if omitted { ours.len() <= 10 } else { ours != theirs } {
            return Some(format!("the {what} differ"));
        }
    }
    None
}
