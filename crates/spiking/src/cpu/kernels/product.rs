//! Matrix products over gathered rows: what convolutions of real numbers, their gradients and Winograd's tiles have in common.
//!
//! `C[m][q] = start + sum over r of A[row[m] + step[r]] * B[r][q]`, where q counts vectors of 16 lanes. A convolution has
//! pixels for m and (tap, channel) for r; its weight gradient has them the other way round; Winograd's products, one for each place of
//! a tile, have tiles and channels, in a weight gradient again the other way round. Each sum runs over r in the order given, one fused
//! multiply-add after another, however many rows and vectors are computed side by side.

use super::super::simd::{Kernel, LANES, Simd};
use super::spikes::TAPS;

/// One row of C: where its values of A begin, and where it lies in C.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Row {
    pub(in crate::cpu) a: u32,
    pub(in crate::cpu) c: u32,
}

/// A run of terms of the sums: the first one's place in A, counted from a row's, and its row of B.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Run {
    pub(in crate::cpu) a: u32,
    pub(in crate::cpu) b: u32,
}

/// The terms of the sums: runs of the same length, one after another.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Terms<'a> {
    pub(in crate::cpu) runs: &'a [Run],
    /// Terms in a run.
    pub(in crate::cpu) length: usize,
    /// From a term of a run to the next one, in A.
    pub(in crate::cpu) a_step: usize,
    /// The same in B.
    pub(in crate::cpu) b_step: usize,
}

/// What a sum starts from.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) enum Start<'a> {
    /// 0.
    Zero,
    /// What stands in C.
    Sum,
    /// 16 values for each q.
    Bias(&'a [f32]),
}

/// Products of one shape, one after another, and how far each lies from the one before.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Repeat {
    pub(in crate::cpu) times: usize,
    pub(in crate::cpu) a: usize,
    pub(in crate::cpu) b: usize,
    pub(in crate::cpu) c: usize,
}

impl Repeat {
    pub(in crate::cpu) const ONCE: Self = Self { times: 1, a: 0, b: 0, c: 0 };
}

/// See the head of this file; all places count f32.
pub(in crate::cpu) struct Product<'a> {
    pub(in crate::cpu) a: &'a [f32],
    pub(in crate::cpu) b: &'a [f32],
    pub(in crate::cpu) c: &'a mut [f32],
    pub(in crate::cpu) rows: &'a [Row],
    pub(in crate::cpu) terms: Terms<'a>,
    /// Vectors in a row of C.
    pub(in crate::cpu) vectors: usize,
    /// From a vector of B to the next one of its row.
    pub(in crate::cpu) b_stride: usize,
    /// From a vector of C to the next one of its row.
    pub(in crate::cpu) c_stride: usize,
    pub(in crate::cpu) start: Start<'a>,
    pub(in crate::cpu) repeat: Repeat,
}

/// What a tile asks for ahead of its use: from a place in B on, so many cache lines with each of its runs.
#[derive(Debug, Clone, Copy)]
struct Ahead {
    from: usize,
    lines: usize,
}

impl Kernel for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if self.rows.is_empty() || self.vectors == 0 || self.repeat.times == 0 {
            return;
        }
        self.check();
        // As many rows as the weight gradients of a first convolution have, nine for each of one to three channels: tiles of eight
        // would leave some behind.
        let by_taps = self.rows.len().is_multiple_of(TAPS) && self.rows.len() <= 3 * TAPS;
        let mut this = self;
        for time in 0..this.repeat.times {
            let mut q = 0;
            while q < this.vectors {
                q += match this.vectors - q {
                    4.. if S::MANY_REGISTERS => this.tiles::<S, 6, 4>(s, time, q),
                    2.. if S::MANY_REGISTERS && by_taps => this.tiles::<S, TAPS, 2>(s, time, q),
                    2.. if S::MANY_REGISTERS => this.tiles::<S, 8, 2>(s, time, q),
                    _ if S::MANY_REGISTERS && by_taps => this.tiles::<S, TAPS, 1>(s, time, q),
                    _ if S::MANY_REGISTERS => this.tiles::<S, 8, 1>(s, time, q),
                    _ => this.tiles::<S, 6, 1>(s, time, q),
                };
            }
        }
    }
}

