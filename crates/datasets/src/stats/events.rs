//! Events: how many, of which polarity, for how long, and when.

use bpsta_events::Events;
use rayon::prelude::*;
use serde::Serialize;

use super::Spread;
use crate::cache::batch_len;
use crate::progress::{Reporter, Stage};
use crate::samples::Files;
use crate::{Counts, DatasetError, SplitName};

/// Parts into which each sample's own duration is divided for the rate over time.
pub const BINS: usize = 50;

/// Bars of the histogram of events per sample.
const BARS: usize = 40;

/// Figures of a data set of recordings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventFigures {
    /// What the places of `rate_over_time_events_per_s` are.
    pub rate_over_time_axis: String,
    /// Of all samples.
    pub all: EventGroup,
    /// Of each class, in the order of the labels.
    pub classes: Vec<EventGroup>,
    /// Of all samples: how many have how many events.
    pub histogram: Histogram,
}

/// Figures of all samples, or of a class; what needs a sample or an event is null where there is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventGroup {
    /// Name of the class, or `all`.
    pub class: String,
    /// Samples counted.
    pub samples: Counts,
    /// ON events in all samples.
    pub on_events: u64,
    /// OFF events in all samples.
    pub off_events: u64,
    /// ON events by all events.
    pub on_share: Option<f64>,
    /// Events of a sample.
    pub events_per_sample: Option<Spread>,
    /// From a sample's earliest event to its latest, in us.
    pub duration_us: Option<Spread>,
    /// A sample's events by its duration. Samples without a duration are left out, here and below.
    pub rate_events_per_s: Option<Spread>,
    /// Mean rate over the samples in each of [`BINS`] equal parts of a sample's own duration.
    pub rate_over_time_events_per_s: Vec<f64>,
}

/// Samples by their numbers of events.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Histogram {
    /// Where the first bar begins.
    pub first_events: u64,
    /// How many numbers a bar spans.
    pub bar_events: u64,
    /// Samples in each bar.
    pub samples: Vec<usize>,
}

/// What is kept of a sample.
struct Sample {
    label: usize,
    split: SplitName,
    on: u64,
    off: u64,
    duration_us: i64,
    bins: [u32; BINS],
}

pub(super) fn count(files: Files<'_>, reporter: &Reporter) -> Result<EventFigures, DatasetError> {
    let counts = files.manifest.samples;
    let total = counts.train + counts.test;
    let mut samples = Vec::with_capacity(total);
    for split in SplitName::ALL {
        let recordings = files.recordings(split)?;
        let mut rest = recordings.as_slice();
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(batch_len(rest));
            rest = after;
            let counted: Vec<Vec<Sample>> = batch
                .par_iter()
                .map(|recording| {
                    let mut counted = Vec::new();
                    files.for_each_sample(recording, |_, sample, events| {
                        counted.push(Sample::of(events, usize::from(sample.label), split));
                        Ok(())
                    })?;
                    Ok(counted)
                })
                .collect::<Result<_, DatasetError>>()?;
            samples.extend(counted.into_iter().flatten());
            reporter.step(Stage::Count, samples.len(), total);
        }
    }
    let class = |(label, name): (usize, &String)| {
        EventGroup::of(name, &samples.iter().filter(|sample| sample.label == label).collect::<Vec<_>>())
    };
    Ok(EventFigures {
        rate_over_time_axis: format!(
            "{BINS} equal parts of each sample's own duration, from its earliest event to its latest"
        ),
        all: EventGroup::of("all", &samples.iter().collect::<Vec<_>>()),
        classes: files.info.classes.iter().enumerate().map(class).collect(),
        histogram: Histogram::of(&samples),
    })
}

impl Sample {
    fn of(events: &Events, label: usize, split: SplitName) -> Sample {
        let on = events.on.iter().filter(|on| **on).count() as u64;
        let off = events.len() as u64 - on;
        let mut bins = [0; BINS];
        let Some((first, last)) = events.span() else {
            return Sample { label, split, on, off, duration_us: 0, bins };
        };
        let duration_us = last.saturating_sub(first);
        for t in &events.t {
            // Wide, for timestamps may be anything; the last event would be in a part of its own.
            let part = i128::from(t.saturating_sub(first)) * BINS as i128 / i128::from(duration_us.max(1));
            bins[(part as usize).min(BINS - 1)] += 1;
        }
        Sample { label, split, on, off, duration_us, bins }
    }

    fn events(&self) -> u64 {
        self.on + self.off
    }

    fn seconds(&self) -> f64 {
        self.duration_us as f64 / 1e6
    }
}

impl EventGroup {
    fn of(class: &str, samples: &[&Sample]) -> EventGroup {
        let of_split = |split| samples.iter().filter(|sample| sample.split == split).count();
        let on_events: u64 = samples.iter().map(|sample| sample.on).sum();
        let off_events: u64 = samples.iter().map(|sample| sample.off).sum();
        let all = on_events + off_events;
        let lasting: Vec<&&Sample> = samples.iter().filter(|sample| sample.duration_us > 0).collect();
        let in_part = |part: usize| {
            let rates = lasting.iter().map(|s| f64::from(s.bins[part]) / (s.seconds() / BINS as f64));
            rates.sum::<f64>() / lasting.len().max(1) as f64
        };
        EventGroup {
            class: class.to_owned(),
            samples: Counts { train: of_split(SplitName::Train), test: of_split(SplitName::Test) },
            on_events,
            off_events,
            on_share: (all > 0).then(|| on_events as f64 / all as f64),
            events_per_sample: Spread::of(samples.iter().map(|sample| sample.events() as f64)),
            duration_us: Spread::of(samples.iter().map(|sample| sample.duration_us as f64)),
            rate_events_per_s: Spread::of(lasting.iter().map(|s| s.events() as f64 / s.seconds())),
            rate_over_time_events_per_s: (0..BINS).map(in_part).collect(),
        }
    }
}

impl Histogram {
    fn of(samples: &[Sample]) -> Histogram {
        let first = samples.iter().map(Sample::events).min().unwrap_or(0);
        let last = samples.iter().map(Sample::events).max().unwrap_or(0);
        let bar = ((last - first) / BARS as u64 + 1).max(1);
        let mut bars = vec![0; ((last - first) / bar + 1) as usize];
        for sample in samples {
            bars[((sample.events() - first) / bar) as usize] += 1;
        }
        Histogram { first_events: first, bar_events: bar, samples: bars }
    }
}
