//! Records and the table over them: each cell is its own, and what does not belong to it is refused.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use bpsta_datasets::{DatasetId, Store, Subset};
use bpsta_harness::{
    Absent, DeviceKind, EngineKind, EpochRecord, Experiment, HarnessError, Options, Plan, Profile, Record,
    RunFiles, RunStore, accept, reproduce, table_markdown,
};
use bpsta_spiking::Rule;

use crate::common::{options, plan, registry, root, run};

/// One cell that is trained in a second.
fn one(folder: &Path, rule: Rule) -> Options {
    Options {
        datasets: vec![DatasetId::NMNIST],
        rules: vec![rule],
        time_steps: vec![2],
        epochs: Some(2),
        ..options(folder)
    }
}

/// Our rows of a table, from the rule on.
fn rows(table: &str) -> Vec<&str> {
    table.lines().filter_map(|line| line.strip_prefix("| ours: ")).collect()
}

#[test]
fn an_option_given_twice_is_no_second_seed() {
    let folder = tempfile::tempdir().unwrap();
    let once = one(folder.path(), Rule::Both);
    let twice = Options {
        datasets: vec![DatasetId::NMNIST; 2],
        rules: vec![Rule::Both; 2],
        time_steps: vec![2; 2],
        ..once.clone()
    };
    let (outcome, trained) = run(&twice, &folder.path().join("runs"), 2);
    assert_eq!((trained, outcome.records.len()), (1, 1));
    assert_eq!(rows(&outcome.table).len(), 1);

    let mut experiment = Experiment::load(&root().join("experiments"), "table2").unwrap();
    let cells = &mut experiment.profile.get_mut(&Profile::Quick).unwrap().cell;
    cells.extend(cells.clone());
    let (plan, store) = plan(&once);
    let again = Plan::new(experiment, &once, &registry(), &store).unwrap();
    assert_eq!((again.cells.len(), &again.table), (1, &plan.table), "cells that stand twice in the file");

    let mut two_networks = plan.experiment.clone();
    two_networks.dataset.extend(two_networks.dataset.clone());
    let [once, twice] = [&plan.experiment, &two_networks]
        .map(|experiment| table_markdown(experiment, plan.profile, &outcome.records).unwrap());
    assert_eq!(once, twice, "a data set that stands twice in the file has one section");

    let doubled = [outcome.records.clone(), outcome.records].concat();
    let table = table_markdown(&plan.experiment, plan.profile, &doubled).unwrap();
    let row = rows(&table)[0];
    assert!(!row.contains("seeds") && !row.contains('±'), "{row}");
}

#[test]
fn a_part_of_the_plan_drops_no_finished_row() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    for (rule, expected) in [
        (Rule::Both, &["both"][..]),
        (Rule::Baseline, &["baseline", "both"]),
        (Rule::Both, &["baseline", "both"]),
    ] {
        let (outcome, _) = run(&one(folder.path(), rule), &runs, 2);
        let rules: Vec<&str> =
            rows(&outcome.table).iter().map(|row| row.split(',').next().unwrap()).collect();
        assert_eq!(rules, expected);
        assert_eq!(outcome.records.len(), 1, "the cells that were asked for");
        let csv = std::fs::read_to_string(&outcome.written[1]).unwrap();
        assert_eq!(csv.lines().count(), 1 + expected.len());
    }
    let results = folder.path().join("results");
    let [of_rule, of_all] = [vec![Rule::Both], Vec::new()].map(|rules| {
        let (plan, _) = plan(&Options { rules, ..one(folder.path(), Rule::Both) });
        accept(&plan, &RunStore::new(&runs), &results).unwrap()
    });
    assert_eq!((of_rule.runs, of_rule.kept), (1, 0), "what the options name is accepted, and nothing else");
    assert_eq!((of_all.runs, of_all.kept), (2, 1), "the second time beside what is there");
    let table = std::fs::read_to_string(results.join("table2/quick/table.md")).unwrap();
    assert_eq!(rows(&table).len(), 2, "{table}");

    // Another seed of a cell comes with it: those of another code version would go, whatever their seed.
    let two = Options { seeds: Some(2), ..one(folder.path(), Rule::Both) };
    run(&two, &runs, 2);
    let (mut plan, _) = plan(&two);
    plan.cells.retain(|cell| cell.config.seed == 1);
    let of_seeds = accept(&plan, &RunStore::new(&runs), &results).unwrap();
    assert_eq!((of_seeds.runs, of_seeds.kept), (2, 1), "and no other rule");
    let synthetic = std::fs::read_dir(folder.path().join("data/synthetic")).unwrap();
    assert_eq!(synthetic.count(), 1, "stand-ins that were not asked for are not generated");
}

