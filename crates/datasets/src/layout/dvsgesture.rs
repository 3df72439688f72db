//! DVS128 Gesture: recordings (`user01_led.aedat`), each with a label file (`user01_led_labels.csv`), and two lists that
//! name the recordings of each split.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Content, Found, Scan, find_root};
use crate::error::IoContext;
use crate::{DatasetError, DatasetId, FileEntry, SplitName};

const LISTS: [(&str, SplitName); 2] =
    [("trials_to_test.txt", SplitName::Test), ("trials_to_train.txt", SplitName::Train)];

/// One row of a label file: one sample of its recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its line in the file, from 1.
    pub(crate) line: usize,
    /// 0-based; the file counts from 1.
    pub(crate) label: u8,
    /// First microsecond.
    pub(crate) start: i64,
    /// The microsecond after the last.
    pub(crate) end: i64,
}

/// The split of a list by its name, and of a label file that of its recording.
pub(super) fn split_of(path: &str, files: &[FileEntry]) -> Option<SplitName> {
    if let Some((_, split)) = LISTS.iter().find(|(name, _)| *name == path) {
        return Some(*split);
    }
    let recording = format!("{}.aedat", path.strip_suffix("_labels.csv")?);
    files.iter().find(|file| file.path == recording)?.split
}

pub(super) fn scan(id: DatasetId, from: &Path) -> Result<Scan, DatasetError> {
    let not_recognised = |path: &Path| DatasetError::NotRecognised {
        dataset: id,
        path: path.to_owned(),
        expected: "trials_to_train.txt, trials_to_test.txt, and of the recordings they name \
                   at least one .aedat with its _labels.csv"
            .to_owned(),
    };
    let is_root = |root: &Path| LISTS.iter().all(|(name, _)| root.join(name).is_file());
    let root = find_root(from, is_root)?.ok_or_else(|| not_recognised(from))?;

    let mut scan = Scan { root: root.clone(), files: Vec::new(), missing: Vec::new() };
    let mut listed = BTreeMap::new();
    for (list, split) in LISTS {
        let path = root.join(list);
        let text = std::fs::read_to_string(&path).context("read", &path)?;
        for (index, name) in text.lines().map(str::trim).enumerate().filter(|(_, name)| !name.is_empty()) {
            let bad =
                |problem: String| DatasetError::BadLine { path: path.clone(), line: index + 1, problem };
            // A name with a folder in it could lead out of the tree.
            let Some(stem) = name.strip_suffix(".aedat").filter(|stem| !stem.contains(['/', '\\'])) else {
                return Err(bad(format!("expected the name of an .aedat file, found {name:?}")));
            };
            if listed.insert(stem.to_owned(), split).is_some() {
                return Err(bad(format!("{name} is listed twice")));
            }
        }
        scan.files.push(text_file(&root, list.to_owned(), Some(split)));
    }
    for (stem, split) in listed {
        let recording = format!("{stem}.aedat");
        let labels = format!("{stem}_labels.csv");
        if !root.join(&recording).is_file() {
            scan.missing.push(recording);
            continue;
        }
        scan.files.push(Found {
            source: root.join(&recording),
            target: recording,
            split: Some(split),
            label: None,
            content: Content::Trial { labels: root.join(&labels) },
        });
        scan.files.push(text_file(&root, labels, Some(split)));
    }
    if scan.files.len() == LISTS.len() { Err(not_recognised(&root)) } else { Ok(scan) }
}

fn text_file(root: &Path, name: String, split: Option<SplitName>) -> Found {
    Found { source: root.join(&name), target: name, split, label: None, content: Content::Text }
}

/// Reads a label file: a header line, then rows `class,startTime_usec,endTime_usec` with classes from 1.
///
/// Each row stands on its own: rows may overlap, and a class may come twice.
pub(crate) fn read_labels(path: &Path, classes: usize) -> Result<Vec<Row>, DatasetError> {
    let text = std::fs::read_to_string(path).context("read", path)?;
    let bad = |line: usize, problem: String| DatasetError::BadLine { path: path.to_owned(), line, problem };
    let mut lines = text.lines().map(str::trim).enumerate().map(|(index, line)| (index + 1, line));
    let header = lines.next().map(|(_, line)| line).unwrap_or_default();
    if header != "class,startTime_usec,endTime_usec" {
        return Err(bad(
            1,
            format!("expected the header class,startTime_usec,endTime_usec, found {header:?}"),
        ));
    }
    let mut rows = Vec::new();
    for (line, row) in lines.filter(|(_, row)| !row.is_empty()) {
        let numbers: Option<Vec<i64>> = row.split(',').map(|field| field.trim().parse().ok()).collect();
        let Some(&[class, start, end]) = numbers.as_deref() else {
            return Err(bad(
                line,
                format!("expected three whole numbers (class, start and end in us), found {row:?}"),
            ));
        };
        let label = usize::try_from(class).ok().filter(|class| (1..=classes).contains(class));
        let Some(label) = label.and_then(|class| u8::try_from(class - 1).ok()) else {
            return Err(bad(line, format!("expected a class from 1 to {classes}, found {class}")));
        };
        if end <= start {
            return Err(bad(line, format!("expected an end after the start {start}, found {end}")));
        }
        rows.push(Row { line, label, start, end });
    }
    if rows.is_empty() {
        Err(bad(1, "expected rows after the header, found none".to_owned()))
    } else {
        Ok(rows)
    }
}
