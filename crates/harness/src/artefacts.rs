//! Which artefacts a run of the run store belongs to: it carries no name of one, only its configuration.

use std::path::Path;

use bpsta_spiking::Schedule;

use crate::committed::entries;
use crate::experiment::CellSettings;
use crate::{Experiment, Result, RunConfig};

/// All experiments of a folder, by the names of their files.
///
/// # Errors
/// Those of [`Experiment::load_file`] and of listing the folder.
pub(crate) fn experiments(folder: &Path) -> Result<Vec<Experiment>> {
    let files = entries(folder)?.into_iter();
    files
        .filter(|path| path.extension() == Some("toml".as_ref()))
        .map(|path| Experiment::load_file(&path))
        .collect()
}

/// The experiments that a run belongs to: those whose cells ask for it as they stand, or, where none does, those that ask for it under
/// other options of `reproduce`.
pub(crate) fn belongs_to<'a>(experiments: &'a [Experiment], config: &RunConfig) -> Vec<&'a Experiment> {
    let asking = |as_they_stand| -> Vec<&Experiment> {
        experiments.iter().filter(|experiment| asks_for(experiment, config, as_they_stand)).collect()
    };
    let found = asking(true);
    if found.is_empty() { asking(false) } else { found }
}

/// Whether one of the experiment's cells gives such a run, or has it as its ANN twin. Seed, validation samples, device, engine and code version may always be
/// others, time steps and epochs unless it is asked for cells as they stand.
fn asks_for(experiment: &Experiment, config: &RunConfig, as_they_stand: bool) -> bool {
    let Ok(settings) = experiment.settings(config.profile) else { return false };
    let of_network = experiment.dataset.iter().any(|entry| {
        entry.id == config.dataset
            && entry.network == config.network
            && entry.variant == config.variant
            && entry.stride == config.input.stride
    });
    let of_group = |group: &CellSettings| {
        let own = group.schedule.unwrap_or(settings.schedule);
        let with = |rate: &f64| Schedule { learning_rate: *rate, ..own } == config.schedule;
        let rates = &group.learning_rates;
        let framed = |framing: &String| {
            group.framing.iter().any(|by| by.framing(config.time_steps).to_string() == *framing)
        };
        group.dataset == config.dataset
            && group.width == config.width
            && group.batch_size == config.batch_size
            && (config.ann || group.ann_warm_up_epochs == config.ann_warm_up_epochs)
            && group.stand_in.is_some() == config.synthetic
            && (group.augment || config.augmentation == "none")
            && if rates.is_empty() { own == config.schedule } else { rates.iter().any(with) }
            && (config.ann || config.framing.as_ref().is_none_or(framed))
            && (!as_they_stand
                || group.epochs == config.epochs
                    && (config.ann || group.time_steps.contains(&config.time_steps)))
    };
    let of_rule = match config.rule() {
        Some(rule) => {
            experiment.rules.contains(&rule) && experiment.neuron.neurons(rule).contains(&config.neuron)
        }
        None => experiment.ann_twin,
    };
    of_network
        && of_rule
        && settings.weight_decay == config.weight_decay
        && settings.cell.iter().any(of_group)
}
