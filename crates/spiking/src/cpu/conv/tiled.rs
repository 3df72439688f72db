//! The weight gradient of a convolution by Winograd's way: a quarter of a direct one's products.
//!
//! Real maps go this way, and spikes where their lists would be longer than that. It takes as long at any firing rate.

use std::ops::Range;

use rayon::prelude::*;

use super::{Conv, Maps};
use crate::cpu::kernels::product::{Product, Repeat, Run, Start, Terms};
use crate::cpu::kernels::spikes::BLOCK;
use crate::cpu::kernels::winograd::{Plane, Taps, Tile, Tiles};
use crate::cpu::memory::with_floats;
use crate::cpu::simd::{LANES, Path};
use crate::cpu::weights::Update;

/// Input blocks of a task at most: they share the transformed gradients.
pub(super) const TILED_BLOCKS: usize = 4;
/// Tiles that are summed at a time at most: those of a task and its sums, 1.8 MB, which a core's cache holds.
const AT_ONCE: usize = 64;

/// Blocks of input and output channels from which on tiles of spikes are worth transforming, and tasks enough to share out.
const LEAST_BLOCKS: usize = 8;
/// Shares of the inputs that fired for which tiles are ahead of lists.
const DENSE: Range<f64> = 0.23..0.79;

/// What tiles are cut from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'a> {
    Inputs,
    /// Real inputs as small tiles.
    Averages,
    /// Gradients before the norm, as in [`Room`](super::Room).
    Gradients(&'a [f32]),
}

impl Conv {
    /// Whether its weight gradient is computed by tiles: by the network and what fired alone, for it shapes the rounding.
    pub(in crate::cpu) fn is_tiled(&self) -> bool {
        let tile = self.stage.gradient_tile();
        let (tiled, pixels) = (self.stage.tiles(tile) * tile.edge() * tile.edge(), self.stage.pixels());
        match &self.input {
            // Where that saves half of the products, or more.
            Maps::Real { lanes, .. } => *lanes == LANES && tiled <= 2 * pixels,
            Maps::Spikes(spikes) => {
                let wide = self.input_blocks() >= LEAST_BLOCKS && self.stage.blocks() >= LEAST_BLOCKS;
                wide && 10 * tiled <= 11 * pixels && self.is_dense(spikes)
            }
        }
    }

    /// Whether a share of the inputs fired for which lists are long, theirs or those of what did not fire.
    fn is_dense(&self, spikes: &[u16]) -> bool {
        let fired: usize = spikes
            .par_chunks(64 * 1024)
            .map(|spikes| spikes.iter().map(|lanes| lanes.count_ones() as usize).sum::<usize>())
            .sum();
        let inputs = self.stage.inputs * self.planes_of_batch() * self.stage.pixels();
        (inputs as f64 * DENSE.start..inputs as f64 * DENSE.end).contains(&(fired as f64))
    }

    /// Moves the weights by their gradients; `pre_norm_grads` as in [`Room`](super::Room).
    pub(in crate::cpu) fn tiled_gradients(&mut self, path: Path, update: Update, pre_norm_grads: &[f32]) {
        let input_blocks = self.input_blocks();
        // How they are shared out is free: no sum runs over input blocks.
        let threads = rayon::current_num_threads();
        let fits = |count: &usize| input_blocks.is_multiple_of(*count) && input_blocks / count >= threads;
        let deep = [TILED_BLOCKS, 2].into_iter().find(fits).unwrap_or(1);
        let size = deep * self.stage.blocks() * BLOCK;
        let mut weight = std::mem::take(&mut self.weight);
        weight.shares(update, size).enumerate().for_each(|(index, mut share)| {
            with_floats(size + self.tiled_room(deep), |room| {
                let (grads, room) = room.split_at_mut(size);
                self.tiled_gradient(path, index * deep..(index + 1) * deep, pre_norm_grads, grads, room);
                share.apply(path, 0, grads);
            });
        });
        self.weight = weight;
    }

    /// Tiles that are summed at a time: by the network and the batch alone, for the cut shapes the order of summation.
    fn tiles_at_once(&self) -> usize {
        let all = self.planes_of_batch() * self.stage.tiles(self.stage.gradient_tile());
        all.div_ceil(all.div_ceil(AT_ONCE).max(1))
    }

