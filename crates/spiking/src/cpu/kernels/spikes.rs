//! 3x3 convolution of spikes, four channels at a time.
//!
//! A pixel's 16 channels are one `u16`. Four spikes have 16 patterns: for each group of four, the sums of weights for all
//! patterns are laid out once (36 groups of a 3x3 kernel, 36 KiB), and a pixel adds one row a group instead of multiplying
//! four. It costs the same at any firing rate.

use super::super::simd::{Kernel, LANES, Simd};

/// Kernel positions.
pub(in crate::cpu) const TAPS: usize = 9;
/// Groups of four channels in a block.
const GROUPS: usize = LANES / 4;
/// Patterns of four spikes.
const PATTERNS: usize = 16;
/// From a tap's rows to the next one's: a row more than they hold. Without it the same pattern's rows of all taps would lie a
/// page of 4 KiB apart, and a core takes a load for one that waits for a store a page away.
const TAP: usize = (GROUPS * PATTERNS + 1) * LANES;
/// f32 of the tables of two blocks under a row of taps.
pub(in crate::cpu) const TABLES: usize = 2 * 3 * TAP;
/// f32 of the weights between two blocks: `[tap][input channel][output channel]`.
pub(in crate::cpu) const BLOCK: usize = TAPS * LANES * LANES;
/// Pixels of a row side by side, at most.
const TILE: usize = 4;

/// Adds the convolution of one block of spikes to some blocks of sums, over planes that lie one after another.
pub(in crate::cpu) struct SpikeProduct<'a> {
    /// Padded planes of spikes.
    pub(in crate::cpu) spikes: &'a [u16],
    /// `[plane][block][pixel][16]`.
    pub(in crate::cpu) sums: &'a mut [f32],
    /// Blocks of sums.
    pub(in crate::cpu) blocks: usize,
    /// `[block][tap][input channel][output channel]`.
    pub(in crate::cpu) weights: &'a [f32],
    /// What the sums start from, 16 a block; none: what stands in `sums`.
    pub(in crate::cpu) bias: Option<&'a [f32]>,
    /// Height and width of a plane.
    pub(in crate::cpu) size: (usize, usize),
    /// Room for the tables of two blocks under a row of taps.
    pub(in crate::cpu) table: &'a mut [f32],
}

impl Kernel for SpikeProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let (height, width) = self.size;
        let planes = self.sums.len() / (height * width * self.blocks * LANES).max(1);
        assert!(self.weights.len() >= self.blocks * BLOCK && self.table.len() >= TABLES);
        assert!(self.spikes.len() >= planes * (height + 2) * (width + 2));
        assert!(self.bias.is_none_or(|bias| bias.len() >= self.blocks * LANES));
        let mut block = 0;
        while block < self.blocks {
            block += match self.blocks - block {
                1 => self.blocks_from::<S, 1>(s, block, planes),
                _ => self.blocks_from::<S, 2>(s, block, planes),
            };
        }
    }
}

