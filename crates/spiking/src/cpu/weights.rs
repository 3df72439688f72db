//! Weights in the order the kernels read them, with AdamW's moments beside them.

use candle_core::Tensor;
use rayon::iter::Either;
use rayon::prelude::*;

use super::kernels::adamw::{AHEAD, AdamStep, Move};
use super::kernels::spikes::TAPS;
use super::memory::Floats;
use super::plan::{ConvStage, LinearStage, Plan};
use super::simd::{LANES, Path};
use crate::Result;

/// Features of a panel of linear weights: 256 bytes an output. Features are padded to whole panels.
pub(super) const PANEL: usize = 64;

/// Weights that a task moves where their gradients lie in memory.
const AT_ONCE: usize = 16 * 1024;

/// What happens to gradients.
#[derive(Debug, Clone, Copy)]
pub(super) enum Update {
    /// Weights move.
    Adam(AdamStep),
    /// Gradients are kept and nothing moves.
    Keep,
}

/// Weights, first and second moments, and gradients where [`Update::Keep`] asked for them.
#[derive(Debug, Clone, Default)]
pub(super) struct Weights {
    pub(super) values: Floats,
    pub(super) first: Floats,
    pub(super) second: Floats,
    pub(super) kept: Floats,
}

impl Weights {
    pub(super) fn new(count: usize) -> Self {
        let zeros = || Floats::zeros(count);
        Self { values: zeros(), first: zeros(), second: zeros(), kept: Floats::default() }
    }

    /// Bytes they hold.
    pub(super) fn bytes(&self) -> usize {
        [&self.values, &self.first, &self.second, &self.kept].map(Floats::bytes).iter().sum()
    }

    /// Applies the gradients of all weights.
    pub(super) fn update(&mut self, path: Path, update: Update, grads: &[f32]) {
        let shares = self.shares(update, AT_ONCE).zip(grads.par_chunks(AT_ONCE));
        shares.for_each(|(mut share, grads)| share.apply(path, 0, grads));
    }

    /// The weights in shares of `size`, for tasks that have a share's gradients at hand.
    pub(super) fn shares(
        &mut self,
        update: Update,
        size: usize,
    ) -> impl IndexedParallelIterator<Item = Share<'_>> {
        match update {
            Update::Keep => {
                self.kept.resize(self.values.len());
                let shares = self.values.par_chunks(size).zip(self.kept.par_chunks_mut(size));
                Either::Left(shares.map(|(values, kept)| Share::Kept { values, kept }))
            }
            Update::Adam(step) => {
                let moments = self.first.par_chunks_mut(size).zip(self.second.par_chunks_mut(size));
                let shares = self.values.par_chunks_mut(size).zip(moments);
                Either::Right(shares.map(move |(values, (first, second))| Share::Moving {
                    step,
                    values,
                    first,
                    second,
                }))
            }
        }
    }
}

/// Weights that one task alone has, and what becomes of their gradients.
pub(super) enum Share<'a> {
    Kept { values: &'a [f32], kept: &'a mut [f32] },
    Moving { step: AdamStep, values: &'a mut [f32], first: &'a mut [f32], second: &'a mut [f32] },
}

impl Share<'_> {
    pub(super) fn values(&self) -> &[f32] {
        match self {
            Self::Kept { values, .. } => values,
            Self::Moving { values, .. } => values,
        }
    }

    /// Applies the gradients of the weights from `at` on.
    pub(super) fn apply(&mut self, path: Path, at: usize, grads: &[f32]) {
        if let Some(moving) = self.take(at, grads, AHEAD) {
            path.run(moving);
        }
    }

    /// Keeps them, or gives the move that they ask for, which asks for weights so far `ahead`.
    pub(super) fn take<'a>(&'a mut self, at: usize, grads: &'a [f32], ahead: usize) -> Option<Move<'a>> {
        let range = at..at + grads.len();
        match self {
            Self::Kept { kept, .. } => {
                kept[range].copy_from_slice(grads);
                None
            }
            Self::Moving { step, values, first, second } => Some(Move {
                step: *step,
                grads,
                weights: &mut values[range.clone()],
                first: &mut first[range.clone()],
                second: &mut second[range],
                ahead,
            }),
        }
    }
}

/// A parameter's order and its name.
pub(super) type Named<'a> = (Order<'a>, String);

/// The places of a parameter's values: from PyTorch's order to the kernels'.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order<'a> {
    /// One value a channel.
    Channels,
    /// `[O, C, 3, 3]` to `[input block][output block][tap][input lane][output lane]`.
    Conv(ConvStage, usize),
    /// `[O, I]` to `[panel][output][feature of the panel]`.
    Linear(&'a Plan, usize),
}

impl Order<'_> {
    fn place(self, flat: usize) -> usize {
        match self {
            Self::Channels => flat,
            Self::Conv(stage, lanes) => {
                let (tap, input, output) =
                    (flat % TAPS, flat / TAPS % stage.inputs, flat / TAPS / stage.inputs);
                let block = (input / lanes * stage.blocks() + output / LANES) * TAPS + tap;
                (block * lanes + input % lanes) * LANES + output % LANES
            }
            Self::Linear(plan, stage) => {
                let features = plan.features(stage);
                let (output, feature) = (flat / features, plan.feature(stage, flat % features));
                linear_place(&plan.linears[stage], feature, output)
            }
        }
    }

    /// Reads a tensor into the kernels' order.
    pub(super) fn read(self, tensor: &Tensor, into: &mut [f32]) -> Result<()> {
        for (flat, value) in tensor.flatten_all()?.to_vec1::<f32>()?.into_iter().enumerate() {
            into[self.place(flat)] = value;
        }
        Ok(())
    }

    /// Values in PyTorch's order.
    pub(super) fn write(self, from: &[f32], shape: &[usize]) -> Result<Tensor> {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|flat| from[self.place(flat)]).collect();
        Ok(Tensor::from_vec(values, shape, &candle_core::Device::Cpu)?)
    }
}

/// Place of a linear weight.
fn linear_place(stage: &LinearStage, feature: usize, output: usize) -> usize {
    let panel = feature / PANEL;
    panel * stage.panel() + output * PANEL + feature % PANEL
}
