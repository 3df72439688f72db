//! The input gradient of a convolution: a convolution of the output's gradient with the kernels turned round.
//!
//! By Winograd's way where there are tiles enough to be worth transforming the kernels, else directly. Which one is a
//! matter of the network and the batch alone, for it shapes the rounding.

use std::ops::Range;

use rayon::prelude::*;

use super::kernels::product::{Product, Repeat, Row, Run, Start, Terms, Turn};
use super::kernels::spikes::BLOCK;
use super::kernels::winograd::{InPlace, Kernels, Outputs, Plane, Tile, Tiles};
use super::memory::{Floats, with_floats};
use super::plan::ConvStage;
use super::simd::{LANES, Path};

/// Tiles of a batch from which on Winograd's way pays.
const LEAST_TILES: usize = 64;
/// The same of [`WIDE`] maps, whose kernels are transformed by several tasks.
const LEAST_TILES_OF_WIDE: usize = 12;
/// Input blocks of wide maps at least.
const WIDE: usize = 8;
/// f32 of transformed tiles and sums that one task holds at a time: 768 KiB, which a core's cache holds; more where tiles are few.
const TASK_FLOATS: usize = 192 * 1024;
/// Tiles of a task at least: they share one reading of the transformed kernels, which outgrow a core's cache first.
const LEAST_ROWS: usize = 48;
/// Tiles of a task at most.
const MOST_ROWS: usize = 96;
/// Tiles of narrow stages that are transformed, multiplied in place and transformed back at a time: the innermost cache holds those of one
/// block.
const NARROW_TILES: usize = 16;
/// Input blocks whose sums are computed and transformed back together.
const GROUP: usize = 4;
/// Output blocks that are summed over at a time: the kernels of one place, from these to a group of input blocks, are 32 KiB, which the
/// innermost cache holds.
const DEPTH: usize = 8;
/// Pixels of a direct task: they share one reading of the weights.
const TASK_PIXELS: usize = 256;

/// What an input gradient is computed from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) path: Path,
    /// As the convolution has them, `[input block][output block][tap][input lane][output lane]`.
    pub(super) weights: &'a [f32],
    /// Gradients before the norm, `[block][plane][padded pixel][16]`.
    pub(super) grads: &'a [f32],
    pub(super) planes: usize,
}

/// Places that follow from the stage alone.
#[derive(Debug, Clone)]
pub(super) struct Turned {
    stage: ConvStage,
    tile: Tile,
    input_blocks: usize,
    /// The pixels of some planes as rows of a direct product, and rows of taps as its runs of the output lanes below them.
    rows: Vec<Row>,
    runs: Vec<Run>,
    /// Tiles as rows of Winograd's products, and output blocks as their runs, for a group of 1 to [`GROUP`] input blocks.
    tile_rows: Vec<Row>,
    tile_runs: [Vec<Run>; GROUP],
}

impl Turned {
    pub(super) fn new(stage: &ConvStage) -> Self {
        let input_blocks = stage.inputs.div_ceil(LANES);
        let (pixels, wide) = (stage.pixels(), input_blocks * stage.pixels() * LANES);
        let u32s = |value: usize| value as u32;
        let mut turned = Self {
            stage: *stage,
            tile: stage.gradient_tile(),
            input_blocks,
            rows: Vec::new(),
            runs: Vec::new(),
            tile_rows: Vec::new(),
            tile_runs: Default::default(),
        };
        let planes = (TASK_PIXELS / pixels).max(1);
        let place = |plane: usize, p: usize| Row {
            a: u32s((plane * stage.padded() + stage.corner(p)) * LANES),
            c: u32s(plane * wide + p * LANES),
        };
        turned.rows = (0..planes * pixels).map(|i| place(i / pixels, i % pixels)).collect();
        turned.runs = stage.tap_rows(LANES);
        let row = |tile| Row {
            a: u32s(tile * turned.tile.apart(stage.blocks())),
            c: u32s(tile * turned.tile.apart(GROUP)),
        };
        let tile_rows = (0..MOST_ROWS).map(row).collect();
        let of_tile = turned.tile.size();
        turned.tile_rows = tile_rows;
        turned.tile_runs = std::array::from_fn(|wide| {
            let run = |block| Run { a: u32s(block * of_tile), b: u32s(block * (wide + 1) * LANES * LANES) };
            (0..DEPTH.min(stage.blocks())).map(run).collect()
        });
        turned
    }

    /// f32 of kernels between two blocks, turned, and transformed.
    fn scratch(&self) -> usize {
        BLOCK + LANES * self.tile.size()
    }

    fn tiles(&self) -> usize {
        self.stage.tiles(self.tile)
    }

