//! Are what a record says of layers those of its network?

use bpsta_spiking::NetworkSpec;

use crate::{Record, Result};

/// Each layer of cells has its spikes, at the rate of the last epoch; `cells` has the layers' indices, and how many they are.
pub(super) fn against_layers(record: &Record, cells: &[(usize, usize)]) -> Option<String> {
    let found: Vec<(usize, usize)> =
        record.layer_spikes.iter().map(|layer| (layer.layer, layer.cells)).collect();
    if found != cells {
        return Some(format!(
            "key `layer_spikes` has (layer, cells) {found:?}, and by its `config` {cells:?}"
        ));
    }
    let rates: Vec<f64> = record.layer_spikes.iter().map(|layer| layer.firing_rate).collect();
    let last = record.epochs.last().and_then(|epoch| epoch.layer_firing_rates.as_ref());
    let expected = last.filter(|last| **last != rates)?;
    Some(format!("key `layer_spikes` has firing rates {rates:?}, and by its `epochs` {expected:?}"))
}

/// Each layer of weights of a network: its index, whether real numbers enter it (in an ANN they always do), and the weights that all its
/// inputs meet over all time steps.
pub(super) fn weights(spec: &NetworkSpec, ann: bool, time_steps: usize) -> Result<Vec<(usize, bool, f64)>> {
    let weights = spec.weight_layers()?.into_iter();
    Ok(weights.map(|of| (of.layer, ann || of.real, time_steps as f64 * of.dense as f64)).collect())
}

/// Each layer of weights has its operations, and no more of them than its weights allow.
pub(super) fn against_weights(record: &Record, weights: &[(usize, bool, f64)]) -> Option<String> {
    let operations = record.operations.as_ref()?;
    let found: Vec<(usize, bool, f64)> =
        operations.iter().map(|of| (of.layer, of.real, of.dense_per_sample)).collect();
    if found != weights {
        let key = "key `operations` has (layer, real, dense_per_sample)";
        return Some(format!("{key} {found:?}, and by its `config` {weights:?}"));
    }
    for (index, of) in operations.iter().enumerate() {
        let (inputs, met, all) = (of.inputs_per_sample, of.operations_per_sample, of.dense_per_sample);
        // An input that is not zero meets one weight at least.
        if !(inputs <= met && met <= all) {
            return Some(format!(
                "key `operations[{index}]` has {inputs} inputs that meet {met} of {all} weights"
            ));
        }
    }
    None
}

/// Spikes are counted: those of a layer are a whole number over the test samples, and those of all layers their sum. So all these are
/// quotients of whole numbers, and equal to the bit.
pub(super) fn against_spikes(record: &Record) -> Option<String> {
    let (tested, time_steps) = (record.samples[1] as f64, record.time_steps as f64);
    let (mut spikes, mut cells) = (0.0, 0.0);
    for (index, layer) in record.layer_spikes.iter().enumerate() {
        let each = layer.spikes_per_sample;
        let whole = (each * tested).round();
        if whole / tested != each {
            return Some(format!(
                "key `layer_spikes[{index}].spikes_per_sample` is {each}, no whole number of spikes over {tested} samples"
            ));
        }
        let (found, expected) = (layer.firing_rate, each / (layer.cells as f64 * time_steps));
        if found != expected {
            return Some(format!(
                "key `layer_spikes[{index}].firing_rate` is {found}, and by its spikes {expected}"
            ));
        }
        spikes += whole;
        cells += layer.cells as f64;
    }
    let (found, expected) = (record.spikes_per_sample, spikes / tested);
    if found != expected {
        return Some(format!("key `spikes_per_sample` is {found}, and by its `layer_spikes` {expected}"));
    }
    let (found, expected) = (record.firing_rate, spikes / (cells * tested * time_steps));
    // An ANN has none, and no cells that could fire.
    (cells > 0.0 && found != expected)
        .then(|| format!("key `firing_rate` is {found}, and by its `layer_spikes` {expected}"))
}
