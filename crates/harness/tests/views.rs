//! What is made of runs besides the accuracy table: its numbers against the records, its labels, and the artefacts' files.
#![allow(clippy::unwrap_used)]

mod common;

use bpsta_datasets::DatasetId;
use bpsta_harness::{
    ClassCount, DeviceKind, EngineKind, Experiment, Options, Profile, Record, RunConfig, RunFiles, RunStore,
    View, render,
};
use bpsta_spiking::{CosineGranularity, Rule, Variant};

use crate::common::{options, root, run};

const ARTEFACTS: [&str; 8] = ["table1", "table2", "table4", "table5", "table6", "fig1", "fig2", "fig3"];

fn records(folder: &std::path::Path) -> Vec<Record> {
    let grid = Options {
        datasets: vec![DatasetId::NMNIST],
        rules: vec![Rule::Baseline, Rule::Both],
        time_steps: vec![2, 3],
        epochs: Some(2),
        seeds: Some(2),
        ..options(folder)
    };
    run(&grid, &folder.join("runs"), 2).0.records
}

/// Accepted runs of N-MNIST on stand-ins, by rule.
fn accepted() -> Vec<Record> {
    let folder = std::fs::read_dir(root().join("results/table2/quick/records")).unwrap();
    let files = folder.map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    let mut records: Vec<Record> = files.map(|bytes| serde_json::from_slice(&bytes).unwrap()).collect();
    records.retain(|record| record.dataset == "nmnist");
    records.sort_by_key(|record| record.config.rule());
    records
}

/// A run that differs by its configuration, made up from another.
fn other(record: &Record, edit: impl FnOnce(&mut RunConfig)) -> Record {
    let mut record = record.clone();
    edit(&mut record.config);
    (record.seed, record.run_id) = (record.config.seed, record.config.run_id());
    record
}

/// A file of a view over records; what lies beside records is looked for in an empty store.
fn text(view: View, records: &[Record], name: &str) -> String {
    let experiment = Experiment::load(&root().join("experiments"), "table2").unwrap();
    let empty = RunStore::new("no runs are here".as_ref());
    let experiment = Experiment { view, ..experiment };
    let files = render(&experiment, Profile::Quick, records, RunFiles::Store(&empty)).unwrap();
    assert_eq!(files[0].name, "table.md");
    let file = files.into_iter().find(|file| file.name == name).unwrap();
    String::from_utf8(file.bytes).unwrap()
}

#[test]
fn views_give_the_records_numbers_and_name_the_stand_in_in_each_row() {
    let folder = tempfile::tempdir().unwrap();
    let records = records(folder.path());
    assert_eq!(records.len(), 8);
    for view in [View::Accuracy, View::Energy, View::Latency, View::Curves] {
        let table = text(view, &records, "table.md");
        let ours: Vec<&str> =
            table.lines().filter(|line| line.starts_with("| b") && !line.contains("paper")).collect();
        assert!(ours.len() >= 4 && ours.iter().all(|row| row.contains("synthetic stand-in")), "{table}");
        assert!(table.contains("they say nothing about the paper's numbers"), "{table}");
        assert_eq!(table, text(view, &records, "table.md"), "the same each time");
    }

    let one = [records[0].clone()];
    let (record, energy) = (&one[0], text(View::Energy, &one, "table.md"));
    let formula = 4.6 / (record.firing_rate * 0.1 * record.time_steps as f64);
    let layers = record.operations.as_ref().unwrap();
    let sum = |real: bool| -> f64 {
        layers.iter().filter(|of| of.real == real).map(|of| of.operations_per_sample).sum()
    };
    let dense = layers.iter().map(|of| of.dense_per_sample).sum::<f64>() / record.time_steps as f64;
    let counted = 4.6 * dense / (4.6 * sum(true) + 0.1 * sum(false));
    let row = energy.lines().find(|line| line.starts_with("| baseline")).unwrap();
    let cells: Vec<&str> = row.split('|').map(str::trim).collect();
    let expected = [sum(false), sum(true), dense].map(|count| format!("{count:.0}"));
    assert_eq!(cells[5..8], expected);
    let energy_uj = (4.6 * sum(true) + 0.1 * sum(false)) / 1e6;
    assert_eq!(cells[8..11], [format!("{energy_uj:.3}"), format!("{formula:.1}"), format!("{counted:.1}")]);

    // An older record has no counts, and none are made up.
    let older = [Record { operations: None, anytime: None, ..record.clone() }];
    assert!(text(View::Energy, &older, "table.md").contains("not counted"));
    assert!(text(View::Latency, &older, "table.md").contains("No run recorded its votes"));

    let latency = text(View::Latency, &one, "table.md");
    for accuracy in record.anytime.as_ref().unwrap() {
        assert!(latency.contains(&format!("{accuracy:.2}")), "{accuracy} is not in {latency}");
    }

    let csv = text(View::Curves, &records, "curves.csv");
    assert_eq!(csv.lines().count(), 1 + 4 * 2, "a header, and a line an epoch of each configuration:\n{csv}");
    let epochs = records.iter().filter(|record| record.time_steps == 2 && record.rule == "both");
    let last: Vec<f64> = epochs.map(|record| record.epochs[1].test_accuracy).collect();
    let line = csv.lines().find(|line| line.contains("both") && line.contains(",2,2,2,")).unwrap();
    assert!(line.ends_with(&format!(
        "{:.4},{:.4},{:.4}",
        (last[0] + last[1]) / 2.0,
        last[0].min(last[1]),
        last[0].max(last[1])
    )));
    let svg = text(View::Curves, &records, "figure.svg");
    assert!(
        svg.contains("synthetic stand-in") && svg.contains("T = 2, middle") && svg.contains("T = 3, middle")
    );
}

