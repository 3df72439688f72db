//! Sixteen lanes in AVX2 and AVX-512.
//!
//! The methods below are compiled into kernels that run under `with_avx2` and `with_avx512` alone: a value of
//! `Avx2` or `Avx512` is made nowhere else, and its existence is what every SAFETY comment here rests on.

use std::arch::x86_64::*;

use super::{Kernel, Simd};

/// AVX2 and FMA: two registers a vector.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Avx2(());

/// AVX-512: one register a vector.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Avx512(());

/// # Safety
/// The machine must have these features.
#[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt,lzcnt")]
pub(super) unsafe fn with_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2(()))
}

/// # Safety
/// The machine must have these features.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,bmi1,bmi2,popcnt,lzcnt")]
pub(super) unsafe fn with_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512(()))
}

/// A lane-by-lane operation on both halves.
macro_rules! halves {
    ($name:path, $a:ident, $b:ident) => {{
        // SAFETY: an `Avx2` exists.
        unsafe { ($name($a.0, $b.0), $name($a.1, $b.1)) }
    }};
}

/// Eight lanes of all ones where the lowest bits of `mask` are set.
#[inline(always)]
fn lanes(mask: u16) -> __m256 {
    // SAFETY: called from the methods of an `Avx2`.
    unsafe {
        let bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        let set = _mm256_and_si256(_mm256_set1_epi32(i32::from(mask)), bits);
        _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, bits))
    }
}

/// Rows become columns, 8 by 8.
#[inline(always)]
fn transpose_eight(rows: [__m256; 8]) -> [__m256; 8] {
    // SAFETY: called from the methods of an `Avx2`.
    unsafe {
        // Loops and no closures: those are not compiled for AVX2 unless they are inlined.
        let zero = _mm256_setzero_ps();
        let mut pairs = [[zero; 2]; 4];
        for (i, pair) in pairs.iter_mut().enumerate() {
            let (a, b) = (rows[2 * i], rows[2 * i + 1]);
            *pair = [_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)];
        }
        let mut fours = [[zero; 4]; 2];
        for (i, four) in fours.iter_mut().enumerate() {
            let (a, b) = (pairs[2 * i], pairs[2 * i + 1]);
            *four = [
                _mm256_shuffle_ps::<0x44>(a[0], b[0]),
                _mm256_shuffle_ps::<0xee>(a[0], b[0]),
                _mm256_shuffle_ps::<0x44>(a[1], b[1]),
                _mm256_shuffle_ps::<0xee>(a[1], b[1]),
            ];
        }
        let mut columns = [zero; 8];
        for j in 0..4 {
            columns[j] = _mm256_permute2f128_ps::<0x20>(fours[0][j], fours[1][j]);
            columns[4 + j] = _mm256_permute2f128_ps::<0x31>(fours[0][j], fours[1][j]);
        }
        columns
    }
}

