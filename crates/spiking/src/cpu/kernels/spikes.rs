//! 3x3 convolution of spikes, and its weight gradient, four channels at a time.
//!
//! A pixel's 16 channels are one `u16`. Four spikes have 16 patterns: for each group of four, the sums of weights for all
//! patterns are laid out once (36 groups of a 3x3 kernel, 36 KiB), and a pixel adds one row a group instead of multiplying
//! four. The weight gradient is the same table the other way round: each pixel adds its gradient to the row that its
//! pattern names, and a weight's gradient is the sum of the rows whose pattern holds its spike. Both cost the same at any
//! firing rate.

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
/// f32 of a table: all patterns of all groups under a kernel.
pub(in crate::cpu) const TABLE: usize = TAPS * TAP;
/// f32 of the weights between two blocks: `[tap][input channel][output channel]`.
pub(in crate::cpu) const BLOCK: usize = TAPS * LANES * LANES;
/// Pixels whose sums are carried side by side, so that no addition waits for the one before.
const SIDE_BY_SIDE: usize = 8;

/// A pixel: its place in a padded plane (of its top left neighbour), and its place in the plane of sums.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Pixel {
    pub(in crate::cpu) padded: u32,
    pub(in crate::cpu) flat: u32,
}

/// Adds the convolution of one block of spikes to one block of sums, over planes that lie one after another.
pub(in crate::cpu) struct SpikeProduct<'a> {
    /// Padded planes of spikes.
    pub(in crate::cpu) spikes: &'a [u16],
    /// Planes of 16 sums a pixel.
    pub(in crate::cpu) sums: &'a mut [f32],
    /// `[tap][input channel][output channel]`.
    pub(in crate::cpu) weights: &'a [f32],
    /// What the sums start from; none: what stands in `sums`.
    pub(in crate::cpu) bias: Option<&'a [f32]>,
    /// The pixels of a plane.
    pub(in crate::cpu) pixels: &'a [Pixel],
    /// u16 of a padded plane.
    pub(in crate::cpu) padded: usize,
    /// From a row of a padded plane to the next.
    pub(in crate::cpu) row: usize,
    /// Room for a table.
    pub(in crate::cpu) table: &'a mut [f32],
}

impl Kernel for SpikeProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let plane = self.pixels.len() * LANES;
        let planes = self.sums.len() / plane.max(1);
        let reach = self.pixels.iter().map(|pixel| pixel.padded as usize).max().unwrap_or_default();
        let last = self.pixels.iter().map(|pixel| pixel.flat as usize).max().unwrap_or_default();
        assert!(self.weights.len() >= BLOCK && self.table.len() >= TABLE && last < self.pixels.len());
        assert!(self.spikes.len() >= planes * self.padded && reach + 2 * self.row + 2 < self.padded.max(1));
        assert!(self.bias.is_none_or(|bias| bias.len() >= LANES));
        self.fill_table(s);
        let taps: [usize; TAPS] = std::array::from_fn(|tap| tap / 3 * self.row + tap % 3);
        for index in 0..planes {
            for tile in self.pixels.chunks(SIDE_BY_SIDE) {
                // A short tile repeats its last pixel and writes it once.
                let pixels: [Pixel; SIDE_BY_SIDE] = std::array::from_fn(|p| tile[p.min(tile.len() - 1)]);
                // SAFETY: the assertions above hold the plane, the pixels and their neighbours inside the slices.
                unsafe { self.tile(s, index, &pixels, tile.len(), &taps) };
            }
        }
    }
}

