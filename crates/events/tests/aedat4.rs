//! AEDAT 4: real recordings, files made here, and files damaged in every way.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod shared;

use std::io::Write;
use std::path::Path;

use aedat::base::ioheader_generated::{
    Compression, Ioheader, IoheaderArgs, finish_size_prefixed_ioheader_buffer, size_prefixed_root_as_ioheader,
};
use aedat::events_generated::{
    Event, EventPacket, EventPacketArgs, finish_size_prefixed_event_packet_buffer,
    size_prefixed_root_as_event_packet,
};
use bpsta_events::{Events, Format, Framing, Notes, Sensor, Summary, decode, encode, frame};
use flatbuffers::FlatBufferBuilder;
use proptest::prelude::*;
use shared::shared;

const DESCRIPTION: &str = r#"<dv version="2.0"><node name="outInfo">
    <node name="3"><attr key="typeIdentifier">EVTS</attr><node name="info">
        <attr key="sizeX" type="int">9</attr><attr key="sizeY" type="int">9</attr></node></node>
    <node name="1"><attr key="typeIdentifier">EVTS</attr><node name="info">
        <attr key="sizeX" type="int">20</attr><attr key="sizeY" type="int">10</attr></node></node>
    <node name="2"><attr key="typeIdentifier">IMUS</attr></node>
</node></dv>"#;
/// The stream that is read.
const STREAM: u32 = 1;

fn header(compression: Compression, end: i64, description: &str) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let description = Some(builder.create_string(description));
    let root =
        Ioheader::create(&mut builder, &IoheaderArgs { compression, file_data_position: end, description });
    finish_size_prefixed_ioheader_buffer(&mut builder, root);
    [b"#!AER-DAT4.0\r\n", builder.finished_data()].concat()
}

fn packet(compression: Compression, stream: u32, events: &[Event]) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let elements = Some(builder.create_vector(events));
    let root = EventPacket::create(&mut builder, &EventPacketArgs { elements });
    finish_size_prefixed_event_packet_buffer(&mut builder, root);
    let table = builder.finished_data();
    let body = match compression {
        Compression::None => table.to_vec(),
        Compression::Lz4 => {
            let mut encoder = lz4::EncoderBuilder::new().build(Vec::new()).unwrap();
            encoder.write_all(table).unwrap();
            encoder.finish().0
        }
        _ => zstd::encode_all(table, 0).unwrap(),
    };
    framed(stream, &body)
}

fn framed(stream: u32, body: &[u8]) -> Vec<u8> {
    [&stream.to_le_bytes()[..], &(body.len() as u32).to_le_bytes(), body].concat()
}

/// A file of two packets of events with one of another stream between them.
fn file(compression: Compression) -> Vec<u8> {
    let events = |first: i64| -> Vec<Event> {
        (0..40).map(|i| Event::new(first + i, (i % 20) as i16, (i % 10) as i16, i % 3 == 0)).collect()
    };
    let packets = [(STREAM, 1000), (2, 0), (STREAM, 2000)]
        .map(|(stream, first)| packet(compression, stream, &events(first)));
    [header(compression, -1, DESCRIPTION), packets.concat()].concat()
}

#[test]
fn a_file_of_every_compression_is_read() {
    let plain = decode(&file(Compression::None), Format::Aedat4).unwrap();
    assert_eq!(plain.sensor, Sensor { width: 20, height: 10 });
    assert_eq!(plain.notes, Notes { skipped_packets: 1, ..Notes::default() });
    assert_eq!((plain.events.len(), plain.events.t[0], plain.events.t[79]), (80, 1000, 2039));
    assert_eq!((plain.events.x[59], plain.events.y[59], plain.events.on[41]), (19, 9, false));
    assert_eq!(plain.events.on.iter().filter(|on| **on).count(), 28);
    for compression in [Compression::Lz4, Compression::Zstd] {
        assert_eq!(decode(&file(compression), Format::Aedat4).unwrap(), plain);
    }
    let frames = frame(&plain.events, plain.sensor, Framing::ByNumber { frames: 4 }).unwrap();
    assert_eq!((frames.width, frames.height, frames.counts.iter().sum::<u16>()), (20, 10, 80));
}

