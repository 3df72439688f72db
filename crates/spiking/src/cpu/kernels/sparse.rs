//! Products with values that are mostly zero.
//!
//! Dropout silences half of what enters a linear layer, and behind ReLU, dropout and a surrogate hardly a quarter of its gradients is
//! anything else. What is zero takes no part: neither in the outputs, nor in the gradients of the features, nor in those of the weights.

use super::super::simd::{Kernel, LANES, Simd};
use super::super::weights::PANEL;
use super::product::Start;

/// Blocks whose terms are gone through in one loop: its end is guessed wrong nearly every time, so that there should be few of them.
const AT_ONCE: usize = 4;
/// Vectors of a panel's features.
const VECTORS: usize = PANEL / LANES;

/// Finds the lanes of a block of 16 in which values are not zero, row by row.
pub(in crate::cpu) struct FindLanes<'a> {
    /// The block's values of the first row, and of the others behind it.
    pub(in crate::cpu) values: &'a [f32],
    /// From a row's values to the next one's.
    pub(in crate::cpu) step: usize,
    pub(in crate::cpu) rows: usize,
    /// Set by row, and to no lanes behind the last.
    pub(in crate::cpu) lanes: &'a mut [u16],
}

impl Kernel for FindLanes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { values, step, rows, lanes } = self;
        assert!(rows == 0 || values.len() >= (rows - 1) * step + LANES, "rows are missing");
        let zero = s.splat(0.0);
        let (of_rows, behind) = lanes.split_at_mut(rows);
        for (row, lanes) in of_rows.iter_mut().enumerate() {
            // SAFETY: the assertion above.
            let value = unsafe { s.load(values.as_ptr().add(row * step)) };
            // Not "greater or less": what is no number must not vanish.
            *lanes = !(s.ge(value, zero) & s.ge(zero, value));
        }
        behind.fill(0);
    }
}

/// The rows in which each lane of a block is not zero.
#[derive(Debug, Clone, Default)]
pub(in crate::cpu) struct Listed {
    rows: usize,
    /// Rows by lane, one lane after another, all below `rows`.
    list: Vec<u32>,
    /// Where each lane's rows end in `list`.
    ends: [usize; LANES],
}

/// Lists them.
pub(in crate::cpu) struct ListRows<'a> {
    /// Lanes by row, in whole windows of 16 rows; none behind the last row.
    pub(in crate::cpu) lanes: &'a [u16],
    pub(in crate::cpu) rows: usize,
    pub(in crate::cpu) into: &'a mut Listed,
}

impl Kernel for ListRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Listed { rows, list, ends } = self.into;
        *rows = self.rows;
        assert!(self.lanes[self.rows..].iter().all(|lanes| *lanes == 0), "lanes behind the last row");
        list.resize(*rows * LANES + LANES, 0);
        let mut count = 0;
        for (lane, end) in ends.iter_mut().enumerate() {
            for (index, window) in self.lanes.as_chunks::<LANES>().0.iter().enumerate() {
                // SAFETY: a lane has at most `rows` entries, and the last 16 have room.
                count += unsafe {
                    s.list(s.fired(window, lane), (index * LANES) as u32, list.as_mut_ptr().add(count))
                };
            }
            *end = count;
        }
    }
}

/// `C[row][q] = start + sum over terms of A[row][term] * B[term][q]`, where q counts vectors of 16 lanes and terms come in blocks of 16,
/// over the terms alone that are not zero in all of some rows. The sums run over terms in their order, one fused
/// multiply-add after another: a term that is zero adds nothing, so that they come out as if it took part.
pub(in crate::cpu) struct SparseProduct<'a> {
    pub(in crate::cpu) a: &'a [f32],
    /// From a block's values of A to the next one's, and from a row's.
    pub(in crate::cpu) a_block: usize,
    pub(in crate::cpu) a_row: usize,
    /// The lanes of A that are not zero, `[block][row]`, as [`FindLanes`] leaves them.
    pub(in crate::cpu) lanes: &'a [u16],
    /// From a block's lanes to the next one's.
    pub(in crate::cpu) lanes_block: usize,
    pub(in crate::cpu) blocks: usize,
    pub(in crate::cpu) rows: usize,
    /// Rows that are likely to be zero in the same places: 4 or 2 of them share the reading of B.
    pub(in crate::cpu) alike: usize,
    pub(in crate::cpu) b: &'a [f32],
    /// From a term's vectors of B to the next one's, and from a vector to the next one.
    pub(in crate::cpu) b_step: usize,
    pub(in crate::cpu) b_stride: usize,
    pub(in crate::cpu) c: &'a mut [f32],
    /// From a row of C to the next one, and from a vector to the next one.
    pub(in crate::cpu) c_row: usize,
    pub(in crate::cpu) c_stride: usize,
    pub(in crate::cpu) vectors: usize,
    pub(in crate::cpu) start: Start<'a>,
    /// What is read next: asked for meanwhile, since terms that take no part hide it from a core.
    pub(in crate::cpu) ahead: &'a [f32],
}

impl Kernel for SparseProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        if self.rows == 0 || self.vectors == 0 {
            return;
        }
        self.check();
        let mut q = 0;
        while q < self.vectors {
            q += match self.vectors - q {
                4.. if S::MANY_REGISTERS => self.tiles::<S, 4>(s, q),
                2.. if S::MANY_REGISTERS => self.tiles::<S, 2>(s, q),
                _ => self.tiles::<S, 1>(s, q),
            };
        }
    }
}

