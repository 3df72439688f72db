//! Winograd's products of narrow stages, whose transformations weigh as much: they stay where the tiles were transformed.

use super::super::super::simd::{Kernel, LANES, Simd};
use super::Tile;

/// Products of transformed tiles of four with the kernels to one block, in place: a core's innermost cache holds the tiles of a task alone.
pub(in crate::cpu) struct InPlace<'a> {
    /// `[tile][block][place][16]`, [`Tile::apart`] from a tile to the next; the sums over the blocks are left in the first one.
    pub(in crate::cpu) tiles: &'a mut [f32],
    /// `[place][block][lane][16]`.
    pub(in crate::cpu) kernels: &'a [f32],
    /// One or two.
    pub(in crate::cpu) blocks: usize,
    /// What is written next: asked for meanwhile.
    pub(in crate::cpu) ahead: &'a [f32],
}

impl Kernel for InPlace<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Where a tile's neighbours lie is known to the compiler: their values then need no registers for addresses.
        match (self.blocks, S::MANY_REGISTERS) {
            (1, true) => self.of::<S, 16, 1>(s),
            (2, true) => self.of::<S, 16, 2>(s),
            (1, false) => self.of::<S, 4, 1>(s),
            (2, false) => self.of::<S, 4, 2>(s),
            _ => panic!("products in place are of one or two blocks"),
        }
    }
}

impl InPlace<'_> {
    /// Blocks at most.
    pub(in crate::cpu) const BLOCKS: usize = 2;

    /// P tiles side by side, all of whose sums are registers.
    #[inline(always)]
    fn of<S: Simd, const P: usize, const BLOCKS: usize>(self, s: S) {
        const PLACES: usize = Tile::Four.places();
        let (stride, of_place) = (const { Tile::Four.apart(BLOCKS) }, BLOCKS * LANES * LANES);
        assert!(self.kernels.len() >= PLACES * of_place);
        let tiles = self.tiles.len() / stride;
        let mut ahead = self.ahead.chunks((self.ahead.len() / LANES).div_ceil(PLACES).max(1) * LANES);
        for place in 0..PLACES {
            for line in ahead.next().unwrap_or_default().chunks(LANES) {
                s.fetch_later(line.as_ptr());
            }
            // SAFETY: places of whole tiles, and of whole kernels as asserted above.
            unsafe {
                let kernels = self.kernels.as_ptr().add(place * of_place);
                let first = self.tiles.as_mut_ptr().add(place * LANES);
                let mut tile = 0;
                while tile + P <= tiles {
                    in_place::<S, P, BLOCKS>(s, first.add(tile * stride), kernels);
                    tile += P;
                }
                for tile in tile..tiles {
                    in_place::<S, 1, BLOCKS>(s, first.add(tile * stride), kernels);
                }
            }
        }
    }
}

/// One place of P tiles: the values of the blocks times their weights, summed up.
///
/// # Safety
/// The place must be there in all blocks of each of the tiles, and its weights in `kernels`.
#[inline(always)]
unsafe fn in_place<S: Simd, const P: usize, const BLOCKS: usize>(s: S, first: *mut f32, kernels: *const f32) {
    let stride = const { Tile::Four.apart(BLOCKS) };
    // SAFETY: the caller's.
    unsafe {
        let mut sums = [s.splat(0.0); P];
        for block in 0..BLOCKS {
            let values = first.add(block * Tile::Four.places() * LANES);
            for lane in 0..LANES {
                let weights = s.load(kernels.add((block * LANES + lane) * LANES));
                for p in 0..P {
                    sums[p] = s.fma(s.splat(*values.add(p * stride + lane)), weights, sums[p]);
                }
            }
        }
        for p in 0..P {
            s.store(first.add(p * stride), sums[p]);
        }
    }
}
