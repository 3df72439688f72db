//! `cargo xtask bench`: times kernels, steps and evaluations of the paper's networks, and (bench_events.rs) event files.

use std::path::PathBuf;

use bpsta_harness::bench::{Bench, Task, Timing};
use bpsta_harness::{DeviceKind, EngineKind, MOST_TIME_STEPS};
use bpsta_spiking::cpu::Path;
use bpsta_spiking::cpu::measure::{Limits, workloads};
use bpsta_spiking::{Architecture, Rule};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};

use crate::print;

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Time training steps: forward, backward and AdamW
    Step(Settings),
    /// Time forward passes in evaluation mode
    #[command(mut_arg("save", |save| save.help("Write parameters, data, output and loss of the first pass, as the CPU engine computes them, as safetensors; replaced if it is there")))]
    Inference(Settings),
    /// Time each layer of training steps on the CPU engine
    Layers(Steps),
    /// Time reading, decoding and framing event files, on one thread
    Events(crate::bench_events::EventsArgs),
}

/// What is timed.
#[derive(Debug, Args)]
struct Steps {
    /// small (images of 28x28), middle (frames of 34x34) or large (frames of 128x128)
    #[arg(long, default_value = "small")]
    network: Architecture,
    /// Width factor; 1 is the paper's
    #[arg(long, default_value_t = 0.125)]
    width: f64,
    /// Simulation length T
    #[arg(long, value_name = "T", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=MOST_TIME_STEPS as i64))]
    time_steps: u16,
    /// Samples in a batch
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// baseline, spatial, temporal or both
    #[arg(long, default_value = "both")]
    rule: Rule,
    /// Timed steps, behind two that warm up
    #[arg(long, value_name = "K", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    steps: u16,
    /// Threads; all cores if not given
    #[arg(long, value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,
}

/// On what, and what comes of it.
#[derive(Debug, Args)]
struct Settings {
    #[command(flatten)]
    steps: Steps,
    /// cpu or cuda:N
    #[arg(long, default_value = "cpu")]
    device: DeviceKind,
    /// cpu (kernels of our own, the default on the CPU) or reference (candle tensor operations, the default on a GPU)
    #[arg(long)]
    engine: Option<EngineKind>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Write parameters, data, masks, output, gradients and loss of the first step, as the CPU engine computes them, as safetensors; replaced if it is there
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: BenchArgs) -> anyhow::Result<()> {
    let (task, settings) = match args.what {
        None => return kernels(),
        Some(What::Step(settings)) => (Task::Step, settings),
        Some(What::Inference(settings)) => (Task::Inference, settings),
        Some(What::Layers(steps)) => {
            return layers(&steps.bench(Task::Step, EngineKind::Cpu, DeviceKind::Cpu)?);
        }
        Some(What::Events(args)) => return crate::bench_events::run(&args),
    };
    let engine = settings.engine.unwrap_or(EngineKind::of(settings.device));
    let bench = settings.steps.bench(task, engine, settings.device)?;
    let timing = bench.run(settings.save.as_deref())?;
    print::line(if settings.json { serde_json::to_string(&timing)? } else { describe(&timing) })?;
    Ok(())
}

impl Steps {
    /// What is to be timed, on the threads that were asked for.
    fn bench(&self, task: Task, engine: EngineKind, device: DeviceKind) -> anyhow::Result<Bench> {
        crate::use_threads(self.threads, 1)?;
        Ok(Bench {
            task,
            network: self.network,
            width: self.width,
            time_steps: usize::from(self.time_steps),
            batch: usize::from(self.batch),
            rule: self.rule,
            steps: usize::from(self.steps),
            engine,
            device,
        })
    }
}

