//! A finished run's network for other programs.

use std::path::Path;

use bpsta_spiking::Layer;
use serde_json::json;

use crate::tensors;
use crate::{HarnessError, Result, Weights};

/// The cells in evaluation.
const NEURON: &str =
    "u[t] = v[t-1] + I[t]; s[t] = 1 if u[t] >= threshold else 0; v[t] = decay * u[t] * (1 - s[t]); v[0] = 0";

/// Writes weights as safetensors by the names of a `torch.nn.Sequential` with a module for each layer. The metadata (key `bpsta`, then
/// `note`) have the layers in order and in the paper's notation, what enters them, the cells, the rule, the run and its data.
///
/// # Errors
/// [`crate::HarnessError::Io`].
pub fn export_torch(weights: &Weights, output: &Path) -> Result<()> {
    let Weights { record, spec, parameters, .. } = weights;
    let config = &record.config;
    let note = json!({
        "run_id": record.run_id,
        "parameters_hash": parameters.hash()?,
        "data": record.data,
        "synthetic": record.synthetic,
        "subset": record.subset,
        "rule": record.rule,
        "layers": record.layers,
        "modules": spec.layers,
        "input": config.input,
        "classes": config.classes,
        "time_steps": config.time_steps,
        "framing": config.framing,
        "values": if config.framing.is_some() { "event counts" } else { "pixel / 255" },
        "neuron": config.rule().map(|_| config.neuron),
        "neuron_equations": if config.ann { "s = I" } else { NEURON },
        "readout": "mean over time steps of the votes, each the mean of a group of cells; the class is the lowest of those with the most",
        "accuracy_last": record.accuracy.last,
        "config": config,
    });
    tensors::write(output, &tensors::of(parameters), note)
}

/// Why a network cannot be written as a graph of the Neuromorphic Intermediate Representation, with its layers that have no node there.
///
/// Of NIR 1.0: a convolution with its batch norm is a `Conv2d`, a maximum over spikes a `SumPool2d` with a `Threshold`, cells that decay
/// before they add are a `LIF`, means and votes are linear, dropout is nothing in evaluation. A rectifier has no node, nor can one be put
/// together: all others are linear, or fire. Every network of the paper has one in front of its cells.
pub fn nir_refusal(weights: &Weights) -> HarnessError {
    let layers = weights.spec.layers.iter().enumerate();
    let layers: Vec<String> = layers
        .filter(|(_, layer)| matches!(layer, Layer::Relu))
        .map(|(index, layer)| format!("{index} ({layer})"))
        .collect();
    HarnessError::NoNir { run_id: weights.record.run_id.clone(), layers: layers.join(", ") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bpsta_spiking::{Architecture, Input, NetworkSpec, Variant};

    use super::*;

    /// Where a network without one comes up, it can be written, and should be.
    #[test]
    fn every_network_has_a_rectifier() {
        let input = Input { channels: 2, height: 64, width: 64, stride: 1 };
        for architecture in Architecture::ALL {
            for variant in [Variant::Events, Variant::Images] {
                let spec = NetworkSpec::paper(architecture, variant, 0.125, input, 10).unwrap();
                assert!(spec.layers.contains(&Layer::Relu), "{architecture} {variant:?}");
            }
        }
    }
}
