//! `cargo xtask report`: one page over accepted results, or over a run store.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use bpsta_harness::report;
use clap::Args;

use crate::print;

/// From where, and where to.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Accepted results (ARTEFACT/PROFILE/records) or a run store such as runs (RUN_ID/record.json)
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
    /// The page to write; replaced if it is there
    #[arg(long, value_name = "FILE.html", default_value = "report.html")]
    output: PathBuf,
    /// Write each table there too, as Markdown, CSV and LaTeX (booktabs): ARTEFACT-PROFILE-DATASET-N.md, .csv, .tex
    #[arg(long, value_name = "DIR")]
    tables: Option<PathBuf>,
    /// Show it in the browser
    #[arg(long)]
    open: bool,
}

/// What shows a file in the browser.
const OPENER: &str = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };

/// Runs the command.
pub(crate) fn run(args: &ReportArgs) -> anyhow::Result<()> {
    let report = report(&args.results, "experiments".as_ref())?;
    std::fs::write(&args.output, &report.html)
        .with_context(|| format!("{} cannot be written", args.output.display()))?;
    print::line(report.about)?;
    let runs = print::counted(report.runs, "run");
    let left_out = match report.left_out {
        0 => String::new(),
        count => format!(", {} named but not shown", print::counted(count, "run")),
    };
    print::line(format_args!(
        "{runs} of {}{left_out}: {}",
        print::counted(report.chapters, "table"),
        args.output.display()
    ))?;
    if let Some(folder) = &args.tables {
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        for file in &report.tables {
            let path = folder.join(&file.name);
            std::fs::write(&path, &file.text)
                .with_context(|| format!("{} cannot be written", path.display()))?;
        }
        print::line(format_args!("{}: {}", print::counted(report.tables.len(), "file"), folder.display()))?;
    }
    if args.open {
        let shown = Command::new(OPENER).arg(&args.output).status();
        let shown = shown.with_context(|| format!("{OPENER} cannot be started: open the page by hand"))?;
        anyhow::ensure!(shown.success(), "{OPENER} failed: open the page by hand");
    }
    Ok(())
}
