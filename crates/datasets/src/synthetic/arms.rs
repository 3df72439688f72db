//! Moving arms: the classes of the DVS-Gesture stand-in, which differ only in how things move over time.
//!
//! A person with two outstretched arms stands before the sensor. Each arm turns about its shoulder, and a gesture
//! is a pair of walks (one per arm) from quarter of the circle to quarter, with a lead of one arm over the other.
//! Every walk of every gesture passes each quarter exactly twice and ends where it began. Hence at any angle the
//! arm comes by twice, each time brightening a pixel once and darkening it once, and the events of a trial summed
//! over time, per pixel and polarity, are the same for all gestures up to noise. Which way, in which order and which
//! arm first is all there is to tell gestures apart. (Proof: at any boundary of two quarters four ends of passes
//! meet, which pair up into two visits, be they passages or reversals.)
//!
//! The gestures carry the meaning of the official eleven as far as this rule lets them: a wave of the right hand is
//! followed by one of the left, and so on.

use std::f32::consts::FRAC_PI_2;

use super::dvs::{PixelArray, Recorder};
use super::glyphs::distance;
use crate::stream::Stream;

/// Rendering step in microseconds: a hand moves by less than a pixel.
const STEP: f32 = 1000.0;
/// Ticks of a trial. A walk takes eight; the arm rests in the others.
const TICKS: usize = 12;

/// One arm's part of a gesture.
struct Walk {
    /// Eight passes of a quarter circle, starting with the arm hanging down: `o` outward, `i` inward.
    passes: &'static [u8; 8],
    /// Begins two to four ticks after the other arm.
    late: bool,
}

/// What the arms do: right arm (left in the picture), left arm.
type Gesture = [Walk; 2];

const fn walk(passes: &'static [u8; 8]) -> Walk {
    Walk { passes, late: false }
}

const fn late(passes: &'static [u8; 8]) -> Walk {
    Walk { passes, late: true }
}

/// The eleven gestures in the order of the official classes 1 to 11. Seen by the sensor, outward is clockwise for
/// the right arm and counter-clockwise for the left arm.
const GESTURES: [Gesture; 11] = [
    // Hand clapping: both arms meet twice on the inner side, then open to the outer side.
    [walk(b"iiooooii"), walk(b"iiooooii")],
    // Right hand wave, left hand wave: up and back on the outer side, then on the inner side.
    [walk(b"ooiiiioo"), late(b"ooiiiioo")],
    [late(b"ooiiiioo"), walk(b"ooiiiioo")],
    // Right arm clockwise, right arm counter-clockwise.
    [walk(b"oooooooo"), late(b"iiiiiiii")],
    [walk(b"iiiiiiii"), late(b"oooooooo")],
    // Left arm clockwise, left arm counter-clockwise.
    [late(b"oooooooo"), walk(b"iiiiiiii")],
    [late(b"iiiiiiii"), walk(b"oooooooo")],
    // Arm roll: both arms round and round, outward.
    [walk(b"oooooooo"), walk(b"oooooooo")],
    // Air drums: one arm up while the other is down.
    [walk(b"ooiiiioo"), walk(b"iiooooii")],
    // Air guitar: one whole turn out, one back.
    [walk(b"ooooiiii"), walk(b"ooooiiii")],
    // Other: both arms round and round, inward.
    [walk(b"iiiiiiii"), walk(b"iiiiiiii")],
];

/// Number of gestures.
pub(super) const CLASSES: usize = GESTURES.len();

/// How one user stands before the sensor, in pixels, and moves.
pub(super) struct Person {
    neck: [f32; 2],
    /// From the neck to either shoulder.
    shoulder: f32,
    /// From a shoulder to the middle of the hand.
    reach: f32,
    /// Half the width of an arm, radius of a hand.
    thickness: [f32; 2],
    /// Angle of the resting arm from straight down, outward, in radians.
    rest: f32,
    /// Mean duration of a tick in microseconds.
    tick: f32,
}

