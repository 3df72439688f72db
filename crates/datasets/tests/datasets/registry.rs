use bpsta_datasets::{Counts, DatasetId, Kind, Registry};

use crate::tree::{registry, registry_path};

#[test]
fn the_repositorys_registry_knows_all_five() {
    let registry = registry();
    let officials = [(60000, 10000), (50000, 10000), (60000, 10000), (1176, 288), (9000, 1000)];
    for (id, (train, test)) in DatasetId::PAPER.into_iter().zip(officials) {
        let info = registry.get(id).unwrap();
        assert_eq!(info.samples, Some(Counts { train, test }), "{id}");
        assert_eq!(info.kind == Kind::Events, info.channels == 2, "{id}");
        assert!(!info.mirrors.is_empty() || info.by_hand.is_some(), "{id} has no source");
        assert!(!info.citation.is_empty() && !info.licence.is_empty());
    }
    assert_eq!(registry.get(DatasetId::DVSGESTURE).unwrap().classes.len(), 11);
}

/// The registry with some lines changed, or the error.
fn changed(from: &str, to: &str) -> Result<Registry, String> {
    let text = std::fs::read_to_string(registry_path()).unwrap();
    assert!(text.contains(from));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("datasets.toml");
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
    let line = text[..text.find(from).unwrap()].matches('\n').count() + 1;
    Registry::load(&path).map_err(|error| error.to_string().replace(&format!("line {line},"), "THE LINE,"))
}

/// Changes some lines of the registry and returns the error.
fn refusal(from: &str, to: &str) -> String {
    let error = changed(from, to).unwrap_err();
    assert!(error.contains("datasets.toml"), "no file in {error}");
    error
}

#[test]
fn a_misspelt_key_is_refused_with_its_line() {
    let error = refusal("licence = \"CC BY 4.0\"", "license = \"CC BY 4.0\"");
    assert!(
        error.contains("dvsgesture") && error.contains("THE LINE") && error.contains("license"),
        "{error}"
    );
    assert!(error.contains("did you mean `licence`?"), "{error}");
    let error = refusal("split = \"official-folders\"", "split = \"official-folder\"");
    assert!(error.contains("nmnist.split") && error.contains("did you mean `official-folders`?"), "{error}");
}

#[test]
fn a_wrong_type_is_refused_with_key_and_line() {
    let error = refusal("width = 28", "width = \"28\"");
    assert!(error.contains("mnist.width") && error.contains("THE LINE"), "{error}");
}

#[test]
fn a_checksum_that_is_none_is_refused() {
    let error = refusal("f68b3c2dcbeaaa9fbdd348bbdeb94873", "f68b3c2dcbeaaa9fbdd348bbdeb9487");
    assert!(error.contains("mnist.files[0].md5") && error.contains("32"), "{error}");
}

#[test]
fn event_data_need_a_framing_and_images_have_none() {
    let error = refusal("official-folders\"\nframing = \"number:16\"\n", "official-folders\"\n");
    assert!(error.contains("nmnist.framing"), "{error}");
    for framing in ["number:1025", "time:4000", "duration:5us:4000"] {
        let error = refusal("number:16\"\nmirrors", &format!("{framing}\"\nmirrors"));
        let said = format!("nmnist.framing: a sample has at most 1024 frames, found {framing}");
        assert!(error.contains(&said), "{error}");
    }
    let error = refusal("width = 28", "framing = \"number:16\"\nwidth = 28");
    assert!(error.contains("mnist.framing"), "{error}");
}

#[test]
fn what_does_not_go_with_the_layout_is_refused() {
    let cases = [
        ("layout = \"nmnist\"", "layout = \"mnist\"", "nmnist.kind: expected static"),
        ("split = \"official-folders\"", "split = \"official-files\"", "nmnist.split"),
        ("layout = \"nmnist\"", "layout = \"class-folders\"", "nmnist.format"),
        ("layout = \"nmnist\"", "layout = \"nmnist\"\nformat = \"aedat2\"", "nmnist.format"),
        ("rotation_degrees = 15.0", "rotation_degrees = -1.0", "dvscifar10.augmentation"),
        ("samples = { train = 9000, test = 1000 }", "", "dvscifar10.samples"),
    ];
    for (from, to, at) in cases {
        let error = refusal(from, to);
        assert!(error.contains(at), "{to}: {error}");
    }
}

