//! A window of the newest observations, for a collector that gives summaries without a clock.

use crate::family::SummaryValue;

/// How many of the newest observations the quantiles are taken over.
const OBSERVATIONS: usize = 1000;

/// The newest 1000 observations, and how many there were in all. A [`Summary`](super::Summary) ages by time; this does
/// not, so that it needs no clock.
///
/// ```
/// use ferula_exposition::registry::ObservationWindow;
///
/// let mut window = ObservationWindow::default();
/// (1..=100).for_each(|value| window.observe(f64::from(value)));
/// assert_eq!(window.summary(&[0.5, 0.99]).quantiles, [(0.5, 50.0), (0.99, 99.0)]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ObservationWindow {
    /// Once full, the oldest is at `count % OBSERVATIONS`.
    newest: Vec<f64>,
    count: u64,
    sum: f64,
}

impl ObservationWindow {
    /// Takes one more observation; the oldest one makes place.
    pub fn observe(&mut self, value: f64) {
        let place = (self.count % OBSERVATIONS as u64) as usize;
        match self.newest.get_mut(place) {
            Some(oldest) => *oldest = value,
            None => self.newest.push(value),
        }
        self.count += 1;
        self.sum += value;
    }

    /// Count and sum of all observations, and quantiles (0 to 1) of the newest; NaN before the first.
    pub fn summary(&self, quantiles: &[f64]) -> SummaryValue {
        let mut sorted = self.newest.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = |quantile: f64| ((quantile * sorted.len() as f64).ceil() as usize).max(1) - 1;
        let at = |quantile| sorted.get(rank(quantile)).copied().unwrap_or(f64::NAN);
        let quantiles = quantiles.iter().map(|quantile| (*quantile, at(*quantile))).collect();
        SummaryValue { count: Some(self.count as f64), sum: Some(self.sum), quantiles }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_newest_observations() {
        let mut window = ObservationWindow::default();
        for value in 0..OBSERVATIONS + 100 {
            window.observe(if value < 100 { 1e9 } else { (value - 99) as f64 });
        }
        let summary = window.summary(&[0.0, 0.5, 0.9, 0.99, 1.0]);
        assert_eq!(summary.quantiles, [(0.0, 1.0), (0.5, 500.0), (0.9, 900.0), (0.99, 990.0), (1.0, 1000.0)]);
        assert_eq!(summary.count, Some(1100.0));
        assert!(ObservationWindow::default().summary(&[0.5]).quantiles[0].1.is_nan());
    }
}
