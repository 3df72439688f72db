//! Counting events in the cells of a frame, where most of framing's time goes.
//!
//! The cells of a block of events are found first, by the widest vectors of the machine, and counted then. That each is a cell
//! of the frame, and that none of its counts can pass 65535, is known of the block as a whole: neither is asked again of an
//! event.
#![allow(unsafe_code)]

use crate::records::BLOCK;
use crate::simd::{Kernel, Path};
use crate::{Frames, Sensor};

/// At most a block of events, by their places in it. What they say must be `#[inline(always)]`, so that it is compiled for the
/// instructions that count them.
pub(crate) trait Pixels: Copy {
    /// Whose pixels they are.
    fn sensor(&self) -> Sensor;

    /// How many events.
    fn len(&self) -> usize;

    /// x, y and whether it is ON.
    fn pixel(&self, at: usize) -> (u32, u32, bool);

    /// Not 0 if it cannot be an event, wherever it lies.
    fn flaw(&self, _at: usize) -> u64 {
        0
    }
}

/// Why an event was not counted; the place is its in the block, whose events before it were.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Uncounted {
    /// It has a flaw or lies off the sensor.
    Off(usize),
    /// There would be one too many at its pixel.
    Full(usize),
}

/// Frames that are being counted, one after another.
pub(crate) struct Counter {
    path: Path,
    frames: Frames,
    /// How many events the last frame takes before any of its counts could pass 65535. It may take more.
    room: usize,
    /// Of the events of a block.
    cells: [u32; BLOCK],
}

impl Counter {
    /// No events yet in so many frames.
    pub(crate) fn new(path: Path, sensor: Sensor, time_steps: usize) -> Self {
        let (height, width) = (usize::from(sensor.height), usize::from(sensor.width));
        let counts = Vec::with_capacity(time_steps * cells_of_frame(sensor));
        Self { path, frames: Frames { time_steps, height, width, counts }, room: 0, cells: [0; BLOCK] }
    }

    /// Counts events in `frame`, which is the one counted in last or a later one.
    pub(crate) fn count(&mut self, frame: usize, pixels: impl Pixels) -> Result<(), Uncounted> {
        let (size, len) = (cells_of_frame(pixels.sensor()), pixels.len());
        if self.frames.counts.len() <= frame * size {
            // A frame is cleared just before it is counted in, while it is in the nearest cache.
            self.frames.counts.resize((frame + 1) * size, 0);
            self.room = usize::from(u16::MAX);
        }
        let counts = &mut self.frames.counts[frame * size..];
        if self.room < len {
            let fullest = counts.iter().fold(0, |fullest, count| *count.max(&fullest));
            self.room = usize::from(u16::MAX - fullest);
        }
        let cells = &mut self.cells;
        if self.room >= len && self.path.run(Count { pixels, cells, counts: &mut *counts }) {
            self.room -= len;
            return Ok(());
        }
        self.room = 0;
        one_by_one(pixels, counts)
    }

    pub(crate) fn frames(mut self) -> Frames {
        let Frames { time_steps, height, width, counts } = &mut self.frames;
        counts.resize(*time_steps * 2 * *height * *width, 0);
        self.frames
    }
}

/// Counts in a frame: two polarities of all pixels.
fn cells_of_frame(sensor: Sensor) -> usize {
    2 * usize::from(sensor.width) * usize::from(sensor.height)
}

/// The cell of an event on the sensor; whatever fits, of one that is not.
#[inline(always)]
fn cell(sensor: Sensor, (x, y, on): (u32, u32, bool)) -> u32 {
    let row = u32::from(on).wrapping_mul(sensor.height.into()).wrapping_add(y);
    row.wrapping_mul(sensor.width.into()).wrapping_add(x)
}

#[inline(always)]
fn lies_off(sensor: Sensor, (x, y, _): (u32, u32, bool)) -> bool {
    (x >= sensor.width.into()) | (y >= sensor.height.into())
}

/// Counts the events of a block, if all lie on the sensor and none has a flaw; else none, and says so. The counts take them all.
struct Count<'a, P> {
    pixels: P,
    cells: &'a mut [u32; BLOCK],
    counts: &'a mut [u16],
}

