//! The frame cache: equal to direct framing, never stale, never believed when damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bpsta_datasets::{
    Augmentation, Dataset, DatasetError, DatasetId, Manifest, Progress, Split, Stage, Store, frame_file,
};
use bpsta_events::{Format, Framing, Sensor};

use crate::tree::{contents, framing, nmnist, registry, store};

fn imported(folder: &Path) -> (Store, Manifest) {
    nmnist(&folder.join("tree"), 12, 4);
    let store = store(folder);
    let manifest = store.import(DatasetId::NMNIST, &folder.join("tree")).unwrap();
    (store, manifest)
}

fn values(data: &Dataset) -> Vec<f32> {
    let mut out = Vec::new();
    data.train.read(&(0..data.train.len()).collect::<Vec<_>>(), &mut out).unwrap();
    data.test.read(&(0..data.test.len()).collect::<Vec<_>>(), &mut out).unwrap();
    out
}

/// What the samples must be, without any cache.
fn direct(folder: &Path, manifest: &Manifest, framing: Framing) -> Vec<f32> {
    let frame = |file: &bpsta_datasets::FileEntry| {
        let path = folder.join("data/nmnist/raw").join(&file.path);
        let events = bpsta_events::read_file(&path, Format::NmnistBin).unwrap().events;
        bpsta_events::frame(&events, Sensor::NMNIST, framing).unwrap().counts
    };
    let of = |split: &'static str| {
        manifest.files.iter().filter(move |file| file.path.starts_with(split)).flat_map(frame)
    };
    of("Train").chain(of("Test")).map(f32::from).collect()
}

fn caches(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = contents(&folder.join("data/nmnist/frames"))
        .into_iter()
        .map(|(path, _)| folder.join("data/nmnist/frames").join(path))
        .filter(|path| path.extension().is_some_and(|extension| extension == "h5"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn frames_from_the_cache_are_the_frames() {
    let folder = tempfile::tempdir().unwrap();
    let (store, manifest) = imported(folder.path());
    for text in ["number:1", "number:7", "time:5"] {
        let expected = direct(folder.path(), &manifest, framing(text));
        for round in ["built", "found"] {
            let data = store.load(&manifest, Some(framing(text))).unwrap();
            assert_eq!(values(&data), expected, "{text} {round}");
        }
        // Without room for them in memory, by two threads.
        let data = store.clone().with_memory_limit(0).load(&manifest, Some(framing(text))).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| assert_eq!(values(&data), expected, "{text} from the file"));
            }
        });
    }
    assert_eq!(caches(folder.path()).len(), 3);
    let data = store.load(&manifest, Some(framing("number:7"))).unwrap();
    assert_eq!((data.time_steps, data.channels, data.height, data.width, data.classes), (7, 2, 34, 34, 10));
    assert_eq!(data.train.labels(), [0, 1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(data.manifest_hash, manifest.hash());
    assert!(!data.synthetic && data.subset == manifest.subset);
}

#[test]
fn without_room_in_memory_samples_stay_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (store, manifest) = imported(folder.path());
    let kept = store.load(&manifest, Some(framing("number:4"))).unwrap();
    let data = store.with_memory_limit(0).load(&manifest, Some(framing("number:4"))).unwrap();
    let expected = values(&kept);
    assert_eq!(values(&data), expected);
    fs::File::options().write(true).open(&caches(folder.path())[0]).unwrap().set_len(0).unwrap();
    assert_eq!(values(&kept), expected);
    let mut out = vec![0.5];
    data.train.read(&[0], &mut out).unwrap_err();
    assert_eq!(out, [0.5]);
}

/// Also a part of a part; and what is drawn for a sample is drawn for its place in the whole.
#[test]
fn a_part_has_the_samples_it_was_made_of() {
    let folder = tempfile::tempdir().unwrap();
    let (store, manifest) = imported(folder.path());
    let read = |split: &Split, index: usize| {
        let mut out = Vec::new();
        split.read(&[index], &mut out).unwrap();
        out
    };
    let varied = |split: &Split, index: usize| {
        let augmentation = Augmentation { crop_padding: 4, flip: true, rotation_degrees: 15.0 };
        let mut out = Vec::new();
        split.read_varied(&[index], &augmentation, (7, 2), &mut out).unwrap();
        out
    };
    for (where_from, store) in [("memory", store.clone()), ("the file", store.with_memory_limit(0))] {
        let whole = store.load(&manifest, Some(framing("number:2"))).unwrap().train;
        let part = whole.part(&[3, 1]).unwrap();
        assert_eq!(part.labels(), [2, 1]);
        for (part, index, place) in [(&part, 0, 3), (&part, 1, 1), (&part.part(&[1, 0]).unwrap(), 1, 3)] {
            assert!(read(part, index) == read(&whole, place), "{place} from {where_from}");
            assert!(varied(part, index) == varied(&whole, place), "{place} varied from {where_from}");
        }
    }
}

