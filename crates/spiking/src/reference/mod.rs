//! The portable reference engine: the network in plain candle tensor operations, on any device candle has.
//!
//! It keeps no tape: each layer has a forward and a backward written out, so that every gradient rule stands in
//! one place as the formula it is, and candle's own backward (whose max-pool is wrong) is never asked.
//!
//! A batch is cut into shards of a few samples, a trace per shard, a `[C, n, H, W]` tensor per time step. On a CPU
//! that keeps each operation's data in cache and gives the threads something to share; sums over shards
//! are taken in the order of the shards, so the bits do not depend on the number of threads. On a GPU one shard holds
//! the batch. Only batch normalisation looks across shards.

mod conv;
mod dense;
mod examine;
mod lif;
mod norm;
mod pool;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::examine::largest;
use crate::random::unit;
use crate::{
    AdamW, Batch, Engine, Evaluation, Examination, Input, Layer, Mode, NetworkSpec, Neuron, Parameters,
    Result, StepReport, Stimuli,
};

pub use lif::{LifTrace, lif_backward, lif_forward};

/// Values that the largest map of a shard should stay within on a CPU: its tensors then fit a core's cache, and candle
/// (0.11) leaves their operations to the calling thread, where from 65,536 values on it takes a global lock.
const SHARD_VALUES: usize = 48 * 1024;
/// Samples in a shard on a CPU, at most.
const MAX_SHARD: usize = 8;

/// Tensors of one shard over time, `[C, n, H, W]` (or features `[F, n]`) each.
///
/// A trace of one tensor stands for the same tensor at every time step: a static image under direct encoding.
#[derive(Debug, Clone)]
pub struct Trace(Vec<Tensor>);

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
    fn map(&self, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        Ok(Self(self.0.iter().map(f).collect::<Result<_>>()?))
    }
}

type Shards = Vec<Trace>;

/// What a layer keeps for its backward pass.
enum Saved {
    Conv { input: Shards },
    Norm(norm::SavedNorm),
    Relu { output: Shards },
    Lif { traces: Vec<LifTrace> },
    Pool { input: Shards, output: Shards },
    Shape([usize; 3]),
    Dropout { masks: Vec<Tensor> },
    Linear { input: Shards },
    Nothing,
}