    fn tiles_of_a_task(&self) -> usize {
        let of_task = self.tile.apart(self.stage.blocks()) + self.tile.apart(GROUP);
        (TASK_FLOATS / of_task).clamp(LEAST_ROWS, MOST_ROWS)
    }

    /// The gradients of the input, `[plane][block][pixel][16]`; `room` holds the turned kernels.
    pub(super) fn run(&self, given: Given<'_>, room: &mut Floats, out: &mut [f32]) {
        let tiles = given.planes * self.tiles();
        // Which of the two ways by tiles is free: the sums are the same.
        let enough = self.input_blocks.div_ceil(GROUP) >= rayon::current_num_threads();
        let least = if self.input_blocks < WIDE { LEAST_TILES } else { LEAST_TILES_OF_WIDE };
        if tiles < least {
            self.direct(given, room, out);
        } else if tiles <= MOST_ROWS && enough {
            self.by_kernels(given, room, out);
        } else {
            self.by_tiles(given, room, out);
        }
    }

    /// Weights between two blocks turned: `[tap][output lane][input lane]`, the last tap first.
    fn turn(&self, path: Path, weights: &[f32], block: usize, from: usize, turned: &mut [f32]) {
        let weights = &weights[(from * self.stage.blocks() + block) * BLOCK..][..BLOCK];
        let taps = weights.chunks(LANES * LANES).rev();
        for (from, to) in taps.zip(turned.chunks_mut(LANES * LANES)) {
            path.run(Turn { from, to });
        }
    }

    fn direct(&self, given: Given<'_>, room: &mut Floats, out: &mut [f32]) {
        let Given { path, weights, grads, planes } = given;
        let (stage, blocks, input_blocks) = (&self.stage, self.stage.blocks(), self.input_blocks);
        let (padded, pixels) = (stage.padded(), stage.pixels());
        room.grow(blocks * input_blocks * BLOCK);
        room[..blocks * input_blocks * BLOCK].par_chunks_mut(BLOCK).enumerate().for_each(
            |(index, turned)| {
                self.turn(path, weights, index / input_blocks, index % input_blocks, turned);
            },
        );
        let (turned, wide) = (&**room, input_blocks * pixels * LANES);
        let group = (self.rows.len() / pixels).min(planes.div_ceil(rayon::current_num_threads()));
        out.par_chunks_mut(group * wide).enumerate().for_each(|(index, out)| {
            let count = out.len() / wide;
            for block in 0..blocks {
                // A row of taps at a time: its weights stay in the innermost cache.
                for (row, run) in self.runs.iter().enumerate() {
                    path.run(Product {
                        a: &grads[(block * planes + index * group) * padded * LANES..]
                            [..count * padded * LANES],
                        b: &turned[block * input_blocks * BLOCK..][..input_blocks * BLOCK],
                        c: out,
                        rows: &self.rows[..count * pixels],
                        terms: Terms {
                            runs: std::slice::from_ref(run),
                            length: 3 * LANES,
                            a_step: 1,
                            b_step: LANES,
                        },
                        vectors: input_blocks,
                        b_stride: BLOCK,
                        c_stride: pixels * LANES,
                        start: if block + row == 0 { Start::Zero } else { Start::Sum },
                        repeat: Repeat::ONCE,
                    });
                }
            }
        });
    }

    /// By tasks of some tiles each, which share the transformed kernels.
    fn by_tiles(&self, given: Given<'_>, room: &mut Floats, out: &mut [f32]) {
        let Given { path, weights, planes, .. } = given;
        let (blocks, input_blocks) = (self.stage.blocks(), self.input_blocks);
        let size = blocks * input_blocks * LANES * self.tile.size();
        room.grow(size);
        self.transform_kernels(path, weights, &mut room[..size]);
        let (kernels, wide) = (&**room, input_blocks * self.stage.pixels() * LANES);
        let tiles = self.tiles();
        // Small maps share a task, so that its products have rows enough; large ones are done in parts.
        let of_task = self.tiles_of_a_task();
        // How they are shared out is free: no sum runs over tiles.
        let threads = rayon::current_num_threads();
        let tasks = planes.div_ceil((of_task / tiles).max(1)).next_multiple_of(threads);
        let group = planes.div_ceil(tasks);
        out.par_chunks_mut(group * wide).enumerate().for_each(|(index, out)| {
            let all = out.len() / wide * tiles;
            let (part, of_sums) = match self.stage.is_narrow() {
                true => (NARROW_TILES, 0),
                false => (all.div_ceil(all.div_ceil(of_task)), self.tile.apart(GROUP)),
            };
            with_floats(part * (self.tile.apart(blocks) + of_sums), |room| {
                let (seen, sums) = room.split_at_mut(part * self.tile.apart(blocks));
                for first in (0..all).step_by(part) {
                    let some = first..(first + part).min(all);
                    let rows = some.len();
                    self.transform(given, index * group, &some, seen);
                    if self.stage.is_narrow() {
                        let tiles = &mut seen[..rows * self.tile.apart(blocks)];
                        let ahead = &out[self.lines_of(&some, out.len())];
                        path.run(InPlace { tiles, kernels, blocks, ahead });
                        self.outputs(path, &some, (seen, self.tile.apart(blocks)), 0..1, (out, input_blocks));
                        continue;
                    }
                    for first in (0..input_blocks).step_by(GROUP) {
                        let vectors = GROUP.min(input_blocks - first);
                        for block in (0..blocks).step_by(DEPTH) {
                            let depth = DEPTH.min(blocks - block);
                            let of = block * input_blocks + depth * first;
                            let kernels = &kernels[of * LANES * self.tile.size()..];
                            self.product(path, (block, depth), vectors, (seen, rows), kernels, sums);
                        }
                        let sums = (&*sums, self.tile.apart(GROUP));
                        self.outputs(path, &some, sums, first..first + vectors, (out, input_blocks));
                    }
                }
            });
        });
    }

