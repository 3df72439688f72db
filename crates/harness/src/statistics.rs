//! What several seeds say: centre, spread, and Student's intervals.
//!
//! Five runs are few: a standard deviation alone hides how little they tell. The interval of the mean is Student's (1908), which allows for
//! the deviation's being estimated from as few: a percentile bootstrap of five normal values leaves the true mean out one time in six,
//! of three one in four. The interquartile mean is beside it as the centre that, of four runs or more, one that went wrong does not move, and two rules are
//! compared by their differences seed by seed, since a seed gives both the same initial weights and the same order of samples.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Seeds from which on an interval is taken to tell two configurations apart. Of two, percentages of few samples may differ by the
/// same by chance, and an interval without width says nothing.
pub(crate) const FEWEST_SEEDS: usize = 3;

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
    /// The mean's interval of 95 % by Student's t, which takes the values for normal ones; none of one value.
    pub interval: Option<(f64, f64)>,
}

impl Spread {
    /// None of no values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        let mean = mean(values)?;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let deviation = (count > 1).then(|| (squares / (count - 1) as f64).sqrt());
        Some(Self {
            count,
            mean,
            deviation,
            interquartile_mean: self::mean(&sorted[count / 4..count - count / 4])?,
            interval: deviation.map(|deviation| {
                let half = student(count - 1) * deviation / (count as f64).sqrt();
                (mean - half, mean + half)
            }),
        })
    }
}

/// The differences `a - b` of the seeds that both have, each as (seed, value).
pub fn paired(a: &[(u64, f64)], b: &[(u64, f64)]) -> Vec<f64> {
    let other = |seed: u64| b.iter().find(|(of, _)| *of == seed).map(|(_, value)| *value);
    a.iter().filter_map(|(seed, value)| Some(value - other(*seed)?)).collect()
}

/// The middle one, or the mean of the two in the middle; none of no values.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let high = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { high } else { (values[middle - 1] + high) / 2.0 })
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The 97.5th percentile of Student's t.
fn student(degrees_of_freedom: usize) -> f64 {
    let t = StudentsT::new(0.0, 1.0, degrees_of_freedom as f64);
    t.expect("one degree of freedom or more").inverse_cdf(0.975)
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
    fn the_interval_is_students() {
        // Any table of Student's t, two-sided, 95 %.
        for (degrees, expected) in
            [(1, 12.706), (2, 4.303), (4, 2.776), (9, 2.262), (30, 2.042), (1000, 1.962)]
        {
            assert!((student(degrees) - expected).abs() < 5e-4, "{degrees}: {}", student(degrees));
        }
        // Mean 3, deviation the root of 2.5, of which a fifth: 2.7764 times the root of a half.
        let (low, high) = Spread::of(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap().interval.unwrap();
        assert!((low - 1.0368).abs() < 1e-4 && (high - 4.9632).abs() < 1e-4, "{low} {high}");
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
