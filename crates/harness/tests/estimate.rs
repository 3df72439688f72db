//! What a plan says of itself before it is run, and what it leaves out where time is short.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use bpsta_datasets::DatasetId;
use bpsta_harness::{Estimate, Event, Options, Plan, RunStore, reproduce};
use bpsta_spiking::Rule;

use crate::common::{options, plan, plan_of};

fn few(folder: &std::path::Path) -> Options {
    Options {
        datasets: vec![DatasetId::NMNIST],
        rules: vec![Rule::Baseline, Rule::Both],
        time_steps: vec![2, 3],
        epochs: Some(1),
        seeds: Some(2),
        ..options(folder)
    }
}

/// Rule, T and seed of each cell, in their order.
fn names(plan: &Plan) -> Vec<(Rule, usize, u64)> {
    let name = |cell: &bpsta_harness::PlannedCell| {
        (cell.config.neuron.rule, cell.config.time_steps, cell.config.seed)
    };
    plan.cells.iter().map(name).collect()
}

#[test]
fn what_is_finished_costs_nothing_and_the_rest_is_estimated() {
    let folder = tempfile::tempdir().unwrap();
    let runs = RunStore::new(&folder.path().join("runs"));
    let options = few(folder.path());
    let (one, data) = plan(&Options { seeds: Some(1), time_steps: vec![2], ..options.clone() });
    reproduce(&one, &data, &runs, &|| false, &mut |_| {}).unwrap();

    let (plan, _) = plan(&options);
    let estimate = Estimate::of(&plan, &runs, &data).unwrap();
    assert_eq!((plan.cells.len(), estimate.cells()), (8, 6));
    for cell in &plan.cells {
        let finished = one.cells.iter().any(|of| of.run_id == cell.run_id);
        let seconds = estimate.seconds(&cell.run_id);
        assert_eq!(seconds.is_none(), finished);
        assert!(seconds.is_none_or(|seconds| seconds.is_finite() && seconds > 0.0));
    }
    let sum: f64 = plan.cells.iter().filter_map(|cell| estimate.seconds(&cell.run_id)).sum();
    assert!((estimate.total() - sum).abs() <= 1e-9 * sum);
    // 500 frames of 2x34x34 bytes pairs for T = 3 are still to be cached, those of T = 2 are there; six runs.
    let frames = 500 * 3 * 2 * 34 * 34 * 2;
    let runs = estimate.disk.checked_sub(frames).unwrap();
    assert!(runs > 0 && runs % 6 == 0 && runs < frames, "{runs}");
    assert!(estimate.memory.unwrap() > frames);
}

/// What is behind a cell costs nothing, and what it weighs beside others is the whole of it.
#[test]
fn the_epochs_of_a_checkpoint_are_not_estimated_again() {
    let folder = tempfile::tempdir().unwrap();
    let runs = RunStore::new(&folder.path().join("runs")).with_checkpoint_every(Duration::ZERO);
    let of = Options { rules: vec![Rule::Both], time_steps: vec![2], seeds: Some(2), ..few(folder.path()) };
    let (mut plan, data) = plan(&Options { epochs: Some(20), ..of });
    let (begun, not_begun) = (plan.cells[0].run_id.clone(), plan.cells[1].run_id.clone());
    let behind = std::cell::Cell::new(0);
    let outcome = reproduce(&plan, &data, &runs, &|| behind.get() == 18, &mut |event| {
        if let Event::Epoch { epoch, .. } = event {
            behind.set(epoch.epoch);
        }
    });
    assert!(outcome.unwrap().stopped);
    let estimate = Estimate::of(&plan, &runs, &data).unwrap();
    let [left, whole] = [&begun, &not_begun].map(|run_id| estimate.seconds(run_id).unwrap());
    // 2 of 20 epochs, by one calibration, and the last look at the test samples.
    assert!(0.1 * whole <= left && left < 0.2 * whole, "{left} s of {whole} s");
    plan.weigh(&estimate);
    assert_eq!(plan.cells[0].work, plan.cells[1].work);
}