#[test]
fn reading_appends_and_refuses_what_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let (store, manifest) = imported(folder.path());
    let data = store.load(&manifest, Some(framing("number:2"))).unwrap();
    let (mut one, mut two) = (vec![0.5], Vec::new());
    data.train.read(&[3, 1], &mut one).unwrap();
    data.train.read(&[1], &mut two).unwrap();
    assert_eq!(one.len(), 1 + 2 * data.train.sample_len());
    assert_eq!((one[0], &one[1 + data.train.sample_len()..]), (0.5, &two[..]));
    let error = data.train.read(&[0, 12], &mut two).unwrap_err();
    assert!(matches!(error, DatasetError::NoSuchSample { index: 12, len: 12 }), "{error}");
    assert_eq!(two.len(), data.train.sample_len());
}

#[test]
fn an_empty_split_is_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    nmnist(&folder.path().join("tree"), 3, 0);
    let store = store(folder.path());
    let manifest = store.import(DatasetId::NMNIST, &folder.path().join("tree")).unwrap();
    let data = store.load(&manifest, Some(framing("number:2"))).unwrap();
    assert_eq!((data.train.len(), data.test.len(), data.test.is_empty()), (3, 0, true));
}

#[test]
fn kinds_and_framings_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (store, manifest) = imported(folder.path());
    for choice in [None, Some(Framing::ByDuration { us: 1000 }), Some(Framing::ByNumber { frames: 0 })] {
        let error = store.load(&manifest, choice).unwrap_err();
        assert!(matches!(error, DatasetError::FramingChoice { .. }), "{choice:?}: {error}");
    }
}

/// A cache of other data, or of another framing, is not used even when it lies under the right name.
#[test]
fn a_foreign_cache_is_built_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, manifest) = imported(folder.path());
    // The 200 events of a sample, each 97 us after the last, do not divide by 7: the rules differ by some.
    let [by_number, by_time] = ["number:7", "time:7"].map(framing);
    store.load(&manifest, Some(by_number)).unwrap();
    let number = caches(folder.path());
    store.load(&manifest, Some(by_time)).unwrap();
    let time = caches(folder.path()).into_iter().find(|path| !number.contains(path)).unwrap();
    for extension in ["h5", "h5.places", "h5.b3"] {
        fs::copy(number[0].with_extension(extension), time.with_extension(extension)).unwrap();
    }
    let expected = direct(folder.path(), &manifest, by_time);
    assert_ne!(expected, direct(folder.path(), &manifest, by_number));
    assert_eq!(values(&store.load(&manifest, Some(by_time)).unwrap()), expected);
}

#[test]
fn other_data_have_another_cache() {
    let folder = tempfile::tempdir().unwrap();
    let (store, manifest) = imported(folder.path());
    store.load(&manifest, Some(framing("number:4"))).unwrap();
    let kept = tempfile::tempdir().unwrap();
    let frames = folder.path().join("data/nmnist/frames");
    fs::rename(&frames, kept.path().join("frames")).unwrap();
    fs::remove_dir_all(folder.path().join("data/nmnist")).unwrap();

    nmnist(&folder.path().join("tree"), 13, 4);
    let manifest = store.import(DatasetId::NMNIST, &folder.path().join("tree")).unwrap();
    fs::rename(kept.path().join("frames"), &frames).unwrap();
    let data = store.load(&manifest, Some(framing("number:4"))).unwrap();
    assert_eq!(values(&data), direct(folder.path(), &manifest, Framing::ByNumber { frames: 4 }));
    assert_eq!(caches(folder.path()).len(), 2);
}

/// The store, and the notices that it will give.
fn listened_to(store: Store) -> (Store, Arc<Mutex<Vec<String>>>) {
    let notices = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&notices);
    let store = store.with_progress(move |progress| {
        if let Progress::Notice(text) = progress {
            heard.lock().unwrap().push(text);
        }
    });
    (store, notices)
}

