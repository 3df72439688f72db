//! What every engine does with a network: a training step, an evaluation, and giving back what was learnt.

use rand_chacha::ChaCha8Rng;

use crate::stimuli::count_samples;
use crate::{AdamW, Examination, Input, Parameters, Result, SpikingError};

/// How LIF layers behave in a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They spike.
    Spiking,
    /// They pass their input through: the official code's ANN warm-up, run for one time step.
    Analogue,
}

/// Samples and their labels.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Samples one after another, each `[frames, C, H, W]` as the data set gives it (before subsampling by
    /// [`Input::stride`]).
    pub values: &'a [f32],
    /// 1 for a static image, which enters at each time step (direct encoding); else the time steps.
    pub frames: usize,
    /// Time steps the network runs for.
    pub time_steps: usize,
    /// The class of each sample, from 0.
    pub labels: &'a [u32],
}

impl Batch<'_> {
    /// The number of samples.
    ///
    /// # Errors
    /// [`SpikingError::Length`] where the values are no whole number of samples or the labels are not as many,
    /// [`SpikingError::Range`] for a label that is not a valid class index, for time steps of 0, and for frames that are neither one nor
    /// the time steps.
    pub fn check(&self, input: Input, classes: usize) -> Result<usize> {
        let samples = count_samples(self.values, self.frames, self.time_steps, input)?;
        check_labels(self.labels, samples, classes)?;
        Ok(samples)
    }
}

/// Refuses labels that are not one a sample, and those that are not valid class indices.
pub(crate) fn check_labels(labels: &[u32], samples: usize, classes: usize) -> Result<()> {
    if labels.len() != samples {
        return Err(SpikingError::Length {
            what: "the list of labels",
            found: labels.len(),
            expected: samples,
            shape: "one a sample".to_owned(),
        });
    }
    match labels.iter().find(|label| **label as usize >= classes) {
        Some(label) => Err(SpikingError::Range {
            key: "label",
            found: label.to_string(),
            expected: "a class that the network votes on",
        }),
        None => Ok(()),
    }
}

/// What one training step did.
#[derive(Debug, Clone, Copy)]
pub struct StepReport {
    /// Mean squared error before the step, over batch and classes.
    pub loss: f64,
    /// Samples whose largest vote was their class.
    pub correct: usize,
}

/// What an evaluation saw.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// Mean squared error over batch and classes.
    pub loss: f64,
    /// The class with the largest vote, per sample; the first of equals.
    pub predictions: Vec<u32>,
    /// Spikes of each LIF layer over all samples and time steps, as `(layer index, spikes)`.
    pub spikes: Vec<(usize, u64)>,
}

/// A network with its parameters and its optimizer, whatever computes it.
pub trait Engine {
    /// Forward, backward, AdamW. `dropout` is the stream that masks are drawn from.
    ///
    /// # Errors
    /// Those of [`Batch::check`], [`SpikingError::Range`] for values that are infinite or no numbers and, from [`Cpu`](crate::cpu::Cpu), for
    /// analogue mode and more than 1024 time steps, and the device's.
    fn train_step(
        &mut self,
        batch: &Batch<'_>,
        mode: Mode,
        dropout: &mut ChaCha8Rng,
        learning_rate: f64,
    ) -> Result<StepReport>;

    /// Evaluates: running statistics, no dropout, spikes counted.
    ///
    /// # Errors
    /// As [`Self::train_step`].
    fn evaluate(&mut self, batch: &Batch<'_>, mode: Mode) -> Result<Evaluation>;

    /// Evaluates with a closer look: votes after each time step, operations, and where cells fired. In analogue mode no cell fires, and every
    /// operation is a multiplication.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    fn examine(&mut self, batch: &Batch<'_>, mode: Mode) -> Result<Examination>;

    /// Bytes it holds: weights, AdamW's moments, and what the largest batch so far needs; without what each thread keeps. None where
    /// that is not known.
    fn memory(&self) -> Option<usize>;

    /// What it has learnt so far.
    ///
    /// # Errors
    /// The device's.
    fn parameters(&self) -> Result<Parameters>;

    /// Where its optimizer stands. An engine made from this and from [`Self::parameters`] goes on with the same bits.
    ///
    /// # Errors
    /// The device's.
    fn optimizer(&self) -> Result<AdamW>;
}
