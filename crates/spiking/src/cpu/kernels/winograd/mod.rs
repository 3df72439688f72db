//! 3x3 convolution by Winograd's way (Lavin and Gray 2016): F(4x4, 3x3) has 36 products for 16 outputs where a direct one has 144.
//!
//! Maps are cut into tiles of 4x4 outputs, which see 6x6 inputs. Tiles and kernels are transformed, products at each of the 36
//! places sum over the input channels ([`Product`](super::product::Product)), and the sums are transformed back.
//! The gradients of kernels come the same way: one product for each place of a tile of inputs and a tile of gradients, F(3x3, 4x4).
//! Tiles of 2x2 outputs have 16 places, those of 5x5 have 49 and those of 6x6 have 64: gradients take those that cover a map with the
//! fewest products. They alone go this way: its rounding, some 1e-6 of the largest term, would flip spikes at the threshold. (Of 256 channels, root
//! mean square, as a share of the outputs': 2.6e-6 by tiles of four, 4.1e-6 of five and 5.8e-6 of six, where a direct sum has 0.6e-6.) What enters
//! cells goes by F(2x2, 3x3), 16 products for 4 outputs where a direct one has 36: of 256 channels of averages it rounds to 1.2e-7 (root mean
//! square, outputs of 0.2) where a direct sum rounds to 2.6e-7.

use std::mem::MaybeUninit;

use super::super::simd::{Kernel, LANES, Simd};
use super::spikes::BLOCK;

mod edges;
mod in_place;

use edges::{Edge, OfGradients, OfInputs, OfProducts, OfSums, OfTaps};
pub(in crate::cpu) use in_place::InPlace;

/// Outputs along an edge of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cpu) enum Tile {
    Two,
    Four,
    Five,
    Six,
}

impl Tile {
    /// The smallest first.
    pub(in crate::cpu) const ALL: [Self; 4] = [Self::Two, Self::Four, Self::Five, Self::Six];

    pub(in crate::cpu) const fn edge(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
            Self::Five => 5,
            Self::Six => 6,
        }
    }

    /// Places of a transformed tile: as many as it sees inputs.
    pub(in crate::cpu) const fn places(self) -> usize {
        (self.edge() + 2) * (self.edge() + 2)
    }

    /// f32 of a transformed tile of one block, all of whose places lie together: `[tile][block][place][16]`.
    pub(in crate::cpu) const fn size(self) -> usize {
        self.places() * LANES
    }

    /// From such a tile of some blocks to the next one: a cache line more than it fills, so that tiles do not share their places in a cache.
    pub(in crate::cpu) const fn apart(self, blocks: usize) -> usize {
        blocks * self.size() + LANES
    }
}

/// Calls `$self.$f` for a tile that sees so many inputs along an edge and has so many outputs.
macro_rules! of_tile {
    ($self:ident.$f:ident($s:ident)) => {
        match $self.tile {
            Tile::Two => $self.$f::<S, 4, 2>($s),
            Tile::Four => $self.$f::<S, 6, 4>($s),
            Tile::Five => $self.$f::<S, 7, 5>($s),
            Tile::Six => $self.$f::<S, 8, 6>($s),
        }
    };
}

/// A tile that is transformed along one edge: set by columns, then read by rows. It begins as nothing, for zeros would be written for each
/// tile wherever the compiler keeps a loop over its columns.
struct Half<V, const FROM: usize, const TO: usize>([[MaybeUninit<V>; FROM]; TO]);

impl<V: Copy, const FROM: usize, const TO: usize> Half<V, FROM, TO> {
    const NONE: Self = Self([[MaybeUninit::uninit(); FROM]; TO]);

    #[inline(always)]
    fn set(&mut self, column: usize, values: [V; TO]) {
        for row in 0..TO {
            self.0[row][column].write(values[row]);
        }
    }

    /// # Safety
    /// All columns must have been set.
    #[inline(always)]
    unsafe fn row(&self, row: usize) -> [V; FROM] {
        // SAFETY: the caller's.
        unsafe { std::array::from_fn(|column| self.0[row][column].assume_init()) }
    }
}

