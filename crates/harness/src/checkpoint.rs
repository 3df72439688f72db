//! What a run that was stopped goes on from: everything that is not a pure function of its configuration and the epoch.
//!
//! Random streams are not in it. Each is named by its epoch and drawn from the seed from its beginning, so that epoch `n` draws the
//! same numbers whether or not the epochs before it were run by the same process.

use std::collections::BTreeMap;
use std::path::Path;

use bpsta_spiking::{AdamW, NetworkSpec, Parameters};
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::tensors::{self, Tensors};
use crate::{EpochRecord, Result, RunConfig};

/// Version of the file's form.
const CHECKPOINT_SCHEMA: u32 = 1;

/// What a run has seen so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) epochs: Vec<EpochRecord>,
    /// Wall time in seconds, of all processes that took part.
    pub(crate) wall_seconds: f64,
    pub(crate) peak_rss_mb: Option<f64>,
    /// How often it went on from a checkpoint.
    pub(crate) resumed: u32,
    /// The time of each training step, in ms. A tensor in the file, for there are many.
    #[serde(skip)]
    pub(crate) step_ms: Vec<f32>,
}

/// A run between two epochs.
#[derive(Debug, Clone)]
pub(crate) struct Checkpoint {
    pub(crate) progress: Progress,
    pub(crate) parameters: Parameters,
    pub(crate) optimizer: AdamW,
}

#[derive(Serialize, Deserialize)]
struct Note {
    schema: u32,
    run_id: String,
    /// For those who look at the run store; the run itself knows its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    config: Option<RunConfig>,
    adam_steps: u32,
    progress: Progress,
}

/// The kinds of tensors, by the beginnings of their names.
const TRAINABLE: &str = "parameter/";
const BUFFER: &str = "buffer/";
const FIRST: &str = "first_moment/";
const SECOND: &str = "second_moment/";
const STEP_MS: &str = "step_ms";

impl Checkpoint {
    /// Writes it to `path`, whole or not at all.
    ///
    /// # Errors
    /// [`crate::HarnessError::Io`], and the device's.
    pub(crate) fn write(&self, path: &Path, config: &RunConfig) -> Result<()> {
        let mut tensors = Tensors::new();
        let mut put = |kind: &str, name: &str, tensor: &Tensor| {
            tensors.insert(format!("{kind}{name}"), tensor.clone());
        };
        self.parameters.trainable.iter().for_each(|(name, tensor)| put(TRAINABLE, name, tensor));
        self.parameters.buffers.iter().for_each(|(name, tensor)| put(BUFFER, name, tensor));
        for (name, (first, second)) in self.optimizer.moments() {
            put(FIRST, name, first);
            put(SECOND, name, second);
        }
        let step_ms = self.progress.step_ms.as_slice();
        put(STEP_MS, "", &Tensor::new(step_ms, &Device::Cpu).map_err(bpsta_spiking::SpikingError::from)?);
        let note = Note {
            schema: CHECKPOINT_SCHEMA,
            run_id: config.run_id(),
            config: Some(config.clone()),
            adam_steps: self.optimizer.steps(),
            progress: self.progress.clone(),
        };
        tensors::write(path, &tensors, serde_json::to_value(&note).unwrap_or_default())
    }

    /// The configuration in a checkpoint and the epochs behind it, from the file's head alone: whether a run can go on from the rest
    /// is not looked at. None where there is no file; the error says why it is none.
    pub(crate) fn glance(path: &Path) -> std::result::Result<Option<(Option<RunConfig>, usize)>, String> {
        let Some(note) = tensors::note(path)? else { return Ok(None) };
        let note: Note = serde_json::from_value(note).map_err(|error| error.to_string())?;
        Ok(Some((note.config, note.progress.epochs.len())))
    }

    /// Reads a run's checkpoint from a file's bytes; the error says why the run cannot go on from it.
    pub(crate) fn read(
        bytes: &[u8],
        config: &RunConfig,
        spec: &NetworkSpec,
        device: &Device,
    ) -> std::result::Result<Self, String> {
        let (mut tensors, note) = tensors::read(bytes, device)?;
        // The number is looked at first: another schema's note would otherwise fail on some unrelated key.
        let schema = note.get("schema").and_then(serde_json::Value::as_u64);
        if schema != Some(u64::from(CHECKPOINT_SCHEMA)) {
            return Err(format!("its schema is {schema:?}, expected {CHECKPOINT_SCHEMA}"));
        }
        let Note { run_id, adam_steps, mut progress, .. } =
            serde_json::from_value(note).map_err(|error| error.to_string())?;
        if run_id != config.run_id() {
            return Err(format!("it is of run {run_id}"));
        }
        let step_ms = tensors.remove(STEP_MS).ok_or("it has no step times")?;
        progress.step_ms = step_ms.to_vec1().map_err(|error| error.to_string())?;
        let numbered = progress.epochs.iter().zip(1..).all(|(epoch, number)| epoch.epoch == number);
        let done = progress.epochs.len();
        if !numbered || done == 0 || done >= config.epochs {
            return Err(format!("it has {done} epochs of {}", config.epochs));
        }
        let mut of = |kind: &str| -> Tensors {
            let behind = tensors.split_off(kind);
            let (own, others): (Tensors, Tensors) =
                behind.into_iter().partition(|(name, _)| name.starts_with(kind));
            tensors.extend(others);
            own.into_iter().map(|(name, tensor)| (name[kind.len()..].to_owned(), tensor)).collect()
        };
        let (trainable, buffers, first, mut second) = (of(TRAINABLE), of(BUFFER), of(FIRST), of(SECOND));
        let parameters = Parameters::resumed(spec, trainable, buffers).map_err(|error| error.to_string())?;
        let mut moments = BTreeMap::new();
        for (name, first) in first {
            let shape = parameters.trainable.get(&name).map(Tensor::dims);
            let second = second.remove(&name).filter(|second| shape == Some(second.dims()));
            match second {
                Some(second) if shape == Some(first.dims()) => moments.insert(name, (first, second)),
                _ => return Err(format!("the moments of `{name}` have not its shape")),
            };
        }
        if moments.len() != parameters.trainable.len() {
            return Err("it has not the moments of all parameters".to_owned());
        }
        let optimizer = AdamW::resumed(config.weight_decay, adam_steps, moments);
        Ok(Self { progress, parameters, optimizer })
    }
}
