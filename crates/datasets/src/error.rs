//! What can go wrong with data, each with the file, the place in it, what was expected, and what to do about it.

use std::path::{Path, PathBuf};

use crate::{Counts, DatasetId, synthetic};

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// The operating system refused.
    #[error("cannot {action} {path}: {error}", path = path.display())]
    Io {
        /// What was tried, such as `read`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it was refused. Part of the message, and so not also its source.
        error: std::io::Error,
    },
    /// No data set can have this name.
    #[error(
        "{name:?} is no name of a data set: from 1 to 24 lower-case letters, digits, `-` and `_`, a letter first \
         (`downloads` and `synthetic` are taken)"
    )]
    BadName {
        /// The name that was given.
        name: String,
    },
    /// The registry has no data set of this name.
    #[error(
        "{path} has no data set {name}{}; there are {there}",
        meant.as_ref().map(|meant| format!(", did you mean {meant}?")).unwrap_or_default(), path = path.display()
    )]
    UnknownDataset {
        /// The name that was given.
        name: String,
        /// The registry file.
        path: PathBuf,
        /// The nearest name it has.
        meant: Option<String>,
        /// The names it has.
        there: String,
    },
    /// `datasets.toml` does not say what it must; the message carries line and column.
    #[error("{path}: at {at}: {message}", path = path.display())]
    Registry {
        /// The registry file.
        path: PathBuf,
        /// The key, such as `nmnist.files[0].md5`.
        at: String,
        /// What is wrong there.
        message: String,
    },
    /// A manifest cannot be used.
    #[error("{path}: at {at}: {message}; {remedy}", path = path.display())]
    Manifest {
        /// The manifest file.
        path: PathBuf,
        /// The field.
        at: String,
        /// What is wrong there.
        message: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The folder given to an import holds nothing of this data set.
    #[error("{path} does not hold {dataset}: expected {expected}", path = path.display())]
    NotRecognised {
        /// The data set asked for.
        dataset: DatasetId,
        /// The folder that was looked at.
        path: PathBuf,
        /// What lies in such a folder.
        expected: String,
    },
    /// A file that an official tree does not have.
    #[error("{path}: expected {expected}; move it out of the tree", path = path.display())]
    ForeignFile {
        /// The file.
        path: PathBuf,
        /// What the files beside it are called.
        expected: String,
    },
    /// More samples than the data set officially has.
    #[error(
        "the files hold {} training and {} test samples of {dataset}, datasets.toml says {} and {} at most: correct its key `samples`, or \
         move what is too much out of the tree", found.train, found.test, official.train, official.test
    )]
    MoreThanOfficial {
        /// The data set.
        dataset: DatasetId,
        /// What the files hold.
        found: Counts,
        /// What the registry says.
        official: Counts,
    },
    /// A published archive that lies beside what was unpacked of others.
    #[error(
        "{path}: it lies beside what is unpacked already, which alone would be imported: unpack it there too, or move it out of the tree",
        path = path.display()
    )]
    BesideTree {
        /// The archive.
        path: PathBuf,
    },
    /// A file's bytes are not what its format demands.
    #[error("{path}: at byte {offset}: {problem}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where in it (in the unpacked bytes, if it is compressed).
        offset: u64,
        /// What was expected there, what was found, and what to do.
        problem: String,
    },
    /// A recording of another sensor than the registry says.
    #[error(
        "{path}: {problem}, but datasets.toml says {width} x {height} of {title}: correct its keys `width` and `height`, or move the \
         file out of the tree", path = path.display()
    )]
    OtherSensor {
        /// The file.
        path: PathBuf,
        /// What shows it.
        problem: String,
        /// The data set's name as people write it.
        title: String,
        /// Width of the sensor in the registry.
        width: u16,
        /// Height of the sensor in the registry.
        height: u16,
    },
    /// A text file's line is not what its format demands.
    #[error("{path}: line {line}: {problem}", path = path.display())]
    BadLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What was expected there and what was found.
        problem: String,
    },
    /// An event recording cannot be decoded.
    #[error(transparent)]
    Decode(#[from] bpsta_events::DecodeError),
    /// A recording cannot be framed.
    #[error("{sample}: {error}")]
    Framing {
        /// The file, and for a recording with several samples the row of its label file.
        sample: String,
        /// Why not. Part of the message, and so not also its source.
        error: bpsta_events::FramingError,
    },
    /// A file is not the official one.
    #[error(
        "{path}: its {algorithm} is {found}, the official file's is {expected}: \
         remove it and fetch it again, or correct datasets.toml if the official file has changed", path = path.display()
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// `MD5` or `SHA-256`.
        algorithm: &'static str,
        /// What the registry says.
        expected: String,
        /// What the bytes give.
        found: String,
    },
    /// An archive that is damaged, or holds what no data set's archive does.
    #[error("{path}: {}{problem}", if entry.is_empty() { String::new() } else { format!("entry {entry:?} ") }, path = path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// The entry's name; empty where it is the archive itself.
        entry: String,
        /// What is wrong.
        problem: String,
    },
    /// A file of an archive that cannot be imported.
    #[error("{path}: {}{problem}", if entry.is_empty() { String::new() } else { format!("entry {entry:?}: ") }, path = path.display())]
    OfArchive {
        /// The archive.
        path: PathBuf,
        /// The entry's name, or that of a folder in the archive; empty where it is all of it.
        entry: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No mirror gave a published file.
    #[error("{file} could not be fetched: {failures}; try again later, or fetch it by hand and import it")]
    NotFetched {
        /// The file's name.
        file: String,
        /// Each mirror's address, and why not.
        failures: String,
    },
    /// Several published files were not fetched; the others are there.
    #[error("{} of {files} files could not be fetched:{}", errors.len(), listed(errors))]
    SomeNotFetched {
        /// How many files the data set has.
        files: usize,
        /// What is wrong with each that is not there.
        errors: Vec<DatasetError>,
    },
    /// A data set without published files.
    #[error(
        "datasets.toml names no published files of {dataset}: import your own with \
         `cargo xtask data import {dataset} --from FOLDER`"
    )]
    NothingPublished {
        /// The data set.
        dataset: DatasetId,
    },
    /// A data set that its publishers hand out behind a form.
    #[error(
        "{title} can only be fetched by hand, for its terms must be accepted first:\n  \
         1. open {page}\n  2. download {files} into one folder\n  \
         3. cargo xtask data import {dataset} --from FOLDER"
    )]
    ByHand {
        /// The data set.
        dataset: DatasetId,
        /// Its name as people write it.
        title: String,
        /// Where to go.
        page: String,
        /// What to download there.
        files: String,
    },
    /// A file does not fit on the disk.
    #[error("{folder}: {needed} bytes are needed, {free} are free: make room, or choose another --data folder", folder = folder.display())]
    NoSpace {
        /// Where it should go.
        folder: PathBuf,
        /// Bytes still to come.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The operating system gave no threads.
    #[error("cannot start the threads that fetch: {message}")]
    Threads {
        /// Why not.
        message: String,
    },
    /// A file under `raw/` is not what the manifest says.
    #[error(
        "{path}: {problem}; {}", if *stand_in {
            format!("the stand-in changed after it was generated: remove {}, and it is generated again", folder.display())
        } else {
            format!("the data changed after their import: remove {} and import again", folder.display())
        }, path = path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// The difference.
        problem: String,
        /// The data set's folder.
        folder: PathBuf,
        /// Whether it is that of a stand-in.
        stand_in: bool,
    },
    /// Another import of this data set is there already.
    #[error(
        "{folder} holds another import of {dataset} already ({existing}; this one would be {new}): \
         to replace it, remove that folder and import again", folder = folder.display()
    )]
    AlreadyImported {
        /// The data set.
        dataset: DatasetId,
        /// Its folder.
        folder: PathBuf,
        /// What is there, in words.
        existing: String,
        /// What the import would put there, in words.
        new: String,
    },
    /// A folder is in the way that no import made.
    #[error("{folder} is there but has no manifest.json, so no import made it: move it away", folder = folder.display())]
    InTheWay {
        /// The folder.
        folder: PathBuf,
    },
    /// Event data must be framed and static data cannot be.
    #[error("{dataset}: {problem}")]
    FramingChoice {
        /// The data set.
        dataset: DatasetId,
        /// What to give instead.
        problem: &'static str,
    },
    /// The HDF5 library refused.
    #[error("cannot {action} {path}: {message}; {remedy}", path = path.display())]
    Hdf5 {
        /// What was tried.
        action: &'static str,
        /// The HDF5 file.
        path: PathBuf,
        /// What the library says.
        message: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A file would be overwritten.
    #[error("{path} already exists: choose another name, or pass --force", path = path.display())]
    OutputExists {
        /// The file.
        path: PathBuf,
    },
    /// A file would be overwritten by what is made from it.
    #[error("{path}: the output is the input file: choose another name", path = path.display())]
    OverInput {
        /// The file.
        path: PathBuf,
    },
    /// A stem of outputs that ends in a folder.
    #[error("{stem}: expected a name to which .png and the like are appended, found a folder: say FOLDER/NAME", stem = stem.display())]
    NoStem {
        /// The stem.
        stem: PathBuf,
    },
    /// No format fits a file that is to be looked into.
    #[error("{path}: neither its beginning nor its name says its format; name one with --format: {formats}", path = path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The formats there are.
        formats: String,
    },
    /// A file of images or labels that is to be framed.
    #[error("{path}: it holds images or labels ({format}), and only events are framed; if it holds events, name their format with --format", path = path.display())]
    NotEvents {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: &'static str,
    },
    /// No format has this name.
    #[error("there is no format {name:?}; choose one of {formats}")]
    NoSuchFormat {
        /// The name that was given.
        name: String,
        /// The formats there are.
        formats: String,
    },
    /// A sample index past the end of its split.
    #[error("sample {index} was asked for, but the split has {len}")]
    NoSuchSample {
        /// The index.
        index: usize,
        /// Samples in the split.
        len: usize,
    },
    /// A data set that is to be looked at is not there.
    #[error("{dataset} is not in the data folder: {remedy}")]
    NotImported {
        /// The data set.
        dataset: DatasetId,
        /// How to get it, and what stand-ins there are instead.
        remedy: String,
    },
    /// A stand-in was asked for that is not there, or is one of several.
    #[error("{dataset}: {problem}")]
    WhichStandIn {
        /// The data set.
        dataset: DatasetId,
        /// What to choose from, or how to make one.
        problem: String,
    },
    /// A preview was asked for that cannot be drawn.
    #[error("{of}: {problem}")]
    Preview {
        /// The data set or file.
        of: String,
        /// Why not, and what to ask for instead.
        problem: String,
    },
    /// A library could not draw a picture.
    #[error("{picture} cannot be drawn: {message}; please report this")]
    Draw {
        /// The picture, such as `the GIF`.
        picture: &'static str,
        /// What the library says.
        message: String,
    },
    /// A stand-in could not be generated.
    #[error(transparent)]
    Synthetic(#[from] synthetic::SyntheticError),
}

