//! Batch norm, ReLU and LIF cells over all time steps in one pass, and their gradients.
//!
//! Forward keeps no potential: what enters the cells is kept (the convolution's own output), and backward runs them
//! once more from it. The formulas are in the docs of [`Rule`](crate::Rule).

use super::super::simd::{Kernel, LANES, Simd};
use crate::{Neuron, Reset};

/// Pixels that run through time side by side.
pub(in crate::cpu) const PIXELS: usize = 4;
/// Time steps of a run at most: the potentials of some cells must stay in a core's cache over all of them.
pub(in crate::cpu) const MOST_STEPS: usize = 1024;

/// How the input of a time step becomes current: `relu(scale * x + shift)`, 16 values each a time step; the identity if none.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Affine<'a> {
    pub(in crate::cpu) scale: &'a [f32],
    pub(in crate::cpu) shift: &'a [f32],
}

/// The cells of one block of channels of one sample.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Cells<'a> {
    /// Input, `[pixel][16]` for each time step; one plane if it is the same at every one.
    pub(in crate::cpu) input: &'a [f32],
    /// From a time step's input to the next one's.
    pub(in crate::cpu) step: usize,
    pub(in crate::cpu) affine: Option<Affine<'a>>,
    pub(in crate::cpu) pixels: usize,
    pub(in crate::cpu) steps: usize,
    /// Whether `input` is one plane.
    pub(in crate::cpu) constant: bool,
}

impl Cells<'_> {
    fn check(&self) {
        let planes = if self.constant { 1 } else { self.steps };
        let last = planes.saturating_sub(1) * self.step + self.pixels * LANES;
        assert!(self.input.len() >= last, "cells read outside");
        assert!(self.steps <= MOST_STEPS, "more time steps than cells can run");
        if let Some(affine) = self.affine {
            assert!(affine.scale.len() >= planes * LANES && affine.shift.len() >= planes * LANES);
        }
    }

    /// # Safety
    /// [`Self::check`] passed; `t` and `pixel` lie in range.
    #[inline(always)]
    unsafe fn current<S: Simd>(&self, s: S, t: usize, pixel: usize) -> S::V {
        let plane = if self.constant { 0 } else { t };
        // SAFETY: the caller's.
        unsafe {
            let x = s.load(self.input.as_ptr().add(plane * self.step + pixel * LANES));
            match self.affine {
                None => x,
                Some(affine) => {
                    let scale = s.load(affine.scale.as_ptr().add(plane * LANES));
                    let shift = s.load(affine.shift.as_ptr().add(plane * LANES));
                    s.relu(s.fma(x, scale, shift))
                }
            }
        }
    }
}

/// Runs cells forward.
pub(in crate::cpu) struct Fire<'a> {
    pub(in crate::cpu) cells: Cells<'a>,
    pub(in crate::cpu) neuron: &'a Neuron,
    /// Set to the spikes, `[time step][pixel]`, a bit a channel.
    pub(in crate::cpu) spikes: &'a mut [u16],
}

impl Kernel for Fire<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.cells.check();
        assert!(self.spikes.len() >= self.cells.steps * self.cells.pixels, "cells write outside");
        let mut this = self;
        let pixels = this.cells.pixels;
        let whole = pixels / PIXELS * PIXELS;
        for first in (0..whole).step_by(PIXELS) {
            this.through_time::<S, PIXELS>(s, first);
        }
        for first in whole..pixels {
            this.through_time::<S, 1>(s, first);
        }
    }
}

impl Fire<'_> {
    #[inline(always)]
    fn through_time<S: Simd, const P: usize>(&mut self, s: S, first: usize) {
        let threshold = s.splat(self.neuron.threshold as f32);
        let decay = s.splat(self.neuron.decay as f32);
        let mut rest = [s.splat(0.0); P];
        for t in 0..self.cells.steps {
            for p in 0..P {
                // SAFETY: `run` checked the cells, and callers stay below `pixels`.
                let u = s.add(rest[p], unsafe { self.cells.current(s, t, first + p) });
                let fired = s.ge(u, threshold);
                rest[p] = s.only(!fired, s.mul(u, decay));
                self.spikes[t * self.cells.pixels + first + p] = fired;
            }
        }
    }
}

