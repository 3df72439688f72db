//! Truncated, empty, wrong-magic and wrong-size files of the static formats: errors with file and byte offset.

use std::fs;
use std::io::Write;
use std::path::Path;

use bpsta_datasets::{DatasetError, DatasetId, Inspection, cifar, idx, inspect};
use proptest::prelude::*;

use crate::tree::{assert_nothing_imported, store};

fn images(count: u32, side: u32) -> Vec<u8> {
    let mut bytes: Vec<u8> = [idx::IMAGES, count, side, side].iter().flat_map(|v| v.to_be_bytes()).collect();
    bytes.extend((0..count * side * side).map(|v| v as u8));
    bytes
}

fn labels(labels: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        [idx::LABELS, labels.len() as u32].iter().flat_map(|v| v.to_be_bytes()).collect();
    bytes.extend(labels);
    bytes
}

fn records(labels: &[u8]) -> Vec<u8> {
    labels
        .iter()
        .flat_map(|&label| std::iter::once(label).chain((0..cifar::IMAGE).map(|i| i as u8)))
        .collect()
}

fn offset(error: &DatasetError) -> u64 {
    match error {
        DatasetError::Malformed { path, offset, .. } => {
            assert_eq!(path, Path::new("file"));
            *offset
        }
        other => panic!("expected a malformed file, found {other}"),
    }
}

#[test]
fn idx_errors_name_the_byte() {
    let good = images(3, 4);
    let path = Path::new("file");
    assert!(matches!(idx::parse(path, &good), Ok(idx::Idx::Images { count: 3, height: 4, width: 4, .. })));
    let changed = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        bytes
    };
    for (bytes, at, word) in [
        (Vec::new(), 0, "magic number"),
        (good[..3].to_vec(), 3, "magic number"),
        (good[..9].to_vec(), 9, "dimension"),
        (good[..16].to_vec(), 16, "3 x 4 x 4 = 48"),
        (good[..63].to_vec(), 63, "47 follow"),
        ([&good[..], &[0]].concat(), 65, "49 follow"),
        (changed(2, 9), 0, "0x00000903"),
        (changed(7, 0), 4, "above 0"),
        (changed(4, 255), 64, "follow"),
        ([&idx::IMAGES.to_be_bytes()[..], &[255; 12]].concat(), 16, "more than a file"),
        (labels(&[]), 4, "above 0"),
        (b"\x1f\x8b\x08\x00".to_vec(), 0, "magic"),
    ] {
        let error = idx::parse(path, &bytes).unwrap_err();
        assert_eq!(offset(&error), at, "{error}");
        assert!(error.to_string().contains(word), "expected {word:?} in {error}");
    }
}

