//! One process at a time builds a thing in the data folder; the others wait and then find it there. What a killed process
//! left is cleared away.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::DatasetError;
use crate::error::{IoContext, io};
use crate::progress::Reporter;

/// Holds the lock `.<name>.lock` in `folder` until the file returned is dropped.
///
/// The operating system lets go of the lock when its process ends, however it ends. The empty file stays.
pub(crate) fn wait(folder: &Path, name: &str, reporter: &Reporter) -> Result<File, DatasetError> {
    let (file, path) = open(folder, name)?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {
            reporter
                .notice(format!("waiting for another process that works on {}", folder.join(name).display()));
        }
        Err(TryLockError::Error(error)) => return Err(io("lock", &path)(error)),
    }
    file.lock().context("lock", &path)?;
    Ok(file)
}

/// As [`wait`], but none where another process holds it or the folder gives none.
pub(crate) fn now(folder: &Path, name: &str) -> Option<File> {
    let (file, _) = open(folder, name).ok()?;
    file.try_lock().is_ok().then_some(file)
}

/// Waits for a lock on `folder` itself, so that nothing stays behind in it, and holds it until the file returned is dropped. None where the
/// system locks no folders: Linux and macOS do.
pub(crate) fn of_folder(folder: &Path) -> Option<File> {
    let file = File::open(folder).ok()?;
    file.lock().ok()?;
    Some(file)
}

fn open(folder: &Path, name: &str) -> Result<(File, PathBuf), DatasetError> {
    let path = folder.join(format!(".{name}.lock"));
    let file = File::options().create(true).append(true).open(&path).context("create", &path)?;
    Ok((file, path))
}

/// Removes the staging folders in `folder` whose names are `prefix` and what makes them unique. The caller makes sure that no living
/// process works in one, so that a killed one left them.
pub(crate) fn clear(folder: &Path, prefix: &str) -> Result<(), DatasetError> {
    // Letters and digits: with more behind the prefix the folder is another thing's, as `gestures-2` is beside `gestures`.
    let unique = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
    for entry in fs::read_dir(folder).context("list", folder)? {
        let entry = entry.context("list", folder)?;
        if entry.file_name().to_string_lossy().strip_prefix(prefix).is_some_and(unique) {
            fs::remove_dir_all(entry.path()).context("remove the unfinished folder", &entry.path())?;
        }
    }
    Ok(())
}
