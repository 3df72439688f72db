//! Pooling as PyTorch does it.
//!
//! Spikes are 0 and 1, so ties are the rule: the whole gradient goes to the first maximum of a window in
//! row-major order. candle's own backward shares it out wrongly, so only its forward is used.

use candle_core::Tensor;

#[cfg(feature = "cuda")]
use super::trace::SPIKES;
use super::trace::counted;
use crate::Result;
#[cfg(feature = "cuda")]
use crate::cuda::Kernels;

/// Maximum of each window; rows and columns that fill no window are left out.
pub(super) fn max(x: &Tensor, size: usize) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let (SPIKES, Some(kernels)) = (x.dtype(), Kernels::of(x)) {
        return kernels.spike_max_pool(x, size);
    }
    Ok(x.max_pool2d(size)?)
}

/// Mean of each window; rows and columns that fill no window are left out. `exact`: spikes of a shorter type stay so.
pub(super) fn average(x: &Tensor, size: usize, exact: bool) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let (SPIKES, true, Some(kernels)) = (x.dtype(), exact, Kernels::of(x)) {
        return kernels.spike_average_pool(x, size);
    }
    let x = if exact { x } else { &counted(x)? };
    Ok(x.avg_pool2d(size)?)
}

/// Gives each window's gradient to its first maximum.
pub(super) fn max_backward(grad: &Tensor, input: &Tensor, output: &Tensor, size: usize) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let Some(kernels) = Kernels::of(input) {
        return kernels.max_pool_backward(grad, input, size);
    }
    let covered = covered(input, size)?;
    // Each maximum scores by its place, the first of a window highest: the best score is its alone.
    let score = equal(&covered, &spread(output, size)?)?.broadcast_mul(&places(&covered, size)?)?;
    let first = equal(&score, &spread(&score.max_pool2d(size)?, size)?)?;
    uncover(&(first * spread(grad, size)?)?, input)
}

/// Shares each window's gradient out evenly.
pub(super) fn average_backward(grad: &Tensor, input: &Tensor, size: usize) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let Some(kernels) = Kernels::of(grad) {
        let (_, _, h, w) = input.dims4()?;
        return kernels.average_pool_backward(grad, [h, w], size);
    }
    uncover(&spread(&(grad / (size * size) as f64)?, size)?, input)
}

/// The part of a map that windows cover.
fn covered(x: &Tensor, size: usize) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    Ok(x.narrow(2, 0, h / size * size)?.narrow(3, 0, w / size * size)?.contiguous()?)
}

/// Back to the whole map; what no window covered gets 0.
fn uncover(x: &Tensor, like: &Tensor) -> Result<Tensor> {
    let (_, _, h, w) = like.dims4()?;
    let (_, _, rows, columns) = x.dims4()?;
    Ok(x.pad_with_zeros(2, 0, h - rows)?.pad_with_zeros(3, 0, w - columns)?)
}

/// Each window's value at all of its places.
fn spread(x: &Tensor, size: usize) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    Ok(x.upsample_nearest2d(h * size, w * size)?)
}

/// 1 where `x` meets `upper`, which it never passes, and 0 elsewhere.
fn equal(x: &Tensor, upper: &Tensor) -> Result<Tensor> {
    Ok((x - upper)?.sign()?.affine(1.0, 1.0)?)
}

/// `size * size` at the first place of each window, row by row down to 1 at the last: `[1, 1, H, W]`.
fn places(like: &Tensor, size: usize) -> Result<Tensor> {
    let (_, _, h, w) = like.dims4()?;
    let place = |i: usize| (size * size - (i / w % size * size + i % w % size)) as f32;
    let places: Vec<f32> = (0..h * w).map(place).collect();
    Ok(Tensor::from_vec(places, (1, 1, h, w), like.device())?.to_dtype(like.dtype())?)
}
