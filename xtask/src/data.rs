//! `cargo xtask data`: what data sets are there, importing and checking them, and looking into single files.

mod frame;
mod inspect;
mod progress;
mod seen;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use anyhow::bail;
use bpsta_datasets::{DatasetError, DatasetId, Manifest, Patience, Registry, Store, synthetic, thousands};
use bpsta_harness::STAND_IN_SEED;
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};

use crate::print;

pub(crate) use frame::SplitBy;

/// Data sets: list, fetch, import, verify, frame, preview, stats; and single files: inspect, frame, preview.
#[derive(Debug, Args)]
pub(crate) struct DataArgs {
    /// The data folder
    #[arg(long, global = true, value_name = "DIR", env = "BPSTA_DATA", default_value = "data")]
    data: PathBuf,
    /// What the data sets officially are
    #[arg(long, global = true, value_name = "FILE", default_value = "datasets.toml")]
    registry: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show every data set, and what of it is in the data folder
    List,
    /// Fetch the published files of a data set into the data folder's downloads/
    Fetch {
        /// mnist, cifar10, nmnist, dvsgesture, dvscifar10, or one of your own in the registry
        dataset: DatasetId,
    },
    /// Check an official tree or its archives, or a part of them, and copy it into the data folder
    Import {
        /// mnist, cifar10, nmnist, dvsgesture, dvscifar10, or one of your own in the registry
        dataset: DatasetId,
        /// The tree, the folder right above it, an archive of it (.zip, .tar.gz, .tgz), or a folder with the published archives;
        /// what `fetch` has fetched if not given
        #[arg(long, value_name = "PATH")]
        from: Option<PathBuf>,
    },
    /// Hash every file of a data set (and of its stand-ins) and compare it with the manifest
    Verify {
        /// mnist, cifar10, nmnist, dvsgesture, dvscifar10, or one of your own in the registry
        dataset: DatasetId,
    },
    /// Frame a whole data set into its cache, or one file into an HDF5 file
    Frame(frame::FrameArgs),
    /// Generate a synthetic stand-in of one of the paper's data sets, in its official format
    StandIn {
        /// mnist, cifar10, nmnist, dvsgesture or dvscifar10
        dataset: DatasetId,
        /// Training samples
        #[arg(long, value_name = "N")]
        train: usize,
        /// Test samples
        #[arg(long, value_name = "N")]
        test: usize,
        /// Seed; the one that `reproduce` uses if not given
        #[arg(long, default_value_t = STAND_IN_SEED)]
        seed: u64,
    },
    /// Decode a file and show what it holds
    Inspect {
        /// The file: events (N-MNIST .bin, AEDAT 2.0, 3.1 and 4), IDX or CIFAR-10 binary, also with .gz
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Do not guess the format: nmnist-bin, aedat2, aedat3.1, aedat4, idx or cifar10-bin
        #[arg(long)]
        format: Option<String>,
    },
    /// Draw samples of a data set, or one file: a contact sheet, and of recordings an animation
    Preview(seen::PreviewArgs),
    /// Count events and pixels of a whole data set, by class: table, JSON, CSV and plots
    Stats(seen::StatsArgs),
}

/// Runs one of the `data` commands.
pub(crate) fn run(args: DataArgs) -> anyhow::Result<()> {
    let DataArgs { data, registry, command } = args;
    let open = || -> anyhow::Result<(Registry, Store)> {
        let registry = crate::registry(&registry)?;
        let store = Store::open(&data, &registry).with_progress(progress::show());
        Ok((registry, store))
    };
    match command {
        Command::List => {
            let (registry, store) = open()?;
            list(&registry, &store, &data)
        }
        Command::Fetch { dataset } => fetch(&open()?.1, dataset),
        Command::Import { dataset, from } => {
            let (registry, store) = open()?;
            import(&registry, &store, dataset, from.as_deref())
        }
        Command::Verify { dataset } => verify(&open()?.1, dataset),
        Command::Frame(args) if args.file.is_some() => frame::file(args),
        Command::Frame(args) => {
            let (registry, store) = open()?;
            frame::dataset(&registry, &store, &args)
        }
        Command::StandIn { dataset, train, test, seed } => stand_in(&open()?.1, dataset, train, test, seed),
        Command::Inspect { file, json, format } => inspect::run(&file, json, format.as_deref()),
        Command::Preview(args) => {
            let (registry, store) = open()?;
            seen::preview(&registry, &store, &args)
        }
        Command::Stats(args) => seen::stats(&open()?.1, &args),
    }
}

