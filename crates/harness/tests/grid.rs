//! An ablation of one's own, by a file alone.
#![allow(clippy::unwrap_used)]

mod common;

use bpsta_datasets::Store;
use bpsta_harness::{Experiment, Options, Plan, RunStore, reproduce};

use crate::common::{options, registry, root};

fn plan(experiment: Experiment, options: &Options) -> (Plan, Store) {
    let store = Store::open(&options.data, &registry());
    (Plan::new(experiment, options, &registry(), &store).unwrap(), store)
}

#[test]
fn the_example_is_every_combination_once() {
    let folder = tempfile::tempdir().unwrap();
    let example = root().join("experiments/example.toml");
    let (plain, _) = plan(Experiment::load_file(&example).unwrap(), &options(folder.path()));
    // One baseline, which does not use alpha, and three each of the other two, at two T, with two seeds.
    assert_eq!(plain.cells.len(), (1 + 3 + 3) * 2 * 2);

    let text = std::fs::read_to_string(example).unwrap();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, text.replace("# ann_twin = true", "ann_twin = true")).unwrap();
    let (with_twins, _) = plan(Experiment::load_file(&path).unwrap(), &options(folder.path()));
    let twins = with_twins.cells.iter().filter(|cell| cell.config.ann).count();
    assert_eq!((twins, with_twins.cells.len() - twins), (2, plain.cells.len()), "a twin a seed");
}

#[test]
fn framings_rates_and_constants_make_rows_of_their_own_and_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(root().join("experiments/example.toml")).unwrap();
    let text = text
        .replace("alpha = [0.1, 0.2, 0.4]", "reset = [\"detached\"]")
        .replace(
            "time_steps = [2, 4]",
            "time_steps = [2]\nframing = [\"number\", \"time\"]\nlearning_rates = [1e-3, 5e-3]",
        )
        .replace("epochs = 3", "epochs = 1")
        .replace("seeds = 2", "seeds = 1")
        .replace("[\"baseline\", \"temporal\", \"both\"]", "[\"baseline\", \"both\"]");
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, text).unwrap();
    let (plan, store) = plan(Experiment::load_file(&path).unwrap(), &options(folder.path()));
    assert_eq!(plan.cells.len(), 2 * 2 * 2);
    let runs = RunStore::new(&folder.path().join("runs"));
    let table = reproduce(&plan, &store, &runs, &|| false, &mut |_| {}).unwrap().table;
    for row in [
        "| ours: baseline, reset detached, learning rate 0.001, synthetic stand-in ",
        "| ours: baseline, reset detached, framed by time:2, learning rate 0.005, synthetic stand-in ",
        "| ours: both, framed by time:2, learning rate 0.001, synthetic stand-in ",
    ] {
        assert_eq!(table.matches(row).count(), 1, "{row} in {table}");
    }
}

#[test]
fn typos_and_numbers_that_mean_nothing_are_refused_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(root().join("experiments/example.toml")).unwrap();
    let cases = [
        ("alpha = [0.1", "alhpa = [0.1", "did you mean `alpha`?"),
        ("time_steps = [2, 4]", "time_step = [2, 4]", "did you mean `time_steps`?"),
        ("# threshold = [0.5, 1.0]", "threshold = [0.0]", "key `neuron`"),
        ("# framing = [\"number\", \"time\"]", "framing = [\"tme\"] #", "did you mean `time`?"),
        ("# learning_rates = [1e-3, 5e-3]", "learning_rates = [-1.0] #", "learning_rate is -1"),
    ];
    for (from, to, expected) in cases {
        assert!(text.contains(from), "{from}");
        let path = folder.path().join("mine.toml");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let error = Experiment::load_file(&path).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("mine.toml"), "{to}: {error}");
        if expected.starts_with("did") {
            let line = text[..text.find(from).unwrap()].matches('\n').count() + 1;
            assert!(error.contains(&format!("line {line},")), "{to}: {error}");
        }
    }
}
