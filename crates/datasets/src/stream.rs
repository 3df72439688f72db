//! Named random streams: every random number of a stand-in or of an augmentation comes from one of these.
//!
//! A stream is ChaCha8 keyed by BLAKE3 of (seed, name). Its name says what it is for, as in
//! `synthetic/nmnist/train/17` or `augment/3/17`, so a sample depends on the seed and its own name and on nothing else: not on
//! how many samples were asked for, nor on the thread that draws it.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Separates these keys from every other use of the same seed in the project; the words are those of the first use.
const CONTEXT: &str = "bpsta-datasets 2026 synthetic stand-ins: random stream";

/// A stream of random numbers that is the same on every platform.
pub(crate) struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream called `name` under `seed`.
    pub(crate) fn named(seed: u64, name: &str) -> Self {
        let mut material = seed.to_le_bytes().to_vec();
        material.extend_from_slice(name.as_bytes());
        Self(ChaCha8Rng::from_seed(blake3::derive_key(CONTEXT, &material)))
    }

    /// Uniform in [0, 1), on a grid of 2^-24 that `f32` holds exactly.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1u32 << 24) as f32
    }

    /// Uniform in [low, high).
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// A whole number below `bound`, which must not be 0. The bias of the multiply-and-shift is below 2^-32 times
    /// `bound`.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.0.next_u32()) * u64::from(bound)) >> 32) as u32
    }

    /// True with probability one half.
    pub(crate) fn coin(&mut self) -> bool {
        self.0.next_u32() >> 31 == 1
    }

    /// Bell-shaped, mean 0, variance 1, never beyond 3.5: the sum of four uniform numbers. It stands in for a
    /// normal number wherever only its spread matters, and needs no logarithm.
    pub(crate) fn bell(&mut self) -> f32 {
        let bits = self.0.next_u64();
        let sum = (0..4).map(|part| (bits >> (16 * part)) as u16).map(u32::from).sum::<u32>();
        const SQRT_3: f32 = 1.732_050_8;
        (sum as f32 / 65_535.0 - 2.0) * SQRT_3
    }
}
