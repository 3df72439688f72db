//! Batch normalisation, each operation beside its portable twin's name. Every output here is written whole by the kernel behind it.
#![allow(unsafe_code, reason = "starts kernels, with the arguments that kernels.cu names")]

use candle_core::{DType, Tensor};

use super::Kernels;
use super::launch::{Argument, Grid};
use super::ops::{all_steps, groups, rows, steps_of, without_gaps};
use crate::Result;
use crate::reference::norm::{EPSILON, MOMENTUM, SavedNorm, Statistics};
use crate::reference::trace::Trace;
use Argument::{From, Real, Whole};

impl Kernels {
    /// `norm::batch_statistics` of one shard.
    pub(crate) fn batch_statistics(&self, x: &Trace) -> Result<Statistics> {
        let x = without_gaps(x.tensors())?;
        let (channels, row) = (x[0].dim(0)?, x[0].elem_count() / x[0].dim(0)?);
        let steps = x.len();
        let block = || self.output((steps, channels), DType::F32);
        let (mean, biased, unbiased) = (block()?, block()?, block()?);
        let count = row as f64;
        for (start, group) in groups(&all_steps(&x, steps)) {
            let arguments = [
                Argument::Steps(group),
                From(&mean, start * channels),
                From(&biased, start * channels),
                From(&unbiased, start * channels),
                Whole(row),
                Real(1.0 / count),
                Real(1.0 / (count - 1.0).max(1.0)),
            ];
            // SAFETY: `x` holds `channels` rows a time step, and each block a number for each of them at each time step.
            unsafe { self.launch("norm_statistics", Grid::Sums(channels, group.len()), &arguments)? };
        }
        let (mean, biased, unbiased) = (steps_of(&mean)?, steps_of(&biased)?, steps_of(&unbiased)?);
        Ok(Statistics { mean, unbiased, biased, count })
    }

    /// `norm::running_update`, once for each of `steps` time steps.
    pub(crate) fn running_update(&self, running: &Tensor, batch: &[Tensor], steps: usize) -> Result<Tensor> {
        let batch = without_gaps(batch)?;
        let channels = running.elem_count();
        let mut running = running.contiguous()?;
        for (_, group) in groups(&all_steps(&batch, steps)) {
            let out = self.output(running.dims(), DType::F32)?;
            let arguments = [
                Argument::Steps(group),
                Argument::Tensor(&running),
                Argument::Tensor(&out),
                Whole(channels),
                Whole(group.len()),
                Real(1.0 - MOMENTUM),
                Real(MOMENTUM),
            ];
            // SAFETY: each tensor holds `channels` numbers.
            unsafe { self.launch("running_update", Grid::Each(channels), &arguments)? };
            running = out;
        }
        Ok(running)
    }