impl<P: Pixels> Kernel for Count<'_, P> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        let Self { pixels, cells, counts } = self;
        let cells = &mut cells[..pixels.len()];
        let all = find(pixels, cells);
        if all {
            assert!(counts.len() == cells_of_frame(pixels.sensor()) && u32::try_from(counts.len()).is_ok());
            for place in cells {
                // SAFETY: all lie on the sensor, so that each cell is one of the frame's, which are as many as the counts and
                // fit u32.
                let count = unsafe { counts.get_unchecked_mut(*place as usize) };
                *count = count.wrapping_add(1);
            }
        }
        all
    }
}

/// The cells of as many events; whether all lie on the sensor and none has a flaw.
#[inline(always)]
fn find(pixels: impl Pixels, cells: &mut [u32]) -> bool {
    let sensor = pixels.sensor();
    // Without a way out of the loop, it goes over several events at once.
    let (mut off, mut flaws) = (false, 0);
    for (at, place) in cells.iter_mut().enumerate() {
        let pixel = pixels.pixel(at);
        off |= lies_off(sensor, pixel);
        flaws |= pixels.flaw(at);
        *place = cell(sensor, pixel);
    }
    !off && flaws == 0
}

/// The same, event by event, as far as it goes.
fn one_by_one(pixels: impl Pixels, counts: &mut [u16]) -> Result<(), Uncounted> {
    let sensor = pixels.sensor();
    for at in 0..pixels.len() {
        let pixel = pixels.pixel(at);
        if lies_off(sensor, pixel) || pixels.flaw(at) != 0 {
            return Err(Uncounted::Off(at));
        }
        let count = &mut counts[cell(sensor, pixel) as usize];
        *count = count.checked_add(1).ok_or(Uncounted::Full(at))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SENSOR: Sensor = Sensor { width: 5, height: 3 };

    /// Pixels, and whether each has a flaw.
    #[derive(Clone, Copy)]
    struct Listed<'a>(&'a [((u32, u32, bool), bool)]);

    impl Pixels for Listed<'_> {
        #[inline(always)]
        fn sensor(&self) -> Sensor {
            SENSOR
        }

        #[inline(always)]
        fn len(&self) -> usize {
            self.0.len()
        }

        #[inline(always)]
        fn pixel(&self, at: usize) -> (u32, u32, bool) {
            self.0[at].0
        }

        #[inline(always)]
        fn flaw(&self, at: usize) -> u64 {
            u64::from(self.0[at].1) << 40
        }
    }

    proptest! {
        #[test]
        fn every_path_counts_as_one_by_one(
            blocks in prop::collection::vec(
                (0usize..2, prop::collection::vec(((0u32..5, 0u32..3, any::<bool>()), Just(false)), 0..200)), 1..6),
            odd in prop::option::of((
                any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u32>(), any::<u32>(), any::<bool>())),
        ) {
            let mut blocks = blocks;
            if let Some((block, place, x, y, flaw)) = odd {
                let (_, events) = block.get_mut(&mut blocks);
                if !events.is_empty() {
                    *place.get_mut(events) = ((x, y, true), flaw);
                }
            }
            for path in Path::available() {
                let mut counter = Counter::new(path, SENSOR, 12);
                let mut expected = vec![0; 12 * 30];
                let mut frame = 0;
                for (on, events) in &blocks {
                    frame += on;
                    let block = Listed(events);
                    let twin = one_by_one(block, &mut expected[frame * 30..][..30]);
                    let found = counter.count(frame, block);
                    prop_assert_eq!(&found, &twin, "{:?}", path);
                    if found.is_err() {
                        break;
                    }
                }
                prop_assert_eq!(counter.frames().counts, &expected[..], "{:?}", path);
            }
        }
    }

    #[test]
    fn a_count_reaches_65535_and_no_more() {
        let (corner, first) = ([((4, 2, true), false); BLOCK], [((0, 0, false), false); BLOCK]);
        for path in Path::available() {
            let mut counter = Counter::new(path, SENSOR, 2);
            for _ in 0..63 {
                assert_eq!(counter.count(1, Listed(&corner)), Ok(()));
            }
            assert_eq!(counter.count(1, Listed(&first)), Ok(()));
            assert_eq!(counter.count(1, Listed(&corner[..1000])), Ok(()));
            assert_eq!(counter.count(1, Listed(&corner[..24])), Err(Uncounted::Full(23)), "{path:?}");
            let mut expected = vec![0; 60];
            (expected[30], expected[59]) = (1024, u16::MAX);
            assert_eq!(counter.frames().counts, expected, "{path:?}");
        }
    }
}
