//! Generated data go the way of the real ones.

use std::io::Write;
use std::path::Path;

use bpsta_datasets::synthetic::Size;
use bpsta_datasets::{DatasetError, DatasetId, Kind, Store, Which, synthetic};
use bpsta_events::Framing;

use crate::tree::{assert_nothing_imported, contents, nmnist, registry, store};

const SIZE: Size = Size { train: 22, test: 11 };

fn load(store: &Store, id: DatasetId) -> (bpsta_datasets::Manifest, bpsta_datasets::Dataset) {
    let manifest = store.synthetic(id, &SIZE, 3).unwrap();
    let framing =
        (registry().get(id).unwrap().kind == Kind::Events).then_some(Framing::ByNumber { frames: 3 });
    let data = store.load(&manifest, framing).unwrap();
    (manifest, data)
}

#[test]
fn every_data_set_has_a_stand_in_that_loads() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    for id in DatasetId::PAPER {
        let (manifest, data) = load(&store, id);
        let info = registry().get(id).unwrap().clone();
        assert!(
            data.synthetic && manifest.synthetic && manifest.subset.is_none() && manifest.seed == Some(3)
        );
        assert!(manifest.describe().contains("synthetic stand-in"), "{}", manifest.describe());
        // DVS-CIFAR10 has no official split: its rule decides how the 33 (rounded up to 40) samples are divided.
        let expected = if id == DatasetId::DVSCIFAR10 { (30, 10) } else { (22, 11) };
        assert_eq!((data.train.len(), data.test.len()), expected, "{id}");
        assert_eq!((data.classes, data.channels), (info.classes.len(), info.channels));
        assert!(data.train.labels().iter().all(|&label| usize::from(label) < data.classes));
        let mut sample = Vec::new();
        data.train.read(&[0], &mut sample).unwrap();
        assert_eq!(sample.len(), data.time_steps * data.channels * data.height * data.width);
        assert!(sample.iter().any(|&value| value > 0.0) && sample.iter().all(|value| value.is_finite()));
        if info.kind == Kind::Static {
            assert!(sample.iter().all(|value| (0.0..=1.0).contains(value)));
        }
        assert!(store.manifest(id).unwrap().is_none(), "a stand-in is not an import");
        let there: Vec<_> = store.stand_ins(id).unwrap().into_iter().map(Result::unwrap).collect();
        assert_eq!(there, std::slice::from_ref(&manifest));
        assert_eq!(store.verify(&manifest).unwrap().problems, Vec::<String>::new());
    }
}

/// Each data set's smallest has samples of both kinds.
#[test]
fn the_smallest_stand_ins_load() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    for (id, train, expected) in [
        (DatasetId::MNIST, 1, (1, 1)),
        (DatasetId::CIFAR10, 5, (5, 1)),
        (DatasetId::NMNIST, 1, (1, 1)),
        (DatasetId::DVSGESTURE, 1, (1, 1)),
        (DatasetId::DVSCIFAR10, 10, (10, 10)),
    ] {
        let manifest = store.synthetic(id, &Size { train, test: 1 }, 3).unwrap();
        assert_eq!((manifest.samples.train, manifest.samples.test), expected, "{id}");
    }
}

#[test]
fn a_stand_in_is_generated_once_and_is_the_same_everywhere() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = store(one.path()).synthetic(DatasetId::NMNIST, &SIZE, 1).unwrap();
    let marker = one.path().join(format!("data/synthetic/nmnist/22-11-1-v{}/marker", synthetic::VERSION));
    std::fs::write(&marker, "").unwrap();
    assert_eq!(store(one.path()).synthetic(DatasetId::NMNIST, &SIZE, 1).unwrap(), first);
    assert!(marker.exists(), "it was not generated again");
    assert_eq!(store(two.path()).synthetic(DatasetId::NMNIST, &SIZE, 1).unwrap().hash(), first.hash());
    let other = store(one.path()).synthetic(DatasetId::NMNIST, &SIZE, 2).unwrap();
    assert_ne!(other.hash(), first.hash());
}

#[test]
fn a_stand_in_never_passes_for_the_official_data() {
    let folder = tempfile::tempdir().unwrap();
    let (above, home) = (folder.path().join("above"), folder.path().join("home"));
    let tree = above.join("tree");
    synthetic::generate(DatasetId::NMNIST, &SIZE, 1, &tree).unwrap();
    let theirs = store(folder.path());
    let made = theirs.folder(&theirs.synthetic(DatasetId::NMNIST, &SIZE, 1).unwrap());
    let raw = made.join("raw");
    // Its files as they are handed on: copied without what lies above, and packed.
    let copied = folder.path().join("copied");
    copy(&raw, &copied);
    let packed = folder.path().join("packed.zip");
    pack(&raw, &packed);
    // A stand-in of an older program has its manifest alone.
    let older = folder.path().join("older");
    copy(&made, &older);
    std::fs::remove_file(older.join("raw/SYNTHETIC.txt")).unwrap();
    for (from, says) in [
        (tree, "SYNTHETIC.txt"),
        (above, "SYNTHETIC.txt"),
        (made, "SYNTHETIC.txt"),
        (raw, "SYNTHETIC.txt"),
        (copied, "SYNTHETIC.txt"),
        (packed, "SYNTHETIC.txt"),
        (older.clone(), "manifest.json"),
        (older.join("raw"), "manifest.json"),
    ] {
        let error = store(&home).import(DatasetId::NMNIST, &from).unwrap_err();
        match error {
            DatasetError::OfArchive { .. } => assert!(from.is_file(), "{error}"),
            _ => assert!(matches!(error, DatasetError::NotRecognised { .. }), "{error}"),
        }
        let said = format!("{says} there or above says that it was generated");
        assert!(error.to_string().contains(&said), "{error}");
        assert_nothing_imported(&home, DatasetId::NMNIST);
    }

    // Cut off, it says nothing any more.
    std::fs::write(older.join("manifest.json"), "{\"schema\": 1, \"data").unwrap();
    for from in [&older, &older.join("raw")] {
        let error = store(&home).import(DatasetId::NMNIST, from).unwrap_err().to_string();
        assert!(
            error.contains("does not hold nmnist: expected official data, but the manifest.json"),
            "{error}"
        );
        assert!(error.contains("generated or unknown"), "{error}");
        assert_nothing_imported(&home, DatasetId::NMNIST);
    }
    // Far above, it is another program's.
    let deep = older.join("mine/tree");
    nmnist(&deep, 2, 1);
    store(&home).import(DatasetId::NMNIST, &deep).unwrap();
}

