//! The main job as a library call: the quick profile's table, resuming, thread counts, and what is refused.
#![allow(clippy::unwrap_used)]

mod common;

use bpsta_datasets::{DatasetId, Store};
use bpsta_harness::{Experiment, HarnessError, Options, Plan, Profile, RunStore, accept, reproduce};
use bpsta_spiking::Rule;

use crate::common::{options, plan, registry, root, run};

/// The columns behind this one are times.
const TIMES: usize = 8;

/// The table without what differs between machines: times become `#`, and columns lose their padding. All else is the same bits on
/// any machine, for the CPU engine's are.
fn redacted(table: &str) -> String {
    let line = |line: &str| -> String {
        if !line.starts_with('|') {
            return line.to_owned();
        }
        let ours = line.starts_with("| ours");
        let cells = line.trim_matches('|').split('|').enumerate().map(|(column, cell)| {
            let cell = cell.trim();
            match cell {
                "" => "",
                _ if cell.starts_with("--") => "-",
                _ if ours && column > TIMES => {
                    assert!(cell.parse::<f64>().is_ok_and(f64::is_finite), "{cell} is no measurement");
                    "#"
                }
                _ => cell,
            }
        });
        cells.collect::<Vec<_>>().join(" | ")
    };
    table.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_quick_profile_renders_table2_and_is_not_run_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (options, runs) = (options(folder.path()), folder.path().join("runs"));
    let (outcome, trained) = run(&options, &runs, 2);
    assert_eq!(trained, 12);
    insta::assert_snapshot!("table2_quick", redacted(&outcome.table));
    assert_eq!(std::fs::read_to_string(&outcome.written[0]).unwrap(), outcome.table);
    let csv = std::fs::read_to_string(&outcome.written[1]).unwrap();
    assert_eq!(csv.lines().count(), 13, "a header and a line per run");

    for record in &outcome.records {
        assert!(record.completed && record.synthetic && record.subset.is_none());
        assert!((0.0..=100.0).contains(&record.accuracy.last));
        assert!(record.accuracy.best_test >= record.accuracy.last);
        assert!(record.firing_rate > 0.0 && record.firing_rate < 1.0);
        let cells: usize = record.layer_spikes.iter().map(|layer| layer.cells).sum();
        let spikes: f64 = record.layer_spikes.iter().map(|layer| layer.spikes_per_sample).sum();
        assert!((spikes - record.spikes_per_sample).abs() < 1e-6 * spikes);
        let rate = spikes / (cells * record.time_steps) as f64;
        assert!((rate - record.firing_rate).abs() < 1e-9, "{rate} {}", record.firing_rate);
    }

    let before = std::fs::read(RunStore::new(&runs).record_path(&outcome.records[0].run_id)).unwrap();
    let (again, trained) = run(&options, &runs, 2);
    assert_eq!(trained, 0, "what is finished is not run again");
    assert_eq!(again.table, outcome.table);
    let after = std::fs::read(RunStore::new(&runs).record_path(&outcome.records[0].run_id)).unwrap();
    assert_eq!(before, after);

    let (plan, _) = plan(&options);
    let results = folder.path().join("results");
    let bpsta_harness::Accepted { folder: accepted, runs: count, .. } =
        accept(&plan, &RunStore::new(&runs), &results).unwrap();
    assert_eq!(count, 12);
    assert_eq!(std::fs::read_dir(accepted.join("records")).unwrap().count(), 12);
    assert_eq!(std::fs::read_to_string(accepted.join("table.md")).unwrap(), outcome.table);
}

