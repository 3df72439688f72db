//! The transformations of Winograd's tiles along an edge: polynomials at the points 0, 1, -1 and infinity for two outputs, 2 and -2 too for
//! four, 1/2 too for five and -1/2 too for six.

use super::super::super::simd::Simd;

/// How the values along an edge are transformed. A trait, for closures are not sure to be compiled for the path.
pub(super) trait Edge<const FROM: usize, const TO: usize> {
    fn transform<S: Simd>(s: S, values: [S::V; FROM]) -> [S::V; TO];
}

/// A polynomial at a point and at the same point below 0, from its even and its odd terms; or back to them, but for a factor of two.
#[inline(always)]
fn both<S: Simd>(s: S, even: S::V, odd: S::V) -> [S::V; 2] {
    [s.add(even, odd), s.sub(even, odd)]
}

/// Inputs of a tile, to the places of a transformed one.
pub(super) struct OfInputs;

impl Edge<4, 4> for OfInputs {
    #[inline(always)]
    fn transform<S: Simd>(s: S, d: [S::V; 4]) -> [S::V; 4] {
        [s.sub(d[0], d[2]), s.add(d[1], d[2]), s.sub(d[2], d[1]), s.sub(d[1], d[3])]
    }
}

impl Edge<6, 6> for OfInputs {
    #[inline(always)]
    fn transform<S: Simd>(s: S, d: [S::V; 6]) -> [S::V; 6] {
        let (two, four, five) = (s.splat(2.0), s.splat(4.0), s.splat(-5.0));
        let minus_four = s.splat(-4.0);
        let even = s.fma(minus_four, d[2], d[4]);
        let odd = s.fma(minus_four, d[1], d[3]);
        let (near, far) = (s.sub(d[4], d[2]), s.mul(two, s.sub(d[3], d[1])));
        let [plus_one, minus_one] = both(s, even, odd);
        let [plus_two, minus_two] = both(s, near, far);
        [
            s.fma(four, d[0], s.fma(five, d[2], d[4])),
            plus_one,
            minus_one,
            plus_two,
            minus_two,
            s.fma(four, d[1], s.fma(five, d[3], d[5])),
        ]
    }
}

impl Edge<7, 7> for OfInputs {
    #[inline(always)]
    fn transform<S: Simd>(s: S, d: [S::V; 7]) -> [S::V; 7] {
        // The point 1/2 is a factor of all places but its own; what is left are the places of six.
        let (minus_two, four, five) = (s.splat(-2.0), s.splat(4.0), s.splat(-5.0));
        let mut rest = [d[0]; 6];
        for i in 0..6 {
            rest[i] = s.fma(minus_two, d[i + 1], d[i]);
        }
        let rest: [S::V; 6] = Self::transform(s, rest);
        let half = s.fma(four, d[1], s.fma(five, d[3], d[5]));
        [rest[0], rest[1], rest[2], rest[3], rest[4], half, rest[5]]
    }
}

impl Edge<8, 8> for OfInputs {
    #[inline(always)]
    fn transform<S: Simd>(s: S, d: [S::V; 8]) -> [S::V; 8] {
        let (half, two, far) = (s.splat(0.5), s.splat(2.0), s.splat(-2.5));
        let (quarter, four, ends) = (s.splat(0.25), s.splat(4.0), s.splat(5.25));
        let one = s.splat(-4.25);
        let (even, odd) = (s.fma(one, d[4], s.add(d[2], d[6])), s.fma(one, d[3], s.add(d[1], d[5])));
        let wide_even = s.fma(quarter, d[2], s.fma(s.splat(-1.25), d[4], d[6]));
        let wide_odd = s.fma(half, d[1], s.fma(far, d[3], s.mul(two, d[5])));
        let near_even = s.fma(four, d[2], s.fma(s.splat(-5.0), d[4], d[6]));
        let near_odd = s.fma(two, d[1], s.fma(far, d[3], s.mul(half, d[5])));
        let [plus_one, minus_one] = both(s, even, odd);
        let [plus_two, minus_two] = both(s, wide_even, wide_odd);
        let [plus_half, minus_half] = both(s, near_even, near_odd);
        [
            s.fma(ends, s.sub(d[4], d[2]), s.sub(d[0], d[6])),
            plus_one,
            minus_one,
            plus_two,
            minus_two,
            plus_half,
            minus_half,
            s.fma(ends, s.sub(d[3], d[5]), s.sub(d[7], d[1])),
        ]
    }
}

