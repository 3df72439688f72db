//! Framing: events to a stack of counts, as the paper does it (after SpikingJelly's `integrate_events_*`).
//!
//! One channel a polarity (0 = OFF, 1 = ON), counts, no clipping, no normalisation.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{Events, FramingError, Sensor};

/// Raised when framing gives other frames than before: caches made by another version are stale.
pub const FRAMING_VERSION: u32 = 1;

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
    ByTime {
        /// T.
        frames: usize,
    },
    /// A new frame every `us` microseconds from the first event on; how many there are varies.
    ByDuration {
        /// Length of a frame in us.
        us: i64,
    },
}

impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByNumber { frames } => write!(f, "number:{frames}"),
            Self::ByTime { frames } => write!(f, "time:{frames}"),
            Self::ByDuration { us } => write!(f, "duration:{us}us"),
        }
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
/// [`FramingError`] where there are no events, the rule asks for no frames or too many, an event lies off the sensor,
/// or a count passes 65535.
pub fn frame(events: &Events, sensor: Sensor, framing: Framing) -> Result<Frames, FramingError> {
    let (Some(&first), Some(&last)) = (events.t.first(), events.t.last()) else {
        return Err(FramingError::NoEvents);
    };
    let refuse = |why| Err(FramingError::Rule { framing: framing.to_string(), why });
    let Sensor { width, height } = sensor;
    let most = MOST_COUNTS / (2 * usize::from(width) * usize::from(height)).max(1);
    let bounds = match framing {
        Framing::ByNumber { frames: 0 } | Framing::ByTime { frames: 0 } => {
            return refuse("at least one frame is needed");
        }
        Framing::ByNumber { frames } | Framing::ByTime { frames } if frames > most => {
            return Err(FramingError::TooMany { framing: framing.to_string(), most, width, height });
        }
        Framing::ByNumber { frames } => by_number(events.len(), frames),
        Framing::ByTime { frames } => {
            let step = last.saturating_sub(first) / i64::try_from(frames).unwrap_or(i64::MAX);
            by_time(&events.t, first, step, frames)
        }
        Framing::ByDuration { us } if us <= 0 => return refuse("a frame must last at least 1 us"),
        Framing::ByDuration { us } => {
            let latest = events.t.iter().copied().max().unwrap_or(last);
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
/// one, so that where timestamps step back everything between them belongs to it.
fn by_time(t: &[i64], first: i64, step: i64, frames: usize) -> Vec<Range<usize>> {
    let mut bounds = vec![0..0; frames];
    let sorted = t.is_sorted();
    for (j, bound) in bounds.iter_mut().enumerate() {
        let left = first.saturating_add(step.saturating_mul(j as i64));
        let right = left.saturating_add(step);
        let inside = |t: &i64| *t >= left && (*t < right || j + 1 == frames);
        let start = if sorted { Some(t.partition_point(|t| *t < left)) } else { t.iter().position(inside) };
        let end = match j + 1 == frames {
            true => Some(t.len()),
            false if sorted => Some(t.partition_point(|t| *t < right)),
            false => t.iter().rposition(inside).map(|last| last + 1),
        };
        if let (Some(start), Some(end)) = (start, end) {
            *bound = start..end.max(start);
        }
    }
    bounds
}

fn count(events: &Events, sensor: Sensor, bounds: &[Range<usize>]) -> Result<Frames, FramingError> {
    let (height, width) = (usize::from(sensor.height), usize::from(sensor.width));
    let plane = height * width;
    let mut counts = vec![0u16; bounds.len() * 2 * plane];
    for (frame, bound) in bounds.iter().enumerate() {
        let cells = &mut counts[frame * 2 * plane..][..2 * plane];
        let (xs, ys, ons) = (&events.x[bound.clone()], &events.y[bound.clone()], &events.on[bound.clone()]);
        for (i, ((&x, &y), &on)) in xs.iter().zip(ys).zip(ons).enumerate() {
            if x >= sensor.width || y >= sensor.height {
                let index = bound.start + i;
                let Sensor { width, height } = sensor;
                return Err(FramingError::OffSensor { index, x, y, width, height });
            }
            let cell = &mut cells[usize::from(on) * plane + usize::from(y) * width + usize::from(x)];
            *cell = cell.checked_add(1).ok_or(FramingError::Overflow { frame, x, y })?;
        }
    }
    Ok(Frames { time_steps: bounds.len(), height, width, counts })
}
