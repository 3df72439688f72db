//! Counting events in the cells of a frame, where most of framing's time goes.
//!
//! The cells of a block of events are found first, by the widest vectors of the machine, and counted then. That each is a cell
//! of the frame, and that none of its counts can pass 65535, is known of the block as a whole: neither is asked again of an
//! event.
#![allow(unsafe_code)]

use std::ops::Range;

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

/// Frames that are being counted, one after another: a block's cells are found, and then counted in one frame or several.
pub(crate) struct Counter {
    path: Path,
    sensor: Sensor,
    time_steps: usize,
    /// Of the frames that were counted in, and of those before them.
    counts: Vec<u16>,
    /// How many events the last of them takes before any of its counts could pass 65535. It may take more.
    room: usize,
    /// Of the events of a block; the first `found` of them are cells of a frame of the sensor.
    cells: [u32; BLOCK],
    found: usize,
}

impl Counter {
    /// No events yet in so many frames.
    pub(crate) fn new(path: Path, sensor: Sensor, time_steps: usize) -> Self {
        let counts = Vec::with_capacity(time_steps * cells_of_frame(sensor));
        Self { path, sensor, time_steps, counts, room: 0, cells: [0; BLOCK], found: 0 }
    }

    /// Finds the cells of a block of events, or says which is the first that has none: it lies off the sensor or has a flaw.
    pub(crate) fn find(&mut self, pixels: impl Pixels) -> Result<(), usize> {
        assert_eq!(pixels.sensor(), self.sensor);
        let cells = &mut self.cells[..pixels.len()];
        if self.path.run(Find { pixels, cells }) {
            self.found = pixels.len();
            return Ok(());
        }
        self.found = 0;
        let off = |at: &usize| lies_off(self.sensor, pixels.pixel(*at)) || pixels.flaw(*at) != 0;
        Err((0..pixels.len()).find(off).unwrap_or(0))
    }

    /// Counts some events of the block that was found last in `frame`, which is the one counted in last or a later one, or
    /// says which is the first that is one too many at its pixel.
    pub(crate) fn count(&mut self, frame: usize, events: Range<usize>) -> Result<(), usize> {
        let (start, size) = (events.start, cells_of_frame(self.sensor));
        let cells = &self.cells[..self.found][events];
        if self.counts.len() <= frame * size {
            // A frame is cleared just before it is counted in, while it is in the nearest cache.
            self.counts.resize((frame + 1) * size, 0);
            self.room = usize::from(u16::MAX);
        }
        let counts = &mut self.counts[frame * size..][..size];
        if self.room < cells.len() {
            let fullest = counts.iter().fold(0, |fullest, count| *count.max(&fullest));
            self.room = usize::from(u16::MAX - fullest);
        }
        if self.room < cells.len() {
            self.room = 0;
            for (at, cell) in cells.iter().enumerate() {
                let count = &mut counts[*cell as usize];
                *count = count.checked_add(1).ok_or(start + at)?;
            }
            return Ok(());
        }
        self.room -= cells.len();
        for cell in cells {
            // SAFETY: `find` found these cells and nothing has changed them since: they are of a frame of the sensor, and the
            // counts are those of such a frame.
            let count = unsafe { counts.get_unchecked_mut(*cell as usize) };
            *count = count.wrapping_add(1);
        }
        Ok(())
    }

    pub(crate) fn frames(mut self) -> Frames {
        self.counts.resize(self.time_steps * cells_of_frame(self.sensor), 0);
        let (height, width) = (self.sensor.height.into(), self.sensor.width.into());
        Frames { time_steps: self.time_steps, height, width, counts: self.counts }
    }
}

/// Counts in a frame: two polarities of all pixels.
fn cells_of_frame(sensor: Sensor) -> usize {
    2 * usize::from(sensor.width) * usize::from(sensor.height)
}

#[inline(always)]
fn lies_off(sensor: Sensor, (x, y, _): (u32, u32, bool)) -> bool {
    (x >= sensor.width.into()) | (y >= sensor.height.into())
}

/// Finds the cells of as many events. Whether each has one, lying on the sensor and having no flaw.
struct Find<'a, P> {
    pixels: P,
    cells: &'a mut [u32],
}

impl<P: Pixels> Kernel for Find<'_, P> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        find(self.pixels, self.cells)
    }
}

/// A function for its arguments' sake: that what is written lies apart from what is read, the compiler knows of them alone.
#[inline(always)]
fn find(pixels: impl Pixels, cells: &mut [u32]) -> bool {
    let sensor = pixels.sensor();
    // Without a way out of the loop, it goes over several events at once.
    let (mut off, mut flaws) = (false, 0);
    for (at, cell) in cells.iter_mut().enumerate() {
        let (x, y, on) = pixels.pixel(at);
        off |= lies_off(sensor, (x, y, on));
        flaws |= pixels.flaw(at);
        // What passes the largest u32 is off the sensor, and not used.
        let row = u32::from(on).wrapping_mul(sensor.height.into()).wrapping_add(y);
        *cell = row.wrapping_mul(sensor.width.into()).wrapping_add(x);
    }
    !off && flaws == 0
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
        fn every_path_counts_each_event_in_its_cell(
            events in prop::collection::vec(((0u32..5, 0u32..3, any::<bool>()), Just(false)), 1..300),
            odd in prop::option::of((any::<prop::sample::Index>(), any::<u32>(), any::<u32>(), any::<bool>())),
            cut in any::<prop::sample::Index>(), first in 0usize..3, later in 0usize..3,
        ) {
            let mut events = events;
            if let Some((place, x, y, flaw)) = odd {
                *place.get_mut(&mut events) = ((x, y, true), flaw);
            }
            let off = events.iter().position(|((x, y, _), flaw)| *x >= 5 || *y >= 3 || *flaw);
            let cut = cut.index(events.len());
            for path in Path::available() {
                let mut counter = Counter::new(path, SENSOR, 6);
                let found = counter.find(Listed(&events));
                prop_assert_eq!(found.err(), off, "{:?}", path);
                if off.is_some() {
                    continue;
                }
                counter.count(first, 0..cut).unwrap();
                counter.count(first + later, cut..events.len()).unwrap();
                let mut expected = vec![0; 6 * 30];
                for (at, ((x, y, on), _)) in events.iter().enumerate() {
                    let frame = if at < cut { first } else { first + later };
                    expected[((frame * 2 + usize::from(*on)) * 3 + *y as usize) * 5 + *x as usize] += 1;
                }
                prop_assert_eq!(counter.frames().counts, expected, "{:?}", path);
            }
        }
    }

    #[test]
    fn a_count_reaches_65535_and_no_more() {
        let mut counter = Counter::new(Path::fastest(), SENSOR, 2);
        counter.find(Listed(&[((0, 0, false), false); 500])).unwrap();
        counter.count(1, 0..500).unwrap();
        counter.find(Listed(&[((4, 2, true), false); 1000])).unwrap();
        for _ in 0..65 {
            assert_eq!(counter.count(1, 0..1000), Ok(()));
        }
        assert_eq!(counter.count(1, 100..600), Ok(()));
        assert_eq!(counter.count(1, 200..300), Err(235));
        let mut expected = vec![0; 60];
        (expected[30], expected[59]) = (500, u16::MAX);
        assert_eq!(counter.frames().counts, expected);
    }
}
