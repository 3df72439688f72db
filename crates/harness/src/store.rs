//! Where records live: `DIR/RUN_ID/record.json`, written once, when the run is finished.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::{HarnessError, RECORD_SCHEMA, Record, Result};

/// A folder of finished runs.
#[derive(Debug, Clone)]
pub struct RunStore {
    root: PathBuf,
}

impl RunStore {
    /// The store in `root`, which need not exist yet.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a run's record is.
    pub fn record_path(&self, run_id: &str) -> PathBuf {
        self.root.join(run_id).join("record.json")
    }

    /// The record of a finished run, if there is one.
    ///
    /// # Errors
    /// [`HarnessError::BadRecord`] for a file that is none.
    pub fn finished(&self, run_id: &str) -> Result<Option<Record>> {
        let path = self.record_path(run_id);
        match std::fs::read(&path) {
            Ok(bytes) => parse(&path, &bytes).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(HarnessError::io(&path)(error)),
        }
    }

    /// Writes the record of a run that has just finished. One that is there already stays: a finished result is never
    /// overwritten.
    ///
    /// # Errors
    /// [`HarnessError::Io`].
    pub fn finish(&self, record: &Record) -> Result<PathBuf> {
        let path = self.record_path(&record.run_id);
        if !path.exists() {
            let mut json = serde_json::to_vec_pretty(record).unwrap_or_default();
            json.push(b'\n');
            write_whole(&path, &json)?;
        }
        Ok(path)
    }
}

/// Writes a file so that it is either whole or not there: a temporary name, synced, renamed.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(HarnessError::io(folder))?;
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(HarnessError::io(path))
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Record> {
    let refuse =
        |why: String| HarnessError::BadRecord { path: path.to_owned(), expected: RECORD_SCHEMA, why };
    let record: Record = serde_json::from_slice(bytes).map_err(|error| refuse(error.to_string()))?;
    match (record.schema, record.completed) {
        (RECORD_SCHEMA, true) => Ok(record),
        (RECORD_SCHEMA, false) => Err(refuse("it says that its run is not completed".to_owned())),
        (other, _) => Err(refuse(format!("it has schema {other}"))),
    }
}
