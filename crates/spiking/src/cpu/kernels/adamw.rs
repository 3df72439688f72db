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

/// How far ahead weights and moments are asked for, a page of 4 KiB: a core's own look ahead begins anew on each page.
const AHEAD: usize = 1024;

/// Moves weights by their gradients; all slices have the same length, a multiple of 16.
pub(in crate::cpu) struct Move<'a> {
    pub(in crate::cpu) step: AdamStep,
    pub(in crate::cpu) grads: &'a [f32],
    pub(in crate::cpu) weights: &'a mut [f32],
    pub(in crate::cpu) first: &'a mut [f32],
    pub(in crate::cpu) second: &'a mut [f32],
}

impl Kernel for Move<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let count = self.grads.len();
        assert!(count.is_multiple_of(LANES), "weights come in vectors");
        assert!(self.weights.len() == count && self.first.len() == count && self.second.len() == count);
        let AdamStep { beta1, beta2, one_minus_beta1, one_minus_beta2, .. } = self.step;
        let correction = s.splat(self.step.second_correction);
        let (epsilon, keep, rate) =
            (s.splat(self.step.epsilon), s.splat(self.step.keep), s.splat(self.step.rate));
        for at in (0..count).step_by(LANES) {
            // SAFETY: all four slices hold `count` values.
            unsafe {
                let grad = s.load(self.grads.as_ptr().add(at));
                let weight = self.weights.as_mut_ptr().add(at);
                let (first, second) = (self.first.as_mut_ptr().add(at), self.second.as_mut_ptr().add(at));
                for next in [weight, first, second] {
                    s.fetch_later(next.wrapping_add(AHEAD));
                }
                let m = s.fma(s.load(first), s.splat(beta1), s.mul(grad, s.splat(one_minus_beta1)));
                let v =
                    s.fma(s.load(second), s.splat(beta2), s.mul(s.mul(grad, grad), s.splat(one_minus_beta2)));
                let denominator = s.fma(s.sqrt(v), correction, epsilon);
                let moved = s.sub(s.mul(s.load(weight), keep), s.mul(rate, s.div(m, denominator)));
                s.store(first, m);
                s.store(second, v);
                s.store(weight, moved);
            }
        }
    }
}
