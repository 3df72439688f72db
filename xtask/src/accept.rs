//! `cargo xtask accept`: from the run store to the committed results.

use std::path::Path;

use bpsta_harness::{RunStore, accept};
use clap::Args;

use crate::print;
use crate::reproduce::{ArtefactArgs, CellArgs, is_empty};

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
    let mut left_out = 0;
    for file in &files {
        match one(args, file) {
            Err(error) if left_out + 1 < files.len() && is_empty(&error) => {
                print::note(&error);
                left_out += 1;
            }
            accepted => accepted?,
        }
    }
    Ok(())
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
