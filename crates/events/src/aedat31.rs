//! AEDAT 3.1, as cAER writes it: header lines up to `#!END-HEADER`, then little-endian packets of a 28-byte header and
//! `capacity * size` bytes of events.
//!
//! Type 1 is polarity: data u32 and timestamp i32, where t = timestamp | overflow << 31, x = data >> 17 & 32767,
//! y = data >> 2 & 32767, polarity = data >> 1 & 1 and validity = data & 1. The paper's reader ignores validity
//! and takes all `capacity` slots of a packet; other types are skipped. A packet of any type must hold
//! valid <= number <= capacity, and no timestamp is below 0: what does not is damaged.

use std::io::{BufRead, Seek};

use crate::format::{fits, starts};
use crate::records::{Event, Records, Run, Runs};
use crate::{DecodeErrorKind, EncodeError, Events, Format, Notes, Sensor};

pub(crate) const MAGIC: &str = "#!AER-DAT3.1";
const HEADER_END: &[u8] = b"#!END-HEADER\r\n";
const PACKET_HEADER: usize = 28;
/// Bytes of a record.
pub(crate) const RECORD: usize = 8;
const POLARITY: u16 = 1;
const EDGE: u32 = 127;
/// Bytes of the smallest event of any type: data and timestamp.
const SMALLEST_EVENT: usize = 8;
/// Above it, a timestamp would lie more than 142 years from the clock's start.
const LAST_OVERFLOW: u32 = 1 << 21;
/// Events in a packet that is written.
const PACKET_EVENTS: usize = 8192;

/// Bits of a record, as a little-endian u64, that are set in none whose pixel lies on the sensor and whose timestamp is not
/// below 0.
const NEVER_SET: u64 = 1 << 63 | (0x7fff & !EDGE as u64) << 17 | (0x7fff & !EDGE as u64) << 2;

/// The records of AEDAT 3.1.
pub(crate) struct Aedat31;

impl Records<RECORD> for Aedat31 {
    const SENSOR: Sensor = Sensor::DVS128;

    fn runs(input: &mut (impl BufRead + Seek), length: usize) -> Result<Runs, DecodeErrorKind> {
        starts(input, Format::Aedat31, MAGIC)?;
        let mut offset = header_length(input)?;
        let mut runs = Runs::default();
        while offset < length {
            let packet = packet_at(input, offset, length)?;
            offset += PACKET_HEADER;
            if packet.kind == POLARITY {
                runs.runs.push(Run { offset, events: packet.capacity, base: packet.base });
            } else {
                runs.skipped_packets += 1;
            }
            offset += packet.body;
            input.seek_relative(packet.body as i64)?;
        }
        Ok(runs)
    }

    #[inline(always)]
    fn event(record: &[u8; RECORD], base: i64) -> Event {
        let word = u64::from_le_bytes(*record);
        let (x, y) = pixel(word);
        // A record without a flaw has no higher bits; who counts its pixel sees here that it lies on the sensor.
        let (x, y) = (x & EDGE, y & EDGE);
        Event { t: i64::from(timestamp(word)) | base, x, y, on: word >> 1 & 1 == 1 }
    }

    #[inline(always)]
    fn flaw(record: &[u8; RECORD]) -> u64 {
        u64::from_le_bytes(*record) & NEVER_SET
    }

    fn fault(records: &[[u8; RECORD]], offset: usize) -> Option<DecodeErrorKind> {
        // Without a way out of the loop, it goes over several records at once.
        if records.iter().fold(0, |flaws, record| flaws | Self::flaw(record)) == 0 {
            return None;
        }
        let index = records.iter().position(|record| Self::flaw(record) != 0)?;
        let offset = offset + index * RECORD;
        let word = u64::from_le_bytes(records[index]);
        let (x, y) = pixel(word);
        let (t, x, y) = (i64::from(timestamp(word)), x as i32, y as i32);
        Some(if x > EDGE as i32 || y > EDGE as i32 {
            let (sensor, format) = (Self::SENSOR, Format::Aedat31);
            DecodeErrorKind::OffSensor { offset, x, y, sensor, format }
        } else {
            DecodeErrorKind::Timestamp { offset, found: t }
        })
    }

    fn note(records: &[[u8; RECORD]], notes: &mut Notes) {
        notes.invalid_events += records.iter().filter(|[data, ..]| data & 1 == 0).count() as u64;
    }
}

/// x and y of a record, all their bits.
const fn pixel(word: u64) -> (u32, u32) {
    (word as u32 >> 17 & 0x7fff, word as u32 >> 2 & 0x7fff)
}

const fn timestamp(word: u64) -> i32 {
    (word >> 32) as i32
}

