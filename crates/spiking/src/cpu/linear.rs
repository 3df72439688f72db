//! A stage of linear layer and cells, with or without ReLU and dropout, forward and backward.
//!
//! Weights lie in panels of 64 features. Backward takes a panel once from memory: it gives the gradient of its features, then the
//! gradient of its weights, which AdamW uses up before the next panel.

use rayon::prelude::*;

use super::conv::Extent;
use super::kernels::adamw::Move;
use super::kernels::neuron::{Cells, Fire, Learn, PIXELS, Places, Routes};
use super::kernels::product::{Product, Repeat, Row, Run, Start, Terms, Turn};
use super::kernels::sparse::{FeatureGradient, Find, Nonzero, WeightGradient};
use super::memory::{Floats, with_floats};
use super::plan::{LinearStage, Plan};
use super::simd::{LANES, Path};
use super::watch::{Part, Watch};
use super::weights::{Named, Order, PANEL, Update, Weights};
use crate::Neuron;

/// Blocks of outputs that share one reading of a feature, where there are many.
const WIDE: usize = 4;

/// Gradients of the spikes of a stage.
#[derive(Debug, Clone, Copy)]
pub(super) enum SpikeGrads<'a> {
    /// The same at every time step, `[block][sample][16]`.
    Constant(&'a [f32]),
    /// By panels of the next stage's features, `[panel][sample][time step][feature of the panel]`.
    Panels(&'a [f32]),
}

/// The stage with its weights and its memory.
#[derive(Debug, Clone)]
pub(super) struct Linear {
    pub(super) stage: LinearStage,
    weight: Weights,
    bias: Weights,
    /// What enters, behind the dropout, `[sample][time step][feature]`.
    pub(super) input: Floats,
    /// Factors of the features of a sample, `[sample][feature]`; empty without dropout.
    pub(super) mask_before: Floats,
    /// Factors of the outputs of a sample, `[block][sample][16]`; empty without dropout.
    pub(super) mask_behind: Floats,
    /// Spikes, `[block][sample][time step]`.
    pub(super) spikes: Vec<u16>,
    /// Gradients of the features, `[panel][sample][time step][feature of the panel]`.
    pub(super) input_grads: Floats,
    extent: Extent,
    /// What enters the cells, `[block][sample][time step][16]`.
    current: Floats,
    /// Its gradient.
    grads: Floats,
    /// The bias's, `[block][16]`.
    bias_grads: Floats,
    /// Where `grads` is not zero, by block.
    nonzero: Vec<Nonzero>,
    /// Samples and time steps as rows of the product.
    rows: Vec<Row>,
}

/// A sum over the whole of one run.
const ONE_RUN: &[Run] = &[Run { a: 0, b: 0 }];

impl Linear {
    pub(super) fn new(stage: LinearStage) -> Self {
        Self {
            weight: Weights::new(stage.inputs * stage.blocks() * LANES),
            bias: Weights::new(stage.blocks() * LANES),
            input: Floats::default(),
            mask_before: Floats::default(),
            mask_behind: Floats::default(),
            spikes: Vec::new(),
            input_grads: Floats::default(),
            extent: Extent::default(),
            current: Floats::default(),
            grads: Floats::default(),
            bias_grads: Floats::zeros(stage.blocks() * LANES),
            nonzero: vec![Nonzero::default(); stage.blocks()],
            rows: Vec::new(),
            stage,
        }
    }

    /// Bytes of its weights and of what it keeps of a batch, without the lists of places.
    pub(super) fn bytes(&self) -> usize {
        let floats = [&self.input, &self.mask_before, &self.mask_behind, &self.input_grads];
        let more = [&self.current, &self.grads, &self.bias_grads];
        let floats: usize = floats.iter().chain(&more).map(|floats| floats.bytes()).sum();
        self.weight.bytes() + self.bias.bytes() + floats + size_of_val(self.spikes.as_slice())
    }

    /// Its parameters, in the order of [`Self::weights`]; `index` counts the linear stages of `plan`.
    pub(super) fn names<'a>(&self, plan: &'a Plan, index: usize) -> [Named<'a>; 2] {
        let layer = self.stage.layer;
        [(Order::Linear(plan, index), format!("{layer}.weight")), (Order::Channels, format!("{layer}.bias"))]
    }

    pub(super) fn weights(&self) -> [&Weights; 2] {
        [&self.weight, &self.bias]
    }

    pub(super) fn weights_mut(&mut self) -> [&mut Weights; 2] {
        [&mut self.weight, &mut self.bias]
    }

    /// Makes room for a batch; none is made twice for the same extent.
    pub(super) fn make_room(&mut self, extent: Extent) {
        if self.extent == extent {
            return;
        }
        self.extent = extent;
        let (stage, rows) = (self.stage, extent.samples * extent.steps);
        self.input.resize(rows * stage.inputs);
        self.current.resize(stage.blocks() * rows * LANES);
        self.spikes.resize(stage.blocks() * rows, 0);
        let row = |a: usize, c: usize| Row { a: a as u32, c: c as u32 };
        self.rows = (0..rows).map(|i| row(i * stage.inputs, i * LANES)).collect();
    }

    fn row_count(&self) -> usize {
        self.extent.samples * self.extent.steps
    }

    /// From `input` to `spikes`.
    pub(super) fn forward(&mut self, path: Path, neuron: &Neuron, watch: &mut Watch) {
        let (stage, rows) = (self.stage, self.row_count());
        let Extent { samples, steps, .. } = self.extent;
        if !self.mask_before.is_empty() {
            for (row, features) in self.input.chunks_mut(stage.inputs).enumerate() {
                let mask = &self.mask_before[row / steps * stage.inputs..][..stage.inputs];
                features.iter_mut().zip(mask).for_each(|(feature, factor)| *feature *= factor);
            }
        }
        let wide = if stage.blocks() >= 4 * WIDE { WIDE } else { 1 };
        let input = &self.input;
        let (weights, bias, mask) = (&self.weight.values, &self.bias.values, &self.mask_behind);
        let row_list = &self.rows;
        let size = rows * LANES;
        self.current.par_chunks_mut(wide * size).enumerate().for_each(|(index, current)| {
            let first = index * wide;
            let blocks = current.len() / size;
            for (panel, weights) in weights.chunks(PANEL * stage.blocks() * LANES).enumerate() {
                path.run(Product {
                    a: &input[panel * PANEL..],
                    b: &weights[first * PANEL * LANES..],
                    c: current,
                    rows: row_list,
                    terms: Terms { runs: ONE_RUN, length: PANEL, a_step: 1, b_step: LANES },
                    vectors: blocks,
                    b_stride: PANEL * LANES,
                    c_stride: size,
                    start: if panel == 0 { Start::Bias(&bias[first * LANES..]) } else { Start::Sum },
                    repeat: Repeat::ONCE,
                });
            }
            for (block, current) in current.chunks_mut(size).enumerate() {
                if stage.relu {
                    current.iter_mut().for_each(|value| *value = value.max(0.0));
                }
                if !mask.is_empty() {
                    let mask = &mask[(first + block) * samples * LANES..];
                    for (row, values) in current.chunks_mut(LANES).enumerate() {
                        let mask = &mask[row / steps * LANES..][..LANES];
                        values.iter_mut().zip(mask).for_each(|(value, factor)| *value *= factor);
                    }
                }
            }
        });
        watch.lap(stage.layer, Part::Forward);
        let mut spikes = std::mem::take(&mut self.spikes);
        spikes.par_chunks_mut(steps).with_min_len(64).enumerate().for_each(|(index, spikes)| {
            path.run(Fire { cells: self.cells(index), neuron, spikes });
        });
        self.spikes = spikes;
        watch.lap(stage.layer, Part::Cells);
    }

    /// The cells of one block of one sample; `index` counts samples within blocks.
    fn cells(&self, index: usize) -> Cells<'_> {
        let steps = self.extent.steps;
        let input = &self.current[index * steps * LANES..][..steps * LANES];
        Cells { input, step: LANES, affine: None, pixels: 1, steps, constant: false }
    }

    /// The spikes as rows of features of the next stage.
    pub(super) fn spread_into(&self, features: &mut [f32]) {
        let (blocks, rows) = (self.stage.blocks(), self.row_count());
        let wide = features.len() / rows;
        for (row, features) in features.chunks_mut(wide).enumerate() {
            for (block, values) in features.chunks_mut(LANES).take(blocks).enumerate() {
                super::conv::spread(self.spikes[block * rows + row], 1.0, values);
            }
        }
    }

    /// From the gradients of the spikes to weights that moved, and to `input_grads`.
    pub(super) fn backward(
        &mut self,
        path: Path,
        neuron: &Neuron,
        update: Update,
        above: SpikeGrads<'_>,
        watch: &mut Watch,
    ) {
        self.learn(path, neuron, above);
        watch.lap(self.stage.layer, Part::CellsBack);
        let rows = self.row_count();
        let size = rows * LANES;
        for (channel, bias) in self.bias_grads.iter_mut().enumerate() {
            let of_block = &self.grads[channel / LANES * size..][..size];
            let lane = channel % LANES;
            *bias =
                of_block.iter().skip(lane).step_by(LANES).map(|grad| f64::from(*grad)).sum::<f64>() as f32;
        }
        let finding = self.nonzero.par_iter_mut().zip(self.grads.par_chunks(size));
        finding.for_each(|(into, grads)| path.run(Find { grads, into }));
        self.panels(path, update);
        self.bias.update(path, update, &self.bias_grads);
        watch.lap(self.stage.layer, Part::WeightGradient);
    }

    fn learn(&mut self, path: Path, neuron: &Neuron, above: SpikeGrads<'_>) {
        let (stage, rows) = (self.stage, self.row_count());
        let Extent { samples, steps, .. } = self.extent;
        let mut grads = std::mem::take(&mut self.grads);
        grads.grow(stage.blocks() * rows * LANES);
        let tasks = grads.par_chunks_mut(steps * LANES).take(stage.blocks() * samples).with_min_len(64);
        tasks.enumerate().for_each(|(index, out)| {
            let (block, sample) = (index / samples, index % samples);
            let (grads, step) = match above {
                SpikeGrads::Constant(grads) => (&grads[index * LANES..], 0),
                SpikeGrads::Panels(grads) => {
                    let (panel, lane) = (block * LANES / PANEL, block * LANES % PANEL);
                    (&grads[(panel * rows + sample * steps) * PANEL + lane..], PANEL / LANES)
                }
            };
            with_floats((steps * PIXELS + 2 * steps) * LANES, |room| {
                let (potentials, sums) = room.split_at_mut(steps * PIXELS * LANES);
                path.run(Learn {
                    cells: self.cells(index),
                    neuron,
                    grads,
                    routes: Routes { of: None, places: 1, step, lanes: None, factor: 1.0 },
                    mean: None,
                    out,
                    places: Places { of: None, plane: 1 },
                    sums,
                    potentials,
                    positive: &mut [],
                });
            });
            let current = self.cells(index).input;
            for (t, grads) in out.chunks_mut(LANES).enumerate() {
                if !self.mask_behind.is_empty() {
                    let mask = &self.mask_behind[index * LANES..][..LANES];
                    grads.iter_mut().zip(mask).for_each(|(grad, factor)| *grad *= factor);
                }
                if stage.relu {
                    // A value that dropout silenced is 0 here, and so is its gradient already.
                    let current = &current[t * LANES..][..LANES];
                    for (grad, current) in grads.iter_mut().zip(current) {
                        *grad = if *current > 0.0 { *grad } else { 0.0 };
                    }
                }
            }
        });
        self.grads = grads;
    }

    /// Each panel's feature gradients, then its weights' gradients and what becomes of them.
    fn panels(&mut self, path: Path, update: Update) {
        let (stage, rows) = (self.stage, self.row_count());
        let (blocks, size) = (stage.blocks(), self.row_count() * LANES);
        let panel_size = PANEL * blocks * LANES;
        self.input_grads.resize(rows * stage.inputs);
        let (input, grads, nonzero) = (&self.input, &self.grads, &self.nonzero);
        // The gradient of the features: products with the panel turned, `[output][feature]`.
        let to_features = |weights: &[f32], turned: &mut [f32], out: &mut [f32]| {
            let size = PANEL * LANES;
            for (from, to) in weights.chunks(size).zip(turned.chunks_mut(size)) {
                path.run(Turn { from, to });
            }
            path.run(FeatureGradient { grads, nonzero, weights: turned, out });
        };
        // A panel's features of all rows, one after another: far apart they would share few places in a core's cache.
        let gather = |panel: usize, features: &mut [f32]| {
            for (row, features) in features.chunks_mut(PANEL).enumerate() {
                features.copy_from_slice(&input[row * stage.inputs + panel * PANEL..][..PANEL]);
            }
        };
        // The gradient of the weights between a panel and one block.
        let to_weights = |features: &[f32], block: usize, out: &mut [f32]| {
            let (grads, nonzero) = (&grads[block * size..][..size], &nonzero[block]);
            path.run(WeightGradient { features, grads, nonzero, out });
        };
        let weights = &mut self.weight;
        let input_grads = self.input_grads.par_chunks_mut(rows * PANEL).enumerate();
        match update {
            Update::Adam(step) => {
                let moving = weights.values.par_chunks_mut(panel_size);
                let moments =
                    weights.first.par_chunks_mut(panel_size).zip(weights.second.par_chunks_mut(panel_size));
                input_grads.zip(moving).zip(moments).for_each(
                    |(((panel, out), weights), (first, second))| {
                        with_floats(panel_size + (rows + LANES) * PANEL, |room| {
                            let (turned, room) = room.split_at_mut(panel_size);
                            let (features, grads) = room.split_at_mut(rows * PANEL);
                            to_features(weights, turned, out);
                            gather(panel, features);
                            let moments = first.chunks_mut(grads.len()).zip(second.chunks_mut(grads.len()));
                            let blocks = weights.chunks_mut(grads.len()).zip(moments).enumerate();
                            for (block, (weights, (first, second))) in blocks {
                                to_weights(features, block, grads);
                                path.run(Move { step, grads, weights, first, second });
                            }
                        });
                    },
                );
            }
            Update::Keep => {
                weights.kept.resize(weights.values.len());
                let kept = weights.kept.par_chunks_mut(panel_size).zip(weights.values.par_chunks(panel_size));
                input_grads.zip(kept).for_each(|((panel, out), (kept, weights))| {
                    with_floats(panel_size + rows * PANEL, |room| {
                        let (turned, features) = room.split_at_mut(panel_size);
                        to_features(weights, turned, out);
                        gather(panel, features);
                        for (block, kept) in kept.chunks_mut(PANEL * LANES).enumerate() {
                            to_weights(features, block, kept);
                        }
                    });
                });
            }
        }
    }

    /// The gradients of the features by rows, `[sample][time step][feature]`, before the dropout; `features` of them without
    /// the padding.
    pub(super) fn input_grads_into(&self, features: usize, rows_out: &mut Floats) {
        let (stage, rows, steps) = (self.stage, self.row_count(), self.extent.steps);
        rows_out.grow(rows * features);
        rows_out[..rows * features].par_chunks_mut(features).enumerate().for_each(|(row, out)| {
            for (panel, out) in out.chunks_mut(PANEL).enumerate() {
                out.copy_from_slice(&self.input_grads[(panel * rows + row) * PANEL..][..out.len()]);
            }
            if !self.mask_before.is_empty() {
                let mask = &self.mask_before[row / steps * stage.inputs..][..stage.inputs];
                out.iter_mut().zip(mask).for_each(|(grad, factor)| *grad *= factor);
            }
        });
    }
}
