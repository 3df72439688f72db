//! The operations, each beside its portable twin's name. Every output here is written whole by the kernel behind it.
#![allow(unsafe_code, reason = "starts kernels, with the arguments that kernels.cu names")]

use candle_core::{DType, Tensor};

use super::Kernels;
use super::launch::{Argument, Grid, SPIKES, STEPS};
use crate::optimizer::{BETA1, BETA2, EPSILON as ADAMW_EPSILON};
use crate::reference::lif::LifTrace;
use crate::reference::norm::{EPSILON, MOMENTUM, SavedNorm, Statistics};
use crate::reference::trace::Trace;
use crate::{Neuron, Reset, Result};
use Argument::{From, Nothing, Real, Whole};

impl Kernels {
    /// `lif_forward`.
    pub(crate) fn lif_forward(&self, current: &Trace, steps: usize, neuron: &Neuron) -> Result<LifTrace> {
        let current = without_gaps(current.tensors())?;
        let cells = current[0].elem_count();
        let potential = self.block(&current[0], steps, DType::F32)?;
        let spikes = self.block(&current[0], steps, SPIKES)?;
        for (start, group) in groups(&all_steps(&current, steps)) {
            let before = match start {
                0 => Nothing,
                _ => From(&potential, (start - 1) * cells),
            };
            let arguments = [
                Argument::Steps(group),
                before,
                From(&potential, start * cells),
                From(&spikes, start * cells),
                Whole(cells),
                Whole(group.len()),
                Real(neuron.threshold),
                Real(neuron.decay),
            ];
            // SAFETY: `current` holds `cells` values a time step, both blocks `cells` times `steps`, and the group ends within them.
            unsafe { self.launch("lif_forward", Grid::Each(cells), &arguments)? };
        }
        Ok(LifTrace { potential: steps_of(&potential)?, spikes: steps_of(&spikes)? })
    }

    /// `lif_backward`.
    pub(crate) fn lif_backward(
        &self,
        trace: &LifTrace,
        grads: &[Tensor],
        neuron: &Neuron,
    ) -> Result<Vec<Tensor>> {
        if grads.is_empty() {
            return Ok(Vec::new());
        }
        let (potential, grads) = (without_gaps(&trace.potential)?, without_gaps(grads)?);
        if potential.len() != grads.len() || potential[0].dims() != grads[0].dims() {
            let what = format!(
                "{} gradients of {:?} meet {} potentials of {:?}",
                grads.len(),
                grads[0].dims(),
                potential.len(),
                potential[0].dims()
            );
            return Err(candle_core::Error::Msg(what).into());
        }
        let (cells, steps) = (grads[0].elem_count(), grads.len());
        let currents = self.block(&grads[0], steps, DType::F32)?;
        let (potential, grads) = (all_steps(&potential, steps), all_steps(&grads, steps));
        let spatial = neuron.rule.adjusts_space();
        for (start, group) in groups(&grads).rev() {
            let end = start + group.len();
            let later = match end == steps {
                true => Nothing,
                false => From(&currents, end * cells),
            };
            let arguments = [
                Argument::Steps(&potential[start..end]),
                Argument::Steps(group),
                later,
                From(&currents, start * cells),
                Whole(cells),
                Whole(group.len()),
                Real(neuron.threshold),
                Real(neuron.decay),
                Real(neuron.alpha),
                Real(neuron.surrogate_half_width),
                Whole(usize::from(spatial)),
                Whole(usize::from(neuron.rule.adjusts_time())),
                Whole(usize::from(!spatial && neuron.reset == Reset::Attached)),
            ];
            // SAFETY: potentials and gradients hold `cells` values a time step, by the check above and that of all time steps; the block `cells` times `steps`.
            unsafe { self.launch("lif_backward", Grid::Each(cells), &arguments)? };
        }
        steps_of(&currents)
    }

