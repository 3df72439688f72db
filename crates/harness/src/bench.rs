//! Times one training step or one evaluation of the paper's networks on made-up data, for comparison with other programs.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::{Duration, Instant};

use bpsta_spiking::cpu::{Cpu, Part};
use bpsta_spiking::{
    AdamW, Architecture, Batch, Engine, Input, Layer, Mode, NetworkSpec, Neuron, Parameters, Rule, Streams,
    Variant,
};
use candle_core::{Device, Tensor};
use serde::Serialize;

use crate::engine::Setup;
use crate::environment::{cpu, peak_rss_mb};
use crate::statistics::median;
use crate::stimuli::Stimuli;
use crate::{DeviceKind, EngineKind, HarnessError, Result};

/// The paper's learning rate and weight decay.
const LEARNING_RATE: f64 = 1e-3;
const WEIGHT_DECAY: f64 = 1e-4;
/// Seed of the parameters and the data.
const SEED: u64 = 1;
/// Training steps and their batch before an inference: under the running statistics of fresh parameters hardly a cell fires.
const STEPS_BEFORE: usize = 10;
const BATCH_BEFORE: usize = 8;

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Forward, backward and AdamW, from fresh parameters.
    Step,
    /// A forward pass in evaluation mode, behind a few training steps.
    Inference,
}

/// What is timed on what.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Bench {
    /// Step or inference.
    pub task: Task,
    /// One of the paper's networks, over the input of its first data set: small sees images of 28x28, middle frames of
    /// 34x34, large frames of 128x128 at every second pixel.
    pub network: Architecture,
    /// Its width factor.
    pub width: f64,
    /// Simulation length T.
    pub time_steps: usize,
    /// Samples in a batch.
    pub batch: usize,
    /// The gradient rule.
    pub rule: Rule,
    /// Timed steps, behind two that warm up.
    pub steps: usize,
    /// What computes it.
    pub engine: EngineKind,
    /// Where.
    pub device: DeviceKind,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Timing {
    /// What was timed.
    #[serde(flatten)]
    pub bench: Bench,
    /// Threads.
    pub threads: usize,
    /// What its kernels are made for: avx512, avx2 or portable on the CPU engine, cuda on a GPU; none where candle's operations ran alone.
    pub simd: Option<String>,
    /// Median, in ms.
    pub ms_per_step: f64,
    /// Each step in its order, in ms.
    pub step_ms: Vec<f64>,
    /// Spikes over cells and time steps in evaluation mode behind the last step, by the index of the cells' layer: kernels gain from low
    /// rates.
    pub firing_rates: BTreeMap<usize, f64>,
    /// Loss of the first of them: mean squared error over batch and classes.
    pub loss: f64,
    /// The most memory that the process has held, in MiB; Linux alone tells.
    pub peak_rss_mb: Option<f64>,
    /// The processor's name; Linux alone tells.
    pub cpu: Option<String>,
    /// The GPU's name, where it ran on one.
    pub gpu: Option<String>,
    /// The most memory that tensors have held there at once, in MiB.
    pub peak_gpu_mb: Option<f64>,
}

/// What a part of a layer took.
#[derive(Debug, Clone, Serialize)]
pub struct LayerTiming {
    /// The layer, with its index and the shape that enters it.
    pub layer: String,
    /// The part of its work.
    pub part: String,
    /// Wall time a step over all threads, in ms.
    pub ms: f64,
    /// Multiplications and additions as the layer is defined; none for parts that are no sums of products.
    pub operations: Option<f64>,
}

impl Bench {
    fn input(&self) -> (Input, usize) {
        match self.network {
            Architecture::Small => (Input { channels: 1, height: 28, width: 28, stride: 1 }, 10),
            Architecture::Middle => (Input { channels: 2, height: 34, width: 34, stride: 1 }, 10),
            Architecture::Large => (Input { channels: 2, height: 128, width: 128, stride: 2 }, 11),
        }
    }

