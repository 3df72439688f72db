//! `cargo xtask bench events`: what reading, decoding and framing files takes, beside the machine's copying of memory.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use bpsta_datasets::{frames_of_file, thousands};
use bpsta_events::Format;
use bpsta_harness::{MOST_TIME_STEPS, median};
use bpsta_spiking::cpu;
use bpsta_spiking::cpu::measure::Limits;
use clap::Args;

use crate::data::SplitBy;
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// A file of events; also several times
    #[arg(long, value_name = "FILE", required_unless_present = "folder")]
    file: Vec<PathBuf>,
    /// A folder, with all files in it and in its folders, in the order of their names
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Number of frames
    #[arg(long, value_name = "T", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=MOST_TIME_STEPS as i64))]
    time_steps: u16,
    /// Equal numbers of events, or equal times
    #[arg(long, value_enum, default_value = "number")]
    split: SplitBy,
    /// The files' format, if it is not to be guessed
    #[arg(long)]
    format: Option<Format>,
    /// Timed passes over all files, behind one that warms up
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Write the frames of all files, one after the other, as little-endian u16 [T, 2, H, W]; replaced if it is there
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &EventsArgs) -> anyhow::Result<()> {
    let mut files = args.file.clone();
    if let Some(folder) = &args.folder {
        list(folder, &mut files)?;
    }
    anyhow::ensure!(!files.is_empty(), "no files are there: give --file, or a --folder that holds some");
    let framing = args.split.framing(args.time_steps.into());
    let mut bytes = 0;
    for file in &files {
        bytes += file.metadata().with_context(|| format!("read {}", file.display()))?.len();
    }

    let mut save = match &args.save {
        Some(path) => {
            let file = std::fs::File::create(path).with_context(|| format!("write {}", path.display()))?;
            Some(BufWriter::new(file))
        }
        None => None,
    };
    let mut events = 0u64;
    for file in &files {
        let (frames, _) = frames_of_file(file, args.format, framing)?;
        events += frames.counts.iter().map(|count| u64::from(*count)).sum::<u64>();
        if let Some(save) = &mut save {
            for count in &frames.counts {
                save.write_all(&count.to_le_bytes())?;
            }
        }
    }
    if let Some(save) = &mut save {
        save.flush()?;
    }

    let mut rounds = Vec::new();
    for _ in 0..args.rounds {
        let clock = Instant::now();
        for file in &files {
            std::hint::black_box(frames_of_file(file, args.format, framing)?);
        }
        rounds.push(clock.elapsed().as_secs_f64());
    }
    let seconds = median(rounds.iter().copied()).context("no round was timed")?;
    // It reads a byte and writes one.
    let copied = Limits::measure(cpu::Path::from_environment()?).copy_gb * 1e9 / 2.0;
    let (events_per_s, bytes_per_s) = (events as f64 / seconds, bytes as f64 / seconds);
    if args.json {
        print::line(serde_json::json!({
            "files": files.len(),
            "events": events,
            "bytes": bytes,
            "framing": framing.to_string(),
            "seconds": rounds,
            "seconds_per_file": seconds / files.len() as f64,
            "events_per_s": events_per_s,
            "bytes_per_s": bytes_per_s,
            "copied_bytes_per_s": copied,
        }))?;
        return Ok(());
    }
    print::line(format_args!(
        "{} of {} events, {} bytes, framed by {framing} on one thread\n  \
         {:.3} ms a file (median of {}), {:.1} million events/s, {:.2} GB/s, {:.0} % of the {:.1} GB/s that memory is copied at",
        print::counted(files.len(), "file"),
        thousands(events as usize),
        thousands(bytes as usize),
        1e3 * seconds / files.len() as f64,
        print::counted(rounds.len(), "round"),
        events_per_s / 1e6,
        bytes_per_s / 1e9,
        100.0 * bytes_per_s / copied,
        copied / 1e9,
    ))?;
    Ok(())
}

/// All files below a folder, by name.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