impl DatasetError {
    /// The name of the folder of a manifest that cannot be used.
    pub(crate) fn manifest_folder(&self) -> Option<&str> {
        match self {
            Self::Manifest { path, .. } | Self::Io { path, .. } => path.parent()?.file_name()?.to_str(),
            _ => None,
        }
    }

    /// The file or folder that it is about, where that may be a part of a tree.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Io { path, .. }
            | Self::NotRecognised { path, .. }
            | Self::ForeignFile { path, .. }
            | Self::Malformed { path, .. }
            | Self::OtherSensor { path, .. }
            | Self::BadLine { path, .. }
            | Self::Checksum { path, .. } => Some(path),
            Self::Decode(error) => error.path.as_deref(),
            _ => None,
        }
    }
}

/// Errors, each on a line of its own.
fn listed(errors: &[DatasetError]) -> String {
    errors.iter().map(|error| format!("\n  {error}")).collect()
}

/// For `map_err`: wraps an I/O error with what was tried on which path.
pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> DatasetError {
    move |error| DatasetError::Io { action, path: path.to_owned(), error }
}

/// `result.context("read", path)?`.
pub(crate) trait IoContext<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T, DatasetError>;
}

impl<T> IoContext<T> for std::io::Result<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T, DatasetError> {
        self.map_err(io(action, path))
    }
}

/// Shorthand for [`DatasetError::Malformed`].
pub(crate) fn malformed(path: &Path, offset: usize, problem: impl Into<String>) -> DatasetError {
    DatasetError::Malformed { path: path.to_owned(), offset: offset as u64, problem: problem.into() }
}
