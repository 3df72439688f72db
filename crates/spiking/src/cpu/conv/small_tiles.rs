//! The convolution of real maps in blocks of 16 channels, by Winograd's small tiles: less than half of a direct one's products. Such are the
//! maps behind an average pool, and the input of a network if it has exactly 16 channels.

use std::ops::Range;

use super::tiled::Source;
use super::{Conv, Maps};
use crate::cpu::kernels::product::{Product, Repeat, Run, Start, Terms};
use crate::cpu::kernels::spikes::{BLOCK, TAPS};
use crate::cpu::kernels::winograd::{Kernels, Outputs, Tile};
use crate::cpu::memory::with_table;
use crate::cpu::simd::{LANES, Path};

/// Places of a small tile.
const PLACES: usize = Tile::Two.places();
/// Tiles that are multiplied at a time at most: they share one reading of the kernels.
pub(super) const SMALL_TILES: usize = 64;
/// Input blocks that are summed over at a time: the kernels of one place, from these to a group of output blocks, are 32 KiB, which the
/// innermost cache holds; those of all places, the tiles and their sums are 1.3 MB, which a core's cache holds.
pub(super) const DEPTH: usize = 8;

/// From a tile's products, `[output block][place][16]`, to the next one's: a cache line more than they fill, so that tiles do not share
/// their places in a cache.
pub(super) const fn products_apart(wide: usize) -> usize {
    (wide * PLACES + 1) * LANES
}

impl Conv {
    /// Whether it goes by small tiles, as a first stage of 16 input channels may too: by the network alone, for it shapes the rounding.
    pub(super) fn goes_by_small_tiles(&self) -> bool {
        let saves = self.stage.tiles(Tile::Two) * PLACES < self.stage.pixels() * TAPS;
        saves && matches!(self.input, Maps::Real { lanes: LANES, .. })
    }

    /// The sums of a group of blocks, from `block` on, at some planes, from `first` on, as of a direct convolution.
    pub(in crate::cpu) fn convolve_small_tiles(
        &self,
        path: Path,
        block: usize,
        first: usize,
        sums: &mut [f32],
    ) {
        let (stage, wide) = (&self.stage, self.stage.wide());
        let of_plane = stage.tiles(Tile::Two);
        let all = sums.len() / (wide * stage.pixels() * LANES) * of_plane;
        let before = first * of_plane;
        // How many at a time is free: no sum runs over tiles.
        let at_once = all.div_ceil(all.div_ceil(SMALL_TILES).max(1));
        let deep = self.input_blocks().min(DEPTH);
        // From a place to the next: a cache line more than they fill, as with products.
        let [of_seen, of_kernels] =
            [at_once * deep, deep * LANES * wide].map(|vectors| (vectors + 1) * LANES);
        let apart = products_apart(wide);
        with_table((of_seen + of_kernels) * PLACES + at_once * apart, |room| {
            let (seen, room) = room.split_at_mut(of_seen * PLACES);
            let (kernels, products) = room.split_at_mut(of_kernels * PLACES);
            for begin in (0..all).step_by(at_once.max(1)) {
                let tiles = begin..(begin + at_once).min(all);
                let of_batch = before + tiles.start..before + tiles.end;
                for from in (0..self.input_blocks()).step_by(DEPTH) {
                    let from = from..(from + DEPTH).min(self.input_blocks());
                    self.transform(path, Source::Averages, from.clone(), &of_batch, (seen, deep, of_seen));
                    self.small_kernels(path, from.clone(), block, (kernels, of_kernels));
                    path.run(Product {
                        a: seen,
                        b: kernels,
                        c: products,
                        rows: &self.lists.small_rows[..tiles.len()],
                        terms: Terms {
                            runs: &[Run { a: 0, b: 0 }],
                            length: from.len() * LANES,
                            a_step: 1,
                            b_step: wide * LANES,
                        },
                        vectors: wide,
                        b_stride: LANES,
                        c_stride: PLACES * LANES,
                        start: if from.start == 0 { Start::Zero } else { Start::Sum },
                        repeat: Repeat { times: PLACES, a: of_seen, b: of_kernels, c: LANES },
                    });
                }
                self.small_outputs(path, block, &tiles, products, sums);
            }
        });
    }

    /// The kernels of some input blocks to a group of output blocks: `[place][input block][lane][output block][16]`.
    fn small_kernels(&self, path: Path, from: Range<usize>, block: usize, (out, place): (&mut [f32], usize)) {
        let (blocks, wide) = (self.stage.blocks(), self.stage.wide());
        for (index, from) in from.enumerate() {
            for of in 0..wide {
                path.run(Kernels {
                    tile: Tile::Two,
                    taps: &self.weight.values[(from * blocks + block + of) * BLOCK..][..BLOCK],
                    tap_stride: LANES * LANES,
                    kernels: LANES,
                    out: &mut out[(index * LANES * wide + of) * LANES..],
                    kernel_stride: wide * LANES,
                    stride: place,
                });
            }
        }
    }

    /// The outputs of some tiles of a group of output blocks.
    fn small_outputs(
        &self,
        path: Path,
        block: usize,
        tiles: &Range<usize>,
        products: &[f32],
        sums: &mut [f32],
    ) {
        let (stage, wide, size) = (&self.stage, self.stage.wide(), self.stage.pixels() * LANES);
        let (bias, _) = self.bias.values[block * LANES..].as_chunks::<LANES>();
        for (plane, range, before) in stage.by_planes(Tile::Two, tiles) {
            for (of, plane) in sums[plane * wide * size..][..wide * size].chunks_mut(size).enumerate() {
                path.run(Outputs {
                    tile: Tile::Two,
                    sums: &products[before * products_apart(wide) + of * PLACES * LANES..],
                    stride: products_apart(wide),
                    across: stage.tiles_across(Tile::Two),
                    tiles: range.clone(),
                    bias: Some(&bias[of]),
                    plane,
                    size: (stage.height, stage.width),
                });
            }
        }
    }
}