    /// Backward through a rectifier.
    pub(crate) fn relu_backward(&self, grad: &Tensor, output: &Tensor) -> Result<Tensor> {
        let (grad, output) = (grad.contiguous()?, output.contiguous()?);
        let values = output.elem_count();
        let next = self.output(output.dims(), DType::F32)?;
        let arguments =
            [Argument::Tensor(&grad), Argument::Tensor(&output), Argument::Tensor(&next), Whole(values)];
        // SAFETY: all three hold `values`: a gradient has the shape of what it is the gradient of.
        unsafe { self.launch("relu_backward", Grid::Each(values), &arguments)? };
        Ok(next)
    }

    /// `conv::columns`, in the type of `x`.
    pub(crate) fn columns(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.contiguous()?;
        let (c, n, h, w) = x.dims4()?;
        let values = x.elem_count();
        let out = self.output((9 * c, n * h * w), x.dtype())?;
        let arguments = [Argument::Tensor(&x), Argument::Tensor(&out), Whole(values), Whole(h), Whole(w)];
        let kernel = if x.dtype() == SPIKES { "spike_columns" } else { "columns" };
        // SAFETY: `x` holds `values`, and the output nine times as many, both of the kernel's type.
        unsafe { self.launch(kernel, Grid::Each(values), &arguments)? };
        Ok(out)
    }

    /// Three tensors of bfloat16 whose sum is `x`, the smallest first.
    pub(crate) fn split(&self, x: &Tensor) -> Result<Split> {
        let x = x.contiguous()?;
        let values = x.elem_count();
        let part = || self.output(x.dims(), SPIKES);
        let parts = [part()?, part()?, part()?];
        let arguments = [
            Argument::Tensor(&x),
            Argument::Tensor(&parts[2]),
            Argument::Tensor(&parts[1]),
            Argument::Tensor(&parts[0]),
            Whole(values),
        ];
        // SAFETY: all hold `values`.
        unsafe { self.launch("split", Grid::Each(values), &arguments)? };
        Ok(Split(parts))
    }

    /// The matrix that was split, times spikes.
    pub(crate) fn times_spikes(&self, matrix: &Split, spikes: &Tensor) -> Result<Tensor> {
        let spikes = spikes.contiguous()?;
        let out = self.output((matrix.0[0].dim(0)?, spikes.dim(1)?), DType::F32)?;
        for (index, part) in matrix.0.iter().enumerate() {
            // SAFETY: `out` was made here.
            unsafe { self.product(part, &spikes, false, &out, index > 0)? };
        }
        Ok(out)
    }

    /// The matrix that was split, times transposed spikes, into `sum`: its first value, or on top of what is there.
    pub(crate) fn times_transposed_spikes(
        &self,
        matrix: &Split,
        spikes: &Tensor,
        sum: Option<Tensor>,
    ) -> Result<Tensor> {
        let spikes = spikes.contiguous()?;
        let there = sum.is_some();
        let out = match sum {
            Some(sum) => sum,
            None => self.output((matrix.0[0].dim(0)?, spikes.dim(0)?), DType::F32)?,
        };
        for (index, part) in matrix.0.iter().enumerate() {
            // SAFETY: `out` was made here, or by an earlier call of this function, and given away with `sum`.
            unsafe { self.product(part, &spikes, true, &out, there || index > 0)? };
        }
        Ok(out)
    }

    /// The sum of each row over all time steps; rows are counted by the first dimension.
    pub(crate) fn row_sums(&self, x: &Trace) -> Result<Tensor> {
        let x = without_gaps(x.tensors())?;
        let (rows, steps) = (x[0].dim(0)?, x.len());
        let total = self.output((steps, rows), DType::F32)?;
        for (start, group) in groups(&all_steps(&x, steps)) {
            let arguments =
                [Argument::Steps(group), From(&total, start * rows), Whole(x[0].elem_count() / rows)];
            // SAFETY: `x` holds `rows` rows a time step, and the output a number for each of them at each time step.
            unsafe { self.launch("row_sums", Grid::Sums(rows, group.len()), &arguments)? };
        }
        Ok(total.sum(0)?)
    }

