//! The program as a user meets it: help, plans, and errors with their exit codes.
#![allow(clippy::unwrap_used)]

#[path = "cli/closed_pipe.rs"]
mod closed_pipe;
#[path = "cli/compare.rs"]
mod compare;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.current_dir(root()).env_remove("BPSTA_DATA").args(arguments);
    command
}

fn xtask(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn fails(arguments: &[&str], expected: &[&str]) {
    let output = xtask(arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{arguments:?} should fail");
    assert!(!message.contains("panicked"), "{message}");
    for part in expected {
        assert!(message.contains(part), "{arguments:?}: `{message}` lacks `{part}`");
    }
}

/// Of all artefacts those that have something to do, and a failure where none has.
#[test]
fn all_artefacts_go_on_past_one_without_data_or_runs() {
    let empty = tempfile::tempdir().unwrap();
    let [data, runs] = ["data", "runs"].map(|name| empty.path().join(name).to_str().unwrap().to_owned());
    let of = ["all", "--profile", "cpu", "--dataset", "mnist", "--data", &data, "--results", &runs];
    for command in ["reproduce", "accept"] {
        let output = xtask(&[&[command], &of[..]].concat());
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        let said = |part: &str| message.lines().filter(|line| line.contains(part)).count();
        assert!(said("mnist is not in") > 1, "table1, table5 and others: {message}");
        assert!(said("`cargo xtask data fetch mnist`") > 1, "{message}");
    }
    let of = ["table2", "--dataset", "nmnist", "--data", &data, "--results", &runs];
    fails(&[&["accept"], &of[..]].concat(), &["the stand-in of nmnist is not in"]);
    assert!(!Path::new(&data).exists(), "accepting generates nothing");
}

#[test]
fn help_is_as_it_was() {
    insta::assert_snapshot!("help", out(&xtask(&["--help"])));
    insta::assert_snapshot!("help_reproduce", out(&xtask(&["reproduce", "--help"])));
    insta::assert_snapshot!("help_compare", out(&xtask(&["compare", "--help"])));
    insta::assert_snapshot!("help_report", out(&xtask(&["report", "--help"])));
    insta::assert_snapshot!("help_status", out(&xtask(&["status", "--help"])));
    insta::assert_snapshot!("help_evaluate", out(&xtask(&["evaluate", "--help"])));
    insta::assert_snapshot!("help_export", out(&xtask(&["export", "--help"])));
    insta::assert_snapshot!("help_run", out(&xtask(&["run", "--help"])));
    insta::assert_snapshot!("help_accept", out(&xtask(&["accept", "--help"])));
    insta::assert_snapshot!("help_bench", out(&xtask(&["bench", "--help"])));
    for command in ["step", "inference", "layers", "events"] {
        insta::assert_snapshot!(format!("help_bench_{command}"), out(&xtask(&["bench", command, "--help"])));
    }
    for command in ["list", "fetch", "import", "verify", "frame", "inspect", "stand-in"] {
        let help = out(&xtask(&["data", command, "--help"]));
        insta::assert_snapshot!(format!("help_data_{}", command.replace('-', "_")), help);
    }
    insta::assert_snapshot!("help_data", out(&xtask(&["data", "--help"])));
    insta::assert_snapshot!("help_data_preview", out(&xtask(&["data", "preview", "--help"])));
    insta::assert_snapshot!("help_data_stats", out(&xtask(&["data", "stats", "--help"])));
}

#[test]
fn the_report_is_written_where_it_should_be() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    let output = xtask(&["report", "--output", page.to_str().unwrap()]);
    assert!(output.status.success() && out(&output).ends_with(&format!("{}\n", page.display())));
    assert!(std::fs::read_to_string(&page).unwrap().starts_with("<!doctype html>"));
    let empty = folder.path().to_str().unwrap();
    fails(&["report", "--results", empty, "--output", "never.html"], &[empty, "cargo xtask accept"]);
    let tables = folder.path().join("tables");
    let page = page.to_str().unwrap();
    assert!(xtask(&["report", "--output", page, "--tables", tables.to_str().unwrap()]).status.success());
    let latex = std::fs::read_to_string(tables.join("table2-quick-nmnist-1.tex")).unwrap();
    assert!(latex.contains("\\toprule") && latex.contains("synthetic stand-in"), "{latex}");
}

#[test]
fn what_has_no_runs_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_str().unwrap();
    assert!(out(&xtask(&["status", "--results", empty])).ends_with(": no runs\n"));
    assert_eq!(out(&xtask(&["status", "--json", "--results", empty])), "[]\n");
    fails(&["evaluate"], &["--weights", "--run"]);
    fails(
        &["evaluate", "--run", "0123", "--results", empty],
        &["no finished run 0123", "cargo xtask status"],
    );
    let export = ["export", "0123", "--to", "nir", "--output", "never.nir", "--results", empty];
    fails(&export, &["no finished run 0123"]);
    fails(&["evaluate", "--weights", "README.md", "--results", empty], &["README.md", "--run RUN_ID"]);
}

