//! What is wrong with a file that lies in an archive, and what to do about it there: the folder it was unpacked into is gone when somebody
//! reads it, and what helps with a file of a tree may not help with one of an archive.

use crate::DatasetError;

const TAKE_OUT: &str = "unpack the archive, move that out of it and import the folder";
const MEND: &str = "mend the file and pack the archive anew";

/// Says what is wrong with `entry`, which the archive's error names already; empty where it is all of the archive.
pub(super) fn problem(error: &DatasetError, entry: &str) -> String {
    match error {
        DatasetError::Io { action, error, .. } => {
            let what = if entry.is_empty() { "it" } else { entry };
            format!("cannot {action} {what}: {error}")
        }
        DatasetError::NotRecognised { dataset, expected, .. } => {
            format!("does not hold {dataset}: expected {expected}")
        }
        DatasetError::ForeignFile { expected, .. } => format!("expected {expected}; {TAKE_OUT}"),
        DatasetError::Malformed { offset, problem, .. } => format!("at byte {offset}: {problem}; {MEND}"),
        DatasetError::OtherSensor { problem, title, width, height, .. } => format!(
            "{problem}, but datasets.toml says {width} x {height} of {title}: correct its keys `width` and `height`, or {TAKE_OUT}"
        ),
        DatasetError::BadLine { line, problem, .. } => format!("line {line}: {problem}; {MEND}"),
        DatasetError::Checksum { algorithm, expected, found, .. } => format!(
            "its {algorithm} is {found}, the official file's is {expected}: fetch the archive again, or correct datasets.toml if the \
             official file has changed"
        ),
        DatasetError::Decode(error) => format!("{}; {MEND}", error.kind),
        other => other.to_string(),
    }
}
