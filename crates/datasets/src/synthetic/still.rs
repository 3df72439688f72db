//! A still picture in front of a moving sensor, as N-MNIST and DVS-CIFAR10 were recorded.

use super::dvs::{PixelArray, Recorder};

/// A picture's log intensity on a grid finer than, and reaching beyond, the sensor's pixels.
pub(super) struct Still {
    /// Samples along one side of a pixel.
    pub(super) fineness: usize,
    /// Pixels by which the picture reaches beyond the sensor on every side: more than any shift.
    pub(super) margin: usize,
    /// Natural log intensity, row after row, of `(size + 2 * margin) * fineness` samples each way.
    pub(super) log: Vec<f32>,
}

impl Still {
    /// Samples in a row of the picture for a sensor of `size` pixels.
    pub(super) fn side(size: usize, margin: usize, fineness: usize) -> usize {
        (size + 2 * margin) * fineness
    }

    /// What a square sensor of `size` pixels sees from `shift` pixels off the middle, bilinear between samples.
    fn view(&self, size: usize, shift: [f32; 2], frame: &mut [f32]) {
        let side = Self::side(size, self.margin, self.fineness);
        let origin = shift.map(|s| (s + self.margin as f32) * self.fineness as f32);
        let [left, top] = origin.map(|o| o as usize);
        let (right, low) = (origin[0] - left as f32, origin[1] - top as f32);
        let weights = [(1.0 - low) * (1.0 - right), (1.0 - low) * right, low * (1.0 - right), low * right];
        for (y, row) in frame.chunks_exact_mut(size).enumerate() {
            let upper = &self.log[(top + y * self.fineness) * side + left..][..side - left];
            let lower = &self.log[(top + y * self.fineness + 1) * side + left..][..side - left];
            for (x, pixel) in row.iter_mut().enumerate() {
                let at = x * self.fineness;
                *pixel = weights[0] * upper[at]
                    + weights[1] * upper[at + 1]
                    + weights[2] * lower[at]
                    + weights[3] * lower[at + 1];
            }
        }
    }

    /// Records the picture while the sensor moves along `path`: straight from corner to corner, each leg in
    /// `leg` microseconds, starting and stopping softly, rendered every `step` microseconds. Corners are shifts in
    /// pixels.
    pub(super) fn pan<'a>(
        &self,
        array: &'a PixelArray,
        path: &[[f32; 2]],
        leg: f32,
        step: f32,
    ) -> Recorder<'a> {
        let size = array.width();
        let mut frame = vec![0.0; size * array.height()];
        self.view(size, path[0], &mut frame);
        let mut recorder = Recorder::new(array, &frame);
        let steps = (leg / step) as usize;
        for (number, corners) in path.windows(2).enumerate() {
            for at in 1..=steps {
                let part = at as f32 / steps as f32;
                let way = part * part * (3.0 - 2.0 * part);
                let shift = [0, 1].map(|axis| corners[0][axis] + way * (corners[1][axis] - corners[0][axis]));
                self.view(size, shift, &mut frame);
                recorder.advance(leg * number as f32 + leg * part);
                recorder.show(&frame);
            }
        }
        recorder
    }
}
