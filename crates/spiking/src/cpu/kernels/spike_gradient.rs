//! The weight gradient of a 3x3 convolution of spikes: a weight's gradient is the sum of the gradients at the pixels that its spikes
//! reached.
//!
//! For each two of 16 channels the pixels where both fired, and those where one did alone, are listed from their bits; each pixel
//! of a list then adds nine neighbours' gradients to nine sums in registers. What did not fire costs nothing, what fired
//! in both channels is added once, and nothing is multiplied. A list serves all blocks of outputs.
//!
//! Behind a max-pool most pixels fired. There the pixels where neither fired are listed in place of those where both did, and the
//! sums are what is left of the sums over all pixels.

use super::super::simd::{Kernel, LANES, Simd};
use super::spikes::BLOCK;

/// Pixels whose lists are made at a time, in whole rows where they have so many: their gradients, 16 KiB a block, stay in the innermost
/// cache.
const PIXELS: usize = 256;
/// Windows of 16 of them.
const WINDOWS: usize = PIXELS / LANES;
/// Pairs of channels.
const PAIRS: usize = LANES / 2;
/// u32 of the lists of all channels.
pub(in crate::cpu) const LISTS: usize = PAIRS * PIXELS + LANES;
/// Entries that sums over all pixels must spare, for they take as long as some.
const LEAST_SPARED: i32 = 128;

/// The gradients of the weights between some blocks of spikes and some blocks of sums, over planes that lie one after another.
///
/// A core's cache holds what gradients belong to the pixels listed at a time, of all blocks: they are loaded from L3 or memory once for all
/// blocks of spikes.
pub(in crate::cpu) struct SpikeGradient<'a> {
    /// Padded planes of spikes; on the borders none.
    pub(in crate::cpu) spikes: &'a [u16],
    /// From a block's spikes to the next one's.
    pub(in crate::cpu) spikes_block: usize,
    /// Blocks of spikes.
    pub(in crate::cpu) inputs: usize,
    /// Planes of each.
    pub(in crate::cpu) planes: usize,
    /// Padded planes of gradients, 16 a pixel, 0 on the borders.
    pub(in crate::cpu) grads: &'a [f32],
    /// From a block's gradients to the next one's.
    pub(in crate::cpu) grads_block: usize,
    /// Set to `[block of spikes][block of sums][tap][input channel][output channel]`.
    pub(in crate::cpu) weights: &'a mut [f32],
    /// Rows and columns of a plane within its border.
    pub(in crate::cpu) size: (usize, usize),
    /// Room for [`LISTS`].
    pub(in crate::cpu) lists: &'a mut [u32],
}

/// What is listed of some pixels.
struct Listed {
    /// The first pixel and the one behind the last.
    pixels: (usize, usize),
    /// Whether pixels where neither fired are listed in place of those where both did.
    rest: bool,
    /// Where each pair's lists end: both or neither, then a list for each channel. A channel's own are the pixels where it fired alone, or
    /// those where the other one did.
    ends: [[usize; 3]; PAIRS],
}

/// Cache lines that are asked for meanwhile, one after another.
struct Ahead {
    next: *const f32,
    count: usize,
}

/// Sums of the nine taps, or of some rows of them.
type Taps<V, const ROWS: usize> = [[V; 3]; ROWS];

impl Kernel for SpikeGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let (row, inputs) = (self.row(), self.inputs);
        let (all, blocks) = (self.planes * (self.size.0 + 2) * row, self.weights.len() / BLOCK / inputs);
        assert!(self.lists.len() >= LISTS && self.weights.len() == inputs * blocks * BLOCK && blocks > 0);
        assert!(self.spikes.len() >= (inputs - 1) * self.spikes_block + all);
        assert!(self.grads.len() >= (blocks - 1) * self.grads_block + all * LANES);
        self.weights.fill(0.0);
        let step = if row <= PIXELS { PIXELS / row * row } else { PIXELS };
        // The first and the last row are borders.
        let (first, end) = (row, all.saturating_sub(row));
        for chunk in (first..end).step_by(step) {
            for input in 0..inputs {
                let listed = self.list(s, input, (chunk, (chunk + step).min(end)));
                for block in 0..blocks {
                    let pair = input * blocks + block;
                    // The gradients that come next: of the next block, by turns, and behind the last pair of the next pixels.
                    let from = if pair + 1 < inputs * blocks { chunk } else { chunk + step };
                    let next = (block + 1) % blocks * self.grads_block + (from - first) * LANES;
                    let at = (block, pair);
                    // SAFETY: lists hold pixels within the borders alone, and gradients and weights have room for all blocks.
                    unsafe {
                        if S::MANY_REGISTERS {
                            self.sum::<S, 3>(s, at, 0, &listed, next);
                        } else {
                            for tap_row in 0..3 {
                                self.sum::<S, 1>(s, at, tap_row, &listed, next);
                            }
                        }
                    }
                }
            }
        }
    }
}

