//! A step of the CPU engine asks for no memory once its rooms are made, and the engine knows how much it holds.
#![allow(unsafe_code, clippy::unwrap_used, missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use bpsta_spiking::cpu::{Cpu, Path};
use bpsta_spiking::{
    AdamW, Architecture, Batch, Engine, Input, Mode, NetworkSpec, Neuron, Parameters, Rule, Streams, Variant,
};
use candle_core::Device;

/// The system's allocator, counting.
struct Counting;

static ASKED: AtomicUsize = AtomicUsize::new(0);
static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all calls go to the system's allocator as they are.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.fetch_add(1, Ordering::Relaxed);
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_step_asks_for_no_memory() {
    const STEPS: usize = 4;
    const SAMPLES: usize = 5;
    let cases = [
        (Architecture::Small, Input { channels: 1, height: 28, width: 28, stride: 1 }, 1),
        (Architecture::Large, Input { channels: 2, height: 128, width: 128, stride: 2 }, STEPS),
    ];
    for (architecture, input, frames) in cases {
        let spec = NetworkSpec::paper(architecture, Variant::Events, 0.125, input, 10).unwrap();
        let streams = Streams::new(1);
        let parameters = Parameters::initial(&spec, &streams, &Device::Cpu).unwrap();
        let count = SAMPLES * frames * input.channels * input.height * input.width;
        let values: Vec<f32> = (0..count).map(|i| (i % 97) as f32 / 97.0).collect();
        let labels = [0, 1, 2, 3, 4];
        let batch = Batch { values: &values, frames, time_steps: STEPS, labels: &labels };
        let mut dropout = streams.stream("dropout/0");
        let neuron = Neuron::paper(Rule::Both);
        let path = Path::from_environment().unwrap();
        let make = || Cpu::new(spec.clone(), neuron, &parameters, &AdamW::new(1e-4), path).unwrap();
        let mut steps = |engine: &mut Cpu, count: usize| {
            (0..count).for_each(|_| {
                engine.train_step(&batch, Mode::Spiking, &mut dropout, 1e-3).unwrap();
            });
        };
        // On one thread: which thread makes its rooms when is a matter of chance. Another engine has made them before what this one holds is
        // counted.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        pool.install(|| steps(&mut make(), 2));
        let before = HELD.load(Ordering::Relaxed);
        let mut engine = make();
        pool.install(|| steps(&mut engine, 2));
        let (held, known) = (HELD.load(Ordering::Relaxed) - before, engine.memory().unwrap());
        // What is left are lists of places.
        assert!(known <= held && held < known + known / 64, "{architecture}: {held} held, {known} known");
        let before = ASKED.load(Ordering::Relaxed);
        pool.install(|| steps(&mut engine, 3));
        assert_eq!(ASKED.load(Ordering::Relaxed) - before, 0, "{architecture}");
        // A smaller batch lets go of nothing.
        let fewer = Batch { values: &values[..values.len() / SAMPLES], labels: &labels[..1], ..batch };
        pool.install(|| engine.train_step(&fewer, Mode::Spiking, &mut dropout, 1e-3)).unwrap();
        assert!(engine.memory().unwrap() >= known, "{architecture}");
    }
}
