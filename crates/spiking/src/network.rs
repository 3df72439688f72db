//! What a network is: a list of layers over an input, whatever computes it.

mod paper;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use paper::{Architecture, VOTERS_PER_CLASS, Variant};

use crate::error::at_least_one;
use crate::examine::reached;
use crate::{Result, SpikingError};

/// The input of a network, before subsampling by `stride`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Input {
    /// Channels: 2 polarities for events, 1 or 3 colours for images.
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Every `stride`-th pixel of each row and column enters, from the first. The official code brings 128x128
    /// events to 64x64 by nearest neighbour, which takes every second pixel.
    pub stride: usize,
}

impl Input {
    /// Height and width after subsampling, in pixels. A stride of 0 has none: [`NetworkSpec::shapes`] refuses it.
    pub const fn map(&self) -> (usize, usize) {
        (self.height.div_ceil(self.stride), self.width.div_ceil(self.stride))
    }

    /// Refuses an input of nothing.
    pub(crate) fn check(&self) -> Result<()> {
        let Self { channels, height, width, stride } = *self;
        let sizes = [("channels", channels), ("height", height), ("width", width), ("stride", stride)];
        sizes.into_iter().try_for_each(|(key, size)| at_least_one(key, size))
    }
}

/// One layer; maps are `[C, H, W]` per sample and time step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Layer {
    /// 3x3 convolution with padding 1 and bias, to so many channels.
    Conv {
        /// Channels it gives.
        out: usize,
    },
    /// Batch normalisation per channel and time step (eps 1e-5, momentum 0.1).
    BatchNorm,
    /// max(x, 0) on the input current.
    Relu,
    /// Leaky integrate-and-fire cells, one for each value of the map.
    Lif,
    /// Maximum over windows of `size` x `size`, stride `size`; ties give the gradient to the first.
    MaxPool {
        /// Edge of the window, in pixels.
        size: usize,
    },
    /// Mean over windows of `size` x `size`, stride `size`.
    AvgPool {
        /// Edge of the window, in pixels.
        size: usize,
    },
    /// Dropout of whole neurons: one mask per sample, the same at all time steps, in training alone.
    NeuronDropout {
        /// Probability that a neuron is silenced; the others are scaled by 1 / (1 - p).
        probability: f64,
    },
    /// `[C, H, W]` to `[C * H * W]`, row-major.
    Flatten,
    /// Fully connected layer with bias, to so many features.
    Linear {
        /// Features it gives.
        out: usize,
    },
    /// Means of consecutive groups of `voters` cells: one value per class.
    Vote {
        /// Cells in a group.
        voters: usize,
    },
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conv { out } => write!(f, "{out}C3"),
            Self::BatchNorm => f.write_str("BN"),
            Self::Relu => f.write_str("ReLU"),
            Self::Lif => f.write_str("LIF"),
            Self::MaxPool { size } => write!(f, "MP{size}"),
            Self::AvgPool { size } => write!(f, "AP{size}"),
            Self::NeuronDropout { probability } => write!(f, "DP{probability}"),
            Self::Flatten => f.write_str("Flatten"),
            Self::Linear { out } => write!(f, "{out}FC"),
            Self::Vote { voters } => write!(f, "{voters}Voting"),
        }
    }
}

/// A layer of weights, and what enters it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightLayer {
    /// Index of the convolution or linear layer.
    pub layer: usize,
    /// Whether real numbers enter it though cells spike: those of the input, or of an average pool.
    pub real: bool,
    /// Weights that all its inputs, zero or not, meet in one sample at one time step: `C * F` for C features to F, and
    /// `C * F * (3H - 2)(3W - 2)` for a convolution of maps of HxW, where a pixel at an edge meets fewer.
    pub dense: u64,
}

/// A network: its input and its layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// What it sees.
    pub input: Input,
    /// What it is made of; parameters are named by index, as `torch.nn.Sequential` names them.
    pub layers: Vec<Layer>,
}

