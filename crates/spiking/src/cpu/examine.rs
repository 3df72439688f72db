//! The closer look of [`crate::Engine::examine`]: read off the memory that an evaluation leaves behind.

use rayon::prelude::*;

use super::conv::{Conv, Maps};
use super::{Cpu, Extent};
use crate::Result;
use crate::examine::{Examination, Frequencies, Operations, largest, reach};

impl Cpu {
    /// Of the batch that was evaluated last.
    pub(super) fn look(&self) -> Result<Examination> {
        let votes_of = |steps| self.votes_after(steps).collect::<Vec<f32>>();
        let of_sample = |votes: Vec<f32>| votes.chunks(self.plan.classes).map(largest).collect();
        let rows = (self.extent.samples * self.extent.steps) as u64;
        let convs = self.convs.iter().map(|conv| conv.operations(self.extent));
        let linears = self.linears.iter().map(|linear| {
            let inputs = linear.input.par_iter().filter(|value| **value != 0.0).count() as u64;
            (inputs, inputs * linear.stage.outputs as u64)
        });
        let counts = convs.chain(linears).zip(self.spec.weight_layers()?);
        let operations = counts.map(|((inputs, operations), of)| Operations {
            layer: of.layer,
            inputs,
            operations,
            dense: rows * of.dense,
            real: of.real,
        });
        Ok(Examination {
            predictions: (1..=self.extent.steps).map(|steps| of_sample(votes_of(steps))).collect(),
            operations: operations.collect(),
            frequencies: self.convs.iter().map(|conv| conv.frequencies(self.extent)).collect(),
        })
    }
}

impl Conv {
    /// Inputs that are not zero over all samples and time steps, and the weights they meet.
    fn operations(&self, extent: Extent) -> (u64, u64) {
        let stage = &self.stage;
        // A map has a border of one pixel, which holds zeros.
        let taps = |place: usize| {
            let (y, x) = (place / (stage.width + 2), place % (stage.width + 2));
            let inside = (1..=stage.height).contains(&y) && (1..=stage.width).contains(&x);
            if inside { reach(y - 1, stage.height) * reach(x - 1, stage.width) } else { 0 }
        };
        let taps: Vec<u64> = (0..stage.padded()).map(taps).collect();
        let add = |a: (u64, u64), b: (u64, u64)| (a.0 + b.0, a.1 + b.1);
        let weigh = |counts: &mut dyn Iterator<Item = u64>| {
            counts.zip(&taps).fold((0, 0), |sum, (count, taps)| add(sum, (count, count * taps)))
        };
        let (inputs, met) = match &self.input {
            Maps::Spikes(spikes) => spikes
                .par_chunks(stage.padded())
                .map(|map| weigh(&mut map.iter().map(|spikes| u64::from(spikes.count_ones()))))
                .reduce(|| (0, 0), add),
            Maps::Real { values, lanes } => values
                .par_chunks(stage.padded() * lanes)
                .map(|map| {
                    let count = |pixel: &[f32]| pixel.iter().filter(|value| **value != 0.0).count() as u64;
                    weigh(&mut map.chunks(*lanes).map(count))
                })
                .reduce(|| (0, 0), add),
        };
        // An image that is the same at every time step lies there once.
        let repeats = (extent.steps / self.planes()) as u64;
        (inputs * repeats, met * stage.outputs as u64 * repeats)
    }

    fn frequencies(&self, extent: Extent) -> Frequencies {
        let (stage, Extent { samples, steps, .. }) = (&self.stage, extent);
        let mut spikes = vec![0; samples * stage.pixels()];
        spikes.par_chunks_mut(stage.pixels()).enumerate().for_each(|(sample, map)| {
            for (block, t) in (0..stage.blocks()).flat_map(|block| (0..steps).map(move |t| (block, t))) {
                // Lanes beyond the last channel never fire.
                for (sum, spikes) in map.iter_mut().zip(self.spikes_at(block, sample, t)) {
                    *sum += spikes.count_ones();
                }
            }
        });
        let most = (steps * stage.outputs) as u32;
        Frequencies { layer: stage.cells(), map: [stage.height, stage.width], most, spikes }
    }
}
