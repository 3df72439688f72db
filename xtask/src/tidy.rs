//! `cargo xtask tidy`: the invariants of ARCHITECTURE.md that a command can check.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use bpsta_harness::Experiment;

/// What a crate must not know: `(crate, dependency that must not be under it)`.
const MUST_NOT_KNOW: [(&str, &str); 8] = [
    ("bpsta-events", "candle-core"),
    ("bpsta-events", "bpsta-datasets"),
    ("bpsta-datasets", "candle-core"),
    ("bpsta-datasets", "bpsta-spiking"),
    ("bpsta-datasets", "polars"),
    ("bpsta-spiking", "bpsta-events"),
    ("bpsta-spiking", "bpsta-datasets"),
    ("bpsta-spiking", "polars"),
];

/// Runs the command.
pub(crate) fn run() -> anyhow::Result<()> {
    crate::registry(Path::new("datasets.toml"))?;
    for (name, forbidden) in MUST_NOT_KNOW {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let tree = Command::new(cargo)
            .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--package", name])
            .output()
            .context("cargo tree cannot be run")?;
        if !tree.status.success() {
            bail!("cargo tree --package {name}: {}", String::from_utf8_lossy(&tree.stderr).trim());
        }
        let tree = String::from_utf8_lossy(&tree.stdout);
        if tree.lines().any(|line| line.split(' ').next() == Some(forbidden)) {
            bail!("{name} depends on {forbidden}: see ARCHITECTURE.md for what each crate must not know");
        }
    }
    for artefact in ["table1", "table2"] {
        Experiment::load(Path::new("experiments"), artefact)?;
    }
    let rules = MUST_NOT_KNOW.len();
    crate::print::line(format_args!(
        "tidy: {rules} dependency rules, the registry and the experiments hold"
    ))?;
    Ok(())
}