impl NetworkSpec {
    /// The shape `[C, H, W]` (features: `[F, 1, 1]`) that enters each layer, and, last, the one that leaves.
    ///
    /// # Errors
    /// [`SpikingError::MapTooSmall`] for a pool wider than its map, [`SpikingError::Order`] for layers in an
    /// order that has no meaning, [`SpikingError::Range`] for a stride or a size of 0.
    pub fn shapes(&self) -> Result<Vec<[usize; 3]>> {
        self.input.check()?;
        let (height, width) = self.input.map();
        let mut shape = [self.input.channels, height, width];
        let mut shapes = vec![shape];
        let mut flat = false;
        for (index, layer) in self.layers.iter().enumerate() {
            let order =
                |why: &'static str| SpikingError::Order { layer: index, what: layer.to_string(), why };
            match *layer {
                Layer::Conv { .. }
                | Layer::BatchNorm
                | Layer::MaxPool { .. }
                | Layer::AvgPool { .. }
                | Layer::Flatten
                    if flat =>
                {
                    return Err(order("it wants maps, and the layers before it give features"));
                }
                Layer::Linear { .. } | Layer::Vote { .. } if !flat => {
                    return Err(order("it wants features: put Flatten before it"));
                }
                Layer::Conv { out } => {
                    at_least_one("channels of a convolution", out)?;
                    shape[0] = out;
                }
                Layer::MaxPool { size } | Layer::AvgPool { size } => {
                    if size == 0 || shape[1] < size || shape[2] < size {
                        return Err(SpikingError::MapTooSmall {
                            layer: index,
                            what: layer.to_string(),
                            height: shape[1],
                            width: shape[2],
                        });
                    }
                    shape = [shape[0], shape[1] / size, shape[2] / size];
                }
                Layer::Flatten => {
                    shape = [shape.iter().product(), 1, 1];
                    flat = true;
                }
                Layer::Linear { out } => {
                    at_least_one("features of a linear layer", out)?;
                    shape = [out, 1, 1];
                }
                Layer::Vote { voters } => {
                    if index + 1 < self.layers.len() {
                        return Err(order("a network ends with it"));
                    }
                    if voters == 0 || !shape[0].is_multiple_of(voters) {
                        return Err(order("the cells before it do not divide into its groups"));
                    }
                    shape[0] /= voters;
                }
                Layer::NeuronDropout { probability } => {
                    if !(0.0..1.0).contains(&probability) {
                        return Err(order("its probability lies outside 0..1"));
                    }
                }
                Layer::BatchNorm | Layer::Relu | Layer::Lif => {}
            }
            shapes.push(shape);
        }
        if !matches!(self.layers.last(), Some(Layer::Vote { .. })) {
            return Err(SpikingError::Order {
                layer: self.layers.len(),
                what: "end".to_owned(),
                why: "a network ends with Vote",
            });
        }
        Ok(shapes)
    }

    /// Trainable parameters by name and shape, in the order of the layers: of a convolution of C channels to F `N.weight` of
    /// `[F, C, 3, 3]` and `N.bias` of `[F]`, of a linear layer of C features to F `[F, C]` and `[F]`, of batch norm `[C]` both.
    ///
    /// # Errors
    /// Those of [`Self::shapes`].
    pub fn parameter_shapes(&self) -> Result<Vec<(String, Vec<usize>)>> {
        let shapes = self.shapes()?;
        let mut named = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let channels = shapes[index][0];
            let weight = match *layer {
                Layer::Conv { out } => vec![out, channels, 3, 3],
                Layer::Linear { out } => vec![out, channels],
                Layer::BatchNorm => vec![channels],
                _ => continue,
            };
            let bias = vec![weight[0]];
            named.push((format!("{index}.weight"), weight));
            named.push((format!("{index}.bias"), bias));
        }
        Ok(named)
    }

    /// How many trainable parameters there are.
    ///
    /// # Errors
    /// Those of [`Self::shapes`].
    pub fn parameter_count(&self) -> Result<usize> {
        Ok(self.parameter_shapes()?.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum())
    }

    /// Cells of each LIF layer, as `(layer index, cells per sample)`.
    ///
    /// # Errors
    /// Those of [`Self::shapes`].
    pub fn lif_cells(&self) -> Result<Vec<(usize, usize)>> {
        let shapes = self.shapes()?;
        let cells = self.layers.iter().enumerate().filter(|(_, layer)| matches!(layer, Layer::Lif));
        Ok(cells.map(|(index, _)| (index, shapes[index].iter().product())).collect())
    }

    /// Its convolutions and linear layers, in their order, with what enters each.
    ///
    /// # Errors
    /// Those of [`Self::shapes`].
    pub fn weight_layers(&self) -> Result<Vec<WeightLayer>> {
        let shapes = self.shapes()?;
        let (mut real, mut weights) = (true, Vec::new());
        for (layer, one) in self.layers.iter().enumerate() {
            let [channels, height, width] = shapes[layer];
            match *one {
                // Features are maps of 1x1, of which a kernel of 3x3 reaches one value.
                Layer::Conv { out } | Layer::Linear { out } => {
                    let dense = (channels * out) as u64 * reached(height, width);
                    weights.push(WeightLayer { layer, real, dense });
                }
                Layer::Lif => real = false,
                Layer::AvgPool { .. } => real = true,
                _ => {}
            }
        }
        Ok(weights)
    }

    /// How many classes it votes on.
    ///
    /// # Errors
    /// Those of [`Self::shapes`].
    pub fn classes(&self) -> Result<usize> {
        Ok(self.shapes()?.last().map_or(0, |shape| shape[0]))
    }
}

