//! Which run of NEW stands against which run of BASE.

use serde::Serialize;

use super::changes::{Change, ChangeKind, Difference, changes, measured};
use super::runs::Run;
use crate::{DeviceKind, EngineKind, Record};

/// What makes two runs a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PairedBy {
    /// The run id: one configuration and code version.
    RunId,
    /// What both are about: profile, data set, network, variant, width, T, rule and seed.
    About,
    /// The same, with another seed.
    AboutButSeed,
}

/// Two runs, and what differs between them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair {
    /// The run of BASE.
    pub base: String,
    /// The run of NEW.
    pub new: String,
    /// What they are about, in words.
    pub about: String,
    /// What makes them a pair.
    pub by: PairedBy,
    /// What shaped them otherwise.
    pub changes: Vec<Change>,
    /// Whether they met other data, so that nothing they measured can be compared.
    pub other_data: bool,
    /// Whether every measured value must be the same bits.
    pub must_be_equal: bool,
    /// The measured values that are not.
    pub differences: Vec<Difference>,
}

impl Pair {
    pub(super) fn of(matched: &Match<'_>) -> Self {
        let Match { base, new, by } = *matched;
        let changes = changes(base, new);
        Self {
            base: base.record.run_id.clone(),
            new: new.record.run_id.clone(),
            about: format!("{}, seed {}", base.about(), base.record.seed),
            by,
            other_data: changes.iter().any(|change| change.kind == ChangeKind::Data),
            must_be_equal: by == PairedBy::RunId && same_bits(&base.record, &new.record),
            differences: measured(&base.json, &new.json),
            changes,
        }
    }
}

/// Whether one configuration gives both runs the same bits: always on the CPU engine; with candle's operations, whose matrix kernels
/// choose by instruction set, on one CPU model; on a GPU it was seen within one process alone. ANN warm-up is the reference engine's, whatever the
/// engine that goes on after it, and the ANN twin names that engine itself.
pub(super) fn same_bits(base: &Record, new: &Record) -> bool {
    let config = &base.config;
    let one_cpu_model = cpu_model(base).is_some() && cpu_model(base) == cpu_model(new);
    match (config.engine, config.device) {
        (_, DeviceKind::Cuda(_)) => false,
        (EngineKind::Cpu, DeviceKind::Cpu) => config.ann_warm_up_epochs == 0 || one_cpu_model,
        (EngineKind::Reference, DeviceKind::Cpu) => one_cpu_model,
    }
}

/// The CPU that a run was made on; records of schema 1 do not say.
pub(super) fn cpu_model(record: &Record) -> Option<&str> {
    record.environment.as_ref()?.cpu.as_deref()
}

/// Two runs that stand against each other.
#[derive(Clone, Copy)]
pub(super) struct Match<'a> {
    pub(super) base: &'a Run,
    pub(super) new: &'a Run,
    pub(super) by: PairedBy,
}

/// All pairs in the order of BASE, and the runs that only one side has.
pub(super) struct Matched<'a> {
    pub(super) pairs: Vec<Match<'a>>,
    pub(super) only_base: Vec<&'a Run>,
    pub(super) only_new: Vec<&'a Run>,
}

/// Pairs runs by run id, the rest by what they are about, and what is left then by the same with another seed. Of several that a
/// run could stand against, the one with the fewest changed keys of configuration and data is taken, and of those the one with the
/// fewest changes in all: the same configuration on another machine, or by other code, goes before another configuration.
pub(super) fn matched<'a>(base: &'a [Run], new: &'a [Run]) -> Matched<'a> {
    let (mut only_base, mut only_new): (Vec<&Run>, Vec<&Run>) = (base.iter().collect(), new.iter().collect());
    let mut pairs: Vec<Match<'a>> = Vec::new();
    for by in [PairedBy::RunId, PairedBy::About, PairedBy::AboutButSeed] {
        let mut candidates: Vec<([usize; 2], &Run, &Run)> = Vec::new();
        for &base in &only_base {
            let of = only_new.iter().filter(|new| match by {
                PairedBy::RunId => base.record.run_id == new.record.run_id,
                PairedBy::About => base.record.seed == new.record.seed && key(base) == key(new),
                PairedBy::AboutButSeed => key(base) == key(new),
            });
            candidates.extend(of.map(|&new| (distance(&changes(base, new)), base, new)));
        }
        // The sort is stable: of equals, the first in the order of BASE, then of NEW.
        candidates.sort_by_key(|(distance, ..)| *distance);
        for (_, base, new) in candidates {
            let left = |runs: &[&Run], run: &Run| runs.iter().position(|one| std::ptr::eq(*one, run));
            if let (Some(at_base), Some(at_new)) = (left(&only_base, base), left(&only_new, new)) {
                only_base.remove(at_base);
                only_new.remove(at_new);
                pairs.push(Match { base, new, by });
            }
        }
    }
    pairs.sort_by_key(|pair| base.iter().position(|run| std::ptr::eq(run, pair.base)));
    Matched { pairs, only_base, only_new }
}

/// Changed keys of configuration and data, and all of them.
fn distance(changes: &[Change]) -> [usize; 2] {
    let shapes = |change: &&Change| matches!(change.kind, ChangeKind::Configuration | ChangeKind::Data);
    [changes.iter().filter(shapes).count(), changes.len()]
}

/// What a run is about, the seed aside, whichever table asked for it.
fn key(run: &Run) -> impl PartialEq {
    let config = &run.record.config;
    let network = (config.network, config.variant, config.width.to_bits());
    (config.profile, config.dataset, network, config.time_steps, config.rule_id())
}