#[test]
fn a_record_that_is_not_its_cell_s_own_is_refused_with_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let options = one(folder.path(), Rule::Both);
    let (outcome, _) = run(&options, &folder.path().join("runs"), 2);
    let store = RunStore::new(&folder.path().join("runs"));
    let run_id = &outcome.records[0].run_id;
    let path = store.record_path(run_id);
    let whole = std::fs::read_to_string(&path).unwrap();
    assert_eq!(store.finished(run_id).unwrap().as_ref(), Some(&outcome.records[0]));

    type Edit = fn(&mut serde_json::Value);
    let edits: [(Edit, &str); 52] = [
        (|record| record["schema"] = 4.into(), "key `schema` is 4"),
        (|record| record["schema"] = 2.into(), "key `maps_hash` is there, in a record of schema 2"),
        (|record| record["maps_hash"] = ().into(), "key `maps_hash` is not there, in a record of schema 3"),
        (|record| record["schema"] = 1.into(), "key `split_rule` is there, in a record of schema 1"),
        (|record| record["timing"] = ().into(), "key `timing` is not there, in a record of schema 3"),
        (|record| record["classes"] = ().into(), "key `classes` is not there"),
        (|record| record["classes"] = serde_json::json!([]), "key `classes` is a list of 0, expected 10"),
        (
            |record| record["classes"][0]["total"] = 11.into(),
            "key `classes` has totals of Some(101) samples, and by `samples` 100",
        ),
        (|record| record["classes"][3]["correct"] = 11.into(), "key `classes[3]` is 11 of 10"),
        (|record| record["streams"][0] = "init".into(), "key `streams` is [\"init\""),
        (|record| record["timing"]["steps"] = 39.into(), "key `timing.steps` is 39, and by `samples` 40"),
        (|record| record["timing"]["step_ms"]["p50"] = 0.into(), "key `timing.step_ms` is"),
        (|record| record["code"]["git_dirty"] = 3.into(), "key `code.git_dirty`: invalid type"),
        (
            |record| record["epochs"][1]["layer_firing_rates"] = ().into(),
            "key `epochs[..].layer_firing_rates` is not there",
        ),
        (|record| record["completed"] = false.into(), "key `completed` is false"),
        (|record| record["run_id"] = "0123456789abcdef".into(), "key `run_id` is 0123456789abcdef"),
        (|record| record["config"]["seed"] = 2.into(), "key `run_id`"),
        (|record| record["config"]["width"] = (-1).into(), "key `config`"),
        (|record| record["rule"] = "baseline".into(), "key `rule` is baseline, and by its `config` both"),
        (|record| record["synthetic"] = false.into(), "key `synthetic` is false"),
        (|record| record["data"] = "N-MNIST, complete".into(), "key `data` is \"N-MNIST, complete\""),
        (|record| record["layers"] = "800FC".into(), "key `layers`"),
        (|record| record["accuracy"]["last"] = 99.9.into(), "key `accuracy` is"),
        (|record| record["firing_rate"] = ().into(), "key `firing_rate`: invalid type: null"),
        (|record| record["epochs"][1]["test_accuracy"] = 101.into(), "key `epochs[1].test_accuracy` is 101"),
        (|record| record["epochs"][0]["epoch"] = 2.into(), "key `epochs[0].epoch` is 2, expected 1"),
        (|record| record["samples"][0] = 0.into(), "key `samples` has 0 training samples in batches of"),
        (
            |record| record["epochs"][0]["train_accuracy"] = 5000.into(),
            "key `epochs[0].train_accuracy` is 5000, expected a finite number from 0 to 100",
        ),
        (
            |record| record["epochs"][0]["test_accuracy"] = 12.345.into(),
            "key `epochs[0].test_accuracy` is 12.345, no whole number of 100 test samples",
        ),
        (
            |record| record["epochs"][0]["ann_warm_up"] = true.into(),
            "key `epochs[0].ann_warm_up` is true, and by its `config` false",
        ),
        (
            |record| record["epochs"][0]["learning_rate"] = 0.5.into(),
            "key `epochs[0].learning_rate` is 0.5, and by its `config`",
        ),
        (
            |record| record["epochs"][0]["layer_firing_rates"] = serde_json::json!([0.1]),
            "key `epochs[0].layer_firing_rates` is a list of 1, expected",
        ),
        (|record| record["epochs"] = serde_json::json!([]), "key `epochs` is a list of 0"),
        (|record| record["firing_rate"] = 0.999.into(), "key `firing_rate` is 0.999, and by its `epochs`"),
        (
            |record| record["firing_rate"] = (-3).into(),
            "key `firing_rate` is -3, expected a finite number from 0 to 1",
        ),
        (|record| record["train_ms_per_sample"] = (-1).into(), "key `train_ms_per_sample` is -1"),
        (|record| record["layer_spikes"] = serde_json::json!([]), "key `layer_spikes` has (layer, cells) []"),
        (|record| record["layer_spikes"][0]["firing_rate"] = 1.into(), "key `layer_spikes` has firing rates"),
        (
            |record| record["operations"][0]["operations_per_sample"] = (-1).into(),
            "key `operations[0].operations_per_sample` is -1",
        ),
        (
            |record| record["operations"][0]["inputs_per_sample"] = (-1).into(),
            "key `operations[0].inputs_per_sample` is -1",
        ),
        (
            |record| record["operations"][0]["dense_per_sample"] = (-1).into(),
            "key `operations[0].dense_per_sample` is -1",
        ),
        (
            |record| record["operations"][1]["inputs_per_sample"] = 1e9.into(),
            "key `operations[1]` has 1000000000 inputs that meet",
        ),
        (
            |record| record["operations"] = serde_json::json!([]),
            "key `operations` has (layer, real, dense_per_sample) []",
        ),
        (
            |record| record["operations"][1]["layer"] = 4.into(),
            "key `operations` has (layer, real, dense_per_sample) [",
        ),
        (|record| record["operations"][0]["real"] = false.into(), "(0, false, "),
        (|record| record["operations"][0]["dense_per_sample"] = 1e9.into(), "(0, true, 1000000000.0)"),
        (
            |record| record["anytime"][0] = 101.into(),
            "key `anytime[0]` is 101, expected a finite number from 0 to 100",
        ),
        (|record| record["anytime"][0] = (-1).into(), "key `anytime[0]` is -1"),
        (|record| record["parameters_hash"] = "none".into(), "key `parameters_hash` is \"none\""),
        (|record| record["maps_hash"] = "A".repeat(64).into(), "key `maps_hash` is \"AAAA"),
        (
            |record| record["layer_spikes"][0]["spikes_per_sample"] = 7.003.into(),
            "key `layer_spikes[0].spikes_per_sample` is 7.003, no whole number of spikes over 100 samples",
        ),
        (
            |record| record["spikes_per_sample"] = 7.into(),
            "key `spikes_per_sample` is 7, and by its `layer_spikes`",
        ),
    ];
    for (edit, expected) in edits {
        let mut record: serde_json::Value = serde_json::from_str(&whole).unwrap();
        edit(&mut record);
        std::fs::write(&path, record.to_string()).unwrap();
        let error = store.finished(run_id).unwrap_err();
        assert!(matches!(error, HarnessError::BadRecord { .. }));
        let error = error.to_string();
        assert!(error.contains(expected) && error.contains("move it away"), "{expected}: {error}");
    }
}

