//! The frame cache: event recordings, framed once, in one HDF5 file a data set and framing.
//!
//! | dataset | type | shape |
//! |---|---|---|
//! | `frames/train`, `frames/test` | u16 | `[N, T, 2, H, W]`, one gzip-compressed chunk a sample |
//! | `labels/train`, `labels/test` | u8 | `[N]` |
//! | `names/train`, `names/test` | string | `[N]`, the sample's file under `raw/` (`#row` behind it in DVS-Gesture) |
//! | `manifest` | u8 | the JSON of the manifest |
//!
//! The root's attributes are `format`, `tool`, `dataset`, `framing`, `framing_version` and `manifest_hash`, all strings.
//! A split without samples has no datasets.
//!
//! The file is never believed on its own: its BLAKE3 lies beside it (`guard`), with that of a list of where its chunks are (`places`),
//! and is compared before the HDF5 library sees
//! a byte, and a file that is damaged, cut off or made from something else is built again, with a notice.

mod build;
mod file;
mod guard;
mod parts;
mod places;

use std::fs;
use std::path::Path;

use bpsta_events::{FRAMING_VERSION, Framing};

pub(crate) use build::{Attributes, LEVEL, TOOL, batch_len, compress, hdf5};
pub(crate) use file::FrameFile;
use parts::Parts;

use crate::error::IoContext;
use crate::progress::Reporter;
use crate::samples::Files;
use crate::{DatasetError, SplitName, hash};

/// Counts up when the layout of the cache changes: older caches are then no longer found. What a framing gives is counted by
/// [`FRAMING_VERSION`].
const FORMAT: &str = "bpsta-frames 2";

/// What decides the frames, and so names the file. The sensor's width and height, which `datasets.toml` may change, are not in it, so
/// that caches of older programs are found: the shape of a cache that is there is compared as it is opened, and that of a part by `Batch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) manifest_hash: String,
    pub(crate) framing: String,
    pub(crate) framing_version: u32,
    pub(crate) time_steps: usize,
}

impl Key {
    fn new(files: Files<'_>, framing: Framing, time_steps: usize) -> Self {
        let (manifest_hash, framing) = (files.manifest.hash(), framing.to_string());
        Self { manifest_hash, framing, framing_version: FRAMING_VERSION, time_steps }
    }

    /// 16 hex digits of the BLAKE3 of everything that decides the frames.
    fn short(&self) -> String {
        let Key { manifest_hash, framing, framing_version, time_steps } = self;
        let text = format!("{FORMAT}\n{framing_version}\n{manifest_hash}\n{framing}\n{time_steps}\n");
        hash::blake3_hex(text.as_bytes())[..16].to_owned()
    }
}

/// The two splits of a cache that has been checked, read by sample.
pub(crate) struct Cached {
    pub(crate) train: Option<FrameFile>,
    pub(crate) test: Option<FrameFile>,
}

impl Cached {
    pub(crate) fn take(&mut self, split: SplitName) -> Option<FrameFile> {
        match split {
            SplitName::Train => self.train.take(),
            SplitName::Test => self.test.take(),
        }
    }
}

/// Whether there is a cache of these files and this framing, sound or not.
pub(crate) fn is_there(files: Files<'_>, framing: Framing, time_steps: usize) -> bool {
    let key = Key::new(files, framing, time_steps);
    files.folder.join("frames").join(format!("{}.h5", key.short())).exists()
}

/// Opens the cache of these files and this framing, and builds it first if it is not there or not sound.
pub(crate) fn open_or_build(
    files: Files<'_>,
    framing: Framing,
    time_steps: usize,
    reporter: &Reporter,
) -> Result<Cached, DatasetError> {
    let key = Key::new(files, framing, time_steps);
    let folder = files.folder.join("frames");
    let path = folder.join(format!("{}.h5", key.short()));
    let building = folder.join(format!(".building-{}", key.short()));
    if let Ok(cached) = open(&path, files, &key) {
        // A process that was killed behind its last step left the parts. Where they cannot be removed, the cache is there all the same.
        if building.exists()
            && let Some(_lock) = crate::lock::now(&folder, &key.short())
        {
            let _ = fs::remove_dir_all(&building);
        }
        return Ok(cached);
    }
    fs::create_dir_all(&folder).context("create", &folder)?;
    let _lock = crate::lock::wait(&folder, &key.short(), reporter)?;
    // Another process may have built it while this one waited.
    match open(&path, files, &key) {
        Ok(cached) => return Ok(cached),
        Err(Unusable::Absent) => {}
        Err(Unusable::Unsound(why)) => reporter
            .notice(format!("the frame cache {} cannot be used ({why}): it is built again", path.display())),
    }
    // What a killed build left there is gone on with, where it is a part of just this cache.
    fs::create_dir_all(&building).context("create", &building)?;
    let unfinished = building.join("frames.h5");
    let places = build::build(&unfinished, Parts(&building), files, framing, &key, reporter)?;
    guard::write(&unfinished, &places::encode(&places), &path)?;
    // The cache is there, whatever is left of its parts: the next call that opens it clears them away.
    let _ = fs::remove_dir_all(&building);
    open(&path, files, &key).map_err(|why| DatasetError::Hdf5 {
        action: "read back",
        path: path.clone(),
        message: match why {
            Unusable::Absent => "it is not there".to_owned(),
            Unusable::Unsound(why) => why,
        },
        remedy: "look for a full or failing disk",
    })
}

/// Why a cache file is not used.
enum Unusable {
    Absent,
    Unsound(String),
}

fn open(path: &Path, files: Files<'_>, key: &Key) -> Result<Cached, Unusable> {
    if !path.exists() {
        return Err(Unusable::Absent);
    }
    let places = guard::check(path).map_err(Unusable::Unsound)?;
    file::open(path, places::decode(&places), files, key)
        .map_err(|error| Unusable::Unsound(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_decides_the_frames_is_in_the_name() {
        let key = Key {
            manifest_hash: "0123".to_owned(),
            framing: "number:4".to_owned(),
            framing_version: 2,
            time_steps: 4,
        };
        let others = [
            Key { manifest_hash: "4567".to_owned(), ..key.clone() },
            Key { framing: "time:4".to_owned(), ..key.clone() },
            Key { framing_version: 3, ..key.clone() },
            Key { time_steps: 5, ..key.clone() },
        ];
        for other in others {
            assert_ne!(other.short(), key.short(), "{other:?}");
        }
    }
}
