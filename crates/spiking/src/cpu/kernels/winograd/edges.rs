//! The transformations of Winograd's tiles, along an edge: of six values for tiles of four outputs, of four for small ones of two.

use super::super::super::simd::Simd;
use super::{SEEN, SMALL_SEEN, SMALL_TILE, TILE};

/// How the values along an edge are transformed. A trait, for closures are not sure to be compiled for the path.
pub(in crate::cpu) trait Edge<const FROM: usize, const TO: usize> {
    fn transform<S: Simd>(s: S, values: [S::V; FROM]) -> [S::V; TO];
}

/// Inputs of a tile, to the places of a transformed one.
pub(super) struct OfInputs;

impl Edge<SMALL_SEEN, SMALL_SEEN> for OfInputs {
    #[inline(always)]
    fn transform<S: Simd>(s: S, d: [S::V; SMALL_SEEN]) -> [S::V; SMALL_SEEN] {
        [s.sub(d[0], d[2]), s.add(d[1], d[2]), s.sub(d[2], d[1]), s.sub(d[1], d[3])]
    }
}

impl Edge<SEEN, SEEN> for OfInputs {
    #[inline(always)]
    fn transform<S: Simd>(s: S, d: [S::V; SEEN]) -> [S::V; SEEN] {
        let (two, four, five) = (s.splat(2.0), s.splat(4.0), s.splat(-5.0));
        let minus_four = s.splat(-4.0);
        let even = s.fma(minus_four, d[2], d[4]);
        let odd = s.fma(minus_four, d[1], d[3]);
        let (near, far) = (s.sub(d[4], d[2]), s.mul(two, s.sub(d[3], d[1])));
        [
            s.fma(four, d[0], s.fma(five, d[2], d[4])),
            s.add(even, odd),
            s.sub(even, odd),
            s.add(near, far),
            s.sub(near, far),
            s.fma(four, d[1], s.fma(five, d[3], d[5])),
        ]
    }
}

/// Gradients of a tile's outputs, to its places: as [`OfSums`], turned round.
pub(super) struct OfGradients;

impl Edge<TILE, SEEN> for OfGradients {
    #[inline(always)]
    fn transform<S: Simd>(s: S, g: [S::V; TILE]) -> [S::V; SEEN] {
        let (two, four) = (s.splat(2.0), s.splat(4.0));
        let (even, odd) = (s.add(g[0], g[2]), s.add(g[1], g[3]));
        let (wide_even, wide_odd) = (s.fma(four, g[2], g[0]), s.mul(two, s.fma(four, g[3], g[1])));
        [
            g[0],
            s.add(even, odd),
            s.sub(even, odd),
            s.add(wide_even, wide_odd),
            s.sub(wide_even, wide_odd),
            g[3],
        ]
    }
}

/// Taps of a kernel, to the places of a tile.
pub(in crate::cpu) struct OfTaps;

impl Edge<3, SMALL_SEEN> for OfTaps {
    #[inline(always)]
    fn transform<S: Simd>(s: S, g: [S::V; 3]) -> [S::V; SMALL_SEEN] {
        let half = s.splat(0.5);
        let ends = s.add(g[0], g[2]);
        [g[0], s.mul(half, s.add(ends, g[1])), s.mul(half, s.sub(ends, g[1])), g[2]]
    }
}

impl Edge<3, SEEN> for OfTaps {
    #[inline(always)]
    fn transform<S: Simd>(s: S, g: [S::V; 3]) -> [S::V; SEEN] {
        let sixth = s.splat(-1.0 / 6.0);
        let ends = s.add(g[0], g[2]);
        let outer = s.fma(s.splat(1.0 / 24.0), g[0], s.mul(s.splat(1.0 / 6.0), g[2]));
        let middle = s.mul(s.splat(1.0 / 12.0), g[1]);
        [
            s.mul(s.splat(0.25), g[0]),
            s.mul(sixth, s.add(ends, g[1])),
            s.mul(sixth, s.sub(ends, g[1])),
            s.add(outer, middle),
            s.sub(outer, middle),
            g[2],
        ]
    }
}

/// Sums at the places of a tile, to its outputs.
pub(in crate::cpu) struct OfSums;

impl Edge<SMALL_SEEN, SMALL_TILE> for OfSums {
    #[inline(always)]
    fn transform<S: Simd>(s: S, m: [S::V; SMALL_SEEN]) -> [S::V; SMALL_TILE] {
        [s.add(m[0], s.add(m[1], m[2])), s.sub(s.sub(m[1], m[2]), m[3])]
    }
}

impl Edge<SEEN, TILE> for OfSums {
    #[inline(always)]
    fn transform<S: Simd>(s: S, m: [S::V; SEEN]) -> [S::V; TILE] {
        let (one, two) = (s.add(m[1], m[2]), s.add(m[3], m[4]));
        let (minus_one, minus_two) = (s.sub(m[1], m[2]), s.sub(m[3], m[4]));
        [
            s.add(m[0], s.add(one, two)),
            s.fma(s.splat(2.0), minus_two, minus_one),
            s.fma(s.splat(4.0), two, one),
            s.add(s.fma(s.splat(8.0), minus_two, minus_one), m[5]),
        ]
    }
}

/// Sums at the places of a tile, to a kernel's taps: as [`OfTaps`], turned round.
pub(super) struct OfProducts;

impl Edge<SEEN, 3> for OfProducts {
    #[inline(always)]
    fn transform<S: Simd>(s: S, m: [S::V; SEEN]) -> [S::V; 3] {
        let sixth = s.splat(1.0 / 6.0);
        let (one, two) = (s.add(m[1], m[2]), s.add(m[3], m[4]));
        let (minus_one, minus_two) = (s.sub(m[2], m[1]), s.sub(m[3], m[4]));
        let ends = s.fma(s.splat(1.0 / 24.0), two, s.mul(s.splat(-1.0 / 6.0), one));
        [
            s.fma(s.splat(0.25), m[0], ends),
            s.fma(s.splat(1.0 / 12.0), minus_two, s.mul(sixth, minus_one)),
            s.fma(sixth, s.sub(two, one), m[5]),
        ]
    }
}
