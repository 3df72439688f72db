//! Events of dynamic vision sensors: from the bytes of a recording to events, and from events to frames.
//!
//! Formats are read as the paper's own readers read them (Brain-Cog-Lab's BP-STA code, after SpikingJelly): every event in
//! file order, none dropped, timestamps in microseconds. AEDAT 4, which the paper does not use, is for recordings of one's own. This crate knows no data set and no tensor library.

mod aedat2;
mod aedat31;
mod aedat4;
mod counting;
mod error;
mod events;
mod format;
mod framing;
mod nmnist;
mod records;
mod simd;
mod stream;
mod summary;

pub use error::{DecodeError, DecodeErrorKind, EncodeError, FramingError};
pub use events::{Events, Sensor};
pub use format::{Format, Notes, Recording, decode, encode, read_file};
pub use framing::{FRAMING_VERSION, Frames, Framing, frame};
pub use stream::frame_stream;
pub use summary::Summary;
