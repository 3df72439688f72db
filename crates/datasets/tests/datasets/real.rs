//! The real files, where they are at hand: `BPSTA_SHARED`, or `../shared` beside the repository.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use bpsta_datasets::{Counts, DatasetId, SplitName};

use crate::tree::{framing, store};

/// The folder of real files. Says in words when a test is skipped for want of it.
pub(crate) fn shared(test: &str) -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("BPSTA_SHARED") {
        // Cargo runs tests in the crate's folder; the variable is meant from where cargo was started.
        let folder = PathBuf::from(folder);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        return Some(if folder.is_absolute() { folder } else { root.join(folder) });
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!(
        "{test} was skipped: BPSTA_SHARED is not set and there is no folder ../shared with the real files"
    );
    None
}

fn unxz(from: &Path) -> impl std::io::Read {
    lzma_rust2::XzReader::new(File::open(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())), true)
}

#[test]
fn all_of_mnist_imports_and_is_the_official_one() {
    let Some(shared) = shared("the test on MNIST") else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    // That the unpacked MD5s are the official ones is what the import checks.
    let manifest = store.import(DatasetId::MNIST, &shared.join("data/mnist")).unwrap();
    assert_eq!((manifest.samples, manifest.subset), (Counts { train: 60000, test: 10000 }, None));
    assert_eq!(manifest.describe(), "MNIST, complete: 60,000 training and 10,000 test samples");
    let data = store.load(&manifest, None).unwrap();
    assert_eq!((data.channels, data.height, data.width, data.time_steps), (1, 28, 28, 1));
    assert_eq!(data.train.labels()[..5], [5, 0, 4, 1, 9]);
    assert_eq!(data.test.labels()[..5], [7, 2, 1, 0, 4]);
    let mut pixels = Vec::new();
    data.train.read(&(0..60000).collect::<Vec<_>>(), &mut pixels).unwrap();
    let mean = pixels.iter().map(|&value| f64::from(value)).sum::<f64>() / pixels.len() as f64;
    assert!((mean - 0.1307).abs() < 5e-5, "the well-known mean of MNIST's pixels is 0.1307, found {mean}");
}

/// One training batch and the test batch: unpacking all six takes long.
#[test]
fn a_part_of_cifar10_imports_and_is_the_official_one() {
    let Some(shared) = shared("the test on CIFAR-10") else { return };
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("cifar-10-batches-bin");
    fs::create_dir(&tree).unwrap();
    std::thread::scope(|scope| {
        for name in ["data_batch_1.bin", "test_batch.bin"] {
            let (from, to) = (shared.join(format!("data/cifar10/{name}.xz")), tree.join(name));
            scope.spawn(move || std::io::copy(&mut unxz(&from), &mut File::create(to).unwrap()).unwrap());
        }
    });
    let store = store(folder.path());
    let manifest = store.import(DatasetId::CIFAR10, folder.path()).unwrap();
    assert_eq!(manifest.samples, Counts { train: 10000, test: 10000 });
    assert_eq!(manifest.missing.len(), 4, "{:?}", manifest.missing);
    assert!(manifest.subset.is_some());
    let data = store.load(&manifest, None).unwrap();
    assert_eq!((data.channels, data.height, data.width), (3, 32, 32));
    assert_eq!(data.train.labels()[..5], [6, 9, 9, 4, 1]);
    assert_eq!(data.test.labels()[..5], [3, 8, 8, 0, 6]);
    let mut first = Vec::new();
    data.train.read(&[0], &mut first).unwrap();
    assert_eq!((first[0] * 255.0, first[1024] * 255.0, first[2048] * 255.0), (59.0, 62.0, 63.0));
}

/// 1,000 and 100 files; their labels are MNIST's.
#[test]
fn the_nmnist_subset_imports_with_mnists_labels() {
    let Some(shared) = shared("the test on N-MNIST") else { return };
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    tar::Archive::new(unxz(&shared.join("data/nmnist.tar.xz"))).unpack(&tree).unwrap();
    let store = store(folder.path());
    let manifest = store.import(DatasetId::NMNIST, &tree).unwrap();
    assert_eq!(
        manifest.describe(),
        "N-MNIST, subset: 1,000 of 60,000 training and 100 of 10,000 test samples"
    );
    let mnist = store.import(DatasetId::MNIST, &shared.join("data/mnist")).unwrap();
    let mnist = store.load(&mnist, None).unwrap();
    for file in &manifest.files {
        let number: usize = file.path.rsplit('/').next().unwrap().trim_end_matches(".bin").parse().unwrap();
        let labels =
            if file.split == Some(SplitName::Train) { mnist.train.labels() } else { mnist.test.labels() };
        assert_eq!(file.label, Some(labels[number - 1]), "{}", file.path);
    }
    let data = store.load(&manifest, Some(framing("number:4"))).unwrap();
    assert_eq!((data.train.len(), data.test.len(), data.time_steps), (1000, 100, 4));
}
