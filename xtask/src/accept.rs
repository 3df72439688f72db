//! `cargo xtask accept`: from the run store to the committed results.

use std::path::Path;

use bpsta_harness::{RunStore, accept};
use clap::Args;

use crate::print;
use crate::reproduce::{ArtefactArgs, CellArgs, Passing};

/// The table to promote, with the finished runs that it shows: the same options as `reproduce`.
#[derive(Debug, Args)]
pub(crate) struct AcceptArgs {
    #[command(flatten)]
    artefact: ArtefactArgs,
    #[command(flatten)]
    cells: CellArgs,
}

/// Runs the command. Of all artefacts, those that have finished runs are accepted; it fails where none has.
pub(crate) fn run(args: &AcceptArgs) -> anyhow::Result<()> {
    let files = args.artefact.files();
    let mut passing = Passing::over(files.len());
    files.iter().try_for_each(|file| passing.pass(one(args, file)).map(drop))
}

fn one(args: &AcceptArgs, file: &Path) -> anyhow::Result<()> {
    let (plan, _) = args.cells.plan(file)?;
    let accepted = accept(&plan, &RunStore::new(args.cells.runs()), Path::new("results"))?;
    let runs = print::counted(accepted.runs, "run");
    print::line(format_args!("{runs} with the table over them: {}", accepted.folder.display()))?;
    if accepted.gone > 0 {
        let gone = print::counted(accepted.gone, "run");
        print::line(format_args!(
            "{gone} of the same configurations by another code version went from there: git keeps them"
        ))?;
    }
    Ok(())
}
