//! Runs a plan: what is finished stays, what is missing is trained, the table is written.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bpsta_datasets::Store;

use crate::cell::{End, Grid, Step};
use crate::claim::{Claim, Failure};
use crate::files::write_whole;
use crate::order::in_order;
use crate::views::{TABLE, render};
use crate::{Absent, EpochRecord, HarnessError, Plan, PlannedCell, Record, Result, RunFiles, RunStore};

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
/// ([`Plan::table`]), those among them that another call finishes meanwhile. A cell that another process has is waited for at the end, and one that
/// failed there in the same call ([`RunStore::with_call_of`]) is not tried again. After each epoch it looks whether to `stop`; what is
/// under way then goes on from there at the next call.
///
/// # Errors
/// Those of the run store, the device, and what all cells share; [`HarnessError::BadRecord`] for a cell's own, while that of another run of the
/// table is told and leaves it without a row; and those of [`render`]. What was finished before an error stays finished. A cell that fails
/// for itself is no error: see [`Outcome::failed`].
pub fn reproduce(
    plan: &Plan,
    data: &Store,
    runs: &RunStore,
    stop: &dyn Fn() -> bool,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome> {
    let runs = &runs.in_a_call();
    runs.probe()?;
    let mut found = Found::default();
    found.look(plan, runs, tell)?;
    for record in found.of(plan.cells.iter().map(|cell| &cell.run_id)) {
        tell(Event::AlreadyFinished { record });
    }
    let missing: Vec<&PlannedCell> =
        plan.cells.iter().filter(|cell| !found.records.contains_key(cell.run_id.as_str())).collect();
    let (failed, stopped) = run_cells(&missing, data, runs, stop, tell, &mut found)?;
    // What other calls have finished while these cells were run.
    found.look(plan, runs, tell)?;
    let (table, written) = write_tables(plan, runs, &found)?;
    let records = found.of(plan.cells.iter().map(|cell| &cell.run_id)).cloned().collect();
    Ok(Outcome { records, failed, stopped, table, written })
}

/// What the store has of the runs that a plan's table shows.
#[derive(Default)]
struct Found<'a> {
    /// Finished runs, by their ids.
    records: BTreeMap<&'a str, Record>,
    /// Runs of the table, and of no cell, whose record is none: by their ids, with what is wrong.
    refused: BTreeMap<&'a str, String>,
}

