//! One cell of a grid, from the claim on its run to its record, its failure, or the checkpoint that it goes on from.

use std::path::PathBuf;
use std::time::Instant;

use bpsta_datasets::{Dataset, Store};

use crate::claim::{Claim, Failure};
use crate::environment::Code;
use crate::train::{Run, Trained};
use crate::{EpochRecord, PlannedCell, Record, Result, RunStore};

/// What became of a cell.
pub(crate) enum End {
    Finished(Box<Record>, PathBuf),
    Failed(Box<Failure>),
    /// It was asked to stop, and has written its checkpoint.
    Stopped,
}

/// What happens in a cell while it is run.
pub(crate) enum Step<'a> {
    Notice(String),
    /// It goes on behind so many epochs of a checkpoint.
    Resumed(usize),
    /// A share of its work is done, since the last time.
    Advanced(f64),
    Epoch(&'a EpochRecord),
}

/// What the cells of one call share.
pub(crate) struct Grid<'a> {
    data: &'a Store,
    runs: &'a RunStore,
    code: Code,
    /// Neighbouring cells mostly meet the same data: they are loaded once.
    loaded: Option<(Key, Dataset)>,
}

/// The manifest's hash and the framing.
type Key = (String, Option<String>);

impl<'a> Grid<'a> {
    pub(crate) fn new(data: &'a Store, runs: &'a RunStore) -> Self {
        Self { data, runs, code: Code::here(), loaded: None }
    }

    /// Runs a cell. It is asked after each epoch whether to `stop`.
    ///
    /// # Errors
    /// Those that stop a grid: of the run store, the device, and what all cells share. Others are [`End::Failed`].
    pub(crate) fn run(
        &mut self,
        cell: &PlannedCell,
        claim: Claim,
        stop: &dyn Fn() -> bool,
        tell: &mut dyn FnMut(Step<'_>),
    ) -> Result<End> {
        claim.try_again()?;
        let end = self.train(cell, &claim, stop, tell).and_then(|trained| match trained {
            Some(trained) => {
                let path = claim.finish(&trained)?;
                Ok(End::Finished(Box::new(trained.record), path))
            }
            None => Ok(End::Stopped),
        });
        match end {
            Err(error) if error.is_a_cell_s() => {
                let failure = claim.fail(&cell.config, error.in_full())?;
                Ok(End::Failed(Box::new(failure)))
            }
            end => end,
        }
    }

    /// What it leaves behind; none if it was stopped.
    fn train(
        &mut self,
        cell: &PlannedCell,
        claim: &Claim,
        stop: &dyn Fn() -> bool,
        tell: &mut dyn FnMut(Step<'_>),
    ) -> Result<Option<Trained>> {
        let config = &cell.config;
        let spec = config.spec()?;
        let mut notice = |text| tell(Step::Notice(text));
        let checkpoint = claim.checkpoint(config, &spec, &config.device.open()?, &mut notice)?;
        let key = (config.manifest_hash.clone(), config.framing.clone());
        // What other cells met goes first: memory need not hold both.
        let dataset = match self.loaded.take().filter(|(at, _)| *at == key) {
            Some((_, dataset)) => dataset,
            None => self.data.load(&cell.manifest, cell.framing)?,
        };
        let (_, dataset) = &*self.loaded.insert((key, dataset));
        let mut run = Run::new(cell, dataset, spec, checkpoint)?;
        if !run.epochs().is_empty() {
            tell(Step::Resumed(run.epochs().len()));
        }
        let mut saved = Instant::now();
        loop {
            run.epoch(&mut |share| tell(Step::Advanced(share)))?;
            run.epochs().last().into_iter().for_each(|epoch| tell(Step::Epoch(epoch)));
            if !run.goes_on() {
                return run.finish(&self.code).map(Some);
            }
            let stop = stop();
            if stop || saved.elapsed() >= self.runs.checkpoint_every() {
                claim.save(&run.checkpoint()?, config)?;
                saved = Instant::now();
            }
            if stop {
                return Ok(None);
            }
        }
    }
}
