//! Where files lie that are not in the repository.

use std::path::{Path, PathBuf};

/// The folder of shared files, or none with a notice.
pub(crate) fn shared() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("BPSTA_SHARED") {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
        assert!(
            folder.join("golden").is_dir(),
            "BPSTA_SHARED is set, but {} has no golden/",
            folder.display()
        );
        return Some(folder);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    if !folder.join("golden").is_dir() {
        eprintln!("skipped: BPSTA_SHARED is not set and {} has no golden/", folder.display());
        return None;
    }
    Some(folder)
}
