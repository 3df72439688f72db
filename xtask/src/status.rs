//! `cargo xtask status`: what the run store holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bpsta_harness::{RunState, RunStore, StoredRun};
use clap::Args;

use crate::print;

/// Of which store, and how.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The run store
    #[arg(long, value_name = "DIR", default_value = "runs")]
    results: PathBuf,
    /// Print a JSON list, a run an entry
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &StatusArgs) -> anyhow::Result<()> {
    let runs = RunStore::new(&args.results).runs(Path::new("experiments"))?;
    if args.json {
        print::line(serde_json::to_string_pretty(&runs)?)?;
        return Ok(());
    }
    let of = |state: RunState| runs.iter().filter(move |run| run.state == state);
    let bytes: u64 = runs.iter().map(|run| run.bytes).sum();
    if runs.is_empty() {
        print::line(format_args!("{}: no runs", args.results.display()))?;
        return Ok(());
    }
    print::line(format_args!(
        "{}: {}, {}",
        args.results.display(),
        print::counted(runs.len(), "run"),
        print::bytes(bytes)
    ))?;
    for state in [RunState::UnderWay, RunState::Stopped, RunState::Failed, RunState::Refused] {
        for (at, run) in of(state).enumerate() {
            if at == 0 {
                print::line(format_args!("\n{state}: {}", of(state).count()))?;
            }
            let why = run.why.as_ref().map_or_else(String::new, |why| format!("; {why}"));
            let progress = run.progress();
            print::line(format_args!(
                "  {}  {}: {progress}, {}{}{why}",
                run.run_id,
                run.name(),
                print::bytes(run.bytes),
                of_artefacts(run)
            ))?;
        }
    }
    // Finished runs can be many: a line for those of one profile and data set.
    let mut finished: BTreeMap<String, Vec<&StoredRun>> = BTreeMap::new();
    for run in of(RunState::Finished) {
        let Some(config) = &run.config else { continue };
        let data = if config.synthetic { " (synthetic stand-in)" } else { "" };
        let key = format!("{}, profile {}{data}{}", config.dataset, config.profile, of_artefacts(run));
        finished.entry(key).or_default().push(run);
    }
    if !finished.is_empty() {
        print::line(format_args!("\nfinished: {}", of(RunState::Finished).count()))?;
    }
    for (key, runs) in finished {
        let bytes = runs.iter().map(|run| run.bytes).sum();
        print::line(format_args!("  {key}: {}, {}", print::counted(runs.len(), "run"), print::bytes(bytes)))?;
    }
    Ok(())
}

fn of_artefacts(run: &StoredRun) -> String {
    match (&run.config, run.artefacts.is_empty()) {
        (None, _) => String::new(),
        (Some(_), true) => ", of no experiment here".to_owned(),
        (Some(_), false) => format!(", of {}", run.artefacts.join(", ")),
    }
}