impl SpikeProduct<'_> {
    /// Row `pattern` of a group holds the weights of the pattern's spikes, added from the lowest channel on.
    #[inline(always)]
    fn fill_table<S: Simd>(&mut self, s: S) {
        for group in 0..TAPS * GROUPS {
            let weights = &self.weights[group * 4 * LANES..][..4 * LANES];
            let at = group / GROUPS * TAP + group % GROUPS * PATTERNS * LANES;
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
    /// The plane, the pixels and their neighbours must lie inside the slices.
    #[inline(always)]
    unsafe fn tile<S: Simd>(
        &mut self,
        s: S,
        index: usize,
        pixels: &[Pixel; SIDE_BY_SIDE],
        count: usize,
        taps: &[usize; TAPS],
    ) {
        // SAFETY: the caller's.
        unsafe {
            let spikes = self.spikes.as_ptr().add(index * self.padded);
            let sums = self.sums.as_mut_ptr().add(index * self.pixels.len() * LANES);
            let mut totals: [S::V; SIDE_BY_SIDE] = match self.bias {
                Some(bias) => [s.load(bias.as_ptr()); SIDE_BY_SIDE],
                None => std::array::from_fn(|p| s.load(sums.add(pixels[p].flat as usize * LANES))),
            };
            for (tap, at) in taps.iter().enumerate() {
                // Patterns in units of a row.
                let patterns: [usize; SIDE_BY_SIDE] =
                    std::array::from_fn(|p| usize::from(*spikes.add(pixels[p].padded as usize + at)) * LANES);
                for group in 0..GROUPS {
                    let rows = self.table.as_ptr().add(tap * TAP + group * PATTERNS * LANES);
                    for p in 0..SIDE_BY_SIDE {
                        let row = patterns[p] >> (4 * group) & ((PATTERNS - 1) * LANES);
                        totals[p] = s.add(totals[p], s.load(rows.add(row)));
                    }
                }
            }
            // Over all of them, so that every total keeps a register of its own.
            for p in 0..SIDE_BY_SIDE {
                if p < count {
                    s.store(sums.add(pixels[p].flat as usize * LANES), totals[p]);
                }
            }
        }
    }
}

/// The gradient of the weights between one block of spikes and one block of sums, over planes that lie one after another.
pub(in crate::cpu) struct SpikeGradient<'a> {
    /// Padded planes of spikes.
    pub(in crate::cpu) spikes: &'a [u16],
    /// Padded planes of gradients, 16 a pixel, 0 on the border.
    pub(in crate::cpu) grads: &'a [f32],
    /// Set to `[tap][input channel][output channel]`.
    pub(in crate::cpu) weights: &'a mut [f32],
    /// The pixels of a plane.
    pub(in crate::cpu) pixels: &'a [Pixel],
    /// Pixels of a padded plane.
    pub(in crate::cpu) padded: usize,
    /// From a row of a padded plane to the next.
    pub(in crate::cpu) row: usize,
    /// Room for a table.
    pub(in crate::cpu) table: &'a mut [f32],
}

impl Kernel for SpikeGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let planes = self.spikes.len() / self.padded.max(1);
        let reach = self.pixels.iter().map(|pixel| pixel.padded as usize).max().unwrap_or_default();
        assert!(self.weights.len() >= BLOCK && self.table.len() >= TABLE);
        assert!(
            self.grads.len() >= planes * self.padded * LANES && reach + 2 * self.row + 2 < self.padded.max(1)
        );
        let taps: [usize; TAPS] = std::array::from_fn(|tap| tap / 3 * self.row + tap % 3);
        let centre = self.row + 1;
        self.table[..TABLE].fill(0.0);
        // SAFETY: the assertions hold planes, pixels and neighbours inside the slices; a pattern is below 16.
        unsafe {
            let table = self.table.as_mut_ptr();
            for plane in 0..planes {
                let spikes = self.spikes.as_ptr().add(plane * self.padded);
                let grads = self.grads.as_ptr().add(plane * self.padded * LANES);
                for pixel in self.pixels {
                    let at = pixel.padded as usize;
                    let patterns = usize::from(*spikes.add(at + centre));
                    // What did not fire has no row to add to: the rows without a spike are never read.
                    if patterns == 0 {
                        continue;
                    }
                    let places: [usize; GROUPS] = std::array::from_fn(|group| {
                        (group * PATTERNS + (patterns >> (4 * group) & (PATTERNS - 1))) * LANES
                    });
                    // A pixel meets its neighbour one down and right by the kernel's first tap, and so on back to the last: beyond
                    // the plane lies its border, whose gradients are 0.
                    for tap in 0..TAPS {
                        let grad = s.load(grads.add((at + taps[TAPS - 1 - tap]) * LANES));
                        let rows = table.add(tap * TAP);
                        for place in places {
                            let to = rows.add(place);
                            s.store(to, s.add(s.load(to), grad));
                        }
                    }
                }
            }
            for weight in 0..TAPS * LANES {
                let (group, channel) = (weight / 4, weight % 4);
                let mut sum = s.splat(0.0);
                let rows = table.add(group / GROUPS * TAP + group % GROUPS * PATTERNS * LANES);
                for pattern in (1..PATTERNS).filter(|pattern| pattern >> channel & 1 == 1) {
                    sum = s.add(sum, s.load(rows.add(pattern * LANES)));
                }
                s.store(self.weights.as_mut_ptr().add(weight * LANES), sum);
            }
        }
    }
}
