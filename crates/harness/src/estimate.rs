//! What a plan will take: its time by a few steps of each configuration on this machine, its memory, and its disk.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bpsta_datasets::{Counts, Store};
use bpsta_spiking::{AdamW, Engine, Layer, Mode, Parameters, Streams};

use crate::checkpoint::Checkpoint;
use crate::engine::Setup;
use crate::statistics::median;
use crate::stimuli::Stimuli;
use crate::train::held_back;
use crate::{Plan, PlannedCell, Result, RunConfig, RunStore};

/// A step of calibration takes about so long, unless one of a single sample takes longer.
const STEP_SECONDS: f64 = 0.05;
/// Samples of such a step at least.
const SAMPLES: usize = 4;
/// Timed steps, behind one that is not.
const STEPS: usize = 3;
/// Of each file of a run what does not grow with its network or its epochs, in bytes: heads, configuration, machine.
const RUN_BYTES: u64 = 64 << 10;
/// An epoch in record, curves or checkpoint, in bytes.
const EPOCH_BYTES: u64 = 1 << 10;

/// What a cell takes, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cell {
    /// From its beginning.
    whole: f64,
    /// Behind the epochs of its checkpoint.
    left: f64,
}

/// What the cells of a plan that are not finished will take on this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// By run id, of one cell after the other.
    cells: BTreeMap<String, Cell>,
    /// Bytes of memory of the largest cell, in the one process that runs it: samples, weights and what a batch needs; none where the
    /// engine does not tell.
    pub memory: Option<u64>,
    /// Bytes that finished runs take on disk at most, with frame caches that are still to be built before their compression: compressed,
    /// which is less than half, they are there twice for as long as they are built.
    pub disk: u64,
    /// Bytes on disk that a cell under way needs at most beside that: its checkpoint, and the next one while it is written.
    pub under_way: u64,
    /// Seconds that the calibration itself took.
    pub calibration: f64,
}

impl Estimate {
    /// Trains and tests each configuration of the missing cells for a few steps, on made-up samples and on this process's threads. Epochs that
    /// are behind a cell, by its checkpoint, are not counted.
    ///
    /// # Errors
    /// Those of the store, of networks and of engines.
    pub fn of(plan: &Plan, runs: &RunStore, data: &Store) -> Result<Self> {
        let clock = Instant::now();
        let mut estimate =
            Self { cells: BTreeMap::new(), memory: Some(0), disk: 0, under_way: 0, calibration: 0.0 };
        let mut known: BTreeMap<String, Calibration> = BTreeMap::new();
        let mut framed = BTreeSet::new();
        for cell in plan.missing(runs)? {
            let config = &cell.config;
            let key = serde_json::to_string(&calibrated_by(config)).unwrap_or_default();
            let calibration = match known.get(&key) {
                Some(known) => *known,
                None => *known.entry(key).or_insert(Calibration::of(config)?),
            };
            // One that cannot be read is set aside, and its run starts again.
            let checkpoint = Checkpoint::glance(&runs.checkpoint_path(&cell.run_id));
            let done = checkpoint.ok().flatten().map_or(0, |(_, epochs)| epochs);
            let seconds = |done| calibration.seconds(config, cell.manifest.samples, done);
            estimate.cells.insert(cell.run_id.clone(), Cell { whole: seconds(0), left: seconds(done) });
            let needs = data.needs(&cell.manifest, cell.framing)?;
            let memory = calibration.memory.map(|bytes| bytes + needs.memory);
            estimate.memory = estimate.memory.zip(memory).map(|(most, memory)| most.max(memory));
            let files = Files::of(cell)?;
            estimate.disk += files.finished;
            estimate.under_way = estimate.under_way.max(2 * files.checkpoint);
            if framed.insert((config.manifest_hash.clone(), config.framing.clone())) {
                estimate.disk += needs.disk;
            }
        }
        estimate.calibration = clock.elapsed().as_secs_f64();
        Ok(estimate)
    }

    /// How many cells there are to run.
    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    /// Seconds that are left of one cell; none if it was finished before.
    pub fn seconds(&self, run_id: &str) -> Option<f64> {
        self.cells.get(run_id).map(|cell| cell.left)
    }

    /// Seconds that are left of all cells, one after the other.
    pub fn total(&self) -> f64 {
        self.cells.values().map(|cell| cell.left).sum()
    }
}

impl Plan {
    /// The cells that have no record yet.
    ///
    /// # Errors
    /// [`crate::HarnessError::BadRecord`].
    pub fn missing(&self, runs: &RunStore) -> Result<Vec<&PlannedCell>> {
        let mut missing = Vec::new();
        for cell in &self.cells {
            if runs.finished(&cell.run_id)?.is_none() {
                missing.push(cell);
            }
        }
        Ok(missing)
    }

