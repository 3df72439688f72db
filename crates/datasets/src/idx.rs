//! IDX, the format of MNIST: a big-endian header (magic, then one u32 a dimension), then bytes in row-major order.
//!
//! Source: the description beside the files on their authors' page.

use std::path::Path;

use crate::DatasetError;
use crate::error::malformed;

/// Magic number of a file of images: u8, three dimensions.
pub const IMAGES: u32 = 0x803;
/// Magic number of a file of labels: u8, one dimension.
pub const LABELS: u32 = 0x801;

/// A parsed IDX file; the data stay where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idx<'a> {
    /// Grey images.
    Images {
        /// Number of images.
        count: usize,
        /// Rows of an image.
        height: usize,
        /// Columns of an image.
        width: usize,
        /// `count * height * width` bytes.
        pixels: &'a [u8],
    },
    /// Labels.
    Labels(&'a [u8]),
}

/// Reads an IDX file of images or labels.
///
/// `path` only names the file in errors; offsets are into `bytes`, that is, into the unpacked file.
///
/// # Errors
/// [`DatasetError::Malformed`] for a header that is cut off, another magic number, dimensions of zero, and a length
/// that is not what the header says.
pub fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Idx<'a>, DatasetError> {
    let word = |offset: usize, what: &str| match bytes.get(offset..offset + 4) {
        Some(&[a, b, c, d]) => Ok(u32::from_be_bytes([a, b, c, d])),
        _ => {
            let found = bytes.len();
            Err(malformed(
                path,
                found,
                format!("expected {what} (4 bytes at {offset}), but the file ends here"),
            ))
        }
    };
    let magic = word(0, "the magic number of an IDX file")?;
    let rank = match magic {
        IMAGES => 3,
        LABELS => 1,
        other => {
            let problem = format!(
                "expected the magic number 0x00000803 (images) or 0x00000801 (labels), found {other:#010x}: \
                 this is no IDX file of bytes"
            );
            return Err(malformed(path, 0, problem));
        }
    };
    let mut dims = [1u64; 3];
    for (index, dim) in dims.iter_mut().take(rank).enumerate() {
        let offset = 4 + 4 * index;
        *dim = u64::from(word(offset, "a dimension")?);
        if *dim == 0 {
            return Err(malformed(
                path,
                offset,
                "expected a dimension above 0, found 0: the file holds nothing",
            ));
        }
    }
    let header = 4 + 4 * rank;
    let data = &bytes[header..];
    let expected = dims.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim));
    if expected != Some(data.len() as u64) {
        let shape: Vec<String> = dims[..rank].iter().map(u64::to_string).collect();
        let expected = expected.map_or_else(|| "more than a file can hold".to_owned(), |n| n.to_string());
        let problem = format!(
            "the header announces {} = {expected} bytes of data, but {} follow it: the file is cut off or not what it claims to be",
            shape.join(" x "),
            data.len()
        );
        return Err(malformed(path, bytes.len(), problem));
    }
    // Each dimension is at most the length of `data`, so it fits into a usize.
    let [count, height, width] = dims.map(|dim| dim as usize);
    Ok(if rank == 3 { Idx::Images { count, height, width, pixels: data } } else { Idx::Labels(data) })
}

/// As [`parse`], and also demands images of this size.
pub(crate) fn parse_images<'a>(
    path: &Path,
    bytes: &'a [u8],
    size: (usize, usize),
) -> Result<(usize, &'a [u8]), DatasetError> {
    match parse(path, bytes)? {
        Idx::Images { count, height, width, pixels } if (height, width) == size => Ok((count, pixels)),
        Idx::Images { height, width, .. } => {
            let problem =
                format!("expected images of {} x {} pixels, found {height} x {width}", size.0, size.1);
            Err(malformed(path, 8, problem))
        }
        Idx::Labels(_) => {
            Err(malformed(path, 0, "expected images (magic 0x00000803), found labels (0x00000801)"))
        }
    }
}

/// As [`parse`], and also demands labels below `classes`.
pub(crate) fn parse_labels<'a>(
    path: &Path,
    bytes: &'a [u8],
    classes: usize,
) -> Result<&'a [u8], DatasetError> {
    let Idx::Labels(labels) = parse(path, bytes)? else {
        return Err(malformed(path, 0, "expected labels (magic 0x00000801), found images (0x00000803)"));
    };
    match labels.iter().position(|&label| usize::from(label) >= classes) {
        Some(at) => {
            let problem = format!("expected a label below {classes}, found {}", labels[at]);
            Err(malformed(path, bytes.len() - labels.len() + at, problem))
        }
        None => Ok(labels),
    }
}