#[test]
fn runs_of_other_numbers_of_epochs_have_rows_of_their_own_in_the_latency_view() {
    let mut records = accepted();
    let longer: Vec<Record> = records
        .iter()
        .map(|record| {
            let mut longer = other(record, |config| config.epochs *= 2);
            longer.accuracy.last = 12.34;
            longer
        })
        .collect();
    let epochs = records[0].config.epochs;
    let named = |table: &str, epochs: usize| {
        let name = format!("| both, middle width 0.125, synthetic stand-in, {epochs} epochs ");
        table.lines().filter(|line| line.starts_with(&name)).map(str::to_owned).collect::<Vec<_>>()
    };
    let alone = text(View::Latency, &records, "table.md");
    assert!(!alone.contains(" epochs |"), "only where there are several: {alone}");
    records.extend(longer);
    let table = text(View::Latency, &records, "table.md");
    for of in [epochs, 2 * epochs] {
        assert_eq!(named(&table, of).len(), 2, "after the last epoch and at the best one: {table}");
    }
    assert!(named(&table, 2 * epochs)[0].contains("12.34"), "{table}");
}

/// Whatever two configurations differ in: no row stands for both, and no two rows have one name.
#[test]
fn configurations_that_differ_in_anything_have_rows_of_their_own() {
    let record = accepted().pop().unwrap();
    type Edit = fn(&mut RunConfig);
    let edits: [(Edit, &str); 11] = [
        (|config| config.batch_size += 1, "batches of "),
        (|config| config.ann_warm_up_epochs += 1, "1 epochs of ANN warm-up"),
        (|config| config.schedule.cosine = CosineGranularity::Step, "cosine by the step"),
        (|config| config.schedule.learning_rate *= 2.0, "learning rate "),
        (|config| config.weight_decay += 1.0, "weight decay "),
        (|config| config.variant = Variant::Images, "layers for images"),
        (|config| config.input.stride += 1, "stride 2"),
        (|config| config.code_version += 1, "code version "),
        (|config| config.manifest_hash = "0123456789".to_owned(), "data 01234567"),
        (|config| config.engine = EngineKind::Reference, "engine reference"),
        (|config| config.device = DeviceKind::Cuda(0), "on a GPU"),
    ];
    for (edit, words) in edits {
        let mut changed = other(&record, edit);
        assert_ne!(changed.config, record.config, "{words}");
        changed.accuracy.last = 12.34;
        let both = [record.clone(), changed];
        for view in [View::Accuracy, View::Latency, View::Energy, View::Curves] {
            let table = text(view, &both, "table.md");
            assert!(table.contains(&format!(", {words}")), "{words}: {table}");
            let grid = table.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
            let of_rule = |line: &&str| line.contains(&format!("{},", record.rule));
            let names = grid.take_while(|line| line.starts_with('|')).filter(of_rule);
            let names: Vec<&str> = names.map(|line| line.split('|').nth(1).unwrap()).collect();
            assert!(names.len() == 2 && names[0] != names[1], "{words}: {names:?}");
            assert!(view == View::Energy || table.contains("12.34"), "{words}: {table}");
        }
    }
    // What tells one of three from the others need not tell those apart.
    let batches = other(&record, |config| config.batch_size += 1);
    let data = other(&record, |config| config.manifest_hash = "0123456789".to_owned());
    let table = text(View::Curves, &[record, batches, data], "table.md");
    let rows = table.lines().filter(|line| line.starts_with("| both,"));
    let names: Vec<&str> = rows.map(|line| line.split('|').nth(1).unwrap().trim()).collect();
    assert!(
        names.len() == 3 && names[0] != names[1] && names[0] != names[2] && names[1] != names[2],
        "{names:?}"
    );
}

