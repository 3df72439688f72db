use std::fs::{self, File};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use bpsta_datasets::{Counts, DatasetError, DatasetId, Progress, SplitName, Subset};
use bpsta_events::Format;

use crate::tree::{assert_nothing_imported, contents, events, framing, nmnist, store, write};

#[test]
fn a_part_of_nmnist_becomes_a_recorded_subset() {
    let folder = tempfile::tempdir().unwrap();
    nmnist(&folder.path().join("N-MNIST"), 20, 10);
    // The folder above the tree is as good as the tree.
    let manifest = store(folder.path()).import(DatasetId::NMNIST, folder.path()).unwrap();
    assert_eq!(manifest.samples, Counts { train: 20, test: 10 });
    let subset = Subset { train: 20, train_official: 60000, test: 10, test_official: 10000 };
    assert_eq!(manifest.subset, Some(subset));
    assert_eq!(manifest.missing, ["Test: numbers 11-10000", "Train: numbers 21-60000"]);
    assert_eq!(manifest.describe(), "N-MNIST, subset: 20 of 60,000 training and 10 of 10,000 test samples");
    assert!(!manifest.synthetic && manifest.files.is_sorted_by(|a, b| a.path < b.path));

    // Bytes are copied as they are, and the manifest that was written is the one that was returned.
    let raw = folder.path().join("data/nmnist/raw");
    assert_eq!(contents(&raw), contents(&folder.path().join("N-MNIST")));
    assert_eq!(store(folder.path()).manifest(DatasetId::NMNIST).unwrap().unwrap(), manifest);
    assert_eq!(contents(&folder.path().join("data")).len(), 30 + 2, "manifest, lock file and 30 files");
}

#[test]
fn importing_the_same_again_changes_nothing_and_another_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    nmnist(&tree, 10, 3);
    let store = store(folder.path());
    let first = store.import(DatasetId::NMNIST, &tree).unwrap();
    let before = contents(&folder.path().join("data"));
    assert_eq!(store.import(DatasetId::NMNIST, &tree).unwrap(), first);

    // As many files, which the two descriptions cannot tell apart.
    fs::copy(tree.join("Train/1/00001.bin"), tree.join("Train/2/00002.bin")).unwrap();
    let error = store.import(DatasetId::NMNIST, &tree).unwrap_err().to_string();
    assert!(
        error.contains("would be the same but for Train/2/00002.bin, of which it would have another"),
        "{error}"
    );
    fs::rename(tree.join("Train/2/00002.bin"), tree.join("Train/2/00012.bin")).unwrap();
    let error = store.import(DatasetId::NMNIST, &tree).unwrap_err().to_string();
    let said = "the same but for Train/2/00002.bin, in whose place it would have Train/2/00012.bin";
    assert!(error.contains(said), "{error}");

    nmnist(&tree, 11, 3);
    let error = store.import(DatasetId::NMNIST, &tree).unwrap_err();
    assert!(matches!(error, DatasetError::AlreadyImported { .. }), "{error}");
    assert!(error.to_string().contains("remove that folder"), "{error}");
    assert_eq!(contents(&folder.path().join("data")), before);
}

#[test]
fn one_bad_file_fails_the_import_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    nmnist(&tree, 30, 3);
    let bad = tree.join("Train/7/00017.bin");
    let whole = fs::read(&bad).unwrap();
    let outside = [[1, 3, 0, 0, 9], [1, 3, 0, 0, 9], [200, 3, 0, 0, 9]].concat();
    let cases = [
        (&whole[..7], "byte 5"),
        (&[][..], "byte 0"),
        (&outside, "byte 10: event 2 lies at x 200, y 3, outside"),
    ];
    for (bytes, what) in cases {
        fs::write(&bad, bytes).unwrap();
        let error = store(folder.path()).import(DatasetId::NMNIST, &tree).unwrap_err().to_string();
        assert!(error.contains("00017.bin") && error.contains(what), "{what}: {error}");
        assert_nothing_imported(folder.path(), DatasetId::NMNIST);
    }
    fs::write(&bad, whole).unwrap();
    store(folder.path()).import(DatasetId::NMNIST, &tree).unwrap();
}

