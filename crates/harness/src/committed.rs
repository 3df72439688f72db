//! Committed results: the records of an artefact and profile, and whether the tables beside them still follow from them.

use std::path::{Path, PathBuf};

use crate::files::write_whole;
use crate::order::in_order;
use crate::store::parse;
use crate::views::{TABLE, render};
use crate::{Experiment, HarnessError, Profile, Record, Result, RunFiles};

/// A committed file that does not follow from the records beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The file, or the folder whose records give no table.
    pub path: PathBuf,
    /// What is wrong.
    pub why: String,
    /// Whether it was written anew.
    pub written: bool,
}

/// What [`check_tables`] saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Folders `ARTEFACT/PROFILE` that it looked at.
    pub folders: Vec<PathBuf>,
    /// What drifted.
    pub drift: Vec<Drift>,
}

/// Renders the tables of committed results again, from their records and the experiment files in `experiments`, and compares; of one
/// artefact, or of all that are there. With `write`, what differs is written anew.
///
/// # Errors
/// [`HarnessError::NothingToCheck`] where there are no such records, and those of listing and writing. What is wrong with records or
/// experiment files is drift.
pub fn check_tables(
    results: &Path,
    experiments: &Path,
    artefact: Option<&str>,
    write: bool,
) -> Result<Checked> {
    let mut checked = Checked::default();
    let artefacts = match artefact {
        Some(one) => vec![results.join(one)],
        None => folders(results)?,
    };
    for artefact in artefacts {
        for folder in folders(&artefact)? {
            let drift = |path: &Path, why| Drift { path: path.to_owned(), why, written: false };
            if !folder.join("records").is_dir() {
                if folder.join(TABLE).exists() {
                    checked
                        .drift
                        .push(drift(&folder, format!("has {TABLE}, and no records/ that it follows from")));
                    checked.folders.push(folder);
                }
                continue;
            }
            let damaged = damaged(&folder, experiments).unwrap_or_default();
            checked.drift.extend(damaged.iter().map(|(path, why)| drift(path, why.clone())));
            match rendered(&folder, experiments) {
                Ok(files) => {
                    for (path, bytes) in files {
                        if let Some(why) = difference(&path, &bytes)? {
                            if write {
                                write_whole(&path, &bytes)?;
                            }
                            checked.drift.push(Drift { path, why, written: write });
                        }
                    }
                }
                // Those are named already, each by its file.
                Err(_) if !damaged.is_empty() => {}
                Err(error) => checked.drift.push(drift(&folder, error.to_string())),
            }
            checked.folders.push(folder);
        }
    }
    if checked.folders.is_empty() {
        let folder = artefact.map_or_else(|| results.to_owned(), |one| results.join(one));
        return Err(HarnessError::NothingToCheck { folder });
    }
    Ok(checked)
}

/// The tables of `results/ARTEFACT/PROFILE`, as they follow from all records there.
fn rendered(folder: &Path, experiments: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let (experiment, profile) = named(folder, experiments)?;
    tables(&experiment, profile, folder)
}

/// The files beside the records of `results/ARTEFACT/PROFILE` that are not what the records name, each with what is wrong.
fn damaged(folder: &Path, experiments: &Path) -> Result<Vec<(PathBuf, String)>> {
    let (experiment, profile) = named(folder, experiments)?;
    let mut damaged = Vec::new();
    for record in ordered(&experiment, profile, folder)? {
        match RunFiles::Committed(folder).needed(&experiment, std::slice::from_ref(&record)) {
            Err(HarnessError::BadMaps { path, why }) => damaged.push((path, why)),
            other => drop(other?),
        }
    }
    Ok(damaged)
}

/// The experiment and profile that the folder `results/ARTEFACT/PROFILE` is named by.
pub(crate) fn named(folder: &Path, experiments: &Path) -> Result<(Experiment, Profile)> {
    let name = |path: Option<&Path>| {
        path.and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default().to_owned()
    };
    let experiment = Experiment::load(experiments, &name(folder.parent()))?;
    Ok((experiment, name(Some(folder)).parse()?))
}

/// The tables over all records of a folder: where they belong, and what they hold.
pub(crate) fn tables(
    experiment: &Experiment,
    profile: Profile,
    folder: &Path,
) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let records = ordered(experiment, profile, folder)?;
    let files = render(experiment, profile, &records, RunFiles::Committed(folder))?.into_iter();
    Ok(files.map(|file| (folder.join(file.name), file.bytes)).collect())
}

/// All records of a folder, each of its profile, in the order of the tables.
pub(crate) fn ordered(experiment: &Experiment, profile: Profile, folder: &Path) -> Result<Vec<Record>> {
    let mut records = records(folder)?;
    if let Some(record) = records.iter().find(|record| record.config.profile != profile) {
        let at = folder.join("records").join(format!("{}.json", record.run_id));
        let why = format!("key `profile` is {}, and by its folder {profile}", record.profile);
        return Err(HarnessError::RefusedRecord { at: at.display().to_string(), why });
    }
    in_order(experiment, profile, &mut records)?;
    Ok(records)
}

/// The records of `results/ARTEFACT/PROFILE`.
pub(crate) fn records(folder: &Path) -> Result<Vec<Record>> {
    let folder = folder.join("records");
    let mut records = Vec::new();
    for path in entries(&folder)? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(run_id) = name.strip_suffix(".json") else { continue };
        let bytes = std::fs::read(&path).map_err(HarnessError::io(&path))?;
        let refuse = |why| HarnessError::RefusedRecord { at: path.display().to_string(), why };
        records.push(parse(&bytes, run_id).map_err(refuse)?);
    }
    Ok(records)
}

/// How a file differs from what it should hold.
fn difference(path: &Path, expected: &[u8]) -> Result<Option<String>> {
    let found = match std::fs::read(path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Some("is not there".to_owned()));
        }
        Err(error) => return Err(HarnessError::io(path)(error)),
    };
    let lines =
        |bytes: &[u8]| -> Vec<Vec<u8>> { bytes.split(|byte| *byte == b'\n').map(Into::into).collect() };
    let same = lines(&found).iter().zip(lines(expected)).take_while(|(found, line)| *found == line).count();
    Ok((found != expected)
        .then(|| format!("does not follow from records/: it differs from line {} on", same + 1)))
}

/// The folders in a folder, by name; none where there is no such folder.
pub(crate) fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    Ok(entries(folder)?.into_iter().filter(|path| path.is_dir()).collect())
}

/// What a folder holds, by name.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>());
    let mut paths = listed.map_err(HarnessError::io(folder))?;
    paths.sort();
    Ok(paths)
}
