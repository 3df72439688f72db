//! `cargo xtask data frame`: a data set into its cache, or one file into an HDF5 file.

use std::path::PathBuf;

use anyhow::{Context, bail};
use bpsta_datasets::{DatasetId, DatasetInfo, Registry, Store, frame_file, thousands};
use bpsta_events::{Format, Framing};
use bpsta_harness::MOST_TIME_STEPS;
use clap::{Args, ValueEnum};

use super::seen::StandIn;
use crate::print;

#[derive(Debug, Args)]
pub(super) struct FrameArgs {
    /// The data set to build the cache of
    #[arg(required_unless_present = "file", conflicts_with_all = ["file", "output"])]
    dataset: Option<DatasetId>,
    #[command(flatten)]
    stand_in: StandIn,
    /// The file to frame, also with .gz
    #[arg(long, requires = "output", conflicts_with = "name")]
    pub(super) file: Option<PathBuf>,
    #[command(flatten)]
    rule: FramingArgs,
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

/// How events are shared out over frames.
#[derive(Debug, Args)]
pub(super) struct FramingArgs {
    /// Number of frames; the registry's if not given, of a file 16 where --split is given
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u16).range(1..=MOST_TIME_STEPS as i64))]
    time_steps: Option<u16>,
    /// Equal numbers of events, or equal times; the registry's if not given, of a file by number
    #[arg(long, value_enum)]
    split: Option<SplitBy>,
    /// Frames of so many microseconds each, from the first event on: T of them, or of a file without T as many as there are
    #[arg(long, value_name = "US", value_parser = clap::value_parser!(i64).range(1..), conflicts_with = "split")]
    duration: Option<i64>,
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

impl FramingArgs {
    /// The framing asked for, what was left out being the data set's; none if nothing was asked for.
    pub(super) fn of(&self, info: Option<&DatasetInfo>) -> Option<Framing> {
        let default = info.and_then(|info| info.framing);
        let frames = self.time_steps.map(usize::from);
        let default_frames = default.and_then(Framing::frames).unwrap_or(16);
        match (self.duration, self.split) {
            (Some(us), _) => Some(match frames.or(info.map(|_| default_frames)) {
                Some(frames) => Framing::Windows { us, frames },
                None => Framing::ByDuration { us },
            }),
            (None, None) => Some(match (default, frames?) {
                (Some(Framing::ByTime { .. }), frames) => Framing::ByTime { frames },
                (Some(Framing::ByDuration { us } | Framing::Windows { us, .. }), frames) => {
                    Framing::Windows { us, frames }
                }
                (_, frames) => Framing::ByNumber { frames },
            }),
            (None, Some(split)) => Some(split.framing(frames.unwrap_or(default_frames))),
        }
    }
}

/// Frames one file.
pub(super) fn file(args: FrameArgs) -> anyhow::Result<()> {
    let FrameArgs { file: Some(file), output: Some(output), rule, format, force, .. } = args else {
        bail!("--file and --output go together");
    };
    let framing = rule.of(None).context("say how: --time-steps T, or --duration US")?;
    let frames = frame_file(&file, format, framing, &output, force)?;
    let shape = [frames.time_steps, 2, frames.height, frames.width];
    print::line(format_args!("{}: frames {shape:?}, u16, framed by {framing}", output.display()))?;
    Ok(())
}

/// Builds the cache of a data set, or of a stand-in.
pub(super) fn dataset(registry: &Registry, store: &Store, args: &FrameArgs) -> anyhow::Result<()> {
    let dataset = args.dataset.context("name a data set, or a file with --file")?;
    let info = registry.get(dataset)?;
    let Some(default) = info.framing else {
        bail!("{dataset} holds images, not events: there is nothing to frame");
    };
    let framing = args.rule.of(Some(info)).unwrap_or(default);
    let manifest = store.find(dataset, &args.stand_in.which())?;
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
