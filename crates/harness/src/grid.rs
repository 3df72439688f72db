//! What an ablation of one's own varies beside rule, T, width and seed: the neuron's constants, the framing and the learning rate.

use bpsta_events::Framing;
use bpsta_spiking::{CosineGranularity, Neuron, Reset, Rule, Variant};
use serde::{Deserialize, Serialize};

use crate::{DeviceKind, RunConfig};

/// Constants of the cells, each combination of them; what is not named is the paper's.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NeuronGrid {
    /// Membrane potentials at which cells fire.
    pub threshold: Vec<f64>,
    /// Shares of the potential kept to the next time step.
    pub decay: Vec<f64>,
    /// Residuals of the temporal adjustment.
    pub alpha: Vec<f64>,
    /// Half widths of the rectangular surrogate.
    pub surrogate_half_width: Vec<f64>,
    /// Whether the gradient flows through the reset.
    pub reset: Vec<Reset>,
}

/// How events are shared out over the T frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FrameBy {
    /// Equal numbers of events: the paper's.
    Number,
    /// Equal times.
    Time,
}

impl FrameBy {
    /// With T frames.
    pub(crate) fn framing(self, frames: usize) -> Framing {
        match self {
            Self::Number => Framing::ByNumber { frames },
            Self::Time => Framing::ByTime { frames },
        }
    }
}

impl NeuronGrid {
    /// The cells to try with a rule. Constants that the rule does not use stay the paper's: they would only name one run twice.
    pub(crate) fn neurons(&self, rule: Rule) -> Vec<Neuron> {
        let paper = Neuron::paper(rule);
        let mut neurons = vec![paper];
        let vary = |neurons: &mut Vec<Neuron>, values: usize, set: &dyn Fn(&mut Neuron, usize)| {
            if values > 0 {
                let each = |neuron: &Neuron| {
                    let neuron = *neuron;
                    (0..values).map(move |value| (neuron, value))
                };
                let varied = neurons.iter().flat_map(each).map(|(mut neuron, value)| {
                    set(&mut neuron, value);
                    neuron
                });
                *neurons = varied.collect();
            }
        };
        vary(&mut neurons, self.threshold.len(), &|neuron, at| neuron.threshold = self.threshold[at]);
        vary(&mut neurons, self.decay.len(), &|neuron, at| neuron.decay = self.decay[at]);
        if rule.adjusts_time() {
            vary(&mut neurons, self.alpha.len(), &|neuron, at| neuron.alpha = self.alpha[at]);
        }
        if !rule.adjusts_space() {
            let widths = self.surrogate_half_width.len();
            vary(&mut neurons, widths, &|neuron, at| {
                neuron.surrogate_half_width = self.surrogate_half_width[at];
            });
            vary(&mut neurons, self.reset.len(), &|neuron, at| neuron.reset = self.reset[at]);
        }
        neurons
    }
}

/// Of the configurations that are shown together, what is not the same in all.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Several {
    pub(crate) rates: bool,
    pub(crate) warm_ups: bool,
    pub(crate) devices: bool,
    pub(crate) engines: bool,
}

impl Several {
    pub(crate) fn of(configs: &[&RunConfig]) -> Self {
        // No one asks for a twin's engine.
        let of_rules: Vec<&RunConfig> = configs.iter().copied().filter(|config| !config.ann).collect();
        Self {
            rates: differ(configs, |config| config.schedule.learning_rate),
            warm_ups: differ(configs, |config| config.schedule.warm_up_epochs),
            devices: differ(configs, |config| config.device.unnumbered()),
            engines: differ(&of_rules, |config| config.engine),
        }
    }
}

fn differ<T: PartialEq>(configs: &[&RunConfig], of: fn(&RunConfig) -> T) -> bool {
    configs.windows(2).any(|pair| of(pair[0]) != of(pair[1]))
}

/// What of a configuration is not the paper's, beside what a table has columns for; with learning rate, warm-up, device and engine where
/// several are shown.
pub(crate) fn peculiar(config: &RunConfig, several: Several) -> String {
    let (neuron, paper) = (&config.neuron, Neuron::paper(config.neuron.rule));
    let mut words = String::new();
    let mut say = |name: &str, value: f64, of_paper: f64| {
        if value != of_paper {
            words += &format!(", {name} {value}");
        }
    };
    say("threshold", neuron.threshold, paper.threshold);
    say("decay", neuron.decay, paper.decay);
    say("alpha", neuron.alpha, paper.alpha);
    say("surrogate half width", neuron.surrogate_half_width, paper.surrogate_half_width);
    if neuron.reset != paper.reset {
        words += ", reset detached";
    }
    if let Some(framing) = config.framing.as_ref().filter(|framing| !framing.starts_with("number")) {
        words += &format!(", framed by {framing}");
    }
    if let Some(share) = config.validation {
        let percent = (1e4 * share).round() / 1e2;
        words += &format!(", {percent} % of the training samples held back");
    }
    if several.rates {
        words += &format!(", learning rate {}", config.schedule.learning_rate);
    }
    if several.warm_ups && config.schedule.warm_up_epochs > 0 {
        words += &format!(", {} epochs of warm-up", config.schedule.warm_up_epochs);
    }
    if several.devices {
        words += match config.device {
            DeviceKind::Cpu => ", on a CPU",
            DeviceKind::Cuda(_) => ", on a GPU",
        };
    }
    if several.engines && !config.ann {
        words += &format!(", engine {}", config.engine);
    }
    words
}

/// What hardly ever differs, and is named only where nothing else tells configurations apart.
const SELDOM: [fn(&RunConfig) -> String; 8] = [
    |config| format!("batches of {}", config.batch_size),
    |config| format!("{} epochs of ANN warm-up", config.ann_warm_up_epochs),
    |config| match config.schedule.cosine {
        CosineGranularity::Epoch => "cosine by the epoch".to_owned(),
        CosineGranularity::Step => "cosine by the step".to_owned(),
    },
    |config| format!("weight decay {}", config.weight_decay),
    |config| match config.variant {
        Variant::Events => "layers for events".to_owned(),
        Variant::Images => "layers for images".to_owned(),
    },
    |config| format!("stride {}", config.input.stride),
    |config| format!("code version {}", config.code_version),
    |config| format!("data {:.8}", config.manifest_hash),
];

/// In words that begin with a comma, what tells a configuration from others that [`peculiar`] and a table's columns leave alike, itself among
/// them.
pub(crate) fn told_apart(config: &RunConfig, alike: &[&RunConfig]) -> String {
    let telling = SELDOM.iter().filter(|of| differ(alike, **of));
    telling.map(|of| format!(", {}", of(config))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_varied_only_by_what_it_uses() {
        let grid = NeuronGrid {
            alpha: vec![0.1, 0.2, 0.4],
            decay: vec![0.8, 0.9],
            surrogate_half_width: vec![0.5, 1.0],
            reset: vec![Reset::Attached, Reset::Detached],
            ..NeuronGrid::default()
        };
        let count = |rule| grid.neurons(rule).len();
        assert_eq!(Rule::ALL.map(count), [2 * 2 * 2, 2, 2 * 3 * 2 * 2, 2 * 3]);
        assert_eq!(NeuronGrid::default().neurons(Rule::Both), [Neuron::paper(Rule::Both)]);
        for neuron in grid.neurons(Rule::Baseline) {
            assert_eq!(neuron.alpha, Neuron::paper(Rule::Baseline).alpha);
        }
    }
}
