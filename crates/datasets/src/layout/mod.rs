//! Where a data set's files lie in its official tree, and what each of them must hold.
//!
//! `scan` finds the files without opening recordings; `Found::check` examines one file's bytes. Both serve real
//! trees and generated ones alike.

mod cifar10;
mod class_folders;
mod dvscifar10;
pub(crate) mod dvsgesture;
mod mnist;
mod nmnist;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bpsta_events::{DecodeError, Format, Recording, Sensor};

use crate::error::{IoContext, malformed};
use crate::{DatasetError, DatasetId, DatasetInfo, FileEntry, Layout, SplitName, SplitRule, cifar, idx};

/// A file that an import takes.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Where it lies now.
    pub(crate) source: PathBuf,
    /// Its path under `raw/`, with `/` between the parts.
    pub(crate) target: String,
    pub(crate) split: Option<SplitName>,
    pub(crate) label: Option<u8>,
    pub(crate) content: Content,
}

/// What a file must hold.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// IDX images.
    Images,
    /// IDX labels.
    Labels,
    /// CIFAR-10 records.
    Records,
    /// One recording that is one sample.
    Recording(Format),
    /// One recording that holds a sample a row of its label file.
    Trial { labels: PathBuf },
    /// Text that another file's check has read already.
    Text,
}

/// What a tree holds of a data set.
#[derive(Debug)]
pub(crate) struct Scan {
    /// The tree itself: the folder given, or one right below it.
    pub(crate) root: PathBuf,
    /// Sorted by target path (by bytes), which fixes the order of samples.
    pub(crate) files: Vec<Found>,
    /// What the official data set has beyond that, in words.
    pub(crate) missing: Vec<String>,
}

/// Finds the files of `id` in `from` or, if that is not the tree itself, in the one folder right below it that is.
pub(crate) fn scan(id: DatasetId, info: &DatasetInfo, from: &Path) -> Result<Scan, DatasetError> {
    let mut scan = match info.layout {
        Layout::Mnist => mnist::scan(id, from),
        Layout::Cifar10 => cifar10::scan(id, from),
        Layout::Nmnist => nmnist::scan(id, info, from),
        Layout::Dvsgesture => dvsgesture::scan(id, from),
        Layout::Dvscifar10 => dvscifar10::scan(id, info, from),
        Layout::ClassFolders => class_folders::scan(id, info, from),
    }?;
    scan.files.sort_by(|a, b| a.target.cmp(&b.target));
    Ok(scan)
}

impl Found {
    /// Checks the file's (unpacked) bytes and counts its samples (of label files: its labels).
    pub(crate) fn check(&self, info: &DatasetInfo, bytes: &[u8]) -> Result<usize, DatasetError> {
        let path = &self.source;
        match &self.content {
            Content::Images => {
                let size = (usize::from(info.height), usize::from(info.width));
                idx::parse_images(path, bytes, size).map(|(count, _)| count)
            }
            Content::Labels => idx::parse_labels(path, bytes, info.classes.len()).map(<[u8]>::len),
            Content::Records => cifar::parse(path, bytes).map(|records| records.len()),
            Content::Recording(format) => {
                let events = decode(path, bytes, *format, info)?;
                if events.is_empty() {
                    return Err(malformed(
                        path,
                        bytes.len(),
                        "expected events, found none in all the recording",
                    ));
                }
                Ok(1)
            }
            Content::Trial { labels } => {
                let rows = dvsgesture::read_labels(labels, info.classes.len())?;
                let events = decode(path, bytes, Format::Aedat31, info)?;
                for row in &rows {
                    if !events.has_any_between(row.start, row.end) {
                        let problem = format!(
                            "no event of {} lies from {} to {} us: labels and recording do not belong together",
                            path.display(),
                            row.start,
                            row.end
                        );
                        return Err(DatasetError::BadLine { path: labels.clone(), line: row.line, problem });
                    }
                }
                Ok(rows.len())
            }
            Content::Text => Ok(0),
        }
    }
}

/// The split that the data set's rule gives each file of a manifest, sorted by path; none where the rule leaves it to what another file
/// holds, as the trial lists of DVS-Gesture do.
pub(crate) fn splits(info: &DatasetInfo, files: &[FileEntry]) -> Vec<Option<SplitName>> {
    let by_name = |entry: &FileEntry| match (info.split, info.layout) {
        (SplitRule::OfficialFolders, _) => match entry.path.split('/').next() {
            Some("Train") => Some(SplitName::Train),
            Some("Test") => Some(SplitName::Test),
            _ => None,
        },
        (_, Layout::Mnist) => mnist::split_of(&entry.path),
        (_, Layout::Cifar10) => cifar10::split_of(&entry.path),
        (_, Layout::Dvsgesture) => dvsgesture::split_of(&entry.path, files),
        _ => None,
    };
    if info.split != SplitRule::FirstNineTenthsByName {
        return files.iter().map(by_name).collect();
    }
    // A class is a folder, and so its files stand behind each other.
    let of_class = files.chunk_by(|a, b| a.label == b.label);
    let split = |place, train| if place < train { SplitName::Train } else { SplitName::Test };
    of_class
        .flat_map(|files| {
            let train = training_files(files.len());
            (0..files.len()).map(move |place| Some(split(place, train)))
        })
        .collect()
}

