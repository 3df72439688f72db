//! Sections of a table that say what the seeds say: the spread of each configuration, and the rules compared seed by seed.

use bpsta_spiking::{Neuron, Rule};

use crate::block::{Block, Grid};
use crate::statistics::{FEWEST_SEEDS, Spread, paired};
use crate::views::{Group, network};
use crate::{Record, RunConfig};

/// The pairs of rules whose difference an ablation asks for.
const PAIRS: [(Rule, Rule); 4] = [
    (Rule::Spatial, Rule::Baseline),
    (Rule::Temporal, Rule::Baseline),
    (Rule::Both, Rule::Baseline),
    (Rule::Both, Rule::Spatial),
];

/// Both sections for the configurations of one data set, each with its runs; nothing where no configuration has two seeds.
pub(crate) fn blocks(groups: &[Group<'_>]) -> Vec<Block> {
    if groups.iter().all(|group| group.records().len() < 2) {
        return Vec::new();
    }
    let mut blocks = spreads(groups).to_vec();
    blocks.extend(differences(groups).into_iter().flatten());
    blocks
}

fn spreads(groups: &[Group<'_>]) -> [Block; 2] {
    let header = ["configuration", "seeds", "epoch", "mean", "deviation", "IQM", "interval"];
    let mut table = Grid::new(header, 1);
    for group in groups.iter().filter(|group| group.records().len() > 1) {
        for best in [false, true] {
            let value = |record: &Record| if best { record.accuracy.best_test } else { record.accuracy.last };
            let values: Vec<f64> = group.records().iter().map(|record| value(record)).collect();
            let Some(spread) = Spread::of(&values) else { continue };
            let row = [
                format!("{}, {}", group.first().rule, configuration(group)),
                spread.count.to_string(),
                if best { "best test" } else { "last" }.to_owned(),
                format!("{:.2}", spread.mean),
                spread.deviation.map(|deviation| format!("{deviation:.2}")).unwrap_or_default(),
                // Of fewer than four it leaves none out, and is the mean.
                if spread.count < 4 { String::new() } else { format!("{:.2}", spread.interquartile_mean) },
                interval(&spread),
            ];
            table.add(row, group.records().iter().copied());
        }
    }
    let about = "Over seeds, accuracy in %. IQM: interquartile mean. Interval: 95 % of the mean, by Student's t; it may exceed 100 %.";
    [Block::Text(about.to_owned()), Block::Grid(table)]
}

/// None where no two rules share a seed.
fn differences(groups: &[Group<'_>]) -> Option<[Block; 2]> {
    let header = [
        "difference",
        "configuration",
        "seeds",
        "accuracy, last epoch",
        "interval",
        "firing rate",
        "interval",
    ];
    let mut table = Grid::new(header, 1);
    for a in groups {
        let against = PAIRS.iter().filter(|(rule, _)| Some(*rule) == a.first().config.rule());
        for b in against.flat_map(|(_, rule)| groups.iter().filter(move |b| differ_by_rule(a, b, *rule))) {
            let difference = |value: fn(&Record) -> f64| {
                let by_seed = |group: &Group<'_>| -> Vec<(u64, f64)> {
                    group.records().iter().map(|record| (record.seed, value(record))).collect()
                };
                Spread::of(&paired(&by_seed(a), &by_seed(b))).filter(|spread| spread.count > 1)
            };
            let accuracy = difference(|record| record.accuracy.last);
            let Some((accuracy, rate)) = accuracy.zip(difference(|record| record.firing_rate)) else {
                continue;
            };
            // What `a` does not use may tell several apart.
            let of_b = if b.peculiar() == a.peculiar() { "" } else { b.peculiar() };
            let row = [
                format!("{} - {}{of_b}", a.first().rule, b.first().rule),
                configuration(a),
                accuracy.count.to_string(),
                format!("{:+.2}", accuracy.mean),
                told_apart(&accuracy, 2),
                format!("{:+.4}", rate.mean),
                told_apart(&rate, 4),
            ];
            table.add(row, a.records().iter().chain(b.records()).copied());
        }
    }
    let about = "Rules compared seed by seed: a seed gives both the same initial weights and the same order of samples. Intervals \
                 are of 95 %, by Student's t; one that holds 0 is not significant, and of 20 where nothing but chance differs, one leaves 0 out.";
    (!table.rows.is_empty()).then(|| [Block::Text(about.to_owned()), Block::Grid(table)])
}

/// The interval, and whether it tells the two apart.
fn told_apart(spread: &Spread, digits: usize) -> String {
    let Some((low, high)) = spread.interval else { return String::new() };
    let apart = match low > 0.0 || high < 0.0 {
        false => ", not significant",
        true if spread.count < FEWEST_SEEDS => ", too few seeds to tell",
        true => "",
    };
    format!("{low:+.digits$} to {high:+.digits$}{apart}")
}

fn interval(spread: &Spread) -> String {
    spread.interval.map(|(low, high)| format!("{low:.2} to {high:.2}")).unwrap_or_default()
}

fn configuration(group: &Group<'_>) -> String {
    let config = &group.first().config;
    format!("{}, T = {}, {} epochs", network(group), config.time_steps, config.epochs)
}

/// Whether `b` is of the rule `against`, and the same as `a` in all that both use.
fn differ_by_rule(a: &Group<'_>, b: &Group<'_>, against: Rule) -> bool {
    let (a, b) = (&a.first().config, &b.first().config);
    let (rule, paper) = (a.neuron.rule, Neuron::paper(against));
    let shared = |config: &RunConfig| {
        let mut neuron = Neuron { rule: against, ..config.neuron };
        if !(rule.adjusts_time() && against.adjusts_time()) {
            neuron.alpha = paper.alpha;
        }
        if rule.adjusts_space() || against.adjusts_space() {
            (neuron.surrogate_half_width, neuron.reset) = (paper.surrogate_half_width, paper.reset);
        }
        RunConfig { neuron, seed: 0, ..config.clone() }
    };
    b.rule() == Some(against) && shared(a) == shared(b)
}
