//! Regressions are planted, and must be seen: under one configuration by a bit, over seeds by an interval.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use bpsta_datasets::DatasetId;
use bpsta_harness::{
    ChangeKind, Comparison, ComparisonVerdict, DeviceKind, EngineKind, Experiment, HarnessError, Limits,
    Options, PairedBy, Profile, Record, RunConfig, RunStore, accept, check_tables, compare, reproduce,
};
use bpsta_spiking::Rule;
use serde_json::Value;

use crate::common::{options, plan, root, run};

/// Two cells that are trained in seconds.
fn grid(folder: &Path) -> Options {
    Options {
        datasets: vec![DatasetId::NMNIST],
        rules: vec![Rule::Baseline, Rule::Both],
        time_steps: vec![2],
        epochs: Some(2),
        ..options(folder)
    }
}

const LIMITS: Limits = Limits { time_tolerance: 1.3, fail_on_time: false, exact: false };

fn compared(base: &Path, new: &Path) -> Comparison {
    compare(base.to_str().unwrap(), new.to_str().unwrap(), &root(), LIMITS).unwrap()
}

fn refused(base: &Path, new: &Path) -> String {
    compare(base.to_str().unwrap(), new.to_str().unwrap(), &root(), LIMITS).unwrap_err().to_string()
}

/// Writes the records to a run store of their own.
fn store(folder: &Path, records: &[Record]) {
    let runs = RunStore::new(folder);
    records.iter().for_each(|record| drop(runs.finish(record).unwrap()));
}

/// The record as that of a run with another configuration.
fn configured(record: &Record, edit: impl Fn(&mut RunConfig)) -> Record {
    let mut record = record.clone();
    edit(&mut record.config);
    record.run_id = record.config.run_id();
    record.seed = record.config.seed;
    record
}

/// The record as one of schema 1, which had neither machine nor counts.
fn of_schema_1(record: &Record) -> Record {
    let mut record = Record {
        schema: 1,
        split_rule: None,
        streams: None,
        classes: None,
        anytime: None,
        operations: None,
        environment: None,
        code: None,
        timing: None,
        maps_hash: None,
        ..record.clone()
    };
    record.epochs.iter_mut().for_each(|epoch| epoch.layer_firing_rates = None);
    record
}

/// The record with so much more, or less, accuracy after each epoch.
fn moved(record: &Record, points: f64) -> Record {
    let mut record = of_schema_1(record);
    record.epochs.iter_mut().for_each(|epoch| epoch.test_accuracy = 50.0 + points);
    record.accuracy.last = 50.0 + points;
    (record.accuracy.best_test, record.accuracy.best_test_epoch) = (50.0 + points, 1);
    record
}

/// Records of `seeds` seeds whose accuracies are 50 % and what `points` adds, by another code version than the first.
fn seeds(record: &Record, code: u32, points: &[f64]) -> Vec<Record> {
    let of = |(index, points): (usize, &f64)| {
        let seed = index as u64 + 1;
        moved(&configured(record, |config| (config.code_version, config.seed) = (code, seed)), *points)
    };
    points.iter().enumerate().map(of).collect()
}

