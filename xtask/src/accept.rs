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

/// The cells whose finished runs are accepted, by the same options as `reproduce`; the table is rendered over all that is accepted.
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
    let plan = args.cells.plan_of_data_there(file)?;
    for absent in &plan.absent {
        let what = if absent.stand_in { "stand-in is" } else { "official files are" };
        print::note(format_args!(
            "note: {}: its {what} not there, and no run on it is accepted: {}",
            absent.dataset,
            absent.remedy()
        ));
    }
    let accepted = accept(&plan, &RunStore::new(args.cells.runs()), Path::new("results"))?;
    let runs = print::counted(accepted.runs, "run");
    print::line(format_args!("{runs} with the table: {}", accepted.folder.display()))?;
    for (count, what) in [
        (accepted.kept, "there before with the same values, and left as they were"),
        (
            accepted.replaced,
            "there before with other values, which their device or engine allows, and replaced",
        ),
    ] {
        if count > 0 {
            print::line(format_args!("of them {what}: {count}"))?;
        }
    }
    for gone in &accepted.gone {
        print::line(format_args!(
            "removed from there, for git keeps it: {} ({}), the same configuration by code version {}",
            gone.name(),
            gone.run_id(),
            gone.code_version
        ))?;
    }
    Ok(())
}