/// A forward pass and what it left behind.
pub struct Pass {
    votes: Vec<Tensor>,
    saved: Vec<Saved>,
}

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
    /// # Errors
    /// Those of [`NetworkSpec::shapes`] and [`Neuron::validate`].
    pub fn new(spec: NetworkSpec, neuron: Neuron, parameters: Parameters, device: Device) -> Result<Self> {
        spec.shapes()?;
        neuron.validate()?;
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
    /// The device's.
    pub fn train_step(
        &mut self,
        stimuli: &Stimuli,
        labels: &[u32],
        mode: Mode,
        dropout: &mut ChaCha8Rng,
        optimizer: &mut AdamW,
        learning_rate: f64,
    ) -> Result<StepReport> {
        let pass = self.forward(stimuli, mode, dropout)?;
        let (loss, grads) = pass.loss(labels, stimuli.time_steps)?;
        let predictions = pass.predictions()?;
        let gradients = self.backward(pass, grads, stimuli.time_steps)?;
        optimizer.step(&mut self.parameters.trainable, &gradients, learning_rate)?;
        let correct = predictions.iter().zip(labels).filter(|(found, label)| found == label).count();
        Ok(StepReport { loss, correct })
    }

    /// A forward pass in training mode: batch statistics, running averages updated, dropout on.
    ///
    /// # Errors
    /// The device's.
    pub fn forward(&mut self, stimuli: &Stimuli, mode: Mode, dropout: &mut ChaCha8Rng) -> Result<Pass> {
        let steps = stimuli.time_steps;
        let mut shards = stimuli.shards.clone();
        let mut saved = Vec::with_capacity(self.spec.layers.len());
        for index in 0..self.spec.layers.len() {
            let (next, kept) = match self.spec.layers[index] {
                Layer::BatchNorm => {
                    let (weight, bias) = self.weight_and_bias(index)?;
                    let statistics = norm::batch_statistics(&shards)?;
                    self.update_running(index, &statistics, steps)?;
                    let (next, kept) = norm::forward(&shards, statistics, &weight, &bias)?;
                    (next, Saved::Norm(kept))
                }
                Layer::NeuronDropout { probability } => {
                    let masks = dense::dropout_masks(&shards, probability, || unit(dropout))?;
                    let next = dense::mask(&shards, &masks)?;
                    (next, Saved::Dropout { masks })
                }
                Layer::Lif if mode == Mode::Spiking => {
                    let neuron = &self.neuron;
                    let traces: Vec<LifTrace> = shards
                        .par_iter()
                        .map(|trace| lif_forward(trace, steps, neuron))
                        .collect::<Result<_>>()?;
                    let next = traces.iter().map(|trace| Trace(trace.spikes.clone())).collect();
                    (next, Saved::Lif { traces })
                }
                _ => self.stateless(index, shards)?,
            };
            shards = next;
            saved.push(kept);
        }
        Ok(Pass { votes: mean_votes(&shards, steps)?, saved })
    }

    /// Evaluates: running statistics, no dropout, spikes counted.
    ///
    /// # Errors
    /// The device's.
    pub fn evaluate(&self, stimuli: &Stimuli, labels: &[u32], mode: Mode) -> Result<Evaluation> {
        let steps = stimuli.time_steps;
        let mut spikes = Vec::new();
        let shards = self.run(stimuli, mode, |index, shards| {
            if let Some(cells) = self.cells_before(index).filter(|_| mode == Mode::Spiking) {
                let counts = shards.par_iter().map(|trace| lif::count(trace.tensors()));
                spikes.push((cells, counts.collect::<Result<Vec<u64>>>()?.iter().sum()));
            }
            Ok(())
        })?;
        let pass = Pass { votes: mean_votes(&shards, steps)?, saved: Vec::new() };
        let (loss, _) = pass.loss(labels, steps)?;
        Ok(Evaluation { loss, predictions: pass.predictions()?, spikes })
    }

    /// The layer of cells right before a layer, if there is one.
    fn cells_before(&self, index: usize) -> Option<usize> {
        index.checked_sub(1).filter(|before| self.spec.layers[*before] == Layer::Lif)
    }

    /// Runs a batch with running statistics and without dropout; `meet` is shown what enters each layer. Gives the votes.
    fn run(
        &self,
        stimuli: &Stimuli,
        mode: Mode,
        mut meet: impl FnMut(usize, &[Trace]) -> Result<()>,
    ) -> Result<Shards> {
        let steps = stimuli.time_steps;
        let mut shards = stimuli.shards.clone();
        for index in 0..self.spec.layers.len() {
            meet(index, &shards)?;
            shards = match self.spec.layers[index] {
                Layer::BatchNorm => {
                    let (weight, bias) = self.weight_and_bias(index)?;
                    let mean = &self.parameters.buffers[&format!("{index}.running_mean")];
                    let var = &self.parameters.buffers[&format!("{index}.running_var")];
                    norm::apply_running(&shards, mean, var, &weight, &bias)?
                }
                Layer::NeuronDropout { .. } => shards,
                Layer::Lif if mode == Mode::Spiking => {
                    let fire = |trace| Ok(Trace(lif_forward(trace, steps, &self.neuron)?.spikes));
                    shards.par_iter().map(fire).collect::<Result<_>>()?
                }
                _ => self.stateless(index, shards)?.0,
            };
        }
        Ok(shards)
    }

    /// Layers that do the same in training and evaluation.
    fn stateless(&self, index: usize, shards: Shards) -> Result<(Shards, Saved)> {
        let each = |f: &(dyn Fn(&Tensor) -> Result<Tensor> + Sync)| -> Result<Shards> {
            shards.par_iter().map(|trace| trace.map(f)).collect()
        };
        Ok(match self.spec.layers[index] {
            Layer::Conv { .. } => {
                let (weight, bias) = self.weight_and_bias(index)?;
                let kernel = conv::forward_kernel(&weight)?;
                let next = each(&|x| conv::forward(x, &kernel, &bias))?;
                (next, Saved::Conv { input: shards })
            }
            Layer::Relu => {
                let next = each(&|x| Ok(x.relu()?))?;
                (next.clone(), Saved::Relu { output: next })
            }
            Layer::MaxPool { size } => {
                let next = each(&|x| pool::max(x, size))?;
                (next.clone(), Saved::Pool { input: shards, output: next })
            }
            Layer::AvgPool { size } => {
                let next = each(&|x| pool::average(x, size))?;
                (next, Saved::Pool { input: shards, output: Vec::new() })
            }
            Layer::Flatten => {
                let (c, _, h, w) = shards[0].at(0).dims4()?;
                (each(&dense::flatten)?, Saved::Shape([c, h, w]))
            }
            Layer::Linear { .. } => {
                let (weight, bias) = self.weight_and_bias(index)?;
                let next = each(&|x| dense::linear(x, &weight, &bias))?;
                (next, Saved::Linear { input: shards })
            }
            Layer::Vote { voters } => (each(&|x| dense::vote(x, voters))?, Saved::Nothing),
            // Met here in analogue mode only, where a cell passes its input on.
            Layer::Lif => (shards, Saved::Nothing),
            Layer::BatchNorm | Layer::NeuronDropout { .. } => unreachable!("handled by the pass itself"),
        })
    }

    /// Gradients of all parameters from the gradient of each shard's votes, the same at each time step.
    ///
    /// # Errors
    /// The device's.
    pub fn backward(
        &self,
        pass: Pass,
        votes: Vec<Tensor>,
        time_steps: usize,
    ) -> Result<BTreeMap<String, Tensor>> {
        let mut gradients = BTreeMap::new();
        let mut grads: Shards = votes.into_iter().map(|vote| Trace(vec![vote; time_steps])).collect();
        let first_trained = self
            .spec
            .layers
            .iter()
            .position(|layer| matches!(layer, Layer::Conv { .. } | Layer::Linear { .. }));
        for (index, saved) in pass.saved.into_iter().enumerate().rev() {
            let each = |f: &(dyn Fn(&Tensor) -> Result<Tensor> + Sync)| -> Result<Shards> {
                grads.par_iter().map(|trace| trace.map(f)).collect()
            };
            grads = match (self.spec.layers[index], saved) {
                (Layer::Conv { .. }, Saved::Conv { input }) => {
                    let (weight, _) = self.weight_and_bias(index)?;
                    let (dw, db) = conv::backward_parameters(&input, &grads, &weight)?;
                    gradients.insert(format!("{index}.weight"), dw);
                    gradients.insert(format!("{index}.bias"), db);
                    if first_trained == Some(index) {
                        break;
                    }
                    let kernel = conv::backward_kernel(&weight)?;
                    each(&|grad| conv::columns_times(grad, &kernel))?
                }
                (Layer::BatchNorm, Saved::Norm(kept)) => {
                    let (weight, _) = self.weight_and_bias(index)?;
                    let (next, dw, db) = norm::backward(&grads, &kept, &weight)?;
                    gradients.insert(format!("{index}.weight"), dw);
                    gradients.insert(format!("{index}.bias"), db);
                    next
                }
                (Layer::Relu, Saved::Relu { output }) => {
                    zip_shards(&grads, &output, |grad, out| Ok((grad * out.sign()?)?))?
                }
                (Layer::Lif, Saved::Lif { traces }) => {
                    let neuron = &self.neuron;
                    grads
                        .par_iter()
                        .zip(&traces)
                        .map(|(grad, trace)| Ok(Trace(lif_backward(trace, grad.tensors(), neuron)?)))
                        .collect::<Result<_>>()?
                }
                (Layer::MaxPool { size }, Saved::Pool { input, output }) => grads
                    .par_iter()
                    .zip(input.par_iter().zip(&output))
                    .map(|(grad, (input, output))| {
                        let steps = 0..grad.tensors().len();
                        let next =
                            steps.map(|t| pool::max_backward(grad.at(t), input.at(t), output.at(t), size));
                        Ok(Trace(next.collect::<Result<_>>()?))
                    })
                    .collect::<Result<_>>()?,
                (Layer::AvgPool { size }, Saved::Pool { input, .. }) => {
                    zip_shards(&grads, &input, |grad, input| pool::average_backward(grad, input, size))?
                }
                (Layer::Flatten, Saved::Shape(shape)) => each(&|grad| dense::unflatten(grad, shape))?,
                (Layer::NeuronDropout { .. }, Saved::Dropout { masks }) => dense::mask(&grads, &masks)?,
                (Layer::Linear { .. }, Saved::Linear { input }) => {
                    let (weight, _) = self.weight_and_bias(index)?;
                    let (dw, db) = dense::linear_backward_parameters(&input, &grads)?;
                    gradients.insert(format!("{index}.weight"), dw);
                    gradients.insert(format!("{index}.bias"), db);
                    if first_trained == Some(index) {
                        break;
                    }
                    let transposed = weight.t()?.contiguous()?;
                    each(&|grad| Ok(transposed.matmul(grad)?))?
                }
                (Layer::Vote { voters }, _) => each(&|grad| dense::vote_backward(grad, voters))?,
                // A cell in analogue mode.
                (_, _) => grads,
            };
        }
        Ok(gradients)
    }

    fn weight_and_bias(&self, index: usize) -> Result<(Tensor, Tensor)> {
        let get = |part: &str| self.parameters.trainable[&format!("{index}.{part}")].clone();
        Ok((get("weight"), get("bias")))
    }

    /// One running update per time step, as the official code's per-step batch norm does.
    fn update_running(&mut self, index: usize, statistics: &norm::Statistics, steps: usize) -> Result<()> {
        for (part, batch) in [("mean", &statistics.mean), ("var", &statistics.unbiased)] {
            let name = format!("{index}.running_{part}");
            let mut running = self.parameters.buffers[&name].clone();
            for t in 0..steps {
                running = norm::running_update(&running, &batch[t.min(batch.len() - 1)])?;
            }
            self.parameters.buffers.insert(name, running);
        }
        Ok(())
    }
}

