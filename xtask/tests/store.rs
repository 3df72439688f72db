//! The program while it is killed, interrupted, out of room, or met by a cell that fails: nothing finished is lost.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use bpsta_harness::{Record, RunStore};

/// How often the kill test kills; 8 if it is not set.
const KILLS: &str = "BPSTA_KILLS";

/// The command over a few small cells, with a checkpoint behind each epoch.
fn command(data: &Path, runs: &Path, arguments: &[&str]) -> Command {
    reproducing("table2", data, runs, arguments)
}

fn reproducing(artefact: &str, data: &Path, runs: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    command.env("BPSTA_CHECKPOINT_SECONDS", "0").stdout(Stdio::null()).stderr(Stdio::piped());
    command.args(["reproduce", artefact, "--dataset", "nmnist", "--threads", "1", "--data"]);
    command.arg(data).arg("--results").arg(runs).args(arguments);
    command
}

/// What `status` says of a store; it never fails.
fn status(runs: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let output = command.args(["status", "--results"]).arg(runs).output().unwrap();
    assert!(output.status.success(), "{}", message(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Stand-ins that all tests here share, for none of them writes to them.
fn data() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("data")
}

fn message(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The finished runs of a store by their ids; each must be a record, whole and sound.
fn records(runs: &Path) -> BTreeMap<String, Record> {
    let store = RunStore::new(runs);
    let mut records = BTreeMap::new();
    for entry in std::fs::read_dir(runs).into_iter().flatten() {
        let run_id = entry.unwrap().file_name().into_string().unwrap();
        if let Some(record) = store.finished(&run_id).unwrap() {
            records.insert(run_id, record);
        }
    }
    records
}

fn files(runs: &Path, name: &str) -> usize {
    let folders = std::fs::read_dir(runs).into_iter().flatten();
    folders.filter(|folder| folder.as_ref().unwrap().path().join(name).exists()).count()
}

/// Waits until `there` holds; the child must still run then.
fn wait_for(child: &mut Child, there: impl Fn() -> bool) {
    let started = Instant::now();
    while !there() {
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        assert!(started.elapsed() < Duration::from_secs(60), "it takes too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_grid_that_is_killed_again_and_again_loses_nothing_and_comes_to_the_same_bits() {
    let kills: usize = std::env::var(KILLS).map_or(8, |kills| kills.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let grid = ["--rule", "both", "--rule", "temporal", "--time-steps", "2", "--epochs", "4", "--seeds", "2"];
    let whole = folder.path().join("whole");
    let started = Instant::now();
    assert!(command(&data(), &whole, &grid).output().unwrap().status.success());
    // The first call may also make the data: later ones say better how long a kill has.
    let mut longest = started.elapsed();
    let whole = records(&whole);
    assert_eq!(whole.len(), 4);

    let (mut killed, mut rounds, mut resumed, mut with_checkpoint, mut unfinished) = (0, 0, 0, 0, 0);
    let mut random = 2110_u64;
    while killed < kills {
        let runs = folder.path().join(format!("round{rounds}"));
        rounds += 1;
        let mut before = BTreeMap::new();
        loop {
            let started = Instant::now();
            let mut child = command(&data(), &runs, &grid).spawn().unwrap();
            if killed < kills {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                std::thread::sleep(longest.mul_f64((random >> 40) as f64 / (1 << 24) as f64));
                child.kill().unwrap();
            }
            let output = child.wait_with_output().unwrap();
            let now = records(&runs);
            for (run_id, record) in &before {
                assert_eq!(now.get(run_id), Some(record), "a finished run is neither lost nor changed");
            }
            before = now;
            if output.status.success() {
                longest = longest.min(started.elapsed());
                break;
            }
            assert_eq!(output.status.code(), None, "killed, and no error: {}", message(&output));
            killed += 1;
            with_checkpoint += usize::from(files(&runs, "checkpoint.safetensors") > 0);
            unfinished += 4 - before.len();
        }
        assert_eq!(before.len(), 4);
        for (run_id, record) in &before {
            assert_eq!(record.reproducible(), whole[run_id].reproducible(), "{run_id}");
            resumed += record.timing.unwrap().resumed;
        }
        assert_eq!(files(&runs, "checkpoint.safetensors"), 0);
        assert_eq!(files(&runs, "final.safetensors"), 4);
        assert_eq!(files(&runs, "curves.parquet"), 4);
    }
    assert!(resumed > 0, "no kill met a run with a checkpoint");
    eprintln!(
        "{killed} kills in {rounds} grids of 4 cells: {with_checkpoint} left a checkpoint, {unfinished} cells were still to be \
         finished in all, {resumed} went on from a checkpoint"
    );
}

/// One cell whose epochs take seconds.
const SLOW: [&str; 6] = ["--rule", "both", "--time-steps", "64", "--epochs", "30"];

fn interrupt(child: &Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn ctrl_c_keeps_the_epoch_and_a_second_one_does_not_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let quick = ["--rule", "both", "--time-steps", "2", "--epochs", "200"];
    let mut child = command(&data(), &runs, &quick).env_remove("BPSTA_CHECKPOINT_SECONDS").spawn().unwrap();
    wait_for(&mut child, || files(&runs, ".lock") > 0);
    std::thread::sleep(Duration::from_millis(300));
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    let said = message(&output);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("Ctrl-C: stops behind this epoch"), "{said}");
    assert!(said.contains("stopped with 0 of 1 cell of table2 finished; the same command goes on"), "{said}");
    assert_eq!(files(&runs, "checkpoint.safetensors"), 1);
    let said = status(&runs);
    assert!(
        said.contains("stopped: 1") && said.contains(" of 200 epochs") && said.contains("table2"),
        "{said}"
    );

    let mut child = command(&data(), &runs, &SLOW).spawn().unwrap();
    wait_for(&mut child, || files(&runs, ".lock") > 1);
    std::thread::sleep(Duration::from_millis(1000));
    let said = status(&runs);
    assert!(said.contains("under way: 1") && said.contains("stopped: 1"), "{said}");
    interrupt(&child);
    std::thread::sleep(Duration::from_millis(100));
    interrupt(&child);
    // Had it waited for its epoch, it would have said where it stopped.
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(!message(&output).contains("stopped:"), "{}", message(&output));
}

#[test]
fn a_store_without_room_stops_the_grid_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let cells = ["--time-steps", "2", "--epochs", "2", "--rule", "baseline", "--rule", "both"];
    let one = command(&data(), &runs, &cells[..6]).output().unwrap();
    assert!(one.status.success(), "{}", message(&one));
    let before = records(&runs);

    // No file of more than 64 KiB can be written: a record can, weights cannot.
    let limited = |seconds: &str| {
        let inner = command(&data(), &runs, &cells);
        let mut limited = Command::new("sh");
        limited.args(["-c", "trap '' XFSZ; ulimit -f 128; exec \"$@\"", "sh"]);
        limited.arg(inner.get_program()).args(inner.get_args()).current_dir(inner.get_current_dir().unwrap());
        limited.env("BPSTA_CHECKPOINT_SECONDS", seconds).output().unwrap()
    };
    for (seconds, file) in [("0", "checkpoint.safetensors"), ("1000", "final.safetensors")] {
        let output = limited(seconds);
        let said = message(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(file) && said.contains("File too large"), "{said}");
        assert_eq!(records(&runs), before, "{file}");
        assert_eq!(
            (files(&runs, file), files(&runs, "failed.json")),
            (usize::from(seconds != "0"), 0),
            "{file}"
        );
    }
    let output = command(&data(), &runs, &cells).output().unwrap();
    assert!(output.status.success(), "{}", message(&output));
    let after = records(&runs);
    assert_eq!(after.len(), 2);
    before.iter().for_each(|(run_id, record)| assert_eq!(after.get(run_id), Some(record)));
}

#[test]
fn a_cell_that_fails_is_named_and_the_command_says_so_by_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let (data, runs) = (folder.path().join("data"), folder.path().join("runs"));
    let cells = ["--time-steps", "2", "--epochs", "1", "--rule", "both", "--dataset", "dvscifar10"];
    let plan = command(&data, &runs, &cells).arg("--dry-run").output().unwrap();
    assert!(plan.status.success(), "{}", message(&plan));
    let stand_in = std::fs::read_dir(data.join("synthetic/nmnist")).unwrap().next().unwrap().unwrap().path();
    let class = stand_in.join("raw/Train/0");
    let recording = std::fs::read_dir(class).unwrap().next().unwrap().unwrap().path();
    std::fs::write(recording, "cut").unwrap();
    let output = command(&data, &runs, &cells).output().unwrap();
    let said = message(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in
        ["failed, and the others go on", "error: 1 cell failed; the same command tries again", "nmnist"]
    {
        assert!(said.contains(part), "`{part}`: {said}");
    }
    assert_eq!((records(&runs).len(), files(&runs, "failed.json")), (1, 1));
    let found = status(&runs);
    for part in [
        "failed: 1",
        "nmnist (synthetic stand-in) both",
        "finished: 1",
        "dvscifar10, profile quick (synthetic stand-in)",
    ] {
        assert!(found.contains(part), "`{part}`: {found}");
    }
    let table = std::fs::read_to_string(runs.join("tables/table2.quick.md")).unwrap();
    assert!(table.contains("No row for nmnist (synthetic stand-in) both middle width 0.125 T=2"), "{table}");

    // So does a task of a batch script, which has no table.
    let folders = std::fs::read_dir(&runs).unwrap().map(|entry| entry.unwrap().path());
    let failed = folders.into_iter().find(|folder| folder.join("failed.json").exists()).unwrap();
    let only = ["--only", failed.file_name().unwrap().to_str().unwrap()];
    let output = command(&data, &runs, &[&cells[..], &only].concat()).output().unwrap();
    let said = message(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: 1 cell failed") && said.contains("nmnist"), "{said}");

    // Two artefacts ask for the cell, and it is one that failed.
    let output = reproducing("all", &data, &runs, &cells[..6]).output().unwrap();
    let said = message(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.matches("failed, and the others go on").count(), 1, "{said}");
    assert!(said.contains("error: 1 cell failed"), "{said}");
    assert!(runs.join("tables/table5.quick.md").exists() && runs.join("tables/table2.quick.md").exists());
}

/// Each try writes the file of its failure anew, under a time of its own.
#[test]
fn processes_that_share_a_grid_try_a_cell_that_fails_once() {
    let folder = tempfile::tempdir().unwrap();
    let (data, runs) = (folder.path().join("data"), folder.path().join("runs"));
    let cell = ["--time-steps", "2", "--epochs", "1", "--rule", "both", "--jobs", "3"];
    assert!(command(&data, &runs, &cell).arg("--dry-run").output().unwrap().status.success());
    let stand_ins = std::fs::read_dir(data.join("synthetic/nmnist")).unwrap();
    let classes = stand_ins.map(|entry| entry.unwrap().path().join("raw/Train/0"));
    let class = classes.into_iter().find(|path| path.is_dir()).unwrap();
    let recording = std::fs::read_dir(class).unwrap().next().unwrap().unwrap().path();
    std::fs::write(recording, "cut").unwrap();
    let failures = || {
        let folders = std::fs::read_dir(&runs).into_iter().flatten();
        let files = folders.map(|folder| folder.unwrap().path().join("failed.json"));
        files.filter_map(|path| std::fs::read_to_string(path).ok()).collect::<Vec<String>>()
    };
    for _ in 0..2 {
        let before = failures();
        let mut seen = std::collections::BTreeSet::new();
        let mut child = command(&data, &runs, &cell).spawn().unwrap();
        while child.try_wait().unwrap().is_none() {
            seen.extend(failures());
            std::thread::sleep(Duration::from_millis(2));
        }
        seen.extend(failures());
        before.iter().for_each(|failure| {
            seen.remove(failure);
        });
        assert_eq!(seen.len(), 1, "{seen:?}");
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", message(&output));
        assert!(message(&output).contains("error: 1 cell failed"), "{}", message(&output));
    }
}

#[test]
fn processes_share_a_grid_and_come_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let grid = ["--rule", "both", "--rule", "temporal", "--time-steps", "2", "--epochs", "3", "--seeds", "3"];
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    assert!(command(&data(), &one, &grid).output().unwrap().status.success());
    let shared = command(&data(), &two, &[&grid[..], &["--jobs", "2"]].concat()).output().unwrap();
    assert!(shared.status.success(), "{}", message(&shared));
    let (one, two) = (records(&one), records(&two));
    assert_eq!(one.len(), 6);
    assert!(one.keys().eq(two.keys()));
    for (run_id, record) in &one {
        assert_eq!(record.parameters_hash, two[run_id].parameters_hash);
    }
    assert!(message(&shared).contains("another process runs it"), "{}", message(&shared));
}

#[test]
fn processes_stop_when_the_one_that_started_them_is_ended_in_whatever_way() {
    let folder = tempfile::tempdir().unwrap();
    let grid =
        ["--rule", "both", "--rule", "temporal", "--time-steps", "16", "--epochs", "1000", "--jobs", "2"];
    for ends in [&["-INT", "-INT"][..], &["-TERM"], &["-KILL"]] {
        let runs = folder.path().join(ends.concat());
        let mut child = command(&data(), &runs, &grid).spawn().unwrap();
        wait_for(&mut child, || files(&runs, ".lock") > 1 && files(&runs, "checkpoint.safetensors") > 1);
        for end in ends {
            assert!(
                Command::new("kill").args([end, &child.id().to_string()[..]]).status().unwrap().success()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        child.wait().unwrap();
        let ended = Instant::now();
        while status(&runs).contains("under way") {
            assert!(ended.elapsed() < Duration::from_secs(60), "a process still runs after {ends:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn without_a_slurm_the_batch_script_is_written_and_runs_the_missing_cells() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs of slurm");
    let arguments =
        ["--rule", "both", "--time-steps", "2", "--epochs", "1", "--launcher", "slurm", "--jobs", "3"];
    let mut command = command(&data(), &runs, &arguments);
    let output = command.env("PATH", "").stdout(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{}", message(&output));
    let path = runs.join("slurm/table2.sbatch");
    assert!(String::from_utf8(output.stdout).unwrap().contains(&format!("written: {}", path.display())));
    assert!(records(&runs).is_empty());
    let script = std::fs::read_to_string(&path).unwrap();
    let output = format!("#SBATCH --output='{}/slurm'/%x-%A-%a.log", runs.display());
    for line in ["#SBATCH --array=1-3", "#SBATCH --cpus-per-task=1", &output] {
        assert!(script.lines().any(|of| of == line), "{script}");
    }
    assert!(script.contains(" --threads 1 --only "), "{script}");
    let task = Command::new("bash").arg(&path).env("SLURM_ARRAY_JOB_ID", "4711").output().unwrap();
    assert!(task.status.success(), "{}", message(&task));
    assert_eq!(records(&runs).len(), 1);
    assert!(Command::new("bash").arg(&path).output().unwrap().status.success(), "without a Slurm, too");
}
