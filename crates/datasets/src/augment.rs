//! Augmentation as the official code has it: shifted crop, horizontal flip, rotation, in this order and by nearest neighbour.
//!
//! What is drawn for a sample follows from the run's seed, the epoch and the sample's place in its split alone, and is the same
//! for each of its frames: the order of a batch and the number of threads change nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::stream::Stream;

/// A pixel that no input pixel comes to: it stays 0.
const EMPTY: u32 = u32::MAX;

/// How the training samples of a data set are varied. The default varies nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// A frame is padded by so many zero pixels on each side, and a part of its own size cut out at random.
    pub crop_padding: u16,
    /// Left and right are exchanged in half of the samples.
    pub flip: bool,
    /// A frame is turned about its centre by an angle from minus to plus so many degrees.
    pub rotation_degrees: f32,
}

/// What was drawn for one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// The crop's place against the frame, in rows.
    pub down: i32,
    /// The same in columns.
    pub right: i32,
    /// Whether left and right are exchanged.
    pub flipped: bool,
    /// Degrees, counter-clockwise.
    pub angle: f32,
}

impl Augmentation {
    /// Whether it varies nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What the numbers cannot be.
    pub(crate) fn check(&self) -> Result<(), String> {
        if (0.0..=180.0).contains(&self.rotation_degrees) {
            return Ok(());
        }
        Err(format!("rotation_degrees is {}, expected 0 to 180", self.rotation_degrees))
    }

    /// Draws for sample `index` of its split, in `epoch` (from 0) of the run that has this seed.
    pub fn draw(&self, seed: u64, epoch: usize, index: usize) -> Draw {
        let mut stream = Stream::named(seed, &format!("augment/{epoch}/{index}"));
        let padding = i32::from(self.crop_padding);
        // Everything is drawn whether it is used or not: switching one part off leaves the others as they were.
        let mut place = || stream.below(2 * u32::from(self.crop_padding) + 1) as i32 - padding;
        let (down, right) = (place(), place());
        let flipped = stream.coin() && self.flip;
        let angle = stream.between(-self.rotation_degrees, self.rotation_degrees);
        Draw { down, right, flipped, angle }
    }
}

impl fmt::Display for Augmentation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.crop_padding > 0 {
            parts.push(format!("crop with padding {}", self.crop_padding));
        }
        if self.flip {
            parts.push("horizontal flip".to_owned());
        }
        if self.rotation_degrees > 0.0 {
            parts.push(format!("rotation by up to {} degrees", self.rotation_degrees));
        }
        f.pad(&if parts.is_empty() { "none".to_owned() } else { parts.join(", ") })
    }
}

impl Draw {
    /// Changes a sample in place: planes of `height` x `width`, all alike. `scratch` is overwritten.
    pub fn apply(&self, sample: &mut [f32], height: usize, width: usize, scratch: &mut Vec<f32>) {
        let sources = self.sources(height, width);
        for plane in sample.chunks_exact_mut(height * width) {
            scratch.clear();
            scratch.extend_from_slice(plane);
            for (pixel, &source) in plane.iter_mut().zip(&sources) {
                *pixel = scratch.get(source as usize).copied().unwrap_or(0.0);
            }
        }
    }

