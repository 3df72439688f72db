//! Promotes finished runs from the store, which git ignores, to the committed results.

use std::path::{Path, PathBuf};

use crate::committed::{records, tables};
use crate::files::{remove_if_there, write_whole};
use crate::{HarnessError, Plan, Record, Result, RunConfig, RunFiles, RunStore};

/// What [`accept`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Where the records and their tables are.
    pub folder: PathBuf,
    /// Records that it took.
    pub runs: usize,
    /// Records of the same configurations by another code version, which are gone from there.
    pub gone: usize,
}

/// Writes the records of the finished runs that a plan's table shows to `results/ARTEFACT/PROFILE/`, with their maps if its view shows
/// them, and the tables over all records
/// there. What stood there of the same configuration, of any seed, by another code version goes: git keeps it.
///
/// What is committed is a reference to compare with, never a cache: no run is skipped because of it.
///
/// # Errors
/// [`HarnessError::NothingToAccept`] where no run of the plan is finished, [`HarnessError::RefusedRecord`] for a record there that is
/// none, [`HarnessError::BadMaps`], and those of reading and writing.
pub fn accept(plan: &Plan, runs: &RunStore, results: &Path) -> Result<Accepted> {
    let mut accepted: Vec<Record> = Vec::new();
    for run_id in &plan.table {
        accepted.extend(runs.finished(run_id)?);
    }
    if accepted.is_empty() {
        return Err(HarnessError::NothingToAccept {
            artefact: plan.experiment.artefact.clone(),
            folder: runs.root().to_owned(),
        });
    }
    // Before anything is written: maps that are not their run's stop it, and so does a record there that is none.
    let maps = RunFiles::Store(runs).needed(&plan.experiment, &accepted)?;
    let folder = results.join(&plan.experiment.artefact).join(plan.profile.id());
    let path = |record: &Record| folder.join("records").join(format!("{}.json", record.run_id));
    let committed = RunFiles::Committed(&folder);
    let before = if folder.join("records").is_dir() { records(&folder)? } else { Vec::new() };
    for record in &accepted {
        if let Some(maps) = maps.get(&record.run_id) {
            maps.write(&committed.maps_path(&record.run_id), record)?;
        }
        let mut json = serde_json::to_vec_pretty(record).unwrap_or_default();
        json.push(b'\n');
        write_whole(&path(record), &json)?;
    }
    let mut gone = 0;
    let configuration = |record: &Record| RunConfig { code_version: 0, ..record.config.but_seed() };
    for old in before {
        // Seeds of two versions would be two rows of one configuration.
        let replaces = |new: &Record| {
            new.config.code_version != old.config.code_version && configuration(new) == configuration(&old)
        };
        if accepted.iter().any(replaces) {
            std::fs::remove_file(path(&old)).map_err(HarnessError::io(&path(&old)))?;
            remove_if_there(&committed.maps_path(&old.run_id))?;
            gone += 1;
        }
    }
    for (path, bytes) in tables(&plan.experiment, plan.profile, &folder)? {
        write_whole(&path, &bytes)?;
    }
    Ok(Accepted { folder, runs: accepted.len(), gone })
}
