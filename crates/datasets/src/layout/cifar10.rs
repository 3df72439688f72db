//! CIFAR-10, binary version: `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`.

use std::path::Path;

use super::{Content, Found, Scan, find_root};
use crate::{DatasetError, DatasetId, SplitName};

const FILES: [(&str, SplitName); 6] = [
    ("data_batch_1.bin", SplitName::Train),
    ("data_batch_2.bin", SplitName::Train),
    ("data_batch_3.bin", SplitName::Train),
    ("data_batch_4.bin", SplitName::Train),
    ("data_batch_5.bin", SplitName::Train),
    ("test_batch.bin", SplitName::Test),
];

/// The split of the file of this name, if there is such a file.
pub(super) fn split_of(path: &str) -> Option<SplitName> {
    FILES.iter().find(|(name, _)| *name == path).map(|(_, split)| *split)
}

pub(super) fn scan(id: DatasetId, from: &Path) -> Result<Scan, DatasetError> {
    let is_root = |root: &Path| FILES.iter().any(|(name, _)| root.join(name).is_file());
    let root = find_root(from, is_root)?.ok_or_else(|| DatasetError::NotRecognised {
        dataset: id,
        path: from.to_owned(),
        expected: "data_batch_1.bin to data_batch_5.bin and test_batch.bin (the binary version, unpacked)"
            .to_owned(),
    })?;
    let mut scan = Scan { root: root.clone(), files: Vec::new(), missing: Vec::new() };
    for (name, split) in FILES {
        let source = root.join(name);
        if source.is_file() {
            let target = name.to_owned();
            scan.files.push(Found {
                source,
                target,
                split: Some(split),
                label: None,
                content: Content::Records,
            });
        } else {
            scan.missing.push(name.to_owned());
        }
    }
    Ok(scan)
}
