//! `cargo xtask tidy`: the invariants of ARCHITECTURE.md that a command can check.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use bpsta_harness::Experiment;

/// What a crate must not know: `(crate, dependency that must not be under it)`.
const MUST_NOT_KNOW: [(&str, &str); 10] = [
    ("bpsta-events", "candle-core"),
    ("bpsta-events", "bpsta-datasets"),
    ("bpsta-events", "bpsta-spiking"),
    ("bpsta-events", "polars"),
    ("bpsta-datasets", "candle-core"),
    ("bpsta-datasets", "bpsta-spiking"),
    ("bpsta-datasets", "polars"),
    ("bpsta-spiking", "bpsta-events"),
    ("bpsta-spiking", "bpsta-datasets"),
    ("bpsta-spiking", "polars"),
];

/// What is said of the paper by committed runs.
const FINDINGS: &str = "FINDINGS.md";

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
    for entry in std::fs::read_dir("experiments").context("experiments/")? {
        Experiment::load_file(&entry?.path())?;
    }
    let named = run_ids_of(&std::fs::read_to_string(FINDINGS).context(FINDINGS)?);
    let committed = committed()?;
    if let Some(run_id) = named.iter().find(|run_id| !committed.contains(*run_id)) {
        bail!("{FINDINGS} names run {run_id}, of which there is no record under results/");
    }
    let rules = MUST_NOT_KNOW.len();
    crate::print::line(format_args!(
        "tidy: {rules} dependency rules, the registry and the experiments hold; {FINDINGS} names {} runs, all committed",
        named.len()
    ))?;
    Ok(())
}

/// The words of 16 hexadecimal digits.
fn run_ids_of(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let is_run_id = |word: &&str| {
        word.len() == 16 && word.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    };
    words.filter(is_run_id).map(str::to_owned).collect()
}

/// The ids of all runs in `results/ARTEFACT/PROFILE/records`.
fn committed() -> anyhow::Result<BTreeSet<String>> {
    let inside = |folders: Vec<PathBuf>| -> anyhow::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
                found.push(entry?.path());
            }
        }
        Ok(found)
    };
    let profiles = inside(inside(vec![PathBuf::from("results")])?)?;
    let files = inside(profiles.iter().map(|profile| profile.join("records")).collect())?;
    let stems = files.iter().filter_map(|file| file.file_stem()?.to_str());
    Ok(stems.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::run_ids_of;

    #[test]
    fn a_run_id_is_a_word_of_sixteen_digits() {
        let text = "`0123456789abcdef`, [b](x/fedcba9876543210.json) 0123456789abcde 0123456789abcdeg 0123456789ABCDEF";
        let found: Vec<String> = run_ids_of(text).into_iter().collect();
        assert_eq!(found, ["0123456789abcdef", "fedcba9876543210"]);
    }
}
