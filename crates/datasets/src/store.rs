//! A data folder: where imported data sets, stand-ins and frame caches lie.
//!
//! ```text
//! DIR/<id>/manifest.json                              written last: the import is complete
//! DIR/<id>/raw/...                                    the official files, unpacked
//! DIR/<id>/frames/<key>.h5, .h5.places, .h5.b3        frame caches, where their chunks are, and checksums
//! DIR/<id>/frames/.building-<key>/                    the parts of a cache that is not finished
//! DIR/downloads/<id>/...                              published files as they were fetched
//! DIR/synthetic/<id>/<train>-<test>-<seed>-v<version>/...   the same for a stand-in; version of the generator. Its raw/ also holds
//!                                                     SYNTHETIC.txt, which says what it is and is in no manifest
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use bpsta_events::Framing;

use crate::archive::{self, Unpacking};
use crate::error::IoContext;
use crate::fetch::{Fetch, Fetched, Patience};
use crate::import::Import;
use crate::manifest::Counts;
use crate::progress::{Progress, Reporter};
use crate::samples::{Files, read_images};
use crate::verify::Verification;
use crate::{
    Choice, Dataset, DatasetError, DatasetId, Kind, Manifest, Preview, Registry, Split, SplitName, Stats,
    cache, check, lock, preview, stats, synthetic, verify,
};

pub(crate) const MANIFEST: &str = "manifest.json";

/// Frames of a sample at most.
pub(crate) const MOST_FRAMES: usize = 1024;

/// Splits up to this size are kept in memory: 1 GiB of counts.
const IN_MEMORY: u64 = 1 << 30;

/// What loading a data set takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Samples that are kept in memory.
    pub memory: u64,
    /// Frames that are still to be cached, before compression: the cache takes less.
    pub disk: u64,
}

/// A data folder, together with what the registry says belongs into it.
#[derive(Clone)]
pub struct Store {
    data_dir: PathBuf,
    registry: Registry,
    reporter: Reporter,
    in_memory: u64,
}

impl Store {
    /// A data folder. It need not be there yet: the first import makes it.
    pub fn open(data_dir: &Path, registry: &Registry) -> Store {
        Store {
            data_dir: data_dir.to_owned(),
            registry: registry.clone(),
            reporter: Reporter::default(),
            in_memory: IN_MEMORY,
        }
    }

    /// Sends the progress of long operations, and notices, to `callback`; worker threads call it.
    #[must_use]
    pub fn with_progress(mut self, callback: impl Fn(Progress) + Send + Sync + 'static) -> Store {
        self.reporter = Reporter::new(callback);
        self
    }

    /// Reads event splits of more than `bytes` bytes of counts sample by sample from the cache instead of keeping them in
    /// memory (default: 1 GiB a split). A sample is then decompressed each time.
    #[must_use]
    pub fn with_memory_limit(mut self, bytes: u64) -> Store {
        self.in_memory = bytes;
        self
    }

    /// The folder of an imported data set or stand-in.
    pub fn folder(&self, manifest: &Manifest) -> PathBuf {
        match (manifest.requested, manifest.seed) {
            (Some(size), Some(seed)) if manifest.synthetic => {
                self.stand_in_folder(manifest.dataset).join(stand_in_name(size, seed))
            }
            _ => self.data_dir.join(manifest.dataset.as_str()),
        }
    }

