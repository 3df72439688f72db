//! The weight gradient of a convolution of real maps by Winograd's way: a quarter of a direct one's products.

use std::ops::Range;

use rayon::prelude::*;

use super::{Conv, Maps};
use crate::cpu::kernels::product::{Product, Repeat, Run, Start, Terms};
use crate::cpu::kernels::spikes::{BLOCK, TAPS};
use crate::cpu::kernels::winograd::{PLACES, Seen, TILE, Taps, Tiles};
use crate::cpu::memory::with_floats;
use crate::cpu::simd::{LANES, Path};
use crate::cpu::weights::Update;

/// Input blocks of a task at most: they share the transformed gradients.
pub(super) const TILED_BLOCKS: usize = 4;
/// Tiles that are summed at a time at most: those of a task and its sums, 1.8 MB, which a core's cache holds.
const AT_ONCE: usize = 64;

impl Conv {
    /// Rows and columns of tiles of a plane.
    fn grid(&self) -> (usize, usize) {
        (self.stage.height.div_ceil(TILE), self.stage.width.div_ceil(TILE))
    }

    /// Whether its weight gradient is computed by tiles: for real maps in blocks of 16 where that saves half of the products.
    pub(in crate::cpu) fn is_tiled(&self) -> bool {
        let (rows, columns) = self.grid();
        let spares = 2 * rows * columns * PLACES <= TAPS * self.stage.pixels();
        matches!(self.input, Maps::Real { lanes: LANES, .. }) && spares
    }

    /// Moves the weights by their gradients; `behind_norm` as in [`Room`](super::Room).
    pub(in crate::cpu) fn tiled_gradients(&mut self, path: Path, update: Update, behind_norm: &[f32]) {
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
                self.tiled_gradient(path, index * deep..(index + 1) * deep, behind_norm, grads, room);
                share.apply(path, 0, grads);
            });
        });
        self.weight = weight;
    }

    fn planes_of_batch(&self) -> usize {
        self.extent.samples * self.extent.planes
    }

    /// Tiles that are summed at a time: by the network and the batch alone, for the cut shapes the order of summation.
    fn tiles_at_once(&self) -> usize {
        let (rows, columns) = self.grid();
        let all = self.planes_of_batch() * rows * columns;
        all.div_ceil(all.div_ceil(AT_ONCE).max(1))
    }

    /// From a place to the next one of `deep` input blocks' tiles, of some output blocks' and of their sums: a cache line more than they
    /// fill, so that places do not share their places in a cache.
    fn tiled_places(&self, deep: usize) -> [usize; 3] {
        let (tiles, wide) = (self.tiles_at_once(), self.stage.wide());
        [tiles * deep, tiles * wide, deep * LANES * wide].map(|vectors| (vectors + 1) * LANES)
    }

    fn tiled_room(&self, deep: usize) -> usize {
        self.tiled_places(deep).into_iter().sum::<usize>() * PLACES
    }

    /// The gradients of the weights of some input blocks, `[input block][output block][tap][input lane][16]`.
    fn tiled_gradient(
        &self,
        path: Path,
        from: Range<usize>,
        behind_norm: &[f32],
        grads: &mut [f32],
        room: &mut [f32],
    ) {
        let Maps::Real { values, .. } = &self.input else { unreachable!("`is_tiled` was asked") };
        let (blocks, wide, deep) = (self.stage.blocks(), self.stage.wide(), from.len());
        let (rows, columns) = self.grid();
        let all = self.planes_of_batch() * rows * columns;
        let [of_inputs, of_grads, of_sums] = self.tiled_places(deep);
        let (inputs, room) = room.split_at_mut(PLACES * of_inputs);
        let (outputs, sums) = room.split_at_mut(PLACES * of_grads);
        for first in (0..all).step_by(self.tiles_at_once()) {
            let tiles = first..(first + self.tiles_at_once()).min(all);
            self.transform(path, Seen::Inputs, (values, from.clone()), &tiles, inputs, of_inputs);
            for block in (0..blocks).step_by(wide) {
                let of = (behind_norm, block..block + wide);
                self.transform(path, Seen::Gradients, of, &tiles, outputs, of_grads);
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
                    repeat: Repeat { times: PLACES, a: of_inputs, b: of_grads, c: of_sums },
                });
                for (input, output) in
                    (0..deep).flat_map(|input| (0..wide).map(move |output| (input, output)))
                {
                    path.run(Taps {
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

    /// Some tiles of the whole batch, of some blocks of its maps: `[place][tile][block][16]`.
    fn transform(
        &self,
        path: Path,
        seen: Seen,
        (maps, blocks): (&[f32], Range<usize>),
        tiles: &Range<usize>,
        out: &mut [f32],
        place: usize,
    ) {
        let (stage, (rows, columns)) = (&self.stage, self.grid());
        let (of_plane, count) = (rows * columns, blocks.len());
        let size = stage.padded() * LANES;
        for plane in tiles.start / of_plane..tiles.end.div_ceil(of_plane) {
            let begin = plane * of_plane;
            let range = tiles.start.max(begin) - begin..tiles.end.min(begin + of_plane) - begin;
            for (index, block) in blocks.clone().enumerate() {
                let at = (begin + range.start - tiles.start) * count + index;
                path.run(Tiles {
                    seen,
                    plane: &maps[(block * self.planes_of_batch() + plane) * size..][..size],
                    size: (stage.height + 2, stage.width + 2),
                    across: columns,
                    tiles: range.clone(),
                    out: &mut out[at * LANES..],
                    stride: count * LANES,
                    place,
                });
            }
        }
    }
}