#[test]
fn a_rerun_is_quiet_and_another_alpha_is_seen_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let options = grid(folder.path());
    run(&options, &at("base"), 1);
    run(&options, &at("again"), 2);
    let same = compared(&at("base"), &at("again"));
    assert_eq!((same.verdict, same.pairs.len(), same.accuracies.len()), (ComparisonVerdict::Same, 2, 0));
    assert!(same.pairs.iter().all(|pair| pair.must_be_equal && pair.differences.is_empty()));
    assert!(same.to_string().starts_with("same: 2 pairs equal bit for bit\n"), "{same}");
    // Two threads in place of one are no change of the configuration, and are said.
    assert!(same.to_string().contains("| threads | 1    | 2   |"), "{same}");

    let (mut plan, data) = plan(&options);
    for cell in &mut plan.cells {
        cell.config.neuron.alpha = 0.9;
        cell.run_id = cell.config.run_id();
    }
    plan.table = plan.cells.iter().map(|cell| cell.run_id.clone()).collect();
    reproduce(&plan, &data, &RunStore::new(&at("alpha")), &|| false, &mut |_| ()).unwrap();
    let other = compared(&at("base"), &at("alpha"));
    assert_eq!((other.pairs.len(), other.only_in_base.len(), other.only_in_new.len()), (2, 0, 0));
    for pair in &other.pairs {
        assert_eq!((pair.by, pair.must_be_equal, pair.changes.len()), (PairedBy::About, false, 1));
        let change = &pair.changes[0];
        assert_eq!((change.kind, change.key.as_str()), (ChangeKind::Configuration, "neuron.alpha"));
        assert_eq!((change.base.clone(), change.new.clone()), (Some(0.2.into()), Some(0.9.into())));
    }
    let text = other.to_string();
    assert!(text.contains("neuron.alpha") && text.contains("too few seeds to tell"), "{text}");
    let ids = format!("{} -> {}", other.pairs[0].base, other.pairs[0].new);
    assert!(text.contains(&ids), "{text}");

    // Where the runs themselves must be there again, another alpha is a regression, and one run fewer as well.
    let exact = |new: &Path| {
        let limits = Limits { exact: true, ..LIMITS };
        compare(at("base").to_str().unwrap(), new.to_str().unwrap(), &root(), limits).unwrap()
    };
    assert_eq!(exact(&at("again")).verdict, ComparisonVerdict::Same);
    let other = exact(&at("alpha"));
    assert_eq!(other.verdict, ComparisonVerdict::Regressed);
    assert!(other.to_string().contains("2 runs of BASE not there again in NEW"), "{other}");
    std::fs::remove_dir_all(at("again").join(&same.pairs[0].base)).unwrap();
    let fewer = exact(&at("again"));
    assert_eq!((fewer.verdict, fewer.not_again()), (ComparisonVerdict::Regressed, 1));
}

#[test]
fn other_numbers_under_one_configuration_are_a_regression_by_a_bit() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let two_seeds = Options { seeds: Some(2), rules: vec![Rule::Both], ..grid(folder.path()) };
    let (outcome, _) = run(&two_seeds, &at("base"), 2);
    let [first, second] = &outcome.records[..] else { panic!("two seeds") };
    // Streams that are drawn otherwise: what seed 2 gave, under the name of seed 1.
    store(&at("streams"), &[configured(second, |config| config.seed = 1), second.clone()]);
    let other = compared(&at("base"), &at("streams"));
    assert_eq!(other.verdict, ComparisonVerdict::Regressed);
    let unequal: Vec<_> = other.unequal().collect();
    assert_eq!(unequal.len(), 1);
    assert_eq!((&unequal[0].base, &unequal[0].new), (&first.run_id, &first.run_id));
    let keys: Vec<&str> = unequal[0].differences.iter().map(|one| one.key.as_str()).collect();
    assert!(keys.contains(&"parameters_hash") && keys.contains(&"epochs[0].train_loss"), "{keys:?}");
    let text = other.to_string();
    assert!(text.starts_with("regressed: 1 of 2 pairs that must be equal bit for bit differ"), "{text}");
    assert!(text.contains(&first.run_id) && text.contains("epochs[0]."), "{text}");

    // The last bit of one loss is enough; times are free.
    let mut bit = first.clone();
    bit.epochs[1].train_loss = f64::from_bits(bit.epochs[1].train_loss.to_bits() ^ 1);
    bit.train_ms_per_sample *= 10.0;
    store(&at("bit"), &[bit]);
    let text = compared(&at("base"), &at("bit")).to_string();
    assert!(text.contains("epochs[1].train_loss") && text.contains("1 run only in BASE"), "{text}");

    // Another seed alone is a changed configuration of the same run.
    store(&at("one"), std::slice::from_ref(first));
    store(&at("two"), std::slice::from_ref(second));
    let seed = compared(&at("one"), &at("two"));
    assert_eq!(seed.pairs[0].by, PairedBy::AboutButSeed);
    assert_eq!(seed.pairs[0].changes[0].key, "seed");
}

