//! Products of rows of features with the weights of some outputs: a linear layer forward.
//!
//! Lanes run along features, so that any output can be left out: dropout silences half of a hidden layer's in each sample, and what
//! they would be is never computed.

use super::super::simd::{Kernel, LANES, Simd};
use super::super::weights::PANEL;

/// Panels whose products are summed lane by lane, before the lanes are: so many that the latter hardly count, so few that the weights of
/// some outputs stay in a core's cache for all rows.
pub(in crate::cpu) const DEPTH: usize = 8;
/// Cache lines that are asked for with each panel of a tile.
const PACE: usize = 3;
/// Sums of a tile at most, in whole vectors.
const MOST: usize = 2 * LANES;

/// To the sums of each listed output and each of some rows the products of their features in some panels are added: first those of every
/// sixteenth feature, one after another, then the sixteen.
pub(in crate::cpu) struct ListedProduct<'a> {
    /// `[panel][row][feature of the panel]`, from the first row on.
    pub(in crate::cpu) features: &'a [f32],
    /// From a panel's features to the next one's.
    pub(in crate::cpu) features_panel: usize,
    /// 4, 2 or 1.
    pub(in crate::cpu) rows: usize,
    /// `[panel][output][feature of the panel]`.
    pub(in crate::cpu) weights: &'a [f32],
    /// From a panel's weights to the next one's.
    pub(in crate::cpu) weights_panel: usize,
    pub(in crate::cpu) panels: usize,
    /// Outputs, each at most once.
    pub(in crate::cpu) outputs: &'a [u32],
    /// `[output][row]`, from the first row on.
    pub(in crate::cpu) sums: &'a mut [f32],
    /// From an output's sums to the next one's.
    pub(in crate::cpu) sums_output: usize,
    /// What is read next: asked for meanwhile, a little with each panel of each tile, for so a core looks ahead itself.
    pub(in crate::cpu) ahead: [&'a [f32]; 2],
}

impl Kernel for ListedProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        self.check();
        match (self.rows, S::MANY_REGISTERS) {
            (4, true) => self.tiles::<S, 4, 6>(s),
            (4, false) => self.tiles::<S, 4, 1>(s),
            (2, true) => self.tiles::<S, 2, 8>(s),
            (2, false) => self.tiles::<S, 2, 2>(s),
            (_, true) => self.tiles::<S, 1, 8>(s),
            (_, false) => self.tiles::<S, 1, 4>(s),
        }
    }
}

