//! The manifest: what exactly lies in an imported data set's `raw/` folder.
//!
//! It is written last, so a folder with a manifest is complete, and its hash names the data in run records and cache
//! keys: two machines with the same manifest hash trained on the same bytes in the same order.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{IoContext, io};
use crate::registry::SplitRule;
use crate::{DatasetError, DatasetId, hash};

/// The version of the manifest's format that this build writes and reads.
pub(crate) const SCHEMA: u32 = 1;

/// What [`Manifest::describe`] puts between title and counts, by the kind of the data.
const STAND_IN: &str = ", synthetic stand-in (";
const SUBSET: &str = ", subset: ";
const COMPLETE: &str = ", complete: ";

/// Which part of a data set a file or sample belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitName {
    /// Training samples.
    Train,
    /// Test samples.
    Test,
}

impl SplitName {
    /// Both splits, training first.
    pub const ALL: [SplitName; 2] = [SplitName::Train, SplitName::Test];

    /// `train` or `test`.
    pub fn as_str(self) -> &'static str {
        match self {
            SplitName::Train => "train",
            SplitName::Test => "test",
        }
    }
}

/// Numbers of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Training samples.
    pub train: usize,
    /// Test samples.
    pub test: usize,
}

impl Counts {
    /// The official numbers, where these are more of either split.
    pub(crate) fn beyond(self, official: Option<Counts>) -> Option<Counts> {
        official.filter(|official| self.train > official.train || self.test > official.test)
    }
}

/// How much of the official data set is there, when it is not all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subset {
    /// Training samples at hand.
    pub train: usize,
    /// Training samples of the official data set.
    pub train_official: usize,
    /// Test samples at hand.
    pub test: usize,
    /// Test samples of the official data set.
    pub test_official: usize,
}

impl Subset {
    /// How `samples` fall short of the official ones; none if they are all there, or nobody says how many there are.
    pub(crate) fn of(samples: Counts, official: Option<Counts>) -> Option<Self> {
        let official = official?;
        (samples != official).then_some(Self {
            train: samples.train,
            train_official: official.train,
            test: samples.test,
            test_official: official.test,
        })
    }
}

/// One file under `raw/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Path relative to `raw/`, with `/` between the parts on every system.
    pub path: String,
    /// Length in bytes.
    pub bytes: u64,
    /// BLAKE3 of the bytes, 64 hex digits.
    pub blake3: String,
    /// The split its samples belong to; none for files that hold no samples (trial lists).
    pub split: Option<SplitName>,
    /// The class (0-based) of all its samples; none where the labels are inside the file or in another one.
    pub label: Option<u8>,
    /// Samples in the file; 0 for files that only describe others (labels, trial lists).
    pub samples: usize,
}

/// What lies in an imported data set, or in a generated stand-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format.
    pub schema: u32,
    /// The data set.
    pub dataset: DatasetId,
    /// Its name as people write it, such as `N-MNIST`.
    pub title: String,
    /// True for generated data that stands in for the real set.
    pub synthetic: bool,
    /// The seed a stand-in was generated from.
    pub seed: Option<u64>,
    /// The numbers of samples a stand-in was asked for (they name its folder).
    pub requested: Option<Counts>,
    /// The rule that divides the samples into training and test.
    pub split_rule: SplitRule,
    /// Samples at hand.
    pub samples: Counts,
    /// Set when some of the official samples are missing; never set for a stand-in.
    pub subset: Option<Subset>,
    /// What is missing against the official data set, in words, one entry a gap.
    pub missing: Vec<String>,
    /// Every file, sorted by path (by bytes). Sample order follows from it.
    pub files: Vec<FileEntry>,
}

impl Manifest {
    /// BLAKE3 (64 hex digits) of the canonical JSON: fields in declaration order, no white space, files sorted by path.
    pub fn hash(&self) -> String {
        hash::blake3_hex(self.to_json(false).as_bytes())
    }

