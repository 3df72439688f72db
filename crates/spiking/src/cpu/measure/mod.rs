//! The kernels on data of typical shapes, for benches, and what this machine can do at most.
//!
//! A workload's shapes are those of a layer of the paper's networks; its data are made up. Rates are of one thread.

mod cells;
mod convolutions;
pub(super) mod linears;

use std::hint::black_box;
use std::time::Instant;

use super::memory::Floats;
use super::plan::Pool;
use super::simd::{Kernel, LANES, Path, Simd};
use crate::{Rule, Streams};

use cells::{average, fire, learn, moments, unnormalise};
use convolutions::{
    input_gradient, product, small_tiles, spike_gradient, spike_product, tiled_gradient, turn,
};
use linears::{adamw, linear_gradients, linear_products};

/// A kernel with its data.
pub struct Workload {
    /// Kernel and shape.
    pub name: &'static str,
    /// Floating-point operations of the computation as it is defined, a multiply-add for two; what a kernel avoids counts too.
    pub operations: f64,
    /// Bytes that must be read and written at least once.
    pub bytes: f64,
    /// Computes it once.
    pub run: Box<dyn FnMut()>,
}

impl Workload {
    /// Median seconds of a run, over `runs` of them.
    pub fn seconds(&mut self, runs: usize) -> f64 {
        median(runs, &mut self.run)
    }
}

/// What one thread of this machine does at most on a path.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Fused multiply-adds in registers, in GFLOP/s.
    pub gflops: f64,
    /// Copying memory far larger than the caches, bytes read and bytes written together, in GB/s.
    pub copy_gb: f64,
}

impl Limits {
    /// Measures them, in about a second.
    pub fn measure(path: Path) -> Self {
        const ROUNDS: usize = 1_000_000;
        let seconds = median(9, &mut || {
            black_box(path.run(Multiply { rounds: ROUNDS }));
        });
        let gflops = (ROUNDS * Multiply::SUMS * LANES * 2) as f64 / seconds / 1e9;
        let from = vec![1u8; 256 << 20];
        let mut to = vec![0u8; from.len()];
        let seconds = median(5, &mut || {
            to.copy_from_slice(black_box(&from));
            black_box(&to);
        });
        Self { gflops, copy_gb: 2.0 * from.len() as f64 / seconds / 1e9 }
    }
}

/// Chains of multiply-adds that wait for nothing but themselves: `rounds` of [`Multiply::SUMS`].
struct Multiply {
    rounds: usize,
}

impl Multiply {
    /// Vectors that fit the registers of every path and, of two registers each, hide the latency.
    const SUMS: usize = 6;

    #[inline(always)]
    fn chains<S: Simd, const SUMS: usize>(s: S, rounds: usize) -> f32 {
        let factor = s.splat(black_box(0.999));
        let mut sums = [s.splat(1.0); SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = s.fma(*sum, factor, factor);
            }
        }
        let mut out = [0.0; LANES];
        for sum in sums {
            // SAFETY: `out` holds 16 values.
            unsafe { s.store(out.as_mut_ptr(), s.add(sum, s.load(out.as_ptr()))) };
        }
        out.iter().sum()
    }
}

impl Kernel for Multiply {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        // A vector of one register needs twice as many to hide the latency, and has the registers for them.
        if S::MANY_REGISTERS {
            Self::chains::<S, { 2 * Self::SUMS }>(s, self.rounds / 2)
        } else {
            Self::chains::<S, { Self::SUMS }>(s, self.rounds)
        }
    }
}

fn median(runs: usize, f: &mut dyn FnMut()) -> f64 {
    f();
    let mut seconds: Vec<f64> = (0..runs.max(1))
        .map(|_| {
            let clock = Instant::now();
            f();
            clock.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn floats(count: usize, seed: u64) -> Floats {
    let order = Streams::new(seed).permutation("measure", 4096);
    let mut floats = Floats::zeros(count);
    for (i, value) in floats.iter_mut().enumerate() {
        *value = order[i % order.len()] as f32 / 4096.0 - 0.5;
    }
    floats
}

/// Every kernel on a typical shape.
pub fn workloads(path: Path) -> Vec<Workload> {
    vec![
        spike_product(path),
        spike_gradient(path, "spike weight gradient, 32 planes of 14x14, 16 to 64 channels, 10 % fired", 10),
        spike_gradient(path, "the same, 20 % fired", 20),
        spike_gradient(path, "the same, 40 % fired", 40),
        spike_gradient(path, "the same, 80 % fired", 80),
        tiled_gradient(
            path,
            "weight gradient by tiles, 16 planes of 16x16, 64 to 64 channels, spikes",
            Pool::None,
        ),
        tiled_gradient(path, "the same, real maps", Pool::Average(2)),
        input_gradient(path, "input gradient by Winograd, 16 planes of 14x14, 64 to 64 channels", 14, 16, 64),
        input_gradient(path, "the same in place, 16 to 16 channels", 14, 16, 16),
        input_gradient(path, "input gradient directly, 2 planes of 4x4, 64 to 64 channels", 4, 2, 64),
        small_tiles(path),
        linear_products(path),
        linear_gradients(path),
        product(path),
        turn(path),
        moments(path),
        unnormalise(path),
        fire(path),
        learn(path, Rule::Baseline, "cells backward, baseline, 28x28, T = 4"),
        learn(path, Rule::Both, "cells backward, both, 28x28, T = 4"),
        average(path),
        adamw(path),
    ]
}