    /// Fetches the published files of a data set into `downloads/<id>`, each from the first mirror that has it, several side by side.
    /// What is there and whole is not fetched again; what was cut goes on.
    ///
    /// # Errors
    /// [`DatasetError::NothingPublished`] for a data set of one's own, [`DatasetError::ByHand`] for one without mirrors,
    /// [`DatasetError::NotFetched`] when no mirror has a file, [`DatasetError::NoSpace`] when one does not fit, [`DatasetError::Checksum`]
    /// when one is there that is not the official one, [`DatasetError::SomeNotFetched`] when that is so of several, and
    /// [`DatasetError::Io`] where the disk refuses. All other files are fetched then.
    pub fn fetch(&self, id: DatasetId, patience: Patience) -> Result<Vec<Fetched>, DatasetError> {
        let info = self.registry.get(id)?;
        if info.files.is_empty() {
            return Err(DatasetError::NothingPublished { dataset: id });
        }
        if info.mirrors.is_empty() {
            let names: Vec<&str> = info.files.iter().map(|file| file.name.as_str()).collect();
            return Err(DatasetError::ByHand {
                dataset: id,
                title: info.title.clone(),
                page: info.by_hand.clone().unwrap_or_else(|| "the page of its publishers".to_owned()),
                files: names.join(" and "),
            });
        }
        let folder = self.downloads(id);
        Fetch { info, folder: &folder, patience, reporter: &self.reporter }.run()
    }

    /// Where [`Self::fetch`] puts the files of a data set.
    pub fn downloads(&self, id: DatasetId) -> PathBuf {
        self.data_dir.join("downloads").join(id.as_str())
    }

    /// Checks an official tree (or a part of it) and copies it into the data folder.
    ///
    /// `from` is the tree, the folder right above it, an archive of it (`.zip`, `.tar.gz`, `.tgz`), or a folder with the published
    /// archives, such as [`Self::downloads`]. Every file must decode, and be the official one where the registry
    /// knows its checksum. What is missing makes a subset, and is named in the manifest. When the same import is there
    /// already, nothing is written and its manifest is returned.
    ///
    /// # Errors
    /// [`DatasetError::NotRecognised`] when `from` holds nothing of the data set, or was generated, [`DatasetError::AlreadyImported`] when the
    /// data folder holds another import of it, [`DatasetError::InTheWay`] when something else lies there, [`DatasetError::BesideTree`] when
    /// a published archive beside the tree would be left out, [`DatasetError::Archive`] and [`DatasetError::Checksum`] for an archive that
    /// is damaged or not the official one, [`DatasetError::MoreThanOfficial`], and what is wrong with the first bad file. The data folder
    /// then has nothing more than before but an empty lock file.
    pub fn import(&self, id: DatasetId, from: &Path) -> Result<Manifest, DatasetError> {
        let info = self.registry.get(id)?;
        let parent = self.data_dir.clone();
        fs::create_dir_all(&parent).context("create", &parent)?;
        let _lock = lock::wait(&parent, id.as_str(), &self.reporter)?;
        let folder = parent.join(id.as_str());
        let reporter = &self.reporter;
        let mut import = Import { id, info, from, ours: false, stand_in: None, reporter };
        let prefix = format!(".unpacking-{id}-");
        lock::clear(&parent, &prefix)?;
        let archives = import.archives()?;
        let unpacked;
        let mut unpacking = None;
        if !archives.is_empty() {
            let builder = tempfile::Builder::new().prefix(&prefix).tempdir_in(&parent);
            unpacked = builder.context("create a folder in", &parent)?;
            let unpacking = unpacking.insert(Unpacking::new(unpacked.path(), archive::LIMITS, reporter));
            archives.iter().try_for_each(|archive| unpacking.unpack(archive))?;
            import = Import { from: unpacked.path(), ours: true, ..import };
        }
        let run = |raw: Option<&Path>| {
            import.run(raw).map_err(|error| match &unpacking {
                Some(unpacking) => unpacking.of_archive(error),
                None => error,
            })
        };
        if let Some(existing) = self.read(id, false, &folder)? {
            let new = run(None)?;
            if new == existing {
                return Ok(existing);
            }
            let (words, mut new_words) = (existing.describe(), new.describe());
            if words == new_words {
                new_words = format!("the same but for {}", existing.first_difference(&new));
            }
            return Err(DatasetError::AlreadyImported {
                dataset: id,
                folder,
                existing: words,
                new: new_words,
            });
        }
        if folder.exists() {
            return Err(DatasetError::InTheWay { folder });
        }
        self.stage(&parent, id.as_str(), |_, raw| run(Some(raw)))
    }

