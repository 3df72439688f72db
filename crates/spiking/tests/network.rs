//! Whole networks: gradients against finite differences, the same bits on any number of threads, direct encoding, pooling.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::collections::BTreeMap;

use bpsta_spiking::cpu::{self, Cpu};
use bpsta_spiking::reference::{Reference, Trainer};
use bpsta_spiking::{
    AdamW, Architecture, Batch, Engine, Input, Layer, Mode, NetworkSpec, Neuron, Parameters, Rule,
    SpikingError, Streams, Variant,
};
use candle_core::{DType, Device, Tensor};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// Convolution, norm, ReLU and cells, to `out` channels.
fn conv(out: usize) -> [Layer; 4] {
    [Layer::Conv { out }, Layer::BatchNorm, Layer::Relu, Layer::Lif]
}

/// A network of every layer, with `wide` channels after its first convolution and these pools after the first and last one; the average
/// pool between them is of 2x2.
fn pooled(input: Input, wide: usize, first: Layer, last: Option<Layer>) -> NetworkSpec {
    let mut layers = Vec::from(conv(wide));
    layers.push(first);
    layers.extend(conv(4));
    layers.push(Layer::AvgPool { size: 2 });
    layers.extend(conv(5));
    layers.extend(last);
    layers.extend([Layer::Flatten, Layer::NeuronDropout { probability: 0.3 }]);
    layers.extend([Layer::Linear { out: 6 }, Layer::Lif, Layer::Vote { voters: 2 }]);
    NetworkSpec { input, layers }
}

/// The same over a square map; where its size is odd, pools leave a row and a column over.
fn spec(channels: usize, size: usize, wide: usize) -> NetworkSpec {
    let input = Input { channels, height: size, width: size, stride: 1 };
    pooled(input, wide, Layer::MaxPool { size: 2 }, None)
}

/// The network with one more linear stage before its last, perhaps with ReLU, and dropout in both places where a stage can have it.
fn deepened(mut spec: NetworkSpec, out: usize, relu: bool) -> NetworkSpec {
    let last = spec.layers.len() - 3;
    let mut stage = vec![Layer::Linear { out }];
    stage.extend(relu.then_some(Layer::Relu));
    stage.extend([Layer::NeuronDropout { probability: 0.4 }, Layer::Lif]);
    stage.push(Layer::NeuronDropout { probability: 0.2 });
    spec.layers.splice(last..last, stage);
    spec
}

fn values(count: usize, seed: u64) -> Vec<f32> {
    let order = Streams::new(seed).permutation("values", count);
    order.into_iter().map(|place| place as f32 / count as f32 * 2.0 - 0.7).collect()
}

/// Parameters as f64, so that differences are exact enough to compare with.
fn doubles(spec: &NetworkSpec, seed: u64) -> Parameters {
    let drawn = Parameters::initial(spec, &Streams::new(seed), &Device::Cpu).unwrap();
    let doubles: BTreeMap<String, Tensor> = drawn
        .trainable
        .into_iter()
        .map(|(name, tensor)| (name, tensor.to_dtype(DType::F64).unwrap()))
        .collect();
    Parameters::from_tensors(spec, doubles, &Device::Cpu).unwrap()
}

