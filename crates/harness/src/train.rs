//! One cell: trained from its seed, evaluated after each epoch.

use std::time::Instant;

use bpsta_datasets::{Dataset, Split};
use bpsta_spiking::{Batch, Engine, Mode, NetworkSpec, Parameters, Streams};

use crate::engine::Setup;
use crate::{Accuracy, EpochRecord, HarnessError, LayerSpikes, PlannedCell, RECORD_SCHEMA, Record, Result};

/// Trains and evaluates a cell. `advanced` is told the share of the cell's work done since it was last told.
pub(crate) fn train(cell: &PlannedCell, data: &Dataset, advanced: &mut dyn FnMut(f64)) -> Result<Record> {
    let started = Instant::now();
    let config = &cell.config;
    let streams = Streams::new(config.seed);
    let spec = config.spec()?;
    let parameters = Parameters::initial(&spec, &streams, &config.device.open()?)?;
    let setup = Setup {
        spec: spec.clone(),
        neuron: config.neuron,
        weight_decay: config.weight_decay,
        device: config.device,
        engine: config.engine,
    };
    let warm_up_epochs = if data.time_steps == 1 { config.ann_warm_up_epochs } else { 0 };
    let mut training = setup.start(parameters, warm_up_epochs > 0)?;
    let (train, validation) = match config.validation {
        Some(share) => hold_back(&data.train, share, &streams)?,
        None => (data.train.clone(), None),
    };
    let steps = train.len() / config.batch_size;
    // As the plan weighs them: a training sample is three passes, one that is only looked at is one.
    let looked_at = data.test.len() + validation.as_ref().map_or(0, Split::len);
    let share = 1.0 / (config.epochs * (3 * train.len() + looked_at)) as f64;

    let mut epochs = Vec::with_capacity(config.epochs);
    let mut tested = Tested::default();
    for epoch in 0..config.epochs {
        let ann_warm_up = epoch < warm_up_epochs;
        if epoch == warm_up_epochs {
            training = setup.after_warm_up(training)?;
        }
        let engine = training.engine();
        let (mode, time_steps) =
            if ann_warm_up { (Mode::Analogue, 1) } else { (Mode::Spiking, config.time_steps) };
        let order = streams.permutation(&format!("shuffle/{epoch}"), train.len());
        let mut dropout = streams.stream(&format!("dropout/{epoch}"));
        let (mut loss, mut correct, mut seconds) = (0.0, 0, 0.0);
        for (step, batch) in order.chunks_exact(config.batch_size).enumerate() {
            let mut values = Vec::with_capacity(batch.len() * train.sample_len());
            train.read_varied(batch, &cell.augmentation, (config.seed, epoch), &mut values)?;
            let labels = labels(&train, batch);
            let clock = Instant::now();
            let batch = Batch { values: &values, frames: data.time_steps, time_steps, labels: &labels };
            let rate = config.schedule.at(epoch, config.epochs, step, steps);
            let report = engine.train_step(&batch, mode, &mut dropout, rate)?;
            seconds += clock.elapsed().as_secs_f64();
            loss += report.loss / steps as f64;
            correct += report.correct;
            advanced(share * (3 * labels.len()) as f64);
        }
        if !loss.is_finite() {
            return Err(HarnessError::Diverged { run_id: cell.run_id.clone(), epoch: epoch + 1, loss });
        }
        let mut test = |split: &Split| {
            let frames = data.time_steps;
            test(engine, split, frames, mode, time_steps, config.batch_size, &mut |samples| {
                advanced(share * samples as f64);
            })
        };
        let validated = validation.as_ref().map(|split| Ok::<_, HarnessError>((split.len(), test(split)?)));
        let validated = validated.transpose()?;
        tested = test(&data.test)?;
        let trained = (steps * config.batch_size) as f64;
        epochs.push(EpochRecord {
            epoch: epoch + 1,
            learning_rate: config.schedule.at(epoch, config.epochs, 0, steps),
            ann_warm_up,
            train_loss: loss,
            train_accuracy: 100.0 * correct as f64 / trained,
            test_loss: tested.loss,
            test_accuracy: 100.0 * tested.correct as f64 / data.test.len() as f64,
            validation_loss: validated.as_ref().map(|(_, validated)| validated.loss),
            validation_accuracy: validated
                .as_ref()
                .map(|(samples, validated)| 100.0 * validated.correct as f64 / *samples as f64),
            firing_rate: tested.firing_rate(&spec, data.test.len(), time_steps)?,
            train_ms_per_sample: 1e3 * seconds / trained,
            test_ms_per_sample: 1e3 * tested.seconds / data.test.len() as f64,
        });
    }
    let parameters_hash = training.engine().parameters()?.hash()?;
    let samples = [steps * config.batch_size, data.test.len()];
    record(cell, samples, &spec, epochs, &tested, parameters_hash, started.elapsed().as_secs_f64())
}

