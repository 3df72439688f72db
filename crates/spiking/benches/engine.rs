//! Every kernel of the CPU engine on a typical shape, and whole training steps and evaluations of the paper's networks.
#![allow(clippy::unwrap_used, missing_docs)]

use bpsta_spiking::cpu::measure::workloads;
use bpsta_spiking::cpu::{Cpu, Path};
use bpsta_spiking::{
    AdamW, Architecture, Batch, Engine, Input, Mode, NetworkSpec, Neuron, Parameters, Rule, Streams, Variant,
};
use candle_core::Device;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn kernels(c: &mut Criterion) {
    let path = Path::from_environment().unwrap();
    let mut group = c.benchmark_group(format!("kernels, {path}"));
    for mut workload in workloads(path) {
        group.throughput(Throughput::Bytes(workload.bytes as u64));
        group.bench_function(workload.name, |bencher| bencher.iter(&mut workload.run));
    }
    group.finish();
}

fn networks(c: &mut Criterion) {
    const STEPS: usize = 4;
    const SAMPLES: usize = 16;
    let path = Path::from_environment().unwrap();
    let mut group = c.benchmark_group(format!("networks at width 1/8, T = {STEPS}, batch {SAMPLES}, {path}"));
    group.throughput(Throughput::Elements(SAMPLES as u64));
    for architecture in Architecture::ALL {
        let (input, frames) = match architecture {
            Architecture::Small => (Input { channels: 1, height: 28, width: 28, stride: 1 }, 1),
            Architecture::Middle => (Input { channels: 2, height: 34, width: 34, stride: 1 }, STEPS),
            Architecture::Large => (Input { channels: 2, height: 128, width: 128, stride: 2 }, STEPS),
        };
        let spec = NetworkSpec::paper(architecture, Variant::Events, 0.125, input, 10).unwrap();
        let streams = Streams::new(1);
        let parameters = Parameters::initial(&spec, &streams, &Device::Cpu).unwrap();
        let count = SAMPLES * frames * input.channels * input.height * input.width;
        let values: Vec<f32> = (0..count).map(|i| (i % 97) as f32 / 97.0).collect();
        let labels: Vec<u32> = (0..SAMPLES as u32).map(|sample| sample % 10).collect();
        let batch = Batch { values: &values, frames, time_steps: STEPS, labels: &labels };
        let mut dropout = streams.stream("dropout/0");
        for rule in Rule::ALL {
            let optimizer = AdamW::new(1e-4);
            let mut engine =
                Cpu::new(spec.clone(), Neuron::paper(rule), &parameters, &optimizer, path).unwrap();
            group.bench_function(BenchmarkId::new(format!("step, {architecture}"), rule), |bencher| {
                bencher.iter(|| engine.train_step(&batch, Mode::Spiking, &mut dropout, 1e-3).unwrap());
            });
        }
        let mut engine =
            Cpu::new(spec, Neuron::paper(Rule::Both), &parameters, &AdamW::new(0.0), path).unwrap();
        group.bench_function(format!("evaluation, {architecture}"), |bencher| {
            bencher.iter(|| engine.evaluate(&batch, Mode::Spiking).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, kernels, networks);
criterion_main!(benches);
