//! The stand-ins: official layout, the same bytes from the same seed, and classes that can be learnt from what they
//! should be learnt from.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use bpsta_datasets::DatasetId;
use bpsta_datasets::synthetic::{Size, SyntheticError, generate};
use bpsta_events::{Events, Format, Framing, Sensor, decode, frame};

const SMALL: Size = Size { train: 11, test: 11 };

/// Every file of a tree, by its path with `/` below the root.
type Files = BTreeMap<String, Vec<u8>>;

fn files(root: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    files
}

fn tree(dataset: DatasetId, size: Size, seed: u64) -> Files {
    let folder = tempfile::tempdir().unwrap();
    generate(dataset, &size, seed, &folder.path().join("tree")).unwrap();
    files(&folder.path().join("tree"))
}

fn text<'a>(files: &'a Files, name: &str) -> &'a str {
    std::str::from_utf8(&files[name]).unwrap()
}

/// How often each class occurs.
fn census(labels: impl IntoIterator<Item = usize>, classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    labels.into_iter().for_each(|label| counts[label] += 1);
    counts
}

#[test]
fn every_tree_says_that_it_is_synthetic() {
    for dataset in DatasetId::PAPER {
        let files = tree(dataset, SMALL, 77);
        let marker = text(&files, "SYNTHETIC.txt");
        assert!(marker.contains("NOT THE OFFICIAL DATA"), "{marker}");
        assert!(marker.contains("seed: 77") && marker.contains(dataset.as_str()), "{marker}");
    }
}

#[test]
fn mnist_is_four_idx_files() {
    let files = tree(DatasetId::MNIST, Size { train: 23, test: 12 }, 1);
    assert_eq!(files.len(), 5);
    for (prefix, count) in [("train", 23usize), ("t10k", 12)] {
        let images = &files[&format!("{prefix}-images-idx3-ubyte")];
        assert_eq!(images[..16], [0, 0, 8, 3, 0, 0, 0, count as u8, 0, 0, 0, 28, 0, 0, 0, 28]);
        assert_eq!(images.len(), 16 + count * 784);
        let labels = &files[&format!("{prefix}-labels-idx1-ubyte")];
        assert_eq!(labels[..8], [0, 0, 8, 1, 0, 0, 0, count as u8]);
        let counts = census(labels[8..].iter().map(|&label| usize::from(label)), 10);
        assert_eq!(counts.iter().sum::<usize>(), count);
        assert!(counts.iter().all(|n| n.abs_diff(count / 10) <= 1), "{counts:?}");
    }
}

#[test]
fn cifar10_is_six_files_of_whole_records() {
    let files = tree(DatasetId::CIFAR10, Size { train: 52, test: 20 }, 1);
    let records: Vec<usize> = files
        .iter()
        .filter(|(name, _)| name.ends_with(".bin"))
        .map(|(name, bytes)| {
            assert_eq!(bytes.len() % 3073, 0, "{name}");
            bytes.len() / 3073
        })
        .collect();
    assert_eq!(records, [11, 11, 10, 10, 10, 20], "data_batch_1 to _5, test_batch");
    let labels = files["test_batch.bin"].chunks(3073).map(|record| usize::from(record[0]));
    assert_eq!(census(labels, 10), [2; 10]);
}

#[test]
fn nmnist_numbers_its_files_over_all_classes() {
    let files = tree(DatasetId::NMNIST, Size { train: 23, test: 12 }, 1);
    assert_eq!(files.len(), 23 + 12 + 1);
    for (folder, count) in [("Train", 23), ("Test", 12)] {
        for number in 1..=count {
            let bytes = &files[&format!("{folder}/{}/{number:05}.bin", (number - 1) % 10)];
            let events = decode(bytes, Format::NmnistBin).unwrap().events;
            assert!((1000..8000).contains(&events.len()), "{} events", events.len());
            assert!(*events.t.last().unwrap() <= 300_000);
            assert_on_sensor(&events, Sensor::NMNIST);
        }
    }
}

