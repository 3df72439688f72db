//! `cargo xtask accept`: from the run store to the committed results.

#![allow(clippy::print_stdout, reason = "this is where the command line prints")]

use std::path::Path;

use bpsta_harness::{RunStore, accept};
use clap::Args;

use crate::reproduce::CellArgs;

/// The cells to promote: the same options as `reproduce`.
#[derive(Debug, Args)]
pub(crate) struct AcceptArgs {
    #[command(flatten)]
    cells: CellArgs,
}

/// Runs the command.
pub(crate) fn run(args: &AcceptArgs) -> anyhow::Result<()> {
    let (plan, _) = args.cells.plan()?;
    let (folder, count) = accept(&plan, &RunStore::new(&args.cells.results), Path::new("results"))?;
    println!("{count} of {} runs and their table: {}", plan.cells.len(), folder.display());
    Ok(())
}