#[test]
fn it_is_known_by_its_beginning_and_not_written() {
    let bytes = file(Compression::None);
    assert_eq!(Format::sniff(Path::new("a.aedat4"), &bytes), Some(Format::Aedat4));
    assert_eq!("aedat4".parse(), Ok(Format::Aedat4));
    // With its line breaks converted it is no AEDAT of another version: its decoder says what is wrong.
    assert_eq!(Format::sniff(Path::new("a.aedat4"), b"#!AER-DAT4.0\n"), Some(Format::Aedat4));
    let error = encode(&Events::default(), Format::Aedat4).unwrap_err().to_string();
    assert!(error.contains("aedat4 is read, not written"), "{error}");
}

#[test]
fn damage_is_named_by_offset() {
    let none = Compression::None;
    let start = header(none, -1, DESCRIPTION).len();
    let one = |event| [header(none, -1, DESCRIPTION), packet(none, STREAM, &[event])].concat();
    let with =
        |body: &[u8], compression| [header(compression, -1, DESCRIPTION), framed(STREAM, body)].concat();
    let described = |from: &str, to: &str| header(none, -1, &DESCRIPTION.replace(from, to));
    let whole = file(none);
    let length = whole.len();
    let cases: [(Vec<u8>, String); 24] = [
        (vec![], "byte 0: the file is empty".into()),
        (b"#!AER-DAT4.1\r\n".to_vec(), "the file says AEDAT 4.1".into()),
        (b"#!AER-DAT4.0\n....".to_vec(), "byte 0: `#!AER-DAT4.0` ends in LF, expected CR LF".into()),
        (whole[..13].to_vec(), "byte 12: the header has no end, expected `CR LF`".into()),
        (whole[..16].to_vec(), "byte 14: 2 bytes are left".into()),
        (whole[..200].to_vec(), "byte 200: the header has no end".into()),
        (whole[..start + 7].to_vec(), format!("byte {start}: 7 bytes are left")),
        (whole[..length - 1].to_vec(), "packet field `length` is 672, expected at most the 671 bytes".into()),
        (header(none, 9999, DESCRIPTION), "packets end at byte 9999, but the file does at 526".into()),
        (header(none, 15, DESCRIPTION), "packets end at byte 15, in itself".into()),
        (header(none, -7, DESCRIPTION), "packets end at byte -7".into()),
        (with(&[0; 40], Compression(9)), "byte 522: compression 9 in the header".into()),
        (described("EVTS", "FRME"), "byte 14: the header names no stream of events".into()),
        (described("outInfo", "out"), "no node `outInfo`".into()),
        (described("<dv", "<d"), "the header's XML: ".into()),
        (described("<dv", "<!DOCTYPE x><dv"), "document type".into()),
        (
            described(">20<", ">32769<"),
            "stream 1 `sizeX` = \"32769\", expected pixels from 1 to 32768".into(),
        ),
        (described("sizeY", "sizeZ"), "stream 1 `sizeY` = \"\"".into()),
        (one(Event::new(-1, 0, 0, true)), format!("byte {start}: event with timestamp -1")),
        (
            one(Event::new(0, 20, 0, true)),
            format!("byte {start}: event at x = 20, y = 0, off the sensor of 20x10"),
        ),
        (one(Event::new(0, 0, -1, true)), "x = 0, y = -1, off the sensor".into()),
        (with(&[0; 40], none), "no table of events (EVTS)".into()),
        (with(&[1; 40], Compression::Lz4), "the packet does not unpack".into()),
        (
            with(&zstd::encode_all(&[0; 1 << 20][..], 0).unwrap(), Compression::Zstd),
            "more than 64 times its size".into(),
        ),
    ];
    for (bytes, expected) in cases {
        let error = decode(&bytes, Format::Aedat4).unwrap_err().to_string();
        assert!(error.contains(&expected), "`{error}` lacks `{expected}`");
    }
}

/// `bytes` with some of them changed and cut.
fn damage(bytes: &[u8], changes: &[(prop::sample::Index, u8)], cut: Option<prop::sample::Index>) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (place, value) in changes {
        let place = place.index(bytes.len());
        bytes[place] ^= value;
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len()));
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_damaged_file_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 0..6),
        cut in prop::option::weighted(0.3, any::<prop::sample::Index>()),
        body in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
            let _ = decode(&damage(&file(compression), &changes, cut), Format::Aedat4);
            let _ = decode(&[header(compression, -1, DESCRIPTION), framed(STREAM, &body)].concat(), Format::Aedat4);
        }
        let _ = decode(&[&b"#!AER-DAT4.0\r\n"[..], &body].concat(), Format::Aedat4);
    }
}

