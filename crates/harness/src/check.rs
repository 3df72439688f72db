//! Does a record say what its run was asked for, and what its own epochs say? It may have been edited, copied, or come from a
//! training that went wrong.

use bpsta_datasets::Manifest;
use bpsta_spiking::NetworkSpec;

use crate::reproducible::stream_names;
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
        ("rule", record.rule.clone(), config.rule_id().to_owned()),
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
    if !Manifest::describes(&record.data, config.synthetic, config.subset.is_some()) {
        return Ok(Some(format!("key `data` is {:?}, which its `config` contradicts", record.data)));
    }
    let cells = if config.ann { Vec::new() } else { spec.lif_cells()? };
    let weights = weights(&spec, config.ann, config.time_steps)?;
    Ok(of_schema(record)
        .or_else(|| of_twin(record))
        .or_else(|| of_hashes(record))
        .or_else(|| out_of_range(record))
        .or_else(|| against_layers(record, &cells))
        .or_else(|| against_weights(record, &weights))
        .or_else(|| against_epochs(record, &cells))
        .or_else(|| against_spikes(record))
        .or_else(|| against_counts(record)))
}

/// What came with a schema is all there from then on, and was not there before.
fn of_schema(record: &Record) -> Option<String> {
    let new = [
        (2, "split_rule", record.split_rule.is_some()),
        (2, "streams", record.streams.is_some()),
        (2, "classes", record.classes.is_some()),
        (2, "anytime", record.anytime.is_some()),
        (2, "operations", record.operations.is_some()),
        (2, "environment", record.environment.is_some()),
        (2, "code", record.code.is_some()),
        (2, "timing", record.timing.is_some()),
        (
            2,
            "epochs[..].layer_firing_rates",
            record.epochs.iter().all(|epoch| epoch.layer_firing_rates.is_some()),
        ),
        (3, "maps_hash", record.maps_hash.is_some()),
    ];
    let (_, key, there) = new.into_iter().find(|(since, _, there)| *there != (record.schema >= *since))?;
    let found = if there { "is there" } else { "is not there" };
    Some(format!("key `{key}` {found}, in a record of schema {}", record.schema))
}

/// The ANN twin has one form, and no spikes in any place.
fn of_twin(record: &Record) -> Option<String> {
    let config = &record.config;
    if !config.ann {
        return None;
    }
    if *config != config.twin() {
        return Some("key `config` is not that of an ANN twin, whose `ann` is true".to_owned());
    }
    let without_spikes = [
        ("firing_rate", record.firing_rate == 0.0),
        ("spikes_per_sample", record.spikes_per_sample == 0.0),
        ("layer_spikes", record.layer_spikes.is_empty()),
        ("operations[..].real", record.operations.iter().flatten().all(|of| of.real)),
        ("epochs[..].ann_warm_up", record.epochs.iter().all(|epoch| epoch.ann_warm_up)),
        ("epochs[..].firing_rate", record.epochs.iter().all(|epoch| epoch.firing_rate == 0.0)),
    ];
    let (key, _) = without_spikes.into_iter().find(|(_, without)| !without)?;
    Some(format!("key `{key}` has spikes, and by its `config` it is an ANN twin"))
}

/// Each layer of cells has its spikes, at the rate of the last epoch; `cells` has the layers' indices, and how many they are.
fn against_layers(record: &Record, cells: &[(usize, usize)]) -> Option<String> {
    let found: Vec<(usize, usize)> =
        record.layer_spikes.iter().map(|layer| (layer.layer, layer.cells)).collect();
    if found != cells {
        return Some(format!(
            "key `layer_spikes` has (layer, cells) {found:?}, and by its `config` {cells:?}"
        ));
    }
    let rates: Vec<f64> = record.layer_spikes.iter().map(|layer| layer.firing_rate).collect();
    let last = record.epochs.last().and_then(|epoch| epoch.layer_firing_rates.as_ref());
    let expected = last.filter(|last| **last != rates)?;
    Some(format!("key `layer_spikes` has firing rates {rates:?}, and by its `epochs` {expected:?}"))
}

/// Each layer of weights of a network: its index, whether real numbers enter it (in an ANN they always do), and the weights that all its
/// inputs meet over all time steps.
fn weights(spec: &NetworkSpec, ann: bool, time_steps: usize) -> Result<Vec<(usize, bool, f64)>> {
    let weights = spec.weight_layers()?.into_iter();
    Ok(weights.map(|of| (of.layer, ann || of.real, time_steps as f64 * of.dense as f64)).collect())
}

/// Each layer of weights has its operations, and no more of them than its weights allow.
fn against_weights(record: &Record, weights: &[(usize, bool, f64)]) -> Option<String> {
    let operations = record.operations.as_ref()?;
    let found: Vec<(usize, bool, f64)> =
        operations.iter().map(|of| (of.layer, of.real, of.dense_per_sample)).collect();
    if found != weights {
        let key = "key `operations` has (layer, real, dense_per_sample)";
        return Some(format!("{key} {found:?}, and by its `config` {weights:?}"));
    }
    for (index, of) in operations.iter().enumerate() {
        let (inputs, met, all) = (of.inputs_per_sample, of.operations_per_sample, of.dense_per_sample);
        // An input that is not zero meets one weight at least.
        if !(inputs <= met && met <= all) {
            return Some(format!(
                "key `operations[{index}]` has {inputs} inputs that meet {met} of {all} weights"
            ));
        }
    }
    None
}

