//! Batch normalisation, each operation beside its portable twin's name. Every output here is written whole by the kernel behind it.
#![allow(unsafe_code, reason = "starts kernels, with the arguments that kernels.cu names")]

use candle_core::{DType, Tensor};

use super::Kernels;
use super::launch::{Argument, Grid, refused};
use super::ops::{a_number_each, reals, steps_apart};
use crate::Result;
use crate::reference::norm::{BN_EPSILON, MOMENTUM, SavedNorm, Statistics};
use crate::reference::trace::Trace;
use Argument::{Real, Whole};

impl Kernels {
    /// `norm::batch_statistics` of one shard.
    pub(crate) fn batch_statistics(&self, x: &Trace) -> Result<Statistics> {
        let x = reals(x)?;
        let (steps, channels) = (x.dim(0)?, x.dim(1)?);
        let row = x.elem_count() / (steps * channels);
        let block = || self.output((steps, channels), DType::F32);
        let (mean, biased, unbiased) = (block()?, block()?, block()?);
        let count = row as f64;
        let arguments = [
            Argument::Tensor(&x),
            Argument::Tensor(&mean),
            Argument::Tensor(&biased),
            Argument::Tensor(&unbiased),
            Whole(row),
            Real(1.0 / count),
            Real(1.0 / (count - 1.0).max(1.0)),
        ];
        // SAFETY: `x` holds `channels` rows a time step, and each block a number for each of them at each time step.
        unsafe { self.launch("norm_statistics", Grid::Sums([channels, steps, 1]), &arguments)? };
        let [mean, unbiased, biased] = [mean, unbiased, biased].map(Trace::of_block);
        Ok(Statistics { mean: mean?, unbiased: unbiased?, biased: biased?, count })
    }

    /// `norm::running_update`, once for each of `steps` time steps.
    pub(crate) fn running_update(&self, running: &Tensor, batch: &Trace, steps: usize) -> Result<Tensor> {
        let running = running.contiguous()?;
        let channels = running.elem_count();
        a_number_each(channels, &[batch.first()])?;
        let (batch, apart) = steps_apart(batch, steps)?;
        let out = self.output(running.dims(), DType::F32)?;
        let arguments = [
            Argument::Tensor(&batch),
            Whole(apart),
            Argument::Tensor(&running),
            Argument::Tensor(&out),
            Whole(channels),
            Whole(steps),
            Real(1.0 - MOMENTUM),
            Real(MOMENTUM),
        ];
        // SAFETY: each tensor holds `channels` numbers, the batch's at each of `steps` or for all.
        unsafe { self.launch("running_update", Grid::Each(channels), &arguments)? };
        Ok(out)
    }

    /// `norm::forward` of one shard: what comes out, and what the backward pass needs.
    pub(crate) fn norm_forward(
        &self,
        x: &Trace,
        statistics: &Statistics,
        weight: &Tensor,
        bias: &Tensor,
    ) -> Result<(Trace, SavedNorm)> {
        let x = reals(x)?;
        let (mean, biased) = (statistics.mean.block()?, statistics.biased.block()?);
        let (weight, bias) = (weight.contiguous()?, bias.contiguous()?);
        let (steps, channels) = rows(&x, &[&weight, &bias])?;
        let row = x.elem_count() / (steps * channels);
        statistics_of(&x, [&mean, &biased])?;
        let (out, normalised) = (self.output(x.shape(), DType::F32)?, self.output(x.shape(), DType::F32)?);
        let inverse = self.output((steps, channels, 1, 1, 1), DType::F32)?;
        let arguments = [
            Argument::Tensor(&x),
            Argument::Tensor(&mean),
            Argument::Tensor(&biased),
            Argument::Tensor(&weight),
            Argument::Tensor(&bias),
            Argument::Tensor(&out),
            Argument::Tensor(&normalised),
            Argument::Tensor(&inverse),
            Whole(row),
            Real(BN_EPSILON),
        ];
        // SAFETY: `x` and both blocks hold `channels` rows a time step, statistics and inverse deviations as many numbers, all others a
        // number for each channel.
        unsafe { self.launch("norm_forward", Grid::Rows(channels, row, steps), &arguments)? };
        let saved = SavedNorm {
            normalised: vec![Trace::of_block(normalised)?],
            inverse_deviation: Trace::of_block(inverse)?,
            count: statistics.count,
        };
        Ok((Trace::of_block(out)?, saved))
    }

