//! Batch norm, ReLU and LIF cells over all time steps in one pass, and their gradients.
//!
//! Forward keeps no potential: what enters the cells is kept (the convolution's own output), and backward runs them
//! once more from it. A norm's gradient wants sums of the batch's gradients before it can give any: backward runs for the sums,
//! and then again for the gradients, since to compute them twice is faster than to write and read them. Where the input is
//! constant they are kept, for there they are one plane for all time steps. The formulas are in the docs of [`Rule`](crate::Rule).

use super::super::simd::{Kernel, LANES, Simd};
use crate::Neuron;

mod learn;
mod slopes;

pub(in crate::cpu) use learn::{Gives, Grads, Learn, Norm, Places, Reach, Routes, Sums};

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

    /// Asks for the input of P pixels from `first` on, which come next: time steps lie too far apart for a core to see them coming.
    #[inline(always)]
    fn fetch<S: Simd, const P: usize>(&self, s: S, t: usize, first: usize) {
        for p in 0..P {
            s.fetch(self.input.as_ptr().wrapping_add(t * self.step + (first + p) * LANES));
        }
    }

    /// The currents of P pixels, from `first` on, if they are the same at every time step.
    ///
    /// # Safety
    /// [`Self::check`] passed; the pixels lie in range.
    #[inline(always)]
    unsafe fn still<S: Simd, const P: usize>(&self, s: S, first: usize) -> Option<[S::V; P]> {
        // SAFETY: the caller's.
        if self.constant { Some(unsafe { self.currents::<S, P>(s, 0, first) }) } else { None }
    }

    /// The currents of P pixels of a plane of input, from `first` on.
    ///
    /// # Safety
    /// [`Self::check`] passed; the plane and the pixels lie in range.
    #[inline(always)]
    unsafe fn currents<S: Simd, const P: usize>(&self, s: S, plane: usize, first: usize) -> [S::V; P] {
        // SAFETY: the caller's.
        unsafe {
            let input = self.input.as_ptr().add(plane * self.step + first * LANES);
            let x: [S::V; P] = std::array::from_fn(|p| s.load(input.add(p * LANES)));
            match self.affine {
                None => x,
                Some(affine) => {
                    let scale = s.load(affine.scale.as_ptr().add(plane * LANES));
                    let shift = s.load(affine.shift.as_ptr().add(plane * LANES));
                    std::array::from_fn(|p| s.relu(s.fma(x[p], scale, shift)))
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
        let membrane = Membrane::new(s, self.neuron);
        let mut this = self;
        let pixels = this.cells.pixels;
        let whole = pixels / PIXELS * PIXELS;
        for first in (0..whole).step_by(PIXELS) {
            this.through_time::<S, PIXELS>(s, membrane, first);
        }
        for first in whole..pixels {
            this.through_time::<S, 1>(s, membrane, first);
        }
    }
}

impl Fire<'_> {
    #[inline(always)]
    fn through_time<S: Simd, const P: usize>(&mut self, s: S, membrane: Membrane<S>, first: usize) {
        let mut rest = [s.splat(0.0); P];
        // SAFETY: `run` checked the cells, and callers stay below `pixels`.
        let still = unsafe { self.cells.still::<S, P>(s, first) };
        for t in 0..self.cells.steps {
            let currents = match still {
                Some(currents) => currents,
                None => {
                    self.cells.fetch::<S, P>(s, t, first + P);
                    // SAFETY: as above.
                    unsafe { self.cells.currents::<S, P>(s, t, first) }
                }
            };
            for p in 0..P {
                let u = s.add(rest[p], currents[p]);
                let below = membrane.below(s, u);
                rest[p] = membrane.rest(s, u, below);
                self.spikes[t * self.cells.pixels + first + p] = !s.bits(below);
            }
        }
    }
}

/// What becomes of a membrane potential.
#[derive(Clone, Copy)]
struct Membrane<S: Simd> {
    threshold: S::V,
    decay: S::V,
}

impl<S: Simd> Membrane<S> {
    #[inline(always)]
    fn new(s: S, neuron: &Neuron) -> Self {
        Self { threshold: s.splat(neuron.threshold as f32), decay: s.splat(neuron.decay as f32) }
    }

    /// The lanes that do not fire.
    #[inline(always)]
    fn below(self, s: S, u: S::V) -> S::M {
        s.not_ge(u, self.threshold)
    }

    /// What is left of a potential at the next time step.
    #[inline(always)]
    fn rest(self, s: S, u: S::V, below: S::M) -> S::V {
        s.only(below, s.mul(u, self.decay))
    }
}
