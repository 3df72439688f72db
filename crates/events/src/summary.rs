//! What there is to say about a recording at a glance.

use serde::Serialize;

use crate::{Format, Notes, Recording, Sensor};

/// The figures of a recording. Those that need an event are null where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The format it was read as.
    pub format: Format,
    /// The sensor it comes from.
    pub sensor: Sensor,
    /// How many events.
    pub events: usize,
    /// Timestamp of the first event of the file, in us.
    pub first_us: Option<i64>,
    /// Timestamp of the last event of the file, in us.
    pub last_us: Option<i64>,
    /// From the earliest to the latest event, in us.
    pub duration_us: Option<i64>,
    /// Smallest column.
    pub x_min: Option<u16>,
    /// Largest column.
    pub x_max: Option<u16>,
    /// Smallest row.
    pub y_min: Option<u16>,
    /// Largest row.
    pub y_max: Option<u16>,
    /// Events of polarity ON.
    pub on: usize,
    /// Events of polarity OFF.
    pub off: usize,
    /// What the decoder noticed.
    pub notes: Notes,
}

impl Summary {
    /// The figures of `recording`.
    pub fn of(recording: &Recording) -> Self {
        let events = &recording.events;
        let (first_us, last_us) = (events.t.first().copied(), events.t.last().copied());
        let on = events.on.iter().filter(|on| **on).count();
        Self {
            format: recording.format,
            sensor: recording.sensor,
            events: events.len(),
            first_us,
            last_us,
            duration_us: events.duration_us(),
            x_min: events.x.iter().min().copied(),
            x_max: events.x.iter().max().copied(),
            y_min: events.y.iter().min().copied(),
            y_max: events.y.iter().max().copied(),
            on,
            off: events.len() - on,
            notes: recording.notes,
        }
    }
}
