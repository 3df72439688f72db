//! Archives as they are published, and archives that no publisher would make.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use bpsta_datasets::{DatasetError, DatasetId, Manifest, Registry, Store};
use bpsta_events::Format;
use flate2::Compression;
use flate2::write::GzEncoder;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::tree::{assert_nothing_imported, contents, events, nmnist, registry_path, store, write};

/// The entries of a tree, folders left out, by their names with `/`.
fn entries(tree: &Path) -> Vec<(String, Vec<u8>)> {
    contents(tree)
        .into_iter()
        .map(|(path, bytes)| (path.to_str().unwrap().replace('\\', "/"), bytes))
        .collect()
}

fn zip(path: &Path, entries: &[(String, Vec<u8>)]) {
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    for (name, bytes) in entries {
        zip.start_file(name.as_str(), SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

/// A header whose name is written as it stands, also where the tar crate would refuse it.
fn tar_header(name: &str, kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    header
}

fn tar_gz(path: &Path, entries: &[(String, Vec<u8>)]) {
    let mut tar = tar::Builder::new(GzEncoder::new(File::create(path).unwrap(), Compression::fast()));
    for (name, bytes) in entries {
        let header = tar_header(name, tar::EntryType::Regular, bytes.len() as u64);
        tar.append(&header, bytes.as_slice()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap();
}

fn import(folder: &Path, from: &Path) -> Result<Manifest, DatasetError> {
    store(folder).import(DatasetId::NMNIST, from)
}

#[test]
fn an_archive_gives_what_its_tree_gives() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    nmnist(&tree, 20, 10);
    let expected = import(&folder.path().join("plain"), &tree).unwrap();
    let entries = entries(&tree);
    let archives =
        [("a.zip", zip as fn(&Path, &[(String, Vec<u8>)])), ("b.tar.gz", tar_gz), ("c.tgz", tar_gz)];
    for (name, pack) in archives {
        let (archive, home) = (folder.path().join(name), folder.path().join("data of ").join(name));
        pack(&archive, &entries);
        let manifest = import(&home, &archive).unwrap();
        assert_eq!(manifest.hash(), expected.hash(), "{name}");
        // The same again changes nothing, and the staging folder is gone.
        assert_eq!(import(&home, &archive).unwrap(), manifest);
        let mut left: Vec<PathBuf> =
            fs::read_dir(home.join("data")).unwrap().map(|e| e.unwrap().path()).collect();
        left.sort();
        assert_eq!(left, [home.join("data/.nmnist.lock"), home.join("data/nmnist")]);
        assert!(archive.is_file(), "what is imported from stays");
    }
}

#[test]
fn a_folder_of_published_archives_is_unpacked_and_each_must_be_the_official_one() {
    let folder = tempfile::tempdir().unwrap();
    let (tree, downloads) = (folder.path().join("tree"), folder.path().join("downloads"));
    nmnist(&tree, 20, 10);
    fs::create_dir(&downloads).unwrap();
    for split in ["Train", "Test"] {
        let of_split: Vec<_> =
            entries(&tree).into_iter().filter(|(name, _)| name.starts_with(split)).collect();
        zip(&downloads.join(format!("{split}.zip")), &of_split);
    }
    let error = import(folder.path(), &downloads).unwrap_err().to_string();
    assert!(error.contains("zip: its MD5 is"), "{error}");
    assert_nothing_imported(folder.path(), DatasetId::NMNIST);

    let store = official(folder.path(), &downloads);
    let manifest = store.import(DatasetId::NMNIST, &downloads).unwrap();
    assert_eq!(manifest.samples.train + manifest.samples.test, 30);
    assert_eq!(contents(&folder.path().join("data/nmnist/raw")), contents(&tree));
}

/// A store whose registry has the archives in `downloads` for the official ones.
fn official(folder: &Path, downloads: &Path) -> Store {
    let mut text = fs::read_to_string(registry_path()).unwrap();
    for (name, official) in
        [("Train", "20959b8e626244a1b502305a9e6e2031"), ("Test", "69ca8762b2fe404d9b9bad1103e97832")]
    {
        use md5::{Digest, Md5};
        let bytes = fs::read(downloads.join(format!("{name}.zip"))).unwrap();
        let md5: String = Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        text = text.replace(official, &md5);
    }
    let path = folder.join("datasets.toml");
    fs::write(&path, text).unwrap();
    Store::open(&folder.join("data"), &Registry::load(&path).unwrap())
}

#[test]
fn what_is_wrong_is_said_of_the_archive_it_lies_in() {
    for (bad, archive) in [("Train/3/00003.bin", "Train.zip"), ("Test/3/00003.bin", "Test.zip")] {
        let folder = tempfile::tempdir().unwrap();
        let (tree, downloads) = (folder.path().join("tree"), folder.path().join("downloads"));
        nmnist(&tree, 20, 10);
        fs::write(tree.join(bad), [1, 2, 3]).unwrap();
        fs::create_dir(&downloads).unwrap();
        for split in ["Train", "Test"] {
            let of_split: Vec<_> =
                entries(&tree).into_iter().filter(|(name, _)| name.starts_with(split)).collect();
            zip(&downloads.join(format!("{split}.zip")), &of_split);
        }
        let store = official(folder.path(), &downloads);
        let error = store.import(DatasetId::NMNIST, &downloads).unwrap_err().to_string();
        let said = format!("{}: entry {bad:?}: byte 0: 3 bytes are left", downloads.join(archive).display());
        assert!(error.starts_with(&said) && error.ends_with("pack the archive anew"), "{error}");
        assert_nothing_imported(folder.path(), DatasetId::NMNIST);
    }
}

#[test]
fn names_that_are_not_portable_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["Train/0/take 12:30.bin", "Train\\0\\00010.bin", "c:x"] {
        for (archive, pack) in [("x.zip", zip as fn(&Path, &[(String, Vec<u8>)])), ("x.tar.gz", tar_gz)] {
            let archive = folder.path().join(archive);
            pack(&archive, &[(name.to_owned(), vec![1, 2, 3, 4, 5])]);
            let error = import(folder.path(), &archive).unwrap_err().to_string();
            let said = "has a name that is not portable: unpack the archive and import the folder";
            assert!(error.contains(said) && error.contains("x."), "{name}: {error}");
            assert_nothing_imported(folder.path(), DatasetId::NMNIST);
        }
    }
}

#[test]
fn entries_that_lead_out_come_twice_or_are_links_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let whole = || vec![("Train/0/00010.bin".to_owned(), vec![1, 2, 3, 4, 5])];
    let leads_out = "leads out of the folder";
    for name in
        ["../outside.bin", "/tmp/outside.bin", "Train/../../outside.bin", "Train\\..\\..\\outside.bin", "\\x"]
    {
        for (archive, pack) in [("x.zip", zip as fn(&Path, &[(String, Vec<u8>)])), ("x.tar.gz", tar_gz)] {
            let archive = folder.path().join(archive);
            pack(&archive, &[whole(), vec![(name.to_owned(), vec![1])]].concat());
            let error = import(folder.path(), &archive).unwrap_err().to_string();
            assert!(error.contains(leads_out) && error.contains("x."), "{name}: {error}");
            assert_nothing_imported(folder.path(), DatasetId::NMNIST);
        }
        assert!(!folder.path().join("outside.bin").exists());
    }

    let archive = folder.path().join("twice.tar.gz");
    tar_gz(&archive, &[whole(), whole()].concat());
    let error = import(folder.path(), &archive).unwrap_err().to_string();
    assert!(error.contains("\"Train/0/00010.bin\" comes twice"), "{error}");
    // No writer of these makes such a one: two names of one length become the same.
    let archive = folder.path().join("twice.zip");
    let other = ("Train/0/00020.bin".to_owned(), vec![5, 4, 3, 2, 1]);
    zip(&archive, &[whole(), vec![other]].concat());
    let written = fs::read(&archive).unwrap();
    let mut bytes = written.clone();
    for (at, _) in written.windows(17).enumerate().filter(|(_, name)| *name == b"Train/0/00020.bin") {
        bytes[at..at + 17].copy_from_slice(b"Train/0/00010.bin");
    }
    fs::write(&archive, bytes).unwrap();
    let error = import(folder.path(), &archive).unwrap_err().to_string();
    assert!(error.contains("twice.zip: two entries have the same name"), "{error}");
    assert_nothing_imported(folder.path(), DatasetId::NMNIST);

    // The first bit of the flags, behind either signature, says that an entry is encrypted.
    let mut bytes = written.clone();
    for (signature, flags) in [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)] {
        for (at, _) in written.windows(4).enumerate().filter(|(_, four)| four == signature) {
            bytes[at + flags] |= 1;
        }
    }
    let archive = folder.path().join("encrypted.zip");
    fs::write(&archive, bytes).unwrap();
    let error = import(folder.path(), &archive).unwrap_err().to_string();
    assert!(error.contains("encrypted.zip") && error.ends_with("import the folder"), "{error}");
    assert_nothing_imported(folder.path(), DatasetId::NMNIST);

    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Fifo] {
        let archive = folder.path().join("link.tar.gz");
        let mut tar = tar::Builder::new(GzEncoder::new(File::create(&archive).unwrap(), Compression::fast()));
        let mut header = tar_header("Train/0/00010.bin", kind, 0);
        header.set_link_name("/etc/passwd").unwrap();
        header.set_cksum();
        tar.append(&header, &[][..]).unwrap();
        tar.into_inner().unwrap().finish().unwrap();
        let error = import(folder.path(), &archive).unwrap_err().to_string();
        assert!(error.contains("is a link or special file; these are refused"), "{error}");
    }
    let archive = folder.path().join("link.zip");
    let mut zip = ZipWriter::new(File::create(&archive).unwrap());
    zip.add_symlink("Train/0/00010.bin", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    zip.finish().unwrap();
    let error = import(folder.path(), &archive).unwrap_err().to_string();
    assert!(error.contains("is a link or special file; these are refused"), "{error}");
    assert_nothing_imported(folder.path(), DatasetId::NMNIST);
}

/// The folder it was unpacked into is gone.
#[test]
fn what_is_wrong_in_an_archive_is_said_of_its_entry() {
    let folder = tempfile::tempdir().unwrap();
    let (tree, archive) = (folder.path().join("tree"), folder.path().join("x.zip"));
    nmnist(&tree, 3, 2);
    let whole: Vec<_> =
        entries(&tree).into_iter().map(|(name, bytes)| (format!("set/{name}"), bytes)).collect();
    for (name, said) in [
        ("set/Train/9/00009.bin", "entry \"set/Train/9/00009.bin\": byte 0: 3 bytes are left"),
        ("set/Train/9/x.bin", "entry \"set/Train/9/x.bin\": expected a name from 00001.bin"),
        ("set/Train/ten/x.bin", "entry \"set/Train/ten\": does not hold nmnist: expected folders Train"),
    ] {
        zip(&archive, &[whole.clone(), vec![(name.to_owned(), vec![1, 2, 3])]].concat());
        let error = import(folder.path(), &archive).unwrap_err().to_string();
        assert!(error.contains(&format!("x.zip: {said}")) && !error.contains(".unpacking"), "{error}");
        // A tree's remedy would be of no use.
        assert!(!error.contains("out of the tree"), "{error}");
        assert_nothing_imported(folder.path(), DatasetId::NMNIST);
    }
    zip(&archive, &[("notes.txt".to_owned(), vec![1])]);
    let error = import(folder.path(), &archive).unwrap_err().to_string();
    assert!(error.contains("x.zip: does not hold nmnist: expected folders Train"), "{error}");

    // An error that names another file beside its own.
    let labels = "class,startTime_usec,endTime_usec\n1,900000,900001\n";
    let recording = bpsta_events::encode(&events(1, 9, 128), Format::Aedat31).unwrap();
    let files = [
        ("trials_to_train.txt", b"a.aedat\n".to_vec()),
        ("trials_to_test.txt", Vec::new()),
        ("a.aedat", recording),
        ("a_labels.csv", labels.into()),
    ];
    let archive = folder.path().join("y.tar.gz");
    let mut files = files.map(|(name, bytes)| (name.to_owned(), bytes)).to_vec();
    tar_gz(&archive, &files);
    let said = |archive| store(folder.path()).import(DatasetId::DVSGESTURE, archive).unwrap_err().to_string();
    let error = said(&archive);
    assert!(
        error.contains("y.tar.gz: entry \"a_labels.csv\": line 2: no event of a.aedat lies from"),
        "{error}"
    );
    files.pop();
    tar_gz(&archive, &files);
    let error = said(&archive);
    assert!(error.contains("y.tar.gz: entry \"a_labels.csv\": cannot read a_labels.csv: "), "{error}");
}

#[test]
fn what_macos_adds_is_left_out_and_other_archives_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (tree, archive) = (folder.path().join("tree"), folder.path().join("x.zip"));
    nmnist(&tree, 3, 2);
    let added = vec![("__MACOSX/Train/1/._00001.bin".to_owned(), vec![1])];
    zip(&archive, &[entries(&tree), added.clone()].concat());
    let manifest = import(folder.path(), &archive).unwrap();
    assert_eq!(manifest.samples.train + manifest.samples.test, 5);
    // It has the folders of a tree, and its name comes before most.
    let inside: Vec<_> =
        entries(&tree).into_iter().map(|(name, bytes)| (format!("set/{name}"), bytes)).collect();
    zip(&archive, &[inside, added].concat());
    assert_eq!(import(folder.path(), &archive).unwrap(), manifest);

    for name in ["x.tar", "x.tar.xz"] {
        let path = folder.path().join(name);
        fs::write(&path, "x").unwrap();
        let error = import(folder.path(), &path).unwrap_err().to_string();
        let said =
            format!("{name} does not hold nmnist: expected a folder, or an archive whose name ends in .zip,");
        assert!(error.contains(&said), "{error}");
    }
}

