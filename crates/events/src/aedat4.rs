//! AEDAT 4, as DV writes it: `#!AER-DAT4.0\r\n`, a header in flatbuffers (compression, where the packets end, and streams and
//! sensors in XML), then little-endian packets of stream u32, length u32 and so many compressed bytes of flatbuffers.
//!
//! Of the streams the first of events is read, by number; packets of all others (frames, IMU, triggers, other cameras) are
//! skipped. The sensor is the one the header gives that stream, and an event off it is damage.
//!
//! Tables are those of the crate `aedat`, behind its verifier. Its `Decoder` is not used: it reads from a path alone, allocates
//! what a length says, unpacks without an end, reads the header unverified, panics on a packet of a few bytes, and takes a file
//! that is cut between packets for whole.

use std::io::Read;

use aedat::base::ioheader_generated::{Compression, size_prefixed_root_as_ioheader};
use aedat::events_generated::{
    event_packet_size_prefixed_buffer_has_identifier, size_prefixed_root_as_event_packet,
};
use roxmltree::{Document, Node};

use crate::format::wrong_start;
use crate::{DecodeErrorKind, Events, Format, Notes, Sensor};

pub(crate) const MAGIC: &str = "#!AER-DAT4.0\r\n";
const PACKET_HEADER: usize = 8;
/// Bytes a packet may unpack to for each of its own. Packets of real recordings hold 2 to 3 times their size.
const MOST_UNPACKED: u64 = 64;
/// Length, root and identifier: what any flatbuffer begins with here.
const SMALLEST_TABLE: usize = 12;

/// What the header says.
struct Header {
    compression: Compression,
    /// The stream that is read.
    stream: u32,
    sensor: Sensor,
    /// Where the packets begin and end in the file.
    packets: std::ops::Range<usize>,
}

pub(crate) fn decode(bytes: &[u8]) -> Result<(Events, Notes, Sensor), DecodeErrorKind> {
    if !bytes.starts_with(MAGIC.as_bytes()) {
        let line = MAGIC.trim_end();
        return Err(match bytes.strip_prefix(line.as_bytes()) {
            Some([b'\n', ..]) => DecodeErrorKind::LineBreak { offset: 0, line },
            Some(_) => DecodeErrorKind::HeaderEnd { offset: line.len(), end: "CR LF" },
            None => wrong_start(bytes, Format::Aedat4, line),
        });
    }
    let header = header(bytes)?;
    let (mut events, mut notes) = (Events::default(), Notes::default());
    let mut unpacked = Vec::new();
    let mut offset = header.packets.start;
    while offset < header.packets.end {
        let left = &bytes[offset..header.packets.end];
        let (stream, length) = (word(left, 0, offset)?, word(left, 4, offset)? as usize);
        let Some(body) = left[PACKET_HEADER..].get(..length) else {
            return Err(DecodeErrorKind::Packet {
                offset,
                field: "length",
                found: length as u64,
                expected: format!("at most the {} bytes that are left", left.len() - PACKET_HEADER),
            });
        };
        if stream == header.stream {
            unpacked.clear();
            unpack(body, header.compression, offset, &mut unpacked)?;
            push_events(&unpacked, offset, header.sensor, &mut events)?;
        } else {
            notes.skipped_packets += 1;
        }
        offset += PACKET_HEADER + length;
    }
    notes.see(&events, 0..events.len(), header.sensor);
    Ok((events, notes, header.sensor))
}

/// The u32 at `at` of `left`, which lies at `offset` of the file.
fn word(left: &[u8], at: usize, offset: usize) -> Result<u32, DecodeErrorKind> {
    left.get(at..).and_then(|rest| rest.first_chunk()).map(|word| u32::from_le_bytes(*word)).ok_or(
        DecodeErrorKind::Truncated {
            offset,
            found: left.len(),
            expected: PACKET_HEADER,
            format: Format::Aedat4,
        },
    )
}

fn header(bytes: &[u8]) -> Result<Header, DecodeErrorKind> {
    let offset = MAGIC.len();
    let damaged = |problem: String| DecodeErrorKind::Content { offset, problem };
    let length = word(&bytes[offset..], 0, offset)? as usize;
    // A copy, since the verifier wants the table aligned in memory, as an allocation is and a place in a file is not.
    let Some(table) = bytes[offset..].get(..4 + length).map(<[u8]>::to_vec) else {
        return Err(DecodeErrorKind::HeaderEnd { offset: bytes.len(), end: "as many bytes as it says" });
    };
    let header =
        size_prefixed_root_as_ioheader(&table).map_err(|error| damaged(format!("header: {error}")))?;
    let start = offset + table.len();
    let end = match header.file_data_position() {
        // The recorder had no time to write a table of packets.
        -1 => bytes.len(),
        position => match usize::try_from(position) {
            Ok(end) if end > bytes.len() => {
                let found = bytes.len();
                let problem =
                    format!("the header says that packets end at byte {end}, but the file does at {found}");
                return Err(damaged(problem));
            }
            Ok(end) if end >= start => end,
            _ => {
                return Err(damaged(format!(
                    "the header says that packets end at byte {position}, in itself"
                )));
            }
        },
    };
    let description = header.description().unwrap_or_default();
    let (stream, sensor) = events_stream(description).map_err(damaged)?;
    Ok(Header { compression: header.compression(), stream, sensor, packets: start..end })
}

