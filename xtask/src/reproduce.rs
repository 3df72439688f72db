//! `cargo xtask reproduce`: the plan, the progress, the table.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use bpsta_datasets::{DatasetId, Progress, Store};
use bpsta_harness::{
    DeviceKind, EngineKind, Estimate, Experiment, HarnessError, MOST_EPOCHS, MOST_SEEDS, MOST_TIME_STEPS,
    Options, Outcome, Plan, PlannedCell, Profile, RunConfig, RunStore, reproduce,
};
use bpsta_spiking::Rule;
use clap::Args;

use crate::interrupt::{self, Interrupt};
use crate::print;
use crate::progress::{GridProgress, duration};

/// Names the seconds of training between two checkpoints.
const CHECKPOINT_SECONDS: &str = "BPSTA_CHECKPOINT_SECONDS";

/// The artefacts of the paper that there is an experiment file of, in the order in which `all` runs them.
const ARTEFACTS: [&str; 9] = ["table1", "table2", "table4", "table5", "table6", "fig1", "fig2", "fig3", ALL];
const ALL: &str = "all";
const DEFAULT: &str = "table2";

/// Which of the paper's tables and figures.
#[derive(Debug, Args)]
pub(crate) struct ArtefactArgs {
    /// The artefact of the paper: a file of experiments/, or all of them [default: table2]
    #[arg(value_parser = ARTEFACTS)]
    artefact: Option<String>,
}

impl ArtefactArgs {
    /// The files that are meant.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let names = match self.artefact.as_deref() {
            Some(ALL) => ARTEFACTS.into_iter().filter(|name| *name != ALL).collect(),
            Some(one) => vec![one],
            None => vec![DEFAULT],
        };
        names.into_iter().map(|name| Path::new("experiments").join(format!("{name}.toml"))).collect()
    }
}

/// How the cells are run.
#[derive(Debug, Args)]
struct RunningArgs {
    /// Threads to train on; the results are the same bits on any number. All cores if not given
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,
    /// Print the plan, with the time it will take, and stop
    #[arg(long)]
    dry_run: bool,
    /// Run only what fits into so many hours, by the plan's estimate: all rules with the first seed before any with the second
    #[arg(long, value_name = "H", value_parser = hours)]
    max_hours: Option<f64>,
}

/// An ablation of one's own.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The experiment file: see experiments/example.toml
    #[arg(value_name = "FILE.toml")]
    file: PathBuf,
    #[command(flatten)]
    cells: CellArgs,
    #[command(flatten)]
    running: RunningArgs,
}

/// Which cells, on what, from where, to where.
#[derive(Debug, Args)]
pub(crate) struct CellArgs {
    /// quick: stand-ins, minutes. cpu: real data, narrow networks, hours. paper: the paper's protocol
    #[arg(long, default_value = "quick")]
    profile: Profile,
    /// The data folder
    #[arg(long, value_name = "DIR", env = "BPSTA_DATA", default_value = "data")]
    data: PathBuf,
    /// The run store [default: runs]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// Only this data set (may be repeated): mnist, cifar10, nmnist, dvsgesture, dvscifar10
    #[arg(long, value_name = "D")]
    dataset: Vec<DatasetId>,
    /// Only this rule (may be repeated): baseline, spatial, temporal, both. Leaves the ANN twin out
    #[arg(long, value_name = "R")]
    rule: Vec<Rule>,
    /// Time steps in place of the profile's (may be repeated)
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u16).range(1..=MOST_TIME_STEPS as i64))]
    time_steps: Vec<u16>,
    /// Number of seeds, from 1 on, in place of the profile's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_SEEDS))]
    seeds: Option<u64>,
    /// Epochs in place of the profile's
    #[arg(long, value_name = "E", value_parser = clap::value_parser!(u32).range(1..=MOST_EPOCHS as i64))]
    epochs: Option<u32>,
    /// Hold back this share of the training samples, drawn by the seed, to choose an epoch without the test split
    #[arg(long, value_name = "FRACTION", value_parser = share)]
    validation: Option<f64>,
    /// cpu or cuda:N
    #[arg(long, default_value = "cpu")]
    device: DeviceKind,
    /// cpu (kernels of our own, the default on the CPU) or reference (candle tensor operations, any device)
    #[arg(long)]
    engine: Option<EngineKind>,
}

