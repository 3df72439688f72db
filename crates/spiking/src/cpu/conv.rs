//! A stage of convolution, batch norm, ReLU, cells and pool, forward and backward, shared out over threads.
//!
//! Maps lie in blocks of 16 channels, `[block][sample][time step][pixel][16]`, but for the convolution's own output, where some
//! blocks lie side by side ([`Conv::output_at`]); spikes are a `u16` a pixel and block.
//! What threads share out never sums across tasks but in an order that the network and the batch fix.

use rayon::prelude::*;

use super::kernels::neuron::{Affine, Cells, Fire, Learn, PIXELS, Places, Routes};
use super::kernels::norm::{Moments, Unnormalise};
use super::kernels::pool::Average;
use super::kernels::product::{Product, Row, Run, Start, Terms};
use super::kernels::spikes::{Pixel, SpikeGradient, SpikeProduct, TABLE, TABLES, TAPS};
use super::memory::{Floats, with_floats, with_lanes, with_table};
use super::plan::{ConvStage, Pool};
use super::simd::{LANES, Path};
use super::turned::{Given, Turned};
use super::weights::{Named, Order, Update, Weights};
use crate::Neuron;

const EPSILON: f64 = 1e-5;
const MOMENTUM: f32 = 0.1;
/// Pixels of sums that one task works on before it goes on to the next input block: 512 KiB, which a core's cache holds.
const TASK_PIXELS: usize = 8192;
/// Pixels of a dense product: small maps share one.
const PRODUCT_PIXELS: usize = 256;
/// Tasks that a weight gradient is cut into where it has fewer blocks.
const GRADIENT_TASKS: usize = 32;

/// What enters a convolution: maps with a border of one zero pixel.
#[derive(Debug, Clone)]
pub(super) enum Maps {
    /// Spikes, `[block][sample][time step][padded pixel]`.
    Spikes(Vec<u16>),
    /// Real numbers, `[block][sample][plane][padded pixel][lane]`: an input's own channels in one block, or blocks of 16.
    Real { values: Floats, lanes: usize },
}

/// The samples and time steps of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Extent {
    pub(super) samples: usize,
    pub(super) steps: usize,
    /// Planes of input that a sample has: its time steps, or 1 if it is the same at each.
    pub(super) planes: usize,
}

/// Where the statistics of batch norm come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Statistics {
    Batch,
    Running,
}

/// The stage with its weights and its memory.
#[derive(Debug, Clone)]
pub(super) struct Conv {
    pub(super) stage: ConvStage,
    pub(super) input: Maps,
    weight: Weights,
    bias: Weights,
    gamma: Weights,
    beta: Weights,
    pub(super) running_mean: Vec<f32>,
    pub(super) running_var: Vec<f32>,
    /// Spikes of all cells, `[group of blocks][sample][block of the group][time step][pixel]`.
    pub(super) spikes: Vec<u16>,
    lists: Lists,
    turned: Turned,
    extent: Extent,
    /// Output of the convolution, `[group of blocks][sample][plane][block of the group][pixel][16]`.
    output: Floats,
    /// The moments of each plane forward, in the order of `output`, 2 of 16; backward the sums of its gradients,
    /// `[block][sample][plane][2][16]`.
    sums: Floats,
    /// `[block][plane][16]` each.
    mean: Floats,
    inverse: Floats,
    scale: Floats,
    shift: Floats,
}

/// Places and offsets that follow from the stage alone.
#[derive(Debug, Clone)]
struct Lists {
    pixels: Vec<Pixel>,
    /// The pixels of some planes as rows of a dense product: into the padded input, out to the sums.
    forward_rows: Vec<Row>,
    /// Taps as runs of the lanes below them.
    forward_runs: Vec<Run>,
    /// (tap, lane) as rows of the weight gradient, and rows of pixels of some planes as its runs.
    gradient_rows: Vec<Row>,
    gradient_runs: Vec<Run>,
    /// Each pixel's place in a padded plane.
    places: Vec<u32>,
    /// The pixels of a padded plane's border.
    border: Vec<u32>,
    /// Each pixel's place behind the pool; none without a pool.
    routes: Option<Vec<u32>>,
}

