//! Published files, from a mirror to the disk: whole and checked under their own names, or not there.
//!
//! A download grows in `NAME.part`, beside `NAME.part.json`, which says where it comes from and which version of the file it is (the
//! server's ETag or Last-Modified). One that was cut or killed goes on behind its last byte if the server still has that
//! version (RFC 9110, sections 13.1.5 and 14.2), and from the first byte if not, unless what it has is shorter. It gets its name once
//! its length and its checksums are the registry's.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use ureq::http::{HeaderMap, header};

use crate::error::IoContext;
use crate::progress::Reporter;
use crate::{DatasetError, DatasetInfo, RemoteFile, hash, lock};

/// Files fetched side by side.
const SIDE_BY_SIDE: usize = 3;
const BUFFER: usize = 1 << 17;

/// How long a fetch waits, and how often it tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Tries in a row that bring a mirror's file no further.
    pub tries: u32,
    /// Wait before the second of them; doubled before each later one.
    pub pause: Duration,
    /// Wait for a server that sends nothing. One that sends slowly is waited for.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { tries: 5, pause: Duration::from_secs(1), silence: Duration::from_secs(60) }
    }
}

/// A published file that is whole and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where it lies.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// The address it came from; none if it was there before.
    pub from: Option<String>,
}

/// The published files of a data set, and the folder they go to.
pub(crate) struct Fetch<'a> {
    pub(crate) info: &'a DatasetInfo,
    pub(crate) folder: &'a Path,
    pub(crate) patience: Patience,
    pub(crate) reporter: &'a Reporter,
}

/// Why a try came to nothing.
enum Failure {
    /// Another try may do better.
    Again(String),
    /// This mirror does not have the file.
    Mirror(String),
    /// No mirror can help.
    Here(DatasetError),
}

impl From<DatasetError> for Failure {
    fn from(error: DatasetError) -> Self {
        Self::Here(error)
    }
}

/// What a part is a part of.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Origin {
    url: String,
    /// A strong ETag, or else the time of the last modification.
    version: String,
}

