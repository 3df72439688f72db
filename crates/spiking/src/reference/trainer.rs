//! The reference as one of the two executors.

use candle_core::{DType, Device};
use rand_chacha::ChaCha8Rng;

use super::Reference;
use crate::{AdamW, Batch, Engine, Evaluation, Examination, Mode, Parameters, Result, StepReport, Stimuli};

/// The reference as an [`Engine`]: the network with its optimizer.
#[derive(Debug, Clone)]
pub struct Trainer {
    engine: Reference,
    optimizer: AdamW,
}

impl Trainer {
    /// AdamW goes on from where `optimizer` stands.
    ///
    /// # Errors
    /// [`SpikingError::Parameter`](crate::SpikingError::Parameter) for moments that are not of the network's parameters, or no
    /// floats of 32 or 64 bits.
    pub fn new(engine: Reference, optimizer: AdamW) -> Result<Self> {
        optimizer.check(&engine.spec, &[DType::F32, DType::F64], "F32 or F64")?;
        Ok(Self { engine, optimizer })
    }

    /// Where its tensors are.
    pub fn device(&self) -> &Device {
        &self.engine.device
    }

    fn stimuli(&self, batch: &Batch<'_>) -> Result<Stimuli> {
        batch.check(self.engine.spec.input, self.engine.spec.classes()?)?;
        self.engine.stimuli(batch.values, batch.frames, batch.time_steps)
    }
}

impl Engine for Trainer {
    fn train_step(
        &mut self,
        batch: &Batch<'_>,
        mode: Mode,
        dropout: &mut ChaCha8Rng,
        learning_rate: f64,
    ) -> Result<StepReport> {
        let stimuli = self.stimuli(batch)?;
        let optimizer = &mut self.optimizer;
        let report =
            self.engine.train_step(&stimuli, batch.labels, mode, dropout, optimizer, learning_rate)?;
        // A GPU is still at the backward pass: who times a step times all of it.
        self.engine.device.synchronize()?;
        Ok(report)
    }

    fn evaluate(&mut self, batch: &Batch<'_>, mode: Mode) -> Result<Evaluation> {
        self.engine.evaluate(&self.stimuli(batch)?, batch.labels, mode)
    }

    fn examine(&mut self, batch: &Batch<'_>, mode: Mode) -> Result<Examination> {
        self.engine.examine(&self.stimuli(batch)?, mode)
    }

    fn parameters(&self) -> Result<Parameters> {
        Ok(self.engine.parameters.clone())
    }

    fn memory(&self) -> Option<usize> {
        None
    }

    fn optimizer(&self) -> Result<AdamW> {
        Ok(self.optimizer.clone())
    }
}
