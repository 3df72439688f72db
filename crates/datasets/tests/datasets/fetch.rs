//! Fetching, against a server of our own that does to a download what servers are known to do.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bpsta_datasets::{DatasetError, DatasetId, Fetched, Patience, Registry, Store};
use md5::{Digest, Md5};

/// What the server does with a path.
#[derive(Clone)]
enum Answer {
    /// Sends the file whole, or the range that was asked for.
    File { content: Vec<u8>, etag: &'static str },
    /// The same, but the first requests end after so many bytes.
    Cut { content: Vec<u8>, after: usize, times: usize },
    /// Cuts the first request, and has another file from then on.
    Changed { before: Vec<u8>, after: Vec<u8> },
    /// The file, without telling its version or taking ranges.
    Plain { content: Vec<u8>, cut_first: bool },
    /// A status and nothing else.
    Status(u16),
    /// A status that often, then the file.
    Sometimes { status: u16, times: usize, content: Vec<u8> },
    /// Sends the beginning and then nothing more.
    Silent { content: Vec<u8> },
    /// Sends the file, a few bytes at a time.
    Drip { content: Vec<u8> },
    /// Sends to another path.
    Redirect(&'static str),
    /// To a range another one than was asked for, to anything else the file.
    OtherRange { content: Vec<u8> },
    /// More bytes than the length it tells, or than the registry knows where it tells none.
    TooMany { content: Vec<u8> },
    /// To a range that nothing is left of it, with what it tells of its length; to anything else the file.
    NothingLeft { content: Vec<u8>, range: &'static str },
    /// Tells of more bytes than any disk has, and sends none.
    Huge,
    /// To the first request a page of whoever stands between, then the file.
    Page { page: &'static str, tells_length: bool, content: Vec<u8> },
}

/// Requests in their order: path, and the range asked for.
type Requests = Mutex<Vec<(String, Option<String>)>>;

struct Server {
    address: String,
    seen: Arc<Requests>,
}

impl Server {
    fn start(answers: &[(&str, Answer)]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let answers: HashMap<String, Answer> =
            answers.iter().map(|(path, answer)| ((*path).to_owned(), answer.clone())).collect();
        let seen = Arc::<Requests>::default();
        let server = Server { address, seen: Arc::clone(&seen) };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answers, seen) = (answers.clone(), Arc::clone(&seen));
                // A client that goes away ends its thread.
                std::thread::spawn(move || {
                    let _ = serve(stream.unwrap(), &answers, &seen);
                });
            }
        });
        server
    }

    fn ranges(&self, path: &str) -> Vec<Option<String>> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(of, _)| of == path).map(|(_, range)| range.clone()).collect()
    }
}

