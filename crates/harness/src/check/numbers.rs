//! Are the numbers of a record numbers that there can be?

use crate::Record;

/// No number of a record is below 0, no firing rate above 1, and no accuracy above 100 %.
pub(super) fn out_of_range(record: &Record) -> Option<String> {
    let range = |key: &str| match key {
        key if key.contains("firing_rate") => (1.0, "from 0 to 1"),
        key if key.contains("accuracy") || key.starts_with("anytime") => (100.0, "from 0 to 100"),
        _ => (f64::MAX, "of 0 or more"),
    };
    let mut numbers = numbers(record).into_iter();
    let (key, value) = numbers.find(|(key, value)| !(0.0..=range(key).0).contains(value))?;
    Some(format!("key `{key}` is {value}, expected a finite number {}", range(&key).1))
}

/// The numbers of a record with their keys.
fn numbers(record: &Record) -> Vec<(String, f64)> {
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
    if let Some(timing) = &record.timing {
        let step_ms = timing.step_ms;
        let of_steps = [("p5", step_ms.p5), ("p50", step_ms.p50), ("p95", step_ms.p95), ("max", step_ms.max)];
        numbers.extend(of_steps.map(|(key, value)| (format!("timing.step_ms.{key}"), value)));
    }
    for (index, epoch) in record.epochs.iter().enumerate() {
        for (layer, rate) in epoch.layer_firing_rates.iter().flatten().enumerate() {
            numbers.push((format!("epochs[{index}].layer_firing_rates[{layer}]"), *rate));
        }
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
    for (index, layer) in record.operations.iter().flatten().enumerate() {
        let of_layer = [
            ("inputs_per_sample", layer.inputs_per_sample),
            ("operations_per_sample", layer.operations_per_sample),
            ("dense_per_sample", layer.dense_per_sample),
        ];
        numbers.extend(of_layer.map(|(key, value)| (format!("operations[{index}].{key}"), value)));
    }
    let anytime = record.anytime.iter().flatten().enumerate();
    numbers.extend(anytime.map(|(index, percent)| (format!("anytime[{index}]"), *percent)));
    numbers
}
