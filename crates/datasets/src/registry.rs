//! `datasets.toml`: every data set as data. Sources, sizes, checksums and split rules stand there and nowhere else.

mod check;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use bpsta_events::{Format, Framing};
use serde::{Deserialize, Serialize};

use crate::error::IoContext;
use crate::toml_text::{from_toml, nearest};
use crate::{Augmentation, Counts, DatasetError, DatasetId, SplitName};

/// A `datasets.toml`: a table a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Registry {
    path: PathBuf,
    sets: BTreeMap<DatasetId, DatasetInfo>,
}

/// What a data set officially is.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetInfo {
    /// Its name as people write it.
    pub title: String,
    /// The publication to cite.
    pub citation: String,
    /// The terms it is published under, as far as its publishers state them.
    pub licence: String,
    /// Images or event recordings.
    pub kind: Kind,
    /// How its files lie in their tree.
    pub layout: Layout,
    /// The format of its recordings, where the layout does not say it: [`Layout::ClassFolders`].
    #[serde(default)]
    pub format: Option<Format>,
    /// Width of the image or sensor in pixels.
    pub width: u16,
    /// Height of the image or sensor in pixels.
    pub height: u16,
    /// Channels of a frame: 1 grey, 3 colour, 2 for events (0 = OFF, 1 = ON).
    pub channels: usize,
    /// Names of the classes; the label is the place in this list.
    pub classes: Vec<String>,
    /// Official numbers of samples. A data set of one's own may leave them out: all that is imported is then all there is.
    #[serde(default)]
    pub samples: Option<Counts>,
    /// How training and test samples are told apart.
    pub split: SplitRule,
    /// How event recordings are framed if nothing else is asked for, such as `number:16`: of the paper's data sets as the paper does it.
    #[serde(default, deserialize_with = "framing")]
    pub framing: Option<Framing>,
    /// How training samples are varied, where they are.
    #[serde(default)]
    pub augmentation: Augmentation,
    /// Where the files can be fetched: each a prefix, to which a file's `path` is appended. The first is preferred.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// A page where the files can only be fetched by hand (terms must be accepted there).
    #[serde(default)]
    pub by_hand: Option<String>,
    /// The published files; none of a data set of one's own.
    #[serde(default)]
    pub files: Vec<RemoteFile>,
    /// MD5 by file name of what the published files unpack to, where a public loader states it.
    #[serde(default)]
    pub unpacked: BTreeMap<String, String>,
}

/// A published file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteFile {
    /// Its name.
    pub name: String,
    /// What is appended to a mirror to fetch it, if not the name.
    #[serde(default)]
    pub path: Option<String>,
    /// Length in bytes, where known.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// MD5, 32 hex digits.
    pub md5: String,
    /// SHA-256, 64 hex digits, where known.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// What a sample is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One image.
    Static,
    /// A recording of events, framed before use.
    Events,
}

/// How the files of a data set lie in their tree. Another data set that is published in the same way has the same layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Four IDX files.
    Mnist,
    /// Six files of CIFAR-10's binary version.
    Cifar10,
    /// `Train/<class>/NNNNN.bin`, `Test/<class>/NNNNN.bin`.
    Nmnist,
    /// AEDAT 3.1 recordings with a label file each, and two lists of them.
    Dvsgesture,
    /// `<class>/cifar10_<class>_<i>.aedat`, AEDAT 2.0.
    Dvscifar10,
    /// One folder per class, with recordings of the format that `format` says, by any name; below `Train` and `Test` where the split is
    /// official-folders. For data sets of one's own. AEDAT 2.0 and 3.1 are only read for the DVS128.
    ClassFolders,
}

impl Layout {
    /// Whether a recording lies in a folder that has the name of its class.
    pub(crate) fn has_class_folders(self) -> bool {
        match self {
            Layout::Mnist | Layout::Cifar10 | Layout::Dvsgesture => false,
            Layout::Nmnist | Layout::Dvscifar10 | Layout::ClassFolders => true,
        }
    }

    /// The kind of data that it holds, and the split rules that it allows.
    fn holds(self) -> (Kind, &'static [SplitRule]) {
        match self {
            Layout::Mnist | Layout::Cifar10 => (Kind::Static, &[SplitRule::OfficialFiles]),
            Layout::Nmnist => (Kind::Events, &[SplitRule::OfficialFolders]),
            Layout::Dvsgesture => (Kind::Events, &[SplitRule::OfficialTrialLists]),
            Layout::Dvscifar10 => (Kind::Events, &[SplitRule::FirstNineTenthsByName]),
            Layout::ClassFolders => {
                (Kind::Events, &[SplitRule::OfficialFolders, SplitRule::FirstNineTenthsByName])
            }
        }
    }
}

