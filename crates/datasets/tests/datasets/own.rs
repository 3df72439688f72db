//! A data set of one's own, by a table in the registry alone.

use std::fs;
use std::path::Path;

use bpsta_datasets::{Counts, DatasetError, DatasetId, Registry, Store};
use bpsta_events::Format;

use crate::tree::{events, framing, write};

fn table(split: &str, format: Format) -> String {
    format!(
        "[gestures]\ntitle = \"Gestures\"\ncitation = \"none\"\nlicence = \"ours\"\nkind = \"events\"\n\
         layout = \"class-folders\"\nformat = \"{format}\"\nwidth = 100\nheight = 100\nchannels = 2\n\
         classes = [\"clap\", \"wave\"]\nsplit = \"{split}\"\nframing = \"number:4\"\n"
    )
}

fn store(folder: &Path, text: &str) -> Store {
    let path = folder.join("own.toml");
    fs::write(&path, text).unwrap();
    Store::open(&folder.join("data"), &Registry::load(&path).unwrap())
}

fn gestures() -> DatasetId {
    "gestures".parse().unwrap()
}

#[test]
fn folders_of_recordings_are_imported_divided_and_framed() {
    for (seed, format) in [Format::NmnistBin, Format::Aedat2, Format::Aedat31].into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        for (class, count) in [("clap", 10), ("wave", 5)] {
            for take in 0..count {
                let path = tree.join(format!("{class}/take {take}.{}", format.extension()));
                write(&path, &events((seed * 100 + take) as u64, 300, 100), format);
            }
        }
        let store = store(folder.path(), &table("first-nine-tenths-by-name", format));
        let manifest = store.import(gestures(), &tree).unwrap();
        assert_eq!(manifest.samples, Counts { train: 9 + 4, test: 1 + 1 });
        assert_eq!(manifest.describe(), "Gestures, complete: 13 training and 2 test samples");
        assert_eq!(store.manifest(gestures()).unwrap().unwrap(), manifest);
        let data = store.load(&manifest, Some(framing("number:4"))).unwrap();
        assert_eq!(data.train.labels(), [[0; 9].as_slice(), &[1; 4]].concat());
        let mut values = Vec::new();
        data.test.read(&[1], &mut values).unwrap();
        assert_eq!(values.iter().sum::<f32>(), 300.0, "every event is in some frame");
    }
}

#[test]
fn an_official_split_lies_in_folders() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    for (path, seed) in [("Train/clap/a", 1), ("Train/wave/b", 2), ("Train/wave/c", 3), ("Test/clap/d", 4)] {
        write(&tree.join(format!("{path}.aedat")), &events(seed, 50, 100), Format::Aedat2);
    }
    let store = store(folder.path(), &table("official-folders", Format::Aedat2));
    // The folder above the tree is as good as the tree.
    let manifest = store.import(gestures(), folder.path()).unwrap();
    assert_eq!(manifest.samples, Counts { train: 3, test: 1 });
    assert_eq!(manifest.missing, ["Test/wave: no file"]);

    // Each of these would be left out.
    for path in ["Validate/clap/e.aedat", "Train/f.aedat", "g.aedat"] {
        let path = tree.join(path);
        write(&path, &events(5, 50, 100), Format::Aedat2);
        let error = store.import(gestures(), &tree).unwrap_err().to_string();
        assert!(error.contains("move it out of the tree"), "{error}");
        fs::remove_file(&path).unwrap();
        let _ = fs::remove_dir_all(tree.join("Validate"));
    }
    fs::write(tree.join("notes.txt"), "mine").unwrap();
    assert_eq!(store.import(gestures(), &tree).unwrap(), manifest);
}

/// Between the chunks of the two splits lie the labels and names of all training samples.
#[test]
fn many_samples_of_long_names_are_cached() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    let long = "x".repeat(200);
    for (split, count) in [("Train", 5000), ("Test", 3)] {
        for take in 0..count {
            let path = tree.join(format!("{split}/clap/{long}{take:04}.bin"));
            write(&path, &events(take, 3, 8), Format::NmnistBin);
        }
    }
    let text = table("official-folders", Format::NmnistBin)
        .replace("width = 100\nheight = 100", "width = 8\nheight = 8");
    let store = store(folder.path(), &text);
    let manifest = store.import(gestures(), &tree).unwrap();
    let data = store.load(&manifest, Some(framing("number:1"))).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (5000, 3));
    let (mut last, mut test) = (Vec::new(), Vec::new());
    data.train.read(&[2], &mut last).unwrap();
    data.test.read(&[2], &mut test).unwrap();
    assert_eq!((last, test.iter().sum::<f32>()), (test.clone(), 3.0));
}

