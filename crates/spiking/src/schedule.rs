//! The learning rate over a training.

use serde::{Deserialize, Serialize};

/// Where the cosine is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CosineGranularity {
    /// Once an epoch, after `warm_up_epochs`: the official code's schedule.
    Epoch,
    /// Before every step, from the first to the last of the training, without warm-up.
    Step,
}

/// Learning rate as a function of time.
///
/// By epoch, as in the official code: epoch `e < w` uses `lr / (w - e)`, later ones
/// `lr * 0.5 * (1 + cos(pi * (e - w) / (E - w)))`. The paper's text says "the same control as SGDR".
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The highest learning rate; 1e-3 in the paper.
    pub learning_rate: f64,
    /// Epochs of warm-up; 5 in the official code. Unused by [`CosineGranularity::Step`].
    pub warm_up_epochs: usize,
    /// Where the cosine is evaluated.
    pub cosine: CosineGranularity,
}

impl Schedule {
    /// The learning rate of step `step` (of `steps` an epoch) in epoch `epoch` (of `epochs`), all from 0.
    pub fn at(&self, epoch: usize, epochs: usize, step: usize, steps: usize) -> f64 {
        let part = match self.cosine {
            CosineGranularity::Epoch => {
                let warm_up = self.warm_up_epochs;
                if epoch < warm_up {
                    return self.learning_rate / (warm_up - epoch) as f64;
                }
                (epoch - warm_up) as f64 / epochs.saturating_sub(warm_up).max(1) as f64
            }
            CosineGranularity::Step => (epoch * steps + step) as f64 / (epochs * steps).max(1) as f64,
        };
        self.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * part).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_epoch_it_is_the_official_code_s() {
        let schedule = Schedule { learning_rate: 1e-3, warm_up_epochs: 5, cosine: CosineGranularity::Epoch };
        let rates: Vec<f64> = (0..8).map(|epoch| schedule.at(epoch, 30, 3, 10)).collect();
        let cosine = |e: f64| 1e-3 * 0.5 * (1.0 + (std::f64::consts::PI * e / 25.0).cos());
        let expected =
            [1e-3 / 5.0, 1e-3 / 4.0, 1e-3 / 3.0, 1e-3 / 2.0, 1e-3, cosine(0.0), cosine(1.0), cosine(2.0)];
        for (rate, expected) in rates.iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-15, "{rates:?}");
        }
    }

    #[test]
    fn by_step_it_falls_from_the_first_step_on() {
        let schedule = Schedule { learning_rate: 1.0, warm_up_epochs: 5, cosine: CosineGranularity::Step };
        assert_eq!(schedule.at(0, 2, 0, 100), 1.0);
        assert!((schedule.at(1, 2, 0, 100) - 0.5).abs() < 1e-12);
        assert!(schedule.at(1, 2, 99, 100) < 1e-3);
    }
}
