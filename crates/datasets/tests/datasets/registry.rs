use bpsta_datasets::{Counts, DatasetId, Kind, Registry};

use crate::tree::{registry, registry_path};

#[test]
fn the_repositorys_registry_knows_all_five() {
    let registry = registry();
    let officials = [(60000, 10000), (50000, 10000), (60000, 10000), (1176, 288), (9000, 1000)];
    for (id, (train, test)) in DatasetId::ALL.into_iter().zip(officials) {
        let info = registry.get(id);
        assert_eq!(info.samples, Counts { train, test }, "{id}");
        assert_eq!(info.kind == Kind::Events, info.channels == 2, "{id}");
        assert!(!info.mirrors.is_empty() || info.by_hand.is_some(), "{id} has no source");
        assert!(!info.citation.is_empty() && !info.licence.is_empty());
    }
    assert_eq!(registry.get(DatasetId::DvsGesture).classes.len(), 11);
}

/// Changes one line of the registry and returns the error.
fn refusal(from: &str, to: &str) -> String {
    let text = std::fs::read_to_string(registry_path()).unwrap();
    assert!(text.contains(from));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("datasets.toml");
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
    let error = Registry::load(&path).unwrap_err().to_string();
    assert!(error.contains("datasets.toml"), "no file in {error}");
    let line = text[..text.find(from).unwrap()].matches('\n').count() + 1;
    error.replace(&format!("line {line},"), "THE LINE,")
}

#[test]
fn a_misspelt_key_is_refused_with_its_line() {
    let error = refusal("licence = \"CC BY 4.0\"", "license = \"CC BY 4.0\"");
    assert!(
        error.contains("dvsgesture") && error.contains("THE LINE") && error.contains("license"),
        "{error}"
    );
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
    let error = refusal("framing = \"number:16\"\n", "");
    assert!(error.contains("nmnist.framing"), "{error}");
    let error = refusal("width = 28", "framing = \"number:16\"\nwidth = 28");
    assert!(error.contains("mnist.framing"), "{error}");
}

#[test]
fn broken_toml_is_refused_with_its_line() {
    let error = refusal("width = 28", "width = = 28");
    assert!(error.contains("THE LINE"), "{error}");
}

#[test]
fn ids_are_read_as_they_are_written() {
    for id in DatasetId::ALL {
        assert_eq!(id.to_string().parse::<DatasetId>().unwrap(), id);
    }
    let error = "mnsit".parse::<DatasetId>().unwrap_err().to_string();
    for id in DatasetId::ALL {
        assert!(error.contains(id.as_str()), "{error}");
    }
}
