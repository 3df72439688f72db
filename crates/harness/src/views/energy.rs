//! Firing rates, operations and energy: the paper's Table 5, by its formula and by counted operations.
//!
//! The paper's: E_ANN / E_SNN = 4.6 / (rate x 0.1 x T), where a multiplication with addition of 32-bit floats costs 4.6 pJ, an addition of
//! 32-bit integers 0.1 pJ, and every layer's inputs are taken to be spikes at the network's mean rate. Counted: an input that is not zero
//! is one operation with each weight it meets, an addition where it is a spike, a multiplication where it is a real number (NeuroBench's
//! effective operations). The ANN multiplies all inputs once; its trained twin is also counted, by its inputs that are not zero.

use bpsta_datasets::DatasetId;

use super::{Group, row_name};
use crate::block::{Block, Grid};
use crate::statistics::paired;
use crate::{Experiment, Record};

/// What the columns are.
const ABOUT: &str = "Means over seeds, ± standard deviation. Additions and multiplications are those that an input which is not zero causes with each weight \
     it meets, counted on the test split over all time steps. An input is multiplied where it is a pixel, an event count or the mean of an \
     average pool, an image at each time step; a spike is added. Dense are the multiplications of an ANN of the same layers that skips no zero. \
     Energy: of the counted operations alone, 4.6 pJ a multiplication with addition, 0.1 pJ an addition, as the paper takes them; no memory \
     access, no neuron updates. E_ANN/E_SNN: by the paper's formula, from the firing rate alone; and, beside a dense ANN, the energy of the \
     dense multiplications over the row's own.";
/// What the columns are that an ANN twin adds.
const TWIN: &str = "The row `ann` is the ANN twin: the same layers trained on the same data with the same epochs, schedule and seeds, but its cells pass their \
     input on and it runs once; recordings enter it as one frame of all events. \"minus twin\" is the accuracy less the twin's, in points, and beside a \
     zero-skipping ANN stands the twin's counted energy, which skips zeros as the SNN does, over the row's own: both seed by seed, over the seeds that both have.";
/// Stands below a table where some of its rows have no twin.
const NO_TWIN: &str = "No ANN twin was run of the rows where its columns are empty.";

/// In place of what a record of schema 1 did not count.
const NOT_COUNTED: &str = "not counted";
/// Energy of a multiplication with addition of 32-bit floats, in pJ (the paper's).
const MULTIPLY_PJ: f64 = 4.6;
/// Energy of an addition of 32-bit integers, in pJ (the paper's).
const ADD_PJ: f64 = 0.1;
/// Of 1 uJ.
const PJ: f64 = 1e6;

/// Where the columns stand that only an experiment with ANN twins has.
const LESS_TWIN_AT: usize = 3;

/// What the columns are, in words.
pub(crate) fn about(experiment: &Experiment) -> String {
    if experiment.ann_twin { format!("{ABOUT} {TWIN}") } else { ABOUT.to_owned() }
}

/// One section: our rows and the paper's.
pub(crate) fn blocks(experiment: &Experiment, dataset: DatasetId, groups: &[Group<'_>]) -> Vec<Block> {
    let mut header = vec![
        "row",
        "T",
        "last epoch %",
        "firing rate",
        "additions/sample",
        "multiplications/sample",
        "dense/sample",
        "energy uJ/sample",
        "E_ANN/E_SNN: the paper's formula",
        "E_ANN/E_SNN: dense ANN",
    ];
    if experiment.ann_twin {
        header.insert(LESS_TWIN_AT, "minus twin");
        header.push("E_ANN/E_SNN: zero-skipping ANN");
    }
    let mut out = Grid::new(header, 1);
    let mut without_twin = false;
    for group in groups {
        let first = group.first();
        let counted = |value: fn(&Count) -> f64, digits: usize| {
            let counts: Option<Vec<Count>> = group.records().iter().map(|record| Count::of(record)).collect();
            counts.map_or_else(
                || NOT_COUNTED.to_owned(),
                |counts| super::spread(&counts.iter().map(value).collect::<Vec<_>>(), digits),
            )
        };
        // Rate and formula are those of spikes.
        let of_spikes = |text: String| if first.config.ann { String::new() } else { text };
        let mut row = vec![
            row_name(group),
            first.time_steps.to_string(),
            group.spread(|record| record.accuracy.last, 2),
            of_spikes(group.spread(|record| record.firing_rate, 4)),
            counted(|count| count.additions, 0),
            counted(|count| count.multiplications, 0),
            counted(|count| count.dense, 0),
            counted(|count| count.energy() / PJ, 3),
            of_spikes(by_formula(group)),
            counted(Count::ratio, 1),
        ];
        if experiment.ann_twin {
            let [less, ratio] = beside_twin(group, groups);
            without_twin |= less.is_empty() && !first.config.ann;
            row.insert(LESS_TWIN_AT, less);
            row.push(ratio);
        }
        out.add(row, group.records().iter().copied());
    }
    let of_dataset = experiment.paper.iter().filter(|value| value.dataset == dataset);
    for value in of_dataset.filter(|value| value.firing_rate.or(value.energy_ratio).is_some()) {
        let number =
            |value: Option<f64>, digits: usize| value.map(|v| format!("{v:.digits$}")).unwrap_or_default();
        let mut row = vec![format!("paper: {} ({})", value.model, value.place)];
        row.extend([String::new(), format!("{:.2}", value.accuracy), number(value.firing_rate, 3)]);
        row.extend(std::iter::repeat_n(String::new(), 4));
        row.push(number(value.energy_ratio, 1));
        if experiment.ann_twin {
            row.insert(LESS_TWIN_AT, String::new());
        }
        out.add(row, []);
    }
    let mut blocks = vec![Block::Grid(out)];
    blocks.extend(without_twin.then(|| Block::Text(NO_TWIN.to_owned())));
    blocks.extend(layers(groups));
    blocks
}

/// Accuracy less that of the ANN twin, and its energy over ours, by the seeds that both have; empty of the twin itself, and where there is
/// none.
fn beside_twin(group: &Group<'_>, groups: &[Group<'_>]) -> [String; 2] {
    let twin = group.first().config.twin().but_seed();
    let found = groups.iter().find(|other| other.first().config.but_seed() == twin);
    let Some(found) = found.filter(|_| !group.first().config.ann) else { return Default::default() };
    let accuracies = |of: &Group<'_>| -> Vec<(u64, f64)> {
        of.records().iter().map(|record| (record.seed, record.accuracy.last)).collect()
    };
    let less = paired(&accuracies(group), &accuracies(found));
    let pairs = group.records().iter().filter_map(|ours| {
        let twin = found.records().iter().find(|twin| twin.seed == ours.seed)?;
        Some((Count::of(twin), Count::of(ours)))
    });
    let ratios: Option<Vec<f64>> = pairs.map(|(twin, ours)| Some(twin?.energy() / ours?.energy())).collect();
    let ratio = ratios.map_or_else(|| NOT_COUNTED.to_owned(), |ratios| super::spread(&ratios, 1));
    [signed(&less), ratio]
}

