//! Cells backward.

use super::super::super::simd::{Kernel, LANES, Simd};
use super::super::norm::Terms;
use super::slopes::{Potential, Slopes, Surrogate};
use super::{Cells, PIXELS};
use crate::{Neuron, Reset, Rule};

/// Runs cells backward: from the gradients of their spikes to those of what entered them.
pub(in crate::cpu) struct Learn<'a> {
    pub(in crate::cpu) cells: Cells<'a>,
    pub(in crate::cpu) neuron: &'a Neuron,
    /// Gradients of the spikes behind the pool, 16 a place.
    pub(in crate::cpu) grads: &'a [f32],
    /// Where each pixel's gradient stands: its place behind the pool, and the lanes that get it.
    pub(in crate::cpu) routes: Routes<'a>,
    pub(in crate::cpu) gives: Gives<'a>,
    /// Room for the potentials of [`PIXELS`] pixels, `steps * PIXELS * 16`.
    pub(in crate::cpu) potentials: &'a mut [f32],
    /// Room for the lanes of their positive currents, `steps * PIXELS`; with an affine and an input that changes alone.
    pub(in crate::cpu) positive: &'a mut [u16],
}

/// What becomes of the gradients of the values before the ReLU; of their sums over time where the input is constant.
pub(in crate::cpu) struct Gives<'a> {
    pub(in crate::cpu) sums: Option<Sums<'a>>,
    pub(in crate::cpu) grads: Option<Grads<'a>>,
}

impl Gives<'_> {
    /// The places of P pixels' gradients, from `first` on, if they are given.
    ///
    /// # Safety
    /// [`Learn::check`] passed; the pixels lie in range.
    #[inline(always)]
    unsafe fn places<const P: usize>(&self, first: usize) -> [usize; P] {
        std::array::from_fn(|p| match &self.grads {
            // SAFETY: the caller's.
            Some(Grads { places, .. }) => unsafe { places.at(first + p) },
            None => 0,
        })
    }

    /// Asks for places of gradients, which will be written: caches hold none of a batch's.
    #[inline(always)]
    fn fetch<S: Simd, const P: usize>(&self, s: S, plane: usize, places: [usize; P]) {
        if let Some(Grads { out, places: Places { plane: size, .. }, .. }) = &self.grads {
            for place in places {
                s.fetch(out.as_ptr().wrapping_add((plane * size + place) * LANES));
            }
        }
    }
}

/// Sums of the gradients behind a norm, from which the terms of [`Norm`] follow.
pub(in crate::cpu) struct Sums<'a> {
    /// Means of the batch, 16 a plane of input.
    pub(in crate::cpu) mean: &'a [f32],
    /// Set to `[plane][2][16]`: sums of the gradients, and of their products with `x - mean`.
    pub(in crate::cpu) of: &'a mut [f32],
}

/// The gradients themselves.
pub(in crate::cpu) struct Grads<'a> {
    /// The norm that they are taken through; as they are if none.
    pub(in crate::cpu) norm: Option<Norm<'a>>,
    /// Set at the pixels' places, a plane of `places.plane` pixels a plane of input.
    pub(in crate::cpu) out: &'a mut [f32],
    pub(in crate::cpu) places: Places<'a>,
}

/// A norm backward ([`Terms::before`]).
pub(in crate::cpu) struct Norm<'a> {
    /// `[plane][4][16]`: scale, slope, mean, shift.
    pub(in crate::cpu) terms: &'a [f32],
    /// Set to the sums of the gradients before it, `[plane][16]`.
    pub(in crate::cpu) sums: &'a mut [f32],
}

/// Where pixels lie in `out`.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Places<'a> {
    /// Place of each pixel; the pixel's own number if none.
    pub(in crate::cpu) of: Option<&'a [u32]>,
    /// Pixels of a plane of `out`.
    pub(in crate::cpu) plane: usize,
}

impl Places<'_> {
    /// Checks that so many pixels have a place each, within the plane.
    pub(in crate::cpu::kernels) fn check(&self, pixels: usize) {
        match self.of {
            None => assert!(pixels <= self.plane),
            Some(of) => assert!(lie_inside(&of[..pixels], self.plane, false)),
        }
    }

    /// # Safety
    /// [`Self::check`] passed for more pixels than this one's number.
    #[inline(always)]
    pub(in crate::cpu::kernels) unsafe fn at(&self, pixel: usize) -> usize {
        // SAFETY: the caller's.
        self.of.map_or(pixel, |of| unsafe { *of.get_unchecked(pixel) } as usize)
    }
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
    pub(in crate::cpu) reach: Reach<'a>,
}