impl Simd for Avx2 {
    type V = (__m256, __m256);
    /// All bits of a lane are set, or none.
    type M = (__m256, __m256);
    const MANY_REGISTERS: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        // SAFETY: an `Avx2` exists.
        let v = unsafe { _mm256_set1_ps(x) };
        (v, v)
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::V {
        // SAFETY: an `Avx2` exists; the caller's for the rest.
        unsafe { (_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: Self::V) {
        // SAFETY: an `Avx2` exists; the caller's for the rest.
        unsafe {
            _mm256_storeu_ps(to, v.0);
            _mm256_storeu_ps(to.add(8), v.1);
        }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        halves!(_mm256_add_ps, a, b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        halves!(_mm256_sub_ps, a, b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        halves!(_mm256_mul_ps, a, b)
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        halves!(_mm256_div_ps, a, b)
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: an `Avx2` exists, and with it FMA.
        unsafe { (_mm256_fmadd_ps(a.0, b.0, c.0), _mm256_fmadd_ps(a.1, b.1, c.1)) }
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        // SAFETY: an `Avx2` exists.
        unsafe { (_mm256_sqrt_ps(a.0), _mm256_sqrt_ps(a.1)) }
    }
    #[inline(always)]
    fn ge(self, a: Self::V, b: Self::V) -> Self::M {
        halves!(_mm256_cmp_ps::<_CMP_GE_OQ>, a, b)
    }
    #[inline(always)]
    fn not_ge(self, a: Self::V, b: Self::V) -> Self::M {
        halves!(_mm256_cmp_ps::<_CMP_NGE_UQ>, a, b)
    }
    #[inline(always)]
    fn gt(self, a: Self::V, b: Self::V) -> Self::M {
        halves!(_mm256_cmp_ps::<_CMP_GT_OQ>, a, b)
    }
    #[inline(always)]
    fn within(self, a: Self::V, b: Self::V) -> Self::M {
        // SAFETY: an `Avx2` exists. The sign alone is taken away.
        unsafe {
            let sign = _mm256_set1_ps(-0.0);
            let (low, high) = (_mm256_andnot_ps(sign, a.0), _mm256_andnot_ps(sign, a.1));
            (_mm256_cmp_ps::<_CMP_LT_OQ>(low, b.0), _mm256_cmp_ps::<_CMP_LT_OQ>(high, b.1))
        }
    }
    #[inline(always)]
    fn bits(self, mask: Self::M) -> u16 {
        // SAFETY: an `Avx2` exists.
        unsafe { (_mm256_movemask_ps(mask.0) | _mm256_movemask_ps(mask.1) << 8) as u16 }
    }
    #[inline(always)]
    fn mask(self, bits: u16) -> Self::M {
        (lanes(bits), lanes(bits >> 8))
    }
    #[inline(always)]
    fn only(self, mask: Self::M, v: Self::V) -> Self::V {
        halves!(_mm256_and_ps, mask, v)
    }
    #[inline(always)]
    fn pick(self, mask: Self::M, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: an `Avx2` exists.
        unsafe { (_mm256_blendv_ps(b.0, a.0, mask.0), _mm256_blendv_ps(b.1, a.1, mask.1)) }
    }
    #[inline(always)]
    fn relu(self, a: Self::V) -> Self::V {
        // SAFETY: an `Avx2` exists. Of a NaN and a number the instruction gives the second.
        unsafe { (_mm256_max_ps(a.0, _mm256_setzero_ps()), _mm256_max_ps(a.1, _mm256_setzero_ps())) }
    }
    #[inline(always)]
    fn fired(self, spikes: &[u16; 16], lane: usize) -> u16 {
        // SAFETY: an `Avx2` exists, and 32 bytes lie in the array.
        unsafe {
            // The lane's bit becomes the sign, and 16 signs of 16 bits 16 of 8, in two halves that trade places in the middle.
            let signs = _mm256_sll_epi16(
                _mm256_loadu_si256(spikes.as_ptr().cast()),
                _mm_cvtsi32_si128(15 - lane as i32),
            );
            let signs = _mm256_permute4x64_epi64::<0b1000>(_mm256_packs_epi16(signs, signs));
            _mm_movemask_epi8(_mm256_castsi256_si128(signs)) as u16
        }
    }
    #[inline(always)]
    fn transpose(self, rows: [Self::V; 16]) -> [Self::V; 16] {
        let zero = self.splat(0.0).0;
        let mut quarters = [[zero; 8]; 4];
        for i in 0..8 {
            quarters[0][i] = rows[i].0;
            quarters[1][i] = rows[i].1;
            quarters[2][i] = rows[i + 8].0;
            quarters[3][i] = rows[i + 8].1;
        }
        for quarter in &mut quarters {
            *quarter = transpose_eight(*quarter);
        }
        let mut columns = [(zero, zero); 16];
        for i in 0..8 {
            columns[i] = (quarters[0][i], quarters[2][i]);
            columns[8 + i] = (quarters[1][i], quarters[3][i]);
        }
        columns
    }
}

impl Simd for Avx512 {
    type V = __m512;
    type M = __mmask16;
    const MANY_REGISTERS: bool = true;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        // SAFETY: an `Avx512` exists; so for all methods below.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::V {
        // SAFETY: the caller's.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: Self::V) {
        // SAFETY: the caller's.
        unsafe { _mm512_storeu_ps(to, v) }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: an `Avx512` exists.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: an `Avx512` exists.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: an `Avx512` exists.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: an `Avx512` exists.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: an `Avx512` exists.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        // SAFETY: an `Avx512` exists.
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    fn ge(self, a: Self::V, b: Self::V) -> Self::M {
        // SAFETY: an `Avx512` exists.
        unsafe { _mm512_cmp_ps_mask::<_CMP_GE_OQ>(a, b) }
    }
    #[inline(always)]
    fn not_ge(self, a: Self::V, b: Self::V) -> Self::M {
        // SAFETY: an `Avx512` exists.
        unsafe { _mm512_cmp_ps_mask::<_CMP_NGE_UQ>(a, b) }
    }
    #[inline(always)]
    fn gt(self, a: Self::V, b: Self::V) -> Self::M {
        // SAFETY: an `Avx512` exists.
        unsafe { _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b) }
    }
    #[inline(always)]
    fn within(self, a: Self::V, b: Self::V) -> Self::M {
        // SAFETY: an `Avx512` exists.
        unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(_mm512_abs_ps(a), b) }
    }
    #[inline(always)]
    fn bits(self, mask: Self::M) -> u16 {
        mask
    }
    #[inline(always)]
    fn mask(self, bits: u16) -> Self::M {
        bits
    }
    #[inline(always)]
    fn only(self, mask: Self::M, v: Self::V) -> Self::V {
        // SAFETY: an `Avx512` exists.
        unsafe { _mm512_maskz_mov_ps(mask, v) }
    }
    #[inline(always)]
    fn pick(self, mask: Self::M, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: an `Avx512` exists.
        unsafe { _mm512_mask_mov_ps(b, mask, a) }
    }
    #[inline(always)]
    fn less(self, a: Self::V, mask: Self::M, b: Self::V) -> Self::V {
        // SAFETY: an `Avx512` exists.
        unsafe { _mm512_mask_sub_ps(a, mask, a, b) }
    }
    #[inline(always)]
    fn relu(self, a: Self::V) -> Self::V {
        // SAFETY: an `Avx512` exists. Of a NaN and a number the instruction gives the second.
        unsafe { _mm512_max_ps(a, _mm512_setzero_ps()) }
    }
    #[inline(always)]
    fn fired(self, spikes: &[u16; 16], lane: usize) -> u16 {
        // SAFETY: an `Avx512` exists, and 32 bytes lie in the array.
        unsafe {
            let spikes = _mm256_loadu_si256(spikes.as_ptr().cast());
            _mm256_test_epi16_mask(spikes, _mm256_set1_epi16((1u16 << lane) as i16))
        }
    }
    #[inline(always)]
    unsafe fn list(self, mask: u16, first: u32, to: *mut u32) -> usize {
        // SAFETY: an `Avx512` exists; the caller's for the rest.
        unsafe {
            let places = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            let places = _mm512_add_epi32(places, _mm512_set1_epi32(first as i32));
            _mm512_storeu_si512(to.cast(), _mm512_maskz_compress_epi32(mask, places));
        }
        mask.count_ones() as usize
    }
    #[inline(always)]
    fn transpose(self, rows: [Self::V; 16]) -> [Self::V; 16] {
        // SAFETY: an `Avx512` exists.
        unsafe {
            // Loops and no closures: those are not compiled for AVX-512 unless they are inlined.
            let zero = _mm512_setzero_ps();
            let mut pairs = [[zero; 2]; 8];
            for (i, pair) in pairs.iter_mut().enumerate() {
                let (a, b) = (rows[2 * i], rows[2 * i + 1]);
                *pair = [_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)];
            }
            // fours[i][j]: in quarter q the values of rows 4i to 4i + 3 in column 4q + j.
            let mut fours = [[zero; 4]; 4];
            for (i, four) in fours.iter_mut().enumerate() {
                let (a, b) = (pairs[2 * i], pairs[2 * i + 1]);
                *four = [
                    _mm512_shuffle_ps::<0x44>(a[0], b[0]),
                    _mm512_shuffle_ps::<0xee>(a[0], b[0]),
                    _mm512_shuffle_ps::<0x44>(a[1], b[1]),
                    _mm512_shuffle_ps::<0xee>(a[1], b[1]),
                ];
            }
            let mut columns = [zero; 16];
            for j in 0..4 {
                // Quarters (0, 2) and (1, 3) of rows 0-3 and 4-7, then of rows 8-11 and 12-15.
                let even = _mm512_shuffle_f32x4::<0x88>(fours[0][j], fours[1][j]);
                let odd = _mm512_shuffle_f32x4::<0xdd>(fours[0][j], fours[1][j]);
                let lower_even = _mm512_shuffle_f32x4::<0x88>(fours[2][j], fours[3][j]);
                let lower_odd = _mm512_shuffle_f32x4::<0xdd>(fours[2][j], fours[3][j]);
                columns[j] = _mm512_shuffle_f32x4::<0x88>(even, lower_even);
                columns[4 + j] = _mm512_shuffle_f32x4::<0x88>(odd, lower_odd);
                columns[8 + j] = _mm512_shuffle_f32x4::<0xdd>(even, lower_even);
                columns[12 + j] = _mm512_shuffle_f32x4::<0xdd>(odd, lower_odd);
            }
            columns
        }
    }
    #[inline(always)]
    fn sums(self, vectors: [Self::V; 16]) -> Self::V {
        // SAFETY: an `Avx512` exists.
        unsafe {
            // As in `transpose`, but half of the values are gone with each step.
            let zero = _mm512_setzero_ps();
            let mut pairs = [zero; 8];
            for (i, pair) in pairs.iter_mut().enumerate() {
                let (a, b) = (vectors[2 * i], vectors[2 * i + 1]);
                *pair = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            }
            let mut fours = [zero; 4];
            for (i, four) in fours.iter_mut().enumerate() {
                let (a, b) = (pairs[2 * i], pairs[2 * i + 1]);
                *four = _mm512_add_ps(_mm512_shuffle_ps::<0x44>(a, b), _mm512_shuffle_ps::<0xee>(a, b));
            }
            let mut eights = [zero; 2];
            for (i, eight) in eights.iter_mut().enumerate() {
                let (a, b) = (fours[2 * i], fours[2 * i + 1]);
                *eight =
                    _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
            }
            let [a, b] = eights;
            _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b))
        }
    }
}