/// The reference as an [`Engine`]: the network with its optimizer.
#[derive(Debug, Clone)]
pub struct Trainer {
    engine: Reference,
    optimizer: AdamW,
}

impl Trainer {
    /// AdamW goes on from where `optimizer` stands.
    pub fn new(engine: Reference, optimizer: AdamW) -> Self {
        Self { engine, optimizer }
    }

    fn stimuli(&self, batch: &Batch<'_>) -> Result<Stimuli> {
        batch.check(self.engine.spec.input, self.engine.spec.classes()?)?;
        self.engine.stimuli(batch.values, batch.frames, batch.time_steps)
    }
}

impl Engine for Trainer {
    fn train_step(
        &mut self,
        batch: &Batch<'_>,
        mode: Mode,
        dropout: &mut ChaCha8Rng,
        learning_rate: f64,
    ) -> Result<StepReport> {
        let stimuli = self.stimuli(batch)?;
        self.engine.train_step(&stimuli, batch.labels, mode, dropout, &mut self.optimizer, learning_rate)
    }

    fn evaluate(&mut self, batch: &Batch<'_>, mode: Mode) -> Result<Evaluation> {
        self.engine.evaluate(&self.stimuli(batch)?, batch.labels, mode)
    }

    fn examine(&mut self, batch: &Batch<'_>, mode: Mode) -> Result<Examination> {
        self.engine.examine(&self.stimuli(batch)?, mode)
    }

