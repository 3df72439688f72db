//! Does a record say what its run was asked for, and what its own epochs say? It may have been edited, copied, or come from a
//! training that went wrong.

mod epochs;
mod layers;
mod numbers;

use bpsta_datasets::Manifest;

use crate::reproducible::stream_names;
use crate::{Record, Result};

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
    let weights = layers::weights(&spec, config.ann, config.time_steps)?;
    Ok(of_schema(record)
        .or_else(|| of_twin(record))
        .or_else(|| of_hashes(record))
        .or_else(|| numbers::out_of_range(record))
        .or_else(|| layers::against_layers(record, &cells))
        .or_else(|| layers::against_weights(record, &weights))
        .or_else(|| epochs::against_epochs(record, &cells))
        .or_else(|| layers::against_spikes(record))
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

/// A hash is one: 64 digits of 16.
fn of_hashes(record: &Record) -> Option<String> {
    let hashes =
        [("parameters_hash", Some(&record.parameters_hash)), ("maps_hash", record.maps_hash.as_ref())];
    let is_hash = |text: &str| blake3::Hash::from_hex(text).is_ok_and(|hash| *hash.to_hex() == *text);
    let (key, found) = hashes.into_iter().find(|(_, hash)| hash.is_some_and(|hash| !is_hash(hash)))?;
    Some(format!("key `{key}` is {:?}, expected 64 digits of 0 to 9 and a to f", found?))
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