fn serve(mut stream: TcpStream, answers: &HashMap<String, Answer>, seen: &Requests) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let path = lines.next().unwrap()?.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
    let mut headers = HashMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let range = headers.get("range").cloned();
    let count = {
        let mut seen = seen.lock().unwrap();
        seen.push((path.clone(), range.clone()));
        seen.iter().filter(|(of, _)| *of == path).count()
    };
    let first = |etag: &str| {
        let fresh = headers.get("if-range").is_none_or(|version| version == etag);
        let range = range.as_deref().filter(|_| fresh)?;
        range.strip_prefix("bytes=")?.trim_end_matches('-').parse::<usize>().ok()
    };
    let send = |stream: &mut TcpStream, content: &[u8], etag: &str, upto: usize| {
        if first(etag) == Some(content.len()) {
            let range = format!("Content-Range: bytes */{}\r\n", content.len());
            return write!(
                stream,
                "HTTP/1.1 416 No\r\n{range}Content-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
        let (status, from, range) = match first(etag) {
            Some(from) => {
                let range =
                    format!("Content-Range: bytes {from}-{}/{}\r\n", content.len() - 1, content.len());
                ("206 Partial Content", from, range)
            }
            None => ("200 OK", 0, String::new()),
        };
        write!(
            stream,
            "HTTP/1.1 {status}\r\nETag: {etag}\r\n{range}Content-Length: {}\r\nConnection: close\r\n\r\n",
            content.len() - from
        )?;
        stream.write_all(&content[from..content.len().min(upto.max(from))])
    };
    let bare = |stream: &mut TcpStream, status: u16| {
        write!(stream, "HTTP/1.1 {status} So\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    };
    match answers.get(&path) {
        None => bare(&mut stream, 404),
        Some(Answer::Status(status)) => bare(&mut stream, *status),
        Some(Answer::File { content, etag }) => send(&mut stream, content, etag, usize::MAX),
        Some(Answer::Cut { content, after, times }) => {
            send(&mut stream, content, "\"1\"", if count <= *times { after * count } else { usize::MAX })
        }
        Some(Answer::Changed { before, .. }) if count == 1 => {
            send(&mut stream, before, "\"old\"", before.len() / 2)
        }
        Some(Answer::Changed { after, .. }) => send(&mut stream, after, "\"new\"", usize::MAX),
        Some(Answer::Plain { content, cut_first }) => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                content.len()
            )?;
            let upto = if *cut_first && count == 1 { content.len() / 3 } else { content.len() };
            stream.write_all(&content[..upto])
        }
        Some(Answer::Sometimes { status, times, .. }) if count <= *times => bare(&mut stream, *status),
        Some(Answer::Sometimes { content, .. }) => send(&mut stream, content, "\"1\"", usize::MAX),
        Some(Answer::Silent { content }) => {
            send(&mut stream, content, "\"1\"", content.len() / 2)?;
            std::thread::sleep(Duration::from_secs(20));
            Ok(())
        }
        Some(Answer::Drip { content }) => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len())?;
            for bytes in content.chunks(content.len() / 8 + 1) {
                stream.write_all(bytes)?;
                std::thread::sleep(Duration::from_millis(60));
            }
            Ok(())
        }
        Some(Answer::Page { page, tells_length, .. }) if count == 1 => {
            let length =
                if *tells_length { format!("Content-Length: {}\r\n", page.len()) } else { String::new() };
            write!(stream, "HTTP/1.1 200 OK\r\n{length}Connection: close\r\n\r\n{page}")
        }
        Some(Answer::Page { content, .. }) => send(&mut stream, content, "\"1\"", usize::MAX),
        Some(Answer::OtherRange { content }) if range.is_some() => {
            let (from, length) = (1, content.len());
            write!(
                stream,
                "HTTP/1.1 206 Partial Content\r\nETag: \"1\"\r\nContent-Range: bytes {from}-{}/{length}\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n",
                length - 1,
                length - from
            )?;
            stream.write_all(&content[from..])
        }
        Some(Answer::NothingLeft { range: told, .. }) if range.is_some() => {
            write!(stream, "HTTP/1.1 416 No\r\n{told}Content-Length: 0\r\nConnection: close\r\n\r\n")
        }
        Some(Answer::OtherRange { content } | Answer::NothingLeft { content, .. }) => {
            send(&mut stream, content, "\"1\"", usize::MAX)
        }
        Some(Answer::TooMany { content }) => {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            stream.write_all(content)?;
            stream.write_all(&[0; 1000])
        }
        Some(Answer::Huge) => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1u64 << 60)
        }
        Some(Answer::Redirect(to)) => write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: /{to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ),
    }
}

const QUICK: Patience =
    Patience { tries: 3, pause: Duration::from_millis(5), silence: Duration::from_millis(300) };

fn content(seed: u8) -> Vec<u8> {
    (0..300_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 ^ seed).collect()
}

