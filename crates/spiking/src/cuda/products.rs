//! Convolutions and linear layers as matrix products, of all time steps at once, by cuBLAS: spikes on tensor cores, real numbers as 32-bit floats.
//! Every output here is written whole by the product or kernel behind it.
#![allow(
    unsafe_code,
    reason = "starts kernels, with the arguments that kernels.cu names, and cuBLAS on addresses"
)]

use std::ffi::c_void;

use candle_core::cuda_backend::cudarc::cublas::{result, sys};
use candle_core::{DType, Tensor};

use super::Kernels;
use super::launch::{Argument, Grid, OUTPUTS, refused};
use super::ops::a_number_each;
use crate::Result;
use crate::reference::trace::{SPIKES, Trace, sum};
use Argument::{Nothing, Whole};
use Side::{AsItLies, Turned};

/// Bytes that the columns of a convolution may take at once, or what comes of them; a time step at least is laid out.
const LAID_OUT: usize = 256 << 20;

/// Channels of real maps, at most, whose weights' gradient is no matrix product.
const FEW_CHANNELS: usize = 4;
/// Pixels that a block sums there.
const PART: usize = 8192;

/// A factor of a product: a matrix, which stands for all time steps, or one for each.
#[derive(Clone, Copy)]
enum Side<'a> {
    AsItLies(&'a Tensor),
    Turned(&'a Tensor),
}

/// 32-bit floats as factors of a product: themselves, or, where they meet spikes, as three parts of bfloat16 whose sum they are, the smallest first.
/// Products of spikes with these are exact, and are accumulated in 32 bits.
struct Factor {
    /// `[T, parts * rows, columns]`.
    matrices: Tensor,
    parts: usize,
}

/// Where [`Kernels::sum_parts`] finds what it sums: values of a row, rows of a part, parts, and how far parts, rows and time steps lie apart.
struct Parts {
    row: usize,
    rows: usize,
    parts: usize,
    of_part: usize,
    of_row: usize,
    of_step: usize,
}

impl Parts {
    /// Of tensors of so many values, one behind another.
    const fn whole(values: usize, parts: usize) -> Self {
        Self { row: values, rows: 1, parts, of_part: values, of_row: values, of_step: 0 }
    }
}

impl Kernels {
    /// Convolution with a kernel matrix `[O, 9C]`: `[T, O, n, H, W]`.
    pub(crate) fn convolution(&self, x: &Trace, kernel: &Tensor, bias: Option<&Tensor>) -> Result<Trace> {
        let x = x.block()?;
        let (steps, _, n, h, w) = x.dims5()?;
        let (outputs, pixels) = (kernel.dim(0)?, n * h * w);
        let kernel = self.factor(&kernel.unsqueeze(0)?, x.dtype())?;
        let kernel_rows = kernel.parts * outputs;
        let out = self.output((steps, outputs, n, h, w), DType::F32)?;
        let place = Parts {
            row: pixels,
            rows: outputs,
            parts: kernel.parts,
            of_part: outputs * pixels,
            of_row: pixels,
            of_step: kernel_rows * pixels,
        };
        for (first, group) in groups(steps, &x, 4 * kernel_rows * pixels) {
            let columns = self.columns(&x.narrow(0, first, group)?)?;
            let sums = self.output((group, kernel_rows, pixels), DType::F32)?;
            // SAFETY: `sums` was made here.
            unsafe { self.product(AsItLies(&kernel.matrices), AsItLies(&columns), &sums, false)? };
            let out = out.narrow(0, first, group)?;
            // SAFETY: `out` was made here, and no other group writes to these time steps.
            unsafe { self.sum_parts(&sums, &place, bias, &out)? };
        }
        Trace::of_block(out)
    }

    /// The gradient of a kernel matrix, `[O, 9C]`, summed over time.
    pub(crate) fn convolution_weights(&self, input: &Trace, grads: &Trace) -> Result<Tensor> {
        let (x, grads) = (input.block()?, self.at_steps_of(input, grads)?);
        let (steps, channels, n, h, w) = x.dims5()?;
        let (outputs, pixels) = (grads.dim(1)?, n * h * w);
        let grads = grads.reshape((steps, outputs, pixels))?;
        if x.dtype() != SPIKES && channels <= FEW_CHANNELS {
            return self.weights_of_few_channels(&x, &grads);
        }
        let mut sums = Vec::new();
        for (first, group) in groups(steps, &x, 3 * 4 * outputs * 9 * channels) {
            let columns = self.columns(&x.narrow(0, first, group)?)?;
            let grads = self.factor(&grads.narrow(0, first, group)?, x.dtype())?;
            let each = self.output((group, grads.parts * outputs, 9 * channels), DType::F32)?;
            // SAFETY: `each` was made here.
            unsafe { self.product(AsItLies(&grads.matrices), Turned(&columns), &each, false)? };
            let sum = self.output((outputs, 9 * channels), DType::F32)?;
            let place = Parts::whole(outputs * 9 * channels, group * grads.parts);
            // SAFETY: `sum` was made here.
            unsafe { self.sum_parts(&each, &place, None, &sum)? };
            sums.push(sum);
        }
        sum(sums.into_iter().map(Ok))
    }

    /// [`Self::convolution_weights`] of maps `[T, C, n, H, W]` of few channels, from gradients `[T, O, n*H*W]`.
    fn weights_of_few_channels(&self, x: &Tensor, grads: &Tensor) -> Result<Tensor> {
        let (steps, channels, n, h, w) = x.dims5()?;
        let (outputs, pixels) = (grads.dim(1)?, n * h * w);
        let parts = pixels.div_ceil(PART);
        let sums = self.output((steps * parts, outputs, 9 * channels), DType::F32)?;
        let arguments = [
            Argument::Tensor(x),
            Argument::Tensor(grads),
            Argument::Tensor(&sums),
            Whole(channels),
            Whole(outputs),
            Whole(pixels),
            Whole(h),
            Whole(w),
            Whole(PART),
        ];
        let grid = Grid::Sums([outputs.div_ceil(OUTPUTS), parts, steps]);
        // SAFETY: maps and gradients hold `pixels` a channel at each time step, and the sums a kernel matrix for each part of them.
        unsafe { self.launch("few_channels", grid, &arguments)? };
        self.sum_over_steps(&sums)
    }

    /// `W x + b`: `[T, F, n]`.
    pub(crate) fn linear(&self, x: &Trace, weight: &Tensor, bias: &Tensor) -> Result<Trace> {
        let x = x.block()?;
        let (steps, _, samples) = x.dims3()?;
        let features = weight.dim(0)?;
        let weight = self.factor(&weight.unsqueeze(0)?, x.dtype())?;
        let sums = self.output((weight.parts * features, steps * samples), DType::F32)?;
        let x = side_by_side(&x)?;
        // SAFETY: `sums` was made here.
        unsafe { self.product(AsItLies(&weight.matrices), AsItLies(&x), &sums, false)? };
        self.apart(&sums, steps, weight.parts, Some(bias))
    }

    /// From the gradients of what a linear layer gives to those of what entered it: `[T, F, n]`.
    pub(crate) fn linear_back(&self, grads: &Trace, weight: &Tensor) -> Result<Trace> {
        let (grads, weight) = (grads.block()?, weight.contiguous()?);
        let (steps, _, samples) = grads.dims3()?;
        let sums = self.output((weight.dim(1)?, steps * samples), DType::F32)?;
        // SAFETY: `sums` was made here.
        unsafe { self.product(Turned(&weight), AsItLies(&side_by_side(&grads)?), &sums, false)? };
        self.apart(&sums, steps, 1, None)
    }

    /// The gradient of a linear layer's weights, summed over time: time steps side by side, since weights can be larger than what meets them.
    pub(crate) fn linear_weights(&self, input: &Trace, grads: &Trace) -> Result<Tensor> {
        let (x, grads) = (side_by_side(&input.block()?)?, side_by_side(&self.at_steps_of(input, grads)?)?);
        let (features, inputs) = (grads.dim(0)?, x.dim(0)?);
        let grads = self.factor(&grads.unsqueeze(0)?, x.dtype())?;
        let out = self.output((features, inputs), DType::F32)?;
        for part in 0..grads.parts {
            let grads = grads.matrices.narrow(1, part * features, features)?;
            // SAFETY: `out` was made here.
            unsafe { self.product(AsItLies(&grads), Turned(&x), &out, part > 0)? };
        }
        Ok(out)
    }

    /// The sum of a block over its time steps, in their order.
    pub(crate) fn sum_over_steps(&self, block: &Tensor) -> Result<Tensor> {
        let (steps, block) = (block.dim(0)?, block.contiguous()?);
        let out = self.output(&block.dims()[1..], DType::F32)?;
        // SAFETY: `out` was made here.
        unsafe { self.sum_parts(&block, &Parts::whole(out.elem_count(), steps), None, &out)? };
        Ok(out)
    }

    /// Gradients as a block of as many time steps as the input has tensors: one that stands for all meets their sum.
    fn at_steps_of(&self, input: &Trace, grads: &Trace) -> Result<Tensor> {
        match (input.tensors().len(), grads.tensors().len()) {
            (1, steps) if steps > 1 => Ok(self.sum_over_steps(&grads.block()?)?.unsqueeze(0)?),
            _ => grads.block(),
        }
    }

    /// `[T, 9C, n*H*W]` for maps `[T, C, n, H, W]`: `conv::columns` of each time step, in the type of `x`.
    pub(crate) fn columns(&self, x: &Tensor) -> Result<Tensor> {
        let (steps, c, n, h, w) = x.dims5()?;
        let (values, pixels) = (x.elem_count(), n * h * w);
        let out = self.output((steps, 9 * c, pixels), x.dtype())?;
        let arguments = [
            Argument::Tensor(x),
            Argument::Tensor(&out),
            Whole(values),
            Whole(c * pixels),
            Whole(h),
            Whole(w),
        ];
        let kernel = if x.dtype() == SPIKES { "spike_columns" } else { "columns" };
        // SAFETY: `x` holds `values`, and the output nine times as many, both of the kernel's type.
        unsafe { self.launch(kernel, Grid::Each(values), &arguments)? };
        Ok(out)
    }

    /// Matrices `[T, rows, columns]` as factors that meet tensors of a type.
    fn factor(&self, matrices: &Tensor, meets: DType) -> Result<Factor> {
        let matrices = matrices.contiguous()?;
        if meets != SPIKES {
            return Ok(Factor { matrices, parts: 1 });
        }
        Ok(Factor { matrices: self.split(&matrices)?, parts: 3 })
    }

    /// `[T, 3 * rows, columns]` of bfloat16 for `[T, rows, columns]`: three parts whose sum is the matrix, the smallest first.
    pub(crate) fn split(&self, matrices: &Tensor) -> Result<Tensor> {
        let (steps, rows, columns) = matrices.dims3()?;
        let values = matrices.elem_count();
        let out = self.output((steps, 3 * rows, columns), SPIKES)?;
        let arguments =
            [Argument::Tensor(matrices), Argument::Tensor(&out), Whole(values), Whole(rows * columns)];
        // SAFETY: the matrices hold `values`, and the output three times as many.
        unsafe { self.launch("split", Grid::Each(values), &arguments)? };
        Ok(out)
    }

    /// Sums of parts of features, `[parts * F, T * n]`, time steps side by side, as `[T, F, n]`.
    fn apart(&self, sums: &Tensor, steps: usize, parts: usize, bias: Option<&Tensor>) -> Result<Trace> {
        let (rows, row) = sums.dims2()?;
        let (features, samples) = (rows / parts, row / steps);
        let place = Parts {
            row: samples,
            rows: features,
            parts,
            of_part: features * row,
            of_row: row,
            of_step: samples,
        };
        let out = self.output((steps, features, samples), DType::F32)?;
        // SAFETY: `out` was made here.
        unsafe { self.sum_parts(sums, &place, bias, &out)? };
        Trace::of_block(out)
    }

    /// Sums parts of `x`, and adds to each row its own number, into `out`.
    ///
    /// # Safety
    /// `x` holds what the place says, at as many time steps as fill `out`, and nothing else holds or writes these values of `out`.
    unsafe fn sum_parts(&self, x: &Tensor, place: &Parts, add: Option<&Tensor>, out: &Tensor) -> Result<()> {
        let add = add.map(Tensor::contiguous).transpose()?;
        a_number_each(place.rows, &add.iter().collect::<Vec<_>>())?;
        let values = out.elem_count();
        let arguments = [
            Argument::Tensor(x),
            add.as_ref().map_or(Nothing, Argument::Tensor),
            Argument::Tensor(out),
            Whole(values),
            Whole(place.row),
            Whole(place.rows),
            Whole(place.parts),
            Whole(place.of_part),
            Whole(place.of_row),
            Whole(place.of_step),
        ];
        // SAFETY: the caller's word, and the check above.
        unsafe { self.launch("sum_parts", Grid::Each(values), &arguments) }
    }

    /// `out = a b` at each time step, plus what is there if `add`. Both factors are of one type: 32-bit floats, or bfloat16, whose products are
    /// exact and are accumulated in 32 bits.
    ///
    /// # Safety
    /// Nothing else holds `out`.
    ///
    /// # Errors
    /// The driver's, and an error where sizes or types do not meet.
    unsafe fn product(&self, a: Side<'_>, b: Side<'_>, out: &Tensor, add: bool) -> Result<()> {
        let of_out = matrices(out)?;
        let (of_a, of_b) = (a.matrices()?, b.matrices()?);
        let [rows, inner] = a.turn([of_a.rows, of_a.columns]);
        let [b_inner, columns] = b.turn([of_b.rows, of_b.columns]);
        let of_steps = |factor: &Matrices| factor.steps == 1 || factor.steps == of_out.steps;
        let value = match (a.tensor().dtype(), b.tensor().dtype(), out.dtype()) {
            (DType::F32, DType::F32, DType::F32) => sys::cudaDataType::CUDA_R_32F,
            (SPIKES, SPIKES, DType::F32) => sys::cudaDataType::CUDA_R_16BF,
            types => return Err(refused(format!("the product of {types:?}"))),
        };
        if b_inner != inner
            || (of_out.rows, of_out.columns) != (rows, columns)
            || !of_steps(&of_a)
            || !of_steps(&of_b)
        {
            let shapes = [a.tensor(), b.tensor(), out].map(Tensor::shape);
            return Err(refused(format!("a product of these shapes: {shapes:?}")));
        }
        let number = |size: usize| i32::try_from(size).map_err(|_| refused(format!("{size} rows")));
        let stride = |factor: &Matrices| match factor.steps {
            1 => 0,
            _ => (factor.rows * factor.columns) as i64,
        };
        let [a_at, b_at, out_at] = [self.address(a.tensor())?, self.address(b.tensor())?, self.address(out)?];
        let (one, before) = (1f32, f32::from(u8::from(add)));
        let blas = self.device.cublas_handle();
        self.device.cuda_stream().context().bind_to_thread().map_err(candle_core::Error::wrap)?;
        // SAFETY: all three are tensors without gaps of the sizes and types given, checked above, and `out` is by the caller's word
        // nobody else's. cuBLAS counts columns first: it is given b^T and a^T, and writes out^T.
        unsafe {
            result::gemm_strided_batched_ex(
                *blas.handle(),
                b.operation(),
                a.operation(),
                number(columns)?,
                number(rows)?,
                number(inner)?,
                (&raw const one).cast(),
                b_at as *const c_void,
                value,
                number(of_b.columns)?,
                stride(&of_b),
                a_at as *const c_void,
                value,
                number(of_a.columns)?,
                stride(&of_a),
                (&raw const before).cast(),
                out_at as *mut c_void,
                sys::cudaDataType::CUDA_R_32F,
                number(columns)?,
                stride(&of_out),
                number(of_out.steps)?,
                sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                sys::cublasGemmAlgo_t::CUBLAS_GEMM_DFALT,
            )
        }
        .map_err(candle_core::Error::wrap)?;
        Ok(())
    }
}

/// The sizes of a tensor of one matrix or more.
struct Matrices {
    steps: usize,
    rows: usize,
    columns: usize,
}

fn matrices(tensor: &Tensor) -> Result<Matrices> {
    let (steps, rows, columns) = match *tensor.dims() {
        [rows, columns] => (1, rows, columns),
        _ => tensor.dims3()?,
    };
    Ok(Matrices { steps, rows, columns })
}

impl Side<'_> {
    fn tensor(&self) -> &Tensor {
        let (AsItLies(tensor) | Turned(tensor)) = self;
        tensor
    }

    fn matrices(&self) -> Result<Matrices> {
        matrices(self.tensor())
    }

    fn turn(&self, [rows, columns]: [usize; 2]) -> [usize; 2] {
        match self {
            AsItLies(_) => [rows, columns],
            Turned(_) => [columns, rows],
        }
    }

    fn operation(&self) -> sys::cublasOperation_t {
        match self {
            AsItLies(_) => sys::cublasOperation_t::CUBLAS_OP_N,
            Turned(_) => sys::cublasOperation_t::CUBLAS_OP_T,
        }
    }
}

/// Time steps in groups, so that the columns of maps `[T, C, n, H, W]`, or `beside` bytes a time step, are no more than [`LAID_OUT`]: the first of each
/// group, and how many there are.
fn groups(steps: usize, x: &Tensor, beside: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
    let columns = 9 * x.dtype().size_in_bytes() * x.elem_count() / steps;
    let group = (LAID_OUT / columns.max(beside)).clamp(1, steps);
    (0..steps).step_by(group).map(move |first| (first, group.min(steps - first)))
}

/// `[F, T * n]` for features `[T, F, n]`.
fn side_by_side(x: &Tensor) -> Result<Tensor> {
    let (steps, features, samples) = x.dims3()?;
    Ok(x.transpose(0, 1)?.contiguous()?.reshape((features, steps * samples))?)
}
