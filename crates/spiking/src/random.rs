//! Every random number comes from a named ChaCha stream derived from one seed.
//!
//! candle's CPU generator cannot be seeded, so it is never used. A stream's name is part of its key: drawing
//! more from one never moves another.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// The random streams of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streams {
    seed: u64,
}

impl Streams {
    /// The streams that belong to `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The stream called `name`, from its beginning.
    pub fn stream(&self, name: &str) -> ChaCha8Rng {
        let mut hasher = blake3::Hasher::new_derive_key("bpsta random stream v1");
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(name.as_bytes());
        ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
    }

    /// The numbers 0..`len` in an order drawn from the stream `name` (Fisher-Yates).
    pub fn permutation(&self, name: &str, len: usize) -> Vec<usize> {
        let mut stream = self.stream(name);
        let mut order: Vec<usize> = (0..len).collect();
        for last in (1..len).rev() {
            order.swap(last, below(&mut stream, last + 1));
        }
        order
    }
}

/// A number of [0, 1) with 24 random bits: the same on every platform.
pub(crate) fn unit(stream: &mut ChaCha8Rng) -> f32 {
    (stream.next_u32() >> 8) as f32 / (1u32 << 24) as f32
}

/// What dropout of a given probability multiplies a neuron with, by a draw of [`unit`]: 0, or 1 / (1 - p).
pub(crate) fn dropout_factor(unit: f32, probability: f64) -> f32 {
    if f64::from(unit) < probability { 0.0 } else { (1.0 / (1.0 - probability)) as f32 }
}

/// The stream as it is behind so many draws of [`unit`], each of which takes a word of it: so that threads can share one stream out.
pub(crate) fn ahead(stream: &ChaCha8Rng, draws: usize) -> ChaCha8Rng {
    let mut ahead = stream.clone();
    ahead.set_word_pos(stream.get_word_pos() + draws as u128);
    ahead
}

/// A whole number of 0..`bound`, which must not be 0, without bias (Lemire 2019, by rejection).
pub fn below(stream: &mut ChaCha8Rng, bound: usize) -> usize {
    let bound = bound as u64;
    let reject_under = bound.wrapping_neg() % bound;
    loop {
        let wide = u128::from(stream.next_u64()) * u128::from(bound);
        if wide as u64 >= reject_under {
            return (wide >> 64) as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_name_and_by_seed_and_repeat() {
        let draw = |seed, name: &str| Streams::new(seed).stream(name).next_u64();
        assert_eq!(draw(1, "init"), draw(1, "init"));
        assert_ne!(draw(1, "init"), draw(2, "init"));
        assert_ne!(draw(1, "init"), draw(1, "shuffle"));
    }

    #[test]
    fn a_permutation_holds_each_number_once() {
        let mut order = Streams::new(3).permutation("shuffle", 1000);
        assert_ne!(order, (0..1000).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn unit_stays_inside_its_interval() {
        let mut stream = Streams::new(5).stream("unit");
        let draws: Vec<f32> = (0..10_000).map(|_| unit(&mut stream)).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        let mean = draws.iter().map(|draw| f64::from(*draw)).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "mean {mean}");
    }

    /// Other numbers would make other runs of the same seed.
    #[test]
    fn a_stream_is_the_same_numbers_for_ever() {
        let mut stream = Streams::new(42).stream("init/0.weight");
        let words: [u32; 4] = std::array::from_fn(|_| stream.next_u32());
        assert_eq!(words, [2307332907, 363860687, 4239727022, 3427766378]);
    }

    /// A block of the generator holds 16 words, and what it buffers 64.
    #[test]
    fn a_stream_ahead_is_the_stream_behind_as_many_draws() {
        for before in [0, 1, 15, 16, 63] {
            let mut stream = Streams::new(5).stream("ahead");
            (0..before).for_each(|_| {
                unit(&mut stream);
            });
            for draws in [0, 1, 2, 14, 15, 16, 17, 63, 64, 65, 200] {
                let (mut ahead, mut drawn) = (ahead(&stream, draws), stream.clone());
                (0..draws).for_each(|_| {
                    unit(&mut drawn);
                });
                let [ahead, drawn] = [&mut ahead, &mut drawn].map(|stream| [(); 70].map(|()| unit(stream)));
                assert_eq!(ahead, drawn, "{draws} behind {before}");
            }
        }
    }
}
