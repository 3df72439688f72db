//! A run that this process alone works on: its folder in the run store, under a lock.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::SystemTime;

use bpsta_spiking::NetworkSpec;
use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::files::{UNFINISHED, make_folder, read_if_there, remove_if_there, write_whole};
use crate::tensors;
use crate::train::Trained;
use crate::weights::FINAL;
use crate::{CallId, HarnessError, Result, RunConfig, RunFiles, RunStore};

/// A run's folder while this process works on it. The operating system lets go of the lock when the process ends, however it
/// ends; the empty lock file stays.
#[derive(Debug)]
pub(crate) struct Claim {
    store: RunStore,
    run_id: String,
    _lock: File,
}

/// Why a run failed, as it lies beside what the run has left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The run.
    pub run_id: String,
    /// The error in words.
    pub error: String,
    /// When it failed, in seconds since 1970 (UTC), by the clock of its machine: for people alone.
    pub unix_seconds: f64,
    /// The call that it failed in; none in files before 28 November 2026.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallId>,
    /// Everything that shaped the run.
    pub config: RunConfig,
}

impl RunStore {
    /// Takes a run for this process; none if another process has it.
    ///
    /// # Errors
    /// [`HarnessError::Io`].
    pub(crate) fn claim(&self, run_id: &str) -> Result<Option<Claim>> {
        let folder = self.run_folder(run_id);
        make_folder(&folder)?;
        let path = folder.join(".lock");
        let lock = File::options().create(true).append(true).open(&path).map_err(HarnessError::io(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(HarnessError::io(&path)(error)),
        }
        // What a killed process had not finished writing.
        for entry in std::fs::read_dir(&folder).map_err(HarnessError::io(&folder))? {
            let entry = entry.map_err(HarnessError::io(&folder))?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                remove_if_there(&entry.path())?;
            }
        }
        Ok(Some(Claim { store: self.clone(), run_id: run_id.to_owned(), _lock: lock }))
    }

    /// Whether a process has the run now. Takes its lock for a moment: a process that asks for it just then waits a little.
    ///
    /// # Errors
    /// [`HarnessError::Io`].
    pub(crate) fn is_claimed(&self, run_id: &str) -> Result<bool> {
        let path = self.run_folder(run_id).join(".lock");
        let lock = match File::open(&path) {
            Ok(lock) => lock,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(HarnessError::io(&path)(error)),
        };
        match lock.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(HarnessError::io(&path)(error)),
        }
    }

    /// Why a run failed when it was last tried; none if it did not fail, or is tried again or finished by now, or the file says nothing.
    ///
    /// # Errors
    /// [`HarnessError::Io`].
    pub fn failure(&self, run_id: &str) -> Result<Option<Failure>> {
        if self.record_path(run_id).exists() {
            return Ok(None);
        }
        let bytes = read_if_there(&self.failure_path(run_id))?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Why a run failed, if that was in this store's call. Clocks are not asked: one may be set back, and nodes have their own.
    pub(crate) fn failure_in_call(&self, run_id: &str) -> Result<Option<Failure>> {
        let in_call = |failure: &Failure| failure.call.is_some() && failure.call == self.call();
        Ok(self.failure(run_id)?.filter(in_call))
    }

    /// Removes what a finished run needs no more, and a process that was killed right behind its record has left.
    pub(crate) fn clear_behind(&self, run_id: &str) -> Result<()> {
        remove_if_there(&self.checkpoint_path(run_id))?;
        remove_if_there(&self.failure_path(run_id))
    }

    fn failure_path(&self, run_id: &str) -> PathBuf {
        self.run_folder(run_id).join("failed.json")
    }

    pub(crate) fn checkpoint_path(&self, run_id: &str) -> PathBuf {
        self.run_folder(run_id).join("checkpoint.safetensors")
    }
}

impl Claim {
    /// The run is tried again: what it failed of before is how it stands no more, even if this try is stopped or killed.
    pub(crate) fn try_again(&self) -> Result<()> {
        remove_if_there(&self.store.failure_path(&self.run_id))
    }

    /// Writes what the run goes on from if it is stopped.
    pub(crate) fn save(&self, checkpoint: &Checkpoint, config: &RunConfig) -> Result<()> {
        checkpoint.write(&self.store.checkpoint_path(&self.run_id), config)
    }

    /// What the run goes on from, if it was stopped. A file that it cannot go on from is set aside, and `notice` is told why.
    pub(crate) fn checkpoint(
        &self,
        config: &RunConfig,
        spec: &NetworkSpec,
        device: &Device,
        notice: &mut dyn FnMut(String),
    ) -> Result<Option<Checkpoint>> {
        let path = self.store.checkpoint_path(&self.run_id);
        let Some(bytes) = read_if_there(&path)? else { return Ok(None) };
        match Checkpoint::read(&bytes, config, spec, device) {
            Ok(checkpoint) => Ok(Some(checkpoint)),
            Err(why) => {
                let aside = path.with_extension("unusable");
                std::fs::rename(&path, &aside).map_err(HarnessError::io(&aside))?;
                notice(format!(
                    "{}: not a checkpoint of this run: {why}; it is now {}, and the run starts again",
                    path.display(),
                    aside.display()
                ));
                Ok(None)
            }
        }
    }

    /// Writes what the run has learnt and seen: weights, maps, curves and, last, the record, which is what makes it finished. Then the
    /// checkpoint goes. Gives the record's path.
    ///
    /// # Errors
    /// Those of [`RunStore::finish`].
    pub(crate) fn finish(&self, trained: &Trained) -> Result<PathBuf> {
        let Trained { record, parameters, maps } = trained;
        self.store.check(record)?;
        let folder = self.store.run_folder(&self.run_id);
        let note = BTreeMap::from([
            ("run_id", serde_json::to_value(&record.run_id)),
            ("parameters_hash", serde_json::to_value(&record.parameters_hash)),
            ("layers", serde_json::to_value(&record.layers)),
            ("config", serde_json::to_value(&record.config)),
        ]);
        let note = note.into_iter().map(|(key, value)| (key.to_owned(), value.unwrap_or_default())).collect();
        tensors::write(&folder.join(FINAL), &tensors::of(parameters), serde_json::Value::Object(note))?;
        maps.write(&RunFiles::Store(&self.store).maps_path(&self.run_id), record)?;
        write_whole(&folder.join("curves.parquet"), &crate::curves::parquet(record)?)?;
        let path = self.store.finish(record)?;
        self.store.clear_behind(&self.run_id)?;
        Ok(path)
    }

    /// Writes why the run failed. Its checkpoint stays.
    pub(crate) fn fail(&self, config: &RunConfig, error: String) -> Result<Failure> {
        let failure = Failure {
            run_id: self.run_id.clone(),
            error,
            unix_seconds: SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |since| since.as_secs_f64()),
            call: self.store.call(),
            config: config.clone(),
        };
        let mut json = serde_json::to_vec_pretty(&failure).unwrap_or_default();
        json.push(b'\n');
        write_whole(&self.store.failure_path(&self.run_id), &json)?;
        Ok(failure)
    }
}
