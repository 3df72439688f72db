//! Round trips, framing against an independent twin, and bytes that are no recording.
#![allow(clippy::unwrap_used)]

use std::io::{BufReader, Cursor};

use bpsta_events::{
    Events, Format, Framing, Sensor, Summary, decode, encode, frame, frame_stream, read_file,
};
use proptest::prelude::*;

fn events(edge: u16, latest: i64) -> impl Strategy<Value = Events> {
    prop::collection::vec((0..latest, 0..edge, 0..edge, any::<bool>()), 1..400).prop_map(|mut rows| {
        rows.sort_by_key(|row| row.0);
        let mut events = Events::default();
        for (t, x, y, on) in rows {
            events.push(t, x, y, on);
        }
        events
    })
}

/// The rule of the docs, event by event; none for one that is left out.
fn frame_of(events: &Events, i: usize, framing: Framing) -> Option<usize> {
    let (first, last) = (events.t[0], *events.t.last().unwrap());
    let frame = match framing {
        Framing::ByNumber { frames } => match events.len() / frames {
            0 => frames - 1,
            share => (i / share).min(frames - 1),
        },
        Framing::ByTime { frames } => match (last - first) / frames as i64 {
            0 => frames - 1,
            step => (((events.t[i] - first) / step) as usize).min(frames - 1),
        },
        Framing::ByDuration { us } | Framing::Windows { us, .. } => ((events.t[i] - first) / us) as usize,
    };
    Some(frame).filter(|frame| framing.frames().is_none_or(|frames| *frame < frames))
}

