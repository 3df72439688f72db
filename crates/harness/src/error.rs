//! What can go wrong in an experiment, in words.

use std::path::PathBuf;

use bpsta_datasets::{DatasetError, DatasetId};
use bpsta_spiking::SpikingError;

use crate::{Absent, EngineKind};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// A figure cannot be drawn.
    #[error("cannot draw {title:?}: {why}; please report this")]
    Plot {
        /// Its title.
        title: String,
        /// What the drawing library says.
        why: String,
    },
    /// An experiment file that cannot be read as one.
    #[error("{}: {why}", path.display())]
    Experiment {
        /// The file.
        path: PathBuf,
        /// Key, line and column, and what was expected.
        why: String,
    },
    /// A profile that the experiment does not have.
    #[error("{}: there is no profile `{profile}`; it has {there}", path.display())]
    NoProfile {
        /// The file.
        path: PathBuf,
        /// The profile asked for.
        profile: String,
        /// The profiles there are.
        there: String,
    },
    /// Options that leave nothing to do.
    #[error(
        "{}: no cell is left: profile `{profile}` has {there}{}", path.display(), what_is_not(unknown)
    )]
    NothingPlanned {
        /// The experiment file.
        path: PathBuf,
        /// The profile.
        profile: String,
        /// What was asked for and is not there.
        unknown: Vec<String>,
        /// The cells it has, and their rules.
        there: String,
    },
    /// Data that are not there, and without which no cell is left.
    #[error("{}{} is not in {}: {}{}", if absent.stand_in { "the stand-in of " } else { "" }, absent.dataset,
        folder.display(), absent.remedy(), what_else(absent, imported)
    )]
    NoData {
        /// The data.
        absent: Absent,
        /// The data folder.
        folder: PathBuf,
        /// The experiment's data sets that are there.
        imported: Vec<DatasetId>,
    },
    /// A run whose loss or weights are no numbers any more.
    #[error("run {run_id}: {what}: training diverged, lower the learning rate")]
    Diverged {
        /// The run.
        run_id: String,
        /// What is no number, and after which epoch, from 1.
        what: String,
    },
    /// A batch that is larger than the training split.
    #[error("{dataset}: a batch of {batch} is larger than the {train} training samples")]
    Batch {
        /// The data set.
        dataset: DatasetId,
        /// Samples in a batch.
        batch: usize,
        /// Samples to train on.
        train: usize,
    },
    /// No samples to test on.
    #[error(
        "{dataset}: there are no test samples: remove its folder from the data folder, and import a tree that has test files"
    )]
    NoTestSamples {
        /// The data set.
        dataset: DatasetId,
    },
    /// A run whose record would not be one.
    #[error(
        "run {run_id}: nothing is recorded: {why}; if training diverged, lower the learning rate; \
         else check the data with `cargo xtask data verify`"
    )]
    Unsound {
        /// The run.
        run_id: String,
        /// What is wrong, with its key.
        why: String,
    },
    /// A run store that takes no records.
    #[error("{}: no runs can be written there: {error}; name another folder with --results", path.display())]
    StoreNotWritable {
        /// The folder.
        path: PathBuf,
        /// Why. Part of the message, and so not also its source.
        error: std::io::Error,
    },
    /// A record that is not one, of another schema, or of another run.
    #[error("{}: not a record of schema {expected}: {why}; move it away, and the run is done again", path.display())]
    BadRecord {
        /// The file.
        path: PathBuf,
        /// The schema this program writes.
        expected: u32,
        /// What is wrong.
        why: String,
    },
    /// A record of a results folder or of a git revision that is not one, or contradicts itself or another.
    #[error("{at}: not a sound record: {why}; restore it as it was written, or move it away")]
    RefusedRecord {
        /// The file, or `REVISION:FILE`.
        at: String,
        /// What is wrong, with its key.
        why: String,
    },
    /// Maps of a run that are missing, damaged or another's.
    #[error(
        "{}: not the maps of its run: {why}; restore the file as it was written, or move the run's record away and run it again",
        path.display()
    )]
    BadMaps {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Committed results that are not there.
    #[error(
        "no records to check in {}: expected ARTEFACT/PROFILE/records/RUN_ID.json, as `cargo xtask accept` writes them",
        folder.display()
    )]
    NothingToCheck {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder that no report can be made of.
    #[error("nothing to report in {}: {why}", folder.display())]
    NothingToReport {
        /// The folder.
        folder: PathBuf,
        /// What is there instead, and what to do.
        why: &'static str,
    },
    /// A page that the template refuses.
    #[error("cannot render the report: {0}; please report this")]
    Page(#[from] askama::Error),
    /// A run that the store has no record of.
    #[error("{}: there is no finished run {run}: `cargo xtask status --results DIR` says what a run store holds", folder.display())]
    NoRun {
        /// The run, as it was asked for.
        run: String,
        /// The run store.
        folder: PathBuf,
    },
    /// The first digits of several runs.
    #[error("{}: the ids of several runs begin with {run}: {}; name more of its digits", folder.display(), found.join(", "))]
    SeveralRuns {
        /// The run, as it was asked for.
        run: String,
        /// The run store.
        folder: PathBuf,
        /// The ids that begin so.
        found: Vec<String>,
    },
    /// Weights that are not those of a run's network.
    #[error("{}: no weights of run {run_id}'s network: {why}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// The run.
        run_id: String,
        /// What is wrong, with the tensor's name and shapes.
        why: String,
    },
    /// A run whose data are not there.
    #[error(
        "run {run_id}: its data ({data}) are not in {}: name the data folder with --data, import them, or have `cargo xtask reproduce` \
         make the stand-in", folder.display()
    )]
    OtherData {
        /// The run.
        run_id: String,
        /// The data in words, with the hash of their manifest.
        data: String,
        /// The data folder.
        folder: PathBuf,
    },
    /// An engine that cannot run an ANN twin.
    #[error(
        "run {run_id} is an ANN twin, which the engine {engine} cannot run: leave --engine out, or use --engine reference"
    )]
    TwinEngine {
        /// The run.
        run_id: String,
        /// The engine asked for.
        engine: EngineKind,
    },
    /// A network that NIR has no nodes for.
    #[error(
        "run {run_id}: NIR cannot hold this network: it has no rectifier, which these layers are: {layers}; without them currents below 0 would reach the \
         cells, and the graph would be another network, so none is written; use --to torch"
    )]
    NoNir {
        /// The run.
        run_id: String,
        /// The layers, by index and name.
        layers: String,
    },
    /// A name that gives no runs to compare.
    #[error(
        "{name}: {why}; name a folder with RUN_ID/record.json or records/RUN_ID.json somewhere under it, or a git revision \
         that has such files under results/"
    )]
    NoRuns {
        /// The name.
        name: String,
        /// Why it gives none.
        why: String,
    },
    /// A run that measured other values than its accepted record has, where they must be the same bits.
    #[error(
        "{}: run {run_id} has other results here than in the run store: {what}; nothing was accepted: raise CODE_VERSION if the code \
         is meant to give other numbers, or remove the old record", path.display()
    )]
    OtherResults {
        /// The accepted record.
        path: PathBuf,
        /// The run.
        run_id: String,
        /// The first value that differs, by its key.
        what: String,
    },
    /// Nothing that could be accepted.
    #[error("no finished runs of {artefact} in {}: run `cargo xtask reproduce {artefact}` first", folder.display())]
    NothingToAccept {
        /// The artefact.
        artefact: String,
        /// The run store.
        folder: PathBuf,
    },
    /// A file or folder that cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// Why. Part of the message, and so not also its source.
        error: std::io::Error,
    },
    /// A data frame that cannot be written.
    #[error("the table of runs cannot be written")]
    Table(#[from] polars::error::PolarsError),
    /// Curves that cannot be written.
    #[error("the curves of a run cannot be written")]
    Curves(#[from] parquet::errors::ParquetError),
    /// An error of the data sets.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// An error of the networks.
    #[error(transparent)]
    Spiking(#[from] SpikingError),
}

impl HarnessError {
    /// Whether a cell has failed, and others may still run: neither the run store nor what all cells share is at fault.
    pub(crate) fn is_a_cell_s(&self) -> bool {
        match self {
            Self::Diverged { .. } | Self::Unsound { .. } | Self::Dataset(_) => true,
            Self::Spiking(error) => {
                !matches!(error, SpikingError::Device { .. } | SpikingError::UnknownName { .. })
            }
            _ => false,
        }
    }

    /// The error and what it comes from, in one line.
    pub(crate) fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        text
    }

    /// For `map_err` on file operations at `path`.
    pub(crate) fn io(path: &std::path::Path) -> impl Fn(std::io::Error) -> Self + '_ {
        move |error| Self::Io { path: path.to_owned(), error }
    }
}

/// The part of an advice that names what can be run without the data: the data sets there are, and stand-ins.
fn what_else(absent: &Absent, imported: &[DatasetId]) -> String {
    if absent.stand_in {
        return String::new();
    }
    let options: Vec<String> = imported.iter().map(|id| format!("--dataset {id}")).collect();
    let there = match options.as_slice() {
        [] => String::new(),
        options => format!(", or run what is there with `{}`", options.join(" ")),
    };
    format!("{there}, or run `--profile quick` on stand-ins")
}

/// The part of an advice that names what was asked for and is not there.
fn what_is_not(unknown: &[String]) -> String {
    if unknown.is_empty() {
        return String::new();
    }
    format!(
        ", and no {}: name what it has with --dataset and --rule, or leave them out",
        unknown.join(", no ")
    )
}
