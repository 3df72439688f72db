//! From a stage's input to its spikes, in training and in inference.

use rayon::prelude::*;

use super::{BN_EPSILON, Conv, Extent, MOMENTUM, Maps, StatisticsSource, TASK_PIXELS};
use crate::Neuron;
use crate::cpu::kernels::neuron::{Affine, Cells, Fire};
use crate::cpu::kernels::norm::Moments;
use crate::cpu::kernels::product::{Product, Repeat, Start, Terms};
use crate::cpu::kernels::spikes::{SpikeProduct, TABLES, TAPS};
use crate::cpu::memory::{with_floats, with_table};
use crate::cpu::simd::{LANES, Path};
use crate::cpu::watch::{Part, Watch};

/// Of a channel that is the same everywhere, rounded sums leave at most so much variance, in squares of the mean: a plane of 65,536 pixels
/// is summed to one in 1,024.
const ROUNDING: f64 = 1e-6;

impl Conv {
    /// From `input` to `spikes`.
    pub(in crate::cpu) fn forward(
        &mut self,
        path: Path,
        neuron: &Neuron,
        statistics: StatisticsSource,
        watch: &mut Watch,
    ) {
        match statistics {
            StatisticsSource::Batch => {
                self.convolve(path);
                self.take_statistics();
                watch.lap(self.stage.layer, Part::Forward);
                self.fire(path, neuron);
                watch.lap(self.stage.layer, Part::Cells);
            }
            StatisticsSource::Running => {
                self.take_running();
                self.infer(path, neuron);
                watch.lap(self.stage.layer, Part::Forward);
            }
        }
    }

    /// Where a plane of a block begins in `output`, in planes.
    pub(super) fn output_at(&self, block: usize, plane: usize) -> usize {
        let (planes, wide) = (self.planes_of_batch(), self.stage.wide());
        (block / wide * planes + plane) * wide + block % wide
    }

    fn convolve(&mut self, path: Path) {
        let (stage, wide) = (self.stage, self.stage.wide());
        let planes = self.planes_of_batch();
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
        if self.goes_by_small_tiles() {
            return self.convolve_small_tiles(path, block, first, sums);
        }
        let (stage, lanes, wide) = (self.stage, self.lanes(), self.stage.wide());
        let planes = self.planes_of_batch();
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
                        size: (stage.height, stage.width),
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
                                length: 3 * lanes,
                                a_step: 1,
                                b_step: LANES,
                            },
                            vectors: wide,
                            b_stride: size,
                            c_stride: plane,
                            start: if from == 0 { Start::Bias(bias) } else { Start::Sum },
                            repeat: Repeat::ONCE,
                        });
                    }
                }
            }
        }
    }

    /// Mean and variance of each channel and plane over the batch, and the running averages after them.
    ///
    /// A channel that is the same everywhere has that value for its mean and is normalised to beta, to the bit: a rounded rest would be
    /// magnified by 1 / sqrt([`BN_EPSILON`]), and its sign would open or close the ReLU behind.
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
                    let rounding = squares > 0.0 && squares <= ROUNDING * count * mean.powi(2);
                    let constant = if rounding { self.constant(block, plane, lane) } else { None };
                    let (mean, squares) = constant.map_or((mean, squares), |value| (value, 0.0));
                    let channel = block * LANES + lane;
                    let at = (block * planes + plane) * LANES + lane;
                    self.set_affine(at, channel, mean, squares / count);
                    if squares == 0.0 {
                        (self.scale[at], self.shift[at]) = (0.0, self.beta.values[channel]);
                    }
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

    /// The value of a channel that is the same everywhere at a time step, such as one that no spike reached.
    fn constant(&self, block: usize, plane: usize, lane: usize) -> Option<f64> {
        let Extent { samples, planes, .. } = self.extent;
        let size = self.stage.pixels() * LANES;
        let mut values = (0..samples).flat_map(|sample| {
            let at = self.output_at(block, sample * planes + plane) * size;
            self.output[at..at + size].iter().skip(lane).step_by(LANES)
        });
        let first = values.next()?;
        values.all(|value| value == first).then_some(f64::from(*first))
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
        let inverse = 1.0 / (variance + BN_EPSILON).sqrt();
        let scale = f64::from(self.gamma.values[channel]) * inverse;
        self.mean[at] = mean as f32;
        self.inverse[at] = inverse as f32;
        self.scale[at] = scale as f32;
        self.shift[at] = (f64::from(self.beta.values[channel]) - mean * scale) as f32;
    }

    /// The cells of one block over an input that begins at a plane of theirs.
    pub(super) fn cells<'a>(&'a self, block: usize, input: &'a [f32]) -> Cells<'a> {
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
    pub(super) fn output_of(&self, block: usize, sample: usize) -> &[f32] {
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
    pub(in crate::cpu) fn spikes_at(&self, block: usize, sample: usize, t: usize) -> &[u16] {
        let Extent { samples, steps, .. } = self.extent;
        let (wide, pixels) = (self.stage.wide(), self.stage.pixels());
        let cells = (block / wide * samples + sample) * wide + block % wide;
        &self.spikes[(cells * steps + t) * pixels..][..pixels]
    }
}