    /// `norm::forward` of one shard: what comes out, and what the backward pass needs.
    pub(crate) fn norm_forward(
        &self,
        x: &Trace,
        statistics: &Statistics,
        weight: &Tensor,
        bias: &Tensor,
    ) -> Result<(Trace, SavedNorm)> {
        let x = without_gaps(x.tensors())?;
        let (mean, biased) = (without_gaps(&statistics.mean)?, without_gaps(&statistics.biased)?);
        let (weight, bias) = (weight.contiguous()?, bias.contiguous()?);
        let (values, steps, channels) = (x[0].elem_count(), x.len(), rows(&x[0], &weight)?);
        let (out, normalised) =
            (self.block(&x[0], steps, DType::F32)?, self.block(&x[0], steps, DType::F32)?);
        let inverse = self.output((steps, channels, 1, 1, 1), DType::F32)?;
        let (mean, biased) = (all_steps(&mean, steps), all_steps(&biased, steps));
        for (start, group) in groups(&all_steps(&x, steps)) {
            let these = start..start + group.len();
            let arguments = [
                Argument::Steps(group),
                Argument::Steps(&mean[these.clone()]),
                Argument::Steps(&biased[these]),
                Argument::Tensor(&weight),
                Argument::Tensor(&bias),
                From(&out, start * values),
                From(&normalised, start * values),
                From(&inverse, start * channels),
                Whole(values / channels),
                Real(EPSILON),
            ];
            // SAFETY: `x` and both blocks hold `values` a time step, all others a number for each channel.
            unsafe {
                self.launch("norm_forward", Grid::Rows(channels, values / channels, group.len()), &arguments)?
            };
        }
        let saved = SavedNorm {
            normalised: vec![Trace::of_block(normalised)?],
            inverse_deviation: steps_of(&inverse)?,
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
        let x = without_gaps(x.tensors())?;
        let (values, steps, channels) = (x[0].elem_count(), x.len(), rows(&x[0], weight)?);
        let out = self.block(&x[0], steps, DType::F32)?;
        let per_channel = [mean.contiguous()?, var.contiguous()?, weight.contiguous()?, bias.contiguous()?];
        for (start, group) in groups(&all_steps(&x, steps)) {
            let [mean, var, weight, bias] = &per_channel;
            let arguments = [
                Argument::Steps(group),
                Argument::Tensor(mean),
                Argument::Tensor(var),
                Argument::Tensor(weight),
                Argument::Tensor(bias),
                From(&out, start * values),
                Whole(values / channels),
                Real(EPSILON),
            ];
            // SAFETY: `x` and the block hold `values` a time step, all others a number for each channel.
            unsafe {
                self.launch("norm_running", Grid::Rows(channels, values / channels, group.len()), &arguments)?
            };
        }
        Trace::of_block(out)
    }

    /// `norm::backward` of one shard: gradients of the input, of weight and of bias.
    pub(crate) fn norm_backward(
        &self,
        grads: &Trace,
        saved: &SavedNorm,
        weight: &Tensor,
    ) -> Result<(Trace, Tensor, Tensor)> {
        let (grads, weight) = (without_gaps(grads.tensors())?, weight.contiguous()?);
        let (hats, inverse) =
            (without_gaps(saved.normalised[0].tensors())?, without_gaps(&saved.inverse_deviation)?);
        let (values, steps, channels) = (grads[0].elem_count(), grads.len(), rows(&grads[0], &weight)?);
        let row = values / channels;
        let (total, total_hat) =
            (self.output((steps, channels), DType::F32)?, self.output((steps, channels), DType::F32)?);
        let out = self.block(&grads[0], steps, DType::F32)?;
        let (hats, inverse) = (all_steps(&hats, steps), all_steps(&inverse, steps));
        let grads = all_steps(&grads, steps);
        for (start, group) in groups(&grads) {
            let these = start..start + group.len();
            let arguments = [
                Argument::Steps(group),
                Argument::Steps(&hats[these]),
                From(&total, start * channels),
                From(&total_hat, start * channels),
                Whole(row),
            ];
            // SAFETY: gradients and normalised values hold `channels` rows a time step, both blocks a number for each.
            unsafe { self.launch("norm_backward_sums", Grid::Sums(channels, group.len()), &arguments)? };
        }
        let (sums, sums_hat) = (steps_of(&total)?, steps_of(&total_hat)?);
        let (sums, sums_hat) = (all_steps(&sums, steps), all_steps(&sums_hat, steps));
        for (start, group) in groups(&grads) {
            let these = start..start + group.len();
            let arguments = [
                Argument::Steps(group),
                Argument::Steps(&hats[these.clone()]),
                Argument::Steps(&inverse[these.clone()]),
                Argument::Steps(&sums[these.clone()]),
                Argument::Steps(&sums_hat[these]),
                Argument::Tensor(&weight),
                From(&out, start * values),
                Whole(row),
                Real(-1.0 / saved.count),
            ];
            // SAFETY: gradients, normalised values and the block hold `values` a time step, all others a number for each channel.
            unsafe { self.launch("norm_backward", Grid::Rows(channels, row, group.len()), &arguments)? };
        }
        Ok((Trace::of_block(out)?, total_hat.sum(0)?, total.sum(0)?))
    }
}
