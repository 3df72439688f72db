//! What a whole data set is made of, in numbers: events and their times, or pixels, by class.

mod csv;
mod events;
mod images;
mod spread;

use serde::Serialize;

use crate::cache::TOOL;
use crate::progress::Reporter;
use crate::samples::Files;
use crate::{Counts, DatasetError, DatasetId, Destination, Kind, Manifest, Subset, plot};

pub use events::{BINS, EventFigures, EventGroup, Histogram};
pub use images::{ImageFigures, ImageGroup};
pub use spread::Spread;

/// The version of the JSON's form.
const SCHEMA: u32 = 1;

/// Suffixes of what [`Stats::save`] writes.
pub const STATS_SUFFIXES: [&str; 3] = ["json", "csv", "svg"];

/// The figures of a data set, and what they were taken from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// Version of this form.
    pub schema: u32,
    /// What was counted.
    pub source: Source,
    /// The figures.
    pub figures: Figures,
}

/// What figures were taken from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Source {
    /// [`Manifest::describe`]: says of a stand-in and of a subset that it is one.
    pub data: String,
    /// The data set.
    pub dataset: DatasetId,
    /// True for a generated stand-in.
    pub synthetic: bool,
    /// The seed a stand-in was generated from.
    pub seed: Option<u64>,
    /// Set when some of the official samples are missing.
    pub subset: Option<Subset>,
    /// [`Manifest::hash`]. Every file was compared with it.
    pub manifest_hash: String,
    /// Samples counted: all there are, training and test.
    pub samples: Counts,
    /// What counted.
    pub tool: &'static str,
}

/// Figures by kind of data.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Figures {
    /// Of recordings.
    Events(EventFigures),
    /// Of static images.
    Images(ImageFigures),
}

/// Reads every sample, recordings in parallel.
pub(crate) fn count(files: Files<'_>, reporter: &Reporter) -> Result<Stats, DatasetError> {
    let figures = match files.info.kind {
        Kind::Events => Figures::Events(events::count(files, reporter)?),
        Kind::Static => Figures::Images(images::count(files)?),
    };
    Ok(Stats { schema: SCHEMA, source: Source::of(files.manifest), figures })
}

impl Source {
    fn of(manifest: &Manifest) -> Source {
        Source {
            data: manifest.describe(),
            dataset: manifest.dataset,
            synthetic: manifest.synthetic,
            seed: manifest.seed,
            subset: manifest.subset,
            manifest_hash: manifest.hash(),
            samples: manifest.samples,
            tool: TOOL,
        }
    }
}

impl Stats {
    /// Writes the figures as `STEM.json`, one line a class as `STEM.csv`, and plots as `STEM.svg`.
    ///
    /// # Errors
    /// [`DatasetError::OutputExists`], where the disk refuses, and where the library cannot draw.
    pub fn save(&self, to: &Destination) -> Result<Vec<std::path::PathBuf>, DatasetError> {
        let [json, csv, svg] = STATS_SUFFIXES;
        // A struct of strings, finite numbers and vectors has no value that JSON cannot hold.
        let text = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        to.write(&[
            (json, text.into_bytes()),
            (csv, self.csv().into_bytes()),
            (svg, plot::svg(self)?.into_bytes()),
        ])
    }
}
