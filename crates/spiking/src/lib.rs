//! Leaky integrate-and-fire networks and the four gradient rules of Shen, Zhao and Zeng,
//! "Backpropagation with Biologically Plausible Spatio-Temporal Adjustment For Training Deep
//! Spiking Neural Networks" (arXiv 2110.08858).
//!
//! A [`NetworkSpec`] says what a network is, [`Neuron`] how its cells fire and learn, and
//! [`Parameters`] what it has learnt. None of the three knows how it is computed: that is the part of an
//! [`Engine`]. [`reference::Reference`] is the portable one, made of candle tensor operations, for any device (on a GPU with kernels of our own);
//! [`cpu::Cpu`] is the fast one, made of kernels of our own.
//!
//! This crate knows no data set and reads no file.

pub mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod engine;
mod error;
mod examine;
mod gpu;
mod network;
mod neuron;
mod optimizer;
mod parameters;
mod random;
pub mod reference;
mod schedule;
mod stimuli;

pub use engine::{Batch, Engine, Evaluation, Mode, StepReport};
pub use error::SpikingError;
pub use examine::{Examination, Frequencies, Operations};
pub use gpu::Gpu;
pub use network::{Architecture, Input, Layer, NetworkSpec, VOTERS_PER_CLASS, Variant, WeightLayer};
pub use neuron::{Neuron, Reset, Rule};
pub use optimizer::AdamW;
pub use parameters::{Parameters, hash_tensors};
pub use random::{Streams, below};
pub use schedule::{CosineGranularity, Schedule};
pub use stimuli::Stimuli;

/// What this crate returns.
pub type Result<T> = std::result::Result<T, SpikingError>;
