//! What is in a file of one of the formats this harness reads.

use std::path::Path;

use bpsta_events::{Format, Summary};
use serde::Serialize;

use crate::error::malformed;
use crate::import::{is_gzip, read_unpacked};
use crate::layout::of_file;
use crate::{DatasetError, cifar, idx};

/// What a file holds.
#[derive(Debug, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Inspection {
    /// Events.
    Events(Summary),
    /// Images or labels.
    Images(ImageSummary),
}

/// What an IDX or CIFAR-10 file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageSummary {
    /// `idx` or `cifar10-bin`.
    pub format: &'static str,
    /// Images, labels or both (CIFAR-10).
    pub count: usize,
    /// Channels, height and width of the images; none in a file of labels.
    pub image: Option<[usize; 3]>,
    /// Smallest and greatest pixel.
    pub pixels: Option<[u8; 2]>,
    /// Smallest and greatest label; none in a file of images alone.
    pub labels: Option<[u8; 2]>,
}

/// The names of formats that are not of events.
const IDX: &str = "idx";
const CIFAR: &str = "cifar10-bin";

/// Decodes a file and sums it up. `format` is one of `idx`, `cifar10-bin`, `nmnist-bin`, `aedat2`, `aedat3.1`, `aedat4`; without it
/// the file's beginning, length and name decide. A `.gz` file is unpacked first.
///
/// # Errors
/// [`DatasetError::NoSuchFormat`] when `format` is none of these, [`DatasetError::UnknownFormat`] when nothing fits, else what
/// is wrong with the file.
pub fn inspect(path: &Path, format: Option<&str>) -> Result<Inspection, DatasetError> {
    let (bytes, format) = open(path, format)?;
    match format {
        Guess::Idx => idx::parse(path, &bytes).map(idx_summary).map(Inspection::Images),
        Guess::Cifar => {
            let records = cifar::parse(path, &bytes)?;
            Ok(Inspection::Images(ImageSummary {
                format: CIFAR,
                count: records.len(),
                image: Some([3, 32, 32]),
                pixels: range(records.clone().flat_map(|record| &record[1..])),
                labels: range(records.map(|record| &record[0])),
            }))
        }
        Guess::Events(format) => {
            Ok(Inspection::Events(Summary::of(&bpsta_events::decode(&bytes, format).map_err(of_file(path))?)))
        }
    }
}

/// A file's (unpacked) bytes and its format: the one named, or what the file says.
pub(crate) fn open(path: &Path, format: Option<&str>) -> Result<(Vec<u8>, Guess), DatasetError> {
    let formats =
        || [IDX, CIFAR].into_iter().chain(Format::ALL.map(Format::id)).collect::<Vec<_>>().join(", ");
    let named = match format {
        Some(name) => match Guess::from_name(name) {
            Some(guess) => Some(guess),
            None => return Err(DatasetError::NoSuchFormat { name: name.to_owned(), formats: formats() }),
        },
        None => None,
    };
    let bytes = read_unpacked(path)?;
    let format = match named {
        Some(guess) => guess,
        None => sniff(path, &bytes, bytes.len() as u64)?
            .ok_or_else(|| DatasetError::UnknownFormat { path: path.to_owned(), formats: formats() })?,
    };
    Ok((bytes, format))
}

/// The event format of a file that is to be framed: as named, or by how its (unpacked) bytes begin and how many they are.
pub(crate) fn event_format(
    path: &Path,
    head: &[u8],
    length: u64,
    format: Option<Format>,
) -> Result<Format, DatasetError> {
    if let Some(format) = format {
        return Ok(format);
    }
    let not_events = |format| Err(DatasetError::NotEvents { path: path.to_owned(), format });
    match sniff(path, head, length)? {
        Some(Guess::Events(format)) => Ok(format),
        Some(Guess::Idx) => not_events(IDX),
        Some(Guess::Cifar) => not_events(CIFAR),
        None => Err(DatasetError::UnknownFormat {
            path: path.to_owned(),
            formats: Format::ALL.map(Format::id).join(", "),
        }),
    }
}

/// What a file is taken for.
pub(crate) enum Guess {
    Idx,
    Cifar,
    Events(Format),
}

impl Guess {
    fn from_name(name: &str) -> Option<Guess> {
        match name {
            IDX => Some(Guess::Idx),
            CIFAR => Some(Guess::Cifar),
            other => other.parse().ok().map(Guess::Events),
        }
    }
}

/// A file's format by how its unpacked bytes begin, how many they are, and its name; none if they do not say. An empty file is an error: no format has one.
fn sniff(path: &Path, head: &[u8], length: u64) -> Result<Option<Guess>, DatasetError> {
    if length == 0 {
        return Err(malformed(path, 0, "the file is empty: fetch or copy it again"));
    }
    let path = if is_gzip(path) { path.with_extension("") } else { path.to_owned() };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // The name first: a recording of N-MNIST may begin with the bytes that IDX files begin with.
    let begins = !name.ends_with(".bin") && head.starts_with(&[0, 0, 8]);
    if name.contains("idx1-ubyte") || name.contains("idx3-ubyte") || begins {
        return Ok(Some(Guess::Idx));
    }
    // Neither CIFAR-10's nor N-MNIST's .bin has a magic number: the official names tell them apart, else the length.
    let official = name.starts_with("data_batch") || name.starts_with("test_batch");
    let length = length.is_multiple_of(cifar::RECORD as u64) && !length.is_multiple_of(5);
    if name.ends_with(".bin") && (official || length) {
        return Ok(Some(Guess::Cifar));
    }
    Ok(Format::sniff(&path, head).map(Guess::Events))
}

fn idx_summary(idx: idx::Idx<'_>) -> ImageSummary {
    match idx {
        idx::Idx::Images { count, height, width, pixels } => ImageSummary {
            format: IDX,
            count,
            image: Some([1, height, width]),
            pixels: range(pixels),
            labels: None,
        },
        idx::Idx::Labels(labels) => ImageSummary {
            format: IDX,
            count: labels.len(),
            image: None,
            pixels: None,
            labels: range(labels),
        },
    }
}

fn range<'a>(values: impl IntoIterator<Item = &'a u8>) -> Option<[u8; 2]> {
    let mut values = values.into_iter().copied();
    let first = values.next()?;
    Some(values.fold([first, first], |[low, high], value| [low.min(value), high.max(value)]))
}