impl Lists {
    fn new(stage: &ConvStage, lanes: usize) -> Self {
        let row = stage.width + 2;
        let padded = |pixel: usize| pixel / stage.width * row + pixel % stage.width;
        let tap_at = |tap: usize| tap / 3 * row + tap % 3;
        let pixels = 0..stage.pixels();
        let at_once = (PRODUCT_PIXELS / stage.pixels()).max(1);
        let u32s = |value: usize| value as u32;
        let taps_of = |lanes: usize| {
            (0..TAPS).map(|tap| Run { a: u32s(tap_at(tap) * lanes), b: u32s(tap * lanes * LANES) }).collect()
        };
        let (rows_behind, columns_behind) = stage.pooled();
        let size = stage.pool.size();
        let route = |pixel: usize| {
            let (y, x) = (pixel / stage.width / size, pixel % stage.width / size);
            if y < rows_behind && x < columns_behind { u32s(y * columns_behind + x) } else { Routes::NOWHERE }
        };
        Self {
            pixels: pixels.clone().map(|p| Pixel { padded: u32s(padded(p)), flat: u32s(p) }).collect(),
            forward_rows: (0..at_once * stage.pixels())
                .map(|i| (i / stage.pixels(), i % stage.pixels()))
                .map(|(plane, p)| Row {
                    a: u32s((plane * stage.padded() + padded(p)) * lanes),
                    c: u32s((plane * stage.wide() * stage.pixels() + p) * LANES),
                })
                .collect(),
            forward_runs: taps_of(lanes),
            gradient_rows: (0..TAPS * lanes)
                .map(|i| (i / lanes, i % lanes))
                .map(|(tap, lane)| Row {
                    a: u32s(tap_at(tap) * lanes + lane),
                    c: u32s((tap * lanes + lane) * LANES),
                })
                .collect(),
            gradient_runs: (0..at_once * stage.height)
                .map(|i| i / stage.height * stage.padded() + i % stage.height * row)
                .map(|first| Run { a: u32s(first * lanes), b: u32s((first + row + 1) * LANES) })
                .collect(),
            places: pixels.clone().map(|p| u32s(padded(p) + row + 1)).collect(),
            border: (0..stage.padded())
                .filter(|place| {
                    let (y, x) = (place / row, place % row);
                    y == 0 || y > stage.height || x == 0 || x > stage.width
                })
                .map(u32s)
                .collect(),
            routes: (stage.pool != Pool::None).then(|| pixels.map(route).collect()),
        }
    }
}

/// Room that all stages share in the backward pass.
#[derive(Debug, Clone, Default)]
pub(super) struct Room {
    /// Gradients before the norm, padded, blocks of 16: `[block][sample][plane][padded pixel][16]`.
    behind_norm: Floats,
    /// Gradients behind a stage's pool, sample by sample: `[sample][time step][block][pixel][16]`.
    pub(super) behind_pool: Floats,
    /// Weight gradients, one after another for each part of the batch.
    parts: Floats,
    /// Kernels of the input gradient.
    kernels: Floats,
    /// `[block][plane][4][16]`.
    terms: Floats,
}

