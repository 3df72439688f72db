//! The plan in words: what will be run, how long it will take, and afterwards how long it took.

use std::collections::BTreeMap;
use std::io;

use bpsta_harness::{Estimate, Outcome, Plan, PlannedCell, RunConfig};

use crate::print;
use crate::progress::duration;

/// Prints what the cells that are not finished will take, by so many processes that share them, and so many cells in the time of one.
pub(crate) fn estimate(
    estimate: &Estimate,
    cells: usize,
    processes: usize,
    at_once: usize,
) -> io::Result<()> {
    let (missing, finished) = (estimate.cells(), cells - estimate.cells());
    if missing == 0 {
        return print::line(format_args!(
            "  to run    nothing: all {} are finished",
            print::counted(cells, "cell")
        ));
    }
    let before = if finished > 0 { format!(", {finished} finished before") } else { String::new() };
    let processes = processes.min(missing);
    let memory = estimate
        .memory
        .map_or_else(|| "not known".to_owned(), |memory| format!("about {}", print::bytes(memory)));
    let each = if processes > 1 { format!(" in each of {processes} processes") } else { String::new() };
    print::line(format_args!(
        "  to run    {}{before}: about {}, by a calibration of {} on this machine; memory {memory}{each}, disk at most {}\n",
        print::counted(missing, "cell"),
        duration(estimate.total() / at_once.min(missing) as f64),
        duration(estimate.calibration),
        print::bytes(estimate.disk + processes as u64 * estimate.under_way)
    ))
}

/// Prints the cells that a limit leaves out.
pub(crate) fn left_out(left_out: &[PlannedCell], estimate: &Estimate, hours: f64) -> io::Result<()> {
    if left_out.is_empty() {
        return print::line(format_args!("  all of it fits into {hours} h\n"));
    }
    print::line(format_args!("  left out, since {hours} h are not enough:"))?;
    for cell in left_out {
        let takes = estimate.seconds(&cell.run_id).unwrap_or_default();
        print::line(format_args!("    {}, about {}", cell.config.name(), duration(takes)))?;
    }
    print::line("")
}

/// Prints what this call estimated of the cells that it ran from their beginning, and what they took.
pub(crate) fn fact(estimate: &Estimate, outcome: &Outcome) -> io::Result<()> {
    let of_call = outcome.records.iter().filter_map(|record| {
        let resumed = record.timing.is_some_and(|timing| timing.resumed > 0);
        estimate.seconds(&record.run_id).filter(|_| !resumed).map(|seconds| (seconds, record.wall_seconds))
    });
    let (cells, estimated, took) =
        of_call.fold((0, 0.0, 0.0), |(cells, a, b), (estimated, took)| (cells + 1, a + estimated, b + took));
    if cells == 0 {
        return Ok(());
    }
    print::line(format_args!(
        "{} of this call: estimated {}, took {} ({:.2} times)",
        print::counted(cells, "cell"),
        duration(estimated),
        duration(took),
        took / estimated
    ))
}

/// Prints what is planned, by data, network and training.
pub(crate) fn plan(plan: &Plan, threads: usize) -> io::Result<()> {
    let experiment = &plan.experiment;
    print::line(format_args!("{}: {} (profile {})", experiment.artefact, experiment.title, plan.profile))?;
    let mut groups: BTreeMap<_, Vec<&PlannedCell>> = BTreeMap::new();
    for cell in &plan.cells {
        let place = experiment.dataset.iter().position(|entry| entry.id == cell.config.dataset);
        let config = &cell.config;
        let network = format!("{}, width {}", config.network, config.width);
        let training = (config.epochs, config.schedule.warm_up_epochs, config.batch_size);
        let key = (place.unwrap_or_default(), cell.manifest.describe(), network, training);
        groups.entry(key).or_default().push(cell);
    }
    for ((_, data, network, (epochs, warm_up, batch)), cells) in &groups {
        let config = &cells[0].config;
        print::line(format_args!("\n  {data}"))?;
        if let Ok(spec) = config.spec() {
            let parameters = spec.parameter_count().unwrap_or_default();
            print::line(format_args!("    network   {network}: {spec}, {parameters} parameters"))?;
        }
        let (twins, of_rules): (Vec<&PlannedCell>, Vec<&PlannedCell>) =
            cells.iter().partition(|cell| cell.config.ann);
        let unique = |values: Vec<String>| {
            let mut seen: Vec<String> = Vec::new();
            values.into_iter().for_each(|value| {
                if !seen.contains(&value) {
                    seen.push(value);
                }
            });
            seen.join(", ")
        };
        let each = |cells: &[&PlannedCell], f: fn(&RunConfig) -> String| {
            unique(cells.iter().map(|cell| f(&cell.config)).collect())
        };
        let seed = |config: &RunConfig| config.seed.to_string();
        print::line(format_args!(
            "    cells     {}: rules {}; T = {}; seeds {}",
            of_rules.len(),
            each(&of_rules, |config| config.rule_id().to_owned()),
            each(&of_rules, |config| config.time_steps.to_string()),
            each(&of_rules, seed)
        ))?;
        if let Some(twin) = twins.first() {
            let (count, seeds, engine) = (twins.len(), each(&twins, seed), twin.config.engine);
            print::line(format_args!(
                "    ANN twin  {count}: no spikes, one time step, engine {engine}; seeds {seeds}"
            ))?;
        }
        print::line(format_args!(
            "    training  {}, batches of {batch}, learning rate {}{}, augmentation: {}, device {}, engine {}, {}",
            print::counted(*epochs, "epoch"),
            each(cells, |config| config.schedule.learning_rate.to_string()),
            match warm_up {
                0 => String::new(),
                epochs => format!(" after {} of warm-up", print::counted(*epochs, "epoch")),
            },
            config.augmentation,
            config.device,
            config.engine,
            print::counted(threads, "thread")
        ))?;
    }
    for name in &plan.unknown {
        print::line(format_args!(
            "\n  {name}: {} has no cells of it in profile {}",
            experiment.path.display(),
            plan.profile
        ))?;
    }
    for absent in &plan.absent {
        print::line(format_args!(
            "\n  {}: its official files are not there, and cells that need them are left out: {}",
            absent.dataset,
            absent.remedy()
        ))?;
    }
    print::line("")
}