/// Cut off, with flipped bits, empty, without its checksum: each time a notice, and the right frames.
#[test]
fn a_damaged_cache_is_built_again_with_a_notice() {
    let folder = tempfile::tempdir().unwrap();
    let (store, manifest) = imported(folder.path());
    let expected = values(&store.load(&manifest, Some(framing("number:4"))).unwrap());
    let (store, notices) = listened_to(store);
    let path = caches(folder.path()).remove(0);
    let guard = path.with_extension("h5.b3");
    let good = fs::read(&path).unwrap();
    store.load(&manifest, Some(framing("number:4"))).unwrap();
    assert!(notices.lock().unwrap().is_empty());

    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for round in 0..60 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let place = (state >> 33) as usize % good.len();
        let mut bytes = good.clone();
        match round {
            0 => bytes.clear(),
            1 => fs::remove_file(&guard).unwrap(),
            2 => fs::write(&guard, "nonsense").unwrap(),
            _ if round % 3 == 0 => bytes.truncate(place),
            _ => bytes[place] ^= 1 << (round % 8),
        }
        fs::write(&path, bytes).unwrap();
        let data = store.load(&manifest, Some(framing("number:4"))).unwrap();
        assert_eq!(values(&data), expected, "round {round}");
        let notices = std::mem::take(&mut *notices.lock().unwrap());
        assert_eq!(notices.len(), 1, "round {round}: {notices:?}");
        assert!(notices[0].contains("built again") && notices[0].contains(".h5"), "{notices:?}");
        assert_eq!(fs::read(&path).unwrap(), good, "round {round}: the cache is the same, byte for byte");
    }
}

/// The places say where in the cache each sample lies: as sound as the cache they must be.
#[test]
fn damaged_places_are_noticed_as_a_damaged_cache_is() {
    let folder = tempfile::tempdir().unwrap();
    let (store, manifest) = imported(folder.path());
    let expected = values(&store.load(&manifest, Some(framing("number:4"))).unwrap());
    let (store, notices) = listened_to(store);
    let places = caches(folder.path()).remove(0).with_extension("h5.places");
    let good = fs::read(&places).unwrap();
    // Offset u64 and length u32 of each of the 16 samples.
    assert_eq!(good.len(), 16 * 12);
    let mut swapped = good.clone();
    swapped.rotate_left(12);
    let mut flipped = good.clone();
    flipped[12] ^= 1;
    let cut = good[..good.len() - 12].to_vec();
    for (what, bytes) in
        [("swapped", Some(swapped)), ("flipped", Some(flipped)), ("cut", Some(cut)), ("gone", None)]
    {
        match bytes {
            Some(bytes) => fs::write(&places, bytes).unwrap(),
            None => fs::remove_file(&places).unwrap(),
        }
        // Read from memory and from the file: no sample is another's.
        for store in [store.clone(), store.clone().with_memory_limit(0)] {
            assert_eq!(
                values(&store.load(&manifest, Some(framing("number:4"))).unwrap()),
                expected,
                "{what}"
            );
        }
        let notices = std::mem::take(&mut *notices.lock().unwrap());
        assert!(
            matches!(&notices[..], [notice] if notice.contains(".h5.places") && notice.contains("built again")),
            "{what}: {notices:?}"
        );
        assert_eq!(fs::read(&places).unwrap(), good, "{what}");
    }
}

/// Damage behind the guard's back: with a fitting checksum only the HDF5 library and the checks of shape are left. It
/// may give an error (and so a new cache), but no panic.
#[test]
fn the_hdf5_library_survives_damage() {
    let folder = tempfile::tempdir().unwrap();
    let (store, manifest) = imported(folder.path());
    store.load(&manifest, Some(framing("number:2"))).unwrap();
    let path = caches(folder.path()).remove(0);
    let good = fs::read(&path).unwrap();
    let places = blake3::hash(&fs::read(path.with_extension("h5.places")).unwrap()).to_hex();
    let (store, notices) = listened_to(store);
    let mut state = 7_u64;
    for round in 0..200 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let place = (state >> 33) as usize % good.len();
        let mut bytes = good.clone();
        if round % 2 == 0 {
            bytes.truncate(place)
        } else {
            bytes[place] ^= 1 << (round % 8)
        }
        fs::write(&path, &bytes).unwrap();
        let digest = blake3::hash(&bytes).to_hex();
        let guard = format!("{digest}  cache.h5\n{places}  cache.h5.places\n");
        fs::write(path.with_extension("h5.b3"), guard).unwrap();
        let _ = store.load(&manifest, Some(framing("number:2")));
    }
    let notices = notices.lock().unwrap();
    let by_guard = notices.iter().filter(|notice| notice.contains("BLAKE3")).count();
    assert_eq!(by_guard, 0, "the guard let all of them pass: {notices:?}");
    assert!(!notices.is_empty(), "the library found some of the damage");
}

