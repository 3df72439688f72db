//! 3x3 convolution of spikes, five or six channels at a time.
//!
//! A pixel's 16 channels are one `u16`. Five spikes have 32 patterns, six have 64: for each group of channels the sums of weights for
//! all patterns are laid out once, and a pixel adds one row a group in place of a product a channel. The tables under a row of taps, 24
//! KiB, stay in the innermost cache. It costs the same at any firing rate.

use std::ops::Range;

use super::super::simd::{Kernel, LANES, Simd};

/// Kernel positions.
pub(in crate::cpu) const TAPS: usize = 9;
/// Channels of a block whose patterns share a table.
#[derive(Clone, Copy)]
struct Group {
    first: usize,
    channels: usize,
    /// Where its patterns' rows begin in a tap's table.
    row: usize,
}
const GROUPS: [Group; 3] = [
    Group { first: 0, channels: 5, row: 0 },
    Group { first: 5, channels: 5, row: 32 },
    Group { first: 10, channels: 6, row: 64 },
];
/// Rows of all groups.
const ROWS: usize = 128;
/// From a tap's rows to the next one's: a row more than they hold. Without it the same pattern's rows of all taps would lie
/// pages of 4 KiB apart, and a core takes a load for one that waits for a store a page away.
const TAP: usize = (ROWS + 1) * LANES;
/// f32 of the tables under a row of taps.
pub(in crate::cpu) const TABLES: usize = 3 * TAP;
/// f32 of the weights between two blocks: `[tap][input channel][output channel]`.
pub(in crate::cpu) const BLOCK: usize = TAPS * LANES * LANES;
/// Pixels of a row side by side, at most.
const TILE: usize = 4;
/// Columns from which on a map goes row by row.
const WIDE: usize = 24;

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
    /// Room for the tables under a row of taps.
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
        for block in 0..self.blocks {
            self.block(s, block, planes);
        }
    }
}

/// Which sums a row of taps is added to.
#[derive(Clone, Copy)]
struct At {
    planes: usize,
    block: usize,
    tap_row: usize,
}