#[test]
fn a_data_set_s_title_may_have_the_words_that_say_what_data_are() {
    let folder = tempfile::tempdir().unwrap();
    let (outcome, _) = run(&one(folder.path(), Rule::Both), &folder.path().join("runs"), 2);
    let store = RunStore::new(&folder.path().join("others"));
    let titled = |title: &str| {
        let mut record = outcome.records[0].clone();
        record.data = record.data.replacen("N-MNIST", title, 1);
        record
    };
    for title in
        ["Gestures, left-hand subset", "Gestures, subset: the left hand", "Digits, complete: all of them"]
    {
        let record = titled(title);
        store.finish(&record).unwrap();
        assert_eq!(store.finished(&record.run_id).unwrap().unwrap().data, record.data);
        std::fs::remove_file(store.record_path(&record.run_id)).unwrap();
    }
    let mut stand_in_by_title = titled("N-MNIST");
    stand_in_by_title.data = "N-MNIST, synthetic stand-in (ours), complete: 400 training samples".to_owned();
    let error = store.finish(&stand_in_by_title).unwrap_err().to_string();
    assert!(error.contains("key `data` is"), "{error}");
}

#[test]
fn classes_must_come_to_the_accuracy() {
    let folder = tempfile::tempdir().unwrap();
    let (outcome, _) = run(&one(folder.path(), Rule::Both), &folder.path().join("runs"), 2);
    let mut record = outcome.records[0].clone();
    let classes = record.classes.as_mut().unwrap();
    let class = classes.iter_mut().find(|class| class.correct < class.total).unwrap();
    class.correct += 1;
    let error = RunStore::new(&folder.path().join("others")).finish(&record).unwrap_err().to_string();
    assert!(error.contains("key `classes` has") && error.contains("by `accuracy.last`"), "{error}");
}