#[test]
fn the_plan_names_cells_networks_and_stand_ins() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let dry = ["reproduce", "table2", "--dry-run", "--threads", "2"];
    let output = xtask(&[&dry[..], &["--data", data, "--results", data]].concat());
    assert!(output.status.success());
    let mut plan = out(&output);
    for (before, behind) in [("about ", ", by"), ("calibration of ", " on this"), ("memory ", ", disk")] {
        let start = plan.find(before).unwrap() + before.len();
        let end = start + plan[start..].find(behind).unwrap();
        plan.replace_range(start..end, "N");
    }
    insta::assert_snapshot!("plan_table2_quick", plan);
}

#[test]
fn a_cell_that_artefacts_share_is_planned_once_and_takes_its_time_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let dry = ["reproduce", "all", "--dry-run", "--dataset", "nmnist", "--rule", "both", "--time-steps", "2"];
    let here = ["--epochs", "1", "--data", data, "--results", data];
    let all = |more: &[&str]| out(&xtask(&[&dry[..], &here, more].concat()));
    let plan = all(&[]);
    assert!(
        plan.contains("1 more cell planned above") && plan.contains("all:   1 cell to run, about "),
        "{plan}"
    );
    let none = all(&["--max-hours", "1e-9"]);
    assert!(none.contains("left out, since") && none.contains("all:   0 cells to run"), "{none}");
}

#[test]
fn the_plan_tells_the_memory_of_each_process() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let plan = |jobs: &str| {
        let plan = ["reproduce", "--dry-run", "--dataset", "nmnist", "--data", data, "--results", data];
        out(&xtask(&[&plan[..], &["--jobs", jobs]].concat()))
    };
    let (one, many) = (plan("1"), plan("8"));
    assert!(one.contains("; memory about ") && !one.contains("processes"), "{one}");
    assert!(many.contains(" in each of 4 processes, disk at most "), "there are 4 cells: {many}");
}

#[test]
fn processes_share_no_more_threads_than_were_given_and_have_one_at_least() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    for (threads, jobs, each) in
        [("3", "2", ", 1 thread\n"), ("4", "2", ", 2 threads\n"), ("1", "3", ", 1 thread\n")]
    {
        let plan = ["reproduce", "--dry-run", "--dataset", "nmnist", "--data", data, "--results", data];
        let plan = out(&xtask(&[&plan[..], &["--threads", threads, "--jobs", jobs]].concat()));
        assert!(plan.contains(each), "{threads} threads, {jobs} processes: {plan}");
    }
}

