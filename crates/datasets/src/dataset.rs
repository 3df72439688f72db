//! A data set in the form training wants it: labels, and samples by index as f32.

use std::sync::Arc;

use rayon::prelude::*;

use crate::cache::FrameFile;
use crate::{Augmentation, DatasetError, DatasetId, Subset};

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
    /// `[T, C, H, W]`.
    shape: [usize; 4],
    source: Source,
    /// The samples of the source that belong to it, in its order; all of them if none.
    places: Option<Arc<[usize]>>,
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
    /// Static images; `pixels` holds `labels.len()` samples of the shape `[T, C, H, W]`.
    pub(crate) fn pixels(labels: Vec<u8>, shape: [usize; 4], pixels: Vec<u8>) -> Self {
        Self::new(labels, shape, Source::Pixels(pixels.into()))
    }

    /// Event frames in memory.
    pub(crate) fn counts(labels: Vec<u8>, shape: [usize; 4], counts: Vec<u16>) -> Self {
        Self::new(labels, shape, Source::Counts(counts.into()))
    }

    /// Event frames that are read from the cache sample by sample.
    pub(crate) fn file(labels: Vec<u8>, shape: [usize; 4], file: FrameFile) -> Self {
        Self::new(labels, shape, Source::File(Arc::new(file)))
    }

    fn new(labels: Vec<u8>, shape: [usize; 4], source: Source) -> Self {
        Split { labels: labels.into(), shape, source, places: None }
    }

    /// The samples `indices` of this split, in that order, as a split of their own; the data are shared.
    ///
    /// # Errors
    /// [`DatasetError::NoSuchSample`] for an index past the end.
    pub fn part(&self, indices: &[usize]) -> Result<Split, DatasetError> {
        self.check(indices)?;
        Ok(Split {
            labels: indices.iter().map(|&index| self.labels[index]).collect(),
            places: Some(indices.iter().map(|&index| self.place(index)).collect()),
            ..self.clone()
        })
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
        self.shape.iter().product()
    }

    /// Appends the samples `indices` to `out`, one after another, each `[T, C, H, W]` in row-major order.
    ///
    /// Event frames are counts as they are, without any normalisation; static images are `pixel / 255`.
    ///
    /// # Errors
    /// An index past the end, or a cache file that can no longer be read. `out` is then as long as before.
    pub fn read(&self, indices: &[usize], out: &mut Vec<f32>) -> Result<(), DatasetError> {
        self.check(indices)?;
        let before = out.len();
        let sample_len = self.sample_len();
        out.reserve(indices.len() * sample_len);
        let places = indices.iter().map(|&index| self.place(index));
        let range = |place| place * sample_len..(place + 1) * sample_len;
        match &self.source {
            Source::Pixels(pixels) => places
                .for_each(|place| out.extend(pixels[range(place)].iter().map(|&v| f32::from(v) / 255.0))),
            Source::Counts(counts) => {
                places.for_each(|place| out.extend(counts[range(place)].iter().map(|&v| f32::from(v))));
            }
            Source::File(file) => {
                out.resize(before + indices.len() * sample_len, 0.0);
                let samples = out[before..].par_chunks_exact_mut(sample_len).zip(indices);
                let read = samples.try_for_each(|(sample, &index)| {
                    let counts = file.sample(self.place(index))?;
                    sample.iter_mut().zip(counts).for_each(|(value, count)| *value = f32::from(count));
                    Ok(())
                });
                if let Err(error) = read {
                    out.truncate(before);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// As [`Self::read`], each sample varied by what is drawn for it in `epoch` (from 0) of the run that has this seed. The draw
    /// belongs to the sample's place in the whole split, also where this is a part of it.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_varied(
        &self,
        indices: &[usize],
        augmentation: &Augmentation,
        (seed, epoch): (u64, usize),
        out: &mut Vec<f32>,
    ) -> Result<(), DatasetError> {
        let before = out.len();
        self.read(indices, out)?;
        if augmentation.is_none() {
            return Ok(());
        }
        let [_, _, height, width] = self.shape;
        let samples = out[before..].par_chunks_exact_mut(self.sample_len()).zip(indices);
        samples.for_each_init(Vec::new, |scratch, (sample, &index)| {
            let draw = augmentation.draw(seed, epoch, self.place(index));
            draw.apply(sample, height, width, scratch);
        });
        Ok(())
    }

    /// Where a sample lies in the source.
    fn place(&self, index: usize) -> usize {
        self.places.as_ref().map_or(index, |places| places[index])
    }

    fn check(&self, indices: &[usize]) -> Result<(), DatasetError> {
        match indices.iter().find(|&&index| index >= self.len()) {
            Some(&index) => Err(DatasetError::NoSuchSample { index, len: self.len() }),
            None => Ok(()),
        }
    }
}
