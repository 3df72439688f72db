//! Layers of features: flattening, linear, rectifier, neuron dropout, voting.

use candle_core::{DType, Tensor};
use rayon::prelude::*;

use super::trace::{SPIKES, Shards, Trace, counted, sum};
use crate::Result;
#[cfg(feature = "cuda")]
use crate::cuda::Kernels;
use crate::random::dropout_factor;

/// `[C, n, H, W]` to `[C*H*W, n]`.
pub(super) fn flatten(x: &Tensor) -> Result<Tensor> {
    let (c, n, h, w) = x.dims4()?;
    Ok(x.permute((0, 2, 3, 1))?.reshape((c * h * w, n))?)
}

/// The inverse of [`flatten`].
pub(super) fn unflatten(x: &Tensor, [h, w]: [usize; 2]) -> Result<Tensor> {
    let (_, n) = x.dims2()?;
    Ok(x.reshape(((), h, w, n))?.permute((0, 3, 1, 2))?.contiguous()?)
}

/// `W x + b` for features `[F, n]`.
pub(super) fn linear(shards: &Shards, weight: &Tensor, bias: &Tensor) -> Result<Shards> {
    #[cfg(feature = "cuda")]
    if let Some((kernels, trace)) = Kernels::of_batch(shards) {
        return Ok(vec![kernels.linear(trace, weight, bias)?]);
    }
    let bias = bias.unsqueeze(1)?;
    let of_step = |x: &Tensor| Ok(weight.matmul(x)?.broadcast_add(&bias)?);
    shards.par_iter().map(|trace| trace.map(of_step)).collect()
}

/// Gradient of the input.
pub(super) fn linear_backward_input(grads: &Shards, weight: &Tensor) -> Result<Shards> {
    #[cfg(feature = "cuda")]
    if let Some((kernels, trace)) = Kernels::of_batch(grads) {
        return Ok(vec![kernels.linear_back(trace, weight)?]);
    }
    let transposed = weight.t()?.contiguous()?;
    grads.par_iter().map(|trace| trace.map(|grad| Ok(transposed.matmul(grad)?))).collect()
}

/// Gradients of weight and bias, summed over time and then over shards.
pub(super) fn linear_backward_parameters(input: &Shards, grads: &Shards) -> Result<(Tensor, Tensor)> {
    #[cfg(feature = "cuda")]
    if let (Some((kernels, grads)), [input]) = (Kernels::of_batch(grads), input.as_slice()) {
        return Ok((kernels.linear_weights(input, grads)?, kernels.row_sums(grads)?));
    }
    let shard = |(input, grads): (&Trace, &Trace)| -> Result<(Tensor, Tensor)> {
        let steps = grads.tensors();
        let weights = steps.iter().enumerate().map(|(t, grad)| Ok(grad.matmul(&input.at(t)?.t()?)?));
        Ok((sum(weights)?, sum(steps.iter().map(|grad| Ok(grad.sum(1)?)))?))
    };
    let shards: Vec<(Tensor, Tensor)> = input.par_iter().zip(grads).map(shard).collect::<Result<_>>()?;
    let weight = sum(shards.iter().map(|(weight, _)| Ok(weight.clone())))?;
    Ok((weight, sum(shards.iter().map(|(_, bias)| Ok(bias.clone())))?))
}

/// A mask for each shard: 0 with the given probability, else 1 / (1 - p). Drawn sample by sample, feature by feature,
/// so that the draw of a sample does not depend on how the batch is cut.
pub(super) fn dropout_masks(
    shards: &Shards,
    probability: f64,
    mut unit: impl FnMut() -> f32,
) -> Result<Vec<Tensor>> {
    let mut mask_of = |trace: &Trace| -> Result<Tensor> {
        let like = trace.first();
        let (samples, features) = (like.dim(1)?, like.elem_count() / like.dim(1)?);
        let values: Vec<f32> = (0..samples * features).map(|_| dropout_factor(unit(), probability)).collect();
        let mut shape = like.dims().to_vec();
        shape.swap(0, 1);
        let by_sample = Tensor::from_vec(values, shape, like.device())?;
        let dtype = if like.dtype() == SPIKES { DType::F32 } else { like.dtype() };
        Ok(by_sample.transpose(0, 1)?.contiguous()?.to_dtype(dtype)?)
    };
    shards.iter().map(&mut mask_of).collect()
}

/// Each shard times its mask.
pub(super) fn mask(shards: &Shards, masks: &[Tensor]) -> Result<Shards> {
    let masked = |(trace, mask): (&Trace, &Tensor)| trace.map_block(|x| Ok(counted(x)?.broadcast_mul(mask)?));
    shards.par_iter().zip(masks).map(masked).collect()
}

/// Means over groups of `voters` consecutive features: `[F, n]` to `[F / voters, n]`.
pub(super) fn vote(x: &Tensor, voters: usize) -> Result<Tensor> {
    let (features, n) = x.dims2()?;
    Ok((counted(x)?.reshape((features / voters, voters, n))?.sum(1)? / voters as f64)?)
}

/// The gradient where a rectifier let its input through.
pub(super) fn relu_backward(grad: &Tensor, output: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let Some(kernels) = Kernels::of(output) {
        return kernels.relu_backward(grad, output);
    }
    Ok((grad * output.sign()?)?)
}

/// Each voter's share of its class's gradient.
pub(super) fn vote_backward(grad: &Tensor, voters: usize) -> Result<Tensor> {
    let (classes, n) = grad.dims2()?;
    let share = (grad / voters as f64)?.unsqueeze(1)?;
    Ok(share.broadcast_as((classes, voters, n))?.reshape((classes * voters, n))?)
}
