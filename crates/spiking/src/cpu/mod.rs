//! The CPU engine: kernels of its own over fixed memory, the same bits on any number of threads and on any path.
//!
//! It runs the networks that [`NetworkSpec`] describes and [`reference`](crate::reference) also runs, and is tested against it. What
//! makes it fast: maps in blocks of 16 channels, spikes as bits, tables of sums instead of products where spikes
//! enter, Winograd's tiles for a convolution's gradients, norm, ReLU and cells in one pass over all time steps, a first layer computed
//! once where the image is the same at every time step, and AdamW fused into the gradients of weights.

mod conv;
mod examine;
#[allow(unsafe_code, reason = "kernels read and write through pointers that they have checked")]
#[allow(clippy::needless_range_loop, reason = "tiles are loops over constants, several arrays at one index")]
mod kernels;
mod linear;
mod load;
#[allow(unsafe_code, reason = "a store of 16 values in the measure of the peak")]
pub mod measure;
mod memory;
mod plan;
mod probe;
#[allow(unsafe_code, reason = "the paths of one instruction set each")]
mod simd;
#[cfg(test)]
mod tests;
mod turned;
mod votes;
mod watch;
mod weights;

use std::collections::BTreeMap;
use std::time::Duration;

use candle_core::{DType, Tensor};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use conv::{Conv, Extent, Room, StatisticsSource};
use kernels::adamw::AdamStep;
use linear::{Linear, SpikeGrads};
use memory::Floats;
use plan::{ConvStage, Plan};
use simd::LANES;
use watch::Watch;
use weights::{Named, Order, Update, Weights};

use crate::optimizer::{ADAM_EPSILON, BETA1, BETA2, Shared};
use crate::parameters::check_types;
use crate::{
    AdamW, Batch, Engine, Evaluation, Examination, Mode, NetworkSpec, Neuron, Parameters, Result,
    SpikingError, StepReport,
};

/// Tasks at least for each thread, as far as there are pieces of work.
const TASKS: usize = 2;

/// How many of so many pieces of work a task takes, `most` of them at most: where any number gives the same bits.
fn of_a_task(pieces: usize, most: usize) -> usize {
    (pieces / (TASKS * rayon::current_num_threads())).min(most).max(1)
}

pub use probe::Probe;
pub use simd::Path;
pub use watch::Part;

/// The engine: a network, its weights and the memory of a batch.
#[derive(Debug, Clone)]
pub struct Cpu {
    spec: NetworkSpec,
    neuron: Neuron,
    plan: Plan,
    path: Path,
    weight_decay: f64,
    steps: u32,
    convs: Vec<Conv>,
    linears: Vec<Linear>,
    room: Room,
    /// Features that enter a linear stage, before the dropout, `[sample][time step][feature]`; later the gradients of those behind the
    /// last pool.
    features: Floats,
    extent: Extent,
    /// Votes, `[sample][class]`.
    votes: Vec<f32>,
    /// Gradients of the output spikes, `[block][sample][16]`.
    vote_grads: Vec<f32>,
    /// The class with the largest vote of each sample, the first of equals.
    predictions: Vec<u32>,
    watch: Watch,
}

impl Cpu {
    /// An engine for a network with given parameters, on the given path; AdamW goes on from where `optimizer` stands.
    ///
    /// # Errors
    /// Those of [`NetworkSpec::shapes`] and [`Neuron::validate`], [`SpikingError::Order`] for layers in an order that only the
    /// reference engine runs, and [`SpikingError::Parameter`] for parameters, running statistics or moments that are not the network's, or
    /// no floats of 32 bits.
    pub fn new(
        spec: NetworkSpec,
        neuron: Neuron,
        parameters: &Parameters,
        optimizer: &AdamW,
        path: Path,
    ) -> Result<Self> {
        neuron.validate()?;
        let plan = Plan::new(&spec)?;
        parameters.check(&spec)?;
        optimizer.check(&spec, &[DType::F32], "F32")?;
        check_types(parameters.trainable.iter().chain(&parameters.buffers), &[DType::F32], "F32")?;
        let mut before = None;
        let mut convs = Vec::with_capacity(plan.convs.len());
        for stage in &plan.convs {
            convs.push(Conv::new(*stage, before));
            before = Some(stage.pool);
        }
        let linears = plan.linears.iter().map(|stage| Linear::new(*stage)).collect();
        let mut engine = Self {
            spec,
            neuron,
            plan,
            path,
            weight_decay: optimizer.weight_decay,
            steps: optimizer.step,
            convs,
            linears,
            room: Room::default(),
            features: Floats::default(),
            extent: Extent::default(),
            votes: Vec::new(),
            vote_grads: Vec::new(),
            predictions: Vec::new(),
            watch: Watch::default(),
        };
        let plan = &engine.plan;
        for conv in &mut engine.convs {
            let names = conv.names();
            names
                .into_iter()
                .zip(conv.weights_mut())
                .try_for_each(|(name, weights)| read(name, weights, parameters, optimizer))?;
            let norm = conv.stage.norm();
            for (part, values) in [("mean", &mut conv.running_mean), ("var", &mut conv.running_var)] {
                Order::Channels.read(parameters.get(&format!("{norm}.running_{part}"))?, values)?;
            }
        }
        for (index, linear) in engine.linears.iter_mut().enumerate() {
            let names = linear.names(plan, index);
            names
                .into_iter()
                .zip(linear.weights_mut())
                .try_for_each(|(name, weights)| read(name, weights, parameters, optimizer))?;
        }
        Ok(engine)
    }

