//! The kernels: each a struct of slices that says what it computes, checked once, then run over [`Simd`](super::simd::Simd).
//!
//! They know no network and no thread. Of this engine's `unsafe` all but `simd`'s and one store of `measure` lives here; each kernel asserts that every place it
//! touches lies inside its slices before it touches one, and each has a plain scalar twin in `cpu/tests/`.

pub(super) mod adamw;
pub(super) mod groups;
pub(super) mod listed;
pub(super) mod neuron;
pub(super) mod norm;
pub(super) mod pool;
pub(super) mod product;
pub(super) mod spike_gradient;
pub(super) mod spikes;
pub(super) mod winograd;
