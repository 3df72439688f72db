//! Sixteen lanes in Rust without intrinsics.

use super::{LANES, Simd};

/// Rust without intrinsics.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Portable(pub(super) ());

#[inline(always)]
fn zip(a: [f32; LANES], b: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

#[inline(always)]
fn mask(a: [f32; LANES], b: [f32; LANES], holds: impl Fn(f32, f32) -> bool) -> u16 {
    (0..LANES).fold(0, |mask, i| mask | u16::from(holds(a[i], b[i])) << i)
}

impl Simd for Portable {
    type V = [f32; LANES];
    type M = u16;
    const MANY_REGISTERS: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::V {
        // SAFETY: the caller's; an array of f32 has the alignment of f32.
        unsafe { from.cast::<Self::V>().read() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: Self::V) {
        // SAFETY: the caller's.
        unsafe { to.cast::<Self::V>().write(v) }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        a.map(f32::sqrt)
    }
    #[inline(always)]
    fn ge(self, a: Self::V, b: Self::V) -> u16 {
        mask(a, b, |a, b| a >= b)
    }
    #[inline(always)]
    fn not_ge(self, a: Self::V, b: Self::V) -> u16 {
        !self.ge(a, b)
    }
    #[inline(always)]
    fn gt(self, a: Self::V, b: Self::V) -> u16 {
        mask(a, b, |a, b| a > b)
    }
    #[inline(always)]
    fn within(self, a: Self::V, b: Self::V) -> u16 {
        mask(a, b, |a, b| a.abs() < b)
    }
    #[inline(always)]
    fn bits(self, mask: u16) -> u16 {
        mask
    }
    #[inline(always)]
    fn mask(self, bits: u16) -> u16 {
        bits
    }
    #[inline(always)]
    fn only(self, mask: u16, v: Self::V) -> Self::V {
        std::array::from_fn(|i| if mask >> i & 1 == 1 { v[i] } else { 0.0 })
    }
    #[inline(always)]
    fn pick(self, mask: u16, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| if mask >> i & 1 == 1 { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn relu(self, a: Self::V) -> Self::V {
        a.map(|a| if a > 0.0 { a } else { 0.0 })
    }
    #[inline(always)]
    fn fired(self, spikes: &[u16; LANES], lane: usize) -> u16 {
        (0..LANES).fold(0, |fired, i| fired | (spikes[i] >> lane & 1) << i)
    }
    #[inline(always)]
    fn transpose(self, rows: [Self::V; LANES]) -> [Self::V; LANES] {
        std::array::from_fn(|i| std::array::from_fn(|j| rows[j][i]))
    }
}