    /// Transforms some tiles of all output blocks, of the planes from `first` on: `[tile][block][place][16]`.
    fn transform(&self, given: Given<'_>, first: usize, tiles: &Range<usize>, seen: &mut [f32]) {
        let Given { path, grads, planes, .. } = given;
        let (stage, blocks, padded) = (&self.stage, self.stage.blocks(), self.stage.padded());
        for (plane, range, before) in stage.by_planes(self.tile, tiles) {
            for block in 0..blocks {
                let at = (block * planes + first + plane) * padded * LANES;
                path.run(Tiles {
                    tile: self.tile,
                    plane: Plane::Real(&grads[at..][..padded * LANES]),
                    size: (stage.height + 2, stage.width + 2),
                    across: stage.tiles_across(self.tile),
                    tiles: range.clone(),
                    out: &mut seen[before * self.tile.apart(blocks) + block * self.tile.size()..],
                    stride: self.tile.apart(blocks),
                    place: LANES,
                });
            }
        }
    }

    /// Where the outputs of some tiles lie among those of a single input block, `len` of them, in whole lines of tiles.
    fn lines_of(&self, tiles: &Range<usize>, len: usize) -> Range<usize> {
        let (stage, across) = (&self.stage, self.stage.tiles_across(self.tile));
        let lines = self.tile.edge() * stage.width * LANES;
        let line =
            |tile: usize| tile / self.tiles() * stage.pixels() * LANES + tile % self.tiles() / across * lines;
        line(tiles.start)..(line(tiles.end - 1) + lines).min(len)
    }

    /// The outputs of some tiles, of some input blocks, from sums that lie so far apart, into planes of `wide` blocks.
    fn outputs(
        &self,
        path: Path,
        tiles: &Range<usize>,
        (sums, apart): (&[f32], usize),
        blocks: Range<usize>,
        (out, wide): (&mut [f32], usize),
    ) {
        let (stage, plane_size) = (&self.stage, self.stage.pixels() * LANES);
        for (plane, range, before) in stage.by_planes(self.tile, tiles) {
            let out = &mut out[(plane * wide + blocks.start) * plane_size..];
            for (block, out) in out.chunks_mut(plane_size).take(blocks.len()).enumerate() {
                path.run(Outputs {
                    tile: self.tile,
                    sums: &sums[before * apart + block * self.tile.size()..],
                    stride: apart,
                    across: stage.tiles_across(self.tile),
                    tiles: range.clone(),
                    bias: None,
                    plane: out,
                    size: (stage.height, stage.width),
                });
            }
        }
    }