#[test]
fn the_plan_names_ann_twins_unless_rules_were_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let plan = ["reproduce", "table5", "--dry-run", "--dataset", "nmnist", "--data"];
    let plan = [&plan[..], &[folder.path().to_str().unwrap()]].concat();
    let line = "\n    ANN twin  1: no spikes, one time step, engine reference; seeds 1\n";
    let of_all = out(&xtask(&plan));
    assert!(of_all.contains(line) && of_all.contains("    cells     4: rules baseline,"), "{of_all}");
    let of_rule = out(&xtask(&[&plan[..], &["--rule", "both"]].concat()));
    assert!(!of_rule.contains("ANN twin") && of_rule.contains("    cells     1: rules both;"), "{of_rule}");
}

#[test]
fn what_was_asked_for_and_is_not_in_the_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let only = |more: &[&'static str]| {
        let run = ["run", "experiments/example.toml", "--dry-run", "--rule", "spatial"];
        [&run[..], more].concat()
    };
    let data = folder.path().to_str().unwrap();
    let output = command(&only(&["--rule", "both", "--dataset", "nmnist", "--dataset", "mnist"]))
        .args(["--data", data])
        .output()
        .unwrap();
    let plan = out(&output);
    assert!(plan.contains(": rules both; T = 2, 4"), "{plan}");
    for name in ["data set `mnist`", "rule `spatial`"] {
        let line = format!("\n  {name}: experiments/example.toml has no cells of it in profile quick\n");
        assert!(plan.contains(&line), "{plan}");
    }
    let output = command(&only(&[])).args(["--data", data]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    for part in [
        "example.toml: no cell is left",
        "and no rule `spatial`",
        "the rules baseline, temporal, both",
        "--rule",
    ] {
        assert!(message.contains(part), "`{part}`: {message}");
    }
}

#[test]
fn one_thread_and_one_epoch_are_no_plural() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let only = ["--dataset", "nmnist", "--threads", "1", "--epochs", "1", "--data", data];
    let plan = out(&xtask(&[&["reproduce", "--dry-run"], &only[..]].concat()));
    assert!(plan.contains("1 epoch,") && plan.contains("1 thread\n"), "{plan}");
}

#[test]
fn words_that_mean_nothing_are_refused() {
    fails(&["reproduce", "table2", "--rule", "bptt"], &["unknown rule `bptt`", "baseline, spatial"]);
    fails(&["reproduce", "table2", "--dataset", "minst"], &["minst", "mnist"]);
    fails(&["reproduce", "table3"], &["table3", "table1", "table2"]);
    fails(&["reproduce", "table2", "--time-steps", "0"], &["--time-steps", "1..=1024"]);
    fails(&["reproduce", "table2", "--seeds", "1001"], &["--seeds", "1..=1000"]);
    fails(&["reproduce", "table2", "--epochs", "4294967295"], &["--epochs", "1..=100000"]);
    fails(
        &["data", "inspect", "README.md", "--format", "bogus"],
        &["\"bogus\"", "idx, cifar10-bin, nmnist-bin"],
    );
    fails(&["data", "inspect", "README.md"], &["README.md", "--format", "idx"]);
    let frame = ["data", "frame", "--file", "README.md", "--output", "x.h5", "--time-steps"];
    fails(&[&frame[..], &["99999999999"]].concat(), &["--time-steps", "1..=1024"]);
    fails(&[&frame[..], &["4"]].concat(), &["README.md", "--format: nmnist-bin, aedat2, aedat3.1"]);
    for of_steps in [&["--json"][..], &["--engine", "reference"], &["--device", "cuda:0"], &["--save", "a"]] {
        fails(&[&["bench", "layers"], of_steps].concat(), &["unexpected argument", of_steps[0]]);
    }
    fails(&["reproduce", "table2", "--device", "gpu"], &["unknown device `gpu`", "cuda:N"]);
}

