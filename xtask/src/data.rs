//! `cargo xtask data`: what data sets are there, importing and checking them, and looking into single files.

mod seen;

use std::collections::HashMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, bail};
use bpsta_datasets::{
    DatasetId, DatasetInfo, ImageSummary, Inspection, Manifest, Patience, Progress, Registry, Store,
    frame_file, inspect, thousands,
};
use bpsta_events::{Format, Framing, Summary};
use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{Table, presets};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::print;

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
        /// The tree, the folder right above it, an archive of it (.zip, .tar.gz), or a folder with the published archives;
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
    Frame(FrameArgs),
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

#[derive(Debug, Args)]
struct FrameArgs {
    /// The data set to build the cache of
    #[arg(required_unless_present = "file", conflicts_with_all = ["file", "output"])]
    dataset: Option<DatasetId>,
    /// The file to frame, also with .gz
    #[arg(long, requires = "output", requires = "time_steps")]
    file: Option<PathBuf>,
    /// Number of frames; for a data set, the registry's if not given
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u16).range(1..=1024))]
    time_steps: Option<u16>,
    /// Equal numbers of events, or equal times; for a data set, the registry's if not given
    #[arg(long, value_enum)]
    split: Option<SplitBy>,
    /// Where to write the frames of a file: dataset `frames`, u16 [T, 2, H, W]
    #[arg(long, value_name = "FILE.h5")]
    output: Option<PathBuf>,
    /// The file's format, if it is not to be guessed: nmnist-bin, aedat2, aedat3.1 or aedat4
    #[arg(long, requires = "file")]
    format: Option<Format>,
    /// Replace the output if it is there
    #[arg(long, requires = "file")]
    force: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum SplitBy {
    Number,
    Time,
}

impl SplitBy {
    pub(crate) fn framing(self, frames: usize) -> Framing {
        match self {
            SplitBy::Number => Framing::ByNumber { frames },
            SplitBy::Time => Framing::ByTime { frames },
        }
    }
}