#[test]
fn a_rule_is_compared_with_each_baseline_that_differs_in_what_the_rule_does_not_use() {
    let of_rules = accepted();
    let of = |rule| of_rules.iter().find(|record| record.config.rule() == Some(rule)).unwrap();
    let mut records = Vec::new();
    for half_width in [0.25, 0.5] {
        for seed in [1, 2] {
            records.push(other(of(Rule::Baseline), |config| {
                (config.seed, config.neuron.surrogate_half_width) = (seed, half_width);
            }));
        }
    }
    records.extend([1, 2].map(|seed| other(of(Rule::Both), |config| config.seed = seed)));
    let table = text(View::Accuracy, &records, "table.md");
    for row in ["| both - baseline ", "| both - baseline, surrogate half width 0.25 "] {
        assert_eq!(table.matches(row).count(), 1, "{row}: {table}");
    }
}

#[test]
fn each_network_has_layers_of_its_own_and_silence_no_ratio() {
    let record = accepted().into_iter().find(|record| record.config.rule() == Some(Rule::Both)).unwrap();
    let mut deeper = other(&record, |config| config.width = 0.25);
    (deeper.width, deeper.layers) = (0.25, format!("{} another", record.layers));
    deeper.layer_spikes[0].layer = 77;
    let table = text(View::Energy, &[record.clone(), deeper.clone()], "table.md");
    for of in [&record, &deeper] {
        let mut after = table.lines().skip_while(|line| !line.contains(&format!("index in `{}`", of.layers)));
        let header = after.find(|line| line.starts_with("| row")).unwrap();
        assert!(header.contains(&format!("| layer {} |", of.layer_spikes[0].layer)), "{header}");
    }
    assert!(!table.contains("no spikes"), "{table}");
    let silent = other(&record, |config| config.seed = 2);
    let table = text(View::Energy, &[record, Record { firing_rate: 0.0, ..silent }], "table.md");
    assert!(table.contains(" no spikes |") && !table.contains(" inf "), "{table}");
}

#[test]
fn a_line_of_one_epoch_is_seen() {
    let mut records = accepted();
    for record in &mut records {
        record.epochs.truncate(1);
    }
    let svg = text(View::Curves, &records, "figure.svg");
    let markers = svg.lines().filter(|line| line.starts_with("<polygon opacity=\"1\""));
    let corners = |marker: &str| marker.split("points=\"").nth(1).unwrap().matches(',').count();
    let corners: Vec<usize> = markers.map(corners).collect();
    assert_eq!(
        corners,
        [8, 3, 4, 4, 8, 3, 4, 4],
        "of each rule in the legend, and then in the panel:\n{svg}"
    );
}

#[test]
fn epochs_of_ann_warm_up_are_on_no_curve() {
    let mut records = accepted();
    let lines = |records: &[Record]| text(View::Curves, records, "curves.csv").lines().count();
    let all = lines(&records);
    for record in &mut records {
        record.epochs[0].ann_warm_up = true;
    }
    assert_eq!(lines(&records), all - records.len(), "one seed of each configuration");
}

#[test]
fn a_table_says_which_versions_of_the_code_made_it() {
    let mut records = accepted();
    let one = records[0].config.code_version;
    let table = text(View::Accuracy, &records, "table.md");
    assert!(table.contains(&format!("Made by version {one} of the code.")), "{table}");
    records[1] = other(&records[1], |config| config.code_version = 3);
    for view in [View::Accuracy, View::Energy, View::Latency, View::Curves] {
        let table = text(view, &records, "table.md");
        assert!(table.contains(&format!("Made by versions 3 and {one} of the code.")), "{table}");
    }
}

#[test]
fn a_row_of_runs_csv_says_what_tells_its_configuration_apart() {
    let record = accepted().remove(0);
    let alpha = other(&record, |config| config.neuron.alpha = 0.4);
    let csv = text(View::Accuracy, &[record.clone(), alpha], "runs.csv");
    let rows: Vec<&str> = csv.lines().map(|line| line.split('"').nth(1).unwrap_or(line)).collect();
    assert!(rows[0].starts_with("row,run_id,") && rows[1].contains(", synthetic stand-in"), "{csv}");
    assert_eq!(rows[2], rows[1].replace(", synthetic", ", alpha 0.4, synthetic"));
}