    /// The network.
    pub fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    /// The path its kernels run on.
    pub fn path(&self) -> Path {
        self.path
    }

    /// Begins to note where time goes.
    pub fn watch(&mut self) {
        self.watch.start();
    }

    /// What each part of each layer took since [`Self::watch`], in wall time over all threads. Drawing masks, the loss and reading
    /// the batch are left out.
    pub fn watched(&mut self) -> BTreeMap<(usize, Part), Duration> {
        self.watch.stop()
    }

    /// All trainable tensors, made by `of` from the weights of each.
    fn trainable(&self, of: impl Fn(&Weights) -> &[f32]) -> Result<BTreeMap<String, Tensor>> {
        let shapes: BTreeMap<_, _> = self.spec.parameter_shapes()?.into_iter().collect();
        let convs = self.convs.iter().flat_map(|conv| conv.names().into_iter().zip(conv.weights()));
        let linears = self.linears.iter().enumerate();
        let linears = linears
            .flat_map(|(index, linear)| linear.names(&self.plan, index).into_iter().zip(linear.weights()));
        let write = |((order, name), weights): (Named<'_>, &Weights)| {
            let tensor = order.write(of(weights), &shapes[&name])?;
            Ok((name, tensor))
        };
        convs.chain(linears).map(write).collect()
    }

    /// Loads a batch and runs it through the network; leaves spikes and votes.
    fn pass(
        &mut self,
        batch: &Batch<'_>,
        statistics: StatisticsSource,
        dropout: Option<&mut ChaCha8Rng>,
    ) -> Result<()> {
        self.load(batch, statistics)?;
        self.watch.skip();
        self.forward(statistics, dropout);
        Ok(())
    }

    /// Runs the loaded batch through the network; leaves the votes.
    fn forward(&mut self, statistics: StatisticsSource, mut dropout: Option<&mut ChaCha8Rng>) {
        let (path, neuron) = (self.path, self.neuron);
        let rows = self.extent.samples * self.extent.steps;
        let mut features = 0;
        for index in 0..self.convs.len() {
            let (done, next) = self.convs.split_at_mut(index + 1);
            let conv = &mut done[index];
            conv.forward(path, &neuron, statistics, &mut self.watch);
            match next.first_mut() {
                Some(next) => conv.pool_into(path, &mut next.input),
                None => {
                    features = rows * conv.stage.features();
                    self.features.grow(features);
                    conv.pool_into_features(path, &mut self.features[..features]);
                }
            }
            self.watch.lap(conv.stage.layer, Part::Pool);
        }
        for index in 0..self.linears.len() {
            self.draw_masks(index, dropout.as_deref_mut());
            self.watch.skip();
            let last = index + 1 == self.linears.len();
            let linear = &mut self.linears[index];
            linear.forward(path, &neuron, &self.features[..features], &mut self.watch);
            if !last {
                features = rows * linear.stage.blocks() * LANES;
                self.features.grow(features);
                linear.spread_into(&mut self.features[..features]);
                self.watch.lap(linear.stage.layer, Part::Pool);
            }
        }
        let mut votes = std::mem::take(&mut self.votes);
        votes.clear();
        votes.extend(self.votes_after(self.extent.steps));
        self.votes = votes;
    }

    fn backward(&mut self, update: Update) {
        let (path, neuron) = (self.path, self.neuron);
        self.watch.skip();
        for index in (0..self.linears.len()).rev() {
            let (head, tail) = self.linears.split_at_mut(index + 1);
            let above = match tail.first() {
                Some(next) => SpikeGrads::Panels(&next.input_grads),
                None => SpikeGrads::Constant(&self.vote_grads),
            };
            head[index].backward(path, &neuron, update, above, &mut self.watch);
        }
        let last = self.plan.convs.last().map_or(0, ConvStage::features);
        self.linears[0].input_grads_into(last, &mut self.features);
        self.watch.lap(self.linears[0].stage.layer, Part::WeightGradient);
        for index in (0..self.convs.len()).rev() {
            let (head, tail) = self.convs.split_at_mut(index + 1);
            let pooled_grads = tail.first().map_or(&*self.features, Conv::input_grads);
            head[index].backward(path, &neuron, update, pooled_grads, &mut self.room, &mut self.watch);
        }
    }