#[test]
fn the_reference_engine_and_its_warm_up_are_held_to_bits_on_one_cpu_model_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let one = Options { rules: vec![Rule::Both], ..grid(folder.path()) };
    let (outcome, _) = run(&one, &at("cpu"), 2);
    type Edit = fn(&mut RunConfig);
    let edits: [Edit; 2] =
        [|config| config.engine = EngineKind::Reference, |config| config.ann_warm_up_epochs = 1];
    for (index, edit) in edits.into_iter().enumerate() {
        let base = configured(&outcome.records[0], edit);
        let mut new = base.clone();
        new.parameters_hash = "0".repeat(64);
        let on = |name: &str, record: &Record, cpu: Option<&str>| {
            let mut json = serde_json::to_value(record).unwrap();
            if let Some(cpu) = cpu {
                json["environment"]["cpu"] = cpu.into();
            }
            write(&at(&format!("{index}-{name}")), &json)
        };
        on("here", &base, Some("A"));
        on("unknown", &of_schema_1(&base), None);
        on("same", &new, Some("A"));
        on("there", &new, Some("B"));
        let verdict = |base: &str, new: &str| {
            compared(&at(&format!("{index}-{base}")), &at(&format!("{index}-{new}"))).verdict
        };
        assert_eq!(verdict("here", "same"), ComparisonVerdict::Regressed);
        assert_eq!(verdict("here", "there"), ComparisonVerdict::Same);
        assert_eq!(verdict("unknown", "same"), ComparisonVerdict::Same);
    }
}

#[test]
fn a_gpu_is_held_to_no_bits_and_its_number_is_no_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let one = Options { rules: vec![Rule::Both], ..grid(folder.path()) };
    let (outcome, _) = run(&one, &at("cpu"), 2);
    let on = |index| {
        configured(&outcome.records[0], |config| {
            (config.device, config.engine) = (DeviceKind::Cuda(index), EngineKind::Reference);
        })
    };
    let (first, mut second) = (on(0), on(1));
    second.epochs[0].train_loss += 0.1;
    store(&at("first"), std::slice::from_ref(&first));
    store(&at("second"), std::slice::from_ref(&second));
    let found = compared(&at("first"), &at("second"));
    assert_eq!((found.verdict, found.pairs.len()), (ComparisonVerdict::Same, 1), "{found}");
    let pair = &found.pairs[0];
    assert_eq!((pair.by, pair.must_be_equal, pair.differences.len()), (PairedBy::RunId, false, 1));
    assert_eq!((pair.changes[0].kind, pair.changes[0].key.as_str()), (ChangeKind::Machine, "device.cuda"));
    // Both in one folder contradict each other no more than there.
    store(&at("both/first"), &[first]);
    store(&at("both/second"), &[second]);
    assert_eq!(compared(&at("first"), &at("both")).verdict, ComparisonVerdict::Same);
}

#[test]
fn the_same_configuration_elsewhere_is_compared_before_another_one_here() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let one = Options { rules: vec![Rule::Both], ..grid(folder.path()) };
    let (outcome, _) = run(&one, &at("base"), 2);
    let record = &outcome.records[0];
    let alpha = configured(record, |config| config.neuron.alpha = 0.9);
    let mut elsewhere = configured(record, |config| config.code_version += 1);
    let machine = elsewhere.environment.as_mut().unwrap();
    (machine.cpu, machine.cores, elsewhere.threads) = (Some("another".to_owned()), Some(99), 99);
    store(&at("new"), &[alpha.clone(), elsewhere.clone()]);
    let found = compared(&at("base"), &at("new"));
    assert_eq!(found.pairs.len(), 1, "{found}");
    assert_eq!((&found.pairs[0].new, &found.only_in_new[0].run_id), (&elsewhere.run_id, &alpha.run_id));
    assert!(found.pairs[0].changes.len() > 2, "{found}");
}