    /// Weighs the cells by an estimate, each from its beginning, so that the time left is told by it.
    pub fn weigh(&mut self, estimate: &Estimate) {
        for cell in &mut self.cells {
            cell.work = estimate.cells.get(&cell.run_id).map_or(cell.work, |estimate| estimate.whole);
        }
    }

    /// Keeps the most informative of the missing cells that together take no longer than `seconds`, and puts them in that order: all rules
    /// of a configuration with one seed before any with the next, since only whole sets of rules can be compared; and of one seed, the
    /// cheapest set first. Gives back the cells that are left out.
    pub fn limit(&mut self, estimate: &Estimate, seconds: f64) -> Vec<PlannedCell> {
        let (missing, mut kept): (Vec<PlannedCell>, Vec<PlannedCell>) = std::mem::take(&mut self.cells)
            .into_iter()
            .partition(|cell| estimate.seconds(&cell.run_id).is_some());
        let mut sets: Vec<(f64, Vec<PlannedCell>)> = Vec::new();
        for cell in missing {
            let takes = estimate.seconds(&cell.run_id).unwrap_or_default();
            match sets.iter_mut().find(|(_, set)| but_neuron(&set[0].config) == but_neuron(&cell.config)) {
                Some((sum, set)) => {
                    *sum += takes;
                    set.push(cell);
                }
                None => sets.push((takes, vec![cell])),
            }
        }
        let seed = |set: &[PlannedCell]| set[0].config.seed;
        sets.sort_by(|(a, of_a), (b, of_b)| seed(of_a).cmp(&seed(of_b)).then(a.total_cmp(b)));
        let (mut left, mut left_out) = (seconds, Vec::new());
        for (takes, set) in sets {
            if takes <= left {
                left -= takes;
                kept.extend(set);
            } else {
                left_out.extend(set);
            }
        }
        self.cells = kept;
        left_out
    }
}

/// What cells have in common that are compared with each other.
fn but_neuron(config: &RunConfig) -> RunConfig {
    RunConfig { neuron: bpsta_spiking::Neuron::paper(bpsta_spiking::Rule::Baseline), ..config.clone() }
}

/// What the time of a step depends on, and what it does not set to one value.
fn calibrated_by(config: &RunConfig) -> RunConfig {
    RunConfig {
        seed: 0,
        epochs: 1,
        validation: None,
        manifest_hash: String::new(),
        subset: None,
        augmentation: String::new(),
        ..config.clone()
    }
}

/// Bytes of a run's files, at most.
struct Files {
    /// Weights, maps, record and curves.
    finished: u64,
    /// Weights, their two moments, and a time for each step.
    checkpoint: u64,
}

impl Files {
    fn of(cell: &PlannedCell) -> Result<Self> {
        let (config, spec) = (&cell.config, cell.config.spec()?);
        let parameters = spec.parameter_count()?;
        let (mut statistics, mut positions) = (0, 0);
        for (layer, [channels, height, width]) in spec.layers.iter().zip(spec.shapes()?) {
            match layer {
                Layer::BatchNorm => statistics += 2 * channels,
                Layer::Lif => positions += height * width,
                _ => {}
            }
        }
        let steps = config.epochs * (cell.manifest.samples.train / config.batch_size);
        let values = |count: usize| 4 * count as u64;
        let rest = RUN_BYTES + EPOCH_BYTES * config.epochs as u64;
        Ok(Self {
            finished: values(parameters + statistics + 2 * positions) + rest,
            checkpoint: values(3 * parameters + statistics + steps) + rest,
        })
    }
}

/// What one configuration takes.
#[derive(Debug, Clone, Copy)]
struct Calibration {
    each: PerSample,
    /// In an epoch of ANN warm-up; none where there are none.
    warm_up: Option<PerSample>,
    /// Bytes of the engine with a whole batch.
    memory: Option<u64>,
}

/// Seconds a sample.
#[derive(Debug, Clone, Copy)]
struct PerSample {
    train: f64,
    test: f64,
}

impl Calibration {
    fn of(config: &RunConfig) -> Result<Self> {
        let spec = config.spec()?;
        let setup = Setup { spec, neuron: config.neuron, device: config.device, engine: config.engine };
        let (each, memory) = time(&setup, config, config.mode())?;
        let warms_up = config.ann_warm_up_epochs > 0;
        let warm_up = warms_up.then(|| time(&setup, config, Mode::Analogue)).transpose()?;
        Ok(Self { each, warm_up: warm_up.map(|(warm_up, _)| warm_up), memory })
    }

    /// Seconds of a cell behind its first epochs that are done.
    fn seconds(&self, config: &RunConfig, samples: Counts, done: usize) -> f64 {
        let validation = config.validation.map_or(0, |share| held_back(samples.train, share));
        let batch = config.batch_size;
        let train = ((samples.train - validation) / batch * batch) as f64;
        let test = (samples.test + validation) as f64;
        let epoch = |each: PerSample| train * each.train + test * each.test;
        let warm_up = self.warm_up.map_or(0, |_| config.ann_warm_up_epochs.min(config.epochs));
        let warm_up_left = warm_up.saturating_sub(done);
        let left = config.epochs.saturating_sub(warm_up.max(done));
        // The closer look behind the last epoch is one more pass over the test samples.
        left as f64 * epoch(self.each)
            + self.warm_up.map_or(0.0, |each| warm_up_left as f64 * epoch(each))
            + samples.test as f64 * self.each.test
    }
}

