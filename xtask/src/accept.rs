//! `cargo xtask accept`: from the run store to the committed results.

use std::path::Path;

use bpsta_harness::{RunStore, accept};
use clap::Args;

use crate::print;
use crate::reproduce::{ArtefactArgs, CellArgs};

/// The table to promote, with the finished runs that it shows: the same options as `reproduce`.
#[derive(Debug, Args)]
pub(crate) struct AcceptArgs {
    #[command(flatten)]
    artefact: ArtefactArgs,
    #[command(flatten)]
    cells: CellArgs,
}

/// Runs the command.
pub(crate) fn run(args: &AcceptArgs) -> anyhow::Result<()> {
    for file in args.artefact.files() {
        let (plan, _) = args.cells.plan(&file)?;
        let (folder, count) = accept(&plan, &RunStore::new(args.cells.runs()), Path::new("results"))?;
        let runs = print::counted(count, "run");
        print::line(format_args!("{runs} with the table over them: {}", folder.display()))?;
    }
    Ok(())
}