fn copy(from: &Path, to: &Path) {
    for (name, bytes) in contents(from) {
        let path = to.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

fn pack(from: &Path, to: &Path) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(to).unwrap());
    for (name, bytes) in contents(from) {
        zip.start_file(name.to_str().unwrap(), zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    zip.finish().unwrap();
}

/// It is no file of the data set: manifests and their hashes are as they were before there was one in `raw/`.
#[test]
fn the_marker_of_a_stand_in_is_in_no_manifest_and_of_official_data_it_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let made = store.synthetic(DatasetId::NMNIST, &SIZE, 1).unwrap();
    let marker = store.folder(&made).join("raw/SYNTHETIC.txt");
    assert!(std::fs::read_to_string(&marker).unwrap().contains("NOT THE OFFICIAL DATA"));
    assert!(made.files.iter().all(|file| !file.path.contains("SYNTHETIC")));
    assert_eq!(store.verify(&made).unwrap().problems, Vec::<String>::new());
    std::fs::copy(&marker, marker.with_file_name("Train/SYNTHETIC.txt")).unwrap();
    assert_eq!(store.verify(&made).unwrap().problems.len(), 1, "another file of that name is none of ours");

    nmnist(&folder.path().join("tree"), 2, 1);
    let real = store.import(DatasetId::NMNIST, &folder.path().join("tree")).unwrap();
    std::fs::copy(&marker, store.folder(&real).join("raw/SYNTHETIC.txt")).unwrap();
    assert_eq!(store.verify(&real).unwrap().problems.len(), 1);
}

#[test]
fn an_unreadable_stand_in_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let id = DatasetId::NMNIST;
    let [bad, good] = [1, 2].map(|seed| store.synthetic(id, &SIZE, seed).unwrap());
    let name = |manifest| store.folder(manifest).file_name().unwrap().to_str().unwrap().to_owned();
    std::fs::write(store.folder(&bad).join("manifest.json"), "{\"schema\": 1, \"dat").unwrap();

    let there = store.stand_ins(id).unwrap();
    assert!(matches!(&there[..], [Err(DatasetError::Manifest { .. }), Ok(found)] if *found == good));
    assert_eq!(store.find(id, &Which::StandIn).unwrap(), good);
    assert_eq!(store.find(id, &Which::Named(name(&good))).unwrap(), good);
    let error = store.find(id, &Which::Named(name(&bad))).unwrap_err();
    assert!(matches!(error, DatasetError::Manifest { .. }), "{error}");
    assert!(matches!(store.find(id, &Which::Real), Err(DatasetError::NotImported { .. })));

    // With no other, it may be the one that is meant.
    std::fs::remove_dir_all(store.folder(&good)).unwrap();
    let error = store.find(id, &Which::StandIn).unwrap_err();
    assert!(matches!(error, DatasetError::Manifest { .. }), "{error}");
}

/// There is nothing that could be imported again.
#[test]
fn what_is_wrong_with_a_stand_in_says_that_it_is_generated_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let manifest = store.synthetic(DatasetId::NMNIST, &SIZE, 1).unwrap();
    let home = store.folder(&manifest);
    let file = home.join("raw").join(&manifest.files[0].path);
    std::fs::write(file, "x").unwrap();
    let error = store.stats(&manifest).map(|_| ()).unwrap_err();
    assert!(matches!(error, DatasetError::Changed { .. }), "{error}");
    let said = format!("remove {}, and it is generated again", home.display());
    assert!(error.to_string().ends_with(&said), "{error}");
    let path = home.join("manifest.json");
    let text = std::fs::read_to_string(&path).unwrap();
    for damaged in [&text[..50], &text.replace("\"label\": 1", "\"label\": 10")] {
        std::fs::write(&path, damaged).unwrap();
        let error = store.stand_in(DatasetId::NMNIST, &SIZE, 1).unwrap_err();
        assert!(matches!(error, DatasetError::Manifest { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains("generated again") && !error.contains("import"), "{error}");
    }
}

#[test]
fn two_processes_may_want_the_same_stand_in() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| load(&store, DatasetId::NMNIST).0.hash())).collect();
        let hashes: Vec<String> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]));
    });
}