#[test]
fn damaged_files_of_every_format_are_errors_with_file_and_offset() {
    let folder = tempfile::tempdir().unwrap();
    let idx = |magic: u32, count: u32| {
        let mut bytes = magic.to_be_bytes().to_vec();
        bytes.extend(count.to_be_bytes());
        bytes.extend([0; 7]);
        bytes
    };
    let cases: [(&str, Vec<u8>, Option<&str>, &str); 9] = [
        ("empty.bin", vec![], Some("nmnist-bin"), "byte 0"),
        ("cut.bin", vec![0; 12], Some("nmnist-bin"), "byte 10"),
        ("empty.aedat", vec![], Some("aedat2"), "byte 0"),
        ("magic.aedat", b"#!AER-DAT1.0\r\n".to_vec(), Some("aedat2"), "byte 0"),
        ("cut.aedat", b"#!AER-DAT2.0\r\n\0\0\0".to_vec(), None, "byte 14"),
        ("header.aedat", b"#!AER-DAT3.1\r\n#nothing\r\n".to_vec(), None, "byte 24"),
        ("packet.aedat", b"#!AER-DAT3.1\r\n#!END-HEADER\r\n\x01\0".to_vec(), None, "byte 28"),
        ("labels-idx1-ubyte", idx(0x801, 100), Some("idx"), "byte 15"),
        ("data_batch_1.bin", vec![0; 100], Some("cifar10-bin"), "byte 0"),
    ];
    for (name, bytes, format, offset) in cases {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut arguments = vec!["data", "inspect", path.to_str().unwrap()];
        if let Some(format) = format {
            arguments.extend(["--format", format]);
        }
        fails(&arguments, &[name, offset]);
    }
}

#[test]
fn framing_a_damaged_file_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (file, output) = (folder.path().join("cut.bin"), folder.path().join("frames.h5"));
    std::fs::write(&file, [0; 12]).unwrap();
    let (file, output) = (file.to_str().unwrap(), output.to_str().unwrap());
    fails(
        &["data", "frame", "--file", file, "--time-steps", "4", "--split", "number", "--output", output],
        &["cut.bin", "byte 10"],
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the damaged file alone");
}

#[test]
fn outside_the_root_the_root_is_asked_for() {
    for arguments in [&["data", "list"][..], &["reproduce", "--dry-run"], &["tidy"]] {
        let output = command(arguments).current_dir(root().join("crates")).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        assert!(
            message.contains("datasets.toml is not here: run this from the root of the repository"),
            "{message}"
        );
    }
}

#[test]
fn what_the_system_says_is_said_once() {
    let output = xtask(&["data", "inspect", "no-such-file.aedat"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(message.matches("No such file").count(), 1, "{message}");
    let folder = tempfile::tempdir().unwrap();
    let (data, runs) = (folder.path().join("data"), folder.path().join("runs"));
    std::fs::write(&runs, "a file").unwrap();
    let (data, runs) = (data.to_str().unwrap(), runs.to_str().unwrap());
    let output = xtask(&["reproduce", "--dataset", "nmnist", "--data", data, "--results", runs]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(message.matches("os error").count(), 1, "{message}");
}

#[test]
fn a_preview_of_a_file_is_drawn_once_and_a_damaged_one_never() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("good.bin"), [1, 2, 128, 0, 0, 3, 4, 0, 0, 9]).unwrap();
    std::fs::write(path("cut.bin"), [0; 12]).unwrap();
    let (good, cut, stem) = (path("good.bin"), path("cut.bin"), path("out"));
    fails(&["data", "preview", &cut, "--output", &stem], &["cut.bin", "byte 10"]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "the two recordings alone");

    let draw = ["data", "preview", &good, "--time-steps", "2", "--split", "time", "--output", &stem];
    let said = out(&xtask(&draw));
    for part in ["good.bin (nmnist-bin)", "time:2", "real time", "out.png", "out.gif"] {
        assert!(said.contains(part), "`{said}` lacks `{part}`");
    }
    fails(&draw, &["out.png already exists", "--force"]);
    assert!(xtask(&[&draw[..], &["--force"]].concat()).status.success());
}

#[test]
fn what_cannot_be_looked_at_is_said_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let missing = ["dvsgesture is not in the data folder", "data import dvsgesture", "no stand-in"];
    fails(&["data", "preview", "dvsgesture", "--data", data], &missing);
    fails(&["data", "stats", "dvsgesture", "--data", data], &missing);
    fails(
        &["data", "stats", "dvsgesture", "--stand-in", "--data", data],
        &["cargo xtask data stand-in dvsgesture --train N --test N"],
    );
    fails(&["data", "preview", "gestures"], &["no data set gestures", "nor is there such a file"]);
    fails(&["data", "preview", "mnist", "--format", "idx"], &["--format is for files"]);
    fails(&["data", "preview", "README.md", "--stand-in"], &["--stand-in is for data sets"]);
    fails(&["data", "preview", "nmnist", "--sample", "1", "--samples", "2"], &["--sample", "--samples"]);
}