proptest! {
    #[test]
    fn every_format_gives_back_what_was_written(
        small in events(34, 1 << 23), large in events(128, i64::from(u32::MAX)), far in events(128, 1 << 40)
    ) {
        for (events, format) in
            [(small, Format::NmnistBin), (large, Format::Aedat2), (far, Format::Aedat31)]
        {
            let bytes = encode(&events, format).unwrap();
            let recording = decode(&bytes, format).unwrap();
            prop_assert_eq!(&recording.events, &events);
            prop_assert_eq!(Summary::of(&recording).events, events.len());
            if format != Format::NmnistBin {
                prop_assert_eq!(Format::sniff("a.aedat".as_ref(), &bytes), Some(format));
            }
        }
    }

    #[test]
    fn framing_is_the_rule_applied_to_each_event(
        events in events(34, 300_000), frames in 1usize..20, us in 1_000i64..50_000
    ) {
        for framing in [
            Framing::ByNumber { frames },
            Framing::ByTime { frames },
            Framing::ByDuration { us },
            Framing::Windows { us, frames },
        ] {
            prop_assert_eq!(framing.to_string().parse(), Ok(framing));
            let found = frame(&events, Sensor::NMNIST, framing).unwrap();
            let mut counts = vec![0u16; found.time_steps * 2 * 34 * 34];
            for i in 0..events.len() {
                let Some(frame) = frame_of(&events, i, framing) else { continue };
                let channel = frame * 2 + usize::from(events.on[i]);
                counts[(channel * 34 + usize::from(events.y[i])) * 34 + usize::from(events.x[i])] += 1;
            }
            prop_assert!(found.counts == counts, "{}", framing);
        }
    }

    #[test]
    fn a_stream_is_framed_as_its_events_are_where_it_can_be(
        events in events(34, 1 << 23), step_back in any::<bool>(), frames in 1usize..20, us in 1_000i64..500_000,
        buffer in 1usize..300, damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        for format in [Format::NmnistBin, Format::Aedat2, Format::Aedat31] {
            let mut events = events.clone();
            if step_back {
                events.t.reverse();
            }
            let mut bytes = encode(&events, format).unwrap();
            if let Some((place, value)) = &damage {
                let place = place.index(bytes.len());
                bytes[place] = *value;
            }
            let sensor = format.sensor().unwrap();
            for framing in [
                Framing::ByNumber { frames },
                Framing::ByTime { frames },
                Framing::ByDuration { us },
                Framing::Windows { us, frames },
            ] {
                let mut input = BufReader::with_capacity(buffer, Cursor::new(&bytes));
                let found = frame_stream(&mut input, bytes.len() as u64, format, framing).unwrap();
                // What it leaves to the other two, and nothing else.
                let streams = |events: &Events| match framing {
                    Framing::ByNumber { .. } => true,
                    Framing::ByTime { .. } | Framing::ByDuration { .. } => events.t.is_sorted(),
                    Framing::Windows { .. } => false,
                };
                let decoded = decode(&bytes, format).ok().filter(|it| streams(&it.events));
                let expected = decoded.and_then(|it| frame(&it.events, sensor, framing).ok());
                prop_assert_eq!(found, expected, "{} {}", format, framing);
            }
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(body in prop::collection::vec(any::<u8>(), 0..300), cut in 0usize..200) {
        for format in Format::ALL {
            let _ = decode(&body, format);
            let mut events = Events::default();
            events.push(7, 1, 2, true);
            // AEDAT 4 is not written: tests/aedat4.rs damages files of its own.
            let mut bytes = encode(&events, format).unwrap_or_default();
            bytes.truncate(cut);
            bytes.extend(&body);
            let _ = decode(&bytes, format);
        }
    }
}

/// More than a few blocks, with frames that end within them.
#[test]
fn long_streams_are_framed_as_their_events_are() {
    let mut events = Events::default();
    let mut state = 1u32;
    for i in 0..7_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        events.push(
            i * 43 + i64::from(state >> 28),
            (state >> 8) as u16 % 34,
            (state >> 16) as u16 % 34,
            state >> 27 & 1 == 1,
        );
    }
    events.t.sort_unstable();
    for format in [Format::NmnistBin, Format::Aedat2, Format::Aedat31] {
        let bytes = encode(&events, format).unwrap();
        for framing in [
            Framing::ByNumber { frames: 16 },
            Framing::ByNumber { frames: 1 },
            Framing::ByTime { frames: 16 },
            Framing::ByTime { frames: 300 },
            Framing::ByDuration { us: 20_000 },
        ] {
            let expected = frame(&events, format.sensor().unwrap(), framing).unwrap();
            for buffer in [777, 1 << 16] {
                let mut input = BufReader::with_capacity(buffer, Cursor::new(&bytes));
                let found = frame_stream(&mut input, bytes.len() as u64, format, framing).unwrap();
                assert!(found.as_ref() == Some(&expected), "{format} {framing} {buffer}");
            }
        }
    }
}

#[test]
fn damaged_recordings_are_named_by_offset() {
    let mut one = Events::default();
    one.push(7, 1, 2, true);
    let aedat31 = encode(&one, Format::Aedat31).unwrap();
    let packet = aedat31.len() - 36;
    let patched = |at: usize, value: u8| {
        let mut bytes = aedat31.clone();
        bytes[at] = value;
        bytes
    };
    let special = |at: usize, value: u8| {
        let mut bytes = patched(packet + at, value);
        bytes[packet] = 0;
        bytes
    };
    let aedat2 = encode(&one, Format::Aedat2).unwrap();
    let cases: [(Vec<u8>, Format, String); 21] = [
        (vec![], Format::NmnistBin, "byte 0: the file is empty".into()),
        (vec![1; 7], Format::NmnistBin, "byte 5: 2 bytes are left".into()),
        (vec![], Format::Aedat2, "byte 0: the file is empty".into()),
        (b"#!AER-DAT1.0\r\n".to_vec(), Format::Aedat2, "the file says AEDAT 1.0".into()),
        (b"#!AER-DAT3.1\r\n".to_vec(), Format::Aedat2, "begin with `#!AER-DAT2.0`".into()),
        (b"#!AER-DAT2.0".to_vec(), Format::Aedat2, "byte 12: the header has no end".into()),
        (aedat2[..aedat2.len() - 3].to_vec(), Format::Aedat2, format!("byte {}: 5 bytes", aedat2.len() - 8)),
        (b"\0\0".to_vec(), Format::Aedat31, "begin with `#!AER-DAT3.1`".into()),
        (b"#!AER-DAT3.1\r\n#x\r\n".to_vec(), Format::Aedat31, "byte 18: the header has no end".into()),
        (
            b"#!AER-DAT3.1\n#!END-HEADER\n".to_vec(),
            Format::Aedat31,
            "byte 13: `#!END-HEADER` ends in LF".into(),
        ),
        (aedat31[..packet + 9].to_vec(), Format::Aedat31, format!("byte {packet}: 9 bytes are left")),
        (
            aedat31[..aedat31.len() - 1].to_vec(),
            Format::Aedat31,
            format!("byte {packet}: packet field `capacity` is 1"),
        ),
        (patched(packet + 4, 9), Format::Aedat31, format!("byte {packet}: packet field `event size` is 9")),
        (special(4, 7), Format::Aedat31, format!("byte {packet}: packet field `event size` is 7")),
        (
            patched(packet + 15, 1),
            Format::Aedat31,
            format!("byte {packet}: packet field `timestamp overflow`"),
        ),
        (patched(packet + 20, 2), Format::Aedat31, format!("byte {packet}: packet field `number` is 2")),
        (patched(packet + 24, 2), Format::Aedat31, format!("byte {packet}: packet field `valid` is 2")),
        (patched(packet + 20, 0), Format::Aedat31, format!("byte {packet}: packet field `valid` is 1")),
        (
            patched(packet + 35, 0xff),
            Format::Aedat31,
            format!("byte {}: event with timestamp -16777209", packet + 28),
        ),
        (patched(packet + 31, 0x7f), Format::Aedat31, format!("byte {}: event at x = 16257", packet + 28)),
        (
            patched(packet + 29, 0x7f),
            Format::Aedat31,
            format!("byte {}: event at x = 1, y = 8130", packet + 28),
        ),
    ];
    for (bytes, format, expected) in cases {
        let error = decode(&bytes, format).unwrap_err().to_string();
        assert!(error.contains(&expected), "{format}: `{error}` lacks `{expected}`");
    }
}

#[test]
fn a_timestamp_that_does_not_fit_is_named_with_the_largest_that_does() {
    for (format, largest) in [
        (Format::NmnistBin, (1 << 23) - 1),
        (Format::Aedat2, (1 << 32) - 1),
        (Format::Aedat31, (1 << 52) + (1 << 31) - 1),
    ] {
        for (t, fits) in [(largest, true), (largest + 1, false), (-1, false)] {
            let mut one = Events::default();
            one.push(t, 1, 2, true);
            let bytes = encode(&one, format);
            let named = format!("event 0: t = {t} does not fit {format}, whose largest is {largest}");
            match bytes {
                Ok(bytes) => assert!(fits && decode(&bytes, format).unwrap().events == one, "{format}: {t}"),
                Err(error) => assert!(!fits && error.to_string() == named, "{format}: {error}"),
            }
        }
    }
}

/// The paper's reader takes all slots of a packet, also those behind the number that its header says are used.
#[test]
fn all_slots_of_a_packet_are_read_whatever_its_number_says() {
    let mut events = Events::default();
    for t in [7, 8, 9] {
        events.push(t, t as u16, 2, true);
    }
    let mut bytes = encode(&events, Format::Aedat31).unwrap();
    let packet = bytes.len() - 28 - 3 * 8;
    for number_or_valid in [20, 24] {
        assert_eq!(bytes[packet + number_or_valid], 3);
        bytes[packet + number_or_valid] = 1;
    }
    assert_eq!(decode(&bytes, Format::Aedat31).unwrap().events, events);
    let by_number = Framing::ByNumber { frames: 2 };
    let stream = frame_stream(&mut Cursor::new(&bytes), bytes.len() as u64, Format::Aedat31, by_number);
    assert_eq!(stream.unwrap(), Some(frame(&events, Sensor::DVS128, by_number).unwrap()));
}

#[test]
fn a_file_s_error_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("00001.bin");
    std::fs::write(&path, [0; 4]).unwrap();
    let error = read_file(&path, Format::NmnistBin).unwrap_err().to_string();
    assert!(error.contains("00001.bin: byte 0: 4 bytes are left"), "{error}");
    let error = read_file(&folder.path().join("none.bin"), Format::NmnistBin).unwrap_err().to_string();
    assert!(error.contains("none.bin"), "{error}");
}