fn moved(parameters: &Parameters, name: &str, at: usize, by: f64) -> Parameters {
    let mut next = parameters.clone();
    let tensor = &parameters.trainable[name];
    let mut values = tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    values[at] += by;
    next.trainable.insert(name.to_owned(), Tensor::from_vec(values, tensor.shape(), &Device::Cpu).unwrap());
    next
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// With cells that pass their input on the network is smooth but for kinks, and finite differences hold: this checks convolution, batch
    /// norm, ReLU, both pools, dropout, linear, vote and loss, and a norm that stands before all of them. The cells' own gradients are checked
    /// in rules.rs.
    #[test]
    fn gradients_are_finite_differences(
        channels in 1usize..3, size in 6usize..10, samples in 2usize..10, steps in 1usize..4, norm_first in any::<bool>(),
        relu in any::<bool>(), seed in 0u64..1000
    ) {
        let mut spec = deepened(spec(channels, size, 3), 7, relu);
        if norm_first {
            spec.layers.insert(0, Layer::BatchNorm);
        }
        let parameters = doubles(&spec, seed);
        let input = values(samples * steps * channels * size * size, seed);
        let labels: Vec<u32> = (0..samples as u32).map(|sample| sample % 3).collect();
        let forward = |parameters: &Parameters| {
            let mut engine =
                Reference::new(spec.clone(), Neuron::paper(Rule::Both), parameters.clone(), Device::Cpu).unwrap();
            let stimuli = engine.stimuli(&input, steps, steps).unwrap();
            let pass = engine.forward(&stimuli, Mode::Analogue, &mut Streams::new(seed).stream("dropout")).unwrap();
            let (loss, votes) = pass.loss(&labels, steps).unwrap();
            (engine, pass, loss, votes)
        };
        let (engine, pass, _, votes) = forward(&parameters);
        let gradients = engine.backward(pass, votes, steps).unwrap();
        prop_assert!(gradients.keys().eq(parameters.trainable.keys()), "a gradient for each: {:?}", gradients.keys());
        let (mut compared, mut asked) = (0, 0);
        for (name, gradient) in &gradients {
            let found = gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            for at in [0, found.len() / 2, found.len() - 1] {
                let difference = |h: f64| {
                    (forward(&moved(&parameters, name, at, h)).2 - forward(&moved(&parameters, name, at, -h)).2) / (2.0 * h)
                };
                // A kink (of ReLU or a pool) between the two sides shows as disagreement of two steps.
                let (wide, narrow) = (difference(1e-5), difference(1e-6));
                asked += 1;
                if (wide - narrow).abs() < 1e-6 {
                    compared += 1;
                    prop_assert!((found[at] - narrow).abs() < 1e-5, "{name}[{at}]: {} {narrow}", found[at]);
                }
            }
        }
        prop_assert!(compared * 2 > asked, "{compared} of {asked} compared: the rest lay at kinks");
    }
}

/// Trains a small network on `threads` threads; gives the hash of what it learnt.
fn train(
    threads: usize,
    steps: usize,
    rule: Rule,
    engine: impl Fn(Reference, AdamW) -> Box<dyn Engine> + Sync,
) -> String {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let input = Input { channels: 2, height: 34, width: 34, stride: 1 };
        let spec = NetworkSpec::paper(Architecture::Middle, Variant::Events, 0.0625, input, 10).unwrap();
        let streams = Streams::new(7);
        let parameters = Parameters::initial(&spec, &streams, &Device::Cpu).unwrap();
        let reference = Reference::new(spec, Neuron::paper(rule), parameters, Device::Cpu).unwrap();
        let mut engine = engine(reference, AdamW::new(1e-4));
        let mut dropout = streams.stream("dropout/0");
        let values: Vec<f32> = values(6 * 3 * 2 * 34 * 34, 1).iter().map(|value| value.max(0.0)).collect();
        let labels = [0, 3, 5, 7, 8, 9];
        let batch = Batch { values: &values, frames: 3, time_steps: 3, labels: &labels };
        for _ in 0..steps {
            engine.train_step(&batch, Mode::Spiking, &mut dropout, 1e-3).unwrap();
        }
        engine.parameters().unwrap().hash().unwrap()
    })
}

