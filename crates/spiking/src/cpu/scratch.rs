//! Room that each thread keeps: tables, potentials and lanes of one task, allocated once.

use std::cell::RefCell;

thread_local! {
    static FLOATS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    static LANES: RefCell<Vec<u16>> = const { RefCell::new(Vec::new()) };
}

/// Gives `f` room for `len` floats, whatever stood there.
pub(super) fn with_floats<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    FLOATS.with_borrow_mut(|room| {
        if room.len() < len {
            room.resize(len, 0.0);
        }
        f(&mut room[..len])
    })
}

/// Gives `f` room for `len` masks of lanes, all empty.
pub(super) fn with_lanes<R>(len: usize, f: impl FnOnce(&mut [u16]) -> R) -> R {
    LANES.with_borrow_mut(|room| {
        room.clear();
        room.resize(len, 0);
        f(room)
    })
}