#[test]
fn a_run_is_the_same_bits_on_one_and_two_threads_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        datasets: vec![DatasetId::NMNIST],
        rules: vec![Rule::Both],
        time_steps: vec![3],
        epochs: Some(2),
        ..options(folder.path())
    };
    let record = |name: &str, threads| run(&options, &folder.path().join(name), threads).0.records.remove(0);
    let (one, two, again) = (record("one", 1), record("two", 2), record("again", 2));
    assert_eq!(one.run_id, two.run_id);
    assert_eq!(one.parameters_hash, two.parameters_hash);
    assert_eq!(two.parameters_hash, again.parameters_hash);
    assert_eq!((one.accuracy, one.firing_rate), (two.accuracy, two.firing_rate));
    assert!(one.maps_hash.is_some() && one.maps_hash == two.maps_hash && two.maps_hash == again.maps_hash);
    let maps = |name: &str| {
        std::fs::read(folder.path().join(name).join(&one.run_id).join("maps.safetensors")).unwrap()
    };
    assert_eq!(maps("one"), maps("two"));
    assert_eq!((one.threads, two.threads), (1, 2));
}

#[test]
fn seeds_rules_and_time_steps_make_other_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, _) = plan(&Options {
        datasets: vec![DatasetId::NMNIST],
        time_steps: vec![2, 4],
        seeds: Some(3),
        ..options(folder.path())
    });
    let mut ids: Vec<&str> = plan.cells.iter().map(|cell| cell.run_id.as_str()).collect();
    assert_eq!(ids.len(), 2 * 4 * 3);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 2 * 4 * 3);
}

#[test]
fn real_data_that_are_not_there_are_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        Options { profile: Profile::Cpu, datasets: vec![DatasetId::MNIST], ..options(folder.path()) };
    let registry = registry();
    let store = Store::open(&options.data, &registry);
    let experiment = Experiment::load(&root().join("experiments"), "table1").unwrap();
    let error = Plan::new(experiment, &options, &registry, &store).unwrap_err();
    assert!(matches!(error, HarnessError::NoData { .. }));
    assert!(error.to_string().contains("cargo xtask data import mnist --from DIR"), "{error}");
    let fetched = "`cargo xtask data fetch mnist` and import it with `cargo xtask data import mnist`";
    assert!(error.to_string().contains(fetched), "{error}");
}

#[test]
fn an_experiment_with_a_typo_is_refused_with_key_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(root().join("experiments/table2.toml")).unwrap();
    for (from, to, expected) in [
        ("batch_size = 20", "batch_sise = 20", "batch_sise"),
        ("network = \"middle\"", "network = \"midle\"", "midle"),
        ("epochs = 20", "epochs = 0", "epochs, batch_size and time_steps start at 1"),
        ("epochs = 15", "epochs = 1000000", "epochs end at 100000"),
        ("seeds = 1", "seeds = 0", "seeds is 0, expected 1 to 1000"),
        ("stride = 2", "stride = 0", "key `dataset`: dvsgesture: stride is 0, expected 1 or more"),
        ("width = 0.125", "width = 0.0", "key `profile.quick.cell`: nmnist: width is 0, expected"),
        ("learning_rate = 5e-3", "learning_rate = -5e-3", "learning_rate is -0.005"),
        ("weight_decay = 1e-4", "weight_decay = nan", "weight_decay is NaN"),
        ("accuracy = 98.88", "accuracy = \"high\"", "accuracy"),
        (
            "artefact = \"table2\"",
            "artefact = \"../table2\"",
            "key `artefact`: \"../table2\", expected letters",
        ),
    ] {
        assert!(text.contains(from), "{from}");
        std::fs::write(folder.path().join("table2.toml"), text.replacen(from, to, 1)).unwrap();
        let error = Experiment::load(folder.path(), "table2").unwrap_err().to_string();
        assert!(error.contains("table2.toml") && error.contains(expected), "{error}");
    }
}

#[test]
fn a_record_that_is_none_stops_the_call_and_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        Options { datasets: vec![DatasetId::NMNIST], rules: vec![Rule::Baseline], ..options(folder.path()) };
    let (plan, store) = plan(&options);
    let runs = RunStore::new(&folder.path().join("runs"));
    let path = runs.record_path(&plan.cells[0].run_id);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "{\"schema\": 1").unwrap();
    let error = reproduce(&plan, &store, &runs, &|| false, &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("record.json: not a record of schema 3"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"schema\": 1");
}
