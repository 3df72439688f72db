//! Runs that are stopped, damaged, shared or failed: nothing finished is lost, and what goes on gives the same bits.
#![allow(clippy::unwrap_used)]

mod common;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bpsta_datasets::{DatasetId, Store};
use bpsta_harness::{
    CallId, EngineKind, Event, Experiment, HarnessError, Options, Outcome, Plan, Profile, Record, RunState,
    RunStore, reproduce,
};
use bpsta_spiking::Rule;

use crate::common::{options, plan, plan_of, registry, root, run};

/// One cell of N-MNIST that is trained in a second.
fn one(folder: &Path) -> Options {
    Options {
        datasets: vec![DatasetId::NMNIST],
        rules: vec![Rule::Both],
        time_steps: vec![2],
        epochs: Some(3),
        ..options(folder)
    }
}

/// Runs a plan until it was asked `asked` times whether to stop; gives also the notices.
fn run_until(plan: &Plan, data: &Store, runs: &RunStore, asked: usize) -> (Outcome, Vec<String>) {
    let left = Cell::new(asked);
    let stop = || {
        left.set(left.get().saturating_sub(1));
        left.get() == 0
    };
    let mut notices = Vec::new();
    let outcome = reproduce(plan, data, runs, &stop, &mut |event| {
        if let Event::Notice { text } = event {
            notices.push(text);
        }
    });
    (outcome.unwrap(), notices)
}

/// Stops a plan of one cell behind each epoch; gives its record.
fn epoch_by_epoch(plan: &Plan, data: &Store, folder: &Path) -> Record {
    let runs = RunStore::new(folder);
    let epochs = plan.cells[0].config.epochs;
    for done in 1..=epochs {
        // Asked before the cell, and behind its epoch.
        let (mut outcome, notices) = run_until(plan, data, &runs, 2);
        assert_eq!(notices, Vec::<String>::new());
        assert_eq!(outcome.stopped, done < epochs, "behind epoch {done}");
        let checkpoint = folder.join(&plan.cells[0].run_id).join("checkpoint.safetensors");
        assert_eq!(checkpoint.exists(), done < epochs, "a checkpoint goes when its run is finished");
        if done == epochs {
            return outcome.records.remove(0);
        }
    }
    unreachable!("a run has epochs")
}

#[test]
fn a_run_that_is_stopped_behind_each_epoch_comes_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let events = one(folder.path());
    let warm_up = Options { datasets: vec![DatasetId::CIFAR10], ..events.clone() };
    let cases = [
        ("cpu", "table2", events.clone()),
        ("reference", "table2", Options { engine: Some(EngineKind::Reference), ..events.clone() }),
        ("validation", "table2", Options { validation: Some(0.25), ..events }),
        ("warm-up", "table1", warm_up.clone()),
        ("warm-up on the reference", "table1", Options { engine: Some(EngineKind::Reference), ..warm_up }),
    ];
    for (name, artefact, options) in cases {
        let (plan, data) = plan_of(artefact, &options);
        assert_eq!(plan.cells.len(), 1, "{name}");
        let warm_up = plan.cells[0].config.ann_warm_up_epochs;
        assert_eq!(warm_up > 0, artefact == "table1", "{name}");
        let whole = reproduce(
            &plan,
            &data,
            &RunStore::new(&folder.path().join(format!("{name}, whole"))),
            &|| false,
            &mut |_| (),
        );
        let whole = whole.unwrap().records.remove(0);
        let stopped = epoch_by_epoch(&plan, &data, &folder.path().join(name));
        assert_eq!(stopped.reproducible(), whole.reproducible(), "{name}");
        assert_eq!(stopped.parameters_hash, whole.parameters_hash, "{name}");
        let (stopped, whole) = (stopped.timing.unwrap(), whole.timing.unwrap());
        assert_eq!((stopped.resumed, whole.resumed), (2, 0), "{name}");
        assert_eq!(stopped.steps, whole.steps, "{name}");
        for file in ["final.safetensors", "maps.safetensors"] {
            let left = |runs: &str| {
                std::fs::read(folder.path().join(runs).join(&plan.cells[0].run_id).join(file)).unwrap()
            };
            assert_eq!(left(name), left(&format!("{name}, whole")), "{name}: {file}");
        }
    }
}

