//! What a run trains on: samples held back for validation, and samples that are varied.
#![allow(clippy::unwrap_used)]

mod common;

use bpsta_datasets::DatasetId;
use bpsta_harness::{Experiment, Options, Plan, Profile};
use bpsta_spiking::Rule;

use crate::common::{options, plan, registry, root, run};

fn one_cell(folder: &std::path::Path) -> Options {
    Options { datasets: vec![DatasetId::NMNIST], rules: vec![Rule::Both], seeds: Some(1), ..options(folder) }
}

#[test]
fn an_epoch_is_chosen_by_samples_that_are_held_back() {
    let folder = tempfile::tempdir().unwrap();
    let plain = one_cell(folder.path());
    let held = Options { validation: Some(0.25), epochs: Some(4), ..plain.clone() };
    let (outcome, trained) = run(&held, &folder.path().join("runs"), 2);
    assert_eq!(trained, 1);
    let record = &outcome.records[0];
    let chosen = record.accuracy.chosen.unwrap();
    let best = record.epochs.iter().map(|epoch| epoch.validation_accuracy.unwrap()).fold(0.0, f64::max);
    let first = record.epochs.iter().find(|epoch| epoch.validation_accuracy == Some(best)).unwrap();
    assert_eq!((chosen.epoch, chosen.validation, chosen.test), (first.epoch, best, first.test_accuracy));
    assert!(outcome.table.contains("test % at the epoch chosen by validation"), "{}", outcome.table);
    assert!(
        outcome.table.contains("| ours: both, 25 % of the training samples held back, "),
        "{}",
        outcome.table
    );

    // A quarter of the samples is not trained on.
    let (plan, _) = plan(&plain);
    assert_ne!(plan.cells[0].run_id, record.run_id);
    let batch = record.config.batch_size;
    let all = plan.cells[0].manifest.samples.train;
    assert_eq!(record.samples[0], (all - all / 4) / batch * batch);
}

#[test]
fn a_run_without_validation_is_named_as_before_there_was_any() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, _) = plan(&one_cell(folder.path()));
    let json = serde_json::to_string(&plan.cells[0].config).unwrap();
    assert!(!json.contains("validation"), "{json}");
}

#[test]
fn a_warm_up_that_leaves_the_spikes_no_epoch_or_is_one_of_recordings_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    let store = bpsta_datasets::Store::open(&options.data, &registry());
    let load = |artefact| Experiment::load(&root().join("experiments"), artefact).unwrap();
    let refused = |experiment, options: &Options| {
        Plan::new(experiment, options, &registry(), &store).unwrap_err().to_string()
    };
    let cifar10 = Options { datasets: vec![DatasetId::CIFAR10], ..options.clone() };
    let mut all_of_them = load("table1");
    let cells = &mut all_of_them.profile.get_mut(&Profile::Quick).unwrap().cell;
    cells.iter_mut().for_each(|cell| cell.ann_warm_up_epochs = cell.epochs);
    let error = refused(all_of_them, &cifar10);
    let key = "table1.toml: key `profile.quick.cell`: cifar10: ann_warm_up_epochs is 6";
    assert!(error.contains(key) && error.contains("expected fewer than the 6 epochs"), "{error}");

    let one_epoch = Options { epochs: Some(1), ..cifar10 };
    let plan = Plan::new(load("table1"), &one_epoch, &registry(), &store).unwrap();
    assert!(
        plan.cells.iter().all(|cell| cell.config.ann_warm_up_epochs == 0),
        "the spikes have the last one"
    );

    let mut events = load("table2");
    let cells = &mut events.profile.get_mut(&Profile::Quick).unwrap().cell;
    cells.iter_mut().for_each(|cell| cell.ann_warm_up_epochs = 1);
    let error = refused(events, &options);
    let key = "table2.toml: key `profile.quick.cell`: nmnist: ann_warm_up_epochs is 1";
    assert!(error.contains(key) && error.contains("remove the key"), "{error}");
}

#[test]
fn augmented_runs_are_the_same_bits_on_any_number_of_threads_and_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(root().join("experiments/table2.toml")).unwrap();
    let quick = text.find("[[profile.quick.cell]]\ndataset = \"dvscifar10\"").unwrap();
    let (before, cell) = text.split_at(quick);
    let text = format!("{before}{}", cell.replacen("seeds = ", "augment = true\nseeds = ", 1));
    std::fs::write(folder.path().join("table2.toml"), text).unwrap();
    let options = Options { datasets: vec![DatasetId::DVSCIFAR10], ..one_cell(folder.path()) };
    let store = bpsta_datasets::Store::open(&options.data, &registry());
    let plan = |options: &Options| {
        let experiment = Experiment::load(folder.path(), "table2").unwrap();
        Plan::new(experiment, options, &registry(), &store).unwrap()
    };
    let plan = plan(&options);
    assert_eq!(plan.profile, Profile::Quick);
    let what = "crop with padding 16, horizontal flip, rotation by up to 15 degrees";
    assert_eq!(plan.cells[0].config.augmentation, what);
    let hash = |threads: usize| {
        let runs = folder.path().join(format!("runs{threads}"));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let runs = bpsta_harness::RunStore::new(&runs);
        let outcome =
            pool.install(|| bpsta_harness::reproduce(&plan, &store, &runs, &|| false, &mut |_| {})).unwrap();
        assert!(outcome.table.contains(", augmented"), "{}", outcome.table);
        outcome.records[0].parameters_hash.clone()
    };
    let augmented = hash(1);
    assert_eq!(augmented, hash(2));
    let (plain, _) = run(&options, &folder.path().join("plain"), 2);
    assert_ne!(plain.records[0].parameters_hash, augmented);
}
