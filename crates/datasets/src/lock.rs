//! One process at a time builds a thing in the data folder; the others wait and then find it there.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::DatasetError;
use crate::error::{IoContext, io};
use crate::progress::Reporter;

/// Holds the lock `.<name>.lock` in `folder` until the file returned is dropped.
///
/// The operating system lets go of the lock when its process ends, however it ends. The empty file stays.
pub(crate) fn wait(folder: &Path, name: &str, reporter: &Reporter) -> Result<File, DatasetError> {
    let path = folder.join(format!(".{name}.lock"));
    let file = File::options().create(true).append(true).open(&path).context("create", &path)?;
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