#[test]
fn a_checkpoint_that_is_damaged_or_another_s_is_set_aside_and_the_run_starts_again() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, data) = plan(&one(folder.path()));
    let (others, _) = common::plan(&Options { rules: vec![Rule::Baseline], ..one(folder.path()) });
    let checkpoint = |runs: &RunStore, plan: &Plan| {
        runs.record_path(&plan.cells[0].run_id).with_file_name("checkpoint.safetensors")
    };
    let before = RunStore::new(&folder.path().join("before"));
    for plan in [&plan, &others] {
        assert!(run_until(plan, &data, &before, 2).0.stopped);
    }
    let whole = std::fs::read(checkpoint(&before, &plan)).unwrap();
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let cases = [
        ("cut", whole[..whole.len() - 5].to_vec(), "not a checkpoint of this run"),
        ("empty", Vec::new(), "not a checkpoint of this run"),
        ("flipped", flipped, "its content hashes to"),
        ("another's", std::fs::read(checkpoint(&before, &others)).unwrap(), "it is of run"),
    ];
    let mut records = Vec::new();
    for (name, bytes, expected) in cases {
        let runs = RunStore::new(&folder.path().join(name));
        let path = checkpoint(&runs, &plan);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let (mut outcome, notices) = run_until(&plan, &data, &runs, usize::MAX);
        assert!(notices.len() == 1 && notices[0].contains(expected), "{name}: {notices:?}");
        assert_eq!(std::fs::read(path.with_extension("unusable")).unwrap(), bytes, "{name}");
        let record = outcome.records.remove(0);
        assert_eq!(record.timing.unwrap().resumed, 0, "{name}");
        records.push(record.reproducible());
    }
    assert!(records.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn what_a_call_left_that_was_killed_right_behind_a_record_is_cleared_away() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, data) = plan(&one(folder.path()));
    let runs = RunStore::new(&folder.path().join("runs"));
    run_until(&plan, &data, &runs, usize::MAX);
    let left = ["checkpoint.safetensors", "failed.json"]
        .map(|name| runs.record_path(&plan.cells[0].run_id).with_file_name(name));
    left.iter().for_each(|path| std::fs::write(path, "left").unwrap());
    let (outcome, notices) = run_until(&plan, &data, &runs, usize::MAX);
    assert_eq!((outcome.records.len(), notices.len()), (1, 0));
    assert!(left.iter().all(|path| !path.exists()));
}

#[test]
fn checkpoints_are_written_at_their_interval_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, data) = plan(&one(folder.path()));
    for (name, every, expected) in [("seldom", Duration::from_secs(1000), 0), ("always", Duration::ZERO, 1)] {
        let runs = RunStore::new(&folder.path().join(name)).with_checkpoint_every(every);
        let path = runs.record_path(&plan.cells[0].run_id).with_file_name("checkpoint.safetensors");
        let mut seen = 0;
        // Looked at when the epoch after it begins: an event is told before its epoch's checkpoint is written.
        reproduce(&plan, &data, &runs, &|| false, &mut |event| {
            seen +=
                usize::from(matches!(event, Event::Epoch { epoch, .. } if epoch.epoch == 2) && path.exists());
        })
        .unwrap();
        assert_eq!(seen, expected, "{name}");
    }
}

#[test]
fn two_calls_share_a_grid_and_train_each_cell_once() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { rules: Vec::new(), epochs: Some(2), ..one(folder.path()) };
    plan(&options);
    let runs = folder.path().join("runs");
    let outcomes: Vec<(Outcome, usize)> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..2).map(|_| scope.spawn(|| run(&options, &runs, 1))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let trained: usize = outcomes.iter().map(|(_, trained)| trained).sum();
    assert_eq!(trained, 4, "each cell is trained by one of the two");
    for (outcome, _) in &outcomes {
        assert_eq!(outcome.records.len(), 4, "both wait for what the other trains");
    }
    assert_eq!(outcomes[0].0.table, outcomes[1].0.table);
}

#[test]
fn a_cell_that_fails_keeps_its_cause_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        datasets: vec![DatasetId::NMNIST, DatasetId::DVSCIFAR10],
        rules: vec![Rule::Both],
        epochs: Some(1),
        ..options(folder.path())
    };
    let (plan, data) = plan(&options);
    let failing = &plan.cells[0];
    assert_eq!((plan.cells.len(), failing.config.dataset), (2, DatasetId::NMNIST));
    let (path, whole) = damage(&plan, folder.path());

    let runs = RunStore::new(&folder.path().join("runs"));
    let mut shares = Vec::new();
    let outcome = reproduce(&plan, &data, &runs, &|| false, &mut |event| {
        if let Event::Advanced { done, .. } = event {
            shares.push(done);
        }
    });
    let outcome = outcome.unwrap();
    assert_eq!((outcome.records.len(), outcome.failed.len()), (1, 1));
    assert_eq!(outcome.records[0].run_id, plan.cells[1].run_id);
    assert!(shares[1] < 0.5 && (shares.last().unwrap() - 1.0).abs() < 1e-9, "to the end: {shares:?}");
    let failure = runs.failure(&failing.run_id).unwrap().unwrap();
    assert_eq!(failure, outcome.failed[0]);
    assert_eq!(failure.config, failing.config);
    let line = format!(
        "No row for nmnist (synthetic stand-in) both middle width 0.125 T=4 seed 1 (run {})",
        failing.run_id
    );
    assert!(outcome.table.contains(&line), "{}", outcome.table);
    assert!(outcome.table.contains(&failure.error), "{}", outcome.table);

    std::fs::write(&path, whole).unwrap();
    let outcome = reproduce(&plan, &data, &runs, &|| false, &mut |_| ()).unwrap();
    assert_eq!((outcome.records.len(), outcome.failed.len()), (2, 0), "it is tried again");
    assert!(!outcome.table.contains("No row for"));
    assert_eq!(runs.failure(&failing.run_id).unwrap(), None);
}

