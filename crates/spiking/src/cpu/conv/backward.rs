//! From the gradients of what a stage's pool gives to weights that moved, and to the gradients of the stage's input.

use std::ops::Range;

use rayon::prelude::*;

use super::{Conv, Extent, GRADIENT_TASKS, Maps, Room};
use crate::Neuron;
use crate::cpu::kernels::neuron::{Gives, Grads, Learn, Norm, PIXELS, Places, Reach, Routes, Sums};
use crate::cpu::kernels::norm::Unnormalise;
use crate::cpu::kernels::product::{Product, Repeat, Start, Terms};
use crate::cpu::kernels::spike_gradient::{LISTS, SpikeGradient};
use crate::cpu::kernels::spikes::{BLOCK, TAPS};
use crate::cpu::memory::{with_floats, with_lanes, with_lists, with_table};
use crate::cpu::of_a_task;
use crate::cpu::plan::Pool;
use crate::cpu::simd::{LANES, Path};
use crate::cpu::turned::Given;
use crate::cpu::watch::{Part, Watch};
use crate::cpu::weights::Update;

/// Pairs of blocks of a task at most: a core's cache holds their weights, 576 KiB, beside the gradients of some pixels.
const PAIRS: usize = 64;

impl Conv {
    /// From the gradients of what the pool gives, `[sample][time step][block][pixel][16]`, to weights that moved, and, but for the first
    /// stage, to the gradients of the input ([`Self::input_grads`]).
    pub(in crate::cpu) fn backward(
        &mut self,
        path: Path,
        neuron: &Neuron,
        update: Update,
        pooled_grads: &[f32],
        room: &mut Room,
        watch: &mut Watch,
    ) {
        let layer = self.stage.layer;
        let constant = self.extent.planes < self.extent.steps;
        self.learn(path, neuron, pooled_grads, room, constant);
        watch.lap(layer, Part::CellsBack);
        self.norm_gradients(room);
        if self.first && !constant {
            self.first_gradients(path, neuron, update, pooled_grads, room);
        } else {
            match constant {
                true => self.unnormalise(path, room),
                false => self.learn_through_norm(path, neuron, pooled_grads, room),
            }
            watch.lap(layer, Part::NormBack);
            if !self.first {
                let planes = self.planes_of_batch();
                let wide = planes * self.input_blocks() * self.stage.pixels() * LANES;
                let Room { pre_norm_grads, kernels, .. } = room;
                let given = Given { path, weights: &self.weight.values, grads: pre_norm_grads, planes };
                self.turned.run(given, kernels, &mut self.output[..wide]);
                watch.lap(layer, Part::InputGradient);
            }
            self.bias_gradient(room, |block, sample| block * self.extent.samples + sample);
            match self.is_tiled() {
                true => self.tiled_gradients(path, update, &room.pre_norm_grads),
                false => self.weight_gradients(path, update, room),
            }
        }
        let channels = self.stage.blocks() * LANES;
        self.bias.update(path, update, &room.bias[..channels]);
        self.gamma.update(path, update, &room.gamma[..channels]);
        self.beta.update(path, update, &room.beta[..channels]);
        watch.lap(layer, Part::WeightGradient);
    }

    /// The cells of one block of one sample backward; `pooled_grads` as in [`Self::backward`].
    fn learn_one(
        &self,
        path: Path,
        neuron: &Neuron,
        pooled_grads: &[f32],
        (block, sample): (usize, usize),
        mut gives: Gives<'_>,
    ) {
        let (stage, steps, blocks) = (&self.stage, self.extent.steps, self.stage.blocks());
        let (rows, columns) = stage.pooled();
        let pooled = rows * columns;
        if let Some(Grads { out, .. }) = &mut gives.grads {
            for plane in out.chunks_mut(stage.padded() * LANES) {
                let (plane, _) = plane.as_chunks_mut::<LANES>();
                for place in &self.lists.border {
                    plane[*place as usize] = [0.0; LANES];
                }
            }
        }
        let maxima = if matches!(stage.pool, Pool::Max(_)) { steps * stage.pixels() } else { 0 };
        with_lanes(maxima + steps * PIXELS, |lanes| {
            let (maxima, positive) = lanes.split_at_mut(maxima);
            self.first_maxima(block, sample, maxima);
            let reach = match stage.pool {
                Pool::Average(size) => Reach::All(1.0 / (size * size) as f32),
                Pool::Max(_) => Reach::Lanes(maxima),
                Pool::None => Reach::All(1.0),
            };
            with_table(steps * PIXELS * LANES, |potentials| {
                path.run(Learn {
                    cells: self.cells(block, self.output_of(block, sample)),
                    neuron,
                    grads: &pooled_grads[(sample * steps * blocks + block) * pooled * LANES..],
                    routes: Routes {
                        of: self.lists.routes.as_deref(),
                        places: pooled,
                        step: blocks * pooled,
                        reach,
                    },
                    gives,
                    potentials,
                    positive,
                });
            });
        });
    }

