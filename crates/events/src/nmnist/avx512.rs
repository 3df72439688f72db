//! N-MNIST's events sixteen at a time.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::RECORD;
use crate::Sensor;

const WIDTH: u32 = Sensor::NMNIST.width as u32;
const HEIGHT: u32 = Sensor::NMNIST.height as u32;
/// Events of a vector: a number of 32 bits each.
const LANES: usize = 16;
/// Bytes of a vector.
const VECTOR: usize = 64;
/// Where in the bytes of sixteen records the second of two vectors begins that hold them all.
const SECOND: usize = LANES * RECORD - VECTOR;

/// x, y, and twice the byte whose first bit is the polarity, in each lane.
const PLACE: [u8; VECTOR] = picks([0, 1, 2, 2]);
/// The timestamp, and the polarity above it.
const TIME: [u8; VECTOR] = picks([4, 3, 2, 2]);

/// Where bytes of sixteen records lie in two vectors, the second of which begins at `SECOND`; these of a record in each lane.
const fn picks(of_record: [usize; 4]) -> [u8; VECTOR] {
    let (mut picks, mut at) = ([0; VECTOR], 0);
    while at < VECTOR {
        let byte = at / 4 * RECORD + of_record[at % 4];
        picks[at] = (if byte < VECTOR { byte } else { byte - SECOND + VECTOR }) as u8;
        at += 1;
    }
    picks
}

/// Four bytes of each of sixteen records.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
fn pick(records: &[[u8; RECORD]; LANES], picks: &[u8; VECTOR]) -> __m512i {
    let bytes = records.as_flattened().as_ptr();
    // SAFETY: `picks` is as large as a vector. The records are 80 bytes, which two vectors hold, the second of them from `SECOND` on.
    let (picks, begin, end) = unsafe {
        (
            _mm512_loadu_si512(picks.as_ptr().cast()),
            _mm512_loadu_si512(bytes.cast()),
            _mm512_loadu_si512(bytes.add(SECOND).cast()),
        )
    };
    _mm512_permutex2var_epi8(begin, picks, end)
}

/// Whether no record is earlier than the one before it.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
pub(super) fn in_order(records: &[[u8; RECORD]]) -> bool {
    let Some(last) = records.len().checked_sub(LANES + 1) else {
        return records.is_sorted_by_key(|[_, _, time @ ..]| [time[0] & 0x7f, time[1], time[2]]);
    };
    let bits = _mm512_set1_epi32(0x7f_ffff);
    let mut steps_back = 0;
    // The last of them, which some of the others may overlap, in any case.
    for start in (0..last).step_by(LANES).chain([last]) {
        let records = &records[start..];
        if let (Some(before), Some(after)) = (records.first_chunk(), records[1..].first_chunk()) {
            let (before, after) = (pick(before, &TIME), pick(after, &TIME));
            steps_back |=
                _mm512_cmplt_epi32_mask(_mm512_and_si512(after, bits), _mm512_and_si512(before, bits));
        }
    }
    steps_back == 0
}

/// The bytes of all lanes that are x or y.
const PLACES: u64 = 0x3333_3333_3333_3333;

/// Finds the cells of as many records in a frame whose cells begin with `first`, as [`crate::counting`] does; whether each lies on
/// the sensor.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
pub(super) fn find(records: &[[u8; RECORD]], first: u32, cells: &mut [u32]) -> bool {
    assert_eq!(records.len(), cells.len());
    const { assert!(WIDTH < 128 && HEIGHT < 128, "factors and sums of signed bytes and 16 bits") };
    // By bytes: of x, of y, and of what is neither.
    let factors = _mm512_set1_epi32(i32::from_le_bytes([1, WIDTH as u8, 0, 0]));
    let ends = _mm512_set1_epi32(i32::from_le_bytes([WIDTH as u8, HEIGHT as u8, 0, 0]));
    let (first_off, first_on) =
        (_mm512_set1_epi32(first as i32), _mm512_set1_epi32((first + WIDTH * HEIGHT) as i32));
    let mut furthest = _mm512_setzero_si512();
    let mut find = |records: &[[u8; RECORD]; LANES], cells: &mut [u32; LANES]| {
        let event = pick(records, &PLACE);
        furthest = _mm512_max_epu8(furthest, event);
        let start = _mm512_mask_mov_epi32(first_off, _mm512_movepi32_mask(event), first_on);
        let cell = _mm512_add_epi32(start, _mm512_maddubs_epi16(event, factors));
        // SAFETY: sixteen numbers of 32 bits are as large as a vector.
        unsafe { _mm512_storeu_si512(cells.as_mut_ptr().cast(), cell) };
    };
    let (blocks, rest) = records.as_chunks();
    for (records, cells) in blocks.iter().zip(cells.as_chunks_mut().0) {
        find(records, cells);
    }
    let mut off = false;
    if let (false, Some(records), Some(cells)) =
        (rest.is_empty(), records.last_chunk(), cells.last_chunk_mut())
    {
        // Some of them once more.
        find(records, cells);
    } else {
        // None, or all of fewer than sixteen.
        for ([x, y, high, ..], cell) in rest.iter().zip(cells) {
            let (x, y, on) = (u32::from(*x), u32::from(*y), u32::from(high >> 7));
            off |= (x >= WIDTH) | (y >= HEIGHT);
            *cell = first + (on * HEIGHT + y) * WIDTH + x;
        }
    }
    !off && _mm512_mask_cmpge_epu8_mask(PLACES, furthest, ends) == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::simd::Path;

    /// As the standard says it.
    fn twin([x, y, high, ..]: &[u8; RECORD], first: u32) -> Option<u32> {
        let (x, y, on) = (u32::from(*x), u32::from(*y), u32::from(high >> 7));
        (x < 34 && y < 34).then_some(first + (on * 34 + y) * 34 + x)
    }

    proptest! {
        #[test]
        fn cells_are_those_of_a_twin(
            mut records in prop::collection::vec(any::<[u8; RECORD]>().prop_map(|[x, y, t @ ..]| [x % 34, y % 34, t[0], t[1], t[2]]), 0..100),
            odd in prop::option::of((any::<prop::sample::Index>(), 0usize..2, 34u8..)), first in 0u32..1 << 30,
        ) {
            if let (Some((place, axis, beyond)), false) = (odd, records.is_empty()) {
                place.get_mut(&mut records)[axis] = beyond;
            }
            for path in Path::available().filter(|path| path.has_avx512()) {
                let mut cells = vec![u32::MAX; records.len()];
                let found = <super::super::Nmnist as crate::records::Records<RECORD>>::find(path, &records, first, &mut cells);
                let expected: Option<Vec<u32>> = records.iter().map(|record| twin(record, first)).collect();
                prop_assert_eq!(found, Some(expected.is_some()));
                if let Some(expected) = expected {
                    prop_assert_eq!(cells, expected);
                }
            }
        }
    }
}
