//! The kernels on data of typical shapes, for benches, and what this machine can do at most.
//!
//! A workload's shapes are those of a layer of the paper's networks; its data are made up. Rates are of one thread.

use std::hint::black_box;
use std::time::Instant;

use super::conv::{Conv, Extent, Maps, Statistics};
use super::kernels::adamw::{AHEAD, AdamStep, Move};
use super::kernels::groups::{
    AT_ONCE, FeatureGradient, FindLanes, GroupByOutput, GroupByRow, Groups, WeightGradient,
};
use super::kernels::neuron::{Affine, Cells, Fire, Gives, Grads, Learn, PIXELS, Places, Reach, Routes, Sums};
use super::kernels::norm::{Moments, Unnormalise};
use super::kernels::pool::Average;
use super::kernels::product::{Product, Repeat, Row, Run, Start, Terms, Turn};
use super::kernels::spike_gradient::{LISTS, SpikeGradient};
use super::kernels::spikes::{BLOCK, SpikeProduct, TABLES};
use super::memory::Floats;
use super::plan::{ConvStage, Pool};
use super::simd::{Kernel, LANES, Path, Simd};
use super::turned::{Given, Turned};
use super::weights::{PANEL, Update};
use crate::{Neuron, Rule, Streams};

/// A kernel with its data.
pub struct Workload {
    /// Kernel and shape.
    pub name: &'static str,
    /// Floating-point operations of the computation as it is defined, a multiply-add for two; what a kernel avoids counts too.
    pub operations: f64,
    /// Bytes that must be read and written at least once.
    pub bytes: f64,
    /// Computes it once.
    pub run: Box<dyn FnMut()>,
}

impl Workload {
    /// Median seconds of a run, over `runs` of them.
    pub fn seconds(&mut self, runs: usize) -> f64 {
        median(runs, &mut self.run)
    }
}

/// What one thread of this machine does at most on a path.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Fused multiply-adds in registers, in GFLOP/s.
    pub gflops: f64,
    /// Copying memory far larger than the caches, bytes read and bytes written together, in GB/s.
    pub copy_gb: f64,
}

impl Limits {
    /// Measures them, in about a second.
    pub fn measure(path: Path) -> Self {
        const ROUNDS: usize = 1_000_000;
        let seconds = median(9, &mut || {
            black_box(path.run(Multiply { rounds: ROUNDS }));
        });
        let gflops = (ROUNDS * Multiply::SUMS * LANES * 2) as f64 / seconds / 1e9;
        let from = vec![1u8; 256 << 20];
        let mut to = vec![0u8; from.len()];
        let seconds = median(5, &mut || {
            to.copy_from_slice(black_box(&from));
            black_box(&to);
        });
        Self { gflops, copy_gb: 2.0 * from.len() as f64 / seconds / 1e9 }
    }
}

/// Chains of multiply-adds that wait for nothing but themselves: `rounds` of [`Multiply::SUMS`].
struct Multiply {
    rounds: usize,
}

impl Multiply {
    /// Vectors that fit the registers of every path and, of two registers each, hide the latency.
    const SUMS: usize = 6;

    #[inline(always)]
    fn chains<S: Simd, const SUMS: usize>(s: S, rounds: usize) -> f32 {
        let factor = s.splat(black_box(0.999));
        let mut sums = [s.splat(1.0); SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = s.fma(*sum, factor, factor);
            }
        }
        let mut out = [0.0; LANES];
        for sum in sums {
            // SAFETY: `out` holds 16 values.
            unsafe { s.store(out.as_mut_ptr(), s.add(sum, s.load(out.as_ptr()))) };
        }
        out.iter().sum()
    }
}

impl Kernel for Multiply {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        // A vector of one register needs twice as many to hide the latency, and has the registers for them.
        if S::MANY_REGISTERS {
            Self::chains::<S, { 2 * Self::SUMS }>(s, self.rounds / 2)
        } else {
            Self::chains::<S, { Self::SUMS }>(s, self.rounds)
        }
    }
}