#[test]
fn what_a_killed_import_left_is_cleared_away() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    nmnist(&tree, 10, 3);
    let left = ["importing", "unpacking"].map(|what| folder.path().join(format!("data/.{what}-nmnist-Xy12")));
    // These are of other data sets, whose imports may be running.
    let others = ["importing-nmnist-2-Xy12", "unpacking-nmnist-2-Xy12", "importing-nmnist2-Xy12"]
        .map(|name| folder.path().join(format!("data/.{name}")));
    for folder in others.iter().chain(&left) {
        fs::create_dir_all(folder.join("import/raw/Train")).unwrap();
    }
    assert!(store(folder.path()).manifest(DatasetId::NMNIST).unwrap().is_none());
    store(folder.path()).import(DatasetId::NMNIST, &tree).unwrap();
    assert!(!left.iter().any(|folder| folder.exists()) && others.iter().all(|folder| folder.exists()));
}

#[test]
fn an_import_waits_for_the_lock_and_holds_it_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let (tree, data) = (folder.path().join("tree"), folder.path().join("data"));
    nmnist(&tree, 10, 3);
    fs::create_dir(&data).unwrap();
    let path = data.join(".nmnist.lock");
    let lock = File::create(&path).unwrap();
    lock.lock().unwrap();
    let (heard, notices) = mpsc::channel();
    let held = std::sync::Arc::new(Mutex::new(Vec::new()));
    let store = store(folder.path()).with_progress({
        let held = std::sync::Arc::clone(&held);
        move |progress| match progress {
            Progress::Notice(text) => heard.send(text).unwrap(),
            _ => held.lock().unwrap().push(File::open(&path).unwrap().try_lock().is_err()),
        }
    });
    std::thread::scope(|scope| {
        let import = scope.spawn(|| store.import(DatasetId::NMNIST, &tree).unwrap());
        let notice = notices.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(notice.starts_with("waiting for another process that works on"), "{notice}");
        assert!(held.lock().unwrap().is_empty() && !data.join("nmnist").exists());
        drop(lock);
        import.join().unwrap();
    });
    assert_eq!(*held.lock().unwrap(), [true; 13]);
}

#[test]
fn folders_that_no_import_made_are_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    nmnist(&tree, 10, 3);
    fs::create_dir_all(folder.path().join("data/nmnist")).unwrap();
    fs::write(folder.path().join("data/nmnist/notes.txt"), "mine").unwrap();
    let error = store(folder.path()).import(DatasetId::NMNIST, &tree).unwrap_err();
    assert!(matches!(error, DatasetError::InTheWay { .. }), "{error}");
    assert!(folder.path().join("data/nmnist/notes.txt").exists());
}

#[test]
fn a_folder_without_the_data_set_says_what_is_expected() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    for id in DatasetId::PAPER {
        let error = store(folder.path()).import(id, &folder.path().join("empty")).unwrap_err();
        assert!(matches!(error, DatasetError::NotRecognised { .. }), "{id}: {error}");
        let error = store(folder.path()).import(id, &folder.path().join("absent")).unwrap_err();
        assert!(error.to_string().contains("absent"), "{id}: {error}");
        assert_nothing_imported_of_any(folder.path());
    }
}

fn assert_nothing_imported_of_any(folder: &std::path::Path) {
    let left = contents(&folder.join("data"));
    assert!(
        left.iter().all(|(path, bytes)| path.extension().is_some_and(|e| e == "lock") && bytes.is_empty())
    );
}

/// Two trials of two and one gestures, the second overlapping the first, as in user22_led.
fn gestures(tree: &std::path::Path) {
    fs::create_dir_all(tree).unwrap();
    fs::write(tree.join("trials_to_train.txt"), "user02_led.aedat\nuser01_lab.aedat\n").unwrap();
    fs::write(tree.join("trials_to_test.txt"), "user24_led.aedat\nuser25_led.aedat\n\n").unwrap();
    let header = "class,startTime_usec,endTime_usec\n";
    for (name, rows) in [
        ("user01_lab", "11,970,9700\n3,4850,19400\n"),
        ("user02_led", "1,0,97\n"),
        ("user24_led", "5,97,194\n"),
    ] {
        write(&tree.join(format!("{name}.aedat")), &events(7, 300, 128), Format::Aedat31);
        fs::write(tree.join(format!("{name}_labels.csv")), format!("{header}{rows}")).unwrap();
    }
}

