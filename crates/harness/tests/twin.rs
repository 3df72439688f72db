//! The ANN twin of a group of cells: one run of its own, like any other, which nothing takes for a rule.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use bpsta_datasets::{DatasetId, Store};
use bpsta_harness::{
    EngineKind, Experiment, Limits, Options, Outcome, Plan, Profile, Record, RunFiles, RunStore, View,
    Weights, accept, compare, evaluate_weights, render, report, reproduce,
};
use bpsta_spiking::Rule;

use crate::common::{options, plan_of, registry, root};

/// Two rules, two T and two seeds of N-MNIST, trained in seconds, with their twins.
fn few(folder: &Path) -> Options {
    Options {
        datasets: vec![DatasetId::NMNIST],
        time_steps: vec![2, 3],
        epochs: Some(2),
        seeds: Some(2),
        ..options(folder)
    }
}

/// Table 5 with two rules.
fn table5() -> Experiment {
    let experiment = Experiment::load(&root().join("experiments"), "table5").unwrap();
    Experiment { rules: vec![Rule::Baseline, Rule::Both], ..experiment }
}

fn plan(options: &Options) -> (Plan, Store) {
    let store = Store::open(&options.data, &registry());
    (Plan::new(table5(), options, &registry(), &store).unwrap(), store)
}

fn run(options: &Options, runs: &Path, threads: usize) -> Outcome {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let (plan, store) = plan(options);
        reproduce(&plan, &store, &RunStore::new(runs), &|| false, &mut |_| {}).unwrap()
    })
}

fn twins(records: &[Record]) -> Vec<&Record> {
    records.iter().filter(|record| record.config.ann).collect()
}

#[test]
fn a_group_of_cells_has_one_twin_a_seed_and_options_for_a_rule_leave_it_out() {
    let folder = tempfile::tempdir().unwrap();
    let all = few(folder.path());
    let (of_all, _) = plan(&all);
    let (twins, cells): (Vec<_>, Vec<_>) = of_all.cells.iter().partition(|cell| cell.config.ann);
    assert_eq!((twins.len(), cells.len()), (2, 2 * 2 * 2));
    let ids: BTreeSet<&str> = of_all.cells.iter().map(|cell| cell.run_id.as_str()).collect();
    assert_eq!(ids.len(), of_all.cells.len());
    for twin in &twins {
        let config = &twin.config;
        assert_eq!((config.rule(), config.rule_id(), config.time_steps), (None, "ann", 1));
        assert_eq!(config.framing.as_deref(), Some("number:1"), "all events of a sample in one frame");
        assert_eq!(config.engine, EngineKind::Reference);
        assert_eq!(config.twin(), *config);
        assert!(cells.iter().any(|cell| cell.config.seed == config.seed && cell.config.twin() == *config));
    }
    // The engine that is asked for makes no other twin: one alone runs it.
    let (on_reference, _) = plan(&Options { engine: Some(EngineKind::Reference), ..all.clone() });
    for twin in &twins {
        assert!(on_reference.cells.iter().any(|cell| cell.run_id == twin.run_id));
    }
    let (of_rule, _) = plan(&Options { rules: vec![Rule::Both], ..all.clone() });
    assert!(of_rule.cells.iter().all(|cell| cell.config.rule() == Some(Rule::Both)));
    assert_eq!(of_rule.table, of_all.table, "the table still shows them");

    // Static images have no framing; a group with warm-up has the twin of one without.
    let images = Options { datasets: vec![DatasetId::CIFAR10], ..all.clone() };
    let (plan, _) = plan_of("table5", &images);
    let twin = plan.cells.iter().find(|cell| cell.config.ann).unwrap();
    assert_eq!((twin.config.framing.as_deref(), twin.config.ann_warm_up_epochs), (None, 0));
    let (table1, _) = plan_of("table1", &images);
    assert!(table1.cells.iter().all(|cell| !cell.config.ann), "who does not ask for it has none");
}

