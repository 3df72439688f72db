//! Framing a file as it is read, with neither the file nor its events in memory.

use std::io::{BufRead, Seek};
use std::marker::PhantomData;

use crate::aedat2::Aedat2;
use crate::aedat31::Aedat31;
use crate::counting::{Counter, Pixels};
use crate::framing::most_frames;
use crate::nmnist::Nmnist;
use crate::records::{BLOCK, Event, Records, Run};
use crate::simd::{Kernel, Path};
use crate::{DecodeErrorKind, Format, Frames, Framing, Sensor, aedat2, aedat31, nmnist};

/// Frames a whole recording as [`crate::decode`] and [`crate::frame`] would, on the format's sensor, in the memory of the frames
/// and a block of events.
///
/// `input` is at the start of its `length` bytes. None where only those two will do: AEDAT 4, whose packets are compressed;
/// [`Framing::Windows`], which leaves events out; timestamps that step back, unless framed by number; and whatever is wrong with
/// the recording or cannot be framed, which their errors name.
///
/// # Errors
/// That of reading.
pub fn frame_stream(
    input: &mut (impl BufRead + Seek),
    length: u64,
    format: Format,
    framing: Framing,
) -> std::io::Result<Option<Frames>> {
    // One kind of input: what counts is then compiled in this crate, as its profile says, and not in whoever calls.
    let input: &mut dyn Input = input;
    let framed = match format {
        Format::NmnistBin => stream::<Nmnist, { nmnist::RECORD }>(input, length, framing),
        Format::Aedat2 => stream::<Aedat2, { aedat2::RECORD }>(input, length, framing),
        Format::Aedat31 => stream::<Aedat31, { aedat31::RECORD }>(input, length, framing),
        Format::Aedat4 => return Ok(None),
    };
    match framed {
        Ok(frames) => Ok(Some(frames)),
        Err(Unfit::Io(error)) => Err(error),
        Err(Unfit::Other) => Ok(None),
    }
}

/// Why a recording is not framed here.
enum Unfit {
    Io(std::io::Error),
    Other,
}

impl From<std::io::Error> for Unfit {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<DecodeErrorKind> for Unfit {
    fn from(error: DecodeErrorKind) -> Self {
        match error {
            DecodeErrorKind::Io(error) => Self::Io(error),
            _ => Self::Other,
        }
    }
}

trait Input: BufRead + Seek {}

impl<I: BufRead + Seek> Input for I {}

fn stream<R: Records<SIZE>, const SIZE: usize>(
    mut input: &mut dyn Input,
    length: u64,
    framing: Framing,
) -> Result<Frames, Unfit> {
    let runs = R::runs(&mut input, usize::try_from(length).map_err(|_| Unfit::Other)?)?.runs;
    let mut input = Placed { at: input.stream_position()?, input };
    let mut shares = Shares::new::<R, SIZE>(&mut input, &runs, framing)?;
    let path = Path::fastest();
    let mut counter = Counter::new(path, R::SENSOR, shares.frames);
    for run in &runs {
        input.go(run.offset)?;
        for_blocks(&mut input, run.events, |records: &[[u8; SIZE]]| {
            let block = Block::<R, SIZE> { records, base: run.base, format: PhantomData };
            if !shares.in_order(path, block) {
                return Err(Unfit::Other);
            }
            let mut left = records;
            while !left.is_empty() {
                let (frame, here) = shares.next(left, |record| block.t(record));
                let (records, behind) = left.split_at(here);
                counter.find(frame, Block { records, ..block }).map_err(|_| Unfit::Other)?;
                left = behind;
            }
            counter.count().map_err(|_| Unfit::Other)
        })?;
    }
    Ok(counter.frames())
}

/// The events of a block, as the records of a format.
struct Block<'a, R, const SIZE: usize> {
    records: &'a [[u8; SIZE]],
    base: i64,
    format: PhantomData<R>,
}

impl<R, const SIZE: usize> Clone for Block<'_, R, SIZE> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R, const SIZE: usize> Copy for Block<'_, R, SIZE> {}

