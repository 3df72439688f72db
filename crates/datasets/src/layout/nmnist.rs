//! N-MNIST: `Train/<digit>/NNNNN.bin` and `Test/<digit>/NNNNN.bin`, numbered from 1 through each split.
//!
//! A `.bin` file with another name, or with a number that another digit has already, is refused: it would be counted as an
//! official sample and is none.

use std::collections::BTreeMap;
use std::path::Path;

use bpsta_events::Format;

use super::{Content, Found, Scan, find_root, foreign, gaps, list, name_gaps};
use crate::{DatasetError, DatasetId, DatasetInfo, SplitName};

const FOLDERS: [(&str, SplitName); 2] = [("Test", SplitName::Test), ("Train", SplitName::Train)];

pub(super) fn scan(id: DatasetId, info: &DatasetInfo, from: &Path) -> Result<Scan, DatasetError> {
    let not_recognised = |path: &Path| DatasetError::NotRecognised {
        dataset: id,
        path: path.to_owned(),
        expected: "folders Train and Test, each with one folder per digit (0 to 9), each with .bin files"
            .to_owned(),
    };
    let is_root = |root: &Path| FOLDERS.iter().any(|(name, _)| root.join(name).is_dir());
    let root = find_root(from, is_root)?.ok_or_else(|| not_recognised(from))?;

    let mut scan = Scan { root: root.clone(), files: Vec::new(), missing: Vec::new() };
    for (folder, split) in FOLDERS {
        let official = info.official(split);
        let mut numbers = BTreeMap::new();
        let path = root.join(folder);
        let digits = if path.is_dir() { list(&path)? } else { Vec::new() };
        for (digit, path) in digits.into_iter().filter(|(_, path)| path.is_dir()) {
            let Some(label) = info.classes.iter().position(|class| *class == digit) else {
                return Err(not_recognised(&path));
            };
            for (name, source) in list(&path)? {
                let Some(stem) = name.strip_suffix(".bin") else { continue };
                let number = stem.parse::<usize>().ok();
                let number = number.filter(|n| (1..=official).contains(n) && name == format!("{n:05}.bin"));
                let Some(number) = number else {
                    return Err(foreign(source, format!("a name from 00001.bin to {official:05}.bin")));
                };
                if let Some(other) = numbers.insert(number, digit.clone()) {
                    let expected = format!("every number once, but {folder}/{other} has {name} too");
                    return Err(foreign(source, expected));
                }
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
        let empty = info.classes.iter().filter(|class| !numbers.values().any(|digit| digit == *class));
        if !numbers.is_empty() {
            scan.missing.extend(empty.map(|class| format!("{folder}: class {class}: no file")));
        }
        let gaps = gaps(&numbers.into_keys().collect(), 1, official);
        if !gaps.is_empty() {
            scan.missing.push(format!("{folder}: numbers {}", name_gaps(&gaps)));
        }
    }
    if scan.files.is_empty() { Err(not_recognised(&root)) } else { Ok(scan) }
}