#[test]
fn ids_of_runs_that_are_not_twins_are_as_they_were_and_a_twin_s_is_stable() {
    let mut count = 0;
    for folder in ["table1/cpu", "table2/cpu", "table2/quick"] {
        for entry in std::fs::read_dir(root().join("results").join(folder).join("records")).unwrap() {
            let path = entry.unwrap().path();
            let record: Record = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            assert_eq!(record.config.run_id(), record.run_id, "{}", path.display());
            assert!(!serde_json::to_string(&record).unwrap().contains("\"ann\""));
            assert_ne!(record.config.twin().run_id(), record.run_id);
            count += 1;
        }
    }
    assert!(count >= 31, "{count}");
    let folder = root().join("results/table2/quick/records");
    let mut ids: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| serde_json::from_slice(&std::fs::read(entry.unwrap().path()).unwrap()).unwrap())
        .map(|record: Record| (record.dataset.clone(), record.config.twin().run_id()))
        .collect();
    ids.sort();
    ids.dedup();
    insta::assert_debug_snapshot!(ids);
}

#[test]
fn a_twin_is_a_run_like_any_other_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { seeds: Some(1), time_steps: vec![2], epochs: Some(3), ..few(folder.path()) };
    let [one, two] =
        [1, 2].map(|threads| run(&options, &folder.path().join(format!("runs{threads}")), threads));
    let [one, two] = [&one, &two].map(|outcome| twins(&outcome.records)[0]);
    assert_eq!(one.reproducible(), two.reproducible(), "on one thread and on two");

    // Stopped behind each epoch.
    let (mut plan, data) = plan(&options);
    plan.cells.retain(|cell| cell.config.ann);
    let runs = RunStore::new(&folder.path().join("stopped"));
    for epoch in 1..=3 {
        let asked = std::cell::Cell::new(0);
        let stop = || asked.replace(asked.get() + 1) == 1;
        let outcome = reproduce(&plan, &data, &runs, &stop, &mut |_| {}).unwrap();
        assert_eq!(outcome.stopped, epoch < 3);
    }
    let stopped = runs.finished(&one.run_id).unwrap().unwrap();
    assert_eq!(stopped.timing.unwrap().resumed, 2);
    assert_eq!(stopped.reproducible(), one.reproducible(), "stopped or not");

    assert_eq!((one.rule.as_str(), one.firing_rate, one.spikes_per_sample), ("ann", 0.0, 0.0));
    assert!(one.layer_spikes.is_empty());
    assert_eq!(one.anytime, Some(vec![one.accuracy.last]));
    assert!(one.epochs.iter().all(|epoch| epoch.ann_warm_up));
    assert!(one.epochs[2].train_loss < one.epochs[0].train_loss, "it learns");
    let operations = one.operations.as_ref().unwrap();
    assert!(operations.iter().all(|of| of.real && of.operations_per_sample > 0.0));
    let spiking = spiking(&folder.path().join("runs1"), &plan);
    let dense = |record: &Record| -> Vec<f64> {
        let layers = record.operations.iter().flatten();
        layers.map(|of| of.dense_per_sample / record.time_steps as f64).collect()
    };
    assert_eq!(dense(one), dense(&spiking), "the same layers");
    for file in ["curves.parquet", "final.safetensors"] {
        assert!(folder.path().join("stopped").join(&one.run_id).join(file).is_file(), "{file}");
    }
}

/// A finished run of a rule.
fn spiking(runs: &Path, plan: &Plan) -> Record {
    let runs = RunStore::new(runs);
    let mut finished = plan.table.iter().filter_map(|run_id| runs.finished(run_id).unwrap());
    finished.find(|record| !record.config.ann).unwrap()
}

