//! Reads a frame cache whose bytes the guard has found sound.

use std::fmt;
use std::path::{Path, PathBuf};

use bpsta_events::FRAMING_VERSION;
use rust_hdf5::{H5Dataset, H5File};

use super::{Cached, FORMAT, Key};
use crate::samples::Files;
use crate::{DatasetError, SplitName};

/// Values that are read at a time when a whole split is loaded: 16 MiB.
const BLOCK_VALUES: usize = 8 << 20;

/// The frames of one split, in the open cache file.
pub(crate) struct FrameFile {
    path: PathBuf,
    frames: H5Dataset,
    pub(crate) labels: Vec<u8>,
    /// `[T, 2, H, W]`.
    shape: [usize; 4],
}

impl fmt::Debug for FrameFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameFile")
            .field("path", &self.path)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

/// Opens the cache and makes sure that it was made from these files, with this framing.
pub(super) fn open(path: &Path, files: Files<'_>, key: &Key) -> Result<Cached, DatasetError> {
    let file = H5File::open(path).map_err(unsound(path))?;
    let version = FRAMING_VERSION.to_string();
    let expected = [
        ("format", FORMAT),
        ("dataset", files.manifest.dataset.as_str()),
        ("framing", &key.framing),
        ("framing_version", &version),
        ("manifest_hash", &key.manifest_hash),
    ];
    for (name, expected) in expected {
        let found = file.attr_string(name).map_err(unsound(path))?;
        if found != expected {
            return Err(foreign(path, format!("expected {name} {expected:?}, found {found:?}")));
        }
    }
    let split = |split: SplitName, samples: usize| {
        if samples == 0 {
            return Ok(None);
        }
        let name = split.as_str();
        let frames = file.dataset(&format!("frames/{name}")).map_err(unsound(path))?;
        let labels = file.dataset(&format!("labels/{name}")).map_err(unsound(path))?;
        let labels = labels.read_raw::<u8>().map_err(unsound(path))?;
        let shape = [key.time_steps, 2, usize::from(files.info.height), usize::from(files.info.width)];
        let expected = [samples, shape[0], shape[1], shape[2], shape[3]];
        if frames.shape() != expected || frames.element_size() != 2 || labels.len() != samples {
            let found = frames.shape();
            let problem = format!(
                "expected u16 frames/{name} {expected:?}, found {found:?} of {} bytes each and {} labels",
                frames.element_size(),
                labels.len()
            );
            return Err(foreign(path, problem));
        }
        if let Some(label) = labels.iter().find(|&&label| usize::from(label) >= files.info.classes.len()) {
            return Err(foreign(
                path,
                format!("expected labels below {}, found {label}", files.info.classes.len()),
            ));
        }
        Ok(Some(FrameFile { path: path.to_owned(), frames, labels, shape }))
    };
    let samples = files.manifest.samples;
    Ok(Cached { train: split(SplitName::Train, samples.train)?, test: split(SplitName::Test, samples.test)? })
}

impl FrameFile {
    /// The counts of one sample, `[T, 2, H, W]`.
    pub(crate) fn sample(&self, index: usize) -> Result<Vec<u16>, DatasetError> {
        self.samples(index, 1)
    }

    /// All samples, one after another.
    pub(crate) fn all(&self) -> Result<Vec<u16>, DatasetError> {
        let sample_len: usize = self.shape.iter().product();
        // The library walks the index of all chunks at every read, so each read should take many of them.
        let block = (BLOCK_VALUES / sample_len).max(1);
        let mut out = Vec::with_capacity(self.labels.len() * sample_len);
        for start in (0..self.labels.len()).step_by(block) {
            out.extend_from_slice(&self.samples(start, block.min(self.labels.len() - start))?);
        }
        Ok(out)
    }

    fn samples(&self, start: usize, count: usize) -> Result<Vec<u16>, DatasetError> {
        let [t, c, h, w] = self.shape;
        self.frames.read_slice::<u16>(&[start, 0, 0, 0, 0], &[count, t, c, h, w]).map_err(unsound(&self.path))
    }
}

fn unsound(path: &Path) -> impl FnOnce(rust_hdf5::Hdf5Error) -> DatasetError {
    move |error| foreign(path, error.to_string())
}

fn foreign(path: &Path, message: String) -> DatasetError {
    DatasetError::Hdf5 {
        action: "read",
        path: path.to_owned(),
        message,
        remedy: "remove the file, and it is built again",
    }
}