impl SpikeProduct<'_> {
    /// One block, a row of taps at a time: the tables of a row stay in the innermost cache.
    #[inline(always)]
    fn block<S: Simd>(&mut self, s: S, block: usize, planes: usize) {
        let width = self.size.1;
        // As equal as they can be: a tile of one pixel would have nothing to do while a sum waits for itself.
        let tiles = width.div_ceil(TILE).max(1);
        let (pixels, longer) = (width / tiles, width % tiles);
        for tap_row in 0..3 {
            self.fill_tables(s, block, tap_row);
            let at = At { planes, block, tap_row };
            // SAFETY: `longer` tiles of a pixel more and the others make up a row, and `run` found planes and blocks inside the
            // slices.
            unsafe {
                match pixels {
                    1 => self.tiles::<S, 1, 2>(s, at, longer),
                    2 => self.tiles::<S, 2, 3>(s, at, longer),
                    3 => self.tiles::<S, 3, 4>(s, at, longer),
                    _ => self.tiles::<S, TILE, TILE>(s, at, 0),
                }
            }
        }
    }

    /// All rows, cut into `longer` tiles of M pixels, and the rest into tiles of P.
    ///
    /// A narrow map's few tiles of a row would be a loop whose end a core guesses wrong: there the first tiles of all rows come first,
    /// then the second ones. A wide map's would lie too far apart for that.
    ///
    /// # Safety
    /// What is `at` must lie inside the slices, and the tiles must make up the width.
    #[inline(always)]
    unsafe fn tiles<S: Simd, const P: usize, const M: usize>(&mut self, s: S, at: At, longer: usize) {
        let (width, middle) = (self.size.1, longer * M);
        // SAFETY: the caller's.
        unsafe {
            if width < WIDE {
                for x in (0..middle).step_by(M) {
                    self.columns::<S, M, true>(s, at, x..x + M);
                }
                for x in (middle..width).step_by(P) {
                    self.columns::<S, P, true>(s, at, x..x + P);
                }
            } else {
                self.columns::<S, M, false>(s, at, 0..middle);
                self.columns::<S, P, false>(s, at, middle..width);
            }
        }
    }

    /// The same columns of every row: one tile `ALONE`, which is known when it is compiled and makes no loop, or some side by side.
    ///
    /// # Safety
    /// As for [`Self::tiles`]; the columns must be whole tiles within the width.
    #[inline(always)]
    unsafe fn columns<S: Simd, const P: usize, const ALONE: bool>(
        &mut self,
        s: S,
        at: At,
        columns: Range<usize>,
    ) {
        // SAFETY: the caller's.
        unsafe {
            match self.bias.filter(|_| at.tap_row == 0) {
                Some(bias) => {
                    let bias = bias.as_ptr().add(at.block * LANES);
                    self.rows::<S, P, ALONE>(s, at, columns, |s, _| s.load(bias));
                }
                None => self.rows::<S, P, ALONE>(s, at, columns, |s, sum| s.load(sum)),
            }
        }
    }

    /// Row after row, from what a sum starts from.
    ///
    /// # Safety
    /// As for [`Self::columns`].
    #[inline(always)]
    unsafe fn rows<S: Simd, const P: usize, const ALONE: bool>(
        &mut self,
        s: S,
        at: At,
        columns: Range<usize>,
        start: impl Fn(S, *const f32) -> S::V,
    ) {
        let (height, width) = self.size;
        let tiles = if ALONE { 1 } else { columns.len() / P };
        for plane in 0..at.planes {
            let row = (plane * self.blocks + at.block) * height;
            let mut sums = self.sums.as_mut_ptr().wrapping_add((row * width + columns.start) * LANES);
            let row = plane * (height + 2) + at.tap_row;
            let mut spikes = self.spikes.as_ptr().wrapping_add(row * (width + 2) + columns.start);
            for _ in 0..height {
                for x in (0..tiles).map(|tile| tile * P) {
                    // SAFETY: the caller's.
                    unsafe { self.tile::<S, P>(s, sums.add(x * LANES), spikes.add(x), &start) };
                }
                // Past the last row they may point past the end, and are not read.
                sums = sums.wrapping_add(width * LANES);
                spikes = spikes.wrapping_add(width + 2);
            }
        }
    }

    /// Row `pattern` of a group holds the weights of the pattern's spikes, added from the lowest channel on.
    #[inline(always)]
    fn fill_tables<S: Simd>(&mut self, s: S, block: usize, tap_row: usize) {
        for (tap, group) in (0..3).flat_map(|tap| GROUPS.map(|group| (tap, group))) {
            let from = block * BLOCK + ((tap_row * 3 + tap) * LANES + group.first) * LANES;
            let weights = &self.weights[from..][..group.channels * LANES];
            let rows = &mut self.table[tap * TAP + group.row * LANES..][..LANES << group.channels];
            rows[..LANES].fill(0.0);
            for highest in 0..group.channels {
                // Patterns whose highest spike it is, after those without any as high.
                for rest in 0..1 << highest {
                    // SAFETY: all three lie inside the two slices just cut.
                    unsafe {
                        let sum = s.add(
                            s.load(rows.as_ptr().add(rest * LANES)),
                            s.load(weights.as_ptr().add(highest * LANES)),
                        );
                        s.store(rows.as_mut_ptr().add(((1 << highest) + rest) * LANES), sum);
                    }
                }
            }
        }
    }

    /// Adds what a row of taps gives to P pixels side by side.
    ///
    /// A place is seen by up to three pixels, by each with another tap, and its rows are found once for all of them. Each sum
    /// has its taps from the left to the right, and its groups in their order.
    ///
    /// # Safety
    /// Sums of P pixels and P + 2 places of spikes must be there.
    #[inline(always)]
    unsafe fn tile<S: Simd, const P: usize>(
        &self,
        s: S,
        sums: *mut f32,
        spikes: *const u16,
        start: impl Fn(S, *const f32) -> S::V,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let mut totals = [s.splat(0.0); P];
            for p in 0..P {
                totals[p] = start(s, sums.add(p * LANES));
            }
            // One by one, since the compiler keeps a loop of them a loop, and the sums then in memory.
            self.place::<S, P, 0>(s, spikes, &mut totals);
            self.place::<S, P, 1>(s, spikes, &mut totals);
            self.place::<S, P, 2>(s, spikes, &mut totals);
            self.place::<S, P, 3>(s, spikes, &mut totals);
            self.place::<S, P, 4>(s, spikes, &mut totals);
            self.place::<S, P, 5>(s, spikes, &mut totals);
            for p in 0..P {
                s.store(sums.add(p * LANES), totals[p]);
            }
        }
    }

    /// What place AT of the spikes gives to the pixels that see it, if one does.
    ///
    /// # Safety
    /// Where AT is less than P + 2 the place must be there.
    #[inline(always)]
    unsafe fn place<S: Simd, const P: usize, const AT: usize>(
        &self,
        s: S,
        spikes: *const u16,
        totals: &mut [S::V; P],
    ) {
        if AT >= P + 2 {
            return;
        }
        // SAFETY: the caller's; a pattern's row lies in the tables, whose length `run` has checked.
        unsafe {
            // In units of a row of the table.
            let patterns = usize::from(*spikes.add(AT)) * LANES;
            for Group { first, channels, row } in GROUPS {
                let pattern = patterns >> first & (((1 << channels) - 1) * LANES);
                let rows = self.table.as_ptr().add(row * LANES + pattern);
                for tap in 0..3 {
                    if AT >= tap && AT < tap + P {
                        let total = &mut totals[AT - tap];
                        *total = s.add(*total, s.load(rows.add(tap * TAP)));
                    }
                }
            }
        }
    }
}