/// Reads the header's lines; how many bytes they are.
fn header_length(input: &mut impl BufRead) -> Result<usize, DecodeErrorKind> {
    let mut start = 0;
    let mut line = Vec::new();
    while input.fill_buf()?.first() == Some(&b'#') {
        line.clear();
        let next = start + input.read_until(b'\n', &mut line)?;
        match &line[..] {
            HEADER_END => return Ok(next),
            b"#!END-HEADER\n" => {
                return Err(DecodeErrorKind::LineBreak { offset: start, line: "#!END-HEADER" });
            }
            [.., b'\n'] => start = next,
            _ => break,
        }
    }
    Err(DecodeErrorKind::HeaderEnd { offset: start, end: "#!END-HEADER" })
}

/// The fields of a packet header that matter here.
struct Packet {
    kind: u16,
    /// The upper bits of its timestamps.
    base: i64,
    capacity: usize,
    /// Bytes behind the header, all in the file.
    body: usize,
}

/// Reads the packet header at `offset` of a file of `length` bytes.
fn packet_at(input: &mut impl BufRead, offset: usize, length: usize) -> Result<Packet, DecodeErrorKind> {
    let Some(left) = (length - offset).checked_sub(PACKET_HEADER) else {
        return Err(DecodeErrorKind::Truncated {
            offset,
            found: length - offset,
            expected: PACKET_HEADER,
            format: Format::Aedat31,
        });
    };
    let mut header = [0; PACKET_HEADER];
    input.read_exact(&mut header)?;
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let kind = u16::from_le_bytes([header[0], header[1]]);
    let (size, overflow, capacity, number, valid) = (word(4), word(12), word(16), word(20), word(24));
    let refuse = |field, found: u32, expected| {
        Err(DecodeErrorKind::Packet { offset, field, found: u64::from(found), expected })
    };
    if kind == POLARITY && size as usize != RECORD {
        return refuse("event size", size, format!("{RECORD} in a polarity packet"));
    }
    if (size as usize) < SMALLEST_EVENT {
        return refuse("event size", size, format!("at least {SMALLEST_EVENT}"));
    }
    if overflow > LAST_OVERFLOW {
        return refuse("timestamp overflow", overflow, format!("at most {LAST_OVERFLOW}"));
    }
    if number > capacity {
        return refuse("number", number, format!("at most the capacity, {capacity}"));
    }
    if valid > number {
        return refuse("valid", valid, format!("at most the number, {number}"));
    }
    let body = u64::from(capacity) * u64::from(size);
    if body > left as u64 {
        let expected = format!("events of {size} bytes that end inside the file, with {left} bytes left");
        return refuse("capacity", capacity, expected);
    }
    let base = i64::from(overflow) << 31;
    Ok(Packet { kind, base, capacity: capacity as usize, body: body as usize })
}

pub(crate) fn encode(events: &Events) -> Result<Vec<u8>, EncodeError> {
    let header = "#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n";
    let mut bytes = Vec::with_capacity(header.len() + events.len() * (RECORD + 1));
    bytes.extend(header.as_bytes());
    let mut first = 0;
    while first < events.len() {
        // A packet ends where the timestamps' upper half changes: its header holds that half for all of it.
        let overflow = events.t[first] >> 31;
        let run = events.t[first..].iter().take(PACKET_EVENTS).take_while(|t| *t >> 31 == overflow).count();
        let Some(overflow) = u32::try_from(overflow).ok().filter(|overflow| *overflow <= LAST_OVERFLOW)
        else {
            let (value, largest) = (events.t[first], ((i64::from(LAST_OVERFLOW) + 1) << 31) - 1);
            return Err(EncodeError::Range {
                index: first,
                field: "t",
                value,
                largest,
                format: Format::Aedat31,
            });
        };
        let count = run as u32;
        bytes.extend(POLARITY.to_le_bytes());
        bytes.extend(1u16.to_le_bytes());
        for word in [RECORD as u32, 4, overflow, count, count, count] {
            bytes.extend(word.to_le_bytes());
        }
        for i in first..first + run {
            let x = fits(i, "x", i64::from(events.x[i]), i64::from(EDGE), Format::Aedat31)?;
            let y = fits(i, "y", i64::from(events.y[i]), i64::from(EDGE), Format::Aedat31)?;
            let data = x << 17 | y << 2 | u32::from(events.on[i]) << 1 | 1;
            bytes.extend(data.to_le_bytes());
            bytes.extend(((events.t[i] & 0x7fff_ffff) as u32).to_le_bytes());
        }
        first += run;
    }
    Ok(bytes)
}
