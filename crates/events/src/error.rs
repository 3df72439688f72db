//! What can be wrong with a recording, in words: the file, the byte, what was expected, what to do.

use std::path::PathBuf;

use crate::{Format, Sensor};

/// A recording that cannot be decoded.
#[derive(Debug, thiserror::Error)]
#[error("{}: {kind}", path.as_ref().map_or_else(|| "recording".to_owned(), |path| path.display().to_string()))]
pub struct DecodeError {
    /// The file, where the bytes came from one.
    pub path: Option<PathBuf>,
    /// What is wrong.
    pub kind: DecodeErrorKind,
}

impl From<DecodeErrorKind> for DecodeError {
    fn from(kind: DecodeErrorKind) -> Self {
        Self { path: None, kind }
    }
}

/// What is wrong with a recording. Offsets are bytes from the start of the file.
#[derive(Debug, thiserror::Error)]
pub enum DecodeErrorKind {
    /// The file cannot be read at all.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// No bytes.
    #[error("byte 0: the file is empty, expected {format}; fetch or copy it again")]
    Empty {
        /// The format that was expected.
        format: Format,
    },
    /// Another kind of file.
    #[error("byte 0: expected {format} to begin with `{magic}`: it is another kind of file, or damaged")]
    Magic {
        /// The format that was expected.
        format: Format,
        /// How such a file begins.
        magic: &'static str,
    },
    /// Another version of AEDAT.
    #[error(
        "byte 0: the file says AEDAT {found}, but {format} was expected, which files begin with `{magic}`; of AEDAT, 2.0, 3.1 and 4.0 \
         are read: name the format that it has, or convert it to one of these"
    )]
    Version {
        /// The version the file names.
        found: String,
        /// The format that was expected.
        format: Format,
        /// How such a file begins.
        magic: &'static str,
    },
    /// A line of the header ends in a line break of the wrong kind.
    #[error(
        "byte {offset}: `{line}` ends in LF, expected CR LF; line breaks were converted on the way, \
         and with them perhaps events: copy it again as binary"
    )]
    LineBreak {
        /// Where the line starts.
        offset: usize,
        /// The line.
        line: &'static str,
    },
    /// The header does not end.
    #[error("byte {offset}: the header has no end, expected `{end}`; the file is cut short, copy it again")]
    HeaderEnd {
        /// Where the search for the end gave up.
        offset: usize,
        /// What ends a header.
        end: &'static str,
    },
    /// The last record is not whole.
    #[error(
        "byte {offset}: {found} bytes are left where a record of {expected} bytes was expected; \
         the file is cut short or not {format}, copy it again"
    )]
    Truncated {
        /// Where the record starts.
        offset: usize,
        /// Bytes that are there.
        found: usize,
        /// Bytes the record needs.
        expected: usize,
        /// The format that was expected.
        format: Format,
    },
    /// A packet header that contradicts itself or the format.
    #[error(
        "byte {offset}: packet field `{field}` is {found}, expected {expected}; the file is damaged, copy it again"
    )]
    Packet {
        /// Where the packet starts.
        offset: usize,
        /// The field.
        field: &'static str,
        /// Its value.
        found: u64,
        /// What it should be.
        expected: String,
    },
    /// A timestamp below 0.
    #[error(
        "byte {offset}: event with timestamp {found}, expected 0 or more; the file is damaged, copy it again"
    )]
    Timestamp {
        /// Where the event's record starts; in AEDAT 4, the packet it lies in.
        offset: usize,
        /// The timestamp.
        found: i64,
    },
    /// A part of AEDAT 4 that does not hold what it should.
    #[error("byte {offset}: {problem}; the file is damaged, copy it again")]
    Content {
        /// Where the header or the packet starts.
        offset: usize,
        /// What is wrong.
        problem: String,
    },
    /// An event off the sensor.
    #[error(
        "byte {offset}: event at x = {x}, y = {y}, off the sensor of {sensor} pixels; \
         the file is damaged or not {format}{}", if format.sensor().is_some() { ", or of another sensor" } else { "" }
    )]
    OffSensor {
        /// Where the event's record starts; in AEDAT 4, the packet it lies in.
        offset: usize,
        /// Its column.
        x: i32,
        /// Its row.
        y: i32,
        /// The sensor.
        sensor: Sensor,
        /// The format that was expected.
        format: Format,
    },
}

/// Events that a format cannot hold.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// A format that is read alone.
    #[error("{format} is read, not written: choose nmnist-bin, aedat2 or aedat3.1")]
    ReadOnly {
        /// The format.
        format: Format,
    },
    /// A field out of the format's range.
    #[error("event {index}: {field} = {value} does not fit {format}, whose largest is {largest}")]
    Range {
        /// Index of the event.
        index: usize,
        /// The field.
        field: &'static str,
        /// Its value.
        value: i64,
        /// The largest value there is.
        largest: i64,
        /// The format.
        format: Format,
    },
}

/// Events that cannot be framed.
#[derive(Debug, thiserror::Error)]
pub enum FramingError {
    /// Nothing to frame.
    #[error("the recording has no events: there is nothing to frame")]
    NoEvents,
    /// More frames than memory should be asked for.
    #[error("framing `{framing}` gives more than {most} frames of {width}x{height} pixels: ask for fewer")]
    TooMany {
        /// The rule as it prints.
        framing: String,
        /// How many there may be.
        most: usize,
        /// Width of the sensor.
        width: u16,
        /// Height of the sensor.
        height: u16,
    },
    /// A rule without meaning.
    #[error("framing `{framing}`: {why}")]
    Rule {
        /// The rule as it prints.
        framing: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A rule by time, and a clock that was set back: the windows would lie before the events.
    #[error(
        "framing `{framing}`: the clock steps back from {first} us at the first event to {last} us at the last one, so there are no \
         times to divide: use a split by number"
    )]
    StepsBack {
        /// The rule as it prints.
        framing: String,
        /// Timestamp of the first event of the file, in us.
        first: i64,
        /// Timestamp of the last event of the file, in us.
        last: i64,
    },
    /// An event off the sensor.
    #[error("event {index} at x = {x}, y = {y} lies off the {width}x{height} sensor")]
    OffSensor {
        /// Index of the event.
        index: usize,
        /// Its column.
        x: u16,
        /// Its row.
        y: u16,
        /// Width of the sensor.
        width: u16,
        /// Height of the sensor.
        height: u16,
    },
    /// More events at one pixel and in one frame than a u16 counts.
    #[error("frame {frame}, x = {x}, y = {y}: more than 65535 events of one polarity; use more time steps")]
    Overflow {
        /// The frame.
        frame: usize,
        /// The column.
        x: u16,
        /// The row.
        y: u16,
    },
}
