//! Batch normalisation: moments of a plane, and the gradient before the norm.

use super::super::simd::{Kernel, LANES, Simd};
use super::neuron::Places;

/// The terms of a norm's gradient of one plane.
#[derive(Clone, Copy)]
pub(super) struct Terms<S: Simd> {
    scale: S::V,
    slope: S::V,
    mean: S::V,
    shift: S::V,
}

impl<S: Simd> Terms<S> {
    /// # Safety
    /// `from` must be valid for reading `[scale, slope, mean, shift]`, 16 each.
    #[inline(always)]
    pub(super) unsafe fn load(s: S, from: *const f32) -> Self {
        // SAFETY: the caller's.
        let term = |i: usize| unsafe { s.load(from.add(i * LANES)) };
        Self { scale: term(0), slope: term(1), mean: term(2), shift: term(3) }
    }

    /// The gradient before the norm: `scale * grad + slope * (x - mean) + shift`.
    #[inline(always)]
    pub(super) fn before(self, s: S, grad: S::V, x: S::V) -> S::V {
        s.fma(self.slope, s.sub(x, self.mean), s.fma(self.scale, grad, self.shift))
    }
}

/// Sums carried side by side.
const SIDE_BY_SIDE: usize = 4;

/// Sum and sum of squared distances from the plane's own mean, of one plane of a block.
///
/// Planes are joined by Chan, Golub and LeVeque's rule (1983): no large sums of squares are subtracted from each other.
pub(in crate::cpu) struct Moments<'a> {
    /// `[pixel][16]`.
    pub(in crate::cpu) plane: &'a [f32],
    /// Set to `[2][16]`.
    pub(in crate::cpu) moments: &'a mut [f32],
}

impl Kernel for Moments<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let pixels = self.plane.len() / LANES;
        assert!(self.moments.len() >= 2 * LANES);
        // SAFETY: every pixel lies in the plane, and the moments have room.
        unsafe {
            let at = |pixel: usize| s.load(self.plane.as_ptr().add(pixel * LANES));
            let sum = of_pixels(s, pixels, at);
            let mean = s.mul(sum, s.splat(1.0 / pixels as f32));
            let squares = of_pixels(s, pixels, |pixel| {
                let distance = s.sub(at(pixel), mean);
                s.mul(distance, distance)
            });
            s.store(self.moments.as_mut_ptr(), sum);
            s.store(self.moments.as_mut_ptr().add(LANES), squares);
        }
    }
}

/// Sum over pixels: every fourth in one sum, the four joined in pairs.
#[inline(always)]
fn of_pixels<S: Simd>(s: S, pixels: usize, f: impl Fn(usize) -> S::V) -> S::V {
    let mut sums = [s.splat(0.0); SIDE_BY_SIDE];
    let whole = pixels / SIDE_BY_SIDE * SIDE_BY_SIDE;
    for first in (0..whole).step_by(SIDE_BY_SIDE) {
        for i in 0..SIDE_BY_SIDE {
            sums[i] = s.add(sums[i], f(first + i));
        }
    }
    for pixel in whole..pixels {
        sums[pixel - whole] = s.add(sums[pixel - whole], f(pixel));
    }
    s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]))
}

/// The gradient before the norm from the one behind it, in place.
pub(in crate::cpu) struct Unnormalise<'a> {
    /// One plane that entered the norm, `[pixel][16]`.
    pub(in crate::cpu) input: &'a [f32],
    /// `[scale, slope, mean, shift]`, 16 each.
    pub(in crate::cpu) terms: &'a [f32],
    /// One plane of gradients, at the pixels' places.
    pub(in crate::cpu) grads: &'a mut [f32],
    pub(in crate::cpu) places: Places<'a>,
    /// Set to the sum of the gradients, 16.
    pub(in crate::cpu) sum: &'a mut [f32],
}

impl Kernel for Unnormalise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let pixels = self.input.len() / LANES;
        let places = self.places;
        assert!(self.terms.len() >= 4 * LANES && self.sum.len() >= LANES);
        assert!(self.grads.len() >= places.plane * LANES);
        places.check(pixels);
        // SAFETY: the assertions hold all places inside their slices.
        unsafe {
            let terms = Terms::load(s, self.terms.as_ptr());
            let mut total = s.splat(0.0);
            for pixel in 0..pixels {
                let to = self.grads.as_mut_ptr().add(places.at(pixel) * LANES);
                let x = s.load(self.input.as_ptr().add(pixel * LANES));
                let grad = terms.before(s, s.load(to), x);
                total = s.add(total, grad);
                s.store(to, grad);
            }
            s.store(self.sum.as_mut_ptr(), total);
        }
    }
}
