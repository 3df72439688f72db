//! `cargo xtask accept`: from the run store to the committed results.

use std::path::Path;

use bpsta_harness::{RunStore, accept};
use clap::Args;

use crate::print;
use crate::reproduce::{ArtefactArgs, CellArgs, Passing};

/// What tells other programs how it went.
const EXIT_CODES: &str = "\
Exit codes:
  0  accepted (of `all`: every artefact that has finished runs)
  1  nothing was there to accept, or an error
  2  the command line is not understood";

/// The table to accept, with the finished runs that it shows: the same options as `reproduce`.
#[derive(Debug, Args)]
#[command(
    after_help = EXIT_CODES,
    mut_arg("results", |results| results.help("The run store, from which runs are accepted into results/ [default: runs]")),
    mut_arg("artefact", |artefact| artefact.help("The artefact of the paper: a file of experiments/, or all of them [default: table2]"))
)]
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
