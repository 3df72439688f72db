//! From an official tree to a checked copy in the data folder.
//!
//! Files are checked while they are copied into a staging folder; that folder gets its manifest last and is then renamed
//! into place, so a killed or failed import leaves nothing that looks finished. Single files are not synced (the
//! sets have up to 70,000): loading and verifying compare their hashes with the manifest instead.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::archive::is_archive;
use crate::error::{IoContext, malformed};
use crate::fetch::check_published;
use crate::layout::{Content, Found, Scan, scan};
use crate::manifest::{self, Counts};
use crate::progress::{Reporter, Stage};
use crate::store::MANIFEST;
use crate::synthetic::MARKER;
use crate::{DatasetError, DatasetId, DatasetInfo, FileEntry, Manifest, SplitName, Subset, hash};

/// No file of these data sets unpacks to more: a gzip file that does is not one of them.
const LARGEST_UNPACKED: u64 = 1 << 30;

/// What is imported, and whether it was generated.
pub(crate) struct Import<'a> {
    pub(crate) id: DatasetId,
    pub(crate) info: &'a DatasetInfo,
    pub(crate) from: &'a Path,
    /// Whether the tree is ours to take from: files are then moved, not copied.
    pub(crate) ours: bool,
    /// Seed and requested size of a stand-in.
    pub(crate) stand_in: Option<(u64, Counts)>,
    pub(crate) reporter: &'a Reporter,
}

impl Import<'_> {
    /// Checks every file and, if `raw` is given, copies it there. The manifest is returned, not written.
    pub(crate) fn run(&self, raw: Option<&Path>) -> Result<Manifest, DatasetError> {
        let scan = scan(self.id, self.info, self.from)?;
        if self.stand_in.is_none() {
            let why = says_generated(&scan.root)
                .map(|file| format!("the {file} there or above says that it was generated"))
                .or_else(|| {
                    has_unknown_manifest(&scan.root).then(|| {
                        format!(
                            "the {MANIFEST} there or right above cannot be read, so that it is generated or unknown: if that file is \
                             of something else, move it away"
                        )
                    })
                });
            if let Some(why) = why {
                return Err(DatasetError::NotRecognised {
                    dataset: self.id,
                    path: scan.root,
                    expected: format!("official data, but {why}"),
                });
            }
        }
        if let Some(raw) = raw {
            let mut folders: Vec<PathBuf> =
                scan.files.iter().filter_map(|f| raw.join(&f.target).parent().map(Path::to_owned)).collect();
            folders.dedup();
            for folder in folders {
                fs::create_dir_all(&folder).context("create", &folder)?;
            }
        }
        let total = scan.files.len();
        let done = AtomicUsize::new(0);
        let mut files = scan
            .files
            .par_iter()
            .map(|found| {
                let entry = self.take(found, raw)?;
                self.reporter.step(Stage::Import, done.fetch_add(1, Ordering::Relaxed) + 1, total);
                Ok(entry)
            })
            .collect::<Result<Vec<FileEntry>, DatasetError>>()?;
        pair_labels(&scan.files, &mut files)?;

        let count = |split| files.iter().filter(|f| f.split == Some(split)).map(|f| f.samples).sum::<usize>();
        let samples = Counts { train: count(SplitName::Train), test: count(SplitName::Test) };
        let real = self.stand_in.is_none();
        if real && let Some(official) = samples.beyond(self.info.samples) {
            return Err(DatasetError::MoreThanOfficial { dataset: self.id, found: samples, official });
        }
        Ok(Manifest {
            schema: manifest::SCHEMA,
            dataset: self.id,
            title: self.info.title.clone(),
            synthetic: !real,
            seed: self.stand_in.map(|(seed, _)| seed),
            requested: self.stand_in.map(|(_, requested)| requested),
            split_rule: self.info.split,
            samples,
            subset: if real { Subset::of(samples, self.info.samples) } else { None },
            missing: if real { scan.missing } else { Vec::new() },
            files,
        })
    }

    /// The archives that must be unpacked first: none where `from` is the tree itself. Published ones must be the official files.
    pub(crate) fn archives(&self) -> Result<Vec<PathBuf>, DatasetError> {
        let archives = if is_archive(self.from) {
            vec![self.from.to_owned()]
        } else if self.from.is_file() {
            return Err(DatasetError::NotRecognised {
                dataset: self.id,
                path: self.from.to_owned(),
                expected: "a folder, or an archive whose name ends in .zip, .tar.gz or .tgz".to_owned(),
            });
        } else {
            match scan(self.id, self.info, self.from) {
                Err(DatasetError::NotRecognised { .. }) => {
                    let files = self.info.files.iter().map(|file| self.from.join(&file.name));
                    files.filter(|path| is_archive(path)).collect()
                }
                Ok(scan) => {
                    self.refuse_archives_beside(&scan)?;
                    Vec::new()
                }
                // What else is wrong with a tree is said when it is imported.
                Err(_) => Vec::new(),
            }
        };
        for path in &archives {
            if let Some(file) = self.info.files.iter().find(|file| path.ends_with(&file.name)) {
                check_published(path, file)?;
            }
        }
        Ok(archives)
    }

    /// Of a tree that lacks something: a published archive beside it that was not unpacked there would be left out in silence.
    fn refuse_archives_beside(&self, scan: &Scan) -> Result<(), DatasetError> {
        let is_unpacked =
            |name: &str| name.split('.').next().is_some_and(|stem| scan.root.join(stem).is_dir());
        let names = self.info.files.iter().map(|file| file.name.as_str());
        let (unpacked, names): (Vec<&str>, Vec<&str>) = names.partition(|name| is_unpacked(name));
        // A set of one archive is that archive unpacked, whatever its folder is called.
        let several = !unpacked.is_empty() && !scan.missing.is_empty();
        let mut paths = names.into_iter().flat_map(|name| [self.from.join(name), scan.root.join(name)]);
        match paths.find(|path| several && is_archive(path)) {
            Some(path) => Err(DatasetError::BesideTree { path }),
            None => Ok(()),
        }
    }

    fn take(&self, found: &Found, raw: Option<&Path>) -> Result<FileEntry, DatasetError> {
        let bytes = read_unpacked(&found.source)?;
        let samples = found.check(self.info, &bytes)?;
        let official = self.info.unpacked.get(&found.target).filter(|_| self.stand_in.is_none());
        if let Some(expected) = official {
            let md5 = hash::md5_hex(&bytes);
            if md5 != *expected {
                return Err(DatasetError::Checksum {
                    path: found.source.clone(),
                    algorithm: "MD5",
                    expected: expected.clone(),
                    found: md5,
                });
            }
        }
        if let Some(raw) = raw {
            let target = raw.join(&found.target);
            // Not text: the check of another file may still read it where it is.
            let moves = self.ours && !is_gzip(&found.source) && !matches!(found.content, Content::Text);
            if moves {
                fs::rename(&found.source, &target).context("move to", &target)?;
            } else {
                fs::write(&target, &bytes).context("write", &target)?;
            }
        }
        Ok(FileEntry {
            path: found.target.clone(),
            bytes: bytes.len() as u64,
            blake3: hash::blake3_hex(&bytes),
            split: found.split,
            label: found.label,
            samples,
        })
    }
}

