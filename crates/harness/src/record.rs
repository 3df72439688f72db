//! What one run saw, as it is written to disk.

use serde::{Deserialize, Serialize};

use crate::RunConfig;
use crate::environment::{Code, Environment};

/// Version of the record's form; `results/FORMAT.md` describes it. Records of schemas 1 and 2, which had less, are still read.
pub const RECORD_SCHEMA: u32 = 3;

/// Accuracy on the test split, in %. An epoch of ANN warm-up has no part in it, but in the ANN twin's: it is no spiking network's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// After the last epoch.
    pub last: f64,
    /// At the best epoch, chosen on the test split itself: the paper's protocol.
    pub best_test: f64,
    /// That epoch, from 1; the first of equals.
    pub best_test_epoch: usize,
    /// At the epoch that the validation samples choose; none if none were held back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Chosen>,
}

/// The epoch with the best accuracy on the validation samples: the test split has no part in the choice.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// That epoch, from 1; the first of equals.
    pub epoch: usize,
    /// Its accuracy on the validation samples, in %.
    pub validation: f64,
    /// Its accuracy on the test split, in %.
    pub test: f64,
}

impl Accuracy {
    /// What the epochs give: of the ANN twin (`ann`) all, of others those behind the warm-up.
    pub(crate) fn of(epochs: &[EpochRecord], ann: bool) -> Self {
        let mut accuracy = Self { last: 0.0, best_test: f64::NEG_INFINITY, best_test_epoch: 0, chosen: None };
        for epoch in epochs.iter().filter(|epoch| ann || !epoch.ann_warm_up) {
            let test = epoch.test_accuracy;
            accuracy.last = test;
            if test > accuracy.best_test {
                (accuracy.best_test, accuracy.best_test_epoch) = (test, epoch.epoch);
            }
            if let Some(validation) = epoch.validation_accuracy
                && accuracy.chosen.is_none_or(|chosen| validation > chosen.validation)
            {
                accuracy.chosen = Some(Chosen { epoch: epoch.epoch, validation, test });
            }
        }
        accuracy
    }
}

/// One epoch of training and the evaluation after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// From 1.
    pub epoch: usize,
    /// Learning rate of its first step.
    pub learning_rate: f64,
    /// Whether it was an epoch of ANN warm-up.
    pub ann_warm_up: bool,
    /// Mean of the steps' losses.
    pub train_loss: f64,
    /// Accuracy over the steps, in %, each batch seen before its step.
    pub train_accuracy: f64,
    /// Mean squared error on the test split.
    pub test_loss: f64,
    /// Accuracy on the test split, in %.
    pub test_accuracy: f64,
    /// Mean squared error on the validation samples, if any were held back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    /// Accuracy on them, in %.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_accuracy: Option<f64>,
    /// Spikes over cells and time steps on the test split, all LIF layers together.
    pub firing_rate: f64,
    /// The same of each LIF layer, in their order; of none in an epoch of ANN warm-up. Since schema 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_firing_rates: Option<Vec<f64>>,
    /// Time of the training steps, in ms per sample.
    pub train_ms_per_sample: f64,
    /// Time of the evaluation, in ms per sample, in batches.
    pub test_ms_per_sample: f64,
}

/// Spikes of one LIF layer on the test split after the last epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LayerSpikes {
    /// Index of the layer.
    pub layer: usize,
    /// Its cells.
    pub cells: usize,
    /// Spikes per sample, over all time steps.
    pub spikes_per_sample: f64,
    /// Spikes over cells and time steps.
    pub firing_rate: f64,
}

/// What enters the weights of one layer, per test sample over all time steps: see [`bpsta_spiking::Operations`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LayerOperations {
    /// Index of the convolution or linear layer.
    pub layer: usize,
    /// Inputs that are not zero.
    pub inputs_per_sample: f64,
    /// Weights they meet.
    pub operations_per_sample: f64,
    /// Weights that all inputs would meet.
    pub dense_per_sample: f64,
    /// Whether the inputs are real numbers, not spikes.
    pub real: bool,
}

/// The test samples of one class after the last epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCount {
    /// How many got the most votes for it.
    pub correct: usize,
    /// How many there are.
    pub total: usize,
}

/// How long it took, and what it took. Differs between machines and calls.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Training steps, ANN warm-up included.
    pub steps: usize,
    /// Their times, in ms, without reading the data.
    pub step_ms: Percentiles,
    /// The most memory that a process which took part has held up to then, in MiB, cells that it ran before included.
    pub peak_rss_mb: Option<f64>,
    /// How often the run went on from a checkpoint.
    pub resumed: u32,
}

/// A distribution by the value that so many per cent of it do not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// 5 %.
    pub p5: f64,
    /// The median.
    pub p50: f64,
    /// 95 %.
    pub p95: f64,
    /// The largest.
    pub max: f64,
}