fn write(folder: &Path, json: &Value) {
    let path = folder.join(json["run_id"].as_str().unwrap()).join("record.json");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, json.to_string()).unwrap();
}

#[test]
fn an_accuracy_that_fell_is_told_from_noise_by_its_seeds() {
    let folder = tempfile::tempdir().unwrap();
    let one = Options { rules: vec![Rule::Both], ..grid(folder.path()) };
    let (outcome, _) = run(&one, &folder.path().join("runs"), 2);
    let record = &outcome.records[0];
    let cases: [(&[f64], &[f64], ComparisonVerdict, &str); 6] = [
        (&[0.0, 1.0, 2.0], &[-4.0, -2.0, -1.0], ComparisonVerdict::Regressed, "-4.77 to -1.90"),
        (&[0.0, 1.0, 2.0], &[-4.0, 2.0, -1.0], ComparisonVerdict::Same, "-8.57 to +4.57"),
        (&[0.0, 1.0, 2.0], &[-4.0, 2.0, -1.0], ComparisonVerdict::Same, "2 fell by more than 1 point, which"),
        (&[0.0, 1.0, 2.0], &[4.0, 4.0, 4.0], ComparisonVerdict::Same, "+0.52 to +5.48"),
        (&[0.0, 1.0], &[-1.0, 0.0], ComparisonVerdict::Same, "too few seeds to tell"),
        (&[0.0, 1.0], &[-1.0, -1.0], ComparisonVerdict::Regressed, "too few seeds to tell"),
    ];
    for (index, (base, new, verdict, says)) in cases.into_iter().enumerate() {
        let at = |name: &str| folder.path().join(format!("{name}{index}"));
        let code = record.config.code_version;
        store(&at("base"), &seeds(record, code, base));
        store(&at("new"), &seeds(record, code + 1, new));
        let found = compared(&at("base"), &at("new"));
        assert_eq!(found.verdict, verdict, "{found}");
        assert!(found.to_string().contains(says), "{found}");
        assert!(found.pairs.iter().all(|pair| pair.changes[0].kind == ChangeKind::Code));
    }
}

#[test]
fn what_cannot_be_compared_is_said_and_never_passes_for_equal() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (outcome, _) = run(&grid(folder.path()), &at("base"), 2);
    let record = &outcome.records[0];

    store(&at("data"), &[configured(record, |config| config.manifest_hash = "0".repeat(64))]);
    let data = compared(&at("base"), &at("data"));
    assert_eq!((data.verdict, data.accuracies.len()), (ComparisonVerdict::NotComparable, 0));
    assert!(data.to_string().starts_with("not comparable: 1 pair met other data"), "{data}");
    assert!(data.to_string().contains("manifest_hash"), "{data}");

    let (other, _) = run(&Options { rules: vec![Rule::Spatial], ..grid(folder.path()) }, &at("spatial"), 2);
    let none = compared(&at("base"), &at("spatial"));
    assert_eq!((none.verdict, none.pairs.len()), (ComparisonVerdict::NotComparable, 0));
    let text = none.to_string();
    assert!(text.contains("no run of BASE has a partner in NEW"), "{text}");
    assert!(text.contains(&other.records[0].run_id) && text.contains(&record.run_id), "{text}");

    // An accuracy that was edited contradicts its epochs; two records of one run contradict each other.
    let mut edited = serde_json::to_value(record).unwrap();
    edited["accuracy"]["last"] = 99.9.into();
    write(&at("edited"), &edited);
    let error = refused(&at("base"), &at("edited"));
    assert!(error.contains("record.json: not a sound record: key `accuracy` is"), "{error}");
    let mut twice = record.clone();
    twice.epochs[0].train_loss += 0.1;
    store(&at("twice/a"), std::slice::from_ref(record));
    store(&at("twice/b"), &[twice]);
    let error = refused(&at("base"), &at("twice"));
    assert!(error.contains("has other results of the same run"), "{error}");

    std::fs::create_dir(at("empty")).unwrap();
    assert!(refused(&at("base"), &at("empty")).contains("no records are there"));
    let error = refused(&at("base"), Path::new("no-such-revision"));
    assert!(error.contains("neither such a folder nor such a revision"), "{error}");
}

