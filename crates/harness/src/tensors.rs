//! Tensors on disk: safetensors with a seal, by which damage is seen.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use bpsta_spiking::Parameters;
use candle_core::safetensors::Load;
use candle_core::{Device, Tensor};
use safetensors::tensor::{View, serialize};
use safetensors::{SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::files::write_whole;
use crate::{HarnessError, Result};

/// Tensors by name.
pub(crate) type Tensors = BTreeMap<String, Tensor>;

/// The one key of the metadata: safetensors writes several in no fixed order, and the same content should be the same bytes.
const KEY: &str = "bpsta";

/// What safetensors allows a head to be, in bytes.
const MOST_HEAD: u64 = 100_000_000;

#[derive(Serialize, Deserialize)]
struct Sealed {
    /// Over the note, and the tensors' names, shapes and bytes.
    blake3: String,
    note: Value,
}

/// All tensors of a network, by their names.
pub(crate) fn of(parameters: &Parameters) -> Tensors {
    let all = parameters.trainable.iter().chain(&parameters.buffers);
    all.map(|(name, tensor)| (name.clone(), tensor.clone())).collect()
}

/// Writes tensors and a note to `path`, whole or not at all.
///
/// # Errors
/// [`crate::HarnessError::Io`].
pub(crate) fn write(path: &Path, tensors: &Tensors, note: Value) -> Result<()> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(note.to_string().as_bytes());
    for (name, tensor) in tensors {
        seal(&mut hasher, name, tensor.dims(), &tensor.data());
    }
    let sealed = Sealed { blake3: hasher.finalize().to_hex().to_string(), note };
    let text = serde_json::to_string(&sealed).unwrap_or_default();
    let metadata = HashMap::from([(KEY.to_owned(), text)]);
    // Not to a file of its own: that would be another one under a temporary name, which nobody syncs.
    let bytes = serialize(tensors, Some(metadata));
    write_whole(path, &bytes.map_err(|error| HarnessError::io(path)(std::io::Error::other(error)))?)
}

/// The note alone, from the file's head: nothing is hashed. None where there is no file; the error says what is wrong with it.
pub(crate) fn note(path: &Path) -> std::result::Result<Option<Value>, String> {
    let words = |error: std::io::Error| error.to_string();
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(words(error)),
    };
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(words)?;
    let length = u64::from_le_bytes(length);
    if length > MOST_HEAD {
        return Err(format!("its head has {length} bytes, expected {MOST_HEAD} at most"));
    }
    let head: Value =
        serde_json::from_reader(file.take(length)).map_err(|error| format!("its head: {error}"))?;
    Ok(Some(sealed(head["__metadata__"][KEY].as_str())?.note))
}

fn sealed(text: Option<&str>) -> std::result::Result<Sealed, String> {
    let text = text.ok_or_else(|| format!("its metadata lack the key `{KEY}`"))?;
    serde_json::from_str(text).map_err(|error| format!("its metadata `{KEY}`: {error}"))
}

/// Reads what [`write()`] wrote; the error says what is wrong with the bytes.
pub(crate) fn read(bytes: &[u8], device: &Device) -> std::result::Result<(Tensors, Value), String> {
    let words = |error: SafeTensorError| error.to_string();
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(words)?;
    let views = SafeTensors::deserialize(bytes).map_err(words)?;
    let text = header.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
    let Sealed { blake3, note } = sealed(text.map(String::as_str))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(note.to_string().as_bytes());
    let views: BTreeMap<&str, _> = views.iter().collect();
    for (name, view) in &views {
        seal(&mut hasher, name, view.shape(), view.data());
    }
    let found = hasher.finalize().to_hex().to_string();
    if found != blake3 {
        return Err(format!("its content hashes to {found}, and its metadata say {blake3}"));
    }
    let mut tensors = Tensors::new();
    for (name, view) in views {
        let tensor = view.load(device).map_err(|error| format!("tensor `{name}`: {error}"))?;
        tensors.insert(name.to_owned(), tensor);
    }
    Ok((tensors, note))
}

fn seal(hasher: &mut blake3::Hasher, name: &str, shape: &[usize], data: &[u8]) {
    hasher.update(name.as_bytes()).update(format!("{shape:?}").as_bytes()).update(data);
}