#[test]
fn gesture_trials_are_cut_by_their_label_rows() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("DvsGesture");
    gestures(&tree);
    let store = store(folder.path());
    let manifest = store.import(DatasetId::DVSGESTURE, &tree).unwrap();
    assert_eq!(manifest.samples, Counts { train: 3, test: 1 });
    assert_eq!(manifest.missing, ["user25_led.aedat"]);

    let data = store.load(&manifest, Some(framing("number:1"))).unwrap();
    assert_eq!((data.train.labels(), data.test.labels()), (&[10, 2, 0][..], &[4][..]));
    assert_eq!((data.height, data.width, data.classes), (128, 128, 11));
    let mut frames = Vec::new();
    data.train.read(&[0, 1, 2], &mut frames).unwrap();
    // An event comes every 97 us: starts belong to a sample, ends do not.
    let sums: Vec<f32> = frames.chunks(data.train.sample_len()).map(|sample| sample.iter().sum()).collect();
    assert_eq!(sums, [90.0, 150.0, 1.0]);

    // Another class of the same gesture.
    let labels = store.folder(&manifest).join("raw/user02_led_labels.csv");
    let text = fs::read_to_string(&labels).unwrap();
    fs::write(&labels, text.replace("1,0,97", "2,0,97")).unwrap();
    let error = store.load(&manifest, Some(framing("number:2"))).map(|_| ()).unwrap_err();
    assert!(matches!(&error, DatasetError::Changed { path, .. } if *path == labels), "{error}");
}

#[test]
fn gesture_labels_that_do_not_fit_are_refused_with_file_and_line() {
    for (rows, line, word) in [
        ("11,970,9700\n12,970,9700\n", 3, "class from 1 to 11"),
        ("11,970\n", 2, "three whole numbers"),
        ("11,970,970\n", 2, "after the start"),
        ("1,90000,99000\n", 2, "no event"),
        ("", 1, "rows"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("DvsGesture");
        gestures(&tree);
        let text = format!("class,startTime_usec,endTime_usec\n{rows}");
        fs::write(tree.join("user01_lab_labels.csv"), text).unwrap();
        let error = store(folder.path()).import(DatasetId::DVSGESTURE, &tree).unwrap_err().to_string();
        let place = format!("user01_lab_labels.csv: line {line}");
        assert!(error.contains(&place) && error.contains(word), "{error}");
        assert_nothing_imported(folder.path(), DatasetId::DVSGESTURE);
    }
}

#[test]
fn dvscifar10_takes_nine_tenths_by_name_for_training() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("dvs-cifar10");
    for class in ["airplane", "bird"] {
        for i in 0..11 {
            let path = tree.join(format!("{class}/cifar10_{class}_{i}.aedat"));
            write(&path, &events(i, 50, 128), Format::Aedat2);
        }
    }
    let manifest = store(folder.path()).import(DatasetId::DVSCIFAR10, &tree).unwrap();
    // Sorted by name, 10 stands behind 1: of 11 files the first 9 train, and 8 and 9 are left to test.
    let test: Vec<_> = manifest.files.iter().filter(|f| f.split == Some(SplitName::Test)).collect();
    let names: Vec<&str> = test.iter().map(|file| file.path.as_str()).collect();
    let expected = [
        "airplane/cifar10_airplane_8",
        "airplane/cifar10_airplane_9",
        "bird/cifar10_bird_8",
        "bird/cifar10_bird_9",
    ];
    assert_eq!(names, expected.map(|name| format!("{name}.aedat")));
    assert_eq!(test.iter().map(|file| file.label).collect::<Vec<_>>(), [Some(0), Some(0), Some(2), Some(2)]);
    assert_eq!(manifest.split_rule.to_string(), "first-nine-tenths-by-name");
    assert_eq!(manifest.missing.len(), 10, "every class lacks some: {:?}", manifest.missing);
}

#[test]
fn changed_files_are_found_by_verifying_and_refused_by_loading() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    nmnist(&tree, 10, 3);
    let store = store(folder.path());
    let manifest = store.import(DatasetId::NMNIST, &tree).unwrap();
    assert_eq!(store.verify(&manifest).unwrap().problems, Vec::<String>::new());

    let raw = folder.path().join("data/nmnist/raw");
    let changed = raw.join("Train/3/00003.bin");
    let mut bytes = fs::read(&changed).unwrap();
    bytes[0] ^= 1;
    fs::write(&changed, bytes).unwrap();
    fs::remove_file(raw.join("Train/4/00004.bin")).unwrap();
    fs::write(raw.join("Train/extra.bin"), "?").unwrap();
    let problems = store.verify(&manifest).unwrap().problems;
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems[0].contains("00003.bin: expected BLAKE3"), "{problems:?}");
    let error = store.load(&manifest, Some(framing("number:2"))).unwrap_err().to_string();
    assert!(error.contains("import again"), "{error}");
}

