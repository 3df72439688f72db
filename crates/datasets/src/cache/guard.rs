//! The BLAKE3 of a cache file and of the places of its chunks, in a small file beside them, in the format of the `b3sum` program.
//!
//! An HDF5 file is a graph of offsets that any reader follows on trust: a flipped bit may give an error, or other
//! numbers. Comparing the whole file's hash first leaves no such case.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::IoContext;
use crate::{DatasetError, hash};

/// Moves a finished, synced file to its place, and writes the places of its chunks beside it: the guard comes last.
pub(super) fn write(unfinished: &Path, places: &[u8], path: &Path) -> Result<(), DatasetError> {
    let (guard, places_path) = (guard_path(path), places_path(path));
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let digests =
        [(hash::blake3_file(unfinished)?, name(path)), (hash::blake3_hex(places), name(&places_path))];
    let text: String = digests.iter().map(|(digest, name)| format!("{digest}  {name}\n")).collect();
    let new_places = write_synced(unfinished, "places", places)?;
    let new_guard = write_synced(unfinished, "b3", text.as_bytes())?;
    // Renaming replaces unsound files. Between the renames the guard belongs to other files or is missing, which reads as
    // unsound: never as sound.
    for (from, to) in [(unfinished, path), (&new_places, &places_path), (&new_guard, &guard)] {
        fs::rename(from, to).context("rename to", to)?;
    }
    Ok(())
}

fn write_synced(beside: &Path, extension: &str, bytes: &[u8]) -> Result<PathBuf, DatasetError> {
    let path = beside.with_extension(extension);
    let mut file = File::create(&path).context("create", &path)?;
    file.write_all(bytes).context("write", &path)?;
    file.sync_all().context("sync", &path)?;
    Ok(path)
}

/// Compares a file and its places with their guard, and gives the places; the error says in words what is wrong.
pub(super) fn check(path: &Path) -> Result<Vec<u8>, String> {
    let (guard, places) = (guard_path(path), places_path(path));
    let unreadable =
        |path: &Path, error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let text = fs::read_to_string(&guard).map_err(|error| unreadable(&guard, error))?;
    let mut expected = text.lines().map(|line| line.split_whitespace().next().unwrap_or_default());
    let mut compare = |path: &Path, found: String| {
        let expected = expected.next().unwrap_or_default();
        let problem = || {
            format!(
                "the BLAKE3 of {} is {found}, not {expected:?}: it is damaged, cut off or another file",
                path.display()
            )
        };
        if found == expected { Ok(()) } else { Err(problem()) }
    };
    compare(path, hash::blake3_file(path).map_err(|error| error.to_string())?)?;
    let bytes = fs::read(&places).map_err(|error| unreadable(&places, error))?;
    compare(&places, hash::blake3_hex(&bytes))?;
    Ok(bytes)
}

/// `<key>.h5.b3` beside `<key>.h5`.
fn guard_path(path: &Path) -> PathBuf {
    path.with_extension("h5.b3")
}

/// `<key>.h5.places` beside `<key>.h5`.
fn places_path(path: &Path) -> PathBuf {
    path.with_extension("h5.places")
}
