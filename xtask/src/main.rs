//! The command line of the harness: parses, calls one function, prints.

#![forbid(unsafe_code)]

mod accept;
mod bench;
mod bench_events;
mod committed;
mod compare;
mod data;
mod evaluate;
mod export;
mod interrupt;
mod launch;
mod plan;
mod print;
mod progress;
mod report;
mod reproduce;
mod status;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

use bpsta_datasets::Registry;
use clap::{Parser, Subcommand};

/// Reproduces the tables of arXiv 2110.08858 (spiking networks trained with BPSA and BPTA).
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the cells of one of the paper's tables and render it beside the paper's rows
    Reproduce(reproduce::ReproduceArgs),
    /// Run an ablation of your own: any grid over rules, the neuron's constants, T, framing, width, learning rate and seeds
    Run(reproduce::RunArgs),
    /// Accept finished runs and their table into results/, from the run store
    Accept(accept::AcceptArgs),
    /// Compare two sets of runs: exit code 0 same, 1 regressed, 2 not comparable
    Compare(compare::CompareArgs),
    /// Say what a run store holds: finished runs, runs under way, stopped, failed and refused ones
    Status(status::StatusArgs),
    /// Evaluate a finished run's weights once more: exit code 0 if accuracy and spikes equal its record, 1 if not
    Evaluate(evaluate::EvaluateArgs),
    /// Write a finished run's network for PyTorch
    Export(export::ExportArgs),
    /// Render one page of HTML over accepted results or a run store: tables, curves, limits, provenance
    Report(report::ReportArgs),
    /// Time the kernels, training steps and evaluations of the paper's networks, or event files
    Bench(bench::BenchArgs),
    /// List, fetch, import, verify, frame and look at data sets
    Data(data::DataArgs),
    /// Check the invariants of ARCHITECTURE.md that a command can check
    Tidy,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Reproduce(args) => reproduce::run(&args),
        Command::Run(args) => reproduce::run_file(&args),
        Command::Accept(args) => accept::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Compare(args) => Ok(compare::run(&args)),
        Command::Status(args) => status::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Export(args) => export::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Report(args) => report::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Bench(args) => bench::run(args).map(|()| ExitCode::SUCCESS),
        Command::Data(args) => data::run(args).map(|()| ExitCode::SUCCESS),
        Command::Tidy => tidy::run().map(|()| ExitCode::SUCCESS),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            print::note(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Reads the registry; where there is none, says where to run this.
fn registry(path: &Path) -> anyhow::Result<Registry> {
    anyhow::ensure!(
        path.exists(),
        "{} is not here: run this from the root of the repository",
        path.display()
    );
    Ok(Registry::load(path)?)
}

/// Sets the threads that everything is shared out over: of those that are given, or of all cores, what each of so many processes gets, which
/// is at least one, and together no more than there are.
fn use_threads(threads: Option<std::num::NonZeroUsize>, processes: usize) -> anyhow::Result<usize> {
    let all = threads.or_else(|| std::thread::available_parallelism().ok());
    let threads = (all.map_or(1, std::num::NonZeroUsize::get) / processes.max(1)).max(1);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    Ok(threads)
}