#[test]
fn dvs_gesture_is_recordings_with_labels_and_lists() {
    let files = tree(DatasetId::DVSGESTURE, Size { train: 25, test: 11 }, 1);
    let mut listed = 0;
    for (list, expected) in [("train", vec![11, 11, 3]), ("test", vec![11])] {
        let trials: Vec<usize> = text(&files, &format!("trials_to_{list}.txt"))
            .lines()
            .map(|name| {
                let trials = gestures(&files, name);
                assert!(trials.iter().all(|(_, events)| (8_000..45_000).contains(&events.len())));
                trials.iter().for_each(|(_, events)| assert_on_sensor(events, Sensor::DVS128));
                let classes: BTreeSet<usize> = trials.iter().map(|(class, _)| *class).collect();
                assert_eq!(classes, (0..trials.len()).collect(), "{name}: each gesture once, in order");
                trials.len()
            })
            .collect();
        assert_eq!(trials, expected);
        listed += trials.len();
    }
    assert_eq!(files.len(), 2 * listed + 2 + 1);
}

#[test]
fn dvs_cifar10_has_a_folder_a_class() {
    let files = tree(DatasetId::DVSCIFAR10, Size { train: 21, test: 4 }, 1);
    assert_eq!(files.len(), 3 * 10 + 1);
    for class in ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"] {
        for index in 0..3 {
            let bytes = &files[&format!("{class}/cifar10_{class}_{index}.aedat")];
            let events = decode(bytes, Format::Aedat2).unwrap().events;
            assert!((2_000..80_000).contains(&events.len()), "{} events", events.len());
            assert_on_sensor(&events, Sensor::DVS128);
        }
    }
}

fn assert_on_sensor(events: &Events, sensor: Sensor) {
    assert!(events.t.is_sorted(), "events are in order of time");
    assert!(events.x.iter().all(|&x| x < sensor.width) && events.y.iter().all(|&y| y < sensor.height));
    let on = events.on.iter().filter(|&&on| on).count() as f64 / events.len() as f64;
    assert!((0.3..0.7).contains(&on), "a share of {on} is ON");
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    for dataset in DatasetId::PAPER {
        let [one, three] = [1, 3].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| tree(dataset, SMALL, 5))
        });
        assert!(one == three, "{dataset}: differs between 1 and 3 threads");
        let other = tree(dataset, SMALL, 6);
        assert!(one.keys().eq(other.keys()), "{dataset}: other names from another seed");
        for (name, bytes) in other.iter().filter(|(name, _)| is_samples(name)) {
            assert!(*bytes != one[name], "{dataset}: {name} is the same from another seed");
        }
    }
}

/// Whether a file holds samples (and not only labels or names).
fn is_samples(name: &str) -> bool {
    name.ends_with(".bin") || name.ends_with(".aedat") || name.contains("images")
}

/// Numbers that were measured on a stand-in can be compared only while it stays the same. When a change of the
/// generator is meant, put the new hashes here and accept the snapshots of the quick profile again.
#[test]
fn the_bytes_are_the_ones_they_have_always_been() {
    let hashes = DatasetId::PAPER.map(|dataset| {
        let mut hasher = blake3::Hasher::new();
        for (name, bytes) in tree(dataset, SMALL, 1).iter().filter(|(name, _)| is_samples(name)) {
            hasher.update(name.as_bytes());
            hasher.update(bytes);
        }
        format!("{dataset} {}", &hasher.finalize().to_hex()[..16])
    });
    assert_eq!(hashes, PINNED);
}

const PINNED: [&str; 5] = [
    "mnist 2ca9b4931ff8d13b",
    "cifar10 e0906f6d5187d885",
    "nmnist c67240faf2720386",
    "dvsgesture aa49f7191a7acdf4",
    "dvscifar10 e7145c4da0f21722",
];

