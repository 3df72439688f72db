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

#[test]
fn an_unreadable_stand_in_hides_no_other_from_list_and_verify() {
    let folder = tempfile::tempdir().unwrap();
    for seed in ["1", "2"] {
        let stand_in = ["stand-in", "cifar10", "--train", "10", "--test", "10", "--seed", seed];
        assert!(data(folder.path(), &stand_in).status.success());
    }
    let stand_ins =
        fs::read_dir(folder.path().join("synthetic/cifar10")).unwrap().map(|it| it.unwrap().path());
    let bad = stand_ins.filter(|path| path.ends_with("10-10-1-v1")).collect::<Vec<_>>().remove(0);
    fs::write(bad.join("manifest.json"), "{\"schema\": 1, \"dat").unwrap();
    for command in [&["list"][..], &["verify", "cifar10"]] {
        let output = data(folder.path(), command);
        let (said, message) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{command:?}: {message}");
        assert!(said.contains("synthetic stand-in") && said.contains("seed 2"), "{command:?}: {said}");
        let unreadable: Vec<_> = said.lines().filter(|line| line.starts_with("unreadable: ")).collect();
        assert!(matches!(unreadable[..], [line] if line.contains("10-10-1-v1/manifest.json: at")), "{said}");
        assert!(message.contains("1 manifest cannot be read"), "{command:?}: {message}");
    }
}
