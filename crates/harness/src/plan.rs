//! From an experiment and the user's options to the cells to run.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use bpsta_datasets::{Augmentation, DatasetId, DatasetInfo, Kind, Manifest, Registry, Store, synthetic};
use bpsta_events::Framing;
use bpsta_spiking::{Input, Neuron, Rule, Schedule};

use crate::experiment::{CellSettings, DatasetEntry, ProfileSettings};
use crate::grid::FrameBy;
use crate::train::held_back;
use crate::{CODE_VERSION, DeviceKind, EngineKind, Experiment, HarnessError, Profile, Result, RunConfig};

/// Seed of the stand-in data: all runs see the same data, whatever their own seed.
pub const STAND_IN_SEED: u64 = 2110;

/// What the user narrows or overrides. An empty list means all.
#[derive(Debug, Clone)]
pub struct Options {
    /// The profile.
    pub profile: Profile,
    /// Data sets to keep.
    pub datasets: Vec<DatasetId>,
    /// Rules to keep. Any leaves the ANN twin out.
    pub rules: Vec<Rule>,
    /// Time steps in place of the profile's.
    pub time_steps: Vec<usize>,
    /// Number of seeds in place of the profile's.
    pub seeds: Option<u64>,
    /// Epochs in place of the profile's; an ANN warm-up leaves the last of them to the spiking network.
    pub epochs: Option<usize>,
    /// Share of the training samples to hold back, by which an epoch is chosen without the test split; none are if none.
    pub validation: Option<f64>,
    /// The device.
    pub device: DeviceKind,
    /// What computes there; the fastest for the device if none.
    pub engine: Option<EngineKind>,
    /// The data folder.
    pub data: PathBuf,
}

/// One run to come.
#[derive(Debug, Clone)]
pub struct PlannedCell {
    /// Everything that shapes it.
    pub config: RunConfig,
    /// Its name: [`RunConfig::run_id`].
    pub run_id: String,
    /// The data it meets.
    pub manifest: Arc<Manifest>,
    /// How events become frames.
    pub framing: Option<Framing>,
    /// How training samples are varied.
    pub augmentation: Augmentation,
    /// A measure of its work, to share out the time left: neurons updated, training counted three times.
    pub work: f64,
}

/// Data that cells need and that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absent {
    /// The data set.
    pub dataset: DatasetId,
    /// Whether its stand-in is meant, and not its official files.
    pub stand_in: bool,
    /// Whether the official files can be fetched by a command.
    pub fetched: bool,
}

impl Absent {
    /// The commands that make the data be there, in words that go on from "is not there: ".
    pub fn remedy(&self) -> String {
        let id = self.dataset;
        let import = format!("`cargo xtask data import {id}");
        match (self.stand_in, self.fetched) {
            (true, _) => "`cargo xtask reproduce` makes it in the folder that --data names".to_owned(),
            (false, true) => format!(
                "fetch it with `cargo xtask data fetch {id}` and import it with {import}`, or import an unpacked official tree with \
                 {import} --from DIR`"
            ),
            (false, false) => format!("import an unpacked official tree with {import} --from DIR`"),
        }
    }
}

/// The cells of one experiment, in the order in which they are run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The experiment.
    pub experiment: Experiment,
    /// The profile.
    pub profile: Profile,
    /// The cells that the options ask for, each once.
    pub cells: Vec<PlannedCell>,
    /// Names of the runs that the table shows as far as they are finished: those of [`Self::cells`], those that the
    /// options leave out by data set and rule, and those of the profile without any option. So a part that is run for itself drops
    /// no finished row.
    pub table: Vec<String>,
    /// Data that some cells need and that are not there, each once: those cells are left out.
    pub absent: Vec<Absent>,
    /// What the options ask for by name and the experiment's profile has no cells of, in words.
    pub unknown: Vec<String>,
}

impl Plan {
    /// Plans an experiment. Stand-ins that are missing are generated.
    ///
    /// # Errors
    /// [`HarnessError::NoProfile`], [`HarnessError::NoData`] where no cell has its data, [`HarnessError::NothingPlanned`] where the options
    /// leave no cell, [`HarnessError::Experiment`] for an ANN warm-up that no run can have, [`HarnessError::Batch`] and
    /// [`HarnessError::NoTestSamples`] for data that are too few, and those of data sets and networks.
    pub fn new(
        experiment: Experiment,
        options: &Options,
        registry: &Registry,
        store: &Store,
    ) -> Result<Self> {
        Self::over(experiment, options, registry, store, Missing::Generated)
    }

    /// Plans an experiment over the data that are there, for who only looks at its finished runs: nothing is generated, and a stand-in
    /// that is missing is told in [`Self::absent`], as official files are.
    ///
    /// # Errors
    /// Those of [`Self::new`].
    pub fn of_data_there(
        experiment: Experiment,
        options: &Options,
        registry: &Registry,
        store: &Store,
    ) -> Result<Self> {
        Self::over(experiment, options, registry, store, Missing::LeftOut)
    }

