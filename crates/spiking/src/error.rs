//! What can go wrong in a network, in words.

/// Refuses a number of 0.
pub(crate) fn at_least_one(key: &'static str, found: usize) -> crate::Result<()> {
    match found {
        0 => Err(SpikingError::Range { key, found: "0".to_owned(), expected: "at least 1" }),
        _ => Ok(()),
    }
}

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum SpikingError {
    /// A name that stands for nothing here.
    #[error("unknown {kind} `{found}`: expected one of {expected}")]
    UnknownName {
        /// What the name should have named, such as "rule".
        kind: &'static str,
        /// The name as it was given.
        found: String,
        /// The names there are, separated by commas.
        expected: String,
    },
    /// A network that its input is too small for.
    #[error(
        "layer {layer} ({what}) of the network meets a {height}x{width} map: \
         use a larger input or a shallower network"
    )]
    MapTooSmall {
        /// Index of the layer.
        layer: usize,
        /// The layer as it prints.
        what: String,
        /// Height of the map it meets, in pixels.
        height: usize,
        /// Width of the map it meets, in pixels.
        width: usize,
    },
    /// Layers in an order that has no meaning.
    #[error("layer {layer} ({what}) cannot stand there: {why}")]
    Order {
        /// Index of the layer.
        layer: usize,
        /// The layer as it prints.
        what: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Data whose length does not follow from its shape.
    #[error("{what} has {found} values where {expected} were expected ({shape})")]
    Length {
        /// What the data are.
        what: &'static str,
        /// How many values came.
        found: usize,
        /// How many should have come.
        expected: usize,
        /// The shape that says so.
        shape: String,
    },
    /// A parameter that is missing or has another shape than the network wants.
    #[error("parameter `{name}`: found {found}, the network wants {expected}")]
    Parameter {
        /// Its name, such as `5.weight`.
        name: String,
        /// The shape found, or "none".
        found: String,
        /// The shape the network wants, or "none".
        expected: String,
    },
    /// A number outside its range.
    #[error("{key} = {found}: expected {expected}")]
    Range {
        /// The name of the number.
        key: &'static str,
        /// Its value.
        found: String,
        /// The values it may take.
        expected: &'static str,
    },
    /// The device asked for cannot be had.
    #[error("device `{device}` cannot be used: {why}")]
    Device {
        /// As it was given, such as `cuda:0`.
        device: String,
        /// Why not, and what to do.
        why: String,
    },
    /// A tensor operation failed.
    #[error("a tensor operation failed")]
    Tensor(#[from] candle_core::Error),
}