/// Maps of 48x48 positions, and a record that grows with its epochs.
#[test]
fn the_disk_has_room_for_what_runs_leave_and_what_is_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("runs");
    let runs = RunStore::new(&store).with_checkpoint_every(Duration::ZERO);
    let options = Options {
        datasets: vec![DatasetId::DVSGESTURE],
        rules: vec![Rule::Both],
        time_steps: vec![1],
        epochs: Some(1),
        ..options(folder.path())
    };
    let (one, data) = plan(&options);
    reproduce(&one, &data, &runs, &|| false, &mut |_| {}).unwrap();
    // The frames are there by now.
    let (two, data) = plan(&Options { seeds: Some(2), epochs: Some(20), ..options });
    let cell = &two.cells[1];
    let estimate = Estimate::of(&two, &runs, &data).unwrap();
    let mut most = 0;
    reproduce(&two, &data, &runs, &|| false, &mut |event| {
        if let Event::Epoch { cell, epoch } = event
            && epoch.epoch > 1
        {
            let checkpoint = runs.record_path(&cell.run_id).with_file_name("checkpoint.safetensors");
            most = most.max(std::fs::metadata(checkpoint).unwrap().len());
        }
    })
    .unwrap();
    let left = std::fs::read_dir(store.join(&cell.run_id)).unwrap();
    let left: u64 = left.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(0 < most && 2 * most <= estimate.under_way, "{most} bytes a checkpoint, {}", estimate.under_way);
    assert!(2 * left <= estimate.disk, "{left} bytes a run, and {} of two", estimate.disk);
}

#[test]
fn short_of_time_all_rules_with_one_seed_go_before_another_seed() {
    let folder = tempfile::tempdir().unwrap();
    let runs = RunStore::new(&folder.path().join("runs"));
    let (mut whole, data) = plan(&few(folder.path()));
    let estimate = Estimate::of(&whole, &runs, &data).unwrap();
    let of_set = |steps, seed| -> f64 {
        let of =
            |cell: &&bpsta_harness::PlannedCell| cell.config.seed == seed && cell.config.time_steps == steps;
        whole.cells.iter().filter(of).filter_map(|cell| estimate.seconds(&cell.run_id)).sum()
    };
    let first_seed = of_set(2, 1) + of_set(3, 1);
    let mut short = whole.clone();
    let left_out = short.limit(&estimate, first_seed * (1.0 + 1e-9));
    assert_eq!(left_out.len(), 4);
    assert!(names(&short).iter().all(|(_, _, seed)| *seed == 1), "{:?}", names(&short));
    let rules = |steps| names(&short).iter().filter(|(_, of, _)| *of == steps).count();
    assert_eq!([rules(2), rules(3)], [2, 2]);

    // Of one seed, the set that takes least goes first, wherever the plan has it: here either fits, and not both.
    let (cheaper, longer) = if of_set(2, 1) <= of_set(3, 1) { (2, 3) } else { (3, 2) };
    for order in [[cheaper, longer], [longer, cheaper]] {
        let mut short = whole.clone();
        short.cells.retain(|cell| cell.config.seed == 1);
        short.cells.sort_by_key(|cell| order.iter().position(|steps| *steps == cell.config.time_steps));
        assert_eq!(short.limit(&estimate, of_set(longer, 1) * (1.0 + 1e-9)).len(), 2);
        assert!(
            names(&short).iter().all(|(_, steps, _)| *steps == cheaper),
            "{order:?}: {:?}",
            names(&short)
        );
    }

    assert!(whole.limit(&estimate, 0.0).len() == 8 && whole.cells.is_empty());
}

#[test]
fn an_ann_twin_and_a_warm_up_are_estimated_in_their_own_mode() {
    let folder = tempfile::tempdir().unwrap();
    let runs = RunStore::new(&folder.path().join("runs"));
    let options = Options { datasets: vec![DatasetId::CIFAR10], ..options(folder.path()) };
    let (plan, data) = plan_of("table5", &options);
    let estimate = Estimate::of(&plan, &runs, &data).unwrap();
    assert!(plan.cells.iter().any(|cell| cell.config.ann));
    assert_eq!(estimate.cells(), plan.cells.len());
    assert_eq!(estimate.memory, None, "the reference engine does not tell");
}
