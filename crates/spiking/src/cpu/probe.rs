//! A training step with all intermediate results.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use super::Cpu;
use super::conv::{Extent, StatisticsSource};
use super::plan::place;
use super::simd::LANES;
use super::weights::Update;
use crate::{Batch, Result};

/// One training step with all intermediate results, in which nothing moved but the running statistics: for tests and comparisons.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Mean squared error over batch and classes.
    pub loss: f64,
    /// The votes' mean over time, `[N, classes]`.
    pub output: Tensor,
    /// Spikes by layer index, `[T, N, C, H, W]` (features: `[T, N, F]`).
    pub spikes: BTreeMap<usize, Tensor>,
    /// Gradients of all parameters by name.
    pub gradients: BTreeMap<String, Tensor>,
    /// Dropout masks by layer index, `[N, F]`: 0 or 1 / (1 - p).
    pub masks: BTreeMap<usize, Tensor>,
}

impl Cpu {
    /// A training step that keeps its gradients instead of moving the weights; the running statistics move.
    ///
    /// # Errors
    /// Those of [`crate::Engine::train_step`].
    pub fn probe(&mut self, batch: &Batch<'_>, dropout: &mut ChaCha8Rng) -> Result<Probe> {
        self.pass(batch, StatisticsSource::Batch, Some(dropout))?;
        let loss = self.loss(batch.labels);
        self.vote_gradients(batch.labels);
        self.backward(Update::Keep);
        let (samples, classes) = (self.extent.samples, self.plan.classes);
        let mut spikes = BTreeMap::new();
        for conv in &self.convs {
            let shape = [conv.stage.outputs, conv.stage.height, conv.stage.width];
            let at = |block, sample, t, pixel| conv.spikes_at(block, sample, t)[pixel];
            spikes.insert(conv.stage.cells(), self.spikes_of(at, shape)?);
        }
        let mut masks = BTreeMap::new();
        for (index, linear) in self.linears.iter().enumerate() {
            let stage = linear.stage;
            let at = |block, sample, t, _| linear.spikes[(block * samples + sample) * self.extent.steps + t];
            let layer = self.spikes_of(at, [stage.outputs, 1, 1])?;
            spikes.insert(stage.cells, layer.flatten_from(2)?);
            if !linear.mask_before.is_empty() {
                let features = self.plan.features(index);
                let at = |i: usize| i / features * stage.inputs + self.plan.feature(index, i % features);
                let mask: Vec<f32> = (0..samples * features).map(|i| linear.mask_before[at(i)]).collect();
                masks.insert(stage.layer - 1, Tensor::from_vec(mask, (samples, features), &Device::Cpu)?);
            }
            if !linear.mask_behind.is_empty() {
                let of = stage.outputs;
                let at = |i: usize| place(i % of, i / of, samples);
                let mask: Vec<f32> = (0..samples * of).map(|i| linear.mask_behind[at(i)]).collect();
                masks.insert(stage.cells - 1, Tensor::from_vec(mask, (samples, of), &Device::Cpu)?);
            }
        }
        Ok(Probe {
            loss,
            output: Tensor::from_slice(&self.votes, (samples, classes), &Device::Cpu)?,
            spikes,
            gradients: self.trainable(|weights| &weights.kept)?,
            masks,
        })
    }

    /// `[T, N, C, H, W]` from the spikes at (block, sample, time step, pixel).
    fn spikes_of(
        &self,
        at: impl Fn(usize, usize, usize, usize) -> u16,
        [channels, height, width]: [usize; 3],
    ) -> Result<Tensor> {
        let Extent { samples, steps, .. } = self.extent;
        let pixels = height * width;
        let value = |i: usize| {
            let (pixel, channel) = (i % pixels, i / pixels % channels);
            let (sample, t) = (i / pixels / channels % samples, i / pixels / channels / samples);
            f32::from(at(channel / LANES, sample, t, pixel) >> (channel % LANES) & 1)
        };
        let values: Vec<f32> = (0..steps * samples * channels * pixels).map(value).collect();
        Ok(Tensor::from_vec(values, (steps, samples, channels, height, width), &Device::Cpu)?)
    }
}