/// What says how cells are run, and nothing to a check of what was. Without --data, which the environment may give.
const OF_RUNS: [&str; 12] = [
    "profile",
    "dataset",
    "rule",
    "time_steps",
    "seeds",
    "epochs",
    "validation",
    "device",
    "engine",
    "threads",
    "dry_run",
    "max_hours",
];

#[derive(Debug, Args)]
pub(crate) struct ReproduceArgs {
    #[command(flatten)]
    artefact: ArtefactArgs,
    #[command(flatten)]
    cells: CellArgs,
    #[command(flatten)]
    running: RunningArgs,
    /// Run nothing: check that the tables in results/ (or --results), of this artefact or all, follow from the records beside them
    #[arg(long, conflicts_with_all = OF_RUNS)]
    check: bool,
    /// With --check: render anew what differs
    #[arg(long, requires = "check")]
    write: bool,
}

impl CellArgs {
    /// The run store.
    pub(crate) fn runs(&self) -> &Path {
        self.results.as_deref().unwrap_or(Path::new("runs"))
    }

    /// The plan that these options ask for, and the data it needs.
    pub(crate) fn plan(&self, file: &Path) -> anyhow::Result<(Plan, Store)> {
        let registry = crate::registry(Path::new("datasets.toml"))?;
        let store = Store::open(&self.data, &registry).with_progress(|progress| {
            if let Progress::Notice(text) = progress {
                print::note(format_args!("note: {text}"));
            }
        });
        let experiment = Experiment::load_file(file)?;
        let options = Options {
            profile: self.profile,
            datasets: self.dataset.clone(),
            rules: self.rule.clone(),
            time_steps: self.time_steps.iter().map(|steps| usize::from(*steps)).collect(),
            seeds: self.seeds,
            epochs: self.epochs.map(|epochs| epochs as usize),
            validation: self.validation,
            device: self.device,
            engine: self.engine,
            data: self.data.clone(),
        };
        Ok((Plan::new(experiment, &options, &registry, &store)?, store))
    }
}

/// A time that is one.
fn hours(text: &str) -> Result<f64, String> {
    let hours = text.parse::<f64>().ok().filter(|hours| hours.is_finite() && *hours > 0.0);
    hours.ok_or_else(|| "expected a number of hours above 0, such as 2.5".to_owned())
}

/// A share that leaves something on both sides.
fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| *share > 0.0 && *share < 1.0);
    share.ok_or_else(|| "expected a number between 0 and 1, such as 0.1".to_owned())
}

/// Runs `reproduce`. Exit codes: 0 if all cells are finished, 1 if one failed, 130 if Ctrl-C stopped it.
pub(crate) fn run(args: &ReproduceArgs) -> anyhow::Result<ExitCode> {
    let named = args.artefact.artefact.as_deref();
    if args.check {
        let results = args.cells.results.as_deref().unwrap_or(Path::new("results"));
        crate::committed::check(results, named.filter(|name| *name != ALL), args.write)?;
        return Ok(ExitCode::SUCCESS);
    }
    grid(&args.artefact.files(), &args.cells, &args.running)
}

/// Runs `run`, with the exit codes of `reproduce`.
pub(crate) fn run_file(args: &RunArgs) -> anyhow::Result<ExitCode> {
    grid(std::slice::from_ref(&args.file), &args.cells, &args.running)
}

