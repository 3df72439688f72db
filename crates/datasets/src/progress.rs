//! How long work tells its caller where it is. The caller draws the bar; this crate prints nothing.

use std::fmt;
use std::sync::Arc;

/// What a long operation is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Files are read, checked and copied into the data folder.
    Import,
    /// Recordings are framed and written to the cache.
    Frame,
    /// Files are hashed and compared with their manifest.
    Verify,
    /// Recordings are decoded, and their events counted.
    Count,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Stage::Import => "importing",
            Stage::Frame => "framing",
            Stage::Verify => "verifying",
            Stage::Count => "counting",
        })
    }
}

/// One message of a long operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// `done` of `total` units (files or samples) are finished. Worker threads send these as they finish, so that they may come in another
    /// order, and one with `done == total` need not be the last.
    Step {
        /// What is being done.
        stage: Stage,
        /// Units finished.
        done: usize,
        /// Units in all.
        total: usize,
    },
    /// A file is being fetched, or an archive unpacked.
    Bytes {
        /// Its name; of an archive, behind the word `unpacking`.
        file: String,
        /// Bytes that are there, or that were unpacked of the archive's own.
        done: u64,
        /// Its length, where the server or the registry tells it.
        total: Option<u64>,
    },
    /// Something the user should see once, such as a damaged cache that is built again.
    Notice(String),
}

/// The callback as the crate keeps it: shared between worker threads, absent when nobody listens.
#[derive(Clone, Default)]
pub(crate) struct Reporter(Option<Arc<dyn Fn(Progress) + Send + Sync>>);

impl Reporter {
    pub(crate) fn new(callback: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Reporter(Some(Arc::new(callback)))
    }

    pub(crate) fn step(&self, stage: Stage, done: usize, total: usize) {
        if let Some(callback) = &self.0 {
            callback(Progress::Step { stage, done, total });
        }
    }

    pub(crate) fn bytes(&self, file: &str, done: u64, total: Option<u64>) {
        if let Some(callback) = &self.0 {
            callback(Progress::Bytes { file: file.to_owned(), done, total });
        }
    }

    pub(crate) fn notice(&self, text: String) {
        if let Some(callback) = &self.0 {
            callback(Progress::Notice(text));
        }
    }
}