/// What a checkpoint keeps is all there is: an engine made anew from parameters and optimizer after each step learns the same bits
/// as one that is kept, whichever of the two engines it is.
#[test]
fn an_engine_made_anew_after_each_step_goes_on_with_the_same_bits() {
    let input = Input { channels: 2, height: 34, width: 34, stride: 1 };
    let spec = NetworkSpec::paper(Architecture::Middle, Variant::Events, 0.0625, input, 10).unwrap();
    let neuron = Neuron::paper(Rule::Both);
    type Make<'a> = &'a dyn Fn(Parameters, AdamW) -> Box<dyn Engine>;
    let reference: Make<'_> = &|parameters, optimizer| {
        let engine = Reference::new(spec.clone(), neuron, parameters, Device::Cpu).unwrap();
        Box::new(Trainer::new(engine, optimizer).unwrap())
    };
    let path = cpu::Path::available()[0];
    let cpu: Make<'_> = &|parameters, optimizer| {
        Box::new(Cpu::new(spec.clone(), neuron, &parameters, &optimizer, path).unwrap())
    };
    let streams = Streams::new(7);
    let values: Vec<f32> = values(6 * 3 * 2 * 34 * 34, 1).iter().map(|value| value.max(0.0)).collect();
    let batch = Batch { values: &values, frames: 3, time_steps: 3, labels: &[0, 3, 5, 7, 8, 9] };
    for make in [reference, cpu] {
        let initial = Parameters::initial(&spec, &streams, &Device::Cpu).unwrap();
        let mut kept = make(initial.clone(), AdamW::new(1e-4));
        let mut anew = make(initial, AdamW::new(1e-4));
        for step in 0..5 {
            for engine in [&mut kept, &mut anew] {
                let mut dropout = streams.stream(&format!("dropout/{step}"));
                engine.train_step(&batch, Mode::Spiking, &mut dropout, 1e-3).unwrap();
            }
            let Parameters { trainable, buffers } = anew.parameters().unwrap();
            let optimizer = anew.optimizer().unwrap();
            assert_eq!((optimizer.steps(), optimizer.moments().len()), (step + 1, trainable.len()));
            let moments = optimizer.moments().clone();
            let optimizer = AdamW::resumed(1e-4, optimizer.steps(), moments);
            anew = make(Parameters::resumed(&spec, trainable, buffers).unwrap(), optimizer);
        }
        let hash = |engine: &dyn Engine| engine.parameters().unwrap().hash().unwrap();
        assert_eq!(hash(kept.as_ref()), hash(anew.as_ref()));
    }
    let Parameters { trainable, mut buffers } = Parameters::initial(&spec, &streams, &Device::Cpu).unwrap();
    buffers.pop_first();
    let error = Parameters::resumed(&spec, trainable, buffers).unwrap_err();
    assert!(matches!(error, SpikingError::Parameter { .. }), "{error}");
}

/// An engine that has seen batches of other sizes learns and fires the same bits as one made anew. Where the surrogate reaches a potential
/// of 0, the cells that fill up a block take any gradient that was left in their place.
#[test]
fn a_step_knows_nothing_of_earlier_batches() {
    let input = Input { channels: 2, height: 34, width: 34, stride: 1 };
    // 100 outputs: the last of 7 blocks has 12 lanes to fill up.
    let spec = NetworkSpec::paper(Architecture::Middle, Variant::Events, 0.0625, input, 10).unwrap();
    let streams = Streams::new(7);
    let sample = 3 * 2 * 34 * 34;
    let values: Vec<f32> = values(8 * sample, 1).iter().map(|value| value.max(0.0)).collect();
    let labels = [0, 3, 5, 7, 8, 9, 1, 2];
    let path = cpu::Path::available()[0];
    for rule in [Rule::Baseline, Rule::Temporal] {
        let neuron = Neuron { surrogate_half_width: 1.0, ..Neuron::paper(rule) };
        let make = |parameters: &Parameters, optimizer: &AdamW| {
            Cpu::new(spec.clone(), neuron, parameters, optimizer, path).unwrap()
        };
        let initial = Parameters::initial(&spec, &streams, &Device::Cpu).unwrap();
        let mut kept = make(&initial, &AdamW::new(1e-4));
        for (step, samples) in [8, 2, 3, 2].into_iter().enumerate() {
            let (values, labels) = (&values[..samples * sample], &labels[..samples]);
            let batch = Batch { values, frames: 3, time_steps: 3, labels };
            let anew = make(&kept.parameters().unwrap(), &kept.optimizer().unwrap());
            let [ours, theirs] = [&mut kept, &mut { anew }].map(|engine| {
                let mut dropout = streams.stream(&format!("dropout/{step}"));
                engine.train_step(&batch, Mode::Spiking, &mut dropout, 1e-2).unwrap();
                let spikes = engine.evaluate(&batch, Mode::Spiking).unwrap().spikes;
                (engine.parameters().unwrap().hash().unwrap(), spikes)
            });
            assert_eq!(ours, theirs, "{rule}, step {step}");
        }
    }
}