impl SparseProduct<'_> {
    /// Every place that [`Self::tile`] touches lies inside its slice.
    fn check(&self) {
        let (row, vector) = (self.rows - 1, self.vectors - 1);
        if let Some(block) = self.blocks.checked_sub(1) {
            assert!(self.a.len() >= block * self.a_block + row * self.a_row + LANES, "values are missing");
            assert!(self.lanes.len() >= block * self.lanes_block + self.rows, "lanes are missing");
            let last = (self.blocks * LANES - 1) * self.b_step + vector * self.b_stride;
            assert!(self.b.len() >= last + LANES, "weights are missing");
        }
        assert!(self.c.len() >= row * self.c_row + vector * self.c_stride + LANES, "sums have no room");
        if let Start::Bias(bias) = self.start {
            assert!(bias.len() >= self.vectors * LANES, "the bias is too short");
        }
    }

    #[inline(always)]
    fn tiles<S: Simd, const Q: usize>(&mut self, s: S, q: usize) -> usize {
        match self.alike {
            alike if alike.is_multiple_of(4) => self.rows_by::<S, 4, Q>(s, q),
            alike if alike.is_multiple_of(2) => self.rows_by::<S, 2, Q>(s, q),
            _ => self.rows_by::<S, 1, Q>(s, q),
        }
        Q
    }

    #[inline(always)]
    fn rows_by<S: Simd, const P: usize, const Q: usize>(&mut self, s: S, q: usize) {
        let whole = self.rows / P * P;
        // Every tile asks for a share.
        let tiles = self.rows.div_ceil(P);
        let share = (self.ahead.len() / LANES).div_ceil(tiles * self.vectors.div_ceil(Q)).max(1) * LANES;
        let mut ahead = self.ahead.chunks(share).skip(q / Q * tiles);
        let mut ask = || {
            for line in ahead.next().unwrap_or_default().chunks(LANES) {
                s.fetch_later(line.as_ptr());
            }
        };
        // SAFETY: `check` passed; the rows stay below `rows`, and q + Q within `vectors`.
        unsafe {
            for first in (0..whole).step_by(P) {
                ask();
                self.tile::<S, P, Q>(s, first, q);
            }
            ask();
            for first in whole..self.rows {
                self.tile::<S, 1, Q>(s, first, q);
            }
        }
    }

    /// # Safety
    /// [`Self::check`] must hold, `first + P` be at most `rows`, and `q + Q` at most `vectors`.
    #[inline(always)]
    unsafe fn tile<S: Simd, const P: usize, const Q: usize>(&mut self, s: S, first: usize, q: usize) {
        // SAFETY: the caller's.
        unsafe {
            let c = self.c.as_mut_ptr().add(first * self.c_row + q * self.c_stride);
            let mut sums = [[s.splat(0.0); Q]; P];
            match self.start {
                Start::Zero => (),
                Start::Sum => {
                    for p in 0..P {
                        for i in 0..Q {
                            sums[p][i] = s.load(c.add(p * self.c_row + i * self.c_stride));
                        }
                    }
                }
                Start::Bias(bias) => {
                    for i in 0..Q {
                        let bias = s.load(bias.as_ptr().add((q + i) * LANES));
                        for row in &mut sums {
                            row[i] = bias;
                        }
                    }
                }
            }
            for first_block in (0..self.blocks).step_by(AT_ONCE) {
                let a = self.a.as_ptr().add(first_block * self.a_block + first * self.a_row);
                let b = self.b.as_ptr().add(first_block * LANES * self.b_step + q * self.b_stride);
                let mut terms = 0;
                for block in 0..AT_ONCE.min(self.blocks - first_block) {
                    let of_rows = self.lanes.as_ptr().add((first_block + block) * self.lanes_block + first);
                    let any = (0..P).fold(0, |any, p| any | *of_rows.add(p));
                    terms |= u64::from(any) << (block * LANES);
                }
                while terms != 0 {
                    let term = terms.trailing_zeros() as usize;
                    terms &= terms - 1;
                    let value = a.add(term / LANES * self.a_block + term % LANES);
                    let from = b.add(term * self.b_step);
                    let weights: [S::V; Q] = std::array::from_fn(|i| s.load(from.add(i * self.b_stride)));
                    for p in 0..P {
                        let value = s.splat(*value.add(p * self.a_row));
                        for i in 0..Q {
                            sums[p][i] = s.fma(value, weights[i], sums[p][i]);
                        }
                    }
                }
            }
            for p in 0..P {
                for i in 0..Q {
                    s.store(c.add(p * self.c_row + i * self.c_stride), sums[p][i]);
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
    pub(in crate::cpu) listed: &'a Listed,
    /// Set to `[feature of the panel][16]`.
    pub(in crate::cpu) out: &'a mut [f32],
}

impl Kernel for WeightGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = self.listed.rows;
        assert!(self.grads.len() >= rows * LANES && self.out.len() >= PANEL * LANES);
        assert!(self.features.len() >= rows * PANEL);
        let mut by_output = [[0.0; PANEL]; LANES];
        let mut begin = 0;
        for (lane, sums) in by_output.iter_mut().enumerate() {
            let end = self.listed.ends[lane];
            let rows = &self.listed.list[begin..end];
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
