//! What stands between layers: the tensors of each shard, time step by time step.

use candle_core::{DType, Tensor};
use rayon::prelude::*;

use crate::error::at_least_one;
use crate::{Result, SpikingError};

/// Tensors of one shard over time, `[C, n, H, W]` (or features `[F, n]`) each.
///
/// A trace of one tensor stands for the same tensor at every time step: a static image under direct encoding.
#[derive(Debug, Clone)]
pub struct Trace {
    tensors: Vec<Tensor>,
    /// All of them as one, where they lie one behind another: what does not look across channels is then one operation for all time steps.
    block: Option<Tensor>,
}

impl Trace {
    /// A trace of the given tensors.
    ///
    /// # Errors
    /// [`SpikingError::Range`] where there is none.
    pub fn new(tensors: Vec<Tensor>) -> Result<Self> {
        at_least_one("tensors of a trace", tensors.len())?;
        Ok(Self { tensors, block: None })
    }

    /// The trace of a `[T, ...]` tensor, whose time steps share its memory.
    pub(crate) fn of_block(block: Tensor) -> Result<Self> {
        let block = block.contiguous()?;
        let tensors = (0..block.dim(0)?).map(|t| block.get(t)).collect::<candle_core::Result<_>>()?;
        Ok(Self { block: Some(block), ..Self::new(tensors)? })
    }

    /// The tensors as one, `[T, ...]`; copied where they do not lie one behind another.
    #[cfg(feature = "cuda")]
    pub(crate) fn block(&self) -> Result<Tensor> {
        match &self.block {
            Some(block) => Ok(block.clone()),
            None => Ok(Tensor::stack(&self.tensors, 0)?),
        }
    }

    /// The tensor of time step `t`, from 0; of a constant trace the same at each.
    ///
    /// # Errors
    /// [`SpikingError::Range`] beyond the last of several tensors.
    pub fn at(&self, t: usize) -> Result<&Tensor> {
        match self.tensors.as_slice() {
            [constant] => Ok(constant),
            tensors => tensors.get(t).ok_or_else(|| SpikingError::Range {
                key: "time step of a trace",
                found: t.to_string(),
                expected: "less than its number of tensors, or a trace of one",
            }),
        }
    }

    /// The tensor of the first time step.
    pub fn first(&self) -> &Tensor {
        &self.tensors[0]
    }

    /// Refuses a trace that has neither a tensor for each of `steps` time steps nor one for all; `what` it is of goes into the error.
    pub(super) fn check_steps(&self, what: &'static str, steps: usize) -> Result<()> {
        at_least_one("time steps", steps)?;
        match self.tensors.len() {
            1 => Ok(()),
            found if found == steps => Ok(()),
            found => Err(SpikingError::Length {
                what,
                found,
                expected: steps,
                shape: "a tensor a time step, or one for all".to_owned(),
            }),
        }
    }

    /// Tensors that are there: 1 for a constant trace.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The trace with `f` applied to each tensor.
    pub(super) fn map(&self, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        Self::new(self.tensors.iter().map(f).collect::<Result<_>>()?)
    }

    /// The trace with `f` applied to each tensor, or once to the block of all: `f` does the same whatever dimensions stand in front.
    pub(super) fn map_block(&self, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        match &self.block {
            Some(block) => Self::of_block(f(block)?),
            None => self.map(f),
        }
    }

    /// [`zip_channels`] of one trace alone.
    pub(super) fn map_channels(&self, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        zip_channels([self], |[tensor]| f(tensor))
    }
}

/// The type of spikes on a GPU, and of what pools make of them: in it they are exact.
pub(crate) const SPIKES: DType = DType::BF16;

/// A tensor in a type that sums count exactly in: [`SPIKES`] is none.
pub(super) fn counted(x: &Tensor) -> Result<Tensor> {
    Ok(if x.dtype() == SPIKES { x.to_dtype(DType::F32)? } else { x.clone() })
}

pub(super) type Shards = Vec<Trace>;

/// `f` at every time step of the first trace, with the same step of the others. `f` treats each channel by itself: where all are blocks, it is
/// given all time steps at once, as channels of one tensor.
pub(super) fn zip_channels<const N: usize>(
    traces: [&Trace; N],
    f: impl Fn([&Tensor; N]) -> Result<Tensor>,
) -> Result<Trace> {
    let steps = traces[0].tensors.len();
    let blocks = traces.map(|trace| trace.block.as_ref().filter(|block| block.dims()[0] == steps));
    if blocks.iter().all(Option::is_some) {
        let channels: Vec<Tensor> =
            blocks.iter().flatten().map(|block| Ok(block.flatten(0, 1)?)).collect::<Result<_>>()?;
        let next = f(std::array::from_fn(|index| &channels[index]))?;
        let shape = [&[steps, next.dim(0)? / steps], &next.dims()[1..]].concat();
        return Trace::of_block(next.reshape(shape)?);
    }
    let tensors = (0..steps).map(|t| {
        let at: Vec<&Tensor> = traces.iter().map(|trace| trace.at(t)).collect::<Result<_>>()?;
        f(std::array::from_fn(|index| at[index]))
    });
    Trace::new(tensors.collect::<Result<_>>()?)
}

/// [`zip_channels`] for each shard.
pub(super) fn zip_shards(
    left: &[Trace],
    right: &[Trace],
    f: impl Fn(&Tensor, &Tensor) -> Result<Tensor> + Sync,
) -> Result<Shards> {
    let shards = left.par_iter().zip(right);
    shards.map(|(left, right)| zip_channels([left, right], |[left, right]| f(left, right))).collect()
}

/// Sum of tensors in their order.
pub(crate) fn sum(tensors: impl IntoIterator<Item = Result<Tensor>>) -> Result<Tensor> {
    let mut tensors = tensors.into_iter();
    let first = tensors.next().unwrap_or_else(|| Err(candle_core::Error::Msg("an empty sum".into()).into()));
    tensors.try_fold(first?, |total, next| Ok((total + next?)?))
}
