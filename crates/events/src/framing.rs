//! Framing: events to a stack of counts, as the paper does it (after SpikingJelly's `integrate_events_*`).
//!
//! One channel a polarity (0 = OFF, 1 = ON), counts, no clipping, no normalisation.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::counting::{Counter, Pixels};
use crate::records::BLOCK;
use crate::simd::Path;
use crate::{Events, FramingError, Sensor};

/// Raised when framing gives other frames than before: caches made by another version are stale. Raise it also when a decoder gives
/// other events: the caches hold what was framed of them, and nothing else tells one decoder from another.
pub const FRAMING_VERSION: u32 = 2;

/// Counts in the frames of one sample at most: 1 GiB of them. More is a slip or a damaged timestamp, not a recording.
const MOST_COUNTS: usize = 1 << 29;

/// How events are shared out over frames. N events, T frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Framing {
    /// Frame j holds the events j*n to (j+1)*n, where n = N div T; the last frame also holds the rest. With fewer
    /// events than frames n is 0 and the last frame holds all. The paper's rule.
    ByNumber {
        /// T.
        frames: usize,
    },
    /// Frame j holds the events with t_first + j*dt <= t < t_first + (j+1)*dt, where dt = (t_last - t_first) div T; the
    /// last frame runs to the end. A frame without events is empty (the reference code raises an error there).
    ///
    /// Where timestamps step back, a frame runs in file order from the first event of its window to the last one, with whatever lies
    /// between them, also events before t_first. A recording whose last event is before its first one is refused.
    ByTime {
        /// T.
        frames: usize,
    },
    /// A new frame every `us` microseconds from the file's first event on; how many there are varies. The last frame is kept though it
    /// is incomplete. SpikingJelly counts from t = 0 instead.
    ///
    /// Where timestamps step back, frames are as in [`Framing::ByTime`]: an event before the first one counts where it lies between
    /// two of a frame, and else in none.
    ByDuration {
        /// Length of a frame in us.
        us: i64,
    },
    /// The first T of those frames, from the first event on: events behind them are left out, and frames behind the last event are
    /// empty. Events before the first one are treated as in [`Framing::ByDuration`], and the same recordings are refused.
    Windows {
        /// Length of a frame in us.
        us: i64,
        /// T.
        frames: usize,
    },
}

impl Framing {
    /// T, where it is the same for every recording.
    pub const fn frames(self) -> Option<usize> {
        match self {
            Self::ByNumber { frames } | Self::ByTime { frames } | Self::Windows { frames, .. } => {
                Some(frames)
            }
            Self::ByDuration { .. } => None,
        }
    }
}

impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByNumber { frames } => write!(f, "number:{frames}"),
            Self::ByTime { frames } => write!(f, "time:{frames}"),
            Self::ByDuration { us } => write!(f, "duration:{us}us"),
            Self::Windows { us, frames } => write!(f, "duration:{us}us:{frames}"),
        }
    }
}

impl FromStr for Framing {
    type Err = String;

    /// As it prints.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let number = |part: Option<&str>| part?.parse().ok().filter(|number| *number > 0);
        let us = |part: Option<&str>| part?.strip_suffix("us")?.parse().ok().filter(|us| *us > 0);
        let parsed = match parts.next() {
            Some("number") => number(parts.next()).map(|frames| Self::ByNumber { frames }),
            Some("time") => number(parts.next()).map(|frames| Self::ByTime { frames }),
            Some("duration") => us(parts.next()).and_then(|us| match parts.next() {
                None => Some(Self::ByDuration { us }),
                frames => number(frames).map(|frames| Self::Windows { us, frames }),
            }),
            _ => None,
        };
        parsed.filter(|_| parts.next().is_none()).ok_or_else(|| {
            format!("expected a framing such as number:16, time:16, duration:20000us or duration:20000us:16, found {text:?}")
        })
    }
}