impl SpikeGradient<'_> {
    /// From a row of a padded plane to the next.
    fn row(&self) -> usize {
        self.size.1 + 2
    }

    /// Whether a row of the padded planes, counted through all of them, lies within the border.
    fn is_inside(&self, row: usize) -> bool {
        (1..=self.size.0).contains(&(row % (self.size.0 + 2)))
    }

    /// The pixels of `first..end` within the borders, a bit each.
    fn inside(&self, first: usize, end: usize) -> [u16; WINDOWS] {
        let (mut inside, row) = ([0; WINDOWS], self.row());
        for of in (first / row..end.div_ceil(row)).filter(|of| self.is_inside(*of)) {
            let (mut at, last) = ((of * row + 1).max(first) - first, (of * row + row - 1).min(end) - first);
            while at < last {
                let count = (LANES - at % LANES).min(last - at);
                inside[at / LANES] |= (((1u32 << count) - 1) << (at % LANES)) as u16;
                at += count;
            }
        }
        inside
    }

    /// Lists pixels of `first..end` in a block of spikes, one pair of channels after another.
    #[inline(always)]
    fn list<S: Simd>(&mut self, s: S, input: usize, (first, end): (usize, usize)) -> Listed {
        let inside = self.inside(first, end);
        let mut fired = [[0; WINDOWS]; LANES];
        let spikes = &self.spikes[input * self.spikes_block..][first..end];
        for (index, spikes) in spikes.chunks(LANES).enumerate() {
            let mut window = [0; LANES];
            window[..spikes.len()].copy_from_slice(spikes);
            for (lane, fired) in fired.iter_mut().enumerate() {
                fired[index] = s.fired(&window, lane) & inside[index];
            }
        }
        let (pairs, _) = fired.as_chunks::<2>();
        let spared = pairs.iter().map(|[one, other]| {
            (0..WINDOWS)
                .map(|i| {
                    let both = one[i] & other[i];
                    let neither = inside[i] & !(one[i] | other[i]);
                    both.count_ones() as i32 - neither.count_ones() as i32
                })
                .sum::<i32>()
        });
        // Where pixels end within a row, sums over whole rows are not those over all pixels.
        let whole = first.is_multiple_of(self.row()) && end.is_multiple_of(self.row());
        let rest = whole && self.size.1 >= 2 && spared.sum::<i32>() >= LEAST_SPARED;
        let mut ends = [[0; 3]; PAIRS];
        let mut count = 0;
        for (ends, [one, other]) in ends.iter_mut().zip(pairs) {
            for (which, list_end) in ends.iter_mut().enumerate() {
                for (index, &inside) in inside.iter().enumerate().take((end - first).div_ceil(LANES)) {
                    let (one, other) = (one[index], other[index]);
                    let mask = match (which, rest) {
                        (0, false) => one & other,
                        (0, true) => inside & !(one | other),
                        (1, false) | (2, true) => one & !other,
                        _ => other & !one,
                    };
                    let pixel = (first + index * LANES) as u32;
                    // SAFETY: a pair's pixels are at most `PIXELS`, for its lists share none; the last 16 have room.
                    count += unsafe { s.list(mask, pixel, self.lists.as_mut_ptr().add(count)) };
                }
                *list_end = count;
            }
        }
        Listed { pixels: (first, end), rest, ends }
    }

    /// Adds the gradients around the listed pixels to the sums of `ROWS` rows of taps, from `tap_row` on, and asks for those that come
    /// next meanwhile: a list leaves out pixels, so that a core does not see them coming.
    ///
    /// # Safety
    /// The listed pixels and all their neighbours must lie in the planes, and the block of gradients and that of weights among theirs.
    #[inline(always)]
    unsafe fn sum<S: Simd, const ROWS: usize>(
        &mut self,
        s: S,
        (of_grads, of_weights): (usize, usize),
        tap_row: usize,
        listed: &Listed,
        next: usize,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let grads = self.grads.as_ptr().add(of_grads * self.grads_block);
            let weights = self.weights.as_mut_ptr().add(of_weights * BLOCK + tap_row * 3 * LANES * LANES);
            let none = [[s.splat(0.0); 3]; ROWS];
            // A sum is `all + sign * listed`.
            let (all, sign) = match listed.rest {
                true => (self.all::<S, ROWS>(s, grads, tap_row, listed.pixels), s.splat(-1.0)),
                false => (none, s.splat(1.0)),
            };
            let mut begin = 0;
            // The pixels' own and their neighbours'.
            let count = if tap_row == 0 { PIXELS + 2 * self.row() + 2 } else { 0 };
            let mut ahead = Ahead { next: self.grads.as_ptr().wrapping_add(next), count };
            for (pair, &[shared_end, one_end, other_end]) in listed.ends.iter().enumerate() {
                let mut shared = none;
                self.around(s, (begin, shared_end), grads, tap_row, &mut shared, &mut ahead);
                for (channel, begin, end) in
                    [(2 * pair, shared_end, one_end), (2 * pair + 1, one_end, other_end)]
                {
                    let mut own = shared;
                    self.around(s, (begin, end), grads, tap_row, &mut own, &mut ahead);
                    for (y, own) in own.into_iter().enumerate() {
                        for (x, own) in own.into_iter().enumerate() {
                            let at = weights.add(((y * 3 + x) * LANES + channel) * LANES);
                            s.store(at, s.add(s.load(at), s.fma(sign, own, all[y][x])));
                        }
                    }
                }
                begin = other_end;
            }
        }
    }

    /// The sums over all pixels of some whole rows within the borders.
    ///
    /// # Safety
    /// The rows and their neighbours must lie in the planes.
    #[inline(always)]
    unsafe fn all<S: Simd, const ROWS: usize>(
        &self,
        s: S,
        grads: *const f32,
        tap_row: usize,
        (first, end): (usize, usize),
    ) -> Taps<S::V, ROWS> {
        let (row, width) = (self.row(), self.size.1);
        let (first, end) = (first / row, end / row);
        let mut all = [[s.splat(0.0); 3]; ROWS];
        for of in first - 1..end + 1 {
            // SAFETY: the caller's.
            unsafe {
                let at = |column: usize| s.load(grads.add((of * row + column) * LANES));
                let (left, right) = (at(1), at(width));
                let middle = (2..width).fold(s.splat(0.0), |sum, column| s.add(sum, at(column)));
                // By the kernel's first tap a pixel reached its neighbour to the right: all columns but the first.
                let sums = [s.add(middle, right), s.add(left, s.add(middle, right)), s.add(left, middle)];
                for (y, all) in all.iter_mut().enumerate() {
                    let from = of + tap_row + y;
                    if (first + 1..end + 1).contains(&from) && self.is_inside(from - 1) {
                        for x in 0..3 {
                            all[x] = s.add(all[x], sums[x]);
                        }
                    }
                }
            }
        }
        all
    }

    /// Adds the gradients around some listed pixels, and asks for a cache line with each.
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
        sums: &mut Taps<S::V, ROWS>,
        ahead: &mut Ahead,
    ) {
        let row = self.row();
        // SAFETY: the caller's.
        unsafe {
            for &pixel in self.lists.get_unchecked(begin..end) {
                if ahead.count > 0 {
                    s.fetch(ahead.next);
                    *ahead = Ahead { next: ahead.next.wrapping_add(LANES), count: ahead.count - 1 };
                }
                for (y, sums) in sums.iter_mut().enumerate() {
                    // By the kernel's first tap a pixel reached its neighbour one down and right, by its last the opposite one.
                    let right = grads.add((pixel as usize + row + 1 - (tap_row + y) * row) * LANES);
                    for (x, sum) in sums.iter_mut().enumerate() {
                        *sum = s.add(*sum, s.load(right.sub(x * LANES)));
                    }
                }
            }
        }
    }
}