/// A padded plane that tiles are cut from.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) enum Plane<'a> {
    /// 16 real inputs a pixel, of which a tile sees one more on each side than it has outputs.
    Real(&'a [f32]),
    /// 16 spikes a pixel, seen alike.
    Spikes(&'a [u16]),
    /// Gradients of 16 outputs a pixel.
    Gradients(&'a [f32]),
}

/// Transforms the tiles of one plane of one block.
pub(in crate::cpu) struct Tiles<'a> {
    pub(in crate::cpu) tile: Tile,
    pub(in crate::cpu) plane: Plane<'a>,
    /// Height and width of the padded plane.
    pub(in crate::cpu) size: (usize, usize),
    /// Tiles in a row of tiles, and the tiles to transform.
    pub(in crate::cpu) across: usize,
    pub(in crate::cpu) tiles: std::ops::Range<usize>,
    /// Set to the transformed tiles, `stride` from a tile to the next and `place` from a place to the next.
    pub(in crate::cpu) out: &'a mut [f32],
    pub(in crate::cpu) stride: usize,
    pub(in crate::cpu) place: usize,
}

impl Kernel for Tiles<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        of_tile!(self.of(s));
    }
}

impl Tiles<'_> {
    #[inline(always)]
    fn of<S: Simd, const SEEN: usize, const TILE: usize>(self, s: S)
    where
        OfInputs: Edge<SEEN, SEEN>,
        OfGradients: Edge<TILE, SEEN>,
    {
        match self.plane {
            Plane::Real(plane) => self.transform::<S, _, OfInputs, SEEN, SEEN>(s, plane, TILE, 0),
            Plane::Spikes(plane) => self.transform::<S, _, OfInputs, SEEN, SEEN>(s, plane, TILE, 0),
            Plane::Gradients(plane) => self.transform::<S, _, OfGradients, TILE, SEEN>(s, plane, TILE, 1),
        }
    }

    /// Tiles of `FROM` pixels along an edge, `apart` from one to the next, the first `corner` pixels in from the padded plane's.
    #[inline(always)]
    fn transform<S: Simd, P: Pixels, E: Edge<FROM, TO>, const FROM: usize, const TO: usize>(
        self,
        s: S,
        plane: P,
        apart: usize,
        corner: usize,
    ) {
        let (height, width) = self.size;
        let count = self.tiles.len();
        assert!(plane.count() >= height * width);
        let last = count.saturating_sub(1) * self.stride + (TO * TO - 1) * self.place + LANES;
        assert!(count == 0 || self.out.len() >= last);
        for (index, tile) in self.tiles.enumerate() {
            let (y, x) = (tile / self.across * apart + corner, tile % self.across * apart + corner);
            let out = &mut self.out[index * self.stride..];
            // SAFETY: a tile is said to be whole only if it lies in the plane, and the largest place lies in `out`.
            unsafe {
                match y + FROM <= height && x + FROM <= width {
                    true => tile_of::<S, P, E, FROM, TO, true>(s, plane, (y, x), self.size, out, self.place),
                    false => {
                        tile_of::<S, P, E, FROM, TO, false>(s, plane, (y, x), self.size, out, self.place)
                    }
                }
            }
        }
    }
}

/// Transforms the tile at (y, x). One that is WHOLE is not asked at each pixel whether it is there.
///
/// # Safety
/// The plane must hold `height * width` pixels, a WHOLE tile must lie inside it, and `out` must hold all places.
#[inline(always)]
unsafe fn tile_of<
    S: Simd,
    P: Pixels,
    E: Edge<FROM, TO>,
    const FROM: usize,
    const TO: usize,
    const WHOLE: bool,
>(
    s: S,
    plane: P,
    (y, x): (usize, usize),
    (height, width): (usize, usize),
    out: &mut [f32],
    place: usize,
) {
    // What lies beyond the padded plane is 0.
    let at = |row: usize, column: usize| match WHOLE || y + row < height && x + column < width {
        // SAFETY: inside the plane.
        true => unsafe { plane.get(s, (y + row) * width + x + column) },
        false => s.splat(0.0),
    };
    let mut half = Half::NONE;
    for column in 0..FROM {
        half.set(column, E::transform(s, std::array::from_fn(|row| at(row, column))));
    }
    for row in 0..TO {
        // SAFETY: all columns are set.
        let values = E::transform(s, unsafe { half.row(row) });
        for column in 0..TO {
            // SAFETY: the caller's.
            unsafe { s.store(out.as_mut_ptr().add((row * TO + column) * place), values[column]) };
        }
    }
}