    /// Each row of `x` plus its number in `add`: a bias. `x` has as many rows as its first dimension.
    pub(crate) fn add_to_rows(&self, x: &Tensor, add: &Tensor) -> Result<Tensor> {
        let (x, add) = (x.contiguous()?, add.contiguous()?);
        let values = x.elem_count();
        let out = self.output(x.dims(), DType::F32)?;
        let arguments = [
            Argument::Tensor(&x),
            Argument::Tensor(&add),
            Argument::Tensor(&out),
            Whole(values),
            Whole(values / rows(&x, &add)?),
        ];
        // SAFETY: `x` and the output hold `values`, and `add` a number for each row.
        unsafe { self.launch("add_to_rows", Grid::Each(values), &arguments)? };
        Ok(out)
    }

    /// `pool::max` of spikes.
    pub(crate) fn spike_max_pool(&self, x: &Tensor, size: usize) -> Result<Tensor> {
        let x = x.contiguous()?;
        let (c, n, h, w) = x.dims4()?;
        let out = self.output((c, n, h / size, w / size), SPIKES)?;
        let windows = out.elem_count();
        let arguments =
            [Argument::Tensor(&x), Argument::Tensor(&out), Whole(windows), Whole(h), Whole(w), Whole(size)];
        // SAFETY: `x` holds maps of `h` by `w`, and the output a value for each window of `size` that fits into them.
        unsafe { self.launch("spike_max_pool", Grid::Each(windows), &arguments)? };
        Ok(out)
    }

    /// `pool::max_backward`.
    pub(crate) fn max_pool_backward(&self, grad: &Tensor, input: &Tensor, size: usize) -> Result<Tensor> {
        let (grad, input) = (grad.contiguous()?, input.contiguous()?);
        let (c, n, h, w) = input.dims4()?;
        let windows = c * n * h.div_ceil(size) * w.div_ceil(size);
        let out = self.output(input.dims(), DType::F32)?;
        let arguments = [
            Argument::Tensor(&grad),
            Argument::Tensor(&input),
            Argument::Tensor(&out),
            Whole(windows),
            Whole(h),
            Whole(w),
            Whole(size),
        ];
        let spikes = input.dtype() == SPIKES;
        let kernel = if spikes { "spike_max_pool_backward" } else { "max_pool_backward" };
        // SAFETY: `input`, of the kernel's type, and the output hold maps of `h` by `w`, `grad` a value for each window of `size` that
        // fits into them.
        unsafe { self.launch(kernel, Grid::Each(windows), &arguments)? };
        Ok(out)
    }

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
            normalised: vec![Trace::new(steps_of(&normalised)?)],
            inverse_deviation: steps_of(&inverse)?,
            count: statistics.count,
        };
        Ok((Trace::new(steps_of(&out)?), saved))
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
        Ok(Trace::new(steps_of(&out)?))
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
        Ok((Trace::new(steps_of(&out)?), total_hat.sum(0)?, total.sum(0)?))
    }

    /// One step of [`crate::AdamW`] for one parameter, `step` counted from 1: the parameter and its moments behind it.
    pub(crate) fn adamw(
        &self,
        parameter: &Tensor,
        gradient: &Tensor,
        moments: Option<&(Tensor, Tensor)>,
        step: &AdamWStep,
    ) -> Result<[Tensor; 3]> {
        let (parameter, gradient) = (parameter.contiguous()?, gradient.contiguous()?);
        let moments = match moments {
            Some((first, second)) => Some((first.contiguous()?, second.contiguous()?)),
            None => None,
        };
        let values = parameter.elem_count();
        let output = || self.output(parameter.dims(), DType::F32);
        let next = [output()?, output()?, output()?];
        let (first, second) = match &moments {
            Some((first, second)) => (Argument::Tensor(first), Argument::Tensor(second)),
            None => (Nothing, Nothing),
        };
        let arguments = [
            Argument::Tensor(&parameter),
            Argument::Tensor(&gradient),
            first,
            second,
            Argument::Tensor(&next[0]),
            Argument::Tensor(&next[1]),
            Argument::Tensor(&next[2]),
            Whole(values),
            Real(BETA1),
            Real(1.0 - BETA1),
            Real(BETA2),
            Real(1.0 - BETA2),
            Real(1.0 / step.second_correction_root),
            Real(ADAMW_EPSILON),
            Real(step.kept),
            Real(step.rate),
        ];
        let of_shape = |tensor: &Tensor| tensor.dims() == parameter.dims() && tensor.dtype() == DType::F32;
        let moments_fit = moments.iter().all(|(first, second)| of_shape(first) && of_shape(second));
        if !of_shape(&gradient) || !moments_fit {
            let what = format!(
                "a parameter of {:?} meets a gradient or moments of another shape or type",
                parameter.dims()
            );
            return Err(candle_core::Error::Msg(what).into());
        }
        // SAFETY: a parameter's gradient and moments have its shape, checked above.
        unsafe { self.launch("adamw", Grid::Each(values), &arguments)? };
        Ok(next)
    }

    /// Room for tensors like this one at each time step.
    fn block(&self, like: &Tensor, steps: usize, dtype: DType) -> Result<Tensor> {
        self.output([&[steps], like.dims()].concat(), dtype)
    }
}