/// Every kernel beside what the machine can do at most, on one thread.
fn kernels() -> anyhow::Result<()> {
    let path = Path::from_environment()?;
    let limits = Limits::measure(path);
    print::line(format!(
        "one thread, kernels for {path}: at most {:.0} GFLOP/s of multiply-adds, {:.1} GB/s copied\n",
        limits.gflops, limits.copy_gb
    ))?;
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["kernel", "us", "GFLOP/s", "of the peak", "GB/s", "of a copy"]);
    for mut workload in workloads(path) {
        let seconds = workload.seconds(25);
        let (gflops, gb) = (workload.operations / seconds / 1e9, workload.bytes / seconds / 1e9);
        table.add_row([
            workload.name.to_owned(),
            format!("{:.1}", 1e6 * seconds),
            format!("{gflops:.1}"),
            format!("{:.0} %", 100.0 * gflops / limits.gflops),
            format!("{gb:.1}"),
            format!("{:.0} %", 100.0 * gb / limits.copy_gb),
        ]);
    }
    print::line(&table)?;
    print::line(
        "\nOperations are those of the computation as defined: a kernel that looks sums up or takes Winograd's way can pass \
         the peak. Bytes are those that must be touched once; data that stay in a cache can pass a copy.",
    )?;
    Ok(())
}

/// Every part of every layer beside what the machine can do at most, on all threads in use.
fn layers(bench: &Bench) -> anyhow::Result<()> {
    let path = Path::from_environment()?;
    let threads = rayon::current_num_threads();
    let peak = Limits::measure(path).gflops * threads as f64;
    let timings = bench.layers()?;
    let all: f64 = timings.iter().map(|timing| timing.ms).sum();
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["layer", "part", "ms", "of all", "GFLOP/s", "of the peak"]);
    for timing in timings {
        let gflops = timing.operations.map(|operations| operations / timing.ms / 1e6);
        let text = |value: Option<f64>, unit: &str| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}{unit}"))
        };
        table.add_row([
            timing.layer,
            timing.part,
            format!("{:.3}", timing.ms),
            format!("{:.1} %", 100.0 * timing.ms / all),
            text(gflops, ""),
            text(gflops.map(|gflops| 100.0 * gflops / peak), " %"),
        ]);
    }
    let Bench { network, width, time_steps, batch, rule, .. } = bench;
    print::line(format!(
        "{network}, width {width}, T = {time_steps}, batch {batch}, rule {rule}: {all:.2} ms a training step without the loss, reading the \
         batch and drawing masks\n{}, kernels for {path}: at most {peak:.0} GFLOP/s of multiply-adds\n\n{table}\n\nOperations are those \
         of a layer as defined, whatever is avoided. Behind a norm the cells run backward twice, the second time within \
         `norm backward`, or within a first layer's `weight gradient` (but not of images, whose input is constant).",
        print::counted(threads, "thread")
    ))?;
    Ok(())
}

fn describe(timing: &Timing) -> String {
    let Bench { network, width, time_steps, batch, rule, engine, .. } = timing.bench;
    let (least, most) = timing
        .step_ms
        .iter()
        .fold((f64::INFINITY, 0.0f64), |(least, most), ms| (least.min(*ms), most.max(*ms)));
    let mut text = format!(
        "{network}, width {width}, T = {time_steps}, batch {batch}, rule {rule}, engine {engine}\n  \
         {:.2} ms (median; {least:.2} to {most:.2}), {}",
        timing.ms_per_step,
        print::counted(timing.threads, "thread")
    );
    let rates: Vec<String> = timing.firing_rates.values().map(|rate| format!("{rate:.2}")).collect();
    text += &format!("\n  firing rates {}", rates.join(" "));
    if let Some(peak) = timing.peak_rss_mb {
        text += &format!("\n  {peak:.0} MiB at most");
    }
    if let Some(machine) = timing.gpu.as_ref().or(timing.cpu.as_ref()) {
        let kernels = timing
            .simd
            .as_ref()
            .map_or("candle's operations".to_owned(), |simd| format!("kernels for {simd}"));
        text += &format!("\n  {kernels} on {machine}");
    }
    if let Some(peak) = timing.peak_gpu_mb {
        text += &format!("\n  {peak:.0} MiB of the GPU's memory at most");
    }
    text
}