    fn over(
        experiment: Experiment,
        options: &Options,
        registry: &Registry,
        store: &Store,
        missing: Missing,
    ) -> Result<Self> {
        let settings = experiment.settings(options.profile)?.clone();
        for id in &options.datasets {
            registry.get(*id)?;
        }
        let all_rules = Options { rules: Vec::new(), ..options.clone() };
        let whole_profile =
            Options { time_steps: Vec::new(), seeds: None, epochs: None, ..all_rules.clone() };
        let (mut cells, mut table) = (Vec::new(), Vec::new());
        let (mut planned, mut shown) = (BTreeSet::new(), BTreeSet::new());
        let (mut known, mut absent) = (BTreeMap::new(), Vec::new());
        for entry in &experiment.dataset {
            let info = registry.get(entry.id)?;
            let asked_for = options.datasets.is_empty() || options.datasets.contains(&entry.id);
            for group in settings.cell.iter().filter(|group| group.dataset == entry.id) {
                let data = match known.entry((entry.id, group.stand_in.map(|size| (size.train, size.test)))) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(empty) => empty.insert(Data::find(group, asked_for, missing, store)?),
                };
                let Some(data) = data else {
                    let fetched = !info.files.is_empty() && !info.mirrors.is_empty();
                    let data = Absent { dataset: entry.id, stand_in: group.stand_in.is_some(), fetched };
                    if asked_for && !absent.contains(&data) {
                        absent.push(data);
                    }
                    continue;
                };
                let planner =
                    Planner { experiment: &experiment, settings: &settings, entry, group, info, data };
                if asked_for {
                    for config in planner.configs(options) {
                        let cell = planner.cell(config)?;
                        if planned.insert(cell.run_id.clone()) {
                            cells.push(cell);
                        }
                    }
                }
                for options in [&whole_profile, &all_rules] {
                    let ids = planner.configs(options).into_iter().map(|config| config.run_id());
                    table.extend(ids.filter(|id| shown.insert(id.clone())));
                }
            }
        }
        if let (true, Some(&absent)) = (cells.is_empty(), absent.first()) {
            let imported = experiment.dataset.iter().map(|entry| entry.id);
            let imported = imported.filter(|id| matches!(store.manifest(*id), Ok(Some(_)))).collect();
            return Err(HarnessError::NoData { absent, folder: options.data.clone(), imported });
        }
        let unknown = unknown(&experiment, &settings, options);
        if cells.is_empty() {
            let there =
                settings.cell.iter().map(|cell| format!("{} at T = {:?}", cell.dataset, cell.time_steps));
            let rules = experiment.rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(HarnessError::NothingPlanned {
                path: experiment.path,
                profile: options.profile.to_string(),
                unknown,
                there: format!("{}, by the rules {rules}", there.collect::<Vec<_>>().join(", ")),
            });
        }
        Ok(Self { experiment, profile: options.profile, cells, table, absent, unknown })
    }
}

/// What the options ask for by name and the profile has no cells of, each once.
fn unknown(experiment: &Experiment, settings: &ProfileSettings, options: &Options) -> Vec<String> {
    let of_cells = |id: &DatasetId| settings.cell.iter().any(|cell| cell.dataset == *id);
    let datasets = options.datasets.iter().filter(|id| !of_cells(id)).map(|id| format!("data set `{id}`"));
    let rules = options.rules.iter().filter(|rule| !experiment.rules.contains(rule));
    let unknown: BTreeSet<String> = datasets.chain(rules.map(|rule| format!("rule `{rule}`"))).collect();
    unknown.into_iter().collect()
}

/// What becomes of a stand-in that cells need and that is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Generated,
    LeftOut,
}

/// The data of a group of cells.
struct Data {
    manifest: Arc<Manifest>,
    hash: String,
}

impl Data {
    /// Finds them, or generates the stand-in; none if they are not there. What was not asked for is neither generated nor refused if
    /// it is in no good order.
    fn find(group: &CellSettings, asked_for: bool, missing: Missing, store: &Store) -> Result<Option<Self>> {
        let id = group.dataset;
        let size = group.stand_in.map(|size| synthetic::Size { train: size.train, test: size.test });
        let found = match (size, asked_for) {
            (Some(size), true) if missing == Missing::Generated => {
                Some(store.synthetic(id, &size, STAND_IN_SEED)?)
            }
            (Some(size), true) => store.stand_in(id, &size, STAND_IN_SEED)?,
            (Some(size), false) => store.stand_in(id, &size, STAND_IN_SEED).ok().flatten(),
            (None, true) => store.manifest(id)?,
            (None, false) => store.manifest(id).ok().flatten(),
        };
        Ok(found.map(|manifest| Self { hash: manifest.hash(), manifest: Arc::new(manifest) }))
    }
}

struct Planner<'a> {
    experiment: &'a Experiment,
    settings: &'a ProfileSettings,
    entry: &'a DatasetEntry,
    group: &'a CellSettings,
    info: &'a DatasetInfo,
    data: &'a Data,
}

