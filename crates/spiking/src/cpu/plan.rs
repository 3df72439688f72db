//! A network as this engine runs it: stages of convolution or linear layer, norm, cells and pool.

use std::ops::Range;

use crate::{Layer, NetworkSpec, Result, SpikingError};

use super::kernels::product::Run;
use super::kernels::spikes::TAPS;
use super::kernels::winograd::{InPlace, Tile};
use super::simd::LANES;
use super::weights::PANEL;

/// What a pool gives to the next stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pool {
    /// Nothing is pooled.
    None,
    /// A spike where any of the window fired.
    Max(usize),
    /// The share of the window that fired.
    Average(usize),
}

impl Pool {
    pub(super) fn size(self) -> usize {
        match self {
            Self::None => 1,
            Self::Max(size) | Self::Average(size) => size,
        }
    }
}

/// Convolution, batch norm, ReLU, cells and perhaps a pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConvStage {
    /// Index of the convolution; batch norm and cells follow at + 1 and + 3.
    pub(super) layer: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) pool: Pool,
}

impl ConvStage {
    pub(super) const fn norm(&self) -> usize {
        self.layer + 1
    }

    pub(super) const fn cells(&self) -> usize {
        self.layer + 3
    }

    /// Blocks of output channels.
    pub(super) const fn blocks(&self) -> usize {
        self.outputs.div_ceil(LANES)
    }

    /// Output blocks whose planes lie side by side, so that one reading of the input serves them all.
    pub(super) const fn wide(&self) -> usize {
        match self.blocks() % 4 {
            0 => 4,
            2 => 2,
            _ => 1,
        }
    }

    pub(super) const fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Pixels of a map with a border of one.
    pub(super) const fn padded(&self) -> usize {
        (self.height + 2) * (self.width + 2)
    }

    /// Place of a pixel's top left neighbour in a map with a border; [`Self::tap`] counts from there.
    pub(super) const fn corner(&self, pixel: usize) -> usize {
        pixel / self.width * (self.width + 2) + pixel % self.width
    }

    /// From a pixel's top left neighbour to what a tap of the kernel sees.
    pub(super) const fn tap(&self, tap: usize) -> usize {
        tap / 3 * (self.width + 2) + tap % 3
    }

    /// The rows of the kernel as runs of a dense product: `3 * lanes` terms each, from a pixel's top left neighbour and from the
    /// first tap's weights on.
    pub(super) fn tap_rows(&self, lanes: usize) -> Vec<Run> {
        let run = |tap| Run { a: (self.tap(tap) * lanes) as u32, b: (tap * lanes * LANES) as u32 };
        (0..TAPS).step_by(3).map(run).collect()
    }

    /// Winograd's tiles of a plane.
    pub(super) const fn tiles(&self, tile: Tile) -> usize {
        self.height.div_ceil(tile.edge()) * self.tiles_across(tile)
    }

    /// Those in a row of them.
    pub(super) const fn tiles_across(&self, tile: Tile) -> usize {
        self.width.div_ceil(tile.edge())
    }

    /// Whether hardly any products are left to save: one block of inputs, and few of outputs.
    pub(super) const fn is_narrow(&self) -> bool {
        self.inputs <= LANES && self.blocks() <= InPlace::BLOCKS
    }

    /// The tiles by which its gradients take the fewest products, the smallest of equals: they round least. Narrow stages keep to the
    /// smallest, whose transformations cost least.
    pub(super) fn gradient_tile(&self) -> Tile {
        if self.is_narrow() {
            return Tile::Four;
        }
        let products = |tile: &Tile| self.tiles(*tile) * tile.places();
        Tile::ALL.into_iter().min_by_key(products).unwrap_or(Tile::Four)
    }

    /// Some of these tiles of planes one after another, plane by plane: the plane, its tiles among them, and how many of them come
    /// before.
    pub(super) fn by_planes(
        &self,
        tile: Tile,
        tiles: &Range<usize>,
    ) -> impl Iterator<Item = (usize, Range<usize>, usize)> + use<> {
        let (of_plane, tiles) = (self.tiles(tile), tiles.clone());
        (tiles.start / of_plane..tiles.end.div_ceil(of_plane)).map(move |plane| {
            let begin = plane * of_plane;
            let first = tiles.start.max(begin);
            (plane, first - begin..tiles.end.min(begin + of_plane) - begin, first - tiles.start)
        })
    }

    /// Height and width behind the pool.
    pub(super) fn pooled(&self) -> (usize, usize) {
        (self.height / self.pool.size(), self.width / self.pool.size())
    }

    /// Features behind the pool, in whole blocks: `[block][pixel][16]`.
    pub(super) fn features(&self) -> usize {
        let (height, width) = self.pooled();
        self.blocks() * height * width * LANES
    }
}

/// Perhaps dropout, a linear layer, perhaps ReLU, perhaps dropout, cells.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinearStage {
    /// Index of the linear layer.
    pub(super) layer: usize,
    /// Probability of the dropout before it.
    pub(super) dropout_before: Option<f64>,
    pub(super) relu: bool,
    /// Probability of the dropout behind it.
    pub(super) dropout_behind: Option<f64>,
    /// Index of the cells.
    pub(super) cells: usize,
    /// Features that enter, as this engine orders them, padded to whole panels.
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

