//! Are the runs of NEW what those of BASE were?
//!
//! Three kinds of difference are kept apart. Under one configuration and code version every measured value must be the same bits, so a
//! single bit is a regression. Where configuration or code changed, accuracies are compared over seeds. Times are ratios, and judged
//! on one machine alone.

mod accuracy;
mod changes;
mod pairs;
mod runs;
mod text;
mod times;

use std::path::Path;

use serde::Serialize;

use self::changes::measured;
use self::pairs::{matched, same_bits};
use self::runs::{Run, load};
use crate::{Record, Result};

pub use self::accuracy::AccuracyGroup;
pub use self::changes::{Change, ChangeKind, Difference};
pub use self::pairs::{Pair, PairedBy};
pub use self::times::TimeRatio;

/// What a comparison says. Its number is the exit code of `cargo xtask compare`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum ComparisonVerdict {
    /// Nothing that must be equal differs, and nothing regressed.
    Same = 0,
    /// A value that must be equal differs, or an accuracy fell; or, where that was asked for, times rose or a run is not there again.
    Regressed = 1,
    /// Nothing regressed as far as can be seen, but there is no pair, or a pair that met other data.
    NotComparable = 2,
}

/// What is taken for a regression beyond what certainly is one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Limits {
    /// The median ratio beyond which a time is flagged.
    pub time_tolerance: f64,
    /// Whether that alone is a regression.
    pub fail_on_time: bool,
    /// Whether a run of BASE must have its own in NEW: one without a partner of its run id is a regression, so that a change of
    /// the configuration, after which runs have other ids, is one too.
    pub exact: bool,
}

/// A run that has no partner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unpaired {
    /// Its run id.
    pub run_id: String,
    /// What it is about, in words.
    pub about: String,
}

/// BASE against NEW.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// What it says.
    pub verdict: ComparisonVerdict,
    /// The name of BASE.
    pub base: String,
    /// The name of NEW.
    pub new: String,
    /// The runs that stand against each other.
    pub pairs: Vec<Pair>,
    /// Runs that only BASE has.
    pub only_in_base: Vec<Unpaired>,
    /// Runs that only NEW has.
    pub only_in_new: Vec<Unpaired>,
    /// Accuracies of runs that need not be equal.
    pub accuracies: Vec<AccuracyGroup>,
    /// Times.
    pub times: Vec<TimeRatio>,
    /// What was taken for a regression.
    #[serde(flatten)]
    pub limits: Limits,
}

impl Comparison {
    /// The runs of BASE that stand against none of their own run id.
    pub fn not_again(&self) -> usize {
        self.only_in_base.len() + self.pairs.iter().filter(|pair| pair.by != PairedBy::RunId).count()
    }

    /// The pairs whose values must be equal, and are not.
    pub fn unequal(&self) -> impl Iterator<Item = &Pair> {
        self.pairs.iter().filter(|pair| pair.must_be_equal && !pair.differences.is_empty())
    }
}

/// What two records of one run say of each other.
pub(crate) enum Again {
    /// Every value that both measured is the same.
    Same,
    /// One is not, and need not be: see [`same_bits`].
    Otherwise,
    /// This one is not, and must be.
    Contradicted(Difference),
}

/// Holds two records of one run against each other.
pub(crate) fn again(base: &Record, new: &Record) -> Again {
    let [of_base, of_new] = [base, new].map(|record| serde_json::to_value(record).unwrap_or_default());
    match measured(&of_base, &of_new).into_iter().next() {
        None => Again::Same,
        Some(difference) if same_bits(base, new) => Again::Contradicted(difference),
        Some(_) => Again::Otherwise,
    }
}

/// Compares two sets of runs; each name is a folder, or a revision of the git `repository`, whose `results/` is then read.
///
/// # Errors
/// [`crate::HarnessError::NoRuns`] for a name that gives none, [`crate::HarnessError::RefusedRecord`] for a record that is none or
/// contradicts itself or, where both must be the same bits, another of its run, and those of reading.
pub fn compare(base: &str, new: &str, repository: &Path, limits: Limits) -> Result<Comparison> {
    let (base_runs, new_runs) = (load(base, repository)?, load(new, repository)?);
    let matched = matched(&base_runs, &new_runs);
    let pairs: Vec<Pair> = matched.pairs.iter().map(Pair::of).collect();
    let (mut same_data, mut may_differ) = (Vec::new(), Vec::new());
    for (pair, matched) in pairs.iter().zip(&matched.pairs).filter(|(pair, _)| !pair.other_data) {
        same_data.push(*matched);
        if !pair.must_be_equal {
            may_differ.push(*matched);
        }
    }
    let unpaired = |runs: &[&Run]| {
        let of = |run: &&Run| Unpaired {
            run_id: run.record.run_id.clone(),
            about: format!("{}, seed {}", run.about(), run.record.seed),
        };
        runs.iter().map(of).collect()
    };
    let mut comparison = Comparison {
        verdict: ComparisonVerdict::Same,
        base: base.to_owned(),
        new: new.to_owned(),
        only_in_base: unpaired(&matched.only_base),
        only_in_new: unpaired(&matched.only_new),
        accuracies: accuracy::groups(&may_differ),
        times: times::ratios(&same_data, limits.time_tolerance),
        limits,
        pairs,
    };
    let slower = limits.fail_on_time && comparison.times.iter().any(|ratio| ratio.slower);
    let not_again = limits.exact && comparison.not_again() > 0;
    let fell = comparison.accuracies.iter().any(|group| group.regressed);
    // What regressed is certain, whatever else could not be compared.
    if slower || fell || not_again || comparison.unequal().next().is_some() {
        comparison.verdict = ComparisonVerdict::Regressed;
    } else if comparison.pairs.is_empty() || comparison.pairs.iter().any(|pair| pair.other_data) {
        comparison.verdict = ComparisonVerdict::NotComparable;
    }
    Ok(comparison)
}