    fn stimuli(&self, samples: usize, streams: &Streams) -> Stimuli {
        let (input, classes) = self.input();
        let frames = if self.network == Architecture::Small { 1 } else { self.time_steps };
        Stimuli::new(input, frames, self.network == Architecture::Small, samples, classes, streams)
    }

    /// Runs it. With `save`, also writes the parameters, the data, the output and the loss of the first step as safetensors, with a
    /// training step's dropout masks and gradients, so that another program can compute the same.
    ///
    /// # Errors
    /// Those of the engine, and [`HarnessError::Io`] where the file cannot be written.
    pub fn run(&self, save: Option<&Path>) -> Result<Timing> {
        let (input, classes) = self.input();
        let spec = NetworkSpec::paper(self.network, Variant::Events, self.width, input, classes)?;
        let neuron = Neuron::paper(self.rule);
        let streams = Streams::new(SEED);
        let parameters = Parameters::initial(&spec, &streams, &self.device.open()?)?;
        let setup = Setup { spec, neuron, device: self.device, engine: self.engine };
        let parameters = match self.task {
            Task::Step => parameters,
            Task::Inference => self.train(setup.clone(), parameters, &streams)?,
        };
        let stimuli = self.stimuli(self.batch, &streams);
        let batch = stimuli.batch(self.time_steps);
        if let Some(path) = save {
            let tensors = self.case(&setup, &parameters, &batch)?;
            candle_core::safetensors::save(&tensors, path)
                .map_err(|error| HarnessError::io(path)(std::io::Error::other(error)))?;
        }
        let mut training = setup.start(parameters, AdamW::new(WEIGHT_DECAY), false)?;
        let simd = training.simd()?;
        let engine = training.engine();
        let mut dropout = streams.stream("dropout/0");
        let mut losses = Vec::new();
        let mut step_ms = Vec::new();
        for _ in 0..self.steps + 2 {
            let clock = Instant::now();
            losses.push(match self.task {
                Task::Step => engine.train_step(&batch, Mode::Spiking, &mut dropout, LEARNING_RATE)?.loss,
                Task::Inference => engine.evaluate(&batch, Mode::Spiking)?.loss,
            });
            step_ms.push(1e3 * clock.elapsed().as_secs_f64());
        }
        step_ms.drain(..2);
        let gpu = training.gpu()?;
        let engine = training.engine();
        let shapes = setup.spec.shapes()?;
        let rate = |(layer, spikes): (usize, u64)| {
            let cells = shapes[layer].iter().product::<usize>() * self.batch * self.time_steps;
            (layer, spikes as f64 / cells as f64)
        };
        let firing_rates = engine.evaluate(&batch, Mode::Spiking)?.spikes.into_iter().map(rate).collect();
        Ok(Timing {
            bench: *self,
            firing_rates,
            threads: rayon::current_num_threads(),
            simd,
            ms_per_step: median(step_ms.iter().copied()).unwrap_or_default(),
            step_ms,
            loss: losses[0],
            peak_rss_mb: peak_rss_mb(),
            cpu: cpu(),
            peak_gpu_mb: gpu.as_ref().map(|gpu| gpu.peak_bytes as f64 / 1024.0 / 1024.0),
            gpu: gpu.map(|gpu| gpu.name),
        })
    }