fn assert_all_differ(mut hashes: Vec<String>) {
    let count = hashes.len();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), count, "the rules train different networks");
}

#[test]
fn one_seed_gives_the_same_bits_on_one_two_and_three_threads() {
    let train = |threads, rule| {
        train(threads, 5, rule, |engine, optimizer| Box::new(Trainer::new(engine, optimizer).unwrap()))
    };
    let mut hashes = Vec::new();
    for rule in Rule::ALL {
        let one = train(1, rule);
        assert_eq!(one, train(2, rule), "{rule}");
        assert_eq!(one, train(3, rule), "{rule}");
        hashes.push(one);
    }
    assert_all_differ(hashes);
}

/// The CPU engine's promise: after 50 steps the parameters are the same bits on 1, 2 and 3 threads and on every path of this
/// machine, for each rule.
#[test]
fn the_cpu_engine_gives_the_same_bits_on_any_threads_and_paths() {
    let train = |threads, path, rule| {
        train(threads, 50, rule, |engine, optimizer| {
            let (spec, parameters) = (engine.spec().clone(), engine.parameters());
            Box::new(Cpu::new(spec, Neuron::paper(rule), parameters, &optimizer, path).unwrap())
        })
    };
    let mut hashes = Vec::new();
    for rule in Rule::ALL {
        let first = train(1, cpu::Path::available()[0], rule);
        for path in cpu::Path::available() {
            // Portable code is slow where fused multiply-add is a call: one thread count a rule is enough for it.
            let threads = if path == cpu::Path::PORTABLE { 3..4 } else { 1..4 };
            for threads in threads {
                assert_eq!(first, train(threads, path, rule), "{rule} on {threads} threads, {path}");
            }
        }
        hashes.push(first);
    }
    assert_all_differ(hashes);
}

/// What two engines made of one batch.
struct Comparison {
    /// Share of the cells that fired in training, by layer of cells.
    fired: BTreeMap<usize, f64>,
    /// Differences of the layers' counts of spikes in evaluation, added up.
    apart: u64,
    /// As many spikes as the evaluation may have had.
    most: u64,
}

/// Runs both engines through forward, backward and an evaluation after it: they fire the same spikes and everything agrees to rounding.
/// None where the reference comes so near to a jump that rounding may take something across it.
fn compare(
    spec: &NetworkSpec,
    neuron: Neuron,
    parameters: &Parameters,
    batch: &Batch<'_>,
    seed: u64,
) -> Option<Comparison> {
    let dropout = || Streams::new(seed).stream("dropout");
    let Batch { values, frames, time_steps: steps, labels } = *batch;
    let distance = |left: &Tensor, right: &Tensor| {
        (left - right).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap()
    };

    let mut reference = Reference::new(spec.clone(), neuron, parameters.clone(), Device::Cpu).unwrap();
    let stimuli = reference.stimuli(values, frames, steps).unwrap();
    let pass = reference.forward(&stimuli, Mode::Spiking, &mut dropout()).unwrap();
    let (loss, votes) = pass.loss(labels, steps).unwrap();
    if reference.margin(&pass).unwrap() <= 3e-6 {
        return None;
    }

    let path = cpu::Path::available()[0];
    let mut engine = Cpu::new(spec.clone(), neuron, parameters, &AdamW::new(1e-4), path).unwrap();
    let probe = engine.probe(batch, &mut dropout()).unwrap();
    let mut fired = BTreeMap::new();
    for (layer, ours) in &probe.spikes {
        let theirs = pass.spikes(*layer).unwrap().unwrap();
        assert_eq!(ours.dims(), theirs.dims());
        assert_eq!(distance(ours, &theirs), 0.0, "spikes of layer {layer}");
        fired.insert(*layer, f64::from(ours.mean_all().unwrap().to_scalar::<f32>().unwrap()));
    }
    assert!((probe.loss - loss).abs() < 1e-6);
    let gradients = reference.backward(pass, votes, steps).unwrap();
    assert!(gradients.keys().eq(probe.gradients.keys()));
    for (name, theirs) in &gradients {
        // The gradient of a convolution's bias is 0, a norm follows: terms of its weights' size cancel.
        let of_conv = name
            .strip_suffix(".bias")
            .is_some_and(|layer| matches!(spec.layers[layer.parse::<usize>().unwrap()], Layer::Conv { .. }));
        let scaled_by = if of_conv { name.replace("bias", "weight") } else { name.clone() };
        let scale = distance(&gradients[&scaled_by], &gradients[&scaled_by].zeros_like().unwrap());
        let distance = distance(&probe.gradients[name], theirs);
        assert!(distance < 1e-5 + 1e-4 * scale, "{name}: {distance} of {scale}");
    }
    let ours = engine.parameters().unwrap().buffers;
    for (name, theirs) in &reference.parameters().buffers {
        assert!(distance(&ours[name], theirs) < 1e-5, "{name}");
    }

    let ours = engine.evaluate(batch, Mode::Spiking).unwrap();
    let theirs = reference.evaluate(&stimuli, labels, Mode::Spiking).unwrap();
    let mut apart = 0;
    for ((layer, ours), (same, theirs)) in ours.spikes.iter().zip(&theirs.spikes) {
        assert_eq!(layer, same);
        apart += ours.abs_diff(*theirs);
    }
    if apart == 0 {
        assert_eq!(ours.predictions, theirs.predictions);
        assert!((ours.loss - theirs.loss).abs() < 1e-6);
    }
    let cells: usize = spec.lif_cells().unwrap().iter().map(|(_, cells)| cells).sum();
    Some(Comparison { fired, apart, most: (cells * steps * labels.len()) as u64 })
}

