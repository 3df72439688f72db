//! The order of runs in a table. It follows from the experiment and the records alone, so that a committed table can be rendered again
//! where the data are not.

use bpsta_datasets::DatasetId;

use crate::{Experiment, Profile, Record, Result};

/// Sorts records as the experiment file lists their cells: by data set, group of cells, time steps and rule, and the seeds of a
/// configuration together; the ANN twin behind its group's rules. What no group asks for, such as a run with other epochs, stands behind its group.
///
/// # Errors
/// [`crate::HarnessError::NoProfile`].
pub(crate) fn in_order(experiment: &Experiment, profile: Profile, records: &mut [Record]) -> Result<()> {
    let settings = experiment.settings(profile)?;
    records.sort_by_cached_key(|record| {
        let config = &record.config;
        let dataset = experiment.dataset.iter().position(|entry| entry.id == config.dataset);
        let mut groups = settings.cell.iter().enumerate().filter(|(_, group)| {
            group.dataset == config.dataset
                && group.stand_in.is_some() == config.synthetic
                && group.width.total_cmp(&config.width).is_eq()
        });
        let own = groups.clone().find(|(_, group)| {
            group.epochs == config.epochs
                && (config.ann || group.time_steps.contains(&config.time_steps))
                && config.validation.is_none()
        });
        let rule = experiment.rules.iter().position(|rule| Some(*rule) == config.rule());
        let (at, steps) = own
            .or_else(|| groups.next())
            .map(|(at, group)| {
                (at, group.time_steps.iter().position(|steps| !config.ann && *steps == config.time_steps))
            })
            .unwrap_or((usize::MAX, None));
        let of = |place: Option<usize>| place.unwrap_or(usize::MAX);
        let but_seed = config.but_seed();
        let rest = serde_json::to_string(&but_seed).unwrap_or_default();
        let place = (of(dataset), at, own.is_none(), of(steps), config.time_steps, of(rule));
        (place, config.epochs, rest, config.seed)
    });
    Ok(())
}

/// Ordered records by what they were trained on: a data set's official files apart from its stand-in, and a subset from the whole.
pub(crate) fn by_data<'a>(
    experiment: &Experiment,
    records: &'a [Record],
) -> Vec<(DatasetId, Vec<&'a Record>)> {
    let mut all: Vec<(DatasetId, Vec<&Record>)> = Vec::new();
    for entry in &experiment.dataset {
        // A data set may be met by several networks, each an entry of its own.
        if all.iter().any(|(id, _)| *id == entry.id) {
            continue;
        }
        let begin = all.len();
        for record in records.iter().filter(|record| record.config.dataset == entry.id) {
            match all[begin..].iter_mut().find(|(_, known)| known[0].data == record.data) {
                Some((_, known)) => known.push(record),
                None => all.push((entry.id, vec![record])),
            }
        }
    }
    all
}
