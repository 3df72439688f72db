//! The portable reference engine: the network in candle tensor operations, on any device candle has; on a GPU many of them are kernels
//! of our own (`crate::cuda`).
//!
//! It keeps no tape: each layer has a forward and a backward written out, so that every gradient rule stands in
//! one place as the formula it is, and candle's own backward (whose max-pool is wrong) is never asked.
//!
//! A batch is cut into shards of a few samples, a trace per shard, a `[C, n, H, W]` tensor per time step. On a CPU
//! that keeps each operation's data in cache and gives the threads something to share; sums over shards
//! are taken in the order of the shards, so the bits do not depend on the number of threads. On a GPU one shard holds
//! the batch. Only batch normalisation looks across shards.

mod backward;
mod conv;
mod dense;
mod examine;
mod forward;
#[cfg(all(test, feature = "cuda"))]
mod gpu_tests;
pub(crate) mod lif;
mod margin;
pub(crate) mod norm;
mod pass;
mod pool;
pub(crate) mod trace;
mod trainer;

use candle_core::{DType, Device, Tensor};
use rand_chacha::ChaCha8Rng;

use crate::engine::check_labels;
use crate::parameters::check_types;
use crate::{AdamW, Input, Mode, NetworkSpec, Neuron, Parameters, Result, StepReport, Stimuli};

pub use lif::{LifTrace, lif_backward, lif_forward};
pub use pass::Pass;
pub use trace::Trace;
pub use trainer::Trainer;

/// Values that the largest map of a shard should stay within on a CPU: its tensors then fit a core's cache, and candle
/// (0.11) leaves their operations to the calling thread, where from 65,536 values on it takes a global lock.
const SHARD_VALUES: usize = 48 * 1024;
/// Samples in a shard on a CPU, at most.
const MAX_SHARD: usize = 8;

/// A network with its parameters on a device.
#[derive(Debug, Clone)]
pub struct Reference {
    spec: NetworkSpec,
    neuron: Neuron,
    parameters: Parameters,
    device: Device,
}

impl Reference {
    /// An engine for a network with given parameters.
    ///
    /// For the whole process it tells candle's matrix products (the crate `gemm`) to stay on the thread that calls them.
    ///
    /// # Errors
    /// Those of [`NetworkSpec::shapes`] and [`Neuron::validate`], and [`SpikingError::Parameter`](crate::SpikingError::Parameter) for
    /// parameters and running statistics that are not the network's, or no floats of 32 or 64 bits.
    pub fn new(spec: NetworkSpec, neuron: Neuron, parameters: Parameters, device: Device) -> Result<Self> {
        neuron.validate()?;
        parameters.check(&spec)?;
        let all = parameters.trainable.iter().chain(&parameters.buffers);
        check_types(all, &[DType::F32, DType::F64], "F32 or F64")?;
        // Threads share out shards; a matrix product that shares itself out once more only gets in their way.
        gemm::set_threading_threshold(usize::MAX);
        Ok(Self { spec, neuron, parameters, device })
    }

    /// The network.
    pub fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    /// What it has learnt so far.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// A batch for this engine: see [`Stimuli::new`] for `values` and `frames`.
    ///
    /// # Errors
    /// Those of [`Stimuli::new`].
    pub fn stimuli(&self, values: &[f32], frames: usize, time_steps: usize) -> Result<Stimuli> {
        let Input { channels, height, width, .. } = self.spec.input;
        let sample = (frames * channels * height * width).max(1);
        // By the network alone, never by the threads: the cut shapes the order of summation, and so the bits.
        let largest = self.spec.shapes()?.iter().map(|shape| shape.iter().product()).max().unwrap_or(1);
        let shard = match self.device.is_cpu() {
            true => (SHARD_VALUES / largest).clamp(1, MAX_SHARD),
            false => values.len() / sample,
        };
        Stimuli::new(values, frames, time_steps, self.spec.input, shard, self.dtype(), &self.device)
    }

    fn dtype(&self) -> DType {
        self.parameters.trainable.values().next().map_or(DType::F32, Tensor::dtype)
    }

    /// One training step: forward, backward, AdamW. `dropout` is the stream that masks are drawn from.
    ///
    /// # Errors
    /// Those of [`Pass::loss`].
    pub fn train_step(
        &mut self,
        stimuli: &Stimuli,
        labels: &[u32],
        mode: Mode,
        dropout: &mut ChaCha8Rng,
        optimizer: &mut AdamW,
        learning_rate: f64,
    ) -> Result<StepReport> {
        // Before the running statistics move.
        check_labels(labels, stimuli.samples, self.spec.classes()?)?;
        let pass = self.forward(stimuli, mode, dropout)?;
        let (loss, grads) = pass.loss(labels, stimuli.time_steps)?;
        let predictions = pass.predictions()?;
        let gradients = self.backward(pass, grads, stimuli.time_steps)?;
        optimizer.step(&mut self.parameters.trainable, &gradients, learning_rate)?;
        let correct = predictions.iter().zip(labels).filter(|(found, label)| found == label).count();
        Ok(StepReport { loss, correct })
    }

    fn weight_and_bias(&self, index: usize) -> Result<(Tensor, Tensor)> {
        let get = |part: &str| self.parameters.trainable[&format!("{index}.{part}")].clone();
        Ok((get("weight"), get("bias")))
    }
}
