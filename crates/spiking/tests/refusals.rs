//! What a caller may hand over that has no meaning: each is an error that says so, and leaves an engine as it was.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bpsta_spiking::cpu::{Cpu, Path};
use bpsta_spiking::reference::{LifTrace, Reference, Trace, Trainer, lif_backward, lif_forward};
use bpsta_spiking::{
    AdamW, Architecture, Batch, Engine, Input, Layer, Mode, NetworkSpec, Neuron, Parameters, Rule,
    SpikingError, Stimuli, Streams, Variant,
};
use candle_core::{DType, Device, Tensor};

/// A network for maps of 2x6x6 and 3 classes, `wide` channels behind its convolution.
fn spec(wide: usize) -> NetworkSpec {
    let input = Input { channels: 2, height: 6, width: 6, stride: 1 };
    let conv = [Layer::Conv { out: wide }, Layer::BatchNorm, Layer::Relu, Layer::Lif];
    let output = [Layer::Flatten, Layer::Linear { out: 6 }, Layer::Lif, Layer::Vote { voters: 2 }];
    NetworkSpec { input, layers: [conv, output].concat() }
}

fn parameters(spec: &NetworkSpec) -> Parameters {
    Parameters::initial(spec, &Streams::new(1), &Device::Cpu).unwrap()
}

/// Both engines for [`spec`] of width 3, or why one of them will not be made.
fn engines(parameters: &Parameters, optimizer: &AdamW) -> [Result<Box<dyn Engine>, SpikingError>; 2] {
    let neuron = Neuron::paper(Rule::Both);
    let cpu = Cpu::new(spec(3), neuron, parameters, optimizer, Path::available()[0]);
    let reference = Reference::new(spec(3), neuron, parameters.clone(), Device::Cpu);
    let reference = reference.and_then(|engine| Trainer::new(engine, optimizer.clone()));
    [cpu.map(|engine| Box::new(engine) as _), reference.map(|engine| Box::new(engine) as _)]
}

const SAMPLE: usize = 2 * 6 * 6;

#[test]
fn parameters_of_another_network_make_no_engine() {
    let refused = |parameters: Parameters, named: &str| {
        for engine in engines(&parameters, &AdamW::new(0.0)) {
            let error = engine.err().unwrap().to_string();
            assert!(error.contains(named), "{error}");
        }
    };
    let channels = |channels: usize| Tensor::zeros(channels, DType::F32, &Device::Cpu).unwrap();
    for wide in [2, 4, 20] {
        refused(parameters(&spec(wide)), &format!("`0.bias`: found [{wide}], the network wants [3]"));
        let mut parameters = parameters(&spec(3));
        parameters.buffers.insert("1.running_var".to_owned(), channels(wide));
        refused(parameters, &format!("`1.running_var`: found [{wide}], the network wants [3]"));
    }
    let mut less = parameters(&spec(3));
    less.buffers.clear();
    refused(less, "`1.running_mean`: found none");
    let mut more = parameters(&spec(3));
    more.trainable.insert("2.weight".to_owned(), channels(3));
    refused(more, "`2.weight`: found [3], the network wants none");
}

