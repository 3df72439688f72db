//! The reference engine's operations on an NVIDIA GPU, where candle would take many small ones: kernels of our own, compiled when
//! the program runs. Their portable twins are the tensor operations in [`crate::reference`].
//!
//! `BPSTA_CUDA=portable` turns them off, for measuring and checking: the GPU then runs the portable operations.

mod cells;
mod gpu;
#[allow(unsafe_code, reason = "starts kernels on addresses of the GPU's memory")]
mod launch;
mod norm;
mod ops;
mod products;

pub(crate) use gpu::{describe, open};
pub(crate) use launch::Kernels;