#[test]
fn a_twin_s_record_with_spikes_or_of_another_form_is_refused_with_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { seeds: Some(1), time_steps: vec![2], epochs: Some(1), ..few(folder.path()) };
    let outcome = run(&options, &folder.path().join("runs"), 2);
    let twin = twins(&outcome.records)[0];
    let store = RunStore::new(&folder.path().join("others"));
    type Edit = fn(&mut Record);
    let edits: [(Edit, &str); 8] = [
        (|record| record.rule = "baseline".to_owned(), "key `rule` is baseline, and by its `config` ann"),
        (|record| record.firing_rate = 0.1, "key `firing_rate` has spikes"),
        (|record| record.spikes_per_sample = 1.0, "key `spikes_per_sample` has spikes"),
        (|record| record.operations.as_mut().unwrap()[1].real = false, "key `operations[..].real`"),
        (|record| record.epochs[0].ann_warm_up = false, "key `epochs[..].ann_warm_up`"),
        (|record| record.anytime = Some(vec![-1.0]), "key `anytime[0]` is -1"),
        (|record| record.anytime = Some(Vec::new()), "key `anytime` is a list of 0"),
        (
            |record| {
                record.config.neuron.rule = Rule::Both;
                record.run_id = record.config.run_id();
            },
            "key `config` is not that of an ANN twin",
        ),
    ];
    for (edit, expected) in edits {
        let mut record = twin.clone();
        edit(&mut record);
        let error = store.finish(&record).unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
    assert_eq!(store.finished(&twin.run_id).unwrap(), None);
}

/// Accepted runs of N-MNIST on stand-ins by two rules, with a second seed that is 1 % better and their twins, made up, of seeds 1 and 3.
fn with_twins() -> Vec<Record> {
    let folder = root().join("results/table2/quick/records");
    let of_folder = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let accepted = of_folder.map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap());
    let mut accepted: Vec<Record> = accepted.collect();
    accepted.retain(|record| {
        record.dataset == "nmnist" && [Some(Rule::Baseline), Some(Rule::Both)].contains(&record.config.rule())
    });
    accepted.sort_by_key(|record| record.config.rule());
    let seeded = |record: &Record, seed: u64, by: f64| {
        let mut record = record.clone();
        (record.seed, record.config.seed) = (seed, seed);
        record.accuracy.last += by;
        record.run_id = record.config.run_id();
        record
    };
    let mut twin = accepted[0].clone();
    twin.config = twin.config.twin();
    twin.rule = twin.config.rule_id().to_owned();
    (twin.time_steps, twin.firing_rate, twin.spikes_per_sample) = (1, 0.0, 0.0);
    twin.layer_spikes.clear();
    twin.accuracy.last = 90.0;
    twin.anytime = Some(vec![90.0]);
    for of in twin.operations.iter_mut().flatten() {
        of.dense_per_sample /= accepted[0].time_steps as f64;
        of.operations_per_sample = of.dense_per_sample / 4.0;
        of.real = true;
    }
    let mut records: Vec<Record> =
        accepted.iter().flat_map(|record| [record.clone(), seeded(record, 2, 1.0)]).collect();
    records.extend([seeded(&twin, 1, 0.0), seeded(&twin, 3, 2.0)]);
    records
}

/// One of the files that a view gives, without what does not depend on it.
fn view(view: View, ann_twin: bool, records: &[Record], name: &str) -> String {
    let experiment = Experiment { view, ann_twin, ..table5() };
    let empty = RunStore::new(Path::new("no such store"));
    let files = render(&experiment, Profile::Quick, records, RunFiles::Store(&empty)).unwrap();
    let file = files.into_iter().find(|file| file.name == name).unwrap();
    String::from_utf8(file.bytes).unwrap()
}

#[test]
fn the_energy_view_has_a_row_of_the_twin_and_each_rule_beside_it() {
    let records = with_twins();
    assert_eq!(records.len(), 6);
    let table = view(View::Energy, true, &records, "table.md");
    insta::assert_snapshot!(table);

    // By hand, of the one seed that both have.
    let energy = |record: &Record| -> f64 {
        let of =
            |of: &bpsta_harness::LayerOperations| of.operations_per_sample * if of.real { 4.6 } else { 0.1 };
        record.operations.iter().flatten().map(of).sum()
    };
    let dense: f64 = records[4].operations.iter().flatten().map(|of| 4.6 * of.dense_per_sample).sum();
    let twin = energy(&records[4]);
    assert!((dense / twin - 4.0).abs() < 1e-9);
    let row = table.lines().find(|line| line.starts_with("| both")).unwrap();
    let cells: Vec<&str> = row.split('|').map(str::trim).collect();
    let both = records.iter().find(|record| record.rule == "both").unwrap();
    assert_eq!(cells[4], format!("{:+.2}", both.accuracy.last - 90.0));
    assert_eq!(cells[12], format!("{:.1}", twin / energy(both)));
    assert!(!table.contains("No ANN twin was run"), "{table}");

    let without = view(View::Energy, true, &records[..4], "table.md");
    assert!(without.contains("No ANN twin was run of the rows where"), "{without}");
    let row = without.lines().find(|line| line.starts_with("| both")).unwrap();
    let cells: Vec<&str> = row.split('|').map(str::trim).collect();
    assert_eq!((cells[4], cells[12]), ("", ""), "nothing is made up");
    let not_asked_for = view(View::Energy, false, &records[..4], "table.md");
    assert!(!not_asked_for.contains("twin"), "{not_asked_for}");
}

