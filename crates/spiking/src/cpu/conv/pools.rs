//! Pools of spikes: into the next stage's input, and the way of a gradient back through a maximum.

use rayon::prelude::*;

use super::{Conv, Extent, Maps};
use crate::cpu::kernels::pool::Average;
use crate::cpu::plan::{ConvStage, Pool};
use crate::cpu::simd::{LANES, Path};

impl Conv {
    /// Pools the spikes into the next convolution's input.
    pub(in crate::cpu) fn pool_into(&self, path: Path, next: &mut Maps) {
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
                        let lines = &spikes[y * size * stage.width..][..size * stage.width];
                        any_of(lines, stage.width, size, &mut next[(y + 1) * row + 1..][..columns]);
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
    pub(in crate::cpu) fn pool_into_features(&self, path: Path, features: &mut [f32]) {
        let stage = &self.stage;
        let ((rows, columns), steps) = (stage.pooled(), self.extent.steps);
        features.par_chunks_mut(stage.features()).enumerate().for_each(|(row, features)| {
            for (block, out) in features.chunks_mut(rows * columns * LANES).enumerate() {
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
    pub(super) fn first_maxima(&self, block: usize, sample: usize, lanes: &mut [u16]) {
        let stage = &self.stage;
        let (rows, columns) = stage.pooled();
        for (t, lanes) in lanes.chunks_mut(stage.pixels()).enumerate() {
            let spikes = self.spikes_at(block, sample, t);
            let (size, width) = (stage.pool.size(), stage.width);
            for y in 0..rows {
                let lines = y * size * width..(y + 1) * size * width;
                let (spikes, lanes) = (&spikes[lines.clone()], &mut lanes[lines]);
                match size {
                    2 => first_of_four(spikes, lanes, width),
                    _ => (0..columns).for_each(|x| first_of_window(spikes, lanes, width, size, x)),
                }
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

/// The lanes that fired anywhere in each window of some lines.
fn any_of(lines: &[u16], width: usize, size: usize, out: &mut [u16]) {
    match size {
        1 => out.copy_from_slice(&lines[..out.len()]),
        2 => {
            let (upper, lower) = lines.split_at(width);
            let (upper, lower) = (upper.as_chunks::<2>().0, lower.as_chunks::<2>().0);
            for (out, ([a, b], [c, d])) in out.iter_mut().zip(upper.iter().zip(lower)) {
                *out = a | b | c | d;
            }
        }
        _ => {
            out.fill(0);
            for line in lines.chunks(width) {
                for (out, window) in out.iter_mut().zip(line.chunks_exact(size)) {
                    *out = window.iter().fold(*out, |any, spikes| any | spikes);
                }
            }
        }
    }
}

/// The lanes of the first maximum of each window of 2x2 in two lines.
fn first_of_four(spikes: &[u16], lanes: &mut [u16], width: usize) {
    let (upper, lower) = spikes.split_at(width);
    let (upper_lanes, lower_lanes) = lanes.split_at_mut(width);
    let spikes = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
    let lanes = upper_lanes.as_chunks_mut::<2>().0.iter_mut().zip(lower_lanes.as_chunks_mut::<2>().0);
    for (([a, b], [c, d]), (upper, lower)) in spikes.zip(lanes) {
        *upper = [a | !(a | b | c | d), b & !a];
        *lower = [c & !(a | b), d & !(a | b | c)];
    }
}

/// The same of one window of any size.
fn first_of_window(spikes: &[u16], lanes: &mut [u16], width: usize, size: usize, x: usize) {
    let mut before = 0;
    for pixel in (0..size).flat_map(|row| row * width + x * size..row * width + (x + 1) * size) {
        lanes[pixel] = spikes[pixel] & !before;
        before |= spikes[pixel];
    }
    lanes[x * size] |= !before;
}

/// 16 spikes as `value` or 0.
pub(in crate::cpu) fn spread(spikes: u16, value: f32, out: &mut [f32]) {
    for (lane, out) in out.iter_mut().enumerate() {
        *out = if spikes >> lane & 1 == 1 { value } else { 0.0 };
    }
}
