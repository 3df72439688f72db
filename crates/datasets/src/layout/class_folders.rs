//! A data set of one's own: a folder a class, full of recordings of one format; where the split is official, below `Train` and
//! `Test`.
//!
//! Any name will do, but nothing that is no recording may lie between them: what an import would leave out in silence is refused.

use std::path::Path;

use super::{Content, Found, Scan, find_root, foreign, list, training_files};
use crate::{DatasetError, DatasetId, DatasetInfo, SplitName, SplitRule};

pub(super) fn scan(id: DatasetId, info: &DatasetInfo, from: &Path) -> Result<Scan, DatasetError> {
    let not_recognised =
        |expected| DatasetError::NotRecognised { dataset: id, path: from.to_owned(), expected };
    let Some(format) = info.format else {
        return Err(not_recognised("a `format` beside its layout in datasets.toml".to_owned()));
    };
    let suffix = format!(".{}", format.extension());
    let by_folder = info.split == SplitRule::OfficialFolders;
    let parts: &[(&str, Option<SplitName>)] = match by_folder {
        true => &[("Test/", Some(SplitName::Test)), ("Train/", Some(SplitName::Train))],
        false => &[("", None)],
    };
    let is_root = |root: &Path| {
        parts.iter().any(|(part, _)| info.classes.iter().any(|class| root.join(part).join(class).is_dir()))
    };
    let root = find_root(from, is_root)?.ok_or_else(|| {
        let above = if by_folder { "folders Train and Test, each with " } else { "" };
        let classes = info.classes.join(", ");
        not_recognised(format!("{above}a folder a class ({classes}) of {suffix} files"))
    })?;

    let mut scan = Scan { root: root.clone(), files: Vec::new(), missing: Vec::new() };
    for (part, split) in parts {
        let here = root.join(part);
        for (name, path) in if here.is_dir() { list(&here)? } else { Vec::new() } {
            if path.is_dir() && !info.classes.contains(&name) {
                return Err(foreign(path, format!("a folder of a class: {}", info.classes.join(", "))));
            }
        }
        for (label, class) in info.classes.iter().enumerate() {
            let folder = here.join(class);
            let files = if folder.is_dir() { list(&folder)? } else { Vec::new() };
            if files.is_empty() {
                scan.missing.push(format!("{part}{class}: no file"));
            }
            let train = training_files(files.len());
            for (place, (name, source)) in files.into_iter().enumerate() {
                if !name.ends_with(&suffix) || !source.is_file() {
                    return Err(foreign(source, format!("files whose names end in {suffix}")));
                }
                let by_place = if place < train { SplitName::Train } else { SplitName::Test };
                scan.files.push(Found {
                    source,
                    target: format!("{part}{class}/{name}"),
                    split: Some(split.unwrap_or(by_place)),
                    // The registry allows no more than 256 classes.
                    label: u8::try_from(label).ok(),
                    content: Content::Recording(format),
                });
            }
        }
    }
    Ok(scan)
}
