//! Files that are either whole or not there.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::{HarnessError, Result};

/// How names of files that are not whole yet begin.
pub(crate) const UNFINISHED: &str = ".tmp";

/// Writes a file under a temporary name, syncs it and renames it. Its rights are those of any new file.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(HarnessError::io(folder))?;
    let write = || -> std::io::Result<()> {
        let builder = &mut tempfile::Builder::new();
        let mut file = builder.prefix(UNFINISHED).make_in(folder, |path| File::create_new(path))?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        // The name, too, must outlast a loss of power.
        if cfg!(unix) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    write().map_err(HarnessError::io(path))
}

/// Reads a file; none where there is none.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(HarnessError::io(path)(error)),
    }
}

/// Removes a file, if it is there.
pub(crate) fn remove_if_there(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(HarnessError::io(path)(error)),
        _ => Ok(()),
    }
}
