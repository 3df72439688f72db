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
/// A pixel: its place in a padded plane (of its top left neighbour), and its place in the plane of sums.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Pixel {
    pub(in crate::cpu) padded: u32,
    pub(in crate::cpu) flat: u32,
}

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
    /// The pixels of a plane.
    pub(in crate::cpu) pixels: &'a [Pixel],
    /// u16 of a padded plane.
    pub(in crate::cpu) padded: usize,
    /// From a row of a padded plane to the next.
    pub(in crate::cpu) row: usize,
    /// Room for the tables of two blocks under a row of taps.
    pub(in crate::cpu) table: &'a mut [f32],
}

impl Kernel for SpikeProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let planes = self.sums.len() / (self.pixels.len() * self.blocks * LANES).max(1);
        let reach = self.pixels.iter().map(|pixel| pixel.padded as usize).max().unwrap_or_default();
        let last = self.pixels.iter().map(|pixel| pixel.flat as usize).max().unwrap_or_default();
        assert!(self.weights.len() >= self.blocks * BLOCK && self.table.len() >= TABLES);
        assert!(self.spikes.len() >= planes * self.padded && reach + 2 * self.row + 2 < self.padded.max(1));
        assert!(last < self.pixels.len() && self.bias.is_none_or(|bias| bias.len() >= self.blocks * LANES));
        let mut block = 0;
        while block < self.blocks {
            block += match self.blocks - block {
                1 => self.blocks_from::<S, 1, 8>(s, block, planes),
                _ => self.blocks_from::<S, 2, 4>(s, block, planes),
            };
        }
    }
}

impl SpikeProduct<'_> {
    /// Q blocks from `first` on, P pixels side by side, a row of taps at a time: the tables of a row stay in the innermost cache.
    #[inline(always)]
    fn blocks_from<S: Simd, const Q: usize, const P: usize>(
        &mut self,
        s: S,
        first: usize,
        planes: usize,
    ) -> usize {
        for tap_row in 0..3 {
            self.fill_tables::<S, Q>(s, first, tap_row);
            for plane in 0..planes {
                for tile in self.pixels.chunks(P) {
                    // A short tile repeats its last pixel and writes it once.
                    let pixels: [Pixel; P] = std::array::from_fn(|p| tile[p.min(tile.len() - 1)]);
                    // SAFETY: `run` found planes, blocks, pixels and their neighbours inside the slices.
                    unsafe { self.tile::<S, Q, P>(s, (plane, first, tap_row), &pixels, tile.len()) };
                }
            }
        }
        Q
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

    /// # Safety
    /// The plane, the blocks, the pixels and their neighbours must lie inside the slices.
    #[inline(always)]
    unsafe fn tile<S: Simd, const Q: usize, const P: usize>(
        &mut self,
        s: S,
        (plane, first, tap_row): (usize, usize, usize),
        pixels: &[Pixel; P],
        count: usize,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let size = self.pixels.len() * LANES;
            let sums = self.sums.as_mut_ptr().add((plane * self.blocks + first) * size);
            let mut totals = [[s.splat(0.0); Q]; P];
            for q in 0..Q {
                match self.bias {
                    Some(bias) if tap_row == 0 => {
                        let bias = s.load(bias.as_ptr().add((first + q) * LANES));
                        for p in 0..P {
                            totals[p][q] = bias;
                        }
                    }
                    _ => {
                        for p in 0..P {
                            totals[p][q] = s.load(sums.add(q * size + pixels[p].flat as usize * LANES));
                        }
                    }
                }
            }
            let row = self.spikes.as_ptr().add(plane * self.padded + tap_row * self.row);
            let places: [*const u16; P] = std::array::from_fn(|p| row.add(pixels[p].padded as usize));
            for tap in 0..3 {
                // Patterns in units of a row of the table.
                let patterns: [usize; P] = std::array::from_fn(|p| usize::from(*places[p].add(tap)) * LANES);
                for group in 0..GROUPS {
                    let rows = self.table.as_ptr().add(tap * TAP + group * PATTERNS * LANES);
                    for p in 0..P {
                        let at = rows.add(patterns[p] >> (4 * group) & ((PATTERNS - 1) * LANES));
                        for q in 0..Q {
                            totals[p][q] = s.add(totals[p][q], s.load(at.add(q * 3 * TAP)));
                        }
                    }
                }
            }
            // Over all of them, so that every total keeps a register of its own.
            for p in 0..P {
                for q in 0..Q {
                    if p < count {
                        s.store(sums.add(q * size + pixels[p].flat as usize * LANES), totals[p][q]);
                    }
                }
            }
        }
    }
}
