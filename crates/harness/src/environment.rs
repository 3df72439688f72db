//! The machine and the program of a run, as far as they can be told: what cannot be told is none, and never guessed.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// The machine that a run was finished on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Its operating system, with release and kernel where they can be told.
    pub os: String,
    /// Its instruction set, such as `x86_64`.
    pub arch: String,
    /// Its processor; Linux alone tells.
    pub cpu: Option<String>,
    /// Cores that the process may use, hyperthreads counted.
    pub cores: Option<usize>,
    /// Its memory in MiB; Linux alone tells.
    pub memory_mb: Option<u64>,
    /// What its kernels are made for: avx512, avx2 or portable on the CPU engine, cuda on a GPU; none where candle's operations ran alone.
    pub simd: Option<String>,
    /// Its GPU, if the run was on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
}

/// The program that a run was finished by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// The commit of the working tree that the program was called in; none outside of one.
    pub git_commit: Option<String>,
    /// Whether files there differed from the commit.
    pub git_dirty: Option<bool>,
    /// BLAKE3 of the `Cargo.lock` that the program was built with.
    pub lockfile: String,
    /// The compiler, as it names itself.
    pub rustc: Option<String>,
    /// What it compiled for, such as `x86_64-unknown-linux-gnu`.
    pub target: Option<String>,
}

impl Environment {
    /// This machine.
    pub(crate) fn here(simd: Option<String>, gpu: Option<String>) -> Self {
        let release =
            value_of("/etc/os-release", "PRETTY_NAME=").map(|name| name.trim_matches('"').to_owned());
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        let name = std::env::consts::OS.to_owned();
        let parts = [Some(name), release, kernel.map(|kernel| kernel.trim().to_owned())];
        Self {
            os: parts.into_iter().flatten().collect::<Vec<_>>().join(", "),
            arch: std::env::consts::ARCH.to_owned(),
            cpu: cpu(),
            cores: std::thread::available_parallelism().ok().map(std::num::NonZeroUsize::get),
            memory_mb: kib_of("/proc/meminfo", "MemTotal:").map(|kib| kib / 1024),
            simd,
            gpu,
        }
    }
}

impl Code {
    /// This program, called where the process stands.
    pub(crate) fn here() -> Self {
        // Whether a file differs is looked at without refreshing the index, which would take git's lock.
        let git = |arguments: &[&str]| {
            let output = Command::new("git").arg("--no-optional-locks").args(arguments).output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        Self {
            git_commit: git(&["rev-parse", "--verify", "HEAD"]),
            git_dirty: git(&["status", "--porcelain"]).map(|changes| !changes.is_empty()),
            lockfile: blake3::hash(include_bytes!("../../../Cargo.lock")).to_hex().to_string(),
            rustc: option_env!("BPSTA_RUSTC").map(str::to_owned),
            target: option_env!("BPSTA_TARGET").map(str::to_owned),
        }
    }
}

/// The processor's name; Linux alone tells.
pub(crate) fn cpu() -> Option<String> {
    value_of("/proc/cpuinfo", "model name").map(|name| name.trim_matches([':', ' ', '\t']).to_owned())
}

/// The most memory that the process has held, in MiB; Linux alone tells.
pub(crate) fn peak_rss_mb() -> Option<f64> {
    kib_of("/proc/self/status", "VmHWM:").map(|kib| kib as f64 / 1024.0)
}

fn kib_of(path: &str, key: &str) -> Option<u64> {
    value_of(path, key)?.split_whitespace().next()?.parse().ok()
}

/// What stands behind a line's `key`; none where there is no such file or line.
fn value_of(path: impl AsRef<Path>, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().to_owned())
}
