//! What several seeds say: centre, spread, and intervals by the bootstrap.
//!
//! Five runs are few: a standard deviation alone hides how little they tell. The interval of the mean is the percentile bootstrap
//! (Efron 1979; as Agarwal et al., NeurIPS 2021, advise for few runs), the interquartile mean is beside it as the centre that one
//! run that went wrong does not move, and two rules are compared by their differences seed by seed, since a seed gives both the
//! same initial weights and the same order of samples.

use bpsta_spiking::{Streams, below};
use serde::Serialize;

/// Resamples of a bootstrap.
const RESAMPLES: usize = 10_000;

/// What the values of several seeds give.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// How many values.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Sample standard deviation (over n - 1); none of one value.
    pub deviation: Option<f64>,
    /// Mean of the middle half: of n values the n div 4 smallest and largest are left out.
    pub interquartile_mean: f64,
    /// The mean's interval of 95 %; none of one value.
    pub interval: Option<(f64, f64)>,
}

impl Spread {
    /// Of at least one value.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        let mean = mean(values)?;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let several = count > 1;
        Some(Self {
            count,
            mean,
            deviation: several.then(|| (squares / (count - 1) as f64).sqrt()),
            interquartile_mean: self::mean(&sorted[count / 4..count - count / 4])?,
            interval: several.then(|| bootstrap(values)),
        })
    }
}

/// The differences `a - b` of the seeds that both have, each as (seed, value).
pub fn paired(a: &[(u64, f64)], b: &[(u64, f64)]) -> Vec<f64> {
    let other = |seed: u64| b.iter().find(|(of, _)| *of == seed).map(|(_, value)| *value);
    a.iter().filter_map(|(seed, value)| Some(value - other(*seed)?)).collect()
}

/// The middle one, or the mean of the two in the middle; none of no values.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let high = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { high } else { (values[middle - 1] + high) / 2.0 })
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The 2.5th and 97.5th percentile of the means of resamples, always of the same ones: a table is the same each time.
fn bootstrap(values: &[f64]) -> (f64, f64) {
    let mut stream = Streams::new(0).stream("bootstrap");
    let mut draw = || (0..values.len()).map(|_| values[below(&mut stream, values.len())]).sum::<f64>();
    let mut means: Vec<f64> = (0..RESAMPLES).map(|_| draw() / values.len() as f64).collect();
    means.sort_by(f64::total_cmp);
    (means[RESAMPLES / 40], means[RESAMPLES - 1 - RESAMPLES / 40])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_no_spread_and_none_has_nothing() {
        assert_eq!(Spread::of(&[]), None);
        let one = Spread::of(&[3.5]).unwrap();
        assert_eq!((one.mean, one.interquartile_mean, one.deviation, one.interval), (3.5, 3.5, None, None));
    }

    #[test]
    fn figures_are_those_worked_out_by_hand() {
        let five = Spread::of(&[1.0, 2.0, 3.0, 4.0, 100.0]).unwrap();
        assert_eq!((five.count, five.mean, five.interquartile_mean), (5, 22.0, 3.0));
        // Squares of -21, -20, -19, -18, 78: 7610; over 4, and its root.
        assert!((five.deviation.unwrap() - (7610.0f64 / 4.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn the_interval_is_the_bootstraps_and_always_the_same() {
        // Of two values the mean of a resample is 0, 0.5 or 1, with 1/4, 1/2, 1/4.
        let two = Spread::of(&[0.0, 1.0]).unwrap();
        assert_eq!(two.interval, Some((0.0, 1.0)));
        // Of many, it is near 1.96 standard errors on each side.
        let many: Vec<f64> = (0..400).map(|i| f64::from(i * 7919 % 400)).collect();
        let spread = Spread::of(&many).unwrap();
        let (low, high) = spread.interval.unwrap();
        let expected = 1.96 * spread.deviation.unwrap() / 20.0;
        assert!((spread.mean - low - expected).abs() < 0.5 && (high - spread.mean - expected).abs() < 0.5);
        assert_eq!(Spread::of(&many), Some(spread));
    }

    #[test]
    fn a_median_of_an_even_count_is_the_mean_of_the_middle_two() {
        let of = |values: &[f64]| median(values.iter().copied());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(of(&[1.306, 1.064]), Some(1.185));
        assert_eq!(of(&[9.0, 1.0, 2.0, 4.0]), Some(3.0));
    }

    #[test]
    fn only_seeds_that_both_have_are_compared() {
        let a = [(1, 10.0), (2, 20.0), (4, 40.0)];
        let b = [(2, 19.0), (1, 12.0), (3, 5.0)];
        assert_eq!(paired(&a, &b), [-2.0, 1.0]);
    }
}
