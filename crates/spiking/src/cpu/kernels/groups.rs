//! Sums of rows with factors that are mostly zero: what becomes of a linear layer's gradients.
//!
//! Behind ReLU, dropout and a surrogate hardly a quarter of the gradients is not zero: a dozen terms a sum. A loop over each sum's own
//! terms would be guessed wrong at its end nearly every time. So the terms of a sum come in groups of four, the last one filled up
//! with factors of zero, and one loop runs over the groups of all sums. A group's products are summed one after another, then added.

use super::super::memory::bytes_of;
use super::super::simd::{Kernel, LANES, Simd};
use super::super::weights::PANEL;
use super::adamw::{Move, Mover};

/// Rows and factors of a group.
const TERMS: usize = 4;
/// Rows whose groups lie together, sum after sum: 32 KiB, which the innermost cache holds.
pub(in crate::cpu) const AT_ONCE: usize = 128;
/// Vectors of a row.
const VECTORS: usize = PANEL / LANES;

/// Some terms of a sum of rows.
#[derive(Debug, Clone, Copy)]
struct Group {
    /// Where the rows and the sum begin.
    rows: [u32; TERMS],
    sum: u32,
    factors: [f32; TERMS],
}

/// The groups of some sums over some rows, all of 64 values.
#[derive(Debug, Clone, Default)]
pub(in crate::cpu) struct Groups {
    groups: Vec<Group>,
    /// No group reaches past so many rows, nor past so many sums.
    rows: usize,
    sums: usize,
}

impl Groups {
    /// Bytes they hold, used or not.
    pub(in crate::cpu) fn bytes(&self) -> usize {
        bytes_of(&self.groups)
    }

    fn start(&mut self, rows: usize, sums: usize) {
        assert!(rows.max(sums) * PANEL <= u32::MAX as usize, "places have 32 bits");
        (self.rows, self.sums) = (rows, sums);
        self.groups.clear();
        // Room for all terms, so that a later step with more of them asks for none.
        self.groups.reserve(sums * rows.div_ceil(TERMS));
    }

    /// Appends terms of a sum.
    #[inline(always)]
    fn push(&mut self, sum: usize, rows: &[u32], factor: impl Fn(usize) -> f32) {
        assert!(sum < self.sums && rows.iter().all(|row| (*row as usize) < self.rows), "a term lies outside");
        for rows in rows.chunks(TERMS) {
            self.groups.push(Group {
                rows: std::array::from_fn(|i| rows[i.min(rows.len() - 1)] * PANEL as u32),
                sum: (sum * PANEL) as u32,
                factors: std::array::from_fn(|i| rows.get(i).map_or(0.0, |row| factor(*row as usize))),
            });
        }
    }

    /// Asserts that all groups lie inside.
    fn check(&self, rows: &[f32], sums: &[f32]) {
        assert!(
            rows.len() >= self.rows * PANEL && sums.len() >= self.sums * PANEL,
            "rows or sums are missing"
        );
    }
}

impl Group {
    /// # Safety
    /// The group must lie inside both.
    #[inline(always)]
    unsafe fn add<S: Simd>(&self, s: S, rows: *const f32, sums: *mut f32) {
        // SAFETY: the caller's.
        unsafe {
            let mut total = [s.splat(0.0); VECTORS];
            for (row, factor) in self.rows.iter().zip(self.factors) {
                let (row, factor) = (rows.add(*row as usize), s.splat(factor));
                for (i, total) in total.iter_mut().enumerate() {
                    *total = s.fma(factor, s.load(row.add(i * LANES)), *total);
                }
            }
            let sum = sums.add(self.sum as usize);
            for (i, total) in total.into_iter().enumerate() {
                s.store(sum.add(i * LANES), s.add(s.load(sum.add(i * LANES)), total));
            }
        }
    }
}

/// Finds the lanes in which values are not zero, row by row.
pub(in crate::cpu) struct FindLanes<'a> {
    /// `[row][16]`.
    pub(in crate::cpu) values: &'a [f32],
    /// Set by row, and to no lanes behind the last.
    pub(in crate::cpu) lanes: &'a mut [u16],
}

impl Kernel for FindLanes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = self.values.as_chunks::<LANES>().0;
        let zero = s.splat(0.0);
        let (of_rows, behind) = self.lanes.split_at_mut(rows.len());
        for (row, lanes) in rows.iter().zip(of_rows) {
            // SAFETY: a row has 16 values.
            let value = unsafe { s.load(row.as_ptr()) };
            // Not "greater or less": what is no number must not vanish.
            *lanes = s.bits(s.not_ge(value, zero)) | s.bits(s.not_ge(zero, value));
        }
        behind.fill(0);
    }
}

