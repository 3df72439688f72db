//! Where the cells behind a run's convolutions fire on the test split: counted, kept beside the record, and found again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bpsta_spiking::{Frequencies, SpikingError, hash_tensors};
use candle_core::{Device, Tensor};

use crate::files::read_if_there;
use crate::tensors::{self, Tensors};
use crate::{Experiment, HarnessError, Record, Result, RunStore, View};

/// Names of the tensors: `N.mean` and `N.sample`, where N is the layer's index, and the sample's label.
const MEAN: &str = "mean";
const SAMPLE: &str = "sample";
const LABEL: &str = "label";

/// The firing frequencies of a run: by position, spikes over the cells there and time steps, after the last epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Maps {
    /// The class of the first test sample.
    pub label: u32,
    /// By layer of cells behind a convolution.
    pub layers: Vec<LayerMaps>,
}

/// The maps of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerMaps {
    /// Its index.
    pub layer: usize,
    /// H and W.
    pub size: [usize; 2],
    /// The mean over all test samples, `[H, W]`, 0 to 1.
    pub mean: Vec<f32>,
    /// Of the first test sample, `[H, W]`, 0 to 1.
    pub sample: Vec<f32>,
}

/// Maps by run id.
pub(crate) type MapsByRun = BTreeMap<String, Maps>;

/// The spikes of one layer over the samples that were looked at so far. Whole numbers: their order and how they were shared out do
/// not matter.
#[derive(Debug)]
pub(crate) struct MapCount {
    layer: usize,
    size: [usize; 2],
    most: u32,
    samples: u64,
    sums: Vec<u64>,
    first: Vec<u32>,
}

impl MapCount {
    /// Before the first sample, which will be that of `frequencies`.
    pub(crate) fn before(frequencies: &Frequencies) -> Self {
        let Frequencies { layer, map, most, ref spikes } = *frequencies;
        let pixels = map[0] * map[1];
        let first = spikes.iter().copied().take(pixels).collect();
        Self { layer, size: map, most, samples: 0, sums: vec![0; pixels], first }
    }

    pub(crate) fn add(&mut self, frequencies: &Frequencies) {
        for sample in frequencies.spikes.chunks_exact(self.sums.len().max(1)) {
            self.samples += 1;
            self.sums.iter_mut().zip(sample).for_each(|(sum, spikes)| *sum += u64::from(*spikes));
        }
    }

    pub(crate) fn maps(&self) -> LayerMaps {
        let of_all = self.samples as f64 * f64::from(self.most);
        LayerMaps {
            layer: self.layer,
            size: self.size,
            mean: self.sums.iter().map(|sum| (*sum as f64 / of_all) as f32).collect(),
            sample: self
                .first
                .iter()
                .map(|spikes| (f64::from(*spikes) / f64::from(self.most)) as f32)
                .collect(),
        }
    }
}

impl Maps {
    /// BLAKE3 over the tensors: names, shapes and little-endian f32 values, by name.
    ///
    /// # Errors
    /// [`HarnessError::Spiking`] where candle refuses.
    pub fn hash(&self) -> Result<String> {
        Ok(hash_tensors(&self.tensors()?)?)
    }

    /// Writes the maps of a run to `path`, whole or not at all.
    pub(crate) fn write(&self, path: &Path, record: &Record) -> Result<()> {
        let note = serde_json::json!({
            "run_id": record.run_id,
            "maps_hash": record.maps_hash,
            "layers": record.layers,
        });
        tensors::write(path, &self.tensors()?, note)
    }