impl fmt::Display for NetworkSpec {
    /// In the paper's notation: `C` stands for convolution, batch norm, ReLU and LIF.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<String> = Vec::new();
        let mut rest = self.layers.as_slice();
        loop {
            rest = match rest {
                [] => break,
                [conv @ Layer::Conv { .. }, Layer::BatchNorm, Layer::Relu, Layer::Lif, tail @ ..] => {
                    words.push(conv.to_string());
                    tail
                }
                [Layer::Flatten, tail @ ..] => tail,
                [linear @ Layer::Linear { .. }, Layer::Lif, tail @ ..] => {
                    words.push(linear.to_string());
                    tail
                }
                [layer, tail @ ..] => {
                    words.push(layer.to_string());
                    tail
                }
            };
        }
        f.write_str(&words.join("-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NMNIST: Input = Input { channels: 2, height: 34, width: 34, stride: 1 };
    const DVS: Input = Input { channels: 2, height: 128, width: 128, stride: 2 };

    #[test]
    fn full_width_networks_are_the_official_code_s() {
        let middle =
            NetworkSpec::paper(Architecture::Middle, Variant::Events, 1.0, NMNIST, 10).expect("a network");
        assert_eq!(middle.to_string(), "128C3-MP2-128C3-MP2-256C3-AP2-512C3-AP4-DP0.5-100FC-10Voting");
        assert_eq!(middle.shapes().expect("shapes").last(), Some(&[10, 1, 1]));
        let large =
            NetworkSpec::paper(Architecture::Large, Variant::Events, 1.0, DVS, 11).expect("a network");
        assert_eq!(
            large.to_string(),
            "128C3-128C3-MP2-128C3-MP2-256C3-MP2-512C3-AP2-1024C3-AP4-DP0.5-110FC-10Voting"
        );
        let mnist = Input { channels: 1, height: 28, width: 28, stride: 1 };
        let small =
            NetworkSpec::paper(Architecture::Small, Variant::Images, 1.0, mnist, 10).expect("a network");
        assert_eq!(small.to_string(), "128C3-MP2-128C3-256C3-AP2-2048FC-ReLU-DP0.5-LIF-100FC-10Voting");
        let names = small.parameter_shapes().expect("parameters");
        assert!(names.contains(&("15.weight".to_owned(), vec![2048, 12544])), "{names:?}");
    }

    #[test]
    fn narrow_networks_keep_their_form() {
        let narrow =
            NetworkSpec::paper(Architecture::Middle, Variant::Events, 0.125, NMNIST, 10).expect("a network");
        assert_eq!(narrow.to_string(), "16C3-MP2-16C3-MP2-32C3-AP2-64C3-AP4-DP0.5-100FC-10Voting");
    }

    #[test]
    fn layers_of_weights_say_what_enters_them() {
        let input = Input { channels: 2, height: 4, width: 6, stride: 1 };
        let conv = |out| [Layer::Conv { out }, Layer::BatchNorm, Layer::Relu, Layer::Lif];
        let mut layers = Vec::from(conv(3));
        layers.push(Layer::MaxPool { size: 2 });
        layers.extend(conv(4));
        layers.push(Layer::AvgPool { size: 2 });
        layers.extend(conv(5));
        layers.extend([Layer::AvgPool { size: 1 }, Layer::Flatten, Layer::Linear { out: 7 }, Layer::Lif]);
        layers.extend([Layer::Linear { out: 4 }, Layer::Lif, Layer::Vote { voters: 2 }]);
        let weights = NetworkSpec { input, layers }.weight_layers().expect("layers of weights");
        let of = |layer, real, dense| WeightLayer { layer, real, dense };
        let expected = [
            // Of 4x6 pixels, 10 x 16 pairs of an input's and an output's lie within one of each other, 2 maps to 3.
            of(0, true, 2 * 3 * 160),
            // Of 2x3 pixels 4 x 7, 3 maps to 4.
            of(5, false, 3 * 4 * 28),
            // One pixel, behind an average pool.
            of(10, true, 4 * 5),
            of(16, true, 5 * 7),
            of(18, false, 7 * 4),
        ];
        assert_eq!(weights, expected);
    }

    #[test]
    fn an_input_too_small_for_the_pools_is_an_error() {
        let tiny = Input { channels: 2, height: 8, width: 8, stride: 1 };
        let error = NetworkSpec::paper(Architecture::Large, Variant::Events, 1.0, tiny, 10).unwrap_err();
        assert!(matches!(error, SpikingError::MapTooSmall { .. }), "{error}");
    }
}