/// What of a place's gradient reaches a pixel.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) enum Reach<'a> {
    /// All of it, times a factor.
    All(f32),
    /// These lanes, `[time step][pixel]`.
    Lanes(&'a [u16]),
}

impl Routes<'_> {
    pub(in crate::cpu) const NOWHERE: u32 = u32::MAX;

    /// Where the gradients of P pixels, from `first` on, stand at the last time step, and how far behind those of the one before it.
    /// One that comes from nowhere is a zero that stays where it is.
    ///
    /// # Safety
    /// [`Learn::check`] passed; the pixels lie in range.
    #[inline(always)]
    unsafe fn arriving<const P: usize>(
        &self,
        grads: &[f32],
        steps: usize,
        first: usize,
    ) -> [(*const f32, usize); P] {
        static NOTHING: [f32; LANES] = [0.0; LANES];
        let last = grads.as_ptr().wrapping_add(steps.saturating_sub(1) * self.step * LANES);
        std::array::from_fn(|p| {
            // SAFETY: the caller's.
            let place = self.of.map_or((first + p) as u32, |of| unsafe { *of.get_unchecked(first + p) });
            match place {
                Self::NOWHERE => (NOTHING.as_ptr(), 0),
                place => (last.wrapping_add(place as usize * LANES), self.step * LANES),
            }
        })
    }
}

impl Kernel for Learn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.check();
        let neuron = self.neuron;
        match (neuron.rule, neuron.reset) {
            (Rule::Baseline, Reset::Attached) => self.all(s, Surrogate::<S, false, true>::new(s, neuron)),
            (Rule::Baseline, Reset::Detached) => self.all(s, Surrogate::<S, false, false>::new(s, neuron)),
            (Rule::Temporal, Reset::Attached) => self.all(s, Surrogate::<S, true, true>::new(s, neuron)),
            (Rule::Temporal, Reset::Detached) => self.all(s, Surrogate::<S, true, false>::new(s, neuron)),
            (Rule::Spatial, _) => self.all(s, Potential::<S, false>::new(s, neuron)),
            (Rule::Both, _) => self.all(s, Potential::<S, true>::new(s, neuron)),
        }
    }
}