impl<'a> Found<'a> {
    /// Looks for the runs that are not there yet. A record that is none stops those who ask for its run, and no one else.
    fn look(&mut self, plan: &'a Plan, runs: &RunStore, tell: &mut dyn FnMut(Event<'_>)) -> Result<()> {
        for run_id in &plan.table {
            if self.records.contains_key(run_id.as_str()) || self.refused.contains_key(run_id.as_str()) {
                continue;
            }
            match runs.finished(run_id) {
                Ok(Some(record)) => {
                    runs.clear_behind(run_id)?;
                    self.records.insert(run_id, record);
                }
                Ok(None) => {}
                Err(error @ HarnessError::BadRecord { .. })
                    if plan.cells.iter().all(|cell| cell.run_id != *run_id) =>
                {
                    let text = format!("{error}; the table has no row of it");
                    tell(Event::Notice { text });
                    self.refused.insert(run_id, error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The finished ones of some runs, in their order.
    fn of<'b>(&self, run_ids: impl Iterator<Item = &'b String>) -> impl Iterator<Item = &Record> {
        run_ids.filter_map(|run_id| self.records.get(run_id.as_str()))
    }
}

/// Runs cells, in their order and then those that other processes had. Gives those that failed, and whether it was told to stop.
fn run_cells<'a>(
    missing: &[&'a PlannedCell],
    data: &Store,
    runs: &RunStore,
    stop: &dyn Fn() -> bool,
    tell: &mut dyn FnMut(Event<'_>),
    found: &mut Found<'a>,
) -> Result<(Vec<Failure>, bool)> {
    let mut work = Work::of(missing);
    let mut grid = Grid::new(data, runs);
    let (mut failed, mut elsewhere) = (Vec::new(), Vec::new());
    let mut queue: Vec<(usize, &PlannedCell, bool)> =
        missing.iter().enumerate().map(|(index, cell)| (index, *cell, false)).collect();
    while !queue.is_empty() {
        for (index, cell, waited_for) in queue.drain(..) {
            if stop() {
                return Ok((failed, true));
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
                found.records.insert(&cell.run_id, record);
                continue;
            }
            if let Some(failure) = runs.failure_in_call(&cell.run_id)? {
                work.leave_out(cell.work);
                tell(Event::AlreadyFailed { cell, failure: &failure });
                failed.push(failure);
                continue;
            }
            tell(Event::Started { cell, number: index + 1, of: missing.len() });
            let mut left = cell.work;
            let end = grid.run(cell, claim, stop, &mut |step| match step {
                Step::Notice(text) => tell(Event::Notice { text }),
                Step::Resumed(epochs) => {
                    let before = cell.work * epochs as f64 / cell.config.epochs as f64;
                    left -= before;
                    work.leave_out(before);
                    tell(Event::Resumed { cell, epochs });
                }
                Step::Advanced(share) => {
                    left -= share * cell.work;
                    tell(work.advance(share * cell.work));
                }
                Step::Epoch(epoch) => tell(Event::Epoch { cell, epoch }),
            })?;
            match end {
                End::Finished(record, path) => {
                    tell(Event::Finished { record: &record, path });
                    found.records.insert(&cell.run_id, *record);
                }
                End::Failed(failure) => {
                    work.leave_out(left);
                    tell(Event::Failed { cell, failure: &failure });
                    tell(work.advance(0.0));
                    failed.push(*failure);
                }
                End::Stopped => return Ok((failed, true)),
            }
        }
        queue.append(&mut elsewhere);
    }
    Ok((failed, false))
}

/// Renders what the table shows of the finished runs, and writes it. Gives the table in Markdown, and the files.
fn write_tables(plan: &Plan, runs: &RunStore, found: &Found<'_>) -> Result<(String, Vec<PathBuf>)> {
    let mut shown: Vec<Record> = found.of(plan.table.iter()).cloned().collect();
    in_order(&plan.experiment, plan.profile, &mut shown)?;
    let mut table = String::new();
    let mut written = Vec::new();
    for mut file in render(&plan.experiment, plan.profile, &shown, RunFiles::Store(runs))? {
        if file.name == TABLE {
            // Not in committed tables: it does not follow from records.
            file.bytes.extend((not_run(plan) + &failures(plan, runs)? + &refusals(found)).bytes());
            table = String::from_utf8_lossy(&file.bytes).into_owned();
        }
        let name = format!("{}.{}.{}", plan.experiment.artefact, plan.profile, file.suffix);
        let path = runs.root().join("tables").join(name);
        write_whole(&path, &file.bytes)?;
        written.push(path);
    }
    Ok((table, written))
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
    let line = |absent: &Absent| {
        format!("\nNot run: cells on the official files of {}, which were not imported.\n", absent.dataset)
    };
    plan.absent.iter().map(line).collect()
}

/// A line under the table for each of its runs that failed and is not finished; nothing where there is none.
fn failures(plan: &Plan, runs: &RunStore) -> Result<String> {
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

/// A line under the table for each of its runs whose record is none.
fn refusals(found: &Found<'_>) -> String {
    let line = |(run_id, why): (&&str, &String)| format!("\nNo row for run {run_id}: {why}\n");
    found.refused.iter().map(line).collect()
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

    /// Where nothing is left to be done, all of it is.
    fn advance(&mut self, work: f64) -> Event<'static> {
        self.done += work;
        let done = if self.all > 0.0 { (self.done / self.all).clamp(f64::MIN_POSITIVE, 1.0) } else { 1.0 };
        let seconds_left = self.started.elapsed().as_secs_f64() * (1.0 - done) / done;
        Event::Advanced { done, seconds_left }
    }
}