/// Runs cells backward: from the gradients of their spikes to those of what entered them.
pub(in crate::cpu) struct Learn<'a> {
    pub(in crate::cpu) cells: Cells<'a>,
    pub(in crate::cpu) neuron: &'a Neuron,
    /// Gradients of the spikes behind the pool, 16 a place.
    pub(in crate::cpu) grads: &'a [f32],
    /// Where each pixel's gradient stands: its place behind the pool, and the lanes that get it.
    pub(in crate::cpu) routes: Routes<'a>,
    /// Means of the batch, 16 a plane of input; with them the sums below are taken.
    pub(in crate::cpu) mean: Option<&'a [f32]>,
    /// Set to the gradients before the affine, at the pixels' padded places, a plane of `padded` pixels a time step; summed over time
    /// into one plane where the input is constant.
    pub(in crate::cpu) out: &'a mut [f32],
    pub(in crate::cpu) places: Places<'a>,
    /// Set to `[plane][2][16]`: sums of the gradients, and of their products with `x - mean`.
    pub(in crate::cpu) sums: &'a mut [f32],
    /// Room for the potentials of [`PIXELS`] pixels, `steps * PIXELS * 16`.
    pub(in crate::cpu) potentials: &'a mut [f32],
    /// Room for the lanes of their positive currents, `steps * PIXELS`; with an affine alone.
    pub(in crate::cpu) positive: &'a mut [u16],
}

/// Where pixels lie in `out`.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Places<'a> {
    /// Place of each pixel; the pixel's own number if none.
    pub(in crate::cpu) of: Option<&'a [u32]>,
    /// Pixels of a plane of `out`.
    pub(in crate::cpu) plane: usize,
}

/// How the gradient comes back from behind a pool.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Routes<'a> {
    /// Place behind the pool of each pixel, [`Routes::NOWHERE`] for one that no window covers; the pixel's own number if none.
    pub(in crate::cpu) of: Option<&'a [u32]>,
    /// Places behind the pool.
    pub(in crate::cpu) places: usize,
    /// Places from a time step's gradients to the next one's.
    pub(in crate::cpu) step: usize,
    /// The lanes that a gradient reaches, `[time step][pixel]`; all if none.
    pub(in crate::cpu) lanes: Option<&'a [u16]>,
    /// Factor of every gradient.
    pub(in crate::cpu) factor: f32,
}

impl Routes<'_> {
    pub(in crate::cpu) const NOWHERE: u32 = u32::MAX;
}

impl Kernel for Learn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        self.check();
        let planes = if self.cells.constant { 1 } else { self.cells.steps };
        self.sums[..planes * 2 * LANES].fill(0.0);
        let whole = self.cells.pixels / PIXELS * PIXELS;
        let spatial = self.neuron.rule.adjusts_space();
        for first in (0..whole).step_by(PIXELS) {
            if spatial {
                self.through_time::<S, PIXELS, true>(s, first);
            } else {
                self.through_time::<S, PIXELS, false>(s, first);
            }
        }
        for first in whole..self.cells.pixels {
            if spatial {
                self.through_time::<S, 1, true>(s, first);
            } else {
                self.through_time::<S, 1, false>(s, first);
            }
        }
    }
}