#[test]
fn a_record_says_what_it_was_made_by_and_leaves_that_out_of_what_must_be_equal() {
    let folder = tempfile::tempdir().unwrap();
    let (outcome, _) = run(&one(folder.path(), Rule::Both), &folder.path().join("runs"), 2);
    let record = &outcome.records[0];
    assert_eq!(record.split_rule.as_deref(), Some("official-folders"));
    assert_eq!(record.streams.as_ref().unwrap(), &["init/NAME", "shuffle/EPOCH", "dropout/EPOCH"]);
    for epoch in &record.epochs {
        assert_eq!(epoch.layer_firing_rates.as_ref().unwrap().len(), record.layer_spikes.len());
    }
    let rates: Vec<f64> = record.layer_spikes.iter().map(|layer| layer.firing_rate).collect();
    assert_eq!(record.epochs[1].layer_firing_rates.as_ref(), Some(&rates));
    let code = record.code.as_ref().unwrap();
    assert!(code.rustc.as_ref().unwrap().starts_with("rustc 1."), "{code:?}");
    assert_eq!(code.git_commit.is_some(), code.git_dirty.is_some(), "{code:?}");
    let lockfile = blake3::hash(&std::fs::read(root().join("Cargo.lock")).unwrap());
    assert_eq!(code.lockfile, lockfile.to_hex().to_string());
    let environment = record.environment.as_ref().unwrap();
    assert!(environment.os.starts_with(std::env::consts::OS), "{environment:?}");
    assert!(["avx512", "avx2", "portable"].contains(&environment.simd.as_deref().unwrap()));

    let equal = record.reproducible();
    for key in ["environment", "code", "timing", "threads", "wall_seconds", "train_ms_per_sample"] {
        assert!(equal.get(key).is_none(), "{key}");
    }
    for key in
        ["run_id", "accuracy", "classes", "layer_spikes", "parameters_hash", "maps_hash", "config", "streams"]
    {
        assert!(equal.get(key).is_some(), "{key}");
    }
    assert!(equal["epochs"][0].get("test_ms_per_sample").is_none());
}

#[test]
fn accepted_records_of_older_schemas_are_read_and_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let store = RunStore::new(folder.path());
    let mut count = 0;
    let mut schemas = std::collections::BTreeSet::new();
    for place in ["table1/cpu", "table2/cpu", "table2/quick"] {
        for entry in std::fs::read_dir(root().join("results").join(place).join("records")).unwrap() {
            let path = entry.unwrap().path();
            let run_id = path.file_stem().unwrap().to_str().unwrap();
            let bytes = std::fs::read(&path).unwrap();
            std::fs::create_dir_all(store.record_path(run_id).parent().unwrap()).unwrap();
            std::fs::write(store.record_path(run_id), &bytes).unwrap();
            let record = store.finished(run_id).unwrap().unwrap();
            if record.schema == 1 {
                assert!(
                    record.timing.is_none() && record.classes.is_none(),
                    "what is missing is not invented"
                );
            }
            if record.schema < 3 {
                assert_eq!(record.maps_hash, None);
                assert_eq!(RunFiles::Store(&store).maps(&record).unwrap(), None, "no maps are no error");
            }
            schemas.insert(record.schema);
            let again = serde_json::to_string_pretty(&record).unwrap() + "\n";
            assert_eq!(again, String::from_utf8(bytes).unwrap(), "{run_id}");
            count += 1;
        }
    }
    assert!(count >= 31, "{count}");
    assert!(schemas.contains(&1) && schemas.contains(&2), "{schemas:?}");
}

