//! The table of an experiment: our rows beside the paper's.

use bpsta_datasets::DatasetId;
use polars::prelude::{Column, CsvWriter, DataFrame, SerWriter};

use crate::block::{Block, Grid};
use crate::views::{Group, classes, latency, markdown, particulars, row_name};
use crate::{Experiment, PaperValue, Profile, Record, Result, seeds, verdict};

const COLUMNS: [&str; 11] = [
    "row",
    "network",
    "T",
    "epochs",
    "paper %",
    "last epoch %",
    "best test epoch %",
    "firing rate",
    "spikes/sample",
    "train ms/sample",
    "test ms/sample",
];

/// A column more, before the firing rate, where validation samples were held back.
const CHOSEN: &str = "test % at the epoch chosen by validation";
const CHOSEN_AT: usize = 7;

/// Stands below whatever shows a stand-in's numbers.
pub(crate) const STAND_IN_NOTE: &str = "Rows marked \"synthetic stand-in\" were trained and tested on generated data. They show that the program \
     works; they say nothing about the paper's numbers.\n";

/// What stands at the head of the table.
const ABOUT: &str = "Accuracy in % on the test split. \"best test epoch\" is chosen on the test split itself, as the paper chose what it \
     prints; \"last epoch\" is not. Over several seeds: mean ± standard deviation. Firing rate: spikes over cells and \
     time steps, all LIF layers. Times are wall times of batches on the machine of each run; what ran beside it \
     lengthens them, so they compare no speeds: results/performance/ does.";

/// The table in Markdown: a section for each data set, with our rows and then the paper's.
///
/// # Errors
/// [`crate::HarnessError::NoProfile`].
pub fn table_markdown(experiment: &Experiment, profile: Profile, records: &[Record]) -> Result<String> {
    markdown(experiment, profile, records, ABOUT, |dataset, ours| blocks(experiment, dataset, ours))
}

/// What the runs of one data set give: networks, the table, what the seeds say, the verdicts, the classes that are found least often, and the accuracy by time step.
pub(crate) fn blocks(experiment: &Experiment, dataset: DatasetId, ours: &[&Record]) -> Vec<Block> {
    let groups = Group::all(ours);
    let mut layers: Vec<(&str, String)> = Vec::new();
    for group in &groups {
        let name = group.first().network_name();
        let layers_of = (group.first().layers.as_str(), name);
        if !layers.contains(&layers_of) {
            layers.push(layers_of);
        }
    }
    let networks = layers.iter().map(|(layers, name)| format!("{name}: `{layers}`")).collect();
    let mut columns = COLUMNS.to_vec();
    let chosen = ours.iter().any(|record| record.accuracy.chosen.is_some());
    if chosen {
        columns.insert(CHOSEN_AT, CHOSEN);
    }
    let mut table = Grid::new(columns, 2);
    for group in &groups {
        let first = group.first();
        let of = |value: fn(&Record) -> f64, digits| group.spread(value, digits);
        let mut row = vec![
            format!("ours: {}{}{}", first.rule, particulars(group), seed_count(group)),
            first.network_name(),
            first.time_steps.to_string(),
            first.config.epochs.to_string(),
            String::new(),
            of(|record| record.accuracy.last, 2),
            of(|record| record.accuracy.best_test, 2),
            of(|record| record.firing_rate, 4),
            of(|record| record.spikes_per_sample, 0),
            of(|record| record.train_ms_per_sample, 2),
            of(|record| record.test_ms_per_sample, 2),
        ];
        if chosen {
            let there = first.accuracy.chosen.is_some();
            let test = |record: &Record| record.accuracy.chosen.map_or(f64::NAN, |chosen| chosen.test);
            row.insert(CHOSEN_AT, if there { of(test, 2) } else { String::new() });
        }
        table.add(row, group.records().iter().copied());
    }
    for value in experiment.paper.iter().filter(|value| value.dataset == dataset) {
        let mut row = vec![format!("paper: {} ({})", value.model, value.place)];
        row.resize(4, String::new());
        row.push(format!("{:.2}", value.accuracy));
        table.add(row, []);
    }
    let mut blocks = vec![Block::List(networks), Block::Grid(table)];
    blocks.extend(seeds::blocks(&groups));
    blocks.extend(verdicts(experiment, dataset, ours));
    blocks.extend(classes::least_found(&groups));
    blocks.extend(latency::early(&groups));
    blocks
}

