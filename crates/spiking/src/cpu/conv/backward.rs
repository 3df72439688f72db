//! From the gradients behind a stage's pool to weights that moved, and to the gradients before its convolution.

use rayon::prelude::*;

use super::{Conv, Extent, GRADIENT_TASKS, Maps, Room};
use crate::Neuron;
use crate::cpu::kernels::neuron::{Learn, PIXELS, Places, Routes};
use crate::cpu::kernels::norm::Unnormalise;
use crate::cpu::kernels::product::{Product, Repeat, Start, Terms};
use crate::cpu::kernels::spike_gradient::{LISTS, SpikeGradient};
use crate::cpu::kernels::spikes::TAPS;
use crate::cpu::memory::{with_floats, with_lanes, with_lists};
use crate::cpu::plan::Pool;
use crate::cpu::simd::{LANES, Path};
use crate::cpu::turned::Given;
use crate::cpu::watch::{Part, Watch};
use crate::cpu::weights::Update;

impl Conv {
    /// From the gradients behind the pool (`room.behind_pool`) to weights that moved, and, but for the first stage, to the
    /// gradients behind the pool of the stage before.
    pub(in crate::cpu) fn backward(
        &mut self,
        path: Path,
        neuron: &Neuron,
        update: Update,
        first: bool,
        room: &mut Room,
        watch: &mut Watch,
    ) {
        let layer = self.stage.layer;
        self.learn(path, neuron, room);
        watch.lap(layer, Part::CellsBack);
        self.norm_gradients(room);
        self.unnormalise(path, room);
        watch.lap(layer, Part::NormBack);
        if !first {
            let planes = self.extent.samples * self.extent.planes;
            let wide = planes * self.input_blocks() * self.stage.pixels() * LANES;
            room.behind_pool.grow(wide);
            let Room { behind_norm, behind_pool, kernels, .. } = room;
            let given = Given { path, weights: &self.weight.values, grads: behind_norm, planes };
            self.turned.run(given, kernels, &mut behind_pool[..wide]);
            watch.lap(layer, Part::InputGradient);
        }
        self.weight_gradients(path, room);
        let weights = self.weight.values.len();
        self.weight.update(path, update, &room.parts[..weights]);
        let channels = self.stage.blocks() * LANES;
        self.bias.update(path, update, &room.bias[..channels]);
        self.gamma.update(path, update, &room.gamma[..channels]);
        self.beta.update(path, update, &room.beta[..channels]);
        watch.lap(layer, Part::WeightGradient);
    }

    fn learn(&mut self, path: Path, neuron: &Neuron, room: &mut Room) {
        let Extent { samples, steps, planes } = self.extent;
        let (stage, blocks) = (self.stage, self.stage.blocks());
        let padded = stage.padded();
        let (rows, columns) = stage.pooled();
        let behind = rows * columns;
        room.behind_norm.grow(blocks * samples * planes * padded * LANES);
        let mut all_sums = std::mem::take(&mut self.sums);
        let grads = &room.behind_pool;
        let outs = room.behind_norm.par_chunks_mut(planes * padded * LANES).take(blocks * samples);
        let sums = all_sums.par_chunks_mut(planes * 2 * LANES);
        outs.zip(sums).enumerate().for_each(|(index, (out, sums))| {
            let (block, sample) = (index / samples, index % samples);
            for plane in out.chunks_mut(padded * LANES) {
                let (plane, _) = plane.as_chunks_mut::<LANES>();
                for place in &self.lists.border {
                    plane[*place as usize] = [0.0; LANES];
                }
            }
            let factor = match stage.pool {
                Pool::Average(size) => 1.0 / (size * size) as f32,
                Pool::Max(_) | Pool::None => 1.0,
            };
            let maxima = if matches!(stage.pool, Pool::Max(_)) { steps * stage.pixels() } else { 0 };
            with_lanes(maxima + steps * PIXELS, |lanes| {
                let (maxima, positive) = lanes.split_at_mut(maxima);
                self.first_maxima(block, sample, maxima);
                with_floats(steps * PIXELS * LANES, |potentials| {
                    path.run(Learn {
                        cells: self.cells(block, self.output_of(block, sample)),
                        neuron,
                        grads: &grads[(sample * steps * blocks + block) * behind * LANES..],
                        routes: Routes {
                            of: self.lists.routes.as_deref(),
                            places: behind,
                            step: blocks * behind,
                            lanes: (!maxima.is_empty()).then_some(&*maxima),
                            factor,
                        },
                        mean: Some(&self.mean[block * planes * LANES..][..planes * LANES]),
                        out,
                        places: Places { of: Some(&self.lists.places), plane: padded },
                        sums,
                        potentials,
                        positive,
                    });
                });
            });
        });
        self.sums = all_sums;
    }