#[test]
fn a_record_that_is_no_number_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let (outcome, _) = run(&one(folder.path(), Rule::Both), &folder.path().join("runs"), 2);
    let store = RunStore::new(&folder.path().join("others"));
    type Edit = fn(&mut Record);
    let edits: [(Edit, &str); 3] = [
        (|record| record.epochs[1].test_loss = f64::NAN, "key `epochs[1].test_loss` is NaN"),
        (|record| record.accuracy.best_test = f64::NEG_INFINITY, "key `accuracy.best_test` is -inf"),
        (|record| record.firing_rate = f64::INFINITY, "key `firing_rate` is inf"),
    ];
    for (edit, expected) in edits {
        let mut record = outcome.records[0].clone();
        edit(&mut record);
        let error = store.finish(&record).unwrap_err().to_string();
        assert!(error.contains(&record.run_id) && error.contains(expected), "{error}");
        assert!(!store.record_path(&record.run_id).exists());
    }
}

#[test]
fn what_stands_in_a_record_twice_is_the_same_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (outcome, _) = run(&one(folder.path(), Rule::Both), &folder.path().join("runs"), 2);
    let store = RunStore::new(&folder.path().join("others"));
    const SUBSET: Subset = Subset { train: 20, train_official: 60000, test: 10, test_official: 10000 };
    type Edit = fn(&mut Record);
    let edits: [(&str, Edit); 12] = [
        ("run_id", |record| record.run_id = "0123456789abcdef".to_owned()),
        ("dataset", |record| record.dataset = "mnist".to_owned()),
        ("rule", |record| record.rule = "baseline".to_owned()),
        ("time_steps", |record| record.time_steps += 1),
        ("seed", |record| record.seed += 1),
        ("profile", |record| record.profile = "paper".to_owned()),
        ("synthetic", |record| record.synthetic = false),
        ("subset", |record| record.subset = Some(SUBSET)),
        ("network", |record| record.network = "large".to_owned()),
        ("width", |record| record.width = 1.0),
        ("layers", |record| record.layers.push('C')),
        ("parameters", |record| record.parameters += 1),
    ];
    for (key, edit) in edits {
        let mut record = outcome.records[0].clone();
        edit(&mut record);
        let error = store.finish(&record).unwrap_err().to_string();
        assert!(error.contains(&format!("key `{key}` is")), "{key}: {error}");
    }
}

#[test]
fn a_finished_record_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let (outcome, _) = run(&one(folder.path(), Rule::Both), &folder.path().join("runs"), 2);
    let store = RunStore::new(&folder.path().join("runs"));
    let mut again = outcome.records[0].clone();
    again.wall_seconds += 1.0;
    store.finish(&again).unwrap();
    assert_eq!(store.finished(&again.run_id).unwrap().as_ref(), Some(&outcome.records[0]));
}

#[test]
fn times_a_sample_come_to_the_time_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let (outcome, _) = run(&one(folder.path(), Rule::Both), &folder.path().join("runs"), 2);
    let record = &outcome.records[0];
    let [train, test] = record.samples;
    let of_epoch = |epoch: &EpochRecord| {
        epoch.train_ms_per_sample * train as f64 + epoch.test_ms_per_sample * test as f64
    };
    let seconds = record.epochs.iter().map(of_epoch).sum::<f64>() / 1e3;
    let timing = record.timing.as_ref().unwrap();
    assert!(seconds <= record.wall_seconds, "{seconds} s of {} s", record.wall_seconds);
    // Whatever else runs here, an epoch holds its steps, of which half take as long as the median or longer.
    let steps = timing.step_ms.p50 * (timing.steps / 2) as f64 / 1e3;
    assert!(seconds >= steps, "{seconds} s, and half of the steps took {steps} s");
}

#[test]
fn accepting_generates_no_data() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, options) = (registry(), one(folder.path(), Rule::Both));
    let store = Store::open(&options.data, &registry);
    let of_data_there = || {
        let experiment = Experiment::load(&root().join("experiments"), "table2").unwrap();
        Plan::of_data_there(experiment, &options, &registry, &store)
    };
    let error = of_data_there().unwrap_err();
    assert!(matches!(error, HarnessError::NoData { .. }), "{error}");
    let said = error.to_string();
    for part in ["the stand-in of nmnist is not in", "`cargo xtask reproduce` makes it"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!options.data.exists(), "nothing was generated");

    let (plan, _) = plan(&options);
    let there = of_data_there().unwrap();
    assert_eq!((there.absent.len(), there.cells.len()), (0, 1));
    assert_eq!(there.cells[0].run_id, plan.cells[0].run_id);
}

