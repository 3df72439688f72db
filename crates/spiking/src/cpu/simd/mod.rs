//! Sixteen lanes of f32, on three paths that give the same bits.
//!
//! A kernel is written once over [`Simd`] and compiled three times: AVX-512 (one register a vector), AVX2 with FMA (two), and
//! portable Rust. Each operation is IEEE-exact, sums across lanes come in one order, and a product that is added is
//! always fused: what a kernel gives follows from the order it is written in, not from the path it runs on.
//!
//! A value of a path type is the proof that this machine has the path: there is no other way to it than
//! [`Path::available`], which looks.

use std::fmt;

use crate::{Result, SpikingError};

/// Lanes of a vector, and channels of a block.
pub(super) const LANES: usize = 16;

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Which instructions the kernels are compiled for; one that this machine has, for [`Path::available`] alone makes any but
/// the portable one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path(Instructions);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instructions {
    Portable,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, VL and DQ.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Path {
    /// Names a path by its variable.
    pub const VARIABLE: &'static str = "BPSTA_SIMD";

    /// Rust without intrinsics: any machine. Slow where the machine has no fused multiply-add at compile time.
    pub const PORTABLE: Self = Self(Instructions::Portable);

    /// The paths of this machine, the fastest first.
    pub fn available() -> Vec<Self> {
        let mut paths = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            // All that `x86::with_avx2` and `x86::with_avx512` are compiled for.
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("popcnt")
                && is_x86_feature_detected!("lzcnt");
            if avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
            {
                paths.push(Self(Instructions::Avx512));
            }
            if avx2 {
                paths.push(Self(Instructions::Avx2));
            }
        }
        paths.push(Self::PORTABLE);
        paths
    }

    /// The path that the variable `BPSTA_SIMD` names, or else the fastest.
    ///
    /// # Errors
    /// [`SpikingError::Device`] for a path that this machine lacks, [`SpikingError::UnknownName`] for no path at all.
    pub fn from_environment() -> Result<Self> {
        match std::env::var(Self::VARIABLE) {
            Ok(name) if !name.is_empty() => Self::named(&name),
            _ => Ok(Self::available()[0]),
        }
    }

    /// The path called `avx512`, `avx2` or `portable`.
    ///
    /// # Errors
    /// As [`Path::from_environment`].
    pub fn named(name: &str) -> Result<Self> {
        const NAMES: [&str; 3] = ["avx512", "avx2", "portable"];
        if !NAMES.contains(&name) {
            return Err(SpikingError::UnknownName {
                kind: Self::VARIABLE,
                found: name.to_owned(),
                expected: NAMES.join(", "),
            });
        }
        let available = Self::available();
        available.iter().copied().find(|path| path.to_string() == name).ok_or_else(|| SpikingError::Device {
            device: format!("{}={name}", Self::VARIABLE),
            why: format!(
                "this machine has {}",
                available.iter().map(Self::to_string).collect::<Vec<_>>().join(", ")
            ),
        })
    }

    /// Runs a kernel on this path.
    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Instructions::Portable => kernel.run(portable::Portable(())),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` alone makes this path, having found the features.
            Instructions::Avx2 => unsafe { x86::with_avx2(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` alone makes this path, having found the features.
            Instructions::Avx512 => unsafe { x86::with_avx512(kernel) },
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Instructions::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => "avx512",
        })
    }
}

/// A computation over [`Simd`]. `run` must be `#[inline(always)]`, so that it is compiled for the path that calls it.
pub(super) trait Kernel {
    /// What it gives.
    type Output;
    /// Computes.
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// Sixteen lanes of f32.
pub(super) trait Simd: Copy {
    /// A vector.
    type V: Copy;
    /// Lanes that a question holds for.
    type M: Copy;
    /// Whether 24 vectors of sums and their factors fit the registers, as with AVX-512's 32; else kernels keep fewer.
    const MANY_REGISTERS: bool;

    /// The same value in all lanes.
    fn splat(self, x: f32) -> Self::V;
    /// Reads 16 values.
    ///
    /// # Safety
    /// `from` must be valid for reading 16 f32; no alignment is asked for.
    unsafe fn load(self, from: *const f32) -> Self::V;
    /// Writes 16 values.
    ///
    /// # Safety
    /// `to` must be valid for writing 16 f32; no alignment is asked for.
    unsafe fn store(self, to: *mut f32, v: Self::V);
    /// a + b
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// a - b
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// a * b
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// a / b
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// a * b + c, rounded once
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Square root.
    fn sqrt(self, a: Self::V) -> Self::V;
    /// The lanes where a >= b.
    fn ge(self, a: Self::V, b: Self::V) -> Self::M;
    /// All other lanes: where a < b, or one of them is NaN.
    fn not_ge(self, a: Self::V, b: Self::V) -> Self::M;
    /// The lanes where a > b.
    fn gt(self, a: Self::V, b: Self::V) -> Self::M;
    /// The lanes where |a| < b.
    fn within(self, a: Self::V, b: Self::V) -> Self::M;
    /// Lanes as bits, lane 0 in the lowest.
    fn bits(self, mask: Self::M) -> u16;
    /// The lanes whose bits are set.
    fn mask(self, bits: u16) -> Self::M;
    /// v in the lanes of `mask`, 0 in the others.
    fn only(self, mask: Self::M, v: Self::V) -> Self::V;
    /// a in the lanes of `mask`, b in the others.
    fn pick(self, mask: Self::M, a: Self::V, b: Self::V) -> Self::V;
    /// a - b in the lanes of `mask`, a in the others.
    #[inline(always)]
    fn less(self, a: Self::V, mask: Self::M, b: Self::V) -> Self::V {
        self.sub(a, self.only(mask, b))
    }
    /// max(a, 0), and 0 for NaN.
    fn relu(self, a: Self::V) -> Self::V;
    /// Rows become columns: lane i of vector j to lane j of vector i.
    fn transpose(self, rows: [Self::V; LANES]) -> [Self::V; LANES];

