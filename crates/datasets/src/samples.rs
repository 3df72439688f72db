//! Which samples a manifest's files hold, in the order every run sees them.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use bpsta_events::{Events, Frames, Framing, Sensor, frame_stream};

use crate::error::{IoContext, malformed};
use crate::layout::{decode, dvsgesture};
use crate::{DatasetError, DatasetInfo, FileEntry, Layout, Manifest, SplitName, verify};

/// An imported data set's files, each read only with its hash compared.
#[derive(Clone, Copy)]
pub(crate) struct Files<'a> {
    pub(crate) manifest: &'a Manifest,
    pub(crate) info: &'a DatasetInfo,
    /// The folder that holds `raw/`.
    pub(crate) folder: &'a Path,
}

/// One sample of a recording.
pub(crate) struct Sample {
    pub(crate) label: u8,
    /// The file's path under `raw/`, with `#row` behind it where a recording holds several samples.
    pub(crate) name: String,
    /// Events with start <= t < end (us); all of them if none.
    pub(crate) window: Option<(i64, i64)>,
}

/// A recording and its samples.
pub(crate) struct Recording<'a> {
    pub(crate) entry: &'a FileEntry,
    pub(crate) samples: Vec<Sample>,
}

impl<'a> Files<'a> {
    /// The files of a split that hold samples, in sample order.
    pub(crate) fn of(&self, split: SplitName) -> impl Iterator<Item = &'a FileEntry> {
        self.manifest.files.iter().filter(move |entry| entry.split == Some(split) && entry.samples > 0)
    }

    pub(crate) fn path(&self, entry: &FileEntry) -> PathBuf {
        self.folder.join("raw").join(&entry.path)
    }

    /// A file's bytes, which are the ones that were imported, or an error.
    pub(crate) fn read(&self, entry: &FileEntry) -> Result<Vec<u8>, DatasetError> {
        let path = self.path(entry);
        let bytes = fs::read(&path).context("read", &path)?;
        match verify::difference(entry, &bytes) {
            Some(problem) => Err(self.changed(path, problem)),
            None => Ok(bytes),
        }
    }

    /// A file that is not what the manifest says.
    fn changed(&self, path: PathBuf, problem: String) -> DatasetError {
        let (folder, stand_in) = (self.folder.to_owned(), self.manifest.synthetic);
        DatasetError::Changed { path, problem, folder, stand_in }
    }

    /// The recordings of a split with their samples, in sample order.
    pub(crate) fn recordings(&self, split: SplitName) -> Result<Vec<Recording<'a>>, DatasetError> {
        self.of(split)
            .map(|entry| {
                let samples = match entry.label {
                    Some(label) => vec![Sample { label, name: entry.path.clone(), window: None }],
                    None => self.trial(entry)?,
                };
                if samples.len() != entry.samples {
                    let problem = format!("expected {} samples, found {}", entry.samples, samples.len());
                    return Err(self.changed(self.path(entry), problem));
                }
                Ok(Recording { entry, samples })
            })
            .collect()
    }

    /// The samples of a recording that has a label file beside it.
    fn trial(&self, entry: &FileEntry) -> Result<Vec<Sample>, DatasetError> {
        let stem = entry.path.strip_suffix(".aedat").unwrap_or(&entry.path);
        let labels = format!("{stem}_labels.csv");
        let Some(file) = self.manifest.files.iter().find(|file| file.path == labels) else {
            let problem = format!("expected {labels} in the manifest, which says what its samples are");
            return Err(self.changed(self.path(entry), problem));
        };
        self.read(file)?;
        let rows = dvsgesture::read_labels(&self.path(file), self.info.classes.len())?;
        let sample = |row: dvsgesture::Row| Sample {
            label: row.label,
            name: format!("{}#{}", entry.path, row.line - 1),
            window: Some((row.start, row.end)),
        };
        Ok(rows.into_iter().map(sample).collect())
    }

    /// The frames of a recording's samples, one after another, each `[T, 2, H, W]`.
    pub(crate) fn frame(
        &self,
        recording: &Recording<'_>,
        framing: Framing,
    ) -> Result<Vec<u16>, DatasetError> {
        if let [Sample { window: None, .. }] = recording.samples[..]
            && let Some(frames) = self.stream(recording.entry, framing)?
        {
            return Ok(frames.counts);
        }
        let mut out = Vec::new();
        self.for_each_sample(recording, |_, sample, events| {
            out.extend_from_slice(&self.frames(sample, events, framing)?.counts);
            Ok(())
        })?;
        Ok(out)
    }

    /// The frames of a recording that is one sample, made as it is read; none where that cannot be.
    fn stream(&self, entry: &FileEntry, framing: Framing) -> Result<Option<Frames>, DatasetError> {
        let sensor = Sensor { width: self.info.width, height: self.info.height };
        let Some(format) = self.info.recordings().filter(|format| format.sensor() == Some(sensor)) else {
            return Ok(None);
        };
        let bytes = self.read(entry)?;
        frame_stream(&mut Cursor::new(&bytes), bytes.len() as u64, format, framing)
            .context("read", &self.path(entry))
    }

    /// The frames of one sample.
    pub(crate) fn frames(
        &self,
        sample: &Sample,
        events: &Events,
        framing: Framing,
    ) -> Result<Frames, DatasetError> {
        let sensor = Sensor { width: self.info.width, height: self.info.height };
        bpsta_events::frame(events, sensor, framing)
            .map_err(|error| DatasetError::Framing { sample: sample.name.clone(), error })
    }

    /// Decodes a recording once, and hands each sample of it, its place in the recording and its events to `each`.
    pub(crate) fn for_each_sample(
        &self,
        recording: &Recording<'_>,
        mut each: impl FnMut(usize, &Sample, &Events) -> Result<(), DatasetError>,
    ) -> Result<(), DatasetError> {
        let Some(format) = self.info.recordings() else {
            let problem = "static images are not framed: load them without a framing";
            return Err(DatasetError::FramingChoice { dataset: self.manifest.dataset, problem });
        };
        let path = self.path(recording.entry);
        let bytes = self.read(recording.entry)?;
        let events = decode(&path, &bytes, format, self.info)?;
        // A recording can be 100 MB, and its events half as much again.
        drop(bytes);
        for (place, sample) in recording.samples.iter().enumerate() {
            match sample.window {
                Some((start, end)) => each(place, sample, &events.between(start, end))?,
                None => each(place, sample, &events)?,
            }
        }
        Ok(())
    }
}

