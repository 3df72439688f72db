//! Ten hand-drawn figures: the classes of the MNIST and N-MNIST stand-ins.
//!
//! A figure is a few strokes on a unit square. Each drawing moves the strokes' points a little, puts them through
//! a random affine map (turn, slant, size, place) and takes a pen of random width; three figures have two ways of
//! being written. The result is a set of line segments, which [`Glyph::coverage`] draws at any resolution, so that
//! the still and the recording of a figure show the same thing.

use crate::stream::Stream;

/// Side of the official images in pixels.
pub(super) const SIDE: usize = 28;

/// One drawing: line segments in pixels of the 28x28 image (`[x0, y0, x1, y1]`, centre of a pixel at .5) and a
/// pen.
pub(super) struct Glyph {
    segments: Vec<[f32; 4]>,
    radius: f32,
}

type Stroke = Vec<[f32; 2]>;

/// An arc around (`x`, `y`), angles in degrees, 0 to the right and 90 down.
fn arc([x, y]: [f32; 2], [rx, ry]: [f32; 2], from: f32, to: f32) -> Stroke {
    const PIECES: usize = 10;
    (0..=PIECES)
        .map(|i| (from + (to - from) * i as f32 / PIECES as f32).to_radians())
        .map(|angle| [x + rx * libm::cosf(angle), y + ry * libm::sinf(angle)])
        .collect()
}

/// A line from point to point.
fn line(points: &[[f32; 2]]) -> Stroke {
    points.to_vec()
}

/// The strokes of figure `class` on the unit square; `variant` chooses between two hands.
fn strokes(class: usize, variant: bool) -> Vec<Stroke> {
    match class {
        0 => vec![arc([0.5, 0.5], [0.33, 0.5], 0.0, 360.0)],
        1 if variant => vec![line(&[[0.5, 0.0], [0.5, 1.0]])],
        1 => vec![line(&[[0.3, 0.22], [0.54, 0.0], [0.54, 1.0]])],
        2 => vec![
            arc([0.5, 0.28], [0.34, 0.28], 190.0, 390.0),
            line(&[[0.79, 0.42], [0.15, 1.0], [0.85, 1.0]]),
        ],
        3 => {
            vec![arc([0.45, 0.25], [0.34, 0.25], 200.0, 450.0), arc([0.45, 0.74], [0.38, 0.26], 270.0, 520.0)]
        }
        4 if variant => {
            vec![line(&[[0.2, 0.0], [0.15, 0.55], [0.85, 0.55]]), line(&[[0.7, 0.1], [0.68, 1.0]])]
        }
        4 => vec![line(&[[0.66, 1.0], [0.66, 0.0], [0.12, 0.66], [0.9, 0.66]])],
        5 => vec![
            line(&[[0.82, 0.0], [0.27, 0.0], [0.22, 0.42]]),
            arc([0.45, 0.69], [0.36, 0.31], 235.0, 510.0),
        ],
        6 => {
            vec![line(&[[0.68, 0.0], [0.35, 0.35], [0.19, 0.7]]), arc([0.5, 0.71], [0.31, 0.29], 0.0, 360.0)]
        }
        7 if variant => {
            vec![line(&[[0.15, 0.0], [0.85, 0.0], [0.4, 1.0]]), line(&[[0.35, 0.5], [0.8, 0.5]])]
        }
        7 => vec![line(&[[0.15, 0.0], [0.85, 0.0], [0.45, 1.0]])],
        8 => vec![arc([0.5, 0.25], [0.28, 0.25], 90.0, 450.0), arc([0.5, 0.75], [0.33, 0.25], -90.0, 270.0)],
        _ => vec![arc([0.5, 0.29], [0.3, 0.29], 0.0, 360.0), line(&[[0.8, 0.29], [0.76, 0.65], [0.6, 1.0]])],
    }
}

impl Glyph {
    /// Draws figure `class` (0 to 9) by hand.
    pub(super) fn draw(class: usize, stream: &mut Stream) -> Self {
        let variant = stream.coin();
        let (turn, slant) = (0.11 * stream.bell(), 0.15 * stream.bell());
        let (wide, high) = (stream.between(11.0, 17.5), stream.between(15.0, 20.0));
        let middle = [14.0 + stream.bell(), 14.0 + stream.bell()];
        let radius = stream.between(0.8, 1.7);
        let (sin, cos) = (libm::sinf(turn), libm::cosf(turn));
        let mut segments = Vec::new();
        for mut stroke in strokes(class, variant) {
            // One bend for the whole stroke keeps arcs round; single points move far less.
            let bend = [0.035 * stream.bell(), 0.035 * stream.bell()];
            for point in &mut stroke {
                let (u, v) = (point[0] - 0.5 + bend[0], point[1] - 0.5 + bend[1]);
                let x = wide * (u + 0.012 * stream.bell()) - slant * high * v;
                let y = high * (v + 0.012 * stream.bell());
                *point = [middle[0] + cos * x - sin * y, middle[1] + sin * x + cos * y];
            }
            segments.extend(stroke.windows(2).map(|ends| [ends[0][0], ends[0][1], ends[1][0], ends[1][1]]));
        }
        Self { segments, radius }
    }

    /// How much of each sample the ink covers, 0 to 1: `side` x `side` samples, `fineness` to a pixel, the first
    /// one `margin` pixels outside the image.
    pub(super) fn coverage(&self, side: usize, margin: usize, fineness: usize) -> Vec<f32> {
        let place = |i: usize| (i as f32 + 0.5) / fineness as f32 - margin as f32;
        let mut ink = vec![0.0f32; side * side];
        for segment in &self.segments {
            let reach = self.radius + 0.5;
            let bounds = |a: f32, b: f32| {
                let sample = |at: f32| ((at + margin as f32) * fineness as f32).max(0.0) as usize;
                sample(a.min(b) - reach)..(sample(a.max(b) + reach) + 1).min(side)
            };
            let columns = bounds(segment[0], segment[2]);
            for row in bounds(segment[1], segment[3]) {
                for column in columns.clone() {
                    let distance = distance([place(column), place(row)], segment);
                    let sample = &mut ink[row * side + column];
                    *sample = sample.max((self.radius + 0.5 - distance).clamp(0.0, 1.0));
                }
            }
        }
        ink
    }
}

/// Distance from a point to a line segment.
pub(super) fn distance([x, y]: [f32; 2], &[x0, y0, x1, y1]: &[f32; 4]) -> f32 {
    let (dx, dy) = (x1 - x0, y1 - y0);
    let along = ((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy).max(1e-6);
    let along = along.clamp(0.0, 1.0);
    let (ex, ey) = (x - x0 - along * dx, y - y0 - along * dy);
    (ex * ex + ey * ey).sqrt()
}