/// Gradients of a tile's outputs, to its places: as [`OfSums`], turned round.
pub(super) struct OfGradients;

impl Edge<2, 4> for OfGradients {
    #[inline(always)]
    fn transform<S: Simd>(s: S, g: [S::V; 2]) -> [S::V; 4] {
        [g[0], s.add(g[0], g[1]), s.sub(g[0], g[1]), s.sub(s.splat(0.0), g[1])]
    }
}

impl Edge<4, 6> for OfGradients {
    #[inline(always)]
    fn transform<S: Simd>(s: S, g: [S::V; 4]) -> [S::V; 6] {
        let (two, four) = (s.splat(2.0), s.splat(4.0));
        let (even, odd) = (s.add(g[0], g[2]), s.add(g[1], g[3]));
        let (wide_even, wide_odd) = (s.fma(four, g[2], g[0]), s.mul(two, s.fma(four, g[3], g[1])));
        let [plus_one, minus_one] = both(s, even, odd);
        let [plus_two, minus_two] = both(s, wide_even, wide_odd);
        [g[0], plus_one, minus_one, plus_two, minus_two, g[3]]
    }
}

impl Edge<5, 7> for OfGradients {
    #[inline(always)]
    fn transform<S: Simd>(s: S, g: [S::V; 5]) -> [S::V; 7] {
        let (half, two, four) = (s.splat(0.5), s.splat(2.0), s.splat(4.0));
        let (even, odd) = (s.add(g[0], s.add(g[2], g[4])), s.add(g[1], g[3]));
        let wide_even = s.fma(four, s.fma(four, g[4], g[2]), g[0]);
        let wide_odd = s.mul(two, s.fma(four, g[3], g[1]));
        let near = s.fma(half, s.fma(half, s.fma(half, s.fma(half, g[4], g[3]), g[2]), g[1]), g[0]);
        let [plus_one, minus_one] = both(s, even, odd);
        let [plus_two, minus_two] = both(s, wide_even, wide_odd);
        [g[0], plus_one, minus_one, plus_two, minus_two, near, g[4]]
    }
}

impl Edge<6, 8> for OfGradients {
    #[inline(always)]
    fn transform<S: Simd>(s: S, g: [S::V; 6]) -> [S::V; 8] {
        let (half, two) = (s.splat(0.5), s.splat(2.0));
        let (quarter, four) = (s.splat(0.25), s.splat(4.0));
        let (even, odd) = (s.add(g[0], s.add(g[2], g[4])), s.add(g[1], s.add(g[3], g[5])));
        let wide_even = s.fma(four, s.fma(four, g[4], g[2]), g[0]);
        let wide_odd = s.mul(two, s.fma(four, s.fma(four, g[5], g[3]), g[1]));
        let near_even = s.fma(quarter, s.fma(quarter, g[4], g[2]), g[0]);
        let near_odd = s.mul(half, s.fma(quarter, s.fma(quarter, g[5], g[3]), g[1]));
        let [plus_one, minus_one] = both(s, even, odd);
        let [plus_two, minus_two] = both(s, wide_even, wide_odd);
        let [plus_half, minus_half] = both(s, near_even, near_odd);
        [g[0], plus_one, minus_one, plus_two, minus_two, plus_half, minus_half, g[5]]
    }
}

/// Taps of a kernel, to the places of a tile.
pub(super) struct OfTaps;

impl Edge<3, 4> for OfTaps {
    #[inline(always)]
    fn transform<S: Simd>(s: S, g: [S::V; 3]) -> [S::V; 4] {
        let half = s.splat(0.5);
        let ends = s.add(g[0], g[2]);
        [g[0], s.mul(half, s.add(ends, g[1])), s.mul(half, s.sub(ends, g[1])), g[2]]
    }
}

