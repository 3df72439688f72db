//! What the command line prints. A reader that has gone (`| head -1`) ends a command, and is no error.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Prints a line to standard output.
///
/// # Errors
/// Where it cannot be written; see [`is_closed_pipe`].
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Prints a line to standard error. Where nobody reads it, nothing is lost.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether a command only ended because nobody reads its output any more.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// A number of things: `1 thread`, `2 threads`.
pub(crate) fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}
