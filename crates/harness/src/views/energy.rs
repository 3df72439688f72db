//! Firing rates, operations and energy: the paper's Table 5, by its formula and by counted operations.
//!
//! The paper's: E_ANN / E_SNN = 4.6 / (rate x 0.1 x T), where a multiplication with addition of 32-bit floats costs 4.6 pJ, an addition of
//! 32-bit integers 0.1 pJ, and every layer's inputs are taken to be spikes at the network's mean rate. Counted: an input that is not zero
//! is one operation with each weight it meets, an addition where it is a spike, a multiplication where it is a real number (NeuroBench's
//! effective operations). The ANN multiplies all inputs once.

use bpsta_datasets::DatasetId;

use super::{Group, row_name};
use crate::block::{Block, Grid};
use crate::{Experiment, Record};

/// What the columns are.
pub(crate) const ABOUT: &str = "Means over seeds, ± standard deviation. Additions and multiplications are those that an input which is not zero causes with each weight \
     it meets, counted on the test split over all time steps; an ANN of the same layers multiplies every input once. Energy: 4.6 pJ a \
     multiplication with addition, 0.1 pJ an addition, as the paper takes them; no memory access, no neuron updates.";
/// Energy of a multiplication with addition of 32-bit floats, in pJ (the paper's).
const MULTIPLY_PJ: f64 = 4.6;
/// Energy of an addition of 32-bit integers, in pJ (the paper's).
const ADD_PJ: f64 = 0.1;

/// One section: our rows and the paper's.
pub(crate) fn blocks(experiment: &Experiment, dataset: DatasetId, groups: &[Group<'_>]) -> Vec<Block> {
    let header = [
        "row",
        "T",
        "last epoch %",
        "firing rate",
        "spikes/sample",
        "additions/sample",
        "multiplications/sample",
        "ANN multiplications",
        "E_ANN/E_SNN, the paper's formula",
        "counted",
    ];
    let mut out = Grid::new(header, 1);
    for group in groups {
        let first = group.first();
        let counted = |value: fn(&Count) -> f64, digits: usize| {
            let counts: Option<Vec<Count>> = group.records().iter().map(|record| Count::of(record)).collect();
            counts.map_or_else(
                || "not counted".to_owned(),
                |counts| super::spread(&counts.iter().map(value).collect::<Vec<_>>(), digits),
            )
        };
        let row = [
            row_name(group),
            first.time_steps.to_string(),
            group.spread(|record| record.accuracy.last, 2),
            group.spread(|record| record.firing_rate, 4),
            group.spread(|record| record.spikes_per_sample, 0),
            counted(|count| count.additions, 0),
            counted(|count| count.multiplications, 0),
            counted(|count| count.dense, 0),
            group.spread(by_formula, 1),
            counted(Count::ratio, 1),
        ];
        out.add(row, group.records().iter().copied());
    }
    let of_dataset = experiment.paper.iter().filter(|value| value.dataset == dataset);
    for value in of_dataset.filter(|value| value.firing_rate.or(value.energy_ratio).is_some()) {
        let number =
            |value: Option<f64>, digits: usize| value.map(|v| format!("{v:.digits$}")).unwrap_or_default();
        let mut row = vec![format!("paper: {} ({})", value.model, value.place)];
        row.extend([String::new(), format!("{:.2}", value.accuracy), number(value.firing_rate, 3)]);
        row.extend(std::iter::repeat_n(String::new(), 4));
        row.extend([number(value.energy_ratio, 1), String::new()]);
        out.add(row, []);
    }
    let mut blocks = vec![Block::Grid(out)];
    blocks.extend(layers(groups).into_iter().flatten());
    blocks
}

/// Firing rate and operations of each layer of the first seed.
fn layers(groups: &[Group<'_>]) -> Option<[Block; 2]> {
    let first = groups.first()?;
    let about = format!(
        "Firing rate of each LIF layer, by its index in `{}`, mean over seeds:",
        first.first().layers
    );
    let cells: Vec<usize> = first.first().layer_spikes.iter().map(|layer| layer.layer).collect();
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
    Some([Block::Text(about), Block::Grid(out)])
}

fn by_formula(record: &Record) -> f64 {
    MULTIPLY_PJ / (record.firing_rate * ADD_PJ * record.time_steps as f64)
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
            of.map(|layer| layer.operations_per_sample).sum::<f64>()
        };
        let dense = layers.iter().map(|layer| layer.dense_per_sample).sum::<f64>();
        // Counted over all time steps; a network without spikes runs once.
        Some(Self {
            additions: sum(false),
            multiplications: sum(true),
            dense: dense / record.time_steps as f64,
        })
    }

    fn ratio(&self) -> f64 {
        MULTIPLY_PJ * self.dense / (ADD_PJ * self.additions + MULTIPLY_PJ * self.multiplications)
    }
}
