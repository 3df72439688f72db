//! N-MNIST: `Train/<digit>/NNNNN.bin` and `Test/<digit>/NNNNN.bin`, numbered from 1 through each split.

use std::collections::BTreeSet;
use std::path::Path;

use bpsta_events::Format;

use super::{Content, Found, Scan, find_root, gaps, list, name_gaps};
use crate::{DatasetError, DatasetId, DatasetInfo, SplitName};

const FOLDERS: [(&str, SplitName); 2] = [("Test", SplitName::Test), ("Train", SplitName::Train)];

pub(super) fn scan(info: &DatasetInfo, from: &Path) -> Result<Scan, DatasetError> {
    let not_recognised = |path: &Path| DatasetError::NotRecognised {
        dataset: DatasetId::Nmnist,
        path: path.to_owned(),
        expected: "folders Train and Test, each with a folder a digit (0 to 9) of .bin files".to_owned(),
    };
    let is_root = |root: &Path| FOLDERS.iter().any(|(name, _)| root.join(name).is_dir());
    let root = find_root(from, is_root)?.ok_or_else(|| not_recognised(from))?;

    let mut scan = Scan { root: root.clone(), files: Vec::new(), missing: Vec::new() };
    for (folder, split) in FOLDERS {
        let official = match split {
            SplitName::Train => info.samples.train,
            SplitName::Test => info.samples.test,
        };
        let mut numbers = BTreeSet::new();
        let path = root.join(folder);
        let digits = if path.is_dir() { list(&path)? } else { Vec::new() };
        for (digit, path) in digits.into_iter().filter(|(_, path)| path.is_dir()) {
            let Some(label) = info.classes.iter().position(|class| *class == digit) else {
                return Err(not_recognised(&path));
            };
            for (name, source) in list(&path)? {
                let Some(number) = name.strip_suffix(".bin") else { continue };
                numbers.extend(number.parse::<usize>().ok());
                scan.files.push(Found {
                    source,
                    target: format!("{folder}/{digit}/{name}"),
                    split: Some(split),
                    // The registry allows no more than 256 classes.
                    label: u8::try_from(label).ok(),
                    content: Content::Recording(Format::NmnistBin),
                });
            }
        }
        let gaps = gaps(&numbers, 1, official);
        if !gaps.is_empty() {
            scan.missing.push(format!("{folder}: numbers {}", name_gaps(&gaps)));
        }
    }
    if scan.files.is_empty() { Err(not_recognised(&root)) } else { Ok(scan) }
}