#[test]
fn a_damaged_archive_is_named_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    nmnist(&tree, 20, 10);
    for (name, pack) in [("x.zip", zip as fn(&Path, &[(String, Vec<u8>)])), ("x.tar.gz", tar_gz)] {
        let archive = folder.path().join(name);
        pack(&archive, &entries(&tree));
        let whole = fs::read(&archive).unwrap();
        for cut in [0, 10, whole.len() / 2, whole.len() - 10, whole.len() - 1] {
            fs::write(&archive, &whole[..cut]).unwrap();
            let error = import(folder.path(), &archive).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("fetch"), "{cut}: {error}");
            assert_nothing_imported(folder.path(), DatasetId::NMNIST);
        }
        // A flipped bit: both kinds of archive hold checksums.
        let mut damaged = whole.clone();
        damaged[whole.len() / 3] ^= 0x10;
        fs::write(&archive, &damaged).unwrap();
        let error = import(folder.path(), &archive).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        assert_nothing_imported(folder.path(), DatasetId::NMNIST);
    }
}

/// Of the classes that are packed still, none would be there.
#[test]
fn a_tree_with_published_archives_beside_it_names_the_one_that_is_not_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    for class in ["airplane", "bird"] {
        write(&tree.join(format!("{class}/cifar10_{class}_0.aedat")), &events(1, 50, 128), Format::Aedat2);
        zip(&tree.join(format!("{class}.zip")), &[("x".to_owned(), vec![1])]);
    }
    let import = || store(folder.path()).import(DatasetId::DVSCIFAR10, &tree);
    fs::rename(tree.join("bird"), folder.path().join("bird")).unwrap();
    let error = import().unwrap_err();
    assert!(
        matches!(&error, DatasetError::BesideTree { path } if path.ends_with("tree/bird.zip")),
        "{error}"
    );
    assert_nothing_imported(folder.path(), DatasetId::DVSCIFAR10);
    // Unpacked beside its archive, it is there.
    fs::rename(folder.path().join("bird"), tree.join("bird")).unwrap();
    assert_eq!(import().unwrap().files.len(), 2);
}
