//! The data sets of the harness, and of its users, from files on disk to samples in memory.
//!
//! The way through this crate: `datasets.toml` ([`Registry`]) says what a data set is; [`Store::fetch`] gets its
//! published files; [`Store::import`]
//! checks an unpacked official tree and copies it into the data folder beside a [`Manifest`] of every file;
//! [`Store::synthetic`] does the same with a generated stand-in; [`Store::load`] turns a manifest into a [`Dataset`],
//! for event recordings through a cache of frames in HDF5. [`Store::preview`] and [`Store::stats`] are for people to look at.
//!
//! What this crate must not know: networks, losses, tensor libraries, the paper's numbers. It prints nothing: progress
//! goes through a callback ([`Store::with_progress`]).

#![forbid(unsafe_code)]

mod archive;
mod augment;
mod cache;
mod check;
pub mod cifar;
mod dataset;
mod destination;
mod error;
mod fetch;
mod frame_file;
mod hash;
mod id;
pub mod idx;
mod import;
mod inspect;
mod layout;
mod lock;
mod manifest;
mod picture;
mod plot;
mod preview;
mod progress;
mod registry;
mod samples;
mod skipping;
mod stats;
mod store;
mod stream;
pub mod synthetic;
mod toml_text;
mod verify;
mod which;

pub use augment::{Augmentation, Draw};
pub use dataset::{Dataset, Split};
pub use destination::Destination;
pub use error::DatasetError;
pub use fetch::{Fetched, Patience};
pub use frame_file::{frame_file, frames_of_file};
pub use id::DatasetId;
pub use inspect::{ImageSummary, Inspection, inspect};
pub use manifest::{Counts, FileEntry, Manifest, SplitName, Subset, thousands};
pub use picture::Pictures;
pub use preview::{Choice, Clip, Pick, Preview, Shown, Strip, preview_file};
pub use progress::{Progress, Stage};
pub use registry::{DatasetInfo, Kind, Layout, Registry, RemoteFile, SplitRule};
pub use stats::{
    BINS, EventFigures, EventGroup, Figures, Histogram, ImageFigures, ImageGroup, STATS_SUFFIXES, Source,
    Spread, Stats,
};
pub use store::{Needs, Store};
pub use toml_text::{TomlProblem, from_toml, nearest};
pub use verify::Verification;
pub use which::Which;
