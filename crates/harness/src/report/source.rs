//! Where the runs of a page come from: accepted results, or a run store. Both give chapters; what stands beside them differs.

use std::path::Path;

use super::Chapter;
use crate::artefacts::{belongs_to, experiments};
use crate::committed::{folders, named, ordered};
use crate::order::in_order;
use crate::status::is_run;
use crate::{
    CODE_VERSION, Experiment, HarnessError, Profile, Record, Result, RunFiles, RunState, RunStore, StoredRun,
};

const NO_RECORDS: &str = "expected ARTEFACT/PROFILE/records/RUN_ID.json, as `cargo xtask accept` writes them, or RUN_ID/record.json, as \
                          `cargo xtask reproduce` does";
const NONE_FINISHED: &str = "it is a run store in which no run is finished that an experiment asks for; `cargo xtask status` says what is \
                             there";
const BOTH: &str = "it holds accepted results and runs side by side; name a folder of the one or the other";

/// What a page is made of.
pub(super) struct Source {
    /// What the folder is, for the head of the page.
    pub(super) about: &'static str,
    pub(super) chapters: Vec<Chapter>,
    /// Runs that no row shows, and why, in words.
    pub(super) left_out: Vec<String>,
}

/// Reads a folder: `ARTEFACT/PROFILE/records/RUN_ID.json` is accepted results, `RUN_ID/record.json` a run store.
pub(super) fn read(folder: &Path, experiments: &Path) -> Result<Source> {
    let refuse = |why| HarnessError::NothingToReport { folder: folder.to_owned(), why };
    let there = folders(folder)?;
    let inner = there.iter().map(|folder| folders(folder)).collect::<Result<Vec<_>>>()?.concat();
    let accepted = inner.iter().any(|folder| folder.join("records").is_dir());
    let source = match (accepted, there.iter().any(|folder| is_run(folder))) {
        (true, true) => return Err(refuse(BOTH)),
        (true, false) => Source {
            about: "The runs are accepted results, as `cargo xtask accept` wrote them.",
            chapters: of_results(&inner, experiments)?,
            left_out: Vec::new(),
        },
        (false, true) => of_store(&RunStore::new(folder), experiments)?,
        (false, false) => return Err(refuse(NO_RECORDS)),
    };
    if source.chapters.is_empty() {
        return Err(refuse(if accepted { NO_RECORDS } else { NONE_FINISHED }));
    }
    Ok(source)
}

fn of_results(inner: &[std::path::PathBuf], experiments: &Path) -> Result<Vec<Chapter>> {
    let mut chapters = Vec::new();
    for folder in inner.iter().filter(|folder| folder.join("records").is_dir()) {
        let (experiment, profile) = named(folder, experiments)?;
        let records = ordered(&experiment, profile, folder)?;
        if !records.is_empty() {
            let maps = RunFiles::Committed(folder).needed(&experiment, &records)?;
            chapters.push(Chapter { experiment, profile, records, maps });
        }
    }
    Ok(chapters)
}

/// The finished runs of this code version, under every artefact that asks for them; all others are left out by name.
fn of_store(store: &RunStore, folder: &Path) -> Result<Source> {
    let experiments = experiments(folder)?;
    let (mut records, mut left_out) = (Vec::new(), Vec::new());
    for run in store.runs(folder)? {
        match (&run.record, left_out_for(&run)) {
            (Some(record), None) => records.push(Record::clone(record)),
            (_, why) => left_out.push(format!("{}: {}: {}", run.run_id, run.name(), why.unwrap_or_default())),
        }
    }
    let mut chapters = Vec::new();
    for experiment in &experiments {
        for profile in experiment.profile.keys() {
            chapters.extend(chapter(&experiments, experiment, *profile, &records, store)?);
        }
    }
    Ok(Source {
        about: "The runs are those of a run store: finished, but not accepted into results/.",
        chapters,
        left_out,
    })
}

fn chapter(
    experiments: &[Experiment],
    experiment: &Experiment,
    profile: Profile,
    records: &[Record],
    store: &RunStore,
) -> Result<Option<Chapter>> {
    let belongs = |record: &&Record| {
        let of = belongs_to(experiments, &record.config);
        record.config.profile == profile && of.iter().any(|of| of.artefact == experiment.artefact)
    };
    let mut records: Vec<Record> = records.iter().filter(belongs).cloned().collect();
    in_order(experiment, profile, &mut records)?;
    if records.is_empty() {
        return Ok(None);
    }
    let maps = RunFiles::Store(store).needed(experiment, &records)?;
    Ok(Some(Chapter { experiment: experiment.clone(), profile, records, maps }))
}

/// Why no row shows a run; none if one does.
fn left_out_for(run: &StoredRun) -> Option<String> {
    let why = run.why.as_deref().unwrap_or_default();
    match (run.state, &run.config) {
        (RunState::Finished, Some(config)) if config.code_version != CODE_VERSION => {
            Some(format!("finished by code version {}, and this is {CODE_VERSION}", config.code_version))
        }
        (RunState::Finished, _) if run.artefacts.is_empty() => {
            Some("finished, and no experiment asks for it".to_owned())
        }
        (RunState::Finished, _) => None,
        (RunState::UnderWay, _) => Some(format!("under way, {}", run.progress())),
        (RunState::Stopped, _) => Some(format!("stopped, {}", run.progress())),
        (RunState::Failed, _) => Some(format!("failed: {why}")),
        (RunState::Refused, _) => Some(format!("its record is refused: {why}")),
    }
}