    fn parameters(&self) -> Result<Parameters> {
        Ok(self.engine.parameters.clone())
    }

    fn memory(&self) -> Option<usize> {
        None
    }

    fn optimizer(&self) -> Result<AdamW> {
        Ok(self.optimizer.clone())
    }
}

impl Pass {
    /// The votes' mean over time, `[N, classes]`.
    ///
    /// # Errors
    /// The device's.
    pub fn output(&self) -> Result<Tensor> {
        Ok(Tensor::cat(&self.votes, 1)?.t()?.contiguous()?)
    }

    /// The spikes of a LIF layer, `[T, N, C, H, W]` (features: `[T, N, F]`); none if the layer did not spike.
    ///
    /// # Errors
    /// The device's.
    pub fn spikes(&self, layer: usize) -> Result<Option<Tensor>> {
        let Some(Saved::Lif { traces }) = self.saved.get(layer) else { return Ok(None) };
        let steps = (0..traces[0].spikes.len()).map(|t| {
            let shards: Vec<Tensor> = traces
                .iter()
                .map(|trace| trace.spikes[t].transpose(0, 1))
                .collect::<candle_core::Result<_>>()?;
            Ok(Tensor::cat(&shards, 0)?.contiguous()?)
        });
        Ok(Some(Tensor::stack(&steps.collect::<Result<Vec<_>>>()?, 0)?))
    }