fn list(registry: &Registry, store: &Store, data: &Path) -> anyhow::Result<()> {
    let mut table =
        table(["data set", "title", "kind", "size", "classes", "official", "here", "training", "test"]);
    let (mut missing, mut unreadable) = (Vec::new(), Vec::new());
    for id in registry.ids() {
        let info = registry.get(id)?;
        let real = store.manifest(id);
        if matches!(real, Ok(None)) {
            missing.push(id.to_string());
        }
        // One that cannot be read keeps nobody from seeing the others.
        let before = unreadable.len();
        let mut found: Vec<Manifest> = Vec::new();
        let stand_ins = store.stand_ins(id).unwrap_or_else(|error| vec![Err(error)]);
        for part in real.transpose().into_iter().chain(stand_ins) {
            match part {
                Ok(manifest) => found.push(manifest),
                Err(error) => unreadable.push(error),
            }
        }
        let mut official = vec![
            id.to_string(),
            info.title.clone(),
            format!("{:?}", info.kind).to_lowercase(),
            format!("{}x{}x{}", info.channels, info.height, info.width),
            info.classes.len().to_string(),
            info.samples.map_or_else(
                || "not said".to_owned(),
                |official| format!("{} + {}", thousands(official.train), thousands(official.test)),
            ),
        ];
        let mut rows: Vec<[String; 3]> = Vec::new();
        if unreadable.len() > before {
            rows.push(["unreadable", "", ""].map(str::to_owned));
        } else if found.is_empty() {
            rows.push(["no", "", ""].map(str::to_owned));
        }
        rows.extend(found.iter().map(|manifest| {
            let what = match (manifest.synthetic, manifest.subset, manifest.seed) {
                (true, _, Some(seed)) => format!("synthetic stand-in, seed {seed}"),
                (true, _, None) => "synthetic stand-in".to_owned(),
                (false, Some(_), _) => "subset".to_owned(),
                (false, None, _) => "complete".to_owned(),
            };
            [what, thousands(manifest.samples.train), thousands(manifest.samples.test)]
        }));
        for here in rows {
            let mut row = std::mem::replace(&mut official, vec![String::new(); 6]);
            row.extend(here);
            table.add_row(row);
        }
    }
    print::line(&table)?;
    if !missing.is_empty() {
        print::line(format_args!("not in {}: {}", data.display(), missing.join(", ")))?;
        print::line(
            "cargo xtask data fetch DATA-SET gets the published files, and data import DATA-SET brings them in; a tree or an archive \
             that is somewhere else comes in with --from PATH",
        )?;
    }
    for error in &unreadable {
        print::line(format_args!("unreadable: {error}"))?;
    }
    if !unreadable.is_empty() {
        bail!("{} cannot be read", print::counted(unreadable.len(), "manifest"));
    }
    Ok(())
}

fn fetch(store: &Store, dataset: DatasetId) -> anyhow::Result<()> {
    for file in store.fetch(dataset, Patience::default())? {
        let from = file.from.map_or_else(|| "was there".to_owned(), |url| format!("from {url}"));
        print::line(format_args!("{}: {} bytes, {from}", file.path.display(), file.bytes))?;
    }
    print::line("all whole: their checksums are the official ones")?;
    Ok(())
}

fn import(registry: &Registry, store: &Store, dataset: DatasetId, from: Option<&Path>) -> anyhow::Result<()> {
    let downloads = store.downloads(dataset);
    if from.is_none() && registry.get(dataset)?.files.is_empty() {
        return Err(DatasetError::NothingPublished { dataset }.into());
    }
    let from = from.unwrap_or(&downloads);
    if from == downloads && !downloads.is_dir() {
        bail!(
            "{} is not there: fetch the published files with `cargo xtask data fetch {dataset}`, or say where they are with --from",
            downloads.display()
        );
    }
    let manifest = store.import(dataset, from)?;
    print::line(manifest.describe())?;
    for gap in &manifest.missing {
        print::line(format_args!("missing: {gap}"))?;
    }
    print::line(format_args!(
        "{} files in {}",
        thousands(manifest.files.len()),
        store.folder(&manifest).display()
    ))?;
    print::line(format_args!("manifest {}", manifest.hash()))?;
    Ok(())
}

fn stand_in(store: &Store, dataset: DatasetId, train: usize, test: usize, seed: u64) -> anyhow::Result<()> {
    let manifest = store.synthetic(dataset, &synthetic::Size { train, test }, seed)?;
    print::line(manifest.describe())?;
    print::line(store.folder(&manifest).display())?;
    Ok(())
}

fn verify(store: &Store, dataset: DatasetId) -> anyhow::Result<()> {
    let mut found = store.stand_ins(dataset)?;
    found.extend(store.manifest(dataset).transpose());
    if found.is_empty() {
        bail!(
            "{dataset} is not in the data folder: import it with `cargo xtask data import {dataset} --from FOLDER`"
        );
    }
    let (mut problems, mut unreadable) = (0, 0);
    for manifest in found {
        let manifest = match manifest {
            Ok(manifest) => manifest,
            // One that cannot be read keeps nobody from verifying the others.
            Err(error) => {
                print::line(format_args!("unreadable: {error}"))?;
                unreadable += 1;
                continue;
            }
        };
        let outcome = store.verify(&manifest)?;
        let (files, bytes) = (thousands(outcome.files), outcome.bytes);
        print::line(format_args!("{}: {files} files, {bytes} bytes", manifest.describe()))?;
        for problem in &outcome.problems {
            print::line(format_args!("  {problem}"))?;
        }
        if !outcome.problems.is_empty() {
            print::line(format_args!(
                "  remove {} and import (or generate) it again",
                store.folder(&manifest).display()
            ))?;
        }
        problems += outcome.problems.len();
    }
    if problems > 0 {
        bail!("{dataset} differs from its manifest in {}", print::counted(problems, "place"));
    }
    if unreadable > 0 {
        bail!("{} cannot be read", print::counted(unreadable, "manifest"));
    }
    print::line("all as imported")?;
    Ok(())
}

fn or_none(value: Option<impl Display>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

fn table<T: Into<comfy_table::Row>>(header: T) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    table
}