    /// The stand-in of this size and seed: generated once, and imported like the real thing.
    ///
    /// # Errors
    /// When it cannot be generated or written.
    pub fn synthetic(
        &self,
        id: DatasetId,
        size: &synthetic::Size,
        seed: u64,
    ) -> Result<Manifest, DatasetError> {
        let parent = self.stand_in_folder(id);
        let requested = Counts { train: size.train, test: size.test };
        let name = stand_in_name(requested, seed);
        let folder = parent.join(&name);
        if let Some(manifest) = self.read(id, true, &folder)? {
            return Ok(manifest);
        }
        fs::create_dir_all(&parent).context("create", &parent)?;
        let _lock = lock::wait(&parent, &name, &self.reporter)?;
        // Another process may have generated it while this one waited.
        if let Some(manifest) = self.read(id, true, &folder)? {
            return Ok(manifest);
        }
        if folder.exists() {
            return Err(DatasetError::InTheWay { folder });
        }
        self.stage(&parent, &name, |staging, raw| {
            let tree = staging.join("generated");
            synthetic::generate(id, size, seed, &tree)?;
            let stand_in = Some((seed, requested));
            let info = self.registry.get(id)?;
            let import = Import { id, info, from: &tree, ours: true, stand_in, reporter: &self.reporter };
            let manifest = import.run(Some(raw))?;
            let marker = raw.join(synthetic::MARKER);
            fs::rename(tree.join(synthetic::MARKER), &marker).context("move to", &marker)?;
            Ok(manifest)
        })
    }

    /// The stand-in of this size and seed, if it was generated before.
    ///
    /// # Errors
    /// When its manifest is there but cannot be read, or contradicts itself.
    pub fn stand_in(
        &self,
        id: DatasetId,
        size: &synthetic::Size,
        seed: u64,
    ) -> Result<Option<Manifest>, DatasetError> {
        let name = stand_in_name(Counts { train: size.train, test: size.test }, seed);
        self.read(id, true, &self.stand_in_folder(id).join(name))
    }

    /// What is imported of a data set (stand-ins aside); `None` when nothing is.
    ///
    /// # Errors
    /// When the manifest is there but cannot be read, or contradicts itself.
    pub fn manifest(&self, id: DatasetId) -> Result<Option<Manifest>, DatasetError> {
        self.read(id, false, &self.data_dir.join(id.as_str()))
    }

    /// The stand-ins of a data set that this version of the generator made so far, sorted by folder name. One whose manifest is there
    /// but cannot be read, or contradicts itself, is an error among the others, and hides none of them.
    ///
    /// # Errors
    /// When their folder cannot be listed, and for a data set that the registry does not have.
    pub fn stand_ins(&self, id: DatasetId) -> Result<Vec<Result<Manifest, DatasetError>>, DatasetError> {
        self.registry.get(id)?;
        let folders = self.stand_in_folders(id)?;
        Ok(folders.iter().filter_map(|folder| self.read(id, true, folder).transpose()).collect())
    }

    /// The folders that [`Self::stand_ins`] are in, sorted by name.
    fn stand_in_folders(&self, id: DatasetId) -> Result<Vec<PathBuf>, DatasetError> {
        let parent = self.stand_in_folder(id);
        if !parent.is_dir() {
            return Ok(Vec::new());
        }
        let mut folders = Vec::new();
        for entry in fs::read_dir(&parent).context("list", &parent)? {
            let path = entry.context("list", &parent)?.path();
            if path.is_dir() && path.to_string_lossy().ends_with(&stand_in_suffix()) {
                folders.push(path);
            }
        }
        folders.sort();
        Ok(folders)
    }

    /// Hashes every file and compares it with the manifest.
    ///
    /// # Errors
    /// When a folder cannot be listed; differences are not errors, but listed in the outcome.
    pub fn verify(&self, manifest: &Manifest) -> Result<Verification, DatasetError> {
        verify::verify(manifest, &self.folder(manifest).join("raw"), &self.reporter)
    }