/// For each frame the events that it holds.
fn shared_out(t: &[i64], framing: Framing) -> Vec<Vec<usize>> {
    let mut events = Events::default();
    for (i, t) in t.iter().enumerate() {
        events.push(*t, i as u16, 0, false);
    }
    let frames = frame(&events, Sensor::NMNIST, framing).unwrap();
    let here = |frame: &[u16]| (0..t.len()).filter(|i| frame[*i] == 1).collect();
    frames.counts.chunks(2 * 34 * 34).map(here).collect()
}

/// What SpikingJelly 2.0's `cal_fixed_frames_number_segment_index` gives, by time: each frame from the first to the last event
/// of its window, and the last to the end.
#[test]
fn where_timestamps_step_back_frames_by_time_are_the_reference_s() {
    for (t, bounds) in [
        // A glitch forward, which begins no frame.
        (&[0, 50, 1, 2, 6, 7, 10][..], &[0..4, 4..7][..]),
        (&[0, 9, 2, 30, 4, 8, 3, 12], &[0..7, 4..5, 1..8]),
        (&[5, 0, 9, 6, 2, 30, 7, 12], &[0..7, 2..8]),
        (&[3, 1, 0, 4, 2, 3, 6, 5], &[0..6, 3..8]),
    ] {
        let frames = shared_out(t, Framing::ByTime { frames: bounds.len() });
        assert_eq!(frames, bounds.iter().cloned().map(Vec::from_iter).collect::<Vec<_>>(), "{t:?}");
    }
    // Nothing lies in the last window, for which the reference has no answer: what is later is there all the same.
    assert_eq!(
        shared_out(&[0, 9, 1, 2, 10], Framing::ByTime { frames: 3 }),
        [vec![0, 1, 2, 3], vec![], vec![1, 2, 3, 4]]
    );
}