#[test]
fn progress_ends_at_its_total() {
    let folder = tempfile::tempdir().unwrap();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&steps);
    nmnist(&folder.path().join("tree"), 12, 4);
    let store = store(folder.path()).with_progress(move |progress| heard.lock().unwrap().push(progress));
    let manifest = store.import(DatasetId::NMNIST, &folder.path().join("tree")).unwrap();
    store.load(&manifest, Some(framing("number:2"))).unwrap();
    store.verify(&manifest).unwrap();
    let steps = steps.lock().unwrap();
    for stage in [Stage::Import, Stage::Frame, Stage::Verify] {
        assert!(steps.contains(&Progress::Step { stage, done: 16, total: 16 }), "{stage}: {steps:?}");
    }
}

#[test]
fn a_store_is_cheap_to_share() {
    fn shared<T: Send + Sync + Clone>(_: &T) {}
    let folder = tempfile::tempdir().unwrap();
    let (store, manifest) = imported(folder.path());
    let data = store.with_memory_limit(0).load(&manifest, Some(framing("number:2"))).unwrap();
    shared(&data);
    shared(&registry());
}

#[test]
fn what_killed_framings_left_is_cleared_away() {
    let folder = tempfile::tempdir().unwrap();
    let (store, manifest) = imported(folder.path());
    store.load(&manifest, Some(framing("number:2"))).unwrap();
    let cache = caches(folder.path()).remove(0);
    let key = cache.file_stem().unwrap().to_str().unwrap();
    let left = cache.with_file_name(format!(".building-{key}"));
    let others = cache.with_file_name(".building-0123456789abcdef");
    for folder in [&left, &others] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("frames.h5"), "half of a file").unwrap();
    }
    fs::remove_file(&cache).unwrap();
    store.load(&manifest, Some(framing("number:2"))).unwrap();
    assert!(!left.exists() && others.exists(), "another cache may be in the making");

    // Killed between the last step and the clearing away; first with somebody at work on it, then with nobody.
    for held in [true, false] {
        fs::create_dir_all(&left).unwrap();
        let lock = fs::File::open(cache.with_file_name(format!(".{key}.lock"))).unwrap();
        if held {
            lock.lock().unwrap();
        }
        store.load(&manifest, Some(framing("number:2"))).unwrap();
        assert_eq!(left.exists(), held);
    }

    let (input, output) = (folder.path().join("tree/Train/1/00001.bin"), folder.path().join("frames.h5"));
    let (left, others) =
        (folder.path().join(".framing-frames.h5-Xy12"), folder.path().join(".framing-x.h5-Xy12"));
    for folder in [&left, &others] {
        fs::create_dir(folder).unwrap();
    }
    frame_file(&input, None, framing("number:2"), &output, false).unwrap();
    assert!(output.exists() && !left.exists() && others.exists());
}

#[test]
fn a_data_set_has_at_most_1024_frames_a_sample() {
    let folder = tempfile::tempdir().unwrap();
    let (store, manifest) = imported(folder.path());
    for frames in [0, 1025, usize::MAX] {
        let error = store.load(&manifest, Some(Framing::ByNumber { frames })).unwrap_err().to_string();
        assert!(error.contains("from 1 to 1024 frames"), "{error}");
    }
}

#[test]
fn a_build_that_ended_half_way_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (store, manifest) = imported(folder.path());
    let expected = direct(folder.path(), &manifest, framing("number:3"));
    // Training recordings are one batch, test recordings another: the second fails.
    let bad = folder.path().join("data/nmnist/raw/Test/3/00003.bin");
    let whole = fs::read(&bad).unwrap();
    fs::write(&bad, &whole[..5]).unwrap();
    store.load(&manifest, Some(framing("number:3"))).unwrap_err();
    fs::write(&bad, whole).unwrap();
    let frames = folder.path().join("data/nmnist/frames");
    let parts: Vec<_> =
        contents(&frames).into_iter().filter(|(path, _)| path.ends_with("train-00000.part")).collect();
    assert_eq!(parts.len(), 1, "the training samples are there");

    // Without its recordings the training part cannot be made again; so it is not.
    let away = folder.path().join("away");
    fs::rename(folder.path().join("data/nmnist/raw/Train"), &away).unwrap();
    let data = store.load(&manifest, Some(framing("number:3"))).unwrap();
    assert_eq!(values(&data), expected);
    assert!(contents(&frames).iter().all(|(path, _)| path.extension().is_none_or(|end| end != "part")));

    // The file is the one that an uninterrupted build makes.
    fs::rename(&away, folder.path().join("data/nmnist/raw/Train")).unwrap();
    let resumed = fs::read(&caches(folder.path())[0]).unwrap();
    fs::remove_dir_all(&frames).unwrap();
    store.load(&manifest, Some(framing("number:3"))).unwrap();
    assert_eq!(fs::read(&caches(folder.path())[0]).unwrap(), resumed);
}
