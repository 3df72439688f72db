//! What one run saw, as it is written to disk.

use serde::{Deserialize, Serialize};

use crate::RunConfig;

/// Version of the record's form; `results/FORMAT.md` describes it.
pub const RECORD_SCHEMA: u32 = 1;

/// Accuracy on the test split, in %.
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
    /// What the epochs give.
    pub(crate) fn of(epochs: &[EpochRecord]) -> Self {
        let mut accuracy = Self { last: 0.0, best_test: f64::NEG_INFINITY, best_test_epoch: 0, chosen: None };
        for epoch in epochs {
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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

/// The record of one finished run.
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
    /// Accuracy in % on the test split if the vote were taken after each time step, after the last epoch; none of older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anytime: Option<Vec<f64>>,
    /// Operations by layer of weights, on the test split after the last epoch; none of older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<Vec<LayerOperations>>,
    /// Median over epochs, in ms.
    pub train_ms_per_sample: f64,
    /// Median over epochs, in ms, in batches of the configuration's size.
    pub test_ms_per_sample: f64,
    /// Wall time of the run in seconds.
    pub wall_seconds: f64,
    /// Threads it ran on.
    pub threads: usize,
    /// BLAKE3 over final parameters and running statistics.
    pub parameters_hash: String,
    /// Training samples per epoch (whole batches) and test samples.
    pub samples: [usize; 2],
    /// Everything that shaped the run.
    pub config: RunConfig,
    /// Each epoch.
    pub epochs: Vec<EpochRecord>,
    /// True: a record is written when its run is finished, and not before.
    pub completed: bool,
}
