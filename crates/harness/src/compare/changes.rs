//! What differs between two records, key by key: what shaped the run, and what it measured.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::runs::Run;

/// What a changed key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// What was asked for: network, neuron, schedule, seed, device.
    Configuration,
    /// The files that it met.
    Data,
    /// The program.
    Code,
    /// The machine it ran on, which does not shape it.
    Machine,
}

/// A key whose value is not the same in both records.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// What it belongs to.
    pub kind: ChangeKind,
    /// The key, such as `neuron.alpha`.
    pub key: String,
    /// Its value in BASE; none where it has none.
    pub base: Option<Value>,
    /// Its value in NEW.
    pub new: Option<Value>,
}

/// A measured value that is not the same in both records, bit for bit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The key, such as `epochs[3].train_loss`.
    pub key: String,
    /// Its value in BASE; none where it has none.
    pub base: Option<Value>,
    /// Its value in NEW.
    pub new: Option<Value>,
}

/// Measured values of a record: all that must be the same bits under one configuration. Times are not among them.
const MEASURED: [&str; 6] =
    ["accuracy", "firing_rate", "layer_spikes", "parameters_hash", "samples", "spikes_per_sample"];

/// The same of an epoch.
const MEASURED_IN_EPOCH: [&str; 10] = [
    "ann_warm_up",
    "epoch",
    "firing_rate",
    "learning_rate",
    "test_accuracy",
    "test_loss",
    "train_accuracy",
    "train_loss",
    "validation_accuracy",
    "validation_loss",
];

/// All measured values by their keys.
pub(super) fn measured(json: &Value) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    for key in MEASURED {
        flatten(key, json.get(key), &mut values);
    }
    for (index, epoch) in json["epochs"].as_array().into_iter().flatten().enumerate() {
        for key in MEASURED_IN_EPOCH {
            flatten(&format!("epochs[{index}].{key}"), epoch.get(key), &mut values);
        }
    }
    values
}

/// What shaped two runs otherwise.
pub(super) fn changes(base: &Run, new: &Run) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut compare = |group: &str, prefix: &str, kind: fn(&str) -> ChangeKind| {
        let values = |run: &Run| {
            let mut values = BTreeMap::new();
            flatten(prefix, run.json.get(group), &mut values);
            values
        };
        changes.extend(differences(&values(base), &values(new)).into_iter().map(|found| Change {
            kind: kind(&found.key),
            key: found.key,
            base: found.base,
            new: found.new,
        }));
    };
    compare("config", "", |key| match key.split('.').next() {
        Some("code_version") => ChangeKind::Code,
        Some("manifest_hash" | "synthetic" | "subset") => ChangeKind::Data,
        _ => ChangeKind::Configuration,
    });
    compare("threads", "threads", |_| ChangeKind::Machine);
    // Records of schema 1 lack these: what only one side says is no change.
    for (group, kind) in
        [("code", (|_| ChangeKind::Code) as fn(&str) -> _), ("environment", |_| ChangeKind::Machine)]
    {
        if [base, new].iter().all(|run| run.json.get(group).is_some()) {
            compare(group, group, kind);
        }
    }
    changes.sort_by_key(|change| change.kind);
    changes
}

/// Keys whose values differ, or that only one side has.
pub(super) fn differences(base: &BTreeMap<String, Value>, new: &BTreeMap<String, Value>) -> Vec<Difference> {
    let only_new = new.keys().filter(|key| !base.contains_key(*key));
    let differs = |key: &String| {
        let (base, new) = (base.get(key).cloned(), new.get(key).cloned());
        (base != new).then(|| Difference { key: key.clone(), base, new })
    };
    base.keys().chain(only_new).filter_map(differs).collect()
}

/// Leaves by their path, such as `neuron.alpha` and `epochs[0].train_loss`. An empty list or table is a leaf.
fn flatten(path: &str, value: Option<&Value>, into: &mut BTreeMap<String, Value>) {
    match value {
        Some(Value::Object(entries)) if !entries.is_empty() => {
            for (key, value) in entries {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(&path, Some(value), into);
            }
        }
        Some(Value::Array(values)) if !values.is_empty() => {
            for (index, value) in values.iter().enumerate() {
                flatten(&format!("{path}[{index}]"), Some(value), into);
            }
        }
        Some(leaf) => {
            into.insert(path.to_owned(), leaf.clone());
        }
        None => {}
    }
}