fn md5_of(content: &[u8]) -> String {
    Md5::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The registry with MNIST's files replaced by one of this content, at these mirrors.
fn registry(folder: &Path, mirrors: &[String], content: &[u8], bytes: Option<usize>) -> Registry {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets.toml")).unwrap();
    let begin = text.find("mirrors = [").unwrap();
    let end = text.find("[mnist.unpacked]").unwrap();
    let length = bytes.map_or_else(String::new, |bytes| format!("bytes = {bytes}, "));
    let files = format!(
        "mirrors = {mirrors:?}\nfiles = [{{ name = \"digits.gz\", {length}md5 = \"{}\" }}]\n\n",
        md5_of(content)
    );
    let path = folder.join("datasets.toml");
    fs::write(&path, [&text[..begin], &files, &text[end..]].concat()).unwrap();
    Registry::load(&path).unwrap()
}

struct Run {
    folder: tempfile::TempDir,
    data: std::path::PathBuf,
    store: Store,
}

impl Run {
    fn new(mirrors: &[String], content: &[u8], bytes: Option<usize>) -> Run {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let store = Store::open(&data, &registry(folder.path(), mirrors, content, bytes));
        Run { folder, data, store }
    }

    fn fetch(&self) -> Result<Vec<Fetched>, DatasetError> {
        self.store.fetch(DatasetId::MNIST, QUICK)
    }

    /// Leaves a part there, as a killed process does, of the file that has this version at this mirror.
    fn leave_part(&self, bytes: &[u8], mirror: &str, version: u32) {
        let folder = self.data.join("downloads/mnist");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("digits.gz.part"), bytes).unwrap();
        let origin = format!("{{\"url\":\"{mirror}digits.gz\",\"version\":\"\\\"{version}\\\"\"}}");
        fs::write(folder.join("digits.gz.part.json"), origin).unwrap();
    }

    /// The names in the folder of downloads, but for locks.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.data.join("downloads/mnist"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.ends_with(".lock"))
            .collect();
        names.sort();
        names
    }

    fn assert_whole(&self, content: &[u8]) {
        assert_eq!(self.names(), ["digits.gz"]);
        assert!(fs::read(self.data.join("downloads/mnist/digits.gz")).unwrap() == content);
    }
}

/// Fetches from one path of a server that answers so.
fn from_one(answer: Answer) -> (Server, Run, Result<Vec<Fetched>, DatasetError>) {
    let server = Server::start(&[("digits.gz", answer)]);
    let run = Run::new(std::slice::from_ref(&server.address), &content(1), Some(content(1).len()));
    let result = run.fetch();
    (server, run, result)
}

#[test]
fn a_file_comes_whole_and_is_not_fetched_twice() {
    let (server, run, result) = from_one(Answer::File { content: content(1), etag: "\"1\"" });
    assert_eq!(result.unwrap()[0].from.as_deref(), Some(&*format!("{}digits.gz", server.address)));
    run.assert_whole(&content(1));
    assert_eq!(run.fetch().unwrap()[0].from, None);
    assert_eq!(server.ranges("digits.gz").len(), 1);
}

#[test]
fn a_cut_download_goes_on_where_it_was() {
    let (server, run, result) = from_one(Answer::Cut { content: content(1), after: 70_000, times: 3 });
    result.unwrap();
    run.assert_whole(&content(1));
    let ranges = server.ranges("digits.gz");
    assert_eq!(ranges[0], None);
    assert_eq!(ranges[1..], [70_000, 140_000, 210_000].map(|at| Some(format!("bytes={at}-"))));
}

#[test]
fn a_killed_download_goes_on_in_another_process() {
    // Killed half-way, and behind the last byte: then there is nothing left to ask for.
    for there in [1000, content(1).len()] {
        goes_on_behind(there);
    }
}

fn goes_on_behind(there: usize) {
    let server = Server::start(&[("digits.gz", Answer::File { content: content(1), etag: "\"1\"" })]);
    let run = Run::new(std::slice::from_ref(&server.address), &content(1), None);
    run.leave_part(&content(1)[..there], &server.address, 1);
    run.fetch().unwrap();
    run.assert_whole(&content(1));
    assert_eq!(server.ranges("digits.gz"), [Some(format!("bytes={there}-"))]);
}

/// More was there of something else than a try brings of the file: the tries are progress all the same.
#[test]
fn what_is_begun_anew_is_measured_anew() {
    for (version, elsewhere) in [(0, false), (1, true)] {
        let cut = Answer::Cut { content: content(1), after: 40_000, times: 6 };
        let server = Server::start(&[("digits.gz", cut)]);
        let run = Run::new(std::slice::from_ref(&server.address), &content(1), None);
        let from = if elsewhere { "http://another.mirror/" } else { &server.address };
        run.leave_part(&content(2)[..250_000], from, version);
        run.fetch().unwrap();
        run.assert_whole(&content(1));
        assert_eq!(server.ranges("digits.gz").len(), 7);
    }
}

