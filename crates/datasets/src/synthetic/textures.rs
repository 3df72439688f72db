//! Coloured pictures of textured shapes: the classes of the CIFAR10 and DVS-CIFAR10 stand-ins.
//!
//! Class `c` shows texture `c % 5` (upright stripes, level stripes, checks, dots, rings) on shape `c / 5` (disc,
//! cross). Size, place, turn, period and phase vary from picture to picture, and so do the three colours: hue
//! leans towards the class only a little, so that colour alone does not tell the classes apart.

use std::f32::consts::TAU;

use crate::stream::Stream;

/// Side of the official images in pixels.
pub(super) const SIDE: usize = 32;

/// One picture: red, green and blue planes of 32x32, 0 to 255, as in a CIFAR10 record.
pub(super) struct Picture(pub(super) Vec<u8>);

impl Picture {
    /// Paints a picture of `class` (0 to 9).
    pub(super) fn paint(class: usize, stream: &mut Stream) -> Self {
        let turn = 0.12 * stream.bell();
        let (sin, cos) = (libm::sinf(turn), libm::cosf(turn));
        let middle = [16.0 + 1.6 * stream.bell(), 16.0 + 1.6 * stream.bell()];
        let size = stream.between(10.5, 13.5);
        let wave = TAU / stream.between(6.0, 8.0);
        let phase = [stream.between(-0.25, 0.25) * TAU, stream.between(-0.25, 0.25) * TAU];
        let light = stream.between(0.68, 0.85);
        let colours = [light, light - stream.between(0.34, 0.45), stream.between(0.3, 0.6)]
            .map(|brightness| tint(brightness, class, stream));
        let slope = [0.006 * stream.bell(), 0.006 * stream.bell()];

        let mut planes = vec![0; 3 * SIDE * SIDE];
        for pixel in 0..SIDE * SIDE {
            let x = (pixel % SIDE) as f32 + 0.5 - middle[0];
            let y = (pixel / SIDE) as f32 + 0.5 - middle[1];
            let (u, v) = (cos * x + sin * y, cos * y - sin * x);
            let inside = shape(class / 5, u, v, size);
            let mark = texture(class % 5, wave, u, v, phase);
            let shade = slope[0] * x + slope[1] * y;
            for (plane, rgb) in colours[0].iter().zip(colours[1]).zip(colours[2]).enumerate() {
                let ((bright, dark), ground) = rgb;
                let object = dark + mark * (bright - dark);
                let value = ground + shade + inside * (object - ground - shade) + 0.02 * stream.bell();
                planes[plane * SIDE * SIDE + pixel] = (value * 255.0).clamp(0.0, 255.0) as u8;
            }
        }
        Self(planes)
    }

    /// Brightness of a pixel, 0 to 1 (the weights of ITU-R BT.601).
    pub(super) fn brightness(&self, pixel: usize) -> f32 {
        let plane = |number: usize| f32::from(self.0[number * SIDE * SIDE + pixel]) / 255.0;
        0.299 * plane(0) + 0.587 * plane(1) + 0.114 * plane(2)
    }
}

/// A colour of a given brightness; the hue is nearly free of the class.
fn tint(brightness: f32, class: usize, stream: &mut Stream) -> [f32; 3] {
    let hue = TAU * (class as f32 / 10.0 + stream.between(-0.4, 0.4));
    let strength = stream.between(0.02, 0.14);
    let (red, blue) = (strength * libm::cosf(hue), strength * libm::sinf(hue));
    // Green takes up what red and blue add to the brightness.
    [brightness + red, brightness - (0.299 * red + 0.114 * blue) / 0.587, brightness + blue]
}

/// How much of a pixel at (`u`, `v`) from the middle lies in the shape, 0 to 1.
fn shape(kind: usize, u: f32, v: f32, size: f32) -> f32 {
    let outside = match kind {
        0 => (u * u + v * v).sqrt() - size,
        _ => (u.abs().max(v.abs()) - size).max(u.abs().min(v.abs()) - 0.42 * size),
    };
    (0.5 - outside).clamp(0.0, 1.0)
}

/// The texture's tone at (`u`, `v`), 0 (dark) to 1 (bright).
fn texture(kind: usize, wave: f32, u: f32, v: f32, phase: [f32; 2]) -> f32 {
    let (a, b) = (libm::cosf(wave * u + phase[0]), libm::cosf(wave * v + phase[1]));
    let tone = match kind {
        0 => a,
        1 => b,
        2 => 2.0 * a * b,
        3 => 2.0 * (a + b - 0.6),
        _ => libm::cosf(wave * (u * u + v * v).sqrt() + phase[0]),
    };
    (0.5 + 0.75 * tone).clamp(0.0, 1.0)
}
