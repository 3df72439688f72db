//! Where records live: `DIR/RUN_ID/record.json`, written once, when the run is finished.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::check::problem;
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
        match std::fs::read(&path) {
            Ok(bytes) => match parse(&bytes, run_id) {
                Ok(record) => Ok(Some(record)),
                Err(why) => Err(HarnessError::BadRecord { path, expected: RECORD_SCHEMA, why }),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(HarnessError::io(&path)(error)),
        }
    }

    /// Writes the record of a run that has just finished. One that is there already stays: a finished result is never
    /// overwritten.
    ///
    /// # Errors
    /// [`HarnessError::Unsound`] for a record that [`Self::finished`] would refuse, and [`HarnessError::Io`].
    pub fn finish(&self, record: &Record) -> Result<PathBuf> {
        if let Some(why) = problem(record)? {
            return Err(HarnessError::Unsound { run_id: record.run_id.clone(), why });
        }
        let path = self.record_path(&record.run_id);
        if !path.exists() {
            let mut json = serde_json::to_vec_pretty(record).unwrap_or_default();
            json.push(b'\n');
            write_whole(&path, &json)?;
        }
        Ok(path)
    }
}

/// Writes a file so that it is either whole or not there: a temporary name, synced, renamed. Its rights are those of any new
/// file.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(HarnessError::io(folder))?;
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().make_in(folder, |path| File::create_new(path))?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(HarnessError::io(path))
}

/// The record of run `run_id`; the error says what is wrong with the bytes, and with which key.
pub(crate) fn parse(bytes: &[u8], run_id: &str) -> std::result::Result<Record, String> {
    // The number is looked at first: another schema's record would otherwise fail on some unrelated key.
    let SchemaOnly { schema } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if schema != RECORD_SCHEMA {
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
