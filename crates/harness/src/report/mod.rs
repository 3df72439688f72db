//! The report: one page of HTML over committed results, which asks nothing of a network and runs no script.
//!
//! It follows from the records and the experiment files alone, and has no date of its own: the same records give the same bytes.

mod forms;
mod limits;
mod page;
mod pieces;
mod prose;

use std::path::Path;

use askama::Template;

use crate::committed::{folders, named, ordered};
use crate::maps::MapsByRun;
use crate::{Experiment, HarnessError, Profile, Record, Result, RunFiles};

const RUN_STORE: &str = "it is a run store, whose runs belong to no artefact yet; `cargo xtask accept ARTEFACT` takes them into results/, \
                         which is then reported";
const NO_RECORDS: &str = "expected ARTEFACT/PROFILE/records/RUN_ID.json, as `cargo xtask accept` writes them";

/// A page, and what it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The page.
    pub html: String,
    /// Its artefacts, each in one profile.
    pub chapters: usize,
    /// Its runs, each counted once.
    pub runs: usize,
}

/// An artefact in one profile, with its records in the order of the table.
struct Chapter {
    experiment: Experiment,
    profile: Profile,
    records: Vec<Record>,
    /// Those that its view shows.
    maps: MapsByRun,
}

/// The page over all records in `results/ARTEFACT/PROFILE/records`, with what the files in `experiments` say of the artefacts.
///
/// # Errors
/// [`HarnessError::NothingToReport`] where there are no such records, [`HarnessError::RefusedRecord`] for one that is none,
/// [`HarnessError::BadMaps`], and those of
/// the experiment files.
pub fn report(results: &Path, experiments: &Path) -> Result<Report> {
    let chapters = chapters(results, experiments)?;
    let page = page::Page::new(&chapters)?;
    Ok(Report { html: page.render()?, chapters: chapters.len(), runs: page.runs() })
}

fn chapters(results: &Path, experiments: &Path) -> Result<Vec<Chapter>> {
    let mut chapters = Vec::new();
    let artefacts = folders(results)?;
    for folder in artefacts.iter().map(|artefact| folders(artefact)).collect::<Result<Vec<_>>>()?.concat() {
        if !folder.join("records").is_dir() {
            continue;
        }
        let (experiment, profile) = named(&folder, experiments)?;
        let records = ordered(&experiment, profile, &folder)?;
        if !records.is_empty() {
            let maps = RunFiles::Committed(&folder).needed(&experiment, &records)?;
            chapters.push(Chapter { experiment, profile, records, maps });
        }
    }
    if chapters.is_empty() {
        let is_store = artefacts.iter().any(|folder| folder.join("record.json").is_file());
        let why = if is_store { RUN_STORE } else { NO_RECORDS };
        return Err(HarnessError::NothingToReport { folder: results.to_owned(), why });
    }
    Ok(chapters)
}
