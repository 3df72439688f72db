//! Counting events in the cells of a frame, where most of framing's time goes.
//!
//! The cells of a block of events are found first, by the widest vectors of the machine, and counted then. That each is a cell
//! of a frame, and that none of its counts can pass 65535, is known of the block as a whole: neither is asked again of an event.
#![allow(unsafe_code)]

use crate::records::BLOCK;
use crate::simd::{Kernel, Path};
use crate::{Frames, Sensor};

/// At most a block of events, by their places in it. What they say of one must be `#[inline(always)]`, so that it is compiled for the
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

    /// Finds the cells of them all in a frame whose cells begin with `first`, by vectors that are written out for how they lie; whether
    /// each has one. None where no such are there for `path`. Where it says that each has one, they are counted without another check.
    fn find(&self, _path: Path, _first: u32, _cells: &mut [u32]) -> Option<bool> {
        None
    }
}

/// Frames that are being counted, one after another: where a block's events are counted is found first, frame by frame, and then they
/// are counted.
pub(crate) struct Counter {
    path: Path,
    sensor: Sensor,
    time_steps: usize,
    /// Of the frames that events were found in, and of those before them.
    counts: Vec<u16>,
    /// How many more events the last of them takes before any of its counts could pass 65535. It may take more.
    room: usize,
    /// Of a block's events; the first `found` are places in `counts`.
    cells: Box<[u32; BLOCK]>,
    found: usize,
    /// Whether more events were found in a frame than there was room for.
    tight: bool,
}

impl Counter {
    /// No events yet in so many frames.
    pub(crate) fn new(path: Path, sensor: Sensor, time_steps: usize) -> Self {
        let counts = Vec::with_capacity(time_steps * cells_of_frame(sensor));
        Self {
            path,
            sensor,
            time_steps,
            counts,
            room: 0,
            cells: Box::new([0; BLOCK]),
            found: 0,
            tight: false,
        }
    }

    /// Finds the cells of events in `frame`, which is the one that events were found in last or a later one, or says which is the first
    /// that has none: it lies off the sensor or has a flaw. At most a block of them before they are counted.
    pub(crate) fn find(&mut self, frame: usize, pixels: impl Pixels) -> Result<(), usize> {
        assert_eq!(pixels.sensor(), self.sensor);
        let (events, size) = (pixels.len(), cells_of_frame(self.sensor));
        let first = frame * size;
        if self.counts.len() <= first {
            // A frame is cleared just before it is counted in, while it is in the nearest cache.
            self.counts.resize(first + size, 0);
            self.room = usize::from(u16::MAX);
        }
        assert_eq!(self.counts.len(), first + size, "frames are counted one after another");
        if self.room < events {
            let fullest = self.counts[first..].iter().fold(0, |fullest, count| *count.max(&fullest));
            // What was found and is not counted yet may be one cell's.
            self.room = usize::from(u16::MAX - fullest).saturating_sub(self.found);
        }
        self.tight |= self.room < events;
        self.room = self.room.saturating_sub(events);

        let cells = &mut self.cells[self.found..][..events];
        let first = first as u32;
        let lie_in = pixels.find(self.path, first, cells);
        if lie_in.unwrap_or_else(|| self.path.run(Find { pixels, first, cells })) {
            self.found += events;
            return Ok(());
        }
        let off = |at: &usize| lies_off(self.sensor, pixels.pixel(*at)) || pixels.flaw(*at) != 0;
        Err((0..events).find(off).unwrap_or(0))
    }

    /// Counts the events that were found, or says which is the first that is one too many at its pixel.
    pub(crate) fn count(&mut self) -> Result<(), usize> {
        let cells = &self.cells[..std::mem::take(&mut self.found)];
        if std::mem::take(&mut self.tight) {
            for (at, cell) in cells.iter().enumerate() {
                let count = &mut self.counts[*cell as usize];
                *count = count.checked_add(1).ok_or(at)?;
            }
            return Ok(());
        }
        let mut count = |cell: &u32| {
            // SAFETY: where `find`, or the pixels' own, says that all events have cells they are smaller than a frame, behind the start of the
            // frame that the counts then ended with. Nothing has changed them since, and counts do not become fewer.
            let count = unsafe { self.counts.get_unchecked_mut(*cell as usize) };
            *count = count.wrapping_add(1);
        };
        // Four places of the block by turns: a pixel's events come in quick succession, and each would wait for the one before it.
        let quarter = cells.len() / 4;
        let (first, rest) = cells.split_at(quarter);
        let (second, rest) = rest.split_at(quarter);
        let (third, rest) = rest.split_at(quarter);
        let (fourth, rest) = rest.split_at(quarter);
        for (((first, second), third), fourth) in first.iter().zip(second).zip(third).zip(fourth) {
            [first, second, third, fourth].into_iter().for_each(&mut count);
        }
        rest.iter().for_each(count);
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
    first: u32,
    cells: &'a mut [u32],
}

impl<P: Pixels> Kernel for Find<'_, P> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        find(self.pixels, self.first, self.cells)
    }
}

/// A function for its arguments' sake: that what is written lies apart from what is read, the compiler knows of them alone.
#[inline(always)]
fn find(pixels: impl Pixels, first: u32, cells: &mut [u32]) -> bool {
    let sensor = pixels.sensor();
    // Without a way out of the loop, it goes over several events at once.
    let (mut off, mut flaws) = (false, 0);
    for (at, cell) in cells.iter_mut().enumerate() {
        let (x, y, on) = pixels.pixel(at);
        off |= lies_off(sensor, (x, y, on));
        flaws |= pixels.flaw(at);
        // What passes the largest u32 is off the sensor, and not used.
        let row = u32::from(on).wrapping_mul(sensor.height.into()).wrapping_add(y);
        *cell = row.wrapping_mul(sensor.width.into()).wrapping_add(x).wrapping_add(first);
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
                let (here, there) = events.split_at(cut);
                let found = counter.find(first, Listed(here));
                let found = found.and_then(|()| counter.find(first + later, Listed(there)).map_err(|at| cut + at));
                prop_assert_eq!(found.err(), off, "{:?}", path);
                if off.is_some() {
                    continue;
                }
                counter.count().unwrap();
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
        let mut count = |pixel, shares: &[usize]| {
            for events in shares {
                counter.find(1, Listed(&vec![(pixel, false); *events])).unwrap();
            }
            counter.count()
        };
        assert_eq!(count((0, 0, false), &[500]), Ok(()));
        for _ in 0..65 {
            assert_eq!(count((4, 2, true), &[1000]), Ok(()));
        }
        assert_eq!(count((4, 2, true), &[300, 200]), Ok(()));
        // Of these either alone would find room.
        assert_eq!(count((4, 2, true), &[30, 30]), Err(35));
        let mut expected = vec![0; 60];
        (expected[30], expected[59]) = (500, u16::MAX);
        assert_eq!(counter.frames().counts, expected);
    }

    #[test]
    fn a_count_that_is_full_is_seen_with_another_frame_behind_it() {
        let mut counter = Counter::new(Path::fastest(), SENSOR, 2);
        for _ in 0..65 {
            counter.find(0, Listed(&[((0, 0, false), false); 1000])).unwrap();
            counter.count().unwrap();
        }
        counter.find(0, Listed(&[((0, 0, false), false); 536])).unwrap();
        counter.find(1, Listed(&[((0, 0, false), false); 10])).unwrap();
        assert_eq!(counter.count(), Err(535));
    }
}
