//! Runs a plan: what is finished stays, what is missing is trained, the table is written.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use bpsta_datasets::Store;

use crate::cell::{End, Grid, Step};
use crate::claim::{Claim, Failure};
use crate::files::write_whole;
use crate::order::in_order;
use crate::views::{TABLE, render};
use crate::{EpochRecord, Plan, PlannedCell, Record, Result, RunFiles, RunStore};

/// How long to wait before looking again whether another process is done with a cell.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What happens while a plan is run.
#[derive(Debug)]
pub enum Event<'a> {
    /// A cell was finished by an earlier call, or by another process.
    AlreadyFinished {
        /// Its record.
        record: &'a Record,
    },
    /// Another process has the cell: it is left for the end.
    Elsewhere {
        /// The cell.
        cell: &'a PlannedCell,
    },
    /// A cell starts.
    Started {
        /// The cell.
        cell: &'a PlannedCell,
        /// Its place among the cells that were missing, from 1.
        number: usize,
        /// How many were missing.
        of: usize,
    },
    /// Something the user should know.
    Notice {
        /// It.
        text: String,
    },
    /// A cell goes on from a checkpoint.
    Resumed {
        /// The cell.
        cell: &'a PlannedCell,
        /// Its epochs that are done.
        epochs: usize,
    },
    /// Training goes on.
    Advanced {
        /// Share of all the work of this call that is done, 0 to 1.
        done: f64,
        /// Seconds that the rest will take if it goes on as before.
        seconds_left: f64,
    },
    /// An epoch of a cell is done.
    Epoch {
        /// The cell.
        cell: &'a PlannedCell,
        /// What the epoch saw.
        epoch: &'a EpochRecord,
    },
    /// A cell is finished and its record written.
    Finished {
        /// Its record.
        record: &'a Record,
        /// Where it is.
        path: PathBuf,
    },
    /// The cell has failed in this call, in another process or for another artefact: here it would fail again.
    AlreadyFailed {
        /// The cell.
        cell: &'a PlannedCell,
        /// Why, as it was written beside the run.
        failure: &'a Failure,
    },
    /// A cell has failed. The grid goes on, and the next call tries it again.
    Failed {
        /// The cell.
        cell: &'a PlannedCell,
        /// Why, as it was written beside the run.
        failure: &'a Failure,
    },
}

/// What a call of [`reproduce`] left behind.
#[derive(Debug)]
pub struct Outcome {
    /// The records of the cells of the plan that are finished, in its order.
    pub records: Vec<Record>,
    /// The cells of this call that failed.
    pub failed: Vec<Failure>,
    /// Whether it was stopped before all cells were run.
    pub stopped: bool,
    /// The table in Markdown.
    pub table: String,
    /// What was written: the table, one line per run of it as CSV, and figures.
    pub written: Vec<PathBuf>,
}

