//! Does the data folder still hold what its manifest says?

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::error::IoContext;
use crate::progress::{Reporter, Stage};
use crate::synthetic::MARKER;
use crate::{DatasetError, FileEntry, Manifest, hash};

/// The outcome of re-hashing a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Files compared.
    pub files: usize,
    /// Their bytes, as the manifest counts them.
    pub bytes: u64,
    /// Every difference, in words, with the file; empty when all is well.
    pub problems: Vec<String>,
}

/// Compares every file under `raw` with the manifest, and looks for files that no manifest names: a stand-in's marker is none.
pub(crate) fn verify(
    manifest: &Manifest,
    raw: &Path,
    reporter: &Reporter,
) -> Result<Verification, DatasetError> {
    let total = manifest.files.len();
    let done = AtomicUsize::new(0);
    let mut problems: Vec<String> = manifest
        .files
        .par_iter()
        .filter_map(|entry| {
            let path = raw.join(&entry.path);
            let problem = fs::read(&path).map_or_else(
                |error| Some(format!("cannot be read: {error}")),
                |bytes| difference(entry, &bytes),
            );
            reporter.step(Stage::Verify, done.fetch_add(1, Ordering::Relaxed) + 1, total);
            problem.map(|problem| format!("{}: {problem}", path.display()))
        })
        .collect();

    let known: BTreeSet<&str> = manifest.files.iter().map(|entry| entry.path.as_str()).collect();
    let mut folders = vec![(raw.to_owned(), String::new())];
    while let Some((path, folder)) = folders.pop() {
        for entry in fs::read_dir(&path).context("list", &path)? {
            let entry = entry.context("list", &path)?;
            // As text for the manifest alone: a name that is none is listed by its path, and is in no manifest.
            let name = format!("{folder}{}", entry.file_name().to_string_lossy());
            let is_ours = known.contains(name.as_str()) || (manifest.synthetic && name == MARKER);
            // A link to a folder is no folder: what lies there is no part of the data set.
            if entry.file_type().context("read", &entry.path())?.is_dir() {
                folders.push((entry.path(), name + "/"));
            } else if !is_ours {
                problems.push(format!("{}: is not in the manifest", entry.path().display()));
            }
        }
    }
    problems.sort();
    Ok(Verification { files: total, bytes: manifest.files.iter().map(|entry| entry.bytes).sum(), problems })
}

/// How bytes differ from what the manifest says of them.
pub(crate) fn difference(entry: &FileEntry, bytes: &[u8]) -> Option<String> {
    if bytes.len() as u64 != entry.bytes {
        return Some(format!("expected {} bytes, found {}", entry.bytes, bytes.len()));
    }
    let found = hash::blake3_hex(bytes);
    (found != entry.blake3).then(|| format!("expected BLAKE3 {}, found {found}", entry.blake3))
}