#[test]
fn a_manifest_of_another_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    nmnist(&folder.path().join("tree"), 2, 1);
    let store = store(folder.path());
    let manifest = store.import(DatasetId::NMNIST, &folder.path().join("tree")).unwrap();
    let path = store.folder(&manifest).join("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"schema\": 1", "\"schema\": 2")).unwrap();
    let error = store.manifest(DatasetId::NMNIST).unwrap_err().to_string();
    assert!(error.contains("schema 2") && error.contains("manifest.json"), "{error}");
    assert!(error.ends_with("update the program") && !error.contains("remove"), "{error}");
    fs::write(&path, text.replace("\"schema\": 1", "\"schema\": 0")).unwrap();
    let error = store.manifest(DatasetId::NMNIST).unwrap_err().to_string();
    assert!(error.ends_with("import again"), "{error}");
    fs::write(&path, text.replace("\"samples\": 1", "\"samples\": \"x\"")).unwrap();
    let error = store.manifest(DatasetId::NMNIST).unwrap_err().to_string();
    assert!(error.contains("files[0].samples"), "{error}");
    fs::write(&path, &text[..text.len() / 2]).unwrap();
    assert!(store.manifest(DatasetId::NMNIST).is_err());
}

#[test]
fn files_that_no_official_nmnist_tree_has_are_refused_by_name() {
    for (name, expected) in [
        ("Train/5/99999.bin", "a name from 00001.bin to 60000.bin"),
        ("Test/5/10001.bin", "a name from 00001.bin to 10000.bin"),
        ("Train/5/00000.bin", "a name from"),
        ("Train/5/7.bin", "a name from"),
        ("Train/5/foo.bin", "a name from"),
        ("Train/7/00005.bin", "every number once, but Train/5 has 00005.bin too"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        nmnist(&tree, 10, 3);
        write(&tree.join(name), &events(1, 50, 34), Format::NmnistBin);
        let error = store(folder.path()).import(DatasetId::NMNIST, &tree).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(expected) && error.contains("move it out"), "{error}");
        assert_nothing_imported(folder.path(), DatasetId::NMNIST);
    }
}

#[test]
fn recordings_of_another_class_are_no_dvscifar10_samples() {
    for name in ["cifar10_dog_77.aedat", "cifar10_cat_1000.aedat", "cifar10_cat_07.aedat", "cat.aedat"] {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        for name in ["cifar10_cat_3.aedat", name] {
            write(&tree.join("cat").join(name), &events(1, 50, 128), Format::Aedat2);
        }
        let error = store(folder.path()).import(DatasetId::DVSCIFAR10, &tree).unwrap_err().to_string();
        assert!(
            error.contains(name) && error.contains("cifar10_cat_0.aedat to cifar10_cat_999.aedat"),
            "{error}"
        );
    }
}

#[test]
fn a_class_without_files_is_named_as_missing() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    nmnist(&tree, 20, 10);
    for name in ["Train/3", "Train/8"] {
        fs::remove_dir_all(tree.join(name)).unwrap();
    }
    fs::create_dir(tree.join("Train/8")).unwrap();
    let manifest = store(folder.path()).import(DatasetId::NMNIST, &tree).unwrap();
    let expected = [
        "Test: numbers 11-10000",
        "Train: class 3: no file",
        "Train: class 8: no file",
        "Train: numbers 3, 8, 13, 18, 21-60000",
    ];
    assert_eq!(manifest.missing, expected);
}

