//! The weights of a finished run, with the record that says what they are of.

use std::path::{Path, PathBuf};

use bpsta_spiking::{NetworkSpec, Parameters};
use candle_core::Device;

use crate::committed::folders;
use crate::status::is_run;
use crate::tensors::{self, Tensors};
use crate::{HarnessError, Record, Result, RunStore};

/// A run's weights in its folder.
pub(crate) const FINAL: &str = "final.safetensors";

/// Weights that fit the network of a finished run.
#[derive(Debug)]
pub struct Weights {
    /// The file.
    pub path: PathBuf,
    /// The run's record.
    pub record: Record,
    pub(crate) spec: NetworkSpec,
    pub(crate) parameters: Parameters,
}

impl Weights {
    /// The final weights of a run of the store, by its id or enough of its first digits.
    ///
    /// # Errors
    /// [`HarnessError::NoRun`], [`HarnessError::SeveralRuns`], [`HarnessError::Weights`] for a file that is none, is damaged, or holds another network's tensors, and
    /// [`HarnessError::Io`].
    pub fn of_run(runs: &RunStore, run: &str) -> Result<Self> {
        let record = record(runs, run)?;
        Self::of_record(&runs.run_folder(&record.run_id).join(FINAL), record)
    }

    /// The weights of a file: of the run beside whose record it lies, or of `run` in the store.
    ///
    /// # Errors
    /// As [`Self::of_run`].
    pub fn of_file(path: &Path, runs: &RunStore, run: Option<&str>) -> Result<Self> {
        if let Some(run) = run {
            return Self::of_record(path, record(runs, run)?);
        }
        let whole = path.canonicalize().map_err(HarnessError::io(path))?;
        let beside = whole.parent().and_then(|folder| {
            Some((folder.parent()?, folder.file_name()?.to_str()?))
                .filter(|_| folder.join("record.json").is_file())
        });
        let Some((store, run)) = beside else {
            let why = "no record.json lies beside them: say with --run RUN_ID which run of the run store they are of".to_owned();
            return Err(HarnessError::Weights { path: path.to_owned(), run_id: "?".to_owned(), why });
        };
        Self::of_record(path, record(&RunStore::new(store), run)?)
    }

    /// Reads weights for the network of a record.
    fn of_record(path: &Path, record: Record) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(HarnessError::io(path))?;
        let run_id = record.run_id.clone();
        let refuse = |why| HarnessError::Weights { path: path.to_owned(), run_id: run_id.clone(), why };
        let (tensors, _) = tensors::read(&bytes, &Device::Cpu).map_err(refuse)?;
        let spec = record.config.spec()?;
        let names: Vec<String> = spec.parameter_shapes()?.into_iter().map(|(name, _)| name).collect();
        let (trainable, buffers): (Tensors, Tensors) =
            tensors.into_iter().partition(|(name, _)| names.contains(name));
        let parameters =
            Parameters::resumed(&spec, trainable, buffers).map_err(|error| refuse(error.to_string()))?;
        Ok(Self { path: path.to_owned(), record, spec, parameters })
    }
}

/// The record of a finished run, by its id or enough of its first digits.
fn record(runs: &RunStore, run: &str) -> Result<Record> {
    let none = || HarnessError::NoRun { run: run.to_owned(), folder: runs.root().to_owned() };
    let names = folders(runs.root())?.into_iter().filter(|folder| is_run(folder));
    let names = names.filter_map(|folder| Some(folder.file_name()?.to_str()?.to_owned()));
    let found: Vec<String> = names.filter(|name| !run.is_empty() && name.starts_with(run)).collect();
    match found.as_slice() {
        [] => Err(none()),
        [run_id] => runs.finished(run_id)?.ok_or_else(none),
        _ => Err(HarnessError::SeveralRuns { run: run.to_owned(), folder: runs.root().to_owned(), found }),
    }
}
