//! The data sets crate from outside: registry, import, stand-ins, cache, and the real files where they are at hand.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod archives;
mod cache;
mod fetch;
mod import;
mod malformed;
mod one_file;
mod own;
mod real;
mod registry;
mod seen;
mod stand_ins;
mod tree;
