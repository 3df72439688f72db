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

/// A number of things: `1 thread`, `2 threads`.
pub(crate) fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}
