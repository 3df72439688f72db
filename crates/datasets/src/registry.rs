//! `datasets.toml`: every data set as data. Sources, sizes, checksums and split rules stand there and nowhere else.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use bpsta_events::Framing;
use serde::{Deserialize, Serialize};

use crate::error::IoContext;
use crate::{Counts, DatasetError, DatasetId};

/// The parsed `datasets.toml`: one table a data set, all five of them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    mnist: DatasetInfo,
    cifar10: DatasetInfo,
    nmnist: DatasetInfo,
    dvsgesture: DatasetInfo,
    dvscifar10: DatasetInfo,
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
    /// Width of the image or sensor in pixels.
    pub width: u16,
    /// Height of the image or sensor in pixels.
    pub height: u16,
    /// Channels of a frame: 1 grey, 3 colour, 2 for events (0 = OFF, 1 = ON).
    pub channels: usize,
    /// Names of the classes; the label is the place in this list.
    pub classes: Vec<String>,
    /// Official numbers of samples.
    pub samples: Counts,
    /// How training and test samples are told apart.
    pub split: SplitRule,
    /// The paper's framing of event recordings, such as `number:16`.
    #[serde(default, deserialize_with = "framing")]
    pub framing: Option<Framing>,
    /// Where the files can be fetched: each a prefix, to which a file's `path` is appended. The first is preferred.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// A page where the files can only be fetched by hand (terms must be accepted there).
    #[serde(default)]
    pub by_hand: Option<String>,
    /// The published files.
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
    let text = String::deserialize(deserializer)?;
    let parsed = text.split_once(':').and_then(|(by, frames)| {
        let frames = frames.parse().ok().filter(|&frames: &usize| frames > 0)?;
        match by {
            "number" => Some(Framing::ByNumber { frames }),
            "time" => Some(Framing::ByTime { frames }),
            _ => None,
        }
    });
    let expected = || format!("expected a framing such as \"number:16\" or \"time:16\", found {text:?}");
    parsed.map(Some).ok_or_else(|| serde::de::Error::custom(expected()))
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
    /// unknown, missing or of the wrong type, or a checksum is not made of hex digits.
    pub fn load(path: &Path) -> Result<Registry, DatasetError> {
        Registry::parse(path, &std::fs::read_to_string(path).context("read", path)?)
    }

    fn parse(path: &Path, text: &str) -> Result<Registry, DatasetError> {
        let bad = |at: String, message: String| DatasetError::Registry { path: path.to_owned(), at, message };
        let document =
            toml::Deserializer::parse(text).map_err(|error| bad("the file".into(), error.to_string()))?;
        let registry: Registry = serde_path_to_error::deserialize(document).map_err(|error| {
            // The deserializer knows only the place; the line it stands in comes from the text.
            let mut inner = error.inner().clone();
            inner.set_input(Some(text));
            bad(error.path().to_string(), inner.to_string())
        })?;
        for id in DatasetId::ALL {
            registry.get(id).check().map_err(|(at, message)| bad(format!("{id}.{at}"), message))?;
        }
        Ok(registry)
    }

    /// What the registry says about a data set.
    pub fn get(&self, id: DatasetId) -> &DatasetInfo {
        match id {
            DatasetId::Mnist => &self.mnist,
            DatasetId::Cifar10 => &self.cifar10,
            DatasetId::Nmnist => &self.nmnist,
            DatasetId::DvsGesture => &self.dvsgesture,
            DatasetId::DvsCifar10 => &self.dvscifar10,
        }
    }
}

impl DatasetInfo {
    /// What the types cannot say: lengths of checksums, and what a kind implies.
    fn check(&self) -> Result<(), (String, String)> {
        let hex = |at: String, text: &str, digits: usize| {
            let good = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            let message = || format!("expected {digits} lower-case hex digits, found {text:?}");
            if good { Ok(()) } else { Err((at, message())) }
        };
        for (index, file) in self.files.iter().enumerate() {
            hex(format!("files[{index}].md5"), &file.md5, 32)?;
            if let Some(sha256) = &file.sha256 {
                hex(format!("files[{index}].sha256"), sha256, 64)?;
            }
        }
        for (name, md5) in &self.unpacked {
            hex(format!("unpacked.{name}"), md5, 32)?;
        }
        if self.classes.is_empty() || self.classes.len() > 256 {
            return Err(("classes".into(), "expected 1 to 256 classes: labels are bytes".into()));
        }
        match (self.kind, self.framing) {
            (Kind::Events, None) => {
                Err(("framing".into(), "event data needs one, such as \"number:16\"".into()))
            }
            (Kind::Static, Some(_)) => Err(("framing".into(), "static images are not framed".into())),
            _ => Ok(()),
        }
    }

    /// Pixels of one channel.
    pub(crate) fn pixels(&self) -> usize {
        usize::from(self.width) * usize::from(self.height)
    }
}