impl Conv {
    /// A stage whose input is the network's (`first`), spikes, or the real numbers of an average pool.
    pub(super) fn new(stage: ConvStage, before: Option<Pool>) -> Self {
        let (input, lanes) = match before {
            None => (Maps::Real { values: Floats::default(), lanes: stage.inputs }, stage.inputs),
            Some(Pool::Average(_)) => (Maps::Real { values: Floats::default(), lanes: LANES }, LANES),
            Some(_) => (Maps::Spikes(Vec::new()), LANES),
        };
        let channels = stage.blocks() * LANES;
        Self {
            input,
            weight: Weights::new(stage.inputs.div_ceil(lanes) * stage.blocks() * TAPS * lanes * LANES),
            bias: Weights::new(channels),
            gamma: Weights::new(channels),
            beta: Weights::new(channels),
            running_mean: vec![0.0; channels],
            running_var: vec![0.0; channels],
            spikes: Vec::new(),
            turned: Turned::new(&stage),
            lists: Lists::new(&stage, lanes),
            extent: Extent::default(),
            output: Floats::default(),
            sums: Floats::default(),
            mean: Floats::default(),
            inverse: Floats::default(),
            scale: Floats::default(),
            shift: Floats::default(),
            stage,
        }
    }

    /// Its parameters, in the order of [`Self::weights`].
    pub(super) fn names(&self) -> [Named<'static>; 4] {
        let (layer, norm) = (self.stage.layer, self.stage.norm());
        [
            (Order::Conv(self.stage, self.lanes()), format!("{layer}.weight")),
            (Order::Channels, format!("{layer}.bias")),
            (Order::Channels, format!("{norm}.weight")),
            (Order::Channels, format!("{norm}.bias")),
        ]
    }

    pub(super) fn weights(&self) -> [&Weights; 4] {
        [&self.weight, &self.bias, &self.gamma, &self.beta]
    }

    pub(super) fn weights_mut(&mut self) -> [&mut Weights; 4] {
        [&mut self.weight, &mut self.bias, &mut self.gamma, &mut self.beta]
    }

    /// Lanes of an input block.
    pub(super) fn lanes(&self) -> usize {
        match self.input {
            Maps::Spikes(_) => LANES,
            Maps::Real { lanes, .. } => lanes,
        }
    }

    fn input_blocks(&self) -> usize {
        self.stage.inputs.div_ceil(self.lanes())
    }

    /// Makes room for a batch; none is made twice for the same extent. With running statistics the convolution's output is
    /// not kept.
    pub(super) fn make_room(&mut self, extent: Extent, statistics: Statistics) {
        let kept = (statistics == Statistics::Batch) != self.output.is_empty();
        if self.extent == extent && kept {
            return;
        }
        self.extent = extent;
        let (stage, blocks) = (self.stage, self.stage.blocks());
        let planes = extent.samples * extent.planes;
        let input = self.input_blocks() * planes * stage.padded();
        // A border once written zero stays zero: planes keep their places whatever the extent.
        match &mut self.input {
            Maps::Spikes(spikes) => spikes.resize(input, 0),
            Maps::Real { values, lanes } => values.resize(input * *lanes),
        }
        let kept = if statistics == Statistics::Batch { blocks * planes } else { 0 };
        self.output.resize(kept * stage.pixels() * LANES);
        self.sums.resize(kept * 2 * LANES);
        self.spikes.resize(blocks * extent.samples * extent.steps * stage.pixels(), 0);
        for vector in [&mut self.mean, &mut self.inverse, &mut self.scale, &mut self.shift] {
            vector.resize(blocks * extent.planes * LANES);
        }
    }

    /// From `input` to `spikes`.
    pub(super) fn forward(&mut self, path: Path, neuron: &Neuron, statistics: Statistics) {
        match statistics {
            Statistics::Batch => {
                self.convolve(path);
                self.take_statistics();
                self.fire(path, neuron);
            }
            Statistics::Running => {
                self.take_running();
                self.infer(path, neuron);
            }
        }
    }

    /// Where a plane of a block begins in `output`, in planes.
    fn output_at(&self, block: usize, plane: usize) -> usize {
        let (planes, wide) = (self.extent.samples * self.extent.planes, self.stage.wide());
        (block / wide * planes + plane) * wide + block % wide
    }

