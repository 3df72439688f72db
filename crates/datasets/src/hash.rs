//! Checksums as lower-case hex digits.

use std::fmt::Write;
use std::path::Path;

use md5::{Digest, Md5};

use crate::DatasetError;
use crate::error::IoContext;

/// BLAKE3, 64 digits.
pub(crate) fn blake3_hex(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// BLAKE3 of a whole file, mapped into memory and hashed by all cores: caches run to gigabytes.
pub(crate) fn blake3_file(path: &Path) -> Result<String, DatasetError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap_rayon(path).context("read", path)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// MD5, 32 digits: only for comparing with the checksums the data sets are published with.
pub(crate) fn md5_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(32);
    for byte in Md5::digest(bytes) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