/// Seconds a sample, and the bytes that the engine holds with a whole batch.
fn time(setup: &Setup, config: &RunConfig, mode: Mode) -> Result<(PerSample, Option<u64>)> {
    let streams = Streams::new(1);
    let parameters = Parameters::initial(&setup.spec, &streams, &config.device.open()?)?;
    let mut training = setup.start(parameters, AdamW::new(config.weight_decay), mode == Mode::Analogue)?;
    let engine = training.engine();
    let time_steps = if mode == Mode::Analogue { 1 } else { config.time_steps };
    let frames = if config.framing.is_some() { time_steps } else { 1 };
    let samples =
        |count| Stimuli::new(config.input, frames, config.framing.is_none(), count, config.classes, &streams);
    let mut dropout = streams.stream("dropout/0");
    let rate = config.schedule.learning_rate;

    let one = samples(1);
    engine.train_step(&one.batch(time_steps), mode, &mut dropout, rate)?;
    let clock = Instant::now();
    engine.train_step(&one.batch(time_steps), mode, &mut dropout, rate)?;
    let of_one = clock.elapsed().as_secs_f64();
    let memory_of_one = engine.memory();

    let count = ((STEP_SECONDS / of_one) as usize).clamp(SAMPLES.min(config.batch_size), config.batch_size);
    let several = samples(count);
    let batch = several.batch(time_steps);
    let mut seconds_of = |step: &mut dyn FnMut(&mut dyn Engine) -> Result<()>| -> Result<f64> {
        step(engine)?;
        let mut seconds = Vec::new();
        for _ in 0..STEPS {
            let clock = Instant::now();
            step(engine)?;
            seconds.push(clock.elapsed().as_secs_f64());
        }
        Ok(median(seconds).unwrap_or_default())
    };
    let of_several = seconds_of(&mut |engine| {
        engine.train_step(&batch, mode, &mut dropout, rate)?;
        Ok(())
    })?;
    let test = seconds_of(&mut |engine| {
        engine.evaluate(&batch, mode)?;
        Ok(())
    })? / count as f64;
    // A step of a whole batch has more samples, and moves the weights once all the same.
    let of_sample = (of_several - of_one).max(0.0) / (count - 1).max(1) as f64;
    let more = (config.batch_size - count) as f64 * of_sample;
    let train = (of_several + more).min(of_several / count as f64 * config.batch_size as f64)
        / config.batch_size as f64;
    // What a sample adds is the same for each.
    let memory = memory_of_one.zip(engine.memory()).map(|(one, several)| {
        let of_sample = several.saturating_sub(one) as f64 / (count - 1).max(1) as f64;
        (one as f64 + of_sample * (config.batch_size - 1) as f64) as u64
    });
    Ok((PerSample { train, test }, memory))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Record;

    #[test]
    fn a_cell_takes_its_epochs_that_are_left_and_a_closer_look_at_the_test_samples() {
        let records = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results/table2/quick/records");
        let path = std::fs::read_dir(records).unwrap().next().unwrap().unwrap().path();
        let record: Record = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let config = RunConfig { epochs: 5, ann_warm_up_epochs: 2, batch_size: 10, ..record.config };
        let samples = Counts { train: 25, test: 7 };
        let each = PerSample { train: 100.0, test: 1000.0 };
        let of_spikes = Calibration { each, warm_up: None, memory: None };
        // Whole batches alone: 20 samples.
        let epoch = 20.0 * 100.0 + 7.0 * 1000.0;
        let seconds = |calibration: &Calibration, done| calibration.seconds(&config, samples, done);
        assert_eq!(seconds(&of_spikes, 0), 5.0 * epoch + 7000.0);
        assert_eq!(seconds(&of_spikes, 4), epoch + 7000.0);
        assert_eq!(
            seconds(&of_spikes, 9),
            7000.0,
            "a checkpoint of more epochs than there are takes nothing off the rest"
        );

        let warmed_up = Calibration { warm_up: Some(PerSample { train: 10.0, test: 1.0 }), ..of_spikes };
        let of_warm_up = 20.0 * 10.0 + 7.0;
        assert_eq!(seconds(&warmed_up, 0), 2.0 * of_warm_up + 3.0 * epoch + 7000.0);
        assert_eq!(seconds(&warmed_up, 1), of_warm_up + 3.0 * epoch + 7000.0);
        assert_eq!(seconds(&warmed_up, 3), 2.0 * epoch + 7000.0);
    }
}