/// As [`super::spread`], of differences.
fn signed(differences: &[f64]) -> String {
    let text = super::spread(differences, 2);
    if text.is_empty() || text.starts_with('-') { text } else { format!("+{text}") }
}

/// Firing rate of each layer of cells that spike, network by network.
fn layers(groups: &[Group<'_>]) -> Vec<Block> {
    let mut networks: Vec<(&str, Vec<&Group<'_>>)> = Vec::new();
    for group in groups.iter().filter(|group| !group.first().config.ann) {
        let layers = group.first().layers.as_str();
        match networks.iter_mut().find(|(known, _)| *known == layers) {
            Some((_, alike)) => alike.push(group),
            None => networks.push((layers, vec![group])),
        }
    }
    networks.iter().flat_map(|(layers, alike)| of_network(layers, alike)).collect()
}

fn of_network(layers: &str, groups: &[&Group<'_>]) -> [Block; 2] {
    let about = format!("Firing rate of each LIF layer, by its index in `{layers}`, mean over seeds:");
    let cells: Vec<usize> = groups[0].first().layer_spikes.iter().map(|layer| layer.layer).collect();
    let mut header = vec!["row".to_owned(), "T".to_owned()];
    header.extend(cells.iter().map(|cells| format!("layer {cells}")));
    let mut out = Grid::new(header, 1);
    for group in groups {
        let mut row = vec![row_name(group), group.first().time_steps.to_string()];
        for layer in &cells {
            let rates: Option<Vec<f64>> = group
                .records()
                .iter()
                .map(|record| Some(record.layer_spikes.iter().find(|of| of.layer == *layer)?.firing_rate))
                .collect();
            row.push(rates.map_or_else(String::new, |rates| super::spread(&rates, 4)));
        }
        out.add(row, group.records().iter().copied());
    }
    [Block::Text(about), Block::Grid(out)]
}

/// By the paper's formula the energy of an ANN over that of spikes, of which there may be none.
fn by_formula(group: &Group<'_>) -> String {
    if group.records().iter().any(|record| record.firing_rate == 0.0) {
        return "no spikes".to_owned();
    }
    group.spread(|record| MULTIPLY_PJ / (record.firing_rate * ADD_PJ * record.time_steps as f64), 1)
}

/// Operations of one sample.
struct Count {
    additions: f64,
    multiplications: f64,
    dense: f64,
}

impl Count {
    fn of(record: &Record) -> Option<Self> {
        let layers = record.operations.as_ref()?;
        let sum = |real: bool| {
            let of = layers.iter().filter(|layer| layer.real == real);
            // Not `sum`, which over no layer is -0.
            of.map(|layer| layer.operations_per_sample).fold(0.0, |sum, of_layer| sum + of_layer)
        };
        let dense = layers.iter().map(|layer| layer.dense_per_sample).sum::<f64>();
        // Counted over all time steps; a network without spikes runs once.
        Some(Self {
            additions: sum(false),
            multiplications: sum(true),
            dense: dense / record.time_steps as f64,
        })
    }

    /// In pJ.
    fn energy(&self) -> f64 {
        ADD_PJ * self.additions + MULTIPLY_PJ * self.multiplications
    }

    /// Energy of an ANN that skips no zero over this one's.
    fn ratio(&self) -> f64 {
        MULTIPLY_PJ * self.dense / self.energy()
    }
}