    /// Reads what [`Self::write`] wrote; the error says what is wrong with the bytes.
    fn read(bytes: &[u8], expected: &str) -> std::result::Result<Self, String> {
        let (tensors, _) = tensors::read(bytes, &Device::Cpu)?;
        let found = hash_tensors(&tensors).map_err(|error| error.to_string())?;
        if found != expected {
            return Err(format!("its maps hash to {found}, and `maps_hash` of the record is {expected}"));
        }
        let of = |name: &str| tensors.get(name).ok_or_else(|| format!("tensor `{name}` is not there"));
        let values = |name: &str, tensor: &Tensor| {
            let values = tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>());
            values.map_err(|error| format!("tensor `{name}`: {error}"))
        };
        let label = of(LABEL)?.to_vec1::<u32>().map_err(|error| format!("tensor `{LABEL}`: {error}"))?;
        let mut layers = Vec::new();
        for (name, mean) in &tensors {
            let Some((layer, MEAN)) = name.split_once('.') else { continue };
            let index = layer.parse().map_err(|_| format!("tensor `{name}` is of no layer"))?;
            let (sample, of_sample) = (format!("{layer}.{SAMPLE}"), of(&format!("{layer}.{SAMPLE}"))?);
            let [height, width] = *mean.dims() else {
                return Err(format!("tensor `{name}` has the shape {:?}, expected [H, W]", mean.dims()));
            };
            if of_sample.dims() != mean.dims() {
                return Err(format!("tensor `{sample}` has not the shape of `{name}`"));
            }
            layers.push(LayerMaps {
                layer: index,
                size: [height, width],
                mean: values(name, mean)?,
                sample: values(&sample, of_sample)?,
            });
        }
        layers.sort_by_key(|layer| layer.layer);
        let label = label.first().copied().ok_or_else(|| format!("tensor `{LABEL}` is empty"))?;
        Ok(Self { label, layers })
    }

    fn tensors(&self) -> Result<Tensors> {
        let mut tensors = Tensors::new();
        let label = Tensor::new(&[self.label], &Device::Cpu).map_err(SpikingError::from)?;
        tensors.insert(LABEL.to_owned(), label);
        for LayerMaps { layer, size, mean, sample } in &self.layers {
            for (kind, values) in [(MEAN, mean), (SAMPLE, sample)] {
                let tensor = Tensor::from_slice(values, (size[0], size[1]), &Device::Cpu);
                tensors.insert(format!("{layer}.{kind}"), tensor.map_err(SpikingError::from)?);
            }
        }
        Ok(tensors)
    }
}

/// Where the files lie that belong to records and are too large to stand in them.
#[derive(Debug, Clone, Copy)]
pub enum RunFiles<'a> {
    /// In the run store, in each run's folder.
    Store(&'a RunStore),
    /// In a folder `results/ARTEFACT/PROFILE`, beside the records.
    Committed(&'a Path),
}

impl RunFiles<'_> {
    /// Where a run's maps belong.
    pub(crate) fn maps_path(self, run_id: &str) -> PathBuf {
        match self {
            Self::Store(runs) => runs.run_folder(run_id).join("maps.safetensors"),
            Self::Committed(folder) => folder.join("records").join(format!("{run_id}.maps.safetensors")),
        }
    }

    /// A run's maps, which are those that its record names; none if it was recorded before there were maps.
    ///
    /// # Errors
    /// [`HarnessError::BadMaps`] for a file that is missing, damaged or another's.
    pub fn maps(self, record: &Record) -> Result<Option<Maps>> {
        let Some(expected) = &record.maps_hash else { return Ok(None) };
        let path = self.maps_path(&record.run_id);
        let bytes = read_if_there(&path)?;
        let maps = bytes.ok_or_else(|| "it is not there".to_owned());
        let maps = maps.and_then(|bytes| Maps::read(&bytes, expected));
        maps.map(Some).map_err(|why| HarnessError::BadMaps { path, why })
    }

    /// The maps that the view of an experiment needs of these runs; none for a view that needs none.
    ///
    /// # Errors
    /// Those of [`Self::maps`].
    pub(crate) fn needed(self, experiment: &Experiment, records: &[Record]) -> Result<MapsByRun> {
        let mut all = MapsByRun::new();
        for record in records.iter().filter(|_| experiment.view == View::Maps) {
            if let Some(maps) = self.maps(record)? {
                all.insert(record.run_id.clone(), maps);
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(batches: &[&[u32]]) -> LayerMaps {
        let of = |spikes: &[u32]| Frequencies { layer: 3, map: [1, 2], most: 4, spikes: spikes.to_vec() };
        let mut count = MapCount::before(&of(batches[0]));
        batches.iter().for_each(|spikes| count.add(&of(spikes)));
        count.maps()
    }

    #[test]
    fn maps_are_the_same_however_samples_are_shared_out() {
        let maps = count(&[&[4, 0, 1, 2, 1, 1]]);
        assert_eq!(maps.mean, [0.5, 0.25]);
        assert_eq!(maps.sample, [1.0, 0.0]);
        assert_eq!(maps, count(&[&[4, 0], &[1, 2, 1, 1]]));
    }

    #[test]
    fn what_is_read_is_what_was_written_and_damage_is_seen() {
        let maps = Maps { label: 7, layers: vec![count(&[&[4, 0, 1, 2]])] };
        let note = serde_json::Value::Null;
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let path = folder.path().join("maps.safetensors");
        let hash = maps.hash().unwrap_or_default();
        let written = maps.tensors().and_then(|tensors| tensors::write(&path, &tensors, note));
        assert!(written.is_ok());
        let mut bytes = std::fs::read(&path).unwrap_or_default();
        assert_eq!(Maps::read(&bytes, &hash), Ok(maps));
        assert!(
            Maps::read(&bytes, "another")
                .is_err_and(|why| why.contains("`maps_hash` of the record is another"))
        );
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        assert!(Maps::read(&bytes, &hash).is_err_and(|why| why.contains("its content hashes to")));
    }
}
