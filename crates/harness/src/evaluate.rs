//! What a network does on samples that it does not learn from.

use std::time::Instant;

use bpsta_datasets::Split;
use bpsta_spiking::{Batch, Engine, Examination, Mode, NetworkSpec, Operations};

use crate::maps::{MapCount, Maps};
use crate::{ClassCount, LayerOperations, LayerSpikes, Result};

/// How samples enter the network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    /// See [`Batch::frames`].
    pub(crate) frames: usize,
    pub(crate) time_steps: usize,
    pub(crate) mode: Mode,
    pub(crate) batch_size: usize,
    pub(crate) classes: usize,
}

/// What an evaluation of a split saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tested {
    /// Mean squared error over samples and classes.
    pub(crate) loss: f64,
    pub(crate) samples: usize,
    pub(crate) classes: Vec<ClassCount>,
    /// Spikes of each LIF layer by its index, over all samples and time steps; none in analogue mode.
    spikes: Vec<(usize, u64)>,
    /// Of the engine alone.
    pub(crate) seconds: f64,
}

/// Evaluates a split; `seen` is told of each batch how many samples it had and the seconds that the engine took for it.
pub(crate) fn evaluate(
    engine: &mut dyn Engine,
    split: &Split,
    form: Form,
    seen: &mut dyn FnMut(usize, f64),
) -> Result<Tested> {
    let classes = vec![ClassCount { correct: 0, total: 0 }; form.classes];
    let mut all = Tested { samples: split.len(), classes, ..Tested::default() };
    for_each_batch(split, form, |batch| {
        let clock = Instant::now();
        let found = engine.evaluate(batch, form.mode)?;
        let seconds = clock.elapsed().as_secs_f64();
        all.seconds += seconds;
        all.loss += found.loss * batch.labels.len() as f64 / split.len() as f64;
        // The engine has refused labels that are no valid class index.
        for (predicted, label) in found.predictions.iter().zip(batch.labels) {
            if let Some(class) = all.classes.get_mut(*label as usize) {
                class.total += 1;
                class.correct += usize::from(predicted == label);
            }
        }
        if all.spikes.is_empty() {
            all.spikes = found.spikes;
        } else {
            for (total, (_, spikes)) in all.spikes.iter_mut().zip(found.spikes) {
                total.1 += spikes;
            }
        }
        seen(batch.labels.len(), seconds);
        Ok(())
    })?;
    Ok(all)
}

/// What a closer look at a split saw.
pub(crate) struct Examined {
    /// Accuracy in % after each time step.
    pub(crate) anytime: Vec<f64>,
    pub(crate) operations: Vec<LayerOperations>,
    pub(crate) maps: Maps,
}

/// Looks closer at a split: see [`Engine::examine`].
pub(crate) fn examine(engine: &mut dyn Engine, split: &Split, form: Form) -> Result<Examined> {
    let mut correct = vec![0; form.time_steps];
    let mut sums: Vec<Operations> = Vec::new();
    let mut counts: Vec<MapCount> = Vec::new();
    for_each_batch(split, form, |batch| {
        let Examination { predictions, operations, frequencies } = engine.examine(batch, form.mode)?;
        for (correct, predictions) in correct.iter_mut().zip(predictions) {
            *correct += predictions.iter().zip(batch.labels).filter(|(found, label)| found == label).count();
        }
        if sums.is_empty() {
            sums = operations;
        } else {
            for (sum, of_batch) in sums.iter_mut().zip(operations) {
                sum.inputs += of_batch.inputs;
                sum.operations += of_batch.operations;
                sum.dense += of_batch.dense;
            }
        }
        if counts.is_empty() {
            counts = frequencies.iter().map(MapCount::before).collect();
        }
        counts.iter_mut().zip(&frequencies).for_each(|(count, of_batch)| count.add(of_batch));
        Ok(())
    })?;
    let samples = split.len() as f64;
    let per_sample = |of: Operations| LayerOperations {
        layer: of.layer,
        inputs_per_sample: of.inputs as f64 / samples,
        operations_per_sample: of.operations as f64 / samples,
        dense_per_sample: of.dense as f64 / samples,
        real: of.real,
    };
    Ok(Examined {
        anytime: correct.into_iter().map(|correct| 100.0 * correct as f64 / samples).collect(),
        operations: sums.into_iter().map(per_sample).collect(),
        maps: Maps { label: labels(split, &[0])[0], layers: counts.iter().map(MapCount::maps).collect() },
    })
}

/// Hands on a split in its order, a batch at a time.
fn for_each_batch(split: &Split, form: Form, mut each: impl FnMut(&Batch<'_>) -> Result<()>) -> Result<()> {
    let indices: Vec<usize> = (0..split.len()).collect();
    for indices in indices.chunks(form.batch_size) {
        let mut values = Vec::with_capacity(indices.len() * split.sample_len());
        split.read(indices, &mut values)?;
        let labels = labels(split, indices);
        let Form { frames, time_steps, .. } = form;
        each(&Batch { values: &values, frames, time_steps, labels: &labels })?;
    }
    Ok(())
}

/// The labels of some samples.
pub(crate) fn labels(split: &Split, indices: &[usize]) -> Vec<u32> {
    indices.iter().map(|index| u32::from(split.labels()[*index])).collect()
}

impl Tested {
    /// In %.
    pub(crate) fn accuracy(&self) -> f64 {
        let correct: usize = self.classes.iter().map(|class| class.correct).sum();
        100.0 * correct as f64 / self.samples as f64
    }

    /// Spikes of all LIF layers per sample.
    pub(crate) fn spikes_per_sample(&self) -> f64 {
        self.total_spikes() / self.samples as f64
    }

    fn total_spikes(&self) -> f64 {
        // Of integers, whose sum over no layer is 0; that of floats is -0.
        self.spikes.iter().map(|(_, spikes)| spikes).sum::<u64>() as f64
    }

    /// Spikes over cells and time steps, of all LIF layers.
    pub(crate) fn firing_rate(&self, spec: &NetworkSpec, time_steps: usize) -> Result<f64> {
        let cells: usize = spec.lif_cells()?.iter().map(|(_, cells)| cells).sum();
        Ok(self.total_spikes() / (cells * self.samples * time_steps) as f64)
    }

    /// The spikes of each LIF layer.
    pub(crate) fn layers(&self, spec: &NetworkSpec, time_steps: usize) -> Result<Vec<LayerSpikes>> {
        let cells = spec.lif_cells()?;
        let layer = |(layer, spikes): &(usize, u64)| {
            let cells = cells.iter().find(|(index, _)| index == layer).map_or(0, |(_, cells)| *cells);
            let spikes_per_sample = *spikes as f64 / self.samples as f64;
            let firing_rate = spikes_per_sample / (cells * time_steps) as f64;
            LayerSpikes { layer: *layer, cells, spikes_per_sample, firing_rate }
        };
        Ok(self.spikes.iter().map(layer).collect())
    }
}
