//! What our runs say about a value that the paper prints for its own method or baseline.

use std::fmt;

use bpsta_datasets::thousands;

use crate::experiment::{CellSettings, DatasetEntry};
use crate::grid::{Several, peculiar};
use crate::statistics::{FEWEST_SEEDS, Spread};
use crate::views::Group;
use crate::{Experiment, PaperValue, Profile, Record};

/// The verdict on one of the paper's values.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The mean of runs of the paper's protocol, at the best test epoch, as the paper chose it, lies within the tolerance.
    Reproduced(Agreement),
    /// It does not, but seeds are fewer than 3, or their interval holds the paper's value: they are too few, or too far apart, to tell.
    Untold {
        /// What our runs gave.
        ours: Spread,
        /// Our mean less the paper's value.
        by: f64,
    },
    /// Runs of the paper's protocol give another value.
    Deviates {
        /// What our runs gave.
        ours: Spread,
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

/// A mean within the tolerance, and how sure the seeds are of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// What our runs gave.
    pub ours: Spread,
    /// What the seeds say beside their mean.
    pub certainty: Certainty,
}

/// Whether seeds tell that a mean within the tolerance is there by more than chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// Their interval lies within the tolerance.
    Sure,
    /// They are fewer than 3.
    TooFewSeeds,
    /// Their interval reaches out of the tolerance.
    TooFarApart,
}

impl Agreement {
    /// Of a mean that lies within `tolerance` points of the paper's `value`.
    fn of(ours: Spread, value: f64, tolerance: f64) -> Self {
        let within = |bound: f64| (bound - value).abs() <= tolerance;
        let certainty = match ours.interval {
            Some(_) if ours.count < FEWEST_SEEDS => Certainty::TooFewSeeds,
            Some((low, high)) if within(low) && within(high) => Certainty::Sure,
            Some(_) => Certainty::TooFarApart,
            None => Certainty::TooFewSeeds,
        };
        Self { ours, certainty }
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doubt = match self.certainty {
            Certainty::Sure => "",
            Certainty::TooFewSeeds => ", by too few seeds to be sure",
            Certainty::TooFarApart => ", by seeds too far apart to be sure",
        };
        write!(f, "reproduced{doubt}: ours is {}", of_seeds(&self.ours))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reproduced(agreement) => write!(f, "{agreement}"),
            Self::Untold { ours, by } => {
                write!(
                    f,
                    "off by {by:+.2} points, which the seeds do not tell from chance: ours is {}",
                    of_seeds(ours)
                )
            }
            Self::Deviates { ours, by } => {
                write!(f, "deviates by {by:+.2} points: ours is {}", of_seeds(ours))
            }
            Self::Reduced { why } => write!(f, "reduced scale, not comparable: {}", why.join(", ")),
            Self::NotRun => f.write_str("not run"),
        }
    }
}

/// The mean, of how many seeds, and its interval.
fn of_seeds(ours: &Spread) -> String {
    let seeds = if ours.count == 1 { "seed" } else { "seeds" };
    let interval = ours.interval.map(|(low, high)| format!(", {low:.2} to {high:.2}")).unwrap_or_default();
    format!("{:.2} ({} {seeds}{interval})", ours.mean, ours.count)
}

