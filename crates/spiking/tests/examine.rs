//! The closer look: both engines see the same operations, maps and votes, and what is counted is what stands in the definition.
#![allow(clippy::unwrap_used)]

use bpsta_spiking::cpu::{self, Cpu};
use bpsta_spiking::reference::{Reference, Trainer};
use bpsta_spiking::{
    AdamW, Batch, Engine, Examination, Input, Layer, Mode, NetworkSpec, Neuron, Operations, Parameters, Rule,
    Streams,
};
use candle_core::{Device, Tensor};

const STEPS: usize = 5;
const SAMPLES: usize = 3;

/// Conv, max-pool, conv, average pool, conv, linear, linear: each kind of input that weights meet.
fn spec() -> NetworkSpec {
    let input = Input { channels: 2, height: 9, width: 8, stride: 1 };
    let conv = |out| [Layer::Conv { out }, Layer::BatchNorm, Layer::Relu, Layer::Lif];
    let mut layers = Vec::from(conv(5));
    layers.push(Layer::MaxPool { size: 2 });
    layers.extend(conv(20));
    layers.push(Layer::AvgPool { size: 2 });
    layers.extend(conv(4));
    layers.extend([Layer::Flatten, Layer::Linear { out: 30 }, Layer::Lif]);
    layers.extend([Layer::Linear { out: 6 }, Layer::Lif, Layer::Vote { voters: 2 }]);
    NetworkSpec { input, layers }
}

/// Norms that make every layer fire.
fn parameters(spec: &NetworkSpec) -> Parameters {
    let mut parameters = Parameters::initial(spec, &Streams::new(4), &Device::Cpu).unwrap();
    for (name, tensor) in &mut parameters.trainable {
        *tensor = (&*tensor * 2.5).unwrap();
        if name.ends_with(".bias") {
            *tensor = (&*tensor + 0.1).unwrap();
        }
    }
    parameters
}

fn examine(frames: usize) -> (Examination, Examination, Vec<(usize, u64)>) {
    examine_network(spec(), frames)
}

fn examine_network(spec: NetworkSpec, frames: usize) -> (Examination, Examination, Vec<(usize, u64)>) {
    let parameters = parameters(&spec);
    let neuron = Neuron::paper(Rule::Both);
    let Input { channels, height, width, .. } = spec.input;
    let count = SAMPLES * frames * channels * height * width;
    // Whole numbers, a third of them zero, as event counts are.
    let values: Vec<f32> = (0..count).map(|i| (i * 7 % 3) as f32).collect();
    let labels = [0, 1, 2];
    let batch = Batch { values: &values, frames, time_steps: STEPS, labels: &labels };
    let path = cpu::Path::from_environment().unwrap();
    let mut cpu = Cpu::new(spec.clone(), neuron, &parameters, &AdamW::new(0.0), path).unwrap();
    let reference = Reference::new(spec, neuron, parameters, Device::Cpu).unwrap();
    let mut reference = Trainer::new(reference, AdamW::new(0.0)).unwrap();
    let spikes = cpu.evaluate(&batch, Mode::Spiking).unwrap();
    assert_eq!(spikes.spikes, reference.evaluate(&batch, Mode::Spiking).unwrap().spikes);
    let seen = cpu.examine(&batch, Mode::Spiking).unwrap();
    assert_eq!(seen.predictions[STEPS - 1], spikes.predictions, "the last vote is the evaluation's");
    (seen, reference.examine(&batch, Mode::Spiking).unwrap(), spikes.spikes)
}

#[test]
fn both_engines_see_the_same() {
    for frames in [1, STEPS] {
        let (cpu, reference, _) = examine(frames);
        assert_eq!(cpu.predictions, reference.predictions);
        assert_eq!(cpu.operations, reference.operations);
        assert_eq!(cpu.frequencies, reference.frequencies);
    }
}

/// A map of one pixel is a map still, until it is flattened.
#[test]
fn cells_of_maps_of_one_pixel_have_frequencies() {
    let mut spec = spec();
    spec.input = Input { height: 5, width: 4, ..spec.input };
    let (cpu, reference, spikes) = examine_network(spec, STEPS);
    assert_eq!(cpu.frequencies, reference.frequencies);
    let last = cpu.frequencies.last().unwrap();
    let fired: u64 = last.spikes.iter().map(|spikes| u64::from(*spikes)).sum();
    assert_eq!((last.layer, last.map), (13, [1, 1]));
    assert_eq!(spikes.iter().find(|(layer, _)| *layer == 13), Some(&(13, fired)));
}