/// Damages a recording that a cell is trained on; gives its file, and what it held.
fn damage(plan: &Plan, folder: &Path) -> (PathBuf, Vec<u8>) {
    let stand_ins = folder.join("data/synthetic").join(plan.cells[0].config.dataset.to_string());
    let mut stand_ins = std::fs::read_dir(stand_ins).unwrap().map(|entry| entry.unwrap().path());
    let stand_in = stand_ins.find(|path| path.is_dir()).unwrap();
    let path = stand_in.join("raw").join(&plan.cells[0].manifest.files[0].path);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, b"cut").unwrap();
    (path, whole)
}

#[test]
fn a_run_that_is_tried_again_and_stopped_has_not_failed() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, data) = plan(&one(folder.path()));
    let run_id = &plan.cells[0].run_id;
    let (path, whole) = damage(&plan, folder.path());
    let runs = RunStore::new(&folder.path().join("runs"));
    let state = || runs.runs(&root().join("experiments")).unwrap().remove(0).state;
    assert_eq!(run_until(&plan, &data, &runs, usize::MAX).0.failed.len(), 1);
    assert_eq!(state(), RunState::Failed);

    std::fs::write(&path, whole).unwrap();
    assert!(run_until(&plan, &data, &runs, 1).0.stopped);
    assert_eq!(state(), RunState::Failed, "it was not tried again");
    let (outcome, _) = run_until(&plan, &data, &runs, 2);
    assert!(outcome.stopped && !outcome.table.contains("failed"), "{}", outcome.table);
    assert_eq!((runs.failure(run_id).unwrap(), state()), (None, RunState::Stopped));
}

#[test]
fn a_cell_that_fails_is_tried_once_by_all_processes_of_a_call() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, data) = plan(&Options { rules: vec![Rule::Baseline, Rule::Both], ..one(folder.path()) });
    damage(&plan, folder.path());
    let process_of = |call| {
        let runs = RunStore::new(&folder.path().join("runs")).with_call_of(call);
        let mut tried = 0;
        let outcome = reproduce(&plan, &data, &runs, &|| false, &mut |event| {
            tried += usize::from(matches!(event, Event::Started { .. }));
        });
        (tried, outcome.unwrap().failed)
    };
    let call = CallId::new();
    let (tried, failed) = process_of(call);
    assert_eq!((tried, failed.len()), (2, 2));
    assert_eq!(process_of(call), (0, failed), "what failed in one process has failed in all");
    let (tried, failed) = process_of(CallId::new());
    assert_eq!((tried, failed.len()), (2, 2), "another call tries again");
}

#[test]
fn a_run_that_fails_keeps_its_checkpoint_and_goes_on_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, data) = plan(&one(folder.path()));
    let runs = RunStore::new(&folder.path().join("runs"));
    assert!(run_until(&plan, &data, &runs, 2).0.stopped);
    let (path, whole) = damage(&plan, folder.path());
    // Without its cache of frames, the recordings are read again.
    let raw = path.ancestors().find(|folder| folder.ends_with("raw")).unwrap();
    std::fs::remove_dir_all(raw.with_file_name("frames")).unwrap();
    assert_eq!(run_until(&plan, &data, &runs, usize::MAX).0.failed.len(), 1);
    let checkpoint = runs.record_path(&plan.cells[0].run_id).with_file_name("checkpoint.safetensors");
    assert!(checkpoint.exists());
    std::fs::write(&path, whole).unwrap();
    let (outcome, notices) = run_until(&plan, &data, &runs, usize::MAX);
    assert_eq!((outcome.records[0].timing.unwrap().resumed, notices), (1, vec![]));
}

