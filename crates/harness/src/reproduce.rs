//! Runs a plan: what is finished stays, what is missing is trained, the table is written.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use bpsta_datasets::{Dataset, Store};

use crate::order::in_order;
use crate::store::write_whole;
use crate::table::{runs_csv, table_markdown};
use crate::train::train;
use crate::{Plan, PlannedCell, Record, Result, RunStore};

/// What happens while a plan is run.
#[derive(Debug)]
pub enum Event<'a> {
    /// A cell was finished by an earlier call.
    AlreadyFinished {
        /// Its record.
        record: &'a Record,
    },
    /// A cell starts.
    Started {
        /// The cell.
        cell: &'a PlannedCell,
        /// Its place among the cells that are run now, from 1.
        number: usize,
        /// How many are run now.
        of: usize,
    },
    /// Training goes on.
    Advanced {
        /// Share of all the work of this call that is done, 0 to 1.
        done: f64,
        /// Seconds that the rest will take if it goes on as before.
        seconds_left: f64,
    },
    /// A cell is finished and its record written.
    Finished {
        /// Its record.
        record: &'a Record,
        /// Where it is.
        path: PathBuf,
    },
}

/// What a call of [`reproduce`] left behind.
#[derive(Debug)]
pub struct Outcome {
    /// The records of all cells of the plan, in its order.
    pub records: Vec<Record>,
    /// The table in Markdown.
    pub table: String,
    /// Where the table was written.
    pub table_path: PathBuf,
    /// Where one line per run of the table was written, as CSV.
    pub csv_path: PathBuf,
}

/// Runs every cell of the plan that the store has no record of, and renders the table from all finished runs that it shows
/// ([`Plan::table`]).
///
/// # Errors
/// Those of the data, the networks and the store. What was finished before an error stays finished.
pub fn reproduce(
    plan: &Plan,
    data: &Store,
    runs: &RunStore,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome> {
    runs.probe()?;
    let mut finished: BTreeMap<&str, Record> = BTreeMap::new();
    for run_id in &plan.table {
        if let Some(record) = runs.finished(run_id)? {
            finished.insert(run_id, record);
        }
    }
    for record in plan.cells.iter().filter_map(|cell| finished.get(cell.run_id.as_str())) {
        tell(Event::AlreadyFinished { record });
    }
    let missing: Vec<&PlannedCell> =
        plan.cells.iter().filter(|cell| !finished.contains_key(cell.run_id.as_str())).collect();
    let all_work: f64 = missing.iter().map(|cell| cell.work).sum();
    let started = Instant::now();
    let mut done_work = 0.0;
    // Neighbouring cells mostly meet the same data: they are loaded once.
    let mut loaded: Option<((String, Option<String>), Dataset)> = None;
    for (number, &cell) in missing.iter().enumerate() {
        tell(Event::Started { cell, number: number + 1, of: missing.len() });
        let key = (cell.config.manifest_hash.clone(), cell.config.framing.clone());
        if loaded.as_ref().is_none_or(|(at, _)| *at != key) {
            loaded = Some((key, data.load(&cell.manifest, cell.framing)?));
        }
        let Some((_, dataset)) = &loaded else { continue };
        let mut advanced = |share: f64| {
            done_work += share * cell.work;
            let done = (done_work / all_work).clamp(f64::MIN_POSITIVE, 1.0);
            let seconds_left = started.elapsed().as_secs_f64() * (1.0 - done) / done;
            tell(Event::Advanced { done, seconds_left });
        };
        let record = train(cell, dataset, &mut advanced)?;
        let path = runs.finish(&record)?;
        tell(Event::Finished { record: &record, path });
        finished.insert(&cell.run_id, record);
    }
    let of = |ids: &mut dyn Iterator<Item = &String>| -> Vec<Record> {
        ids.filter_map(|run_id| finished.get(run_id.as_str()).cloned()).collect()
    };
    let mut shown = of(&mut plan.table.iter());
    in_order(&plan.experiment, plan.profile, &mut shown)?;
    let table = table_markdown(&plan.experiment, plan.profile, &shown)?;
    let name = format!("{}.{}", plan.experiment.artefact, plan.profile);
    let tables = runs.root().join("tables");
    let (table_path, csv_path) = (tables.join(format!("{name}.md")), tables.join(format!("{name}.csv")));
    write_whole(&table_path, table.as_bytes())?;
    write_whole(&csv_path, &runs_csv(&shown)?)?;
    let records = of(&mut plan.cells.iter().map(|cell| &cell.run_id));
    Ok(Outcome { records, table, table_path, csv_path })
}
