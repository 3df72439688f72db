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
    pub(in crate::cpu) fn pool_into_features(&self, path: Path, features: &mut [f32]) {
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
    pub(super) fn first_maxima(&self, block: usize, sample: usize, lanes: &mut [u16]) {
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
}

impl ConvStage {
    /// The pixels of a window, row by row.
    fn window(&self, y: usize, x: usize) -> impl Iterator<Item = usize> {
        let (size, width) = (self.pool.size(), self.width);
        (y * size..(y + 1) * size).flat_map(move |row| row * width + x * size..row * width + (x + 1) * size)
    }
}

/// 16 spikes as `value` or 0.
pub(in crate::cpu) fn spread(spikes: u16, value: f32, out: &mut [f32]) {
    for (lane, out) in out.iter_mut().enumerate() {
        *out = if spikes >> lane & 1 == 1 { value } else { 0.0 };
    }
}
