//! The training of one cell, an epoch at a time: from its seed, or from where it was stopped, to the same bits.

use std::time::Instant;

use bpsta_datasets::{Dataset, Split};
use bpsta_spiking::{AdamW, Batch, Mode, NetworkSpec, Parameters, Streams};

use crate::checkpoint::{Checkpoint, Progress};
use crate::engine::{Setup, Training};
use crate::environment::{Code, Environment, peak_rss_mb};
use crate::evaluate::{Form, Tested, evaluate, examine, labels};
use crate::maps::Maps;
use crate::record::{Percentiles, Timing};
use crate::reproducible::stream_names;
use crate::statistics::median;
use crate::{Accuracy, EpochRecord, HarnessError, PlannedCell, RECORD_SCHEMA, Record, Result, RunConfig};

/// What a run leaves behind.
pub(crate) struct Trained {
    pub(crate) record: Record,
    pub(crate) parameters: Parameters,
    pub(crate) maps: Maps,
}

/// A cell in training.
pub(crate) struct Run<'a> {
    cell: &'a PlannedCell,
    data: &'a Dataset,
    spec: NetworkSpec,
    streams: Streams,
    train: Split,
    validation: Option<Split>,
    setup: Setup,
    warm_up_epochs: usize,
    training: Training,
    progress: Progress,
    /// After the last epoch.
    tested: Tested,
    /// When this process began with it.
    started: Instant,
}

impl<'a> Run<'a> {
    /// A cell before its first epoch, or behind the epochs of a checkpoint.
    pub(crate) fn new(
        cell: &'a PlannedCell,
        data: &'a Dataset,
        spec: NetworkSpec,
        checkpoint: Option<Checkpoint>,
    ) -> Result<Self> {
        let started = Instant::now();
        let config = &cell.config;
        let streams = Streams::new(config.seed);
        let Checkpoint { mut progress, parameters, optimizer } = match checkpoint {
            Some(checkpoint) => checkpoint,
            None => Checkpoint {
                progress: Progress::default(),
                parameters: Parameters::initial(&spec, &streams, &config.device.open()?)?,
                optimizer: AdamW::new(config.weight_decay),
            },
        };
        let done = progress.epochs.len();
        progress.resumed += u32::from(done > 0);
        let setup =
            Setup { spec: spec.clone(), neuron: config.neuron, device: config.device, engine: config.engine };
        let warm_up_epochs = config.warm_up_epochs();
        let training = setup.start(parameters, optimizer, done < warm_up_epochs)?;
        let (train, validation) = match config.validation {
            Some(share) => {
                let [train, held] = hold_back(data.train.len(), share, &streams);
                (data.train.part(&train)?, Some(data.train.part(&held)?))
            }
            None => (data.train.clone(), None),
        };
        let tested = Tested::default();
        Ok(Self {
            cell,
            data,
            spec,
            streams,
            train,
            validation,
            setup,
            warm_up_epochs,
            training,
            progress,
            tested,
            started,
        })
    }

    /// The epochs that are done.
    pub(crate) fn epochs(&self) -> &[EpochRecord] {
        &self.progress.epochs
    }

    /// Whether an epoch is left.
    pub(crate) fn goes_on(&self) -> bool {
        self.progress.epochs.len() < self.cell.config.epochs
    }

    fn steps(&self) -> usize {
        self.train.len() / self.cell.config.batch_size
    }

