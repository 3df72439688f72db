//! What of a record must be equal wherever its configuration is run, and what may vary. `results/FORMAT.md` says the same in words.

use crate::{Record, RunConfig};

/// The keys of a record whose values may differ between two runs of one configuration.
const MAY_VARY: [&str; 7] =
    ["environment", "code", "timing", "threads", "wall_seconds", "train_ms_per_sample", "test_ms_per_sample"];
/// The same of an epoch.
const MAY_VARY_IN_EPOCHS: [&str; 2] = ["train_ms_per_sample", "test_ms_per_sample"];

impl Record {
    /// The record without what may vary between machines and calls. On the CPU engine what is left is equal for one configuration,
    /// wherever it is run; on the reference engine for one CPU model.
    pub fn reproducible(&self) -> serde_json::Value {
        let mut json = serde_json::to_value(self).unwrap_or_default();
        if let Some(record) = json.as_object_mut() {
            MAY_VARY.iter().for_each(|key| drop(record.remove(*key)));
            let epochs = record.get_mut("epochs").and_then(|epochs| epochs.as_array_mut());
            for epoch in epochs.into_iter().flatten().filter_map(|epoch| epoch.as_object_mut()) {
                MAY_VARY_IN_EPOCHS.iter().for_each(|key| drop(epoch.remove(*key)));
            }
        }
        json
    }
}

/// The random streams of a run by name; capitals stand for a parameter's name, an epoch and a sample.
pub(crate) fn stream_names(config: &RunConfig) -> Vec<String> {
    let names = [
        Some("init/NAME"),
        Some("shuffle/EPOCH"),
        Some("dropout/EPOCH"),
        config.validation.map(|_| "validation"),
        (config.augmentation != "none").then_some("augment/EPOCH/SAMPLE"),
    ];
    names.into_iter().flatten().map(str::to_owned).collect()
}