fn median(runs: usize, f: &mut dyn FnMut()) -> f64 {
    f();
    let mut seconds: Vec<f64> = (0..runs.max(1))
        .map(|_| {
            let clock = Instant::now();
            f();
            clock.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn floats(count: usize, seed: u64) -> Floats {
    let order = Streams::new(seed).permutation("measure", 4096);
    let mut floats = Floats::zeros(count);
    for (i, value) in floats.iter_mut().enumerate() {
        *value = order[i % order.len()] as f32 / 4096.0 - 0.5;
    }
    floats
}

/// Planes with a border, so many percent of the channels of each inner pixel fired.
fn spikes(planes: usize, height: usize, width: usize, percent: u32) -> Vec<u16> {
    let padded = (height + 2) * (width + 2);
    let order = Streams::new(5).permutation("spikes", planes * padded * LANES);
    let fires = |at: usize| {
        (0..LANES)
            .fold(0, |mask, lane| mask | u16::from(order[at * LANES + lane] as u32 % 100 < percent) << lane)
    };
    let inner = |at: usize| {
        let (y, x) = (at % padded / (width + 2), at % (width + 2));
        y > 0 && y <= height && x > 0 && x <= width
    };
    (0..planes * padded).map(|at| if inner(at) { fires(at) } else { 0 }).collect()
}

/// A square stage of so many channels in and out.
fn stage(side: usize, channels: usize) -> ConvStage {
    ConvStage { layer: 0, inputs: channels, outputs: channels, height: side, width: side, pool: Pool::None }
}

/// Every kernel on a typical shape.
pub fn workloads(path: Path) -> Vec<Workload> {
    vec![
        spike_product(path),
        spike_gradient(path, "spike weight gradient, 32 planes of 14x14, 16 to 64 channels, 10 % fired", 10),
        spike_gradient(path, "the same, 20 % fired", 20),
        spike_gradient(path, "the same, 40 % fired", 40),
        spike_gradient(path, "the same, 80 % fired", 80),
        tiled_gradient(
            path,
            "weight gradient by tiles, 16 planes of 16x16, 64 to 64 channels, spikes",
            Pool::None,
        ),
        tiled_gradient(path, "the same, real maps", Pool::Average(2)),
        input_gradient(path, "input gradient by Winograd, 16 planes of 14x14, 64 to 64 channels", 14, 16, 64),
        input_gradient(path, "the same in place, 16 to 16 channels", 14, 16, 16),
        input_gradient(path, "input gradient directly, 2 planes of 4x4, 64 to 64 channels", 4, 2, 64),
        small_tiles(path),
        linear_gradients(path),
        product(path),
        turn(path),
        moments(path),
        unnormalise(path),
        fire(path),
        learn(path, Rule::Baseline, "cells backward, baseline, 28x28, T = 4"),
        learn(path, Rule::Both, "cells backward, both, 28x28, T = 4"),
        average(path),
        adamw(path),
    ]
}

const SIDE: usize = 14;
const PLANES: usize = 32;

fn spike_product(path: Path) -> Workload {
    let blocks = 4;
    let map = spikes(PLANES, SIDE, SIDE, 20);
    let (weights, mut sums) =
        (floats(blocks * BLOCK, 1), Floats::zeros(PLANES * blocks * SIDE * SIDE * LANES));
    let (bias, mut table) = (floats(blocks * LANES, 2), Floats::zeros(TABLES));
    Workload {
        name: "spike convolution, 32 planes of 14x14, 16 to 64 channels",
        operations: (PLANES * SIDE * SIDE * blocks * BLOCK * 2) as f64,
        bytes: (map.len() * 2 + 4 * (weights.len() + sums.len())) as f64,
        run: Box::new(move || {
            path.run(SpikeProduct {
                spikes: &map,
                sums: &mut sums,
                blocks,
                weights: &weights,
                bias: Some(&bias),
                size: (SIDE, SIDE),
                table: &mut table,
            });
        }),
    }
}

fn spike_gradient(path: Path, name: &'static str, percent: u32) -> Workload {
    let (padded, blocks) = ((SIDE + 2) * (SIDE + 2), 4);
    let map = spikes(PLANES, SIDE, SIDE, percent);
    let stride = PLANES * padded * LANES;
    let (grads, mut weights) = (floats(blocks * stride, 1), Floats::zeros(blocks * BLOCK));
    let mut lists = vec![0; LISTS];
    Workload {
        name,
        operations: (PLANES * SIDE * SIDE * blocks * BLOCK * 2) as f64,
        bytes: (map.len() * 2 + 4 * (grads.len() + weights.len())) as f64,
        run: Box::new(move || {
            path.run(SpikeGradient {
                spikes: &map,
                grads: &grads,
                stride,
                weights: &mut weights,
                size: (SIDE, SIDE),
                lists: &mut lists,
            });
        }),
    }
}

fn input_gradient(path: Path, name: &'static str, side: usize, planes: usize, channels: usize) -> Workload {
    let stage = stage(side, channels);
    let (turned, blocks) = (Turned::new(&stage), stage.blocks());
    let weights = floats(blocks * blocks * BLOCK, 1);
    let grads = floats(blocks * planes * stage.padded() * LANES, 2);
    let mut out = Floats::zeros(planes * blocks * stage.pixels() * LANES);
    let mut room = Floats::default();
    let operations = (planes * stage.pixels() * blocks * blocks * BLOCK * 2) as f64;
    let bytes = 4.0 * (weights.len() + grads.len() + out.len()) as f64;
    let run =
        move || turned.run(Given { path, weights: &weights, grads: &grads, planes }, &mut room, &mut out);
    Workload { name, operations, bytes, run: on_one_thread(run) }
}

/// What is shared out over threads, on one.
fn on_one_thread(mut run: impl FnMut() + Send + 'static) -> Box<dyn FnMut()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    Box::new(move || match &pool {
        Ok(pool) => pool.install(&mut run),
        Err(_) => run(),
    })
}

fn tiled_gradient(path: Path, name: &'static str, pool: Pool) -> Workload {
    let (side, channels, planes) = (16, 64, 16);
    let stage = stage(side, channels);
    let mut conv = Conv::new(stage, Some(pool));
    conv.make_room(Extent { samples: planes, steps: 1, planes: 1 }, Statistics::Batch);
    let grads = floats(stage.blocks() * planes * stage.padded() * LANES, 1);
    let (maps, bytes) = match &mut conv.input {
        Maps::Real { values, .. } => {
            let count = values.len();
            values.copy_from_slice(&floats(count, 2));
            (count, 4)
        }
        Maps::Spikes(fires) => {
            let blocks = stage.blocks();
            fires.copy_from_slice(&spikes(planes * blocks, side, side, 40));
            (fires.len(), 2)
        }
    };
    let weights = stage.blocks() * stage.blocks() * BLOCK;
    Workload {
        name,
        operations: (planes * stage.pixels() * weights * 2) as f64,
        bytes: (maps * bytes + 4 * (grads.len() + weights)) as f64,
        run: on_one_thread(move || conv.tiled_gradients(path, Update::Keep, &grads)),
    }
}

/// The gradients of features and weights, without AdamW.
fn linear_gradients(path: Path) -> Workload {
    const ROWS: usize = 64;
    let blocks = AT_ONCE / LANES;
    let mut grads = floats(blocks * ROWS * LANES, 1);
    let order = Streams::new(6).permutation("gradients", grads.len());
    grads.iter_mut().zip(order).filter(|(_, place)| place % 100 >= 17).for_each(|(grad, _)| *grad = 0.0);
    let (features, weights) = (floats(ROWS * PANEL, 2), floats(AT_ONCE * PANEL, 3));
    let mut lanes = vec![0; blocks * ROWS];
    let (mut by_output, mut by_row) = (vec![Groups::default(); blocks], Groups::default());
    for ((grads, lanes), into) in grads.chunks(ROWS * LANES).zip(lanes.chunks_mut(ROWS)).zip(&mut by_output) {
        path.run(FindLanes { values: grads, step: LANES, rows: ROWS, lanes });
        path.run(GroupByOutput { grads, lanes, rows: ROWS, into });
    }
    path.run(GroupByRow { grads: &grads, lanes: &lanes, lanes_block: ROWS, rows: ROWS, into: &mut by_row });
    let (mut sums, mut out) = (Floats::zeros(ROWS * PANEL), Floats::zeros(PANEL * LANES));
    Workload {
        name: "linear gradients, 64 rows, 64 features to 128 outputs, 17 % of the gradients not 0",
        operations: (2 * ROWS * PANEL * AT_ONCE * 2) as f64,
        bytes: (4 * (grads.len() + features.len() + 2 * weights.len() + 2 * sums.len())) as f64,
        run: Box::new(move || {
            sums.fill(0.0);
            path.run(FeatureGradient { groups: &by_row, weights: &weights, sums: &mut sums });
            for groups in &by_output {
                path.run(WeightGradient { groups, features: &features, out: &mut out, meanwhile: None });
            }
        }),
    }
}

fn small_tiles(path: Path) -> Workload {
    let (side, channels, planes) = (4, 64, 64);
    let stage = stage(side, channels);
    let mut conv = Conv::new(stage, Some(Pool::Average(2)));
    conv.make_room(Extent { samples: planes, steps: 1, planes: 1 }, Statistics::Batch);
    if let Maps::Real { values, .. } = &mut conv.input {
        let count = values.len();
        values.copy_from_slice(&floats(count, 1));
    }
    let weights = stage.blocks() * stage.blocks() * BLOCK;
    let mut sums = Floats::zeros(planes * stage.blocks() * stage.pixels() * LANES);
    Workload {
        name: "convolution by small tiles, 64 planes of 4x4, 64 to 64 channels, real maps",
        operations: (planes * stage.pixels() * weights * 2) as f64,
        bytes: 4.0 * (planes * stage.blocks() * stage.padded() * LANES + weights + sums.len()) as f64,
        run: Box::new(move || conv.convolve_small_tiles(path, 0, 0, &mut sums)),
    }
}

fn product(path: Path) -> Workload {
    let (rows, terms, vectors) = (64, 512, 4);
    let (a, b, mut c) =
        (floats(rows * terms, 1), floats(terms * vectors * LANES, 2), Floats::zeros(rows * vectors * LANES));
    let row_list: Vec<Row> =
        (0..rows).map(|row| Row { a: (row * terms) as u32, c: (row * vectors * LANES) as u32 }).collect();
    Workload {
        name: "dense product, 64 rows, 512 terms, 64 columns",
        operations: (rows * terms * vectors * LANES * 2) as f64,
        bytes: 4.0 * (a.len() + b.len() + c.len()) as f64,
        run: Box::new(move || {
            path.run(Product {
                a: &a,
                b: &b,
                c: &mut c,
                rows: &row_list,
                terms: Terms {
                    runs: &[Run { a: 0, b: 0 }],
                    length: terms,
                    a_step: 1,
                    b_step: vectors * LANES,
                },
                vectors,
                b_stride: LANES,
                c_stride: LANES,
                start: Start::Zero,
                repeat: Repeat::ONCE,
            });
        }),
    }
}

fn turn(path: Path) -> Workload {
    let rows = 4096;
    let (from, mut to) = (floats(rows * LANES, 1), Floats::zeros(rows * LANES));
    Workload {
        name: "turning 4096 rows of 16",
        operations: 0.0,
        bytes: 4.0 * (from.len() + to.len()) as f64,
        run: Box::new(move || path.run(Turn { from: &from, to: &mut to })),
    }
}

fn moments(path: Path) -> Workload {
    let plane = floats(28 * 28 * LANES, 1);
    let mut moments = Floats::zeros(2 * LANES);
    Workload {
        name: "moments of a plane of 28x28",
        operations: (plane.len() * 4) as f64,
        bytes: 4.0 * plane.len() as f64,
        run: Box::new(move || path.run(Moments { plane: &plane, moments: &mut moments })),
    }
}

fn unnormalise(path: Path) -> Workload {
    let pixels = 28 * 28;
    let (input, terms, mut grads) =
        (floats(pixels * LANES, 1), floats(4 * LANES, 2), floats(pixels * LANES, 3));
    let mut sum = Floats::zeros(LANES);
    Workload {
        name: "gradient of a norm, a plane of 28x28",
        operations: (pixels * LANES * 6) as f64,
        bytes: (12 * pixels * LANES) as f64,
        run: Box::new(move || {
            path.run(Unnormalise {
                input: &input,
                terms: &terms,
                grads: &mut grads,
                places: Places { of: None, plane: pixels },
                sum: &mut sum,
            });
        }),
    }
}

const STEPS: usize = 4;

fn fire(path: Path) -> Workload {
    let pixels = 28 * 28;
    let (input, scale, shift) =
        (floats(STEPS * pixels * LANES, 1), floats(STEPS * LANES, 2), floats(STEPS * LANES, 3));
    let mut fires = vec![0; STEPS * pixels];
    Workload {
        name: "norm, ReLU and cells forward, 28x28, T = 4",
        operations: (STEPS * pixels * LANES * 6) as f64,
        bytes: (STEPS * pixels * (4 * LANES + 2)) as f64,
        run: Box::new(move || {
            let affine = Some(Affine { scale: &scale, shift: &shift });
            let cells =
                Cells { input: &input, step: pixels * LANES, affine, pixels, steps: STEPS, constant: false };
            path.run(Fire { cells, neuron: &Neuron::paper(Rule::Both), spikes: &mut fires });
        }),
    }
}

fn learn(path: Path, rule: Rule, name: &'static str) -> Workload {
    let pixels = 28 * 28;
    let count = STEPS * pixels * LANES;
    let (input, grads, mut out) = (floats(count, 1), floats(count, 2), Floats::zeros(count));
    let (scale, shift, mean) = (floats(STEPS * LANES, 2), floats(STEPS * LANES, 3), floats(STEPS * LANES, 4));
    let (mut sums, mut potentials) =
        (Floats::zeros(STEPS * 2 * LANES), Floats::zeros(STEPS * PIXELS * LANES));
    let mut positive = vec![0; STEPS * PIXELS];
    Workload {
        name,
        operations: (count * 20) as f64,
        bytes: (12 * count) as f64,
        run: Box::new(move || {
            let affine = Some(Affine { scale: &scale, shift: &shift });
            path.run(Learn {
                cells: Cells {
                    input: &input,
                    step: pixels * LANES,
                    affine,
                    pixels,
                    steps: STEPS,
                    constant: false,
                },
                neuron: &Neuron::paper(rule),
                grads: &grads,
                routes: Routes { of: None, places: pixels, step: pixels, reach: Reach::All(1.0) },
                gives: Gives {
                    sums: Some(Sums { mean: &mean, of: &mut sums }),
                    grads: Some(Grads {
                        norm: None,
                        out: &mut out,
                        places: Places { of: None, plane: pixels },
                    }),
                },
                potentials: &mut potentials,
                positive: &mut positive,
            });
        }),
    }
}

fn average(path: Path) -> Workload {
    let (width, size) = (28, 2);
    let plane = spikes(1, width - 2, width - 2, 20);
    let (rows, columns) = (width / size, width / size);
    let mut out = Floats::zeros(rows * columns * LANES);
    Workload {
        name: "average pool of 2x2, a plane of 28x28",
        operations: (width * width * LANES) as f64,
        bytes: (2 * plane.len() + 4 * out.len()) as f64,
        run: Box::new(move || {
            path.run(Average { spikes: &plane, width, size, out: &mut out, rows, columns, row: columns });
        }),
    }
}

/// An early step.
pub(super) const STEP: AdamStep = AdamStep {
    beta1: 0.9,
    beta2: 0.999,
    one_minus_beta1: 0.1,
    one_minus_beta2: 0.001,
    second_correction: 1.5,
    epsilon: 1e-8,
    keep: 0.99,
    rate: 1e-2,
};

fn adamw(path: Path) -> Workload {
    let count = 4 << 20;
    let (grads, mut weights, mut first, mut second) =
        (floats(count, 1), floats(count, 2), Floats::zeros(count), Floats::zeros(count));
    Workload {
        name: "AdamW, 4 Mi weights",
        operations: (count * 14) as f64,
        bytes: (7 * 4 * count) as f64,
        run: Box::new(move || {
            path.run(Move {
                step: STEP,
                grads: &grads,
                weights: &mut weights,
                first: &mut first,
                second: &mut second,
                ahead: AHEAD,
            });
        }),
    }
}
