//! Promotes finished runs from the store, which git ignores, to the committed results.

use std::path::{Path, PathBuf};

use crate::committed::{ordered, tables};
use crate::compare::{Again, again};
use crate::files::{remove_if_there, write_whole};
use crate::{HarnessError, Plan, Record, Result, RunConfig, RunFiles, RunStore};

/// What [`accept`] did.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// Where the records and their tables are.
    pub folder: PathBuf,
    /// Runs that it was to accept.
    pub runs: usize,
    /// Those among them whose record was there already, with the same values, and stays as it was.
    pub kept: usize,
    /// Those whose record there had other values, which need not be the same bits (on a GPU, or with candle's operations on another CPU
    /// model), and is replaced.
    pub replaced: usize,
    /// The configurations of the records by another code version that are gone from there.
    pub gone: Vec<RunConfig>,
}

/// Writes the records of a plan's finished cells, and of other finished seeds of theirs that its table shows, to `results/ARTEFACT/PROFILE/`, with their maps if its view shows
/// them, and the tables over all records
/// there. A record that is there already, with the same values, stays as it is. What stood there of the same configuration, of any seed, by another code version goes: git keeps it.
///
/// What is committed is a reference to compare with, never a cache: no run is skipped because of it.
///
/// # Errors
/// [`HarnessError::NothingToAccept`] where no cell of the plan is finished, [`HarnessError::BadRecord`] for a cell's record that is none,
/// [`HarnessError::RefusedRecord`] for one there that is none or another profile's, [`HarnessError::OtherResults`] where one there has other values that must be the same,
/// and [`HarnessError::BadMaps`], all before anything is written; then [`HarnessError::Plot`], [`HarnessError::Table`], and those of reading and writing.
pub fn accept(plan: &Plan, runs: &RunStore, results: &Path) -> Result<Accepted> {
    let mut accepted: Vec<Record> = Vec::new();
    for cell in &plan.cells {
        accepted.extend(runs.finished(&cell.run_id)?);
    }
    // With all their seeds: those of another code version go, whatever their seed.
    for run_id in plan.table.iter().filter(|run_id| plan.cells.iter().all(|cell| cell.run_id != **run_id)) {
        let finished = match runs.finished(run_id) {
            Err(HarnessError::BadRecord { .. }) => None,
            finished => finished?,
        };
        let of_a_cell = |record: &Record| {
            plan.cells.iter().any(|cell| cell.config.but_seed() == record.config.but_seed())
        };
        accepted.extend(finished.filter(of_a_cell));
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
    let before = match folder.join("records").is_dir() {
        true => ordered(&plan.experiment, plan.profile, &folder)?,
        false => Vec::new(),
    };
    let (mut taken, mut replaced): (Vec<&Record>, usize) = (Vec::new(), 0);
    for record in &accepted {
        let there = before.iter().find(|old| old.run_id == record.run_id);
        match there.map(|old| (old, again(old, record))) {
            Some((_, Again::Contradicted(differs))) => {
                let (path, run_id) = (path(record), record.run_id.clone());
                return Err(HarnessError::OtherResults { path, run_id, what: differs.to_string() });
            }
            // One of a later schema says more.
            Some((old, Again::Same)) if old.schema >= record.schema => {}
            Some((_, Again::Otherwise)) => {
                replaced += 1;
                taken.push(record);
            }
            _ => taken.push(record),
        }
    }
    for record in &accepted {
        if let Some(maps) = maps.get(&record.run_id) {
            maps.write(&committed.maps_path(&record.run_id), record)?;
        }
    }
    for record in &taken {
        let mut json = serde_json::to_vec_pretty(record).unwrap_or_default();
        json.push(b'\n');
        write_whole(&path(record), &json)?;
    }
    let mut gone = Vec::new();
    let configuration = |record: &Record| RunConfig { code_version: 0, ..record.config.but_seed() };
    for old in before {
        // Seeds of two versions would be two rows of one configuration.
        let replaces = |new: &Record| {
            new.config.code_version != old.config.code_version && configuration(new) == configuration(&old)
        };
        if accepted.iter().any(replaces) {
            std::fs::remove_file(path(&old)).map_err(HarnessError::io(&path(&old)))?;
            remove_if_there(&committed.maps_path(&old.run_id))?;
            gone.push(old.config);
        }
    }
    for (path, bytes) in tables(&plan.experiment, plan.profile, &folder)? {
        write_whole(&path, &bytes)?;
    }
    Ok(Accepted { folder, runs: accepted.len(), kept: accepted.len() - taken.len(), replaced, gone })
}