    fn convolve(&mut self, path: Path) {
        let (stage, wide) = (self.stage, self.stage.wide());
        let planes = self.extent.samples * self.extent.planes;
        let (chunk, plane) = ((TASK_PIXELS / stage.pixels() / wide).max(1) * wide, stage.pixels() * LANES);
        let (mut outputs, mut moments) = (std::mem::take(&mut self.output), std::mem::take(&mut self.sums));
        let groups = outputs.par_chunks_mut(planes * wide * plane);
        let of_groups = moments.par_chunks_mut(planes * wide * 2 * LANES);
        groups.zip(of_groups).enumerate().for_each(|(group, (output, moments))| {
            let chunks = output.par_chunks_mut(chunk * plane).zip(moments.par_chunks_mut(chunk * 2 * LANES));
            chunks.enumerate().for_each(|(index, (sums, moments))| {
                self.convolve_planes(path, group * wide, index * chunk / wide, sums);
                for (plane, moments) in sums.chunks(plane).zip(moments.chunks_mut(2 * LANES)) {
                    path.run(Moments { plane, moments });
                }
            });
        });
        (self.output, self.sums) = (outputs, moments);
    }

    /// The sums of a group of blocks, from `block` on, at some planes, from `first` on.
    fn convolve_planes(&self, path: Path, block: usize, first: usize, sums: &mut [f32]) {
        let (stage, lanes, wide) = (self.stage, self.lanes(), self.stage.wide());
        let planes = self.extent.samples * self.extent.planes;
        let (padded, plane) = (stage.padded(), stage.pixels() * LANES);
        let count = sums.len() / plane / wide;
        let bias = &self.bias.values[block * LANES..];
        let size = TAPS * lanes * LANES;
        for from in 0..self.input_blocks() {
            let weights = &self.weight.values[(from * stage.blocks() + block) * size..][..wide * size];
            let at = (from * planes + first) * padded;
            match &self.input {
                Maps::Spikes(spikes) => with_table(TABLES, |table| {
                    path.run(SpikeProduct {
                        spikes: &spikes[at..][..count * padded],
                        sums,
                        blocks: wide,
                        weights,
                        bias: (from == 0).then_some(bias),
                        pixels: &self.lists.pixels,
                        padded,
                        row: stage.width + 2,
                        table,
                    });
                }),
                Maps::Real { values, .. } => {
                    let rows = &self.lists.forward_rows;
                    let at_once = rows.len() / stage.pixels();
                    let values =
                        values[at * lanes..][..count * padded * lanes].chunks(at_once * padded * lanes);
                    for (c, a) in sums.chunks_mut(at_once * wide * plane).zip(values) {
                        path.run(Product {
                            a,
                            b: weights,
                            rows: &rows[..c.len() / wide / LANES],
                            c,
                            terms: Terms {
                                runs: &self.lists.forward_runs,
                                length: lanes,
                                a_step: 1,
                                b_step: LANES,
                            },
                            vectors: wide,
                            b_stride: size,
                            c_stride: plane,
                            start: if from == 0 { Start::Bias(bias) } else { Start::Sum },
                        });
                    }
                }
            }
        }
    }

    /// Mean and variance of each channel and plane over the batch, and the running averages after them.
    fn take_statistics(&mut self) {
        let Extent { samples, steps, planes } = self.extent;
        let pixels = self.stage.pixels() as f64;
        let count = samples as f64 * pixels;
        for block in 0..self.stage.blocks() {
            for plane in 0..planes {
                for lane in 0..LANES {
                    let moments = |sample: usize| {
                        let at = self.output_at(block, sample * planes + plane) * 2 * LANES + lane;
                        (f64::from(self.sums[at]), f64::from(self.sums[at + LANES]))
                    };
                    let mean = (0..samples).map(|sample| moments(sample).0).sum::<f64>() / count;
                    let squares: f64 = (0..samples)
                        .map(|sample| {
                            let (sum, squares) = moments(sample);
                            squares + pixels * (sum / pixels - mean).powi(2)
                        })
                        .sum();
                    let channel = block * LANES + lane;
                    let at = (block * planes + plane) * LANES + lane;
                    self.set_affine(at, channel, mean, squares / count);
                    let (mean, unbiased) = (mean as f32, (squares / (count - 1.0).max(1.0)) as f32);
                    for _ in 0..steps / planes {
                        for (running, batch) in [
                            (&mut self.running_mean[channel], mean),
                            (&mut self.running_var[channel], unbiased),
                        ] {
                            *running = *running * (1.0 - MOMENTUM) + batch * MOMENTUM;
                        }
                    }
                }
            }
        }
    }

