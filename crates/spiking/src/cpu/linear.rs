//! A stage of linear layer and cells, with or without ReLU and dropout, forward and backward.
//!
//! Weights lie in panels of 64 features. Forward leaves out what dropout is going to silence. Backward takes some outputs' weights of a
//! panel once from memory: they give their part of the features' gradients, then comes the gradient of the weights, which AdamW uses up
//! beside the next ones.

use std::ops::Range;

use rayon::prelude::*;

use super::conv::Extent;
use super::kernels::groups::{
    self, FeatureGradient, FindLanes, GroupByOutput, GroupByRow, Groups, WeightGradient,
};
use super::kernels::listed::{DEPTH, ListedProduct, Outputs};
use super::kernels::neuron::{Cells, Fire, Gives, Grads, Learn, PIXELS, Places, Reach, Routes};
use super::memory::{Floats, bytes_of, with_floats, with_lists};
use super::of_a_task;
use super::plan::{LinearStage, Plan, place};
use super::simd::{LANES, Path};
use super::watch::{Part, Watch};
use super::weights::{Named, Order, PANEL, Update, Weights};
use crate::Neuron;

/// Blocks of outputs of a task at most: a core's cache holds their weights of [`DEPTH`] panels, and those that come next.
const WIDE: usize = 4;
/// Weights between a panel and a block of outputs.
const SIZE: usize = PANEL * LANES;
/// Blocks of outputs that features' gradients are summed over at a time.
const TOGETHER: usize = groups::AT_ONCE / LANES;

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
    /// What enters, behind the dropout, `[panel][sample][time step][feature of the panel]`: by rows, those of a panel would share
    /// few places in a core's cache.
    pub(super) input: Floats,
    /// Factors of the features of a sample, `[sample][feature]`; empty without dropout.
    pub(super) mask_before: Floats,
    /// Factors of the outputs of a sample, `[block][sample][16]`; empty without dropout.
    pub(super) mask_behind: Floats,
    /// Spikes, `[block][sample][time step]`.
    pub(super) spikes: Vec<u16>,
    /// Gradients of the features before the dropout, `[panel][sample][time step][feature of the panel]`.
    pub(super) input_grads: Floats,
    extent: Extent,
    /// What enters the cells, `[block][sample][time step][16]`.
    current: Floats,
    /// Its gradient.
    grads: Floats,
    /// The bias's, `[block][16]`.
    bias_grads: Floats,
    /// Where `grads` are not zero: lanes by block of 16 and row, rows padded to whole windows of 16.
    grad_lanes: Vec<u16>,
    /// `grads` by output, for each block, and by row, for each [`TOGETHER`] blocks.
    by_output: Vec<Groups>,
    by_row: Vec<Groups>,
}

impl Linear {
    pub(super) fn new(stage: LinearStage) -> Self {
        Self {
            weight: Weights::new(stage.panels() * stage.panel()),
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
            grad_lanes: Vec::new(),
            by_output: vec![Groups::default(); stage.blocks()],
            by_row: vec![Groups::default(); stage.blocks().div_ceil(TOGETHER)],
            stage,
        }
    }

    /// Bytes of its weights and of what it keeps of a batch.
    pub(super) fn bytes(&self) -> usize {
        let floats = [&self.input, &self.mask_before, &self.mask_behind, &self.input_grads];
        let more = [&self.current, &self.grads, &self.bias_grads];
        let floats: usize = floats.iter().chain(&more).map(|floats| floats.bytes()).sum();
        let groups: usize = self.by_output.iter().chain(&self.by_row).map(Groups::bytes).sum();
        let lanes = bytes_of(&self.spikes) + bytes_of(&self.grad_lanes);
        self.weight.bytes() + self.bias.bytes() + floats + groups + lanes
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
        self.grad_lanes.resize(stage.blocks() * self.lane_rows(), 0);
    }

    fn row_count(&self) -> usize {
        self.extent.samples * self.extent.steps
    }

    /// Rows of lanes, in whole windows.
    fn lane_rows(&self) -> usize {
        self.row_count().next_multiple_of(LANES)
    }

    /// From rows of features before the dropout, `[sample][time step][feature]`, to `spikes`.
    pub(super) fn forward(&mut self, path: Path, neuron: &Neuron, features: &[f32], watch: &mut Watch) {
        let (stage, rows) = (self.stage, self.row_count());
        let Extent { samples, steps, .. } = self.extent;
        self.enter(features);
        let mut current = std::mem::take(&mut self.current);
        // How they are shared out is free: no sum runs over outputs.
        let wide = of_a_task(stage.blocks(), WIDE);
        current.par_chunks_mut(wide * rows * LANES).enumerate().for_each(|(index, current)| {
            let (first, blocks) = (index * wide, current.len() / (rows * LANES));
            let of_sums = self.lane_rows();
            with_floats(blocks * LANES * of_sums, |sums| {
                sums.fill(0.0);
                self.products(path, first..first + blocks, sums);
                let (sums, out) = (sums.chunks(LANES * of_sums), current.chunks_mut(rows * LANES));
                for ((sums, out), block) in sums.zip(out).zip(first..) {
                    let mask = match self.mask_behind.is_empty() {
                        true => &[],
                        false => &self.mask_behind[block * samples * LANES..][..samples * LANES],
                    };
                    let bias = &self.bias.values[block * LANES..][..LANES];
                    path.run(Outputs {
                        sums,
                        sums_output: of_sums,
                        bias,
                        relu: stage.relu,
                        mask,
                        steps,
                        out,
                    });
                }
            });
        });
        self.current = current;
        watch.lap(stage.layer, Part::Forward);
        let mut spikes = std::mem::take(&mut self.spikes);
        spikes.par_chunks_mut(steps).with_min_len(64).enumerate().for_each(|(index, spikes)| {
            path.run(Fire { cells: self.cells(index), neuron, spikes });
        });
        self.spikes = spikes;
        watch.lap(stage.layer, Part::Cells);
    }

