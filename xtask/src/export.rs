//! `cargo xtask export`: a finished run's network for other programs.

use std::path::PathBuf;

use bpsta_harness::{RunStore, Weights, export_torch, nir_refusal};
use clap::{Args, ValueEnum};

use crate::print;

/// How PyTorch reads it.
const TORCH: &str = "\
torch: safetensors by the names of a torch.nn.Sequential with a module for each layer. The metadata have the layers, the cells and the run:

    from safetensors import safe_open
    with safe_open(FILE, \"pt\") as f:
        state = {name: f.get_tensor(name) for name in f.keys()}
        note = json.loads(f.metadata()[\"bpsta\"])[\"note\"]     # modules, input, neuron, time_steps, rule, run_id, data

benches/peers/load_export.py builds the network from these and runs it.

nir: refused. The Neuromorphic Intermediate Representation (1.0) has no rectifier, and every network of the paper has one in front of
its cells; a graph without it would be another network.";

/// The run, the form, and the file.
#[derive(Debug, Args)]
#[command(after_help = TORCH)]
pub(crate) struct ExportArgs {
    /// The run, by its id or enough of its first digits
    #[arg(value_name = "RUN")]
    run: String,
    /// What it is written for
    #[arg(long)]
    to: Form,
    /// The run store
    #[arg(long, value_name = "DIR", default_value = "runs")]
    results: PathBuf,
    /// The file to write; replaced if it is there
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    /// PyTorch: safetensors
    Torch,
    /// The Neuromorphic Intermediate Representation, which has no nodes for these networks: refused, with the layers
    Nir,
}

/// Runs the command.
pub(crate) fn run(args: &ExportArgs) -> anyhow::Result<()> {
    let weights = Weights::of_run(&RunStore::new(&args.results), &args.run)?;
    match args.to {
        Form::Torch => export_torch(&weights, &args.output)?,
        Form::Nir => return Err(nir_refusal(&weights).into()),
    }
    let record = &weights.record;
    print::line(format_args!(
        "{}: {}, {} of {}, {}",
        args.output.display(),
        record.config.name(),
        record.layers,
        record.network,
        print::counted(record.parameters, "parameter")
    ))?;
    Ok(())
}