#[test]
fn a_file_that_changed_is_begun_anew() {
    let (_, run, result) = from_one(Answer::Changed { before: content(2), after: content(1) });
    result.unwrap();
    run.assert_whole(&content(1));
}

#[test]
fn a_server_without_ranges_is_asked_for_the_whole_again() {
    let (server, run, result) = from_one(Answer::Plain { content: content(1), cut_first: true });
    result.unwrap();
    run.assert_whole(&content(1));
    assert_eq!(server.ranges("digits.gz"), [None, None]);
}

#[test]
fn errors_of_the_server_pass() {
    let (server, run, result) = from_one(Answer::Sometimes { status: 503, times: 2, content: content(1) });
    result.unwrap();
    run.assert_whole(&content(1));
    assert_eq!(server.ranges("digits.gz").len(), 3);
}

#[test]
fn a_slow_server_is_waited_for_and_a_silent_one_is_not() {
    let (_, run, result) = from_one(Answer::Drip { content: content(1) });
    result.unwrap();
    run.assert_whole(&content(1));
    let (_, _, result) = from_one(Answer::Silent { content: content(1) });
    let message = result.unwrap_err().to_string();
    assert!(message.contains("cut after"), "{message}");
}

#[test]
fn a_redirect_is_followed() {
    let server = Server::start(&[
        ("digits.gz", Answer::Redirect("elsewhere")),
        ("elsewhere", Answer::File { content: content(1), etag: "\"1\"" }),
    ]);
    let run = Run::new(std::slice::from_ref(&server.address), &content(1), None);
    run.fetch().unwrap();
    run.assert_whole(&content(1));
}

/// Each of these mirrors is passed over for the next, with its reason; alone it is an error that names it, and nothing is left that
/// looks like the file.
#[test]
fn bad_mirrors_are_passed_over() {
    let cases = [
        (Answer::Status(404), "it answered 404"),
        (Answer::Status(202), "it answered 202; expected 200 or 206"),
        (Answer::Status(500), "it answered 500, 3 times in a row"),
        (
            Answer::File { content: content(1)[..1000].to_vec(), etag: "\"1\"" },
            "it has 1000 bytes, the official file 300000",
        ),
        (Answer::File { content: content(2), etag: "\"1\"" }, "its MD5 is"),
    ];
    for (answer, why) in cases {
        let (_, run, result) = from_one(answer.clone());
        let message = result.unwrap_err().to_string();
        assert!(message.contains(why), "{message}");
        assert!(!run.names().contains(&"digits.gz".to_owned()));

        let bad = Server::start(&[("digits.gz", answer)]);
        let good = Server::start(&[("digits.gz", Answer::File { content: content(1), etag: "\"1\"" })]);
        let mirrors = [bad.address.clone(), good.address.clone()];
        let run = Run::new(&mirrors, &content(1), Some(content(1).len()));
        assert_eq!(run.fetch().unwrap()[0].from.as_deref(), Some(&*format!("{}digits.gz", good.address)));
        run.assert_whole(&content(1));
    }
}

/// As a hotel's network answers whatever is asked for, until somebody has logged in.
#[test]
fn a_page_in_the_way_costs_nothing_of_what_was_fetched() {
    for (tells_length, said) in [(true, "it sends 16 bytes"), (false, "it sends a file of unknown length")] {
        let page = Answer::Page { page: "<html>Log in<br>", tells_length, content: content(1) };
        let servers = [(); 2].map(|()| Server::start(&[("digits.gz", page.clone())]));
        let run = Run::new(&servers.each_ref().map(|server| server.address.clone()), &content(1), None);
        run.leave_part(&content(1)[..200_000], &servers[0].address, 1);
        let message = run.fetch().unwrap_err().to_string();
        assert_eq!(message.matches(said).count(), 2, "{message}");
        assert!(
            message.contains("200000 bytes fetched before: remove") && message.contains(".part "),
            "{message}"
        );
        assert!(fs::read(run.data.join("downloads/mnist/digits.gz.part")).unwrap() == content(1)[..200_000]);

        run.fetch().unwrap();
        run.assert_whole(&content(1));
        assert_eq!(servers[0].ranges("digits.gz"), [(); 2].map(|()| Some("bytes=200000-".to_owned())));
    }
}