/// A clock that was reset or has wrapped on the way: windows from the first event on would lie behind all that follow.
#[test]
fn a_clock_that_steps_back_over_all_is_refused_by_time_and_framed_by_number() {
    let mut events = Events::default();
    for t in [90, 100, 10, 20, 30] {
        events.push(t, 1, 2, true);
    }
    let bytes = encode(&events, Format::NmnistBin).unwrap();
    let framing = Framing::ByTime { frames: 3 };
    let error = frame(&events, Sensor::NMNIST, framing).unwrap_err().to_string();
    let said = format!("framing `{framing}`: the clock steps back from 90 us");
    assert!(error.starts_with(&said) && error.ends_with("use a split by number"), "{error}");
    let durations = [Framing::ByDuration { us: 10 }, Framing::Windows { us: 10, frames: 2 }];
    for framing in [framing, durations[0], durations[1]] {
        let stream = frame_stream(&mut Cursor::new(&bytes), bytes.len() as u64, Format::NmnistBin, framing);
        assert_eq!(stream.unwrap(), None, "{framing}");
    }
    // Frames of a duration lie where their events are: 90 us, and 100; the last one of all goes on to the end of the file.
    for (framing, expected) in durations.into_iter().zip([[1, 4], [1, 1]]) {
        let frames = frame(&events, Sensor::NMNIST, framing).unwrap();
        let of_frame = |frame: &[u16]| frame.iter().sum::<u16>();
        let frames: Vec<u16> = frames.counts.chunks(2 * 34 * 34).map(of_frame).collect();
        assert_eq!(frames, expected, "{framing}");
    }
    let by_number = frame(&events, Sensor::NMNIST, Framing::ByNumber { frames: 5 }).unwrap();
    assert_eq!(by_number.counts.iter().sum::<u16>(), 5);
    let summary = Summary::of(&decode(&bytes, Format::NmnistBin).unwrap());
    assert_eq!((summary.first_us, summary.last_us, summary.duration_us), (Some(90), Some(30), Some(90)));
}

#[test]
fn frames_of_a_duration_reach_to_the_latest_event() {
    let framing = Framing::ByDuration { us: 10 };
    assert_eq!(
        shared_out(&[0, 35, 12, 3, 14], framing),
        [vec![0, 1, 2, 3], vec![2, 3, 4], vec![], vec![1, 2, 3, 4]]
    );
}