    /// Leaves the gradients of the norm's weight and bias, and the terms of [`Unnormalise`], in the room.
    fn norm_gradients(&self, room: &mut Room) {
        let Extent { samples, planes, .. } = self.extent;
        let blocks = self.stage.blocks();
        let count = (samples * self.stage.pixels()) as f64;
        room.gamma.grow(blocks * LANES);
        room.beta.grow(blocks * LANES);
        room.terms.grow(blocks * planes * 4 * LANES);
        for block in 0..blocks {
            for lane in 0..LANES {
                let channel = block * LANES + lane;
                let (mut of_gamma, mut of_beta) = (0.0, 0.0);
                for plane in 0..planes {
                    let (mut plain, mut weighted) = (0.0, 0.0);
                    for sample in 0..samples {
                        let at = ((block * samples + sample) * planes + plane) * 2 * LANES + lane;
                        plain += f64::from(self.sums[at]);
                        weighted += f64::from(self.sums[at + LANES]);
                    }
                    let at = (block * planes + plane) * LANES + lane;
                    let inverse = f64::from(self.inverse[at]);
                    of_beta += plain;
                    of_gamma += weighted * inverse;
                    let scale = f64::from(self.gamma.values[channel]) * inverse;
                    let terms = &mut room.terms[(block * planes + plane) * 4 * LANES..][..4 * LANES];
                    terms[lane] = scale as f32;
                    terms[LANES + lane] = (-scale * weighted * inverse * inverse / count) as f32;
                    terms[2 * LANES + lane] = self.mean[at];
                    terms[3 * LANES + lane] = (-scale * plain / count) as f32;
                }
                room.gamma[channel] = of_gamma as f32;
                room.beta[channel] = of_beta as f32;
            }
        }
    }

    /// The gradients before the norm, in place; leaves the gradient of the convolution's bias, which the norm makes
    /// rounding around zero, in the room.
    fn unnormalise(&mut self, path: Path, room: &mut Room) {
        let Extent { samples, planes, .. } = self.extent;
        let (stage, blocks) = (self.stage, self.stage.blocks());
        let (padded, size) = (stage.padded(), stage.pixels() * LANES);
        let grads = room.behind_norm.par_chunks_mut(padded * LANES).take(blocks * samples * planes);
        let mut sums = std::mem::take(&mut self.sums);
        grads.zip(sums.par_chunks_mut(2 * LANES)).enumerate().for_each(|(index, (grads, sum))| {
            let (block, plane) = (index / planes / samples, index % planes);
            let at = self.output_at(block, index % (samples * planes));
            path.run(Unnormalise {
                input: &self.output[at * size..][..size],
                terms: &room.terms[(block * planes + plane) * 4 * LANES..][..4 * LANES],
                grads,
                places: Places { of: Some(&self.lists.places), plane: padded },
                sum,
            });
        });
        self.sums = sums;
        room.bias.grow(blocks * LANES);
        for (channel, bias) in room.bias.iter_mut().take(blocks * LANES).enumerate() {
            let (block, lane) = (channel / LANES, channel % LANES);
            let of_block = &self.sums[block * samples * planes * 2 * LANES..][..samples * planes * 2 * LANES];
            *bias = of_block.chunks(2 * LANES).map(|sums| f64::from(sums[lane])).sum::<f64>() as f32;
        }
    }

    /// Leaves the gradients of the weights at the head of `room.parts`.
    fn weight_gradients(&self, path: Path, room: &mut Room) {
        let Extent { samples, planes, .. } = self.extent;
        let (stage, blocks, lanes) = (self.stage, self.stage.blocks(), self.lanes());
        let (padded, all) = (stage.padded(), samples * planes);
        let pairs = self.input_blocks() * blocks;
        // By the network and the batch alone: the cut shapes the order of summation.
        let part = all.div_ceil(GRADIENT_TASKS.div_ceil(pairs));
        let parts = all.div_ceil(part);
        let size = TAPS * lanes * LANES;
        room.parts.grow(parts * pairs * size);
        let (grads, lists, wide) = (&room.behind_norm, &self.lists, stage.wide());
        let tasks = room.parts[..parts * pairs * size].par_chunks_mut(wide * size);
        tasks.enumerate().for_each(|(index, weights)| {
            let (part_index, pair) = (index * wide / pairs, index * wide % pairs);
            let (first, from, block) = (part_index * part, pair / blocks, pair % blocks);
            let count = part.min(all - first);
            let at = (from * all + first) * padded;
            let grads = &grads[(block * all + first) * padded * LANES..];
            match &self.input {
                Maps::Spikes(spikes) => with_lists(LISTS, |lists| {
                    path.run(SpikeGradient {
                        spikes: &spikes[at..][..count * padded],
                        grads,
                        stride: all * padded * LANES,
                        weights,
                        row: stage.width + 2,
                        lists,
                    });
                }),
                Maps::Real { values, .. } => {
                    let at_once = lists.gradient_runs.len() / stage.height;
                    for plane in (0..count).step_by(at_once) {
                        let planes = at_once.min(count - plane);
                        path.run(Product {
                            a: &values[(at + plane * padded) * lanes..][..planes * padded * lanes],
                            b: &grads[plane * padded * LANES..],
                            c: weights,
                            rows: &lists.gradient_rows,
                            terms: Terms {
                                runs: &lists.gradient_runs[..planes * stage.height],
                                length: stage.width,
                                a_step: lanes,
                                b_step: LANES,
                            },
                            vectors: wide,
                            b_stride: all * padded * LANES,
                            c_stride: size,
                            start: if plane == 0 { Start::Zero } else { Start::Sum },
                            repeat: Repeat::ONCE,
                        });
                    }
                }
            }
        });
        let (head, rest) = room.parts[..parts * pairs * size].split_at_mut(pairs * size);
        for part in rest.chunks(pairs * size) {
            for (sum, value) in head.iter_mut().zip(part) {
                *sum += value;
            }
        }
    }
}