/// The two engines on random small networks. No margin is known of an evaluation: rounding may flip a spike there now and then, and with
/// it what follows from it.
#[test]
fn the_cpu_engine_and_the_reference_compute_the_same() {
    let input =
        (prop_oneof![Just(1usize), Just(2), Just(3), Just(16)], 7usize..12, 7usize..12, 1usize..4, 0usize..3);
    let layers = (
        prop_oneof![Just(3usize), Just(40), Just(64)],
        1usize..4,
        prop_oneof![Just(None), (1usize..4, any::<bool>()).prop_map(Some)],
        prop_oneof![Just(None), (prop_oneof![Just(20usize), Just(70)], any::<bool>()).prop_map(Some)],
    );
    let batch = (2usize..12, 1usize..6, any::<bool>());
    let mut config = ProptestConfig::with_cases(64);
    config.source_file = Some(file!());
    let (compared, exact) = (Cell::new(0), Cell::new(0));
    let outcome = TestRunner::new(config).run(
        &(input, layers, batch, 0usize..4, 0u64..1000),
        |(input, (wide, first, last, hidden), (samples, steps, direct), rule, seed)| {
            // A map of so many rows and columns, of pixels that may end before the last stride does.
            let (channels, rows, columns, stride, less) = input;
            let (height, width) = (rows * stride - less % stride, columns * stride - (stride - 1));
            let input = Input { channels, height, width, stride };
            assert_eq!(input.map(), (rows, columns));
            let last = last.map(|(size, average)| {
                // As far as it fits.
                let size = (rows.min(columns) / first / 2).min(size);
                if average { Layer::AvgPool { size } } else { Layer::MaxPool { size } }
            });
            let spec = pooled(input, wide, Layer::MaxPool { size: first }, last);
            let spec = match hidden {
                Some((out, relu)) => deepened(spec, out, relu),
                None => spec,
            };
            let frames = if direct { 1 } else { steps };
            let values = values(samples * frames * channels * height * width, seed);
            let labels: Vec<u32> = (0..samples as u32).map(|sample| sample % 3).collect();
            let parameters = Parameters::initial(&spec, &Streams::new(seed), &Device::Cpu).unwrap();
            let batch = Batch { values: &values, frames, time_steps: steps, labels: &labels };
            let comparison = compare(&spec, Neuron::paper(Rule::ALL[rule]), &parameters, &batch, seed);
            prop_assume!(comparison.is_some());
            let Comparison { apart, most, .. } = comparison.unwrap();
            // A flip or two in a net of a few hundred cells is rounding too.
            prop_assert!(apart <= 20.max(most / 1000), "{apart} of {most} spikes apart in evaluation");
            compared.set(compared.get() + 1);
            exact.set(exact.get() + usize::from(apart == 0));
            Ok(())
        },
    );
    outcome.unwrap();
    let (compared, exact) = (compared.get(), exact.get());
    assert!(exact * 10 > compared * 9, "{exact} of {compared} evaluations have the same counts of spikes");
}