    /// Adds to the sums of some blocks of outputs, `[output][row]`, the products of features and weights, where dropout does not silence
    /// them.
    fn products(&self, path: Path, blocks: Range<usize>, sums: &mut [f32]) {
        let (stage, rows) = (self.stage, self.row_count());
        // Without dropout all rows have the same list, so that any of them may share a tile.
        let (lists, of_list) = match self.mask_behind.is_empty() {
            true => (1, rows),
            false => (self.extent.samples, self.extent.steps),
        };
        with_lists(lists * (blocks.len() * LANES + 1), |room| {
            let (ends, outputs) = room.split_at_mut(lists);
            self.list_outputs(&blocks, ends, outputs);
            for panel in (0..stage.panels()).step_by(DEPTH) {
                let panels = DEPTH.min(stage.panels() - panel);
                let mut begin = 0;
                for (list, end) in ends.iter().enumerate() {
                    let outputs = &outputs[begin..*end as usize];
                    begin = *end as usize;
                    let (mut row, end) = (list * of_list, (list + 1) * of_list);
                    while row < end {
                        // By four, two or one.
                        let some = 1 << (end - row).ilog2().min(2);
                        path.run(ListedProduct {
                            features: &self.input[(panel * rows + row) * PANEL..],
                            features_panel: rows * PANEL,
                            rows: some,
                            weights: &self.weight.values[panel * stage.panel() + blocks.start * SIZE..],
                            weights_panel: stage.panel(),
                            panels,
                            outputs,
                            sums: &mut sums[row..],
                            sums_output: self.lane_rows(),
                            ahead: self.ahead(&blocks, panel + panels, (row, some)),
                        });
                        row += some;
                    }
                }
            }
        });
    }

    /// Lists the outputs of some blocks that dropout does not silence, sample by sample, or once without dropout: `ends` tells where each
    /// list ends.
    fn list_outputs(&self, blocks: &Range<usize>, ends: &mut [u32], outputs: &mut [u32]) {
        let samples = self.extent.samples;
        let mut count = 0;
        for (sample, end) in ends.iter_mut().enumerate() {
            for output in blocks.start * LANES..(blocks.end * LANES).min(self.stage.outputs) {
                let factor = self.mask_behind.get(place(output, sample, samples));
                if factor.is_none_or(|factor| *factor != 0.0) {
                    outputs[count] = (output - blocks.start * LANES) as u32;
                    count += 1;
                }
            }
            *end = count as u32;
        }
    }

    /// The share that some rows ask for of what comes from `panel` on: weights of some blocks of outputs, and features.
    fn ahead(&self, blocks: &Range<usize>, panel: usize, (row, some): (usize, usize)) -> [&[f32]; 2] {
        let (stage, rows) = (self.stage, self.row_count());
        let panels = DEPTH.min(stage.panels() - panel);
        if panels == 0 {
            return [&[]; 2];
        }
        let of_panel = blocks.len() * SIZE;
        let (begin, end) = (panels * of_panel * row / rows, panels * of_panel * (row + some) / rows);
        let lines = |at: usize| at.next_multiple_of(LANES);
        let (at, inside) = (panel + begin / of_panel, lines(begin % of_panel));
        let weights = &self.weight.values[at * stage.panel() + blocks.start * SIZE..];
        let weights = &weights[inside..lines(inside + end - begin).min(of_panel)];
        let features = &self.input[(panel * rows + panels * row) * PANEL..][..panels * some * PANEL];
        [weights, features]
    }

    /// Drops features out and lays them in panels.
    fn enter(&mut self, features: &[f32]) {
        let (stage, rows, steps) = (self.stage, self.row_count(), self.extent.steps);
        let wide = features.len() / rows;
        self.input.par_chunks_mut(rows * PANEL).enumerate().for_each(|(panel, input)| {
            let of_panel = panel * PANEL..wide.min((panel + 1) * PANEL);
            for (row, input) in input.chunks_mut(PANEL).enumerate() {
                let (input, padding) = input.split_at_mut(of_panel.len());
                input.copy_from_slice(&features[row * wide..][of_panel.clone()]);
                padding.fill(0.0);
                if !self.mask_before.is_empty() {
                    let mask = &self.mask_before[row / steps * stage.inputs..][of_panel.clone()];
                    input.iter_mut().zip(mask).for_each(|(feature, factor)| *feature *= factor);
                }
            }
        });
    }