/// Whether all places lie among so many, or perhaps nowhere. Without a way out of the loop, it goes over several of them at once.
fn lie_inside(places: &[u32], count: usize, or_nowhere: bool) -> bool {
    let count = u32::try_from(count).unwrap_or(Routes::NOWHERE);
    places
        .iter()
        .fold(true, |inside, &place| inside & ((place < count) | (or_nowhere & (place == Routes::NOWHERE))))
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
            Some(of) => assert!(lie_inside(&of[..pixels], self.routes.places, true)),
        }
        if let Reach::Lanes(lanes) = self.routes.reach {
            assert!(lanes.len() >= steps * pixels);
        }
        if let Some(Sums { mean, of }) = &self.gives.sums {
            assert!(mean.len() >= planes * LANES && of.len() >= planes * 2 * LANES);
        }
        if let Some(Grads { norm, out, places, .. }) = &self.gives.grads {
            places.check(pixels);
            assert!(out.len() >= planes * places.plane * LANES, "gradients have no room");
            if let Some(Norm { terms, sums }) = norm {
                assert!(terms.len() >= planes * 4 * LANES && sums.len() >= planes * LANES);
            }
        }
        assert!(self.potentials.len() >= steps * PIXELS * LANES);
        assert!(self.cells.affine.is_none() || self.positive.len() >= steps * PIXELS);
    }

    #[inline(always)]
    fn all<S: Simd>(mut self, s: S, slopes: impl Slopes<S>) {
        let planes = if self.cells.constant { 1 } else { self.cells.steps };
        if let Some(Sums { of, .. }) = &mut self.gives.sums {
            of[..planes * 2 * LANES].fill(0.0);
        }
        if let Some(Grads { norm: Some(Norm { sums, .. }), .. }) = &mut self.gives.grads {
            sums[..planes * LANES].fill(0.0);
        }
        let whole = self.cells.pixels / PIXELS * PIXELS;
        for first in (0..whole).step_by(PIXELS) {
            self.through_time::<S, PIXELS>(s, slopes, first);
        }
        for first in whole..self.cells.pixels {
            self.through_time::<S, 1>(s, slopes, first);
        }
    }

    #[inline(always)]
    fn through_time<S: Simd, const P: usize>(&mut self, s: S, slopes: impl Slopes<S>, first: usize) {
        let Cells { steps, pixels, .. } = self.cells;
        let membrane = slopes.membrane();
        let zero = s.splat(0.0);
        let rectified = self.cells.affine.is_some();
        // SAFETY: `check` passed, and callers keep first + P within `pixels`: every place below lies in its slice.
        unsafe {
            let potentials = self.potentials.as_mut_ptr();
            let positive = self.positive.as_mut_ptr();
            let to = self.gives.places::<P>(first);
            let still = self.cells.still::<S, P>(s, first);
            let mut rest = [zero; P];
            for t in 0..steps {
                let currents = match still {
                    Some(currents) => currents,
                    None => {
                        self.cells.fetch::<S, P>(s, t, first + P);
                        self.gives.fetch(s, t, to);
                        let currents = self.cells.currents::<S, P>(s, t, first);
                        if rectified {
                            for p in 0..P {
                                positive.add(t * P + p).write(s.bits(s.gt(currents[p], zero)));
                            }
                        }
                        currents
                    }
                };
                for p in 0..P {
                    let u = s.add(rest[p], currents[p]);
                    rest[p] = membrane.rest(s, u, membrane.below(s, u));
                    s.store(potentials.add((t * P + p) * LANES), u);
                }
            }
            let mut arriving = self.routes.arriving::<P>(self.grads, steps, first);
            let mut later = [zero; P];
            let mut over_time = [zero; P];
            for t in (0..steps).rev() {
                let mut grads: [S::V; P] = std::array::from_fn(|p| s.load(arriving[p].0));
                match self.routes.reach {
                    Reach::All(factor) => {
                        for grad in &mut grads {
                            *grad = s.mul(*grad, s.splat(factor));
                        }
                    }
                    Reach::Lanes(lanes) => {
                        for p in 0..P {
                            let lanes = *lanes.get_unchecked(t * pixels + first + p);
                            grads[p] = s.only(s.mask(lanes), grads[p]);
                        }
                    }
                }
                for (from, step) in &mut arriving {
                    *from = from.wrapping_sub(*step);
                }
                for p in 0..P {
                    let (slope, kept) = slopes.at(s, s.load(potentials.add((t * P + p) * LANES)));
                    later[p] = s.fma(slope, grads[p], s.mul(kept, later[p]));
                }
                if still.is_some() {
                    for p in 0..P {
                        over_time[p] = s.add(over_time[p], later[p]);
                    }
                    continue;
                }
                let mut before = later;
                if rectified {
                    for p in 0..P {
                        before[p] = s.only(s.mask(positive.add(t * P + p).read()), later[p]);
                    }
                }
                self.give(s, t, first, to, &before);
            }
            if let Some(currents) = still {
                // Where the current was positive once it was at every time step.
                if rectified {
                    for p in 0..P {
                        over_time[p] = s.only(s.gt(currents[p], zero), over_time[p]);
                    }
                }
                self.give(s, 0, first, to, &over_time);
            }
        }
    }

    /// Gives the gradients of P pixels of a plane, from `first` on, whose places are `to`.
    ///
    /// # Safety
    /// [`Self::check`] passed; the plane and the pixels lie in range, and so do their places.
    #[inline(always)]
    unsafe fn give<S: Simd, const P: usize>(
        &mut self,
        s: S,
        plane: usize,
        first: usize,
        to: [usize; P],
        grads: &[S::V; P],
    ) {
        // SAFETY: the caller's.
        unsafe {
            let x = self.cells.input.as_ptr().add(plane * self.cells.step + first * LANES);
            if let Some(Sums { mean, of }) = &mut self.gives.sums {
                let mean = s.load(mean.as_ptr().add(plane * LANES));
                let sums = of.as_mut_ptr().add(plane * 2 * LANES);
                let (mut plain, mut weighted) = (s.load(sums), s.load(sums.add(LANES)));
                for p in 0..P {
                    plain = s.add(plain, grads[p]);
                    weighted = s.fma(grads[p], s.sub(s.load(x.add(p * LANES)), mean), weighted);
                }
                s.store(sums, plain);
                s.store(sums.add(LANES), weighted);
            }
            if let Some(Grads { norm, out, places }) = &mut self.gives.grads {
                let out = out.as_mut_ptr().add(plane * places.plane * LANES);
                if let Some(Norm { terms, sums }) = norm {
                    let terms = Terms::load(s, terms.as_ptr().add(plane * 4 * LANES));
                    let sums = sums.as_mut_ptr().add(plane * LANES);
                    let mut sum = s.load(sums);
                    for p in 0..P {
                        let grad = terms.before(s, grads[p], s.load(x.add(p * LANES)));
                        sum = s.add(sum, grad);
                        s.store(out.add(to[p] * LANES), grad);
                    }
                    s.store(sums, sum);
                } else {
                    for p in 0..P {
                        s.store(out.add(to[p] * LANES), grads[p]);
                    }
                }
            }
        }
    }
}