/// Frames `[T, 2, H, W]`, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frames {
    /// T.
    pub time_steps: usize,
    /// H, in pixels.
    pub height: usize,
    /// W, in pixels.
    pub width: usize,
    /// Events per frame, polarity (0 = OFF, 1 = ON), row and column.
    pub counts: Vec<u16>,
}

/// Frames the events of one sample.
///
/// # Errors
/// [`FramingError`] where there are no events, the rule asks for no frames or too many, it goes by time and the last event is before
/// the first one, an event lies off the sensor, or a count passes 65535.
pub fn frame(events: &Events, sensor: Sensor, framing: Framing) -> Result<Frames, FramingError> {
    let (Some(&first), Some(&last)) = (events.t.first(), events.t.last()) else {
        return Err(FramingError::NoEvents);
    };
    let refuse = |why| Err(FramingError::Rule { framing: framing.to_string(), why });
    let Sensor { width, height } = sensor;
    let most = most_frames(sensor);
    let bounds = match framing {
        Framing::ByNumber { frames: 0 }
        | Framing::ByTime { frames: 0 }
        | Framing::Windows { frames: 0, .. } => {
            return refuse("at least one frame is needed");
        }
        Framing::ByNumber { frames } | Framing::ByTime { frames } | Framing::Windows { frames, .. }
            if frames > most =>
        {
            return Err(FramingError::TooMany { framing: framing.to_string(), most, width, height });
        }
        Framing::ByNumber { frames } => by_number(events.len(), frames),
        Framing::ByDuration { us } | Framing::Windows { us, .. } if us <= 0 => {
            return refuse("a frame must last at least 1 us");
        }
        Framing::ByTime { .. } if last < first => {
            return Err(FramingError::StepsBack { framing: framing.to_string(), first, last });
        }
        Framing::ByTime { frames } => {
            let step = last.saturating_sub(first) / i64::try_from(frames).unwrap_or(i64::MAX);
            by_time(&events.t, first, step, frames)
        }
        Framing::Windows { us, frames } => {
            // One more, which runs to the end, takes what is left out.
            let mut bounds = by_time(&events.t, first, us, frames + 1);
            bounds.truncate(frames);
            bounds
        }
        Framing::ByDuration { us } => {
            let latest = events.span().map_or(last, |(_, latest)| latest);
            let frames = usize::try_from(latest.saturating_sub(first) / us).unwrap_or(usize::MAX);
            if frames >= most {
                return Err(FramingError::TooMany { framing: framing.to_string(), most, width, height });
            }
            by_time(&events.t, first, us, frames + 1)
        }
    };
    count(events, sensor, &bounds)
}

/// For each frame, the indices of its events.
fn by_number(events: usize, frames: usize) -> Vec<Range<usize>> {
    let share = events / frames;
    (0..frames).map(|j| j * share..if j + 1 == frames { events } else { (j + 1) * share }).collect()
}

/// As the reference does it, over timestamps in file order: a frame runs from the first event inside its window to the last
/// one, so that where timestamps step back everything between them belongs to it. The last frame begins so too, and runs to the
/// end; where its window is empty, it begins with the first event behind that.
fn by_time(t: &[i64], first: i64, step: i64, frames: usize) -> Vec<Range<usize>> {
    if !t.is_sorted() {
        return by_time_unsorted(t, first, step, frames);
    }
    let starts_at = |j: usize| {
        let left = first.saturating_add(step.saturating_mul(j as i64));
        t.partition_point(|t| *t < left)
    };
    (0..frames).map(|j| starts_at(j)..if j + 1 == frames { t.len() } else { starts_at(j + 1) }).collect()
}