impl Learn<'_> {
    fn check(&self) {
        let Cells { pixels, steps, constant, .. } = self.cells;
        self.cells.check();
        let planes = if constant { 1 } else { steps };
        let last = steps.saturating_sub(1) * self.routes.step + self.routes.places;
        assert!(self.grads.len() >= last * LANES, "gradients are missing");
        match self.routes.of {
            None => assert!(pixels <= self.routes.places),
            Some(of) => {
                let inside =
                    |place: &u32| *place == Routes::NOWHERE || (*place as usize) < self.routes.places;
                assert!(of.len() >= pixels && of[..pixels].iter().all(inside));
            }
        }
        assert!(self.routes.lanes.is_none_or(|lanes| lanes.len() >= steps * pixels));
        match self.places.of {
            None => assert!(pixels <= self.places.plane),
            Some(of) => {
                assert!(
                    of.len() >= pixels
                        && of[..pixels].iter().all(|place| (*place as usize) < self.places.plane)
                );
            }
        }
        assert!(self.out.len() >= planes * self.places.plane * LANES, "gradients have no room");
        assert!(self.mean.is_none_or(|mean| mean.len() >= planes * LANES));
        assert!(self.sums.len() >= planes * 2 * LANES);
        assert!(self.potentials.len() >= steps * PIXELS * LANES);
        assert!(self.cells.affine.is_none() || self.positive.len() >= steps * PIXELS);
    }

    #[inline(always)]
    fn through_time<S: Simd, const P: usize, const SPATIAL: bool>(&mut self, s: S, first: usize) {
        let Cells { steps, constant, .. } = self.cells;
        let zero = s.splat(0.0);
        let threshold = s.splat(self.neuron.threshold as f32);
        let decay = s.splat(self.neuron.decay as f32);
        let half_width = s.splat(self.neuron.surrogate_half_width as f32);
        let negative = s.splat(-self.neuron.surrogate_half_width as f32);
        let alpha = s.splat(self.neuron.alpha as f32);
        let one = s.splat(1.0);
        let factor = s.splat(self.routes.factor);
        let temporal = self.neuron.rule.adjusts_time();
        let attached = self.neuron.reset == Reset::Attached;
        let rectified = self.cells.affine.is_some();

        // SAFETY: `check` passed, and callers keep first + P within `pixels`: every place below lies in its slice.
        unsafe {
            let potentials = self.potentials.as_mut_ptr();
            // Where each pixel's gradient stands, of its first time step; and where the current was positive.
            let routes: [u32; P] = std::array::from_fn(|p| {
                self.routes.of.map_or((first + p) as u32, |of| *of.get_unchecked(first + p))
            });
            let mut rest = [zero; P];
            for t in 0..steps {
                for p in 0..P {
                    let current = self.cells.current(s, t, first + p);
                    if rectified {
                        *self.positive.get_unchecked_mut(t * P + p) = s.gt(current, zero);
                    }
                    let u = s.add(rest[p], current);
                    rest[p] = s.only(!s.ge(u, threshold), s.mul(u, decay));
                    s.store(potentials.add((t * P + p) * LANES), u);
                }
            }
            let mut later = [zero; P];
            let mut over_time = [zero; P];
            for t in (0..steps).rev() {
                for p in 0..P {
                    let pixel = first + p;
                    let u = s.load(potentials.add((t * P + p) * LANES));
                    let fired = s.ge(u, threshold);
                    let grad = if routes[p] == Routes::NOWHERE {
                        zero
                    } else {
                        let at = (t * self.routes.step + routes[p] as usize) * LANES;
                        let lanes = self
                            .routes
                            .lanes
                            .map_or(u16::MAX, |lanes| *lanes.get_unchecked(t * self.cells.pixels + pixel));
                        s.only(lanes, s.mul(s.load(self.grads.as_ptr().add(at)), factor))
                    };
                    // The slope k of the spike, and the leak m to the next time step.
                    let (slope, mut leak);
                    if SPATIAL {
                        // u is at least the threshold where it fired: nothing is divided by zero there.
                        slope = s.only(fired, s.div(one, u));
                        leak = s.only(!fired, one);
                    } else {
                        let distance = s.sub(u, threshold);
                        let near = s.gt(half_width, distance) & s.gt(distance, negative);
                        slope = s.only(near, one);
                        leak = s.only(!fired, one);
                        if attached {
                            leak = s.sub(leak, s.only(near, u));
                        }
                    }
                    if temporal {
                        leak = s.fma(slope, alpha, leak);
                    }
                    let d = s.fma(slope, grad, s.mul(s.mul(decay, leak), later[p]));
                    later[p] = d;

                    let before =
                        if rectified { s.only(*self.positive.get_unchecked(t * P + p), d) } else { d };
                    if constant {
                        over_time[p] = s.add(over_time[p], before);
                    } else {
                        self.keep(s, t, pixel, before);
                    }
                }
                if !constant {
                    self.sum::<S, P>(s, t, first);
                }
            }
            if constant {
                for p in 0..P {
                    self.keep(s, 0, first + p, over_time[p]);
                }
                self.sum::<S, P>(s, 0, first);
            }
        }
    }

    /// # Safety
    /// [`Self::check`] passed; `plane` and `pixel` lie in range.
    #[inline(always)]
    unsafe fn place(&self, plane: usize, pixel: usize) -> usize {
        // SAFETY: the caller's.
        let place = self.places.of.map_or(pixel, |of| unsafe { *of.get_unchecked(pixel) as usize });
        (plane * self.places.plane + place) * LANES
    }

    /// # Safety
    /// As [`Self::place`].
    #[inline(always)]
    unsafe fn keep<S: Simd>(&mut self, s: S, plane: usize, pixel: usize, value: S::V) {
        // SAFETY: the caller's.
        unsafe {
            let at = self.place(plane, pixel);
            s.store(self.out.as_mut_ptr().add(at), value);
        }
    }

    /// Adds what was kept at P pixels to the sums of their plane.
    ///
    /// # Safety
    /// As [`Self::place`], for P pixels.
    #[inline(always)]
    unsafe fn sum<S: Simd, const P: usize>(&mut self, s: S, plane: usize, first: usize) {
        let Some(mean) = self.mean else { return };
        // SAFETY: the caller's.
        unsafe {
            let mean = s.load(mean.as_ptr().add(plane * LANES));
            let sums = self.sums.as_mut_ptr().add(plane * 2 * LANES);
            let (mut plain, mut weighted) = (s.load(sums), s.load(sums.add(LANES)));
            for pixel in first..first + P {
                let grad = s.load(self.out.as_ptr().add(self.place(plane, pixel)));
                let x = s.load(self.cells.input.as_ptr().add(plane * self.cells.step + pixel * LANES));
                plain = s.add(plain, grad);
                weighted = s.fma(grad, s.sub(x, mean), weighted);
            }
            s.store(sums, plain);
            s.store(sums.add(LANES), weighted);
        }
    }
}
