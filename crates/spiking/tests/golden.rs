//! One training step of the official code, number for number.
//!
//! Reads every `net_*.safetensors` in `$BPSTA_GOLDEN` (default `$BPSTA_SHARED/golden`, where `BPSTA_SHARED` defaults to
//! `../shared`), builds the network that the file's tensors describe, and meets its spikes exactly, and everything
//! else to 1e-5 absolute or relative. With a variable set and no file found it fails; with none set and
//! no folder it says that it is skipped.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bpsta_spiking::cpu::{self, Cpu};
use bpsta_spiking::reference::Reference;
use bpsta_spiking::{
    AdamW, Batch, Engine, Input, Layer, Mode, NetworkSpec, Neuron, Parameters, Rule, Streams,
};
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;

const TOLERANCE: f32 = 1e-5;
/// Gradients below this are rounding around zero: a sum of some hundred f32 terms.
const NOISE: f64 = 1e-6;

fn golden_files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let named = std::env::var_os("BPSTA_GOLDEN").map(PathBuf::from);
    let shared = std::env::var_os("BPSTA_SHARED").map(|shared| Path::new(&shared).join("golden"));
    let must_be_there = named.is_some() || shared.is_some();
    let folder = root.join(named.or(shared).unwrap_or_else(|| "../shared/golden".into()));
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default();
    files.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("net_") && name.ends_with(".safetensors")
    });
    files.sort();
    assert!(!files.is_empty() || !must_be_there, "no net_*.safetensors in {}", folder.display());
    if files.is_empty() {
        eprintln!("skipped: BPSTA_GOLDEN and BPSTA_SHARED are not set and {} has no net_*", folder.display());
    }
    files
}

struct Golden {
    name: String,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f64>)>,
    metadata: BTreeMap<String, String>,
}

impl Golden {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let values = |view: safetensors::tensor::TensorView<'_>| -> Vec<f64> {
            match view.dtype() {
                safetensors::Dtype::F32 => {
                    view.data().as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect()
                }
                safetensors::Dtype::I64 => {
                    view.data().as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect()
                }
                other => panic!("{}: unexpected type {other:?}", path.display()),
            }
        };
        let tensors = file
            .tensors()
            .into_iter()
            .map(|(name, view)| (name, (view.shape().to_vec(), values(view))))
            .collect();
        Self { name: path.file_stem().unwrap().to_str().unwrap().to_owned(), tensors, metadata }
    }

    fn shape(&self, name: &str) -> &[usize] {
        &self.tensors[name].0
    }

    fn constant(&self, key: &str) -> f64 {
        self.metadata[key].parse().unwrap()
    }

    fn f32s(&self, name: &str) -> Vec<f32> {
        self.tensors[name].1.iter().map(|value| *value as f32).collect()
    }

    /// Tensors called `prefix`NAME, as NAME.
    fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.tensors.keys().filter_map(move |name| name.strip_prefix(prefix))
    }

    fn rule(&self) -> Rule {
        let words: Vec<&str> = self.name.split('_').collect();
        let named = |rule: Rule| words.contains(&rule.id());
        if words.contains(&"bptt") {
            return Rule::Baseline;
        }
        Rule::ALL
            .into_iter()
            .find(|rule| named(*rule))
            .unwrap_or_else(|| panic!("{}: names no rule", self.name))
    }

    fn assert_close(&self, name: &str, found: &Tensor) {
        self.assert_close_where(name, found, |_| true);
    }

    /// Compares the values whose index `counts` accepts.
    fn assert_close_where(&self, name: &str, found: &Tensor, counts: impl Fn(usize) -> bool) {
        let (shape, expected) = &self.tensors[name];
        assert_eq!(found.elem_count(), shape.iter().product::<usize>(), "{}: {name}", self.name);
        let found = found.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            if !counts(i) {
                continue;
            }
            let expected = *expected as f32;
            let error = (found - expected).abs();
            assert!(
                error <= TOLERANCE || error <= TOLERANCE * expected.abs(),
                "{}: {name}[{i}] is {found}, the official code has {expected}",
                self.name
            );
        }
    }
}

