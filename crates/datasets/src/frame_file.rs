//! One recording, framed into an HDF5 file of its own.

use std::fs::{self, File};
use std::io::{BufRead, Seek};
use std::path::Path;

use bpsta_events::{FRAMING_VERSION, Format, Frames, Framing, frame_stream};
use rust_hdf5::H5File;

use crate::cache::{Attributes, LEVEL, TOOL, compress, hdf5};
use crate::error::IoContext;
use crate::import::{is_gzip, read_file_unpacked};
use crate::inspect::event_format;
use crate::layout::of_file;
use crate::skipping::Skipping;
use crate::{DatasetError, lock};

/// Frames the events of one file and writes them as HDF5: dataset `frames`, u16 `[T, 2, H, W]` (channel 0 = OFF, 1 = ON),
/// with the attributes `source` (the file's name), `event_format`, `framing`, `framing_version` and `tool`.
///
/// `format` is found out from the file if not given; a `.gz` file is unpacked first. The frames are also returned.
///
/// # Errors
/// An input that cannot be decoded or framed; [`DatasetError::OutputExists`] when `output` is there and `force` is false, and
/// [`DatasetError::OverInput`] when it is the input itself.
/// `output` is then as before: it is written under another name, synced and renamed. Processes that write into one folder wait for each
/// other, where the system locks folders, as Linux and macOS do; elsewhere only one at a time may write one output.
pub fn frame_file(
    input: &Path,
    format: Option<Format>,
    framing: Framing,
    output: &Path,
    force: bool,
) -> Result<Frames, DatasetError> {
    let check_free = || match !force && output.exists() {
        true => Err(DatasetError::OutputExists { path: output.to_owned() }),
        false => Ok(()),
    };
    check_free()?;
    // By whatever names: links count. What is not there is said where it is read or written.
    if input.canonicalize().is_ok_and(|input| output.canonicalize().is_ok_and(|output| output == input)) {
        return Err(DatasetError::OverInput { path: output.to_owned() });
    }
    let (frames, format) = frames_of_file(input, format, framing)?;
    let version = FRAMING_VERSION.to_string();
    let source = input.file_name().unwrap_or_default().to_string_lossy();
    let attributes: &Attributes<'_> = &[
        ("source", &source),
        ("event_format", &format.to_string()),
        ("framing", &framing.to_string()),
        ("framing_version", &version),
        ("tool", TOOL),
    ];
    let parent = output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let _lock = lock::of_folder(parent);
    // Another process may have written it since.
    check_free()?;
    // The name of the output in it: what a killed process left for this file is cleared away, and nobody else's.
    let prefix = format!(".framing-{}-", output.file_name().unwrap_or_default().to_string_lossy());
    lock::clear(parent, &prefix)?;
    let staging =
        tempfile::Builder::new().prefix(&prefix).tempdir_in(parent).context("create a folder in", parent)?;
    let unfinished = staging.path().join("frames.h5");
    write(&unfinished, &frames, attributes)?;
    fs::rename(&unfinished, output).context("rename to", output)?;
    Ok(frames)
}

/// The frames of a file, and its format, which is found out if not given; a `.gz` file is unpacked first.
///
/// # Errors
/// A file that cannot be read, decoded or framed.
pub fn frames_of_file(
    input: &Path,
    format: Option<Format>,
    framing: Framing,
) -> Result<(Frames, Format), DatasetError> {
    let mut file = File::open(input).context("read", input)?;
    let metadata = file.metadata().context("read", input)?;
    // What is no regular file, such as a pipe, has no length and can be read once alone.
    if metadata.is_file() && !is_gzip(input) {
        let length = metadata.len();
        let framed = Skipping::read(&file, |stream| {
            let format = event_format(input, stream.fill_buf().context("read", input)?, length, format)?;
            let frames = frame_stream(stream, length, format, framing).context("read", input)?;
            Ok::<_, DatasetError>(frames.map(|frames| (frames, format)))
        });
        if let Some(framed) = framed? {
            return Ok(framed);
        }
        file.rewind().context("read", input)?;
    }
    // It is compressed, a pipe, or something is wrong with it, which is named here.
    let bytes = read_file_unpacked(input, file)?;
    let format = event_format(input, &bytes, bytes.len() as u64, format)?;
    let recording = bpsta_events::decode(&bytes, format).map_err(of_file(input))?;
    drop(bytes);
    let frames = bpsta_events::frame(&recording.events, recording.sensor, framing)
        .map_err(|error| DatasetError::Framing { sample: input.display().to_string(), error })?;
    Ok((frames, format))
}

fn write(path: &Path, frames: &Frames, attributes: &Attributes<'_>) -> Result<(), DatasetError> {
    let file = H5File::create(path).map_err(hdf5("create", path))?;
    for (name, value) in attributes {
        file.set_attr_string(name, value).map_err(hdf5("write an attribute of", path))?;
    }
    let shape = [frames.time_steps, 2, frames.height, frames.width];
    let dataset = file
        .new_dataset::<u16>()
        .shape(shape)
        .chunk(&[1, shape[1], shape[2], shape[3]])
        .deflate(LEVEL)
        .create("frames")
        .map_err(hdf5("write", path))?;
    for (place, frame) in frames.counts.chunks_exact(shape[1] * shape[2] * shape[3]).enumerate() {
        dataset.write_chunk_raw(place, &compress(frame, path)?, 0).map_err(hdf5("write", path))?;
    }
    file.close().map_err(hdf5("finish", path))?;
    File::open(path).and_then(|file| file.sync_all()).context("sync", path)
}
