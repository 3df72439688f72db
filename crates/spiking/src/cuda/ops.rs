//! The operations but for products, cells and normalisation, each beside its portable twin's name. Every output here is written whole by the kernel behind it.
#![allow(unsafe_code, reason = "starts kernels, with the arguments that kernels.cu names")]

use candle_core::{DType, Tensor};

use super::Kernels;
use super::launch::{Argument, Grid, refused};
use crate::Result;
use crate::optimizer::{ADAM_EPSILON, BETA1, BETA2, Shared};
use crate::reference::trace::{SPIKES, Trace};
use Argument::{Nothing, Real, Whole};

/// Blocks that count spikes.
const COUNTERS: usize = 1024;

impl Kernels {
    /// Backward through a rectifier.
    pub(crate) fn relu_backward(&self, grad: &Tensor, output: &Tensor) -> Result<Tensor> {
        let (grad, output) = (grad.contiguous()?, output.contiguous()?);
        if grad.dims() != output.dims() {
            return Err(refused(format!(
                "a gradient of {:?} for an output of {:?}",
                grad.dims(),
                output.dims()
            )));
        }
        let values = output.elem_count();
        let next = self.output(output.dims(), DType::F32)?;
        let arguments =
            [Argument::Tensor(&grad), Argument::Tensor(&output), Argument::Tensor(&next), Whole(values)];
        // SAFETY: all three hold `values`, checked above.
        unsafe { self.launch("relu_backward", Grid::Each(values), &arguments)? };
        Ok(next)
    }

    /// The sum of each row over all time steps; rows are counted by the first dimension.
    pub(crate) fn row_sums(&self, x: &Trace) -> Result<Tensor> {
        let x = reals(x)?;
        let (steps, rows) = (x.dim(0)?, x.dim(1)?);
        let total = self.output((steps, rows), DType::F32)?;
        let arguments =
            [Argument::Tensor(&x), Argument::Tensor(&total), Whole(x.elem_count() / (steps * rows))];
        // SAFETY: `x` holds `rows` rows a time step, and the output a number for each of them at each time step.
        unsafe { self.launch("row_sums", Grid::Sums([rows, steps, 1]), &arguments)? };
        self.sum_over_steps(&total)
    }

    /// How many spikes there are, in sums of which each is exact.
    pub(crate) fn count_spikes(&self, x: &Trace) -> Result<Tensor> {
        let x = x.block()?;
        let counts = self.output(COUNTERS, DType::F32)?;
        let arguments = [Argument::Tensor(&x), Argument::Tensor(&counts), Whole(x.elem_count())];
        // SAFETY: `x` holds so many values, and the output a number for each block.
        unsafe { self.launch("count_spikes", Grid::Sums([COUNTERS, 1, 1]), &arguments)? };
        Ok(counts)
    }

    /// `pool::max` of spikes.
    pub(crate) fn spike_max_pool(&self, x: &Tensor, size: usize) -> Result<Tensor> {
        self.spike_pool("spike_max_pool", x, size)
    }

    /// `pool::average` of spikes whose averages are exact.
    pub(crate) fn spike_average_pool(&self, x: &Tensor, size: usize) -> Result<Tensor> {
        self.spike_pool("spike_average_pool", x, size)
    }

    fn spike_pool(&self, kernel: &str, x: &Tensor, size: usize) -> Result<Tensor> {
        let x = x.contiguous()?;
        let (c, n, h, w) = x.dims4()?;
        let out = self.output((c, n, h / size, w / size), SPIKES)?;
        let windows = out.elem_count();
        let arguments =
            [Argument::Tensor(&x), Argument::Tensor(&out), Whole(windows), Whole(h), Whole(w), Whole(size)];
        // SAFETY: `x` holds maps of `h` by `w`, and the output a value for each window of `size` that fits into them.
        unsafe { self.launch(kernel, Grid::Each(windows), &arguments)? };
        Ok(out)
    }

    /// `pool::average_backward`, to maps of `h` by `w`.
    pub(crate) fn average_pool_backward(
        &self,
        grad: &Tensor,
        [h, w]: [usize; 2],
        size: usize,
    ) -> Result<Tensor> {
        let grad = grad.contiguous()?;
        let (c, n, rows, columns) = grad.dims4()?;
        if (rows, columns) != (h / size, w / size) {
            return Err(refused(format!("windows of {size} that make {rows}x{columns} of {h}x{w}")));
        }
        let out = self.output((c, n, h, w), DType::F32)?;
        let values = out.elem_count();
        let arguments = [
            Argument::Tensor(&grad),
            Argument::Tensor(&out),
            Whole(values),
            Whole(h),
            Whole(w),
            Whole(size),
            Real(1.0 / (size * size) as f64),
        ];
        // SAFETY: the output holds maps of `h` by `w`, `grad` a value for each window of `size` that fits into them.
        unsafe { self.launch("average_pool_backward", Grid::Each(values), &arguments)? };
        Ok(out)
    }

    /// `pool::max_backward`.
    pub(crate) fn max_pool_backward(&self, grad: &Tensor, input: &Tensor, size: usize) -> Result<Tensor> {
        let (grad, input) = (grad.contiguous()?, input.contiguous()?);
        let (c, n, h, w) = input.dims4()?;
        if grad.dims() != [c, n, h / size, w / size] {
            return Err(refused(format!(
                "windows of {size} that make {:?} of {:?}",
                grad.dims(),
                input.dims()
            )));
        }
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
            Real(ADAM_EPSILON),
            Real(step.kept),
            Real(step.rate),
        ];
        let of_shape = |tensor: &Tensor| tensor.dims() == parameter.dims() && tensor.dtype() == DType::F32;
        let moments_fit = moments.iter().all(|(first, second)| of_shape(first) && of_shape(second));
        if !of_shape(&parameter) || !of_shape(&gradient) || !moments_fit {
            let what = format!(
                "a parameter of {:?} ({:?}) that is no F32, or meets a gradient or moments of another shape or type",
                parameter.dims(),
                parameter.dtype()
            );
            return Err(candle_core::Error::Msg(what).into());
        }
        // SAFETY: a parameter's gradient and moments have its shape and the kernel's type, checked above.
        unsafe { self.launch("adamw", Grid::Each(values), &arguments)? };
        Ok(next)
    }
}

/// A trace as one tensor, of 32-bit floats, as kernels take it that know no spikes.
pub(super) fn reals(trace: &Trace) -> Result<Tensor> {
    let block = trace.block()?;
    match block.dtype() {
        DType::F32 => Ok(block),
        other => Err(refused(format!("a trace of {other:?}"))),
    }
}

/// A trace that has `steps` time steps, or one for all of them, as one tensor without gaps, and how far its steps lie apart, in values: nowhere, where
/// one stands for all.
pub(super) fn steps_apart(trace: &Trace, steps: usize) -> Result<(Tensor, usize)> {
    let block = reals(trace)?;
    match block.dim(0)? {
        1 => Ok((block, 0)),
        found if found == steps => {
            let apart = block.elem_count() / steps;
            Ok((block, apart))
        }
        found => Err(refused(format!("{found} time steps of {steps}"))),
    }
}

/// Refuses tensors that do not hold a number for each of so many rows.
pub(super) fn a_number_each(rows: usize, numbers: &[&Tensor]) -> Result<()> {
    match numbers.iter().find(|other| other.elem_count() != rows) {
        Some(other) => Err(refused(format!("{rows} rows with {} numbers", other.elem_count()))),
        None => Ok(()),
    }
}
