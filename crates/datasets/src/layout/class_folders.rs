//! A data set of one's own: one folder per class, full of recordings of one format; where the split is official, below `Train` and
//! `Test`.
//!
//! Any name will do, but a folder of a class holds nothing but recordings, and beside and above them lie no other folders and no
//! recordings: what an import would leave out in silence is refused. Other files there, such as notes, are left alone.

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
    let classes = info.classes.join(", ");
    let above = if by_folder { "folders Train and Test, each with " } else { "" };
    let expected = format!("{above}one folder per class ({classes}), each with {suffix} files");
    let root = find_root(from, is_root)?.ok_or_else(|| not_recognised(expected.clone()))?;
    let refuse_others = |folder: &Path, is_ours: &dyn Fn(&str) -> bool, folders: &str| {
        let entries = if folder.is_dir() { list(folder)? } else { Vec::new() };
        let other = entries.into_iter().find(|(name, path)| match path.is_dir() {
            true => !is_ours(name),
            false => name.ends_with(&suffix),
        });
        other.map_or(Ok(()), |(_, path)| Err(foreign(path, folders)))
    };

    let mut scan = Scan { root: root.clone(), files: Vec::new(), missing: Vec::new() };
    if by_folder {
        let is_part = |name: &str| matches!(name, "Train" | "Test");
        refuse_others(&root, &is_part, "recordings in the folders Train and Test, and no other folder")?;
    }
    for (part, split) in parts {
        let here = root.join(part);
        let is_class = |name: &str| info.classes.iter().any(|class| class == name);
        refuse_others(&here, &is_class, &format!("recordings in a folder of a class: {classes}"))?;
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
                // In a manifest it would be a path of another system.
                if name.contains('\\') {
                    return Err(foreign(source, "a name without a backslash"));
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
    if scan.files.is_empty() { Err(not_recognised(expected)) } else { Ok(scan) }
}