/// How training and test samples are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitRule {
    /// Training and test samples are published in files of their own (MNIST, CIFAR-10).
    OfficialFiles,
    /// Folders `Train` and `Test` (N-MNIST).
    OfficialFolders,
    /// `trials_to_train.txt` and `trials_to_test.txt` name the recordings of each split (DVS128 Gesture).
    OfficialTrialLists,
    /// Per class the first 90% (rounded down, but at least one) of the files at hand, sorted by name (0, 1, 10, 100, ...), are training samples.
    /// There is no official split; this is the paper's.
    FirstNineTenthsByName,
}

/// Reads `number:16` or `time:16`, as framings are written everywhere.
fn framing<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Framing>, D::Error> {
    String::deserialize(deserializer)?.parse().map(Some).map_err(serde::de::Error::custom)
}

impl fmt::Display for SplitRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            SplitRule::OfficialFiles => "official-files",
            SplitRule::OfficialFolders => "official-folders",
            SplitRule::OfficialTrialLists => "official-trial-lists",
            SplitRule::FirstNineTenthsByName => "first-nine-tenths-by-name",
        })
    }
}

impl Registry {
    /// Reads a registry file.
    ///
    /// # Errors
    /// [`DatasetError::Io`] when it cannot be read; [`DatasetError::Registry`] with key, line and column when a key is
    /// unknown (with the nearest known one), missing or of the wrong type, a checksum is not made of hex digits, or a layout
    /// does not go with what stands beside it.
    pub fn load(path: &Path) -> Result<Registry, DatasetError> {
        let bad = |at: String, message: String| DatasetError::Registry { path: path.to_owned(), at, message };
        let text = std::fs::read_to_string(path).context("read", path)?;
        let sets: BTreeMap<DatasetId, DatasetInfo> =
            from_toml(&text).map_err(|problem| bad(problem.at, problem.message))?;
        for (id, info) in &sets {
            info.check().map_err(|(at, message)| bad(format!("{id}.{at}"), message))?;
        }
        Ok(Registry { path: path.to_owned(), sets })
    }

    /// What the registry says about a data set.
    ///
    /// # Errors
    /// [`DatasetError::UnknownDataset`] where it says nothing of it.
    pub fn get(&self, id: DatasetId) -> Result<&DatasetInfo, DatasetError> {
        self.sets.get(&id).ok_or_else(|| DatasetError::UnknownDataset {
            name: id.to_string(),
            path: self.path.clone(),
            meant: nearest(id.as_str(), self.sets.keys().map(DatasetId::as_str)).map(str::to_owned),
            there: self.ids().map(|id| id.to_string()).collect::<Vec<_>>().join(", "),
        })
    }

    /// Every data set: the paper's in the order of its tables, then others by name.
    pub fn ids(&self) -> impl Iterator<Item = DatasetId> {
        let of_paper = DatasetId::PAPER.into_iter().filter(|id| self.sets.contains_key(id));
        of_paper.chain(self.sets.keys().copied().filter(|id| !DatasetId::PAPER.contains(id)))
    }
}

impl DatasetInfo {
    /// The format of its recordings; none of images.
    pub(crate) fn recordings(&self) -> Option<Format> {
        match self.layout {
            Layout::Mnist | Layout::Cifar10 => None,
            Layout::Nmnist => Some(Format::NmnistBin),
            Layout::Dvsgesture => Some(Format::Aedat31),
            Layout::Dvscifar10 => Some(Format::Aedat2),
            Layout::ClassFolders => self.format,
        }
    }

    /// Samples of a split, officially; none where nobody says.
    pub(crate) fn official(&self, split: SplitName) -> usize {
        self.samples.map_or(0, |samples| match split {
            SplitName::Train => samples.train,
            SplitName::Test => samples.test,
        })
    }

    /// The shape of a sample, `[T, C, H, W]`.
    pub(crate) fn shape(&self, time_steps: usize) -> [usize; 4] {
        [time_steps, self.channels, usize::from(self.height), usize::from(self.width)]
    }

    /// Pixels of one channel.
    pub(crate) fn pixels(&self) -> usize {
        usize::from(self.width) * usize::from(self.height)
    }
}
