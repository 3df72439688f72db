//! Published archives, `.zip` and `.tar.gz`, unpacked into a staging folder.
//!
//! An archive is not believed: names that lead out of the folder, links and other special entries, names that come twice, and more
//! entries or bytes than any of these data sets has are refused, with the entry's name (but for a `.zip` with a name twice).

mod entry;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::DatasetError;
use crate::error::IoContext;
use crate::progress::Reporter;

/// What all archives of a data set together may unpack to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) entries: usize,
    pub(crate) bytes: u64,
}

/// N-MNIST has 70,022 entries; DVS-CIFAR10, the largest, about 7 GB.
pub(crate) const LIMITS: Limits = Limits { entries: 200_000, bytes: 32 << 30 };

/// What helps where an archive of one's own is sound, but not unpacked here.
const BY_HAND: &str = "unpack the archive and import the folder";
const LINK: &str = "is a link or special file; these are refused";

/// The kinds of archives, by how their names end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Zip,
    TarGz,
}

impl Kind {
    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().to_lowercase();
        match name {
            name if name.ends_with(".zip") => Some(Self::Zip),
            name if name.ends_with(".tar.gz") || name.ends_with(".tgz") => Some(Self::TarGz),
            _ => None,
        }
    }
}

/// Whether a file is an archive, by its name.
pub(crate) fn is_archive(path: &Path) -> bool {
    Kind::of(path).is_some() && path.is_file()
}

/// Unpacks archives, one after another, into one folder.
pub(crate) struct Unpacking<'a> {
    folder: &'a Path,
    limits: Limits,
    left: Limits,
    reporter: &'a Reporter,
    archives: Vec<PathBuf>,
    /// The files that were unpacked, each with the place of its archive in that list.
    made: BTreeMap<PathBuf, usize>,
}

impl<'a> Unpacking<'a> {
    pub(crate) fn new(folder: &'a Path, limits: Limits, reporter: &'a Reporter) -> Self {
        Self { folder, limits, left: limits, reporter, archives: Vec::new(), made: BTreeMap::new() }
    }

    /// Of an error about something that was unpacked here, one about its archive: the folder is gone when somebody reads it.
    pub(crate) fn of_archive(&self, error: DatasetError) -> DatasetError {
        let Some((path, entry)) =
            error.path().and_then(|path| Some((path, path.strip_prefix(self.folder).ok()?)))
        else {
            return error;
        };
        // Of a folder, the archive of a file in it; of what is missing, that of a file near where it should be.
        let below = |folder: &Path| {
            let first = self.made.range(folder.to_owned()..).next();
            first.filter(|(file, _)| file.starts_with(folder)).map(|(_, archive)| *archive)
        };
        let archive = path.ancestors().find_map(below).unwrap_or_default();
        let entry = entry.display().to_string();
        // Of another file that it names beside its own.
        let here = format!("{}/", self.folder.display());
        DatasetError::OfArchive {
            path: self.archives.get(archive).cloned().unwrap_or_default(),
            problem: entry::problem(&error, &entry).replace(&here, ""),
            entry,
        }
    }

    pub(crate) fn unpack(&mut self, archive: &Path) -> Result<(), DatasetError> {
        self.archives.push(archive.to_owned());
        match Kind::of(archive) {
            Some(Kind::Zip) => self.zip(archive),
            _ => self.tar_gz(archive),
        }
    }

