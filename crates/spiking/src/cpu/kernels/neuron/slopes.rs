//! What each gradient rule makes of a membrane potential; the formulas are in the docs of [`Rule`](crate::Rule).

use super::super::super::simd::Simd;
use super::Membrane;
use crate::Neuron;

/// A rule's derivatives of a potential.
pub(super) trait Slopes<S: Simd>: Copy {
    fn membrane(self) -> Membrane<S>;
    /// The slope of the spike, and what the next time step's gradient is multiplied by.
    fn at(self, s: S, u: S::V) -> (S::V, S::V);
}

/// By the surrogate: the slope is 1 near the threshold.
#[derive(Clone, Copy)]
pub(super) struct Surrogate<S: Simd, const TEMPORAL: bool, const ATTACHED: bool> {
    membrane: Membrane<S>,
    half_width: S::V,
    alpha: S::V,
    one: S::V,
}

impl<S: Simd, const TEMPORAL: bool, const ATTACHED: bool> Surrogate<S, TEMPORAL, ATTACHED> {
    #[inline(always)]
    pub(super) fn new(s: S, neuron: &Neuron) -> Self {
        Self {
            membrane: Membrane::new(s, neuron),
            half_width: s.splat(neuron.surrogate_half_width as f32),
            alpha: s.splat(neuron.alpha as f32),
            one: s.splat(1.0),
        }
    }
}

impl<S: Simd, const TEMPORAL: bool, const ATTACHED: bool> Slopes<S> for Surrogate<S, TEMPORAL, ATTACHED> {
    #[inline(always)]
    fn membrane(self) -> Membrane<S> {
        self.membrane
    }

    #[inline(always)]
    fn at(self, s: S, u: S::V) -> (S::V, S::V) {
        let near = s.within(s.sub(u, self.membrane.threshold), self.half_width);
        let slope = s.only(near, self.one);
        let mut leak = s.only(self.membrane.below(s, u), self.one);
        if ATTACHED {
            leak = s.less(leak, near, u);
        }
        if TEMPORAL {
            leak = s.fma(slope, self.alpha, leak);
        }
        (slope, s.mul(self.membrane.decay, leak))
    }
}

/// By the potential at which it fired: the slope is 1 / u.
#[derive(Clone, Copy)]
pub(super) struct Potential<S: Simd, const TEMPORAL: bool> {
    membrane: Membrane<S>,
    alpha: S::V,
    one: S::V,
}

impl<S: Simd, const TEMPORAL: bool> Potential<S, TEMPORAL> {
    #[inline(always)]
    pub(super) fn new(s: S, neuron: &Neuron) -> Self {
        Self { membrane: Membrane::new(s, neuron), alpha: s.splat(neuron.alpha as f32), one: s.splat(1.0) }
    }
}

impl<S: Simd, const TEMPORAL: bool> Slopes<S> for Potential<S, TEMPORAL> {
    #[inline(always)]
    fn membrane(self) -> Membrane<S> {
        self.membrane
    }

    #[inline(always)]
    fn at(self, s: S, u: S::V) -> (S::V, S::V) {
        let Membrane { threshold, decay } = self.membrane;
        // u is at least the threshold where it fired: nothing is divided by zero there.
        let fired = s.ge(u, threshold);
        let slope = s.only(fired, s.div(self.one, u));
        let kept = if TEMPORAL {
            s.pick(fired, s.mul(decay, s.mul(slope, self.alpha)), decay)
        } else {
            s.only(self.membrane.below(s, u), decay)
        };
        (slope, kept)
    }
}
