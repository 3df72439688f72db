//! Experiment files: what the paper claims, and the cells that test it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bpsta_datasets::DatasetId;
use bpsta_spiking::{Architecture, Rule, Schedule, SpikingError, Variant};
use serde::{Deserialize, Serialize};

use crate::grid::{FrameBy, NeuronGrid};
use crate::{HarnessError, Result};

/// Epochs of a run at most.
pub const MOST_EPOCHS: usize = 100_000;
/// Time steps of a run at most.
pub const MOST_TIME_STEPS: usize = 1024;
/// Seeds of a cell at most.
pub const MOST_SEEDS: u64 = 1000;

/// How much of the paper's protocol is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Synthetic stand-ins and narrow networks, in minutes: does everything work?
    Quick,
    /// Real data and narrow networks, in hours on a CPU.
    Cpu,
    /// Real data and the paper's networks at full width for some epochs, in minutes on a GPU.
    Gpu,
    /// The paper's own protocol.
    Paper,
}

impl Profile {
    /// All profiles, cheapest first.
    pub const ALL: [Self; 4] = [Self::Quick, Self::Cpu, Self::Gpu, Self::Paper];

    /// The name used on the command line and in files.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
            Self::Paper => "paper",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

impl FromStr for Profile {
    type Err = SpikingError;

    fn from_str(text: &str) -> std::result::Result<Self, SpikingError> {
        Self::ALL.into_iter().find(|one| one.id() == text).ok_or_else(|| SpikingError::UnknownName {
            kind: "profile",
            found: text.to_owned(),
            expected: Self::ALL.map(Self::id).join(", "),
        })
    }
}

/// A data set of the experiment and the network that meets it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetEntry {
    /// The data set.
    pub id: DatasetId,
    /// The paper's network for it.
    pub network: Architecture,
    /// Which of its two forms, where the official code has two.
    pub variant: Variant,
    /// Every `stride`-th pixel enters the network.
    #[serde(default = "one")]
    pub stride: usize,
}

/// One value that the paper prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperValue {
    /// The row's name.
    pub model: String,
    /// The column's data set.
    pub dataset: DatasetId,
    /// Accuracy in %.
    pub accuracy: f64,
    /// Spikes over neurons and time steps, where the paper prints it.
    #[serde(default)]
    pub firing_rate: Option<f64>,
    /// E_ANN / E_SNN as printed.
    #[serde(default)]
    pub energy_ratio: Option<f64>,
    /// The rule of ours that it stands for; none for others' methods.
    #[serde(default)]
    pub rule: Option<Rule>,
    /// The simulation length it was measured at; any if none.
    #[serde(default)]
    pub time_steps: Option<usize>,
    /// Where it stands: table, row, column.
    pub place: String,
}

/// Settings that the cells of a profile share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileSettings {
    /// What it is for and what it leaves out, for the plan and the table.
    pub about: String,
    /// AdamW's weight decay.
    pub weight_decay: f64,
    /// The learning rate.
    pub schedule: Schedule,
    /// Its cells.
    pub cell: Vec<CellSettings>,
}

/// A group of cells: one data set and network, all rules, some time steps and seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellSettings {
    /// The data set.
    pub dataset: DatasetId,
    /// Width factor of the network; 1 is the paper's.
    pub width: f64,
    /// Simulation lengths T.
    pub time_steps: Vec<usize>,
    /// Epochs of training.
    pub epochs: usize,
    /// Samples in a batch. The last, smaller batch of an epoch is dropped.
    pub batch_size: usize,
    /// How many seeds, from 1 on.
    pub seeds: u64,
    /// Epochs of ANN warm-up, fewer than all (static images only): cells pass their input on and one time step is run.
    #[serde(default)]
    pub ann_warm_up_epochs: usize,
    /// How events are shared out over frames, each in turn.
    #[serde(default = "by_number")]
    pub framing: Vec<FrameBy>,
    /// Learning rates in place of the schedule's, each in turn.
    #[serde(default)]
    pub learning_rates: Vec<f64>,
    /// Whether training samples are varied as `datasets.toml` says.
    #[serde(default)]
    pub augment: bool,
    /// Size of the synthetic stand-in to run on, labelled wherever a number comes from it; none for the official files.
    pub stand_in: Option<StandInSize>,
    /// A schedule of its own.
    pub schedule: Option<Schedule>,
}