    fn zip(&mut self, path: &Path) -> Result<(), DatasetError> {
        let damaged = |error: ZipError| {
            // What is encrypted, or packed in a way of its own, is so wherever it is fetched from.
            let advice = match error {
                ZipError::UnsupportedArchive(_) | ZipError::CompressionMethodNotSupported(_) => {
                    "unpack it by other means and import the folder"
                }
                _ => "fetch it again",
            };
            refuse(path, "", format!("{error}: {advice}"))
        };
        let file = BufReader::new(File::open(path).context("open", path)?);
        let mut archive = ZipArchive::new(file).map_err(damaged)?;
        // Of entries with one name the archive has kept the last alone, and `file` below never sees the others.
        if archive.has_duplicate_names() {
            return Err(refuse(path, "", "two entries have the same name"));
        }
        let total = fs::metadata(path).context("read", path)?.len();
        let mut packed = 0;
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).map_err(damaged)?;
            let name = entry.name().map_err(damaged)?.into_owned();
            if entry.is_dir() {
                self.folder_entry(path, &name)?;
            } else if entry.is_symlink() || !entry.is_file() {
                return Err(refuse(path, &name, LINK));
            } else {
                self.file(path, &name, &mut entry)?;
            }
            packed += entry.compressed_size();
            self.tell(path, packed.min(total), total);
        }
        self.tell(path, total, total);
        Ok(())
    }

    fn tar_gz(&mut self, path: &Path) -> Result<(), DatasetError> {
        let damaged =
            |error: io::Error| refuse(path, "", format!("{error}: cut off or damaged, fetch it again"));
        let total = fs::metadata(path).context("read", path)?.len();
        let packed = Rc::new(Cell::new(0));
        let file = Counting { inner: File::open(path).context("open", path)?, done: Rc::clone(&packed) };
        let mut archive = tar::Archive::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file)));
        for entry in archive.entries().map_err(damaged)? {
            let mut entry = entry.map_err(damaged)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            match entry.header().entry_type() {
                tar::EntryType::Directory => self.folder_entry(path, &name)?,
                tar::EntryType::Regular | tar::EntryType::Continuous => self.file(path, &name, &mut entry)?,
                tar::EntryType::XGlobalHeader => {}
                _ => return Err(refuse(path, &name, LINK)),
            }
            self.tell(path, packed.get().min(total), total);
        }
        // What stands behind the last entry is read too: a stream that is cut there is cut.
        let mut rest = archive.into_inner();
        io::copy(&mut (&mut rest).take(self.left.bytes), &mut io::sink()).map_err(damaged)?;
        self.tell(path, total, total);
        Ok(())
    }

    fn folder_entry(&mut self, archive: &Path, name: &str) -> Result<(), DatasetError> {
        self.count(archive, name)?;
        let path = self.inside(archive, name)?;
        fs::create_dir_all(&path).context("create", &path)
    }

    fn file(&mut self, archive: &Path, name: &str, from: &mut dyn Read) -> Result<(), DatasetError> {
        self.count(archive, name)?;
        let path = self.inside(archive, name)?;
        if self.made.insert(path.clone(), self.archives.len() - 1).is_some() {
            return Err(refuse(archive, name, "comes twice"));
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).context("create", parent)?;
        }
        // Never an existing file, nor through a link: two names may be one on some file systems.
        let mut to = File::create_new(&path).context("create", &path)?;
        let mut from = Watched { inner: from.take(self.left.bytes + 1), failed: None };
        let copied = io::copy(&mut from, &mut to);
        if let Some(error) = from.failed {
            return Err(refuse(
                archive,
                name,
                format!("{error}: damaged or cut off, fetch the archive again"),
            ));
        }
        let bytes = copied.context("write", &path)?;
        self.left.bytes = self.left.bytes.checked_sub(bytes).ok_or_else(|| {
            refuse(
                archive,
                name,
                format!(
                    "goes beyond {} bytes in all, the most that is unpacked: {BY_HAND}",
                    self.limits.bytes
                ),
            )
        })?;
        Ok(())
    }

    fn count(&mut self, archive: &Path, name: &str) -> Result<(), DatasetError> {
        self.left.entries = self.left.entries.checked_sub(1).ok_or_else(|| {
            refuse(
                archive,
                name,
                format!(
                    "is one of more than {} entries, the most that are unpacked: {BY_HAND}",
                    self.limits.entries
                ),
            )
        })?;
        Ok(())
    }

    /// Where an entry goes: below the folder, or nowhere.
    fn inside(&self, archive: &Path, name: &str) -> Result<PathBuf, DatasetError> {
        let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        // As a system reads it whose separators are backslashes too.
        let (other, here) = (name.replace('\\', "/"), Path::new(name));
        let leads_out = [Path::new(&other), here].iter().any(|path| !path.components().all(plain));
        if name.is_empty() || name.contains('\0') || leads_out {
            return Err(refuse(
                archive,
                name,
                "has a name that leads out of the folder it is unpacked into, here or on other systems",
            ));
        }
        // On some systems these lead out, or are other files; none of the published data sets has them.
        if name.contains(['\\', ':']) {
            return Err(refuse(archive, name, format!("has a name that is not portable: {BY_HAND}")));
        }
        Ok(self.folder.join(name))
    }

    fn tell(&self, archive: &Path, done: u64, total: u64) {
        let name = archive.file_name().unwrap_or_default().to_string_lossy();
        self.reporter.bytes(&format!("unpacking {name}"), done, Some(total));
    }
}