    /// `norm::apply_running` of one shard.
    pub(crate) fn norm_running(
        &self,
        x: &Trace,
        mean: &Tensor,
        var: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
    ) -> Result<Trace> {
        let x = reals(x)?;
        let per_channel = [mean.contiguous()?, var.contiguous()?, weight.contiguous()?, bias.contiguous()?];
        let (steps, channels) = rows(&x, &per_channel.each_ref())?;
        let row = x.elem_count() / (steps * channels);
        let out = self.output(x.shape(), DType::F32)?;
        let [mean, var, weight, bias] = &per_channel;
        let arguments = [
            Argument::Tensor(&x),
            Argument::Tensor(mean),
            Argument::Tensor(var),
            Argument::Tensor(weight),
            Argument::Tensor(bias),
            Argument::Tensor(&out),
            Whole(row),
            Real(BN_EPSILON),
        ];
        // SAFETY: `x` and the output hold `channels` rows a time step, all others a number for each channel.
        unsafe { self.launch("norm_running", Grid::Rows(channels, row, steps), &arguments)? };
        Trace::of_block(out)
    }

    /// `norm::backward` of one shard: gradients of the input, of weight and of bias.
    pub(crate) fn norm_backward(
        &self,
        grads: &Trace,
        saved: &SavedNorm,
        weight: &Tensor,
    ) -> Result<(Trace, Tensor, Tensor)> {
        let (grads, weight) = (reals(grads)?, weight.contiguous()?);
        let (steps, channels) = rows(&grads, &[&weight])?;
        let row = grads.elem_count() / (steps * channels);
        let (hats, apart) = steps_apart(&saved.normalised[0], steps)?;
        let (inverse, channels_apart) = steps_apart(&saved.inverse_deviation, steps)?;
        a_number_each(channels, &[saved.inverse_deviation.first()])?;
        if hats.dims()[1..] != grads.dims()[1..] {
            return Err(refused(format!(
                "gradients {:?} with normalised values {:?}",
                grads.shape(),
                hats.shape()
            )));
        }
        let (total, total_hat) =
            (self.output((steps, channels), DType::F32)?, self.output((steps, channels), DType::F32)?);
        let arguments = [
            Argument::Tensor(&grads),
            Argument::Tensor(&hats),
            Whole(apart),
            Argument::Tensor(&total),
            Argument::Tensor(&total_hat),
            Whole(row),
        ];
        // SAFETY: gradients hold `channels` rows a time step, normalised values there or for all, both sums a number for each.
        unsafe { self.launch("norm_backward_sums", Grid::Sums([channels, steps, 1]), &arguments)? };
        let out = self.output(grads.shape(), DType::F32)?;
        let arguments = [
            Argument::Tensor(&grads),
            Argument::Tensor(&hats),
            Whole(apart),
            Argument::Tensor(&inverse),
            Whole(channels_apart),
            Argument::Tensor(&total),
            Argument::Tensor(&total_hat),
            Argument::Tensor(&weight),
            Argument::Tensor(&out),
            Whole(row),
            Real(-1.0 / saved.count),
        ];
        // SAFETY: as above; the output is as long as the gradients, inverse deviations hold `channels` numbers a time step or for all.
        unsafe { self.launch("norm_backward", Grid::Rows(channels, row, steps), &arguments)? };
        Ok((Trace::of_block(out)?, self.sum_over_steps(&total_hat)?, self.sum_over_steps(&total)?))
    }
}

/// Refuses statistics that are not of a block's channels at its time steps.
pub(super) fn statistics_of(x: &Tensor, statistics: [&Tensor; 2]) -> Result<()> {
    match statistics.iter().find(|block| block.dims() != &x.dims()[..2]) {
        Some(other) => Err(refused(format!("statistics {:?} of {:?}", other.shape(), x.shape()))),
        None => Ok(()),
    }
}

/// Time steps and channels of a block, where there is a number in each of `numbers` for each channel.
fn rows(block: &Tensor, numbers: &[&Tensor]) -> Result<(usize, usize)> {
    let (steps, channels) = (block.dim(0)?, block.dim(1)?);
    a_number_each(channels, numbers)?;
    Ok((steps, channels))
}