/// Pixels of 16 channels.
trait Pixels: Copy {
    fn count(self) -> usize;

    /// # Safety
    /// `pixel` must be one of them.
    unsafe fn get<S: Simd>(self, s: S, pixel: usize) -> S::V;
}

impl Pixels for &[f32] {
    fn count(self) -> usize {
        self.len() / LANES
    }

    #[inline(always)]
    unsafe fn get<S: Simd>(self, s: S, pixel: usize) -> S::V {
        // SAFETY: the caller's.
        unsafe { s.load(self.as_ptr().add(pixel * LANES)) }
    }
}

impl Pixels for &[u16] {
    fn count(self) -> usize {
        self.len()
    }

    #[inline(always)]
    unsafe fn get<S: Simd>(self, s: S, pixel: usize) -> S::V {
        // SAFETY: the caller's.
        s.only(s.mask(unsafe { *self.get_unchecked(pixel) }), s.splat(1.0))
    }
}

/// Transforms kernels: nine vectors of taps each to those of a tile's places.
pub(in crate::cpu) struct Kernels<'a> {
    pub(in crate::cpu) tile: Tile,
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
        of_tile!(self.of(s));
    }
}

impl Kernels<'_> {
    #[inline(always)]
    fn of<S: Simd, const SEEN: usize, const TILE: usize>(self, s: S)
    where
        OfTaps: Edge<3, SEEN>,
    {
        if self.kernels == 0 {
            return;
        }
        assert!(self.taps.len() >= 8 * self.tap_stride + self.kernels * LANES);
        let last = (SEEN * SEEN - 1) * self.stride + (self.kernels - 1) * self.kernel_stride + LANES;
        assert!(self.out.len() >= last);
        for kernel in 0..self.kernels {
            // SAFETY: the assertions above.
            unsafe {
                let tap = |y: usize, x: usize| {
                    s.load(self.taps.as_ptr().add((y * 3 + x) * self.tap_stride + kernel * LANES))
                };
                let mut half = Half::NONE;
                for x in 0..3 {
                    half.set(x, OfTaps::transform(s, [tap(0, x), tap(1, x), tap(2, x)]));
                }
                for y in 0..SEEN {
                    let row = OfTaps::transform(s, half.row(y));
                    for x in 0..SEEN {
                        let place = (y * SEEN + x) * self.stride + kernel * self.kernel_stride;
                        s.store(self.out.as_mut_ptr().add(place), row[x]);
                    }
                }
            }
        }
    }
}

/// Transforms sums back to outputs, for tiles of one plane of one block.
pub(in crate::cpu) struct Outputs<'a> {
    pub(in crate::cpu) tile: Tile,
    /// `[place][16]`, `stride` from a tile to the next.
    pub(in crate::cpu) sums: &'a [f32],
    pub(in crate::cpu) stride: usize,
    pub(in crate::cpu) across: usize,
    pub(in crate::cpu) tiles: std::ops::Range<usize>,
    /// Added to every output, if any.
    pub(in crate::cpu) bias: Option<&'a [f32; LANES]>,
    /// Set at the outputs that lie inside it: a plane, 16 a pixel.
    pub(in crate::cpu) plane: &'a mut [f32],
    pub(in crate::cpu) size: (usize, usize),
}

impl Kernel for Outputs<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        of_tile!(self.of(s));
    }
}

