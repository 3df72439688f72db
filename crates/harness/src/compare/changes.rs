//! What differs between two records, key by key: what shaped the run, and what it measured.

use std::collections::BTreeMap;
use std::fmt;

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

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (base, new) = (in_words(self.base.as_ref()), in_words(self.new.as_ref()));
        write!(f, "key `{}` is {base} and {new}", self.key)
    }
}

/// A value as tables and messages have it.
pub(super) fn in_words(value: Option<&Value>) -> String {
    match value {
        None => "none".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// What a record measured: all that must be the same bits under one configuration. Times are not among it.
const MEASURED: [&str; 10] = [
    "accuracy",
    "anytime",
    "classes",
    "firing_rate",
    "layer_spikes",
    "maps_hash",
    "operations",
    "parameters_hash",
    "samples",
    "spikes_per_sample",
];

/// The same of an epoch.
const MEASURED_IN_EPOCH: [&str; 11] = [
    "ann_warm_up",
    "epoch",
    "firing_rate",
    "layer_firing_rates",
    "learning_rate",
    "test_accuracy",
    "test_loss",
    "train_accuracy",
    "train_loss",
    "validation_accuracy",
    "validation_loss",
];

/// Measured values that differ. What a schema does not have yet is not compared: a record that lacks what its own must have was refused
/// when it was read.
pub(super) fn measured(base: &Value, new: &Value) -> Vec<Difference> {
    let (mut from, mut to) = (BTreeMap::new(), BTreeMap::new());
    let mut both = |path: &str, base: Option<&Value>, new: Option<&Value>| {
        if base.is_some() && new.is_some() {
            flatten(path, base, &mut from);
            flatten(path, new, &mut to);
        }
    };
    for key in MEASURED {
        both(key, base.get(key), new.get(key));
    }
    let epochs = |json: &Value| json["epochs"].as_array().map_or(0, Vec::len);
    for index in 0..epochs(base).max(epochs(new)) {
        let (base, new) = (&base["epochs"][index], &new["epochs"][index]);
        for key in MEASURED_IN_EPOCH {
            both(&format!("epochs[{index}].{key}"), base.get(key), new.get(key));
        }
    }
    differences(&from, &to)
}

/// The number of a run's GPU, in `config`.
const GPU: &str = "device.cuda";

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
            kind: match found.key.as_str() {
                // Which GPU of a machine shapes no run, and is in no run id.
                GPU if found.base.is_some() && found.new.is_some() => ChangeKind::Machine,
                key => kind(key),
            },
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
fn differences(base: &BTreeMap<String, Value>, new: &BTreeMap<String, Value>) -> Vec<Difference> {
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