fn refuse(path: &Path, entry: &str, problem: impl Into<String>) -> DatasetError {
    DatasetError::Archive { path: path.to_owned(), entry: entry.to_owned(), problem: problem.into() }
}

/// Counts what is read.
struct Counting<R> {
    inner: R,
    done: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.done.set(self.done.get() + read as u64);
        Ok(read)
    }
}

/// Tells a reader's errors from a writer's, where one is copied to the other.
struct Watched<R> {
    inner: R,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.failed = Some(error);
            }
            kind.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    /// Two files of a million zeros each, in a few kilobytes.
    fn bombs(folder: &Path) -> [PathBuf; 2] {
        let zeros = vec![0; 1_000_000];
        let (zip, tar) = (folder.join("bomb.zip"), folder.join("bomb.tar.gz"));
        let mut to_zip = ZipWriter::new(File::create(&zip).unwrap());
        let mut to_tar = tar::Builder::new(GzEncoder::new(File::create(&tar).unwrap(), Compression::fast()));
        for name in ["a", "b"] {
            to_zip.start_file(name, SimpleFileOptions::default()).unwrap();
            to_zip.write_all(&zeros).unwrap();
            let mut header = tar::Header::new_ustar();
            header.set_size(zeros.len() as u64);
            to_tar.append_data(&mut header, name, zeros.as_slice()).unwrap();
        }
        to_zip.finish().unwrap();
        to_tar.into_inner().unwrap().finish().unwrap();
        [zip, tar]
    }

    #[test]
    fn bytes_and_entries_are_bounded_over_all() {
        let folder = tempfile::tempdir().unwrap();
        for archive in bombs(folder.path()) {
            let unpack = |name: &str, entries, bytes| {
                let into = folder.path().join(archive.file_name().unwrap()).with_extension(name);
                fs::create_dir(&into).unwrap();
                let outcome =
                    Unpacking::new(&into, Limits { entries, bytes }, &Reporter::default()).unpack(&archive);
                let made = fs::read_dir(&into)
                    .unwrap()
                    .map(|file| file.unwrap().metadata().unwrap().len())
                    .sum::<u64>();
                (outcome.map_err(|error| error.to_string()), made)
            };
            assert_eq!(unpack("fits", 2, 2_000_000), (Ok(()), 2_000_000));
            let (outcome, made) = unpack("big", 2, 1_500_000);
            let error = outcome.unwrap_err();
            assert!(
                error.contains("entry \"b\" goes beyond 1500000 bytes") && error.ends_with(BY_HAND),
                "{error}"
            );
            assert!(made <= 1_500_001, "{made} bytes were written");
            let (outcome, _) = unpack("many", 1, 2_000_000);
            let error = outcome.unwrap_err();
            assert!(error.contains("more than 1 entries") && error.ends_with(BY_HAND), "{error}");
        }
    }

    #[test]
    fn archives_share_one_budget() {
        let folder = tempfile::tempdir().unwrap();
        let [zip, _] = bombs(folder.path());
        let tar = folder.path().join("more.tar.gz");
        let mut to_tar = tar::Builder::new(GzEncoder::new(File::create(&tar).unwrap(), Compression::fast()));
        let mut header = tar::Header::new_ustar();
        header.set_size(1_000_000);
        to_tar.append_data(&mut header, "c", vec![0; 1_000_000].as_slice()).unwrap();
        to_tar.into_inner().unwrap().finish().unwrap();
        for (entries, bytes, said) in [
            (3, 3_000_000, None),
            (2, 3_000_000, Some("is one of more than 2 entries")),
            (3, 2_999_999, Some("entry \"c\" goes beyond 2999999 bytes")),
        ] {
            let into = tempfile::tempdir().unwrap();
            let reporter = Reporter::default();
            let mut unpacking = Unpacking::new(into.path(), Limits { entries, bytes }, &reporter);
            unpacking.unpack(&zip).unwrap();
            let error = unpacking.unpack(&tar).err().map(|error| error.to_string());
            assert_eq!(error.is_some(), said.is_some(), "{error:?}");
            assert!(error.unwrap_or_default().contains(said.unwrap_or_default()));
        }
    }
}