/// Shapes that only networks of full width have: weight gradients that are summed in one part, by lists of spikes (128 to 64 channels) and by
/// tiles (128 to 128), and cells in more than one group of four blocks.
#[test]
fn the_engines_compute_the_same_at_full_width() {
    let input = Input { channels: 2, height: 5, width: 5, stride: 1 };
    for out in [64, 128] {
        let mut layers = [conv(128), conv(out)].concat();
        layers.extend([Layer::AvgPool { size: 5 }, Layer::Flatten]);
        layers.extend([Layer::Linear { out: 6 }, Layer::Lif, Layer::Vote { voters: 2 }]);
        let spec = NetworkSpec { input, layers };
        for frames in [1, 2] {
            let values = values(3 * frames * 2 * 25, 1);
            let batch = Batch { values: &values, frames, time_steps: 2, labels: &[0, 1, 2] };
            let comparison = (0..20).find_map(|seed| {
                let parameters = Parameters::initial(&spec, &Streams::new(seed), &Device::Cpu).unwrap();
                compare(&spec, Neuron::paper(Rule::Both), &parameters, &batch, seed)
            });
            let Comparison { fired, apart, .. } = comparison.unwrap();
            assert_eq!(apart, 0, "128 to {out} channels, {frames} frames");
            // Of other shares not even wide maps go by tiles.
            assert!((0.25..0.75).contains(&fired[&3]), "{}", fired[&3]);
        }
    }
}

/// A norm behind a convolution that no spike reaches gives its bias and learns no weight, to the bit, in both engines: what rounding
/// left of such a channel would be magnified by 1 / sqrt(1e-5), and its sign would open or close the ReLU.
#[test]
fn a_constant_channel_is_normalised_to_its_bias() {
    let spec = spec(2, 11, 40);
    let neuron = Neuron::paper(Rule::Both);
    let drawn = Parameters::initial(&spec, &Streams::new(3), &Device::Cpu).unwrap();
    let mut tensors = drawn.trainable;
    tensors.insert("1.weight".to_owned(), Tensor::zeros(40, DType::F32, &Device::Cpu).unwrap());
    let shifts = Tensor::new(&[0f32, 0.7, 0.0, -0.3], &Device::Cpu).unwrap();
    tensors.insert("6.bias".to_owned(), shifts);
    let parameters = Parameters::from_tensors(&spec, tensors, &Device::Cpu).unwrap();
    let labels: Vec<u32> = (0..11).map(|sample| sample % 3).collect();
    let input = values(11 * 3 * 2 * 11 * 11, 5);
    let batch = Batch { values: &input, frames: 3, time_steps: 3, labels: &labels };

    let mut reference = Reference::new(spec.clone(), neuron, parameters.clone(), Device::Cpu).unwrap();
    let stimuli = reference.stimuli(&input, 3, 3).unwrap();
    let pass = reference.forward(&stimuli, Mode::Spiking, &mut Streams::new(1).stream("dropout")).unwrap();
    let (_, votes) = pass.loss(&labels, 3).unwrap();
    let theirs = reference.backward(pass, votes, 3).unwrap();
    for path in cpu::Path::available() {
        let mut engine = Cpu::new(spec.clone(), neuron, &parameters, &AdamW::new(1e-4), path).unwrap();
        let ours = engine.probe(&batch, &mut Streams::new(1).stream("dropout")).unwrap();
        for gradients in [&ours.gradients, &theirs] {
            let of = |name: &str| gradients[name].to_vec1::<f32>().unwrap();
            assert_eq!(of("6.weight"), [0.0; 4]);
            let shifts = of("6.bias");
            assert!(shifts[1] != 0.0 && [0, 2, 3].iter().all(|&shut| shifts[shut] == 0.0), "{shifts:?}");
        }
    }
}