    /// Trains the next epoch and evaluates after it. `advanced` is told the share of the cell's work done since it was last told.
    pub(crate) fn epoch(&mut self, advanced: &mut dyn FnMut(f64)) -> Result<()> {
        let epoch = self.progress.epochs.len();
        if epoch == self.warm_up_epochs {
            self.setup.after_warm_up(&mut self.training)?;
        }
        let engine = self.training.engine();
        let config = &self.cell.config;
        let ann_warm_up = epoch < self.warm_up_epochs;
        let (mode, time_steps) =
            if ann_warm_up { (Mode::Analogue, 1) } else { (Mode::Spiking, config.time_steps) };
        let (train, frames) = (&self.train, self.data.time_steps);
        let steps = train.len() / config.batch_size;
        // As the plan weighs them: a training sample is three passes, one that is only looked at is one. What fills no batch is none.
        let looked_at = self.data.test.len() + self.validation.as_ref().map_or(0, Split::len);
        let share = 1.0 / (config.epochs * (3 * steps * config.batch_size + looked_at)) as f64;
        let order = self.streams.permutation(&format!("shuffle/{epoch}"), train.len());
        let mut dropout = self.streams.stream(&format!("dropout/{epoch}"));
        let (mut loss, mut correct, mut seconds) = (0.0, 0, 0.0);
        for (step, batch) in order.chunks_exact(config.batch_size).enumerate() {
            let mut values = Vec::with_capacity(batch.len() * train.sample_len());
            train.read_varied(batch, &self.cell.augmentation, (config.seed, epoch), &mut values)?;
            let labels = labels(train, batch);
            let clock = Instant::now();
            let batch = Batch { values: &values, frames, time_steps, labels: &labels };
            let rate = config.schedule.at(epoch, config.epochs, step, steps);
            let report = engine.train_step(&batch, mode, &mut dropout, rate)?;
            let step_seconds = clock.elapsed().as_secs_f64();
            seconds += step_seconds;
            self.progress.step_ms.push((1e3 * step_seconds) as f32);
            loss += report.loss / steps as f64;
            correct += report.correct;
            advanced(share * (3 * labels.len()) as f64);
        }
        if !loss.is_finite() {
            return Err(self.diverged(format!("the loss of epoch {} is {loss}", epoch + 1)));
        }
        let form = Form { frames, time_steps, mode, batch_size: config.batch_size, classes: config.classes };
        let mut test =
            |split: &Split| evaluate(engine, split, form, &mut |samples, _| advanced(share * samples as f64));
        let validated = self.validation.as_ref().map(&mut test).transpose()?;
        let tested = test(&self.data.test)?;
        // Not left to the record: in a checkpoint a loss that is no number would be read back as none.
        if let Some(seen) = validated.iter().chain([&tested]).find(|seen| !seen.loss.is_finite()) {
            let what = format!("the test or validation loss after epoch {} is {}", epoch + 1, seen.loss);
            return Err(self.diverged(what));
        }
        let trained = (steps * config.batch_size) as f64;
        let layers = tested.layers(&self.spec, time_steps)?;
        self.progress.epochs.push(EpochRecord {
            epoch: epoch + 1,
            learning_rate: config.schedule.at(epoch, config.epochs, 0, steps),
            ann_warm_up,
            train_loss: loss,
            train_accuracy: 100.0 * correct as f64 / trained,
            test_loss: tested.loss,
            test_accuracy: tested.accuracy(),
            validation_loss: validated.as_ref().map(|validated| validated.loss),
            validation_accuracy: validated.as_ref().map(Tested::accuracy),
            firing_rate: tested.firing_rate(&self.spec, time_steps)?,
            layer_firing_rates: Some(layers.iter().map(|layer| layer.firing_rate).collect()),
            train_ms_per_sample: 1e3 * seconds / trained,
            test_ms_per_sample: 1e3 * tested.seconds / self.data.test.len() as f64,
        });
        self.tested = tested;
        Ok(())
    }

    /// What it goes on from if it is stopped here.
    pub(crate) fn checkpoint(&mut self) -> Result<Checkpoint> {
        let progress = self.progress_here();
        let parameters = self.learnt()?;
        Ok(Checkpoint { progress, parameters, optimizer: self.training.engine().optimizer()? })
    }

    /// What it has learnt so far. Spikes hide a divergence from the loss: a potential that is no number does not fire, so a network
    /// whose weights are none falls silent, and its loss stays a number.
    fn learnt(&mut self) -> Result<Parameters> {
        let parameters = self.training.engine().parameters()?;
        match parameters.not_finite()? {
            None => Ok(parameters),
            Some(name) => {
                let epoch = self.progress.epochs.len();
                Err(self.diverged(format!("a value of `{name}` is not finite after epoch {epoch}")))
            }
        }
    }

    fn diverged(&self, what: String) -> HarnessError {
        HarnessError::Diverged { run_id: self.cell.run_id.clone(), what }
    }

    fn progress_here(&self) -> Progress {
        let mut progress = self.progress.clone();
        progress.wall_seconds += self.started.elapsed().as_secs_f64();
        progress.peak_rss_mb = progress.peak_rss_mb.into_iter().chain(peak_rss_mb()).reduce(f64::max);
        progress
    }