/// A matrix of 32-bit floats as the sum of three of bfloat16, the smallest first.
pub(crate) struct Split([Tensor; 3]);

#[cfg(test)]
impl Split {
    /// What was split, again.
    pub(crate) fn sum(&self) -> Result<Vec<f32>> {
        let parts =
            self.0.iter().map(|part| Ok(part.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?));
        let parts: Vec<Vec<f32>> = parts.collect::<Result<_>>()?;
        Ok((0..parts[0].len()).map(|i| parts[0][i] + parts[1][i] + parts[2][i]).collect())
    }
}

/// What the parameters share in one step of AdamW.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdamWStep {
    /// Square root of the second moment's correction.
    pub(crate) second_correction_root: f64,
    /// What weight decay leaves of a parameter.
    pub(crate) kept: f64,
    /// Learning rate over the first moment's correction.
    pub(crate) rate: f64,
}

/// The tensors of a block, time step by time step; they share its memory.
fn steps_of(block: &Tensor) -> Result<Vec<Tensor>> {
    (0..block.dim(0)?).map(|t| Ok(block.get(t)?)).collect()
}

fn without_gaps(tensors: &[Tensor]) -> Result<Vec<Tensor>> {
    tensors.iter().map(|tensor| Ok(tensor.contiguous()?)).collect()
}

/// A tensor for each time step, where one may stand for all.
fn all_steps(tensors: &[Tensor], steps: usize) -> Vec<&Tensor> {
    (0..steps).map(|t| &tensors[t.min(tensors.len() - 1)]).collect()
}

/// Time steps as launches take them, each group with its first step.
fn groups<'a>(
    tensors: &'a [&'a Tensor],
) -> impl DoubleEndedIterator<Item = (usize, &'a [&'a Tensor])> + use<'a> {
    tensors.chunks(STEPS).enumerate().map(|(group, tensors)| (group * STEPS, tensors))
}

/// Rows of `x`, one for each value of `of`.
fn rows(x: &Tensor, of: &Tensor) -> Result<usize> {
    let rows = of.elem_count();
    match x.dim(0)? == rows {
        true => Ok(rows),
        false => Err(candle_core::Error::Msg(format!("{:?} meets {rows} numbers", x.dims())).into()),
    }
}
