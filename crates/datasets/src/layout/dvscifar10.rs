//! DVS-CIFAR10: one folder per class, with recordings `cifar10_<class>_<i>.aedat`, i from 0 to 999. An `.aedat` file with another
//! name is refused: it may be of another class.

use std::collections::BTreeSet;
use std::path::Path;

use bpsta_events::Format;

use super::{Content, Found, Scan, find_root, foreign, gaps, list, name_gaps, training_files};
use crate::{DatasetError, DatasetId, DatasetInfo, SplitName};

pub(super) fn scan(id: DatasetId, info: &DatasetInfo, from: &Path) -> Result<Scan, DatasetError> {
    let not_recognised = |path: &Path| DatasetError::NotRecognised {
        dataset: id,
        path: path.to_owned(),
        expected: "one folder per class (airplane to truck), each with .aedat files".to_owned(),
    };
    let is_root = |root: &Path| info.classes.iter().any(|class| root.join(class).is_dir());
    let root = find_root(from, is_root)?.ok_or_else(|| not_recognised(from))?;
    let official = (info.official(SplitName::Train) + info.official(SplitName::Test)) / info.classes.len();

    let mut scan = Scan { root: root.clone(), files: Vec::new(), missing: Vec::new() };
    for (label, class) in info.classes.iter().enumerate() {
        let folder = root.join(class);
        let mut files = if folder.is_dir() { list(&folder)? } else { Vec::new() };
        files.retain(|(name, _)| name.ends_with(".aedat"));
        // `list` sorts by name, and the rule needs exactly that order: 0, 1, 10, 100, ...
        let train = training_files(files.len());
        let mut numbers = BTreeSet::new();
        for (place, (name, source)) in files.into_iter().enumerate() {
            let stem = name.strip_prefix("cifar10_").and_then(|name| name.strip_suffix(".aedat"));
            let number = stem.and_then(|stem| stem.rsplit('_').next()?.parse::<usize>().ok());
            let number = number.filter(|n| *n < official && name == format!("cifar10_{class}_{n}.aedat"));
            let Some(number) = number else {
                let last = official.saturating_sub(1);
                let expected = format!("a name from cifar10_{class}_0.aedat to cifar10_{class}_{last}.aedat");
                return Err(foreign(source, expected));
            };
            numbers.insert(number);
            scan.files.push(Found {
                source,
                target: format!("{class}/{name}"),
                split: Some(if place < train { SplitName::Train } else { SplitName::Test }),
                // The registry allows no more than 256 classes.
                label: u8::try_from(label).ok(),
                content: Content::Recording(Format::Aedat2),
            });
        }
        let gaps = gaps(&numbers, 0, official);
        if !gaps.is_empty() {
            let none = if numbers.is_empty() { "no file, " } else { "" };
            scan.missing.push(format!("{class}: {none}numbers {}", name_gaps(&gaps)));
        }
    }
    if scan.files.is_empty() { Err(not_recognised(&root)) } else { Ok(scan) }
}
