//! A simple model of a dynamic vision sensor: what turns a moving picture into events.
//!
//! Each pixel remembers the log intensity at its last event. Whenever the log intensity has risen by the pixel's
//! ON threshold since then it sends an ON event, whenever it has fallen by the OFF threshold an OFF event
//! (Lichtsteiner, Posch and Delbruck 2008, "A 128x128 120 dB 15 us latency asynchronous temporal contrast vision
//! sensor"). Between two rendered frames the log intensity is taken to be linear in time, and an event carries the
//! time at which that line crosses the threshold, as in ESIM (Rebecq, Gehrig and Scaramuzza 2018) and v2e (Hu, Liu
//! and Delbruck 2021). From v2e come the mismatch of the thresholds from pixel to pixel, fixed for a sensor, and a
//! background activity of single events spread evenly over pixels and time. A crossing within the refractory
//! period of the pixel's last event moves the pixel's memory but sends nothing (ESIM's rule).
//!
//! Left out, because no class depends on them: the photoreceptor's low-pass, leak, shot noise that depends on
//! intensity, and the read-out's queue.

use bpsta_events::Events;

use crate::stream::Stream;

/// What the data sheet of a sensor would say.
pub(super) struct Make {
    /// Pixels in a row.
    pub(super) width: usize,
    /// Rows.
    pub(super) height: usize,
    /// Mean contrast threshold of both polarities, in units of natural log intensity.
    pub(super) threshold: f32,
    /// Standard deviation of a pixel's threshold, relative to the mean.
    pub(super) mismatch: f32,
    /// Dead time of a pixel after an event, in microseconds.
    pub(super) refractory: f32,
    /// Background events of one pixel in a second.
    pub(super) background: f32,
}

/// One sensor: a make and the fixed pattern of its thresholds. A data set is recorded with one sensor.
pub(super) struct PixelArray {
    make: Make,
    on: Vec<f32>,
    off: Vec<f32>,
}

impl PixelArray {
    /// Draws the thresholds of one copy of `make`.
    pub(super) fn new(make: Make, stream: &mut Stream) -> Self {
        let pixels = make.width * make.height;
        let mut pattern = |_| make.threshold * (1.0 + make.mismatch * stream.bell());
        let on = (0..pixels).map(&mut pattern).collect();
        let off = (0..pixels).map(&mut pattern).collect();
        Self { make, on, off }
    }

    /// Pixels in a row.
    pub(super) fn width(&self) -> usize {
        self.make.width
    }

    /// Rows.
    pub(super) fn height(&self) -> usize {
        self.make.height
    }
}

/// One recording in progress: show it frame after frame, then [`Recorder::finish`].
pub(super) struct Recorder<'a> {
    array: &'a PixelArray,
    /// Log intensity of each pixel in the last frame shown.
    shown: Vec<f32>,
    /// Log intensity of each pixel at its last event.
    memory: Vec<f32>,
    /// Time of each pixel's last event, in microseconds.
    last: Vec<f32>,
    from: f32,
    until: f32,
    /// Events as sort keys, see [`key`].
    events: Vec<u64>,
}

impl<'a> Recorder<'a> {
    /// A recording that starts at time 0 on a sensor adapted to `log`, the log intensity of every pixel.
    pub(super) fn new(array: &'a PixelArray, log: &[f32]) -> Self {
        Self {
            array,
            shown: log.to_vec(),
            memory: log.to_vec(),
            last: vec![f32::NEG_INFINITY; log.len()],
            from: 0.0,
            until: 0.0,
            events: Vec::new(),
        }
    }

    /// Opens the next step: what is shown from here on is the frame at `until` microseconds.
    pub(super) fn advance(&mut self, until: f32) {
        self.from = self.until;
        self.until = until;
    }

    /// Shows a whole frame of log intensities.
    pub(super) fn show(&mut self, log: &[f32]) {
        for (pixel, &log) in log.iter().enumerate() {
            self.show_pixel(pixel, log);
        }
    }

    /// Shows one pixel's new log intensity; pixels not shown in a step have not changed.
    #[inline]
    pub(super) fn show_pixel(&mut self, pixel: usize, log: f32) {
        let change = log - self.memory[pixel];
        if change >= self.array.on[pixel] {
            self.cross(pixel, log, self.array.on[pixel], true);
        } else if -change >= self.array.off[pixel] {
            self.cross(pixel, log, -self.array.off[pixel], false);
        }
        self.shown[pixel] = log;
    }

    /// Sends an event for each time the line from the last frame to `log` crosses a multiple of `threshold`.
    fn cross(&mut self, pixel: usize, log: f32, threshold: f32, on: bool) {
        let (start, slope) = (self.shown[pixel], (self.until - self.from) / (log - self.shown[pixel]));
        while (log - self.memory[pixel]) / threshold >= 1.0 {
            self.memory[pixel] += threshold;
            let time = self.from + (self.memory[pixel] - start) * slope;
            if time - self.last[pixel] >= self.array.make.refractory {
                self.last[pixel] = time;
                self.events.push(key(time, pixel, on));
            }
        }
    }

    /// Adds the background activity up to `duration` microseconds and returns all events in order of time (ties in
    /// order of row, column, polarity).
    pub(super) fn finish(mut self, duration: f32, stream: &mut Stream) -> Events {
        let (width, pixels) = (self.array.make.width, self.shown.len());
        let expected = self.array.make.background * pixels as f32 * duration * 1e-6;
        for _ in 0..(expected + stream.unit()) as usize {
            let pixel = stream.below(pixels as u32) as usize;
            self.events.push(key(stream.unit() * duration, pixel, stream.coin()));
        }
        self.events.sort_unstable();
        let mut events = Events::default();
        for key in self.events {
            let pixel = (key >> 1) as usize & 0xFFFF;
            events.push((key >> 17) as i64, (pixel % width) as u16, (pixel / width) as u16, key & 1 == 1);
        }
        events
    }
}

/// An event as one number that sorts by time in whole microseconds, then pixel (16 bits), then polarity.
fn key(time: f32, pixel: usize, on: bool) -> u64 {
    (time as u64) << 17 | (pixel as u64) << 1 | u64::from(on)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_pixel(refractory: f32) -> PixelArray {
        let make = Make { width: 1, height: 1, threshold: 0.25, mismatch: 0.0, refractory, background: 0.0 };
        PixelArray::new(make, &mut Stream::named(0, "test"))
    }

    fn record(array: &PixelArray, frames: &[f32]) -> Events {
        let mut stream = Stream::named(0, "test");
        let mut recorder = Recorder::new(array, &[0.0]);
        for (step, &log) in frames.iter().enumerate() {
            recorder.advance(1000.0 * (step + 1) as f32);
            recorder.show(&[log]);
        }
        recorder.finish(1000.0 * frames.len() as f32, &mut stream)
    }

    #[test]
    fn crossings_carry_the_interpolated_time() {
        let events = record(&one_pixel(0.0), &[1.0, 1.0, 0.375]);
        assert_eq!(events.t, [250, 500, 750, 1000, 2400, 2800]);
        assert_eq!(events.on, [true, true, true, true, false, false]);
    }

    #[test]
    fn slow_changes_add_up_over_frames() {
        assert_eq!(record(&one_pixel(0.0), &[0.125, 0.25, 0.375, 0.5]).t, [2000, 4000]);
    }

    #[test]
    fn a_pixel_is_silent_while_refractory() {
        assert_eq!(record(&one_pixel(400.0), &[1.0]).t, [250, 750]);
    }
}
