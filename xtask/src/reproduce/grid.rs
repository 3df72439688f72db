//! A call over its artefacts: the plan, the progress, the table.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use bpsta_datasets::Store;
use bpsta_harness::{CallId, Estimate, Failure, HarnessError, Outcome, Plan, RunStore, reproduce};

use super::{CellArgs, RunningArgs};
use crate::interrupt::{self, Interrupt};
use crate::launch::{self, Launcher, Workers};
use crate::progress::{GridProgress, duration};
use crate::{plan, print};

/// Names the seconds of training between two checkpoints.
const CHECKPOINT_SECONDS: &str = "BPSTA_CHECKPOINT_SECONDS";

/// Runs the artefacts of some files, one after the other, and says by its code how it went.
pub(super) fn grid(files: &[PathBuf], cells: &CellArgs, running: &RunningArgs) -> anyhow::Result<ExitCode> {
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
