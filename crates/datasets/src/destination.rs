//! Where pictures and figures go: a few files that share a stem, each written whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::IoContext;
use crate::{DatasetError, Manifest, Store, lock};

/// What is appended to stems.
const SUFFIXES: [&str; 5] = ["png", "gif", "json", "csv", "svg"];

/// A stem, to which `.png` and the like are appended, and whether files of that name may be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    stem: PathBuf,
    replace: bool,
}

impl Destination {
    /// A stem of the user's choice, off which `.png` and the like is taken: what is there is replaced only if `force` says so.
    pub fn named(stem: &Path, force: bool) -> Destination {
        let suffix = stem.extension().is_some_and(|suffix| SUFFIXES.iter().any(|ours| suffix == *ours));
        let stem = if suffix { stem.with_extension("") } else { stem.to_owned() };
        Destination { stem, replace: force }
    }

    /// The current directory, under the name of `file` without its suffixes.
    pub fn after(file: &Path, force: bool) -> Destination {
        let name = file.file_name().map(Path::new).unwrap_or(file);
        let name = if crate::import::is_gzip(name) { name.with_extension("") } else { name.to_owned() };
        Destination { stem: name.with_extension(""), replace: force }
    }

    /// Refuses before anything is computed what writing would refuse after it.
    ///
    /// # Errors
    /// [`DatasetError::NoStem`] and [`DatasetError::OutputExists`].
    pub fn check(&self, suffixes: &[&str]) -> Result<(), DatasetError> {
        // `file_name` takes no notice of a separator at the end, behind which `.png` would be all of the name.
        let folder = self.stem.to_string_lossy().ends_with(std::path::is_separator);
        if folder || self.stem.file_name().is_none() {
            return Err(DatasetError::NoStem { stem: self.stem.clone() });
        }
        match suffixes.iter().map(|suffix| self.path(suffix)).find(|path| !self.replace && path.exists()) {
            Some(path) => Err(DatasetError::OutputExists { path }),
            None => Ok(()),
        }
    }

    /// Writes the files, each a suffix and its bytes: all to a folder of another name first, synced, then renamed.
    ///
    /// # Errors
    /// As [`Self::check`], and where the disk refuses. Processes that write into one folder wait for each other, where the system locks
    /// folders, as Linux and macOS do; elsewhere only one at a time may write one stem.
    pub(crate) fn write(&self, files: &[(&str, Vec<u8>)]) -> Result<Vec<PathBuf>, DatasetError> {
        let suffixes: Vec<&str> = files.iter().map(|(suffix, _)| *suffix).collect();
        self.check(&suffixes)?;
        let parent =
            self.stem.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).context("create", parent)?;
        let prefix = format!(".drawing-{}-", self.stem.file_name().unwrap_or_default().to_string_lossy());
        let _lock = lock::of_folder(parent);
        // Another process may have written them since.
        self.check(&suffixes)?;
        lock::clear(parent, &prefix)?;
        let staging = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir_in(parent)
            .context("create a folder in", parent)?;
        for (suffix, bytes) in files {
            let path = staging.path().join(suffix);
            let mut file = File::create(&path).context("create", &path)?;
            file.write_all(bytes).context("write", &path)?;
            file.sync_all().context("sync", &path)?;
        }
        files
            .iter()
            .map(|(suffix, _)| {
                let path = self.path(suffix);
                fs::rename(staging.path().join(suffix), &path).context("rename to", &path)?;
                Ok(path)
            })
            .collect()
    }

    fn path(&self, suffix: &str) -> PathBuf {
        // Not `with_extension`, which would take "4" off "run.4".
        let mut name = self.stem.clone().into_os_string();
        name.push(format!(".{suffix}"));
        name.into()
    }
}

impl Store {
    /// `seen/NAME` beside a data set's files. What is there was made from the data set, and is replaced.
    pub fn seen(&self, manifest: &Manifest, name: &str) -> Destination {
        Destination { stem: self.folder(manifest).join("seen").join(name), replace: true }
    }
}
