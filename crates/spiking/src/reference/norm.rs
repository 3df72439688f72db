//! Batch normalisation per time step, over batch and map (Ioffe and Szegedy 2015, as PyTorch computes it).

use candle_core::Tensor;
use rayon::prelude::*;

use super::trace::{Shards, Trace, sum};
use crate::Result;
#[cfg(feature = "cuda")]
use crate::cuda::Kernels;

pub(crate) const BN_EPSILON: f64 = 1e-5;
pub(crate) const MOMENTUM: f64 = 0.1;

/// Statistics over the batch, a `[C]` tensor per time step (one for all where the input is constant).
pub(crate) struct Statistics {
    pub(crate) mean: Trace,
    /// Variance over n - 1, which enters the running average.
    pub(crate) unbiased: Trace,
    /// Variance over n, which normalises.
    pub(crate) biased: Trace,
    /// Values per channel that they were taken over.
    pub(crate) count: f64,
}

/// What the backward pass needs.
pub(crate) struct SavedNorm {
    pub(crate) normalised: Shards,
    /// `[C, 1, 1, 1]` each.
    pub(crate) inverse_deviation: Trace,
    pub(crate) count: f64,
}

/// Mean and variance of each channel at each time step.
///
/// Each shard gives its own mean and sum of squared distances, which are then joined (Chan, Golub and LeVeque 1983):
/// no large sums of squares are subtracted from each other. Means are sums of distances from a value of the channel, so that of a
/// channel that is the same everywhere nothing is left but 0: a rounded rest would be magnified by 1 / sqrt([`BN_EPSILON`]), and its sign
/// would open or close the ReLU behind.
pub(super) fn batch_statistics(shards: &Shards) -> Result<Statistics> {
    #[cfg(feature = "cuda")]
    if let Some((kernels, trace)) = Kernels::of_batch(shards) {
        return kernels.batch_statistics(trace);
    }
    let of_shard = |trace: &Trace| -> Result<Vec<(Tensor, Tensor, f64)>> {
        let moments = trace.tensors().iter().map(|x| {
            let rows = x.flatten_from(1)?;
            let count = rows.dim(1)? as f64;
            let first = rows.narrow(1, 0, 1)?;
            let mean = (&first + (rows.broadcast_sub(&first)?.sum_keepdim(1)? / count)?)?;
            let squares = rows.broadcast_sub(&mean)?.sqr()?.sum(1)?;
            Ok((mean.squeeze(1)?, squares, count))
        });
        moments.collect()
    };
    let moments: Vec<Vec<(Tensor, Tensor, f64)>> = shards.par_iter().map(of_shard).collect::<Result<_>>()?;
    let count: f64 = moments.iter().map(|shard| shard[0].2).sum();
    let (mut means, mut unbiased, mut biased) = (Vec::new(), Vec::new(), Vec::new());
    for t in 0..moments[0].len() {
        let at_t = || moments.iter().map(|shard| &shard[t]);
        let first = &moments[0][t].0;
        let distances = sum(at_t().map(|(mean, _, count)| Ok(((mean - first)? * *count)?)))?;
        let mean = (first + (distances / count)?)?;
        let squares = sum(at_t()
            .map(|(shard_mean, squares, count)| Ok((squares + ((shard_mean - &mean)?.sqr()? * *count)?)?)))?;
        biased.push((&squares / count)?);
        unbiased.push((squares / (count - 1.0).max(1.0))?);
        means.push(mean);
    }
    let [mean, unbiased, biased] = [means, unbiased, biased].map(Trace::new);
    Ok(Statistics { mean: mean?, unbiased: unbiased?, biased: biased?, count })
}

/// The running average after `steps` batches, one a time step (or one for all): as the official code's batch norm of each step does.
pub(super) fn running_update(running: &Tensor, batch: &Trace, steps: usize) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let Some(kernels) = Kernels::of(running) {
        return kernels.running_update(running, batch, steps);
    }
    (0..steps).try_fold(running.clone(), |running, t| {
        Ok(((running * (1.0 - MOMENTUM))? + (batch.at(t)? * MOMENTUM)?)?)
    })
}

/// Normalises with the batch's own statistics.
pub(super) fn forward(
    shards: &Shards,
    statistics: Statistics,
    weight: &Tensor,
    bias: &Tensor,
) -> Result<(Shards, SavedNorm)> {
    #[cfg(feature = "cuda")]
    if let Some((kernels, trace)) = Kernels::of_batch(shards) {
        let (out, saved) = kernels.norm_forward(trace, &statistics, weight, bias)?;
        return Ok((vec![out], saved));
    }
    let inverse_deviation = statistics.biased.map(inverse_deviation)?;
    let means = statistics.mean.map(per_channel)?;
    let of_shard = |trace: &Trace| -> Result<(Trace, Trace)> {
        let (mut out, mut normalised) = (Vec::new(), Vec::new());
        for (t, x) in trace.tensors().iter().enumerate() {
            let hat = x.broadcast_sub(means.at(t)?)?.broadcast_mul(inverse_deviation.at(t)?)?;
            out.push(rescaled(&hat, weight, bias)?);
            normalised.push(hat);
        }
        Ok((Trace::new(out)?, Trace::new(normalised)?))
    };
    let both: Vec<(Trace, Trace)> = shards.par_iter().map(of_shard).collect::<Result<_>>()?;
    let (out, normalised) = both.into_iter().unzip();
    Ok((out, SavedNorm { normalised, inverse_deviation, count: statistics.count }))
}

