//! How values are spread.

use serde::Serialize;

/// Five-number summary and mean, in the unit of the values. Quartiles are interpolated linearly between the two nearest values
/// (as numpy does it).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Smallest.
    pub min: f64,
    /// First quartile.
    pub q1: f64,
    /// Median.
    pub median: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Third quartile.
    pub q3: f64,
    /// Greatest.
    pub max: f64,
}

impl Spread {
    /// Of finite values; none if there are none.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let at = |quarter: usize| {
            let place = (values.len() - 1) * quarter;
            let (below, part) = (values[place / 4], (place % 4) as f64 / 4.0);
            below + part * (values[(place / 4 + 1).min(values.len() - 1)] - below)
        };
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Some(Spread { min, q1: at(1), median: at(2), mean, q3: at(3), max })
    }
}