impl ListedProduct<'_> {
    /// Every place that [`Self::tile`] touches lies inside its slice.
    fn check(&self) {
        let Self { rows, outputs, .. } = *self;
        assert!(matches!(rows, 1 | 2 | 4), "rows come by four, two or one");
        let Some(last) = outputs.iter().max() else { return };
        let last = *last as usize;
        if let Some(panel) = self.panels.checked_sub(1) {
            assert!(
                self.features.len() >= panel * self.features_panel + rows * PANEL,
                "features are missing"
            );
            assert!(
                self.weights.len() >= panel * self.weights_panel + (last + 1) * PANEL,
                "weights are missing"
            );
        }
        assert!(self.sums.len() >= last * self.sums_output + rows, "sums have no room");
    }

    #[inline(always)]
    fn tiles<S: Simd, const P: usize, const Q: usize>(&mut self, s: S) {
        let (whole, rest) = self.outputs.as_chunks::<Q>();
        // SAFETY: `check` passed, there are P rows, and all outputs are listed.
        unsafe {
            for outputs in whole {
                self.tile::<S, P, Q>(s, outputs, Q);
            }
            match rest.len() {
                0 => (),
                1 | 2 => self.short_tile::<S, P, 2>(s, rest),
                3 | 4 => self.short_tile::<S, P, 4>(s, rest),
                _ => self.short_tile::<S, P, Q>(s, rest),
            }
        }
    }

    /// A tile that repeats its last output, which is added once.
    ///
    /// # Safety
    /// As for [`Self::tile`].
    #[inline(always)]
    unsafe fn short_tile<S: Simd, const P: usize, const Q: usize>(&mut self, s: S, outputs: &[u32]) {
        let repeated: [u32; Q] = std::array::from_fn(|q| outputs[q.min(outputs.len() - 1)]);
        // SAFETY: the caller's.
        unsafe { self.tile::<S, P, Q>(s, &repeated, outputs.len()) };
    }

    /// # Safety
    /// [`Self::check`] must hold, P be `rows`, and `outputs` be listed.
    #[inline(always)]
    unsafe fn tile<S: Simd, const P: usize, const Q: usize>(
        &mut self,
        s: S,
        outputs: &[u32; Q],
        count: usize,
    ) {
        const { assert!(P * Q <= MOST) };
        // SAFETY: the caller's.
        unsafe {
            let mut features = self.features.as_ptr();
            let mut weights: [*const f32; Q] =
                std::array::from_fn(|q| self.weights.as_ptr().wrapping_add(outputs[q] as usize * PANEL));
            let mut sums = [[s.splat(0.0); P]; Q];
            for _ in 0..self.panels {
                for ahead in &mut self.ahead {
                    let (lines, rest) = ahead.split_at(ahead.len().min(PACE * LANES));
                    lines.chunks(LANES).for_each(|line| s.fetch(line.as_ptr()));
                    *ahead = rest;
                }
                for lane in (0..PANEL).step_by(LANES) {
                    let of_rows: [S::V; P] = std::array::from_fn(|p| s.load(features.add(p * PANEL + lane)));
                    for q in 0..Q {
                        let weight = s.load(weights[q].add(lane));
                        for p in 0..P {
                            sums[q][p] = s.fma(weight, of_rows[p], sums[q][p]);
                        }
                    }
                }
                // Past the last panel they may point past the end, and are not read.
                features = features.wrapping_add(self.features_panel);
                for weights in &mut weights {
                    *weights = weights.wrapping_add(self.weights_panel);
                }
            }
            let mut totals = [0.0; MOST];
            for first in (0..P * Q).step_by(LANES) {
                let vectors = std::array::from_fn(|i| match first + i {
                    i if i < P * Q => sums[i / P][i % P],
                    _ => s.splat(0.0),
                });
                s.store(totals.as_mut_ptr().add(first), s.sums(vectors));
            }
            for q in 0..Q {
                if q < count {
                    let to = self.sums.as_mut_ptr().add(outputs[q] as usize * self.sums_output);
                    for p in 0..P {
                        *to.add(p) += totals[q * P + p];
                    }
                }
            }
        }
    }
}

/// From sums of a block of outputs to what its cells are given: the bias added, perhaps what is negative and what dropout silences
/// set to zero.
pub(in crate::cpu) struct Outputs<'a> {
    /// `[output][row]`, rows in whole windows of 16.
    pub(in crate::cpu) sums: &'a [f32],
    /// From an output's sums to the next one's.
    pub(in crate::cpu) sums_output: usize,
    /// 16 values.
    pub(in crate::cpu) bias: &'a [f32],
    pub(in crate::cpu) relu: bool,
    /// Factors by sample, 16 each; none without dropout.
    pub(in crate::cpu) mask: &'a [f32],
    /// Rows of a sample.
    pub(in crate::cpu) steps: usize,
    /// `[row][16]`.
    pub(in crate::cpu) out: &'a mut [f32],
}

impl Kernel for Outputs<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { sums, sums_output, bias, relu, mask, steps, out } = self;
        let rows = out.len() / LANES;
        assert!(sums.len() >= (LANES - 1) * sums_output + rows.next_multiple_of(LANES), "sums are missing");
        assert!(bias.len() >= LANES, "the bias is too short");
        assert!(mask.is_empty() || mask.len() >= rows.div_ceil(steps) * LANES, "factors are missing");
        for (window, out) in out.chunks_mut(LANES * LANES).enumerate() {
            // SAFETY: the assertions above.
            unsafe {
                let from = sums.as_ptr().add(window * LANES);
                let columns = s.transpose(std::array::from_fn(|lane| s.load(from.add(lane * sums_output))));
                let bias = s.load(bias.as_ptr());
                for (row, (out, column)) in out.as_chunks_mut::<LANES>().0.iter_mut().zip(columns).enumerate()
                {
                    let mut value = s.add(column, bias);
                    if relu {
                        value = s.relu(value);
                    }
                    if !mask.is_empty() {
                        let sample = (window * LANES + row) / steps;
                        value = s.mul(value, s.load(mask.as_ptr().add(sample * LANES)));
                    }
                    s.store(out.as_mut_ptr(), value);
                }
            }
        }
    }
}
