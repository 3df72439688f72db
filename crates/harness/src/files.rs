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
    make_folder(folder)?;
    let write = || -> std::io::Result<()> {
        let builder = &mut tempfile::Builder::new();
        let mut file = builder.prefix(UNFINISHED).make_in(folder, |path| File::create_new(path))?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        sync_names(folder)
    };
    write().map_err(HarnessError::io(path))
}

/// Makes a folder, and those above it that are not there. The name of each that is new is synced in the one above.
pub(crate) fn make_folder(folder: &Path) -> Result<()> {
    let new: Vec<&Path> = folder.ancestors().take_while(|path| !path.exists()).collect();
    std::fs::create_dir_all(folder).map_err(HarnessError::io(folder))?;
    for above in new.into_iter().filter_map(Path::parent) {
        sync_names(above).map_err(HarnessError::io(above))?;
    }
    Ok(())
}

/// Names in a folder, too, must outlast a loss of power.
fn sync_names(folder: &Path) -> std::io::Result<()> {
    // What stands in the working folder has no folder in its path.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_into_folders_that_are_not_there_yet() {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let path = folder.path().join("runs/0123456789abcdef/record.json");
        assert!(write_whole(&path, b"one").is_ok() && write_whole(&path, b"two").is_ok());
        assert_eq!(std::fs::read(&path).ok().as_deref(), Some(&b"two"[..]));
        assert!(make_folder(&folder.path().join("runs")).is_ok(), "one that is there stays");
        let below_a_file = path.join("folder");
        assert!(make_folder(&below_a_file).is_err_and(|error| error.to_string().contains("record.json")));
    }
}
