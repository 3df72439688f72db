//! `cargo xtask data preview` and `data stats`: seeing what a data set holds.

use std::path::{Path, PathBuf};

use bpsta_datasets::{
    Choice, DatasetId, Destination, EventFigures, Figures, ImageFigures, Pick, Preview, Registry,
    STATS_SUFFIXES, Spread, Store, Which, preview_file, thousands,
};
use clap::Args;
use comfy_table::{CellAlignment, Table};

use super::frame::FramingArgs;
use super::{or_none, table};
use crate::print;

#[derive(Debug, Args)]
pub(super) struct PreviewArgs {
    /// mnist, cifar10, nmnist, dvsgesture, dvscifar10, or one of your own in the registry; or a file: events, IDX images or CIFAR-10 binary, also with .gz
    #[arg(value_name = "DATASET|FILE")]
    of: String,
    #[command(flatten)]
    rule: FramingArgs,
    /// The one training sample at this place in sample order, from 0 (of a file of images: the image)
    #[arg(long, value_name = "N", conflicts_with = "samples")]
    sample: Option<usize>,
    /// So many samples of each class; 1 recording or 10 images if not given (of a file of images: so many images)
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(1..))]
    samples: Option<u16>,
    #[command(flatten)]
    stand_in: StandIn,
    /// The file's format, if it is not to be guessed: nmnist-bin, aedat2, aedat3.1, aedat4, idx or cifar10-bin
    #[arg(long)]
    format: Option<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
#[command(mut_arg("output", |output| output.help("Write STEM.json, STEM.csv and STEM.svg [default: seen/ beside the data set's files, replaced each time]")))]
pub(super) struct StatsArgs {
    /// mnist, cifar10, nmnist, dvsgesture, dvscifar10, or one of your own in the registry
    dataset: DatasetId,
    #[command(flatten)]
    stand_in: StandIn,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct StandIn {
    /// Use a synthetic stand-in instead: the one there is, or the one of this folder name
    #[arg(
        long = "stand-in",
        value_name = "NAME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ""
    )]
    name: Option<String>,
}

impl StandIn {
    pub(super) fn which(&self) -> Which {
        match self.name.as_deref() {
            None => Which::Real,
            Some("") => Which::StandIn,
            Some(name) => Which::Named(name.to_owned()),
        }
    }
}

#[derive(Debug, Args)]
struct Output {
    /// Write STEM.png, and of recordings STEM.gif [default: seen/ beside the data set's files, replaced each time; of a file, its name here]
    #[arg(long, value_name = "STEM")]
    output: Option<PathBuf>,
    /// Replace the output if it is there
    #[arg(long)]
    force: bool,
}

impl Output {
    fn or(&self, default: impl FnOnce() -> Destination) -> Destination {
        self.output.as_deref().map_or_else(default, |stem| Destination::named(stem, self.force))
    }
}

/// Runs `data preview`.
pub(super) fn preview(registry: &Registry, store: &Store, args: &PreviewArgs) -> anyhow::Result<()> {
    let pick = match (args.sample, args.samples) {
        (Some(place), _) => Some(Pick::One(place)),
        (None, Some(most)) => Some(Pick::PerClass(most.into())),
        (None, None) => None,
    };
    let known = args.of.parse().and_then(|id: DatasetId| Ok((id, registry.get(id)?)));
    let (preview, to) = match known {
        Ok((id, info)) => {
            anyhow::ensure!(args.format.is_none(), "--format is for files: {id} is a data set");
            let manifest = store.find(id, &args.stand_in.which())?;
            let choice = Choice { framing: args.rule.of(Some(info)), pick };
            (store.preview(&manifest, &choice)?, args.output.or(|| store.seen(&manifest, "preview")))
        }
        Err(no_data_set) => {
            let file = Path::new(&args.of);
            anyhow::ensure!(file.exists(), "{no_data_set}; nor is there such a file");
            anyhow::ensure!(
                args.stand_in.name.is_none(),
                "--stand-in is for data sets: {} is a file",
                args.of
            );
            let choice = Choice { framing: args.rule.of(None), pick };
            let preview = preview_file(file, args.format.as_deref(), registry, &choice)?;
            (preview, args.output.or(|| Destination::after(file, args.output.force)))
        }
    };
    let pictures = preview.save(&to)?;
    let Preview { title, detail, .. } = &preview;
    print::line(title)?;
    print::line(detail)?;
    match &pictures.pace {
        Some(pace) => print::line(format_args!("animation: {pace}"))?,
        None => print::line("no animation: these are still images")?,
    }
    for path in &pictures.paths {
        print::line(path.display())?;
    }
    Ok(())
}