/// Images and labels of a split of a static data set: `[N, C, H, W]` bytes.
pub(crate) fn read_images(files: Files<'_>, split: SplitName) -> Result<(Vec<u8>, Vec<u8>), DatasetError> {
    let (mut labels, mut pixels) = (Vec::new(), Vec::new());
    for entry in files.of(split) {
        let path = files.path(entry);
        let bytes = files.read(entry)?;
        if files.info.layout == Layout::Cifar10 {
            for record in crate::cifar::parse(&path, &bytes)? {
                labels.push(record[0]);
                pixels.extend_from_slice(&record[1..]);
            }
        } else {
            let size = (usize::from(files.info.height), usize::from(files.info.width));
            pixels.extend_from_slice(crate::idx::parse_images(&path, &bytes, size)?.1);
            let name = entry.path.replace("images-idx3", "labels-idx1");
            let Some(entry) = files.manifest.files.iter().find(|file| file.path == name) else {
                return Err(malformed(
                    &path,
                    0,
                    format!("expected {name} beside it: import the data set again"),
                ));
            };
            let path = files.path(entry);
            labels.extend_from_slice(crate::idx::parse_labels(
                &path,
                &files.read(entry)?,
                files.info.classes.len(),
            )?);
        }
    }
    if labels.len() * files.info.channels * files.info.pixels() != pixels.len() {
        let problem = format!("expected a label for each image, found {} labels", labels.len());
        return Err(malformed(files.folder, 0, problem));
    }
    Ok((labels, pixels))
}