#[test]
fn times_are_judged_on_one_machine_and_fail_only_where_that_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (outcome, _) = run(&grid(folder.path()), &at("runs"), 2);
    store(&at("bare"), &outcome.records.iter().map(of_schema_1).collect::<Vec<_>>());
    for record in &outcome.records {
        let mut json = serde_json::to_value(record).unwrap();
        json["environment"]["cpu"] = "A".into();
        write(&at("base"), &json);
        json["train_ms_per_sample"] = (record.train_ms_per_sample * 1.5).into();
        write(&at("slow"), &json);
        json["environment"]["cpu"] = "B".into();
        write(&at("elsewhere"), &json);
    }
    let of = |base: &str, new: &str, limits| {
        compare(at(base).to_str().unwrap(), at(new).to_str().unwrap(), &root(), limits).unwrap()
    };
    let slow = of("base", "slow", LIMITS);
    assert_eq!(slow.verdict, ComparisonVerdict::Same);
    assert!(slow.to_string().contains("slower: train_ms_per_sample\n"), "{slow}");
    assert_eq!(slow.times.iter().map(|time| time.slower).collect::<Vec<_>>(), [true, false]);
    assert_eq!(
        of("base", "slow", Limits { fail_on_time: true, ..LIMITS }).verdict,
        ComparisonVerdict::Regressed
    );
    assert_eq!(
        of("base", "slow", Limits { fail_on_time: true, time_tolerance: 1.6, ..LIMITS }).verdict,
        ComparisonVerdict::Same
    );
    let fail = Limits { fail_on_time: true, ..LIMITS };
    assert!(of("base", "elsewhere", fail).to_string().contains("no pair on one CPU model"));
    assert!(of("bare", "slow", fail).to_string().contains("machines not recorded: not judged"));
}

#[test]
fn committed_tables_follow_from_committed_records_or_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (results, experiments) = (folder.path().join("results"), root().join("experiments"));
    let options = grid(folder.path());
    run(&options, &folder.path().join("runs"), 2);
    let (plan, _) = plan(&options);
    let at = accept(&plan, &RunStore::new(&folder.path().join("runs")), &results).unwrap().folder;
    let check = |write| check_tables(&results, &experiments, Some("table2"), write).unwrap();
    assert_eq!((check(false).folders, check(false).drift), (vec![at.clone()], vec![]));

    for (name, from, to) in [("table.md", "ours: both", "ours: bath"), ("runs.csv", "nmnist", "mnist")] {
        let text = std::fs::read_to_string(at.join(name)).unwrap();
        std::fs::write(at.join(name), text.replacen(from, to, 1)).unwrap();
        let drift = check(false).drift;
        assert_eq!((drift.len(), &drift[0].path), (1, &at.join(name)));
        assert!(drift[0].why.contains("does not follow from records/"), "{drift:?}");
        assert!(check(true).drift[0].written);
        assert_eq!(std::fs::read_to_string(at.join(name)).unwrap(), text);
    }
    std::fs::remove_file(at.join("runs.csv")).unwrap();
    assert_eq!(check(false).drift[0].why, "is not there");
    let record = std::fs::read_dir(at.join("records")).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, text.replacen("\"last\": ", "\"last\": 1", 1)).unwrap();
    let drift = check(true).drift;
    assert!(
        drift.len() == 1 && !drift[0].written && drift[0].why.contains("key `accuracy.last`"),
        "{drift:?}"
    );
    std::fs::remove_dir_all(at.join("records")).unwrap();
    assert_eq!(check(true).drift[0].why, "has table.md, and no records/ that it follows from");
    assert!(matches!(
        check_tables(&results, &experiments, Some("table1"), false),
        Err(HarnessError::NothingToCheck { .. })
    ));
}