    /// What each part of each layer takes in a training step on the CPU engine.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn layers(&self) -> Result<Vec<LayerTiming>> {
        let (input, classes) = self.input();
        let spec = NetworkSpec::paper(self.network, Variant::Events, self.width, input, classes)?;
        let streams = Streams::new(SEED);
        let parameters = Parameters::initial(&spec, &streams, &Device::Cpu)?;
        let path = bpsta_spiking::cpu::Path::from_environment()?;
        let neuron = Neuron::paper(self.rule);
        let mut engine = Cpu::new(spec.clone(), neuron, &parameters, &AdamW::new(WEIGHT_DECAY), path)?;
        let stimuli = self.stimuli(self.batch, &streams);
        let batch = stimuli.batch(self.time_steps);
        let mut dropout = streams.stream("dropout/0");
        for step in 0..self.steps + 2 {
            if step == 2 {
                engine.watch();
            }
            engine.train_step(&batch, Mode::Spiking, &mut dropout, LEARNING_RATE)?;
        }
        let shapes = spec.shapes()?;
        let timing = |((layer, part), time): ((usize, Part), Duration)| {
            let [channels, height, width] = shapes[layer];
            let planes = self.batch * if layer == 0 { batch.frames } else { self.time_steps };
            let products = match &spec.layers[layer] {
                Layer::Conv { out } => 9 * channels * height * width * out,
                Layer::Linear { out } => channels * height * width * out,
                _ => 0,
            };
            let times = match (part, &spec.layers[layer]) {
                (Part::WeightGradient, Layer::Linear { .. }) => 2,
                (Part::Forward | Part::InputGradient | Part::WeightGradient, _) => 1,
                _ => 0,
            };
            LayerTiming {
                layer: format!("{layer}: {} of {channels}x{height}x{width}", spec.layers[layer]),
                part: part.to_string(),
                ms: 1e3 * time.as_secs_f64() / self.steps as f64,
                operations: (times > 0).then(|| (2 * times * planes * products) as f64),
            }
        };
        Ok(engine.watched().into_iter().map(timing).collect())
    }

    /// Parameters and running statistics after a few steps.
    fn train(&self, setup: Setup, parameters: Parameters, streams: &Streams) -> Result<Parameters> {
        let stimuli = self.stimuli(BATCH_BEFORE, streams);
        let mut training = setup.start(parameters, AdamW::new(WEIGHT_DECAY), false)?;
        let mut dropout = streams.stream("dropout/before");
        for _ in 0..STEPS_BEFORE {
            let batch = stimuli.batch(self.time_steps);
            training.engine().train_step(&batch, Mode::Spiking, &mut dropout, LEARNING_RATE)?;
        }
        Ok(training.engine().parameters()?)
    }

    /// What another program needs to compute the same, and what the CPU engine finds.
    fn case(
        &self,
        setup: &Setup,
        parameters: &Parameters,
        batch: &Batch<'_>,
    ) -> Result<HashMap<String, Tensor>> {
        let simd = bpsta_spiking::cpu::Path::from_environment()?;
        let mut engine =
            Cpu::new(setup.spec.clone(), setup.neuron, parameters, &AdamW::new(WEIGHT_DECAY), simd)?;
        let tensor = |made: candle_core::Result<Tensor>| made.map_err(bpsta_spiking::SpikingError::from);
        let mut tensors: HashMap<String, Tensor> = HashMap::new();
        let mut add_all = |kind: &str, all: &BTreeMap<String, Tensor>| {
            tensors.extend(all.iter().map(|(name, value)| (format!("{kind}.{name}"), value.clone())));
        };
        add_all("param", &parameters.trainable);
        add_all("buffer", &parameters.buffers);
        let (output, loss) = match self.task {
            Task::Step => {
                let probe = engine.probe(batch, &mut Streams::new(SEED).stream("dropout/0"))?;
                add_all("grad", &probe.gradients);
                let masks = probe.masks.into_iter().map(|(layer, mask)| (layer.to_string(), mask)).collect();
                add_all("mask", &masks);
                (probe.output, probe.loss)
            }
            Task::Inference => {
                let votes = engine.anytime(batch)?;
                let last = tensor(votes.get(batch.time_steps - 1))?;
                (last, engine.evaluate(batch, Mode::Spiking)?.loss)
            }
        };
        let input = setup.spec.input;
        let shape = (batch.labels.len(), batch.frames, input.channels, input.height, input.width);
        let labels: Vec<i64> = batch.labels.iter().map(|label| i64::from(*label)).collect();
        tensors.insert("input".to_owned(), tensor(Tensor::from_slice(batch.values, shape, &Device::Cpu))?);
        tensors.insert("labels".to_owned(), tensor(Tensor::new(labels, &Device::Cpu))?);
        tensors.insert("output".to_owned(), output);
        tensors.insert("loss".to_owned(), tensor(Tensor::new(&[loss as f32], &Device::Cpu))?);
        Ok(tensors)
    }
}
