//! From an experiment and the user's options to the cells to run.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;

use bpsta_datasets::{DatasetId, Kind, Manifest, Registry, Store, synthetic};
use bpsta_events::Framing;
use bpsta_spiking::{Input, Neuron, Rule};

use crate::experiment::{CellSettings, DatasetEntry, ProfileSettings};
use crate::{
    CODE_VERSION, DeviceKind, EngineKind, Experiment, HarnessError, Profile, Result, RunConfig, Source,
};

/// Seed of the stand-in data: all runs see the same data, whatever their own seed.
const STAND_IN_SEED: u64 = 2110;

/// What the user narrows or overrides. An empty list means all.
#[derive(Debug, Clone)]
pub struct Options {
    /// The profile.
    pub profile: Profile,
    /// Data sets to keep.
    pub datasets: Vec<DatasetId>,
    /// Rules to keep.
    pub rules: Vec<Rule>,
    /// Time steps in place of the profile's.
    pub time_steps: Vec<usize>,
    /// Number of seeds in place of the profile's.
    pub seeds: Option<u64>,
    /// Epochs in place of the profile's.
    pub epochs: Option<usize>,
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
    pub manifest: Manifest,
    /// How events become frames.
    pub framing: Option<Framing>,
    /// A measure of its work, to share out the time left: neurons updated, training counted three times.
    pub work: f64,
}

/// The cells of one experiment, in the order in which they are run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The experiment.
    pub experiment: Experiment,
    /// The profile.
    pub profile: Profile,
    /// The cells.
    pub cells: Vec<PlannedCell>,
}

impl Plan {
    /// Plans an experiment. Stand-ins that are missing are generated.
    ///
    /// # Errors
    /// [`HarnessError::NoData`] for real data that were not imported, [`HarnessError::NothingPlanned`] where the options
    /// leave no cell, and those of data sets and networks.
    pub fn new(
        experiment: Experiment,
        options: &Options,
        registry: &Registry,
        store: &Store,
    ) -> Result<Self> {
        let settings = experiment.settings(options.profile)?.clone();
        let mut cells = Vec::new();
        let mut manifests: BTreeMap<(DatasetId, usize), Manifest> = BTreeMap::new();
        for entry in &experiment.dataset {
            for group in settings.cell.iter().filter(|group| group.dataset == entry.id) {
                if !options.datasets.is_empty() && !options.datasets.contains(&entry.id) {
                    continue;
                }
                let key = (entry.id, group.stand_in.map_or(0, |size| size.train + size.test));
                let manifest = match manifests.entry(key) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(empty) => empty.insert(manifest(group, options, store)?),
                };
                let planner =
                    Planner { experiment: &experiment, settings: &settings, entry, group, manifest };
                cells.extend(planner.cells(options, registry)?);
            }
        }
        if cells.is_empty() {
            let there =
                settings.cell.iter().map(|cell| format!("{} at T = {:?}", cell.dataset, cell.time_steps));
            return Err(HarnessError::NothingPlanned {
                profile: options.profile.to_string(),
                there: there.collect::<Vec<_>>().join(", "),
            });
        }
        Ok(Self { experiment, profile: options.profile, cells })
    }

    /// The settings of its profile.
    ///
    /// # Errors
    /// [`HarnessError::NoProfile`]; never for a plan that was made.
    pub fn settings(&self) -> Result<&ProfileSettings> {
        self.experiment.settings(self.profile)
    }
}

fn manifest(group: &CellSettings, options: &Options, store: &Store) -> Result<Manifest> {
    if let Some(size) = group.stand_in {
        let size = synthetic::Size { train: size.train, test: size.test };
        return Ok(store.synthetic(group.dataset, &size, STAND_IN_SEED)?);
    }
    store
        .manifest(group.dataset)?
        .ok_or_else(|| HarnessError::NoData { dataset: group.dataset, folder: options.data.clone() })
}

struct Planner<'a> {
    experiment: &'a Experiment,
    settings: &'a ProfileSettings,
    entry: &'a DatasetEntry,
    group: &'a CellSettings,
    manifest: &'a Manifest,
}

impl Planner<'_> {
    fn cells(&self, options: &Options, registry: &Registry) -> Result<Vec<PlannedCell>> {
        let time_steps = match options.time_steps.as_slice() {
            [] => &self.group.time_steps,
            own => own,
        };
        let mut cells = Vec::new();
        for &steps in time_steps {
            for &rule in &self.experiment.rules {
                if !options.rules.is_empty() && !options.rules.contains(&rule) {
                    continue;
                }
                for seed in 1..=options.seeds.unwrap_or(self.group.seeds) {
                    cells.push(self.cell(options, registry, steps, rule, seed)?);
                }
            }
        }
        Ok(cells)
    }

    fn cell(
        &self,
        options: &Options,
        registry: &Registry,
        time_steps: usize,
        rule: Rule,
        seed: u64,
    ) -> Result<PlannedCell> {
        let info = registry.get(self.entry.id);
        let framing = matches!(info.kind, Kind::Events).then_some(Framing::ByNumber { frames: time_steps });
        let config = RunConfig {
            code_version: CODE_VERSION,
            profile: options.profile,
            dataset: self.entry.id,
            manifest_hash: self.manifest.hash(),
            synthetic: self.settings.data == Source::StandIn,
            subset: self.manifest.subset,
            framing: framing.map(|framing| framing.to_string()),
            augmentation: "none".to_owned(),
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
            neuron: Neuron::paper(rule),
            time_steps,
            seed,
            epochs: options.epochs.unwrap_or(self.group.epochs),
            batch_size: self.group.batch_size,
            weight_decay: self.settings.weight_decay,
            schedule: self.group.schedule.unwrap_or(self.settings.schedule),
            ann_warm_up_epochs: self.group.ann_warm_up_epochs,
            device: options.device,
            engine: options.engine.unwrap_or(EngineKind::of(options.device)),
        };
        let counts = &self.manifest.samples;
        if counts.train < config.batch_size {
            return Err(HarnessError::Batch {
                dataset: self.entry.id,
                batch: config.batch_size,
                train: counts.train,
            });
        }
        let neurons: usize = config.spec()?.lif_cells()?.iter().map(|(_, cells)| cells).sum();
        let passes = config.epochs * (3 * counts.train + counts.test);
        Ok(PlannedCell {
            run_id: config.run_id(),
            work: (neurons * time_steps * passes) as f64,
            manifest: self.manifest.clone(),
            framing,
            config,
        })
    }
}
