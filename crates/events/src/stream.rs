//! Framing a file as it is read, with neither the file nor its events in memory.

use std::io::{BufRead, Seek};

use crate::aedat2::Aedat2;
use crate::aedat31::Aedat31;
use crate::framing::{Counter, cells_of, most_frames};
use crate::nmnist::Nmnist;
use crate::records::{BLOCK, Event, Records, Run};
use crate::{DecodeErrorKind, Format, Frames, Framing, aedat2, aedat31, nmnist};

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

fn stream<R: Records<SIZE>, const SIZE: usize>(
    input: &mut (impl BufRead + Seek),
    length: u64,
    framing: Framing,
) -> Result<Frames, Unfit> {
    let runs = R::runs(input, usize::try_from(length).map_err(|_| Unfit::Other)?)?.runs;
    let mut input = Placed { at: input.stream_position()?, input };
    let mut shares = Shares::new::<R, SIZE>(&mut input, &runs, framing)?;
    let mut counter = Counter::new(R::SENSOR, shares.frames);
    let mut cells = [0; BLOCK];
    for run in &runs {
        input.go(run.offset)?;
        let t = |record: &[u8; SIZE]| R::event(record, run.base).t;
        for_blocks(&mut input, run.events, |mut block: &[[u8; SIZE]]| {
            if R::fault(block, 0).is_some() || !shares.in_order(block, t) {
                return Err(Unfit::Other);
            }
            while !block.is_empty() {
                let (frame, here) = shares.next(block, t);
                let (records, cells) = (&block[..here], &mut cells[..here]);
                let on_sensor = cells_of(R::SENSOR, cells, |at| {
                    let Event { x, y, on, .. } = R::event(&records[at], run.base);
                    (x, y, on)
                });
                if on_sensor < here {
                    return Err(Unfit::Other);
                }
                counter.count(frame, cells).map_err(|_| Unfit::Other)?;
                block = &block[here..];
            }
            Ok(())
        })?;
    }
    Ok(counter.frames())
}

/// An input that knows where it is, so that it goes to a place that is buffered without reading again.
struct Placed<'a, I> {
    at: u64,
    input: &'a mut I,
}

impl<I: BufRead + Seek> Placed<'_, I> {
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
fn for_blocks<I: BufRead + Seek, const SIZE: usize>(
    input: &mut Placed<'_, I>,
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
        input: &mut Placed<'_, impl BufRead + Seek>,
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
        let (first, duration) = match framing {
            Framing::ByNumber { .. } => (0, 0),
            Framing::ByTime { .. } | Framing::ByDuration { .. } | Framing::Windows { .. } => {
                let first = t(start, 0)?;
                (first, t(end, end.events - 1)?.saturating_sub(first))
            }
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
                let step = duration / i64::try_from(frames).unwrap_or(i64::MAX);
                (Rule::Time { first, step, before: i64::MIN }, frames)
            }
            Framing::ByDuration { us } => {
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
    fn in_order<T>(&mut self, block: &[T], t: impl Fn(&T) -> i64) -> bool {
        let Rule::Time { before, .. } = &mut self.rule else { return true };
        let (Some(first), Some(last)) = (block.first(), block.last()) else { return true };
        let sorted = t(first) >= *before && block.is_sorted_by_key(&t);
        *before = t(last);
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