#[test]
fn moments_of_another_network_make_no_engine() {
    let of = |name: &str, first: usize, second: usize| {
        let [first, second] =
            [first, second].map(|count| Tensor::zeros(count, DType::F32, &Device::Cpu).unwrap());
        AdamW::resumed(0.0, 3, BTreeMap::from([(name.to_owned(), (first, second))]))
    };
    for (optimizer, named) in [
        (of("0.bias", 2, 3), "`first moment of 0.bias`: found [2], the network wants [3]"),
        (of("0.bias", 3, 20), "`second moment of 0.bias`: found [20], the network wants [3]"),
        (of("2.weight", 3, 3), "`first moment of 2.weight`: found [3], the network wants none"),
    ] {
        for engine in engines(&parameters(&spec(3)), &optimizer) {
            let error = engine.err().unwrap().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
    // A parameter that never had a gradient has none.
    assert!(engines(&parameters(&spec(3)), &of("0.bias", 3, 3)).iter().all(Result::is_ok));
}

/// The CPU engine computes in 32 bits, the reference in 64 too.
#[test]
fn parameters_and_moments_have_a_type_that_engines_compute_in() {
    let [single, double, whole] =
        [DType::F32, DType::F64, DType::U32].map(|dtype| Tensor::zeros(3, dtype, &Device::Cpu).unwrap());
    for (first, second, named) in [
        (&double, &single, "`first moment of 0.bias`: found F64, the network wants F32"),
        (&single, &double, "`second moment of 0.bias`: found F64, the network wants F32"),
    ] {
        let moments = BTreeMap::from([("0.bias".to_owned(), (first.clone(), second.clone()))]);
        let [cpu, reference] = engines(&parameters(&spec(3)), &AdamW::resumed(0.0, 3, moments));
        let error = cpu.err().unwrap().to_string();
        assert!(error.contains(named), "{error}");
        assert!(reference.is_ok());
    }
    let moments = BTreeMap::from([("0.bias".to_owned(), (whole.clone(), whole))]);
    for engine in engines(&parameters(&spec(3)), &AdamW::resumed(0.0, 3, moments)) {
        let error = engine.err().unwrap().to_string();
        assert!(error.contains("`first moment of 0.bias`: found U32, the network wants F32"), "{error}");
    }
    for name in ["0.bias", "1.running_var"] {
        let mut parameters = parameters(&spec(3));
        let Parameters { trainable, buffers } = &mut parameters;
        let tensors = if trainable.contains_key(name) { trainable } else { buffers };
        tensors.insert(name.to_owned(), double.clone());
        let [cpu, reference] = engines(&parameters, &AdamW::new(0.0));
        let error = cpu.err().unwrap().to_string();
        assert!(error.contains(&format!("`{name}`: found F64, the network wants F32")), "{error}");
        assert!(reference.is_ok());
    }
}

#[test]
fn running_statistics_are_floats_as_parameters_are() {
    let whole = Tensor::zeros(3, DType::U32, &Device::Cpu).unwrap();
    let mut parameters = parameters(&spec(3));
    parameters.buffers.insert("1.running_mean".to_owned(), whole);
    let error = Reference::new(spec(3), Neuron::paper(Rule::Both), parameters, Device::Cpu).unwrap_err();
    assert!(error.to_string().contains("`1.running_mean`: found U32"), "{error}");
}

#[test]
fn a_vote_is_the_last_layer() {
    let mut spec = spec(3);
    spec.layers.truncate(5);
    let twice = [Layer::Linear { out: 12 }, Layer::Lif, Layer::Vote { voters: 2 }];
    spec.layers.extend(twice);
    spec.layers.extend(twice);
    let error = spec.shapes().unwrap_err();
    assert!(matches!(error, SpikingError::Order { layer: 7, .. }), "{error}");
}

#[test]
fn features_are_flattened_once() {
    let mut spec = spec(3);
    spec.layers.insert(5, Layer::Flatten);
    let error = spec.shapes().unwrap_err().to_string();
    assert!(error.contains("layer 5 (Flatten) cannot stand there: it wants maps"), "{error}");
}

#[test]
fn networks_of_nothing_are_no_networks() {
    let refused = |spec: NetworkSpec, named: &str| {
        let error = spec.shapes().unwrap_err();
        assert!(matches!(error, SpikingError::Range { .. }) && error.to_string().contains(named), "{error}");
    };
    refused(spec(0), "channels of a convolution = 0");
    let mut features = spec(3);
    features.layers[5] = Layer::Linear { out: 0 };
    refused(features, "features of a linear layer = 0");
    let input = spec(3).input;
    let inputs = [
        (Input { channels: 0, ..input }, "channels = 0"),
        (Input { height: 0, ..input }, "height = 0"),
        (Input { width: 0, ..input }, "width = 0"),
        (Input { stride: 0, ..input }, "stride = 0"),
    ];
    for (input, named) in inputs {
        refused(NetworkSpec { input, ..spec(3) }, named);
        let error = Stimuli::new(&[0.0; SAMPLE], 1, 1, input, 1, DType::F32, &Device::Cpu).unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
    }
    let input = Input { channels: 1, height: 28, width: 28, stride: 1 };
    for architecture in [Architecture::Small, Architecture::Middle] {
        let error = NetworkSpec::paper(architecture, Variant::Events, 1.0, input, 0).unwrap_err();
        assert_eq!(error.to_string(), "classes = 0: expected at least 1");
    }
}

/// Asks both engines to train on a batch, to evaluate and to examine it; all of them must say `named` and learn nothing.
fn refuses(batch: &Batch<'_>, named: &str) {
    for engine in engines(&parameters(&spec(3)), &AdamW::new(1e-4)) {
        let mut engine = engine.unwrap();
        let mut dropout = Streams::new(1).stream("dropout");
        let errors = [
            engine.train_step(batch, Mode::Spiking, &mut dropout, 1e-3).unwrap_err(),
            engine.evaluate(batch, Mode::Spiking).unwrap_err(),
            engine.examine(batch, Mode::Spiking).unwrap_err(),
        ];
        for error in errors {
            assert!(error.to_string().contains(named), "{error}");
        }
        let learnt = engine.parameters().unwrap().hash().unwrap();
        assert_eq!(learnt, parameters(&spec(3)).hash().unwrap());
        assert_eq!(engine.optimizer().unwrap().steps(), 0);
    }
}

#[test]
fn batches_without_meaning_are_refused() {
    let values = [0.5; 12 * SAMPLE];
    let batch = |frames, time_steps, samples: usize| Batch {
        values: &values[..samples * frames * SAMPLE],
        frames,
        time_steps,
        labels: &[0, 1, 2][..samples],
    };
    refuses(&batch(1, 0, 2), "time_steps = 0: expected at least 1");
    // Three frames of one sample for four time steps: the length is right.
    refuses(&batch(3, 4, 1), "frames = 3: expected 1 or the time steps");
    refuses(&batch(0, 4, 1), "frames = 0: expected 1 or the time steps");
    refuses(&Batch { labels: &[0], ..batch(4, 4, 2) }, "the list of labels has 1 values where 2");
    refuses(&Batch { labels: &[0, 1, 2], ..batch(4, 4, 2) }, "the list of labels has 3 values where 2");
    refuses(&Batch { labels: &[0, 3], ..batch(4, 4, 2) }, "label = 3");
}

/// The CPU engine counts time steps in tables of a fixed size.
#[test]
fn the_cpu_engine_runs_for_1024_time_steps_at_most() {
    let [cpu, _] = engines(&parameters(&spec(3)), &AdamW::new(1e-4));
    let mut cpu = cpu.unwrap();
    let mut dropout = Streams::new(1).stream("dropout");
    let mut train = |time_steps| {
        let batch = Batch { values: &[0.5; SAMPLE], frames: 1, time_steps, labels: &[0] };
        cpu.train_step(&batch, Mode::Spiking, &mut dropout, 1e-3)
    };
    let error = train(1025).unwrap_err().to_string();
    assert!(error.contains("time_steps = 1025: expected at most 1024"), "{error}");
    assert!(train(1024).unwrap().loss.is_finite());
}

#[test]
fn values_that_are_no_numbers_are_refused() {
    for (value, named) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        // The first, one in the middle, the last.
        for at in [0, 4 * SAMPLE + 7, 6 * SAMPLE - 1] {
            let mut values = [0.5; 6 * SAMPLE];
            values[at] = value;
            let batch = Batch { values: &values, frames: 2, time_steps: 2, labels: &[0, 1, 2] };
            refuses(&batch, &format!("the stimulus = {named} in sample {}", at / SAMPLE / 2));
        }
    }
}

/// Who asks the reference engine itself has no batch that was checked.
#[test]
fn the_reference_engine_checks_its_labels() {
    let mut engine =
        Reference::new(spec(3), Neuron::paper(Rule::Both), parameters(&spec(3)), Device::Cpu).unwrap();
    let stimuli = engine.stimuli(&[0.5; 2 * SAMPLE], 1, 3).unwrap();
    let mut dropout = Streams::new(1).stream("dropout");
    let before = engine.parameters().hash().unwrap();
    let wrong: [(&[u32], &str); 3] = [
        (&[0], "the list of labels has 1 values where 2 were expected"),
        (&[0, 1, 2], "the list of labels has 3 values where 2 were expected"),
        (&[0, 3], "label = 3"),
    ];
    for (labels, named) in wrong {
        let mut optimizer = AdamW::new(0.0);
        let step =
            engine.train_step(&stimuli, labels, Mode::Spiking, &mut dropout, &mut optimizer, 1e-3).err();
        let evaluation = engine.evaluate(&stimuli, labels, Mode::Spiking).err();
        assert_eq!((engine.parameters().hash().unwrap(), optimizer.steps()), (before.clone(), 0));
        let pass = engine.clone().forward(&stimuli, Mode::Spiking, &mut dropout).unwrap();
        let loss = pass.loss(labels, 3).err();
        for error in [step, evaluation, loss] {
            let error = error.unwrap().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}

/// A trace holds a tensor for each time step, or one for all of them.
#[test]
fn traces_of_other_time_steps_are_refused() {
    let tensor = || Tensor::ones((2, 1), DType::F32, &Device::Cpu).unwrap();
    let trace = |steps| Trace::new(vec![tensor(); steps]);
    let refused = |error: SpikingError, named: &str| assert!(error.to_string().contains(named), "{error}");
    refused(trace(0).unwrap_err(), "tensors of a trace = 0: expected at least 1");
    refused(trace(3).unwrap().at(3).unwrap_err(), "time step of a trace = 3");
    assert!(trace(3).unwrap().at(2).is_ok() && trace(1).unwrap().at(3).is_ok());

    let neuron = Neuron::paper(Rule::Both);
    let forward = |given, steps| lif_forward(&trace(given).unwrap(), steps, &neuron);
    refused(forward(3, 5).unwrap_err(), "the trace of currents has 3 values where 5 were expected");
    refused(forward(3, 2).unwrap_err(), "the trace of currents has 3 values where 2 were expected");
    refused(forward(1, 0).unwrap_err(), "time steps = 0: expected at least 1");
    for given in [1, 3] {
        let cells = forward(given, 3).unwrap();
        assert_eq!((cells.potential.tensors().len(), cells.spikes.tensors().len()), (3, 3));
        let backward = |cells: &LifTrace, grads| lif_backward(cells, &trace(grads).unwrap(), &neuron);
        assert!(backward(&cells, 1).is_ok() && backward(&cells, 3).is_ok());
        for grads in [2, 4] {
            refused(backward(&cells, grads).unwrap_err(), "the trace of gradients has");
        }
        let fewer = LifTrace { spikes: trace(2).unwrap(), ..cells };
        refused(backward(&fewer, 3).unwrap_err(), "the trace of spikes has 2 values where 3 were expected");
    }

    let mut engine = Reference::new(spec(3), neuron, parameters(&spec(3)), Device::Cpu).unwrap();
    let stimuli = engine.stimuli(&[0.5; SAMPLE], 1, 3).unwrap();
    let pass = engine.forward(&stimuli, Mode::Spiking, &mut Streams::new(1).stream("dropout")).unwrap();
    let (_, votes) = pass.loss(&[0], 3).unwrap();
    let error = engine.backward(pass, votes, 2).unwrap_err();
    refused(error, "the trace of gradients has 2 values where 3 were expected");
}

#[test]
fn constants_are_numbers_in_the_precision_of_the_kernels() {
    let paper = Neuron::paper(Rule::Both);
    let refused = [
        (Neuron { threshold: 0.0, ..paper }, "threshold = 0.0"),
        (Neuron { threshold: -0.5, ..paper }, "threshold = -0.5"),
        // 0 in 32 bits, a reciprocal that is infinite, and infinite itself.
        (Neuron { threshold: 1e-46, ..paper }, "threshold = 1e-46"),
        (Neuron { threshold: 1e-40, ..paper }, "threshold = 1e-40"),
        (Neuron { threshold: 1e300, ..paper }, "threshold = 1e300"),
        (Neuron { surrogate_half_width: 1e-46, ..paper }, "surrogate_half_width = 1e-46"),
        (Neuron { surrogate_half_width: 1e300, ..paper }, "surrogate_half_width = 1e300"),
        (Neuron { decay: 1e300, ..paper }, "decay = 1e300"),
        (Neuron { alpha: f64::NAN, ..paper }, "alpha = NaN"),
        (Neuron { alpha: -1e300, ..paper }, "alpha = -1e300"),
    ];
    for (neuron, named) in refused {
        let error = neuron.validate().unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
    let extreme = [
        Neuron { threshold: 1e-37, ..paper },
        Neuron { threshold: 1e38, ..paper },
        Neuron { surrogate_half_width: 1e-40, decay: 0.0, alpha: -0.2, ..paper },
    ];
    assert!(extreme.iter().all(|neuron| neuron.validate().is_ok()));
}
