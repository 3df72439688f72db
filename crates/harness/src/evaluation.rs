//! Weights of a finished run evaluated once more, and held against its record.

use std::fmt::Debug;
use std::path::Path;

use bpsta_datasets::{Dataset, Split, Store};
use bpsta_spiking::{AdamW, Engine};

use crate::engine::Setup;
use crate::evaluate::{Form, Tested, evaluate, examine};
use crate::record::Percentiles;
use crate::{DeviceKind, EngineKind, HarnessError, LayerSpikes, Record, Result, Weights};

/// Samples that are enough to say how long one takes alone.
const ALONE: usize = 256;

/// What an evaluation of weights saw on the run's test split.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    /// What computed it.
    pub engine: EngineKind,
    /// The kernels' instruction set, where the engine has kernels.
    pub simd: Option<String>,
    /// Test samples.
    pub samples: usize,
    /// In %.
    pub accuracy: f64,
    /// Spikes over cells and time steps, of all LIF layers.
    pub firing_rate: f64,
    /// Spikes of all LIF layers per sample.
    pub spikes_per_sample: f64,
    /// The same of each LIF layer.
    pub layers: Vec<LayerSpikes>,
    /// Accuracy in % if the vote were taken after each time step.
    pub anytime: Vec<f64>,
    /// For samples alone, and in the run's batches.
    pub latency: Vec<Latency>,
    /// Where it differs from the record; none where it is the same bits.
    pub mismatches: Vec<Mismatch>,
}

/// How long a sample takes, of the engine alone, without reading the data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    /// Samples in a batch.
    pub batch_size: usize,
    /// Batches that were timed.
    pub batches: usize,
    /// In ms per sample, over batches.
    pub ms: Percentiles,
}

/// A value that the record has otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The record's key.
    pub key: &'static str,
    /// What the record says.
    pub record: String,
    /// What was found.
    pub found: String,
}

/// Evaluates weights on the test split of their run, which must be in the data folder `data`, on the run's engine and device or on others.
///
/// # Errors
/// [`HarnessError::OtherData`] where the run's data are not there, [`HarnessError::TwinEngine`] where an ANN twin is to be run by an engine that
/// cannot, and those of data sets and engines.
pub fn evaluate_weights(
    weights: &Weights,
    data: &Store,
    folder: &Path,
    device: Option<DeviceKind>,
    engine: Option<EngineKind>,
) -> Result<Evaluated> {
    let Weights { record, spec, parameters, .. } = weights;
    let config = &record.config;
    let dataset = load(record, data, folder)?;
    let device = device.unwrap_or(config.device);
    let own = config.ann || device == config.device;
    let kind = engine.unwrap_or(if own { config.engine } else { EngineKind::of(device) });
    if config.ann && kind != config.engine {
        return Err(HarnessError::TwinEngine { run_id: record.run_id.clone(), engine: kind });
    }
    let setup = Setup { spec: spec.clone(), neuron: config.neuron, device, engine: kind };
    let there = parameters.to_device(&device.open()?)?;
    let mut training = setup.start(there, AdamW::new(config.weight_decay), config.ann)?;
    let simd = training.simd()?;
    let form = Form {
        frames: dataset.time_steps,
        time_steps: config.time_steps,
        mode: config.mode(),
        batch_size: config.batch_size,
        classes: config.classes,
    };
    let (tested, in_batches) = timed(training.engine(), &dataset.test, form)?;
    let some: Vec<usize> = (0..dataset.test.len().min(ALONE)).collect();
    let (_, alone) = timed(training.engine(), &dataset.test.part(&some)?, Form { batch_size: 1, ..form })?;
    let examined = examine(training.engine(), &dataset.test, form)?;
    let mut evaluated = Evaluated {
        engine: kind,
        simd,
        samples: tested.samples,
        accuracy: tested.accuracy(),
        firing_rate: tested.firing_rate(spec, config.time_steps)?,
        spikes_per_sample: tested.spikes_per_sample(),
        layers: tested.layers(spec, config.time_steps)?,
        anytime: examined.anytime,
        latency: vec![alone, in_batches],
        mismatches: Vec::new(),
    };
    let hash = parameters.hash()?;
    let maps_hash = examined.maps.hash()?;
    let seen = &evaluated;
    evaluated.mismatches = [
        differs("parameters_hash", &record.parameters_hash, &hash),
        differs("samples[1]", &record.samples[1], &seen.samples),
        differs("accuracy.last", &record.accuracy.last, &seen.accuracy),
        differs("firing_rate", &record.firing_rate, &seen.firing_rate),
        differs("spikes_per_sample", &record.spikes_per_sample, &seen.spikes_per_sample),
        differs("layer_spikes", &record.layer_spikes, &seen.layers),
        // Records of schema 1 have none of these.
        record.classes.as_ref().and_then(|of| differs("classes", of, &tested.classes)),
        record.anytime.as_ref().and_then(|of| differs("anytime", of, &seen.anytime)),
        record.maps_hash.as_ref().and_then(|of| differs("maps_hash", of, &maps_hash)),
        record.operations.as_ref().and_then(|of| differs("operations", of, &examined.operations)),
    ]
    .into_iter()
    .flatten()
    .collect();
    Ok(evaluated)
}

/// The data that a run has met: those whose manifest has the hash of its configuration.
fn load(record: &Record, data: &Store, folder: &Path) -> Result<Dataset> {
    let config = &record.config;
    let there = match config.synthetic {
        // One that cannot be read is not the one whose hash is known.
        true => data.stand_ins(config.dataset)?.into_iter().flatten().collect(),
        false => data.manifest(config.dataset)?.into_iter().collect::<Vec<_>>(),
    };
    let manifest = there.into_iter().find(|manifest| manifest.hash() == config.manifest_hash);
    let manifest = manifest.ok_or_else(|| HarnessError::OtherData {
        run_id: record.run_id.clone(),
        data: format!("{}; manifest {}", record.data, config.manifest_hash),
        folder: folder.to_owned(),
    })?;
    Ok(data.load(&manifest, config.framing.as_ref().and_then(|framing| framing.parse().ok()))?)
}

fn timed(engine: &mut dyn Engine, split: &Split, form: Form) -> Result<(Tested, Latency)> {
    // The first batch of a size finds no memory yet, and is not timed.
    let first: Vec<usize> = (0..split.len().min(form.batch_size)).collect();
    evaluate(engine, &split.part(&first)?, form, &mut |_, _| {})?;
    let mut ms = Vec::new();
    let tested = evaluate(engine, split, form, &mut |samples, seconds| {
        ms.push((1e3 * seconds / samples as f64) as f32);
    })?;
    let latency = Latency { batch_size: form.batch_size, batches: ms.len(), ms: Percentiles::of(&ms) };
    Ok((tested, latency))
}

fn differs<T: PartialEq + Debug>(key: &'static str, record: &T, found: &T) -> Option<Mismatch> {
    (record != found).then(|| Mismatch { key, record: format!("{record:?}"), found: format!("{found:?}") })
}