    fn take_running(&mut self) {
        let planes = self.extent.planes;
        for at in 0..self.stage.blocks() * planes * LANES {
            let channel = at / LANES / planes * LANES + at % LANES;
            let (mean, var) = (self.running_mean[channel], self.running_var[channel]);
            self.set_affine(at, channel, f64::from(mean), f64::from(var));
        }
    }

    fn set_affine(&mut self, at: usize, channel: usize, mean: f64, variance: f64) {
        let inverse = 1.0 / (variance + EPSILON).sqrt();
        let scale = f64::from(self.gamma.values[channel]) * inverse;
        self.mean[at] = mean as f32;
        self.inverse[at] = inverse as f32;
        self.scale[at] = scale as f32;
        self.shift[at] = (f64::from(self.beta.values[channel]) - mean * scale) as f32;
    }

    /// The cells of one block over an input that begins at a plane of theirs.
    fn cells<'a>(&'a self, block: usize, input: &'a [f32]) -> Cells<'a> {
        let Extent { steps, planes, .. } = self.extent;
        Cells {
            input,
            step: self.stage.wide() * self.stage.pixels() * LANES,
            affine: Some(Affine {
                scale: &self.scale[block * planes * LANES..][..planes * LANES],
                shift: &self.shift[block * planes * LANES..][..planes * LANES],
            }),
            pixels: self.stage.pixels(),
            steps,
            constant: planes < steps,
        }
    }

    /// What enters the cells of one block of one sample.
    fn output_of(&self, block: usize, sample: usize) -> &[f32] {
        &self.output[self.output_at(block, sample * self.extent.planes) * self.stage.pixels() * LANES..]
    }

    fn fire(&mut self, path: Path, neuron: &Neuron) {
        let Extent { samples, steps, .. } = self.extent;
        let wide = self.stage.wide();
        let mut spikes = std::mem::take(&mut self.spikes);
        spikes.par_chunks_mut(steps * self.stage.pixels()).enumerate().for_each(|(index, spikes)| {
            let (block, sample) = (index / wide / samples * wide + index % wide, index / wide % samples);
            path.run(Fire { cells: self.cells(block, self.output_of(block, sample)), neuron, spikes });
        });
        self.spikes = spikes;
    }

    /// Convolution and cells of some samples at a time, their sums never leaving a core's cache.
    ///
    /// The norm is one multiply-add on a cell's way in. Folded into the weights it would round otherwise than in training.
    fn infer(&mut self, path: Path, neuron: &Neuron) {
        let Extent { samples, steps, planes } = self.extent;
        let (stage, wide) = (self.stage, self.stage.wide());
        let (cells, plane) = (steps * stage.pixels(), stage.pixels() * LANES);
        let chunk = (TASK_PIXELS / (planes * wide * stage.pixels())).max(1);
        let mut spikes = std::mem::take(&mut self.spikes);
        spikes.par_chunks_mut(samples * wide * cells).enumerate().for_each(|(group, spikes)| {
            spikes.par_chunks_mut(chunk * wide * cells).enumerate().for_each(|(index, spikes)| {
                let count = spikes.len() / wide / cells;
                with_floats(count * planes * wide * plane, |sums| {
                    self.convolve_planes(path, group * wide, index * chunk * planes, sums);
                    for (i, spikes) in spikes.chunks_mut(cells).enumerate() {
                        let (sample, within) = (i / wide, i % wide);
                        let input = &sums[(sample * planes * wide + within) * plane..];
                        path.run(Fire { cells: self.cells(group * wide + within, input), neuron, spikes });
                    }
                });
            });
        });
        self.spikes = spikes;
    }