    /// The cells of one block of one sample; `index` counts samples within blocks.
    fn cells(&self, index: usize) -> Cells<'_> {
        let steps = self.extent.steps;
        let input = &self.current[index * steps * LANES..][..steps * LANES];
        Cells { input, step: LANES, affine: None, pixels: 1, steps, constant: false }
    }

    /// The spikes as rows of features, `[sample][time step][feature]`.
    pub(super) fn spread_into(&self, features: &mut [f32]) {
        let (blocks, rows) = (self.stage.blocks(), self.row_count());
        for (row, features) in features.chunks_mut(blocks * LANES).enumerate() {
            for (block, values) in features.chunks_mut(LANES).enumerate() {
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
        let (rows, lane_rows) = (self.row_count(), self.lane_rows());
        let of_blocks = self.grads.par_chunks(rows * LANES).zip(self.bias_grads.par_chunks_mut(LANES));
        let places = self.grad_lanes.par_chunks_mut(lane_rows).zip(&mut self.by_output);
        of_blocks.zip(places).for_each(|((grads, bias), (lanes, into))| {
            let mut sums = [0.0; LANES];
            for grads in grads.as_chunks::<LANES>().0 {
                sums.iter_mut().zip(grads).for_each(|(sum, grad)| *sum += f64::from(*grad));
            }
            bias.iter_mut().zip(sums).for_each(|(bias, sum)| *bias = sum as f32);
            path.run(FindLanes { values: grads, lanes });
            path.run(GroupByOutput { grads, lanes, rows, into });
        });
        let (grads, lanes) = (&self.grads, self.grad_lanes.par_chunks(TOGETHER * lane_rows));
        let grads = grads.par_chunks(TOGETHER * rows * LANES);
        grads.zip(lanes).zip(&mut self.by_row).for_each(|((grads, lanes), into)| {
            path.run(GroupByRow { grads, lanes, lanes_block: lane_rows, rows, into });
        });
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
            with_floats(steps * PIXELS * LANES, |potentials| {
                path.run(Learn {
                    cells: self.cells(index),
                    neuron,
                    grads,
                    routes: Routes { of: None, places: 1, step, reach: Reach::All(1.0) },
                    gives: Gives {
                        sums: None,
                        grads: Some(Grads { norm: None, out, places: Places { of: None, plane: 1 } }),
                    },
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

    /// Each panel's feature gradients, before the dropout, then its weights' gradients and what becomes of them.
    fn panels(&mut self, path: Path, update: Update) {
        let (stage, rows) = (self.stage, self.row_count());
        let blocks = stage.blocks();
        self.input_grads.resize(rows * stage.inputs);
        let (input, by_output, by_row) = (&self.input, &self.by_output, &self.by_row);
        let (masks, steps) = (&self.mask_before, self.extent.steps);
        let input_grads = self.input_grads.par_chunks_mut(rows * PANEL).enumerate();
        self.weight.shares(update, stage.panel()).zip(input_grads).for_each(|(mut share, (panel, out))| {
            let features = &input[panel * rows * PANEL..][..rows * PANEL];
            out.fill(0.0);
            with_floats(2 * SIZE, |room| {
                let (mut grads, mut before) = room.split_at_mut(SIZE);
                for (groups, first) in by_row.iter().zip((0..blocks).step_by(TOGETHER)) {
                    let some = first..(first + TOGETHER).min(blocks);
                    let weights = &share.values()[some.start * SIZE..some.end * SIZE];
                    path.run(FeatureGradient { groups, weights, sums: out });
                    for block in some {
                        // A block's weights move beside the sums of the next one's gradients.
                        let meanwhile = match block {
                            0 => None,
                            block => share.take((block - 1) * SIZE, before, TOGETHER * SIZE),
                        };
                        path.run(WeightGradient {
                            groups: &by_output[block],
                            features,
                            out: grads,
                            meanwhile,
                        });
                        std::mem::swap(&mut grads, &mut before);
                    }
                }
                share.apply(path, (blocks - 1) * SIZE, before);
            });
            // The features of a panel in each sample's mask.
            let masks = masks.chunks(stage.inputs).map(|mask| &mask[panel * PANEL..][..PANEL]);
            for (out, mask) in out.chunks_mut(steps * PANEL).zip(masks) {
                for grads in out.chunks_mut(PANEL) {
                    grads.iter_mut().zip(mask).for_each(|(grad, factor)| *grad *= factor);
                }
            }
        });
    }

    /// The gradients of the features by rows, `[sample][time step][feature]`, before the dropout; `features` of them without
    /// the padding.
    pub(super) fn input_grads_into(&self, features: usize, rows_out: &mut Floats) {
        let rows = self.row_count();
        rows_out.grow(rows * features);
        rows_out[..rows * features].par_chunks_mut(features).enumerate().for_each(|(row, out)| {
            for (panel, out) in out.chunks_mut(PANEL).enumerate() {
                out.copy_from_slice(&self.input_grads[(panel * rows + row) * PANEL..][..out.len()]);
            }
        });
    }
}
