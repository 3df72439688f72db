//! One recording, framed by itself: equal to direct framing, and nothing lost by it.

use std::fs;

use bpsta_datasets::{DatasetError, frame_file, frames_of_file};
use bpsta_events::{Events, Format, Framing, Sensor};

use crate::tree::{contents, framing, nmnist};

#[test]
fn one_file_is_framed_into_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    nmnist(folder.path(), 1, 0);
    let (input, output) = (folder.path().join("Train/1/00001.bin"), folder.path().join("out.h5"));
    let by_number = Framing::ByNumber { frames: 5 };
    let frames = frame_file(&input, None, by_number, &output, false).unwrap();
    let events = bpsta_events::read_file(&input, Format::NmnistBin).unwrap().events;
    assert_eq!(frames, bpsta_events::frame(&events, Sensor::NMNIST, by_number).unwrap());
    let file = rust_hdf5::H5File::open(&output).unwrap();
    let dataset = file.dataset("frames").unwrap();
    assert_eq!(dataset.shape(), [5, 2, 34, 34]);
    assert_eq!(dataset.read_raw::<u16>().unwrap(), frames.counts);
    drop((dataset, file));

    let before = fs::read(&output).unwrap();
    let error = frame_file(&input, None, by_number, &output, false).unwrap_err();
    assert!(matches!(error, DatasetError::OutputExists { .. }), "{error}");
    frame_file(&input, None, Framing::ByNumber { frames: 2 }, &output, true).unwrap();
    assert_ne!(fs::read(&output).unwrap(), before);

    // Nor is the input one that may be replaced, by whatever name.
    let recorded = fs::read(&input).unwrap();
    for output in [input.clone(), input.with_file_name("../1/00001.bin")] {
        let error = frame_file(&input, None, by_number, &output, true).unwrap_err();
        assert!(matches!(error, DatasetError::OverInput { .. }), "{error}");
    }
    assert_eq!(fs::read(&input).unwrap(), recorded);

    // A bad input leaves the old output, and nothing beside it.
    fs::write(&input, [1, 2, 3]).unwrap();
    let before = contents(folder.path());
    frame_file(&input, None, by_number, &output, true).unwrap_err();
    assert_eq!(contents(folder.path()), before);
}

/// What it finds of another framing to the same place may be of a process that lives.
#[cfg(unix)]
#[test]
fn framings_to_one_folder_wait_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let (tree, out) = (folder.path().join("tree"), folder.path().join("out"));
    nmnist(&tree, 1, 0);
    fs::create_dir(&out).unwrap();
    let (input, output) = (tree.join("Train/1/00001.bin"), out.join("frames.h5"));
    let others = out.join(".framing-frames.h5-Xy12");
    fs::create_dir(&others).unwrap();
    let lock = fs::File::open(&out).unwrap();
    lock.lock().unwrap();
    std::thread::scope(|scope| {
        let framing = scope.spawn(|| frame_file(&input, None, framing("number:2"), &output, false));
        std::thread::sleep(std::time::Duration::from_millis(400));
        assert!(others.exists() && !output.exists() && !framing.is_finished());
        // The other one is done.
        fs::write(&output, "frames").unwrap();
        drop(lock);
        let error = framing.join().unwrap().unwrap_err();
        assert!(matches!(error, DatasetError::OutputExists { .. }), "{error}");
    });
    assert_eq!(fs::read(&output).unwrap(), b"frames");
    frame_file(&input, None, framing("number:2"), &output, true).unwrap();
    assert_eq!(contents(&out).len(), 1, "neither locks nor unfinished files stay");
    assert!(!others.exists());
}

/// It has no length, and what was read of it is gone.
#[cfg(unix)]
#[test]
fn a_pipe_is_framed_as_its_file_is() {
    let folder = tempfile::tempdir().unwrap();
    nmnist(folder.path(), 1, 0);
    let (input, pipe) = (folder.path().join("Train/1/00001.bin"), folder.path().join("pipe"));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let bytes = fs::read(&input).unwrap();
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::write(pipe, bytes)
    });
    let by_number = Framing::ByNumber { frames: 5 };
    let (frames, _) = frames_of_file(&pipe, Some(Format::NmnistBin), by_number).unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(frames, frames_of_file(&input, None, by_number).unwrap().0);
}

/// Longer than what is read at once, and, by duration, with a timestamp that steps back, which `frame` alone can frame.
#[test]
fn a_long_file_is_framed_as_its_events_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.bin");
    let mut events = Events::default();
    for i in 0..30_000i64 {
        events.push(
            10 + i * 9 - if i == 20_000 { 19 } else { 0 },
            (i * 7 % 34) as u16,
            (i / 11 % 34) as u16,
            i % 3 == 0,
        );
    }
    fs::write(&path, bpsta_events::encode(&events, Format::NmnistBin).unwrap()).unwrap();
    for framing in [Framing::ByNumber { frames: 16 }, Framing::ByDuration { us: 20_000 }] {
        let expected = bpsta_events::frame(&events, Sensor::NMNIST, framing).unwrap();
        assert!(frames_of_file(&path, None, framing).unwrap().0 == expected, "{framing}");
    }
}