#[test]
fn nothing_takes_a_twin_for_a_rule() {
    let records = with_twins();
    // Its configuration names the baseline's constants; no difference and no verdict may come of it.
    let (twins, rules) = (&records[4..], &records[..4]);
    let differences = |records: &[Record]| {
        let table = view(View::Accuracy, true, records, "table.md");
        let lines = table.lines().filter(|line| line.contains(" - baseline") || line.contains("Paper, "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(differences(&records), differences(rules));
    assert!(differences(twins).iter().all(|line| line.ends_with(": not run.")), "{:?}", differences(twins));
    let accuracy = view(View::Accuracy, true, &records, "table.md");
    assert_eq!(accuracy.lines().filter(|line| line.starts_with("| ours: ann, ")).count(), 1);

    for name in ["curves.csv", "figure.svg"] {
        assert_eq!(view(View::Curves, true, &records, name), view(View::Curves, true, rules, name), "{name}");
    }
    let latency = view(View::Latency, true, &records, "table.md");
    let early = latency.split("voting after").nth(1).unwrap();
    assert!(!early.contains("ann, "), "{early}");
    assert!(view(View::Accuracy, true, &records, "runs.csv").contains(",ann,"));
}

#[test]
fn twins_are_accepted_reported_evaluated_and_compared_with_twins() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { seeds: Some(1), time_steps: vec![2], epochs: Some(1), ..few(folder.path()) };
    let [runs, results] = ["runs", "results"].map(|name| folder.path().join(name));
    let outcome = run(&options, &runs, 2);
    let twin = twins(&outcome.records)[0];
    assert!(outcome.table.contains("| ann, middle width 0.125, synthetic stand-in "), "{}", outcome.table);
    let (plan, _) = plan(&options);
    let accepted = accept(&plan, &RunStore::new(&runs), &results).unwrap().runs;
    assert_eq!(accepted, 3);

    let page = report(&results, &root().join("experiments")).unwrap().html;
    assert!(page.contains("an ANN, of which the paper reports none"), "the row says what it is");
    assert!(page.contains(&twin.run_id));
    let legend: Vec<&str> = page.split("class=\"legend\"").skip(1).collect();
    assert!(
        !legend.is_empty() && legend.iter().all(|rest| !rest.split("</ul>").next().unwrap().contains("ann"))
    );

    let weights = Weights::of_run(&RunStore::new(&runs), &twin.run_id).unwrap();
    let (data, store) = (&options.data, Store::open(&options.data, &registry()));
    let evaluate = |engine| evaluate_weights(&weights, &store, data, None, engine);
    let evaluated = evaluate(None).unwrap();
    assert_eq!((evaluated.engine, evaluated.mismatches), (EngineKind::Reference, vec![]));
    let error = evaluate(Some(EngineKind::Cpu)).unwrap_err().to_string();
    assert!(error.contains(&twin.run_id) && error.contains("use --engine reference"), "{error}");

    let alone = folder.path().join("alone");
    RunStore::new(&alone).finish(twin).unwrap();
    let [all, alone] = [&runs, &alone].map(|path| path.to_str().unwrap());
    let limits = Limits { time_tolerance: 1.3, fail_on_time: false, exact: false };
    let compared = compare(all, alone, &root(), limits).unwrap();
    assert_eq!((compared.pairs.len(), compared.only_in_base.len()), (1, 2));
    assert!(compared.pairs[0].about.contains(", ann, T=1"), "{}", compared.pairs[0].about);
}