/// A hash is one: 64 digits of 16.
fn of_hashes(record: &Record) -> Option<String> {
    let hashes =
        [("parameters_hash", Some(&record.parameters_hash)), ("maps_hash", record.maps_hash.as_ref())];
    let is_hash = |text: &str| blake3::Hash::from_hex(text).is_ok_and(|hash| *hash.to_hex() == *text);
    let (key, found) = hashes.into_iter().find(|(_, hash)| hash.is_some_and(|hash| !is_hash(hash)))?;
    Some(format!("key `{key}` is {:?}, expected 64 digits of 0 to 9 and a to f", found?))
}

/// No number of a record is below 0, no firing rate above 1, and no accuracy above 100 %.
fn out_of_range(record: &Record) -> Option<String> {
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

/// The epochs are those of the configuration, and what the record says of the last and of the best one is theirs; `cells` has the layers
/// of cells.
fn against_epochs(record: &Record, cells: &[(usize, usize)]) -> Option<String> {
    let (config, epochs) = (&record.config, &record.epochs);
    let [trained, tested] = record.samples.map(|samples| samples as f64);
    let steps = (trained / config.batch_size as f64) as usize;
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

/// Spikes are counted: those of a layer are a whole number over the test samples, and those of all layers their sum. So all these are
/// quotients of whole numbers, and equal to the bit.
fn against_spikes(record: &Record) -> Option<String> {
    let (tested, time_steps) = (record.samples[1] as f64, record.time_steps as f64);
    let (mut spikes, mut cells) = (0.0, 0.0);
    for (index, layer) in record.layer_spikes.iter().enumerate() {
        let each = layer.spikes_per_sample;
        let whole = (each * tested).round();
        if whole / tested != each {
            return Some(format!(
                "key `layer_spikes[{index}].spikes_per_sample` is {each}, no whole number of spikes over {tested} samples"
            ));
        }
        let (found, expected) = (layer.firing_rate, each / (layer.cells as f64 * time_steps));
        if found != expected {
            return Some(format!(
                "key `layer_spikes[{index}].firing_rate` is {found}, and by its spikes {expected}"
            ));
        }
        spikes += whole;
        cells += layer.cells as f64;
    }
    let (found, expected) = (record.spikes_per_sample, spikes / tested);
    if found != expected {
        return Some(format!("key `spikes_per_sample` is {found}, and by its `layer_spikes` {expected}"));
    }
    let (found, expected) = (record.firing_rate, spikes / (cells * tested * time_steps));
    // An ANN has none, and no cells that could fire.
    (cells > 0.0 && found != expected)
        .then(|| format!("key `firing_rate` is {found}, and by its `layer_spikes` {expected}"))
}

/// Classes and steps are counted as the configuration and the accuracy say.
fn against_counts(record: &Record) -> Option<String> {
    let [trained, tested] = record.samples;
    if let Some(classes) = &record.classes {
        if classes.len() != record.config.classes {
            return Some(format!(
                "key `classes` is a list of {}, expected {}",
                classes.len(),
                record.config.classes
            ));
        }
        if let Some((index, class)) =
            classes.iter().enumerate().find(|(_, class)| class.correct > class.total)
        {
            let problem = format!("{} of {}", class.correct, class.total);
            return Some(format!("key `classes[{index}]` is {problem}"));
        }
        let sum = |of: fn(&crate::ClassCount) -> usize| {
            classes.iter().map(of).try_fold(0_usize, usize::checked_add)
        };
        let total = sum(|class| class.total);
        if total != Some(tested) {
            return Some(format!("key `classes` has totals of {total:?} samples, and by `samples` {tested}"));
        }
        let correct = sum(|class| class.correct).unwrap_or_default();
        let accuracy = 100.0 * correct as f64 / tested as f64;
        if accuracy != record.accuracy.last {
            let last = record.accuracy.last;
            return Some(format!("key `classes` has {accuracy} % correct, and by `accuracy.last` {last} %"));
        }
    }
    if let Some(anytime) = &record.anytime {
        // The closer look is at spikes, whatever the last epoch was, but at the twin.
        let alike = record.config.ann || record.epochs.last().is_some_and(|epoch| !epoch.ann_warm_up);
        let (found, expected) = (anytime.last(), record.accuracy.last);
        if anytime.len() != record.time_steps || (alike && found != Some(&expected)) {
            return Some(format!(
                "key `anytime` is a list of {} that ends in {found:?}, expected {} that end in `accuracy.last`, {expected}",
                anytime.len(),
                record.time_steps
            ));
        }
    }
    if let Some(streams) = &record.streams
        && *streams != stream_names(&record.config)
    {
        return Some(format!("key `streams` is {streams:?}, which its `config` contradicts"));
    }
    if let Some(timing) = &record.timing {
        let steps = record.config.epochs * (trained / record.config.batch_size.max(1));
        if timing.steps != steps {
            return Some(format!("key `timing.steps` is {}, and by `samples` {steps}", timing.steps));
        }
        let ms = timing.step_ms;
        if !(0.0 <= ms.p5 && ms.p5 <= ms.p50 && ms.p50 <= ms.p95 && ms.p95 <= ms.max) {
            return Some(format!("key `timing.step_ms` is {ms:?}, expected p5 <= p50 <= p95 <= max"));
        }
    }
    None
}
