//! Reading a file of which much is passed over.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead, Read, Seek, SeekFrom};

/// Bytes read at a time: more would crowd the frames out of the nearer caches.
const BUFFER: usize = 1 << 16;
/// What the system copies to fastest: whole lines of cache.
const LINE: usize = 64;
/// Bytes passed over at once that are worth a read of little behind them.
const JUMP: u64 = 1 << 14;
/// Bytes of that read: the header of a packet.
const BEHIND_JUMP: usize = 64;

thread_local! {
    /// What a thread's files are read into, one after another.
    static BYTES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A buffered file that does not fill its buffer behind a jump: who goes from packet to packet for their headers reads those
/// alone, and not the whole file.
pub(crate) struct Skipping<'a> {
    file: &'a File,
    /// Where the file is, so that nobody need ask the system.
    at: u64,
    /// Whether the next read is the first behind a jump.
    jumped: bool,
    /// Of these bytes, `start..end` are the last ones read before `at`, and not consumed.
    buffer: &'a mut [u8],
    start: usize,
    end: usize,
}

impl Skipping<'_> {
    /// Reads a file from its start. `f` reads no other file this way.
    pub(crate) fn read<R>(file: &File, f: impl FnOnce(&mut Skipping<'_>) -> R) -> R {
        BYTES.with_borrow_mut(|bytes| {
            bytes.resize(BUFFER + LINE, 0);
            let first = bytes.as_ptr().align_offset(LINE);
            let buffer = &mut bytes[first..][..BUFFER];
            f(&mut Skipping { file, at: 0, jumped: false, buffer, start: 0, end: 0 })
        })
    }
}

impl BufRead for Skipping<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            let most = if std::mem::take(&mut self.jumped) { BEHIND_JUMP } else { BUFFER };
            (self.start, self.end) = (0, 0);
            self.end = self.file.read(&mut self.buffer[..most])?;
            self.at += self.end as u64;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, amount: usize) {
        self.start = self.end.min(self.start + amount);
    }
}

impl Read for Skipping<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(bytes)?;
        self.consume(read);
        Ok(read)
    }
}

impl Seek for Skipping<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Current(offset) => SeekFrom::Current(offset - (self.end - self.start) as i64),
            other => other,
        };
        self.at = self.file.seek(to)?;
        (self.start, self.end) = (0, 0);
        Ok(self.at)
    }

    fn stream_position(&mut self) -> io::Result<u64> {
        Ok(self.at - (self.end - self.start) as u64)
    }

    fn seek_relative(&mut self, offset: i64) -> io::Result<()> {
        self.jumped |= offset.unsigned_abs() >= JUMP;
        let start = isize::try_from(offset).ok().and_then(|offset| self.start.checked_add_signed(offset));
        match start.filter(|start| *start <= self.end) {
            Some(start) => self.start = start,
            None => _ = self.seek(SeekFrom::Current(offset))?,
        }
        Ok(())
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
        Skipping::read(&file, |input| {
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
        });
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
