//! What enters a network: a batch of samples, cut into fixed shards of a few samples each.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use crate::error::at_least_one;
use crate::reference::Trace;
use crate::{Input, Result, SpikingError};

/// A batch on its device. Each shard is a [`Trace`] of `[C, n, H, W]` tensors, channels first.
///
/// Shards are what threads share out. Their size does not depend on the number of threads, and neither does the order
/// in which their sums meet: that is why one seed gives the same bits on any number of threads.
#[derive(Debug, Clone)]
pub struct Stimuli {
    pub(crate) shards: Vec<Trace>,
    pub(crate) samples: usize,
    pub(crate) time_steps: usize,
}

impl Stimuli {
    /// A batch from samples laid one after another, each `[frames, C, H, W]` as the data set gives it (before
    /// subsampling by [`Input::stride`]).
    ///
    /// With one frame a sample the same image enters at each of the `time_steps` (direct encoding); otherwise `frames`
    /// is `time_steps`. `shard` is the number of samples in a shard; the last one may hold fewer.
    ///
    /// # Errors
    /// [`SpikingError::Length`] where the values are no whole number of samples, [`SpikingError::Range`] for time steps, a stride or a size of 0,
    /// for frames that are neither one nor the time steps, and for values that are infinite or no numbers.
    pub fn new(
        values: &[f32],
        frames: usize,
        time_steps: usize,
        input: Input,
        shard: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let Input { channels, height, width, stride } = input;
        let count = count_samples(values, frames, time_steps, input)?;
        if values.par_chunks(AT_ONCE).any(is_spoilt) {
            return Err(spoilt(values, count));
        }
        let sample = frames * channels * height * width;
        let (rows, columns) = input.map();
        let samples: Vec<&[f32]> = values.chunks_exact(sample).collect();
        let mut shards = Vec::new();
        for group in samples.chunks(shard.max(1)) {
            let mut maps: Vec<f32> = Vec::with_capacity(frames * channels * group.len() * rows * columns);
            for frame in 0..frames {
                for channel in 0..channels {
                    for one in group {
                        let plane = &one[(frame * channels + channel) * height * width..][..height * width];
                        if stride == 1 {
                            maps.extend_from_slice(plane);
                            continue;
                        }
                        for row in plane.chunks_exact(width).step_by(stride) {
                            maps.extend(row.iter().step_by(stride));
                        }
                    }
                }
            }
            let maps = Tensor::from_vec(maps, (frames, channels, group.len(), rows, columns), device)?;
            shards.push(Trace::of_block(maps.to_dtype(dtype)?)?);
        }
        Ok(Self { shards, samples: samples.len(), time_steps })
    }

    /// Samples in the batch.
    pub fn len(&self) -> usize {
        self.samples
    }

    /// Whether there is no sample; never so for one that was made.
    pub fn is_empty(&self) -> bool {
        self.samples == 0
    }

    /// Time steps the network runs for.
    pub fn time_steps(&self) -> usize {
        self.time_steps
    }
}

/// Whether one of the values is infinite or no number: a loss may hide what that does to parameters.
pub(crate) fn is_spoilt(values: &[f32]) -> bool {
    // Without a way out of the loop, it goes over several of them at once; with "and" for "or" it takes nearly twice as long.
    values.iter().fold(false, |spoilt, value| spoilt | !value.is_finite())
}

/// Names the first of the values that is infinite or no number.
pub(crate) fn spoilt(values: &[f32], samples: usize) -> SpikingError {
    let found = values.iter().enumerate().find(|(_, value)| !value.is_finite());
    let in_words = |(at, value)| format!("{value} in sample {}", at / (values.len() / samples));
    let found = found.map_or_else(String::new, in_words);
    SpikingError::Range { key: "the stimulus", found, expected: "finite numbers" }
}

/// Values that a thread looks through at a time.
const AT_ONCE: usize = 64 * 1024;

/// Samples in `values`, each `[frames, C, H, W]`.
pub(crate) fn count_samples(values: &[f32], frames: usize, time_steps: usize, input: Input) -> Result<usize> {
    input.check()?;
    let Input { channels, height, width, .. } = input;
    at_least_one("time_steps", time_steps)?;
    if frames != 1 && frames != time_steps {
        let (key, found, expected) = ("frames", frames.to_string(), "1 or the time steps");
        return Err(SpikingError::Range { key, found, expected });
    }
    let sample = frames * channels * height * width;
    if !values.is_empty() && values.len().is_multiple_of(sample) {
        return Ok(values.len() / sample);
    }
    Err(SpikingError::Length {
        what: "the stimulus",
        found: values.len(),
        expected: sample,
        shape: format!(
            "a multiple of [{frames}, {channels}, {height}, {width}], for {time_steps} time steps"
        ),
    })
}