    /// From a place to the next one of `deep` input blocks' tiles, of some output blocks' and of their sums: a cache line more than they
    /// fill, so that places do not share their places in a cache.
    fn tiled_places(&self, deep: usize) -> [usize; 3] {
        let (tiles, wide) = (self.tiles_at_once(), self.stage.wide());
        [tiles * deep, tiles * wide, deep * LANES * wide].map(|vectors| (vectors + 1) * LANES)
    }

    fn tiled_room(&self, deep: usize) -> usize {
        self.tiled_places(deep).into_iter().sum::<usize>() * self.stage.gradient_tile().places()
    }

    /// The gradients of the weights of some input blocks, `[input block][output block][tap][input lane][16]`.
    fn tiled_gradient(
        &self,
        path: Path,
        from: Range<usize>,
        pre_norm_grads: &[f32],
        grads: &mut [f32],
        room: &mut [f32],
    ) {
        let (blocks, wide, deep) = (self.stage.blocks(), self.stage.wide(), from.len());
        let tile = self.stage.gradient_tile();
        let (all, places) = (self.planes_of_batch() * self.stage.tiles(tile), tile.places());
        let [of_inputs, of_grads, of_sums] = self.tiled_places(deep);
        let (inputs, room) = room.split_at_mut(places * of_inputs);
        let (outputs, sums) = room.split_at_mut(places * of_grads);
        for first in (0..all).step_by(self.tiles_at_once()) {
            let tiles = first..(first + self.tiles_at_once()).min(all);
            self.transform(path, Source::Inputs, from.clone(), &tiles, (inputs, deep, of_inputs));
            for block in (0..blocks).step_by(wide) {
                let source = Source::Gradients(pre_norm_grads);
                self.transform(path, source, block..block + wide, &tiles, (outputs, wide, of_grads));
                path.run(Product {
                    a: inputs,
                    b: outputs,
                    c: sums,
                    rows: &self.lists.tiled_rows[..deep * LANES],
                    terms: Terms {
                        runs: &[Run { a: 0, b: 0 }],
                        length: tiles.len(),
                        a_step: deep * LANES,
                        b_step: wide * LANES,
                    },
                    vectors: wide,
                    b_stride: LANES,
                    c_stride: LANES,
                    start: Start::Zero,
                    repeat: Repeat { times: places, a: of_inputs, b: of_grads, c: of_sums },
                });
                for (input, output) in
                    (0..deep).flat_map(|input| (0..wide).map(move |output| (input, output)))
                {
                    path.run(Taps {
                        tile,
                        sums: &sums[(input * LANES * wide + output) * LANES..],
                        place: of_sums,
                        stride: wide * LANES,
                        weights: &mut grads[(input * blocks + block + output) * BLOCK..][..BLOCK],
                        begin: first == 0,
                    });
                }
            }
        }
    }

    /// Some tiles of the whole batch, of some blocks: `[place][tile][block][16]`, so many blocks from a tile to the next, and from a
    /// place to the next as given.
    pub(super) fn transform(
        &self,
        path: Path,
        source: Source<'_>,
        blocks: Range<usize>,
        tiles: &Range<usize>,
        (out, deep, place): (&mut [f32], usize, usize),
    ) {
        let stage = &self.stage;
        let tile = if matches!(source, Source::Averages) { Tile::Two } else { stage.gradient_tile() };
        let (padded, size) = (stage.padded(), stage.padded() * LANES);
        for (plane, range, before) in stage.by_planes(tile, tiles) {
            for (index, block) in blocks.clone().enumerate() {
                let at = block * self.planes_of_batch() + plane;
                let plane = match (source, &self.input) {
                    (Source::Gradients(grads), _) => Plane::Gradients(&grads[at * size..][..size]),
                    (_, Maps::Real { values, .. }) => Plane::Real(&values[at * size..][..size]),
                    (_, Maps::Spikes(spikes)) => Plane::Spikes(&spikes[at * padded..][..padded]),
                };
                path.run(Tiles {
                    tile,
                    plane,
                    size: (stage.height + 2, stage.width + 2),
                    across: stage.tiles_across(tile),
                    tiles: range.clone(),
                    out: &mut out[(before * deep + index) * LANES..],
                    stride: deep * LANES,
                    place,
                });
            }
        }
    }
}