/// What comes out of the norm: normalised values times weight plus bias.
pub(super) fn rescaled(normalised: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    Ok(normalised.broadcast_mul(&per_channel(weight)?)?.broadcast_add(&per_channel(bias)?)?)
}

/// Normalises with running statistics.
pub(super) fn apply_running(
    shards: &Shards,
    mean: &Tensor,
    var: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
) -> Result<Shards> {
    #[cfg(feature = "cuda")]
    if let Some((kernels, trace)) = Kernels::of_batch(shards) {
        return Ok(vec![kernels.norm_running(trace, mean, var, weight, bias)?]);
    }
    let scale = (per_channel(weight)? * inverse_deviation(var)?)?;
    let (mean, bias) = (per_channel(mean)?, per_channel(bias)?);
    let apply = |x: &Tensor| Ok(x.broadcast_sub(&mean)?.broadcast_mul(&scale)?.broadcast_add(&bias)?);
    shards.par_iter().map(|trace| trace.map(apply)).collect()
}

/// Gradients of the input, of weight and of bias.
pub(super) fn backward(
    grads: &Shards,
    saved: &SavedNorm,
    weight: &Tensor,
) -> Result<(Shards, Tensor, Tensor)> {
    #[cfg(feature = "cuda")]
    if let Some((kernels, trace)) = Kernels::of_batch(grads) {
        let (next, weight, bias) = kernels.norm_backward(trace, saved, weight)?;
        return Ok((vec![next], weight, bias));
    }
    let steps = grads[0].tensors().len();
    let sums_of_shard = |(grads, hats): (&Trace, &Trace)| -> Result<Vec<(Tensor, Tensor)>> {
        let steps = grads.tensors().iter().enumerate();
        let sums = steps.map(|(t, grad)| {
            let products = (grad * hats.at(t)?)?;
            Ok((grad.flatten_from(1)?.sum(1)?, products.flatten_from(1)?.sum(1)?))
        });
        sums.collect()
    };
    let sums: Vec<Vec<(Tensor, Tensor)>> =
        grads.par_iter().zip(&saved.normalised).map(sums_of_shard).collect::<Result<_>>()?;
    let at_step = |t: usize| -> Result<(Tensor, Tensor)> {
        Ok((
            sum(sums.iter().map(|shard| Ok(shard[t].0.clone())))?,
            sum(sums.iter().map(|shard| Ok(shard[t].1.clone())))?,
        ))
    };
    let totals: Vec<(Tensor, Tensor)> = (0..steps).map(at_step).collect::<Result<_>>()?;

    // dx = scale * (g - sum(g) / n - hat * sum(g * hat) / n), written as scale * g + slope * hat + shift.
    let weight = per_channel(weight)?;
    let mut terms = Vec::with_capacity(steps);
    for (t, (total, total_hat)) in totals.iter().enumerate() {
        let scale = (&weight * saved.inverse_deviation.at(t)?)?;
        let share = (&scale * (-1.0 / saved.count))?;
        terms.push((scale, (&share * per_channel(total_hat)?)?, (&share * per_channel(total)?)?));
    }
    let of_shard = |(grads, hats): (&Trace, &Trace)| -> Result<Trace> {
        let steps = grads.tensors().iter().zip(&terms).enumerate();
        let next = steps.map(|(t, (grad, (scale, slope, shift)))| {
            let of_hat = hats.at(t)?.broadcast_mul(slope)?.broadcast_add(shift)?;
            Ok((grad.broadcast_mul(scale)? + of_hat)?)
        });
        Trace::new(next.collect::<Result<_>>()?)
    };
    let next = grads.par_iter().zip(&saved.normalised).map(of_shard).collect::<Result<_>>()?;
    let bias = sum(totals.iter().map(|(total, _)| Ok(total.clone())))?;
    let weight = sum(totals.iter().map(|(_, total_hat)| Ok(total_hat.clone())))?;
    Ok((next, weight, bias))
}

fn inverse_deviation(variance: &Tensor) -> Result<Tensor> {
    per_channel(&(variance + BN_EPSILON)?.sqrt()?.recip()?)
}

/// `[C]` as `[C, 1, 1, 1]`, to meet `[C, n, H, W]`.
fn per_channel(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.reshape(((), 1, 1, 1))?)
}
