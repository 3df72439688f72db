//! A data set in the form training wants it: labels, and samples by index as f32.

use std::sync::Arc;

use crate::cache::FrameFile;
use crate::{DatasetError, DatasetId, Subset};

/// A loaded data set.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Which one.
    pub id: DatasetId,
    /// [`Manifest::hash`](crate::Manifest::hash) of the files it was read from.
    pub manifest_hash: String,
    /// True when it is a generated stand-in.
    pub synthetic: bool,
    /// Set when it is only a part of the official data set.
    pub subset: Option<Subset>,
    /// Number of classes; labels are below it.
    pub classes: usize,
    /// Channels: 1 grey, 3 colour, 2 for events (0 = OFF, 1 = ON).
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Frames of a sample; 1 for static images.
    pub time_steps: usize,
    /// Training samples.
    pub train: Split,
    /// Test samples.
    pub test: Split,
}

/// The samples of one split, in a fixed order: sorted by the path of their file, then by their place in it.
///
/// Reading is cheap to share between threads; a clone shares the data.
#[derive(Clone, Debug)]
pub struct Split {
    labels: Arc<[u8]>,
    sample_len: usize,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    /// Static images, 0 to 255.
    Pixels(Arc<[u8]>),
    /// Event counts of splits that fit into memory.
    Counts(Arc<[u16]>),
    /// Event counts that stay in the cache file.
    File(Arc<FrameFile>),
}

impl Split {
    /// Static images; `pixels` holds `labels.len()` samples of `sample_len` values.
    pub(crate) fn pixels(labels: Vec<u8>, sample_len: usize, pixels: Vec<u8>) -> Self {
        debug_assert_eq!(labels.len() * sample_len, pixels.len());
        Split { labels: labels.into(), sample_len, source: Source::Pixels(pixels.into()) }
    }

    /// Event frames in memory.
    pub(crate) fn counts(labels: Vec<u8>, sample_len: usize, counts: Vec<u16>) -> Self {
        debug_assert_eq!(labels.len() * sample_len, counts.len());
        Split { labels: labels.into(), sample_len, source: Source::Counts(counts.into()) }
    }

    /// Event frames that are read from the cache sample by sample.
    pub(crate) fn file(labels: Vec<u8>, sample_len: usize, file: FrameFile) -> Self {
        Split { labels: labels.into(), sample_len, source: Source::File(Arc::new(file)) }
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// True when the split has no samples (a subset may lack its test part).
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The class of every sample, 0-based.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// Values of one sample: `time_steps * channels * height * width`.
    pub fn sample_len(&self) -> usize {
        self.sample_len
    }

    /// Appends the samples `indices` to `out`, one after another, each `[T, C, H, W]` in row-major order.
    ///
    /// Event frames are counts as they are, without any normalisation; static images are `pixel / 255`.
    ///
    /// # Errors
    /// An index past the end, or a cache file that can no longer be read. `out` is then as long as before.
    pub fn read(&self, indices: &[usize], out: &mut Vec<f32>) -> Result<(), DatasetError> {
        if let Some(&index) = indices.iter().find(|&&index| index >= self.len()) {
            return Err(DatasetError::NoSuchSample { index, len: self.len() });
        }
        let before = out.len();
        out.reserve(indices.len() * self.sample_len);
        for &index in indices {
            let range = index * self.sample_len..(index + 1) * self.sample_len;
            match &self.source {
                Source::Pixels(pixels) => out.extend(pixels[range].iter().map(|&v| f32::from(v) / 255.0)),
                Source::Counts(counts) => out.extend(counts[range].iter().map(|&v| f32::from(v))),
                Source::File(file) => match file.sample(index) {
                    Ok(counts) => out.extend(counts.iter().map(|&v| f32::from(v))),
                    Err(error) => {
                        out.truncate(before);
                        return Err(error);
                    }
                },
            }
        }
        Ok(())
    }
}
