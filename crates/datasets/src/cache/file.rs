//! Reads a frame cache whose bytes the guard has found sound.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rust_hdf5::H5File;

use super::places::{Place, Samples};
use super::{Cached, FORMAT, Key};
use crate::error::IoContext;
use crate::samples::Files;
use crate::{DatasetError, SplitName};

/// The frames of one split, in the open cache file.
pub(crate) struct FrameFile {
    path: PathBuf,
    samples: Samples,
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
pub(super) fn open(
    path: &Path,
    places: Vec<Place>,
    files: Files<'_>,
    key: &Key,
) -> Result<Cached, DatasetError> {
    let file = H5File::open(path).map_err(unsound(path))?;
    let version = key.framing_version.to_string();
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
    let samples = files.manifest.samples;
    let mut of_train = places;
    if of_train.len() != samples.train + samples.test {
        let problem =
            format!("expected places of {} samples, found {}", samples.train + samples.test, of_train.len());
        return Err(foreign(path, problem));
    }
    let of_test = of_train.split_off(samples.train);
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
        let places = match split {
            SplitName::Train => &of_train,
            SplitName::Test => &of_test,
        };
        let samples = Samples::new(File::open(path).context("open", path)?, places.clone());
        Ok(Some(FrameFile { path: path.to_owned(), samples, labels, shape }))
    };
    Ok(Cached { train: split(SplitName::Train, samples.train)?, test: split(SplitName::Test, samples.test)? })
}

impl FrameFile {
    /// The counts of one sample, `[T, 2, H, W]`.
    pub(crate) fn sample(&self, index: usize) -> Result<Vec<u16>, DatasetError> {
        let values = self.shape.iter().product();
        self.samples.read(index, values).map_err(|error| foreign(&self.path, error.to_string()))
    }

    /// All samples, one after another.
    pub(crate) fn all(&self) -> Result<Vec<u16>, DatasetError> {
        let sample_len = self.shape.iter().product::<usize>();
        let mut out = vec![0; self.labels.len() * sample_len];
        out.par_chunks_exact_mut(sample_len).enumerate().try_for_each(|(index, counts)| {
            counts.copy_from_slice(&self.sample(index)?);
            Ok::<_, DatasetError>(())
        })?;
        Ok(out)
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