/// Their parts are sound and of as many samples, and their cache would have the same name.
#[test]
fn a_build_does_not_go_on_with_parts_of_another_sensor() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    for (path, seed) in [("Train/clap/a", 1), ("Train/wave/b", 2), ("Test/clap/c", 3)] {
        write(&tree.join(format!("{path}.bin")), &events(seed, 50, 34), Format::NmnistBin);
    }
    let narrow = table("official-folders", Format::NmnistBin);
    let wide = narrow.replace("width = 100", "width = 110");
    let manifest = store(folder.path(), &narrow).import(gestures(), &tree).unwrap();
    // Training recordings are one batch, test recordings another: the second fails.
    let bad = folder.path().join("data/gestures/raw/Test/clap/c.bin");
    let whole = fs::read(&bad).unwrap();
    fs::write(&bad, &whole[..5]).unwrap();
    store(folder.path(), &narrow).load(&manifest, Some(framing("number:2"))).unwrap_err();
    fs::write(&bad, whole).unwrap();

    let data = store(folder.path(), &wide).load(&manifest, Some(framing("number:2"))).unwrap();
    let mut values = Vec::new();
    data.train.read(&[0, 1], &mut values).unwrap();
    assert_eq!((values.len(), values.iter().sum::<f32>()), (2 * 2 * 2 * 100 * 110, 100.0));
    // And a finished cache of another sensor is built again.
    let data = store(folder.path(), &narrow).load(&manifest, Some(framing("number:2"))).unwrap();
    assert_eq!(data.train.sample_len(), 2 * 2 * 100 * 100);
}

