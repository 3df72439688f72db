//! The engine of a run, and the hand-over from the ANN warm-up to spiking training.

use bpsta_spiking::cpu::{Cpu, Path};
use bpsta_spiking::reference::{Reference, Trainer};
use bpsta_spiking::{AdamW, Engine, Gpu, NetworkSpec, Neuron, Parameters, SpikingError};

use crate::{DeviceKind, EngineKind, Result};

/// A network in training.
#[derive(Debug)]
pub(crate) enum Training {
    Reference(Box<Trainer>),
    Cpu(Box<Cpu>),
}

/// What an engine is made of.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) spec: NetworkSpec,
    pub(crate) neuron: Neuron,
    pub(crate) device: DeviceKind,
    pub(crate) engine: EngineKind,
}

impl Setup {
    /// The engine for a training that goes on from these parameters and this optimizer. Only the reference runs the ANN warm-up: if
    /// the next epoch is one of it, it goes first, whatever the engine asked for, and [`Self::after_warm_up`] hands over.
    pub(crate) fn start(&self, parameters: Parameters, optimizer: AdamW, warm_up: bool) -> Result<Training> {
        match (self.engine, self.device) {
            (EngineKind::Cpu, DeviceKind::Cpu) if !warm_up => self.cpu(&parameters, &optimizer),
            (EngineKind::Cpu, DeviceKind::Cuda(_)) => Err(SpikingError::Device {
                device: self.device.to_string(),
                why: "the CPU engine runs on the CPU; use --engine reference".to_owned(),
            }
            .into()),
            (_, device) => {
                let device = device.open()?;
                let engine = Reference::new(self.spec.clone(), self.neuron, parameters, device)?;
                Ok(Training::Reference(Box::new(Trainer::new(engine, optimizer)?)))
            }
        }
    }

    /// The engine for the epochs behind the warm-up: parameters and AdamW's moments go over as they are.
    pub(crate) fn after_warm_up(&self, training: &mut Training) -> Result<()> {
        if let (EngineKind::Cpu, Training::Reference(trainer)) = (self.engine, &*training) {
            *training = self.cpu(&trainer.parameters()?, &trainer.optimizer()?)?;
        }
        Ok(())
    }

    fn cpu(&self, parameters: &Parameters, optimizer: &AdamW) -> Result<Training> {
        let path = Path::from_environment()?;
        Ok(Training::Cpu(Box::new(Cpu::new(self.spec.clone(), self.neuron, parameters, optimizer, path)?)))
    }
}

impl Training {
    /// What computes it.
    pub(crate) fn engine(&mut self) -> &mut dyn Engine {
        match self {
            Self::Reference(trainer) => trainer.as_mut(),
            Self::Cpu(cpu) => cpu.as_mut(),
        }
    }

    /// What its kernels are made for, where it has kernels.
    pub(crate) fn simd(&self) -> Result<Option<String>> {
        Ok(match self {
            Self::Reference(_) => self.gpu()?.filter(|gpu| gpu.kernels).map(|_| "cuda".to_owned()),
            Self::Cpu(cpu) => Some(cpu.path().to_string()),
        })
    }

    /// The GPU it runs on; none for a CPU.
    pub(crate) fn gpu(&self) -> Result<Option<Gpu>> {
        match self {
            Self::Reference(trainer) => Ok(Gpu::of(trainer.device())?),
            Self::Cpu(_) => Ok(None),
        }
    }
}