    fn places(&self) -> Places<'_> {
        Places { of: Some(&self.lists.places), plane: self.stage.padded() }
    }

    /// Leaves the sums of the gradients of what the norm gives in `sums`, `[block][sample][plane][2][16]`, and the gradients in the room
    /// if they are to be kept.
    fn learn(&mut self, path: Path, neuron: &Neuron, pooled_grads: &[f32], room: &mut Room, keep: bool) {
        let Extent { samples, planes, .. } = self.extent;
        let size = planes * self.stage.padded() * LANES;
        let mut all_sums = std::mem::take(&mut self.sums);
        let sums = all_sums.par_chunks_mut(planes * 2 * LANES).enumerate();
        let learn = |index: usize, of, grads| {
            let (block, sample) = (index / samples, index % samples);
            let mean = &self.mean[block * planes * LANES..][..planes * LANES];
            let gives = Gives { sums: Some(Sums { mean, of }), grads };
            self.learn_one(path, neuron, pooled_grads, (block, sample), gives);
        };
        if keep {
            room.pre_norm_grads.grow(self.stage.blocks() * samples * size);
            let outs = room.pre_norm_grads.par_chunks_mut(size);
            sums.zip(outs).for_each(|((index, sums), out)| {
                learn(index, sums, Some(Grads { norm: None, out, places: self.places() }));
            });
        } else {
            sums.for_each(|(index, sums)| learn(index, sums, None));
        }
        self.sums = all_sums;
    }

    /// The gradients before the norm, for all planes, into the room.
    fn learn_through_norm(&mut self, path: Path, neuron: &Neuron, pooled_grads: &[f32], room: &mut Room) {
        let Extent { samples, planes, .. } = self.extent;
        let (blocks, size) = (self.stage.blocks(), planes * self.stage.padded() * LANES);
        room.pre_norm_grads.grow(blocks * samples * size);
        let mut all_sums = std::mem::take(&mut self.sums);
        let sums = all_sums[..blocks * samples * planes * LANES].par_chunks_mut(planes * LANES);
        let outs = room.pre_norm_grads.par_chunks_mut(size);
        let terms = &room.terms;
        sums.zip(outs).enumerate().for_each(|(index, (sums, out))| {
            let (block, sample) = (index / samples, index % samples);
            let grads = self.through_norm(terms, block, sums, out);
            self.learn_one(path, neuron, pooled_grads, (block, sample), grads);
        });
        self.sums = all_sums;
    }

    fn through_norm<'a>(
        &'a self,
        terms: &'a [f32],
        block: usize,
        sums: &'a mut [f32],
        out: &'a mut [f32],
    ) -> Gives<'a> {
        let size = self.extent.planes * 4 * LANES;
        let norm = Norm { terms: &terms[block * size..][..size], sums };
        Gives { sums: None, grads: Some(Grads { norm: Some(norm), out, places: self.places() }) }
    }

    /// Moves a first stage's weights by their gradients: nothing else wants the gradients before its norm,
    /// which stay in a core's cache where a sample of a group of blocks fits.
    fn first_gradients(
        &mut self,
        path: Path,
        neuron: &Neuron,
        update: Update,
        pooled_grads: &[f32],
        room: &mut Room,
    ) {
        let Extent { samples, planes, .. } = self.extent;
        let (stage, wide) = (self.stage, self.stage.wide());
        let (all, room_of_block) = (samples * planes, planes * stage.padded() * LANES);
        let size = wide * TAPS * self.lanes() * LANES;
        let groups = stage.blocks() / wide;
        let part = self.part();
        let parts = all.div_ceil(part);
        // Whole samples and whole parts.
        let at_once = (1..samples).find(|count| (count * planes).is_multiple_of(part)).unwrap_or(samples);
        room.parts.grow(groups * parts * size);
        let mut all_sums = std::mem::take(&mut self.sums);
        let Room { parts: weights, terms, .. } = &mut *room;
        let (terms, this) = (&*terms, &*self);
        let of_groups = weights[..groups * parts * size].par_chunks_mut(parts * size);
        let sums = all_sums[..stage.blocks() * all * LANES].par_chunks_mut(wide * all * LANES);
        of_groups.zip(sums).enumerate().for_each(|(group, (weights, sums))| {
            let tasks = weights.par_chunks_mut((at_once * planes).div_ceil(part) * size);
            let sums = sums.par_chunks_mut(at_once * wide * planes * LANES);
            tasks.zip(sums).enumerate().for_each(|(task, (weights, sums))| {
                for (i, sums) in sums.chunks_mut(wide * planes * LANES).enumerate() {
                    let sample = task * at_once + i;
                    with_floats(wide * room_of_block, |grads| {
                        let outs = grads.chunks_mut(room_of_block);
                        for (within, (sums, out)) in sums.chunks_mut(planes * LANES).zip(outs).enumerate() {
                            let block = group * wide + within;
                            let gives = this.through_norm(terms, block, sums, out);
                            this.learn_one(path, neuron, pooled_grads, (block, sample), gives);
                        }
                        this.sample_gradients(path, sample, i * planes, grads, weights);
                    });
                }
            });
        });
        for group in 0..groups {
            let of_group = group * parts * size;
            add_parts(&mut weights[of_group..][..parts * size], size);
            weights.copy_within(of_group..of_group + size, group * size);
        }
        self.sums = all_sums;
        self.weight.update(path, update, &weights[..groups * size]);
        self.bias_gradient(room, |block, sample| (block / wide * samples + sample) * wide + block % wide);
    }

    /// Adds the planes of one sample to the parts that hold them, the first plane being number `begin` of these parts' planes.
    fn sample_gradients(&self, path: Path, sample: usize, begin: usize, grads: &[f32], parts: &mut [f32]) {
        let (planes, part, padded) = (self.extent.planes, self.part(), self.stage.padded());
        let size = self.stage.wide() * TAPS * self.lanes() * LANES;
        let mut plane = 0;
        while plane < planes {
            let (of, begun) = ((begin + plane) / part, (begin + plane) % part);
            let count = (planes - plane).min(part - begun);
            let input = sample * planes + plane..sample * planes + plane + count;
            let grads = (&grads[plane * padded * LANES..], planes * padded * LANES);
            self.dense_gradient(path, input, grads, &mut parts[of * size..][..size], begun == 0);
            plane += count;
        }
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

    /// The gradients before the norm, in place.
    fn unnormalise(&mut self, path: Path, room: &mut Room) {
        let Extent { samples, planes, .. } = self.extent;
        let (stage, blocks) = (self.stage, self.stage.blocks());
        let (padded, size) = (stage.padded(), stage.pixels() * LANES);
        let grads = room.pre_norm_grads.par_chunks_mut(padded * LANES).take(blocks * samples * planes);
        let mut sums = std::mem::take(&mut self.sums);
        grads.zip(sums.par_chunks_mut(LANES)).enumerate().for_each(|(index, (grads, sum))| {
            let (block, plane) = (index / planes / samples, index % planes);
            let at = self.output_at(block, index % (samples * planes));
            path.run(Unnormalise {
                input: &self.output[at * size..][..size],
                terms: &room.terms[(block * planes + plane) * 4 * LANES..][..4 * LANES],
                grads,
                places: self.places(),
                sum,
            });
        });
        self.sums = sums;
    }

    /// Leaves the gradient of the convolution's bias, which the norm makes rounding around zero, in the room: from the sums of planes'
    /// gradients, `[plane][16]` for each block and sample, where `at` says.
    fn bias_gradient(&self, room: &mut Room, at: impl Fn(usize, usize) -> usize) {
        let Extent { samples, planes, .. } = self.extent;
        let blocks = self.stage.blocks();
        room.bias.grow(blocks * LANES);
        for (channel, bias) in room.bias.iter_mut().take(blocks * LANES).enumerate() {
            let (block, lane) = (channel / LANES, channel % LANES);
            let planes_of =
                |sample| self.sums[at(block, sample) * planes * LANES..][..planes * LANES].chunks(LANES);
            *bias = (0..samples).flat_map(planes_of).map(|sums| f64::from(sums[lane])).sum::<f64>() as f32;
        }
    }

    /// Planes of a part of the batch whose weight gradients are summed by themselves: by the network and the batch alone, for the cut
    /// shapes the order of summation.
    fn part(&self) -> usize {
        let pairs = self.input_blocks() * self.stage.blocks();
        self.planes_of_batch().div_ceil(GRADIENT_TASKS.div_ceil(pairs))
    }

    /// Moves the weights by their gradients.
    fn weight_gradients(&mut self, path: Path, update: Update, room: &mut Room) {
        let (stage, blocks) = (self.stage, self.stage.blocks());
        let all = self.planes_of_batch();
        let pairs = self.input_blocks() * blocks;
        let part = self.part();
        let parts = all.div_ceil(part);
        let size = TAPS * self.lanes() * LANES;
        let mut weight = std::mem::take(&mut self.weight);
        let Room { parts: sums, pre_norm_grads, .. } = room;
        if parts == 1 {
            let of_task = self.pairs_at_once();
            weight.shares(update, of_task * size).enumerate().for_each(|(index, mut share)| {
                with_floats(share.values().len(), |grads| {
                    self.weight_gradient(path, index * of_task, 0..all, pre_norm_grads, grads);
                    share.apply(path, 0, grads);
                });
            });
        } else {
            let task = stage.wide() * size;
            sums.grow(parts * pairs * size);
            let sums = &mut sums[..parts * pairs * size];
            sums.par_chunks_mut(task).enumerate().for_each(|(index, grads)| {
                let (of, pair) = (index * stage.wide() / pairs, index * stage.wide() % pairs);
                self.weight_gradient(
                    path,
                    pair,
                    of * part..((of + 1) * part).min(all),
                    pre_norm_grads,
                    grads,
                );
            });
            add_parts(sums, pairs * size);
            weight.update(path, update, &sums[..pairs * size]);
        }
        self.weight = weight;
    }

    /// Pairs of blocks of a task: an input block and a group of output blocks, or some input blocks and all output blocks, whose gradients
    /// are then loaded from L3 or memory once for all of them. How they are shared out is free: no sum runs over pairs.
    fn pairs_at_once(&self) -> usize {
        let blocks = self.stage.blocks();
        let inputs = match self.input {
            Maps::Spikes(_) => of_a_task(self.input_blocks(), PAIRS / blocks),
            Maps::Real { .. } => 1,
        };
        if inputs > 1 { inputs * blocks } else { self.stage.wide() }
    }

    /// The gradients of the weights between some input blocks and all output blocks, or an input block and some output blocks, side by side
    /// from `pair` on, over some planes.
    fn weight_gradient(
        &self,
        path: Path,
        pair: usize,
        planes: Range<usize>,
        pre_norm_grads: &[f32],
        weights: &mut [f32],
    ) {
        let (stage, blocks) = (&self.stage, self.stage.blocks());
        let (padded, all) = (stage.padded(), self.planes_of_batch());
        let (from, block) = (pair / blocks, pair % blocks);
        let grads = &pre_norm_grads[(block * all + planes.start) * padded * LANES..];
        let stride = all * padded * LANES;
        let input = from * all + planes.start..from * all + planes.end;
        match &self.input {
            Maps::Spikes(spikes) => with_lists(LISTS, |lists| {
                path.run(SpikeGradient {
                    spikes: &spikes[input.start * padded..],
                    spikes_block: all * padded,
                    inputs: weights.len().div_ceil(blocks * BLOCK),
                    planes: planes.len(),
                    grads,
                    grads_block: stride,
                    weights,
                    size: (stage.height, stage.width),
                    lists,
                });
            }),
            Maps::Real { .. } => self.dense_gradient(path, input, (grads, stride), weights, true),
        }
    }

    /// Adds to the gradients of the weights between some planes of real input and a group of blocks, or sets them where they `begin`;
    /// `grads` are those of the planes, and how far a block's lie from the next one's.
    fn dense_gradient(
        &self,
        path: Path,
        input: Range<usize>,
        (grads, stride): (&[f32], usize),
        weights: &mut [f32],
        begin: bool,
    ) {
        let Maps::Real { values, lanes } = &self.input else {
            unreachable!("spikes have a kernel of their own")
        };
        let (stage, lists) = (&self.stage, &self.lists);
        let (padded, lanes) = (stage.padded(), *lanes);
        let at_once = lists.gradient_runs.len() / stage.height;
        for plane in (0..input.len()).step_by(at_once) {
            let planes = at_once.min(input.len() - plane);
            path.run(Product {
                a: &values[(input.start + plane) * padded * lanes..][..planes * padded * lanes],
                b: &grads[plane * padded * LANES..],
                c: weights,
                rows: &lists.gradient_rows,
                terms: Terms {
                    runs: &lists.gradient_runs[..planes * stage.height],
                    length: stage.width,
                    a_step: lanes,
                    b_step: LANES,
                },
                vectors: stage.wide(),
                b_stride: stride,
                c_stride: TAPS * lanes * LANES,
                start: if begin && plane == 0 { Start::Zero } else { Start::Sum },
                repeat: Repeat::ONCE,
            });
        }
    }
}

/// Adds all parts of `size` to the first, in their order.
fn add_parts(parts: &mut [f32], size: usize) {
    let (head, rest) = parts.split_at_mut(size);
    for part in rest.chunks(size) {
        for (sum, value) in head.iter_mut().zip(part) {
            *sum += value;
        }
    }
}