/// A recording and what Python's `aedat` 2.3.0 reads of it: `numpy.concatenate` over the packets' events, sums by column.
struct Real {
    name: &'static str,
    sensor: Sensor,
    events: usize,
    /// Packets of frames, IMU and triggers.
    skipped: u64,
    first: (i64, u16, u16, bool),
    last: (i64, u16, u16, bool),
    /// Of t, x, y and on.
    sums: (i128, u64, u64, usize),
}

const REAL: [Real; 2] = [
    Real {
        name: "aestream_davis346",
        sensor: Sensor { width: 346, height: 260 },
        events: 117_667,
        skipped: 27,
        first: (1_633_953_690_975_950, 218, 15, true),
        last: (1_633_953_691_105_949, 137, 56, false),
        sums: (192_262_428_963_394_867_498, 17_676_033, 10_498_046, 72_363),
    },
    Real {
        name: "tonic_sample_dvxplorer_320x240",
        sensor: Sensor { width: 320, height: 240 },
        events: 111_954,
        skipped: 59,
        first: (1_605_537_493_718_345, 154, 204, false),
        last: (1_605_537_494_308_262, 88, 237, true),
        sums: (179_746_344_603_429_281_628, 18_342_405, 15_105_898, 55_023),
    },
];

#[test]
fn real_recordings_are_as_python_reads_them() {
    let Some(shared) = shared() else { return };
    for real in &REAL {
        let bytes = std::fs::read(shared.join(format!("data/aedat4/{}.aedat4", real.name))).unwrap();
        let recording = decode(&bytes, Format::Aedat4).unwrap();
        let events = &recording.events;
        assert_eq!((recording.sensor, events.len()), (real.sensor, real.events), "{}", real.name);
        assert_eq!(recording.notes, Notes { skipped_packets: real.skipped, ..Notes::default() });
        assert_eq!(Summary::of(&recording).sensor, real.sensor);
        let at = |i: usize| (events.t[i], events.x[i], events.y[i], events.on[i]);
        assert_eq!((at(0), at(events.len() - 1)), (real.first, real.last), "{}", real.name);
        let sum = |column: &[u16]| column.iter().map(|value| u64::from(*value)).sum::<u64>();
        let sums = (
            events.t.iter().map(|t| i128::from(*t)).sum::<i128>(),
            sum(&events.x),
            sum(&events.y),
            events.on.iter().filter(|on| **on).count(),
        );
        assert_eq!(sums, real.sums, "{}", real.name);
    }
}

#[test]
fn real_recordings_are_as_the_crates_own_decoder_reads_them() {
    let Some(shared) = shared() else { return };
    for real in &REAL {
        let path = shared.join(format!("data/aedat4/{}.aedat4", real.name));
        let mut expected = Events::default();
        for packet in aedat::base::Decoder::new_from_file(&path).unwrap() {
            let packet = packet.unwrap();
            if packet.stream_id == 0 {
                let table = size_prefixed_root_as_event_packet(&packet.buffer).unwrap();
                for event in table.elements().unwrap() {
                    expected.push(event.t(), event.x() as u16, event.y() as u16, event.on());
                }
            }
        }
        assert!(decode(&std::fs::read(&path).unwrap(), Format::Aedat4).unwrap().events == expected);
    }
}

#[test]
fn real_recordings_cut_and_changed_are_errors_or_events_and_no_panic() {
    let Some(shared) = shared() else { return };
    for real in &REAL {
        let bytes = std::fs::read(shared.join(format!("data/aedat4/{}.aedat4", real.name))).unwrap();
        for cut in (0..300).chain((300..bytes.len()).step_by(bytes.len() / 100)) {
            assert!(decode(&bytes[..cut], Format::Aedat4).is_err(), "{} cut at {cut}", real.name);
        }
        // Its first 60,000 bytes, as if the recorder had been killed; then each byte of the header and of the first packets, and
        // one in 17 behind them.
        // A copy is aligned, as the verifier wants it.
        let header = bytes[14..].to_vec();
        let end = size_prefixed_root_as_ioheader(&header).unwrap().file_data_position();
        let place = bytes.windows(8).position(|window| window == end.to_le_bytes()).unwrap();
        let mut short = bytes[..60_000].to_vec();
        short[place..place + 8].copy_from_slice(&(-1i64).to_le_bytes());
        for place in (0..6_000).chain((6_000..short.len()).step_by(17)) {
            short[place] ^= 1 << (place % 8);
            let _ = decode(&short, Format::Aedat4);
            short[place] ^= 1 << (place % 8);
        }
    }
}
