//! Makes a frame cache, a batch of recordings at a time: first parts, then of them the HDF5 file.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use bpsta_events::Framing;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use rayon::prelude::*;
use rust_hdf5::H5File;

use super::parts::{Batch, Parts};
use super::places::{Place, locate};
use super::{FORMAT, Key};
use crate::error::IoContext;
use crate::progress::{Reporter, Stage};
use crate::samples::{Files, Recording};
use crate::{DatasetError, SplitName};

/// Bytes of recordings that are decoded and framed at the same time: bounds memory, and keeps all cores busy.
const BATCH_BYTES: u64 = 64 << 20;
/// Recordings of a batch at most: bounds the compressed frames that wait to be written.
const BATCH_FILES: usize = 1024;

/// What wrote a file.
pub(crate) const TOOL: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));

/// String attributes of an HDF5 file's root, by name.
pub(crate) type Attributes<'a> = [(&'a str, &'a str)];

/// Writes the whole cache to `path`, syncs it, and leaves no lock on it. What `parts` holds already is not framed again. The places
/// of the chunks come back, training samples first.
pub(super) fn build(
    path: &Path,
    parts: Parts<'_>,
    files: Files<'_>,
    framing: Framing,
    key: &Key,
    reporter: &Reporter,
) -> Result<Vec<Place>, DatasetError> {
    let total = files.manifest.samples.train + files.manifest.samples.test;
    let shape = files.info.shape(key.time_steps);
    let mut done = 0;
    let mut batches = Vec::new();
    for split in SplitName::ALL {
        let recordings = files.recordings(split)?;
        let mut rest = recordings.as_slice();
        for number in 0.. {
            if rest.is_empty() {
                break;
            }
            let (recordings, after) = rest.split_at(batch_len(rest));
            rest = after;
            let batch = Batch::of(key, shape, split, number, recordings);
            if parts.read(&batch).is_none() {
                parts.write(&batch, &compressed(files, recordings, (framing, key.time_steps), path)?)?;
            }
            done += batch.samples;
            batches.push(batch);
            reporter.step(Stage::Frame, done, total);
        }
    }
    let file = H5File::create(path).map_err(hdf5("create", path))?;
    let version = key.framing_version.to_string();
    let dataset = files.manifest.dataset.to_string();
    let attributes: &Attributes<'_> = &[
        ("format", FORMAT),
        ("tool", TOOL),
        ("dataset", &dataset),
        ("framing", &key.framing),
        ("framing_version", &version),
        ("manifest_hash", &key.manifest_hash),
    ];
    for (name, value) in attributes {
        file.set_attr_string(name, value).map_err(hdf5("write an attribute of", path))?;
    }
    for group in ["frames", "labels", "names"] {
        file.create_group(group).map_err(hdf5("write a group of", path))?;
    }
    for split in SplitName::ALL {
        let chunks = batches.iter().filter(|batch| batch.split == split).map(|batch| parts.read(batch));
        write_split(&file, path, files, key.time_steps, split, chunks)?;
    }
    let manifest = files.manifest.to_json(false);
    let bytes = file
        .new_dataset::<u8>()
        .shape([manifest.len()])
        .chunk(&[manifest.len()])
        .deflate(6)
        .create("manifest")
        .map_err(hdf5("write", path))?;
    bytes.write_raw(manifest.as_bytes()).map_err(hdf5("write", path))?;
    file.close().map_err(hdf5("finish", path))?;
    File::open(path).and_then(|file| file.sync_all()).context("sync", path)?;
    locate(path, parts, &batches)
}

/// The compressed samples of recordings, in order. The workers compress: the HDF5 library, which has one thread, only stores the bytes.
fn compressed(
    files: Files<'_>,
    recordings: &[Recording<'_>],
    (framing, time_steps): (Framing, usize),
    path: &Path,
) -> Result<Vec<Vec<u8>>, DatasetError> {
    let sample_len: usize = files.info.shape(time_steps).iter().product();
    let chunks: Vec<Vec<Vec<u8>>> = recordings
        .par_iter()
        .map(|recording| {
            let counts = files.frame(recording, framing)?;
            counts.chunks_exact(sample_len).map(|sample| compress(sample, path)).collect()
        })
        .collect::<Result<_, DatasetError>>()?;
    Ok(chunks.into_iter().flatten().collect())
}

fn write_split(
    file: &H5File,
    path: &Path,
    files: Files<'_>,
    time_steps: usize,
    split: SplitName,
    batches: impl Iterator<Item = Option<Vec<Vec<u8>>>>,
) -> Result<(), DatasetError> {
    let recordings = files.recordings(split)?;
    let samples: Vec<_> = recordings.iter().flat_map(|recording| &recording.samples).collect();
    // HDF5 knows chunks only of something: an empty split has no datasets.
    if samples.is_empty() {
        return Ok(());
    }
    let split = split.as_str();
    let shape = [samples.len(), time_steps, 2, usize::from(files.info.height), usize::from(files.info.width)];
    let frames = file
        .new_dataset::<u16>()
        .shape(shape)
        .chunk(&[1, shape[1], shape[2], shape[3], shape[4]])
        .deflate(LEVEL)
        .create(&format!("frames/{split}"))
        .map_err(hdf5("write", path))?;

    let chunks = batches.map(|chunks| {
        chunks.ok_or_else(|| DatasetError::Hdf5 {
            action: "assemble",
            path: path.to_owned(),
            message: "a part of it that was written before cannot be read back".to_owned(),
            remedy: "look for a failing disk, and build it again",
        })
    });
    let mut place = 0;
    for chunks in chunks {
        for chunk in chunks? {
            frames.write_chunk_raw(place, &chunk, 0).map_err(hdf5("write", path))?;
            place += 1;
        }
    }

    let labels: Vec<u8> = samples.iter().map(|sample| sample.label).collect();
    file.new_dataset::<u8>()
        .shape([labels.len()])
        .create(&format!("labels/{split}"))
        .and_then(|dataset| dataset.write_raw(&labels))
        .map_err(hdf5("write", path))?;
    let names: Vec<&str> = samples.iter().map(|sample| sample.name.as_str()).collect();
    file.write_vlen_strings(&format!("names/{split}"), &names).map_err(hdf5("write", path))?;
    Ok(())
}

/// How many of the recordings make the next batch; at least one.
pub(crate) fn batch_len(recordings: &[Recording<'_>]) -> usize {
    let mut bytes = 0;
    let fits = |recording: &&Recording<'_>| {
        bytes += recording.entry.bytes;
        bytes <= BATCH_BYTES
    };
    recordings.iter().take(BATCH_FILES).take_while(fits).count().max(1)
}

/// zlib's level: frames are mostly zeros, and higher levels cost time for hardly a smaller file.
pub(crate) const LEVEL: u32 = 3;

/// A chunk as HDF5's deflate filter stores it: little-endian, then zlib.
pub(crate) fn compress(counts: &[u16], path: &Path) -> Result<Vec<u8>, DatasetError> {
    let bytes: Vec<u8> = counts.iter().flat_map(|count| count.to_le_bytes()).collect();
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(LEVEL));
    encoder.write_all(&bytes).context("compress frames for", path)?;
    encoder.finish().context("compress frames for", path)
}

/// For `map_err`: wraps an error of the HDF5 library while a file is written.
pub(crate) fn hdf5(action: &'static str, path: &Path) -> impl FnOnce(rust_hdf5::Hdf5Error) -> DatasetError {
    move |error| DatasetError::Hdf5 {
        action,
        path: path.to_owned(),
        message: error.to_string(),
        remedy: "look for a full disk or missing rights",
    }
}
