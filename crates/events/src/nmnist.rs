//! N-MNIST's `.bin` (Orchard et al. 2015): five bytes an event: x, y, then one bit polarity (1 = ON) and 23 bits timestamp
//! in us, big-endian.
//!
//! There is no magic number: any multiple of five bytes is a file. Its coordinates are not checked here against the sensor,
//! since the paper's reader keeps overflow markers (y = 240) as they stand; framing refuses them.

#[cfg(target_arch = "x86_64")]
mod avx512;

use std::io::{BufRead, Seek};

use crate::format::fits;
use crate::records::{Event, Records, Runs};
#[cfg(target_arch = "x86_64")]
use crate::simd::Path;
use crate::{DecodeErrorKind, EncodeError, Events, Format, Notes, Sensor};

/// Bytes of a record.
pub(crate) const RECORD: usize = 5;
const OVERFLOW_MARKER_Y: u8 = 240;

/// N-MNIST's records.
pub(crate) struct Nmnist;

impl Records<RECORD> for Nmnist {
    const SENSOR: Sensor = Sensor::NMNIST;

    fn runs(_input: &mut (impl BufRead + Seek), length: usize) -> Result<Runs, DecodeErrorKind> {
        Runs::rest(0, length, RECORD).map_err(|found| DecodeErrorKind::Truncated {
            offset: length - found,
            found,
            expected: RECORD,
            format: Format::NmnistBin,
        })
    }

    #[inline(always)]
    fn event([x, y, high, middle, low]: &[u8; RECORD], _base: i64) -> Event {
        let t = u32::from_be_bytes([0, high & 0x7f, *middle, *low]);
        Event { t: i64::from(t), x: u32::from(*x), y: u32::from(*y), on: high >> 7 == 1 }
    }

    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    fn find(path: Path, records: &[[u8; RECORD]], first: u32, cells: &mut [u32]) -> Option<bool> {
        // SAFETY: the path has the features.
        path.has_avx512().then(|| unsafe { avx512::find(records, first, cells) })
    }

    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    fn in_order(path: Path, records: &[[u8; RECORD]]) -> Option<bool> {
        // SAFETY: the path has the features.
        path.has_avx512().then(|| unsafe { avx512::in_order(records) })
    }

    fn note(records: &[[u8; RECORD]], notes: &mut Notes) {
        let markers = records.iter().filter(|[_, y, ..]| *y == OVERFLOW_MARKER_Y);
        notes.overflow_markers += markers.count() as u64;
    }
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
