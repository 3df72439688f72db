//! The five data sets of the harness, from files on disk to samples in memory.
//!
//! The way through this crate: `datasets.toml` ([`Registry`]) says what a data set officially is; [`Store::fetch`] gets its
//! published files; [`Store::import`]
//! checks an unpacked official tree and copies it into the data folder beside a [`Manifest`] of every file;
//! [`Store::synthetic`] does the same with a generated stand-in; [`Store::load`] turns a manifest into a [`Dataset`],
//! for event recordings through a cache of frames in HDF5.
//!
//! What this crate must not know: networks, losses, tensor libraries, the paper's numbers. It prints nothing: progress
//! goes through a callback ([`Store::with_progress`]).

#![forbid(unsafe_code)]

mod cache;
mod check;
pub mod cifar;
mod dataset;
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
mod progress;
mod registry;
mod samples;
mod store;
pub mod synthetic;
mod verify;

pub use dataset::{Dataset, Split};
pub use error::DatasetError;
pub use fetch::{Fetched, Patience};
pub use frame_file::{frame_file, frames_of_file};
pub use id::DatasetId;
pub use inspect::{ImageSummary, Inspection, inspect};
pub use manifest::{Counts, FileEntry, Manifest, SplitName, Subset, thousands};
pub use progress::{Progress, Stage};
pub use registry::{DatasetInfo, Kind, Registry, RemoteFile, SplitRule};
pub use store::Store;
pub use verify::Verification;
