//! `data` on a data folder of which a part cannot be read.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn data(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    command.arg("data").args(arguments).arg("--data").arg(folder).output().unwrap()
}

#[test]
fn an_unreadable_manifest_is_listed_beside_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = ["stand-in", "cifar10", "--train", "10", "--test", "10", "--seed", "77"];
    assert!(data(folder.path(), &stand_in).status.success());
    fs::create_dir(folder.path().join("mnist")).unwrap();
    fs::write(folder.path().join("mnist/manifest.json"), "{\"schema\": 1}").unwrap();
    let output = data(folder.path(), &["list"]);
    let (said, message) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{message}");
    let row = |name: &str| said.lines().find(|line| line.contains(name)).unwrap_or_default();
    assert!(row("MNIST").contains("unreadable"), "{said}");
    assert!(row("CIFAR-10").contains("synthetic stand-in, seed 77"), "{said}");
    assert!(row("unreadable: ").contains("mnist/manifest.json: at"), "{said}");
    assert!(row("not in").contains("cifar10, nmnist"), "{said}");
    assert!(message.contains("1 manifest cannot be read"), "{message}");
}
