//! The closer look of [`crate::Engine::examine`], in tensor operations.

use candle_core::{DType, Tensor};

use super::Reference;
use super::pass::mean_votes;
use super::trace::{Shards, Trace, counted};
use crate::examine::{Examination, Frequencies, Operations, largest, reach};
use crate::{Layer, Mode, Result, Stimuli};

impl Reference {
    /// Evaluates with a closer look: votes after each time step, operations, and where cells fired (nowhere in analogue mode).
    ///
    /// # Errors
    /// The device's.
    pub fn examine(&self, stimuli: &Stimuli, mode: Mode) -> Result<Examination> {
        let steps = stimuli.time_steps;
        let (shapes, weights) = (self.spec.shapes()?, self.spec.weight_layers()?);
        let (mut operations, mut frequencies) = (Vec::new(), Vec::new());
        let votes = self.run(stimuli, mode, |index, shards| {
            let [channels, height, width] = shapes[index];
            let fired = self.cells_before(index).filter(|_| mode == Mode::Spiking);
            // Not by its size: a map may have one pixel.
            let map = !self.spec.layers[..index].contains(&Layer::Flatten);
            if let (Some(cells), true) = (fired, map) {
                let spikes = shards.iter().map(|trace| spikes(trace, steps)).collect::<Result<Vec<_>>>()?;
                frequencies.push(Frequencies {
                    layer: cells,
                    map: [height, width],
                    most: (steps * channels) as u32,
                    spikes: spikes.concat(),
                });
            }
            let Some(of) = weights.iter().find(|of| of.layer == index) else { return Ok(()) };
            // Features are maps of 1x1, of which a kernel of 3x3 reaches one value.
            let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
            let taps: Vec<f64> = pixels.map(|(y, x)| (reach(y, height) * reach(x, width)) as f64).collect();
            let taps = Tensor::from_vec(taps, (1, 1, height, width), &self.device)?;
            let (mut inputs, mut met) = (0.0, 0.0);
            for (trace, t) in shards.iter().flat_map(|trace| (0..steps).map(move |t| (trace, t))) {
                let tensor = trace.at(t)?;
                let (features, samples) = (tensor.dim(0)?, tensor.dim(1)?);
                let some =
                    tensor.ne(0f64)?.to_dtype(DType::F64)?.reshape((features, samples, height, width))?;
                inputs += some.sum_all()?.to_scalar::<f64>()?;
                met += some.broadcast_mul(&taps)?.sum_all()?.to_scalar::<f64>()?;
            }
            operations.push(Operations {
                layer: index,
                inputs: inputs as u64,
                operations: met as u64 * shapes[index + 1][0] as u64,
                dense: (stimuli.len() * steps) as u64 * of.dense,
                real: mode == Mode::Analogue || of.real,
            });
            Ok(())
        })?;
        let predictions = (1..=steps).map(|steps| predictions(&votes, steps)).collect::<Result<_>>()?;
        Ok(Examination { predictions, operations, frequencies })
    }
}

/// Spikes of one shard over time steps and channels, `[n, H, W]`. Sums of whole numbers below 2^24 are exact in f32.
fn spikes(trace: &Trace, steps: usize) -> Result<Vec<u32>> {
    let mut sum = counted(trace.first())?.sum(0)?;
    for t in 1..steps {
        sum = (sum + counted(trace.at(t)?)?.sum(0)?)?;
    }
    Ok(sum.to_dtype(DType::U32)?.flatten_all()?.to_vec1()?)
}

/// The class with the largest vote of the first `steps` time steps, per sample.
fn predictions(votes: &Shards, steps: usize) -> Result<Vec<u32>> {
    let votes = Tensor::cat(&mean_votes(votes, steps)?, 1)?.t()?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
    Ok(votes.iter().map(|votes| largest(votes)).collect())
}