impl CellSettings {
    /// Refuses numbers that no run can be made of.
    fn check(&self, profile: &ProfileSettings) -> std::result::Result<(), String> {
        if self.epochs == 0 || self.batch_size == 0 || self.time_steps.contains(&0) {
            return Err("epochs, batch_size and time_steps start at 1".to_owned());
        }
        if self.epochs > MOST_EPOCHS || self.time_steps.iter().any(|steps| *steps > MOST_TIME_STEPS) {
            return Err(format!("epochs end at {MOST_EPOCHS}, time_steps at {MOST_TIME_STEPS}"));
        }
        if !(1..=MOST_SEEDS).contains(&self.seeds) {
            return Err(format!("seeds is {}, expected 1 to {MOST_SEEDS}", self.seeds));
        }
        if self.framing.is_empty() || self.time_steps.is_empty() {
            return Err("framing and time_steps need at least one entry".to_owned());
        }
        if !(self.width.is_finite() && self.width > 0.0) {
            return Err(format!("width is {}, expected a finite number above 0", self.width));
        }
        let rate = self.schedule.unwrap_or(profile.schedule).learning_rate;
        let rates = self.learning_rates.iter().chain([&rate]);
        if let Some(rate) = rates.copied().find(|rate| !(rate.is_finite() && *rate > 0.0)) {
            return Err(format!("learning_rate is {rate}, expected a finite number above 0"));
        }
        let decay = profile.weight_decay;
        if !(decay.is_finite() && decay >= 0.0) {
            return Err(format!("weight_decay is {decay}, expected a finite number of 0 or more"));
        }
        Ok(())
    }
}

/// What is made of an experiment's runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum View {
    /// A table of accuracies beside the paper's rows.
    #[default]
    Accuracy,
    /// Firing rates, spikes, operations and energy (the paper's Table 5).
    Energy,
    /// Accuracy by simulation length, and after each time step (Table 6).
    Latency,
    /// Test accuracy over epochs (Figures 1 and 3).
    Curves,
    /// Where the cells behind convolutions fire (Figure 2).
    Maps,
}

/// The cells of another experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellsOf {
    /// Its name.
    pub experiment: String,
    /// Which of its data sets; all of them if none are named.
    #[serde(default)]
    pub datasets: Vec<DatasetId>,
    /// Simulation lengths in place of the ones it has, by profile.
    #[serde(default)]
    pub time_steps: BTreeMap<Profile, Vec<usize>>,
}

/// Samples of a stand-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandInSize {
    /// To train on.
    pub train: usize,
    /// To test on.
    pub test: usize,
}

/// An experiment: one artefact of the paper.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Its name on the command line.
    pub artefact: String,
    /// Its title.
    pub title: String,
    /// What the paper claims there, and what contradicts it.
    pub analysis: String,
    /// Percentage points within which a value of the paper counts as reproduced.
    #[serde(default = "half")]
    pub tolerance: f64,
    /// What is made of the runs.
    #[serde(default)]
    pub view: View,
    /// The rules to run.
    pub rules: Vec<Rule>,
    /// Whether to train the ANN twin of the cells beside them: see [`crate::RunConfig::twin`].
    #[serde(default)]
    pub ann_twin: bool,
    /// Constants of the cells to try; the paper's alone if none are named.
    #[serde(default)]
    pub neuron: NeuronGrid,
    /// Other experiments whose cells these are: runs that several artefacts show are run once.
    #[serde(default)]
    pub cells_of: Vec<CellsOf>,
    /// The data sets, in the order of the table.
    #[serde(default)]
    pub dataset: Vec<DatasetEntry>,
    /// The paper's values.
    #[serde(default)]
    pub paper: Vec<PaperValue>,
    /// The profiles.
    #[serde(default)]
    pub profile: BTreeMap<Profile, ProfileSettings>,
    /// Where it was read from.
    #[serde(skip)]
    pub path: PathBuf,
}

impl Experiment {
    /// Reads `folder`/`artefact`.toml, and the experiments whose cells it takes.
    ///
    /// # Errors
    /// [`HarnessError::Experiment`] with key, line and column for a file that is not an experiment.
    pub fn load(folder: &Path, artefact: &str) -> Result<Self> {
        Self::load_file(&folder.join(format!("{artefact}.toml")))
    }

