//! Decoding and framing, from memory. The events are made up and written by the crate's own `encode`; AEDAT 4, which it does not
//! write, by the crate `aedat`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::io::{Cursor, Write};

use aedat::base::ioheader_generated::{
    Compression, Ioheader, IoheaderArgs, finish_size_prefixed_ioheader_buffer,
};
use aedat::events_generated::{
    Event, EventPacket, EventPacketArgs, finish_size_prefixed_event_packet_buffer,
};
use bpsta_events::{Events, Format, Framing, Sensor, decode, encode, frame, frame_stream};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flatbuffers::FlatBufferBuilder;

const EVENTS: usize = 1 << 17;

/// A spot that wanders over the sensor: an event a microsecond, within 20 pixels of where it is.
fn wandering(sensor: Sensor) -> Events {
    let (mut events, mut state) = (Events::with_capacity(EVENTS), 1u64);
    for t in 0..EVENTS {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let at = |noise: u64, edge: u16| ((t / 1000) as u64 + noise % 20) as u16 % edge;
        events.push(t as i64, at(state, sensor.width), at(state >> 20, sensor.height), state >> 40 & 1 == 1);
    }
    events
}

fn aedat4(events: &Events, sensor: Sensor) -> Vec<u8> {
    let description = format!(
        "<dv><node name=\"outInfo\"><node name=\"0\"><attr key=\"typeIdentifier\">EVTS</attr><node name=\"info\">\
         <attr key=\"sizeX\">{}</attr><attr key=\"sizeY\">{}</attr></node></node></node></dv>",
        sensor.width, sensor.height
    );
    let mut builder = FlatBufferBuilder::new();
    let description = Some(builder.create_string(&description));
    let arguments = IoheaderArgs { compression: Compression::Lz4, file_data_position: -1, description };
    let root = Ioheader::create(&mut builder, &arguments);
    finish_size_prefixed_ioheader_buffer(&mut builder, root);
    let mut bytes = [b"#!AER-DAT4.0\r\n", builder.finished_data()].concat();
    for start in (0..events.len()).step_by(4096) {
        let event = |i: usize| Event::new(events.t[i], events.x[i] as i16, events.y[i] as i16, events.on[i]);
        let packet: Vec<Event> = (start..events.len().min(start + 4096)).map(event).collect();
        let mut builder = FlatBufferBuilder::new();
        let elements = Some(builder.create_vector(&packet));
        let root = EventPacket::create(&mut builder, &EventPacketArgs { elements });
        finish_size_prefixed_event_packet_buffer(&mut builder, root);
        let mut encoder = lz4::EncoderBuilder::new().build(Vec::new()).unwrap();
        encoder.write_all(builder.finished_data()).unwrap();
        let body = encoder.finish().0;
        bytes.extend([0, body.len() as u32].map(u32::to_le_bytes).concat());
        bytes.extend(body);
    }
    bytes
}

fn recordings() -> Vec<(Format, Vec<u8>)> {
    let dvs128 = wandering(Sensor::DVS128);
    vec![
        (Format::NmnistBin, encode(&wandering(Sensor::NMNIST), Format::NmnistBin).unwrap()),
        (Format::Aedat2, encode(&dvs128, Format::Aedat2).unwrap()),
        (Format::Aedat31, encode(&dvs128, Format::Aedat31).unwrap()),
        (Format::Aedat4, aedat4(&dvs128, Sensor::DVS128)),
    ]
}

fn decoders(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    for (format, bytes) in recordings() {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(format), |bencher| {
            bencher.iter(|| decode(black_box(&bytes), format).unwrap());
        });
    }
    group.finish();
}

const FRAMINGS: [Framing; 3] =
    [Framing::ByNumber { frames: 16 }, Framing::ByTime { frames: 16 }, Framing::ByDuration { us: 10_000 }];

fn framing(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for sensor in [Sensor::NMNIST, Sensor::DVS128] {
        let events = wandering(sensor);
        for framing in FRAMINGS {
            group.bench_function(BenchmarkId::new(sensor.to_string(), framing), |bencher| {
                bencher.iter(|| frame(black_box(&events), sensor, framing).unwrap());
            });
        }
    }
    group.finish();
}

fn streams(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode and frame as it is read");
    for (format, bytes) in recordings().into_iter().filter(|(format, _)| *format != Format::Aedat4) {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        for framing in FRAMINGS {
            group.bench_function(BenchmarkId::new(format.to_string(), framing), |bencher| {
                bencher.iter(|| {
                    frame_stream(&mut Cursor::new(black_box(&bytes)), bytes.len() as u64, format, framing)
                        .unwrap()
                        .unwrap()
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, decoders, framing, streams);
criterion_main!(benches);
