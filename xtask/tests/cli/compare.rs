//! `compare` and `reproduce --check` by their exit codes, on copies of committed records.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::{command, fails, out, root};

/// A folder with experiments/ and the records and tables of results/table2/quick.
pub(crate) fn copied() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for from in ["experiments", "results/table2/quick", "results/table2/quick/records"] {
        std::fs::create_dir_all(folder.path().join(from)).unwrap();
        for entry in std::fs::read_dir(root().join(from)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, folder.path().join(from).join(path.file_name().unwrap())).unwrap();
            }
        }
    }
    folder
}

/// One of its records.
pub(crate) fn record(folder: &Path) -> PathBuf {
    let records = std::fs::read_dir(folder.join("results/table2/quick/records")).unwrap();
    records.map(|entry| entry.unwrap().path()).min().unwrap()
}

pub(crate) fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from}");
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}

fn git(folder: &Path, arguments: &[&str]) {
    let who = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"];
    let output = Command::new("git").arg("-C").arg(folder).args(who).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The exit code, standard output and standard error of a call in a folder.
fn called(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = command(arguments).current_dir(folder).output().unwrap();
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!error.contains("panicked"), "{error}");
    (output.status.code().unwrap(), out(&output), error)
}

#[test]
fn the_exit_code_says_same_regressed_or_not_comparable() {
    let folder = copied();
    let at = folder.path();
    git(at, &["init", "--quiet"]);
    git(at, &["add", "."]);
    git(at, &["commit", "--quiet", "--message", "Records"]);
    git(at, &["tag", "results-of-then"]);
    let (code, text, _) = called(at, &["compare", "HEAD", "results"]);
    assert_eq!((code, text.lines().next()), (0, Some("same: 12 pairs equal bit for bit")));

    edit(&record(at), "\"train_loss\": 0.", "\"train_loss\": 1.");
    let (code, text, _) = called(at, &["compare", "results-of-then", "results"]);
    assert_eq!(code, 1);
    assert!(text.starts_with("regressed: 1 of 12 pairs that must be equal bit for bit differ\n"), "{text}");
    let (code, json, _) = called(at, &["compare", "results-of-then", "results/table2/quick", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, json["verdict"].as_str()), (1, Some("regressed")));
    assert_eq!(json["pairs"].as_array().map(Vec::len), Some(12));

    // A folder goes before a revision of its name.
    std::fs::rename(at.join("results"), at.join("results-of-then")).unwrap();
    assert_eq!(called(at, &["compare", "results-of-then", "results-of-then"]).0, 0);

    std::fs::rename(at.join("results-of-then"), at.join("results")).unwrap();
    edit(&record(at), "\"last\": ", "\"last\": 1");
    let (code, text, error) = called(at, &["compare", "HEAD", "results"]);
    assert_eq!((code, text.as_str()), (2, ""));
    assert!(
        error.contains("not comparable: ") && error.contains("not a sound record: key `accuracy.last`"),
        "{error}"
    );
    let (code, json, error) = called(at, &["compare", "HEAD", "results", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, json["verdict"].as_str()), (2, Some("not-comparable")));
    assert!(json["error"].as_str().unwrap().contains("key `accuracy.last`"), "{json}");
    assert!(error.contains("not comparable: "), "for people as well: {error}");
    let (code, _, error) = called(at, &["compare", "nothing", "HEAD"]);
    assert!(code == 2 && error.contains("neither such a folder nor such a revision"), "{error}");
}

#[test]
fn a_committed_table_that_drifted_fails_the_check_by_its_name() {
    let folder = copied();
    let at = folder.path();
    assert_eq!(called(at, &["reproduce", "--check"]).0, 0);
    edit(&at.join("results/table2/quick/table.md"), "ours: both", "ours: best");
    for arguments in [
        &["reproduce", "--check"][..],
        &["reproduce", "table2", "--check"],
        &["reproduce", "table2", "--check", "--results", "results"],
    ] {
        let (code, text, error) = called(at, arguments);
        assert_eq!(code, 1);
        assert!(text.contains("results/table2/quick/table.md: does not follow from records/"), "{text}");
        assert!(error.contains("--check --write"), "{error}");
    }
    assert_eq!(called(at, &["reproduce", "--check", "--write"]).0, 0);
    assert_eq!(called(at, &["reproduce", "--check"]).0, 0);
    let (code, _, error) = called(at, &["reproduce", "table1", "--check"]);
    assert!(code == 1 && error.contains("no records to check in results/table1"), "{error}");
}

#[test]
fn options_that_a_comparison_or_a_check_cannot_use_are_refused() {
    fails(&["compare", "results"], &["<NEW>"]);
    fails(&["compare", "results", "results", "--time-tolerance", "0.5"], &["a number of 1 or more"]);
    fails(&["reproduce", "--check", "--seeds", "2"], &["--check", "--seeds"]);
    fails(&["reproduce", "--write"], &["--check"]);
}