#[test]
fn operations_are_inputs_times_the_weights_they_meet() {
    let (seen, _, spikes) = examine(STEPS);
    let layers: Vec<(usize, bool)> = seen.operations.iter().map(|of| (of.layer, of.real)).collect();
    assert_eq!(layers, [(0, true), (5, false), (10, true), (15, false), (17, false)]);
    let of = |index: usize| seen.operations[index];
    // Into the linear layers every spike of the layer before enters, and meets every output.
    let fired = |layer: usize| spikes.iter().find(|(cells, _)| *cells == layer).unwrap().1;
    assert!(fired(13) > 0 && fired(16) > 0, "{spikes:?}");
    assert_eq!((of(3).inputs, of(3).operations), (fired(13), 30 * fired(13)));
    assert_eq!((of(4).inputs, of(4).operations), (fired(16), 6 * fired(16)));
    // The input: two thirds of the numbers are not zero; 9 x 8 pixels meet 25 x 22 weights a map, less those of the zeros.
    let pixels = (SAMPLES * STEPS * 2 * 72) as u64;
    assert_eq!(of(0).inputs, pixels - pixels.div_ceil(3));
    assert_eq!(of(0).dense, (SAMPLES * STEPS * 2) as u64 * (25 * 22) * 5);
    for of in &seen.operations {
        assert!(of.inputs > 0 && of.operations <= of.dense, "{of:?}");
    }
    // Maps: over samples and pixels they hold all of the layer's spikes.
    assert_eq!(seen.frequencies.iter().map(|map| map.layer).collect::<Vec<_>>(), [3, 8, 13]);
    for map in &seen.frequencies {
        let channels = match map.layer {
            3 => 5,
            8 => 20,
            _ => 4,
        };
        assert_eq!(map.most, channels * STEPS as u32, "layer {}", map.layer);
        assert_eq!(map.spikes.len(), SAMPLES * map.map[0] * map.map[1], "layer {}", map.layer);
        let sum: u64 = map.spikes.iter().map(|spikes| u64::from(*spikes)).sum();
        assert_eq!(sum, fired(map.layer), "layer {}", map.layer);
        assert!(map.spikes.iter().all(|spikes| *spikes <= map.most), "layer {}", map.layer);
    }
}

/// A map of 2x2 pixels through an identity, into two outputs: 3, 0, -1 and 0.3 leave 3 and 0.3 behind the ReLU.
#[test]
fn in_analogue_mode_what_the_cells_pass_on_is_multiplied() {
    let input = Input { channels: 1, height: 2, width: 2, stride: 1 };
    let layers = [Layer::Conv { out: 1 }, Layer::BatchNorm, Layer::Relu, Layer::Lif, Layer::Flatten];
    let outputs = [Layer::Linear { out: 2 }, Layer::Lif, Layer::Vote { voters: 1 }];
    let spec = NetworkSpec { input, layers: [&layers[..], &outputs].concat() };
    let mut parameters = Parameters::initial(&spec, &Streams::new(1), &Device::Cpu).unwrap();
    let mut set = |name: &str, values: &[f32]| {
        let tensor = parameters.trainable.get_mut(name).unwrap();
        *tensor = Tensor::from_slice(values, tensor.dims(), &Device::Cpu).unwrap();
    };
    set("0.weight", &[0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    set("0.bias", &[0.0]);
    set("1.weight", &[1.0]);
    set("1.bias", &[0.0]);
    set("5.weight", &[1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    set("5.bias", &[0.0, 4.0]);
    let batch = Batch { values: &[3.0, 0.0, -1.0, 0.3], frames: 1, time_steps: 1, labels: &[0] };
    let neuron = Neuron::paper(Rule::Both);
    let path = cpu::Path::from_environment().unwrap();
    let mut cpu = Cpu::new(spec.clone(), neuron, &parameters, &AdamW::new(0.0), path).unwrap();
    assert!(cpu.examine(&batch, Mode::Analogue).unwrap_err().to_string().contains("reference engine"));
    let reference = Reference::new(spec, neuron, parameters, Device::Cpu).unwrap();
    let mut reference = Trainer::new(reference, AdamW::new(0.0)).unwrap();

    // Each of the four pixels meets the four weights that lie on the map; each feature meets both outputs.
    let image = Operations { layer: 0, inputs: 3, operations: 12, dense: 16, real: true };
    let seen = reference.examine(&batch, Mode::Analogue).unwrap();
    let features = Operations { layer: 5, inputs: 2, operations: 4, dense: 8, real: true };
    assert_eq!(seen.operations, [image, features]);
    assert_eq!(seen.predictions, [[1]], "3.3 against 4");
    assert_eq!(seen.frequencies, [], "no cell fires");
    let evaluated = reference.evaluate(&batch, Mode::Analogue).unwrap();
    assert_eq!((evaluated.predictions, evaluated.spikes), (vec![1], vec![]));

    // As spikes, 0.3 does not enter, and what enters is added.
    let seen = reference.examine(&batch, Mode::Spiking).unwrap();
    let spikes = Operations { inputs: 1, operations: 2, real: false, ..features };
    assert_eq!(seen.operations, [image, spikes]);
    assert_eq!(seen.predictions, [[0]], "both outputs fire, and the first of equals wins");
}