/// Runs `data stats`.
pub(super) fn stats(store: &Store, args: &StatsArgs) -> anyhow::Result<()> {
    let manifest = store.find(args.dataset, &args.stand_in.which())?;
    let to = args.output.or(|| store.seen(&manifest, "stats"));
    to.check(&STATS_SUFFIXES)?;
    let stats = store.stats(&manifest)?;
    print::line(&stats.source.data)?;
    match &stats.figures {
        Figures::Events(figures) => {
            print::line(events(figures))?;
            print::line("q1, q3: quartiles; rate: mean over samples; ON: share of all events")?;
        }
        Figures::Images(figures) => {
            print::line(images(figures))?;
            print::line("mean and standard deviation of pixel / 255; still images have no rate")?;
        }
    }
    for path in stats.save(&to)? {
        print::line(path.display())?;
    }
    Ok(())
}

fn events(figures: &EventFigures) -> Table {
    let mut table = table([
        "class",
        "training",
        "test",
        "events/sample: min",
        "q1",
        "median",
        "mean",
        "q3",
        "max",
        "ms: median",
        "min to max",
        "ON",
        "events/s",
    ]);
    for group in figures.classes.iter().chain([&figures.all]) {
        let counts = [group.samples.train, group.samples.test].map(thousands);
        let mut row: Vec<String> = [vec![group.class.clone()], counts.to_vec()].concat();
        let whole = |spread: Option<Spread>, field: fn(&Spread) -> f64| {
            or_none(spread.as_ref().map(|spread| thousands(field(spread).round() as usize)))
        };
        let events: [fn(&Spread) -> f64; 6] =
            [|s| s.min, |s| s.q1, |s| s.median, |s| s.mean, |s| s.q3, |s| s.max];
        row.extend(events.map(|field| whole(group.events_per_sample, field)));
        let ms = |us: f64| format!("{:.1}", us / 1e3);
        row.push(or_none(group.duration_us.map(|s| ms(s.median))));
        row.push(or_none(group.duration_us.map(|s| format!("{} to {}", ms(s.min), ms(s.max)))));
        row.push(or_none(group.on_share.map(|share| format!("{:.1} %", 100.0 * share))));
        row.push(whole(group.rate_events_per_s, |s| s.mean));
        table.add_row(row);
    }
    aligned(table)
}

fn images(figures: &ImageFigures) -> Table {
    let columns = |what: &str| -> Vec<String> {
        figures.channels.iter().map(|channel| format!("{what} {channel}")).collect()
    };
    let head = ["class", "training", "test"].map(str::to_owned).to_vec();
    let mut table = table([head, columns("mean"), columns("std")].concat());
    for group in figures.classes.iter().chain([&figures.train, &figures.test, &figures.all]) {
        let counts = [group.samples.train, group.samples.test].map(thousands);
        let mut row: Vec<String> = [vec![group.class.clone()], counts.to_vec()].concat();
        for values in [&group.pixel_mean_0_to_1, &group.pixel_std_0_to_1] {
            let value = |place: usize| values.as_ref().and_then(|values| values.get(place));
            let cell = |place| or_none(value(place).map(|value| format!("{value:.4}")));
            row.extend((0..figures.channels.len()).map(cell));
        }
        table.add_row(row);
    }
    aligned(table)
}

/// Numbers to the right.
fn aligned(mut table: Table) -> Table {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
