//! A finished run's weights: evaluated once more they give its record's bits, and in another form they are the same.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use bpsta_datasets::{DatasetId, Store};
use bpsta_harness::{
    EngineKind, Evaluated, HarnessError, Options, RunStore, Weights, evaluate_weights, export_torch,
    nir_refusal,
};
use bpsta_spiking::Rule;

use crate::common::{options, registry, run};

/// One cell, trained in a moment.
fn cell(folder: &Path, dataset: DatasetId, runs: &str) -> (RunStore, String) {
    let options = Options {
        datasets: vec![dataset],
        rules: vec![Rule::Both],
        time_steps: vec![3],
        epochs: Some(1),
        ..options(folder)
    };
    let runs = folder.join(runs);
    let (outcome, _) = run(&options, &runs, 2);
    (RunStore::new(&runs), outcome.records[0].run_id.clone())
}

fn evaluate(weights: &Weights, folder: &Path, threads: usize, engine: EngineKind) -> Evaluated {
    let data = folder.join("data");
    let store = Store::open(&data, &registry());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| evaluate_weights(weights, &store, &data, None, Some(engine))).unwrap()
}

#[test]
fn weights_give_the_record_again_on_any_number_of_threads_and_from_an_export() {
    let folder = tempfile::tempdir().unwrap();
    let (runs, run_id) = cell(folder.path(), DatasetId::NMNIST, "runs");
    let weights = Weights::of_run(&runs, &run_id[..8]).unwrap();
    let record = &weights.record;
    for threads in [1, 2] {
        let found = evaluate(&weights, folder.path(), threads, EngineKind::Cpu);
        assert_eq!(found.mismatches, []);
        assert_eq!((found.accuracy, found.layers), (record.accuracy.last, record.layer_spikes.clone()));
        let batches: Vec<(usize, usize)> =
            found.latency.iter().map(|of| (of.batch_size, of.batches)).collect();
        let batch = record.config.batch_size;
        assert_eq!(batches, [(1, found.samples), (batch, found.samples.div_ceil(batch))]);
    }
    // The other engine sums in another order: nearly the same, and what differs is named.
    let other = evaluate(&weights, folder.path(), 1, EngineKind::Reference);
    assert!((other.spikes_per_sample / record.spikes_per_sample - 1.0).abs() < 0.01);
    assert!(other.mismatches.iter().all(|of| of.key != "parameters_hash"));

    let file = folder.path().join("export.safetensors");
    export_torch(&weights, &file).unwrap();
    let exported = Weights::of_file(&file, &runs, Some(&run_id)).unwrap();
    assert_eq!(evaluate(&exported, folder.path(), 2, EngineKind::Cpu).mismatches, []);
    let error = Weights::of_file(&file, &runs, None).unwrap_err().to_string();
    assert!(error.contains("--run RUN_ID"), "{error}");
    let beside = Weights::of_file(&weights.path, &RunStore::new(Path::new("nowhere")), None).unwrap();
    assert_eq!(&beside.record, record);

    let refusal = nir_refusal(&weights).to_string();
    assert!(refusal.contains("rectifier") && refusal.contains("2 (ReLU)"), "{refusal}");
}

#[test]
fn other_weights_are_seen_and_those_of_another_network_refused_by_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let (runs, run_id) = cell(folder.path(), DatasetId::NMNIST, "runs");
    let (others, other) = cell(folder.path(), DatasetId::DVSGESTURE, "others");
    let file = others.root().join(&other).join("final.safetensors");
    let error = Weights::of_file(&file, &runs, Some(&run_id)).unwrap_err();
    assert!(matches!(error, HarnessError::Weights { .. }), "{error}");
    let said = error.to_string();
    for part in ["final.safetensors", &run_id, "parameter `0.bias`: found [8]", "wants [16]"] {
        assert!(said.contains(part), "`{said}` lacks `{part}`");
    }

    // Damage, a run that is not there, and data that are not.
    let file = runs.root().join(&run_id).join("final.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let damaged = folder.path().join("damaged.safetensors");
    std::fs::write(&damaged, bytes).unwrap();
    let error = Weights::of_file(&damaged, &runs, Some(&run_id)).unwrap_err().to_string();
    assert!(error.contains("hashes to"), "{error}");
    for run in ["xyz", "../others", ""] {
        assert!(matches!(Weights::of_run(&runs, run), Err(HarnessError::NoRun { .. })), "{run}");
    }
    for digits in ["0123456789abcde0", "0123456789abcde1"] {
        std::fs::create_dir(runs.root().join(digits)).unwrap();
    }
    let error = Weights::of_run(&runs, "0123").unwrap_err();
    assert!(matches!(error, HarnessError::SeveralRuns { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("0123456789abcde0, 0123456789abcde1") && said.contains("more"), "{said}");
    let nowhere = RunStore::new(Path::new("nowhere"));
    assert!(matches!(Weights::of_run(&nowhere, &run_id), Err(HarnessError::NoRun { .. })));
    let weights = Weights::of_run(&runs, &run_id).unwrap();
    let empty = folder.path().join("empty");
    let store = Store::open(&empty, &registry());
    let error = evaluate_weights(&weights, &store, &empty, None, None).unwrap_err();
    assert!(matches!(error, HarnessError::OtherData { .. }), "{error}");

    // The same network's weights with another seed: no refusal, and no equality.
    let options = Options {
        datasets: vec![DatasetId::NMNIST],
        rules: vec![Rule::Baseline],
        time_steps: vec![3],
        epochs: Some(1),
        ..options(folder.path())
    };
    let (outcome, _) = run(&options, runs.root(), 2);
    let file = runs.root().join(&outcome.records[0].run_id).join("final.safetensors");
    let weights = Weights::of_file(&file, &runs, Some(&run_id)).unwrap();
    let found = evaluate(&weights, folder.path(), 1, EngineKind::Cpu);
    assert!(found.mismatches.iter().any(|of| of.key == "parameters_hash"), "{:?}", found.mismatches);
}