#[test]
fn a_drawing_has_a_panel_for_each_configuration_and_names_what_tells_it_apart() {
    let records = accepted();
    let panels = |edit: &dyn Fn(&mut Record)| {
        let mut all = records.clone();
        all.extend(records.iter().map(|record| {
            let mut record = record.clone();
            edit(&mut record);
            record
        }));
        let svg = text(View::Curves, &all, "figure.svg");
        let captions = svg.lines().filter(|line| line.contains("T = 4, middle width 0.125"));
        captions.map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(panels(&|_| {}).len(), 1, "one run twice");
    let longer = panels(&|record| {
        record.config.epochs = 40;
        record.epochs.extend(record.epochs.clone());
    });
    let rates = panels(&|record| record.config.schedule.learning_rate = 1e-3);
    let constants = panels(&|record| record.config.neuron.alpha = 0.4);
    let data = panels(&|record| {
        record.dataset = "dvscifar10".to_owned();
        record.config.dataset = DatasetId::DVSCIFAR10;
    });
    for (captions, name) in [
        (longer, ", synthetic stand-in, 40 epochs"),
        (rates, ", learning rate 0.001, synthetic stand-in"),
        (constants, ", alpha 0.4, synthetic stand-in"),
        (data, "dvscifar10, T = 4"),
    ] {
        assert_eq!(captions.len(), 2, "{captions:?}");
        assert_eq!(captions.iter().filter(|caption| caption.contains(name)).count(), 1, "{captions:?}");
    }
}

#[test]
fn every_artefact_has_all_four_rules_and_shares_its_cells() {
    for artefact in ARTEFACTS {
        let experiment = Experiment::load(&root().join("experiments"), artefact).unwrap();
        assert_eq!(experiment.artefact, artefact);
        assert_eq!(experiment.rules, [Rule::Baseline, Rule::Spatial, Rule::Temporal, Rule::Both]);
        for profile in Profile::ALL {
            let settings = experiment.settings(profile).unwrap();
            assert!(!settings.cell.is_empty(), "{artefact} {profile}");
            let seeds = if profile == Profile::Quick { 1 } else { 5 };
            assert!(settings.cell.iter().all(|cell| cell.seeds >= seeds || cell.width > 0.125), "{artefact}");
        }
        for value in &experiment.paper {
            let places = experiment.paper.iter().filter(|other| other.place == value.place).count();
            assert_eq!(places, 1, "{artefact}: {} is there once", value.place);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let load = |artefact| {
        let registry = common::registry();
        let options = Options { datasets: vec![DatasetId::DVSGESTURE], ..options(folder.path()) };
        let store = bpsta_datasets::Store::open(&options.data, &registry);
        let experiment = Experiment::load(&root().join("experiments"), artefact).unwrap();
        let plan = bpsta_harness::Plan::new(experiment, &options, &registry, &store).unwrap();
        plan.cells.into_iter().map(|cell| cell.run_id).collect::<Vec<_>>()
    };
    let of_table2 = load("table2");
    for artefact in ["table4", "fig1"] {
        assert_eq!(load(artefact), of_table2, "{artefact} runs nothing of its own");
    }
    let of_table5 = load("table5");
    assert_eq!(of_table5[..of_table5.len() - 1], of_table2, "table5 runs one ANN twin of its own");
    assert!(of_table2.iter().all(|run| load("table6").contains(run)));
}

#[test]
fn the_class_that_is_found_least_often_is_shown_and_whether_it_is_lost() {
    let mut records: Vec<Record> =
        accepted().into_iter().filter(|record| record.config.rule() == Some(Rule::Spatial)).take(1).collect();
    let second = other(&records[0], |config| config.seed += 1);
    records.push(second);
    // One class has no test sample: it is not one that is lost. The second seed finds 9 % of a class, where chance finds 10.
    for (record, found) in records.iter_mut().zip([10, 9]) {
        let mut classes = vec![ClassCount { correct: 50, total: 100 }; 10];
        (classes[3], classes[7]) =
            (ClassCount { correct: found, total: 100 }, ClassCount { correct: 0, total: 0 });
        record.classes = Some(classes);
    }
    let table = text(View::Accuracy, &records, "table.md");
    let (_, classes) = table.split_once("Classes: the accuracy").unwrap();
    let row = classes.lines().find(|line| line.starts_with("| spatial")).unwrap();
    let cells: Vec<&str> = row.split('|').map(str::trim).collect();
    assert_eq!(cells[2..5], ["9.50 ± 0.71", "9.00", "1 of 2"], "{row}");

    // A group with a run of an older record, which has no classes, has no row.
    records[1].classes = None;
    assert!(!text(View::Accuracy, &records, "table.md").contains("Classes: the accuracy"));
}
