//! Events as columns.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Width and height of a sensor, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sensor {
    /// Pixels in a row.
    pub width: u16,
    /// Pixels in a column.
    pub height: u16,
}

impl Sensor {
    /// The window of the ATIS sensor that N-MNIST was recorded with.
    pub const NMNIST: Self = Self { width: 34, height: 34 };
    /// DVS128, which recorded DVS-Gesture and DVS-CIFAR10.
    pub const DVS128: Self = Self { width: 128, height: 128 };
}

impl fmt::Display for Sensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// Changes of brightness in the order of the file, one column a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Events {
    /// Timestamps in us.
    pub t: Vec<i64>,
    /// Columns, from 0 on the left.
    pub x: Vec<u16>,
    /// Rows, from 0 at the top.
    pub y: Vec<u16>,
    /// Polarity: true where it grew brighter (ON).
    pub on: Vec<bool>,
}

impl Events {
    /// No events yet, with room for `count`.
    pub fn with_capacity(count: usize) -> Self {
        Self {
            t: Vec::with_capacity(count),
            x: Vec::with_capacity(count),
            y: Vec::with_capacity(count),
            on: Vec::with_capacity(count),
        }
    }

    /// As many events at time and place 0, to be written over.
    pub(crate) fn zeros(count: usize) -> Self {
        Self { t: vec![0; count], x: vec![0; count], y: vec![0; count], on: vec![false; count] }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.t.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.t.is_empty()
    }

    /// Timestamps of the earliest and of the latest event, in us; none where there are no events.
    pub fn span(&self) -> Option<(i64, i64)> {
        self.t.iter().copied().min().zip(self.t.iter().copied().max())
    }

    /// From the earliest to the latest event, in us; none where there are no events. Never negative, also where timestamps step back.
    pub fn duration_us(&self) -> Option<i64> {
        self.span().map(|(earliest, latest)| latest.saturating_sub(earliest))
    }

    /// Adds one at the end.
    pub fn push(&mut self, t: i64, x: u16, y: u16, on: bool) {
        self.t.push(t);
        self.x.push(x);
        self.y.push(y);
        self.on.push(on);
    }

    /// The events with `start_us <= t < end_us`, in their order: how a gesture is cut from its recording.
    pub fn between(&self, start_us: i64, end_us: i64) -> Self {
        let inside = |t: &i64| (start_us..end_us).contains(t);
        let mut cut = Self::with_capacity(self.t.iter().filter(|t| inside(t)).count());
        for (i, t) in self.t.iter().enumerate() {
            if inside(t) {
                cut.push(*t, self.x[i], self.y[i], self.on[i]);
            }
        }
        cut
    }

    /// Whether [`Events::between`] has any.
    pub fn has_any_between(&self, start_us: i64, end_us: i64) -> bool {
        self.t.iter().any(|t| (start_us..end_us).contains(t))
    }
}