/// A clock was set back, or is another node's.
#[test]
fn a_failure_that_is_dated_in_the_future_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, data) = plan(&one(folder.path()));
    let (path, whole) = damage(&plan, folder.path());
    let runs = RunStore::new(&folder.path().join("runs"));
    assert_eq!(run_until(&plan, &data, &runs, usize::MAX).0.failed.len(), 1);
    let failed = runs.record_path(&plan.cells[0].run_id).with_file_name("failed.json");
    let mut failure: serde_json::Value = serde_json::from_slice(&std::fs::read(&failed).unwrap()).unwrap();
    failure["unix_seconds"] = 1e11.into();
    std::fs::write(&failed, failure.to_string()).unwrap();
    assert_eq!(runs.failure(&plan.cells[0].run_id).unwrap().unwrap().unix_seconds, 1e11);
    std::fs::write(&path, whole).unwrap();
    let (outcome, _) = run_until(&plan, &data, &runs, usize::MAX);
    assert_eq!((outcome.records.len(), outcome.failed), (1, vec![]));
}

/// A cell of one rule, and one of another beside it in the table.
fn one_and_another(folder: &Path) -> [Options; 2] {
    let one = one(folder);
    [one.clone(), Options { rules: vec![Rule::Baseline], ..one }]
}

#[test]
fn what_another_call_finishes_meanwhile_has_its_row() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let [own, others] = one_and_another(folder.path());
    let (plan, data) = plan(&own);
    let outcome = reproduce(&plan, &data, &RunStore::new(&runs), &|| false, &mut |event| {
        if matches!(event, Event::Started { .. }) {
            assert_eq!(run(&others, &runs, 1).1, 1);
        }
    });
    let outcome = outcome.unwrap();
    assert_eq!(outcome.records.len(), 1, "the cell that was asked for");
    for row in ["| ours: both,", "| ours: baseline,"] {
        assert_eq!(outcome.table.matches(row).count(), 1, "{row} {}", outcome.table);
    }
}

#[test]
fn a_damaged_record_of_another_rule_is_named_and_stops_no_grid() {
    let folder = tempfile::tempdir().unwrap();
    let runs = RunStore::new(&folder.path().join("runs"));
    let [own, others] = one_and_another(folder.path());
    let damaged = run(&others, runs.root(), 1).0.records.remove(0).run_id;
    std::fs::write(runs.record_path(&damaged), "{").unwrap();
    let (own, data) = plan(&own);
    let (outcome, notices) = run_until(&own, &data, &runs, usize::MAX);
    assert_eq!((outcome.records.len(), outcome.failed.len()), (1, 0));
    let line = format!("\nNo row for run {damaged}: ");
    assert!(outcome.table.contains(&line) && outcome.table.contains("move it away"), "{}", outcome.table);
    assert!(notices.len() == 1 && notices[0].contains(&damaged), "{notices:?}");

    // Who asks for that run itself is told, and nothing is run over it.
    let (others, data) = plan(&others);
    let error = reproduce(&others, &data, &runs, &|| false, &mut |_| panic!("nothing is run")).unwrap_err();
    assert!(matches!(error, HarnessError::BadRecord { .. }), "{error}");
}

/// Trains one cell of a table at a learning rate that no training bears; gives its error, and the table.
fn diverge(artefact: &str, options: &Options) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let (_, data) = plan_of(artefact, options);
    let mut experiment = Experiment::load(&root().join("experiments"), artefact).unwrap();
    experiment.profile.get_mut(&Profile::Quick).unwrap().schedule.learning_rate = 1e30;
    let plan = Plan::new(experiment, options, &registry(), &data).unwrap();
    let runs = RunStore::new(&folder.path().join("runs"));
    let mut outcome = reproduce(&plan, &data, &runs, &|| false, &mut |_| ()).unwrap();
    assert_eq!((outcome.records.len(), outcome.failed.len()), (0, 1));
    (outcome.failed.remove(0).error, outcome.table)
}

#[test]
fn a_training_that_diverges_is_a_cell_that_failed() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { datasets: vec![DatasetId::CIFAR10], epochs: Some(2), ..one(folder.path()) };
    let (error, table) = diverge("table1", &options);
    assert!(error.contains("training diverged, lower the learning rate"), "{error}");
    assert!(table.contains(&error), "{table}");
}

/// A potential that is no number does not fire: the network falls silent, and its loss stays a number.
#[test]
fn a_spiking_training_that_diverges_is_a_cell_that_failed() {
    let folder = tempfile::tempdir().unwrap();
    let (error, _) = diverge("table2", &Options { epochs: Some(2), ..one(folder.path()) });
    assert!(error.contains("is not finite after epoch 2: training diverged"), "{error}");
}
