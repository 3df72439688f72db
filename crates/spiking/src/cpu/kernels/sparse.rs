//! Products with gradients that are mostly zero.
//!
//! Behind ReLU, dropout and a surrogate hardly a quarter of a hidden linear layer's gradients is anything else. What is zero takes
//! no part: neither in the gradients of the features, nor in those of the weights.

use super::super::simd::{Kernel, LANES, Simd};
use super::super::weights::PANEL;

/// Rows whose feature gradients are summed side by side, over the outputs where any of them has a gradient.
const ROWS: usize = 4;
/// Vectors of a panel's features.
const VECTORS: usize = PANEL / LANES;

/// Where one block's gradients are not zero.
#[derive(Debug, Clone, Default)]
pub(in crate::cpu) struct Nonzero {
    rows: usize,
    /// Lanes by row, in whole windows of 16 rows.
    lanes: Vec<u16>,
    /// Rows by lane, one lane after another, all below `rows`.
    list: Vec<u32>,
    /// Where each lane's rows end in `list`.
    ends: [usize; LANES],
}

/// Finds them.
pub(in crate::cpu) struct Find<'a> {
    /// `[row][16]`.
    pub(in crate::cpu) grads: &'a [f32],
    pub(in crate::cpu) into: &'a mut Nonzero,
}

impl Kernel for Find<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Nonzero { rows, lanes, list, ends } = self.into;
        *rows = self.grads.len() / LANES;
        lanes.resize(rows.next_multiple_of(LANES), 0);
        list.resize(*rows * LANES + LANES, 0);
        let zero = s.splat(0.0);
        for (row, lanes) in lanes.iter_mut().take(*rows).enumerate() {
            // SAFETY: `row` counts whole rows of `grads`.
            let grad = unsafe { s.load(self.grads.as_ptr().add(row * LANES)) };
            // Not "greater or less": what is no number must not vanish.
            *lanes = !(s.ge(grad, zero) & s.ge(zero, grad));
        }
        lanes[*rows..].fill(0);
        let mut count = 0;
        for (lane, end) in ends.iter_mut().enumerate() {
            for (index, window) in lanes.as_chunks::<LANES>().0.iter().enumerate() {
                // SAFETY: a lane has at most `rows` entries, and the last 16 have room.
                count += unsafe {
                    s.list(s.fired(window, lane), (index * LANES) as u32, list.as_mut_ptr().add(count))
                };
            }
            *end = count;
        }
    }
}

/// The gradients of a panel's features: for each row the sum over outputs of gradient times weights.
pub(in crate::cpu) struct FeatureGradient<'a> {
    /// `[block][row][16]`.
    pub(in crate::cpu) grads: &'a [f32],
    /// Of each block.
    pub(in crate::cpu) nonzero: &'a [Nonzero],
    /// `[output][feature of the panel]`.
    pub(in crate::cpu) weights: &'a [f32],
    /// Set to `[row][feature of the panel]`.
    pub(in crate::cpu) out: &'a mut [f32],
}

impl Kernel for FeatureGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let rows = self.nonzero.first().map_or(0, |nonzero| nonzero.rows);
        let blocks = self.nonzero.len();
        assert!(self.nonzero.iter().all(|nonzero| nonzero.rows == rows && nonzero.lanes.len() >= rows));
        assert!(self.grads.len() >= blocks * rows * LANES && self.weights.len() >= blocks * LANES * PANEL);
        assert!(self.out.len() >= rows * PANEL);
        let whole = rows / ROWS * ROWS;
        for vector in (0..VECTORS).step_by(if S::MANY_REGISTERS { VECTORS } else { 1 }) {
            for first in (0..whole).step_by(ROWS) {
                // SAFETY: the assertions above; `first` and the rows after it lie below `rows`, the vectors in the panel.
                unsafe {
                    if S::MANY_REGISTERS {
                        self.tile::<S, ROWS, VECTORS>(s, rows, first, vector);
                    } else {
                        self.tile::<S, ROWS, 1>(s, rows, first, vector);
                    }
                }
            }
            for first in whole..rows {
                // SAFETY: as above.
                unsafe {
                    if S::MANY_REGISTERS {
                        self.tile::<S, 1, VECTORS>(s, rows, first, vector);
                    } else {
                        self.tile::<S, 1, 1>(s, rows, first, vector);
                    }
                }
            }
        }
    }
}