impl Fetch<'_> {
    /// Fetches what is not there yet, several files side by side. One that fails stops no other; what failed is said when all are done.
    pub(crate) fn run(&self) -> Result<Vec<Fetched>, DatasetError> {
        fs::create_dir_all(self.folder).context("create", self.folder)?;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(SIDE_BY_SIDE).build();
        let pool = pool.map_err(|error| DatasetError::Threads { message: error.to_string() })?;
        let outcomes: Vec<Result<Fetched, DatasetError>> =
            pool.install(|| self.info.files.par_iter().map(|file| self.file(file)).collect());
        let (mut fetched, mut errors) = (Vec::new(), Vec::new());
        for outcome in outcomes {
            match outcome {
                Ok(file) => fetched.push(file),
                Err(error) => errors.push(error),
            }
        }
        match errors.len() {
            0 => Ok(fetched),
            1 => Err(errors.remove(0)),
            _ => Err(DatasetError::SomeNotFetched { files: self.info.files.len(), errors }),
        }
    }

    fn file(&self, file: &RemoteFile) -> Result<Fetched, DatasetError> {
        let path = self.folder.join(&file.name);
        let _lock = lock::wait(self.folder, &file.name, self.reporter)?;
        if path.exists() {
            let bytes = check_published(&path, file)?;
            return Ok(Fetched { path, bytes, from: None });
        }
        let part = Part::of(&path);
        let mut failures = Vec::new();
        for mirror in &self.info.mirrors {
            let url = format!("{mirror}{}", file.path.as_deref().unwrap_or(&file.name));
            match self.try_mirror(file, &url, &part) {
                Ok(bytes) => {
                    fs::rename(&part.data, &path).context("rename to", &path)?;
                    // The file is there and whole, whatever is left of its part.
                    let _ = fs::remove_file(&part.origin);
                    return Ok(Fetched { path, bytes, from: Some(url) });
                }
                Err(Failure::Here(error)) => return Err(error),
                Err(Failure::Again(why) | Failure::Mirror(why)) => {
                    self.reporter.notice(format!("{url}: {why}"));
                    failures.push(format!("{url}: {why}"));
                }
            }
        }
        Err(DatasetError::NotFetched { file: file.name.clone(), failures: failures.join("; ") })
    }

    /// Tries a mirror until the file is whole or no try brings it further; gives its length.
    fn try_mirror(&self, file: &RemoteFile, url: &str, part: &Part) -> Result<u64, Failure> {
        let (mut tries, mut most) = (0, part.len());
        loop {
            let before = part.origin();
            match self.attempt(file, url, part) {
                Ok(()) => break,
                Err(Failure::Again(why)) => {
                    // Begun anew, as another mirror's part or a file that has changed is, it is measured by what there is of it now.
                    // That is no progress yet: a server that changes the version each time would be asked for ever.
                    let anew = part.origin() != before;
                    tries = if !anew && part.len() > most { 1 } else { tries + 1 };
                    most = if anew { part.len() } else { most.max(part.len()) };
                    if tries >= self.patience.tries {
                        return Err(Failure::Mirror(format!("{why}, {tries} times in a row")));
                    }
                    std::thread::sleep(self.patience.pause * 2u32.saturating_pow(tries - 1));
                }
                Err(failure) => return Err(failure),
            }
        }
        check_published(&part.data, file).map_err(|error| match error {
            DatasetError::Checksum { algorithm, expected, found, .. } => {
                part.remove();
                Failure::Mirror(format!("its {algorithm} is {found}, the official file's is {expected}"))
            }
            error => Failure::Here(error),
        })
    }

    /// One request; what it brings goes behind what is there.
    fn attempt(&self, file: &RemoteFile, url: &str, part: &Part) -> Result<(), Failure> {
        let origin = part.origin().filter(|origin| origin.url == url);
        let have = if origin.is_some() { part.len() } else { 0 };
        let mut request = self.agent().get(url).header(header::ACCEPT_ENCODING, "identity");
        if let Some(origin) = origin.filter(|_| have > 0) {
            request = request.header(header::RANGE, format!("bytes={have}-"));
            request = request.header(header::IF_RANGE, origin.version);
        }
        let response = request.call().map_err(|error| match error {
            ureq::Error::BadUri(_) | ureq::Error::TooManyRedirects | ureq::Error::InvalidProxyUrl => {
                Failure::Mirror(error.to_string())
            }
            error => Failure::Again(error.to_string()),
        })?;
        let headers = response.headers();
        let (start, total) = match response.status().as_u16() {
            200 => (0, number(headers, header::CONTENT_LENGTH)),
            206 => match content_range(headers) {
                Some((start, total)) if start == have => (start, total),
                _ => {
                    part.remove();
                    return Err(Failure::Again("it sent another range than was asked for".to_owned()));
                }
            },
            // Nothing is left to send: a process was killed between the last byte and the file's name. Servers need not say how much
            // they have, so that a part that is the whole file is taken for it in any case.
            416 if unsatisfied_total(headers) == Some(have) || part.is_whole(file) => return Ok(()),
            416 => {
                part.remove();
                return Err(Failure::Again("it has less than was fetched before".to_owned()));
            }
            status @ (408 | 425 | 429 | 500..=599) => {
                return Err(Failure::Again(format!("it answered {status}")));
            }
            status => return Err(Failure::Mirror(format!("it answered {status}; expected 200 or 206"))),
        };
        if let (Some(expected), Some(total)) = (file.bytes, total)
            && expected != total
        {
            return Err(Failure::Mirror(format!("it has {total} bytes, the official file {expected}")));
        }
        if start == 0 {
            part.check_worth(total)?;
        }
        let total = total.or(file.bytes);
        self.check_space(total.map_or(0, |total| total.saturating_sub(start)))?;
        if start == 0 {
            part.begin(url, version(headers))?;
        }
        let mut data = File::options().append(true).open(&part.data).context("open", &part.data)?;
        let cut = self.receive(&mut response.into_body().into_reader(), &mut data, file, start, total, part);
        data.sync_all().context("write", &part.data)?;
        cut
    }

    /// Writes what comes, to its end.
    fn receive(
        &self,
        from: &mut impl Read,
        to: &mut File,
        file: &RemoteFile,
        start: u64,
        total: Option<u64>,
        part: &Part,
    ) -> Result<(), Failure> {
        let mut buffer = vec![0; BUFFER];
        let mut done = start;
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Again(format!("cut after {done} bytes: {error}"))),
            };
            done += read as u64;
            if total.is_some_and(|total| done > total) {
                part.remove();
                return Err(Failure::Mirror(format!("it sends more than {} bytes", total.unwrap_or(done))));
            }
            to.write_all(&buffer[..read]).context("write", &part.data)?;
            self.reporter.bytes(&file.name, done, total);
        }
        match total {
            Some(total) if done < total => Err(Failure::Again(format!("cut after {done} of {total} bytes"))),
            _ => Ok(()),
        }
    }

    fn agent(&self) -> ureq::Agent {
        let silence = Some(self.patience.silence);
        // No limit for the body as a whole: recordings have gigabytes, and links are slow.
        ureq::Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("bpsta-datasets/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(silence)
            .timeout_connect(silence)
            .timeout_send_request(silence)
            .timeout_recv_response(silence)
            .timeout_per_read(silence)
            .build()
            .into()
    }

    fn check_space(&self, needed: u64) -> Result<(), DatasetError> {
        let free = fs4::available_space(self.folder).context("ask for the free space of", self.folder)?;
        if free < needed {
            return Err(DatasetError::NoSpace { folder: self.folder.to_owned(), needed, free });
        }
        Ok(())
    }
}

