//! Pixels: their mean and standard deviation by channel, over the range 0 to 1, and how they are distributed.

use serde::Serialize;

use crate::samples::{Files, read_images};
use crate::{Counts, DatasetError, SplitName};

/// Figures of a data set of static images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageFigures {
    /// Names of the channels, in the order of all lists of channels.
    pub channels: Vec<&'static str>,
    /// Of all images.
    pub all: ImageGroup,
    /// Of the training images, by which inputs are usually normalised.
    pub train: ImageGroup,
    /// Of the test images.
    pub test: ImageGroup,
    /// Of each class, in the order of the labels.
    pub classes: Vec<ImageGroup>,
    /// Of all images: for each channel, how many pixels have each value from 0 to 255.
    pub histogram_pixels: Vec<Vec<u64>>,
}

/// Figures of some images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageGroup {
    /// Name of the class, or which images these are.
    pub class: String,
    /// Images counted.
    pub samples: Counts,
    /// Mean of `pixel / 255` by channel; null where there are no images.
    pub pixel_mean_0_to_1: Option<Vec<f64>>,
    /// Standard deviation of `pixel / 255` by channel (by n, not n - 1).
    pub pixel_std_0_to_1: Option<Vec<f64>>,
}

/// Images of one class and split: everything else follows from it exactly.
#[derive(Clone)]
struct Tally {
    images: usize,
    /// Pixels by value, one list a channel.
    values: Vec<[u64; 256]>,
}

impl Tally {
    fn empty(channels: usize) -> Tally {
        Tally { images: 0, values: vec![[0; 256]; channels] }
    }

    fn sum<'a>(channels: usize, tallies: impl Iterator<Item = &'a Tally>) -> Tally {
        let mut sum = Tally::empty(channels);
        for tally in tallies {
            sum.images += tally.images;
            for (sum, values) in sum.values.iter_mut().zip(&tally.values) {
                sum.iter_mut().zip(values).for_each(|(sum, count)| *sum += count);
            }
        }
        sum
    }
}

pub(super) fn count(files: Files<'_>) -> Result<ImageFigures, DatasetError> {
    let info = files.info;
    let (channels, plane) = (info.channels, info.pixels());
    let tally = |split| -> Result<Vec<Tally>, DatasetError> {
        let (labels, pixels) = read_images(files, split)?;
        let mut classes = vec![Tally::empty(channels); info.classes.len()];
        for (label, image) in labels.iter().zip(pixels.chunks_exact(channels * plane)) {
            // Labels were checked against the registry's classes.
            let tally = &mut classes[usize::from(*label)];
            tally.images += 1;
            for (values, plane) in tally.values.iter_mut().zip(image.chunks_exact(plane)) {
                plane.iter().for_each(|value| values[usize::from(*value)] += 1);
            }
        }
        Ok(classes)
    };
    // One split after the other: only one lies in memory.
    let (train, test) = (tally(SplitName::Train)?, tally(SplitName::Test)?);
    let none = [];
    let group = |name: &str, train: &[Tally], test: &[Tally]| {
        let images = |tallies: &[Tally]| tallies.iter().map(|tally| tally.images).sum();
        let samples = Counts { train: images(train), test: images(test) };
        ImageGroup::of(name, samples, &Tally::sum(channels, train.iter().chain(test)))
    };
    let classes = info.classes.iter().enumerate();
    let all = Tally::sum(channels, train.iter().chain(&test));
    Ok(ImageFigures {
        channels: if channels == 3 { vec!["red", "green", "blue"] } else { vec!["grey"; channels] },
        all: group("all", &train, &test),
        train: group("training images", &train, &none),
        test: group("test images", &none, &test),
        classes: classes.map(|(i, name)| group(name, &train[i..=i], &test[i..=i])).collect(),
        histogram_pixels: all.values.iter().map(|values| values.to_vec()).collect(),
    })
}

impl ImageGroup {
    fn of(name: &str, samples: Counts, tally: &Tally) -> ImageGroup {
        let moments = |values: &[u64; 256]| {
            let pixels = values.iter().sum::<u64>() as f64;
            let moment = |power: i32| {
                let terms = values.iter().enumerate().map(|(v, n)| (v as f64).powi(power) * *n as f64);
                terms.sum::<f64>() / pixels
            };
            let mean = moment(1);
            (mean / 255.0, (moment(2) - mean * mean).max(0.0).sqrt() / 255.0)
        };
        let (mean, std): (Vec<f64>, Vec<f64>) = tally.values.iter().map(moments).unzip();
        let some = tally.images > 0;
        ImageGroup {
            class: name.to_owned(),
            samples,
            pixel_mean_0_to_1: some.then_some(mean),
            pixel_std_0_to_1: some.then_some(std),
        }
    }
}
