//! The binary version of CIFAR-10: records of one label byte and 3,072 pixel bytes (1,024 red, 1,024 green, 1,024 blue,
//! each 32x32 row-major), without any header.

use std::path::Path;

use crate::DatasetError;
use crate::error::malformed;

/// Bytes of an image: 3 planes of 32x32.
pub const IMAGE: usize = 3 * 32 * 32;
/// Bytes of a record: the label, then the image.
pub const RECORD: usize = 1 + IMAGE;
/// Number of classes.
pub const CLASSES: u8 = 10;

/// Checks a file of records and gives them back, each [`RECORD`] bytes.
///
/// # Errors
/// [`DatasetError::Malformed`] for an empty file, a cut-off record (offset: where it starts) and a label of 10 or more.
pub fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<std::slice::ChunksExact<'a, u8>, DatasetError> {
    if bytes.is_empty() {
        return Err(malformed(path, 0, format!("expected records of {RECORD} bytes, found an empty file")));
    }
    let records = bytes.chunks_exact(RECORD);
    let rest = records.remainder().len();
    if rest != 0 {
        let problem = format!(
            "expected a record of {RECORD} bytes, found {rest}: the file is cut off or no CIFAR-10 file"
        );
        return Err(malformed(path, bytes.len() - rest, problem));
    }
    match records.clone().position(|record| record[0] >= CLASSES) {
        Some(at) => {
            let problem = format!("expected a label below {CLASSES}, found {}", bytes[at * RECORD]);
            Err(malformed(path, at * RECORD, problem))
        }
        None => Ok(records),
    }
}
