//! Does a record say what its run was asked for, and what its own epochs say? It may have been edited, copied, or come from a
//! training that went wrong.

use crate::{Accuracy, Record, Result};

/// Checks a record against its configuration and itself; gives what is wrong first, with its key.
///
/// # Errors
/// Those of [`crate::RunConfig::spec`].
pub(crate) fn problem(record: &Record) -> Result<Option<String>> {
    let config = &record.config;
    let spec = config.spec()?;
    let fields = [
        ("run_id", record.run_id.clone(), config.run_id()),
        ("dataset", record.dataset.clone(), config.dataset.to_string()),
        ("rule", record.rule.clone(), config.neuron.rule.to_string()),
        ("time_steps", record.time_steps.to_string(), config.time_steps.to_string()),
        ("seed", record.seed.to_string(), config.seed.to_string()),
        ("profile", record.profile.clone(), config.profile.to_string()),
        ("synthetic", record.synthetic.to_string(), config.synthetic.to_string()),
        ("subset", format!("{:?}", record.subset), format!("{:?}", config.subset)),
        ("network", record.network.clone(), config.network.to_string()),
        ("width", record.width.to_string(), config.width.to_string()),
        ("layers", record.layers.clone(), spec.to_string()),
        ("parameters", record.parameters.to_string(), spec.parameter_count()?.to_string()),
        ("epochs", format!("a list of {}", record.epochs.len()), format!("a list of {}", config.epochs)),
    ];
    for (key, found, expected) in fields {
        if found != expected {
            return Ok(Some(format!("key `{key}` is {found}, and by its `config` {expected}")));
        }
    }
    let says = |words: &str| record.data.contains(words);
    if says("synthetic stand-in") != config.synthetic || says("subset") != config.subset.is_some() {
        return Ok(Some(format!("key `data` is {:?}, which its `config` contradicts", record.data)));
    }
    Ok(not_finite(record).or_else(|| against_epochs(record)))
}

fn not_finite(record: &Record) -> Option<String> {
    let mut numbers = vec![
        ("accuracy.last".to_owned(), record.accuracy.last),
        ("accuracy.best_test".to_owned(), record.accuracy.best_test),
        ("firing_rate".to_owned(), record.firing_rate),
        ("spikes_per_sample".to_owned(), record.spikes_per_sample),
        ("train_ms_per_sample".to_owned(), record.train_ms_per_sample),
        ("test_ms_per_sample".to_owned(), record.test_ms_per_sample),
        ("wall_seconds".to_owned(), record.wall_seconds),
    ];
    for (index, layer) in record.layer_spikes.iter().enumerate() {
        let of_layer = [("spikes_per_sample", layer.spikes_per_sample), ("firing_rate", layer.firing_rate)];
        numbers.extend(of_layer.map(|(key, value)| (format!("layer_spikes[{index}].{key}"), value)));
    }
    for (index, epoch) in record.epochs.iter().enumerate() {
        let of_epoch = [
            ("learning_rate", epoch.learning_rate),
            ("train_loss", epoch.train_loss),
            ("train_accuracy", epoch.train_accuracy),
            ("test_loss", epoch.test_loss),
            ("test_accuracy", epoch.test_accuracy),
            ("firing_rate", epoch.firing_rate),
            ("train_ms_per_sample", epoch.train_ms_per_sample),
            ("test_ms_per_sample", epoch.test_ms_per_sample),
        ];
        let validation =
            [("validation_loss", epoch.validation_loss), ("validation_accuracy", epoch.validation_accuracy)];
        let validation = validation.into_iter().filter_map(|(key, value)| Some((key, value?)));
        numbers.extend(
            of_epoch
                .into_iter()
                .chain(validation)
                .map(|(key, value)| (format!("epochs[{index}].{key}"), value)),
        );
    }
    let (key, value) = numbers.into_iter().find(|(_, value)| !value.is_finite())?;
    Some(format!("key `{key}` is {value}, expected a finite number"))
}

fn against_epochs(record: &Record) -> Option<String> {
    let epochs = &record.epochs;
    for (index, epoch) in epochs.iter().enumerate() {
        if epoch.validation_accuracy.is_some() != record.config.validation.is_some() {
            let problem = "contradicts `config.validation`";
            return Some(format!("key `epochs[{index}].validation_accuracy` {problem}"));
        }
        if epoch.epoch != index + 1 {
            return Some(format!("key `epochs[{index}].epoch` is {}, expected {}", epoch.epoch, index + 1));
        }
        if !(0.0..=100.0).contains(&epoch.test_accuracy) {
            let found = epoch.test_accuracy;
            return Some(format!("key `epochs[{index}].test_accuracy` is {found}, expected 0 to 100 %"));
        }
    }
    let expected = Accuracy::of(epochs);
    let found = record.accuracy;
    (found != expected).then(|| format!("key `accuracy` is {found:?}, and by its `epochs` {expected:?}"))
}
