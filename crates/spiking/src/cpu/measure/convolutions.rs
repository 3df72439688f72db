//! Convolutions, and the products that they are made of.

use super::{Workload, floats};
use crate::Streams;
use crate::cpu::conv::{Conv, Extent, Maps, StatisticsSource};
use crate::cpu::kernels::product::{Product, Repeat, Row, Run, Start, Terms, Turn};
use crate::cpu::kernels::spike_gradient::{LISTS, SpikeGradient};
use crate::cpu::kernels::spikes::{BLOCK, SpikeProduct, TABLES};
use crate::cpu::memory::Floats;
use crate::cpu::plan::{ConvStage, Pool};
use crate::cpu::simd::{LANES, Path};
use crate::cpu::turned::{Given, Turned};
use crate::cpu::weights::Update;

const SIDE: usize = 14;

const PLANES: usize = 32;

/// Planes with a border, so many percent of the channels of each inner pixel fired.
pub(super) fn spikes(planes: usize, height: usize, width: usize, percent: u32) -> Vec<u16> {
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

pub(super) fn spike_product(path: Path) -> Workload {
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

pub(super) fn spike_gradient(path: Path, name: &'static str, percent: u32) -> Workload {
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
                spikes_block: 0,
                inputs: 1,
                planes: PLANES,
                grads: &grads,
                grads_block: stride,
                weights: &mut weights,
                size: (SIDE, SIDE),
                lists: &mut lists,
            });
        }),
    }
}

pub(super) fn input_gradient(
    path: Path,
    name: &'static str,
    side: usize,
    planes: usize,
    channels: usize,
) -> Workload {
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

pub(super) fn tiled_gradient(path: Path, name: &'static str, pool: Pool) -> Workload {
    let (side, channels, planes) = (16, 64, 16);
    let stage = stage(side, channels);
    let mut conv = Conv::new(stage, Some(pool));
    conv.make_room(Extent { samples: planes, steps: 1, planes: 1 }, StatisticsSource::Batch);
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

pub(super) fn small_tiles(path: Path) -> Workload {
    let (side, channels, planes) = (4, 64, 64);
    let stage = stage(side, channels);
    let mut conv = Conv::new(stage, Some(Pool::Average(2)));
    conv.make_room(Extent { samples: planes, steps: 1, planes: 1 }, StatisticsSource::Batch);
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

pub(super) fn product(path: Path) -> Workload {
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

pub(super) fn turn(path: Path) -> Workload {
    let rows = 4096;
    let (from, mut to) = (floats(rows * LANES, 1), Floats::zeros(rows * LANES));
    Workload {
        name: "turning 4096 rows of 16",
        operations: 0.0,
        bytes: 4.0 * (from.len() + to.len()) as f64,
        run: Box::new(move || path.run(Turn { from: &from, to: &mut to })),
    }
}