#[test]
fn a_rerun_that_differs_by_a_bit_is_not_accepted_in_place_of_the_record_there() {
    let folder = tempfile::tempdir().unwrap();
    let (runs, results) = (folder.path().join("runs"), folder.path().join("results"));
    let options = one(folder.path(), Rule::Both);
    let (outcome, _) = run(&options, &runs, 2);
    let (plan, _) = plan(&options);
    let runs = RunStore::new(&runs);
    let accepted = accept(&plan, &runs, &results).unwrap();
    let path = accepted.folder.join("records").join(format!("{}.json", plan.cells[0].run_id));
    let before = std::fs::read(&path).unwrap();
    let rerun = |edit: &dyn Fn(&mut Record)| {
        let mut record = outcome.records[0].clone();
        edit(&mut record);
        std::fs::write(runs.record_path(&record.run_id), serde_json::to_vec(&record).unwrap()).unwrap();
        accept(&plan, &runs, &results)
    };
    let slower = rerun(&|record| record.wall_seconds *= 2.0).unwrap();
    assert_eq!((slower.runs, slower.kept), (1, 1));
    assert_eq!(std::fs::read(&path).unwrap(), before, "the same values: the old file stays");

    let bit = |record: &mut Record| {
        let loss = &mut record.epochs[1].train_loss;
        *loss = f64::from_bits(loss.to_bits() ^ 1);
    };
    std::fs::remove_file(accepted.folder.join("table.md")).unwrap();
    let error = rerun(&bit).unwrap_err();
    assert!(matches!(error, HarnessError::OtherResults { .. }), "{error}");
    let said = error.to_string();
    for part in [&plan.cells[0].run_id, "epochs[1].train_loss", "raise CODE_VERSION"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert!(!accepted.folder.join("table.md").exists(), "nothing was written");

    // Where the runs need not be the same bits, the one that is accepted last stands there.
    let text = String::from_utf8(before).unwrap();
    let mut elsewhere: Record = serde_json::from_str(&text).unwrap();
    elsewhere.config.device = DeviceKind::Cuda(0);
    elsewhere.config.engine = EngineKind::Reference;
    elsewhere.run_id = elsewhere.config.run_id();
    let mut on_gpu = plan.clone();
    on_gpu.cells[0].run_id.clone_from(&elsewhere.run_id);
    on_gpu.cells[0].config.clone_from(&elsewhere.config);
    runs.finish(&elsewhere).unwrap();
    let accepted = accept(&on_gpu, &runs, &results).unwrap();
    assert_eq!((accepted.kept, accepted.replaced), (0, 0));
    bit(&mut elsewhere);
    let store = runs.record_path(&elsewhere.run_id);
    std::fs::write(&store, serde_json::to_vec_pretty(&elsewhere).unwrap()).unwrap();
    let accepted = accept(&on_gpu, &runs, &results).unwrap();
    assert_eq!((accepted.kept, accepted.replaced), (0, 1));
    let there = std::fs::read(path.with_file_name(format!("{}.json", elsewhere.run_id))).unwrap();
    assert_eq!(serde_json::from_slice::<Record>(&there).unwrap(), elsewhere);
}

#[test]
fn accepting_changes_nothing_where_a_record_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let (runs, results) = (folder.path().join("runs"), folder.path().join("results"));
    let options = one(folder.path(), Rule::Both);
    run(&options, &runs, 2);
    let (plan, _) = plan(&options);
    let damaged = results.join("table2/quick/records/0123456789abcdef.json");
    std::fs::create_dir_all(damaged.parent().unwrap()).unwrap();
    std::fs::write(&damaged, "{").unwrap();
    let error = accept(&plan, &RunStore::new(&runs), &results).unwrap_err().to_string();
    assert!(error.contains("0123456789abcdef.json"), "{error}");
    let there = std::fs::read_dir(damaged.parent().unwrap()).unwrap();
    assert_eq!(there.map(|entry| entry.unwrap().path()).collect::<Vec<_>>(), [damaged]);
    assert!(!results.join("table2/quick/table.md").exists());
}

