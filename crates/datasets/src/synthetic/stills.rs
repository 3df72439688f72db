//! The stand-ins of the static image sets: MNIST in IDX files, CIFAR10 in its binary version.

use rayon::prelude::*;

use super::glyphs::{self, Glyph};
use super::textures::{self, Picture};
use super::tree::Tree;
use super::{SplitPart, SyntheticError};
use crate::stream::Stream;

const CLASSES: usize = 10;

/// The figure that sample `index` of a split shows, in MNIST and, seen by a moving sensor, in N-MNIST.
pub(super) fn glyph(seed: u64, split: &str, index: usize) -> (usize, Glyph) {
    let class = index % CLASSES;
    (class, Glyph::draw(class, &mut Stream::named(seed, &format!("synthetic/mnist/{split}/{index}/strokes"))))
}

/// Writes the four IDX files.
pub(super) fn write_mnist(seed: u64, parts: &[SplitPart; 2], tree: Tree<'_>) -> Result<(), SyntheticError> {
    for part in parts {
        let prefix = if part.name == "train" { "train" } else { "t10k" };
        let images: Vec<Vec<u8>> =
            (0..part.samples).into_par_iter().map(|index| mnist_image(seed, part.name, index)).collect();
        let side = glyphs::SIDE as u32;
        let mut file = idx_header(0x0803, &[part.samples as u32, side, side]);
        file.extend(images.into_iter().flatten());
        tree.write(&format!("{prefix}-images-idx3-ubyte"), &file)?;
        let mut file = idx_header(0x0801, &[part.samples as u32]);
        file.extend((0..part.samples).map(|index| (index % CLASSES) as u8));
        tree.write(&format!("{prefix}-labels-idx1-ubyte"), &file)?;
    }
    Ok(())
}

/// Magic number and extents, big-endian.
fn idx_header(magic: u32, extents: &[u32]) -> Vec<u8> {
    std::iter::once(&magic).chain(extents).flat_map(|number| number.to_be_bytes()).collect()
}

/// Ink on paper, 255 the darkest, with a little noise.
fn mnist_image(seed: u64, split: &str, index: usize) -> Vec<u8> {
    let (_, glyph) = glyph(seed, split, index);
    let mut stream = Stream::named(seed, &format!("synthetic/mnist/{split}/{index}/paper"));
    let ink = stream.between(190.0, 250.0);
    glyph
        .coverage(glyphs::SIDE, 0, 1)
        .into_iter()
        .map(|cover| (cover * ink + 10.0 * stream.bell()).clamp(0.0, 255.0) as u8)
        .collect()
}

/// Writes `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`. The training samples are split evenly over
/// the five in their order; the first files take one more where five does not divide.
pub(super) fn write_cifar10(seed: u64, parts: &[SplitPart; 2], tree: Tree<'_>) -> Result<(), SyntheticError> {
    for part in parts {
        let records: Vec<Vec<u8>> =
            (0..part.samples).into_par_iter().map(|index| cifar10_record(seed, part.name, index)).collect();
        if part.name == "test" {
            tree.write("test_batch.bin", &records.concat())?;
            continue;
        }
        let mut rest = records.as_slice();
        for batch in 0..5 {
            let (records, after) = rest.split_at(rest.len().div_ceil(5 - batch));
            tree.write(&format!("data_batch_{}.bin", batch + 1), &records.concat())?;
            rest = after;
        }
    }
    Ok(())
}

/// One byte of label, then the red, green and blue planes.
fn cifar10_record(seed: u64, split: &str, index: usize) -> Vec<u8> {
    let class = index % CLASSES;
    let picture =
        Picture::paint(class, &mut Stream::named(seed, &format!("synthetic/cifar10/{split}/{index}")));
    let mut record = Vec::with_capacity(1 + 3 * textures::SIDE * textures::SIDE);
    record.push(class as u8);
    record.extend(picture.0);
    record
}