/// A file that is not whole yet.
struct Part {
    data: PathBuf,
    origin: PathBuf,
}

impl Part {
    fn of(path: &Path) -> Self {
        let with = |suffix: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        Self { data: with(".part"), origin: with(".part.json") }
    }

    /// Bytes that are there.
    fn len(&self) -> u64 {
        fs::metadata(&self.data).map_or(0, |metadata| metadata.len())
    }

    /// Whether it is the official file.
    fn is_whole(&self, file: &RemoteFile) -> bool {
        file.bytes.is_none_or(|bytes| bytes == self.len()) && check_published(&self.data, file).is_ok()
    }

    /// Where they come from, if that is known.
    fn origin(&self) -> Option<Origin> {
        serde_json::from_slice(&fs::read(&self.origin).ok()?).ok()
    }

    /// Whether a whole file of `total` bytes, if that is known, is worth beginning anew for. Who stands between, such as a hotel's
    /// network, answers with a page of its own: bytes that can be gone on with are given up for no fewer.
    fn check_worth(&self, total: Option<u64>) -> Result<(), Failure> {
        let have = self.origin().map_or(0, |_| self.len());
        if total.unwrap_or(0) >= have {
            return Ok(());
        }
        let sends = total.map_or("a file of unknown length".to_owned(), |total| format!("{total} bytes"));
        Err(Failure::Mirror(format!(
            "it sends {sends} in place of the {have} bytes fetched before: remove {} to start over anyway",
            self.data.display()
        )))
    }

    /// Begins anew. A file whose version the server does not tell cannot be gone on with later.
    fn begin(&self, url: &str, version: Option<String>) -> Result<(), DatasetError> {
        // The data first: an origin must never stand beside the bytes of another.
        File::create(&self.data).context("create", &self.data)?;
        let origin = version.map(|version| Origin { url: url.to_owned(), version });
        // An origin is two strings, which serialise.
        let text = serde_json::to_vec(&origin).unwrap_or_default();
        fs::write(&self.origin, text).context("write", &self.origin)
    }

    /// Forgets it; what cannot be removed is overwritten by the next try.
    fn remove(&self) {
        let _ = fs::remove_file(&self.data);
        let _ = fs::remove_file(&self.origin);
    }
}

/// The length of a file that is the official one.
pub(crate) fn check_published(path: &Path, file: &RemoteFile) -> Result<u64, DatasetError> {
    let found = hash::official(path)?;
    let differs = |algorithm, expected: &str, found: &str| DatasetError::Checksum {
        path: path.to_owned(),
        algorithm,
        expected: expected.to_owned(),
        found: found.to_owned(),
    };
    if found.md5 != file.md5 {
        return Err(differs("MD5", &file.md5, &found.md5));
    }
    match &file.sha256 {
        Some(expected) if *expected != found.sha256 => Err(differs("SHA-256", expected, &found.sha256)),
        _ => Ok(found.bytes),
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn number(headers: &HeaderMap, name: header::HeaderName) -> Option<u64> {
    text(headers, name)?.trim().parse().ok()
}

/// First byte and whole length, of `bytes 10-99/100`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let range = text(headers, header::CONTENT_RANGE)?.trim().strip_prefix("bytes")?.trim();
    let (range, total) = range.split_once('/')?;
    Some((range.split_once('-')?.0.trim().parse().ok()?, total.trim().parse().ok()))
}

/// The whole length, of `bytes */100`, as it stands beside a range that cannot be had.
fn unsatisfied_total(headers: &HeaderMap) -> Option<u64> {
    text(headers, header::CONTENT_RANGE)?
        .trim()
        .strip_prefix("bytes")?
        .trim()
        .strip_prefix("*/")?
        .parse()
        .ok()
}

/// What tells one version of a file from another: weak ETags do not.
fn version(headers: &HeaderMap) -> Option<String> {
    let etag = text(headers, header::ETAG).filter(|etag| !etag.starts_with("W/"));
    etag.or_else(|| text(headers, header::LAST_MODIFIED)).map(str::to_owned)
}
