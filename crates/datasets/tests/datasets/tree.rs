//! Small official-looking trees, and what the tests share.

use std::fs;
use std::path::{Path, PathBuf};

use bpsta_datasets::{DatasetId, Registry, Store};
use bpsta_events::{Events, Format, Framing};

/// The repository's own registry.
pub(crate) fn registry_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets.toml")
}

pub(crate) fn registry() -> Registry {
    Registry::load(&registry_path()).unwrap()
}

pub(crate) fn store(folder: &Path) -> Store {
    Store::open(&folder.join("data"), &registry())
}

/// Events that differ from seed to seed, all on a sensor of `side` x `side` pixels.
pub(crate) fn events(seed: u64, count: u64, side: u64) -> Events {
    let mut events = Events::default();
    for i in 0..count {
        let mixed = (seed * 1_000_003 + i * 7919).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        let (x, y) = (mixed % side, (mixed / side) % side);
        events.push((i * 97) as i64, x as u16, y as u16, mixed.is_multiple_of(3));
    }
    events
}

/// Writes `events` in a format.
pub(crate) fn write(path: &Path, events: &Events, format: Format) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bpsta_events::encode(events, format).unwrap()).unwrap();
}

/// An N-MNIST tree with the given numbers of files; digits go round.
pub(crate) fn nmnist(root: &Path, train: usize, test: usize) {
    for (folder, count, offset) in [("Train", train, 0), ("Test", test, 1000)] {
        for number in 1..=count {
            let path = root.join(format!("{folder}/{}/{number:05}.bin", number % 10));
            write(&path, &events((number + offset) as u64, 200, 34), Format::NmnistBin);
        }
    }
}

/// `number:4` or `time:4`.
pub(crate) fn framing(text: &str) -> Framing {
    let (by, frames) = text.split_once(':').unwrap();
    let frames = frames.parse().unwrap();
    if by == "time" { Framing::ByTime { frames } } else { Framing::ByNumber { frames } }
}

/// Everything under a folder, by relative path, with its bytes.
pub(crate) fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut out = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        let Ok(entries) = fs::read_dir(&current) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                out.push((path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    out.sort();
    out
}

/// The files an import may leave behind when it fails: the empty lock file alone.
pub(crate) fn assert_nothing_imported(folder: &Path, id: DatasetId) {
    let left: Vec<PathBuf> = contents(&folder.join("data")).into_iter().map(|(path, _)| path).collect();
    assert!(left.iter().all(|path| *path == Path::new(&format!(".{id}.lock"))), "left behind: {left:?}");
    assert!(!folder.join("data").join(id.as_str()).exists());
}
