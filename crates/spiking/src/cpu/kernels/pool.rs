//! Average pooling of spikes.

use super::super::simd::{Kernel, LANES, Simd};

/// The share of each window that fired, for the 16 channels of one plane.
pub(in crate::cpu) struct Average<'a> {
    /// Spikes of a plane, a bit a channel.
    pub(in crate::cpu) spikes: &'a [u16],
    /// From a row of the plane to the next.
    pub(in crate::cpu) width: usize,
    /// Edge of a window.
    pub(in crate::cpu) size: usize,
    /// Set to the shares, 16 a window.
    pub(in crate::cpu) out: &'a mut [f32],
    pub(in crate::cpu) rows: usize,
    pub(in crate::cpu) columns: usize,
    /// From a row of windows in `out` to the next.
    pub(in crate::cpu) row: usize,
}

impl Kernel for Average<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let share = s.splat(1.0 / (self.size * self.size) as f32);
        let one = s.splat(1.0);
        for y in 0..self.rows {
            for x in 0..self.columns {
                let mut count = s.splat(0.0);
                for i in 0..self.size {
                    let row = &self.spikes[(y * self.size + i) * self.width + x * self.size..][..self.size];
                    for spikes in row {
                        count = s.add(count, s.only(s.mask(*spikes), one));
                    }
                }
                let out = &mut self.out[(y * self.row + x) * LANES..][..LANES];
                // SAFETY: `out` holds 16 values.
                unsafe { s.store(out.as_mut_ptr(), s.mul(count, share)) };
            }
        }
    }
}
