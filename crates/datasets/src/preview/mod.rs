//! A few samples of a data set, or one file, in the form in which they are drawn.
//!
//! Only the recordings that are shown are read and framed, with the same code that frames a whole data set; the frame cache is
//! neither used nor built.

mod dataset;
mod file;

use bpsta_events::{Frames, Framing};

use crate::DatasetError;

pub(crate) use dataset::preview;
pub use file::preview_file;

/// What of a data set or file is to be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// How recordings are framed; the registry's rule if none (of single files: 16 frames by number).
    pub framing: Option<Framing>,
    /// Which samples; if none, the first recording or the first ten images of each class.
    pub pick: Option<Pick>,
}

/// Which samples are to be shown: training samples, or test samples where there are no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// So many of each class, the first ones in sample order (of a file of images: so many images).
    PerClass(usize),
    /// The one at this place, from 0, in sample order.
    One(usize),
}

/// What is to be drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// What the samples are from. Says of a stand-in and of a subset that it is one.
    pub title: String,
    /// Which samples these are, and how they are framed.
    pub detail: String,
    /// The samples.
    pub samples: Shown,
}

/// Samples, by what they are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Framed recordings.
    Recordings {
        /// How they are framed.
        framing: Framing,
        /// The recordings.
        clips: Vec<Clip>,
    },
    /// Images, one strip a class.
    Images(Vec<Strip>),
}

/// A framed recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clip {
    /// Name of the class, where it has one.
    pub class: Option<String>,
    /// Where it is from: file, and row of its label file where there is one.
    pub name: String,
    /// Number of events.
    pub events: usize,
    /// From the earliest event to the latest, in us.
    pub duration_us: i64,
    /// Counts `[T, 2, H, W]`, channel 0 = OFF, 1 = ON.
    pub frames: Frames,
}

/// Images side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strip {
    /// The class, or which images these are.
    pub caption: String,
    /// A label for each image, or none at all.
    pub labels: Vec<String>,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Pixels `[N, C, H, W]`.
    pub pixels: Vec<u8>,
}

/// Frames of a recording that nobody has said a number for.
const FRAMES: usize = 16;
/// Images of a class that nobody has said a number for.
const IMAGES: usize = 10;

/// Pixels of all frames together that are drawn at most: 100 MB in a picture of three bytes a pixel.
const MOST_PIXELS: usize = 1 << 25;
/// Samples that are drawn at most: more of them do not fit an animation's sides.
const MOST_SAMPLES: usize = 2000;
/// Pixels of a frame's side at most: a frame of a million by one has few pixels, but its picture's captions are as wide as it is.
const MOST_SIDE: usize = 4096;

/// Refuses what would make a picture that no viewer opens: before anything is framed, and where only framing says how many frames
/// there are, behind it.
fn check_size(
    of: &str,
    samples: usize,
    frames: usize,
    [height, width]: [usize; 2],
) -> Result<(), DatasetError> {
    let refuse = |problem| Err(DatasetError::Preview { of: of.to_owned(), problem });
    if height.max(width) > MOST_SIDE {
        return refuse(format!(
            "frames of {width} x {height} pixels are not drawn, only up to {MOST_SIDE} a side"
        ));
    }
    let all = samples.saturating_mul(frames).saturating_mul(height * width);
    if all <= MOST_PIXELS && samples <= MOST_SAMPLES {
        return Ok(());
    }
    refuse(format!(
        "{samples} samples of {frames} frames are {all} pixels; at most {MOST_SAMPLES} samples and {MOST_PIXELS} pixels are drawn: ask for fewer samples or frames"
    ))
}

/// The rule in words: `T = 16 frames of equal numbers of events (number:16)`.
fn in_words(framing: Framing) -> String {
    match framing {
        Framing::ByNumber { frames } => format!("T = {frames} frames of equal numbers of events ({framing})"),
        Framing::ByTime { frames } => format!("T = {frames} frames of equal time ({framing})"),
        Framing::ByDuration { us } => format!("frames of {us} us ({framing})"),
        Framing::Windows { us, frames } => format!("the first T = {frames} frames of {us} us ({framing})"),
    }
}
