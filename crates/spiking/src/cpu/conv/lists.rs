//! Places and offsets that follow from a stage alone.

use super::PRODUCT_PIXELS;
use super::small_tiles::{DEPTH, SMALL_TILES, products_apart};
use super::tiled::TILED_BLOCKS;
use crate::cpu::kernels::neuron::Routes;
use crate::cpu::kernels::product::{Row, Run};
use crate::cpu::kernels::spikes::TAPS;
use crate::cpu::plan::{ConvStage, Pool};
use crate::cpu::simd::LANES;

/// Places and offsets that follow from the stage alone.
#[derive(Debug, Clone)]
pub(super) struct Lists {
    /// The pixels of some planes as rows of a dense product: into the padded input, out to the sums.
    pub(super) forward_rows: Vec<Row>,
    /// Rows of taps as runs of the lanes below them.
    pub(super) forward_runs: Vec<Run>,
    /// (tap, lane) as rows of the weight gradient, and rows of pixels of some planes as its runs.
    pub(super) gradient_rows: Vec<Row>,
    pub(super) gradient_runs: Vec<Run>,
    /// Input channels as rows of Winograd's weight gradient.
    pub(super) tiled_rows: Vec<Row>,
    /// Small tiles as rows of their products.
    pub(super) small_rows: Vec<Row>,
    /// Each pixel's place in a padded plane.
    pub(super) places: Vec<u32>,
    /// The pixels of a padded plane's border.
    pub(super) border: Vec<u32>,
    /// Each pixel's place behind the pool; none without a pool.
    pub(super) routes: Option<Vec<u32>>,
}

impl Lists {
    pub(super) fn new(stage: &ConvStage, lanes: usize) -> Self {
        let row = stage.width + 2;
        let pixels = 0..stage.pixels();
        let at_once = (PRODUCT_PIXELS / stage.pixels()).max(1);
        let u32s = |value: usize| value as u32;
        let (rows_behind, columns_behind) = stage.pooled();
        let size = stage.pool.size();
        let route = |pixel: usize| {
            let (y, x) = (pixel / stage.width / size, pixel % stage.width / size);
            if y < rows_behind && x < columns_behind { u32s(y * columns_behind + x) } else { Routes::NOWHERE }
        };
        Self {
            forward_rows: (0..at_once * stage.pixels())
                .map(|i| (i / stage.pixels(), i % stage.pixels()))
                .map(|(plane, p)| Row {
                    a: u32s((plane * stage.padded() + stage.corner(p)) * lanes),
                    c: u32s((plane * stage.wide() * stage.pixels() + p) * LANES),
                })
                .collect(),
            forward_runs: stage.tap_rows(lanes),
            gradient_rows: (0..TAPS * lanes)
                .map(|i| (i / lanes, i % lanes))
                .map(|(tap, lane)| Row {
                    a: u32s(stage.tap(tap) * lanes + lane),
                    c: u32s((tap * lanes + lane) * LANES),
                })
                .collect(),
            gradient_runs: (0..at_once * stage.height)
                .map(|i| i / stage.height * stage.padded() + i % stage.height * row)
                .map(|first| Run { a: u32s(first * lanes), b: u32s((first + row + 1) * LANES) })
                .collect(),
            tiled_rows: (0..TILED_BLOCKS * LANES)
                .map(|channel| Row { a: u32s(channel), c: u32s(channel * stage.wide() * LANES) })
                .collect(),
            small_rows: (0..SMALL_TILES)
                .map(|tile| Row {
                    a: u32s(tile * stage.inputs.div_ceil(lanes).min(DEPTH) * LANES),
                    c: u32s(tile * products_apart(stage.wide())),
                })
                .collect(),
            places: pixels.clone().map(|p| u32s(stage.corner(p) + row + 1)).collect(),
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
