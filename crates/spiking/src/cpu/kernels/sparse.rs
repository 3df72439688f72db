//! Products with values that are mostly zero: what enters a linear layer, half of which dropout silences.

use super::super::simd::{Kernel, LANES, Simd};
use super::product::Start;

/// Blocks whose terms are gone through in one loop: its end is guessed wrong nearly every time, so that there should be few of them.
const AT_ONCE: usize = 4;
/// Where more of the terms than this fraction are not zero, finding them costs more than it saves.
const SPARSE: (usize, usize) = (3, 4);

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

/// `C[row][q] = start + sum over terms of A[row][term] * B[term][q]`, where q counts vectors of 16 lanes and terms come in blocks of 16,
/// over the terms alone that are not zero in all of some rows, or over all where hardly any is. The sums run over terms in their order, one fused
/// multiply-add after another: a term that is zero adds nothing, so that they come out as if it took part.
pub(in crate::cpu) struct SparseProduct<'a> {
    pub(in crate::cpu) a: &'a [f32],
    /// From a row's values of A to the next one's.
    pub(in crate::cpu) a_row: usize,
    /// The lanes of A that are not zero, `[block][row]`, as [`FindLanes`] leaves them.
    pub(in crate::cpu) lanes: &'a [u16],
    /// From a block's lanes to the next one's.
    pub(in crate::cpu) lanes_block: usize,
    pub(in crate::cpu) blocks: usize,
    pub(in crate::cpu) rows: usize,
    /// Rows that are likely to be zero in the same places: 4 or 2 of them share the reading of B.
    pub(in crate::cpu) alike: usize,
    /// `[vector][term][16]`.
    pub(in crate::cpu) b: &'a [f32],
    /// From a vector of a term to its next one.
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
            assert!(self.a.len() >= row * self.a_row + (block + 1) * LANES, "values are missing");
            assert!(self.lanes.len() >= block * self.lanes_block + self.rows, "lanes are missing");
            let terms = self.blocks * LANES;
            assert!(self.b.len() >= vector * self.b_stride + terms * LANES, "weights are missing");
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
                let a = self.a.as_ptr().add(first * self.a_row + first_block * LANES);
                let b = self.b.as_ptr().add(first_block * LANES * LANES + q * self.b_stride);
                let blocks = AT_ONCE.min(self.blocks - first_block);
                let mut terms = 0;
                for block in 0..blocks {
                    let of_rows = self.lanes.as_ptr().add((first_block + block) * self.lanes_block + first);
                    let any = (0..P).fold(0, |any, p| any | *of_rows.add(p));
                    terms |= u64::from(any) << (block * LANES);
                }
                if terms.count_ones() as usize * SPARSE.1 > blocks * LANES * SPARSE.0 {
                    for term in 0..blocks * LANES {
                        self.add(s, &mut sums, a.add(term), b.add(term * LANES));
                    }
                    continue;
                }
                while terms != 0 {
                    let term = terms.trailing_zeros() as usize;
                    terms &= terms - 1;
                    self.add(s, &mut sums, a.add(term), b.add(term * LANES));
                }
            }
            for p in 0..P {
                for i in 0..Q {
                    s.store(c.add(p * self.c_row + i * self.c_stride), sums[p][i]);
                }
            }
        }
    }

    /// Adds a term to the sums of P rows.
    ///
    /// # Safety
    /// The rows' values from `a` on and the vectors from `b` on must lie in their slices.
    #[inline(always)]
    unsafe fn add<S: Simd, const P: usize, const Q: usize>(
        &self,
        s: S,
        sums: &mut [[S::V; Q]; P],
        a: *const f32,
        b: *const f32,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let weights: [S::V; Q] = std::array::from_fn(|i| s.load(b.add(i * self.b_stride)));
            for p in 0..P {
                let value = s.splat(*a.add(p * self.a_row));
                for i in 0..Q {
                    sums[p][i] = s.fma(value, weights[i], sums[p][i]);
                }
            }
        }
    }
}