/// The network, the step and its parameters before it, as a golden file states them.
struct Step {
    spec: NetworkSpec,
    neuron: Neuron,
    parameters: Parameters,
    input: Vec<f32>,
    time_steps: usize,
    labels: Vec<u32>,
}

fn step(golden: &Golden, device: &Device) -> Step {
    let [samples, time_steps, channels, height, width] = *golden.shape("input") else {
        panic!("{}: input is not [N, T, C, H, W]", golden.name)
    };
    assert_eq!(time_steps as f64, golden.constant("time_steps"), "{}", golden.name);
    let out = |layer: &str| golden.shape(&format!("param.{layer}.weight"))[0];
    let classes = golden.shape("output")[1];
    let conv = |layer| [Layer::Conv { out: out(layer) }, Layer::BatchNorm, Layer::Relu, Layer::Lif];
    let mut layers = Vec::new();
    layers.extend(conv("0"));
    layers.push(Layer::MaxPool { size: 2 });
    layers.extend(conv("5"));
    layers.extend([Layer::AvgPool { size: 2 }, Layer::Flatten]);
    layers.extend([
        Layer::Linear { out: out("11") },
        Layer::Lif,
        Layer::Vote { voters: out("11") / classes },
    ]);
    let spec = NetworkSpec { input: Input { channels, height, width, stride: 1 }, layers };
    let neuron = Neuron {
        threshold: golden.constant("threshold"),
        decay: golden.constant("decay"),
        alpha: golden.constant("alpha"),
        ..Neuron::paper(golden.rule())
    };
    let given: BTreeMap<String, Tensor> = golden
        .under("param.")
        .map(|name| {
            let key = format!("param.{name}");
            (name.to_owned(), Tensor::from_vec(golden.f32s(&key), golden.shape(&key), device).unwrap())
        })
        .collect();
    let parameters = Parameters::from_tensors(&spec, given, device).unwrap();
    let labels: Vec<u32> = golden.tensors["labels"].1.iter().map(|label| *label as u32).collect();
    assert_eq!(labels.len(), samples);
    Step { spec, neuron, parameters, input: golden.f32s("input"), time_steps, labels }
}

fn assert_spikes(golden: &Golden, spikes: impl Fn(usize) -> Tensor) {
    for layer in golden.under("spikes.") {
        let name = format!("spikes.{layer}");
        let found = spikes(layer.parse().unwrap());
        assert_eq!(found.dims(), golden.shape(&name), "{}", golden.name);
        let found = found.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(found == golden.f32s(&name), "{}: {layer}", golden.name);
    }
}

fn assert_gradients(golden: &Golden, gradients: &BTreeMap<String, Tensor>) {
    let mut met = 0;
    for name in golden.under("grad.") {
        golden.assert_close(&format!("grad.{name}"), &gradients[name]);
        met += 1;
    }
    assert_eq!(met, gradients.len(), "{}: gradients", golden.name);
}