    /// What [`Self::load`] will take.
    ///
    /// # Errors
    /// [`DatasetError`] for a data set that the registry does not have.
    pub fn needs(&self, manifest: &Manifest, framing: Option<Framing>) -> Result<Needs, DatasetError> {
        let info = self.registry.get(manifest.dataset)?;
        let folder = self.folder(manifest);
        let files = Files { manifest, info, folder: &folder };
        let frames = framing.and_then(|framing| framing.frames()).unwrap_or(1);
        let values = info.shape(frames).iter().product::<usize>() as u64;
        let samples = [manifest.samples.train, manifest.samples.test].map(|samples| samples as u64);
        let Some(framing) = framing else {
            return Ok(Needs { memory: samples.iter().sum::<u64>() * values, disk: 0 });
        };
        let bytes = samples.map(|samples| 2 * values * samples);
        let is_there = cache::is_there(files, framing, frames);
        Ok(Needs {
            memory: bytes.iter().filter(|bytes| **bytes <= self.in_memory).sum(),
            disk: if is_there { 0 } else { bytes.iter().sum() },
        })
    }

    /// Loads an imported data set or stand-in.
    ///
    /// Event data need a framing with a fixed number of frames and go through the cache, which is built on first use;
    /// static data take none. Each file that is read must be the imported one. With a cache that is there and sound, which knows its
    /// manifest by its hash, recordings are not read, and a change of theirs is seen by [`Self::verify`] alone.
    ///
    /// # Errors
    /// A framing that does not fit the kind of data or a recording, files that changed or are damaged, and a cache that cannot be
    /// written.
    pub fn load(&self, manifest: &Manifest, framing: Option<Framing>) -> Result<Dataset, DatasetError> {
        let id = manifest.dataset;
        let info = self.registry.get(id)?;
        let folder = self.folder(manifest);
        let files = Files { manifest, info, folder: &folder };
        let choice = |problem| DatasetError::FramingChoice { dataset: id, problem };
        let (time_steps, train, test) = match (info.kind, framing) {
            (Kind::Static, None) => {
                let split = |name| {
                    let (labels, pixels) = read_images(files, name)?;
                    Ok::<_, DatasetError>(Split::pixels(labels, info.shape(1), pixels))
                };
                (1, split(SplitName::Train)?, split(SplitName::Test)?)
            }
            (Kind::Events, Some(framing)) => {
                let Some(frames) = framing.frames() else {
                    return Err(choice(
                        "frames of a fixed duration give every sample another number of them: say how many, as in \
                         duration:20000us:16",
                    ));
                };
                if !(1..=MOST_FRAMES).contains(&frames) {
                    return Err(choice("a sample has from 1 to 1024 frames"));
                }
                let mut cached = cache::open_or_build(files, framing, frames, &self.reporter)?;
                let shape = info.shape(frames);
                let sample_len: usize = shape.iter().product();
                let mut split = |name| match cached.take(name) {
                    None => Ok(Split::counts(Vec::new(), shape, Vec::new())),
                    Some(file) if (file.labels.len() * sample_len * 2) as u64 > self.in_memory => {
                        Ok(Split::file(file.labels.clone(), shape, file))
                    }
                    Some(file) => {
                        let counts = file.all()?;
                        Ok::<_, DatasetError>(Split::counts(file.labels, shape, counts))
                    }
                };
                (frames, split(SplitName::Train)?, split(SplitName::Test)?)
            }
            (Kind::Static, Some(_)) => {
                return Err(choice("static images are not framed: load them without a framing"));
            }
            (Kind::Events, None) => return Err(choice("event recordings need a framing, such as number:16")),
        };
        Ok(Dataset {
            id,
            manifest_hash: manifest.hash(),
            synthetic: manifest.synthetic,
            subset: manifest.subset,
            classes: info.classes.len(),
            channels: info.channels,
            height: usize::from(info.height),
            width: usize::from(info.width),
            time_steps,
            train,
            test,
        })
    }

