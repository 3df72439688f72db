//! Through the layers, in training and in evaluation.

use candle_core::Tensor;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::lif::{LifTrace, lif_forward};
use super::pass::{Pass, Saved, mean_votes};
use super::trace::{Shards, Trace, counted};
use super::{Reference, conv, dense, lif, norm, pool};
#[cfg(feature = "cuda")]
use crate::cuda::Kernels;
use crate::random::unit;
use crate::{Evaluation, Layer, Mode, Result, Stimuli};

impl Reference {
    /// A forward pass in training mode: batch statistics, running averages updated, dropout on.
    ///
    /// # Errors
    /// The device's.
    pub fn forward(&mut self, stimuli: &Stimuli, mode: Mode, dropout: &mut ChaCha8Rng) -> Result<Pass> {
        let steps = stimuli.time_steps;
        let mut shards = stimuli.shards.clone();
        let mut saved = Vec::with_capacity(self.spec.layers.len());
        for index in 0..self.spec.layers.len() {
            shards = self.widened(index, shards)?;
            #[cfg(feature = "cuda")]
            if let Some((norm, kernels, trace)) = self.cells_behind(index, &shards, mode) {
                if index < norm + 2 {
                    saved.push(Saved::Nothing);
                    continue;
                }
                let (weight, bias) = self.weight_and_bias(norm)?;
                let statistics = kernels.batch_statistics(trace)?;
                self.update_running(norm, &statistics, steps)?;
                let (norm, trace) =
                    kernels.norm_cells(trace, &statistics, [&weight, &bias], steps, &self.neuron)?;
                shards = vec![trace.spikes.clone()];
                saved.push(Saved::NormCells { norm, trace });
                continue;
            }
            let (next, kept) = match self.spec.layers[index] {
                Layer::BatchNorm => {
                    let (weight, bias) = self.weight_and_bias(index)?;
                    let statistics = norm::batch_statistics(&shards)?;
                    self.update_running(index, &statistics, steps)?;
                    let (next, kept) = norm::forward(&shards, statistics, &weight, &bias)?;
                    (next, Saved::Norm(kept))
                }
                Layer::NeuronDropout { probability } => {
                    let masks = dense::dropout_masks(&shards, probability, || unit(dropout))?;
                    let next = dense::mask(&shards, &masks)?;
                    (next, Saved::Dropout { masks })
                }
                Layer::Lif if mode == Mode::Spiking => {
                    let neuron = &self.neuron;
                    let traces: Vec<LifTrace> = shards
                        .par_iter()
                        .map(|trace| lif_forward(trace, steps, neuron))
                        .collect::<Result<_>>()?;
                    let next = traces.iter().map(|trace| trace.spikes.clone()).collect();
                    (next, Saved::Lif { traces })
                }
                _ => self.stateless(index, shards)?,
            };
            shards = next;
            saved.push(kept);
        }
        Ok(Pass { votes: mean_votes(&shards, steps)?, saved })
    }

    /// Evaluates: running statistics, no dropout, spikes counted.
    ///
    /// # Errors
    /// Those of [`Pass::loss`].
    pub fn evaluate(&self, stimuli: &Stimuli, labels: &[u32], mode: Mode) -> Result<Evaluation> {
        let steps = stimuli.time_steps;
        let mut spikes = Vec::new();
        let shards = self.run(stimuli, mode, |index, shards| {
            if let Some(cells) = self.cells_before(index).filter(|_| mode == Mode::Spiking) {
                let counts = shards.par_iter().map(lif::count);
                spikes.push((cells, counts.collect::<Result<Vec<u64>>>()?.iter().sum()));
            }
            Ok(())
        })?;
        let pass = Pass { votes: mean_votes(&shards, steps)?, saved: Vec::new() };
        let (loss, _) = pass.loss(labels, steps)?;
        Ok(Evaluation { loss, predictions: pass.predictions()?, spikes })
    }

    /// The layer of cells right before a layer, if there is one.
    pub(super) fn cells_before(&self, index: usize) -> Option<usize> {
        index.checked_sub(1).filter(|before| self.spec.layers[*before] == Layer::Lif)
    }

    /// Runs a batch with running statistics and without dropout; `meet` is shown what enters each layer. Gives the votes.
    pub(super) fn run(
        &self,
        stimuli: &Stimuli,
        mode: Mode,
        mut meet: impl FnMut(usize, &[Trace]) -> Result<()>,
    ) -> Result<Shards> {
        let steps = stimuli.time_steps;
        let mut shards = stimuli.shards.clone();
        for index in 0..self.spec.layers.len() {
            meet(index, &shards)?;
            shards = self.widened(index, shards)?;
            #[cfg(feature = "cuda")]
            if let Some((norm, kernels, trace)) = self.cells_behind(index, &shards, mode) {
                if index == norm + 2 {
                    let (weight, bias) = self.weight_and_bias(norm)?;
                    let [mean, var] = self.running(norm);
                    let per_channel = [[mean, var], [&weight, &bias]];
                    shards = vec![kernels.running_cells(trace, per_channel, steps, &self.neuron)?];
                }
                continue;
            }
            shards = match self.spec.layers[index] {
                Layer::BatchNorm => {
                    let (weight, bias) = self.weight_and_bias(index)?;
                    let [mean, var] = self.running(index);
                    norm::apply_running(&shards, mean, var, &weight, &bias)?
                }
                Layer::NeuronDropout { .. } => shards,
                Layer::Lif if mode == Mode::Spiking => {
                    let fire = |trace| Ok(lif_forward(trace, steps, &self.neuron)?.spikes);
                    shards.par_iter().map(fire).collect::<Result<_>>()?
                }
                _ => self.stateless(index, shards)?.0,
            };
        }
        Ok(shards)
    }

