//! The formats: their names, how they are told apart, one way in and one way out.

use std::fmt;
use std::io::{BufRead, Read, Seek};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::aedat2::Aedat2;
use crate::aedat31::Aedat31;
use crate::nmnist::Nmnist;
use crate::{
    DecodeError, DecodeErrorKind, EncodeError, Events, Sensor, aedat2, aedat4, aedat31, nmnist, records,
};

/// How AEDAT of any version begins.
const AEDAT: &str = "#!AER-DAT";

/// A format of event recordings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Format {
    /// N-MNIST's `.bin`: five bytes an event.
    #[serde(rename = "nmnist-bin")]
    NmnistBin,
    /// AEDAT 2.0 of a DVS128 (jAER): DVS-CIFAR10.
    #[serde(rename = "aedat2")]
    Aedat2,
    /// AEDAT 3.1 (cAER): DVS-Gesture.
    #[serde(rename = "aedat3.1")]
    Aedat31,
    /// AEDAT 4 (DV): recordings of one's own, of any sensor.
    #[serde(rename = "aedat4")]
    Aedat4,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::NmnistBin, Self::Aedat2, Self::Aedat31, Self::Aedat4];

    /// The name used on the command line.
    pub const fn id(self) -> &'static str {
        match self {
            Self::NmnistBin => "nmnist-bin",
            Self::Aedat2 => "aedat2",
            Self::Aedat31 => "aedat3.1",
            Self::Aedat4 => "aedat4",
        }
    }

    /// How the names of its files end, without the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::NmnistBin => "bin",
            Self::Aedat2 | Self::Aedat31 => "aedat",
            Self::Aedat4 => "aedat4",
        }
    }

    /// The format of a file from its first bytes and its name: AEDAT says what it is, N-MNIST has no magic number and is
    /// known by `.bin`. A version of AEDAT that is not read counts as AEDAT 2.0, whose decoder names it in its error.
    pub fn sniff(path: &Path, head: &[u8]) -> Option<Self> {
        if head.starts_with(aedat31::MAGIC.as_bytes()) {
            Some(Self::Aedat31)
        } else if head.starts_with(aedat4::MAGIC.trim_end().as_bytes()) {
            Some(Self::Aedat4)
        } else if head.starts_with(AEDAT.as_bytes()) {
            Some(Self::Aedat2)
        } else if path.extension().is_some_and(|extension| extension == "bin") {
            Some(Self::NmnistBin)
        } else {
            None
        }
    }

    /// The sensor that files of this format come from here; none where each file names its own.
    pub const fn sensor(self) -> Option<Sensor> {
        match self {
            Self::NmnistBin => Some(Sensor::NMNIST),
            Self::Aedat2 | Self::Aedat31 => Some(Sensor::DVS128),
            Self::Aedat4 => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|format| format.id() == text).ok_or_else(|| {
            format!("unknown format `{text}`: expected one of {}", Self::ALL.map(Self::id).join(", "))
        })
    }
}

/// What a decoder noticed on its way, beyond the events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Notes {
    /// N-MNIST: events with y = 240, which Tonic takes for timestamp overflow markers. They are kept as they stand, as the
    /// paper's reader keeps them.
    pub overflow_markers: u64,
    /// Events whose timestamp is below that of the event before.
    pub steps_back: u64,
    /// Events off the sensor that the recording comes from. N-MNIST's overflow markers are among them; AEDAT has none,
    /// since its decoders refuse them (3.1, 4) or have no bits for them (2.0).
    pub off_sensor: u64,
    /// AEDAT 2.0: events with address bits beyond those of a DVS128. They are kept and the bits ignored, as the paper's reader
    /// does.
    pub high_address_bits: u64,
    /// AEDAT 3.1: packets of other types than polarity; AEDAT 4: packets of other streams than the first of events. They are
    /// skipped.
    pub skipped_packets: u64,
    /// AEDAT 3.1: events whose validity bit is 0. They are kept, as the paper's reader keeps them.
    pub invalid_events: u64,
}

/// A decoded recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// Its events, in file order.
    pub events: Events,
    /// The format it was read as.
    pub format: Format,
    /// The sensor it comes from: the format's, or the one the file names (AEDAT 4).
    pub sensor: Sensor,
    /// What was noticed.
    pub notes: Notes,
}

/// Decodes a whole recording from memory.
///
/// # Errors
/// [`DecodeError`] with the byte offset at which the bytes stop being a recording of that format.
pub fn decode(bytes: &[u8], format: Format) -> Result<Recording, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeErrorKind::Empty { format }.into());
    }
    let (events, notes, sensor) = match format {
        Format::NmnistBin => records::decode::<Nmnist, { nmnist::RECORD }>(bytes)?,
        Format::Aedat2 => records::decode::<Aedat2, { aedat2::RECORD }>(bytes)?,
        Format::Aedat31 => records::decode::<Aedat31, { aedat31::RECORD }>(bytes)?,
        Format::Aedat4 => aedat4::decode(bytes)?,
    };
    Ok(Recording { events, format, sensor, notes })
}

/// Decodes a file.
///
/// # Errors
/// As [`decode`], with the file's path.
pub fn read_file(path: &Path, format: Format) -> Result<Recording, DecodeError> {
    let bytes = std::fs::read(path).map_err(DecodeErrorKind::from);
    bytes
        .map_err(DecodeError::from)
        .and_then(|bytes| decode(&bytes, format))
        .map_err(|error| DecodeError { path: Some(path.to_owned()), ..error })
}

/// The bytes of a recording in its official on-disk format.
///
/// # Errors
/// [`EncodeError`] where an event does not fit the format, and for AEDAT 4, which is read alone.
pub fn encode(events: &Events, format: Format) -> Result<Vec<u8>, EncodeError> {
    match format {
        Format::NmnistBin => nmnist::encode(events),
        Format::Aedat2 => aedat2::encode(events),
        Format::Aedat31 => aedat31::encode(events),
        Format::Aedat4 => Err(EncodeError::ReadOnly { format }),
    }
}

/// Refuses a file that does not begin with `magic`; moves on by nothing.
pub(crate) fn starts(
    input: &mut (impl BufRead + Seek),
    format: Format,
    magic: &'static str,
) -> Result<(), DecodeErrorKind> {
    // Room for the longest magic, and for the version of another.
    let mut head = Vec::new();
    let read = input.by_ref().take(32).read_to_end(&mut head)?;
    input.seek_relative(-(read as i64))?;
    if head.starts_with(magic.as_bytes()) { Ok(()) } else { Err(wrong_start(&head, format, magic)) }
}

/// Why a file does not begin as it should: another version of AEDAT, or another kind of file.
pub(crate) fn wrong_start(bytes: &[u8], format: Format, magic: &'static str) -> DecodeErrorKind {
    match bytes.strip_prefix(AEDAT.as_bytes()) {
        Some(rest) => {
            let version = rest.iter().take(8).take_while(|byte| byte.is_ascii_digit() || **byte == b'.');
            let found = version.map(|byte| char::from(*byte)).collect();
            DecodeErrorKind::Version { found, format, magic }
        }
        None => DecodeErrorKind::Magic { format, magic },
    }
}

/// Refuses a field above what its format holds.
pub(crate) fn fits(
    index: usize,
    field: &'static str,
    value: i64,
    largest: i64,
    format: Format,
) -> Result<u32, EncodeError> {
    u32::try_from(value).ok().filter(|_| value <= largest).ok_or(EncodeError::Range {
        index,
        field,
        value,
        largest,
        format,
    })
}
