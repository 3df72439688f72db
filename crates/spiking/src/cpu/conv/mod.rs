//! A stage of convolution, batch norm, ReLU, cells and pool, forward and backward, shared out over threads.
//!
//! Maps lie in blocks of 16 channels, `[block][sample][time step][pixel][16]`, but for the convolution's own output, where some
//! blocks lie side by side ([`Conv::output_at`]); spikes are a `u16` a pixel and block.
//! What threads share out never sums across tasks but in an order that the network and the batch fix.

mod backward;
mod forward;
mod lists;
mod pools;
mod small_tiles;
mod tiled;

use super::kernels::spikes::TAPS;
use super::memory::{Floats, bytes_of};
use super::plan::{ConvStage, Pool};
use super::simd::LANES;
use super::turned::Turned;
use super::weights::{Named, Order, Weights};
use crate::reference::norm::{self, BN_EPSILON};
use lists::Lists;

pub(super) use pools::spread;

const MOMENTUM: f32 = norm::MOMENTUM as f32;
/// Pixels of sums that one task works on before it goes on to the next input block: 512 KiB, which a core's cache holds.
const TASK_PIXELS: usize = 8192;
/// Pixels of a dense product: small maps share one.
const PRODUCT_PIXELS: usize = 256;
/// Tasks that a weight gradient is cut into where it has fewer blocks.
const GRADIENT_TASKS: usize = 32;

/// What enters a convolution: maps with a border of one zero pixel.
#[derive(Debug, Clone)]
pub(super) enum Maps {
    /// Spikes, `[block][sample][time step][padded pixel]`.
    Spikes(Vec<u16>),
    /// Real numbers, `[block][sample][plane][padded pixel][lane]`: an input's own channels in one block, or blocks of 16.
    Real { values: Floats, lanes: usize },
}

/// The samples and time steps of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Extent {
    pub(super) samples: usize,
    pub(super) steps: usize,
    /// Planes of input that a sample has: its time steps, or 1 if it is the same at each.
    pub(super) planes: usize,
}

/// Where the statistics of batch norm come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StatisticsSource {
    Batch,
    Running,
}

/// The stage with its weights and its memory.
#[derive(Debug, Clone)]
pub(super) struct Conv {
    pub(super) stage: ConvStage,
    /// Whether its input is the network's.
    first: bool,
    pub(super) input: Maps,
    weight: Weights,
    bias: Weights,
    gamma: Weights,
    beta: Weights,
    pub(super) running_mean: Vec<f32>,
    pub(super) running_var: Vec<f32>,
    /// Spikes of all cells, `[group of blocks][sample][block of the group][time step][pixel]`.
    pub(super) spikes: Vec<u16>,
    lists: Lists,
    turned: Turned,
    extent: Extent,
    /// Output of the convolution, `[group of blocks][sample][plane][block of the group][pixel][16]`. In the backward pass, when nothing
    /// reads it any more, the gradients of the input, which the pool of the stage before gave: `[sample][time step][block][pixel][16]`.
    output: Floats,
    /// The moments of each plane forward, in the order of `output`, 2 of 16; backward the sums of its gradients,
    /// `[block][sample][plane][2][16]`.
    sums: Floats,
    /// `[block][plane][16]` each.
    mean: Floats,
    inverse: Floats,
    scale: Floats,
    shift: Floats,
}

/// Room that all stages share in the backward pass.
#[derive(Debug, Clone, Default)]
pub(super) struct Room {
    /// Gradients before the norm, padded, blocks of 16: `[block][sample][plane][padded pixel][16]`.
    pre_norm_grads: Floats,
    /// Weight gradients, one after another for each part of the batch.
    parts: Floats,
    /// Kernels of the input gradient, or its transformed tiles.
    kernels: Floats,
    /// `[block][plane][4][16]`.
    terms: Floats,
    /// Gradients of the norm's weight and bias and of the convolution's bias, `[block][16]` each.
    gamma: Floats,
    beta: Floats,
    bias: Floats,
}

impl Room {
    /// Bytes it holds.
    pub(super) fn bytes(&self) -> usize {
        let Self { pre_norm_grads, parts, kernels, terms, gamma, beta, bias } = self;
        [pre_norm_grads, parts, kernels, terms, gamma, beta, bias].map(Floats::bytes).iter().sum()
    }
}

