//! What our runs say about a value that the paper prints for its own method or baseline.

use std::fmt;

use crate::experiment::CellSettings;
use crate::grid::{Several, peculiar};
use crate::statistics::Spread;
use crate::{Experiment, PaperValue, Profile, Record};

/// The verdict on one of the paper's values.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Runs of the paper's protocol give it: inside the tolerance, or inside the interval over seeds.
    Reproduced {
        /// Our mean, at the best test epoch, as the paper chose it.
        ours: f64,
    },
    /// Runs of the paper's protocol give another value.
    Deviates {
        /// Our mean less the paper's value.
        by: f64,
    },
    /// There are runs, but of less than the paper's protocol.
    Reduced {
        /// What is less, in words.
        why: Vec<String>,
    },
    /// No run is finished.
    NotRun,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reproduced { ours } => write!(f, "reproduced: ours is {ours:.2}"),
            Self::Deviates { by } => write!(f, "deviates by {by:+.2} points"),
            Self::Reduced { why } => write!(f, "reduced scale, not comparable: {}", why.join(", ")),
            Self::NotRun => f.write_str("not run"),
        }
    }
}

/// The verdict on a value, from finished runs; none for a value that no rule of ours stands for.
pub(crate) fn verdict(experiment: &Experiment, value: &PaperValue, records: &[&Record]) -> Option<Verdict> {
    let rule = value.rule?;
    let ours = records.iter().copied().filter(|record| {
        record.config.dataset == value.dataset
            && record.config.rule() == Some(rule)
            && value.time_steps.is_none_or(|steps| record.time_steps == steps)
    });
    let ours: Vec<(&Record, Vec<String>)> = ours.map(|record| (record, less(experiment, record))).collect();
    let whole: Vec<f64> = ours
        .iter()
        .filter(|(_, less)| less.is_empty())
        .map(|(record, _)| record.accuracy.best_test)
        .collect();
    let verdict = match (Spread::of(&whole), ours.into_iter().min_by_key(|(_, less)| less.len())) {
        (Some(spread), _) => {
            let by = spread.mean - value.accuracy;
            let inside = spread.interval.is_some_and(|(low, high)| (low..=high).contains(&value.accuracy));
            if inside || by.abs() <= experiment.tolerance {
                Verdict::Reproduced { ours: spread.mean }
            } else {
                Verdict::Deviates { by }
            }
        }
        (None, Some((_, why))) => Verdict::Reduced { why },
        (None, None) => Verdict::NotRun,
    };
    Some(verdict)
}

/// What a run is less than the paper's protocol, in words.
pub(crate) fn less(experiment: &Experiment, record: &Record) -> Vec<String> {
    let config = &record.config;
    let mut why = Vec::new();
    if config.ann {
        why.push("an ANN, of which the paper reports none".to_owned());
    }
    if config.synthetic {
        why.push("synthetic stand-in".to_owned());
    }
    if let Some(subset) = config.subset {
        why.push(format!(
            "subset of {} of {} training samples",
            bpsta_datasets::thousands(subset.train),
            bpsta_datasets::thousands(subset.train_official)
        ));
    }
    let paper = experiment.profile.get(&Profile::Paper);
    let of_dataset = |cell: &&CellSettings| cell.dataset == config.dataset && cell.stand_in.is_none();
    let cell = paper.and_then(|settings| settings.cell.iter().find(of_dataset));
    let Some(cell) = cell else {
        why.push("the profile `paper` does not say the paper's protocol".to_owned());
        return why;
    };
    if config.width != cell.width {
        why.push(format!("width {} of {}", config.width, cell.width));
    }
    if config.epochs != cell.epochs {
        why.push(format!("{} of {} epochs", config.epochs, cell.epochs));
    }
    if !config.ann && !cell.time_steps.contains(&config.time_steps) {
        let paper = cell.time_steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
        why.push(format!("T = {} in place of {paper}", config.time_steps));
    }
    if cell.augment && config.augmentation == "none" {
        why.push("no augmentation".to_owned());
    }
    if config.batch_size != cell.batch_size {
        why.push(format!("batches of {} in place of {}", config.batch_size, cell.batch_size));
    }
    if paper.is_some_and(|paper| config.schedule != cell.schedule.unwrap_or(paper.schedule)) {
        why.push("another learning rate or schedule".to_owned());
    }
    let peculiar = peculiar(config, Several::default());
    why.extend((!peculiar.is_empty()).then(|| peculiar.trim_start_matches(", ").to_owned()));
    why
}
