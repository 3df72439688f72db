//! `cargo xtask reproduce` and `run`: what the command line asks for.

mod grid;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bpsta_datasets::{DatasetId, Progress, Registry, Store};
use bpsta_harness::{
    CallId, DeviceKind, EngineKind, Experiment, MOST_EPOCHS, MOST_SEEDS, MOST_TIME_STEPS, Options, Plan,
    Profile,
};
use bpsta_spiking::Rule;
use clap::Args;

pub(crate) use grid::Passing;

use crate::launch::Launcher;
use crate::print;

/// The artefacts of the paper that there is an experiment file of, in the order in which `all` runs them.
const ARTEFACTS: [&str; 9] = ["table1", "table2", "table4", "table5", "table6", "fig1", "fig2", "fig3", ALL];
const ALL: &str = "all";
const DEFAULT: &str = "table2";

/// Which of the paper's tables and figures.
#[derive(Debug, Args)]
pub(crate) struct ArtefactArgs {
    /// The artefact of the paper: a file of experiments/, or all of them [default: table2; with --check: all]
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
    /// Processes that share the cells; the threads are shared out over them
    #[arg(long, value_name = "N", default_value = "1")]
    jobs: std::num::NonZeroUsize,
    /// Who starts them: slurm writes a batch script of N tasks with --threads threads each, and submits it where there is a Slurm
    #[arg(long, value_enum, default_value_t = Launcher::Local)]
    launcher: Launcher,
    /// Of the cells, these runs; without plan and table: what --jobs starts
    #[arg(long, value_name = "RUN_ID", hide = true)]
    only: Vec<String>,
    /// Stop as by Ctrl-C when standard input ends: so --jobs tells its processes
    #[arg(long, hide = true)]
    until_eof: bool,
    /// The call, if this is one of its --jobs: a cell that has failed in it is not tried again
    #[arg(long, value_name = "CALL", hide = true)]
    called: Option<CallId>,
}

impl RunningArgs {
    /// Processes that share this machine's threads: the tasks of a batch script run elsewhere, each with all of --threads.
    fn processes_here(&self) -> usize {
        if self.launcher == Launcher::Local { self.jobs.get() } else { 1 }
    }

    /// Cells that are worked at in the time of one: processes share a GPU, and each gets its part of the time.
    fn cells_at_once(&self, device: DeviceKind) -> usize {
        if device == DeviceKind::Cpu { self.jobs.get() } else { 1 }
    }
}

/// What tells other programs how it went.
const EXIT_CODES: &str = "\
Exit codes:
  0    every cell is finished (of those that fit into --max-hours; with --dry-run: the plan is printed; with --launcher slurm: the
       script is written)
  1    a cell failed, or an error ended the command before the last cell
  2    the command line is not understood
  130  stopped by Ctrl-C; the same command goes on from there";

/// An ablation of one's own.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
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
    /// quick: stand-ins, about a minute. cpu: real data, narrow networks, hours. gpu: real data, full width, minutes on a GPU. paper: the paper's protocol
    #[arg(long, default_value = "quick")]
    profile: Profile,
    /// The data folder
    #[arg(long, value_name = "DIR", env = "BPSTA_DATA", default_value = "data")]
    data: PathBuf,
    /// The run store, where runs go and are looked for [default: runs]
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
const OF_RUNS: [&str; 17] = [
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
    "jobs",
    "launcher",
    "only",
    "until_eof",
    "called",
];

#[derive(Debug, Args)]
#[command(
    after_help = EXIT_CODES,
    mut_arg("results", |results| results.help("The run store, where runs go and are looked for [default: runs]; with --check: the accepted results [default: results]"))
)]
pub(crate) struct ReproduceArgs {
    #[command(flatten)]
    artefact: ArtefactArgs,
    #[command(flatten)]
    cells: CellArgs,
    #[command(flatten)]
    running: RunningArgs,
    /// Run nothing: check that the tables in results/ (or --results), of this artefact or all, follow from the records beside them; exit code 1 if one does not
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

    /// The command line that asks for the same of one file, of a process on so many threads.
    fn again(&self, file: &Path, threads: usize) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["run".into(), file.into()];
        let mut add = |name: &str, value: OsString| words.extend([name.into(), value]);
        add("--profile", self.profile.to_string().into());
        add("--data", self.data.clone().into());
        add("--results", self.runs().into());
        self.dataset.iter().for_each(|id| add("--dataset", id.to_string().into()));
        self.rule.iter().for_each(|rule| add("--rule", rule.to_string().into()));
        self.time_steps.iter().for_each(|steps| add("--time-steps", steps.to_string().into()));
        self.seeds.iter().for_each(|seeds| add("--seeds", seeds.to_string().into()));
        self.epochs.iter().for_each(|epochs| add("--epochs", epochs.to_string().into()));
        self.validation.iter().for_each(|share| add("--validation", share.to_string().into()));
        add("--device", self.device.to_string().into());
        self.engine.iter().for_each(|engine| add("--engine", engine.to_string().into()));
        add("--threads", threads.to_string().into());
        words
    }

    /// The plan that these options ask for, and the data it needs: stand-ins that are missing are generated.
    pub(crate) fn plan(&self, file: &Path) -> anyhow::Result<(Plan, Store)> {
        let (experiment, options, registry, store) = self.asked(file)?;
        Ok((Plan::new(experiment, &options, &registry, &store)?, store))
    }

    /// The plan that these options ask for, over the data that are there.
    pub(crate) fn plan_of_data_there(&self, file: &Path) -> anyhow::Result<Plan> {
        let (experiment, options, registry, store) = self.asked(file)?;
        Ok(Plan::of_data_there(experiment, &options, &registry, &store)?)
    }

    /// What a plan is made from.
    fn asked(&self, file: &Path) -> anyhow::Result<(Experiment, Options, Registry, Store)> {
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
        Ok((experiment, options, registry, store))
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
    grid::grid(&args.artefact.files(), &args.cells, &args.running)
}

/// Runs `run`, with the exit codes of `reproduce`.
pub(crate) fn run_file(args: &RunArgs) -> anyhow::Result<ExitCode> {
    grid::grid(std::slice::from_ref(&args.file), &args.cells, &args.running)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        running: RunningArgs,
    }

    #[test]
    fn tasks_of_a_cluster_share_the_cells_and_not_the_threads_of_this_machine() {
        let of = |launcher, device| {
            let line = ["", "--jobs", "8", "--launcher", launcher];
            let running = Line::try_parse_from(line).unwrap().running;
            (running.processes_here(), running.cells_at_once(device))
        };
        assert_eq!(of("local", DeviceKind::Cpu), (8, 8));
        assert_eq!(of("slurm", DeviceKind::Cpu), (1, 8));
        assert_eq!(of("local", DeviceKind::Cuda(0)), (8, 1));
    }
}
