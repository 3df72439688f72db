//! Made-up samples, to time networks on.

use bpsta_spiking::{Batch, Input, Streams};

/// Pixels of [0, 1) as of images, or counts as N-MNIST has them, mostly 0.
pub(crate) struct Stimuli {
    values: Vec<f32>,
    frames: usize,
    labels: Vec<u32>,
}

impl Stimuli {
    pub(crate) fn new(
        input: Input,
        frames: usize,
        images: bool,
        samples: usize,
        classes: usize,
        streams: &Streams,
    ) -> Self {
        let count = samples * frames * input.channels * input.height * input.width;
        let order = streams.permutation("bench/input", 4096);
        let values = order.iter().map(|place| *place as f32 / 4096.0);
        let values: Vec<f32> = match images {
            true => values.collect(),
            false => values.map(|value| (value * 8.0 - 5.0).max(0.0).floor()).collect(),
        };
        Self {
            // A period that no map size divides.
            values: (0..count).map(|i| values[i % 4093]).collect(),
            frames,
            labels: (0..samples).map(|sample| (sample % classes) as u32).collect(),
        }
    }

    pub(crate) fn batch(&self, time_steps: usize) -> Batch<'_> {
        Batch { values: &self.values, frames: self.frames, time_steps, labels: &self.labels }
    }
}
