//! Counts to colours: ON orange, OFF blue, both pale, on near black. Orange and blue are told apart by every kind of colour
//! vision.

use bpsta_events::Frames;

use super::canvas::{Colour, mix};

/// A frame's ground.
pub(super) const DARK: Colour = [8, 9, 12];
/// A pixel with many ON events.
pub(super) const ON: Colour = [255, 160, 40];
/// A pixel with many OFF events.
pub(super) const OFF: Colour = [50, 140, 255];

/// Shades of a polarity, above none.
const LEVELS: u8 = 6;
/// The shade of a single event.
const FAINT: u8 = 4;

/// How counts are drawn in one recording.
pub(super) struct Tone {
    /// The count from which on a pixel has its full colour.
    full: u16,
}

impl Tone {
    /// The full colour is for the counts that only one lit pixel in a hundred passes: one hot pixel darkens nothing.
    pub(super) fn of(frames: &Frames) -> Tone {
        let mut lit: Vec<u16> = frames.counts.iter().copied().filter(|count| *count > 0).collect();
        let place = lit.len().saturating_sub(1) * 99 / 100;
        let full = if lit.is_empty() { 1 } else { *lit.select_nth_unstable(place).1 };
        Tone { full: full.max(1) }
    }

    /// The colours of frame `index`, row-major.
    pub(super) fn frame<'a>(&'a self, frames: &'a Frames, index: usize) -> impl Iterator<Item = Colour> + 'a {
        let plane = frames.height * frames.width;
        let counts = &frames.counts[index * 2 * plane..][..2 * plane];
        let (off, on) = counts.split_at(plane);
        off.iter().zip(on).map(|(off, on)| colour(self.level(*off), self.level(*on)))
    }

    /// 0 for no event; a single one is well above that, or it would not be seen.
    fn level(&self, count: u16) -> u8 {
        match (count, self.full) {
            (0, _) => 0,
            (count, full) if count >= full => LEVELS,
            (count, full) => {
                FAINT + (u32::from(LEVELS - FAINT) * u32::from(count - 1) / u32::from(full - 1)) as u8
            }
        }
    }
}

fn colour(off: u8, on: u8) -> Colour {
    std::array::from_fn(|i| {
        let [off, on] = [(OFF[i], off), (ON[i], on)].map(|(full, level)| mix(DARK[i], full, level, LEVELS));
        off.max(on)
    })
}

/// All colours of frames.
pub(super) fn tones() -> impl Iterator<Item = Colour> {
    (0..=LEVELS).flat_map(|off| (0..=LEVELS).map(move |on| colour(off, on)))
}
