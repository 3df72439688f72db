//! A cache file's BLAKE3, in a small file beside it, in the format of the `b3sum` program.
//!
//! An HDF5 file is a graph of offsets that any reader follows on trust: a flipped bit may give an error, or other
//! numbers. Comparing the whole file's hash first leaves no such case.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use super::guard_path;
use crate::error::IoContext;
use crate::{DatasetError, hash};

/// Moves a finished, synced file to its place: its guard first goes, and comes back last.
pub(super) fn write(unfinished: &Path, path: &Path) -> Result<(), DatasetError> {
    let digest = hash::blake3_file(unfinished)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let guard = unfinished.with_extension("b3");
    let mut file = File::create(&guard).context("create", &guard)?;
    writeln!(file, "{digest}  {name}").context("write", &guard)?;
    file.sync_all().context("sync", &guard)?;
    // Renaming replaces an unsound file. Between the two renames the guard belongs to another file or is missing, which
    // reads as unsound: never as sound.
    fs::rename(unfinished, path).context("rename to", path)?;
    fs::rename(&guard, guard_path(path)).context("rename to", &guard_path(path))
}

/// Compares a file with its guard; the error says in words what is wrong.
pub(super) fn check(path: &Path) -> Result<(), String> {
    let guard = fs::read_to_string(guard_path(path))
        .map_err(|error| format!("its checksum {} cannot be read: {error}", guard_path(path).display()))?;
    let expected = guard.split_whitespace().next().unwrap_or_default();
    let found = hash::blake3_file(path).map_err(|error| error.to_string())?;
    if found == expected {
        Ok(())
    } else {
        Err(format!("its BLAKE3 is {found}, not {expected:?}: it is damaged, cut off or another file"))
    }
}