    /// By tasks of some input blocks each, which share the transformed tiles: where these are few, every kernel is transformed for one
    /// product and stays in a core's cache.
    fn by_kernels(&self, given: Given<'_>, room: &mut Floats, out: &mut [f32]) {
        let Given { path, weights, planes, .. } = given;
        let (blocks, input_blocks) = (self.stage.blocks(), self.input_blocks);
        let pixels = self.stage.pixels();
        let (tiles, rows) = (self.tiles(), planes * self.tiles());
        let seen_size = rows * self.tile.apart(blocks);
        room.grow(seen_size + planes * input_blocks * pixels * LANES);
        let (seen, room) = room.split_at_mut(seen_size);
        seen.par_chunks_mut(tiles * self.tile.apart(blocks)).enumerate().for_each(|(plane, seen)| {
            self.transform(given, plane, &(0..tiles), seen);
        });
        // `[group of input blocks][plane][input block of the group][pixel][16]`.
        let of_group = planes * GROUP * pixels * LANES;
        let groups = &mut room[..planes * input_blocks * pixels * LANES];
        let seen = &*seen;
        groups.par_chunks_mut(of_group).enumerate().for_each(|(group, out)| {
            let wide = out.len() / (planes * pixels * LANES);
            let of_kernels = DEPTH.min(blocks) * wide * LANES * self.tile.size();
            with_floats(of_kernels + self.scratch() + rows * self.tile.apart(GROUP), |room| {
                let (kernels, room) = room.split_at_mut(of_kernels);
                let (scratch, sums) = room.split_at_mut(self.scratch());
                for block in (0..blocks).step_by(DEPTH) {
                    let depth = DEPTH.min(blocks - block);
                    let kernels = &mut kernels[..depth * wide * LANES * self.tile.size()];
                    self.kernels(path, weights, (block, depth), group * GROUP, kernels, scratch);
                    self.product(path, (block, depth), wide, (seen, rows), kernels, sums);
                }
                self.outputs(path, &(0..rows), (sums, self.tile.apart(GROUP)), 0..wide, (out, wide));
            });
        });
        let groups = &*groups;
        let of_plane = input_blocks * pixels * LANES;
        out.par_chunks_mut(of_plane).take(planes).enumerate().for_each(|(plane, out)| {
            for (group, out) in out.chunks_mut(GROUP * pixels * LANES).enumerate() {
                out.copy_from_slice(&groups[group * of_group + plane * out.len()..][..out.len()]);
            }
        });
    }

    /// Products of tiles of some output blocks and their kernels to a group of `wide` input blocks, added to the sums but for the first
    /// blocks'.
    fn product(
        &self,
        path: Path,
        (block, depth): (usize, usize),
        wide: usize,
        (seen, rows): (&[f32], usize),
        kernels: &[f32],
        sums: &mut [f32],
    ) {
        path.run(Product {
            a: &seen[block * self.tile.size()..],
            b: kernels,
            c: sums,
            rows: &self.tile_rows[..rows],
            terms: Terms {
                runs: &self.tile_runs[wide - 1][..depth],
                length: LANES,
                a_step: 1,
                b_step: wide * LANES,
            },
            vectors: wide,
            b_stride: LANES,
            c_stride: self.tile.size(),
            start: if block == 0 { Start::Zero } else { Start::Sum },
            repeat: Repeat { times: self.tile.places(), a: LANES, b: depth * wide * LANES * LANES, c: LANES },
        });
    }

    /// All kernels, `[depth][group]` of them.
    fn transform_kernels(&self, path: Path, weights: &[f32], kernels: &mut [f32]) {
        let input_blocks = self.input_blocks;
        let deep = kernels.par_chunks_mut(DEPTH * input_blocks * LANES * self.tile.size()).enumerate();
        deep.for_each(|(deep, kernels)| {
            let depth = kernels.len() / (input_blocks * LANES * self.tile.size());
            let of_groups = kernels.par_chunks_mut(depth * GROUP * LANES * self.tile.size()).enumerate();
            of_groups.for_each(|(group, kernels)| {
                with_floats(self.scratch(), |scratch| {
                    self.kernels(path, weights, (deep * DEPTH, depth), group * GROUP, kernels, scratch);
                });
            });
        });
    }

    /// The kernels of some output blocks and a group of input blocks from `first` on, turned and transformed, in the order that products
    /// read them: `[place][output block][output lane][input block][16]`.
    fn kernels(
        &self,
        path: Path,
        weights: &[f32],
        (block, depth): (usize, usize),
        first: usize,
        kernels: &mut [f32],
        scratch: &mut [f32],
    ) {
        let wide = kernels.len() / (depth * LANES * self.tile.size());
        let (kernels, _) = kernels.as_chunks_mut::<LANES>();
        let (turned, transformed) = scratch.split_at_mut(BLOCK);
        for (of, from) in (0..depth).flat_map(|of| (0..wide).map(move |from| (of, from))) {
            self.turn(path, weights, block + of, first + from, turned);
            path.run(Kernels {
                tile: self.tile,
                taps: turned,
                tap_stride: LANES * LANES,
                kernels: LANES,
                out: transformed,
                kernel_stride: LANES,
                stride: LANES * LANES,
            });
            for (index, kernel) in transformed.as_chunks::<LANES>().0.iter().enumerate() {
                let (place, lane) = (index / LANES, index % LANES);
                kernels[((place * depth + of) * LANES + lane) * wide + from] = *kernel;
            }
        }
    }
}