impl SpikeProduct<'_> {
    /// Q blocks from `first` on, a row of taps at a time: the tables of a row stay in the innermost cache.
    #[inline(always)]
    fn blocks_from<S: Simd, const Q: usize>(&mut self, s: S, first: usize, planes: usize) -> usize {
        let (height, width) = self.size;
        // As equal as they can be: a tile of one pixel would have nothing to do while a sum waits for itself.
        let tiles = width.div_ceil(TILE).max(1);
        let (pixels, longer) = (width / tiles, width % tiles);
        for tap_row in 0..3 {
            self.fill_tables::<S, Q>(s, first, tap_row);
            for (plane, y) in (0..planes).flat_map(|plane| (0..height).map(move |y| (plane, y))) {
                let at = (plane, first, tap_row, y);
                // SAFETY: `longer` tiles of a pixel more and the others make up the row, and `run` found planes and blocks
                // inside the slices.
                unsafe {
                    match pixels {
                        1 => self.row::<S, Q, 1, 2>(s, at, longer),
                        2 => self.row::<S, Q, 2, 3>(s, at, longer),
                        3 => self.row::<S, Q, 3, 4>(s, at, longer),
                        _ => self.row::<S, Q, TILE, TILE>(s, at, 0),
                    }
                }
            }
        }
        Q
    }

    /// A row of pixels: `longer` tiles of M, and the rest as tiles of P.
    ///
    /// # Safety
    /// The plane, the blocks and the row must lie inside the slices, and the tiles must make up its width.
    #[inline(always)]
    unsafe fn row<S: Simd, const Q: usize, const P: usize, const M: usize>(
        &mut self,
        s: S,
        (plane, first, tap_row, y): (usize, usize, usize, usize),
        longer: usize,
    ) {
        let (height, width) = self.size;
        // SAFETY: the caller's.
        unsafe {
            let stride = height * width * LANES;
            let sums = self.sums.as_mut_ptr().add((plane * self.blocks + first) * stride + y * width * LANES);
            let spikes = self.spikes.as_ptr().add((plane * (height + 2) + y + tap_row) * (width + 2));
            let bias = self.bias.filter(|_| tap_row == 0).map(|bias| bias.as_ptr().add(first * LANES));
            for x in (0..longer).map(|tile| tile * M) {
                self.tile::<S, Q, M>(s, sums.add(x * LANES), stride, spikes.add(x), bias);
            }
            for x in (longer * M..width).step_by(P) {
                self.tile::<S, Q, P>(s, sums.add(x * LANES), stride, spikes.add(x), bias);
            }
        }
    }

    /// Row `pattern` of a group holds the weights of the pattern's spikes, added from the lowest channel on.
    #[inline(always)]
    fn fill_tables<S: Simd, const Q: usize>(&mut self, s: S, first: usize, tap_row: usize) {
        for (q, group) in (0..Q).flat_map(|q| (0..3 * GROUPS).map(move |group| (q, group))) {
            let from = (first + q) * BLOCK + (tap_row * 3 * GROUPS + group) * 4 * LANES;
            let weights = &self.weights[from..][..4 * LANES];
            let at = (q * 3 + group / GROUPS) * TAP + group % GROUPS * PATTERNS * LANES;
            let rows = &mut self.table[at..][..PATTERNS * LANES];
            rows[..LANES].fill(0.0);
            for pattern in 1..PATTERNS {
                // The pattern without its highest spike comes first.
                let highest = pattern.ilog2() as usize;
                let rest = pattern & !(1 << highest);
                // SAFETY: all three lie inside the two slices just cut.
                unsafe {
                    let sum = s.add(
                        s.load(rows.as_ptr().add(rest * LANES)),
                        s.load(weights.as_ptr().add(highest * LANES)),
                    );
                    s.store(rows.as_mut_ptr().add(pattern * LANES), sum);
                }
            }
        }
    }

    /// Adds what a row of taps gives to P pixels side by side, whose sums in the next block lie `stride` further.
    ///
    /// A place is seen by up to three pixels, by each with another tap, and its rows are found once for all of them. Each sum
    /// has its taps from the left to the right, and its groups in their order.
    ///
    /// # Safety
    /// Sums of P pixels and Q blocks, P + 2 places of spikes, and biases of Q blocks must be there.
    #[inline(always)]
    unsafe fn tile<S: Simd, const Q: usize, const P: usize>(
        &self,
        s: S,
        sums: *mut f32,
        stride: usize,
        spikes: *const u16,
        bias: Option<*const f32>,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let mut totals = [[s.splat(0.0); Q]; P];
            for p in 0..P {
                for q in 0..Q {
                    totals[p][q] = match bias {
                        Some(bias) => s.load(bias.add(q * LANES)),
                        None => s.load(sums.add(q * stride + p * LANES)),
                    };
                }
            }
            // One by one, since the compiler keeps a loop of them a loop, and the sums then in memory.
            self.place::<S, Q, P, 0>(s, spikes, &mut totals);
            self.place::<S, Q, P, 1>(s, spikes, &mut totals);
            self.place::<S, Q, P, 2>(s, spikes, &mut totals);
            self.place::<S, Q, P, 3>(s, spikes, &mut totals);
            self.place::<S, Q, P, 4>(s, spikes, &mut totals);
            self.place::<S, Q, P, 5>(s, spikes, &mut totals);
            for p in 0..P {
                for q in 0..Q {
                    s.store(sums.add(q * stride + p * LANES), totals[p][q]);
                }
            }
        }
    }

    /// What place AT of the spikes gives to the pixels that see it, if one does.
    ///
    /// # Safety
    /// Where AT is less than P + 2 the place must be there.
    #[inline(always)]
    unsafe fn place<S: Simd, const Q: usize, const P: usize, const AT: usize>(
        &self,
        s: S,
        spikes: *const u16,
        totals: &mut [[S::V; Q]; P],
    ) {
        if AT >= P + 2 {
            return;
        }
        // SAFETY: the caller's; a pattern's row lies in the tables, whose length `run` has checked.
        unsafe {
            // In units of a row of the table.
            let patterns = usize::from(*spikes.add(AT)) * LANES;
            for group in 0..GROUPS {
                let rows = self.table.as_ptr().add(group * PATTERNS * LANES);
                let rows = rows.add(patterns >> (4 * group) & ((PATTERNS - 1) * LANES));
                for tap in 0..3 {
                    if AT >= tap && AT < tap + P {
                        for q in 0..Q {
                            let total = &mut totals[AT - tap][q];
                            *total = s.add(*total, s.load(rows.add((q * 3 + tap) * TAP)));
                        }
                    }
                }
            }
        }
    }
}