#[test]
fn cifar_errors_name_the_byte() {
    let path = Path::new("file");
    let good = records(&[1, 9, 0]);
    assert_eq!(cifar::parse(path, &good).unwrap().len(), 3);
    for (bytes, at, word) in [
        (Vec::new(), 0, "empty"),
        (good[..100].to_vec(), 0, "100"),
        (good[..good.len() - 1].to_vec(), 2 * cifar::RECORD as u64, "3072"),
        (records(&[1, 10]), cifar::RECORD as u64, "below 10"),
    ] {
        let error = cifar::parse(path, &bytes).unwrap_err();
        assert_eq!(offset(&error), at, "{error}");
        assert!(error.to_string().contains(word), "expected {word:?} in {error}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), magic in 0..3usize) {
        let start = [Vec::new(), idx::IMAGES.to_be_bytes().to_vec(), idx::LABELS.to_be_bytes().to_vec()];
        let bytes = [&start[magic][..], &bytes].concat();
        let path = Path::new("file");
        if let Ok(idx::Idx::Images { count, height, width, pixels }) = idx::parse(path, &bytes) {
            prop_assert_eq!(count * height * width, pixels.len());
        }
        let _ = cifar::parse(path, &bytes);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Files that are sound in themselves but not MNIST's.
#[test]
fn an_mnist_import_refuses_what_is_not_mnist() {
    let whole = gzip(&images(2, 28));
    for (image_file, label_file, words) in [
        (gzip(&images(2, 28)), gzip(&labels(&[1, 2])), "MD5"),
        (gzip(&images(2, 20)), gzip(&labels(&[1, 2])), "28 x 28"),
        (gzip(&labels(&[1])), gzip(&labels(&[1, 2])), "found labels"),
        (whole[..whole.len() / 2].to_vec(), gzip(&labels(&[1, 2])), "gzip stream is damaged or cut off"),
        (images(2, 28), gzip(&labels(&[1, 2])), "gzip"),
        (Vec::new(), gzip(&labels(&[1, 2])), "train-images-idx3-ubyte.gz"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("mnist");
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("train-images-idx3-ubyte.gz"), image_file).unwrap();
        fs::write(tree.join("train-labels-idx1-ubyte.gz"), label_file).unwrap();
        let error = store(folder.path()).import(DatasetId::MNIST, &tree).unwrap_err().to_string();
        assert!(error.contains(words), "expected {words:?} in {error}");
        assert_nothing_imported(folder.path(), DatasetId::MNIST);
    }
}

#[test]
fn images_without_labels_are_no_subset() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("mnist");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("t10k-images-idx3-ubyte"), images(2, 28)).unwrap();
    let error = store(folder.path()).import(DatasetId::MNIST, &tree).unwrap_err();
    assert!(matches!(error, DatasetError::NotRecognised { .. }), "{error}");
}

#[test]
fn inspecting_tells_formats_apart() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let image = |name: &str, bytes: &[u8], format: Option<&str>| match inspect(&file(name, bytes), format) {
        Ok(Inspection::Images(summary)) => summary,
        other => panic!("{name}: {other:?}"),
    };
    let summary = image("train-images-idx3-ubyte.gz", &gzip(&images(3, 4)), None);
    assert_eq!((summary.format, summary.count, summary.image), ("idx", 3, Some([1, 4, 4])));
    assert_eq!((summary.pixels, summary.labels), (Some([0, 47]), None));
    let summary = image("anything", &labels(&[7, 2]), None);
    assert_eq!((summary.count, summary.labels, summary.image), (2, Some([2, 7]), None));
    // 3,073 bytes are no multiple of 5; five records are, and the official name decides.
    let summary = image("x.bin", &records(&[3]), None);
    assert_eq!((summary.format, summary.count, summary.labels), ("cifar10-bin", 1, Some([3, 3])));
    assert_eq!(image("data_batch_1.bin", &records(&[1, 2, 3, 4, 5]), None).count, 5);
    assert_eq!(image("other.bin", &records(&[1, 2, 3, 4, 5]), Some("cifar10-bin")).count, 5);
    let events = inspect(&file("00001.bin", &[1, 2, 0, 0, 3]), None).unwrap();
    assert!(matches!(events, Inspection::Events(_)), "{events:?}");
    let events = inspect(&file("00001.bin.gz", &gzip(&[1, 2, 0, 0, 3])), None).unwrap();
    assert!(matches!(events, Inspection::Events(_)), "{events:?}");

    // The first event of a recording at x = 0, y = 0, OFF, and half a second later: as IDX files begin.
    let events = inspect(&file("00002.bin", &[0, 0, 8, 1, 0]), None).unwrap();
    assert!(matches!(events, Inspection::Events(_)), "{events:?}");
    for (path, said) in [
        (
            file("some.images", &images(3, 4)),
            "some.images: it holds images or labels (idx), and only events are framed",
        ),
        (
            file("test_batch.bin", &records(&[3])),
            "it holds images or labels (cifar10-bin), and only events are framed",
        ),
    ] {
        let framing = bpsta_events::Framing::ByNumber { frames: 2 };
        let error = bpsta_datasets::frames_of_file(&path, None, framing).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }

    let error = inspect(&file("notes.txt", b"hello"), None).unwrap_err().to_string();
    assert!(error.contains("--format"), "{error}");
    let error = inspect(&file("notes.txt", b"hello"), Some("png")).unwrap_err().to_string();
    assert!(
        error.contains("\"png\"; choose one of idx, cifar10-bin, nmnist-bin, aedat2, aedat3.1, aedat4"),
        "{error}"
    );
    for (name, bytes, expected) in [
        ("empty.aedat", &b""[..], "at byte 0: the file is empty"),
        ("four.aedat4", b"#!AER-DAT4.0\r\n", "byte 14: 0 bytes are left"),
        ("one.aedat", b"#!AER-DAT1.0\r\n", "the file says AEDAT 1.0"),
    ] {
        let error = inspect(&file(name, bytes), None).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(expected), "{error}");
    }
    let error = inspect(&file("data_batch_1.bin", &[]), None).unwrap_err().to_string();
    assert!(error.contains("at byte 0"), "{error}");
}