impl Edge<3, 6> for OfTaps {
    #[inline(always)]
    fn transform<S: Simd>(s: S, g: [S::V; 3]) -> [S::V; 6] {
        let sixth = s.splat(-1.0 / 6.0);
        let ends = s.add(g[0], g[2]);
        let outer = s.fma(s.splat(1.0 / 24.0), g[0], s.mul(s.splat(1.0 / 6.0), g[2]));
        let middle = s.mul(s.splat(1.0 / 12.0), g[1]);
        let [plus_two, minus_two] = both(s, outer, middle);
        [
            s.mul(s.splat(0.25), g[0]),
            s.mul(sixth, s.add(ends, g[1])),
            s.mul(sixth, s.sub(ends, g[1])),
            plus_two,
            minus_two,
            g[2],
        ]
    }
}

impl Edge<3, 7> for OfTaps {
    #[inline(always)]
    fn transform<S: Simd>(s: S, g: [S::V; 3]) -> [S::V; 7] {
        let ends = s.add(g[0], g[2]);
        let of = |first: f64, second: f64, third: f64| {
            let [first, second, third] = [first, second, third].map(|factor| s.splat(factor as f32));
            s.fma(first, g[0], s.fma(third, g[2], s.mul(second, g[1])))
        };
        [
            s.mul(s.splat(0.25), g[0]),
            s.mul(s.splat(1.0 / 6.0), s.add(ends, g[1])),
            s.mul(s.splat(-1.0 / 18.0), s.sub(ends, g[1])),
            of(-1.0 / 72.0, -1.0 / 36.0, -1.0 / 18.0),
            of(1.0 / 120.0, -1.0 / 60.0, 1.0 / 30.0),
            of(32.0 / 45.0, 16.0 / 45.0, 8.0 / 45.0),
            s.mul(s.splat(-0.5), g[2]),
        ]
    }
}

impl Edge<3, 8> for OfTaps {
    #[inline(always)]
    fn transform<S: Simd>(s: S, g: [S::V; 3]) -> [S::V; 8] {
        let one = s.splat(-2.0 / 9.0);
        let ends = s.add(g[0], g[2]);
        let wide_ends = s.fma(s.splat(1.0 / 90.0), g[0], s.mul(s.splat(2.0 / 45.0), g[2]));
        let wide_middle = s.mul(s.splat(1.0 / 45.0), g[1]);
        let near_ends = s.fma(s.splat(32.0 / 45.0), g[0], s.mul(s.splat(8.0 / 45.0), g[2]));
        let near_middle = s.mul(s.splat(16.0 / 45.0), g[1]);
        let [plus_two, minus_two] = both(s, wide_ends, wide_middle);
        let [plus_half, minus_half] = both(s, near_ends, near_middle);
        [
            g[0],
            s.mul(one, s.add(ends, g[1])),
            s.mul(one, s.sub(ends, g[1])),
            plus_two,
            minus_two,
            plus_half,
            minus_half,
            g[2],
        ]
    }
}

/// Sums at the places of a tile, to its outputs.
pub(super) struct OfSums;

impl Edge<4, 2> for OfSums {
    #[inline(always)]
    fn transform<S: Simd>(s: S, m: [S::V; 4]) -> [S::V; 2] {
        [s.add(m[0], s.add(m[1], m[2])), s.sub(s.sub(m[1], m[2]), m[3])]
    }
}

impl Edge<6, 4> for OfSums {
    #[inline(always)]
    fn transform<S: Simd>(s: S, m: [S::V; 6]) -> [S::V; 4] {
        let [one, minus_one] = both(s, m[1], m[2]);
        let [two, minus_two] = both(s, m[3], m[4]);
        [
            s.add(m[0], s.add(one, two)),
            s.fma(s.splat(2.0), minus_two, minus_one),
            s.fma(s.splat(4.0), two, one),
            s.add(s.fma(s.splat(8.0), minus_two, minus_one), m[5]),
        ]
    }
}

