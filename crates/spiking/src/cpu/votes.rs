//! What leaves the network: votes after each time step, their loss, and its gradients.

use candle_core::{Device, Tensor};

use super::conv::{Extent, StatisticsSource};
use super::plan::place;
use super::simd::LANES;
use super::{Cpu, in_pool};
use crate::examine::largest;
use crate::{Batch, Result};

impl Cpu {
    /// Evaluates a batch and gives its votes after each time step, as if it were the last: `[T, N, classes]`, the share of a
    /// class's voters that fired so far.
    ///
    /// # Errors
    /// Those of [`crate::Engine::evaluate`].
    pub fn anytime(&mut self, batch: &Batch<'_>) -> Result<Tensor> {
        in_pool(|| self.pass(batch, StatisticsSource::Running, None))?;
        let (samples, classes, steps) = (self.extent.samples, self.plan.classes, self.extent.steps);
        let votes: Vec<f32> = (1..=steps).flat_map(|so_far| self.votes_after(so_far)).collect();
        Ok(Tensor::from_vec(votes, (steps, samples, classes), &Device::Cpu)?)
    }

    /// The share of a class's voters that fired in the first `steps` time steps, `[sample][class]`.
    pub(super) fn votes_after(&self, steps: usize) -> impl Iterator<Item = f32> {
        let samples = self.extent.samples;
        let (classes, voters) = (self.plan.classes, self.plan.voters);
        let spikes = self.linears.last().map_or(&[][..], |output| &output.spikes);
        let of_a_sample = self.extent.steps;
        (0..samples * classes).map(move |index| {
            let (sample, class) = (index / classes, index % classes);
            let fired: u32 = (class * voters..(class + 1) * voters)
                .map(|cell| {
                    let at = (cell / LANES * samples + sample) * of_a_sample;
                    spikes[at..][..steps]
                        .iter()
                        .map(|spikes| u32::from(spikes >> (cell % LANES) & 1))
                        .sum::<u32>()
                })
                .sum();
            fired as f32 / (voters * steps) as f32
        })
    }

    /// Mean squared error against the one-hot labels; leaves the predictions.
    pub(super) fn loss(&mut self, labels: &[u32]) -> f64 {
        let classes = self.plan.classes;
        self.predictions.clear();
        let mut loss = 0.0;
        for (votes, label) in self.votes.chunks(classes).zip(labels) {
            for (class, vote) in votes.iter().enumerate() {
                let error = vote_error(*vote, class, *label);
                loss += f64::from(error * error);
            }
            self.predictions.push(largest(votes));
        }
        loss / self.votes.len() as f64
    }

    /// Leaves the gradients of the output spikes.
    pub(super) fn vote_gradients(&mut self, labels: &[u32]) {
        let Extent { samples, steps, .. } = self.extent;
        let (classes, voters) = (self.plan.classes, self.plan.voters);
        let blocks = self.linears.last().map_or(0, |linear| linear.stage.blocks());
        // The lanes that fill up the last block have no vote: what a batch of another size left in their places must go.
        self.vote_grads.clear();
        self.vote_grads.resize(blocks * samples * LANES, 0.0);
        let share = (2.0 / ((samples * classes) as f64 * (steps * voters) as f64)) as f32;
        for (index, vote) in self.votes.iter().enumerate() {
            let (sample, class) = (index / classes, index % classes);
            let error = vote_error(*vote, class, labels[sample]);
            for cell in class * voters..(class + 1) * voters {
                self.vote_grads[place(cell, sample, samples)] = error * share;
            }
        }
    }
}

/// How far a class's vote lies from what the label asks for.
fn vote_error(vote: f32, class: usize, label: u32) -> f32 {
    vote - if label as usize == class { 1.0 } else { 0.0 }
}