    /// The record of the run behind its last epoch, what it has learnt, and where it fires.
    pub(crate) fn finish(mut self, code: &Code) -> Result<Trained> {
        let progress = self.progress_here();
        let simd = self.training.simd()?;
        let gpu = self.training.gpu()?.map(|gpu| gpu.name);
        let parameters = self.learnt()?;
        let config: &RunConfig = &self.cell.config;
        let form = Form {
            frames: self.data.time_steps,
            time_steps: config.time_steps,
            mode: config.mode(),
            batch_size: config.batch_size,
            classes: config.classes,
        };
        let examined = examine(self.training.engine(), &self.data.test, form)?;
        let (spec, tested, epochs) = (&self.spec, &self.tested, progress.epochs);
        let over_epochs = |of: fn(&EpochRecord) -> f64| median(timed(&epochs).map(of)).unwrap_or_default();
        let record = Record {
            schema: RECORD_SCHEMA,
            run_id: self.cell.run_id.clone(),
            dataset: config.dataset.to_string(),
            rule: config.rule_id().to_owned(),
            time_steps: config.time_steps,
            seed: config.seed,
            profile: config.profile.to_string(),
            synthetic: config.synthetic,
            subset: config.subset,
            data: self.cell.manifest.describe(),
            split_rule: Some(self.cell.manifest.split_rule.to_string()),
            streams: Some(stream_names(config)),
            network: config.network.to_string(),
            width: config.width,
            layers: spec.to_string(),
            parameters: spec.parameter_count()?,
            accuracy: Accuracy::of(&epochs, config.ann),
            firing_rate: tested.firing_rate(spec, config.time_steps)?,
            spikes_per_sample: tested.spikes_per_sample(),
            layer_spikes: tested.layers(spec, config.time_steps)?,
            classes: Some(tested.classes.clone()),
            anytime: Some(examined.anytime),
            operations: Some(examined.operations),
            train_ms_per_sample: over_epochs(|epoch| epoch.train_ms_per_sample),
            test_ms_per_sample: over_epochs(|epoch| epoch.test_ms_per_sample),
            wall_seconds: progress.wall_seconds,
            threads: rayon::current_num_threads(),
            parameters_hash: parameters.hash()?,
            maps_hash: Some(examined.maps.hash()?),
            samples: [self.steps() * config.batch_size, self.data.test.len()],
            config: config.clone(),
            epochs,
            completed: true,
            environment: Some(Environment::here(simd, gpu)),
            code: Some(code.clone()),
            timing: Some(Timing {
                steps: progress.step_ms.len(),
                step_ms: Percentiles::of(&progress.step_ms),
                peak_rss_mb: progress.peak_rss_mb,
                resumed: progress.resumed,
            }),
        };
        Ok(Trained { record, parameters, maps: examined.maps })
    }
}

/// The epochs whose times are the run's: those of ANN warm-up, of one time step and without spikes, are not, unless there are no others.
fn timed(epochs: &[EpochRecord]) -> impl Iterator<Item = &EpochRecord> {
    let all = epochs.iter().all(|epoch| epoch.ann_warm_up);
    epochs.iter().filter(move |epoch| all || !epoch.ann_warm_up)
}

/// Divides the training samples: those to train on, and a share of them, drawn by the seed, to choose an epoch by.
fn hold_back(samples: usize, share: f64, streams: &Streams) -> [Vec<usize>; 2] {
    let mut held = streams.permutation("validation", samples);
    let mut rest = held.split_off(held_back(samples, share));
    held.sort_unstable();
    rest.sort_unstable();
    [rest, held]
}

/// How many of so many samples a share is; at least one.
pub(crate) fn held_back(samples: usize, share: f64) -> usize {
    ((samples as f64 * share).round() as usize).clamp(1.min(samples), samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_of_warm_up_is_no_measure_of_a_spiking_run_s_time() {
        let times = |warm_up: [bool; 3]| -> Vec<f64> {
            let epochs = (1..).zip(warm_up).map(|(epoch, ann_warm_up)| EpochRecord {
                epoch,
                learning_rate: 1e-3,
                ann_warm_up,
                train_loss: 0.1,
                train_accuracy: 50.0,
                test_loss: 0.1,
                test_accuracy: 50.0,
                validation_loss: None,
                validation_accuracy: None,
                firing_rate: 0.0,
                layer_firing_rates: None,
                train_ms_per_sample: epoch as f64,
                test_ms_per_sample: 1.0,
            });
            timed(&epochs.collect::<Vec<_>>()).map(|epoch| epoch.train_ms_per_sample).collect()
        };
        assert_eq!(times([true, false, false]), [2.0, 3.0]);
        assert_eq!(times([false; 3]), [1.0, 2.0, 3.0]);
        assert_eq!(times([true; 3]), [1.0, 2.0, 3.0], "the ANN twin has no others");
    }

    #[test]
    fn samples_are_held_back_by_the_seed_from_all_over_the_split() {
        let of_seed = |seed| hold_back(1000, 0.1, &Streams::new(seed));
        let [train, held] = of_seed(1);
        assert_eq!((train.len(), held.len()), (900, 100));
        let mut all = [train, held.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
        // Files are in the order of classes: each tenth of them loses some samples and keeps some.
        for tenth in 0..10 {
            let of_tenth = held.iter().filter(|place| **place / 100 == tenth).count();
            assert!((1..50).contains(&of_tenth), "{of_tenth} of tenth {tenth}");
        }
        assert_eq!(of_seed(1)[1], held);
        assert_ne!(of_seed(2)[1], held);
    }
}
