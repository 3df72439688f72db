//! `cargo xtask reproduce`: the plan, the progress, the table.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use bpsta_datasets::{DatasetId, Progress, Registry, Store};
use bpsta_harness::{
    CallId, DeviceKind, EngineKind, Estimate, Experiment, Failure, HarnessError, MOST_EPOCHS, MOST_SEEDS,
    MOST_TIME_STEPS, Options, Outcome, Plan, Profile, RunStore, reproduce,
};
use bpsta_spiking::Rule;
use clap::Args;

use crate::interrupt::{self, Interrupt};
use crate::launch::{self, Launcher, Workers};
use crate::progress::{GridProgress, duration};
use crate::{plan, print};

/// Names the seconds of training between two checkpoints.
const CHECKPOINT_SECONDS: &str = "BPSTA_CHECKPOINT_SECONDS";

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
    grid(&args.artefact.files(), &args.cells, &args.running)
}

/// Runs `run`, with the exit codes of `reproduce`.
pub(crate) fn run_file(args: &RunArgs) -> anyhow::Result<ExitCode> {
    grid(std::slice::from_ref(&args.file), &args.cells, &args.running)
}

fn grid(files: &[PathBuf], cells: &CellArgs, running: &RunningArgs) -> anyhow::Result<ExitCode> {
    let mut call = Call {
        cells,
        running,
        threads: crate::use_threads(running.threads, running.processes_here())?,
        at_once: running.cells_at_once(cells.device),
        started: Instant::now(),
        called: running.called.unwrap_or_default(),
        interrupt: Interrupt::listen()?,
        failed: BTreeMap::new(),
        planned: BTreeMap::new(),
    };
    if running.until_eof {
        call.interrupt.or_eof();
    }
    let mut passing = Passing::over(files.len());
    let mut stopped = false;
    for (index, file) in files.iter().enumerate() {
        // Between artefacts; of the first one it is said how far it came.
        stopped = index > 0 && call.interrupt.pressed();
        if stopped {
            break;
        }
        if let Some((plan, store)) = passing.pass(cells.plan(file))? {
            stopped = call.artefact(file, plan, &store)? == Ended::Stopped;
        }
        if stopped {
            break;
        }
    }
    if running.dry_run && files.len() > 1 && !stopped {
        let (count, seconds) = (call.planned.len(), call.planned.values().sum::<f64>());
        let takes = duration(seconds / call.at_once.min(count.max(1)) as f64);
        print::line(format_args!("all:   {} to run, about {takes}", print::counted(count, "cell")))?;
    } else if !stopped && !running.dry_run && running.only.is_empty() {
        print::line(format_args!("time:  {}", duration(call.started.elapsed().as_secs_f64())))?;
    }
    if !call.failed.is_empty() {
        print::note(format_args!(
            "error: {} failed; the same command tries again:",
            print::counted(call.failed.len(), "cell")
        ));
    }
    for failure in call.failed.values() {
        print::note(format_args!("  {} ({}): {}", failure.config.name(), failure.run_id, failure.error));
    }
    Ok(match stopped {
        true => ExitCode::from(interrupt::EXIT_CODE),
        false if call.failed.is_empty() => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// How an artefact of a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// All that was asked for was done, or failed.
    Done,
    /// It was told to stop.
    Stopped,
}

/// One call of the command, over however many artefacts.
struct Call<'a> {
    cells: &'a CellArgs,
    running: &'a RunningArgs,
    threads: usize,
    at_once: usize,
    started: Instant,
    called: CallId,
    interrupt: Interrupt,
    /// By run: artefacts share cells.
    failed: BTreeMap<String, Failure>,
    /// Of a dry run, in which nothing becomes a record: the cells that were planned, with the seconds they will take.
    planned: BTreeMap<String, f64>,
}

impl Call<'_> {
    /// Plans an artefact, runs it and prints its table, as far as the options ask for it.
    fn artefact(&mut self, file: &Path, mut plan: Plan, store: &Store) -> anyhow::Result<Ended> {
        let Self { cells, running, threads, .. } = *self;
        let runs = run_store(cells.runs())?.with_call_of(self.called);
        if !running.only.is_empty() {
            plan.cells.retain(|cell| running.only.contains(&cell.run_id));
            let outcome = reproduce(&plan, store, &runs, &|| self.interrupt.pressed(), &mut |_| {})?;
            return Ok(self.end(outcome));
        }
        let estimate = self.plan(&mut plan, &runs, store)?;
        if self.interrupt.pressed() {
            return self.stopped(&plan, &runs);
        }
        if running.dry_run {
            return Ok(Ended::Done);
        }
        let workers = match missing(&plan, &estimate, cells.again(file, threads)) {
            Some(arguments) if running.launcher == Launcher::Slurm => {
                let (name, jobs) = (&plan.experiment.artefact, running.jobs.get());
                launch::slurm(name, runs.root(), jobs, threads, &arguments)?;
                return Ok(Ended::Done);
            }
            Some(arguments) if running.processes_here() > 1 => {
                Workers::start(running.processes_here() - 1, &arguments, self.called)?
            }
            _ => Workers::default(),
        };
        let outcome = self.train(&plan, store, &runs, workers)?;
        if outcome.stopped {
            self.end(outcome);
            return self.stopped(&plan, &runs);
        }
        print::line(format_args!("\n{}", outcome.table))?;
        plan::fact(&estimate, &outcome)?;
        for path in &outcome.written {
            print::line(format_args!("written: {}", path.display()))?;
        }
        Ok(self.end(outcome))
    }

    /// Prints the plan and what it will take, less what does not fit into the time that is left.
    fn plan(&mut self, plan: &mut Plan, runs: &RunStore, store: &Store) -> anyhow::Result<Estimate> {
        let before = plan.cells.len();
        plan.cells.retain(|cell| !self.planned.contains_key(&cell.run_id));
        let elsewhere = before - plan.cells.len();
        plan::plan(plan, self.threads)?;
        let estimate = Estimate::of(plan, runs, store)?;
        if elsewhere > 0 {
            print::line(format_args!("  {} planned above\n", print::counted(elsewhere, "more cell")))?;
        }
        if elsewhere > 0 && plan.cells.is_empty() {
            return Ok(estimate);
        }
        plan::estimate(&estimate, plan.cells.len(), self.running.jobs.get(), self.at_once)?;
        plan.weigh(&estimate);
        if let Some(hours) = self.running.max_hours {
            let spent = self.started.elapsed().as_secs_f64() * self.at_once as f64;
            let planned: f64 = self.planned.values().sum();
            let left = 3600.0 * hours * self.at_once as f64 - spent - planned;
            plan::left_out(&plan.limit(&estimate, left), &estimate, hours)?;
        }
        if self.running.dry_run {
            let seconds = |run_id: &String| Some((run_id.clone(), estimate.seconds(run_id)?));
            self.planned.extend(plan.cells.iter().filter_map(|cell| seconds(&cell.run_id)));
        }
        Ok(estimate)
    }

    /// Keeps what failed.
    fn end(&mut self, outcome: Outcome) -> Ended {
        self.failed.extend(outcome.failed.into_iter().map(|failure| (failure.run_id.clone(), failure)));
        if outcome.stopped { Ended::Stopped } else { Ended::Done }
    }

    /// Says how far it came.
    fn stopped(&self, plan: &Plan, runs: &RunStore) -> anyhow::Result<Ended> {
        let all = plan.cells.len();
        let done = all - plan.missing(runs)?.len();
        print::note(format_args!(
            "stopped with {done} of {} of {} finished; the same command goes on with the others",
            print::counted(all, "cell"),
            plan.experiment.artefact,
        ));
        Ok(Ended::Stopped)
    }

    /// Runs the missing cells, beside workers, with progress on the terminal.
    fn train(
        &self,
        plan: &Plan,
        store: &Store,
        runs: &RunStore,
        mut workers: Workers,
    ) -> anyhow::Result<Outcome> {
        let mut progress = GridProgress::new(self.interrupt.clone(), self.at_once)?;
        let stop = || {
            let pressed = self.interrupt.pressed();
            if pressed {
                workers.stop();
            }
            pressed
        };
        let outcome = reproduce(plan, store, runs, &stop, &mut |event| progress.show(event));
        progress.finish();
        let outcome = outcome?;
        workers.wait();
        Ok(outcome)
    }
}

