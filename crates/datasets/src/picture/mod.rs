//! Drawing a preview: a contact sheet as PNG, and of recordings an animated GIF.
//!
//! The same preview gives the same bytes. Title and detail stand in the picture, and in the file as a comment.

mod animation;
mod canvas;
mod sheet;
mod tone;

use std::fmt::Display;
use std::path::PathBuf;

use canvas::{Canvas, Colour, LETTER, LINE};

use crate::{DatasetError, Destination, Preview, Shown};

/// The suffixes of what [`Preview::save`] may write.
const SHEET: &str = "png";
const ANIMATION: &str = "gif";

/// Free space around and between things, in pixels.
const SPACE: usize = 8;

/// What [`Preview::save`] has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pictures {
    /// The contact sheet, and of recordings the animation.
    pub paths: Vec<PathBuf>,
    /// How fast the animation runs, in words; none where there is no animation.
    pub pace: Option<String>,
}

impl Preview {
    /// Draws the samples and writes `STEM.png`, and of recordings `STEM.gif`.
    ///
    /// # Errors
    /// [`DatasetError::OutputExists`], where the disk refuses, and where a library cannot draw.
    pub fn save(&self, to: &Destination) -> Result<Pictures, DatasetError> {
        let mut files = vec![(SHEET, png(&self.sheet(), &self.about())?)];
        let mut pace = None;
        if let Shown::Recordings { framing, clips } = &self.samples {
            let speed = animation::Pace::of(*framing, clips);
            files.push((ANIMATION, self.animation(clips, &speed)?));
            pace = Some(speed.in_words);
        }
        Ok(Pictures { paths: to.write(&files)?, pace })
    }

    fn about(&self) -> String {
        format!("{}: {}", self.title, self.detail)
    }
}

/// The biggest whole-number scale at which `side` pixels fit into `room`.
fn scale(side: usize, room: usize) -> usize {
    (room / side.max(1)).clamp(1, 12)
}

fn png(canvas: &Canvas, about: &str) -> Result<Vec<u8>, DatasetError> {
    let failed = |error: png::EncodingError| drawing("the PNG", error);
    let [width, height] =
        [canvas.width, canvas.height].map(|side| u32::try_from(side).map_err(|e| drawing("the PNG", e)));
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width?, height?);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.add_itxt_chunk("Title".to_owned(), about.to_owned()).map_err(failed)?;
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(canvas.pixels.as_flattened()).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(out)
}

fn drawing(picture: &'static str, error: impl Display) -> DatasetError {
    DatasetError::Draw { picture, message: error.to_string() }
}

/// Writes `ON` and `OFF` in their colours.
fn legend(canvas: &mut Canvas, x: usize, y: usize) {
    for (place, (name, colour)) in LEGEND.into_iter().enumerate() {
        let x = x + place * LEGEND_ENTRY;
        canvas.fill(x, y + 2, LINE - 4, LINE - 4, colour);
        canvas.text(x + LINE, y, name);
    }
}

const LEGEND: [(&str, Colour); 2] = [("ON", tone::ON), ("OFF", tone::OFF)];
const LEGEND_ENTRY: usize = LINE + 5 * LETTER;