/// Runs one of the `data` commands.
pub(crate) fn run(args: DataArgs) -> anyhow::Result<()> {
    let DataArgs { data, registry, command } = args;
    let open = || -> anyhow::Result<(Registry, Store)> {
        let registry = crate::registry(&registry)?;
        let store = Store::open(&data, &registry).with_progress(show());
        Ok((registry, store))
    };
    match command {
        Command::List => {
            let (registry, store) = open()?;
            list(&registry, &store, &data)
        }
        Command::Fetch { dataset } => fetch(&open()?.1, dataset),
        Command::Import { dataset, from } => import(&open()?.1, dataset, from.as_deref()),
        Command::Verify { dataset } => verify(&open()?.1, dataset),
        Command::Frame(FrameArgs {
            file: Some(file),
            output: Some(output),
            time_steps,
            split,
            format,
            force,
            ..
        }) => {
            // The parser has made sure that --time-steps stands beside --file.
            let framing = split.unwrap_or(SplitBy::Number).framing(time_steps.unwrap_or_default().into());
            let frames = frame_file(&file, format, framing, &output, force)?;
            let shape = [frames.time_steps, 2, frames.height, frames.width];
            print::line(format_args!("{}: frames {shape:?}, u16, framed by {framing}", output.display()))?;
            Ok(())
        }
        Command::Frame(FrameArgs { dataset, time_steps, split, .. }) => {
            let (registry, store) = open()?;
            let dataset = dataset.context("name a data set, or a file with --file")?;
            frame(registry.get(dataset)?, &store, dataset, time_steps, split)
        }
        Command::Inspect { file, json, format } => show_file(&file, json, format.as_deref()),
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
    let mut missing = Vec::new();
    for id in registry.ids() {
        let info = registry.get(id)?;
        let real = store.manifest(id)?;
        let found: Vec<Manifest> = real.into_iter().chain(store.stand_ins(id)?).collect();
        if found.iter().all(|manifest| manifest.synthetic) {
            missing.push(id.to_string());
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
        if found.is_empty() {
            official.extend(["no", "", ""].map(str::to_owned));
            table.add_row(official);
            continue;
        }
        for manifest in found {
            let what = match (manifest.synthetic, manifest.subset, manifest.seed) {
                (true, _, Some(seed)) => format!("synthetic stand-in, seed {seed}"),
                (true, _, None) => "synthetic stand-in".to_owned(),
                (false, Some(_), _) => "subset".to_owned(),
                (false, None, _) => "complete".to_owned(),
            };
            let mut row = std::mem::replace(&mut official, vec![String::new(); 6]);
            row.extend([what, thousands(manifest.samples.train), thousands(manifest.samples.test)]);
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

fn import(store: &Store, dataset: DatasetId, from: Option<&Path>) -> anyhow::Result<()> {
    let downloads = store.downloads(dataset);
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

fn verify(store: &Store, dataset: DatasetId) -> anyhow::Result<()> {
    let mut manifests = store.stand_ins(dataset)?;
    manifests.extend(store.manifest(dataset)?);
    if manifests.is_empty() {
        bail!(
            "{dataset} is not in the data folder: import it with `cargo xtask data import {dataset} --from FOLDER`"
        );
    }
    let mut problems = 0;
    for manifest in manifests {
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
    print::line("all as imported")?;
    Ok(())
}

fn frame(
    info: &DatasetInfo,
    store: &Store,
    dataset: DatasetId,
    time_steps: Option<u16>,
    split: Option<SplitBy>,
) -> anyhow::Result<()> {
    let Some(default) = info.framing else {
        bail!("{dataset} holds images, not events: there is nothing to frame");
    };
    let (Framing::ByNumber { frames } | Framing::ByTime { frames }) = default else {
        bail!(
            "the registry's framing {default} gives no fixed number of frames: give --time-steps and --split"
        );
    };
    let by = match (split, default) {
        (Some(split), _) => split,
        (None, Framing::ByTime { .. }) => SplitBy::Time,
        (None, _) => SplitBy::Number,
    };
    let framing = by.framing(time_steps.map_or(frames, usize::from));
    let Some(manifest) = store.manifest(dataset)? else {
        bail!(
            "{dataset} is not in the data folder: import it with `cargo xtask data import {dataset} --from FOLDER`"
        );
    };
    // Samples stay in the cache: this command has no use for them.
    let data = store.clone().with_memory_limit(0).load(&manifest, Some(framing))?;
    print::line(format_args!(
        "{}: frames [{}, {}, {}, {}] by {framing}, {} training and {} test samples, in {}",
        manifest.describe(),
        data.time_steps,
        data.channels,
        data.height,
        data.width,
        thousands(data.train.len()),
        thousands(data.test.len()),
        store.folder(&manifest).join("frames").display()
    ))?;
    Ok(())
}

fn show_file(file: &Path, json: bool, format: Option<&str>) -> anyhow::Result<()> {
    let inspection = inspect(file, format)?;
    if json {
        print::line(serde_json::to_string_pretty(&inspection)?)?;
        return Ok(());
    }
    let mut table = table([file.display().to_string(), String::new()]);
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    match inspection {
        Inspection::Events(summary) => event_rows(&summary, &mut row),
        Inspection::Images(summary) => image_rows(&summary, &mut row),
        other => row("contents", format!("{other:?}")),
    }
    print::line(&table)?;
    Ok(())
}

fn event_rows(summary: &Summary, row: &mut dyn FnMut(&str, String)) {
    let range =
        |low: Option<u16>, high: Option<u16>| low.zip(high).map(|(low, high)| format!("{low} to {high}"));
    row("format", summary.format.to_string());
    row("sensor (width x height)", summary.sensor.to_string());
    row("events", thousands(summary.events));
    row("first timestamp (us)", or_none(summary.first_us));
    row("last timestamp (us)", or_none(summary.last_us));
    row("duration (us)", or_none(summary.duration_us));
    row("x", or_none(range(summary.x_min, summary.x_max)));
    row("y", or_none(range(summary.y_min, summary.y_max)));
    row("ON events", thousands(summary.on));
    row("OFF events", thousands(summary.off));
    let notes = [
        ("timestamp overflow markers (y = 240), kept as events", summary.notes.overflow_markers),
        ("timestamps step back, kept in file order", summary.notes.steps_back),
        ("events off the sensor, kept", summary.notes.off_sensor),
        ("address bits set beyond the sensor's, ignored", summary.notes.high_address_bits),
        ("packets of other types or streams, skipped", summary.notes.skipped_packets),
        ("events marked invalid, kept", summary.notes.invalid_events),
    ];
    for (name, count) in notes.into_iter().filter(|(_, count)| *count > 0) {
        row(name, count.to_string());
    }
}

fn image_rows(summary: &ImageSummary, row: &mut dyn FnMut(&str, String)) {
    let range = |range: Option<[u8; 2]>| range.map(|[low, high]| format!("{low} to {high}"));
    row("format", summary.format.to_owned());
    row(if summary.image.is_some() { "images" } else { "labels" }, thousands(summary.count));
    row(
        "image (channels x height x width)",
        or_none(summary.image.map(|[c, h, w]| format!("{c} x {h} x {w}"))),
    );
    row("pixels", or_none(range(summary.pixels)));
    row("label range", or_none(range(summary.labels)));
}

fn or_none(value: Option<impl Display>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

fn table<T: Into<comfy_table::Row>>(header: T) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    table
}

/// A progress bar on the terminal, if there is one; notices go to standard error in any case.
fn show() -> impl Fn(Progress) + Send + Sync + 'static {
    let bars = MultiProgress::new();
    let bar = bars.add(ProgressBar::no_length());
    let downloads: Mutex<HashMap<String, ProgressBar>> = Mutex::default();
    // The templates are fixed, and a test of the command line would find a wrong one.
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} ({eta} left)") {
        bar.set_style(style);
    }
    let of_bytes =
        ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec} ({eta} left)");
    move |progress| match progress {
        Progress::Bytes { file, done, total } => {
            let Ok(mut downloads) = downloads.lock() else { return };
            let bar = downloads.entry(file.clone()).or_insert_with(|| {
                let bar = bars.add(ProgressBar::no_length());
                if let Ok(style) = &of_bytes {
                    bar.set_style(style.clone());
                }
                bar.set_message(file);
                // What an earlier run fetched says nothing about the rate.
                bar.set_position(done);
                bar.reset_eta();
                bar
            });
            if let Some(total) = total {
                bar.set_length(total);
            }
            bar.set_position(done);
            if total == Some(done) {
                bar.finish_and_clear();
            }
        }
        Progress::Step { stage, done, total } => {
            bar.set_length(total as u64);
            bar.set_message(stage.to_string());
            bar.set_position(done as u64);
            if done == total {
                bar.finish_and_clear();
            }
        }
        Progress::Notice(text) => bars.suspend(|| print::note(format_args!("note: {text}"))),
    }
}
