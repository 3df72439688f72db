//! One AdamW step over a run of weights, with the gradient in hand.

use super::super::simd::{Kernel, LANES, Simd};

/// The numbers of one step, the same for all weights; see [`AdamW`](crate::AdamW) for the formulas.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct AdamStep {
    pub(in crate::cpu) beta1: f32,
    pub(in crate::cpu) beta2: f32,
    pub(in crate::cpu) one_minus_beta1: f32,
    pub(in crate::cpu) one_minus_beta2: f32,
    /// 1 / sqrt(1 - beta2^step).
    pub(in crate::cpu) second_correction: f32,
    pub(in crate::cpu) epsilon: f32,
    /// 1 - learning rate * weight decay.
    pub(in crate::cpu) keep: f32,
    /// Learning rate / (1 - beta1^step).
    pub(in crate::cpu) rate: f32,
}

/// How far ahead moments are asked for, and weights that nothing else reads: a page of 4 KiB, for a core's own look ahead begins anew on
/// each page.
pub(in crate::cpu) const AHEAD: usize = 1024;

/// Moves weights by their gradients; all slices have the same length, a multiple of 16.
pub(in crate::cpu) struct Move<'a> {
    pub(in crate::cpu) step: AdamStep,
    pub(in crate::cpu) grads: &'a [f32],
    pub(in crate::cpu) weights: &'a mut [f32],
    pub(in crate::cpu) first: &'a mut [f32],
    pub(in crate::cpu) second: &'a mut [f32],
    /// How far ahead weights are asked for.
    pub(in crate::cpu) ahead: usize,
}

impl Kernel for Move<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut mover = Mover::new(s, self);
        while mover.step() {}
    }
}

/// A move vector by vector.
pub(in crate::cpu) struct Mover<'a, S: Simd> {
    s: S,
    of: Move<'a>,
    at: usize,
    correction: S::V,
    epsilon: S::V,
    keep: S::V,
    rate: S::V,
}

impl<'a, S: Simd> Mover<'a, S> {
    #[inline(always)]
    pub(in crate::cpu) fn new(s: S, of: Move<'a>) -> Self {
        let count = of.grads.len();
        assert!(count.is_multiple_of(LANES), "weights come in vectors");
        assert!(of.weights.len() == count && of.first.len() == count && of.second.len() == count);
        let AdamStep { second_correction, epsilon, keep, rate, .. } = of.step;
        Self {
            s,
            of,
            at: 0,
            correction: s.splat(second_correction),
            epsilon: s.splat(epsilon),
            keep: s.splat(keep),
            rate: s.splat(rate),
        }
    }

    /// Moves the next 16 weights; whether there were any.
    #[inline(always)]
    pub(in crate::cpu) fn step(&mut self) -> bool {
        let Self { s, ref mut of, at, correction, epsilon, keep, rate } = *self;
        if at == of.grads.len() {
            return false;
        }
        self.at += LANES;
        let AdamStep { beta1, beta2, one_minus_beta1, one_minus_beta2, .. } = of.step;
        // SAFETY: all four slices hold as many values, whole vectors of them.
        unsafe {
            let grad = s.load(of.grads.as_ptr().add(at));
            let weight = of.weights.as_mut_ptr().add(at);
            let (first, second) = (of.first.as_mut_ptr().add(at), of.second.as_mut_ptr().add(at));
            s.fetch_later(weight.wrapping_add(of.ahead));
            s.fetch_later(first.wrapping_add(AHEAD));
            s.fetch_later(second.wrapping_add(AHEAD));
            let m = s.fma(s.load(first), s.splat(beta1), s.mul(grad, s.splat(one_minus_beta1)));
            let v = s.fma(s.load(second), s.splat(beta2), s.mul(s.mul(grad, grad), s.splat(one_minus_beta2)));
            let denominator = s.fma(s.sqrt(v), correction, epsilon);
            let moved = s.sub(s.mul(s.load(weight), keep), s.mul(rate, s.div(m, denominator)));
            s.store(first, m);
            s.store(second, v);
            s.store(weight, moved);
        }
        true
    }
}
