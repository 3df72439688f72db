//! Figure 2 from a run to the committed results: maps against the records' own rates, the table, the drawing, and damage that is named.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use bpsta_datasets::DatasetId;
use bpsta_harness::{
    Checked, Options, Outcome, Plan, Record, RunFiles, RunStore, accept, check_tables, report, reproduce,
};
use bpsta_spiking::Rule;

use crate::common::{options, plan_of, root};

/// Two rules and two seeds of the small network, trained in seconds.
fn trained(folder: &Path) -> (Plan, RunStore, Outcome) {
    let options = Options {
        rules: vec![Rule::Baseline, Rule::Both],
        time_steps: vec![2],
        epochs: Some(2),
        seeds: Some(2),
        ..options(folder)
    };
    let (plan, data) = plan_of("fig2", &options);
    assert!(plan.cells.iter().all(|cell| cell.config.dataset == DatasetId::MNIST));
    let runs = RunStore::new(&folder.join("runs"));
    let outcome = reproduce(&plan, &data, &runs, &|| false, &mut |_| ()).unwrap();
    assert_eq!(outcome.records.len(), 4);
    (plan, runs, outcome)
}

fn check(results: &Path) -> Checked {
    check_tables(results, &root().join("experiments"), Some("fig2"), false).unwrap()
}

#[test]
fn maps_hold_the_spikes_of_their_layers_and_are_drawn_with_their_limits() {
    let folder = tempfile::tempdir().unwrap();
    let (_, runs, outcome) = trained(folder.path());
    for record in &outcome.records {
        let maps = RunFiles::Store(&runs).maps(record).unwrap().unwrap();
        assert_eq!(record.maps_hash.as_deref(), Some(maps.hash().unwrap().as_str()));
        let sizes: Vec<[usize; 2]> = maps.layers.iter().map(|layer| layer.size).collect();
        assert_eq!(sizes, [[28, 28], [14, 14], [14, 14]]);
        assert!((maps.label as usize) < record.config.classes);
        for (layer, spikes) in maps.layers.iter().zip(&record.layer_spikes) {
            assert_eq!(layer.layer, spikes.layer);
            let mean =
                layer.mean.iter().map(|value| f64::from(*value)).sum::<f64>() / layer.mean.len() as f64;
            assert!((mean - spikes.firing_rate).abs() < 1e-6, "{mean} {}", spikes.firing_rate);
            assert!(layer.mean.iter().chain(&layer.sample).all(|value| (0.0..=1.0).contains(value)));
            assert_ne!(layer.mean, layer.sample);
        }
    }
    insta::assert_snapshot!("fig2_table", outcome.table);
    let svg = outcome.written.iter().find(|path| path.ends_with("fig2.quick.svg")).unwrap();
    let svg = std::fs::read_to_string(svg).unwrap();
    for part in [
        "fig2: ",
        "synthetic stand-in",
        "small width 0.0625, T = 2; profile quick",
        "the first test sample, of class",
        "; seed 1",
        "mean over 100 test samples; 2 seeds",
        "C1, 28x28",
        "C3, 14x14",
        "baseline",
        "both",
        "spikes per cell and time step",
    ] {
        assert!(svg.contains(part), "the drawing lacks {part:?}");
    }
}

#[test]
fn accepted_maps_are_checked_and_a_damaged_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, runs, outcome) = trained(folder.path());
    let results = folder.path().join("results");
    let bpsta_harness::Accepted { folder: accepted, runs: count, .. } =
        accept(&plan, &runs, &results).unwrap();
    assert_eq!(count, 4);
    let read = |name: &str| std::fs::read_to_string(accepted.join(name)).unwrap();
    assert_eq!(read("table.md"), outcome.table);
    assert_eq!(check(&results).drift, []);

    let path = |record: &Record| accepted.join(format!("records/{}.maps.safetensors", record.run_id));
    let [first, second] = [&outcome.records[0], &outcome.records[1]];
    let whole = std::fs::read(path(first)).unwrap();
    assert_eq!(
        whole,
        std::fs::read(runs.record_path(&first.run_id).with_file_name("maps.safetensors")).unwrap()
    );
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let cases = [
        (Some(flipped), "its content hashes to"),
        (Some(whole[..40].to_vec()), ""),
        (Some(std::fs::read(path(second)).unwrap()), "`maps_hash` of the record is"),
        (None, "it is not there"),
    ];
    for (bytes, expected) in cases {
        match bytes {
            Some(bytes) => std::fs::write(path(first), bytes).unwrap(),
            None => std::fs::remove_file(path(first)).unwrap(),
        }
        let drift = check(&results).drift;
        assert!(drift.len() == 1 && drift[0].path == path(first), "{drift:?}");
        assert!(drift[0].why.contains(expected), "{drift:?}");
        let error = report(&results, &root().join("experiments")).unwrap_err().to_string();
        assert!(error.contains(&first.run_id) && error.contains(expected), "{error}");
    }
    std::fs::write(path(first), whole).unwrap();
    assert_eq!(check(&results).drift, []);

    let page = report(&results, &root().join("experiments")).unwrap().html;
    let figure = page.split("<figure class=\"wide\">").nth(1).unwrap().split("</figure>").next().unwrap();
    for part in ["C2, 14x14", "synthetic stand-in", "2 of 300 epochs"] {
        assert!(figure.contains(part), "the page's figure lacks {part:?}");
    }

    // A run of an older schema has no maps, and is named.
    let older = Record { schema: 2, maps_hash: None, ..outcome.records[3].clone() };
    let record = accepted.join(format!("records/{}.json", older.run_id));
    std::fs::write(record, serde_json::to_vec_pretty(&older).unwrap()).unwrap();
    let checked = check_tables(&results, &root().join("experiments"), Some("fig2"), true).unwrap();
    assert!(checked.drift.iter().all(|drift| drift.written), "{checked:?}");
    assert!(read("table.md").contains("C1, 28x28, of 1 of 2 seeds"), "{}", read("table.md"));
    let other = outcome.records.iter().find(|record| record.rule == older.rule && record.seed != older.seed);
    let older = Record { schema: 2, maps_hash: None, ..other.unwrap().clone() };
    let record = accepted.join(format!("records/{}.json", older.run_id));
    std::fs::write(record, serde_json::to_vec_pretty(&older).unwrap()).unwrap();
    check_tables(&results, &root().join("experiments"), Some("fig2"), true).unwrap();
    assert!(read("table.md").contains("no maps, of schema 2"), "{}", read("table.md"));
}