impl Person {
    /// A user drawn at random.
    pub(super) fn draw(stream: &mut Stream) -> Self {
        let reach = stream.between(18.5, 22.5);
        let thickness = [stream.between(2.2, 3.2), stream.between(3.8, 5.0)];
        // The circles of the two hands stay apart, so that no arm ever covers the other.
        let shoulder = reach + thickness[1] + stream.between(0.6, 2.0);
        Self {
            neck: [64.0 + stream.between(-5.0, 5.0), 64.0 + stream.between(-12.0, 12.0)],
            shoulder,
            reach,
            thickness,
            rest: stream.between(-0.2, 0.2),
            tick: stream.between(45.0e3, 75.0e3),
        }
    }
}

/// One arm at one moment: from shoulder to hand, in pixels.
type Arm = [f32; 4];

/// A trial: a person performing one gesture.
pub(super) struct Trial<'a> {
    person: &'a Person,
    gesture: &'static Gesture,
    /// Angle by which each resting arm differs from the person's habit in this trial, in radians.
    lean: [f32; 2],
    /// Place of the person's neck in this trial.
    neck: [f32; 2],
    /// When each arm starts, in ticks.
    start: [f32; 2],
    /// When each tick begins and the last one ends, in microseconds.
    beats: [f32; TICKS + 1],
    /// Light on the ground and on the person.
    light: [f32; 2],
}

impl<'a> Trial<'a> {
    /// Draws how `person` performs gesture `class` (0 to 10) this time; `contrast` is the person's brightness over
    /// the ground's.
    pub(super) fn draw(person: &'a Person, class: usize, contrast: f32, stream: &mut Stream) -> Self {
        let mut beats = [0.0; TICKS + 1];
        let pace = stream.between(0.9, 1.1);
        for tick in 0..TICKS {
            beats[tick + 1] = beats[tick] + person.tick * pace * stream.between(0.7, 1.3);
        }
        let gesture = &GESTURES[class];
        let late = gesture.each_ref().map(|walk| walk.late);
        let start = if late[0] == late[1] {
            let wait = stream.between(0.5, 3.5);
            [wait + stream.between(-0.5, 0.5), wait + stream.between(-0.5, 0.5)]
        } else {
            let lead = stream.between(2.0, 4.0);
            let wait = stream.between(0.0, 4.0 - lead);
            late.map(|late| if late { wait + lead } else { wait })
        };
        let lean = stream.between(-1.0, 1.0);
        Self {
            person,
            gesture,
            lean: [lean + stream.between(-0.3, 0.3), lean + stream.between(-0.3, 0.3)],
            neck: person.neck.map(|at| at + 2.0 * stream.bell()),
            start,
            beats,
            light: [1.0, contrast],
        }
    }

    /// How long the trial lasts, in microseconds.
    pub(super) fn duration(&self) -> f32 {
        self.beats[TICKS]
    }

    /// Both arms at `time` microseconds.
    fn arms(&self, time: f32) -> [Arm; 2] {
        let tick = self.beats[1..TICKS].partition_point(|&beat| beat <= time);
        let part = (time - self.beats[tick]) / (self.beats[tick + 1] - self.beats[tick]);
        let ticks = tick as f32 + part;
        let side = |arm: usize, outward: f32| {
            let quarters = quarters(self.gesture[arm].passes, ticks - self.start[arm]);
            let angle = self.person.rest + self.lean[arm] + quarters * FRAC_PI_2;
            let [x, y] = [self.neck[0] + outward * self.person.shoulder, self.neck[1] + 4.0];
            let reach = self.person.reach;
            [x, y, x + outward * reach * libm::sinf(angle), y + reach * libm::cosf(angle)]
        };
        [side(0, -1.0), side(1, 1.0)]
    }

    /// How much of the pixel at `place` the moving arms cover, 0 to 1.
    fn cover(&self, arms: &[Arm; 2], place: [f32; 2]) -> f32 {
        let [arm_radius, hand_radius] = self.person.thickness;
        // Each arm keeps to its side of the body.
        let arm = &arms[usize::from(place[0] > self.neck[0])];
        let (dx, dy) = (place[0] - arm[2], place[1] - arm[3]);
        let inside = (arm_radius - distance(place, arm)).max(hand_radius - (dx * dx + dy * dy).sqrt());
        (inside + 0.5).clamp(0.0, 1.0)
    }

