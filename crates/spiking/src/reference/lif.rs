//! The neuron and its four gradient rules in tensor operations; the formulas are in the docs of [`Rule`](crate::Rule).
//!
//! Comparisons are spelled with `sign` and `relu`, which give exact 0 and 1 in the tensor's own type: candle's
//! own comparisons go through bytes and back.

use candle_core::{D, DType, Tensor};

#[cfg(feature = "cuda")]
use super::trace::SPIKES;
use super::trace::{Trace, counted};
#[cfg(feature = "cuda")]
use crate::cuda::Kernels;
use crate::{Neuron, Reset, Result};

/// What a LIF layer keeps of one shard, at each time step.
#[derive(Debug, Clone)]
pub struct LifTrace {
    /// Membrane potential `u[t]`, `[C, n, H, W]` (features: `[F, n]`) at each of T time steps; it has no unit, as the threshold has none.
    pub potential: Trace,
    /// Spikes `s[t]`, 0 or 1, of the same shape; of a shorter type than the potential on a GPU.
    pub spikes: Trace,
}

/// Runs the cells over `steps` time steps of input current, a tensor of any shape at each or one for all; what comes has its shape
/// at each of `steps`.
///
/// # Errors
/// [`SpikingError::Length`](crate::SpikingError::Length) for currents of other time steps, [`SpikingError::Range`](crate::SpikingError::Range)
/// for 0 of them, and the device's.
pub fn lif_forward(current: &Trace, steps: usize, neuron: &Neuron) -> Result<LifTrace> {
    current.check_steps("the trace of currents", steps)?;
    #[cfg(feature = "cuda")]
    if let Some(kernels) = Kernels::of(current.first()) {
        return kernels.lif_forward(current, steps, neuron);
    }
    let (mut potential, mut spikes) = (Vec::with_capacity(steps), Vec::with_capacity(steps));
    let mut rest: Option<Tensor> = None;
    for t in 0..steps {
        let u = match &rest {
            Some(v) => (v + current.at(t)?)?,
            None => current.at(t)?.clone(),
        };
        // 1 where u < threshold: strictly, so that u = threshold fires.
        let silent = u.affine(-1.0, neuron.threshold)?.sign()?.relu()?;
        spikes.push(complement(&silent)?);
        if t + 1 < steps {
            rest = Some(((&u * silent)? * neuron.decay)?);
        }
        potential.push(u);
    }
    Ok(LifTrace { potential: Trace::new(potential)?, spikes: Trace::new(spikes)? })
}

/// From the gradient of the spikes, at each time step or one for all, to that of the input current, `d[t]`, at each; all of them have the
/// potential's shape.
///
/// # Errors
/// [`SpikingError::Length`](crate::SpikingError::Length) for gradients or spikes of other time steps than the potential's, and the device's.
pub fn lif_backward(trace: &LifTrace, grads: &Trace, neuron: &Neuron) -> Result<Trace> {
    let steps = trace.potential.tensors().len();
    grads.check_steps("the trace of gradients", steps)?;
    trace.spikes.check_steps("the trace of spikes", steps)?;
    #[cfg(feature = "cuda")]
    if let Some(kernels) = Kernels::of(trace.potential.first()) {
        return kernels.lif_backward(trace, grads, neuron);
    }
    let mut currents: Vec<Tensor> = Vec::with_capacity(steps);
    for t in (0..steps).rev() {
        let (u, s) = (trace.potential.at(t)?, trace.spikes.at(t)?);
        let silent = complement(s)?;
        let spike_slope = if neuron.rule.adjusts_space() {
            // s / u, with the divisor kept from zero where nothing fired.
            s.div(&((u * s)? + &silent)?)?
        } else {
            rectangle(u, neuron)?
        };
        let mut d = (&spike_slope * grads.at(t)?)?;
        if let Some(later) = currents.last() {
            let mut leak = silent;
            if !neuron.rule.adjusts_space() && neuron.reset == Reset::Attached {
                leak = (leak - (u * &spike_slope)?)?;
            }
            if neuron.rule.adjusts_time() {
                leak = (leak + (&spike_slope * neuron.alpha)?)?;
            }
            d = (d + ((leak * later)? * neuron.decay)?)?;
        }
        currents.push(d);
    }
    currents.reverse();
    Trace::new(currents)
}

/// Spikes in a trace. Summed per time step and sample first, where a float still counts exactly.
pub(super) fn count(spikes: &Trace) -> Result<u64> {
    let sum = |counts: Tensor| -> Result<u64> {
        // Read back once: a GPU waits each time.
        let counts = counts.to_dtype(DType::F32)?.to_vec1::<f32>()?;
        Ok(counts.iter().map(|n| *n as u64).sum())
    };
    #[cfg(feature = "cuda")]
    if let (SPIKES, Some(kernels)) = (spikes.first().dtype(), Kernels::of(spikes.first())) {
        return sum(kernels.count_spikes(spikes)?);
    }
    let samples = spikes.map_block(|s| {
        let s = counted(s)?;
        // Features have no map behind the samples.
        let s = if s.rank() > 3 { s.sum((D::Minus2, D::Minus1))? } else { s };
        Ok(s.sum(D::Minus2)?)
    })?;
    sum(Tensor::cat(samples.tensors(), 0)?)
}

/// 1 - x, for x of 0 and 1.
fn complement(x: &Tensor) -> Result<Tensor> {
    Ok(x.affine(-1.0, 1.0)?)
}

/// The rectangular surrogate: 1 where |u - threshold| < half width.
fn rectangle(u: &Tensor, neuron: &Neuron) -> Result<Tensor> {
    let distance = u.affine(1.0, -neuron.threshold)?.abs()?;
    Ok(distance.affine(-1.0, neuron.surrogate_half_width)?.sign()?.relu()?)
}
