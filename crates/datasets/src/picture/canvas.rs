//! Pixels to draw on, and letters.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

/// Red, green, blue.
pub(super) type Colour = [u8; 3];

/// Ground of a picture.
pub(super) const GROUND: Colour = [30, 32, 38];
/// Letters.
pub(super) const INK: Colour = [232, 232, 226];

/// Height of a line of text, in pixels.
pub(super) const LINE: usize = RasterHeight::Size16.val();
/// Width of a letter, in pixels.
pub(super) const LETTER: usize = get_raster_width(FontWeight::Regular, RasterHeight::Size16);

/// Shades of a letter's edge. Few, so that pictures with letters fit a palette.
const SHADES: u8 = 7;

/// A picture in the making.
pub(super) struct Canvas {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Row-major.
    pub(super) pixels: Vec<Colour>,
}

impl Canvas {
    pub(super) fn new(width: usize, height: usize) -> Canvas {
        Canvas { width, height, pixels: vec![GROUND; width * height] }
    }

    /// Fills a rectangle; what lies off the canvas is left out.
    pub(super) fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, colour: Colour) {
        let (left, right) = (x.min(self.width), (x + width).min(self.width));
        for row in y..(y + height).min(self.height) {
            self.pixels[row * self.width..][left..right].fill(colour);
        }
    }

    /// Draws an image, each of its pixels as a square of `scale`.
    pub(super) fn image(
        &mut self,
        x: usize,
        y: usize,
        width: usize,
        scale: usize,
        pixels: impl Iterator<Item = Colour>,
    ) {
        for (place, colour) in pixels.enumerate() {
            self.fill(x + place % width * scale, y + place / width * scale, scale, scale, colour);
        }
    }

    /// Writes a line on the ground, its upper left corner at `x`, `y`. What the font lacks is written as `?`.
    pub(super) fn text(&mut self, x: usize, y: usize, text: &str) {
        for (place, letter) in text.chars().enumerate() {
            let raster = |letter| get_raster(letter, FontWeight::Regular, RasterHeight::Size16);
            let Some(raster) = raster(letter).or_else(|| raster('?')) else { continue };
            for (row, line) in raster.rows().enumerate() {
                for (column, coverage) in line.iter().enumerate() {
                    let shade = shade_of(*coverage);
                    if shade > 0 {
                        self.fill(x + place * LETTER + column, y + row, 1, 1, ink(shade));
                    }
                }
            }
        }
    }
}

fn shade_of(coverage: u8) -> u8 {
    // At most SHADES, since coverage is at most 255.
    ((u32::from(coverage) * u32::from(SHADES) + 127) / 255) as u8
}

fn ink(shade: u8) -> Colour {
    std::array::from_fn(|i| mix(GROUND[i], INK[i], shade, SHADES))
}

/// `part` of `whole` of the way from one to the other.
pub(super) fn mix(from: u8, to: u8, part: u8, whole: u8) -> u8 {
    let (from, to, part, whole) = (i32::from(from), i32::from(to), i32::from(part), i32::from(whole).max(1));
    (from + (to - from) * part / whole).clamp(0, 255) as u8
}

/// All colours of letters and their ground.
pub(super) fn inks() -> impl Iterator<Item = Colour> {
    (0..=SHADES).map(ink)
}

/// Width of a line in pixels.
pub(super) fn width_of(text: &str) -> usize {
    text.chars().count() * LETTER
}

/// The text cut to `most` letters, its middle left out.
pub(super) fn shortened(text: &str, most: usize) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(2);
    let (head, tail) = (kept.div_ceil(2), kept / 2);
    letters[..head].iter().chain(&['.', '.']).chain(&letters[letters.len() - tail..]).take(most).collect()
}
