//! Accuracies of runs that may differ, over the seeds of a configuration.

use serde::Serialize;

use super::pairs::Match;
use crate::Accuracy;
use crate::statistics::{FEWEST_SEEDS, Spread, paired};

/// What the mean may fall where seeds are too few to tell, in percentage points; what falls further is named where they do not tell.
pub(super) const TOLERANCE: f64 = 1.0;

/// Reads an accuracy off a record that may not have it.
type Read = fn(&Accuracy) -> Option<f64>;

/// Accuracies by their keys.
const ACCURACIES: [(&str, Read); 3] = [
    ("accuracy.last", |accuracy| Some(accuracy.last)),
    ("accuracy.best_test", |accuracy| Some(accuracy.best_test)),
    ("accuracy.chosen.test", |accuracy| Some(accuracy.chosen?.test)),
];

/// One accuracy of one configuration of BASE against one of NEW, over the pairs of their seeds, in %.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AccuracyGroup {
    /// What the runs are about, in words.
    pub about: String,
    /// The key of the accuracy.
    pub key: &'static str,
    /// The runs, each of BASE with its partner of NEW.
    pub runs: Vec<(String, String)>,
    /// The mean in BASE.
    pub base: f64,
    /// The mean in NEW.
    pub new: f64,
    /// NEW - BASE, pair by pair, in percentage points.
    pub difference: Spread,
    /// Whether the seeds are enough for an interval.
    pub enough_seeds: bool,
    /// Whether NEW is worse: its mean is below BASE's, and the interval of the differences leaves 0 out. With too few seeds: the mean
    /// fell by more than 1 percentage point.
    pub regressed: bool,
    /// Whether the mean fell by more than 1 percentage point, and the seeds do not tell that from chance.
    pub untold: bool,
}

/// Judges pairs that met the same data and need not be the same bits.
pub(super) fn groups(pairs: &[Match<'_>]) -> Vec<AccuracyGroup> {
    let mut groups: Vec<Vec<&Match<'_>>> = Vec::new();
    let of = |pair: &Match<'_>| [&pair.base, &pair.new].map(|run| run.record.config.but_seed());
    for pair in pairs {
        match groups.iter_mut().find(|group| of(group[0]) == of(pair)) {
            Some(group) => group.push(pair),
            None => groups.push(vec![pair]),
        }
    }
    let judged = groups.iter().flat_map(|group| ACCURACIES.map(|(key, read)| judge(group, key, read)));
    judged.flatten().collect()
}

/// None where a run has no such accuracy.
fn judge(group: &[&Match<'_>], key: &'static str, read: Read) -> Option<AccuracyGroup> {
    let (mut base, mut new) = (Vec::new(), Vec::new());
    for pair in group {
        // A pair is known by the seed of BASE: that of NEW may be what was changed.
        let seed = pair.base.record.seed;
        base.push((seed, read(&pair.base.record.accuracy)?));
        new.push((seed, read(&pair.new.record.accuracy)?));
    }
    let difference = Spread::of(&paired(&new, &base))?;
    let mean = |of: &[(u64, f64)]| of.iter().map(|(_, value)| value).sum::<f64>() / of.len() as f64;
    let enough_seeds = difference.count >= FEWEST_SEEDS;
    let regressed = match difference.interval {
        Some((_, high)) if enough_seeds => difference.mean < 0.0 && high < 0.0,
        _ => difference.mean < -TOLERANCE,
    };
    let untold = !regressed && difference.mean < -TOLERANCE;
    let ids = |pair: &&Match<'_>| (pair.base.record.run_id.clone(), pair.new.record.run_id.clone());
    Some(AccuracyGroup {
        about: group[0].base.about(),
        key,
        runs: group.iter().map(ids).collect(),
        base: mean(&base),
        new: mean(&new),
        difference,
        enough_seeds,
        regressed,
        untold,
    })
}
