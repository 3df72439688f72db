//! Does a manifest that was read agree with itself and with the registry? It may have been edited, or copied from elsewhere.

use std::path::{Component, Path};

use crate::layout::splits;
use crate::manifest::Counts;
use crate::{DatasetInfo, FileEntry, Manifest, SplitName, Subset};

/// Checks what the types cannot say. The error is the field and what is wrong there.
pub(crate) fn check(manifest: &Manifest, info: &DatasetInfo) -> Result<(), (String, String)> {
    for (index, entry) in manifest.files.iter().enumerate() {
        file(entry, info).map_err(|(field, message)| (format!("files[{index}].{field}"), message))?;
    }
    if let Some(index) = manifest.files.windows(2).position(|pair| pair[0].path >= pair[1].path) {
        let message = "expected every file once, sorted by path".to_owned();
        return Err((format!("files[{}].path", index + 1), message));
    }
    let bytes = manifest.files.iter().try_fold(0u64, |sum, entry| sum.checked_add(entry.bytes));
    if bytes.is_none() {
        return Err(("files".into(), "their bytes are more than any disk holds".into()));
    }
    let counted =
        Counts { train: samples(manifest, SplitName::Train)?, test: samples(manifest, SplitName::Test)? };
    if counted != manifest.samples {
        let (says, held) = (manifest.samples, counted);
        let message = format!(
            "the manifest says {} training and {} test samples, its files hold {} and {}",
            says.train, says.test, held.train, held.test
        );
        return Err(("samples".into(), message));
    }
    if !manifest.synthetic
        && let Some(official) = counted.beyond(info.samples)
    {
        let message = format!(
            "the files hold {} training and {} test samples, datasets.toml says {} and {} at most",
            counted.train, counted.test, official.train, official.test
        );
        return Err(("samples".into(), message));
    }
    let subset = if manifest.synthetic { None } else { Subset::of(manifest.samples, info.samples) };
    if manifest.subset != subset {
        let message =
            format!("the manifest says {}, its files make it {}", words(manifest.subset), words(subset));
        return Err(("subset".into(), message));
    }
    if manifest.split_rule != info.split {
        let message = format!("the manifest says {}, datasets.toml says {}", manifest.split_rule, info.split);
        return Err(("split_rule".into(), message));
    }
    let expected = splits(info, &manifest.files);
    let wrong = manifest.files.iter().zip(expected).enumerate().find_map(|(index, (entry, expected))| {
        expected.filter(|expected| entry.split != Some(*expected)).map(|expected| (index, entry, expected))
    });
    if let Some((index, entry, expected)) = wrong {
        let found = entry.split.map_or("none", SplitName::as_str);
        let (rule, expected) = (info.split, expected.as_str());
        return Err((
            format!("files[{index}].split"),
            format!("expected {expected} by {rule}, found {found}"),
        ));
    }
    Ok(())
}

/// A subset for people.
fn words(subset: Option<Subset>) -> String {
    subset.map_or_else(
        || "no subset".to_owned(),
        |of| {
            let Subset { train, train_official, test, test_official } = of;
            format!(
                "a subset of {train} of {train_official} training and {test} of {test_official} test samples"
            )
        },
    )
}

fn file(entry: &FileEntry, info: &DatasetInfo) -> Result<(), (&'static str, String)> {
    // A name of plain parts alone cannot lead out of `raw/`.
    let plain = Path::new(&entry.path).components().all(|part| matches!(part, Component::Normal(_)));
    if entry.path.is_empty() || !plain || entry.path.contains('\\') {
        return Err(("path", format!("expected a path below raw/, found {:?}", entry.path)));
    }
    if let Some(label) = entry.label.filter(|label| usize::from(*label) >= info.classes.len()) {
        return Err(("label", format!("expected a label below {}, found {label}", info.classes.len())));
    }
    // Labels are places in the registry's list, which may have been put into another order since.
    if info.layout.has_class_folders() {
        let folder = Path::new(&entry.path).parent().and_then(Path::file_name);
        let class = entry.label.and_then(|label| info.classes.get(usize::from(label)));
        if class.is_none_or(|class| folder != Some(class.as_ref())) {
            let class = class.map_or("no class", String::as_str);
            let message = format!("datasets.toml has {class} there, but the file lies at {}", entry.path);
            return Err(("label", message));
        }
    }
    if entry.samples > 0 && entry.split.is_none() {
        return Err(("split", "expected train or test, since the file holds samples".to_owned()));
    }
    Ok(())
}

fn samples(manifest: &Manifest, split: SplitName) -> Result<usize, (String, String)> {
    let mut of_split = manifest.files.iter().filter(|entry| entry.split == Some(split));
    of_split
        .try_fold(0usize, |sum, entry| sum.checked_add(entry.samples))
        .ok_or_else(|| ("files".to_owned(), format!("their {} samples are more than can be", split.as_str())))
}
