//! Checksums as lower-case hex digits.

use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use md5::{Digest, Md5};
use sha2::Sha256;

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
    hex(&Md5::digest(bytes))
}

/// What published files are checked by.
pub(crate) struct Official {
    pub(crate) md5: String,
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
}

/// Reads a file of any length through once.
pub(crate) fn official(path: &Path) -> Result<Official, DatasetError> {
    let mut file = File::open(path).context("open", path)?;
    let (mut md5, mut sha256, mut bytes) = (Md5::new(), Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).context("read", path)?;
        if read == 0 {
            return Ok(Official { md5: hex(&md5.finalize()), sha256: hex(&sha256.finalize()), bytes });
        }
        md5.update(&buffer[..read]);
        sha256.update(&buffer[..read]);
        bytes += read as u64;
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