#[test]
fn a_store_that_takes_no_records_is_found_before_the_first_cell() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, data) = plan(&one(folder.path(), Rule::Both));
    let runs = folder.path().join("runs");
    std::fs::write(&runs, "a file").unwrap();
    let error = reproduce(&plan, &data, &RunStore::new(&runs), &|| false, &mut |_| panic!("nothing is run"))
        .unwrap_err();
    assert!(matches!(error, HarnessError::StoreNotWritable { .. }), "{error}");
    assert!(error.to_string().contains("--results"), "{error}");
}

#[cfg(unix)]
#[test]
fn records_have_the_rights_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (outcome, _) = run(&one(folder.path(), Rule::Both), &folder.path().join("runs"), 2);
    std::fs::write(folder.path().join("new"), "").unwrap();
    let rights = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
    let run = folder.path().join("runs").join(&outcome.records[0].run_id);
    for file in ["record.json", "curves.parquet", "final.safetensors", "maps.safetensors"] {
        assert_eq!(rights(&run.join(file)), rights(&folder.path().join("new")), "{file}");
    }
    assert_eq!(rights(&outcome.written[0]), rights(&folder.path().join("new")));
}

/// A part of N-MNIST with so many recordings in each split, imported.
fn imported(folder: &Path, train: usize, test: usize) -> Store {
    let store = Store::open(&folder.join("data"), &registry());
    for (split, count) in [("Train", train), ("Test", test)] {
        for number in 1..=count {
            let path = folder.join(format!("tree/{split}/{}/{number:05}.bin", number % 10));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, [number as u8 % 34, 2, 0, 0, 3]).unwrap();
        }
    }
    store.import(DatasetId::NMNIST, &folder.join("tree")).unwrap();
    store
}

fn refused(folder: &Path, store: &Store, datasets: Vec<DatasetId>) -> HarnessError {
    let options = Options { profile: Profile::Cpu, datasets, ..options(folder) };
    let experiment = Experiment::load(&root().join("experiments"), "table2").unwrap();
    Plan::new(experiment, &options, &registry(), store).unwrap_err()
}

#[test]
fn data_without_test_samples_are_refused_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let store = imported(folder.path(), 64, 0);
    let error = refused(folder.path(), &store, vec![DatasetId::NMNIST]);
    assert!(matches!(error, HarnessError::NoTestSamples { dataset: DatasetId::NMNIST }), "{error}");
}

#[test]
fn cells_whose_data_are_not_there_are_left_out_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = imported(folder.path(), 64, 1);
    let mut experiment = Experiment::load(&root().join("experiments"), "table2").unwrap();
    let cells = &mut experiment.profile.get_mut(&Profile::Cpu).unwrap().cell;
    cells.retain(|cell| cell.stand_in.is_none());
    let all = Options { profile: Profile::Cpu, ..options(folder.path()) };
    let plan = Plan::new(experiment.clone(), &all, &registry(), &store).unwrap();
    assert!(plan.cells.iter().all(|cell| cell.config.dataset == DatasetId::NMNIST));
    let absent = |dataset, fetched| Absent { dataset, stand_in: false, fetched };
    let expected = [absent(DatasetId::DVSGESTURE, false), absent(DatasetId::DVSCIFAR10, true)];
    assert_eq!(plan.absent, expected, "one is fetched by hand");
    let [by_hand, fetched] = expected.map(|absent| absent.remedy());
    assert!(by_hand.contains("`cargo xtask data import dvsgesture --from DIR`"), "{by_hand}");
    assert!(!by_hand.contains("data fetch"), "{by_hand}");
    let commands =
        "`cargo xtask data fetch dvscifar10` and import it with `cargo xtask data import dvscifar10`";
    assert!(fetched.contains(commands), "{fetched}");

    let alone = Options { datasets: vec![DatasetId::DVSGESTURE], ..all };
    let error = Plan::new(experiment, &alone, &registry(), &store).unwrap_err().to_string();
    assert!(error.contains("dvsgesture is not in") && error.contains("`--dataset nmnist`"), "{error}");
}

#[test]
fn generated_data_never_pass_for_real_ones() {
    let folder = tempfile::tempdir().unwrap();
    let store = imported(folder.path(), 64, 1);
    let path = folder.path().join("data/nmnist/manifest.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"synthetic\": false", "\"synthetic\": true")).unwrap();
    let error = refused(folder.path(), &store, vec![DatasetId::NMNIST]).to_string();
    assert!(
        error.contains("at synthetic: the manifest says true but lies in a folder of official data"),
        "{error}"
    );
}