#[test]
fn a_manifest_that_contradicts_itself_is_refused_with_the_field() {
    let folder = tempfile::tempdir().unwrap();
    nmnist(&folder.path().join("tree"), 2, 1);
    let store = store(folder.path());
    let manifest = store.import(DatasetId::NMNIST, &folder.path().join("tree")).unwrap();
    let path = store.folder(&manifest).join("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    for (from, to, field) in [
        ("\"dataset\": \"nmnist\"", "\"dataset\": \"mnist\"", "dataset"),
        ("\"synthetic\": false", "\"synthetic\": true", "synthetic"),
        ("\"train\": 2,\n    \"test\"", "\"train\": 3,\n    \"test\"", "samples"),
        ("\"train_official\": 60000", "\"train_official\": 2", "subset"),
        ("official-folders", "official-files", "split_rule"),
        ("\"label\": 1", "\"label\": 10", "files[0].label"),
        ("Train/2/00002.bin", "../../2/00002.bin", "files[2].path"),
        ("Train/2/00002.bin", "/etc/hosts", "files[2].path"),
        ("\"label\": 1", "\"label\": 2", "files[0].label"),
        ("\"label\": 1", "\"label\": null", "files[0].label"),
        ("Train/2/00002.bin", "Test/2/00002.bin", "files[2].path"),
        ("Train/1/00001.bin", "Test/1/00001.bin", "files[1].path"),
        ("\"samples\": 1", "\"samples\": 2", "samples"),
        ("\"split\": \"test\"", "\"split\": null", "files[0].split"),
        ("\"bytes\": 1000", "\"bytes\": 18446744073709551615", "files"),
    ] {
        assert!(text.contains(from), "{from} in {text}");
        let to = if field == "files" { text.replace(from, to) } else { text.replacen(from, to, 1) };
        fs::write(&path, to).unwrap();
        let error = store.manifest(DatasetId::NMNIST).unwrap_err().to_string();
        assert!(error.contains(&format!("manifest.json: at {field}: ")), "{from}: {error}");
    }
}

/// As many samples of either split as before, and each where the other belongs.
#[test]
fn a_manifest_whose_splits_are_swapped_is_refused() {
    let swap = |text: &str, [train, test]: [&str; 2]| {
        let split_of = |path: &str, from: &str, to: &str, text: &str| {
            let at = text.find(&format!("\"path\": \"{path}\"")).unwrap();
            let split = format!("\"split\": \"{from}\"");
            let changed = text[at..].replacen(&split, &format!("\"split\": \"{to}\""), 1);
            assert!(text[at..].find(&split).unwrap() < 400, "{path} is of {from}");
            format!("{}{changed}", &text[..at])
        };
        split_of(test, "test", "train", &split_of(train, "train", "test", text))
    };
    let refused = |store: &bpsta_datasets::Store, id: DatasetId, pair: [&str; 2]| {
        let manifest = store.manifest(id).unwrap().unwrap();
        let path = store.folder(&manifest).join("manifest.json");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, swap(&text, pair)).unwrap();
        let error = store.manifest(id).unwrap_err().to_string();
        assert!(error.contains(".split: expected ") && error.contains(", found "), "{error}");
        error
    };
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    nmnist(&folder.path().join("tree"), 2, 2);
    store.import(DatasetId::NMNIST, &folder.path().join("tree")).unwrap();
    let error = refused(&store, DatasetId::NMNIST, ["Train/1/00001.bin", "Test/2/00002.bin"]);
    assert!(error.contains("at files[1].split: expected test by official-folders, found train"), "{error}");

    for i in 0..10 {
        let path = folder.path().join(format!("dvs/bird/cifar10_bird_{i}.aedat"));
        write(&path, &events(i, 50, 128), Format::Aedat2);
    }
    store.import(DatasetId::DVSCIFAR10, &folder.path().join("dvs")).unwrap();
    let pair = ["bird/cifar10_bird_3.aedat", "bird/cifar10_bird_9.aedat"];
    refused(&store, DatasetId::DVSCIFAR10, pair);

    gestures(&folder.path().join("gestures"));
    store.import(DatasetId::DVSGESTURE, &folder.path().join("gestures")).unwrap();
    refused(&store, DatasetId::DVSGESTURE, ["trials_to_train.txt", "trials_to_test.txt"]);
}

#[test]
fn manifests_of_images_say_the_split_of_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let size = bpsta_datasets::synthetic::Size { train: 10, test: 10 };
    for id in [DatasetId::MNIST, DatasetId::CIFAR10] {
        let manifest = store.synthetic(id, &size, 1).unwrap();
        let path = store.folder(&manifest).join("manifest.json");
        let text = fs::read_to_string(&path).unwrap();
        // All of them, and with them the numbers, which are equal.
        let swapped = text.replace("\"split\": \"train\"", "\"split\": \"x\"");
        let swapped = swapped.replace("\"split\": \"test\"", "\"split\": \"train\"");
        fs::write(&path, swapped.replace("\"split\": \"x\"", "\"split\": \"test\"")).unwrap();
        let error = store.stand_in(id, &size, 1).unwrap_err().to_string();
        assert!(
            error.contains("files[0].split: expected t") && error.contains("by official-files"),
            "{error}"
        );
    }
}
