//! Everything that shapes the numbers of one run, in one canonical form.

use std::fmt;
use std::str::FromStr;

use bpsta_datasets::{DatasetId, Subset};
use bpsta_events::Framing;
use bpsta_spiking::{
    Architecture, Gpu, Input, Mode, NetworkSpec, Neuron, Rule, Schedule, SpikingError, Variant,
};
use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::{Profile, Result};

/// Raised whenever the code gives other numbers than before for one configuration on the CPU: older runs are then no longer reused. On a
/// GPU nothing is promised from one build or machine to another: builds of one code version may sum in another order there, and
/// `code.git_commit` of their records tells them apart.
pub const CODE_VERSION: u32 = 9;

/// What stands in place of a rule's id for the ANN twin.
const ANN: &str = "ann";

/// What computes a run. Both engines run the same networks, and sum in different orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// Kernels of our own, on the CPU alone.
    Cpu,
    /// candle tensor operations, on any device.
    Reference,
}

impl EngineKind {
    /// The engine for a device where none was asked for.
    pub const fn of(device: DeviceKind) -> Self {
        match device {
            DeviceKind::Cpu => Self::Cpu,
            DeviceKind::Cuda(_) => Self::Reference,
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Reference => "reference",
        })
    }
}

impl FromStr for EngineKind {
    type Err = SpikingError;

    fn from_str(text: &str) -> std::result::Result<Self, SpikingError> {
        [Self::Cpu, Self::Reference].into_iter().find(|engine| engine.to_string() == text).ok_or_else(|| {
            SpikingError::UnknownName {
                kind: "engine",
                found: text.to_owned(),
                expected: "cpu, reference".to_owned(),
            }
        })
    }
}

/// The device of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU, by its number.
    Cuda(usize),
}

impl DeviceKind {
    /// The device as a run's name has it: which of a machine's GPUs it is shapes no run.
    pub(crate) const fn unnumbered(self) -> Self {
        match self {
            Self::Cpu => Self::Cpu,
            Self::Cuda(_) => Self::Cuda(0),
        }
    }

    /// Opens the device.
    ///
    /// # Errors
    /// Those of [`Gpu::open`].
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(index) => Ok(Gpu::open(index)?),
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for DeviceKind {
    type Err = SpikingError;

    fn from_str(text: &str) -> std::result::Result<Self, SpikingError> {
        let cuda = text.strip_prefix("cuda:").and_then(|index| index.parse().ok());
        match (text, cuda) {
            ("cpu", _) => Ok(Self::Cpu),
            (_, Some(index)) => Ok(Self::Cuda(index)),
            _ => Err(SpikingError::UnknownName {
                kind: "device",
                found: text.to_owned(),
                expected: "cpu, cuda:N".to_owned(),
            }),
        }
    }
}

/// One run, complete: what it computes follows from this alone. Threads are not in it, since they do not change a bit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    /// See [`CODE_VERSION`].
    pub code_version: u32,
    /// The profile that asked for it.
    pub profile: Profile,
    /// The data set.
    pub dataset: DatasetId,
    /// Hash of the manifest of its files.
    pub manifest_hash: String,
    /// Whether the data are a synthetic stand-in.
    pub synthetic: bool,
    /// Which part of the official set is there; none if all of it, or a stand-in.
    pub subset: Option<Subset>,
    /// How events become frames, such as `number:8`; none for static images, whose pixels enter at every time step.
    pub framing: Option<String>,
    /// Augmentation of the training data.
    pub augmentation: String,
    /// Share of the training samples held back for validation, drawn by the seed; none are if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<f64>,
    /// The paper's network.
    pub network: Architecture,
    /// Which of its forms.
    pub variant: Variant,
    /// Its width factor.
    pub width: f64,
    /// What enters it.
    pub input: Input,
    /// Classes it votes on.
    pub classes: usize,
    /// Its cells and their gradient rule.
    pub neuron: Neuron,
    /// Simulation length T.
    pub time_steps: usize,
    /// Seed of all random streams.
    pub seed: u64,
    /// Epochs of training.
    pub epochs: usize,
    /// Samples in a batch; the last, smaller one of an epoch is dropped.
    pub batch_size: usize,
    /// AdamW's weight decay.
    pub weight_decay: f64,
    /// The learning rate.
    pub schedule: Schedule,
    /// Epochs of ANN warm-up.
    pub ann_warm_up_epochs: usize,
    /// Whether it is the ANN twin: see [`RunConfig::twin`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ann: bool,
    /// The device.
    pub device: DeviceKind,
    /// What computes it there.
    pub engine: EngineKind,
}