/// The upper bits of their timestamps lie in the headers of packets, and change on the way.
#[test]
fn recordings_far_from_the_clock_s_start_are_streamed() {
    let mut events = Events::default();
    for i in 0..3000 {
        events.push((1 << 40) - 100_000 + i * 97, (i % 128) as u16, (i % 7) as u16, i % 3 == 0);
    }
    let bytes = encode(&events, Format::Aedat31).unwrap();
    for framing in
        [Framing::ByNumber { frames: 5 }, Framing::ByTime { frames: 5 }, Framing::ByDuration { us: 9000 }]
    {
        let found = frame_stream(&mut Cursor::new(&bytes), bytes.len() as u64, Format::Aedat31, framing);
        let expected = frame(&events, Sensor::DVS128, framing).unwrap();
        assert_eq!(found.unwrap(), Some(expected), "{framing}");
    }
}

#[test]
fn framing_refuses_what_has_no_frames() {
    let mut one = Events::default();
    one.push(0, 200, 0, true);
    for (framing, expected) in [
        (Framing::ByNumber { frames: 0 }, "at least one frame"),
        (Framing::ByTime { frames: 0 }, "at least one frame"),
        (Framing::ByDuration { us: 0 }, "at least 1 us"),
        (Framing::Windows { us: 0, frames: 3 }, "at least 1 us"),
        (Framing::Windows { us: 3, frames: 0 }, "at least one frame"),
        (Framing::ByNumber { frames: usize::MAX }, "more than 232210 frames of 34x34 pixels: ask for fewer"),
        (Framing::ByTime { frames: 232_211 }, "more than 232210 frames"),
        (Framing::ByNumber { frames: 1 }, "x = 200, y = 0 lies off the 34x34 sensor"),
    ] {
        let error = frame(&one, Sensor::NMNIST, framing).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut far = Events::default();
    far.push(0, 0, 0, true);
    far.push(1 << 52, 0, 0, true);
    let error = frame(&far, Sensor::NMNIST, Framing::ByDuration { us: 1 }).unwrap_err().to_string();
    assert!(error.contains("`duration:1us` gives more than 232210 frames"), "{error}");
    let mut many = Events::default();
    for t in 0..65_536 {
        many.push(t, 0, 0, true);
    }
    let error = frame(&many, Sensor::NMNIST, Framing::ByNumber { frames: 1 }).unwrap_err().to_string();
    assert!(error.contains("more than 65535"), "{error}");
}

#[test]
fn what_looks_wrong_in_a_recording_is_counted() {
    let mut events = Events::default();
    for (t, x, y) in [(5, 1, 2), (3, 33, 33), (4, 34, 0), (9, 0, 240), (8, 1, 1)] {
        events.push(t, x, y, true);
    }
    let notes = decode(&encode(&events, Format::NmnistBin).unwrap(), Format::NmnistBin).unwrap().notes;
    assert_eq!((notes.steps_back, notes.off_sensor, notes.overflow_markers), (2, 2, 1));

    let mut bytes = b"#!AER-DAT2.0\r\n".to_vec();
    for (address, t) in [(0x7fffu32, 9u32), (0x8000, 8), (0x7_0001, 8)] {
        bytes.extend(address.to_be_bytes());
        bytes.extend(t.to_be_bytes());
    }
    let notes = decode(&bytes, Format::Aedat2).unwrap().notes;
    assert_eq!((notes.steps_back, notes.off_sensor, notes.high_address_bits), (1, 0, 2));

    // From block to block.
    let mut events = Events::default();
    for i in 0..1025 {
        events.push(if i == 1024 { 0 } else { i + 1 }, 1, 2, true);
    }
    let mut bytes = encode(&events, Format::Aedat31).unwrap();
    for back in [1, 2, 1025] {
        let place = bytes.len() - 8 * back;
        bytes[place] &= !1;
    }
    let notes = decode(&bytes, Format::Aedat31).unwrap().notes;
    assert_eq!((notes.steps_back, notes.invalid_events), (1, 3));
}
