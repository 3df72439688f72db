//! 3x3 convolution by Winograd's F(4x4, 3x3) (Lavin and Gray 2016): 36 products for 16 outputs where a direct one has 144.
//!
//! Maps are cut into tiles of 4x4 outputs, which see 6x6 inputs. Tiles and kernels are transformed, products at each of the 36
//! places sum over the input channels ([`Product`](super::product::Product)), and the sums are transformed back.
//! Gradients alone go this way: its rounding, some 1e-6 of the largest term, would flip spikes at the threshold.

use super::super::simd::{Kernel, LANES, Simd};

/// Outputs along an edge of a tile.
pub(in crate::cpu) const TILE: usize = 4;
/// Inputs along an edge of a tile.
const SEEN: usize = 6;
/// Places of a transformed tile.
pub(in crate::cpu) const PLACES: usize = SEEN * SEEN;

/// Transforms the tiles of one plane of one block.
pub(in crate::cpu) struct Tiles<'a> {
    /// A padded plane, 16 a pixel.
    pub(in crate::cpu) plane: &'a [f32],
    /// Height and width of the padded plane.
    pub(in crate::cpu) size: (usize, usize),
    /// Tiles in a row of tiles, and the tiles to transform.
    pub(in crate::cpu) across: usize,
    pub(in crate::cpu) tiles: std::ops::Range<usize>,
    /// Set to the transformed tiles: `[place][16]`, `stride` from a tile to the next.
    pub(in crate::cpu) out: &'a mut [f32],
    pub(in crate::cpu) stride: usize,
}

impl Kernel for Tiles<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (height, width) = self.size;
        let count = self.tiles.len();
        assert!(self.plane.len() >= height * width * LANES);
        assert!(count == 0 || self.out.len() >= (count - 1) * self.stride + PLACES * LANES);
        for (index, tile) in self.tiles.enumerate() {
            let (y, x) = (tile / self.across * TILE, tile % self.across * TILE);
            // What lies beyond the padded plane is 0.
            let at = |row: usize, column: usize| {
                if y + row < height && x + column < width {
                    // SAFETY: inside the plane, which holds height * width pixels.
                    unsafe { s.load(self.plane.as_ptr().add(((y + row) * width + x + column) * LANES)) }
                } else {
                    s.splat(0.0)
                }
            };
            let mut half = [[s.splat(0.0); SEEN]; SEEN];
            for column in 0..SEEN {
                let seen = transform_seen(s, std::array::from_fn(|row| at(row, column)));
                for row in 0..SEEN {
                    half[row][column] = seen[row];
                }
            }
            for row in 0..SEEN {
                let seen = transform_seen(s, half[row]);
                for column in 0..SEEN {
                    let place = index * self.stride + (row * SEEN + column) * LANES;
                    // SAFETY: the largest place and index lie in `out`.
                    unsafe { s.store(self.out.as_mut_ptr().add(place), seen[column]) };
                }
            }
        }
    }
}

/// Six inputs transformed.
#[inline(always)]
fn transform_seen<S: Simd>(s: S, d: [S::V; SEEN]) -> [S::V; SEEN] {
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

/// Transforms kernels: nine vectors of taps each to 36.
pub(in crate::cpu) struct Kernels<'a> {
    /// `[tap]` of vectors, `tap_stride` apart.
    pub(in crate::cpu) taps: &'a [f32],
    pub(in crate::cpu) tap_stride: usize,
    /// Kernels, their vectors one after another in `taps`; in `out` they are `kernel_stride` apart.
    pub(in crate::cpu) kernels: usize,
    pub(in crate::cpu) out: &'a mut [f32],
    pub(in crate::cpu) kernel_stride: usize,
    /// From a place to the next in `out`.
    pub(in crate::cpu) stride: usize,
}

impl Kernel for Kernels<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if self.kernels == 0 {
            return;
        }
        assert!(self.taps.len() >= 8 * self.tap_stride + self.kernels * LANES);
        let last = (PLACES - 1) * self.stride + (self.kernels - 1) * self.kernel_stride + LANES;
        assert!(self.out.len() >= last);
        for kernel in 0..self.kernels {
            // SAFETY: the assertions above.
            unsafe {
                let tap = |y: usize, x: usize| {
                    s.load(self.taps.as_ptr().add((y * 3 + x) * self.tap_stride + kernel * LANES))
                };
                let mut half = [[s.splat(0.0); 3]; SEEN];
                for x in 0..3 {
                    let column = transform_taps(s, [tap(0, x), tap(1, x), tap(2, x)]);
                    for y in 0..SEEN {
                        half[y][x] = column[y];
                    }
                }
                for y in 0..SEEN {
                    let row = transform_taps(s, half[y]);
                    for x in 0..SEEN {
                        let place = (y * SEEN + x) * self.stride + kernel * self.kernel_stride;
                        s.store(self.out.as_mut_ptr().add(place), row[x]);
                    }
                }
            }
        }
    }
}

/// Three taps transformed.
#[inline(always)]
fn transform_taps<S: Simd>(s: S, g: [S::V; 3]) -> [S::V; SEEN] {
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

/// Transforms sums back to outputs, for tiles of one plane of one block.
pub(in crate::cpu) struct Outputs<'a> {
    /// `[place][16]`, `stride` from a tile to the next.
    pub(in crate::cpu) sums: &'a [f32],
    pub(in crate::cpu) stride: usize,
    pub(in crate::cpu) across: usize,
    pub(in crate::cpu) tiles: std::ops::Range<usize>,
    /// Set at the outputs that lie inside it: a plane, 16 a pixel.
    pub(in crate::cpu) plane: &'a mut [f32],
    pub(in crate::cpu) size: (usize, usize),
}

impl Kernel for Outputs<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (height, width) = self.size;
        assert!(self.plane.len() >= height * width * LANES);
        let count = self.tiles.len();
        assert!(count == 0 || self.sums.len() >= (count - 1) * self.stride + PLACES * LANES);
        for (index, tile) in self.tiles.enumerate() {
            let (y, x) = (tile / self.across * TILE, tile % self.across * TILE);
            let mut half = [[s.splat(0.0); SEEN]; TILE];
            for column in 0..SEEN {
                let sums = std::array::from_fn(|row| {
                    let place = index * self.stride + (row * SEEN + column) * LANES;
                    // SAFETY: the largest place and index lie in `sums`.
                    unsafe { s.load(self.sums.as_ptr().add(place)) }
                });
                let outputs = transform_sums(s, sums);
                for row in 0..TILE {
                    half[row][column] = outputs[row];
                }
            }
            for row in 0..TILE {
                let outputs = transform_sums(s, half[row]);
                for column in 0..TILE {
                    if y + row < height && x + column < width {
                        let at = ((y + row) * width + x + column) * LANES;
                        // SAFETY: inside the plane.
                        unsafe { s.store(self.plane.as_mut_ptr().add(at), outputs[column]) };
                    }
                }
            }
        }
    }
}

/// Six sums transformed back.
#[inline(always)]
fn transform_sums<S: Simd>(s: S, m: [S::V; SEEN]) -> [S::V; TILE] {
    let (one, two) = (s.add(m[1], m[2]), s.add(m[3], m[4]));
    let (minus_one, minus_two) = (s.sub(m[1], m[2]), s.sub(m[3], m[4]));
    [
        s.add(m[0], s.add(one, two)),
        s.fma(s.splat(2.0), minus_two, minus_one),
        s.fma(s.splat(4.0), two, one),
        s.add(s.fma(s.splat(8.0), minus_two, minus_one), m[5]),
    ]
}