/// Groups the gradients of a block of 16 outputs by output: the gradients of its weights are sums over rows of features.
pub(in crate::cpu) struct GroupByOutput<'a> {
    /// `[row][16]`.
    pub(in crate::cpu) grads: &'a [f32],
    /// The lanes that are not zero by row, in whole windows of 16 rows; none behind the last row.
    pub(in crate::cpu) lanes: &'a [u16],
    pub(in crate::cpu) rows: usize,
    pub(in crate::cpu) into: &'a mut Groups,
}

impl Kernel for GroupByOutput<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { grads, lanes, rows, into } = self;
        into.start(rows, LANES);
        let mut list = [0; AT_ONCE + LANES];
        for (part, lanes) in lanes.chunks(AT_ONCE).enumerate() {
            for lane in 0..LANES {
                let mut count = 0;
                for (index, window) in lanes.as_chunks::<LANES>().0.iter().enumerate() {
                    let first = (part * AT_ONCE + index * LANES) as u32;
                    // SAFETY: a lane has at most `AT_ONCE` entries, and the last 16 have room.
                    count += unsafe { s.list(s.fired(window, lane), first, list.as_mut_ptr().add(count)) };
                }
                into.push(lane, &list[..count], |row| grads[row * LANES + lane]);
            }
        }
    }
}

/// Groups the gradients of some blocks of outputs, at most 128, by row: the gradients of its features are sums over outputs of
/// weights.
pub(in crate::cpu) struct GroupByRow<'a> {
    /// `[block][row][16]`.
    pub(in crate::cpu) grads: &'a [f32],
    /// The lanes that are not zero, `[block][row]`.
    pub(in crate::cpu) lanes: &'a [u16],
    /// From a block's lanes to the next one's.
    pub(in crate::cpu) lanes_block: usize,
    pub(in crate::cpu) rows: usize,
    pub(in crate::cpu) into: &'a mut Groups,
}

impl Kernel for GroupByRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { grads, lanes, lanes_block, rows, into } = self;
        let blocks = lanes.len() / lanes_block;
        assert!(blocks * LANES <= AT_ONCE, "too many outputs");
        into.start(blocks * LANES, rows);
        let mut list = [0; AT_ONCE + LANES];
        for row in 0..rows {
            let mut count = 0;
            for (block, lanes) in lanes.chunks(lanes_block).enumerate() {
                // SAFETY: a row has at most `AT_ONCE` entries, and the last 16 have room.
                count += unsafe { s.list(lanes[row], (block * LANES) as u32, list.as_mut_ptr().add(count)) };
            }
            into.push(row, &list[..count], |output| {
                grads[(output / LANES * rows + row) * LANES + output % LANES]
            });
        }
    }
}

/// The gradients of a panel's features: to each row's the products of its gradients with some outputs' weights are added.
pub(in crate::cpu) struct FeatureGradient<'a> {
    pub(in crate::cpu) groups: &'a Groups,
    /// `[output][feature of the panel]`.
    pub(in crate::cpu) weights: &'a [f32],
    /// `[row][feature of the panel]`.
    pub(in crate::cpu) sums: &'a mut [f32],
}

impl Kernel for FeatureGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { groups, weights, sums } = self;
        groups.check(weights, sums);
        for group in &groups.groups {
            // SAFETY: `check` passed.
            unsafe { group.add(s, weights.as_ptr(), sums.as_mut_ptr()) };
        }
    }
}

/// The gradients of the weights between a panel's features and a block of outputs: for each output the sum over rows of gradient
/// times features.
pub(in crate::cpu) struct WeightGradient<'a> {
    pub(in crate::cpu) groups: &'a Groups,
    /// `[row][feature of the panel]`.
    pub(in crate::cpu) features: &'a [f32],
    /// Set to `[output][feature of the panel]`.
    pub(in crate::cpu) out: &'a mut [f32],
    /// Other weights, which move meanwhile: a core divides and takes roots beside its sums, and memory is read beside them.
    pub(in crate::cpu) meanwhile: Option<Move<'a>>,
}

impl Kernel for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { groups, features, out, meanwhile } = self;
        out.fill(0.0);
        groups.check(features, out);
        let sums_at = out.as_mut_ptr();
        let mut groups = groups.groups.iter();
        // SAFETY: `check` passed.
        unsafe {
            if let Some(moving) = meanwhile {
                let mut mover = Mover::new(s, moving);
                while mover.step() {
                    if let Some(group) = groups.next() {
                        group.add(s, features.as_ptr(), sums_at);
                    }
                }
            }
            for group in groups {
                group.add(s, features.as_ptr(), sums_at);
            }
        }
    }
}
