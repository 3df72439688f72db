//! `cargo xtask reproduce --check`: do the committed tables follow from the committed records?

use std::path::Path;

use bpsta_harness::check_tables;

use crate::print;

/// Checks the tables in `results` of an artefact, or of all; with `write`, renders anew what differs.
pub(crate) fn check(results: &Path, artefact: Option<&str>, write: bool) -> anyhow::Result<()> {
    let checked = check_tables(results, Path::new("experiments"), artefact, write)?;
    for drift in &checked.drift {
        let written = if drift.written { ": written anew" } else { "" };
        print::line(format_args!("{}: {}{written}", drift.path.display(), drift.why))?;
    }
    let drifted = checked.drift.iter().filter(|drift| !drift.written).count();
    anyhow::ensure!(
        drifted == 0,
        "{} to put right: restore the records and the maps beside them, or render the tables from them with `cargo xtask reproduce --check --write`",
        print::counted(drifted, "place")
    );
    let folders: Vec<String> = checked.folders.iter().map(|folder| folder.display().to_string()).collect();
    print::line(format_args!("tables follow from their records: {}", folders.join(", ")))?;
    Ok(())
}