    /// Mean squared error against the one-hot labels, over batch and classes, and its gradient with respect to
    /// each shard's votes at any time step, `[classes, n]`.
    ///
    /// # Errors
    /// The device's.
    pub fn loss(&self, labels: &[u32], time_steps: usize) -> Result<(f64, Vec<Tensor>)> {
        let classes = self.votes[0].dim(0)?;
        let total = (labels.len() * classes) as f64;
        let (mut loss, mut grads, mut first) = (0.0, Vec::new(), 0);
        for votes in &self.votes {
            let samples = votes.dim(1)?;
            let index = Tensor::new(&labels[first..first + samples], votes.device())?;
            first += samples;
            let target =
                candle_nn::encoding::one_hot(index, classes, 1f32, 0f32)?.t()?.to_dtype(votes.dtype())?;
            let error = (votes - target.contiguous()?)?;
            loss += error.sqr()?.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
            grads.push((error * (2.0 / (total * time_steps as f64)))?);
        }
        Ok((loss / total, grads))
    }

    /// The class with the largest mean vote, per sample; the first of equals.
    fn predictions(&self) -> Result<Vec<u32>> {
        let rows = self.output()?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        Ok(rows.iter().map(|row| largest(row)).collect())
    }
}

/// The votes' mean over time, per shard.
fn mean_votes(shards: &[Trace], steps: usize) -> Result<Vec<Tensor>> {
    let mean = |trace: &Trace| -> Result<Tensor> {
        let mut sum = trace.at(0).clone();
        for t in 1..steps {
            sum = (sum + trace.at(t))?;
        }
        Ok((sum / steps as f64)?)
    };
    shards.iter().map(mean).collect()
}

/// `f` at every time step of `left`, with the same step of `right`, for each shard.
fn zip_shards(
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
fn sum(tensors: impl IntoIterator<Item = Result<Tensor>>) -> Result<Tensor> {
    let mut tensors = tensors.into_iter();
    let first = tensors.next().unwrap_or_else(|| Err(candle_core::Error::Msg("an empty sum".into()).into()));
    tensors.try_fold(first?, |total, next| Ok((total + next?)?))
}