#[test]
fn a_bigger_set_begins_with_the_smaller_one() {
    let bigger = Size { train: 22, test: 12 };
    for dataset in [DatasetId::NMNIST, DatasetId::DVSGESTURE, DatasetId::DVSCIFAR10] {
        let (small, big) = (tree(dataset, SMALL, 9), tree(dataset, bigger, 9));
        for (name, bytes) in small.iter().filter(|(name, _)| is_samples(name)) {
            assert!(*bytes == big[name], "{dataset}: {name} depends on the number of samples");
        }
    }
    let (small, big) = (tree(DatasetId::MNIST, SMALL, 9), tree(DatasetId::MNIST, bigger, 9));
    for name in ["train-images-idx3-ubyte", "t10k-images-idx3-ubyte"] {
        assert!(big[name][16..].starts_with(&small[name][16..]));
    }
    let [small, big] = [SMALL, bigger].map(|size| {
        let files = tree(DatasetId::CIFAR10, size, 9);
        (1..=5).flat_map(|batch| files[&format!("data_batch_{batch}.bin")].clone()).collect::<Vec<u8>>()
    });
    assert!(big.starts_with(&small));
}

#[test]
fn what_cannot_be_generated_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("tree");
    let error = generate(DatasetId::MNIST, &Size { train: 5, test: 0 }, 1, &root).unwrap_err();
    assert!(matches!(error, SyntheticError::EmptySplit { .. }) && !root.exists());
    let error = generate(DatasetId::DVSGESTURE, &Size { train: 11, test: 331 }, 1, &root).unwrap_err();
    assert!(matches!(error, SyntheticError::TooManyTrials { most: 330, .. }) && !root.exists());
    for (dataset, train, test) in [
        (DatasetId::MNIST, usize::MAX, 1),
        (DatasetId::MNIST, 1, 10_001),
        (DatasetId::NMNIST, 60_001, 1),
        (DatasetId::NMNIST, 1, 10_001),
        (DatasetId::CIFAR10, 50_001, 1),
        (DatasetId::CIFAR10, 4, 1),
        (DatasetId::DVSCIFAR10, usize::MAX, 1),
        (DatasetId::DVSCIFAR10, 9_001, 1_000),
        (DatasetId::DVSCIFAR10, 9, 1),
    ] {
        let error = generate(dataset, &Size { train, test }, 1, &root).unwrap_err();
        assert!(matches!(error, SyntheticError::Size { .. }) && !root.exists(), "{dataset}: {error}");
        assert!(error.to_string().contains("ask for"), "{error}");
    }
    fs::create_dir(&root).unwrap();
    fs::write(root.join("mine"), "precious").unwrap();
    let error = generate(DatasetId::MNIST, &SMALL, 1, &root).unwrap_err();
    assert!(matches!(error, SyntheticError::NotEmpty { .. }));
    assert_eq!(files(&root).len(), 1);
}

/// The point of the gesture stand-in: a network that forgets the order of the frames cannot do better than chance.
#[test]
fn gestures_are_told_apart_by_motion_over_time_only() {
    let files = tree(DatasetId::DVSGESTURE, Size { train: 220, test: 110 }, 1);
    let samples = |list: &str| -> Vec<(usize, Vec<f32>)> {
        text(&files, &format!("trials_to_{list}.txt"))
            .lines()
            .flat_map(|name| gestures(&files, name))
            .map(|(class, events)| (class, pooled_frames(&events, Sensor::DVS128, 8)))
            .collect()
    };
    let (train, test) = (samples("train"), samples("test"));
    let in_order = nearest_centroid(&train, &test, |frames| frames.to_vec());
    let summed = nearest_centroid(&train, &test, |frames| {
        let mut sum = vec![0.0; frames.len() / TIME_STEPS];
        for frame in frames.chunks(sum.len()) {
            sum.iter_mut().zip(frame).for_each(|(sum, count)| *sum += count);
        }
        sum
    });
    assert!(in_order > 0.8, "frames in order: {in_order}");
    assert!(summed < 0.2, "frames summed over time: {summed}, chance is {}", 1.0 / 11.0);
}