/// The name of the file that says that what lies at `path` was generated, if one does: the marker of a generated tree or of a
/// stand-in's files, or the manifest of a stand-in (those of older programs have no marker). It may lie in any folder above.
pub(crate) fn says_generated(path: &Path) -> Option<&'static str> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    path.ancestors().find_map(|folder| {
        let manifest = || Manifest::read(&folder.join(MANIFEST), false).ok().flatten();
        if folder.join(MARKER).exists() {
            Some(MARKER)
        } else {
            manifest().filter(|manifest| manifest.synthetic).map(|_| MANIFEST)
        }
    })
}

/// Whether there is a manifest that cannot be read in a tree or right above it, where that of a stand-in lies. Other programs have files
/// of that name too, without its keys.
fn has_unknown_manifest(root: &Path) -> bool {
    let root = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    root.ancestors().take(2).map(|folder| folder.join(MANIFEST)).any(|path| {
        let is_ours = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).contains("\"schema\"");
        Manifest::read(&path, false).is_err() && fs::read(&path).is_ok_and(is_ours)
    })
}

/// Images and labels of a split must be equally many; from then on only the images count as samples.
fn pair_labels(found: &[Found], files: &mut [FileEntry]) -> Result<(), DatasetError> {
    for index in 0..found.len() {
        if !matches!(found[index].content, Content::Labels) {
            continue;
        }
        let labels = files[index].samples;
        let images = found
            .iter()
            .zip(files.iter())
            .find(|(f, _)| f.split == found[index].split && matches!(f.content, Content::Images));
        if let Some((image_file, entry)) = images
            && entry.samples != labels
        {
            let problem = format!(
                "expected {} labels, one for each image in {}, found {labels}",
                entry.samples,
                image_file.source.display()
            );
            return Err(malformed(&found[index].source, 4, problem));
        }
        files[index].samples = 0;
    }
    Ok(())
}

/// Reads a file; one whose name ends in `.gz` is unpacked.
pub(crate) fn read_unpacked(path: &Path) -> Result<Vec<u8>, DatasetError> {
    read_file_unpacked(path, File::open(path).context("read", path)?)
}

/// The same of a file that is open, from where it stands.
pub(crate) fn read_file_unpacked(path: &Path, mut file: File) -> Result<Vec<u8>, DatasetError> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).context("read", path)?;
    drop(file);
    if !is_gzip(path) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(bytes.as_slice()).take(LARGEST_UNPACKED);
    match decoder.read_to_end(&mut unpacked) {
        Ok(read) if read as u64 == LARGEST_UNPACKED => {
            let problem = format!(
                "expected less than {LARGEST_UNPACKED} bytes after unpacking, as all files of these data sets have: fetch or copy it \
                 again, or unpack a recording of your own by hand"
            );
            Err(malformed(path, unpacked.len(), problem))
        }
        Ok(_) => Ok(unpacked),
        Err(error) => {
            let problem = format!(
                "the gzip stream is damaged or cut off ({error}): remove the file and fetch or copy it again"
            );
            Err(malformed(path, unpacked.len(), problem))
        }
    }
}

/// Whether a file's name says that it is compressed.
pub(crate) fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}