#[test]
fn a_file_needs_the_right_sha_256_too_where_one_is_known() {
    use sha2::Sha256;

    let server = Server::start(&[("digits.gz", Answer::File { content: content(1), etag: "\"1\"" })]);
    let sha256: String = Sha256::digest(content(1)).iter().map(|byte| format!("{byte:02x}")).collect();
    for (sha256, fits) in [(sha256, true), ("0".repeat(64), false)] {
        let run = Run::new(std::slice::from_ref(&server.address), &content(1), None);
        let path = run.folder.path().join("datasets.toml");
        let text = fs::read_to_string(&path).unwrap();
        let name = "name = \"digits.gz\", ";
        fs::write(&path, text.replace(name, &format!("{name}sha256 = \"{sha256}\", "))).unwrap();
        let store = Store::open(&run.data, &Registry::load(&path).unwrap());
        match store.fetch(DatasetId::MNIST, QUICK) {
            Ok(_) => assert!(fits),
            Err(error) => assert!(!fits && error.to_string().contains("its SHA-256 is"), "{error}"),
        }
        assert_eq!(run.names().len(), usize::from(fits));
    }
}

#[test]
fn two_processes_do_not_fetch_the_same_file() {
    let server = Server::start(&[("digits.gz", Answer::Drip { content: content(1) })]);
    let run = Run::new(std::slice::from_ref(&server.address), &content(1), None);
    std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| run.fetch().unwrap()));
        let from = both.map(|one| one.join().unwrap()[0].from.is_some());
        assert_eq!(from.iter().filter(|fetched| **fetched).count(), 1);
    });
    run.assert_whole(&content(1));
    assert_eq!(server.ranges("digits.gz").len(), 1);
}

#[test]
fn a_damaged_file_is_named_and_left() {
    let server = Server::start(&[("digits.gz", Answer::File { content: content(1), etag: "\"1\"" })]);
    let run = Run::new(std::slice::from_ref(&server.address), &content(1), None);
    let folder = run.data.join("downloads/mnist");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("digits.gz"), b"something else").unwrap();
    let message = run.fetch().unwrap_err().to_string();
    assert!(message.contains("digits.gz") && message.contains("MD5"), "{message}");
    assert!(message.contains("remove it and fetch it again"), "{message}");
    assert_eq!(fs::read(folder.join("digits.gz")).unwrap(), b"something else");
}

/// Taken for what was asked for, the part would be the wrong bytes in the wrong places.
#[test]
fn another_range_than_was_asked_for_is_not_taken() {
    let server = Server::start(&[("digits.gz", Answer::OtherRange { content: content(1) })]);
    let run = Run::new(std::slice::from_ref(&server.address), &content(1), None);
    run.leave_part(&content(1)[..1000], &server.address, 1);
    run.fetch().unwrap();
    run.assert_whole(&content(1));
    assert_eq!(server.ranges("digits.gz"), [Some("bytes=1000-".to_owned()), None]);
}

#[test]
fn more_bytes_than_the_file_has_are_refused_as_they_come() {
    let (_, run, result) = from_one(Answer::TooMany { content: content(1) });
    let message = result.unwrap_err().to_string();
    assert!(message.contains("it sends more than 300000 bytes"), "{message}");
    assert!(run.names().is_empty(), "{:?}", run.names());
}

/// A server need not say how much it has: a part that is the whole file is it all the same.
#[test]
fn a_whole_part_is_the_file_whatever_the_server_says_of_its_length() {
    for range in ["", "Content-Range: bytes */7\r\n", "Content-Range: bytes */300000\r\n"] {
        for bytes in [None, Some(content(1).len())] {
            let answer = Answer::NothingLeft { content: content(1), range };
            let server = Server::start(&[("digits.gz", answer)]);
            let run = Run::new(std::slice::from_ref(&server.address), &content(1), bytes);
            run.leave_part(&content(1), &server.address, 1);
            run.fetch().unwrap();
            run.assert_whole(&content(1));
            assert_eq!(server.ranges("digits.gz"), [Some("bytes=300000-".to_owned())], "{range:?}");
        }
    }
}

