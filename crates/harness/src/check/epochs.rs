//! Are the epochs of a record those that its configuration asks for, and does it say of them what they say?

use crate::{Accuracy, Record};

/// The epochs are those of the configuration, and what the record says of the last and of the best one is theirs; `cells` has the layers
/// of cells.
pub(super) fn against_epochs(record: &Record, cells: &[(usize, usize)]) -> Option<String> {
    let (config, epochs) = (&record.config, &record.epochs);
    let [trained, tested] = record.samples;
    let steps = trained.checked_div(config.batch_size).unwrap_or_default();
    if steps == 0 || config.epochs.checked_mul(steps).is_none() {
        let size = config.batch_size;
        return Some(format!("key `samples` has {trained} training samples in batches of {size}"));
    }
    let tested = tested as f64;
    for (index, epoch) in epochs.iter().enumerate() {
        if epoch.validation_accuracy.is_some() != config.validation.is_some() {
            let problem = "contradicts `config.validation`";
            return Some(format!("key `epochs[{index}].validation_accuracy` {problem}"));
        }
        if epoch.epoch != index + 1 {
            return Some(format!("key `epochs[{index}].epoch` is {}, expected {}", epoch.epoch, index + 1));
        }
        let warm_up = index < config.warm_up_epochs();
        if epoch.ann_warm_up != warm_up {
            let found = epoch.ann_warm_up;
            return Some(format!(
                "key `epochs[{index}].ann_warm_up` is {found}, and by its `config` {warm_up}"
            ));
        }
        // A cosine may differ in its last bit from one machine to another.
        let (found, expected) = (epoch.learning_rate, config.schedule.at(index, config.epochs, 0, steps));
        if (found - expected).abs() > 1e-12 * config.schedule.learning_rate {
            return Some(format!(
                "key `epochs[{index}].learning_rate` is {found}, and by its `config` {expected}"
            ));
        }
        let found = epoch.test_accuracy;
        if 100.0 * (found * tested / 100.0).round() / tested != found {
            return Some(format!(
                "key `epochs[{index}].test_accuracy` is {found}, no whole number of {tested} test samples"
            ));
        }
        let layers = if warm_up { 0 } else { cells.len() };
        if let Some(found) = epoch.layer_firing_rates.as_ref().map(Vec::len).filter(|found| *found != layers)
        {
            return Some(format!(
                "key `epochs[{index}].layer_firing_rates` is a list of {found}, expected {layers}"
            ));
        }
    }
    if let Some(last) = epochs.last() {
        let (found, expected) = (record.firing_rate, last.firing_rate);
        if found != expected {
            return Some(format!("key `firing_rate` is {found}, and by its `epochs` {expected}"));
        }
    }
    let expected = Accuracy::of(epochs, config.ann);
    let found = record.accuracy;
    (found != expected).then(|| format!("key `accuracy` is {found:?}, and by its `epochs` {expected:?}"))
}
