//! N-MNIST's `.bin` (Orchard et al. 2015): five bytes an event: x, y, then one bit polarity (1 = ON) and 23 bits timestamp
//! in us, big-endian.
//!
//! There is no magic number: any multiple of five bytes is a file. Its coordinates are not checked here against the sensor,
//! since the paper's reader keeps overflow markers (y = 240) as they stand; framing refuses them.

use crate::format::fits;
use crate::{DecodeErrorKind, EncodeError, Events, Format, Notes};

const RECORD: usize = 5;
const OVERFLOW_MARKER_Y: u8 = 240;

pub(crate) fn decode(bytes: &[u8]) -> Result<(Events, Notes), DecodeErrorKind> {
    let (records, rest) = bytes.as_chunks::<RECORD>();
    if !rest.is_empty() {
        return Err(DecodeErrorKind::Truncated {
            offset: bytes.len() - rest.len(),
            found: rest.len(),
            expected: RECORD,
            format: Format::NmnistBin,
        });
    }
    let mut events = Events::with_capacity(records.len());
    let mut notes = Notes::default();
    for [x, y, high, middle, low] in records {
        let t = u32::from_be_bytes([0, high & 0x7f, *middle, *low]);
        events.push(i64::from(t), u16::from(*x), u16::from(*y), high >> 7 == 1);
        notes.overflow_markers += u64::from(*y == OVERFLOW_MARKER_Y);
    }
    Ok((events, notes))
}

pub(crate) fn encode(events: &Events) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::with_capacity(events.len() * RECORD);
    for i in 0..events.len() {
        let x = fits(i, "x", i64::from(events.x[i]), 255, Format::NmnistBin)?;
        let y = fits(i, "y", i64::from(events.y[i]), 255, Format::NmnistBin)?;
        let t = fits(i, "t", events.t[i], (1 << 23) - 1, Format::NmnistBin)?;
        bytes.extend([x as u8, y as u8]);
        bytes.extend(&(t | u32::from(events.on[i]) << 23).to_be_bytes()[1..]);
    }
    Ok(bytes)
}