fn check_reference(golden: &Golden, device: &Device) {
    let Step { spec, neuron, parameters, input, time_steps: steps, labels } = step(golden, device);
    let mut engine = Reference::new(spec, neuron, parameters, device.clone()).unwrap();
    let stimuli = engine.stimuli(&input, steps, steps).unwrap();
    let mut dropout = Streams::new(0).stream("dropout");
    let pass = engine.forward(&stimuli, Mode::Spiking, &mut dropout).unwrap();
    assert_spikes(golden, |layer| pass.spikes(layer).unwrap().unwrap());
    golden.assert_close("output", &pass.output().unwrap());
    let (loss, votes) = pass.loss(&labels, steps).unwrap();
    golden.assert_close("loss", &Tensor::new(&[loss as f32], &Device::Cpu).unwrap());
    let gradients = engine.backward(pass, votes, steps).unwrap();
    assert_gradients(golden, &gradients);
    for name in golden.under("running_after.") {
        golden.assert_close(&format!("running_after.{name}"), &engine.parameters().buffers[name]);
    }
    // The optimizer, from the file's own gradients: every parameter.
    let theirs: BTreeMap<String, Tensor> = gradients
        .iter()
        .map(|(name, like)| {
            let values = golden.f32s(&format!("grad.{name}"));
            (name.clone(), Tensor::from_vec(values, like.shape(), device).unwrap())
        })
        .collect();
    for (name, value) in after_adamw(golden, &engine, &theirs) {
        golden.assert_close(&format!("after_adamw.{name}"), &value);
    }
    // The whole step, from our gradients. A first Adam step moves by lr * g / (|g| + 1e-8): where g is rounding noise around
    // zero, as for a bias that batch norm cancels, so is the move, on either side. Those few are left out here.
    for (name, value) in after_adamw(golden, &engine, &gradients) {
        let theirs = &golden.tensors[&format!("grad.{name}")].1;
        golden.assert_close_where(&format!("after_adamw.{name}"), &value, |i| theirs[i].abs() > NOISE);
    }
}

fn after_adamw(
    golden: &Golden,
    engine: &Reference,
    gradients: &BTreeMap<String, Tensor>,
) -> BTreeMap<String, Tensor> {
    let mut parameters = engine.parameters().trainable.clone();
    let mut optimizer = AdamW::new(golden.constant("weight_decay"));
    optimizer.step(&mut parameters, gradients, golden.constant("lr")).unwrap();
    parameters
}

/// The CPU engine on one path; its AdamW is fused, so a whole step is compared, but for rounding noise as above.
fn check_cpu(golden: &Golden, path: cpu::Path) {
    let Step { spec, neuron, parameters, input, time_steps, labels } = step(golden, &Device::Cpu);
    let optimizer = AdamW::new(golden.constant("weight_decay"));
    let engine = || Cpu::new(spec.clone(), neuron, &parameters, &optimizer, path).unwrap();
    let batch = Batch { values: &input, frames: time_steps, time_steps, labels: &labels };
    let mut dropout = Streams::new(0).stream("dropout");
    let probe = engine().probe(&batch, &mut dropout).unwrap();
    assert_spikes(golden, |layer| probe.spikes[&layer].clone());
    golden.assert_close("output", &probe.output);
    golden.assert_close("loss", &Tensor::new(&[probe.loss as f32], &Device::Cpu).unwrap());
    assert_gradients(golden, &probe.gradients);

    let mut engine = engine();
    engine.train_step(&batch, Mode::Spiking, &mut dropout, golden.constant("lr")).unwrap();
    let after = engine.parameters().unwrap();
    for name in golden.under("running_after.") {
        golden.assert_close(&format!("running_after.{name}"), &after.buffers[name]);
    }
    for (name, value) in &after.trainable {
        let theirs = &golden.tensors[&format!("grad.{name}")].1;
        golden.assert_close_where(&format!("after_adamw.{name}"), value, |i| theirs[i].abs() > NOISE);
    }
}

#[test]
fn golden_training_steps_are_met_by_the_cpu_engine_on_every_path() {
    for path in golden_files() {
        for simd in cpu::Path::available() {
            check_cpu(&Golden::read(&path), simd);
        }
    }
}

#[test]
fn golden_training_steps_are_met_by_the_reference() {
    let files = golden_files();
    for path in &files {
        check_reference(&Golden::read(path), &Device::Cpu);
    }
    let rules: Vec<Rule> = files.iter().map(|path| Golden::read(path).rule()).collect();
    eprintln!("met {} golden files, rules {rules:?}", files.len());
}

#[cfg(feature = "cuda")]
#[test]
fn golden_training_steps_are_met_by_the_reference_on_a_gpu() {
    let gpu = bpsta_spiking::Gpu::open(0).unwrap();
    for path in golden_files() {
        check_reference(&Golden::read(&path), &gpu);
    }
}
