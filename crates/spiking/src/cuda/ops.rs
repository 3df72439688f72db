//! The operations but for normalisation, each beside its portable twin's name. Every output here is written whole by the kernel behind it.
#![allow(unsafe_code, reason = "starts kernels, with the arguments that kernels.cu names")]

use candle_core::{DType, Tensor};

use super::Kernels;
use super::launch::{Argument, Grid, STEPS};
use crate::optimizer::{BETA1, BETA2, EPSILON, Shared};
use crate::reference::lif::LifTrace;
use crate::reference::trace::{SPIKES, Trace};
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
        Ok(LifTrace { potential: steps_of(&potential)?, spikes: Trace::of_block(spikes)? })
    }

    /// `lif_backward`.
    pub(crate) fn lif_backward(&self, trace: &LifTrace, grads: &Trace, neuron: &Neuron) -> Result<Trace> {
        let (potential, grads) = (without_gaps(&trace.potential)?, without_gaps(grads.tensors())?);
        if potential[0].dims() != grads[0].dims() {
            let what =
                format!("gradients of {:?} meet potentials of {:?}", grads[0].dims(), potential[0].dims());
            return Err(candle_core::Error::Msg(what).into());
        }
        let (cells, steps) = (grads[0].elem_count(), potential.len());
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
        Trace::of_block(currents)
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

    /// One step of [`crate::AdamW`] for one parameter: the parameter and its moments behind it.
    pub(crate) fn adamw(
        &self,
        parameter: &Tensor,
        gradient: &Tensor,
        moments: Option<&(Tensor, Tensor)>,
        step: &Shared,
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
            Real(EPSILON),
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
    pub(super) fn block(&self, like: &Tensor, steps: usize, dtype: DType) -> Result<Tensor> {
        self.output([&[steps], like.dims()].concat(), dtype)
    }
}

/// The tensors of a block, time step by time step; they share its memory.
pub(super) fn steps_of(block: &Tensor) -> Result<Vec<Tensor>> {
    (0..block.dim(0)?).map(|t| Ok(block.get(t)?)).collect()
}

pub(super) fn without_gaps(tensors: &[Tensor]) -> Result<Vec<Tensor>> {
    tensors.iter().map(|tensor| Ok(tensor.contiguous()?)).collect()
}

/// A tensor for each time step, where one may stand for all.
pub(super) fn all_steps(tensors: &[Tensor], steps: usize) -> Vec<&Tensor> {
    (0..steps).map(|t| &tensors[t.min(tensors.len() - 1)]).collect()
}

/// Time steps as launches take them, each group with its first step.
pub(super) fn groups<'a>(
    tensors: &'a [&'a Tensor],
) -> impl DoubleEndedIterator<Item = (usize, &'a [&'a Tensor])> + use<'a> {
    tensors.chunks(STEPS).enumerate().map(|(group, tensors)| (group * STEPS, tensors))
}

/// Rows of `x`, one for each value of `of`.
pub(super) fn rows(x: &Tensor, of: &Tensor) -> Result<usize> {
    let rows = of.elem_count();
    match x.dim(0)? == rows {
        true => Ok(rows),
        false => Err(candle_core::Error::Msg(format!("{:?} meets {rows} numbers", x.dims())).into()),
    }
}
