//! The paper's networks, as the official code builds them: the networks printed in the paper differ from it and from each other's sizes;
//! each difference is named where it stands.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Input, Layer, NetworkSpec};
use crate::error::at_least_one;
use crate::{Result, SpikingError};

/// Output neurons that vote for one class (the paper's "10Voting").
pub const VOTERS_PER_CLASS: usize = 10;

/// The paper's three networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// For MNIST.
    Small,
    /// For N-MNIST and CIFAR10.
    Middle,
    /// For DVS-Gesture and DVS-CIFAR10.
    Large,
}

impl Architecture {
    /// All three, smallest first.
    pub const ALL: [Self; 3] = [Self::Small, Self::Middle, Self::Large];

    /// The name used in files and on the command line.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Middle => "middle",
            Self::Large => "large",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

impl FromStr for Architecture {
    type Err = SpikingError;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|one| one.id() == text).ok_or_else(|| SpikingError::UnknownName {
            kind: "network",
            found: text.to_owned(),
            expected: Self::ALL.map(Self::id).join(", "),
        })
    }
}

/// The official code builds the middle network in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// For events (N-MNIST): `128C3-MP2-128C3-MP2-256C3-AP2-512C3-AP4-DP-100FC-10Voting`.
    Events,
    /// For images (CIFAR10): `128C3-128C3-MP2-128C3-MP2-256C3-MP2-512C3-AP4-100FC-10Voting`, no dropout.
    Images,
}

impl NetworkSpec {
    /// One of the paper's networks as the official code builds it, each width multiplied by `width`
    /// and rounded to at least one channel.
    ///
    /// - small: `128C3-MP2-128C3-256C3-AP2-2048FC-ReLU-DP-LIF-(10 x classes)FC-10Voting`. The second linear layer of
    ///   the code takes 4096 inputs where 2048 arrive and cannot run; here it takes what arrives.
    /// - middle: see [`Variant`].
    /// - large: `128C3-128C3-MP2-128C3-MP2-256C3-MP2-512C3-AP2-1024C3-AP4-DP-(10 x classes)FC-10Voting`.
    ///
    /// # Errors
    /// [`SpikingError::MapTooSmall`] where the pools need a larger input, [`SpikingError::Range`] for a width that is no factor above 0 and up
    /// to 4, for no classes, and for an input of nothing.
    pub fn paper(
        architecture: Architecture,
        variant: Variant,
        width: f64,
        input: Input,
        classes: usize,
    ) -> Result<Self> {
        if !(width > 0.0 && width <= 4.0) {
            return Err(SpikingError::Range {
                key: "width",
                found: width.to_string(),
                expected: "a factor above 0 and up to 4",
            });
        }
        at_least_one("classes", classes)?;
        let scaled = |channels: usize| ((channels as f64 * width).round() as usize).max(1);
        let mut layers = Vec::new();
        let conv = |layers: &mut Vec<Layer>, channels: usize| {
            layers.extend([Layer::Conv { out: scaled(channels) }, Layer::BatchNorm, Layer::Relu, Layer::Lif]);
        };
        let max_pool = Layer::MaxPool { size: 2 };
        let avg_pool = |size| Layer::AvgPool { size };
        let dropout = Layer::NeuronDropout { probability: 0.5 };
        match (architecture, variant) {
            (Architecture::Small, _) => {
                conv(&mut layers, 128);
                layers.push(max_pool);
                conv(&mut layers, 128);
                conv(&mut layers, 256);
                layers.extend([avg_pool(2), Layer::Flatten]);
                layers.extend([Layer::Linear { out: scaled(2048) }, Layer::Relu, dropout, Layer::Lif]);
            }
            (Architecture::Middle, Variant::Events) => {
                conv(&mut layers, 128);
                layers.push(max_pool);
                conv(&mut layers, 128);
                layers.push(max_pool);
                conv(&mut layers, 256);
                layers.push(avg_pool(2));
                conv(&mut layers, 512);
                layers.extend([avg_pool(4), Layer::Flatten, dropout]);
            }
            (Architecture::Middle, Variant::Images) => {
                conv(&mut layers, 128);
                conv(&mut layers, 128);
                layers.push(max_pool);
                conv(&mut layers, 128);
                layers.push(max_pool);
                conv(&mut layers, 256);
                layers.push(max_pool);
                conv(&mut layers, 512);
                layers.extend([avg_pool(4), Layer::Flatten]);
            }
            (Architecture::Large, _) => {
                conv(&mut layers, 128);
                conv(&mut layers, 128);
                layers.push(max_pool);
                conv(&mut layers, 128);
                layers.push(max_pool);
                conv(&mut layers, 256);
                layers.push(max_pool);
                conv(&mut layers, 512);
                layers.push(avg_pool(2));
                conv(&mut layers, 1024);
                layers.extend([avg_pool(4), Layer::Flatten, dropout]);
            }
        }
        layers.extend([
            Layer::Linear { out: VOTERS_PER_CLASS * classes },
            Layer::Lif,
            Layer::Vote { voters: VOTERS_PER_CLASS },
        ]);
        let spec = Self { input, layers };
        spec.shapes()?;
        Ok(spec)
    }
}