    /// Lane i: the sum over the lanes of vector i, of four neighbours each as `(0 + 2) + (1 + 3)`, then of the fours as
    /// `(0 + 1) + (2 + 3)`.
    #[inline(always)]
    fn sums(self, vectors: [Self::V; LANES]) -> Self::V {
        let lanes = self.transpose(vectors);
        let mut fours = [lanes[0]; 4];
        for (i, four) in fours.iter_mut().enumerate() {
            let lane = 4 * i;
            *four =
                self.add(self.add(lanes[lane], lanes[lane + 2]), self.add(lanes[lane + 1], lanes[lane + 3]));
        }
        self.add(self.add(fours[0], fours[1]), self.add(fours[2], fours[3]))
    }

    /// The pixels of 16 that fired in a lane, the first in the lowest bit.
    fn fired(self, spikes: &[u16; LANES], lane: usize) -> u16;

    /// Writes `first` plus each place of `mask` that is set, in their order; gives how many there are.
    ///
    /// # Safety
    /// `to` must be valid for writing 16 u32, whatever the mask.
    #[inline(always)]
    unsafe fn list(self, mask: u16, first: u32, to: *mut u32) -> usize {
        let (mut rest, mut count) = (mask, 0);
        while rest != 0 {
            // SAFETY: at most 16 bits are set.
            unsafe { to.add(count).write(first + rest.trailing_zeros()) };
            rest &= rest - 1;
            count += 1;
        }
        count
    }

    /// Asks for the cache line of a place that will be read soon; any place will do.
    #[inline(always)]
    fn fetch(self, from: *const f32) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every x86-64 has the instruction, and it never faults.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(from.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = from;
    }

    /// The same for what will be read later: into the second cache, where it leaves what the innermost one holds.
    #[inline(always)]
    fn fetch_later(self, from: *const f32) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every x86-64 has the instruction, and it never faults.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T1>(from.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Lanes<'a>(&'a [[f32; LANES]; LANES]);

    impl Kernel for Lanes<'_> {
        type Output = [f32; LANES];

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> [f32; LANES] {
            let mut out = [0.0; LANES];
            // SAFETY: 16 values in each vector, and in `out`.
            unsafe {
                let vectors = std::array::from_fn(|i| s.load(self.0[i].as_ptr()));
                s.store(out.as_mut_ptr(), s.sums(vectors));
            }
            out
        }
    }

    struct Questions([f32; LANES], [f32; LANES]);

    impl Kernel for Questions {
        type Output = ([u16; 5], [[f32; LANES]; 3]);

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Self::Output {
            let mut outs = [[0.0; LANES]; 3];
            // SAFETY: 16 values in each array.
            unsafe {
                let (a, b) = (s.load(self.0.as_ptr()), s.load(self.1.as_ptr()));
                let above = s.gt(a, b);
                s.store(outs[0].as_mut_ptr(), s.only(above, a));
                s.store(outs[1].as_mut_ptr(), s.pick(above, a, b));
                s.store(outs[2].as_mut_ptr(), s.less(a, above, b));
                let masks = [s.ge(a, b), s.not_ge(a, b), above, s.within(a, b), s.mask(0xa5c3)];
                (masks.map(|mask| s.bits(mask)), outs)
            }
        }
    }

    /// Edges, signs and what is no number included.
    #[test]
    fn questions_have_the_same_answers_on_all_paths() {
        let edges = [0.0, -0.0, 0.5, -0.5, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MIN_POSITIVE];
        for shift in 0..edges.len() {
            let a: [f32; LANES] = std::array::from_fn(|i| edges[i % edges.len()]);
            let b: [f32; LANES] = std::array::from_fn(|i| edges[(i + shift + i / edges.len()) % edges.len()]);
            let bits = |holds: fn(f32, f32) -> bool| {
                (0..LANES).fold(0u16, |bits, i| bits | u16::from(holds(a[i], b[i])) << i)
            };
            let masks = [
                bits(|a, b| a >= b),
                !bits(|a, b| a >= b),
                bits(|a, b| a > b),
                bits(|a, b| a.abs() < b),
                0xa5c3,
            ];
            let of =
                |f: fn(f32, f32) -> f32| -> [u32; LANES] { std::array::from_fn(|i| f(a[i], b[i]).to_bits()) };
            let outs = [
                of(|a, b| if a > b { a } else { 0.0 }),
                of(|a, b| if a > b { a } else { b }),
                of(|a, b| if a > b { a - b } else { a }),
            ];
            for path in Path::available() {
                let found = path.run(Questions(a, b));
                assert_eq!((found.0, found.1.map(|out| out.map(f32::to_bits))), (masks, outs), "{path}");
            }
        }
    }

    /// Values of which no two sums in different orders are equal, or hardly any.
    #[test]
    fn lanes_are_summed_in_their_order_on_all_paths() {
        let vectors =
            std::array::from_fn(|i| std::array::from_fn(|j| 1.0 / (1.0 + 16.0 * i as f32 + j as f32)));
        let expected = vectors.map(|lanes: [f32; LANES]| {
            let four = |i: usize| (lanes[i] + lanes[i + 2]) + (lanes[i + 1] + lanes[i + 3]);
            (four(0) + four(4)) + (four(8) + four(12))
        });
        assert!(vectors.iter().zip(expected).any(|(lanes, sum)| lanes.iter().sum::<f32>() != sum));
        for path in Path::available() {
            assert_eq!(path.run(Lanes(&vectors)), expected, "{path}");
        }
    }
}