impl Conv {
    /// A stage whose input is the network's (`first`), spikes, or the real numbers of an average pool.
    pub(super) fn new(stage: ConvStage, before: Option<Pool>) -> Self {
        let (input, lanes) = match before {
            None => (Maps::Real { values: Floats::default(), lanes: stage.inputs }, stage.inputs),
            Some(Pool::Average(_)) => (Maps::Real { values: Floats::default(), lanes: LANES }, LANES),
            Some(_) => (Maps::Spikes(Vec::new()), LANES),
        };
        let channels = stage.blocks() * LANES;
        Self {
            first: before.is_none(),
            input,
            weight: Weights::new(stage.inputs.div_ceil(lanes) * stage.blocks() * TAPS * lanes * LANES),
            bias: Weights::new(channels),
            gamma: Weights::new(channels),
            beta: Weights::new(channels),
            running_mean: vec![0.0; channels],
            running_var: vec![0.0; channels],
            spikes: Vec::new(),
            turned: Turned::new(&stage),
            lists: Lists::new(&stage, lanes),
            extent: Extent::default(),
            output: Floats::default(),
            sums: Floats::default(),
            mean: Floats::default(),
            inverse: Floats::default(),
            scale: Floats::default(),
            shift: Floats::default(),
            stage,
        }
    }

    /// Its parameters, in the order of [`Self::weights`].
    pub(super) fn names(&self) -> [Named<'static>; 4] {
        let (layer, norm) = (self.stage.layer, self.stage.norm());
        [
            (Order::Conv(self.stage, self.lanes()), format!("{layer}.weight")),
            (Order::Channels, format!("{layer}.bias")),
            (Order::Channels, format!("{norm}.weight")),
            (Order::Channels, format!("{norm}.bias")),
        ]
    }

    pub(super) fn weights(&self) -> [&Weights; 4] {
        [&self.weight, &self.bias, &self.gamma, &self.beta]
    }

    pub(super) fn weights_mut(&mut self) -> [&mut Weights; 4] {
        [&mut self.weight, &mut self.bias, &mut self.gamma, &mut self.beta]
    }

    /// Bytes of its weights and of what it keeps of a batch, without the lists of places.
    pub(super) fn bytes(&self) -> usize {
        let input = match &self.input {
            Maps::Spikes(spikes) => bytes_of(spikes),
            Maps::Real { values, .. } => values.bytes(),
        };
        let floats = [&self.output, &self.sums, &self.mean, &self.inverse, &self.scale, &self.shift];
        let weights: usize = self.weights().iter().map(|weights| weights.bytes()).sum();
        let floats: usize = floats.iter().map(|floats| floats.bytes()).sum();
        input + bytes_of(&self.spikes) + weights + floats
    }

    /// Lanes of an input block.
    pub(super) fn lanes(&self) -> usize {
        match self.input {
            Maps::Spikes(_) => LANES,
            Maps::Real { lanes, .. } => lanes,
        }
    }

    /// The gradients of its input, once [`Self::backward`] has run.
    pub(super) fn input_grads(&self) -> &[f32] {
        &self.output
    }

    /// Planes of input that a sample has: its time steps, or 1 if it is the same at each.
    pub(super) fn planes(&self) -> usize {
        self.extent.planes
    }

    /// Planes of input of the whole batch.
    fn planes_of_batch(&self) -> usize {
        self.extent.samples * self.extent.planes
    }

    fn input_blocks(&self) -> usize {
        self.stage.inputs.div_ceil(self.lanes())
    }

    /// Makes room for a batch; none is made twice for the same extent. With running statistics the convolution's output is
    /// not kept.
    pub(super) fn make_room(&mut self, extent: Extent, statistics: StatisticsSource) {
        let keeps = statistics == StatisticsSource::Batch;
        if self.extent == extent && keeps != self.output.is_empty() {
            return;
        }
        self.extent = extent;
        let (stage, blocks) = (self.stage, self.stage.blocks());
        let planes = extent.samples * extent.planes;
        let input = self.input_blocks() * planes * stage.padded();
        // A border once written zero stays zero: planes keep their places whatever the extent.
        match &mut self.input {
            Maps::Spikes(spikes) => spikes.resize(input, 0),
            Maps::Real { values, lanes } => values.resize(input * *lanes),
        }
        let kept = if keeps { planes } else { 0 };
        self.output.resize(kept * blocks.max(self.input_blocks()) * stage.pixels() * LANES);
        self.sums.resize(kept * blocks * 2 * LANES);
        self.spikes.resize(blocks * extent.samples * extent.steps * stage.pixels(), 0);
        for vector in [&mut self.mean, &mut self.inverse, &mut self.scale, &mut self.shift] {
            vector.resize(blocks * extent.planes * LANES);
        }
    }
}