#[test]
fn nmnist_figures_are_learnable_but_not_trivial() {
    let files = tree(DatasetId::NMNIST, Size { train: 300, test: 100 }, 1);
    let samples = |folder: &str| -> Vec<(usize, Vec<f32>)> {
        files
            .iter()
            .filter(|(name, _)| name.starts_with(folder))
            .map(|(name, bytes)| {
                let class = name.split('/').nth(1).unwrap().parse().unwrap();
                let events = decode(bytes, Format::NmnistBin).unwrap().events;
                (class, pooled_frames(&events, Sensor::NMNIST, 1))
            })
            .collect()
    };
    let accuracy = nearest_centroid(&samples("Train"), &samples("Test"), |frames| frames.to_vec());
    assert!((0.5..0.95).contains(&accuracy), "{accuracy}");
}

/// The trials of a recording: class from 0, events.
fn gestures(files: &Files, recording: &str) -> Vec<(usize, Events)> {
    let events = decode(&files[recording], Format::Aedat31).unwrap().events;
    let labels = text(files, &recording.replace(".aedat", "_labels.csv"));
    let mut lines = labels.lines();
    assert_eq!(lines.next(), Some("class,startTime_usec,endTime_usec"));
    lines
        .map(|line| {
            let row: Vec<i64> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
            assert!((400_000..1_200_000).contains(&(row[2] - row[1])), "{recording}: {line}");
            (row[0] as usize - 1, events.between(row[1], row[2]))
        })
        .collect()
}

const TIME_STEPS: usize = 8;

/// Frames by number, counts summed over squares of `pool` pixels.
fn pooled_frames(events: &Events, sensor: Sensor, pool: usize) -> Vec<f32> {
    let frames = frame(events, sensor, Framing::ByNumber { frames: TIME_STEPS }).unwrap();
    let (height, width) = (frames.height / pool, frames.width / pool);
    let mut pooled = vec![0.0; TIME_STEPS * 2 * height * width];
    for (plane, counts) in frames.counts.chunks(frames.height * frames.width).enumerate() {
        for (pixel, &count) in counts.iter().enumerate() {
            let (row, column) = (pixel / frames.width / pool, pixel % frames.width / pool);
            pooled[(plane * height + row) * width + column] += f32::from(count);
        }
    }
    pooled
}

/// Accuracy of the simplest of classifiers on the square roots of features.
fn nearest_centroid(
    train: &[(usize, Vec<f32>)],
    test: &[(usize, Vec<f32>)],
    feature: impl Fn(&[f32]) -> Vec<f32>,
) -> f64 {
    let features = |frames: &[f32]| feature(frames).into_iter().map(f32::sqrt).collect::<Vec<f32>>();
    let mut centroids: BTreeMap<usize, (f32, Vec<f32>)> = BTreeMap::new();
    for (class, frames) in train {
        let features = features(frames);
        let (count, sum) = centroids.entry(*class).or_insert_with(|| (0.0, vec![0.0; features.len()]));
        *count += 1.0;
        sum.iter_mut().zip(&features).for_each(|(sum, value)| *sum += value);
    }
    let right = test.iter().filter(|(class, frames)| {
        let features = features(frames);
        let distance = |(count, sum): &(f32, Vec<f32>)| -> f32 {
            sum.iter().zip(&features).map(|(sum, value)| (sum / count - value).powi(2)).sum()
        };
        let nearest = centroids.iter().min_by(|(_, a), (_, b)| distance(a).total_cmp(&distance(b)));
        nearest.is_some_and(|(nearest, _)| nearest == class)
    });
    right.count() as f64 / test.len() as f64
}