fn grid(files: &[PathBuf], cells: &CellArgs, running: &RunningArgs) -> anyhow::Result<ExitCode> {
    let threads = crate::use_threads(running.threads)?;
    let started = Instant::now();
    let interrupt = Interrupt::listen()?;
    let mut failed = Vec::new();
    for file in files {
        let (mut plan, store) = match cells.plan(file) {
            // Of all artefacts, those that have cells for the options.
            Err(error) if files.len() > 1 && is_empty(&error) => {
                print::note(format_args!("{}: {error}", file.display()));
                continue;
            }
            plan => plan?,
        };
        print_plan(&plan, threads)?;
        let runs = run_store(cells.runs())?;
        let estimate = Estimate::of(&plan, &runs, &store)?;
        print_estimate(&estimate, plan.cells.len())?;
        plan.weigh(&estimate);
        if let Some(hours) = running.max_hours {
            let left = 3600.0 * hours - started.elapsed().as_secs_f64();
            print_left_out(&plan.limit(&estimate, left), &estimate, hours)?;
        }
        if running.dry_run {
            continue;
        }
        let mut progress = GridProgress::new(interrupt.clone())?;
        let stop = || interrupt.pressed();
        let outcome = reproduce(&plan, &store, &runs, &stop, &mut |event| progress.show(event));
        progress.finish();
        let outcome = outcome?;
        if outcome.stopped {
            let (done, all) = (outcome.records.len(), plan.cells.len());
            print::note(format_args!(
                "stopped: {done} of {all} cells of {} are finished; the same command goes on with the others",
                plan.experiment.artefact
            ));
            return Ok(ExitCode::from(interrupt::EXIT_CODE));
        }
        print::line(format_args!("\n{}", outcome.table))?;
        print_fact(&estimate, &outcome)?;
        for path in &outcome.written {
            print::line(format_args!("written: {}", path.display()))?;
        }
        failed.extend(outcome.failed);
    }
    if !running.dry_run {
        print::line(format_args!("time:  {}", duration(started.elapsed().as_secs_f64())))?;
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    print::note(format_args!(
        "error: {} failed; the same command tries again:",
        print::counted(failed.len(), "cell")
    ));
    for failure in &failed {
        print::note(format_args!("  {} ({}): {}", failure.config.name(), failure.run_id, failure.error));
    }
    Ok(ExitCode::FAILURE)
}

fn is_empty(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(HarnessError::NothingPlanned { .. }))
}

/// The run store, with the time between checkpoints that the variable names; for tests.
fn run_store(folder: &Path) -> anyhow::Result<RunStore> {
    let runs = RunStore::new(folder);
    let Ok(seconds) = std::env::var(CHECKPOINT_SECONDS) else { return Ok(runs) };
    let every = seconds.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let every = every
        .with_context(|| format!("{CHECKPOINT_SECONDS} is {seconds:?}, expected seconds, such as 20"))?;
    Ok(runs.with_checkpoint_every(every))
}

fn print_estimate(estimate: &Estimate, cells: usize) -> io::Result<()> {
    let (missing, finished) = (estimate.cells(), cells - estimate.cells());
    if missing == 0 {
        return print::line(format_args!("  all {} finished before", print::counted(cells, "cell")));
    }
    let before = if finished > 0 { format!(", {finished} finished before") } else { String::new() };
    let memory = estimate.memory.map_or_else(|| "not known".to_owned(), bytes);
    print::line(format_args!(
        "  to run    {}{before}: about {}, by a calibration of {} on this machine; memory {memory}, disk at most {}\n",
        print::counted(missing, "cell"),
        duration(estimate.total()),
        duration(estimate.calibration),
        bytes(estimate.disk)
    ))
}

fn print_left_out(left_out: &[PlannedCell], estimate: &Estimate, hours: f64) -> io::Result<()> {
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

/// What this call estimated of the cells that it ran from their beginning, and what they took.
fn print_fact(estimate: &Estimate, outcome: &Outcome) -> io::Result<()> {
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

fn bytes(count: u64) -> String {
    let mib = count as f64 / f64::from(1 << 20);
    if mib < 1024.0 { format!("{:.0} MiB", mib.ceil()) } else { format!("{:.1} GiB", mib / 1024.0) }
}

fn print_plan(plan: &Plan, threads: usize) -> io::Result<()> {
    let experiment = &plan.experiment;
    print::line(format_args!("{}: {} (profile {})", experiment.artefact, experiment.title, plan.profile))?;
    let mut groups: BTreeMap<(usize, String, String), Vec<&PlannedCell>> = BTreeMap::new();
    for cell in &plan.cells {
        let place = experiment.dataset.iter().position(|entry| entry.id == cell.config.dataset);
        let config = &cell.config;
        let network = format!("{}, width {}", config.network, config.width);
        let key = (place.unwrap_or_default(), cell.manifest.describe(), network);
        groups.entry(key).or_default().push(cell);
    }
    for ((_, data, network), cells) in &groups {
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
            "    training  {}, batches of {}, augmentation: {}, device {}, engine {}, {}",
            print::counted(config.epochs, "epoch"),
            config.batch_size,
            config.augmentation,
            config.device,
            config.engine,
            print::counted(threads, "thread")
        ))?;
    }
    for id in &plan.absent {
        print::line(format_args!(
            "\n  {id}: its official files are not there, and cells that need them are left out; \
             `cargo xtask data import {id} --from DIR` takes them in"
        ))?;
    }
    print::line("")
}