impl Outputs<'_> {
    #[inline(always)]
    fn of<S: Simd, const FROM: usize, const TO: usize>(mut self, s: S)
    where
        OfSums: Edge<FROM, TO>,
    {
        let (height, width) = self.size;
        assert!(self.plane.len() >= height * width * LANES);
        let count = self.tiles.len();
        assert!(count == 0 || self.sums.len() >= (count - 1) * self.stride + FROM * FROM * LANES);
        for index in 0..count {
            let tile = self.tiles.start + index;
            let (y, x) = (tile / self.across * TO, tile % self.across * TO);
            // SAFETY: a tile is said to be whole only if it lies in the plane, and the largest place lies in `sums`.
            unsafe {
                match y + TO <= height && x + TO <= width {
                    true => self.outputs_of::<S, FROM, TO, true>(s, index, (y, x)),
                    false => self.outputs_of::<S, FROM, TO, false>(s, index, (y, x)),
                }
            }
        }
    }

    /// Transforms the sums of a tile, whose outputs begin at (y, x). One that is WHOLE is not asked at each pixel whether it is there.
    ///
    /// # Safety
    /// The tile's places must lie in `sums`, `size` in the plane, and a WHOLE tile inside it.
    #[inline(always)]
    unsafe fn outputs_of<S: Simd, const FROM: usize, const TO: usize, const WHOLE: bool>(
        &mut self,
        s: S,
        index: usize,
        (y, x): (usize, usize),
    ) where
        OfSums: Edge<FROM, TO>,
    {
        let (height, width) = self.size;
        // SAFETY: the caller's.
        unsafe {
            let sums = self.sums.as_ptr().add(index * self.stride);
            let mut half = Half::NONE;
            for column in 0..FROM {
                let sums = std::array::from_fn(|row| s.load(sums.add((row * FROM + column) * LANES)));
                half.set(column, OfSums::transform(s, sums));
            }
            for row in 0..TO {
                let mut outputs = OfSums::transform(s, half.row(row));
                if let Some(bias) = self.bias {
                    outputs = outputs.map(|output| s.add(output, s.load(bias.as_ptr())));
                }
                for column in 0..TO {
                    if WHOLE || y + row < height && x + column < width {
                        let at = ((y + row) * width + x + column) * LANES;
                        s.store(self.plane.as_mut_ptr().add(at), outputs[column]);
                    }
                }
            }
        }
    }
}

/// Transforms sums over products of tiles of inputs and tiles of gradients to the gradients of kernels: for 16 input channels nine taps
/// each.
pub(in crate::cpu) struct Taps<'a> {
    pub(in crate::cpu) tile: Tile,
    /// A vector of each place for each channel, `place` from a place to the next and `stride` from a channel to the next.
    pub(in crate::cpu) sums: &'a [f32],
    pub(in crate::cpu) place: usize,
    pub(in crate::cpu) stride: usize,
    /// `[tap][input channel][16]`.
    pub(in crate::cpu) weights: &'a mut [f32],
    /// Whether to set them; else to add to them.
    pub(in crate::cpu) begin: bool,
}

impl Kernel for Taps<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        of_tile!(self.of(s));
    }
}

impl Taps<'_> {
    #[inline(always)]
    fn of<S: Simd, const SEEN: usize, const TILE: usize>(self, s: S)
    where
        OfProducts: Edge<SEEN, 3>,
    {
        assert!(self.sums.len() >= (SEEN * SEEN - 1) * self.place + (LANES - 1) * self.stride + LANES);
        assert!(self.weights.len() >= BLOCK);
        for channel in 0..LANES {
            let mut half = Half::NONE;
            for column in 0..SEEN {
                let sums = std::array::from_fn(|row| {
                    let place = (row * SEEN + column) * self.place + channel * self.stride;
                    // SAFETY: the largest place and channel lie in `sums`.
                    unsafe { s.load(self.sums.as_ptr().add(place)) }
                });
                half.set(column, OfProducts::transform(s, sums));
            }
            for row in 0..3 {
                // SAFETY: all columns are set.
                let taps = OfProducts::transform(s, unsafe { half.row(row) });
                for (column, tap) in taps.into_iter().enumerate() {
                    // SAFETY: nine taps of 16 channels lie in `weights`.
                    unsafe {
                        let at =
                            self.weights.as_mut_ptr().add(((row * 3 + column) * LANES + channel) * LANES);
                        s.store(at, if self.begin { tap } else { s.add(s.load(at), tap) });
                    }
                }
            }
        }
    }
}