#[test]
fn sizes_that_the_layout_does_not_hold_are_refused() {
    let classes = "channels = 3\nclasses = [\"airplane\", ";
    for (from, to, said) in [
        (
            classes,
            "channels = 3\nclasses = [",
            "cifar10.classes: expected 10, as the layout holds them, found 9",
        ),
        (classes, "channels = 1\nclasses = [\"airplane\", ", "cifar10.channels: expected 3,"),
        ("width = 32\nheight = 32", "width = 32\nheight = 28", "cifar10.height: expected 32,"),
        ("width = 32\nheight = 32", "width = 28\nheight = 32", "cifar10.width: expected 32,"),
        ("channels = 1", "channels = 3", "mnist.channels: expected 1,"),
        ("34\nchannels = 2", "34\nchannels = 1", "nmnist.channels: expected 2,"),
        ("width = 34\n", "width = 0\n", "nmnist.width: expected at least 1 pixel"),
        ("height = 28", "height = 0", "mnist.height: expected at least 1 pixel"),
    ] {
        let error = refusal(from, to);
        assert!(error.contains(said), "{to}: {error}");
    }
}

#[test]
fn a_class_is_a_folders_name_where_it_has_a_folder() {
    let digits = "[\"0\", \"1\", \"2\", \"3\"";
    let fashion = "[\"T-shirt/top\", \"Trouser\", \"Pullover\", \"Dress\"";
    let (of_mnist, of_nmnist) = ("channels = 1\nclasses = ", "channels = 2\nclasses = ");
    changed(&format!("{of_mnist}{digits}"), &format!("{of_mnist}{fashion}")).unwrap();
    let error = refusal(&format!("{of_nmnist}{digits}"), &format!("{of_nmnist}{fashion}"));
    assert!(error.contains("nmnist.classes: a class is the name of a folder"), "{error}");
}

#[test]
fn a_class_is_named_once() {
    let error = refusal("\"airplane\", \"automobile\"", "\"airplane\", \"airplane\"");
    assert!(
        error.contains("cifar10.classes: expected every class once, found \"airplane\" again"),
        "{error}"
    );
    // Folders, which some file systems take for one.
    let classes =
        "classes = [\"0\", \"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\"]\nsamples = ";
    let of_nmnist = format!("channels = 2\n{classes}");
    for (classes, found) in [("\"wave\", \"wave\"", "wave"), ("\"wave\", \"Wave\"", "Wave")] {
        let error = refusal(&of_nmnist, &format!("channels = 2\nclasses = [{classes}]\nsamples = "));
        let said =
            format!("nmnist.classes: expected every class once, whatever its capitals, found {found:?}");
        assert!(error.contains(&said), "{error}");
    }
    let capitals = "channels = 1\nclasses = [\"a\", \"A\"]\nsamples = ";
    changed(&format!("channels = 1\n{classes}"), capitals).unwrap();
}

#[test]
fn a_format_of_one_sensor_has_its_size_at_most() {
    let own = "layout = \"class-folders\"\nformat";
    for (format, width, refused) in [
        ("aedat2", 346, true),
        ("aedat3.1", 129, true),
        ("aedat2", 128, false),
        ("aedat4", 346, false),
        ("nmnist-bin", 346, false),
    ] {
        let table = format!("{own} = \"{format}\"\nwidth = {width}\n");
        match changed("layout = \"nmnist\"\nwidth = 34\n", &table) {
            Ok(_) => assert!(!refused, "{format} {width}"),
            Err(error) => {
                assert!(refused, "{error}");
                let said =
                    format!("nmnist.width: expected at most 128, since {format} is only read for the DVS128");
                assert!(error.contains(&said), "{error}");
            }
        }
    }
    let error = refusal("height = 128", "height = 129");
    assert!(error.contains("dvsgesture.height: expected at most 128"), "{error}");
}

#[test]
fn broken_toml_is_refused_with_its_line() {
    let error = refusal("width = 28", "width = = 28");
    assert!(error.contains("THE LINE"), "{error}");
}

#[test]
fn ids_are_read_as_they_are_written() {
    for id in DatasetId::PAPER {
        assert_eq!(id.to_string().parse::<DatasetId>().unwrap(), id);
    }
    let error = registry().get("mnsit".parse().unwrap()).unwrap_err().to_string();
    for id in DatasetId::PAPER {
        assert!(error.contains(id.as_str()), "{error}");
    }
    assert!(error.contains("did you mean mnist?"), "{error}");
    for name in ["", "Mnist", "9lives", "../mnist", "a b", "downloads", "synthetic", &"a".repeat(25)] {
        let error = name.parse::<DatasetId>().unwrap_err().to_string();
        assert!(error.contains("is no name of a data set"), "{error}");
    }
}