#[test]
fn more_samples_than_there_officially_are_make_no_subset() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    for path in ["Train/clap/a", "Train/wave/b", "Test/clap/c"] {
        write(&tree.join(format!("{path}.bin")), &events(1, 50, 34), Format::NmnistBin);
    }
    let text =
        |samples: &str| format!("{}samples = {samples}\n", table("official-folders", Format::NmnistBin));
    let said = "hold 2 training and 1 test samples";
    for samples in ["{ train = 1, test = 1 }", "{ train = 2, test = 0 }"] {
        let error = store(folder.path(), &text(samples)).import(gestures(), &tree).unwrap_err();
        assert!(matches!(error, DatasetError::MoreThanOfficial { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    let manifest = store(folder.path(), &text("{ train = 3, test = 1 }")).import(gestures(), &tree).unwrap();
    assert_eq!(manifest.subset.map(|subset| (subset.train, subset.train_official)), Some((2, 3)));
    let error =
        store(folder.path(), &text("{ train = 1, test = 1 }")).manifest(gestures()).unwrap_err().to_string();
    assert!(error.contains("at samples: the files ") && error.contains(said), "{error}");
}

/// Labels are places in the list: another order would give every recording another class.
#[test]
fn classes_in_another_order_than_at_the_import_are_noticed() {
    for (split, part) in [("first-nine-tenths-by-name", ""), ("official-folders", "Train/")] {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        for class in ["clap", "wave"] {
            write(&tree.join(format!("{part}{class}/a.bin")), &events(1, 50, 34), Format::NmnistBin);
        }
        let text = table(split, Format::NmnistBin);
        store(folder.path(), &text).import(gestures(), &tree).unwrap();
        for (classes, there) in [("\"wave\", \"clap\"", "wave"), ("\"boo\", \"wave\"", "boo")] {
            let store = store(folder.path(), &text.replace("\"clap\", \"wave\"", classes));
            let error = store.manifest(gestures()).unwrap_err().to_string();
            let said = format!(
                "at files[0].label: datasets.toml has {there} there, but the file lies at {part}clap/a.bin"
            );
            assert!(error.contains(&said), "{error}");
            assert!(store.import(gestures(), &tree).is_err());
        }
    }
}

#[test]
fn folders_without_recordings_are_no_import() {
    for (split, class) in [("first-nine-tenths-by-name", "clap"), ("official-folders", "Train/clap")] {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        fs::create_dir_all(tree.join(class)).unwrap();
        let store = store(folder.path(), &table(split, Format::Aedat2));
        let error = store.import(gestures(), &tree).unwrap_err();
        assert!(matches!(error, DatasetError::NotRecognised { .. }), "{error}");
        assert_eq!(store.manifest(gestures()).unwrap(), None);
    }
}

#[test]
fn what_is_no_recording_or_no_class_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    write(&tree.join("clap/a.aedat"), &events(1, 50, 100), Format::Aedat2);
    let store = store(folder.path(), &table("first-nine-tenths-by-name", Format::Aedat2));

    fs::write(tree.join("clap/notes.txt"), "x").unwrap();
    let error = store.import(gestures(), &tree).unwrap_err().to_string();
    assert!(error.contains("notes.txt") && error.contains(".aedat"), "{error}");
    fs::remove_file(tree.join("clap/notes.txt")).unwrap();

    fs::create_dir(tree.join("wabe")).unwrap();
    let error = store.import(gestures(), &tree).unwrap_err().to_string();
    assert!(error.contains("wabe") && error.contains("clap, wave"), "{error}");
    fs::remove_dir(tree.join("wabe")).unwrap();

    // It would be left out.
    fs::copy(tree.join("clap/a.aedat"), tree.join("b.aedat")).unwrap();
    let error = store.import(gestures(), &tree).unwrap_err().to_string();
    assert!(error.contains("b.aedat") && error.contains("clap, wave"), "{error}");
    fs::remove_file(tree.join("b.aedat")).unwrap();

    // An event beyond the sensor that the table says.
    write(&tree.join("clap/b.aedat"), &events(1, 50, 128), Format::Aedat2);
    let error = store.import(gestures(), &tree).unwrap_err().to_string();
    assert!(
        error.contains("b.aedat") && error.contains("100 x 100 of Gestures: correct its keys"),
        "{error}"
    );
    assert!(error.contains("aedat2 has a sensor of 128 x 128") && !error.contains("at byte"), "{error}");

    let error = store.import(DatasetId::MNIST, &tree).unwrap_err().to_string();
    assert!(error.contains("no data set mnist") && error.contains("there are gestures"), "{error}");
}

#[cfg(unix)]
#[test]
fn names_that_are_not_utf_8_are_refused_and_found() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    let recording = events(1, 50, 100);
    write(&tree.join("clap/a.bin"), &recording, Format::NmnistBin);
    let store = store(folder.path(), &table("first-nine-tenths-by-name", Format::NmnistBin));
    let odd = |bytes| OsStr::from_bytes(bytes);
    for (file, top) in [
        (tree.join("clap").join(odd(b"rec\xff.bin")), tree.join("clap").join(odd(b"rec\xff.bin"))),
        (tree.join(odd(b"gr\xfc\xdf")).join("a.bin"), tree.join(odd(b"gr\xfc\xdf"))),
    ] {
        write(&file, &recording, Format::NmnistBin);
        let error = store.import(gestures(), &tree).unwrap_err();
        assert!(matches!(&error, DatasetError::ForeignFile { path, .. } if *path == top), "{error}");
        assert!(error.to_string().contains("expected a name in UTF-8"), "{error}");
        if top.is_dir() { fs::remove_dir_all(&top) } else { fs::remove_file(&top) }.unwrap();
    }
    // Beside the tree they are nobody's.
    fs::create_dir(folder.path().join(odd(b"\xff"))).unwrap();
    let manifest = store.import(gestures(), folder.path()).unwrap();
    let raw = store.folder(&manifest).join("raw");
    write(&raw.join(odd(b"gr\xfc\xdf")).join("b.bin"), &recording, Format::NmnistBin);
    // Nor is what a link leads to a part of the data set, though it may lead back.
    std::os::unix::fs::symlink(&raw, raw.join("again")).unwrap();
    let problems = store.verify(&manifest).unwrap().problems;
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].ends_with("raw/again: is not in the manifest"), "{problems:?}");
    assert!(problems[1].ends_with("/b.bin: is not in the manifest"), "{problems:?}");
}

