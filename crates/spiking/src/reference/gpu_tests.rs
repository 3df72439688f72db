//! The kernels beside the portable operations. Needs a GPU: `cargo test --package bpsta-spiking --features cuda`.
#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor};
use rand_core::Rng;

use super::lif::{LifTrace, lif_backward, lif_forward};
use super::trace::{SPIKES, Trace, counted, zip_channels};
use super::{Reference, Trainer, conv, dense, lif, norm, pool};
use crate::cuda::Kernels;
use crate::{
    AdamW, Architecture, Engine, Gpu, Input, Mode, NetworkSpec, Neuron, Parameters, Reset, Rule, Streams,
    Variant,
};

/// Time steps: one, a few, and more than a launch takes.
const LENGTHS: [usize; 3] = [1, 5, 70];

fn gpu() -> Device {
    Gpu::open(0).unwrap()
}

/// Values between -1 and 1 on a grid of 1/64, so that thresholds and ties are met.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut stream = Streams::new(seed).stream("values");
    (0..count).map(|_| (stream.next_u32() % 129) as f32 / 64.0 - 1.0).collect()
}

/// The same tensors on the CPU and on the GPU.
fn both(shape: &[usize], steps: usize, seed: u64) -> [Vec<Tensor>; 2] {
    let on = |device: &Device| {
        (0..steps as u64)
            .map(|t| Tensor::from_vec(values(shape.iter().product(), seed + 100 * t), shape, device).unwrap())
            .collect()
    };
    [on(&Device::Cpu), on(&gpu())]
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    counted(tensor).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The same spikes on the CPU and on the GPU, where they are of a shorter type.
fn spikes(shape: &[usize], steps: usize, seed: u64) -> [Vec<Tensor>; 2] {
    let fire = |x: &Tensor| x.sign().unwrap().relu().unwrap();
    let [cpu, gpu] = both(shape, steps, seed);
    [cpu.iter().map(fire).collect(), gpu.iter().map(|x| fire(x).to_dtype(SPIKES).unwrap()).collect()]
}

/// Asserts the same values; 0 and -0 are the same.
fn same(cpu: &[Tensor], gpu: &[Tensor]) {
    assert_eq!(cpu.len(), gpu.len());
    for (t, (cpu, gpu)) in cpu.iter().zip(gpu).enumerate() {
        assert_eq!(cpu.dims(), gpu.dims());
        assert!(flat(cpu) == flat(gpu), "time step {t}");
    }
}

fn traced(tensors: Vec<Tensor>) -> Trace {
    Trace::new(tensors).unwrap()
}

/// Asserts values within rounding of sums.
fn close(cpu: &Tensor, gpu: &Tensor) {
    assert_eq!(cpu.dims(), gpu.dims());
    for (i, (cpu, gpu)) in flat(cpu).iter().zip(flat(gpu)).enumerate() {
        assert!(
            (cpu - gpu).abs() <= 2e-5 * cpu.abs().max(1.0),
            "value {i}: {cpu} on the CPU, {gpu} on the GPU"
        );
    }
}

#[test]
fn every_rule_has_the_portable_operations_bits() {
    let shape = [3, 2, 5, 7];
    for rule in Rule::ALL {
        for reset in [Reset::Attached, Reset::Detached] {
            for steps in LENGTHS {
                let neuron = Neuron { reset, ..Neuron::paper(rule) };
                let [cpu, gpu] = both(&shape, steps, 1).map(|current| {
                    let one = current[..1].to_vec();
                    assert_eq!(Kernels::of(&one[0]).is_some(), one[0].device().is_cuda());
                    let constant = lif_forward(&traced(one), steps, &neuron).unwrap();
                    (lif_forward(&traced(current), steps, &neuron).unwrap(), constant)
                });
                let [cpu_grads, gpu_grads] = both(&shape, steps, 2).map(traced);
                let check = |cpu: &LifTrace, gpu: &LifTrace| {
                    same(cpu.potential.tensors(), gpu.potential.tensors());
                    same(cpu.spikes.tensors(), gpu.spikes.tensors());
                    let cpu = lif_backward(cpu, &cpu_grads, &neuron).unwrap();
                    same(cpu.tensors(), lif_backward(gpu, &gpu_grads, &neuron).unwrap().tensors());
                };
                check(&cpu.0, &gpu.0);
                check(&cpu.1, &gpu.1);
            }
        }
    }
}

#[test]
fn columns_biases_and_pools_have_the_portable_operations_bits() {
    for shape in [[3, 2, 5, 7], [1, 1, 1, 1], [2, 3, 9, 4]] {
        let [cpu, gpu] = both(&shape, 3, 3).map(|x| {
            let bias = Tensor::new(&values(shape[0], 4)[..], x[0].device()).unwrap();
            let rows = x.iter().map(|x| x.flatten_from(1).unwrap()).collect();
            let identity = Tensor::eye(shape[0], candle_core::DType::F32, x[0].device()).unwrap();
            let shifted = dense::linear(&vec![traced(rows)], &identity, &bias).unwrap();
            let mut found = shifted[0].tensors().to_vec();
            found.extend(match Kernels::of(&x[0]) {
                Some(kernels) => {
                    let columns = kernels.columns(&Tensor::stack(&x, 0).unwrap()).unwrap();
                    Trace::of_block(columns).unwrap().tensors().to_vec()
                }
                None => x.iter().map(|x| conv::columns(x).unwrap()).collect(),
            });
            found
        });
        same(&cpu, &gpu);
    }
    for (shape, size) in [([3, 2, 5, 7], 2), ([2, 1, 8, 8], 4), ([1, 2, 4, 4], 2)] {
        let pooled = [shape[0], shape[1], shape[2] / size, shape[3] / size];
        let [cpu_grad, gpu_grad] = both(&pooled, 1, 5);
        for [cpu, gpu] in [both(&shape, 1, 6), spikes(&shape, 1, 6)] {
            let all = |x: &Tensor, grad: &Tensor| {
                let most = pool::max(x, size).unwrap();
                let average = pool::average(x, size, true).unwrap();
                assert_eq!(average.dtype(), x.dtype());
                let backward = pool::max_backward(grad, x, &most, size).unwrap();
                let spread = pool::average_backward(grad, x, size).unwrap();
                vec![backward, spread, most, average]
            };
            same(&all(&cpu[0], &cpu_grad[0]), &all(&gpu[0], &gpu_grad[0]));
        }
    }
    let [cpu, gpu] = both(&[3, 4, 5], 2, 16);
    let through = |x: &[Tensor]| vec![dense::relu_backward(&x[0], &x[1].relu().unwrap()).unwrap()];
    same(&through(&cpu), &through(&gpu));
}

/// Sums of numbers on the grid are exact in any order, and so are these, of spikes and of real numbers, at each time step or at all of them alike.
#[test]
fn products_are_exact() {
    let steps = 3;
    for shape in [[3, 2, 5, 7], [8, 4, 6, 6]] {
        let [cpu_grads, gpu_grads] = both(&[5, shape[1], shape[2], shape[3]], steps, 18);
        let inputs =
            [spikes(&shape, steps, 17), spikes(&shape, 1, 17), both(&shape, steps, 17), both(&shape, 1, 17)];
        for [cpu, gpu] in inputs {
            let all = |x: Vec<Tensor>, grads: Vec<Tensor>| {
                let device = x[0].device().clone();
                let tensor = |shape: &[usize], seed| {
                    Tensor::from_vec(values(shape.iter().product(), seed), shape, &device).unwrap()
                };
                let features = |x: &Tensor| dense::flatten(x).unwrap();
                let flat = vec![traced(x.iter().map(features).collect())];
                let flat_grads = vec![traced(grads.iter().map(features).collect())];
                let inputs = shape[0] * shape[2] * shape[3];
                let outputs = 5 * shape[2] * shape[3];
                let (weight, bias) = (tensor(&[5, shape[0], 3, 3], 19), tensor(&[5], 20));
                let (linear_weight, linear_bias) = (tensor(&[outputs, inputs], 21), tensor(&[outputs], 22));
                let (shards, grads) = (vec![traced(x)], vec![traced(grads)]);
                let traces = [
                    conv::forward(&shards, &weight, &bias).unwrap(),
                    conv::backward_input(&grads, &weight).unwrap(),
                    dense::linear(&flat, &linear_weight, &linear_bias).unwrap(),
                    dense::linear_backward_input(&flat_grads, &linear_weight).unwrap(),
                ];
                let (dw, db) = conv::backward_parameters(&shards, &grads, &weight).unwrap();
                let (linear_dw, linear_db) = dense::linear_backward_parameters(&flat, &flat_grads).unwrap();
                let mut found: Vec<Tensor> =
                    traces.iter().flat_map(|shards| shards[0].tensors().to_vec()).collect();
                found.extend([dw, db, linear_dw, linear_db]);
                found
            };
            same(&all(cpu, cpu_grads.clone()), &all(gpu, gpu_grads.clone()));
        }
    }
}

/// What does not look across channels gives the same for a block of all time steps as for each by itself.
#[test]
fn a_block_is_its_time_steps() {
    let [_, x] = spikes(&[3, 2, 8, 8], 4, 24);
    let [_, grads] = both(&[3, 2, 4, 4], 4, 25);
    let [apart, block] = [false, true].map(|as_block| {
        let trace = |tensors: &[Tensor]| match as_block {
            true => Trace::of_block(Tensor::stack(tensors, 0).unwrap()).unwrap(),
            false => traced(tensors.to_vec()),
        };
        let (x, grads) = (trace(&x), trace(&grads));
        let most = x.map_channels(|x| pool::max(x, 2)).unwrap();
        let features = most.map_channels(dense::flatten).unwrap();
        let back = zip_channels([&grads, &x, &most], |[grad, x, most]| pool::max_backward(grad, x, most, 2));
        let spread = zip_channels([&grads, &x], |[grad, x]| pool::average_backward(grad, x, 2)).unwrap();
        let maps = features.map_channels(|x| dense::unflatten(x, [4, 4])).unwrap();
        let fired: f32 = x.tensors().iter().flat_map(flat).sum();
        assert_eq!(lif::count(&x).unwrap(), fired as u64);
        let traces = [most, features, back.unwrap(), spread, maps];
        traces.iter().flat_map(|trace| trace.tensors().to_vec()).collect::<Vec<_>>()
    });
    same(&apart, &block);
}

/// Where the numbers are on no grid, they are split without a loss.
#[test]
fn products_with_spikes_keep_all_digits() {
    let mut stream = Streams::new(22).stream("normal");
    let weights: Vec<f32> = (0..64 * 32 * 9).map(|_| (stream.next_u32() as f32).sin() * 1e-2).collect();
    let [cpu, gpu] = spikes(&[32, 4, 9, 9], 1, 23).map(|x| {
        let device = x[0].device().clone();
        let weight = Tensor::from_slice(&weights, (64, 32, 3, 3), &device).unwrap();
        let bias = Tensor::zeros(64, candle_core::DType::F32, &device).unwrap();
        if let Some(kernels) = Kernels::of(&weight) {
            let parts = kernels.split(&weight.reshape((1, 64, 32 * 9)).unwrap()).unwrap();
            let parts = parts.to_dtype(candle_core::DType::F32).unwrap().reshape((3, 64 * 32 * 9)).unwrap();
            let parts: Vec<Vec<f32>> = parts.to_vec2().unwrap();
            assert!((0..weights.len()).all(|i| parts[0][i] + parts[1][i] + parts[2][i] == weights[i]));
        }
        conv::forward(&vec![traced(x)], &weight, &bias).unwrap()[0].first().clone()
    });
    let largest = flat(&cpu).iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let apart =
        flat(&cpu).iter().zip(flat(&gpu)).fold(0.0f32, |most, (cpu, gpu)| most.max((cpu - gpu).abs()));
    assert!(apart <= 2e-6 * largest, "values up to {largest}, at most {apart} apart");
}

#[test]
fn normalisation_meets_the_portable_operations() {
    let shape = [3, 4, 9, 31];
    for steps in LENGTHS {
        // An input that is the same at each step has one tensor, and its gradients one a step.
        for constant in [false, true] {
            let [cpu, gpu] = both(&shape, if constant { 1 } else { steps }, 7);
            let [cpu_grads, gpu_grads] = both(&shape, steps, 8);
            let all = |x: Vec<Tensor>, grads: Vec<Tensor>| {
                let device = x[0].device().clone();
                let per_channel = |seed| Tensor::new(&values(shape[0], seed)[..], &device).unwrap();
                let (weight, bias, var) = (per_channel(9), per_channel(10), per_channel(11).sqr().unwrap());
                let shards = vec![traced(x)];
                let statistics = norm::batch_statistics(&shards).unwrap();
                let mean = norm::running_update(&bias, &statistics.mean, steps).unwrap();
                let unbiased = norm::running_update(&var, &statistics.unbiased, steps).unwrap();
                let (out, saved) = norm::forward(&shards, statistics, &weight, &bias).unwrap();
                let running = norm::apply_running(&shards, &mean, &var, &weight, &bias).unwrap();
                let (next, dw, db) = norm::backward(&vec![traced(grads)], &saved, &weight).unwrap();
                let traces = [out, running, next];
                let mut found: Vec<Tensor> =
                    traces.iter().flat_map(|shards| shards[0].tensors().to_vec()).collect();
                found.extend([mean, unbiased, dw, db]);
                found
            };
            let (cpu, gpu) = (all(cpu, cpu_grads), all(gpu, gpu_grads));
            assert_eq!(cpu.len(), gpu.len());
            cpu.iter().zip(&gpu).for_each(|(cpu, gpu)| close(cpu, gpu));
        }
    }
}

/// Normalisation, rectifier and cells by one kernel, beside the kernels for each.
#[test]
fn cells_behind_a_norm_have_the_bits_of_each_by_itself() {
    let shape = [3, 4, 5, 7];
    for rule in Rule::ALL {
        let neuron = Neuron::paper(rule);
        for (steps, constant) in LENGTHS.iter().flat_map(|steps| [(*steps, false), (*steps, true)]) {
            let [_, x] = both(&shape, if constant { 1 } else { steps }, 26);
            let [_, grads] = both(&shape, steps, 27);
            let per_channel = |seed| Tensor::new(&values(shape[0], seed)[..], x[0].device()).unwrap();
            let (weight, bias, var) = (per_channel(9), per_channel(10), per_channel(11).sqr().unwrap());
            let kernels = Kernels::of(&x[0]).unwrap();
            let (x, grads) = (traced(x), traced(grads));
            let relu = |trace: &Trace| trace.map(|x| Ok(x.relu()?)).unwrap();

            let statistics = kernels.batch_statistics(&x).unwrap();
            let (out, apart) = kernels.norm_forward(&x, &statistics, &weight, &bias).unwrap();
            let rectified = relu(&out);
            let trace = lif_forward(&rectified, steps, &neuron).unwrap();
            let (norm, together) =
                kernels.norm_cells(&x, &statistics, [&weight, &bias], steps, &neuron).unwrap();
            same(apart.normalised[0].tensors(), norm.normalised[0].tensors());
            same(apart.inverse_deviation.tensors(), norm.inverse_deviation.tensors());
            same(trace.potential.tensors(), together.potential.tensors());
            same(trace.spikes.tensors(), together.spikes.tensors());

            let back = lif_backward(&trace, &grads, &neuron).unwrap();
            let back =
                zip_channels([&back, &rectified], |[grad, out]| dense::relu_backward(grad, out)).unwrap();
            let (next, dw, db) = kernels.norm_backward(&back, &apart, &weight).unwrap();
            let found =
                kernels.norm_cells_backward(&together, &norm, &grads, [&weight, &bias], &neuron).unwrap();
            match constant && steps > 1 {
                false => {
                    same(next.tensors(), found.0.tensors());
                    same(&[dw, db], &[found.1, found.2]);
                }
                // The gradient is summed over time before it is taken through the normalisation, and not behind it.
                true => {
                    let sum = kernels.sum_over_steps(&next.block().unwrap()).unwrap();
                    assert_eq!(found.0.tensors().len(), 1);
                    for (apart, found) in [(&sum, found.0.first()), (&dw, &found.1), (&db, &found.2)] {
                        close(apart, found);
                    }
                }
            }

            let running = kernels.norm_running(&x, &bias, &var, &weight, &bias).unwrap();
            let fired = lif_forward(&relu(&running), steps, &neuron).unwrap().spikes;
            let per_channel = [[&bias, &var], [&weight, &bias]];
            let found = kernels.running_cells(&x, per_channel, steps, &neuron).unwrap();
            same(fired.tensors(), found.tensors());
        }
    }
}

#[test]
fn adamw_has_the_portable_operations_bits() {
    let [cpu, gpu] = [Device::Cpu, gpu()].map(|device| {
        let tensor = |seed| Tensor::from_vec(values(77, seed), (7, 11), &device).unwrap();
        let mut parameters = [("a".to_owned(), tensor(12))].into();
        let mut optimizer = AdamW::new(1e-2);
        for step in 0..3 {
            optimizer.step(&mut parameters, &[("a".to_owned(), tensor(13 + step))].into(), 1e-3).unwrap();
        }
        let (first, second) = optimizer.moments()["a"].clone();
        [parameters["a"].clone(), first, second]
    });
    same(&cpu, &gpu);
}

/// The hash of the parameters after 50 steps, with dropout, pools of both kinds and several time steps.
fn trained(device: &Device, architecture: Architecture) -> String {
    let input = match architecture {
        Architecture::Small => Input { channels: 1, height: 28, width: 28, stride: 1 },
        Architecture::Middle => Input { channels: 2, height: 34, width: 34, stride: 1 },
        Architecture::Large => Input { channels: 2, height: 64, width: 64, stride: 1 },
    };
    let spec = NetworkSpec::paper(architecture, Variant::Events, 0.125, input, 10).unwrap();
    let streams = Streams::new(14);
    let parameters = Parameters::initial(&spec, &streams, device).unwrap();
    let engine = Reference::new(spec, Neuron::paper(Rule::Both), parameters, device.clone()).unwrap();
    let mut trainer = Trainer::new(engine, AdamW::new(1e-4)).unwrap();
    let (samples, time_steps) = (8, 3);
    let frames = if architecture == Architecture::Small { 1 } else { time_steps };
    let pixels: Vec<f32> = values(samples * frames * input.channels * input.height * input.width, 15)
        .iter()
        .map(|x| x.abs())
        .collect();
    let labels: Vec<u32> = (0..samples as u32).collect();
    let batch = crate::Batch { values: &pixels, frames, time_steps, labels: &labels };
    let mut dropout = streams.stream("dropout");
    for _ in 0..50 {
        trainer.train_step(&batch, Mode::Spiking, &mut dropout, 1e-3).unwrap();
    }
    trainer.parameters().unwrap().hash().unwrap()
}

#[test]
fn a_seed_gives_the_same_bits_again() {
    for architecture in [Architecture::Small, Architecture::Middle, Architecture::Large] {
        assert_eq!(trained(&gpu(), architecture), trained(&gpu(), architecture), "{architecture}");
    }
}
