//! Every golden file of event data is met exactly: all events in file order, all frames.
//!
//! The golden files say what the paper's own readers and framing give. They lie outside the repository, in
//! `$BPSTA_SHARED` (default `../shared`): without the folder the tests say that they are skipped, and with the variable set
//! to a folder without them they fail.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod shared;

use std::io::Cursor;
use std::path::Path;

use bpsta_events::{Format, Framing, decode, frame, frame_stream};
use safetensors::SafeTensors;
use shared::shared;

fn integers(tensors: &SafeTensors<'_>, name: &str) -> Vec<i64> {
    let view = tensors.tensor(name).unwrap();
    let width = view.data().len() / view.shape().iter().product::<usize>();
    let wide = |bytes: &[u8]| bytes.iter().rev().fold(0i64, |value, byte| value << 8 | i64::from(*byte));
    view.data().chunks_exact(width).map(wide).collect()
}

/// Checks one recording against its golden file and returns how many frame tensors were compared.
fn meets(golden: &Path, bytes: &[u8], format: Format) -> usize {
    let golden_bytes = std::fs::read(golden).unwrap();
    let tensors = SafeTensors::deserialize(&golden_bytes).unwrap();
    let recording = decode(bytes, format).unwrap();
    let events = &recording.events;
    let name = golden.display();
    assert!(events.t == integers(&tensors, "events.t"), "{name}: t");
    let columns = [("x", &events.x), ("y", &events.y)];
    for (column, values) in columns {
        let values: Vec<i64> = values.iter().map(|value| i64::from(*value)).collect();
        assert!(values == integers(&tensors, &format!("events.{column}")), "{name}: {column}");
    }
    let polarity: Vec<i64> = events.on.iter().map(|on| i64::from(*on)).collect();
    assert!(polarity == integers(&tensors, "events.p"), "{name}: p");

    let mut compared = 0;
    for tensor in tensors.names() {
        let Some(rule) = tensor.strip_prefix("frames.") else { continue };
        let (split, steps) = rule.split_once('.').unwrap();
        let frames: usize = steps.parse().unwrap();
        let framing = match split {
            "number" => Framing::ByNumber { frames },
            "time" => Framing::ByTime { frames },
            other => panic!("{name}: unknown split {other}"),
        };
        let found = frame(events, recording.sensor, framing).unwrap();
        let streamed = frame_stream(&mut Cursor::new(bytes), bytes.len() as u64, format, framing).unwrap();
        assert!(streamed.as_ref() == Some(&found), "{name}: {tensor}, as it is read");
        assert_eq!(
            [found.time_steps, 2, found.height, found.width],
            tensors.tensor(tensor).unwrap().shape(),
            "{name}: {tensor}"
        );
        let counts: Vec<i64> = found.counts.iter().map(|count| i64::from(*count)).collect();
        assert!(counts == integers(&tensors, tensor), "{name}: {tensor}");
        compared += 1;
    }
    compared
}

#[test]
fn aedat2_recordings_are_met_exactly() {
    let Some(shared) = shared() else { return };
    for name in ["Lapiseira", "alexouyang_alex_walking_again"] {
        let bytes = std::fs::read(shared.join(format!("data/aedat2/{name}.aedat"))).unwrap();
        let golden = shared.join(format!("golden/aedat2_{name}.safetensors"));
        assert_eq!(
            meets(&golden, &bytes, Format::Aedat2),
            2,
            "{name}: frames by number and by time for T = 8"
        );
    }
}

#[test]
fn the_aedat31_recording_is_met_exactly() {
    let Some(shared) = shared() else { return };
    let bytes = std::fs::read(shared.join("golden/aedat31_sample.aedat")).unwrap();
    let met = meets(&shared.join("golden/aedat31_sample.safetensors"), &bytes, Format::Aedat31);
    assert_eq!(met, 4, "frames by number and by time for T = 4 and 16");
    let notes = decode(&bytes, Format::Aedat31).unwrap().notes;
    assert!(notes.skipped_packets > 0, "the sample has packets of other types between: {notes:?}");
}

#[test]
fn nmnist_recordings_are_met_exactly() {
    let Some(shared) = shared() else { return };
    let archive = std::fs::File::open(shared.join("data/nmnist.tar.xz")).unwrap();
    let mut archive = tar::Archive::new(lzma_rust2::XzReader::new(std::io::BufReader::new(archive), true));
    let (mut files, mut met) = (0, 0);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        let Some(stem) = path.to_str().unwrap().strip_suffix(".bin") else { continue };
        let golden = shared.join(format!("golden/nmnist_{}.safetensors", stem.replace('/', "_")));
        if golden.is_file() {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
            files += 1;
            met += meets(&golden, &bytes, Format::NmnistBin);
        }
    }
    assert_eq!((files, met), (3, 18), "three files with frames by number and by time for T = 4, 8 and 16");
}

#[test]
fn a_real_recording_of_a_header_alone_has_no_events() {
    let Some(shared) = shared() else { return };
    let bytes = std::fs::read(shared.join("data/aedat2/tonic_header_only_davis346red.aedat")).unwrap();
    let recording = decode(&bytes, Format::Aedat2).unwrap();
    assert!(recording.events.is_empty());
    let error = frame(&recording.events, recording.sensor, Framing::ByNumber { frames: 4 }).unwrap_err();
    assert!(error.to_string().contains("no events"), "{error}");
}