#[test]
fn the_time_of_two_rounds_is_their_mean_and_not_the_slower_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("good.bin");
    std::fs::write(&file, [1, 2, 128, 0, 0, 3, 4, 0, 0, 9]).unwrap();
    let bench = ["bench", "events", "--rounds", "2", "--time-steps", "2", "--json", "--file"];
    let json = out(&xtask(&[&bench[..], &[file.to_str().unwrap()]].concat()));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let [one, two] = [0, 1].map(|round| json["seconds"][round].as_f64().unwrap());
    assert_eq!(json["seconds_per_file"].as_f64(), Some(f64::midpoint(one, two)), "{json}");
}

/// A registry of one data set of one's own: two recordings of either class, in `tree` beside it.
fn own_registry(folder: &Path, framing: &str) -> PathBuf {
    for (class, take) in [("clap", 1u8), ("clap", 2), ("wave", 1), ("wave", 2)] {
        let class = folder.join("tree").join(class);
        std::fs::create_dir_all(&class).unwrap();
        std::fs::write(class.join(format!("{take}.bin")), [take, 2, 128, 0, 0, 3, take, 0, 0, 9]).unwrap();
    }
    let table = "[gestures]\ntitle = \"Gestures\"\ncitation = \"none\"\nlicence = \"ours\"\nkind = \"events\"\n\
        layout = \"class-folders\"\nformat = \"nmnist-bin\"\nwidth = 34\nheight = 34\nchannels = 2\n\
        classes = [\"clap\", \"wave\"]\nsplit = \"first-nine-tenths-by-name\"\n";
    let path = folder.join("own.toml");
    std::fs::write(&path, format!("{table}framing = \"{framing}\"\n")).unwrap();
    path
}

#[test]
fn a_data_set_of_ones_own_is_imported_and_not_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let registry = own_registry(folder.path(), "number:16");
    let (data, registry) = (folder.path().join("data"), registry.to_str().unwrap());
    let of = ["--registry", registry, "--data", data.to_str().unwrap()];
    for command in ["fetch", "import"] {
        let way_out =
            "no published files of gestures: import your own with `cargo xtask data import gestures --from";
        fails(&[&["data", command, "gestures"][..], &of].concat(), &[way_out]);
    }
}

#[test]
fn a_number_of_frames_keeps_the_data_sets_rule() {
    for (rule, framed) in [
        ("number:3", "number:16"),
        ("time:3", "time:16"),
        ("duration:20000us", "duration:20000us:16"),
        ("duration:20000us:3", "duration:20000us:16"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let registry = own_registry(folder.path(), rule);
        let tree = folder.path().join("tree");
        let (data, tree) = (folder.path().join("data"), tree.to_str().unwrap());
        let of = ["--registry", registry.to_str().unwrap(), "--data", data.to_str().unwrap()];
        let import = ["data", "import", "gestures", "--from", tree];
        assert!(xtask(&[&import[..], &of].concat()).status.success());
        let frame = ["data", "frame", "gestures", "--time-steps", "16"];
        let said = out(&xtask(&[&frame[..], &of].concat()));
        assert!(said.contains(&format!("frames [16, 2, 34, 34] by {framed},")), "{rule}: {said}");
    }
}
