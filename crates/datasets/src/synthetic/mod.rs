//! Synthetic stand-ins: small generated data sets in the official layouts and formats.
//!
//! [`generate`] writes a tree that the importer reads like an unpacked official download, so that the whole path
//! from files to results can be tried without one. The samples are learnable, but not trivial:
//!
//! - MNIST, N-MNIST: ten figures drawn with strokes; for N-MNIST the same figures before a sensor in saccades.
//! - CIFAR10, DVS-CIFAR10: textured shapes; colour is mostly a distractor; for DVS-CIFAR10 moved in a closed loop.
//! - DVS-Gesture: a person's moving arms. The events of a trial, summed over time, are the same for every class up
//!   to noise; only their order in time tells the classes apart.
//!
//! Event sets are recorded with a model of the sensor's pixels (module `dvs`).
//!
//! # Same seed, same bytes
//! Each sample draws from random streams of its own, named after the seed, the data set, the split and its index
//! (module `crate::stream`). A sample therefore does not depend on how many are asked for: a bigger set begins with the
//! samples of a smaller one. Samples are made in parallel, and the bytes do not depend on the number of threads.
//! Sine, cosine and logarithm come from the crate `libm`, and everything else is arithmetic that IEEE 754 defines
//! to the last bit, so the bytes are the same on every platform too.

mod arms;
mod dvs;
mod glyphs;
mod recordings;
mod still;
mod stills;
mod textures;
mod tree;

use std::path::{Path, PathBuf};

use crate::DatasetId;
use tree::Tree;

/// Version of the generator. A change of what it writes for some size and seed raises it, so that no stand-in of an older
/// program is taken for one of this.
pub const VERSION: u32 = 1;

/// The file in a generated tree, and in the `raw/` made of it, that says what it is: neither must ever pass for official data.
pub(crate) const MARKER: &str = "SYNTHETIC.txt";

/// How many samples to generate, over all classes. Sample `i` of a split has class `i` modulo the number of classes,
/// so the classes are as balanced as the count permits. There are at most as many as the official files hold; of DVS-Gesture, eleven for
/// each user and light that there officially are, which is more than the official number.
///
/// DVS-CIFAR10 has no official split, and its files do not say which split they belong to: `train + test` is
/// rounded up to a multiple of ten, every class gets a tenth of it, and the rule for that set decides (of each
/// class's files sorted by name, the first 90% are for training).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Training samples.
    pub train: usize,
    /// Test samples.
    pub test: usize,
}

/// Why a stand-in could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SyntheticError {
    /// A data set that the paper does not have.
    #[error("there is no stand-in of {dataset}: only the paper's data sets have one")]
    NoGenerator {
        /// The data set.
        dataset: DatasetId,
    },
    /// A split without samples was asked for.
    #[error("a stand-in needs at least one training and one test sample, asked for {train} and {test}")]
    EmptySplit {
        /// Training samples asked for.
        train: usize,
        /// Test samples asked for.
        test: usize,
    },
    /// A size that the data set's files cannot have.
    #[error("there is no stand-in of {dataset} with {train} training and {test} test samples: {why}")]
    Size {
        /// The data set.
        dataset: DatasetId,
        /// Training samples asked for.
        train: usize,
        /// Test samples asked for.
        test: usize,
        /// Why not, and what to ask for instead.
        why: &'static str,
    },
    /// More gesture trials than there are official users and lights to name recordings after.
    #[error(
        "the DVS-Gesture stand-in has at most {most} {split} trials (11 for each user and light), asked for \
         {asked}; ask for fewer"
    )]
    TooManyTrials {
        /// `train` or `test`.
        split: &'static str,
        /// Trials asked for.
        asked: usize,
        /// The most there can be.
        most: usize,
    },
    /// The folder holds something already.
    #[error("{} is not empty; name a new or empty folder for the stand-in", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// A folder could not be made or listed.
    #[error("cannot make or list the folder {}; check that its parent exists and may be written to", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}; check free space and permissions, and delete the unfinished folder", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Generated events do not fit their format: a fault of this program.
    #[error("the events generated for {} do not fit the format; please report this with the seed", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// What the encoder said.
        source: Box<bpsta_events::EncodeError>,
    },
}

/// One split of a stand-in.
struct SplitPart {
    /// `train` or `test`.
    name: &'static str,
    samples: usize,
}

/// Writes the stand-in of `dataset` with `size` samples from `seed` under `root`, which must be absent or empty.
///
/// The tree has the official unpacked layout, plus the file `SYNTHETIC.txt` that says what it is.
///
/// # Errors
/// When a split would be empty or too big, when `root` holds something, and when a file cannot be
/// written; the unfinished tree is then left behind with its `SYNTHETIC.txt`.
pub fn generate(dataset: DatasetId, size: &Size, seed: u64, root: &Path) -> Result<(), SyntheticError> {
    let Size { train, test } = *size;
    if train == 0 || test == 0 {
        return Err(SyntheticError::EmptySplit { train, test });
    }
    let parts = [SplitPart { name: "train", samples: train }, SplitPart { name: "test", samples: test }];
    if !DatasetId::PAPER.contains(&dataset) {
        return Err(SyntheticError::NoGenerator { dataset });
    }
    check_size(dataset, size, &parts)?;
    let tree = Tree::claim(root, dataset, size, seed)?;
    match dataset {
        DatasetId::MNIST => stills::write_mnist(seed, &parts, tree),
        DatasetId::CIFAR10 => stills::write_cifar10(seed, &parts, tree),
        DatasetId::NMNIST => recordings::write_nmnist(seed, &parts, tree),
        DatasetId::DVSGESTURE => recordings::write_dvs_gesture(seed, &parts, tree),
        DatasetId::DVSCIFAR10 => recordings::write_dvs_cifar10(seed, size, tree),
        _ => Err(SyntheticError::NoGenerator { dataset }),
    }
}

/// Refuses before anything is generated what the importer would refuse or divide otherwise than asked for.
fn check_size(dataset: DatasetId, size: &Size, parts: &[SplitPart; 2]) -> Result<(), SyntheticError> {
    let Size { train, test } = *size;
    let why = match dataset {
        DatasetId::MNIST | DatasetId::NMNIST if train > 60_000 || test > 10_000 => {
            "officially there are 60000 and 10000; ask for no more"
        }
        DatasetId::CIFAR10 if train > 50_000 || test > 10_000 => {
            "officially there are 50000 and 10000; ask for no more"
        }
        DatasetId::CIFAR10 if train < 5 => {
            "training samples lie in five files, none of them empty; ask for at least 5"
        }
        DatasetId::DVSCIFAR10 if train.saturating_add(test) > 10_000 => {
            "officially there are 10000 in all; ask for no more"
        }
        DatasetId::DVSCIFAR10 if train + test <= 10 => {
            "a class with one recording has none for testing; ask for more than 10 in all"
        }
        DatasetId::DVSGESTURE => return recordings::check_dvs_gesture(parts),
        _ => return Ok(()),
    };
    Err(SyntheticError::Size { dataset, train, test, why })
}
