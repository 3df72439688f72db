//! Where records live: `DIR/RUN_ID/record.json`, written once, when the run is finished.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::check::problem;
use crate::files::{read_if_there, write_whole};
use crate::{CallId, HarnessError, RECORD_SCHEMA, Record, Result};

/// Training between two checkpoints, at least: what a killed run loses at most, an epoch more or less.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(20);

/// A folder of runs.
#[derive(Debug, Clone)]
pub struct RunStore {
    root: PathBuf,
    checkpoint_every: Duration,
    call: Option<CallId>,
}

impl RunStore {
    /// The store in `root`, which need not exist yet.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), checkpoint_every: CHECKPOINT_EVERY, call: None }
    }

    /// The same with so much training between two checkpoints, at least, in place of 20 s.
    pub fn with_checkpoint_every(self, checkpoint_every: Duration) -> Self {
        Self { checkpoint_every, ..self }
    }

    /// The same in a call, in whatever process of it: a cell that has failed in it is not tried again. Without, [`crate::reproduce`]
    /// is a call of its own.
    pub fn with_call_of(self, call: CallId) -> Self {
        Self { call: Some(call), ..self }
    }

    /// The same in its call, or in a new one where it has none.
    pub(crate) fn in_a_call(&self) -> Self {
        self.clone().with_call_of(self.call.unwrap_or_default())
    }

    /// The call that its cells are tried in; none of a store that is only looked at.
    pub(crate) fn call(&self) -> Option<CallId> {
        self.call
    }

    pub(crate) fn checkpoint_every(&self) -> Duration {
        self.checkpoint_every
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a run's record is.
    pub fn record_path(&self, run_id: &str) -> PathBuf {
        self.run_folder(run_id).join("record.json")
    }

    pub(crate) fn run_folder(&self, run_id: &str) -> PathBuf {
        self.root.join(run_id)
    }

    /// Makes sure that records and tables can be written, before hours of training go into one.
    ///
    /// # Errors
    /// [`HarnessError::StoreNotWritable`].
    pub(crate) fn probe(&self) -> Result<()> {
        for path in [self.root.clone(), self.root.join("tables")] {
            std::fs::create_dir_all(&path)
                .and_then(|()| tempfile::tempfile_in(&path))
                .map_err(|error| HarnessError::StoreNotWritable { path, error })?;
        }
        Ok(())
    }

    /// The record of a finished run, if there is one.
    ///
    /// # Errors
    /// [`HarnessError::BadRecord`] for a file that is none, or another run's, or contradicts itself.
    pub fn finished(&self, run_id: &str) -> Result<Option<Record>> {
        let path = self.record_path(run_id);
        let Some(bytes) = read_if_there(&path)? else { return Ok(None) };
        let refuse = |why| HarnessError::BadRecord { path, expected: RECORD_SCHEMA, why };
        parse(&bytes, run_id).map(Some).map_err(refuse)
    }

    /// Writes the record of a run that has just finished. One that is there already stays: a finished result is never
    /// overwritten.
    ///
    /// # Errors
    /// [`HarnessError::Unsound`] for a record that [`Self::finished`] would refuse, and [`HarnessError::Io`].
    pub fn finish(&self, record: &Record) -> Result<PathBuf> {
        self.check(record)?;
        let path = self.record_path(&record.run_id);
        if !path.exists() {
            let mut json = serde_json::to_vec_pretty(record).unwrap_or_default();
            json.push(b'\n');
            write_whole(&path, &json)?;
        }
        Ok(path)
    }

    /// Refuses a record that [`Self::finished`] would refuse.
    pub(crate) fn check(&self, record: &Record) -> Result<()> {
        match problem(record)? {
            Some(why) => Err(HarnessError::Unsound { run_id: record.run_id.clone(), why }),
            None => Ok(()),
        }
    }
}

/// The record of run `run_id`; the error says what is wrong with the bytes, and with which key.
pub(crate) fn parse(bytes: &[u8], run_id: &str) -> std::result::Result<Record, String> {
    // The number is looked at first: another schema's record would otherwise fail on some unrelated key.
    let SchemaOnly { schema } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if !(1..=RECORD_SCHEMA).contains(&schema) {
        return Err(format!("key `schema` is {schema}"));
    }
    let record: Record = serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_slice(bytes))
        .map_err(|error| format!("key `{}`: {}", error.path(), error.inner()))?;
    if !record.completed {
        return Err("key `completed` is false".to_owned());
    }
    if record.run_id != run_id {
        return Err(format!("key `run_id` is {}, and by its folder {run_id}", record.run_id));
    }
    match problem(&record) {
        Ok(None) => Ok(record),
        Ok(Some(why)) => Err(why),
        Err(error) => Err(format!("key `config`: {error}")),
    }
}

#[derive(Deserialize)]
struct SchemaOnly {
    schema: u32,
}