/// The same over timestamps in any order, in one pass over them.
fn by_time_unsorted(t: &[i64], first: i64, step: i64, frames: usize) -> Vec<Range<usize>> {
    let mut bounds = vec![0..0; frames];
    let last_left = first.saturating_add(step.saturating_mul(frames as i64 - 1));
    let mut behind = None;
    for (index, t) in t.iter().enumerate() {
        if behind.is_none() && *t >= last_left {
            behind = Some(index);
        }
        // A step of 0 makes windows that hold nothing.
        let window =
            t.checked_sub(first).filter(|since| *since >= 0).and_then(|since| since.checked_div(step));
        let window = window.and_then(|window| bounds.get_mut(usize::try_from(window).ok()?));
        if let Some(bound) = window {
            let start = if bound.end == 0 { index } else { bound.start };
            *bound = start..index + 1;
        }
    }
    if let Some(bound) = bounds.last_mut() {
        let start = if bound.end == 0 { behind } else { Some(bound.start) };
        *bound = start.unwrap_or(t.len())..t.len();
    }
    bounds
}

fn count(events: &Events, sensor: Sensor, bounds: &[Range<usize>]) -> Result<Frames, FramingError> {
    let Sensor { width, height } = sensor;
    let mut counter = Counter::new(Path::fastest(), sensor, bounds.len());
    for (frame, bound) in bounds.iter().enumerate() {
        for start in bound.clone().step_by(BLOCK) {
            let rows = start..bound.end.min(start + BLOCK);
            let (x, y, on) = (&events.x[rows.clone()], &events.y[rows.clone()], &events.on[rows]);
            counter.find(frame, Columns { sensor, x, y, on }).map_err(|at| FramingError::OffSensor {
                index: start + at,
                x: x[at],
                y: y[at],
                width,
                height,
            })?;
            counter.count().map_err(|at| FramingError::Overflow { frame, x: x[at], y: y[at] })?;
        }
    }
    Ok(counter.frames())
}

/// The events of a block, as columns of one length.
#[derive(Clone, Copy)]
struct Columns<'a> {
    sensor: Sensor,
    x: &'a [u16],
    y: &'a [u16],
    on: &'a [bool],
}

impl Pixels for Columns<'_> {
    #[inline(always)]
    fn sensor(&self) -> Sensor {
        self.sensor
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.x.len()
    }

    #[inline(always)]
    fn pixel(&self, at: usize) -> (u32, u32, bool) {
        (self.x[at].into(), self.y[at].into(), self.on[at])
    }
}

/// Frames at most: more would need more memory than any recording's should.
pub(crate) fn most_frames(sensor: Sensor) -> usize {
    MOST_COUNTS / (2 * usize::from(sensor.width) * usize::from(sensor.height)).max(1)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    /// The rule, frame by frame.
    fn twin(t: &[i64], first: i64, step: i64, frames: usize) -> Vec<Vec<usize>> {
        let bound = |j: usize| {
            let left = first + step * j as i64;
            let inside = |t: &i64| (left..left + step).contains(t);
            if j + 1 < frames {
                let (start, end) = (t.iter().position(inside), t.iter().rposition(inside));
                return start.zip(end).map_or(0..0, |(start, end)| start..end + 1);
            }
            let start = t.iter().position(inside).or_else(|| t.iter().position(|t| *t >= left));
            start.map_or(0..0, |start| start..t.len())
        };
        (0..frames).map(|j| bound(j).collect()).collect()
    }

    proptest! {
        #[test]
        fn bounds_by_time_are_those_of_each_window(
            mut t in prop::collection::vec(-50i64..50, 1..60), sorted in any::<bool>(), step in 0i64..20,
            frames in 1usize..12,
        ) {
            if sorted {
                t.sort_unstable();
            }
            let found: Vec<Vec<usize>> = by_time(&t, t[0], step, frames).into_iter().map(Iterator::collect).collect();
            prop_assert_eq!(found, twin(&t, t[0], step, frames));
        }
    }

    /// Frame by frame it would be ten thousand million comparisons.
    #[test]
    fn many_windows_of_many_unsorted_events_are_found_in_one_pass() {
        let mut t: Vec<i64> = (0..100_000).collect();
        t.swap(0, 1);
        let begun = Instant::now();
        let bounds = by_time(&t, 0, 1, 100_000);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(
            (&bounds[0], &bounds[1], &bounds[2], &bounds[99_999]),
            (&(1..2), &(0..1), &(2..3), &(99_999..100_000))
        );
    }
}
