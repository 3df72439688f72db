//! The animation: recordings side by side, frame after frame, for ever.

use std::collections::BTreeSet;

use bpsta_events::Framing;
use gif::{Encoder, EncodingError, Extension, Frame, Repeat};

use super::canvas::{Canvas, Colour, LETTER, LINE, inks, shortened, width_of};
use super::tone::{Tone, tones};
use super::{LEGEND_ENTRY, SPACE, drawing, legend, scale};
use crate::DatasetError;
use crate::preview::{Clip, Preview};

/// Width that frames are scaled up to, in pixels, and a frame's at most.
const WIDTH: usize = 1100;
const TILE: usize = 272;
/// Recordings up to which width is spent on captions.
const FEW: usize = 16;
/// A frame's time where the rule gives it none: 100 ms.
const STEADY_CS: u16 = 10;
/// Viewers show what should be shorter much longer instead.
const SHORTEST_CS: u16 = 2;

/// How long a frame is shown.
pub(super) struct Pace {
    /// In hundredths of a second, GIF's unit.
    centiseconds: u16,
    pub(super) in_words: String,
}

impl Pace {
    /// Of frames of equal time, their time, to 10 ms; of several recordings, the median one's.
    pub(super) fn of(framing: Framing, clips: &[Clip]) -> Pace {
        let real_us = match framing {
            Framing::ByNumber { .. } => None,
            Framing::ByTime { frames } => {
                let mut durations: Vec<i64> = clips.iter().map(|clip| clip.duration_us).collect();
                durations.sort_unstable();
                let median = durations.get(durations.len() / 2).copied();
                median.map(|duration| duration / i64::try_from(frames).unwrap_or(1).max(1))
            }
            Framing::ByDuration { us } | Framing::Windows { us, .. } => Some(us),
        };
        let Some(us) = real_us else {
            let in_words = format!("{} ms a frame, not real time", u32::from(STEADY_CS) * 10);
            return Pace { centiseconds: STEADY_CS, in_words };
        };
        let rounded = us.saturating_add(5_000) / 10_000;
        let centiseconds =
            u16::try_from(rounded.clamp(i64::from(SHORTEST_CS), i64::from(u16::MAX))).unwrap_or(u16::MAX);
        let of = if clips.len() > 1 { " of the median recording" } else { "" };
        let real = format!("a frame's real time{of} is {:.1} ms, and GIF counts in 10 ms", us as f64 / 1e3);
        Pace { centiseconds, in_words: format!("{} ms a frame; {real}", u32::from(centiseconds) * 10) }
    }
}

impl Preview {
    pub(super) fn animation(&self, clips: &[Clip], pace: &Pace) -> Result<Vec<u8>, DatasetError> {
        let colours: BTreeSet<Colour> = tones().chain(inks()).collect();
        let palette: Vec<Colour> = colours.into_iter().collect();
        let stage = Stage::of(self, clips, pace);
        let failed = |error: EncodingError| drawing("the GIF", error);
        let side = |side: usize| u16::try_from(side).map_err(|error| drawing("the GIF", error));
        let (width, height) = (side(stage.width)?, side(stage.height)?);
        let mut encoder = Encoder::new(Vec::new(), width, height, palette.as_flattened()).map_err(failed)?;
        encoder.set_repeat(Repeat::Infinite).map_err(failed)?;
        encoder.write_raw_extension(Extension::Comment.into(), &[self.about().as_bytes()]).map_err(failed)?;
        let frames = clips.iter().map(|clip| clip.frames.time_steps).max().unwrap_or(0);
        for index in 0..frames {
            let canvas = stage.draw(index, frames);
            // Every colour drawn is in the palette.
            let pixels: Vec<u8> =
                canvas.pixels.iter().map(|colour| palette.binary_search(colour).unwrap_or(0) as u8).collect();
            let mut frame = Frame::from_indexed_pixels(width, height, pixels, None);
            frame.delay = pace.centiseconds;
            encoder.write_frame(&frame).map_err(failed)?;
        }
        encoder.into_inner().map_err(|error| drawing("the GIF", error))
    }
}

/// What stays the same from frame to frame.
struct Stage<'a> {
    preview: &'a Preview,
    clips: &'a [Clip],
    tones: Vec<Tone>,
    pace: &'a Pace,
    scale: usize,
    /// Recordings side by side.
    columns: usize,
    /// Width and height of a recording with its caption.
    cell: [usize; 2],
    width: usize,
    height: usize,
}

impl<'a> Stage<'a> {
    fn of(preview: &'a Preview, clips: &'a [Clip], pace: &'a Pace) -> Stage<'a> {
        let [wide, high] = clips.first().map_or([1, 1], |clip| [clip.frames.width, clip.frames.height]);
        // Wider than high, as screens are.
        let columns = (1..=clips.len()).find(|columns| columns * columns >= 2 * clips.len()).unwrap_or(1);
        // Of some recordings fewer, if they are then big enough for their captions.
        let big = if clips.len() <= FEW { WIDTH / (2 * wide).max(1) } else { columns };
        let columns = columns.min(big).min(clips.len()).max(1);
        let scale = scale(wide, (WIDTH / columns).min(TILE));
        let cell = [wide * scale + SPACE, high * scale + LINE + SPACE];
        let header = [width_of(&preview.title), width_of(&preview.detail)];
        let line = width_of(&pace.in_words) + width_of("frame 1000 of 1000, ") + 2 * SPACE + 2 * LEGEND_ENTRY;
        let text = header.into_iter().chain([line]).max().unwrap_or(0);
        Stage {
            preview,
            clips,
            tones: clips.iter().map(|clip| Tone::of(&clip.frames)).collect(),
            pace,
            scale,
            columns,
            cell,
            width: (columns * cell[0]).max(text) + 2 * SPACE,
            height: clips.len().div_ceil(columns) * cell[1] + 3 * LINE + 2 * SPACE,
        }
    }

    fn draw(&self, index: usize, frames: usize) -> Canvas {
        let mut canvas = Canvas::new(self.width, self.height);
        canvas.text(SPACE, SPACE, &self.preview.title);
        canvas.text(SPACE, SPACE + LINE, &self.preview.detail);
        let line = format!("frame {} of {frames}, {}", index + 1, self.pace.in_words);
        canvas.text(SPACE, SPACE + 2 * LINE, &line);
        legend(&mut canvas, self.width - SPACE - 2 * LEGEND_ENTRY, SPACE + 2 * LINE);
        for (place, (clip, tone)) in self.clips.iter().zip(&self.tones).enumerate() {
            let x = SPACE + place % self.columns * self.cell[0];
            let y = 2 * SPACE + 3 * LINE + place / self.columns * self.cell[1];
            let caption = clip.class.as_deref().unwrap_or(&clip.name);
            canvas.text(x, y, &shortened(caption, (self.cell[0] - SPACE) / LETTER));
            if index < clip.frames.time_steps {
                let colours = tone.frame(&clip.frames, index);
                canvas.image(x, y + LINE, clip.frames.width, self.scale, colours);
            }
        }
        canvas
    }
}
