//! MNIST: four IDX files, as published (.gz) or unpacked.

use std::path::Path;

use super::{Content, Found, Scan, find_root};
use crate::{DatasetError, DatasetId, SplitName};

const FILES: [(&str, SplitName, bool); 4] = [
    ("train-images-idx3-ubyte", SplitName::Train, true),
    ("train-labels-idx1-ubyte", SplitName::Train, false),
    ("t10k-images-idx3-ubyte", SplitName::Test, true),
    ("t10k-labels-idx1-ubyte", SplitName::Test, false),
];

/// The split of the file of this name, if there is such a file.
pub(super) fn split_of(path: &str) -> Option<SplitName> {
    FILES.iter().find(|(name, ..)| *name == path).map(|(_, split, ..)| *split)
}

pub(super) fn scan(id: DatasetId, from: &Path) -> Result<Scan, DatasetError> {
    let present = |root: &Path, name: &str| {
        [root.join(name), root.join(format!("{name}.gz"))].into_iter().find(|path| path.is_file())
    };
    let not_recognised = || {
        DatasetError::NotRecognised {
        dataset: id,
        path: from.to_owned(),
        expected: "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, \
                   t10k-labels-idx1-ubyte, each unpacked or with .gz; images and labels of a split belong together"
            .to_owned(),
    }
    };
    let is_root = |root: &Path| FILES.iter().any(|(name, ..)| present(root, name).is_some());
    let root = find_root(from, is_root)?.ok_or_else(not_recognised)?;

    let mut scan = Scan { root: root.clone(), files: Vec::new(), missing: Vec::new() };
    for (name, split, images) in FILES {
        match present(&root, name) {
            Some(source) => scan.files.push(Found {
                source,
                target: name.to_owned(),
                split: Some(split),
                label: None,
                content: if images { Content::Images } else { Content::Labels },
            }),
            None => scan.missing.push(name.to_owned()),
        }
    }
    // Images without labels, or labels without images, are of no use: neither half is taken for a subset.
    for split in SplitName::ALL {
        if scan.files.iter().filter(|found| found.split == Some(split)).count() == 1 {
            return Err(not_recognised());
        }
    }
    Ok(scan)
}