/// A network is causal: its vote after t time steps is the vote of a network that ran for t.
#[test]
fn the_vote_after_each_time_step_is_that_of_a_shorter_run() {
    const STEPS: usize = 5;
    let spec = spec(2, 9, 3);
    let parameters = Parameters::initial(&spec, &Streams::new(3), &Device::Cpu).unwrap();
    let neuron = Neuron::paper(Rule::Both);
    let path = cpu::Path::available()[0];
    let mut engine = Cpu::new(spec, neuron, &parameters, &AdamW::new(1e-4), path).unwrap();
    let labels = [0, 1, 2];
    let frame = 2 * 9 * 9;
    let input: Vec<f32> = values(3 * STEPS * frame, 4).iter().map(|value| 2.0 * value).collect();
    let batch = Batch { values: &input, frames: STEPS, time_steps: STEPS, labels: &labels };
    for _ in 0..20 {
        engine.train_step(&batch, Mode::Spiking, &mut Streams::new(1).stream("dropout"), 1e-2).unwrap();
    }
    let over_time = engine.anytime(&batch).unwrap();
    let mut seen = 0.0;
    for steps in 1..=STEPS {
        let shorter: Vec<f32> =
            input.chunks(STEPS * frame).flat_map(|sample| sample[..steps * frame].to_vec()).collect();
        let batch = Batch { values: &shorter, frames: steps, time_steps: steps, labels: &labels };
        let votes = engine.anytime(&batch).unwrap().get(steps - 1).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(votes, over_time.get(steps - 1).unwrap().to_vec2::<f32>().unwrap(), "after {steps}");
        seen += votes.concat().iter().sum::<f32>();
    }
    assert!(seen > 0.0, "something was voted for");
}

#[test]
fn the_cpu_engine_refuses_what_it_cannot_run() {
    let input = Input { channels: 1, height: 8, width: 8, stride: 1 };
    let layers = vec![
        Layer::Conv { out: 2 },
        Layer::Relu,
        Layer::Flatten,
        Layer::Linear { out: 4 },
        Layer::Lif,
        Layer::Vote { voters: 2 },
    ];
    let spec = NetworkSpec { input, layers };
    let parameters = Parameters::initial(&spec, &Streams::new(1), &Device::Cpu).unwrap();
    let path = cpu::Path::available()[0];
    let neuron = Neuron::paper(Rule::Both);
    let error = Cpu::new(spec, neuron, &parameters, &AdamW::new(0.0), path).unwrap_err().to_string();
    assert!(
        error.contains("layer 0 (2C3)") && error.contains("the reference engine runs any order"),
        "{error}"
    );
    let error = cpu::Path::named("sse9").unwrap_err().to_string();
    assert!(error.contains("unknown BPSTA_SIMD `sse9`"), "{error}");
}

#[test]
fn direct_encoding_is_the_image_at_every_time_step() {
    let spec = spec(1, 8, 3);
    let labels = [0, 1, 2];
    let image = values(3 * 64, 3);
    let repeated: Vec<f32> = image.chunks(64).flat_map(|one| one.repeat(4)).collect();
    let run = |batch: &[f32], frames: usize| {
        let parameters = doubles(&spec, 5);
        let mut engine =
            Reference::new(spec.clone(), Neuron::paper(Rule::Temporal), parameters, Device::Cpu).unwrap();
        let stimuli = engine.stimuli(batch, frames, 4).unwrap();
        let pass = engine.forward(&stimuli, Mode::Spiking, &mut Streams::new(1).stream("dropout")).unwrap();
        let (loss, votes) = pass.loss(&labels, 4).unwrap();
        let gradients = engine.backward(pass, votes, 4).unwrap();
        (loss, gradients, engine.parameters().buffers.clone())
    };
    let (once, each) = (run(&image, 1), run(&repeated, 4));
    assert!((once.0 - each.0).abs() < 1e-12);
    for (left, right) in [(&once.1, &each.1), (&once.2, &each.2)] {
        for (name, tensor) in left {
            let distance = (tensor - &right[name]).unwrap().abs().unwrap().max_all().unwrap();
            assert!(distance.to_scalar::<f64>().unwrap() < 1e-12, "{name}");
        }
    }
}