/// The first stream of events of the header's XML, and its sensor.
fn events_stream(description: &str) -> Result<(u32, Sensor), String> {
    // Entities can make a short text a long one.
    if description.contains("<!DOCTYPE") {
        return Err("the header's XML has a document type, which DV does not write".to_owned());
    }
    let document = Document::parse(description).map_err(|error| format!("the header's XML: {error}"))?;
    let child = |node: Node<'_, '_>, key: &str, name: &str| {
        node.children().find(|node| node.attribute(key) == Some(name)).map(|node| node.id())
    };
    let text = |node: Node<'_, '_>, name: &str| {
        child(node, "key", name).and_then(|id| document.get_node(id)?.text()).map(str::trim)
    };
    let node =
        |node: Node<'_, '_>, name: &str| child(node, "name", name).and_then(|id| document.get_node(id));
    let streams = node(document.root_element(), "outInfo").ok_or("the header's XML has no node `outInfo`")?;
    let (stream, of_events) = streams
        .children()
        .filter(|stream| text(*stream, "typeIdentifier") == Some("EVTS"))
        .filter_map(|stream| Some((stream.attribute("name")?.parse::<u32>().ok()?, stream)))
        .min_by_key(|(number, _)| *number)
        .ok_or("the header names no stream of events (EVTS): there is nothing to read")?;
    let size = |key: &str| {
        let text = node(of_events, "info").and_then(|info| text(info, key)).unwrap_or_default();
        // Coordinates are signed there.
        text.parse::<u16>().ok().filter(|size| (1..=1u16 << 15).contains(size)).ok_or_else(|| {
            format!("the header gives stream {stream} `{key}` = {text:?}, expected pixels from 1 to 32768")
        })
    };
    Ok((stream, Sensor { width: size("sizeX")?, height: size("sizeY")? }))
}

fn unpack(
    body: &[u8],
    compression: Compression,
    offset: usize,
    unpacked: &mut Vec<u8>,
) -> Result<(), DecodeErrorKind> {
    let damaged = |problem: String| DecodeErrorKind::Content { offset, problem };
    let most = body.len() as u64 * MOST_UNPACKED;
    let read = match compression {
        Compression::None => Read::read_to_end(&mut &body[..], unpacked),
        Compression::Lz4 | Compression::Lz4High => {
            lz4::Decoder::new(body).and_then(|reader| reader.take(most + 1).read_to_end(unpacked))
        }
        Compression::Zstd | Compression::ZstdHigh => zstd::stream::read::Decoder::with_buffer(body)
            .and_then(|reader| reader.take(most + 1).read_to_end(unpacked)),
        Compression(other) => {
            return Err(damaged(format!("compression {other} in the header, expected 0 to 4")));
        }
    };
    match read {
        Err(error) => Err(damaged(format!("the packet does not unpack: {error}"))),
        Ok(read) if read as u64 > most => {
            Err(damaged(format!("the packet unpacks to more than {MOST_UNPACKED} times its size")))
        }
        Ok(_) => Ok(()),
    }
}

fn push_events(
    table: &[u8],
    offset: usize,
    sensor: Sensor,
    events: &mut Events,
) -> Result<(), DecodeErrorKind> {
    let damaged = |problem: String| Err(DecodeErrorKind::Content { offset, problem });
    if table.len() < SMALLEST_TABLE || !event_packet_size_prefixed_buffer_has_identifier(table) {
        return damaged(
            "the packet's stream holds events, but the packet is no table of events (EVTS)".to_owned(),
        );
    }
    let packet = match size_prefixed_root_as_event_packet(table) {
        Ok(packet) => packet,
        Err(error) => return damaged(format!("the packet's table: {error}")),
    };
    let Sensor { width, height } = sensor;
    for event in packet.elements().unwrap_or_default() {
        // Not by the getters: that of polarity makes a bool of whatever byte there is.
        let [t @ .., x0, x1, y0, y1, on, _, _, _] = event.0;
        let (t, x, y) = (i64::from_le_bytes(t), i16::from_le_bytes([x0, x1]), i16::from_le_bytes([y0, y1]));
        if t < 0 {
            return Err(DecodeErrorKind::Timestamp { offset, found: t });
        }
        let pixel = u16::try_from(x).ok().zip(u16::try_from(y).ok());
        let Some((x, y)) = pixel.filter(|(x, y)| *x < width && *y < height) else {
            let (x, y) = (x.into(), y.into());
            return Err(DecodeErrorKind::OffSensor { offset, x, y, sensor, format: Format::Aedat4 });
        };
        events.push(t, x, y, on != 0);
    }
    Ok(())
}