/// What our runs say about the paper's own values; none where it has none for this data set.
pub(crate) fn verdicts(experiment: &Experiment, dataset: DatasetId, ours: &[&Record]) -> Option<Block> {
    let values = experiment.paper.iter().filter(|value| value.dataset == dataset);
    let judged: Vec<String> = values
        .filter_map(|value| {
            let PaperValue { model, accuracy, place, .. } = value;
            let verdict = verdict::verdict(experiment, value, ours)?;
            Some(format!("Paper, {model}, {accuracy:.2} ({place}): {verdict}."))
        })
        .collect();
    (!judged.is_empty()).then_some(Block::List(judged))
}

fn seed_count(group: &Group<'_>) -> String {
    match group.records().len() {
        1 => String::new(),
        seeds => format!(", {seeds} seeds"),
    }
}

/// One line per run, as CSV.
///
/// # Errors
/// [`crate::HarnessError::Table`].
pub fn runs_csv(records: &[Record]) -> Result<Vec<u8>> {
    let texts = |name: &str, value: fn(&Record) -> String| {
        Column::new(name.into(), records.iter().map(value).collect::<Vec<_>>())
    };
    let numbers = |name: &str, value: fn(&Record) -> f64| {
        Column::new(name.into(), records.iter().map(value).collect::<Vec<_>>())
    };
    let wholes = |name: &str, value: fn(&Record) -> u64| {
        Column::new(name.into(), records.iter().map(value).collect::<Vec<_>>())
    };
    let groups = Group::all(&records.iter().collect::<Vec<_>>());
    let row = |record: &Record| groups.iter().find(|group| group.is_of(record)).map(row_name);
    let columns = vec![
        Column::new("row".into(), records.iter().map(row).collect::<Vec<_>>()),
        texts("run_id", |record| record.run_id.clone()),
        texts("profile", |record| record.profile.clone()),
        texts("dataset", |record| record.dataset.clone()),
        texts("data", |record| record.data.clone()),
        Column::new("synthetic".into(), records.iter().map(|record| record.synthetic).collect::<Vec<_>>()),
        texts("network", |record| record.network.clone()),
        numbers("width", |record| record.width),
        wholes("time_steps", |record| record.time_steps as u64),
        wholes("epochs", |record| record.config.epochs as u64),
        texts("rule", |record| record.rule.clone()),
        wholes("seed", |record| record.seed),
        numbers("accuracy_last", |record| record.accuracy.last),
        numbers("accuracy_best_test", |record| record.accuracy.best_test),
        wholes("best_test_epoch", |record| record.accuracy.best_test_epoch as u64),
        Column::new(
            "accuracy_validation_epoch".into(),
            records.iter().map(|record| record.accuracy.chosen.map(|chosen| chosen.test)).collect::<Vec<_>>(),
        ),
        numbers("firing_rate", |record| record.firing_rate),
        numbers("spikes_per_sample", |record| record.spikes_per_sample),
        numbers("train_ms_per_sample", |record| record.train_ms_per_sample),
        numbers("test_ms_per_sample", |record| record.test_ms_per_sample),
        texts("parameters_hash", |record| record.parameters_hash.clone()),
    ];
    let mut frame = DataFrame::new(records.len(), columns)?;
    let mut bytes = Vec::new();
    CsvWriter::new(&mut bytes).finish(&mut frame)?;
    Ok(bytes)
}