impl<R: Records<SIZE>, const SIZE: usize> Block<'_, R, SIZE> {
    #[inline(always)]
    fn t(&self, record: &[u8; SIZE]) -> i64 {
        R::event(record, self.base).t
    }
}

impl<R: Records<SIZE>, const SIZE: usize> Pixels for Block<'_, R, SIZE> {
    #[inline(always)]
    fn sensor(&self) -> Sensor {
        R::SENSOR
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.records.len()
    }

    #[inline(always)]
    fn pixel(&self, at: usize) -> (u32, u32, bool) {
        let Event { x, y, on, .. } = R::event(&self.records[at], self.base);
        (x, y, on)
    }

    #[inline(always)]
    fn flaw(&self, at: usize) -> u64 {
        R::flaw(&self.records[at])
    }

    fn find(&self, path: Path, first: u32, cells: &mut [u32]) -> Option<bool> {
        R::find(path, self.records, first, cells)
    }
}

/// Whether no event of a block is earlier than the one before it.
struct InOrder<'a, R, const SIZE: usize>(Block<'a, R, SIZE>);

impl<R: Records<SIZE>, const SIZE: usize> Kernel for InOrder<'_, R, SIZE> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        let Self(block) = self;
        // Without a way out of the loop, it goes over several events at once.
        let mut steps_back = false;
        for [before, after] in block.records.array_windows() {
            steps_back |= block.t(after) < block.t(before);
        }
        !steps_back
    }
}

/// An input that knows where it is, so that it goes to a place that is buffered without reading again.
struct Placed<'a> {
    at: u64,
    input: &'a mut dyn Input,
}