/// Neither by its length nor by its bytes is this part the file, nor has the server as many.
#[test]
fn a_part_that_is_not_the_file_is_begun_anew_where_nothing_is_left() {
    for (part, range) in [
        (content(2), "Content-Range: bytes */7\r\n"),
        (content(1)[..1000].to_vec(), "Content-Range: bytes */300000\r\n"),
        (content(1)[..1000].to_vec(), ""),
    ] {
        let server = Server::start(&[("digits.gz", Answer::NothingLeft { content: content(1), range })]);
        let run = Run::new(std::slice::from_ref(&server.address), &content(1), None);
        run.leave_part(&part, &server.address, 1);
        run.fetch().unwrap();
        run.assert_whole(&content(1));
        assert_eq!(server.ranges("digits.gz"), [Some(format!("bytes={}-", part.len())), None]);
    }
}

#[test]
fn what_does_not_fit_on_the_disk_is_refused_before_it_comes() {
    let huge = 1usize << 60;
    let (server, folder) = (Server::start(&[("digits.gz", Answer::Huge)]), tempfile::tempdir().unwrap());
    let registry = registry(folder.path(), std::slice::from_ref(&server.address), &content(1), Some(huge));
    let error = Store::open(folder.path(), &registry).fetch(DatasetId::MNIST, QUICK).unwrap_err();
    assert!(matches!(error, DatasetError::NoSpace { needed, .. } if needed == huge as u64), "{error}");
    assert!(!folder.path().join("downloads/mnist/digits.gz.part").exists());
}

#[test]
fn a_file_that_fails_stops_no_other_and_all_failures_are_said() {
    let names = ["a.gz", "b.gz", "c.gz", "d.gz", "e.gz", "f.gz"];
    let bad = ["a.gz", "b.gz", "c.gz"];
    let answer = |name: &str| match bad.contains(&name) {
        true => Answer::Status(404),
        false => Answer::File { content: content(1), etag: "\"1\"" },
    };
    let server = Server::start(&names.map(|name| (name, answer(name))));
    let folder = tempfile::tempdir().unwrap();
    registry(folder.path(), std::slice::from_ref(&server.address), &content(1), None);
    let path = folder.path().join("datasets.toml");
    let text = fs::read_to_string(&path).unwrap();
    let one = format!("{{ name = \"digits.gz\", md5 = \"{}\" }}", md5_of(&content(1)));
    assert!(text.contains(&one));
    let all = names.map(|name| one.replace("digits.gz", name)).join(", ");
    fs::write(&path, text.replace(&one, &all)).unwrap();
    let store = Store::open(folder.path(), &Registry::load(&path).unwrap());
    let message = store.fetch(DatasetId::MNIST, QUICK).unwrap_err().to_string();
    assert!(message.starts_with("3 of 6 files could not be fetched:\n"), "{message}");
    for name in names {
        let there = folder.path().join("downloads/mnist").join(name).exists();
        let said = message.contains(&format!("\n  {name} could not be fetched: "));
        assert_eq!((there, said), (!bad.contains(&name), bad.contains(&name)), "{name}: {message}");
    }
}

/// Somebody clears away what looks like a leftover while the last bytes come.
#[test]
fn a_fetched_file_needs_no_leftover_to_remove() {
    let server = Server::start(&[("digits.gz", Answer::Drip { content: content(1) })]);
    let run = Run::new(std::slice::from_ref(&server.address), &content(1), Some(content(1).len()));
    let origin = run.data.join("downloads/mnist/digits.gz.part.json");
    std::thread::scope(|scope| {
        let fetch = scope.spawn(|| run.fetch());
        while fs::remove_file(&origin).is_err() {
            assert!(!fetch.is_finished(), "it dripped too fast for the leftover to be seen");
            std::thread::sleep(Duration::from_millis(1));
        }
        fetch.join().unwrap().unwrap();
    });
    run.assert_whole(&content(1));
}