    /// How much of the pixel at `place` head and body cover, 0 to 1. They stand still.
    fn body(&self, [x, y]: [f32; 2]) -> f32 {
        let (x, y) = (x - self.neck[0], y - self.neck[1]);
        let head = 7.0 - distance([x, y], &[0.0, -9.0, 0.0, -6.0]);
        let trunk = (0.45 * self.person.shoulder - x.abs()).min(y - 2.0);
        (head.max(trunk) + 0.5).clamp(0.0, 1.0)
    }

    /// Performs the gesture before the sensor.
    pub(super) fn perform<'b>(&self, array: &'b PixelArray) -> Recorder<'b> {
        let (width, height) = (array.width(), array.height());
        let place = |pixel: usize| [(pixel % width) as f32 + 0.5, (pixel / width) as f32 + 0.5];
        let log = |cover: f32| libm::logf(self.light[0] + cover * (self.light[1] - self.light[0]));
        let mut arms = self.arms(0.0);
        let body: Vec<f32> = (0..width * height).map(|pixel| self.body(place(pixel))).collect();
        let mut cover: Vec<f32> =
            body.iter().enumerate().map(|(pixel, &body)| body.max(self.cover(&arms, place(pixel)))).collect();
        let mut recorder = Recorder::new(array, &cover.iter().map(|&cover| log(cover)).collect::<Vec<_>>());
        for step in 1..=(self.duration() / STEP) as usize {
            let time = step as f32 * STEP;
            let next = self.arms(time);
            recorder.advance(time);
            for (before, after) in arms.iter().zip(&next).filter(|(before, after)| before != after) {
                // Only pixels within reach of the arm, before or after, can have changed.
                let bounds = |axis: usize, size: usize| {
                    let ends = [before[axis], before[axis + 2], after[axis + 2]];
                    let margin = self.person.thickness[1] + 1.0;
                    let low = ends.iter().fold(f32::INFINITY, |low, &end| low.min(end)) - margin;
                    let high = ends.iter().fold(0.0f32, |high, &end| high.max(end)) + margin;
                    (low.max(0.0) as usize)..(high as usize + 1).min(size)
                };
                let columns = bounds(0, width);
                for row in bounds(1, height) {
                    for pixel in columns.clone().map(|column| row * width + column) {
                        let now = body[pixel].max(self.cover(&next, place(pixel)));
                        if now != cover[pixel] {
                            cover[pixel] = now;
                            recorder.show_pixel(pixel, log(now));
                        }
                    }
                }
            }
            arms = next;
        }
        recorder
    }
}

/// Where a walk stands after `ticks` ticks, in quarters of a circle outward from rest.
fn quarters(passes: &[u8; 8], ticks: f32) -> f32 {
    passes
        .iter()
        .enumerate()
        .map(|(tick, &pass)| {
            let done = (ticks - tick as f32).clamp(0.0, 1.0);
            if pass == b'o' { done } else { -done }
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule that hides the class from the sum over time.
    #[test]
    fn every_walk_passes_each_quarter_twice_and_returns() {
        for walk in GESTURES.iter().flatten() {
            let (mut at, mut visits) = (0i32, [0; 4]);
            for &pass in walk.passes {
                let next = if pass == b'o' { at + 1 } else { at - 1 };
                visits[at.min(next).rem_euclid(4) as usize] += 1;
                at = next;
            }
            assert_eq!((at.rem_euclid(4), visits), (0, [2; 4]));
        }
    }

    #[test]
    fn no_two_gestures_are_the_same() {
        for (number, one) in GESTURES.iter().enumerate() {
            for other in &GESTURES[..number] {
                assert!(one.iter().zip(other).any(|(a, b)| (a.passes, a.late) != (b.passes, b.late)));
            }
        }
    }
}
