//! What a run store holds: finished runs, runs under way, and what became of the others.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::artefacts::{belongs_to, experiments};
use crate::checkpoint::Checkpoint;
use crate::committed::folders;
use crate::files::UNFINISHED;
use crate::{HarnessError, Record, Result, RunConfig, RunStore};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// It has its record.
    Finished,
    /// A process works on it now.
    UnderWay,
    /// No process works on it, and the next call goes on with it.
    Stopped,
    /// It failed when it was last tried.
    Failed,
    /// Its record is none, or contradicts itself.
    Refused,
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Finished => "finished",
            Self::UnderWay => "under way",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Refused => "refused",
        })
    }
}

/// A run's folder in the run store.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoredRun {
    /// Its name.
    pub run_id: String,
    /// Where it stands.
    pub state: RunState,
    /// The experiments whose cells ask for it, by their names; none where they do not, or its configuration is not known.
    pub artefacts: Vec<String>,
    /// Epochs that are behind it: of its record, or of its checkpoint.
    pub epochs: usize,
    /// Why it failed or is refused, or what is wrong with its checkpoint.
    pub why: Option<String>,
    /// Size of its files, in bytes.
    pub bytes: u64,
    /// Its configuration; none of a run that has neither record, failure nor checkpoint yet.
    pub config: Option<RunConfig>,
    /// Its record, if it is finished.
    #[serde(skip)]
    pub record: Option<Box<Record>>,
}

impl StoredRun {
    /// The run in words, with its profile.
    pub fn name(&self) -> String {
        match &self.config {
            Some(config) => format!("{}, profile {}", config.name(), config.profile),
            None => "a run without a checkpoint yet".to_owned(),
        }
    }

    /// Its epochs, in words: `3 of 20 epochs`.
    pub fn progress(&self) -> String {
        match &self.config {
            Some(config) => format!("{} of {} epochs", self.epochs, config.epochs),
            None => format!("{} epochs", self.epochs),
        }
    }
}

/// Whether a folder is a run's, by its name.
pub(crate) fn is_run(folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.len() == 16 && name.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

impl RunStore {
    /// All runs of the store by their names, with the artefacts of `experiments` that ask for them; none where there is no store yet.
    /// Looks whether a process has a run by taking its lock for a moment, and reads of a checkpoint its head alone.
    ///
    /// # Errors
    /// Those of reading the store and the experiment files. What is wrong with a run is told of it.
    pub fn runs(&self, experiments_folder: &Path) -> Result<Vec<StoredRun>> {
        let experiments = experiments(experiments_folder)?;
        let mut runs = Vec::new();
        for folder in folders(self.root())?.into_iter().filter(|folder| is_run(folder)) {
            let run_id = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let mut run = self.look(run_id)?;
            if let Some(config) = &run.config {
                let belongs = belongs_to(&experiments, config).into_iter();
                run.artefacts = belongs.map(|experiment| experiment.artefact.clone()).collect();
            }
            runs.push(run);
        }
        Ok(runs)
    }

    fn look(&self, run_id: &str) -> Result<StoredRun> {
        let mut run = StoredRun {
            run_id: run_id.to_owned(),
            state: RunState::Stopped,
            artefacts: Vec::new(),
            epochs: 0,
            why: None,
            bytes: size(&self.run_folder(run_id))?,
            config: None,
            record: None,
        };
        // Before the record: a process that finishes in between is then under way, and not stopped.
        let claimed = self.is_claimed(run_id)?;
        match self.finished(run_id) {
            Ok(Some(record)) => {
                run.state = RunState::Finished;
                run.epochs = record.epochs.len();
                run.config = Some(record.config.clone());
                run.record = Some(Box::new(record));
                return Ok(run);
            }
            Ok(None) => {}
            Err(HarnessError::BadRecord { why, .. }) => {
                run.state = RunState::Refused;
                run.why = Some(why);
                return Ok(run);
            }
            Err(error) => return Err(error),
        }
        match Checkpoint::glance(&self.checkpoint_path(run_id)) {
            Ok(Some((config, epochs))) => (run.config, run.epochs) = (config, epochs),
            Ok(None) => {}
            Err(why) => run.why = Some(format!("no checkpoint to go on from: {why}")),
        }
        if let Some(failure) = self.failure(run_id)? {
            run.config = Some(failure.config);
            run.state = RunState::Failed;
            run.why = Some(failure.error);
        }
        if claimed {
            run.state = RunState::UnderWay;
            run.why = None;
        }
        Ok(run)
    }
}

/// Bytes of the files of a run's folder. What is written or removed meanwhile does not count.
fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).map_err(HarnessError::io(folder))? {
        let entry = entry.map_err(HarnessError::io(folder))?;
        if !entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            bytes += entry.metadata().map_or(0, |file| if file.is_file() { file.len() } else { 0 });
        }
    }
    Ok(bytes)
}
