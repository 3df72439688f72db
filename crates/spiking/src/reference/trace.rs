//! What stands between layers: the tensors of each shard, time step by time step.

use candle_core::{DType, Tensor};
use rayon::prelude::*;

use crate::Result;

/// Tensors of one shard over time, `[C, n, H, W]` (or features `[F, n]`) each.
///
/// A trace of one tensor stands for the same tensor at every time step: a static image under direct encoding.
#[derive(Debug, Clone)]
pub struct Trace(pub(super) Vec<Tensor>);

impl Trace {
    /// A trace of the given tensors; at least one.
    pub fn new(tensors: Vec<Tensor>) -> Self {
        debug_assert!(!tensors.is_empty());
        Self(tensors)
    }

    /// The tensor of time step `t`, from 0.
    pub fn at(&self, t: usize) -> &Tensor {
        &self.0[t.min(self.0.len() - 1)]
    }

    /// Tensors that are there: 1 for a constant trace.
    pub fn tensors(&self) -> &[Tensor] {
        &self.0
    }

    /// The trace with `f` applied to each tensor.
    pub(super) fn map(&self, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Self(self.0.iter().map(f).collect::<Result<_>>()?))
    }
}

/// The type of spikes on a GPU, and of what pools make of them: in it they are exact.
pub(crate) const SPIKES: DType = DType::BF16;

/// A tensor in a type that sums count exactly in: [`SPIKES`] is none.
pub(super) fn counted(x: &Tensor) -> Result<Tensor> {
    Ok(if x.dtype() == SPIKES { x.to_dtype(DType::F32)? } else { x.clone() })
}

pub(super) type Shards = Vec<Trace>;

/// `f` at every time step of `left`, with the same step of `right`, for each shard.
pub(super) fn zip_shards(
    left: &[Trace],
    right: &[Trace],
    f: impl Fn(&Tensor, &Tensor) -> Result<Tensor> + Sync,
) -> Result<Shards> {
    left.par_iter()
        .zip(right)
        .map(|(left, right)| {
            let steps = left.tensors().iter().enumerate();
            Ok(Trace(steps.map(|(t, tensor)| f(tensor, right.at(t))).collect::<Result<_>>()?))
        })
        .collect()
}

/// Sum of tensors in their order.
pub(super) fn sum(tensors: impl IntoIterator<Item = Result<Tensor>>) -> Result<Tensor> {
    let mut tensors = tensors.into_iter();
    let first = tensors.next().unwrap_or_else(|| Err(candle_core::Error::Msg("an empty sum".into()).into()));
    tensors.try_fold(first?, |total, next| Ok((total + next?)?))
}
