//! Experiment files: what the paper claims, and the cells that test it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bpsta_datasets::DatasetId;
use bpsta_spiking::{Architecture, Rule, Schedule, SpikingError, Variant};
use serde::{Deserialize, Serialize};

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
    /// The paper's own protocol.
    Paper,
}

impl Profile {
    /// All profiles, cheapest first.
    pub const ALL: [Self; 3] = [Self::Quick, Self::Cpu, Self::Paper];

    /// The name used on the command line and in files.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Cpu => "cpu",
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

/// Where a profile's data come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Generated, in the official format; labelled wherever a number comes from it.
    StandIn,
    /// Imported from the official files.
    Real,
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
    /// Where it stands: table, row, column.
    pub place: String,
}

/// Settings that the cells of a profile share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileSettings {
    /// What it is for and what it leaves out, for the plan and the table.
    pub about: String,
    /// Where the data come from.
    pub data: Source,
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
    /// Epochs of ANN warm-up (static images only): cells pass their input on and one time step is run.
    #[serde(default)]
    pub ann_warm_up_epochs: usize,
    /// Whether training samples are varied as `datasets.toml` says.
    #[serde(default)]
    pub augment: bool,
    /// Size of a stand-in; none for real data.
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
        let rate = self.schedule.unwrap_or(profile.schedule).learning_rate;
        if !(rate.is_finite() && rate > 0.0) {
            return Err(format!("learning_rate is {rate}, expected a finite number above 0"));
        }
        let decay = profile.weight_decay;
        if !(decay.is_finite() && decay >= 0.0) {
            return Err(format!("weight_decay is {decay}, expected a finite number of 0 or more"));
        }
        Ok(())
    }
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
    /// The rules to run.
    pub rules: Vec<Rule>,
    /// The data sets, in the order of the table.
    pub dataset: Vec<DatasetEntry>,
    /// The paper's values.
    pub paper: Vec<PaperValue>,
    /// The profiles.
    pub profile: BTreeMap<Profile, ProfileSettings>,
    /// Where it was read from.
    #[serde(skip)]
    pub path: PathBuf,
}

impl Experiment {
    /// Reads `folder`/`artefact`.toml.
    ///
    /// # Errors
    /// [`HarnessError::Experiment`] with key, line and column for a file that is not an experiment.
    pub fn load(folder: &Path, artefact: &str) -> Result<Self> {
        let path = folder.join(format!("{artefact}.toml"));
        let refuse = |why: String| HarnessError::Experiment { path: path.clone(), why };
        let text = std::fs::read_to_string(&path).map_err(|error| refuse(error.to_string()))?;
        let mut experiment: Self = bpsta_datasets::from_toml(&text)
            .map_err(|problem| refuse(format!("key `{}`: {}", problem.at, problem.message)))?;
        for (profile, settings) in &experiment.profile {
            for cell in &settings.cell {
                if !experiment.dataset.iter().any(|entry| entry.id == cell.dataset) {
                    return Err(refuse(format!(
                        "key `profile.{profile}.cell`: there is no [[dataset]] with id `{}`",
                        cell.dataset
                    )));
                }
                if (settings.data == Source::StandIn) != cell.stand_in.is_some() {
                    return Err(refuse(format!(
                        "key `profile.{profile}.cell`: {} needs `stand_in` if and only if `data` is stand-in",
                        cell.dataset
                    )));
                }
                cell.check(settings).map_err(|why| {
                    refuse(format!("key `profile.{profile}.cell`: {}: {why}", cell.dataset))
                })?;
            }
        }
        experiment.path = path;
        Ok(experiment)
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