impl RunConfig {
    /// 16 hexadecimal digits of BLAKE3 over the canonical JSON, in which each GPU is number 0.
    pub fn run_id(&self) -> String {
        let named = Self { device: self.device.unnumbered(), ..self.clone() };
        let json = serde_json::to_vec(&named).unwrap_or_default();
        blake3::hash(&json).to_hex()[..16].to_owned()
    }

    /// The run in words.
    pub fn name(&self) -> String {
        format!(
            "{} {} {} width {} T={} seed {}",
            self.data_name(),
            self.rule_id(),
            self.network,
            self.width,
            self.time_steps,
            self.seed
        )
    }

    /// The configuration that all its seeds share, on whichever GPU of a machine.
    pub(crate) fn but_seed(&self) -> Self {
        Self { seed: 0, device: self.device.unnumbered(), ..self.clone() }
    }

    /// The data set, and that its data are not all of the official ones where they are not.
    pub(crate) fn data_name(&self) -> String {
        self.mark().map_or_else(|| self.dataset.to_string(), |mark| format!("{} ({mark})", self.dataset))
    }

    /// What its data are, where they are not all of the official ones.
    pub(crate) const fn mark(&self) -> Option<&'static str> {
        match (self.synthetic, self.subset) {
            (true, _) => Some("synthetic stand-in"),
            (false, Some(_)) => Some("subset"),
            (false, None) => None,
        }
    }

    /// The gradient rule of its cells; none of the ANN twin, whose cells do not spike.
    pub fn rule(&self) -> Option<Rule> {
        (!self.ann).then_some(self.neuron.rule)
    }

    /// The rule's id, or `ann`.
    pub fn rule_id(&self) -> &'static str {
        self.rule().map_or(ANN, Rule::id)
    }

    /// How its cells behave once trained.
    pub(crate) fn mode(&self) -> Mode {
        if self.ann { Mode::Analogue } else { Mode::Spiking }
    }

    /// Epochs of ANN warm-up there are: all of an ANN twin's, and of others none where the input changes from one time step to the next.
    pub(crate) fn warm_up_epochs(&self) -> usize {
        match (self.ann, self.framing.is_none() || self.time_steps == 1) {
            (true, _) => self.epochs,
            (false, true) => self.ann_warm_up_epochs,
            (false, false) => 0,
        }
    }

    /// The run's ANN twin: the same layers on the same data with the same training and seed, but cells pass their input on in all epochs,
    /// and the network runs once. It sees all events of a sample in one frame. What plays no part in it (rule and constants of the cells,
    /// T, warm-up, an engine that cannot run it) has one value, so that all rules and T of a group of cells have one twin.
    pub fn twin(&self) -> Self {
        Self {
            framing: self.framing.as_ref().map(|_| Framing::ByNumber { frames: 1 }.to_string()),
            neuron: Neuron::paper(Rule::Baseline),
            time_steps: 1,
            ann_warm_up_epochs: 0,
            ann: true,
            engine: EngineKind::Reference,
            ..self.clone()
        }
    }

    /// The network.
    ///
    /// # Errors
    /// Those of [`NetworkSpec::paper`].
    pub fn spec(&self) -> Result<NetworkSpec> {
        Ok(NetworkSpec::paper(self.network, self.variant, self.width, self.input, self.classes)?)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Record;

    /// A committed run that was made on GPU 0.
    fn on_gpu() -> Record {
        let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results/table2/gpu/records");
        let records = std::fs::read_dir(results).into_iter().flatten().flatten();
        let mut records = records.filter_map(|entry| {
            let record: Record = serde_json::from_slice(&std::fs::read(entry.path()).ok()?).ok()?;
            (record.config.device == DeviceKind::Cuda(0)).then_some(record)
        });
        records.next().unwrap_or_else(|| panic!("no run of a GPU is committed"))
    }

    #[test]
    fn a_run_has_one_name_on_whichever_gpu_of_a_machine_and_another_on_the_cpu() {
        let Record { run_id, config, .. } = on_gpu();
        assert_eq!(config.run_id(), run_id, "committed runs keep their names");
        let on = |device| RunConfig { device, ..config.clone() };
        assert_eq!(on(DeviceKind::Cuda(1)).run_id(), run_id);
        assert_eq!(on(DeviceKind::Cuda(1)).but_seed(), config.but_seed());
        assert_ne!(on(DeviceKind::Cpu).run_id(), run_id);
        assert_ne!(on(DeviceKind::Cpu).but_seed(), config.but_seed());
    }
}
