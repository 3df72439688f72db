//! Formats of records of one size: where they lie in a file, and what each says. A file is decoded by [`decode`] as a whole, or
//! framed by [`crate::frame_stream`] as it is read.

use std::io::{BufRead, Cursor, Seek};
use std::ops::Range;

use crate::simd::Path;
use crate::{DecodeErrorKind, Events, Notes, Sensor};

/// Records in a block, what is done with them in turn finding them in the nearest cache.
pub(crate) const BLOCK: usize = 1024;

/// A format of records of `SIZE` bytes.
pub(crate) trait Records<const SIZE: usize> {
    /// The sensor that recordings come from.
    const SENSOR: Sensor;

    /// Where the records lie in a file of `length` bytes, which is read from its start.
    fn runs(input: &mut (impl BufRead + Seek), length: usize) -> Result<Runs, DecodeErrorKind>;

    /// The event of a record that has no flaw; `base` is its run's. It does nothing that could panic: what is not used of it then costs nothing.
    /// Like [`Records::flaw`] it is `#[inline(always)]`, for [`crate::counting`].
    fn event(record: &[u8; SIZE], base: i64) -> Event;

    /// Not 0 if a record cannot be one.
    #[inline(always)]
    fn flaw(_record: &[u8; SIZE]) -> u64 {
        0
    }

    /// Finds the cells of these records in a frame whose cells begin with `first` ([`crate::counting`]), by vectors that are written out
    /// for the format; whether each lies on the sensor and has no flaw. None where no such are there for `path`.
    fn find(_path: Path, _records: &[[u8; SIZE]], _first: u32, _cells: &mut [u32]) -> Option<bool> {
        None
    }

    /// Whether none of these records is earlier than the one before it. None as of [`Records::find`].
    fn in_order(_path: Path, _records: &[[u8; SIZE]]) -> Option<bool> {
        None
    }

    /// What is wrong with the first of these records that has a flaw; `offset` is where they lie in the file.
    fn fault(_records: &[[u8; SIZE]], _offset: usize) -> Option<DecodeErrorKind> {
        None
    }

    /// Counts what is worth a note in these records.
    fn note(_records: &[[u8; SIZE]], _notes: &mut Notes) {}
}

/// One event; the fields are those of [`Events`], x and y at most 65535. They are u32, which counting needs, and which vectors
/// need not be packed into.
pub(crate) struct Event {
    pub(crate) t: i64,
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) on: bool,
}

/// Where a file's records lie, in file order.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    pub(crate) runs: Vec<Run>,
    /// Packets of other types.
    pub(crate) skipped_packets: u64,
}

/// Records one behind the other.
#[derive(Debug)]
pub(crate) struct Run {
    /// Where they begin in the file.
    pub(crate) offset: usize,
    /// How many they are.
    pub(crate) events: usize,
    /// The upper bits of their timestamps, where the format keeps those elsewhere; else 0.
    pub(crate) base: i64,
}

impl Runs {
    /// All that is left of a file from `offset` on, if it is whole records.
    pub(crate) fn rest(offset: usize, length: usize, size: usize) -> Result<Self, usize> {
        let bytes = length - offset;
        match bytes % size {
            0 => {
                let run = Run { offset, events: bytes / size, base: 0 };
                Ok(Self { runs: vec![run], skipped_packets: 0 })
            }
            found => Err(found),
        }
    }
}

/// All events of a file, and what was noticed. `R::runs` has made sure that the runs lie in the file.
pub(crate) fn decode<R: Records<SIZE>, const SIZE: usize>(
    bytes: &[u8],
) -> Result<(Events, Notes, Sensor), DecodeErrorKind> {
    let Runs { runs, skipped_packets } = R::runs(&mut Cursor::new(bytes), bytes.len())?;
    let mut events = Events::zeros(runs.iter().map(|run| run.events).sum());
    let mut notes = Notes { skipped_packets, ..Notes::default() };
    let mut row = 0;
    for run in runs {
        let (records, _) = bytes[run.offset..][..run.events * SIZE].as_chunks();
        for (index, block) in records.chunks(BLOCK).enumerate() {
            if let Some(fault) = R::fault(block, run.offset + index * BLOCK * SIZE) {
                return Err(fault);
            }
            R::note(block, &mut notes);
            let rows = row..row + block.len();
            row = rows.end;
            let Events { t, x, y, on } = &mut events;
            let columns = t[rows.clone()]
                .iter_mut()
                .zip(&mut x[rows.clone()])
                .zip(&mut y[rows.clone()])
                .zip(&mut on[rows.clone()]);
            for (record, (((t, x), y), on)) in block.iter().zip(columns) {
                let event = R::event(record, run.base);
                (*t, *x, *y, *on) = (event.t, event.x as u16, event.y as u16, event.on);
            }
            notes.see(&events, rows, R::SENSOR);
        }
    }
    Ok((events, notes, R::SENSOR))
}

impl Notes {
    /// Counts what can be seen of the events themselves, in these rows.
    pub(crate) fn see(&mut self, events: &Events, rows: Range<usize>, sensor: Sensor) {
        let t = &events.t[rows.start.saturating_sub(1)..rows.end];
        self.steps_back += t.windows(2).filter(|pair| pair[1] < pair[0]).count() as u64;
        let pixels = events.x[rows.clone()].iter().zip(&events.y[rows]);
        self.off_sensor += pixels.filter(|(x, y)| **x >= sensor.width || **y >= sensor.height).count() as u64;
    }
}
