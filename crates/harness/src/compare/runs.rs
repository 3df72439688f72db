//! The runs that a name stands for: those of a folder, or those committed in a git revision.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::changes::measured;
use super::pairs::same_bits;
use crate::committed::entries;
use crate::store::parse;
use crate::{EngineKind, HarnessError, Record, Result};

/// Where a revision keeps its records.
const COMMITTED: &str = "results";

/// A finished run.
pub(super) struct Run {
    /// Its record's place, for messages.
    pub(super) at: String,
    /// The record, which agrees with itself.
    pub(super) record: Record,
    /// All that stands in it, whatever the schema.
    pub(super) json: Value,
}

impl Run {
    /// What it is about, the seed aside.
    pub(super) fn about(&self) -> String {
        let config = &self.record.config;
        // The variant follows from the data set everywhere but in experiment files of one's own; as JSON it has its name.
        let variant = serde_json::to_value(config.variant).unwrap_or_default();
        let engine = match config.engine {
            EngineKind::Cpu => String::new(),
            other => format!(", engine {other}"),
        };
        format!(
            "{} {}, {} of {}, width {}, {}, T={}{engine}",
            config.profile,
            config.data_name(),
            config.network,
            variant.as_str().unwrap_or_default(),
            config.width,
            config.rule_id(),
            config.time_steps
        )
    }
}

/// The runs under `name`, each once, by what they are about; a name that is both a folder and a revision is the folder.
pub(super) fn load(name: &str, repository: &Path) -> Result<Vec<Run>> {
    let path = Path::new(name);
    let files = if path.is_dir() { folder(path)? } else { revision(name, repository)? };
    let mut runs: Vec<Run> = Vec::new();
    for File { at, run_id, bytes } in files {
        let refuse = |at: &str, why| HarnessError::RefusedRecord { at: at.to_owned(), why };
        let record = parse(&bytes, &run_id).map_err(|why| refuse(&at, why))?;
        let json = serde_json::from_slice(&bytes).map_err(|error| refuse(&at, error.to_string()))?;
        match runs.iter().find(|known| known.record.run_id == run_id) {
            Some(known) if same_bits(&known.record, &record) && !measured(&known.json, &json).is_empty() => {
                return Err(refuse(&at, format!("{} has other results of the same run", known.at)));
            }
            // Of two that may differ, the first is taken.
            Some(_) => {}
            None => runs.push(Run { at, record, json }),
        }
    }
    if runs.is_empty() {
        return Err(HarnessError::NoRuns { name: name.to_owned(), why: "no records are there".to_owned() });
    }
    runs.sort_by_cached_key(|run| (run.about(), run.record.seed, run.record.run_id.clone()));
    Ok(runs)
}

struct File {
    at: String,
    run_id: String,
    bytes: Vec<u8>,
}

/// The run whose record a file is by its place: `RUN_ID/record.json` or `records/RUN_ID.json`.
fn run_id(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let parent = path.parent()?.file_name()?.to_str()?;
    match name {
        "record.json" => Some(parent.to_owned()),
        _ if parent == "records" => name.strip_suffix(".json").map(str::to_owned),
        _ => None,
    }
}

/// The records under a folder. Links are not followed, and what is hidden is none of ours.
fn folder(root: &Path) -> Result<Vec<File>> {
    let root = root.canonicalize().map_err(HarnessError::io(root))?;
    let (mut files, mut folders) = (Vec::new(), vec![root]);
    while let Some(folder) = folders.pop() {
        for path in entries(&folder)? {
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            let kind = path.symlink_metadata().map_err(HarnessError::io(&path))?.file_type();
            if kind.is_dir() && !hidden {
                folders.push(path);
            } else if let Some(run_id) = run_id(&path).filter(|_| kind.is_file() && !hidden) {
                let bytes = std::fs::read(&path).map_err(HarnessError::io(&path))?;
                files.push(File { at: path.display().to_string(), run_id, bytes });
            }
        }
    }
    Ok(files)
}

/// The records committed in a revision. They are read out of git's store: the working tree is left as it is.
fn revision(name: &str, repository: &Path) -> Result<Vec<File>> {
    let git = |arguments: &[&str]| -> std::result::Result<Vec<u8>, String> {
        let output = Command::new("git").arg("-C").arg(repository).args(arguments).output();
        let output = output.map_err(|error| format!("no such folder, and git cannot be run: {error}"))?;
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.success() { Ok(output.stdout) } else { Err(message) }
    };
    let no_runs = |why| HarnessError::NoRuns { name: name.to_owned(), why };
    if name.starts_with('-') || Path::new(name).exists() {
        return Err(no_runs("is neither a folder nor a revision".to_owned()));
    }
    let commit = git(&["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")]);
    let commit = commit.map_err(|why| {
        no_runs(if why.is_empty() {
            "there is neither such a folder nor such a revision".to_owned()
        } else {
            why
        })
    })?;
    let commit = String::from_utf8_lossy(&commit).trim().to_owned();
    let list =
        git(&["ls-tree", "-r", "-z", "--full-tree", "--name-only", &commit, COMMITTED]).map_err(no_runs)?;
    let mut files = Vec::new();
    for path in list.split(|byte| *byte == 0).filter_map(|path| std::str::from_utf8(path).ok()) {
        if let Some(run_id) = run_id(&PathBuf::from(path)) {
            let bytes = git(&["show", &format!("{commit}:{path}")]).map_err(no_runs)?;
            files.push(File { at: format!("{name}:{path}"), run_id, bytes });
        }
    }
    Ok(files)
}
