//! Where in a cache file each sample's compressed chunk lies.
//!
//! The HDF5 library reads with one thread, and walks the index of all chunks for each sample: 4 ms with 60,000 of them. It does not tell
//! where it put a chunk; but it puts them one behind the other, so they are found by their bytes when the file is made. From then on
//! a sample is one read and one decompression, on as many threads as there are.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use flate2::read::ZlibDecoder;

use super::parts::{Batch, Parts};
use crate::DatasetError;
use crate::error::IoContext;

/// Bytes that are searched at a time.
const WINDOW: u64 = 1 << 20;
const RECORD: usize = 12;

/// Offset and length of a chunk.
pub(super) type Place = (u64, u32);

/// Finds the chunks of all batches, in order.
pub(super) fn locate(path: &Path, parts: Parts<'_>, batches: &[Batch]) -> Result<Vec<Place>, DatasetError> {
    let mut file = File::open(path).context("open", path)?;
    let mut places = Vec::new();
    let mut next = 0;
    for batch in batches {
        let chunks = parts.read(batch).unwrap_or_default();
        for chunk in chunks {
            let offset = find(&mut file, &chunk, next).context("read", path)?;
            let Some(offset) = offset else {
                return Err(DatasetError::Hdf5 {
                    action: "find a sample in",
                    path: path.to_owned(),
                    message: format!("sample {} is not behind byte {next}", places.len()),
                    remedy: "please report this",
                });
            };
            next = offset + chunk.len() as u64;
            places.push((offset, chunk.len() as u32));
        }
    }
    Ok(places)
}

/// The first place from `start` on that holds `chunk`. Mostly it is `start` itself; but the library keeps things of its own between
/// chunks, and between the splits lie labels and names: as many bytes as there are samples and as their names are long.
fn find(file: &mut File, chunk: &[u8], start: u64) -> std::io::Result<Option<u64>> {
    let (mut from, mut more) = (start, 0);
    loop {
        file.seek(SeekFrom::Start(from))?;
        let length = more + chunk.len() as u64;
        let mut bytes = Vec::new();
        Read::by_ref(file).take(length).read_to_end(&mut bytes)?;
        if let Some(at) = bytes.windows(chunk.len().max(1)).position(|bytes| bytes == chunk) {
            return Ok(Some(from + at as u64));
        }
        if (bytes.len() as u64) < length {
            return Ok(None);
        }
        from += more + 1;
        more = WINDOW;
    }
}

/// The places as they are kept: offset u64 and length u32, little-endian.
pub(super) fn encode(places: &[Place]) -> Vec<u8> {
    places
        .iter()
        .flat_map(|(offset, length)| [&offset.to_le_bytes()[..], &length.to_le_bytes()].concat())
        .collect()
}

/// The places from what is kept.
pub(super) fn decode(bytes: &[u8]) -> Vec<Place> {
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let places = bytes.as_chunks::<RECORD>().0.iter();
    places.map(|place| (number(&place[..8]), number(&place[8..]) as u32)).collect()
}

/// A cache file from which samples are read by their places.
pub(super) struct Samples {
    file: Mutex<File>,
    places: Vec<Place>,
}

impl Samples {
    pub(super) fn new(file: File, places: Vec<Place>) -> Self {
        Self { file: Mutex::new(file), places }
    }

    /// The counts of a sample of so many values.
    pub(super) fn read(&self, index: usize, values: usize) -> std::io::Result<Vec<u16>> {
        let (offset, length) = self.places[index];
        let mut packed = vec![0; length as usize];
        {
            // A thread that panicked while it read left nothing half done but the position, which is set here.
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(&mut packed)?;
        }
        let mut bytes = Vec::with_capacity(2 * values);
        ZlibDecoder::new(packed.as_slice()).take(2 * values as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() != 2 * values {
            let problem = format!("sample {index} has {} bytes, expected {}", bytes.len(), 2 * values);
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, problem));
        }
        Ok(bytes.as_chunks::<2>().0.iter().map(|count| u16::from_le_bytes(*count)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_found_however_far_it_lies() {
        let mut file = tempfile::tempfile().unwrap();
        let chunk = [7, 8, 9];
        // Across the end of a window, and windows away.
        for place in [0, 1, WINDOW - 1, WINDOW, WINDOW + 1, 5 * WINDOW + 3] {
            let bytes = [&vec![7; place as usize][..], &[0], &chunk].concat();
            file.set_len(0).unwrap();
            file.rewind().unwrap();
            std::io::Write::write_all(&mut file, &bytes).unwrap();
            for start in [0, 1] {
                assert_eq!(find(&mut file, &chunk, start).unwrap(), Some(place + 1), "{place} from {start}");
            }
            assert_eq!(find(&mut file, &chunk, place + 2).unwrap(), None);
        }
    }
}
