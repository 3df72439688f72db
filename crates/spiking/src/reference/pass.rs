//! A forward pass: its votes, its loss, and what its layers keep for the way back.

use candle_core::{DType, Tensor};

use super::lif::LifTrace;
use super::norm::SavedNorm;
use super::trace::{Shards, Trace, counted, sum};
use crate::Result;
#[cfg(feature = "cuda")]
use crate::cuda::Kernels;
use crate::engine::check_labels;
use crate::examine::largest;

/// What a layer keeps for its backward pass.
pub(super) enum Saved {
    Conv {
        input: Shards,
    },
    Norm(SavedNorm),
    Relu {
        /// For [`Reference::margin`](super::Reference::margin); none behind a norm, which keeps what it is made of.
        input: Option<Shards>,
        output: Shards,
    },
    Lif {
        traces: Vec<LifTrace>,
    },
    /// Of one shard, by one kernel: normalisation, rectifier and cells. The layers before the cells keep nothing.
    #[cfg(feature = "cuda")]
    NormCells {
        norm: SavedNorm,
        trace: LifTrace,
    },
    Pool {
        input: Shards,
        output: Shards,
    },
    Map([usize; 2]),
    Dropout {
        masks: Vec<Tensor>,
    },
    Linear {
        input: Shards,
    },
    Nothing,
}

impl Saved {
    /// What cells keep, if this is of cells.
    pub(super) fn traces(&self) -> Option<&[LifTrace]> {
        match self {
            Self::Lif { traces } => Some(traces),
            #[cfg(feature = "cuda")]
            Self::NormCells { trace, .. } => Some(std::slice::from_ref(trace)),
            _ => None,
        }
    }

    /// What the normalisation before a rectifier keeps, and its layer, if this is what layer `index` keeps and holds one.
    pub(super) fn norm(&self, index: usize) -> Option<(usize, &SavedNorm)> {
        match self {
            Self::Norm(kept) => Some((index, kept)),
            #[cfg(feature = "cuda")]
            Self::NormCells { norm, .. } => Some((index - 2, norm)),
            _ => None,
        }
    }
}

/// A forward pass and what it left behind.
pub struct Pass {
    pub(super) votes: Vec<Tensor>,
    pub(super) saved: Vec<Saved>,
}

impl Pass {
    /// The votes' mean over time, `[N, classes]`.
    ///
    /// # Errors
    /// The device's.
    pub fn output(&self) -> Result<Tensor> {
        Ok(Tensor::cat(&self.votes, 1)?.t()?.contiguous()?)
    }

    /// The spikes of a LIF layer, `[T, N, C, H, W]` (features: `[T, N, F]`); none if the layer did not spike.
    ///
    /// # Errors
    /// The device's.
    pub fn spikes(&self, layer: usize) -> Result<Option<Tensor>> {
        let Some(traces) = self.saved.get(layer).and_then(Saved::traces) else { return Ok(None) };
        let steps = (0..traces[0].spikes.tensors().len()).map(|t| {
            let shards: Vec<Tensor> = traces
                .iter()
                .map(|trace| Ok(counted(trace.spikes.at(t)?)?.transpose(0, 1)?))
                .collect::<Result<_>>()?;
            Ok(Tensor::cat(&shards, 0)?.contiguous()?)
        });
        Ok(Some(Tensor::stack(&steps.collect::<Result<Vec<_>>>()?, 0)?))
    }

    /// Mean squared error against the one-hot labels, over batch and classes, and its gradient with respect to
    /// each shard's votes at any time step, `[classes, n]`.
    ///
    /// # Errors
    /// [`SpikingError::Length`](crate::SpikingError::Length) where the labels are not one a sample,
    /// [`SpikingError::Range`](crate::SpikingError::Range) for one that is not a valid class index, and the device's.
    pub fn loss(&self, labels: &[u32], time_steps: usize) -> Result<(f64, Vec<Tensor>)> {
        let classes = self.votes[0].dim(0)?;
        let samples = self.votes.iter().map(|votes| votes.dim(1)).sum::<candle_core::Result<_>>()?;
        check_labels(labels, samples, classes)?;
        let total = (labels.len() * classes) as f64;
        let (mut loss, mut grads, mut first) = (0.0, Vec::new(), 0);
        for votes in &self.votes {
            let samples = votes.dim(1)?;
            let index = Tensor::new(&labels[first..first + samples], votes.device())?;
            first += samples;
            let target =
                candle_nn::encoding::one_hot(index, classes, 1f32, 0f32)?.t()?.to_dtype(votes.dtype())?;
            let error = (votes - target.contiguous()?)?;
            loss += error.sqr()?.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
            grads.push((error * (2.0 / (total * time_steps as f64)))?);
        }
        Ok((loss / total, grads))
    }

    /// The class with the largest mean vote, per sample; the first of equals.
    pub(super) fn predictions(&self) -> Result<Vec<u32>> {
        let rows = self.output()?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        Ok(rows.iter().map(|row| largest(row)).collect())
    }
}

/// The votes' mean over time, per shard.
pub(super) fn mean_votes(shards: &[Trace], steps: usize) -> Result<Vec<Tensor>> {
    let mean = |trace: &Trace| -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if let (Some(kernels), true) = (Kernels::of(trace.first()), trace.tensors().len() == steps) {
            return Ok((kernels.sum_over_steps(&trace.block()?)? / steps as f64)?);
        }
        Ok((sum((0..steps).map(|t| trace.at(t).cloned()))? / steps as f64)?)
    };
    shards.iter().map(mean).collect()
}