impl Planner<'_> {
    /// Everything that the options leave of the group, the data set aside: its cells, and then their ANN twins if the experiment asks
    /// for them and the options for no rule. Cells share twins: they come as often as the cells.
    fn configs(&self, options: &Options) -> Vec<RunConfig> {
        let time_steps = match options.time_steps.as_slice() {
            [] => &self.group.time_steps,
            own => own,
        };
        let schedule = self.group.schedule.unwrap_or(self.settings.schedule);
        let schedules: Vec<Schedule> = match self.group.learning_rates.as_slice() {
            [] => vec![schedule],
            rates => rates.iter().map(|rate| Schedule { learning_rate: *rate, ..schedule }).collect(),
        };
        let events = self.info.kind == Kind::Events;
        let framings: &[FrameBy] = if events { &self.group.framing } else { &[FrameBy::Number] };
        let rules = self.experiment.rules.iter();
        let rules = rules.filter(|rule| options.rules.is_empty() || options.rules.contains(rule));
        let neurons: Vec<Neuron> = rules.flat_map(|rule| self.experiment.neuron.neurons(*rule)).collect();
        let mut configs = Vec::new();
        for &steps in time_steps {
            for by in framings {
                for schedule in &schedules {
                    for neuron in &neurons {
                        for seed in 1..=options.seeds.unwrap_or(self.group.seeds) {
                            let framing = events.then(|| by.framing(steps));
                            configs.push(self.config(options, steps, framing, *schedule, *neuron, seed));
                        }
                    }
                }
            }
        }
        if self.experiment.ann_twin && options.rules.is_empty() {
            let twins: Vec<RunConfig> = configs.iter().map(RunConfig::twin).collect();
            configs.extend(twins);
        }
        configs
    }

    fn config(
        &self,
        options: &Options,
        time_steps: usize,
        framing: Option<Framing>,
        schedule: Schedule,
        neuron: Neuron,
        seed: u64,
    ) -> RunConfig {
        let info = self.info;
        RunConfig {
            code_version: CODE_VERSION,
            profile: options.profile,
            dataset: self.entry.id,
            manifest_hash: self.data.hash.clone(),
            synthetic: self.data.manifest.synthetic,
            subset: self.data.manifest.subset,
            framing: framing.map(|framing| framing.to_string()),
            augmentation: self.augmentation().to_string(),
            validation: options.validation,
            network: self.entry.network,
            variant: self.entry.variant,
            width: self.group.width,
            input: Input {
                channels: info.channels,
                height: usize::from(info.height),
                width: usize::from(info.width),
                stride: self.entry.stride,
            },
            classes: info.classes.len(),
            neuron,
            time_steps,
            seed,
            epochs: options.epochs.unwrap_or(self.group.epochs),
            batch_size: self.group.batch_size,
            weight_decay: self.settings.weight_decay,
            schedule,
            ann_warm_up_epochs: match options.epochs {
                Some(epochs) => self.group.ann_warm_up_epochs.min(epochs.saturating_sub(1)),
                None => self.group.ann_warm_up_epochs,
            },
            ann: false,
            device: options.device,
            engine: options.engine.unwrap_or(EngineKind::of(options.device)),
        }
    }

    fn augmentation(&self) -> Augmentation {
        if self.group.augment { self.info.augmentation } else { Augmentation::default() }
    }

    /// Refuses an ANN warm-up that leaves the spiking network no epoch, or that recordings would not get.
    fn check_warm_up(&self, config: &RunConfig) -> Result<()> {
        let (warm_up, epochs) = (config.ann_warm_up_epochs, config.epochs);
        let why = if warm_up > 0 && self.info.kind == Kind::Events {
            "expected 0: only static images are warmed up; remove the key".to_owned()
        } else if warm_up > 0 && warm_up >= epochs {
            format!("expected fewer than the {epochs} epochs: raise `epochs`, or lower it")
        } else {
            return Ok(());
        };
        let (profile, dataset) = (config.profile, config.dataset);
        let why = format!("key `profile.{profile}.cell`: {dataset}: ann_warm_up_epochs is {warm_up}, {why}");
        Err(HarnessError::Experiment { path: self.experiment.path.clone(), why })
    }

    /// The cell, if its warm-up leaves epochs behind it, and its data are enough to train and test on.
    fn cell(&self, config: RunConfig) -> Result<PlannedCell> {
        self.check_warm_up(&config)?;
        let counts = &self.data.manifest.samples;
        let dataset = self.entry.id;
        let held_back = config.validation.map_or(0, |share| held_back(counts.train, share));
        let train = counts.train - held_back;
        if train < config.batch_size {
            return Err(HarnessError::Batch { dataset, batch: config.batch_size, train });
        }
        if counts.test == 0 {
            return Err(HarnessError::NoTestSamples { dataset });
        }
        let neurons: usize = config.spec()?.lif_cells()?.iter().map(|(_, cells)| cells).sum();
        let samples = 3 * train + held_back + counts.test;
        let work = [neurons, config.time_steps, config.epochs, samples].map(|factor| factor as f64);
        Ok(PlannedCell {
            run_id: config.run_id(),
            work: work.iter().product(),
            manifest: Arc::clone(&self.data.manifest),
            augmentation: self.augmentation(),
            framing: config.framing.as_ref().and_then(|framing| framing.parse().ok()),
            config,
        })
    }
}
