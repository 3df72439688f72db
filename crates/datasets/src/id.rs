//! Names of data sets, as they are written on the command line, in files, in folder names and in records.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::DatasetError;

/// Letters of a name at most.
const MOST: usize = 24;

/// Folders of the data folder that hold something else than a data set.
const RESERVED: [&str; 2] = ["downloads", "synthetic"];

/// The name of a data set: one the paper reports on, or a user's own. Which there are is said by `datasets.toml`.
///
/// From 1 to 24 lower-case letters, digits, `-` and `_`, a letter first: it is a folder's name on every system.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatasetId {
    /// Unused ones are 0.
    letters: [u8; MOST],
    length: u8,
}

impl DatasetId {
    /// MNIST: handwritten digits, 28x28 grey images, 10 classes.
    pub const MNIST: Self = Self::of("mnist");
    /// CIFAR-10: 32x32 colour images, 10 classes.
    pub const CIFAR10: Self = Self::of("cifar10");
    /// N-MNIST: MNIST seen by a moving ATIS sensor, 34x34 events, 10 classes.
    pub const NMNIST: Self = Self::of("nmnist");
    /// DVS128 Gesture: hand and arm gestures, 128x128 events, 11 classes.
    pub const DVSGESTURE: Self = Self::of("dvsgesture");
    /// CIFAR10-DVS: CIFAR-10 images moved before a DVS128, 128x128 events, 10 classes.
    pub const DVSCIFAR10: Self = Self::of("dvscifar10");

    /// The paper's, in the order in which the tables list them.
    pub const PAPER: [Self; 5] =
        [Self::MNIST, Self::CIFAR10, Self::NMNIST, Self::DVSGESTURE, Self::DVSCIFAR10];

    /// For names that keep the rules.
    const fn of(name: &str) -> Self {
        let (mut letters, mut at) = ([0; MOST], 0);
        while at < name.len() {
            letters[at] = name.as_bytes()[at];
            at += 1;
        }
        Self { letters, length: name.len() as u8 }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        // Nothing but ASCII comes in.
        str::from_utf8(&self.letters[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl fmt::Display for DatasetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for DatasetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DatasetId {
    type Err = DatasetError;

    fn from_str(name: &str) -> Result<Self, DatasetError> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        let good = name.len() <= MOST
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(allowed)
            && !RESERVED.contains(&name);
        if good { Ok(Self::of(name)) } else { Err(DatasetError::BadName { name: name.to_owned() }) }
    }
}

impl Serialize for DatasetId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for DatasetId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
