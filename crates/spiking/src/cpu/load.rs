//! What enters a pass: the stimuli of a batch, and the masks of dropout.

use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::Cpu;
use super::conv::{Extent, Maps, StatisticsSource};
use super::kernels::neuron::MOST_STEPS;
use super::plan::place;
use super::simd::LANES;
use crate::random::{ahead, dropout_factor, unit};
use crate::stimuli::{self, is_spoilt};
use crate::{Batch, Result, SpikingError};

impl Cpu {
    /// Makes room for a batch and reads its stimuli.
    pub(super) fn load(&mut self, batch: &Batch<'_>, statistics: StatisticsSource) -> Result<()> {
        let samples = batch.check(self.spec.input, self.plan.classes)?;
        if batch.time_steps > MOST_STEPS {
            return Err(SpikingError::Range {
                key: "time_steps",
                found: batch.time_steps.to_string(),
                expected: "at most 1024 on the CPU engine",
            });
        }
        let steps = batch.time_steps;
        let extent = Extent { samples, steps, planes: batch.frames };
        self.extent = extent;
        for (index, conv) in self.convs.iter_mut().enumerate() {
            conv.make_room(if index == 0 { extent } else { Extent { planes: steps, ..extent } }, statistics);
        }
        for linear in &mut self.linears {
            linear.make_room(extent);
        }
        let input = self.spec.input;
        let (height, width) = input.map();
        let (channels, area) = (input.channels, input.height * input.width);
        let Maps::Real { values, .. } = &mut self.convs[0].input else {
            unreachable!("the first input is real")
        };
        let frames = batch.values.par_chunks(channels * area);
        let maps = values.par_chunks_mut((height + 2) * (width + 2) * channels).zip(frames);
        let spoilt = maps.map(|(map, frame)| {
            for (channel, plane) in frame.chunks(area).enumerate() {
                for y in 0..height {
                    let row = &plane[y * input.stride * input.width..][..input.width];
                    let line = &mut map[((y + 1) * (width + 2) + 1) * channels..][..width * channels];
                    let values = row.iter().step_by(input.stride);
                    for (pixel, value) in line.chunks_exact_mut(channels).zip(values) {
                        pixel[channel] = *value;
                    }
                }
            }
            is_spoilt(frame)
        });
        match spoilt.reduce(|| false, |some, more| some | more) {
            true => Err(stimuli::spoilt(batch.values, samples)),
            false => Ok(()),
        }
    }

    /// Draws the dropout masks of a linear stage sample by sample in PyTorch's order of features, as the reference does.
    pub(super) fn draw_masks(&mut self, index: usize, dropout: Option<&mut ChaCha8Rng>) {
        let samples = self.extent.samples;
        let (plan, linear) = (&self.plan, &mut self.linears[index]);
        let stage = linear.stage;
        linear.mask_before.resize(0);
        linear.mask_behind.resize(0);
        let Some(dropout) = dropout else { return };
        if let Some(probability) = stage.dropout_before {
            linear.mask_before.resize(samples * stage.inputs);
            let (features, of_batch) = (plan.features(index), &*dropout);
            linear.mask_before.par_chunks_mut(stage.inputs).enumerate().for_each(|(sample, mask)| {
                let mut of_sample = ahead(of_batch, sample * features);
                plan.places(index)
                    .for_each(|place| mask[place] = dropout_factor(unit(&mut of_sample), probability));
            });
            *dropout = ahead(dropout, samples * features);
        }
        if let Some(probability) = stage.dropout_behind {
            linear.mask_behind.resize(stage.blocks() * samples * LANES);
            for sample in 0..samples {
                for output in 0..stage.outputs {
                    let place = place(output, sample, samples);
                    linear.mask_behind[place] = dropout_factor(unit(dropout), probability);
                }
            }
        }
    }
}
