//! What the command line prints. A reader that has gone (`| head -1`) misses the rest, and nothing else changes: a command does all its
//! work, and its exit code is its verdict.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Prints a line to standard output, unless nobody reads it any more.
///
/// # Errors
/// Where it cannot be written for another cause, such as a full disk.
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Prints a line to standard error. Where nobody reads it, nothing is lost.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// So many bytes, rounded up to MiB, or from 1 GiB on to tenths of a GiB.
pub(crate) fn bytes(count: u64) -> String {
    let mib = count as f64 / f64::from(1 << 20);
    if mib < 1024.0 { format!("{:.0} MiB", mib.ceil()) } else { format!("{:.1} GiB", mib / 1024.0) }
}

/// A number of things: `1 thread`, `2 threads`.
pub(crate) fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn bytes_are_told_in_mib_and_from_a_gib_on_in_gib() {
        let told = [0, 1, 1 << 20, (1 << 20) + 1, 1 << 30, 3 << 29].map(bytes);
        assert_eq!(told, ["0 MiB", "1 MiB", "1 MiB", "2 MiB", "1.0 GiB", "1.5 GiB"]);
    }
}