    /// One line for people: title, whether it is complete, a subset or a stand-in, and the numbers of samples.
    pub fn describe(&self) -> String {
        let title = &self.title;
        if self.synthetic {
            let seed = self.seed.map(|seed| format!(", seed {seed}")).unwrap_or_default();
            return format!("{title}{STAND_IN}{}{seed})", counts(self.samples));
        }
        match self.subset {
            Some(subset) => format!(
                "{title}{SUBSET}{} of {} training and {} of {} test samples",
                thousands(subset.train),
                thousands(subset.train_official),
                thousands(subset.test),
                thousands(subset.test_official)
            ),
            None => format!("{title}{COMPLETE}{}", counts(self.samples)),
        }
    }

    /// Whether a line that [`Self::describe`] gave is of a stand-in, of a subset, or of neither, a complete set. The title may have the
    /// same words: the last ones are not its own.
    pub fn describes(line: &str, synthetic: bool, subset: bool) -> bool {
        let found =
            [STAND_IN, SUBSET, COMPLETE].into_iter().filter_map(|words| Some((line.rfind(words)?, words)));
        let expected = match (synthetic, subset) {
            (true, _) => STAND_IN,
            (false, true) => SUBSET,
            (false, false) => COMPLETE,
        };
        found.max().is_some_and(|(_, words)| words == expected)
    }

    /// What first tells another manifest of the same description from this one, in words.
    pub(crate) fn first_difference(&self, other: &Manifest) -> String {
        let mut pairs = self.files.iter().zip(&other.files);
        match pairs.find(|(mine, theirs)| mine != theirs) {
            Some((mine, theirs)) if mine.path == theirs.path => {
                format!("{}, of which it would have another", mine.path)
            }
            Some((mine, theirs)) => format!("{}, in whose place it would have {}", mine.path, theirs.path),
            None => "what is named as missing".to_owned(),
        }
    }

    /// The manifest as JSON, as it is kept on disk (`pretty`) or hashed.
    pub(crate) fn to_json(&self, pretty: bool) -> String {
        // A struct of strings, numbers and vectors has no value that JSON cannot hold.
        let json = if pretty { serde_json::to_string_pretty(self) } else { serde_json::to_string(self) };
        json.unwrap_or_default()
    }

    /// What to do about a manifest that cannot be used.
    pub(crate) fn remedy(synthetic: bool) -> &'static str {
        match synthetic {
            true => "remove the folder it lies in: the stand-in is generated again when it is asked for",
            false => "remove the folder it lies in and import again",
        }
    }

    /// Reads a manifest, which is yet to be checked; `None` when there is no such file. Where it lies says whether it should be a
    /// stand-in's.
    pub(crate) fn read(path: &Path, synthetic: bool) -> Result<Option<Manifest>, DatasetError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io("read", path)(error)),
        };
        let bad = |at: String, message: String, remedy: &'static str| DatasetError::Manifest {
            path: path.to_owned(),
            at,
            message,
            remedy,
        };
        let again = Self::remedy(synthetic);
        // The number is looked at first: another version's file would otherwise fail on some unrelated field.
        let version: SchemaOnly =
            serde_json::from_str(&text).map_err(|e| bad("schema".into(), e.to_string(), again))?;
        if version.schema != SCHEMA {
            let message = format!("schema {} was found, this program reads {SCHEMA}", version.schema);
            let remedy =
                if version.schema > SCHEMA { "a newer one wrote it: update the program" } else { again };
            return Err(bad("schema".into(), message, remedy));
        }
        let mut json = serde_json::Deserializer::from_str(&text);
        serde_path_to_error::deserialize(&mut json)
            .map(Some)
            .map_err(|error| bad(error.path().to_string(), error.inner().to_string(), again))
    }

    /// Writes the manifest and waits until the disk has it.
    pub(crate) fn write(&self, path: &Path) -> Result<(), DatasetError> {
        use std::io::Write;
        let mut file = std::fs::File::create(path).context("create", path)?;
        file.write_all(self.to_json(true).as_bytes()).context("write", path)?;
        file.write_all(b"\n").context("write", path)?;
        file.sync_all().context("sync", path)
    }
}

#[derive(Deserialize)]
struct SchemaOnly {
    schema: u32,
}

fn counts(samples: Counts) -> String {
    format!("{} training and {} test samples", thousands(samples.train), thousands(samples.test))
}

/// A number for people: `60000` as `60,000`.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