impl Edge<7, 5> for OfSums {
    #[inline(always)]
    fn transform<S: Simd>(s: S, m: [S::V; 7]) -> [S::V; 5] {
        let [one, minus_one] = both(s, m[1], m[2]);
        let [two, minus_two] = both(s, m[3], m[4]);
        let half = m[5];
        [
            s.add(s.add(m[0], half), s.add(one, two)),
            s.fma(s.splat(0.5), half, s.fma(s.splat(2.0), minus_two, minus_one)),
            s.fma(s.splat(0.25), half, s.fma(s.splat(4.0), two, one)),
            s.fma(s.splat(0.125), half, s.fma(s.splat(8.0), minus_two, minus_one)),
            s.add(s.fma(s.splat(0.0625), half, s.fma(s.splat(16.0), two, one)), m[6]),
        ]
    }
}

impl Edge<8, 6> for OfSums {
    #[inline(always)]
    fn transform<S: Simd>(s: S, m: [S::V; 8]) -> [S::V; 6] {
        let [one, minus_one] = both(s, m[1], m[2]);
        let [two, minus_two] = both(s, m[3], m[4]);
        let [half, minus_half] = both(s, m[5], m[6]);
        [
            s.add(s.add(m[0], half), s.add(one, two)),
            s.fma(s.splat(0.5), minus_half, s.fma(s.splat(2.0), minus_two, minus_one)),
            s.fma(s.splat(0.25), half, s.fma(s.splat(4.0), two, one)),
            s.fma(s.splat(0.125), minus_half, s.fma(s.splat(8.0), minus_two, minus_one)),
            s.fma(s.splat(0.0625), half, s.fma(s.splat(16.0), two, one)),
            s.add(s.fma(s.splat(0.03125), minus_half, s.fma(s.splat(32.0), minus_two, minus_one)), m[7]),
        ]
    }
}

/// Sums at the places of a tile, to a kernel's taps: as [`OfTaps`], turned round.
pub(super) struct OfProducts;

impl Edge<4, 3> for OfProducts {
    #[inline(always)]
    fn transform<S: Simd>(s: S, m: [S::V; 4]) -> [S::V; 3] {
        let half = s.splat(0.5);
        let ends = s.mul(half, s.add(m[1], m[2]));
        [s.add(m[0], ends), s.mul(half, s.sub(m[1], m[2])), s.add(ends, m[3])]
    }
}

impl Edge<6, 3> for OfProducts {
    #[inline(always)]
    fn transform<S: Simd>(s: S, m: [S::V; 6]) -> [S::V; 3] {
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

impl Edge<7, 3> for OfProducts {
    #[inline(always)]
    fn transform<S: Simd>(s: S, m: [S::V; 7]) -> [S::V; 3] {
        let of = |factors: [f64; 5], last: S::V| {
            let mut sum = last;
            for i in 0..5 {
                sum = s.fma(s.splat(factors[i] as f32), m[i + 1], sum);
            }
            sum
        };
        let sixth = 1.0 / 6.0;
        [
            of([sixth, -1.0 / 18.0, -1.0 / 72.0, 1.0 / 120.0, 32.0 / 45.0], s.mul(s.splat(0.25), m[0])),
            of([sixth, 1.0 / 18.0, -1.0 / 36.0, -1.0 / 60.0, 16.0 / 45.0], s.splat(0.0)),
            of([sixth, -1.0 / 18.0, -1.0 / 18.0, 1.0 / 30.0, 8.0 / 45.0], s.mul(s.splat(-0.5), m[6])),
        ]
    }
}

impl Edge<8, 3> for OfProducts {
    #[inline(always)]
    fn transform<S: Simd>(s: S, m: [S::V; 8]) -> [S::V; 3] {
        let [one, minus_one] = both(s, m[1], m[2]);
        let [two, minus_two] = both(s, m[3], m[4]);
        let [half, minus_half] = both(s, m[5], m[6]);
        let ninths = s.splat(-2.0 / 9.0);
        [
            s.fma(s.splat(32.0 / 45.0), half, s.fma(s.splat(1.0 / 90.0), two, s.fma(ninths, one, m[0]))),
            s.fma(
                s.splat(16.0 / 45.0),
                minus_half,
                s.fma(s.splat(1.0 / 45.0), minus_two, s.mul(ninths, minus_one)),
            ),
            s.fma(s.splat(8.0 / 45.0), half, s.fma(s.splat(2.0 / 45.0), two, s.fma(ninths, one, m[7]))),
        ]
    }
}
