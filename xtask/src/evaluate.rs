//! `cargo xtask evaluate`: weights of a finished run on its test split once more, and an exit code.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bpsta_datasets::Store;
use bpsta_harness::{DeviceKind, EngineKind, Evaluated, RunStore, Weights, evaluate_weights};
use clap::{ArgGroup, Args};

use crate::print;

/// The exit codes.
const EXIT_CODES: &str = "\
Accuracy, firing rates, spikes, votes by time step and operations must equal the run's record bit for bit on the engine it was run on,
whatever the number of threads (engine `reference`: on one CPU model). Another engine sums in another order, and may differ in the last
digits.

Exit codes:
  0  all of it equals the record
  1  something differs, or the weights cannot be evaluated";

/// Which weights, on what.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, group = ArgGroup::new("which").required(true).multiple(true))]
pub(crate) struct EvaluateArgs {
    /// The weights: a run's final.safetensors, beside its record.json; with --run, a file from anywhere
    #[arg(long, value_name = "FILE", group = "which")]
    weights: Option<PathBuf>,
    /// The run of the run store, by its id or enough of its first digits
    #[arg(long, value_name = "RUN_ID", group = "which")]
    run: Option<String>,
    /// The run store
    #[arg(long, value_name = "DIR", default_value = "runs")]
    results: PathBuf,
    /// The data folder
    #[arg(long, value_name = "DIR", env = "BPSTA_DATA", default_value = "data")]
    data: PathBuf,
    /// cpu or cuda:N; the run's if not given
    #[arg(long)]
    device: Option<DeviceKind>,
    /// cpu or reference; the run's if not given
    #[arg(long)]
    engine: Option<EngineKind>,
    /// Threads. All cores if not given
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

/// Runs the command.
pub(crate) fn run(args: &EvaluateArgs) -> anyhow::Result<ExitCode> {
    let runs = RunStore::new(&args.results);
    let weights = match (&args.weights, &args.run) {
        (Some(file), run) => Weights::of_file(file, &runs, run.as_deref())?,
        (None, run) => Weights::of_run(&runs, run.as_deref().unwrap_or_default())?,
    };
    let threads = crate::use_threads(args.threads, 1)?;
    let registry = crate::registry(Path::new("datasets.toml"))?;
    let data = Store::open(&args.data, &registry);
    let evaluated = evaluate_weights(&weights, &data, &args.data, args.device, args.engine)?;
    show(&weights, &evaluated, threads)?;
    Ok(if evaluated.mismatches.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(weights: &Weights, evaluated: &Evaluated, threads: usize) -> std::io::Result<()> {
    let record = &weights.record;
    print::line(format_args!(
        "run       {}: {}, profile {}",
        record.run_id,
        record.config.name(),
        record.profile
    ))?;
    print::line(format_args!(
        "data      {}, test split of {}",
        record.data,
        print::counted(evaluated.samples, "sample")
    ))?;
    print::line(format_args!("network   {}, width {}: {}", record.network, record.width, record.layers))?;
    let simd = evaluated.simd.as_ref().map_or_else(String::new, |simd| format!(" ({simd})"));
    print::line(format_args!("engine    {}{simd}, {}", evaluated.engine, print::counted(threads, "thread")))?;
    print::line(format_args!("accuracy  {:.2} % after the last epoch", evaluated.accuracy))?;
    let anytime: Vec<String> = evaluated.anytime.iter().map(|percent| format!("{percent:.2}")).collect();
    print::line(format_args!("anytime   {} % voting after each time step", anytime.join(", ")))?;
    print::line(format_args!(
        "spikes    {:.1} a sample, firing rate {:.4}",
        evaluated.spikes_per_sample, evaluated.firing_rate
    ))?;
    for layer in &evaluated.layers {
        print::line(format_args!(
            "          layer {}: {} cells, {:.1} spikes a sample, firing rate {:.4}",
            layer.layer, layer.cells, layer.spikes_per_sample, layer.firing_rate
        ))?;
    }
    for latency in &evaluated.latency {
        print::line(format_args!(
            "latency   batches of {}: median {:.3}, p95 {:.3} ms a sample, over {} batches, without reading the data",
            latency.batch_size, latency.ms.p50, latency.ms.p95, latency.batches
        ))?;
    }
    if evaluated.mismatches.is_empty() {
        return print::line("record    the same bits: accuracy, spikes and parameters");
    }
    print::line("record    differs:")?;
    for of in &evaluated.mismatches {
        print::line(format_args!(
            "          {}: the record has {}, here it is {}",
            of.key, of.record, of.found
        ))?;
    }
    Ok(())
}
