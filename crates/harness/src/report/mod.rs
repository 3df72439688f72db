//! The report: one page of HTML over finished runs, which asks nothing of a network and runs no script.
//!
//! It follows from the records and the experiment files alone, and has no date of its own: the same records give the same bytes.

mod forms;
mod limits;
mod page;
mod pieces;
mod prose;
mod source;

use std::path::Path;

use askama::Template;

use crate::maps::MapsByRun;
use crate::{Experiment, Profile, Record, Result};

/// A page, and what it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The page.
    pub html: String,
    /// Its tables as files.
    pub tables: Vec<TableFile>,
    /// What its runs are: accepted results, or those of a run store.
    pub about: &'static str,
    /// Its artefacts, each in one profile.
    pub chapters: usize,
    /// Its runs, each counted once.
    pub runs: usize,
    /// Runs of the folder that it does not show.
    pub left_out: usize,
}

/// A table of the page in one form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFile {
    /// Its name: `ARTEFACT-PROFILE-DATASET-N.EXTENSION`, N its place among the data set's tables; `runs.EXTENSION` for the provenance.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// An artefact in one profile, with its records in the order of the table.
struct Chapter {
    experiment: Experiment,
    profile: Profile,
    records: Vec<Record>,
    /// Those that its view shows.
    maps: MapsByRun,
}

/// The page over all finished runs of `folder`, which is accepted results (`ARTEFACT/PROFILE/records`) or a run store
/// (`RUN_ID/record.json`), with what the files in `experiments` say of the artefacts. Of a run store it shows what they ask for, and names
/// all others.
///
/// # Errors
/// [`crate::HarnessError::NothingToReport`] where there are no such records, [`crate::HarnessError::RefusedRecord`] for an accepted one
/// that is none, [`crate::HarnessError::BadMaps`], and those of the experiment files.
pub fn report(folder: &Path, experiments: &Path) -> Result<Report> {
    let source = source::read(folder, experiments)?;
    let page = page::Page::new(&source)?;
    Ok(Report {
        html: page.render()?,
        tables: page.tables(),
        about: source.about,
        chapters: source.chapters.len(),
        runs: page.runs(),
        left_out: source.left_out.len(),
    })
}