impl LinearStage {
    /// Blocks of outputs.
    pub(super) const fn blocks(&self) -> usize {
        self.outputs.div_ceil(LANES)
    }

    /// Panels of features.
    pub(super) const fn panels(&self) -> usize {
        self.inputs / PANEL
    }

    /// From a panel's weights to the next one's.
    pub(super) const fn panel(&self) -> usize {
        self.blocks() * LANES * PANEL
    }
}

/// The stages of a network.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) convs: Vec<ConvStage>,
    pub(super) linears: Vec<LinearStage>,
    pub(super) voters: usize,
    pub(super) classes: usize,
}

impl Plan {
    /// Reads the stages off the layers.
    pub(super) fn new(spec: &NetworkSpec) -> Result<Self> {
        let shapes = spec.shapes()?;
        let layers = spec.layers.as_slice();
        let refuse = |index: usize| SpikingError::Order {
            layer: index,
            what: layers.get(index).map_or_else(|| "end".to_owned(), Layer::to_string),
            why: "the CPU engine runs Conv-BN-ReLU-LIF with or without a pool, then Flatten, then Linear-LIF with or without ReLU \
                  and dropout, then Vote; the reference engine runs any order",
        };
        let (mut convs, mut at) = (Vec::new(), 0);
        while let [Layer::Conv { out }, Layer::BatchNorm, Layer::Relu, Layer::Lif, rest @ ..] = &layers[at..]
        {
            let pool = match rest.first() {
                Some(Layer::MaxPool { size }) => Pool::Max(*size),
                Some(Layer::AvgPool { size }) => Pool::Average(*size),
                _ => Pool::None,
            };
            let [inputs, height, width] = shapes[at];
            convs.push(ConvStage { layer: at, inputs, outputs: *out, height, width, pool });
            at += if pool == Pool::None { 4 } else { 5 };
        }
        let Some(last) = convs.last() else { return Err(refuse(at)) };
        if layers.get(at) != Some(&Layer::Flatten) {
            return Err(refuse(at));
        }
        at += 1;
        let mut inputs = last.features().next_multiple_of(PANEL);
        let mut linears = Vec::new();
        loop {
            let dropout = |at: usize| match layers.get(at) {
                Some(Layer::NeuronDropout { probability }) => Some(*probability),
                _ => None,
            };
            let dropout_before = dropout(at);
            let layer = at + usize::from(dropout_before.is_some());
            let Some(Layer::Linear { out }) = layers.get(layer) else { break };
            let relu = layers.get(layer + 1) == Some(&Layer::Relu);
            let dropout_behind = dropout(layer + 1 + usize::from(relu));
            let cells = layer + 1 + usize::from(relu) + usize::from(dropout_behind.is_some());
            if layers.get(cells) != Some(&Layer::Lif) {
                return Err(refuse(cells));
            }
            linears.push(LinearStage {
                layer,
                dropout_before,
                relu,
                dropout_behind,
                cells,
                inputs,
                outputs: *out,
            });
            inputs = out.next_multiple_of(PANEL);
            at = cells + 1;
        }
        match layers[at..] {
            [Layer::Vote { voters }] if !linears.is_empty() => {
                Ok(Self { convs, linears, voters, classes: spec.classes()? })
            }
            _ => Err(refuse(at)),
        }
    }

    /// Channels of what enters linear stage `stage`, and the pixels of each; a linear layer's outputs have one.
    fn maps(&self, stage: usize) -> (usize, usize) {
        match stage.checked_sub(1) {
            Some(before) => (self.linears[before].outputs, 1),
            None => self.convs.last().map_or((0, 1), |last| {
                let (height, width) = last.pooled();
                (last.outputs, height * width)
            }),
        }
    }

    /// Features that enter linear stage `stage`, as PyTorch counts them.
    pub(super) fn features(&self, stage: usize) -> usize {
        let (channels, pixels) = self.maps(stage);
        channels * pixels
    }

    /// Where a feature of PyTorch's order (`[C, H, W]` row-major behind the last convolution) stands among the inputs of linear
    /// stage `stage`.
    pub(super) fn feature(&self, stage: usize, feature: usize) -> usize {
        let (_, pixels) = self.maps(stage);
        place(feature / pixels, feature % pixels, pixels)
    }

    /// The places of all features, in PyTorch's order.
    pub(super) fn places(&self, stage: usize) -> impl Iterator<Item = usize> {
        let (channels, pixels) = self.maps(stage);
        (0..channels).flat_map(move |channel| (0..pixels).map(move |pixel| place(channel, pixel, pixels)))
    }
}

/// Where a channel's pixel stands in blocks of 16 channels, of so many pixels each; samples stand there as pixels do.
pub(super) const fn place(channel: usize, pixel: usize, pixels: usize) -> usize {
    (channel / LANES * pixels + pixel) * LANES + channel % LANES
}