/// The verdict on a value, from finished runs; none for a value that no rule of ours stands for. Several configurations may be runs of the
/// paper's protocol, such as one on two engines: the one with the most seeds is taken, for one seed twice says nothing of the spread.
pub(crate) fn verdict(experiment: &Experiment, value: &PaperValue, records: &[&Record]) -> Option<Verdict> {
    let rule = value.rule?;
    let ours = records.iter().copied().filter(|record| {
        record.config.dataset == value.dataset
            && record.config.rule() == Some(rule)
            && value.time_steps.is_none_or(|steps| record.time_steps == steps)
    });
    let groups = Group::all(&ours.collect::<Vec<_>>());
    let ours: Vec<(&Group<'_>, Vec<String>)> =
        groups.iter().map(|group| (group, less(experiment, group.first()))).collect();
    let whole = ours.iter().filter(|(_, less)| less.is_empty()).map(|(group, _)| group.records());
    // Of equals, which the last would be taken of, the first.
    let whole = whole.rev().max_by_key(|records| records.len()).unwrap_or_default();
    let whole: Vec<f64> = whole.iter().map(|record| record.accuracy.best_test).collect();
    let verdict = match (Spread::of(&whole), ours.into_iter().min_by_key(|(_, less)| less.len())) {
        (Some(spread), _) => {
            let (ours, by) = (spread, spread.mean - value.accuracy);
            let few = ours.count < FEWEST_SEEDS;
            let held = ours.interval.is_some_and(|(low, high)| (low..=high).contains(&value.accuracy));
            match by.abs() <= experiment.tolerance {
                true => Verdict::Reproduced(Agreement::of(ours, value.accuracy, experiment.tolerance)),
                false if few || held => Verdict::Untold { ours, by },
                false => Verdict::Deviates { ours, by },
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
            "subset of {} of {} training and {} of {} test samples",
            thousands(subset.train),
            thousands(subset.train_official),
            thousands(subset.test),
            thousands(subset.test_official)
        ));
    }
    let paper = experiment.profile.get(&Profile::Paper);
    let of_dataset = |cell: &&CellSettings| cell.dataset == config.dataset && cell.stand_in.is_none();
    let cell = paper.and_then(|settings| settings.cell.iter().find(of_dataset));
    let Some(cell) = cell else {
        why.push("the profile `paper` does not say the paper's protocol".to_owned());
        return why;
    };
    let same_network = |entry: &&DatasetEntry| {
        (entry.id, entry.network, entry.variant) == (config.dataset, config.network, config.variant)
    };
    match experiment.dataset.iter().find(same_network) {
        None => why.push("another network".to_owned()),
        Some(entry) if entry.stride != config.input.stride => {
            why.push(format!("stride {} in place of {}", config.input.stride, entry.stride));
        }
        Some(_) => {}
    }
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
    match (cell.augment, config.augmentation != "none") {
        (true, false) => why.push("no augmentation".to_owned()),
        (false, true) => why.push("augmentation, of which the paper has none".to_owned()),
        _ => {}
    }
    if config.batch_size != cell.batch_size {
        why.push(format!("batches of {} in place of {}", config.batch_size, cell.batch_size));
    }
    if paper.is_some_and(|paper| config.schedule != cell.schedule.unwrap_or(paper.schedule)) {
        why.push("another learning rate or schedule".to_owned());
    }
    if let Some(paper) = paper.filter(|paper| paper.weight_decay != config.weight_decay) {
        why.push(format!("weight decay {} in place of {}", config.weight_decay, paper.weight_decay));
    }
    if !config.ann && config.ann_warm_up_epochs != cell.ann_warm_up_epochs {
        let (ours, paper) = (config.ann_warm_up_epochs, cell.ann_warm_up_epochs);
        why.push(format!("{ours} of {paper} epochs of ANN warm-up"));
    }
    let peculiar = peculiar(config, Several::default());
    why.extend((!peculiar.is_empty()).then(|| peculiar.trim_start_matches(", ").to_owned()));
    why
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::EngineKind;

    /// Accuracy of every run, inside the tolerance.
    const OURS: f64 = 99.5;

    /// Table 2, its value for N-MNIST, and runs of the paper's protocol with five seeds, made up from an accepted one.
    fn runs_of_the_protocol() -> (Experiment, PaperValue, Vec<Record>) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let experiment = Experiment::load(&root.join("experiments"), "table2").unwrap();
        let values = experiment.paper.iter().filter(|value| value.rule.is_some());
        let value = values.clone().find(|value| value.dataset.to_string() == "nmnist").unwrap().clone();
        let accepted = std::fs::read_dir(root.join("results/table2/quick/records")).unwrap();
        let accepted = accepted.map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
        let mut accepted = accepted.map(|bytes| serde_json::from_slice::<Record>(&bytes).unwrap());
        let of_value =
            |record: &Record| record.config.dataset == value.dataset && record.config.rule() == value.rule;
        let mut record = accepted.find(of_value).unwrap();
        let settings = &experiment.profile[&Profile::Paper];
        let cell = settings.cell.iter().find(|cell| cell.dataset == value.dataset).unwrap();
        let config = &mut record.config;
        (config.synthetic, config.width, config.epochs) = (false, cell.width, cell.epochs);
        (config.time_steps, config.batch_size) = (cell.time_steps[0], cell.batch_size);
        config.schedule = settings.schedule;
        config.weight_decay = settings.weight_decay;
        record.time_steps = config.time_steps;
        let seeded = |seed: u64| {
            let mut record = record.clone();
            (record.seed, record.config.seed, record.accuracy.best_test) = (seed, seed, OURS);
            record
        };
        let runs = (1..=5).map(seeded).collect();
        (experiment, value, runs)
    }

    fn verdict_on(experiment: &Experiment, value: &PaperValue, runs: &[Record]) -> Verdict {
        verdict(experiment, value, &runs.iter().collect::<Vec<_>>()).unwrap()
    }

    /// Five seeds that all gave the same.
    fn reproduced() -> Verdict {
        Verdict::Reproduced(Agreement { ours: Spread::of(&[OURS; 5]).unwrap(), certainty: Certainty::Sure })
    }

    #[test]
    fn the_tolerance_is_asked_first_and_then_the_seeds() {
        let (experiment, value, runs) = runs_of_the_protocol();
        let (paper, tolerance) = (value.accuracy, experiment.tolerance);
        // What five seeds gave, in points off the paper's value, and how the verdict begins.
        let cases = [
            ([0.9 * tolerance; 5], "reproduced: ours is"),
            ([-0.9 * tolerance; 5], "reproduced: ours is"),
            ([1.1 * tolerance; 5], "deviates by +0.55 points: ours is"),
            ([-9.0; 5], "deviates by -9.00 points: ours is"),
            (
                [-9.0, -3.0, 0.0, -6.0, 3.0],
                "off by -3.00 points, which the seeds do not tell from chance: ours is",
            ),
            ([-9.0, -3.0, 0.0, 3.0, 9.0], "reproduced, by seeds too far apart to be sure: ours is"),
            ([0.1, 0.2, 0.3, 0.4, 0.9], "reproduced, by seeds too far apart to be sure: ours is"),
            ([-0.2, -0.1, 0.0, 0.1, 0.2], "reproduced: ours is"),
        ];
        for (off, expected) in cases {
            let mut runs = runs.clone();
            runs.iter_mut().zip(off).for_each(|(record, off)| record.accuracy.best_test = paper + off);
            let verdict = verdict_on(&experiment, &value, &runs).to_string();
            assert!(verdict.starts_with(expected) && verdict.contains("(5 seeds, "), "{off:?}: {verdict}");
        }
        let alone = verdict_on(&experiment, &value, &runs[..1]).to_string();
        assert_eq!(alone, "reproduced, by too few seeds to be sure: ours is 99.50 (1 seed)");
    }

    #[test]
    fn seeds_that_are_too_few_tell_no_deviation() {
        let (experiment, value, mut runs) = runs_of_the_protocol();
        runs.iter_mut().for_each(|record| record.accuracy.best_test = value.accuracy - 9.0);
        for count in 1..FEWEST_SEEDS {
            let verdict = verdict_on(&experiment, &value, &runs[..count]);
            assert!(matches!(verdict, Verdict::Untold { .. }), "{count}: {verdict}");
        }
        let verdict = verdict_on(&experiment, &value, &runs[..FEWEST_SEEDS]);
        assert!(matches!(verdict, Verdict::Deviates { .. }), "{verdict}");
        // Two that gave the same have an interval without width.
        runs.iter_mut().for_each(|record| record.accuracy.best_test = value.accuracy);
        let verdict = verdict_on(&experiment, &value, &runs[..2]).to_string();
        assert!(verdict.starts_with("reproduced, by too few seeds to be sure"), "{verdict}");
    }

    #[test]
    fn of_two_configurations_with_as_many_seeds_the_first_is_taken() {
        let (experiment, value, runs) = runs_of_the_protocol();
        let engine = |record: &Record| {
            let mut record = record.clone();
            record.config.engine = EngineKind::Reference;
            record.accuracy.best_test -= 20.0;
            record
        };
        let others: Vec<Record> = runs.iter().map(engine).collect();
        assert_eq!(verdict_on(&experiment, &value, &[runs.clone(), others.clone()].concat()), reproduced());
        let verdict = verdict_on(&experiment, &value, &[others, runs].concat());
        assert!(matches!(verdict, Verdict::Deviates { .. }), "{verdict}");
    }

    #[test]
    fn who_holds_samples_back_does_not_follow_the_paper_s_protocol() {
        let (experiment, value, mut runs) = runs_of_the_protocol();
        assert_eq!(verdict_on(&experiment, &value, &runs), reproduced());
        runs.iter_mut().for_each(|record| record.config.validation = Some(0.07));
        let why = vec!["7 % of the training samples held back".to_owned()];
        assert_eq!(verdict_on(&experiment, &value, &runs), Verdict::Reduced { why });
    }

    #[test]
    fn whatever_shapes_a_run_is_held_against_the_protocol() {
        let (experiment, value, runs) = runs_of_the_protocol();
        type Change = fn(&mut crate::RunConfig);
        let changes: [(Change, &str); 5] = [
            (
                |config| config.augmentation = "flipped".to_owned(),
                "augmentation, of which the paper has none",
            ),
            (|config| config.ann_warm_up_epochs = 3, "3 of 0 epochs of ANN warm-up"),
            (|config| config.weight_decay += 1.0, "weight decay"),
            (|config| config.input.stride += 1, "stride"),
            (|config| config.variant = bpsta_spiking::Variant::Images, "another network"),
        ];
        for (change, expected) in changes {
            let mut runs = runs.clone();
            runs.iter_mut().for_each(|record| change(&mut record.config));
            match verdict_on(&experiment, &value, &runs) {
                Verdict::Reduced { why } => assert!(why[0].starts_with(expected), "{why:?}"),
                other => panic!("{expected}: {other}"),
            }
        }
    }

    #[test]
    fn a_verdict_is_on_one_configuration_whose_seeds_count_once() {
        let (experiment, value, runs) = runs_of_the_protocol();
        let mut all = runs.clone();
        for record in &runs[..4] {
            let mut record = record.clone();
            record.config.engine = EngineKind::Reference;
            record.accuracy.best_test -= 20.0;
            all.push(record);
        }
        assert_eq!(verdict_on(&experiment, &value, &all), reproduced());
        all.rotate_left(5);
        assert_eq!(verdict_on(&experiment, &value, &all), reproduced());
        let groups = Group::all(&all.iter().collect::<Vec<_>>());
        let names: Vec<&str> = groups.iter().map(Group::peculiar).collect();
        assert_eq!(names, [", engine reference", ", engine cpu"]);
    }
}
