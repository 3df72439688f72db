//! AEDAT 2.0 of a DVS128, as jAER writes it: header lines that begin with `#`, then big-endian pairs of address
//! and timestamp (us), u32 each.
//!
//! An address holds polarity in bit 0 (0 = ON), and the pixel in bits 1-7 and 8-14. The paper's reader turns the picture:
//! x = 127 - (address >> 8 & 127), y = 127 - (address >> 1 & 127). It ignores the bits above, and so does this one, but
//! counts the events that have any: another sensor's, or no events of pixels.

use crate::format::{fits, wrong_start};
use crate::{DecodeErrorKind, EncodeError, Events, Format, Notes};

pub(crate) const MAGIC: &str = "#!AER-DAT2.0";
const RECORD: usize = 8;
const EDGE: u32 = 127;
/// The bits of an address that a DVS128 uses for its pixels and their polarity.
const ADDRESS_BITS: u32 = 15;

pub(crate) fn decode(bytes: &[u8]) -> Result<(Events, Notes), DecodeErrorKind> {
    if !bytes.starts_with(MAGIC.as_bytes()) {
        return Err(wrong_start(bytes, Format::Aedat2, MAGIC));
    }
    let mut start = 0;
    while bytes.get(start) == Some(&b'#') {
        let line = bytes[start..].iter().position(|byte| *byte == b'\n');
        let Some(length) = line else {
            return Err(DecodeErrorKind::HeaderEnd { offset: bytes.len(), end: "a line break" });
        };
        start += length + 1;
    }
    let (records, rest) = bytes[start..].as_chunks::<RECORD>();
    if !rest.is_empty() {
        return Err(DecodeErrorKind::Truncated {
            offset: bytes.len() - rest.len(),
            found: rest.len(),
            expected: RECORD,
            format: Format::Aedat2,
        });
    }
    let mut events = Events::with_capacity(records.len());
    let mut notes = Notes::default();
    for [a, b, c, d, t @ ..] in records {
        let address = u32::from_be_bytes([*a, *b, *c, *d]);
        let x = EDGE - (address >> 8 & EDGE);
        let y = EDGE - (address >> 1 & EDGE);
        events.push(i64::from(u32::from_be_bytes(*t)), x as u16, y as u16, address & 1 == 0);
        notes.high_address_bits += u64::from(address >> ADDRESS_BITS != 0);
    }
    Ok((events, notes))
}

pub(crate) fn encode(events: &Events) -> Result<Vec<u8>, EncodeError> {
    let header = "#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n\
        # Data format is int32 address, int32 timestamp (8 bytes total), repeated for each event\r\n\
        # Timestamps tick is 1 us\r\n";
    let mut bytes = Vec::with_capacity(header.len() + events.len() * RECORD);
    bytes.extend(header.as_bytes());
    for i in 0..events.len() {
        let x = fits(i, "x", i64::from(events.x[i]), i64::from(EDGE), Format::Aedat2)?;
        let y = fits(i, "y", i64::from(events.y[i]), i64::from(EDGE), Format::Aedat2)?;
        let t = fits(i, "t", events.t[i], i64::from(u32::MAX), Format::Aedat2)?;
        let address = (EDGE - x) << 8 | (EDGE - y) << 1 | u32::from(!events.on[i]);
        bytes.extend(address.to_be_bytes());
        bytes.extend(t.to_be_bytes());
    }
    Ok(bytes)
}
