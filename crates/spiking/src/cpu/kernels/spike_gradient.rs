//! The weight gradient of a 3x3 convolution of spikes: a weight's gradient is the sum of the gradients at the pixels that its spikes
//! reached.
//!
//! For each two of 16 channels the pixels where both fired, and those where one did alone, are listed from their bits; each pixel
//! of a list then adds nine neighbours' gradients to nine sums in registers. What did not fire costs nothing, what fired
//! in both channels is added once, and nothing is multiplied. A list serves all blocks of outputs.

use super::super::simd::{Kernel, LANES, Simd};
use super::spikes::BLOCK;

/// Pixels whose lists are made at a time: their gradients, 16 KiB a block, stay in the innermost cache.
const PIXELS: usize = 256;
/// u32 of the lists of all channels.
pub(in crate::cpu) const LISTS: usize = LANES * PIXELS + LANES;
/// Pairs of channels.
const PAIRS: usize = LANES / 2;
/// The lists of a pair: where both fired, the first alone, the second alone.
const LISTS_OF_PAIR: usize = 3;
/// Where each list ends.
type Ends = [[usize; LISTS_OF_PAIR]; PAIRS];

/// The gradients of the weights between one block of spikes and some blocks of sums, over planes that lie one after another.
pub(in crate::cpu) struct SpikeGradient<'a> {
    /// Padded planes of spikes; on the borders none.
    pub(in crate::cpu) spikes: &'a [u16],
    /// Padded planes of gradients, 16 a pixel, 0 on the borders; those of a block are `stride` from those of the block before.
    pub(in crate::cpu) grads: &'a [f32],
    pub(in crate::cpu) stride: usize,
    /// Set to `[block][tap][input channel][output channel]`.
    pub(in crate::cpu) weights: &'a mut [f32],
    /// From a row of a padded plane to the next.
    pub(in crate::cpu) row: usize,
    /// Room for [`LISTS`].
    pub(in crate::cpu) lists: &'a mut [u32],
}

impl Kernel for SpikeGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let blocks = self.weights.len() / BLOCK;
        let all = self.spikes.len();
        assert!(self.lists.len() >= LISTS && self.weights.len() == blocks * BLOCK && blocks > 0);
        assert!(self.grads.len() >= (blocks - 1) * self.stride + all * LANES);
        self.weights.fill(0.0);
        // A first and a last row and corner hold no spikes, and a pixel between them has all its neighbours in the slice.
        let (first, end) = (self.row + 1, all.saturating_sub(self.row + 1));
        for chunk in (first..end).step_by(PIXELS) {
            let ends = self.list(s, chunk, (chunk + PIXELS).min(end));
            for block in 0..blocks {
                // The gradients that come next: of the next block, or of the first one's next pixels.
                let (of, from) = if block + 1 < blocks { (block + 1, chunk) } else { (0, chunk + PIXELS) };
                let next = of * self.stride + (from - first) * LANES;
                // SAFETY: lists hold pixels from `first` to `end` alone, and gradients and weights have room for all blocks.
                unsafe {
                    if S::MANY_REGISTERS {
                        self.sum::<S, 3>(s, block, 0, &ends, next);
                    } else {
                        for rows in 0..3 {
                            self.sum::<S, 1>(s, block, rows, &ends, next);
                        }
                    }
                }
            }
        }
    }
}

impl SpikeGradient<'_> {
    /// Lists the pixels of `first..end` that fired, one pair of channels after another.
    #[inline(always)]
    fn list<S: Simd>(&mut self, s: S, first: usize, end: usize) -> Ends {
        let spikes = &self.spikes[first..end];
        let (windows, rest) = spikes.as_chunks::<LANES>();
        let mut last = [0; LANES];
        last[..rest.len()].copy_from_slice(rest);
        let mut ends = [[0; LISTS_OF_PAIR]; PAIRS];
        let mut count = 0;
        for (pair, ends) in ends.iter_mut().enumerate() {
            for (which, end) in ends.iter_mut().enumerate() {
                let mut pixel = first;
                for window in windows.iter().chain([&last]) {
                    let (one, other) = (s.fired(window, 2 * pair), s.fired(window, 2 * pair + 1));
                    let mask = [one & other, one & !other, other & !one][which];
                    // SAFETY: a channel's pixels are at most `PIXELS`, those of both counted once; the last 16 have room.
                    count += unsafe { s.list(mask, pixel as u32, self.lists.as_mut_ptr().add(count)) };
                    pixel += LANES;
                }
                *end = count;
            }
        }
        ends
    }

    /// Adds the gradients around the listed pixels to the sums of `ROWS` rows of taps, from `tap_row` on, and asks for those that come
    /// next meanwhile: a list leaves out pixels, so that a core does not see them coming.
    ///
    /// # Safety
    /// The listed pixels and all their neighbours must lie in the planes, and `block` among the blocks.
    #[inline(always)]
    unsafe fn sum<S: Simd, const ROWS: usize>(
        &mut self,
        s: S,
        block: usize,
        tap_row: usize,
        ends: &Ends,
        next: usize,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let grads = self.grads.as_ptr().add(block * self.stride);
            let weights = self.weights.as_mut_ptr().add(block * BLOCK + tap_row * 3 * LANES * LANES);
            let mut begin = 0;
            // The pixels' own and their neighbours', a share with each pair.
            let share = (PIXELS + 2 * self.row + 2).div_ceil(PAIRS);
            for (pair, &[both_end, one_end, other_end]) in ends.iter().enumerate() {
                if tap_row == 0 {
                    for pixel in pair * share..(pair + 1) * share {
                        s.fetch(self.grads.as_ptr().wrapping_add(next + pixel * LANES));
                    }
                }
                let mut both = [[s.splat(0.0); 3]; ROWS];
                self.around(s, (begin, both_end), grads, tap_row, &mut both);
                for (channel, begin, end) in
                    [(2 * pair, both_end, one_end), (2 * pair + 1, one_end, other_end)]
                {
                    let at = |y: usize, x: usize| weights.add(((y * 3 + x) * LANES + channel) * LANES);
                    let mut sums: [[S::V; 3]; ROWS] =
                        std::array::from_fn(|y| std::array::from_fn(|x| s.add(s.load(at(y, x)), both[y][x])));
                    self.around(s, (begin, end), grads, tap_row, &mut sums);
                    for (y, sums) in sums.into_iter().enumerate() {
                        for (x, sum) in sums.into_iter().enumerate() {
                            s.store(at(y, x), sum);
                        }
                    }
                }
                begin = other_end;
            }
        }
    }

    /// Adds the gradients around some listed pixels.
    ///
    /// # Safety
    /// Of [`Self::sum`].
    #[inline(always)]
    unsafe fn around<S: Simd, const ROWS: usize>(
        &self,
        s: S,
        (begin, end): (usize, usize),
        grads: *const f32,
        tap_row: usize,
        sums: &mut [[S::V; 3]; ROWS],
    ) {
        // SAFETY: the caller's.
        unsafe {
            for &pixel in self.lists.get_unchecked(begin..end) {
                for (y, sums) in sums.iter_mut().enumerate() {
                    // By the kernel's first tap a pixel reached its neighbour one down and right, by its last the opposite one.
                    let right = grads.add((pixel as usize + self.row + 1 - (tap_row + y) * self.row) * LANES);
                    for (x, sum) in sums.iter_mut().enumerate() {
                        *sum = s.add(*sum, s.load(right.sub(x * LANES)));
                    }
                }
            }
        }
    }
}