#[test]
fn accepting_by_newer_code_takes_the_place_of_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let (results, runs) = (folder.path().join("results"), folder.path().join("runs"));
    let options = Options { rules: vec![Rule::Both], ..grid(folder.path()) };
    let (outcome, _) = run(&options, &runs, 2);
    let (plan, _) = plan(&options);
    let at = results.join("table2/quick/records");
    std::fs::create_dir_all(&at).unwrap();
    for (seed, rule) in [(1, Rule::Both), (7, Rule::Both), (1, Rule::Spatial)] {
        let edit = |config: &mut RunConfig| {
            (config.code_version, config.seed, config.neuron.rule) = (1, seed, rule);
        };
        let mut old = configured(&outcome.records[0], edit);
        old.rule = rule.to_string();
        std::fs::write(at.join(format!("{}.json", old.run_id)), serde_json::to_vec(&old).unwrap()).unwrap();
    }
    let accepted = accept(&plan, &RunStore::new(&runs), &results).unwrap();
    assert_eq!((accepted.runs, accepted.gone.len()), (outcome.records.len(), 2), "whatever its seed");
    assert!(accepted.gone.iter().all(|gone| (gone.code_version, gone.neuron.rule) == (1, Rule::Both)));
    let table = std::fs::read_to_string(results.join("table2/quick/table.md")).unwrap();
    assert_eq!(
        std::fs::read_dir(&at).unwrap().count(),
        outcome.records.len() + 1,
        "the one of another rule stays"
    );
    assert!(table.contains("ours: both") && table.contains("ours: spatial"), "{table}");
}

#[test]
fn a_row_stands_where_the_experiment_lists_it_whatever_order_the_records_come_in() {
    let experiment = Experiment::load(&root().join("experiments"), "table2").unwrap();
    let results = root().join("results/table2");
    let place = |rule: &str| experiment.rules.iter().position(|one| one.to_string() == rule);
    for profile in [Profile::Quick, Profile::Cpu] {
        let table = std::fs::read_to_string(results.join(profile.id()).join("table.md")).unwrap();
        // Rows that differ by their rule: one data set, network, T and epochs.
        let (mut data, mut alike) = ("", Vec::<([&str; 4], Vec<usize>)>::new());
        for line in table.lines() {
            if line.starts_with("## ") {
                data = line;
            } else if let Some(row) = line.strip_prefix("| ours: ") {
                let columns: Vec<&str> = row.split('|').map(str::trim).collect();
                let key = [data, columns[1], columns[2], columns[3]];
                let rule = place(columns[0].split(',').next().unwrap()).unwrap();
                match alike.last_mut().filter(|(known, _)| *known == key) {
                    Some((_, rules)) => rules.push(rule),
                    None => alike.push((key, vec![rule])),
                }
            }
        }
        assert!(alike.len() > 2 && alike.iter().any(|(_, rules)| rules.len() == experiment.rules.len()));
        for (index, (key, rules)) in alike.iter().enumerate() {
            assert!(rules.is_sorted_by(|a, b| a < b), "{key:?}: {rules:?}");
            assert!(alike[..index].iter().all(|(other, _)| other != key), "{key:?} stands in two places");
        }
    }
    assert_eq!(
        check_tables(&root().join("results"), &root().join("experiments"), None, false).unwrap().drift,
        []
    );
}

/// What is rendered of the quick runs of each artefact: the test above holds these files to their records.
#[test]
fn the_table_of_every_artefact_is_as_it_was() {
    for artefact in ["table1", "table2", "table4", "table5", "table6", "fig1", "fig2", "fig3"] {
        let table = root().join("results").join(artefact).join("quick/table.md");
        insta::assert_snapshot!(format!("quick_{artefact}"), std::fs::read_to_string(table).unwrap());
    }
}