/// Runs every cell of the plan that the store has no record of, and renders the table from all finished runs that it shows
/// ([`Plan::table`]). A cell that another process has is waited for at the end, and one that failed there in the same call
/// ([`RunStore::with_call_of`]) is not tried again. After each epoch it looks whether to `stop`; what is
/// under way then goes on from there at the next call.
///
/// # Errors
/// Those of the run store, the device, and what all cells share. What was finished before an error stays finished. A cell that fails
/// for itself is no error: see [`Outcome::failed`].
pub fn reproduce(
    plan: &Plan,
    data: &Store,
    runs: &RunStore,
    stop: &dyn Fn() -> bool,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome> {
    let called = runs.called().unwrap_or_else(SystemTime::now);
    runs.probe()?;
    let mut finished: BTreeMap<&str, Record> = BTreeMap::new();
    for run_id in &plan.table {
        if let Some(record) = runs.finished(run_id)? {
            runs.clear_behind(run_id)?;
            finished.insert(run_id, record);
        }
    }
    for record in plan.cells.iter().filter_map(|cell| finished.get(cell.run_id.as_str())) {
        tell(Event::AlreadyFinished { record });
    }
    let missing: Vec<&PlannedCell> =
        plan.cells.iter().filter(|cell| !finished.contains_key(cell.run_id.as_str())).collect();
    let mut work = Work::of(&missing);
    let mut grid = Grid::new(data, runs);
    let (mut failed, mut elsewhere) = (Vec::new(), Vec::new());
    let mut stopped = false;
    let mut queue: Vec<(usize, &PlannedCell, bool)> =
        missing.iter().enumerate().map(|(index, cell)| (index, *cell, false)).collect();
    while !queue.is_empty() && !stopped {
        for (index, cell, waited_for) in queue.drain(..) {
            if stopped || stop() {
                stopped = true;
                break;
            }
            let claim = match waited_for {
                false => runs.claim(&cell.run_id)?,
                true => wait(runs, &cell.run_id, stop)?,
            };
            let Some(claim) = claim else {
                if !waited_for {
                    work.leave_out(cell.work);
                    tell(Event::Elsewhere { cell });
                }
                elsewhere.push((index, cell, true));
                continue;
            };
            if waited_for {
                work.take_back(cell.work);
            }
            // Another process may have finished it before it was this one's, or failed at it.
            if let Some(record) = runs.finished(&cell.run_id)? {
                work.leave_out(cell.work);
                tell(Event::AlreadyFinished { record: &record });
                finished.insert(&cell.run_id, record);
                continue;
            }
            if let Some(failure) = runs.failure_since(&cell.run_id, called)? {
                work.leave_out(cell.work);
                tell(Event::AlreadyFailed { cell, failure: &failure });
                failed.push(failure);
                continue;
            }
            tell(Event::Started { cell, number: index + 1, of: missing.len() });
            let end = grid.run(cell, claim, stop, &mut |step| match step {
                Step::Notice(text) => tell(Event::Notice { text }),
                Step::Resumed(epochs) => {
                    work.leave_out(cell.work * epochs as f64 / cell.config.epochs as f64);
                    tell(Event::Resumed { cell, epochs });
                }
                Step::Advanced(share) => tell(work.advance(share * cell.work)),
                Step::Epoch(epoch) => tell(Event::Epoch { cell, epoch }),
            })?;
            match end {
                End::Finished(record, path) => {
                    tell(Event::Finished { record: &record, path });
                    finished.insert(&cell.run_id, *record);
                }
                End::Failed(failure) => {
                    tell(Event::Failed { cell, failure: &failure });
                    failed.push(*failure);
                }
                End::Stopped => stopped = true,
            }
        }
        queue.append(&mut elsewhere);
    }
    let of = |ids: &mut dyn Iterator<Item = &String>| -> Vec<Record> {
        ids.filter_map(|run_id| finished.get(run_id.as_str()).cloned()).collect()
    };
    let mut shown = of(&mut plan.table.iter());
    in_order(&plan.experiment, plan.profile, &mut shown)?;
    let mut files = render(&plan.experiment, plan.profile, &shown, RunFiles::Store(runs))?;
    let mut table = String::new();
    let mut written = Vec::new();
    for file in &mut files {
        if file.name == TABLE {
            // Not in committed tables: it does not follow from records.
            file.bytes.extend((not_run(plan) + &failures(plan, runs)?).bytes());
            table = String::from_utf8_lossy(&file.bytes).into_owned();
        }
        let name = format!("{}.{}.{}", plan.experiment.artefact, plan.profile, file.suffix);
        let path = runs.root().join("tables").join(name);
        write_whole(&path, &file.bytes)?;
        written.push(path);
    }
    let records = of(&mut plan.cells.iter().map(|cell| &cell.run_id));
    Ok(Outcome { records, failed, stopped, table, written })
}

/// Waits until a run that another process has is this one's; none if it was told to `stop`.
fn wait(runs: &RunStore, run_id: &str, stop: &dyn Fn() -> bool) -> Result<Option<Claim>> {
    loop {
        if let Some(claim) = runs.claim(run_id)? {
            return Ok(Some(claim));
        }
        if stop() {
            return Ok(None);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// A line under the table for each data set that cells need and that is not there.
fn not_run(plan: &Plan) -> String {
    let line = |id| format!("\nNot run: cells on the official files of {id}, which were not imported.\n");
    plan.absent.iter().map(line).collect()
}

/// A line under the table for each of its runs that failed and is not finished; nothing where there is none.
pub(crate) fn failures(plan: &Plan, runs: &RunStore) -> Result<String> {
    let mut text = String::new();
    for run_id in &plan.table {
        if let Some(failure) = runs.failure(run_id)? {
            let error = &failure.error;
            text +=
                &format!("\nNo row for {} (run {run_id}), which failed: {error}\n", failure.config.name());
        }
    }
    Ok(text)
}

/// The work of a call, to tell how much of it is left.
struct Work {
    all: f64,
    done: f64,
    started: Instant,
}

impl Work {
    fn of(cells: &[&PlannedCell]) -> Self {
        Self { all: cells.iter().map(|cell| cell.work).sum(), done: 0.0, started: Instant::now() }
    }

    /// What need not be done here says nothing about how long the rest takes.
    fn leave_out(&mut self, work: f64) {
        self.all -= work;
    }

    fn take_back(&mut self, work: f64) {
        self.all += work;
    }

    fn advance(&mut self, work: f64) -> Event<'static> {
        self.done += work;
        let done = (self.done / self.all).clamp(f64::MIN_POSITIVE, 1.0);
        let seconds_left = self.started.elapsed().as_secs_f64() * (1.0 - done) / done;
        Event::Advanced { done, seconds_left }
    }
}
