//! Commands whose output nobody reads: they do their work all the same, and their exit code is what it would be.

use std::process::Command;

use crate::command;
use crate::compare::{copied, edit, record};

/// The exit code and standard error of a command whose standard output is a pipe that nobody reads.
fn unread(command: &mut Command) -> (i32, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command.stdout(writer).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!error.contains("panicked") && !error.contains("Broken pipe"), "{error}");
    (output.status.code().unwrap(), error)
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    for arguments in
        [&["data", "list", "--data", data][..], &["reproduce", "--dry-run", "--data", data], &["tidy"]]
    {
        assert_eq!(unread(&mut command(arguments)), (0, String::new()), "{arguments:?}");
    }
}

#[test]
fn what_is_wrong_is_wrong_though_nobody_reads_it() {
    let folder = copied();
    let at = folder.path();
    let table = at.join("results/table2/quick/table.md");
    edit(&table, "ours: both", "ours: best");
    let check = ["reproduce", "--check"];
    let (code, error) = unread(command(&check).current_dir(at));
    assert!(code == 1 && error.contains("1 place to put right"), "{code}: {error}");
    assert_eq!(unread(command(&[&check[..], &["--write"]].concat()).current_dir(at)).0, 0);
    assert!(std::fs::read_to_string(&table).unwrap().contains("ours: both"));

    let base = at.join("base");
    std::fs::create_dir_all(&base).unwrap();
    for entry in std::fs::read_dir(at.join("results/table2/quick/records")).unwrap() {
        let run = entry.unwrap().path();
        let run_folder = base.join(run.file_stem().unwrap());
        std::fs::create_dir_all(&run_folder).unwrap();
        std::fs::copy(&run, run_folder.join("record.json")).unwrap();
    }
    edit(&record(at), "\"train_loss\": 0.", "\"train_loss\": 1.");
    assert_eq!(unread(command(&["compare", "base", "results"]).current_dir(at)).0, 1);

    let data = at.join("data");
    let of_data = |arguments: &[&str]| unread(command(arguments).arg("--data").arg(&data));
    let stand_in = ["data", "stand-in", "nmnist", "--train", "10", "--test", "10"];
    assert_eq!(of_data(&stand_in).0, 0);
    assert_eq!(of_data(&["data", "verify", "nmnist"]).0, 0);
    let stand_ins = std::fs::read_dir(data.join("synthetic/nmnist")).unwrap();
    let class = stand_ins.map(|entry| entry.unwrap().path().join("raw/Train/0")).find(|path| path.is_dir());
    let class = class.unwrap();
    let recording = std::fs::read_dir(class).unwrap().next().unwrap().unwrap().path();
    std::fs::write(recording, "cut").unwrap();
    let (code, error) = of_data(&["data", "verify", "nmnist"]);
    assert!(code == 1 && error.contains("nmnist differs from its manifest in 1 place"), "{code}: {error}");
}

#[test]
fn what_was_asked_for_is_done_though_nobody_reads_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let [data, runs, page, tables] = ["data", "runs", "page.html", "tables"]
        .map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let cell = ["--dataset", "nmnist", "--rule", "both", "--time-steps", "2", "--epochs", "1"];
    let grid = ["reproduce", "table2", "--threads", "1", "--data", &data, "--results", &runs];
    let (code, error) = unread(&mut command(&[&grid[..], &cell].concat()));
    assert_eq!(code, 0, "{error}");
    let folders = std::fs::read_dir(&runs).unwrap().map(|entry| entry.unwrap().path().join("record.json"));
    let record = folders.into_iter().find(|path| path.exists()).expect("the cell is trained");
    assert!(folder.path().join("runs/tables/table2.quick.md").exists());

    let report = ["report", "--results", &runs, "--output", &page, "--tables", &tables];
    assert_eq!(unread(&mut command(&report)).0, 0);
    assert!(folder.path().join("tables/table2-quick-nmnist-1.md").exists());

    let weights = record.with_file_name("final.safetensors");
    let evaluate = ["evaluate", "--results", &runs, "--data", &data, "--weights", weights.to_str().unwrap()];
    assert_eq!(unread(&mut command(&evaluate)).0, 0);
    let mut edited: serde_json::Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    // Of the last vote the record itself says that it is wrong.
    let first = edited["anytime"][0].as_f64().unwrap();
    edited["anytime"][0] = (100.0 - first).into();
    assert_ne!(edited["anytime"][0].as_f64(), Some(first));
    std::fs::write(&record, edited.to_string()).unwrap();
    assert_eq!(unread(&mut command(&evaluate)), (1, String::new()));
}

/// A disk that is full is no reader that has gone.
#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_an_error() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = command(&["tidy"]).stdout(full).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && error.contains("No space left"), "{error}");
}
