//! AEDAT 2.0 of a DVS128, as jAER writes it: header lines that begin with `#`, then big-endian pairs of address
//! and timestamp (us), u32 each.
//!
//! An address holds polarity in bit 0 (0 = ON), and the pixel in bits 1-7 and 8-14. The paper's reader turns the picture:
//! x = 127 - (address >> 8 & 127), y = 127 - (address >> 1 & 127). It ignores the bits above (15 to 31), and so does this one, but
//! counts the events that have any: another sensor's, or no events of pixels.

use std::io::{BufRead, Seek};

use crate::format::{fits, starts};
use crate::records::{Event, Records, Runs};
use crate::{DecodeErrorKind, EncodeError, Events, Format, Notes, Sensor};

pub(crate) const MAGIC: &str = "#!AER-DAT2.0";
/// Bytes of a record.
pub(crate) const RECORD: usize = 8;
const EDGE: u32 = 127;

/// The records of AEDAT 2.0.
pub(crate) struct Aedat2;

impl Records<RECORD> for Aedat2 {
    const SENSOR: Sensor = Sensor::DVS128;

    fn runs(input: &mut (impl BufRead + Seek), length: usize) -> Result<Runs, DecodeErrorKind> {
        starts(input, Format::Aedat2, MAGIC)?;
        let mut start = 0;
        let mut line = Vec::new();
        while input.fill_buf()?.first() == Some(&b'#') {
            line.clear();
            start += input.read_until(b'\n', &mut line)?;
            if !line.ends_with(b"\n") {
                return Err(DecodeErrorKind::HeaderEnd { offset: start, end: "a line break" });
            }
        }
        Runs::rest(start, length, RECORD).map_err(|found| DecodeErrorKind::Truncated {
            offset: length - found,
            found,
            expected: RECORD,
            format: Format::Aedat2,
        })
    }

    #[inline(always)]
    fn event(record: &[u8; RECORD], _base: i64) -> Event {
        let word = u64::from_be_bytes(*record);
        let pixel = |at: u32| EDGE - ((word >> at) as u32 & EDGE);
        Event { t: i64::from(word as u32), x: pixel(40), y: pixel(33), on: word >> 32 & 1 == 0 }
    }

    fn note(records: &[[u8; RECORD]], notes: &mut Notes) {
        let high = records.iter().filter(|[a, b, c, ..]| *a != 0 || *b != 0 || *c > 0x7f);
        notes.high_address_bits += high.count() as u64;
    }
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