    /// The numbers of the next AdamW step.
    fn adam(&mut self, learning_rate: f64) -> Update {
        self.steps += 1;
        let Shared { second_correction_root, kept, rate } =
            Shared::of_step(self.steps, learning_rate, self.weight_decay);
        Update::Adam(AdamStep {
            beta1: BETA1 as f32,
            beta2: BETA2 as f32,
            one_minus_beta1: (1.0 - BETA1) as f32,
            one_minus_beta2: (1.0 - BETA2) as f32,
            second_correction: (1.0 / second_correction_root) as f32,
            epsilon: ADAM_EPSILON as f32,
            keep: kept as f32,
            rate: rate as f32,
        })
    }
}

impl Engine for Cpu {
    fn train_step(
        &mut self,
        batch: &Batch<'_>,
        mode: Mode,
        dropout: &mut ChaCha8Rng,
        learning_rate: f64,
    ) -> Result<StepReport> {
        refuse_analogue(mode)?;
        in_pool(|| {
            self.pass(batch, StatisticsSource::Batch, Some(dropout))?;
            let loss = self.loss(batch.labels);
            self.vote_gradients(batch.labels);
            let update = self.adam(learning_rate);
            self.backward(update);
            let met = self.predictions.iter().zip(batch.labels).filter(|(found, label)| found == label);
            Ok(StepReport { loss, correct: met.count() })
        })
    }

    fn evaluate(&mut self, batch: &Batch<'_>, mode: Mode) -> Result<Evaluation> {
        refuse_analogue(mode)?;
        let loss = in_pool(|| {
            self.pass(batch, StatisticsSource::Running, None)?;
            Ok(self.loss(batch.labels))
        })?;
        let count =
            |spikes: &[u16]| spikes.par_iter().map(|spikes| u64::from(spikes.count_ones())).sum::<u64>();
        let convs = self.convs.iter().map(|conv| (conv.stage.cells(), count(&conv.spikes)));
        let linears = self.linears.iter().map(|linear| (linear.stage.cells, count(&linear.spikes)));
        let predictions = self.predictions.clone();
        Ok(Evaluation { loss, predictions, spikes: convs.chain(linears).collect() })
    }

    fn examine(&mut self, batch: &Batch<'_>, mode: Mode) -> Result<Examination> {
        refuse_analogue(mode)?;
        in_pool(|| {
            self.pass(batch, StatisticsSource::Running, None)?;
            self.look()
        })
    }

    fn parameters(&self) -> Result<Parameters> {
        let mut buffers = BTreeMap::new();
        for conv in &self.convs {
            let (norm, channels) = (conv.stage.norm(), [conv.stage.outputs]);
            for (part, values) in [("running_mean", &conv.running_mean), ("running_var", &conv.running_var)] {
                buffers.insert(format!("{norm}.{part}"), Order::Channels.write(values, &channels)?);
            }
        }
        Ok(Parameters { trainable: self.trainable(|weights| &weights.values)?, buffers })
    }

    fn memory(&self) -> Option<usize> {
        let convs: usize = self.convs.iter().map(Conv::bytes).sum();
        let linears: usize = self.linears.iter().map(Linear::bytes).sum();
        Some(convs + linears + self.room.bytes() + self.features.bytes())
    }

    fn optimizer(&self) -> Result<AdamW> {
        let first = self.trainable(|weights| &weights.first)?;
        let mut second = self.trainable(|weights| &weights.second)?;
        let pair = |(name, first)| second.remove(&name).map(|second| (name, (first, second)));
        let moments = first.into_iter().filter_map(pair).collect();
        Ok(AdamW::resumed(self.weight_decay, self.steps, moments))
    }
}

/// Runs `f` on a thread of the pool. From outside it, each of a step's shared tasks would be handed over and waited for by itself.
fn in_pool<R: Send>(f: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    rayon::scope(|_| f())
}

/// Reads a parameter, and its moments if it has any yet.
fn read(
    (order, name): Named<'_>,
    weights: &mut Weights,
    parameters: &Parameters,
    optimizer: &AdamW,
) -> Result<()> {
    order.read(parameters.get(&name)?, &mut weights.values)?;
    if let Some((first, second)) = optimizer.moments.get(&name) {
        order.read(first, &mut weights.first)?;
        order.read(second, &mut weights.second)?;
    }
    Ok(())
}

/// Cells in analogue mode give real numbers, which this engine's maps do not hold.
fn refuse_analogue(mode: Mode) -> Result<()> {
    match mode {
        Mode::Spiking => Ok(()),
        Mode::Analogue => Err(SpikingError::Range {
            key: "mode",
            found: "analogue".to_owned(),
            expected: "spiking cells on the CPU engine; the reference engine runs networks without spikes",
        }),
    }
}
