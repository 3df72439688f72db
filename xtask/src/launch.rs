//! More processes for one grid: workers beside this one, or tasks of a cluster. All have the run store in common, whose locks hand out the
//! cells.

use std::cell::RefCell;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::Context;
use bpsta_harness::CallId;
use clap::ValueEnum;

use crate::print;

/// Who starts the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Launcher {
    // Their descriptions stand in the option's: with any here clap takes three lines an option.
    Local,
    Slurm,
}

/// Processes that run cells of this one's grid, and stop behind their epochs when their standard input ends: because they are told to, or
/// because this process has ended, in whatever way.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    children: Vec<Child>,
    inputs: RefCell<Vec<ChildStdin>>,
}

impl Workers {
    /// Starts `count` of them with these arguments, for a call.
    pub(crate) fn start(count: usize, arguments: &[OsString], called: CallId) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program's own file")?;
        let mut workers = Self::default();
        for _ in 0..count {
            let mut command = Command::new(&program);
            // Out of the terminal's reach: its Ctrl-C is this process's.
            command.args(arguments).args(["--until-eof", "--called", &called.to_string()]).process_group(0);
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().with_context(|| format!("start {}", program.display()))?;
            workers.inputs.get_mut().extend(child.stdin.take());
            workers.children.push(child);
        }
        Ok(workers)
    }

    /// Tells each to stop behind its epoch.
    pub(crate) fn stop(&self) {
        drop(self.inputs.take());
    }

    /// Waits until all have ended. What they did is in the run store.
    pub(crate) fn wait(&mut self) {
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}

impl Drop for Workers {
    /// Where this process ends by an error, they stop as by Ctrl-C.
    fn drop(&mut self) {
        let under_way = |child: &mut Child| matches!(child.try_wait(), Ok(None));
        if self.children.iter_mut().any(under_way) {
            self.stop();
            self.wait();
        }
    }
}

/// Writes a batch script of `count` tasks with these arguments into the run store, and submits it where there is a Slurm.
pub(crate) fn slurm(
    name: &str,
    runs: &Path,
    count: usize,
    threads: usize,
    arguments: &[OsString],
) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("this program's own file")?;
    let root = std::env::current_dir().context("the working folder")?;
    let folder = runs.join("slurm");
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let path: PathBuf = folder.join(format!("{name}.sbatch"));
    let words: Vec<String> = std::iter::once(program.as_os_str())
        .chain(arguments.iter().map(OsString::as_os_str))
        .map(|word| quoted(&word.to_string_lossy()))
        .collect();
    let script = format!(
        "#!/bin/bash\n#SBATCH --job-name={}\n#SBATCH --array=1-{count}\n#SBATCH --cpus-per-task={threads}\n\
         #SBATCH --output={}/%x-%A-%a.log\n# Tasks share the cells through locks in the run store, and end when all cells are finished. \
         A task that is killed\n# goes on from its checkpoint when the script is submitted again.\ncd {} || exit 1\n\
         export RAYON_NUM_THREADS=1 GLIBC_TUNABLES=glibc.malloc.hugetlb=1\n# Tasks of one submission are one call: what has failed in one is not tried again by the others.\n\
         call=${{SLURM_ARRAY_JOB_ID:+--called $(printf %016x \"$SLURM_ARRAY_JOB_ID\")}}\nexec {} $call\n",
        quoted(&format!("bpsta-{name}")),
        quoted(&folder.to_string_lossy()),
        quoted(&root.to_string_lossy()),
        words.join(" ")
    );
    std::fs::write(&path, script).with_context(|| format!("write {}", path.display()))?;
    match Command::new("sbatch").arg(&path).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => anyhow::bail!("sbatch refused {}: {status}", path.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let path = path.display();
            Ok(print::line(format_args!(
                "written: {path}; there is no sbatch here: submit it where there is"
            ))?)
        }
        Err(error) => Err(error).context("run sbatch"),
    }
}

/// A word as a shell takes it, and sbatch in the lines that are its own.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_word_is_one_word_to_a_shell() {
        for (word, expected) in
            [("--jobs", "--jobs"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("", "''"), ("$HOME", "'$HOME'")]
        {
            assert_eq!(quoted(word), expected);
        }
    }
}
