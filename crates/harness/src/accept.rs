//! Promotes finished runs from the store, which git ignores, to the committed results.

use std::path::{Path, PathBuf};

use crate::files::write_whole;
use crate::reproduce::failures;
use crate::table::{runs_csv, table_markdown};
use crate::{HarnessError, Plan, Record, Result, RunStore};

/// Writes the records of the finished runs that a plan's table shows, and that table, to `results/ARTEFACT/PROFILE/`; returns
/// that folder and how many records it took.
///
/// What is committed is a reference to compare with, never a cache: no run is skipped because of it.
///
/// # Errors
/// [`HarnessError::NothingToAccept`] where no run of the plan is finished, and those of reading and writing.
pub fn accept(plan: &Plan, runs: &RunStore, results: &Path) -> Result<(PathBuf, usize)> {
    let mut records: Vec<Record> = Vec::new();
    for run_id in &plan.table {
        records.extend(runs.finished(run_id)?);
    }
    if records.is_empty() {
        return Err(HarnessError::NothingToAccept {
            artefact: plan.experiment.artefact.clone(),
            folder: runs.root().to_owned(),
        });
    }
    let folder = results.join(&plan.experiment.artefact).join(plan.profile.id());
    for record in &records {
        let mut json = serde_json::to_vec_pretty(record).unwrap_or_default();
        json.push(b'\n');
        write_whole(&folder.join("records").join(format!("{}.json", record.run_id)), &json)?;
    }
    write_whole(
        &folder.join("table.md"),
        (table_markdown(plan, &records)? + &failures(plan, runs)?).as_bytes(),
    )?;
    write_whole(&folder.join("runs.csv"), &runs_csv(&records)?)?;
    Ok((folder, records.len()))
}