    /// The spikes of one block at one time step of one sample.
    pub(super) fn spikes_at(&self, block: usize, sample: usize, t: usize) -> &[u16] {
        let Extent { samples, steps, .. } = self.extent;
        let (wide, pixels) = (self.stage.wide(), self.stage.pixels());
        let cells = (block / wide * samples + sample) * wide + block % wide;
        &self.spikes[(cells * steps + t) * pixels..][..pixels]
    }

    /// Pools the spikes into the next convolution's input.
    pub(super) fn pool_into(&self, path: Path, next: &mut Maps) {
        let stage = &self.stage;
        let ((rows, columns), size) = (stage.pooled(), stage.pool.size());
        let (padded, row) = ((rows + 2) * (columns + 2), columns + 2);
        let Extent { samples, steps, .. } = self.extent;
        let of =
            |index: usize| self.spikes_at(index / steps / samples, index / steps % samples, index % steps);
        match next {
            Maps::Spikes(next) => {
                next.par_chunks_mut(padded).with_min_len(16).enumerate().for_each(|(index, next)| {
                    let spikes = of(index);
                    for y in 0..rows {
                        for x in 0..columns {
                            let window = stage.window(y, x).map(|pixel| spikes[pixel]);
                            next[(y + 1) * row + x + 1] = window.fold(0, |any, spikes| any | spikes);
                        }
                    }
                });
            }
            Maps::Real { values, .. } => {
                values.par_chunks_mut(padded * LANES).with_min_len(4).enumerate().for_each(
                    |(index, next)| {
                        let out = &mut next[(row + 1) * LANES..];
                        let spikes = of(index);
                        path.run(Average { spikes, width: stage.width, size, out, rows, columns, row });
                    },
                );
            }
        }
    }

    /// Pools the spikes into rows of features, `[sample][time step][feature]`.
    pub(super) fn pool_into_features(&self, path: Path, features: &mut [f32]) {
        let stage = &self.stage;
        let ((rows, columns), Extent { samples, steps, .. }) = (stage.pooled(), self.extent);
        let wide = features.len() / samples / steps;
        features.par_chunks_mut(wide).enumerate().for_each(|(row, features)| {
            for (block, out) in features[..stage.features()].chunks_mut(rows * columns * LANES).enumerate() {
                let spikes = self.spikes_at(block, row / steps, row % steps);
                match stage.pool {
                    Pool::Average(size) => path.run(Average {
                        spikes,
                        width: stage.width,
                        size,
                        out,
                        rows,
                        columns,
                        row: columns,
                    }),
                    Pool::Max(_) | Pool::None => {
                        for (place, feature) in out.chunks_mut(LANES).enumerate() {
                            let window = stage.window(place / columns, place % columns);
                            spread(window.fold(0, |any, pixel| any | spikes[pixel]), 1.0, feature);
                        }
                    }
                }
            }
        });
    }

    /// The lanes of each pixel that a max-pool's gradient reaches: the first maximum of a window in row-major order, which is
    /// the first spike, or the first pixel of a window without one.
    fn first_maxima(&self, block: usize, sample: usize, lanes: &mut [u16]) {
        let stage = &self.stage;
        let (rows, columns) = stage.pooled();
        for (t, lanes) in lanes.chunks_mut(stage.pixels()).enumerate() {
            let spikes = self.spikes_at(block, sample, t);
            for y in 0..rows {
                for x in 0..columns {
                    let mut before = 0;
                    for pixel in stage.window(y, x) {
                        lanes[pixel] = spikes[pixel] & !before;
                        before |= spikes[pixel];
                    }
                    if let Some(first) = stage.window(y, x).next() {
                        lanes[first] |= !before;
                    }
                }
            }
        }
    }