impl Placed<'_> {
    fn go(&mut self, to: usize) -> std::io::Result<()> {
        self.input.seek_relative(to as i64 - self.at as i64)?;
        self.at = to as u64;
        Ok(())
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> std::io::Result<()> {
        self.input.read_exact(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn consume(&mut self, bytes: usize) {
        self.input.consume(bytes);
        self.at += bytes as u64;
    }
}

/// Hands on the next `events` records, at most a block of them at a time.
fn for_blocks<const SIZE: usize>(
    input: &mut Placed<'_>,
    mut events: usize,
    mut f: impl FnMut(&[[u8; SIZE]]) -> Result<(), Unfit>,
) -> Result<(), Unfit> {
    while events > 0 {
        let (buffered, _) = input.input.fill_buf()?.as_chunks();
        let here = &buffered[..buffered.len().min(events)];
        if here.is_empty() {
            // It lies across the end of what is buffered.
            let mut record = [0; SIZE];
            input.read_exact(&mut record)?;
            f(&[record])?;
            events -= 1;
            continue;
        }
        here.chunks(BLOCK).try_for_each(&mut f)?;
        let here = here.len();
        input.consume(here * SIZE);
        events -= here;
    }
    Ok(())
}

/// How events are shared out over frames, in file order.
struct Shares {
    rule: Rule,
    frames: usize,
    /// The frame of the next event.
    frame: usize,
}

enum Rule {
    /// A frame holds `share` events, of which `left` are to come in this one.
    Number { share: usize, left: usize },
    /// A frame ends before `first + step * (frame + 1)` us; the last timestamp was `before`.
    Time { first: i64, step: i64, before: i64 },
}

impl Shares {
    fn new<R: Records<SIZE>, const SIZE: usize>(
        input: &mut Placed<'_>,
        runs: &[Run],
        framing: Framing,
    ) -> Result<Self, Unfit> {
        let mut of_events = runs.iter().filter(|run| run.events > 0);
        let start = of_events.next().ok_or(Unfit::Other)?;
        let end = of_events.next_back().unwrap_or(start);
        let mut t = |run: &Run, index: usize| {
            input.go(run.offset + index * SIZE)?;
            let mut record = [0; SIZE];
            input.read_exact(&mut record)?;
            Ok::<_, Unfit>(R::event(&record, run.base).t)
        };
        let mut first_and_duration = || {
            let first = t(start, 0)?;
            let duration = t(end, end.events - 1)?.saturating_sub(first);
            // What its clock's stepping back means is said by `frame`.
            if duration < 0 { Err(Unfit::Other) } else { Ok((first, duration)) }
        };
        let (rule, frames) = match framing {
            Framing::ByNumber { frames: 0 } | Framing::ByTime { frames: 0 } => return Err(Unfit::Other),
            Framing::ByDuration { us } if us <= 0 => return Err(Unfit::Other),
            Framing::Windows { .. } => return Err(Unfit::Other),
            Framing::ByNumber { frames } => {
                let share = runs.iter().map(|run| run.events).sum::<usize>() / frames;
                (Rule::Number { share, left: share }, frames)
            }
            Framing::ByTime { frames } => {
                let (first, duration) = first_and_duration()?;
                let step = duration / i64::try_from(frames).unwrap_or(i64::MAX);
                (Rule::Time { first, step, before: i64::MIN }, frames)
            }
            Framing::ByDuration { us } => {
                let (first, duration) = first_and_duration()?;
                let frames = usize::try_from(duration / us).unwrap_or(usize::MAX).saturating_add(1);
                (Rule::Time { first, step: us, before: i64::MIN }, frames)
            }
        };
        if frames > most_frames(R::SENSOR) {
            return Err(Unfit::Other);
        }
        Ok(Self { rule, frames, frame: 0 })
    }

    /// Whether the next events come late enough for the rule to share them out one after another.
    fn in_order<R: Records<SIZE>, const SIZE: usize>(
        &mut self,
        path: Path,
        block: Block<'_, R, SIZE>,
    ) -> bool {
        let Rule::Time { before, .. } = &mut self.rule else { return true };
        let (Some(first), Some(last)) = (block.records.first(), block.records.last()) else { return true };
        let sorted = block.t(first) >= *before
            && R::in_order(path, block.records).unwrap_or_else(|| path.run(InOrder(block)));
        *before = block.t(last);
        sorted
    }

    /// The frame of the next event, and how many of the next ones belong to it; none if it is empty.
    fn next<T>(&mut self, block: &[T], t: impl Fn(&T) -> i64) -> (usize, usize) {
        let frame = self.frame;
        if frame + 1 == self.frames {
            return (frame, block.len());
        }
        let here = match &mut self.rule {
            Rule::Number { share, left } => {
                let here = block.len().min(*left);
                *left = if here < block.len() { *share } else { *left - here };
                here
            }
            Rule::Time { first, step, .. } => {
                let start = first.saturating_add(step.saturating_mul(frame as i64));
                let end = start.saturating_add(*step);
                block.partition_point(|record| t(record) < end)
            }
        };
        self.frame += usize::from(here < block.len());
        (frame, here)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Events;

    fn check<R: Records<SIZE>, const SIZE: usize>(bytes: &[u8], in_order: bool) -> Result<(), TestCaseError> {
        let records = bytes.as_chunks().0;
        for path in Path::available() {
            let block = Block::<R, SIZE> { records, base: 0, format: PhantomData };
            prop_assert_eq!(path.run(InOrder(block)), in_order, "{:?}", path);
            let written_out = R::in_order(path, records);
            prop_assert_eq!(written_out.unwrap_or(in_order), in_order, "{:?}", path);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn every_path_tells_whether_events_are_in_order(
            start in 9i64..8_000_000, steps in prop::collection::vec(0i64..3, 0..300), back in any::<prop::sample::Index>(), by in 0i64..9,
        ) {
            let mut events = Events::default();
            let mut t = start;
            for (place, step) in steps.iter().enumerate() {
                t += step - if place == back.index(steps.len()) { by } else { 0 };
                events.push(t, place as u16 % 34, 33, place % 3 == 0);
            }
            let in_order = events.t.is_sorted();
            check::<Nmnist, { nmnist::RECORD }>(&nmnist::encode(&events).unwrap(), in_order)?;
            // Of a file with a header too, the end is records.
            let (aedat2, aedat31) = (aedat2::encode(&events).unwrap(), aedat31::encode(&events).unwrap());
            let end = |bytes: &[u8]| bytes[bytes.len() - 8 * events.len()..].to_vec();
            check::<Aedat2, { aedat2::RECORD }>(&end(&aedat2), in_order)?;
            check::<Aedat31, { aedat31::RECORD }>(&end(&aedat31), in_order)?;
        }
    }
}