/// Divides the training samples: those to train on, and a share of them, drawn by the seed, to choose an epoch by.
fn hold_back(train: &Split, share: f64, streams: &Streams) -> Result<(Split, Option<Split>)> {
    let mut order = streams.permutation("validation", train.len());
    let mut rest = order.split_off(held_back(train.len(), share));
    order.sort_unstable();
    rest.sort_unstable();
    Ok((train.part(&rest)?, Some(train.part(&order)?)))
}

/// How many of so many samples a share is; at least one.
pub(crate) fn held_back(samples: usize, share: f64) -> usize {
    ((samples as f64 * share).round() as usize).clamp(1.min(samples), samples)
}

/// What an evaluation of a split saw.
#[derive(Default)]
struct Tested {
    loss: f64,
    correct: usize,
    spikes: Vec<(usize, u64)>,
    seconds: f64,
}

impl Tested {
    fn total_spikes(&self) -> f64 {
        self.spikes.iter().map(|(_, spikes)| *spikes as f64).sum()
    }

    fn firing_rate(&self, spec: &NetworkSpec, samples: usize, time_steps: usize) -> Result<f64> {
        let cells: usize = spec.lif_cells()?.iter().map(|(_, cells)| cells).sum();
        Ok(self.total_spikes() / (cells * samples * time_steps) as f64)
    }
}

fn test(
    engine: &mut dyn Engine,
    split: &Split,
    frames: usize,
    mode: Mode,
    time_steps: usize,
    batch_size: usize,
    tested_samples: &mut dyn FnMut(usize),
) -> Result<Tested> {
    let mut all = Tested::default();
    let indices: Vec<usize> = (0..split.len()).collect();
    for batch in indices.chunks(batch_size) {
        let mut values = Vec::with_capacity(batch.len() * split.sample_len());
        split.read(batch, &mut values)?;
        let labels = labels(split, batch);
        let clock = Instant::now();
        let batch = Batch { values: &values, frames, time_steps, labels: &labels };
        let seen = engine.evaluate(&batch, mode)?;
        all.seconds += clock.elapsed().as_secs_f64();
        all.loss += seen.loss * labels.len() as f64 / split.len() as f64;
        all.correct += seen.predictions.iter().zip(&labels).filter(|(found, label)| found == label).count();
        if all.spikes.is_empty() {
            all.spikes = seen.spikes;
        } else {
            for (total, (_, spikes)) in all.spikes.iter_mut().zip(seen.spikes) {
                total.1 += spikes;
            }
        }
        tested_samples(labels.len());
    }
    Ok(all)
}

fn labels(split: &Split, indices: &[usize]) -> Vec<u32> {
    indices.iter().map(|index| u32::from(split.labels()[*index])).collect()
}

fn record(
    cell: &PlannedCell,
    [trained, samples]: [usize; 2],
    spec: &NetworkSpec,
    epochs: Vec<EpochRecord>,
    tested: &Tested,
    parameters_hash: String,
    wall_seconds: f64,
) -> Result<Record> {
    let config = &cell.config;
    let cells = spec.lif_cells()?;
    let layer_spikes = tested.spikes.iter().map(|(layer, spikes)| {
        let cells = cells.iter().find(|(index, _)| index == layer).map_or(0, |(_, cells)| *cells);
        let spikes_per_sample = *spikes as f64 / samples as f64;
        let firing_rate = spikes_per_sample / (cells * config.time_steps) as f64;
        LayerSpikes { layer: *layer, cells, spikes_per_sample, firing_rate }
    });
    Ok(Record {
        schema: RECORD_SCHEMA,
        run_id: cell.run_id.clone(),
        dataset: config.dataset.to_string(),
        rule: config.neuron.rule.to_string(),
        time_steps: config.time_steps,
        seed: config.seed,
        profile: config.profile.to_string(),
        synthetic: config.synthetic,
        subset: config.subset,
        data: cell.manifest.describe(),
        network: config.network.to_string(),
        width: config.width,
        layers: spec.to_string(),
        parameters: spec.parameter_count()?,
        accuracy: Accuracy::of(&epochs),
        firing_rate: tested.firing_rate(spec, samples, config.time_steps)?,
        spikes_per_sample: tested.total_spikes() / samples as f64,
        layer_spikes: layer_spikes.collect(),
        train_ms_per_sample: median(epochs.iter().map(|epoch| epoch.train_ms_per_sample)),
        test_ms_per_sample: median(epochs.iter().map(|epoch| epoch.test_ms_per_sample)),
        wall_seconds,
        threads: rayon::current_num_threads(),
        parameters_hash,
        samples: [trained, samples],
        config: config.clone(),
        epochs,
        completed: true,
    })
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