    /// Where a layer is one of normalisation, rectifier and cells in this order, and the batch is one shard on a GPU with kernels: the normalisation's
    /// index, and what runs all three at once, when it is the cells' turn.
    #[cfg(feature = "cuda")]
    fn cells_behind<'a>(
        &self,
        index: usize,
        shards: &'a [Trace],
        mode: Mode,
    ) -> Option<(usize, Kernels, &'a Trace)> {
        const TOGETHER: [Layer; 3] = [Layer::BatchNorm, Layer::Relu, Layer::Lif];
        let starts = |norm: &usize| self.spec.layers[*norm..].starts_with(&TOGETHER);
        let norm = (index.saturating_sub(2)..=index).find(starts).filter(|_| mode == Mode::Spiking)?;
        let (kernels, trace) = Kernels::of_batch(shards)?;
        Some((norm, kernels, trace))
    }

    /// What enters a layer, as real numbers where the layer asks for them: spikes on a GPU are of a shorter type, which kernels for one
    /// shard know.
    fn widened(&self, index: usize, shards: Shards) -> Result<Shards> {
        let real = matches!(self.spec.layers[index], Layer::BatchNorm | Layer::Relu | Layer::Lif);
        match real || shards.len() > 1 {
            true => shards.iter().map(|trace| trace.map_block(counted)).collect(),
            false => Ok(shards),
        }
    }

    /// Whether the averages that a layer makes of spikes are whole numbers of shares that 8 binary digits hold.
    fn averages_exactly(&self, index: usize) -> bool {
        let back_to_cells = self.spec.layers[..=index].iter().rev().take_while(|layer| **layer != Layer::Lif);
        let shares = back_to_cells.map(|layer| match layer {
            Layer::AvgPool { size } => size * size,
            _ => 1,
        });
        let shares: usize = shares.product();
        shares.is_power_of_two() && shares <= 256
    }

    /// Layers that do the same in training and evaluation.
    fn stateless(&self, index: usize, shards: Shards) -> Result<(Shards, Saved)> {
        let each = |f: &(dyn Fn(&Tensor) -> Result<Tensor> + Sync)| -> Result<Shards> {
            shards.par_iter().map(|trace| trace.map_channels(f)).collect()
        };
        Ok(match self.spec.layers[index] {
            Layer::Conv { .. } => {
                let (weight, bias) = self.weight_and_bias(index)?;
                let next = conv::forward(&shards, &weight, &bias)?;
                (next, Saved::Conv { input: shards })
            }
            Layer::Relu => {
                let next = each(&|x| Ok(x.relu()?))?;
                let after_norm = index > 0 && self.spec.layers[index - 1] == Layer::BatchNorm;
                let input = (!after_norm).then_some(shards);
                (next.clone(), Saved::Relu { input, output: next })
            }
            Layer::MaxPool { size } => {
                let next = each(&|x| pool::max(x, size))?;
                (next.clone(), Saved::Pool { input: shards, output: next })
            }
            Layer::AvgPool { size } => {
                let exact = self.averages_exactly(index);
                let next = each(&|x| pool::average(x, size, exact))?;
                (next, Saved::Pool { input: shards, output: Vec::new() })
            }
            Layer::Flatten => {
                let (_, _, h, w) = shards[0].first().dims4()?;
                (each(&dense::flatten)?, Saved::Map([h, w]))
            }
            Layer::Linear { .. } => {
                let (weight, bias) = self.weight_and_bias(index)?;
                let next = dense::linear(&shards, &weight, &bias)?;
                (next, Saved::Linear { input: shards })
            }
            Layer::Vote { voters } => (each(&|x| dense::vote(x, voters))?, Saved::Nothing),
            // Met here in analogue mode only, where a cell passes its input on.
            Layer::Lif => (shards, Saved::Nothing),
            Layer::BatchNorm | Layer::NeuronDropout { .. } => unreachable!("handled by the pass itself"),
        })
    }

    /// The running averages of a normalisation: mean and variance.
    fn running(&self, index: usize) -> [&Tensor; 2] {
        ["mean", "var"].map(|part| &self.parameters.buffers[&format!("{index}.running_{part}")])
    }

    /// The running averages of a normalisation, behind a batch's statistics.
    fn update_running(&mut self, index: usize, statistics: &norm::Statistics, steps: usize) -> Result<()> {
        for (part, batch) in [("mean", &statistics.mean), ("var", &statistics.unbiased)] {
            let name = format!("{index}.running_{part}");
            let running = norm::running_update(&self.parameters.buffers[&name], batch, steps)?;
            self.parameters.buffers.insert(name, running);
        }
        Ok(())
    }
}
