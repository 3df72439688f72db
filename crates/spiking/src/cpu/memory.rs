//! Memory of the engine: floats that begin on a cache line, and room that each thread keeps.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use super::simd::LANES;

/// A cache line, in bytes: a vector of 16 that does not begin on one is read from two.
const LINE: usize = 64;

/// f32 values, the first at the beginning of a cache line.
#[derive(Debug, Default)]
pub(super) struct Floats {
    values: Vec<f32>,
    start: usize,
    len: usize,
}

impl Floats {
    pub(super) fn zeros(len: usize) -> Self {
        let values = vec![0.0; len + LANES];
        // At most 15 values, for a Vec of f32 begins at a multiple of their size.
        let start = values.as_ptr().align_offset(LINE).min(LANES);
        Self { values, start, len }
    }

    /// Shortens it or appends zeros. Memory is asked for only where it was never as long.
    pub(super) fn resize(&mut self, len: usize) {
        if self.start + len > self.values.len() {
            let mut longer = Self::zeros(len);
            longer[..self.len].copy_from_slice(self);
            *self = longer;
        } else if len > self.len {
            self.values[self.start + self.len..self.start + len].fill(0.0);
        }
        self.len = len;
    }

    /// Bytes it holds, used or not.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.values.as_slice())
    }

    /// Makes it at least so long.
    pub(super) fn grow(&mut self, len: usize) {
        if self.len < len {
            self.resize(len);
        }
    }
}

impl Clone for Floats {
    fn clone(&self) -> Self {
        let mut copy = Self::zeros(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[self.start..self.start + self.len]
    }
}

impl DerefMut for Floats {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[self.start..self.start + self.len]
    }
}

/// Bytes of a list, used or not.
pub(super) fn bytes_of<T>(list: &Vec<T>) -> usize {
    list.capacity() * size_of::<T>()
}

thread_local! {
    static FLOATS: RefCell<Floats> = RefCell::default();
    static TABLES: RefCell<Floats> = RefCell::default();
    static LISTS: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
    static LANE_MASKS: RefCell<Vec<u16>> = const { RefCell::new(Vec::new()) };
}

/// Gives `f` room for `len` floats, whatever stood there.
pub(super) fn with_floats<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    FLOATS.with_borrow_mut(|room| {
        room.grow(len);
        f(&mut room[..len])
    })
}

/// Gives `f` room for a table or for potentials, whatever stood there; inside [`with_floats`] too.
pub(super) fn with_table<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    TABLES.with_borrow_mut(|room| {
        room.grow(len);
        f(&mut room[..len])
    })
}

/// Gives `f` room for lists, whatever stood there.
pub(super) fn with_lists<R>(len: usize, f: impl FnOnce(&mut [u32]) -> R) -> R {
    LISTS.with_borrow_mut(|room| {
        if room.len() < len {
            room.resize(len, 0);
        }
        f(&mut room[..len])
    })
}

/// Gives `f` room for `len` masks of lanes, all empty.
pub(super) fn with_lanes<R>(len: usize, f: impl FnOnce(&mut [u16]) -> R) -> R {
    LANE_MASKS.with_borrow_mut(|room| {
        room.clear();
        room.resize(len, 0);
        f(room)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_begin_on_a_line_and_keep_their_values() {
        let mut floats = Floats::zeros(5);
        floats.copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        floats.resize(3);
        floats.resize(40);
        assert_eq!(floats[..4], [1.0, 2.0, 3.0, 0.0]);
        assert!(floats[3..].iter().all(|value| *value == 0.0));
        for floats in [floats.clone(), floats] {
            assert_eq!((floats.len(), floats.as_ptr().align_offset(LINE)), (40, 0));
        }
    }
}
