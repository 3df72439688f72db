//! AEDAT 3.1, as cAER writes it: header lines up to `#!END-HEADER`, then little-endian packets of a 28-byte header and
//! `capacity * size` bytes of events.
//!
//! Type 1 is polarity: data u32 and timestamp i32, where t = timestamp | overflow << 31, x = data >> 17 & 32767,
//! y = data >> 2 & 32767, polarity = data >> 1 & 1 and validity = data & 1. The paper's reader ignores validity
//! and takes all `capacity` slots of a packet; other types are skipped. A packet of any type must hold
//! valid <= number <= capacity, and no timestamp is below 0: what does not is damaged.

use crate::format::{fits, wrong_start};
use crate::{DecodeErrorKind, EncodeError, Events, Format, Notes, Sensor};

pub(crate) const MAGIC: &str = "#!AER-DAT3.1";
const HEADER_END: &str = "#!END-HEADER\r\n";
const PACKET_HEADER: usize = 28;
const RECORD: usize = 8;
const POLARITY: u16 = 1;
const EDGE: u32 = 127;
/// Bytes of the smallest event of any type: data and timestamp.
const SMALLEST_EVENT: usize = 8;
/// Above it, a timestamp would lie more than 142 years from the clock's start.
const LAST_OVERFLOW: u32 = 1 << 21;
/// Events in a packet that is written.
const PACKET_EVENTS: usize = 8192;

/// The fields of a packet header that matter here.
struct Packet {
    kind: u16,
    size: usize,
    overflow: u32,
    capacity: usize,
}

pub(crate) fn decode(bytes: &[u8]) -> Result<(Events, Notes), DecodeErrorKind> {
    if !bytes.starts_with(MAGIC.as_bytes()) {
        return Err(wrong_start(bytes, Format::Aedat31, MAGIC));
    }
    let mut offset = header_length(bytes)?;
    let mut events = Events::with_capacity((bytes.len() - offset) / RECORD);
    let mut notes = Notes::default();
    while offset < bytes.len() {
        let packet = packet_at(bytes, offset)?;
        let start = offset + PACKET_HEADER;
        let left = bytes.len() - start;
        let Some(body) = packet.capacity.checked_mul(packet.size).filter(|body| *body <= left) else {
            return Err(DecodeErrorKind::Packet {
                offset,
                field: "capacity",
                found: packet.capacity as u64,
                expected: format!(
                    "events of {} bytes that end inside the file, with {left} bytes left",
                    packet.size
                ),
            });
        };
        if packet.kind == POLARITY {
            push_events(&bytes[start..start + body], start, packet.overflow, &mut events, &mut notes)?;
        } else {
            notes.skipped_packets += 1;
        }
        offset = start + body;
    }
    Ok((events, notes))
}

fn header_length(bytes: &[u8]) -> Result<usize, DecodeErrorKind> {
    let mut start = 0;
    while bytes.get(start) == Some(&b'#') {
        let line = bytes[start..].iter().position(|byte| *byte == b'\n');
        let Some(length) = line else { break };
        let next = start + length + 1;
        if &bytes[start..next] == HEADER_END.as_bytes() {
            return Ok(next);
        }
        if &bytes[start..next] == b"#!END-HEADER\n" {
            return Err(DecodeErrorKind::LineBreak { offset: start });
        }
        start = next;
    }
    Err(DecodeErrorKind::HeaderEnd { offset: start, end: "#!END-HEADER" })
}

fn packet_at(bytes: &[u8], offset: usize) -> Result<Packet, DecodeErrorKind> {
    let Some(header) = bytes[offset..].first_chunk::<PACKET_HEADER>() else {
        return Err(DecodeErrorKind::Truncated {
            offset,
            found: bytes.len() - offset,
            expected: PACKET_HEADER,
            format: Format::Aedat31,
        });
    };
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
    Ok(Packet { kind, size: size as usize, overflow, capacity: capacity as usize })
}

fn push_events(
    body: &[u8],
    start: usize,
    overflow: u32,
    events: &mut Events,
    notes: &mut Notes,
) -> Result<(), DecodeErrorKind> {
    let (records, _) = body.as_chunks::<RECORD>();
    for (index, [a, b, c, d, t @ ..]) in records.iter().enumerate() {
        let data = u32::from_le_bytes([*a, *b, *c, *d]);
        let (x, y) = (data >> 17 & 0x7fff, data >> 2 & 0x7fff);
        let offset = start + index * RECORD;
        if x > EDGE || y > EDGE {
            let (x, y) = (x as i32, y as i32);
            return Err(DecodeErrorKind::OffSensor {
                offset,
                x,
                y,
                sensor: Sensor::DVS128,
                format: Format::Aedat31,
            });
        }
        let found = i32::from_le_bytes(*t);
        if found < 0 {
            return Err(DecodeErrorKind::Timestamp { offset, found: found.into() });
        }
        let t = i64::from(found) | i64::from(overflow) << 31;
        events.push(t, x as u16, y as u16, data >> 1 & 1 == 1);
        notes.invalid_events += u64::from(data & 1 == 0);
    }
    Ok(())
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
        let overflow = fits(first, "t", overflow, i64::from(LAST_OVERFLOW), Format::Aedat31)?;
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
