//! Reading a file of which much is passed over.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

/// Bytes read at a time: more would crowd the frames out of the nearer caches.
const BUFFER: usize = 1 << 16;
/// Bytes passed over at once that are worth a read of little behind them.
const JUMP: u64 = 1 << 14;
/// Bytes of that read: the header of a packet.
const BEHIND_JUMP: usize = 64;

/// A buffered file that does not fill its buffer behind a jump: who goes from packet to packet for their headers reads those
/// alone, and not the whole file.
pub(crate) struct Skipping<'a> {
    input: BufReader<Below<'a>>,
}

impl<'a> Skipping<'a> {
    /// A file of `length` bytes, at its start.
    pub(crate) fn new(file: &'a File, length: u64) -> Self {
        // No larger than the file: what is freed of a heap's end goes back to the system, and is faulted in again for the next.
        let capacity = BUFFER.min(length as usize).max(1);
        Self { input: BufReader::with_capacity(capacity, Below { file, at: 0, jumped: false }) }
    }
}

impl Read for Skipping<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.input.read(bytes)
    }
}

impl BufRead for Skipping<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.input.consume(amount);
    }
}

impl Seek for Skipping<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.input.seek(to)
    }

    fn stream_position(&mut self) -> io::Result<u64> {
        self.input.stream_position()
    }

    fn seek_relative(&mut self, offset: i64) -> io::Result<()> {
        self.input.get_mut().jumped |= offset.unsigned_abs() >= JUMP;
        self.input.seek_relative(offset)
    }
}

/// What lies below the buffer.
struct Below<'a> {
    file: &'a File,
    /// Where it is, so that nobody need ask the system.
    at: u64,
    /// Whether the next read is the first behind a jump.
    jumped: bool,
}

impl Read for Below<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let most = if std::mem::take(&mut self.jumped) { BEHIND_JUMP.min(bytes.len()) } else { bytes.len() };
        let read = self.file.read(&mut bytes[..most])?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Below<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.file.seek(to)?;
        Ok(self.at)
    }

    fn stream_position(&mut self) -> io::Result<u64> {
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces of a header and a body, gone through for the headers, and then as a whole.
    fn check(body: usize, fewest_buffered: usize, most_buffered: usize) {
        const HEADER: usize = 28;
        let bytes: Vec<u8> =
            (0..20 * (HEADER + body)).map(|place| (place % 251) as u8 ^ (place >> 12) as u8).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        let file = File::open(file.path()).unwrap();
        let mut input = Skipping::new(&file, bytes.len() as u64);
        for (piece, start) in (0..bytes.len()).step_by(HEADER + body).enumerate() {
            assert_eq!(input.stream_position().unwrap(), start as u64);
            let buffered = input.fill_buf().unwrap().len();
            // What lies before the first piece that is passed over is read like any file.
            assert!(piece == 0 || (fewest_buffered..=most_buffered).contains(&buffered), "{buffered}");
            let mut header = [0; HEADER];
            input.read_exact(&mut header).unwrap();
            assert_eq!(header, bytes[start..][..HEADER]);
            input.seek_relative(body as i64).unwrap();
        }
        input.seek_relative(-(bytes.len() as i64)).unwrap();
        let mut again = Vec::new();
        input.read_to_end(&mut again).unwrap();
        assert!(again == bytes);
    }

    #[test]
    fn headers_of_large_pieces_alone_are_read() {
        check(1 << 16, BEHIND_JUMP, BEHIND_JUMP);
        check(1 << 14, BEHIND_JUMP, BUFFER);
    }

    #[test]
    fn small_pieces_are_read_with_what_is_behind_them() {
        check(1000, 28, BUFFER);
    }
}
