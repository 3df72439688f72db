//! A cache that is being built: compressed samples, a file a batch of recordings, so that a killed build goes on where it was.
//!
//! A part is the hash of what it is made of (a batch's [`Batch::source`], 32 bytes), the lengths of its samples (count u64, then u32
//! each, little-endian), their bytes, and the BLAKE3 of all that. It is written under another name and renamed; one that does not match
//! its checksum, or is made of something else, is made again.

use std::fs;
use std::path::{Path, PathBuf};

use super::{FORMAT, Key};
use crate::error::IoContext;
use crate::samples::Recording;
use crate::{DatasetError, SplitName};

const HASH: usize = 32;

/// Recordings of a split that are framed together, and so are one part.
pub(super) struct Batch {
    pub(super) split: SplitName,
    number: usize,
    /// How many samples the recordings hold.
    pub(super) samples: usize,
    /// A hash of all that decides what the part holds.
    source: [u8; HASH],
}

impl Batch {
    /// The batch of this number of a split; `shape` is that of a sample.
    pub(super) fn of(
        key: &Key,
        shape: [usize; 4],
        split: SplitName,
        number: usize,
        recordings: &[Recording<'_>],
    ) -> Self {
        let mut hasher = blake3::Hasher::new();
        let mut line = |text: String| {
            hasher.update(text.as_bytes());
            hasher.update(b"\n");
        };
        line(format!("{FORMAT} {key:?} {shape:?}"));
        for recording in recordings {
            let (entry, samples) = (recording.entry, recording.samples.len());
            line(format!("{:?} {} {samples}", entry.path, entry.blake3));
        }
        let samples = recordings.iter().map(|recording| recording.samples.len()).sum();
        Self { split, number, samples, source: hasher.finalize().into() }
    }
}

/// The folder of one unfinished cache.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a>(pub(super) &'a Path);

impl Parts<'_> {
    fn path(self, batch: &Batch) -> PathBuf {
        self.0.join(format!("{}-{:05}.part", batch.split.as_str(), batch.number))
    }

    /// The samples of a batch, if they are there, whole, and made of what the batch is.
    pub(super) fn read(self, batch: &Batch) -> Option<Vec<Vec<u8>>> {
        let bytes = fs::read(self.path(batch)).ok()?;
        let (body, hash) = bytes.split_last_chunk::<HASH>()?;
        if blake3::hash(body).as_bytes() != hash {
            return None;
        }
        let (source, body) = body.split_first_chunk::<HASH>()?;
        let (count, rest) = body.split_first_chunk::<8>()?;
        if *source != batch.source || u64::from_le_bytes(*count) != batch.samples as u64 {
            return None;
        }
        let (lengths, mut rest) = rest.split_at_checked(batch.samples.checked_mul(4)?)?;
        let mut chunks = Vec::with_capacity(batch.samples);
        for length in lengths.as_chunks::<4>().0 {
            let (chunk, after) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            chunks.push(chunk.to_vec());
            rest = after;
        }
        Some(chunks)
    }

    pub(super) fn write(self, batch: &Batch, chunks: &[Vec<u8>]) -> Result<(), DatasetError> {
        let mut bytes = batch.source.to_vec();
        bytes.extend((chunks.len() as u64).to_le_bytes());
        for chunk in chunks {
            // A compressed sample of at most 1 GiB of counts.
            bytes.extend((chunk.len() as u32).to_le_bytes());
        }
        bytes.extend(chunks.iter().flatten());
        let hash = blake3::hash(&bytes);
        bytes.extend(hash.as_bytes());
        let path = self.path(batch);
        let unfinished = path.with_extension("part.new");
        fs::write(&unfinished, bytes).context("write", &unfinished)?;
        fs::rename(&unfinished, &path).context("rename to", &path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FileEntry;
    use crate::samples::Sample;

    fn entry(path: &str, blake3: &str) -> FileEntry {
        let (path, blake3) = (path.to_owned(), blake3.to_owned());
        FileEntry { path, bytes: 5, blake3, split: Some(SplitName::Train), label: Some(0), samples: 1 }
    }

    /// A batch of these files, each with one sample.
    fn batch(key: &Key, shape: [usize; 4], number: usize, files: &[FileEntry]) -> Batch {
        let sample = |entry: &FileEntry| Sample { label: 0, name: entry.path.clone(), window: None };
        let recordings: Vec<Recording<'_>> =
            files.iter().map(|entry| Recording { entry, samples: vec![sample(entry)] }).collect();
        Batch::of(key, shape, SplitName::Train, number, &recordings)
    }

    fn key() -> Key {
        let (manifest_hash, framing) = ("0123".to_owned(), "number:4".to_owned());
        Key { manifest_hash, framing, framing_version: 2, time_steps: 4 }
    }

    const SHAPE: [usize; 4] = [4, 2, 34, 34];

    #[test]
    fn a_part_comes_back_or_counts_as_missing() {
        let folder = tempfile::tempdir().unwrap();
        let parts = Parts(folder.path());
        let chunks = vec![vec![1, 2, 3], vec![], vec![4]];
        let files = [entry("a", "1"), entry("b", "2"), entry("c", "3")];
        let of = |number, files: &[FileEntry]| batch(&key(), SHAPE, number, files);
        parts.write(&of(3, &files), &chunks).unwrap();
        assert_eq!(parts.read(&of(3, &files)), Some(chunks.clone()));
        assert_eq!(parts.read(&of(3, &files[..2])), None, "another number of samples");
        assert_eq!(parts.read(&of(4, &files)), None);
        let path = folder.path().join("train-00003.part");
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            fs::write(&path, damaged).unwrap();
            assert_eq!(parts.read(&of(3, &files)), None, "byte {place} is damaged");
            fs::write(&path, &whole[..place]).unwrap();
            assert_eq!(parts.read(&of(3, &files)), None, "cut at byte {place}");
        }
    }

    /// Sound, of as many samples, and under the right name.
    #[test]
    fn a_part_of_something_else_counts_as_missing() {
        let folder = tempfile::tempdir().unwrap();
        let parts = Parts(folder.path());
        let files = [entry("a", "1"), entry("b", "2")];
        let others = [
            batch(&key(), [4, 2, 34, 35], 0, &files),
            batch(&Key { framing: "time:4".to_owned(), ..key() }, SHAPE, 0, &files),
            batch(&Key { framing_version: 3, ..key() }, SHAPE, 0, &files),
            batch(&Key { manifest_hash: "4567".to_owned(), ..key() }, SHAPE, 0, &files),
            batch(&key(), SHAPE, 0, &[entry("b", "2"), entry("a", "1")]),
            batch(&key(), SHAPE, 0, &[entry("a", "1"), entry("c", "2")]),
            batch(&key(), SHAPE, 0, &[entry("a", "1"), entry("b", "3")]),
        ];
        let mine = batch(&key(), SHAPE, 0, &files);
        for (place, other) in others.iter().enumerate() {
            parts.write(other, &[vec![1], vec![2]]).unwrap();
            assert_eq!(parts.read(&mine), None, "{place}");
        }
    }
}