    /// For each pixel of the outcome, the one of the frame that comes there.
    fn sources(&self, height: usize, width: usize) -> Vec<u32> {
        let (sin, cos) = libm::sincos(f64::from(self.angle).to_radians());
        let (middle_y, middle_x) = ((height as f64 - 1.0) / 2.0, (width as f64 - 1.0) / 2.0);
        let (height, width) = (height as i32, width as i32);
        let mut sources = Vec::with_capacity((height * width) as usize);
        for y in 0..height {
            for x in 0..width {
                let (dy, dx) = (f64::from(y) - middle_y, f64::from(x) - middle_x);
                // Backwards: out of the rotated frame into the flipped, out of that into the cropped, out of that into the input.
                let turned_y = (sin * dx + cos * dy + middle_y).round_ties_even() as i32;
                let turned_x = (cos * dx - sin * dy + middle_x).round_ties_even() as i32;
                let inside = |y: i32, x: i32| (0..height).contains(&y) && (0..width).contains(&x);
                let cropped_x = if self.flipped { width - 1 - turned_x } else { turned_x };
                let (from_y, from_x) = (turned_y + self.down, cropped_x + self.right);
                let there = inside(turned_y, turned_x) && inside(from_y, from_x);
                sources.push(if there { (from_y * width + from_x) as u32 } else { EMPTY });
            }
        }
        sources
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STILL: Draw = Draw { down: 0, right: 0, flipped: false, angle: 0.0 };

    /// A frame of 4 x 4 pixels, counted from 1, and the same behind it negative.
    fn moved(draw: Draw) -> Vec<f32> {
        let mut sample: Vec<f32> = (1..=16).map(|v| v as f32).chain((1..=16).map(|v| -(v as f32))).collect();
        draw.apply(&mut sample, 4, 4, &mut Vec::new());
        let (first, second) = sample.split_at(16);
        assert!(first.iter().zip(second).all(|(a, b)| *a == -b), "every plane is moved alike");
        first.to_vec()
    }

    #[test]
    fn crop_flip_and_rotation_do_what_they_say() {
        assert_eq!(moved(STILL), (1..=16).map(|v| v as f32).collect::<Vec<_>>());
        let down = moved(Draw { down: 1, right: -1, ..STILL });
        assert_eq!(down, [0., 5., 6., 7., 0., 9., 10., 11., 0., 13., 14., 15., 0., 0., 0., 0.]);
        let flipped = moved(Draw { flipped: true, ..STILL });
        assert_eq!(flipped[..4], [4., 3., 2., 1.]);
        // A quarter counter-clockwise: the right column comes to the top.
        let turned = moved(Draw { angle: 90.0, ..STILL });
        assert_eq!(turned[..4], [4., 8., 12., 16.]);
    }

    /// torchvision 0.29's RandomCrop, flip and `rotate` (nearest) on a ramp of 6 x 6 pixels, one after another.
    #[test]
    fn the_parts_follow_each_other_as_in_torchvision() {
        let mut sample: Vec<f32> = (1..=36).map(|v| v as f32).collect();
        let draw = Draw { down: 1, right: 2, flipped: true, angle: 13.0 };
        draw.apply(&mut sample, 6, 6, &mut Vec::new());
        #[rustfmt::skip]
        let expected = [
            0, 12, 11, 10, 9, 15,
            0, 0, 18, 17, 16, 21,
            0, 0, 24, 23, 22, 27,
            0, 0, 30, 29, 28, 33,
            0, 0, 36, 35, 34, 0,
            0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(sample, expected.map(|v| v as f32));
    }

    #[test]
    fn draws_stay_in_their_ranges_and_do_not_hang_on_each_other() {
        let rule = Augmentation { crop_padding: 4, flip: true, rotation_degrees: 15.0 };
        let draws: Vec<Draw> = (0..2000).map(|index| rule.draw(7, 3, index)).collect();
        let places: std::collections::BTreeSet<i32> = draws.iter().map(|draw| draw.down).collect();
        assert_eq!(places.into_iter().collect::<Vec<_>>(), (-4..=4).collect::<Vec<_>>());
        assert!(draws.iter().all(|draw| (-15.0..15.0).contains(&draw.angle)));
        let flips = draws.iter().filter(|draw| draw.flipped).count();
        assert!((800..1200).contains(&flips), "{flips} of 2000 flipped");
        let no_flip = Augmentation { flip: false, ..rule };
        for (index, draw) in draws.iter().enumerate() {
            assert_eq!(no_flip.draw(7, 3, index), Draw { flipped: false, ..*draw });
            assert_ne!(rule.draw(7, 4, index), *draw);
            assert_ne!(rule.draw(8, 3, index), *draw);
        }
        // The same on every machine, and in every version: runs are to be repeated.
        assert_eq!(draws[0], Draw { down: -4, right: -3, flipped: false, angle: 2.940_200_8 });
        assert_eq!(Augmentation::default().draw(7, 0, 0), STILL);
        assert_eq!(rule.to_string(), "crop with padding 4, horizontal flip, rotation by up to 15 degrees");
        assert_eq!(Augmentation::default().to_string(), "none");
    }
}
