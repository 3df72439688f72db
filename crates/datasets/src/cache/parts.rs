//! A cache that is being built: compressed samples, a file a batch of recordings, so that a killed build goes on where it was.
//!
//! A part is the lengths of its samples (count u64, then u32 each, little-endian), their bytes, and the BLAKE3 of all that. It is
//! written under another name and renamed; one that does not match its checksum is made again.

use std::fs;
use std::path::{Path, PathBuf};

use crate::DatasetError;
use crate::error::IoContext;

const HASH: usize = 32;

/// The folder of one unfinished cache.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a>(pub(super) &'a Path);

impl Parts<'_> {
    fn path(self, split: &str, batch: usize) -> PathBuf {
        self.0.join(format!("{split}-{batch:05}.part"))
    }

    /// The samples of a batch, if they are there, as many as expected and whole.
    pub(super) fn read(self, split: &str, batch: usize, samples: usize) -> Option<Vec<Vec<u8>>> {
        let bytes = fs::read(self.path(split, batch)).ok()?;
        let (body, hash) = bytes.split_last_chunk::<HASH>()?;
        if blake3::hash(body).as_bytes() != hash {
            return None;
        }
        let (count, rest) = body.split_first_chunk::<8>()?;
        let (lengths, mut rest) = rest.split_at_checked(samples.checked_mul(4)?)?;
        if u64::from_le_bytes(*count) != samples as u64 {
            return None;
        }
        let mut chunks = Vec::with_capacity(samples);
        for length in lengths.as_chunks::<4>().0 {
            let (chunk, after) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            chunks.push(chunk.to_vec());
            rest = after;
        }
        Some(chunks)
    }

    pub(super) fn write(self, split: &str, batch: usize, chunks: &[Vec<u8>]) -> Result<(), DatasetError> {
        let mut bytes = (chunks.len() as u64).to_le_bytes().to_vec();
        for chunk in chunks {
            // A compressed sample of at most 1 GiB of counts.
            bytes.extend((chunk.len() as u32).to_le_bytes());
        }
        bytes.extend(chunks.iter().flatten());
        let hash = blake3::hash(&bytes);
        bytes.extend(hash.as_bytes());
        let path = self.path(split, batch);
        let unfinished = path.with_extension("part.new");
        fs::write(&unfinished, bytes).context("write", &unfinished)?;
        fs::rename(&unfinished, &path).context("rename to", &path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_comes_back_or_counts_as_missing() {
        let folder = tempfile::tempdir().unwrap();
        let parts = Parts(folder.path());
        let chunks = vec![vec![1, 2, 3], vec![], vec![4]];
        parts.write("train", 3, &chunks).unwrap();
        assert_eq!(parts.read("train", 3, 3), Some(chunks.clone()));
        assert_eq!(parts.read("train", 3, 2), None, "another number of samples");
        assert_eq!(parts.read("train", 4, 3), None);
        let path = folder.path().join("train-00003.part");
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            fs::write(&path, damaged).unwrap();
            assert_eq!(parts.read("train", 3, 3), None, "byte {place} is damaged");
            fs::write(&path, &whole[..place]).unwrap();
            assert_eq!(parts.read("train", 3, 3), None, "cut at byte {place}");
        }
    }
}