impl Percentiles {
    /// Of at least one value; the nearest rank.
    pub(crate) fn of(values: &[f32]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f32::total_cmp);
        let at = |percent: usize| {
            let rank = (percent * sorted.len()).div_ceil(100).saturating_sub(1);
            sorted.get(rank).copied().map_or(0.0, f64::from)
        };
        Self { p5: at(5), p50: at(50), p95: at(95), max: at(100) }
    }
}

/// The record of one finished run. What came with a later schema is none in a record of an earlier one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// See [`RECORD_SCHEMA`].
    pub schema: u32,
    /// Names the run: see [`RunConfig::run_id`].
    pub run_id: String,
    /// The data set's id.
    pub dataset: String,
    /// The rule's id.
    pub rule: String,
    /// Simulation length T.
    pub time_steps: usize,
    /// The seed.
    pub seed: u64,
    /// The profile's id.
    pub profile: String,
    /// Whether the data are a synthetic stand-in.
    pub synthetic: bool,
    /// Which part of the official data, if not all.
    pub subset: Option<bpsta_datasets::Subset>,
    /// The data in words, with stand-in or subset named.
    pub data: String,
    /// How training and test samples were told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_rule: Option<String>,
    /// The random streams that were drawn from the seed, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<Vec<String>>,
    /// The paper's network: small, middle or large.
    pub network: String,
    /// Its width factor; 1 is the paper's.
    pub width: f64,
    /// The network in the paper's notation.
    pub layers: String,
    /// Its trainable parameters.
    pub parameters: usize,
    /// Accuracy in %.
    pub accuracy: Accuracy,
    /// Spikes over cells and time steps on the test split after the last epoch, all LIF layers, the output's included.
    pub firing_rate: f64,
    /// Spikes of all LIF layers per test sample, over all time steps.
    pub spikes_per_sample: f64,
    /// The same per layer.
    pub layer_spikes: Vec<LayerSpikes>,
    /// Test samples by class, after the last epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<ClassCount>>,
    /// Accuracy in % on the test split if the vote were taken after each time step, after the last epoch; none of older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anytime: Option<Vec<f64>>,
    /// Operations by layer of weights, on the test split after the last epoch; none of older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<Vec<LayerOperations>>,
    /// Median over epochs, in ms; those of ANN warm-up are left out where there are others.
    pub train_ms_per_sample: f64,
    /// Median over the same epochs, in ms, in batches of the configuration's size.
    pub test_ms_per_sample: f64,
    /// Wall time of the run in seconds.
    pub wall_seconds: f64,
    /// Threads it ran on.
    pub threads: usize,
    /// BLAKE3 over final parameters and running statistics.
    pub parameters_hash: String,
    /// BLAKE3 over its maps: see [`crate::Maps`]. Since schema 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maps_hash: Option<String>,
    /// Training samples per epoch (whole batches) and test samples.
    pub samples: [usize; 2],
    /// Everything that shaped the run.
    pub config: RunConfig,
    /// Each epoch.
    pub epochs: Vec<EpochRecord>,
    /// True: a record is written when its run is finished, and not before.
    pub completed: bool,
    /// The machine it was finished on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// The program it was finished by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// Times and memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing: Option<Timing>,
}

impl Record {
    /// The network, and its width factor where it is not the paper's 1: `middle width 0.125`.
    pub(crate) fn network_name(&self) -> String {
        let width = if self.width == 1.0 { String::new() } else { format!(" width {}", self.width) };
        self.network.clone() + &width
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(epoch: usize, ann_warm_up: bool, accuracy: f64) -> EpochRecord {
        EpochRecord {
            epoch,
            learning_rate: 1e-3,
            ann_warm_up,
            train_loss: 0.1,
            train_accuracy: accuracy,
            test_loss: 0.1,
            test_accuracy: accuracy,
            validation_loss: Some(0.1),
            validation_accuracy: Some(accuracy),
            firing_rate: 0.0,
            layer_firing_rates: None,
            train_ms_per_sample: 1.0,
            test_ms_per_sample: 1.0,
        }
    }

    #[test]
    fn percentiles_are_the_nearest_ranks() {
        let hundred: Vec<f32> = (1..=100).rev().map(|value| value as f32).collect();
        let Percentiles { p5, p50, p95, max } = Percentiles::of(&hundred);
        assert_eq!((p5, p50, p95, max), (5.0, 50.0, 95.0, 100.0));
    }

    #[test]
    fn an_epoch_of_warm_up_is_an_ann_s_and_counts_for_the_twin_alone() {
        let epochs = [epoch(1, true, 90.0), epoch(2, false, 60.0), epoch(3, false, 50.0)];
        let best = |ann| {
            let Accuracy { last, best_test, best_test_epoch, chosen } = Accuracy::of(&epochs, ann);
            (last, best_test, best_test_epoch, chosen.unwrap().epoch)
        };
        assert_eq!(best(false), (50.0, 60.0, 2, 2));
        assert_eq!(best(true), (50.0, 90.0, 1, 1));
    }
}