    /// Reads an experiment file from anywhere; experiments whose cells it takes lie beside it.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_file(path: &Path) -> Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut experiment = Self::parse(path)?;
        let path = experiment.path.clone();
        let refuse = |why: String| HarnessError::Experiment { path: path.clone(), why };
        // It names files.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if experiment.artefact.is_empty() || !experiment.artefact.bytes().all(plain) {
            let found = &experiment.artefact;
            return Err(refuse(format!("key `artefact`: {found:?}, expected letters, digits, - and _")));
        }
        for of in experiment.cells_of.clone() {
            let other = Self::parse(&folder.join(format!("{}.toml", of.experiment)))?;
            experiment.take(other, &of).map_err(|why| refuse(format!("key `cells_of`: {why}")))?;
        }
        for neuron in experiment.rules.iter().flat_map(|rule| experiment.neuron.neurons(*rule)) {
            neuron.validate().map_err(|error| refuse(format!("key `neuron`: {error}")))?;
        }
        if let Some(entry) = experiment.dataset.iter().find(|entry| entry.stride == 0) {
            return Err(refuse(format!("key `dataset`: {}: stride is 0, expected 1 or more", entry.id)));
        }
        for (profile, settings) in &experiment.profile {
            for cell in &settings.cell {
                if !experiment.dataset.iter().any(|entry| entry.id == cell.dataset) {
                    return Err(refuse(format!(
                        "key `profile.{profile}.cell`: there is no [[dataset]] with id `{}`",
                        cell.dataset
                    )));
                }
                cell.check(settings).map_err(|why| {
                    refuse(format!("key `profile.{profile}.cell`: {}: {why}", cell.dataset))
                })?;
            }
        }
        Ok(experiment)
    }

    /// What the file alone says.
    fn parse(path: &Path) -> Result<Self> {
        let refuse = |why: String| HarnessError::Experiment { path: path.to_owned(), why };
        let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        let experiment: Self = bpsta_datasets::from_toml(&text)
            .map_err(|problem| refuse(format!("key `{}`: {}", problem.at, problem.message)))?;
        Ok(Self { path: path.to_owned(), ..experiment })
    }

    /// Takes data sets, profiles and cells from another experiment. Settings that are a profile's there are each cell's here.
    fn take(&mut self, other: Self, of: &CellsOf) -> std::result::Result<(), String> {
        if !other.cells_of.is_empty() {
            return Err(format!(
                "{} has no cells of its own: name the experiment it takes them from",
                of.experiment
            ));
        }
        let wanted = |id: DatasetId| of.datasets.is_empty() || of.datasets.contains(&id);
        if let Some(id) = of.datasets.iter().find(|id| !other.dataset.iter().any(|entry| entry.id == **id)) {
            return Err(format!("{} has no [[dataset]] with id `{id}`", of.experiment));
        }
        self.dataset.extend(other.dataset.into_iter().filter(|entry| wanted(entry.id)));
        for (profile, settings) in other.profile {
            let cells = settings.cell.iter().filter(|cell| wanted(cell.dataset)).map(|cell| CellSettings {
                schedule: Some(cell.schedule.unwrap_or(settings.schedule)),
                time_steps: of.time_steps.get(&profile).unwrap_or(&cell.time_steps).clone(),
                ..cell.clone()
            });
            let cells: Vec<CellSettings> = cells.collect();
            match self.profile.get_mut(&profile) {
                None => {
                    self.profile.insert(profile, ProfileSettings { cell: cells, ..settings });
                }
                Some(own) => {
                    if own.weight_decay != settings.weight_decay {
                        return Err(format!("profile `{profile}` has another `weight_decay` there"));
                    }
                    if own.about != settings.about {
                        own.about = format!(
                            "{} Of the cells of {}: {}",
                            own.about.trim(),
                            of.experiment,
                            settings.about.trim()
                        );
                    }
                    own.cell.extend(cells);
                }
            }
        }
        Ok(())
    }

    /// The settings of a profile.
    ///
    /// # Errors
    /// [`HarnessError::NoProfile`] where it has none.
    pub fn settings(&self, profile: Profile) -> Result<&ProfileSettings> {
        self.profile.get(&profile).ok_or_else(|| HarnessError::NoProfile {
            path: self.path.clone(),
            profile: profile.to_string(),
            there: self.profile.keys().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        })
    }
}

fn one() -> usize {
    1
}

fn by_number() -> Vec<FrameBy> {
    vec![FrameBy::Number]
}

fn half() -> f64 {
    0.5
}