/// A manifest has `/` alone between the parts of a path, on every system.
#[cfg(unix)]
#[test]
fn a_name_with_a_backslash_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    for name in ["take1.bin", "take\\2.bin"] {
        write(&tree.join("clap").join(name), &events(1, 50, 100), Format::NmnistBin);
    }
    let store = store(folder.path(), &table("first-nine-tenths-by-name", Format::NmnistBin));
    let error = store.import(gestures(), &tree).unwrap_err().to_string();
    assert!(error.contains("take\\2.bin: expected a name without a backslash"), "{error}");
    assert_eq!(store.manifest(gestures()).unwrap(), None);
}

/// Its addresses have the pixel in other bits, of which those of a DVS128 are a part.
#[test]
fn recordings_of_another_sensor_are_no_dvs128s() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir_all(tree.join("clap")).unwrap();
    // A DAVIS346: y from bit 22 on, x from bit 12 on, polarity in bit 11.
    let address = |i: u32| (i % 100) << 22 | (i * 3 % 100) << 12 | (i & 1) << 11;
    let records = (0..500u32).flat_map(|i| [address(i), i * 100].map(u32::to_be_bytes).concat());
    let bytes = b"#!AER-DAT2.0\r\n".iter().copied().chain(records).collect::<Vec<u8>>();
    fs::write(tree.join("clap/a.aedat"), bytes).unwrap();
    let text = table("first-nine-tenths-by-name", Format::Aedat2)
        .replace("width = 100\nheight = 100", "width = 128\nheight = 128");
    let error = store(folder.path(), &text).import(gestures(), &tree).unwrap_err().to_string();
    assert!(error.contains("a.aedat: expected a recording of a DVS128"), "{error}");
    assert!(error.contains("495 of its 500 events"), "{error}");

    // AEDAT 3.1, in the same way a little larger.
    let mut bytes = bpsta_events::encode(&events(1, 50, 100), Format::Aedat31).unwrap();
    let word = bytes.len() - 8;
    bytes[word + 3] |= 1;
    fs::write(tree.join("clap/a.aedat"), bytes).unwrap();
    let text = text.replace("aedat2", "aedat3.1");
    let error = store(folder.path(), &text).import(gestures(), &tree).unwrap_err().to_string();
    assert!(error.contains("the file is damaged or not aedat3.1, or of another sensor"), "{error}");
}

/// The event counts are those that the files' publishers' own tools give. One sensor's recordings do not go into the other's data set,
/// though the smaller one's events would have room there.
#[test]
fn real_aedat4_recordings_make_a_data_set() {
    let Some(shared) = crate::real::shared("the test on AEDAT 4") else { return };
    let recordings =
        [("aestream_davis346", 346, 260, 117_667.0), ("tonic_sample_dvxplorer_320x240", 320, 240, 111_954.0)];
    for (name, width, height, events) in recordings {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        for (class, name) in [("clap", name), ("wave", recordings[0].0), ("wave", recordings[1].0)] {
            fs::create_dir_all(tree.join(class)).unwrap();
            let from = shared.join(format!("data/aedat4/{name}.aedat4"));
            fs::copy(from, tree.join(class).join(format!("{name}.aedat4"))).unwrap();
        }
        let text = table("first-nine-tenths-by-name", Format::Aedat4)
            .replace("width = 100\nheight = 100", &format!("width = {width}\nheight = {height}"));
        let store = store(folder.path(), &text);
        let error = store.import(gestures(), &tree).unwrap_err().to_string();
        let said = format!("datasets.toml says {width} x {height} of Gestures");
        assert!(error.contains("it names a sensor of") && error.contains(&said), "{error}");

        fs::remove_dir_all(tree.join("wave")).unwrap();
        let manifest = store.import(gestures(), &tree).unwrap();
        let data = store.load(&manifest, Some(framing("time:8"))).unwrap();
        let mut values = Vec::new();
        data.train.read(&[0], &mut values).unwrap();
        assert_eq!(values.len(), 8 * 2 * width * height);
        assert_eq!(values.iter().sum::<f32>(), events);
    }
}