#[test]
fn the_first_of_equal_maxima_takes_the_gradient() {
    // A network that is one max-pool between two linear stages would hide it: ask for the layer's own gradient through a
    // convolution that passes its input on.
    let input = Input { channels: 1, height: 4, width: 4, stride: 1 };
    let layers = vec![
        Layer::Conv { out: 1 },
        Layer::MaxPool { size: 2 },
        Layer::Flatten,
        Layer::Linear { out: 4 },
        Layer::Vote { voters: 1 },
    ];
    let spec = NetworkSpec { input, layers };
    let mut tensors: BTreeMap<String, Tensor> = Parameters::initial(&spec, &Streams::new(1), &Device::Cpu)
        .unwrap()
        .trainable
        .into_iter()
        .map(|(name, tensor)| (name, tensor.zeros_like().unwrap().to_dtype(DType::F64).unwrap()))
        .collect();
    // The convolution is 0 everywhere: all places of a window tie. The linear layer passes each window on.
    let eye = Tensor::eye(4, DType::F64, &Device::Cpu).unwrap();
    tensors.insert("3.weight".to_owned(), eye);
    let parameters = Parameters::from_tensors(&spec, tensors, &Device::Cpu).unwrap();
    let mut engine = Reference::new(spec, Neuron::paper(Rule::Both), parameters, Device::Cpu).unwrap();
    let image: Vec<f32> = (1..=16).map(|value| value as f32).collect();
    let stimuli = engine.stimuli(&image, 1, 1).unwrap();
    let pass = engine.forward(&stimuli, Mode::Spiking, &mut Streams::new(1).stream("dropout")).unwrap();
    let ones = Tensor::ones((4, 1), DType::F64, &Device::Cpu).unwrap();
    let gradients = engine.backward(pass, vec![ones], 1).unwrap();
    let kernel = gradients["0.weight"].flatten_all().unwrap().to_vec1::<f64>().unwrap();
    // The middle of the kernel sees the first pixel of each window: 1, 3, 9 and 11.
    assert_eq!(kernel[4], 1.0 + 3.0 + 9.0 + 11.0);
    // The place to its right sees their right neighbours, and the one above the pixels above, zero outside.
    assert_eq!(kernel[5], 2.0 + 4.0 + 10.0 + 12.0);
    assert_eq!(kernel[1], 0.0 + 0.0 + 5.0 + 7.0);
}

#[test]
fn wrong_lengths_and_names_are_errors() {
    let spec = spec(2, 8, 3);
    let parameters = Parameters::initial(&spec, &Streams::new(1), &Device::Cpu).unwrap();
    let engine = Reference::new(spec.clone(), Neuron::paper(Rule::Both), parameters, Device::Cpu).unwrap();
    let error = engine.stimuli(&[0.0; 100], 4, 4).unwrap_err().to_string();
    assert!(error.contains("100 values") && error.contains("[4, 2, 8, 8]"), "{error}");
    let error = Parameters::from_tensors(&spec, BTreeMap::new(), &Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("parameter `0.bias`: found none"), "{error}");
    let error = "bptt".parse::<Rule>().unwrap_err().to_string();
    assert!(error.contains("expected one of baseline, spatial, temporal, both"), "{error}");
    let broken = Neuron { threshold: 0.0, ..Neuron::paper(Rule::Both) };
    assert!(broken.validate().unwrap_err().to_string().contains("threshold = 0"));
    let no_stride = NetworkSpec { input: Input { stride: 0, ..spec.input }, ..spec };
    assert_eq!(no_stride.shapes().unwrap_err().to_string(), "stride = 0: expected at least 1");
}