    /// Some samples of an imported data set or stand-in, read and framed by themselves: no cache is built.
    ///
    /// # Errors
    /// A choice that does not fit the data set, and files that changed or are damaged.
    pub fn preview(&self, manifest: &Manifest, choice: &Choice) -> Result<Preview, DatasetError> {
        let info = self.registry.get(manifest.dataset)?;
        preview::preview(Files { manifest, info, folder: &self.folder(manifest) }, choice)
    }

    /// The figures of a whole imported data set or stand-in, training and test samples together.
    ///
    /// # Errors
    /// Files that changed or are damaged.
    pub fn stats(&self, manifest: &Manifest) -> Result<Stats, DatasetError> {
        let info = self.registry.get(manifest.dataset)?;
        stats::count(Files { manifest, info, folder: &self.folder(manifest) }, &self.reporter)
    }

    /// The manifest in `folder`, which must be one of this data set and kind, made for this folder, and agree with itself.
    fn read(&self, id: DatasetId, synthetic: bool, folder: &Path) -> Result<Option<Manifest>, DatasetError> {
        let info = self.registry.get(id)?;
        let path = folder.join(MANIFEST);
        let Some(manifest) = Manifest::read(&path, synthetic)? else { return Ok(None) };
        let of_folder = if manifest.dataset != id {
            Err((
                "dataset".to_owned(),
                format!("the manifest says {} but lies in {id}'s folder", manifest.dataset),
            ))
        } else if manifest.synthetic != synthetic {
            let kind = if synthetic { "stand-ins" } else { "official data" };
            Err((
                "synthetic".to_owned(),
                format!("the manifest says {} but lies in a folder of {kind}", manifest.synthetic),
            ))
        } else if self.folder(&manifest) != *folder {
            Err(("requested".to_owned(), "size and seed are not those in the folder's name".to_owned()))
        } else {
            Ok(())
        };
        match of_folder.and_then(|()| check::check(&manifest, info)) {
            Ok(()) => Ok(Some(manifest)),
            Err((at, message)) => {
                let beyond = !synthetic && manifest.samples.beyond(info.samples).is_some();
                let remedy = match beyond {
                    true => "correct its key `samples` in datasets.toml",
                    false => Manifest::remedy(synthetic),
                };
                Err(DatasetError::Manifest { path, at, message, remedy })
            }
        }
    }

    fn stand_in_folder(&self, id: DatasetId) -> PathBuf {
        self.data_dir.join("synthetic").join(id.as_str())
    }

    /// Runs `fill` on a staging folder and its `raw`, adds the manifest, and renames the whole into `parent/name`.
    ///
    /// The caller holds the lock of `name`, so staging folders of that name that are found were left by a killed process.
    fn stage(
        &self,
        parent: &Path,
        name: &str,
        fill: impl FnOnce(&Path, &Path) -> Result<Manifest, DatasetError>,
    ) -> Result<Manifest, DatasetError> {
        let prefix = format!(".importing-{name}-");
        lock::clear(parent, &prefix)?;
        let staging = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir_in(parent)
            .context("create a folder in", parent)?;
        let unfinished = staging.path().join("import");
        let raw = unfinished.join("raw");
        fs::create_dir_all(&raw).context("create", &raw)?;
        let manifest = fill(staging.path(), &raw)?;
        manifest.write(&unfinished.join(MANIFEST))?;
        let folder = parent.join(name);
        fs::rename(&unfinished, &folder).context("rename to", &folder)?;
        Ok(manifest)
    }
}

fn stand_in_name(size: Counts, seed: u64) -> String {
    format!("{}-{}-{seed}{}", size.train, size.test, stand_in_suffix())
}

/// Ends the folders of this generator's stand-ins: those of an older one are left alone, and never taken for these.
fn stand_in_suffix() -> String {
    format!("-v{}", synthetic::VERSION)
}
