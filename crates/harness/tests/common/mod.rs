//! What the tests of this crate share: options of the quick profile, its plan, and running it.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::{Path, PathBuf};

use bpsta_datasets::{Registry, Store};
use bpsta_harness::{DeviceKind, Event, Experiment, Options, Outcome, Plan, Profile, RunStore, reproduce};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn registry() -> Registry {
    Registry::load(&root().join("datasets.toml")).unwrap()
}

pub(crate) fn options(folder: &Path) -> Options {
    Options {
        profile: Profile::Quick,
        datasets: Vec::new(),
        rules: Vec::new(),
        time_steps: Vec::new(),
        seeds: None,
        epochs: None,
        validation: None,
        device: DeviceKind::Cpu,
        engine: None,
        data: folder.join("data"),
    }
}

pub(crate) fn plan(options: &Options) -> (Plan, Store) {
    plan_of("table2", options)
}

pub(crate) fn plan_of(artefact: &str, options: &Options) -> (Plan, Store) {
    let registry = registry();
    let store = Store::open(&options.data, &registry);
    let experiment = Experiment::load(&root().join("experiments"), artefact).unwrap();
    (Plan::new(experiment, options, &registry, &store).unwrap(), store)
}

/// Runs a plan on so many threads; gives the outcome and how many cells were trained.
pub(crate) fn run(options: &Options, runs: &Path, threads: usize) -> (Outcome, usize) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let (plan, store) = plan(options);
        let mut trained = 0;
        let outcome = reproduce(&plan, &store, &RunStore::new(runs), &|| false, &mut |event| {
            trained += usize::from(matches!(event, Event::Finished { .. }));
        });
        (outcome.unwrap(), trained)
    })
}
