//! 3x3 convolution with padding 1 as one matrix product over shifted copies of the map.

use candle_core::Tensor;
use rayon::prelude::*;

use super::trace::{Shards, Trace, sum};
use crate::Result;
#[cfg(feature = "cuda")]
use crate::cuda::Kernels;

/// `[9C, n*H*W]`: for each of the nine kernel positions, row by row, the zero-padded map seen from there.
pub(super) fn columns(x: &Tensor) -> Result<Tensor> {
    let (c, n, h, w) = x.dims4()?;
    let padded = x.pad_with_zeros(3, 1, 1)?.pad_with_zeros(2, 1, 1)?;
    let views: Vec<Tensor> = (0..9)
        .map(|place| padded.narrow(2, place / 3, h)?.narrow(3, place % 3, w))
        .collect::<candle_core::Result<_>>()?;
    Ok(Tensor::cat(&views, 0)?.reshape((9 * c, n * h * w))?)
}

/// Weights `[O, C, 3, 3]` as the `[O, 9C]` matrix that meets [`columns`].
fn forward_kernel(weight: &Tensor) -> Result<Tensor> {
    let (o, c, _, _) = weight.dims4()?;
    Ok(weight.permute((0, 2, 3, 1))?.reshape((o, 9 * c))?)
}

/// Weights `[O, C, 3, 3]` as the `[C, 9O]` matrix that takes the output's gradient back to the input.
fn backward_kernel(weight: &Tensor) -> Result<Tensor> {
    let (o, c, _, _) = weight.dims4()?;
    Ok(weight.flip(&[2, 3])?.permute((1, 2, 3, 0))?.reshape((c, 9 * o))?)
}

/// Convolution of `[C, n, H, W]` with a kernel matrix: `[O, n, H, W]`.
fn columns_times(x: &Tensor, kernel: &Tensor) -> Result<Tensor> {
    let (_, n, h, w) = x.dims4()?;
    Ok(kernel.matmul(&columns(x)?)?.reshape(((), n, h, w))?)
}

/// Convolution with bias.
pub(super) fn forward(shards: &Shards, weight: &Tensor, bias: &Tensor) -> Result<Shards> {
    let kernel = forward_kernel(weight)?;
    #[cfg(feature = "cuda")]
    if let Some((kernels, trace)) = Kernels::of_batch(shards) {
        return Ok(vec![kernels.convolution(trace, &kernel, Some(bias))?]);
    }
    let bias = bias.reshape(((), 1, 1, 1))?;
    let of_map = |x: &Tensor| Ok(columns_times(x, &kernel)?.broadcast_add(&bias)?);
    shards.par_iter().map(|trace| trace.map(of_map)).collect()
}

/// Gradient of the input.
pub(super) fn backward_input(grads: &Shards, weight: &Tensor) -> Result<Shards> {
    let kernel = backward_kernel(weight)?;
    #[cfg(feature = "cuda")]
    if let Some((kernels, trace)) = Kernels::of_batch(grads) {
        return Ok(vec![kernels.convolution(trace, &kernel, None)?]);
    }
    grads.par_iter().map(|trace| trace.map(|grad| columns_times(grad, &kernel))).collect()
}

/// Gradients of weight and bias, summed over time and then over shards.
///
/// Where the input is the same at every time step, its columns are laid out once for the summed gradient.
pub(super) fn backward_parameters(
    input: &Shards,
    grads: &Shards,
    weight: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let (o, c, _, _) = weight.dims4()?;
    let as_weight = |sum: Tensor| sum.reshape((o, 3, 3, c))?.permute((0, 3, 1, 2))?.contiguous();
    #[cfg(feature = "cuda")]
    if let (Some((kernels, grads)), [input]) = (Kernels::of_batch(grads), input.as_slice()) {
        return Ok((as_weight(kernels.convolution_weights(input, grads)?)?, kernels.row_sums(grads)?));
    }
    let shard = |(input, grads): (&Trace, &Trace)| -> Result<(Tensor, Tensor)> {
        let grads = match input.tensors().len() {
            1 => vec![sum(grads.tensors().iter().map(|grad| Ok(grad.clone())))?],
            _ => grads.tensors().to_vec(),
        };
        let grads: Vec<Tensor> =
            grads.iter().map(|grad| grad.flatten_from(1)).collect::<candle_core::Result<_>>()?;
        let weights = grads.iter().zip(input.tensors()).map(|(grad, x)| Ok(grad.matmul(&columns(x)?.t()?)?));
        Ok((sum(weights)?, sum(grads.iter().map(|grad| Ok(grad.sum(1)?)))?))
    };
    let shards: Vec<(Tensor, Tensor)> = input.par_iter().zip(grads).map(shard).collect::<Result<_>>()?;
    let weight = sum(shards.iter().map(|(weight, _)| Ok(weight.clone())))?;
    let bias = sum(shards.iter().map(|(_, bias)| Ok(bias.clone())))?;
    Ok((as_weight(weight)?, bias))
}