impl Product<'_> {
    /// Every place that [`Self::tile`] touches lies inside its slice.
    fn check(&self) {
        let most = |places: &mut dyn Iterator<Item = u32>| places.max().unwrap_or_default() as usize;
        let Terms { runs, length, a_step, b_step } = self.terms;
        let (last, vector) = (length.max(1) - 1, self.vectors - 1);
        let (times, Repeat { a, b, c, .. }) = (self.repeat.times - 1, self.repeat);
        let last_a = most(&mut self.rows.iter().map(|row| row.a))
            + most(&mut runs.iter().map(|run| run.a))
            + last * a_step
            + times * a;
        let last_b = most(&mut runs.iter().map(|run| run.b))
            + last * b_step
            + vector * self.b_stride
            + LANES
            + times * b;
        let last_c =
            most(&mut self.rows.iter().map(|row| row.c)) + vector * self.c_stride + LANES + times * c;
        let none = runs.is_empty() || length == 0;
        assert!(none || (last_a < self.a.len() && last_b <= self.b.len()), "a product reads outside");
        assert!(last_c <= self.c.len(), "a product writes outside");
        if let Start::Bias(bias) = self.start {
            assert!(bias.len() >= self.vectors * LANES, "a product has too short a bias");
        }
    }

    #[inline(always)]
    fn tiles<S: Simd, const P: usize, const Q: usize>(&mut self, s: S, time: usize, q: usize) -> usize {
        let (whole, rest) = self.rows.as_chunks::<P>();
        let runs = self.terms.runs.len();
        // Every run of every tile asks for a share of what the next product reads.
        let lines = match time + 1 < self.repeat.times {
            true => (self.repeat.b / LANES).div_ceil((self.rows.len().div_ceil(P) * runs).max(1)),
            false => 0,
        };
        let mut ahead = Ahead { from: (time + 1) * self.repeat.b, lines };
        for rows in whole {
            self.tile::<S, P, Q>(s, rows, P, (time, q), ahead);
            ahead.from += runs * lines * LANES;
        }
        match rest.len() {
            0 => (),
            1 | 2 => self.short_tile::<S, 2, Q>(s, rest, (time, q), ahead),
            3 | 4 => self.short_tile::<S, 4, Q>(s, rest, (time, q), ahead),
            _ => self.short_tile::<S, P, Q>(s, rest, (time, q), ahead),
        }
        Q
    }

    /// A tile that repeats its last row, whose sums come out the same, and writes it once.
    #[inline(always)]
    fn short_tile<S: Simd, const P: usize, const Q: usize>(
        &mut self,
        s: S,
        rows: &[Row],
        at: (usize, usize),
        ahead: Ahead,
    ) {
        let repeated: [Row; P] = std::array::from_fn(|p| rows[p.min(rows.len() - 1)]);
        self.tile::<S, P, Q>(s, &repeated, rows.len(), at, ahead);
    }

    #[inline(always)]
    fn tile<S: Simd, const P: usize, const Q: usize>(
        &mut self,
        s: S,
        rows: &[Row; P],
        count: usize,
        (time, q): (usize, usize),
        ahead: Ahead,
    ) {
        // SAFETY: `check` found the largest place of each kind inside its slice, `time` stays below `repeat.times`, and the tile's
        // q + Q within `vectors`.
        unsafe {
            let c = self.c.as_mut_ptr().add(time * self.repeat.c + q * self.c_stride);
            let b = self.b.as_ptr().add(time * self.repeat.b + q * self.b_stride);
            let a: [*const f32; P] = std::array::from_fn(|p| {
                self.a.as_ptr().wrapping_add(time * self.repeat.a + rows[p].a as usize)
            });
            let mut sums = [[s.splat(0.0); Q]; P];
            match self.start {
                Start::Zero => (),
                Start::Sum => {
                    for p in 0..P {
                        for i in 0..Q {
                            sums[p][i] = s.load(c.add(rows[p].c as usize + i * self.c_stride));
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
            let Terms { runs, length, a_step, b_step } = self.terms;
            let mut next = self.b.as_ptr().wrapping_add(ahead.from);
            for run in runs {
                for _ in 0..ahead.lines {
                    s.fetch_later(next);
                    next = next.wrapping_add(LANES);
                }
                let (mut at, mut from) = (run.a as usize, b.add(run.b as usize));
                for _ in 0..length {
                    let weights: [S::V; Q] = std::array::from_fn(|i| s.load(from.add(i * self.b_stride)));
                    for p in 0..P {
                        let value = s.splat(*a[p].add(at));
                        for i in 0..Q {
                            sums[p][i] = s.fma(value, weights[i], sums[p][i]);
                        }
                    }
                    at += a_step;
                    // Past the last term it may point past the end, and is not read.
                    from = from.wrapping_add(b_step);
                }
            }
            // Over all P, so that every sum keeps a register of its own.
            for p in 0..P {
                for i in 0..Q {
                    if p < count {
                        s.store(c.add(rows[p].c as usize + i * self.c_stride), sums[p][i]);
                    }
                }
            }
        }
    }
}

/// Turns rows of 16 values into columns: `to[lane][row]` from `from[row][lane]`, in whole blocks of 16 rows.
pub(in crate::cpu) struct Turn<'a> {
    /// `[row][16]`.
    pub(in crate::cpu) from: &'a [f32],
    /// `[16][row]`.
    pub(in crate::cpu) to: &'a mut [f32],
}

impl Kernel for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = self.from.len() / LANES;
        assert!(rows.is_multiple_of(LANES) && self.to.len() >= rows * LANES, "rows come in blocks of 16");
        for block in (0..rows).step_by(LANES) {
            // SAFETY: 16 rows from `block` on lie in `from`, and 16 values from `block` on in each of the 16 rows of `to`.
            unsafe {
                let from = self.from.as_ptr().add(block * LANES);
                let columns = s.transpose(std::array::from_fn(|row| s.load(from.add(row * LANES))));
                for (lane, column) in columns.into_iter().enumerate() {
                    s.store(self.to.as_mut_ptr().add(lane * rows + block), column);
                }
            }
        }
    }
}
