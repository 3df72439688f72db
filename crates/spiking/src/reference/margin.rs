//! How near a forward pass came to a place where its spikes or its gradient jump.

use candle_core::{DType, Tensor};

use super::pass::{Pass, Saved};
use super::trace::Trace;
use super::{Reference, norm};
use crate::{Layer, Result};

impl Reference {
    /// The smallest distance of a ReLU's input from 0, or of a membrane potential from the threshold or from an edge of the rectangular
    /// surrogate, where the rule has one. A potential of exactly 0 does not count: it is what a shut ReLU passes on.
    ///
    /// Computations that differ by less, such as two orders of summation, fire the same spikes, and their gradients differ by
    /// rounding alone.
    ///
    /// # Errors
    /// The device's.
    pub fn margin(&self, pass: &Pass) -> Result<f64> {
        let threshold = self.neuron.threshold;
        let mut jumps = vec![threshold];
        if !self.neuron.rule.adjusts_space() {
            let half = self.neuron.surrogate_half_width;
            jumps.extend([threshold - half, threshold + half]);
        }
        let mut margin = f64::INFINITY;
        for (index, saved) in pass.saved.iter().enumerate() {
            let rectified = |norm: &usize| self.spec.layers.get(norm + 1) == Some(&Layer::Relu);
            if let Some((norm, kept)) = saved.norm(index).filter(|(norm, _)| rectified(norm)) {
                let (weight, bias) = self.weight_and_bias(norm)?;
                for tensor in kept.normalised.iter().flat_map(|trace| trace.tensors()) {
                    let values = values(&norm::rescaled(tensor, &weight, &bias)?)?;
                    margin = values.into_iter().map(f64::abs).fold(margin, f64::min);
                }
            }
            if let Saved::Relu { input: Some(input), .. } = saved {
                for tensor in input.iter().flat_map(Trace::tensors) {
                    margin = values(tensor)?.into_iter().map(f64::abs).fold(margin, f64::min);
                }
            }
            for tensor in saved.traces().iter().copied().flatten().flat_map(|trace| trace.potential.tensors())
            {
                let potentials = values(tensor)?.into_iter().filter(|potential| *potential != 0.0);
                let distances =
                    potentials.flat_map(|potential| jumps.iter().map(move |jump| (potential - jump).abs()));
                margin = distances.fold(margin, f64::min);
            }
        }
        Ok(margin)
    }
}

fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}
