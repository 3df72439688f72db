//! Names of the data sets, as they are written on the command line, in files and in records.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::DatasetError;

/// One of the data sets the paper reports on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatasetId {
    /// MNIST: handwritten digits, 28x28 grey images, 10 classes.
    Mnist,
    /// CIFAR-10: 32x32 colour images, 10 classes.
    Cifar10,
    /// N-MNIST: MNIST seen by a moving ATIS sensor, 34x34 events, 10 classes.
    Nmnist,
    /// DVS128 Gesture: hand and arm gestures, 128x128 events, 11 classes.
    DvsGesture,
    /// CIFAR10-DVS: CIFAR-10 images moved before a DVS128, 128x128 events, 10 classes.
    DvsCifar10,
}

impl DatasetId {
    /// Every data set, in the order in which the tables list them.
    pub const ALL: [DatasetId; 5] = [
        DatasetId::Mnist,
        DatasetId::Cifar10,
        DatasetId::Nmnist,
        DatasetId::DvsGesture,
        DatasetId::DvsCifar10,
    ];

    /// The name used on the command line, in folder names and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            DatasetId::Mnist => "mnist",
            DatasetId::Cifar10 => "cifar10",
            DatasetId::Nmnist => "nmnist",
            DatasetId::DvsGesture => "dvsgesture",
            DatasetId::DvsCifar10 => "dvscifar10",
        }
    }
}

impl fmt::Display for DatasetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for DatasetId {
    type Err = DatasetError;

    fn from_str(name: &str) -> Result<Self, DatasetError> {
        DatasetId::ALL
            .into_iter()
            .find(|id| id.as_str() == name)
            .ok_or_else(|| DatasetError::UnknownDataset { name: name.to_owned() })
    }
}
