//! Where the time of a step goes, by layer and part of the work.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// A part of a layer's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Convolution or linear layer forward, with the moments of batch norm.
    Forward,
    /// Norm, ReLU and cells forward.
    Cells,
    /// Pool, and spikes to the next layer's input.
    Pool,
    /// Cells, ReLU and pool backward.
    CellsBack,
    /// Norm backward, with the cells' second run but where the input is constant.
    NormBack,
    /// Gradients of the input.
    InputGradient,
    /// Gradients of the weights, and AdamW. Of a linear layer with the gradients of its input, panel by panel; of a first convolution,
    /// but where the input is constant, with the norm backward.
    WeightGradient,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Forward => "forward",
            Self::Cells => "cells",
            Self::Pool => "pool",
            Self::CellsBack => "cells backward",
            Self::NormBack => "norm backward",
            Self::InputGradient => "input gradient",
            Self::WeightGradient => "weight gradient",
        })
    }
}

/// A stop watch; one that was not started costs nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    last: Option<Instant>,
    spent: BTreeMap<(usize, Part), Duration>,
}

impl Watch {
    pub(super) fn start(&mut self) {
        *self = Self { last: Some(Instant::now()), spent: BTreeMap::new() };
    }

    /// What has passed since the last call went to this part.
    pub(super) fn lap(&mut self, layer: usize, part: Part) {
        if let Some(last) = &mut self.last {
            let now = Instant::now();
            *self.spent.entry((layer, part)).or_default() += now - *last;
            *last = now;
        }
    }

    /// What passed since the last call belongs to none of them.
    pub(super) fn skip(&mut self) {
        if let Some(last) = &mut self.last {
            *last = Instant::now();
        }
    }

    pub(super) fn stop(&mut self) -> BTreeMap<(usize, Part), Duration> {
        std::mem::take(self).spent
    }
}