    /// From the gradients behind the pool (`room.behind_pool`) to weights that moved, and, but for the first stage, to the
    /// gradients behind the pool of the stage before.
    pub(super) fn backward(
        &mut self,
        path: Path,
        neuron: &Neuron,
        update: Update,
        first: bool,
        room: &mut Room,
    ) {
        self.learn(path, neuron, room);
        let (gamma, beta) = self.norm_gradients(room);
        let bias = self.unnormalise(path, room);
        if !first {
            let planes = self.extent.samples * self.extent.planes;
            let wide = planes * self.input_blocks() * self.stage.pixels() * LANES;
            room.behind_pool.grow(wide);
            let Room { behind_norm, behind_pool, kernels, .. } = room;
            let given = Given { path, weights: &self.weight.values, grads: behind_norm, planes };
            self.turned.run(given, kernels, &mut behind_pool[..wide]);
        }
        self.weight_gradients(path, room);
        let weights = self.weight.values.len();
        self.weight.update(path, update, &room.parts[..weights]);
        self.bias.update(path, update, &bias);
        self.gamma.update(path, update, &gamma);
        self.beta.update(path, update, &beta);
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
                for place in &self.lists.border {
                    plane[*place as usize * LANES..][..LANES].fill(0.0);
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

    /// Gradients of the norm's weight and bias; leaves the terms of [`Unnormalise`] in the room.
    fn norm_gradients(&self, room: &mut Room) -> (Vec<f32>, Vec<f32>) {
        let Extent { samples, planes, .. } = self.extent;
        let blocks = self.stage.blocks();
        let count = (samples * self.stage.pixels()) as f64;
        let (mut gamma, mut beta) = (vec![0.0; blocks * LANES], vec![0.0; blocks * LANES]);
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
                gamma[channel] = of_gamma as f32;
                beta[channel] = of_beta as f32;
            }
        }
        (gamma, beta)
    }

    /// The gradients before the norm, in place; gives the gradient of the convolution's bias, which the norm makes
    /// rounding around zero.
    fn unnormalise(&mut self, path: Path, room: &mut Room) -> Vec<f32> {
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
        let mut bias = vec![0.0; blocks * LANES];
        for (channel, bias) in bias.iter_mut().enumerate() {
            let (block, lane) = (channel / LANES, channel % LANES);
            let of_block = &self.sums[block * samples * planes * 2 * LANES..][..samples * planes * 2 * LANES];
            *bias = of_block.chunks(2 * LANES).map(|sums| f64::from(sums[lane])).sum::<f64>() as f32;
        }
        bias
    }

    /// Leaves the gradients of the weights at the head of `room.parts`.
    fn weight_gradients(&self, path: Path, room: &mut Room) {
        let Extent { samples, planes, .. } = self.extent;
        let (stage, blocks, lanes) = (self.stage, self.stage.blocks(), self.lanes());
        let (padded, row, all) = (stage.padded(), stage.width + 2, samples * planes);
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
                Maps::Spikes(spikes) => with_table(TABLE, |table| {
                    for (block, weights) in weights.chunks_mut(size).enumerate() {
                        path.run(SpikeGradient {
                            spikes: &spikes[at..][..count * padded],
                            grads: &grads[block * all * padded * LANES..][..count * padded * LANES],
                            weights,
                            pixels: &lists.pixels,
                            padded,
                            row,
                            table,
                        });
                    }
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

impl ConvStage {
    /// The pixels of a window, row by row.
    fn window(&self, y: usize, x: usize) -> impl Iterator<Item = usize> {
        let (size, width) = (self.pool.size(), self.width);
        (y * size..(y + 1) * size).flat_map(move |row| row * width + x * size..row * width + (x + 1) * size)
    }
}

/// 16 spikes as `value` or 0.
pub(super) fn spread(spikes: u16, value: f32, out: &mut [f32]) {
    for (lane, out) in out.iter_mut().enumerate() {
        *out = if spikes >> lane & 1 == 1 { value } else { 0.0 };
    }
}