/// Decodes a recording and makes sure that it is from the data set's sensor: by its name, where the file names one, and by every event.
pub(crate) fn decode(
    path: &Path,
    bytes: &[u8],
    format: Format,
    info: &DatasetInfo,
) -> Result<bpsta_events::Events, DatasetError> {
    let Recording { events, sensor, notes, .. } =
        bpsta_events::decode(bytes, format).map_err(of_file(path))?;
    // Official recordings of a DVS128 may have such bits, and are read as the paper reads them; of one's own nobody knows the sensor.
    if info.layout == Layout::ClassFolders && notes.high_address_bits > 0 {
        let expected = format!(
            "a recording of a DVS128, as which {format} is read, but {} of its {} events have address bits that a DVS128 does not use",
            notes.high_address_bits,
            events.len()
        );
        return Err(foreign(path.to_owned(), expected));
    }
    let Sensor { width, height } = sensor;
    let other = |problem| {
        let (path, title) = (path.to_owned(), info.title.clone());
        Err(DatasetError::OtherSensor { path, problem, title, width: info.width, height: info.height })
    };
    if format.sensor().is_none() && (width, height) != (info.width, info.height) {
        return other(format!("it names a sensor of {width} x {height} pixels"));
    }
    let outside = events.x.iter().zip(&events.y).position(|(&x, &y)| x >= info.width || y >= info.height);
    let Some(at) = outside else { return Ok(events) };
    let (x, y) = (events.x[at], events.y[at]);
    // Without a byte, except that N-MNIST has five an event. On their own sensors the decoders of AEDAT see to it.
    if format == Format::NmnistBin {
        let problem = format!(
            "event {at} lies at x {x}, y {y}, outside the sensor's {} x {} pixels",
            info.width, info.height
        );
        return Err(malformed(path, at * 5, problem));
    }
    other(format!("event {at} lies at x {x}, y {y}, as {format} has a sensor of {width} x {height} pixels"))
}

/// A file that an official tree does not have: which ones it does is said.
fn foreign(path: PathBuf, expected: impl Into<String>) -> DatasetError {
    DatasetError::ForeignFile { path, expected: expected.into() }
}

/// For `map_err`: names the file whose bytes could not be decoded.
pub(crate) fn of_file(path: &Path) -> impl FnOnce(DecodeError) -> DecodeError {
    move |error| DecodeError { path: Some(path.to_owned()), ..error }
}

/// `from`, or its first subfolder (by name), that `is_root` accepts.
fn find_root(from: &Path, is_root: impl Fn(&Path) -> bool) -> Result<Option<PathBuf>, DatasetError> {
    if is_root(from) {
        return Ok(Some(from.to_owned()));
    }
    Ok(visible(from)?.into_iter().find(|path| path.is_dir() && is_root(path)))
}

/// The visible entries of a folder in a tree, sorted by name. A name that is not UTF-8 is refused: it would be left out in silence.
fn list(folder: &Path) -> Result<Vec<(String, PathBuf)>, DatasetError> {
    let named = |path: PathBuf| match path.file_name().and_then(|name| name.to_str()) {
        Some(name) => Ok((name.to_owned(), path)),
        None => Err(foreign(path, "a name in UTF-8")),
    };
    visible(folder)?.into_iter().map(named).collect()
}

/// The visible entries of a folder, by whatever name, sorted.
fn visible(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).context("list", folder)? {
        let entry = entry.context("list", folder)?;
        let name = entry.file_name();
        // macOS puts a folder __MACOSX beside what it packs, with what only macOS knows of the same files.
        if !name.as_encoded_bytes().starts_with(b".") && name != "__MACOSX" {
            entries.push(entry.path());
        }
    }
    entries.sort();
    Ok(entries)
}

/// Nine tenths of the files of a class, rounded down so that few files still leave one to test; but a single one trains.
fn training_files(files: usize) -> usize {
    (files * 9 / 10).max(1)
}

/// The numbers of `0..count`, moved by `first`, that are not in `have`, as ranges: `1001-60000`.
fn gaps(have: &BTreeSet<usize>, first: usize, count: usize) -> Vec<String> {
    let mut out = Vec::new();
    let mut next = first;
    for &number in have.iter().chain([&(first + count)]) {
        match number.checked_sub(next) {
            None | Some(0) => {}
            Some(1) => out.push(next.to_string()),
            Some(_) => out.push(format!("{next}-{}", number - 1)),
        }
        next = next.max(number + 1);
    }
    out
}

/// At most five gaps by name, and how many more there are: a manifest is no place for thousands of them.
fn name_gaps(gaps: &[String]) -> String {
    let shown = gaps.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
    match gaps.len().saturating_sub(5) {
        0 => shown,
        more => format!("{shown} and {more} more gaps"),
    }
}