/// The command line of a process that runs the cells that are not finished; none where all are.
fn missing(plan: &Plan, estimate: &Estimate, mut command: Vec<OsString>) -> Option<Vec<OsString>> {
    let begin = command.len();
    let missing = plan.cells.iter().filter(|cell| estimate.seconds(&cell.run_id).is_some());
    command.extend(missing.flat_map(|cell| ["--only".into(), cell.run_id.clone().into()]));
    (command.len() > begin).then_some(command)
}

/// Of several artefacts, passes over those that have nothing to do, as long as another is left that may have.
pub(crate) struct Passing {
    left: usize,
}

impl Passing {
    pub(crate) fn over(artefacts: usize) -> Self {
        Self { left: artefacts }
    }

    /// What came of an artefact; nothing, with a note, of one without cells for the options, data for them, or a finished run.
    pub(crate) fn pass<T>(&mut self, of: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
        use HarnessError::{NoData, NothingPlanned, NothingToAccept};
        let nothing = |error: &anyhow::Error| {
            matches!(
                error.downcast_ref(),
                Some(NothingPlanned { .. } | NoData { .. } | NothingToAccept { .. })
            )
        };
        match of {
            Err(error) if self.left > 1 && nothing(&error) => {
                print::note(&error);
                self.left -= 1;
                Ok(None)
            }
            of => of.map(Some),
        }
    }
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