impl FeatureGradient<'_> {
    /// # Safety
    /// `first + P` must be at most `rows`, `vector + Q` at most [`VECTORS`], and `run`'s assertions must hold.
    #[inline(always)]
    unsafe fn tile<S: Simd, const P: usize, const Q: usize>(
        &mut self,
        s: S,
        rows: usize,
        first: usize,
        vector: usize,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let mut sums = [[s.splat(0.0); Q]; P];
            for (block, nonzero) in self.nonzero.iter().enumerate() {
                let grads = self.grads.as_ptr().add((block * rows + first) * LANES);
                let weights = self.weights.as_ptr().add(block * LANES * PANEL + vector * LANES);
                let mut lanes = (0..P).fold(0, |any, p| any | *nonzero.lanes.get_unchecked(first + p));
                while lanes != 0 {
                    let lane = lanes.trailing_zeros() as usize;
                    lanes &= lanes - 1;
                    let weights: [S::V; Q] =
                        std::array::from_fn(|q| s.load(weights.add(lane * PANEL + q * LANES)));
                    for p in 0..P {
                        let grad = s.splat(*grads.add(p * LANES + lane));
                        for q in 0..Q {
                            sums[p][q] = s.fma(grad, weights[q], sums[p][q]);
                        }
                    }
                }
            }
            for p in 0..P {
                for q in 0..Q {
                    s.store(
                        self.out.as_mut_ptr().add((first + p) * PANEL + (vector + q) * LANES),
                        sums[p][q],
                    );
                }
            }
        }
    }
}

/// The gradients of the weights between a panel's features and a block of outputs: for each output the sum over rows of gradient
/// times features.
pub(in crate::cpu) struct WeightGradient<'a> {
    /// `[row][feature of the panel]`.
    pub(in crate::cpu) features: &'a [f32],
    /// `[row][16]`.
    pub(in crate::cpu) grads: &'a [f32],
    pub(in crate::cpu) nonzero: &'a Nonzero,
    /// Set to `[feature of the panel][16]`.
    pub(in crate::cpu) out: &'a mut [f32],
}

impl Kernel for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = self.nonzero.rows;
        assert!(self.grads.len() >= rows * LANES && self.out.len() >= PANEL * LANES);
        assert!(self.features.len() >= rows * PANEL);
        let mut by_output = [[0.0; PANEL]; LANES];
        let mut begin = 0;
        for (lane, sums) in by_output.iter_mut().enumerate() {
            let end = self.nonzero.ends[lane];
            let rows = &self.nonzero.list[begin..end];
            begin = end;
            for vector in (0..VECTORS).step_by(VECTORS / 2) {
                // SAFETY: listed rows lie below `rows`, whose features and gradients the assertions hold inside their slices.
                unsafe { self.sum::<S>(s, rows, lane, vector, sums.as_mut_ptr()) };
            }
        }
        for vector in 0..VECTORS {
            // SAFETY: 16 values from `vector` on lie in each output's sums, and 16 vectors of them in `out`.
            unsafe {
                let outputs =
                    std::array::from_fn(|lane| s.load(by_output[lane].as_ptr().add(vector * LANES)));
                for (feature, values) in s.transpose(outputs).into_iter().enumerate() {
                    s.store(self.out.as_mut_ptr().add((vector * LANES + feature) * LANES), values);
                }
            }
        }
    }
}

impl WeightGradient<'_> {
    /// Half of a panel's features over the listed rows: every second row in one sum, the two joined.
    ///
    /// # Safety
    /// Features and gradients of the listed rows must lie in their slices, and `sums` have room for the panel.
    #[inline(always)]
    unsafe fn sum<S: Simd>(&self, s: S, rows: &[u32], lane: usize, vector: usize, sums: *mut f32) {
        const HALF: usize = VECTORS / 2;
        // SAFETY: the caller's.
        unsafe {
            let term = |row: u32, totals: [S::V; HALF]| {
                let row = row as usize;
                let grad = s.splat(*self.grads.as_ptr().add(row * LANES + lane));
                let from = self.features.as_ptr().add(row * PANEL + vector * LANES);
                std::array::from_fn(|q| s.fma(grad, s.load(from.add(q * LANES)), totals[q]))
            };
            let (mut even, mut odd) = ([s.splat(0.0); HALF], [s.splat(0.0); HALF]);
            let (pairs, last) = rows.as_chunks::<2>();
            for &[one, other] in pairs {
                even = term(one, even);
                odd = term(other, odd);
            }
            if let [row] = last {
                even = term(*row, even);
            }
            for q in 0..HALF {
                s.store(sums.add((vector + q) * LANES), s.add(even[q], odd[q]));
            }
        }
    }
}
