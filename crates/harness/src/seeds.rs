//! Sections of a table that say what the seeds say: the spread of each configuration, and the rules compared seed by seed.

use bpsta_spiking::{Neuron, Rule};

use crate::block::{Block, Grid};
use crate::statistics::{Spread, paired};
use crate::views::Group;
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
                format!("{}, {}", group.first().rule, configuration(group.first())),
                spread.count.to_string(),
                if best { "best test" } else { "last" }.to_owned(),
                format!("{:.2}", spread.mean),
                spread.deviation.map(|deviation| format!("{deviation:.2}")).unwrap_or_default(),
                format!("{:.2}", spread.interquartile_mean),
                interval(&spread),
            ];
            table.add(row, group.records().iter().copied());
        }
    }
    let about = "Over seeds, accuracy in %. IQM: interquartile mean. Interval: 95 % of the mean, by the percentile bootstrap.";
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
    let mut done: Vec<RunConfig> = Vec::new();
    for group in groups {
        let key = but_rule(&group.first().config);
        if done.contains(&key) {
            continue;
        }
        let of = |rule: Rule| {
            groups.iter().find(|other| {
                other.first().config.neuron.rule == rule && but_rule(&other.first().config) == key
            })
        };
        for (rule, against) in PAIRS {
            let Some((a, b)) = of(rule).zip(of(against)) else { continue };
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
            let row = [
                format!("{rule} - {against}"),
                configuration(group.first()),
                accuracy.count.to_string(),
                format!("{:+.2}", accuracy.mean),
                told_apart(&accuracy),
                format!("{:+.4}", rate.mean),
                rate.interval.map(|(low, high)| format!("{low:+.4} to {high:+.4}")).unwrap_or_default(),
            ];
            table.add(row, a.records().iter().chain(b.records()).copied());
        }
        done.push(key);
    }
    let about = "Rules compared seed by seed: a seed gives both the same initial weights and the same order of samples. An interval that \
                 holds 0 does not tell the two apart.";
    (!table.rows.is_empty()).then(|| [Block::Text(about.to_owned()), Block::Grid(table)])
}

/// The interval, and whether it tells the two apart.
fn told_apart(spread: &Spread) -> String {
    let Some((low, high)) = spread.interval else { return String::new() };
    let apart = if low > 0.0 || high < 0.0 { "" } else { ", not told apart" };
    format!("{low:+.2} to {high:+.2}{apart}")
}

fn interval(spread: &Spread) -> String {
    spread.interval.map(|(low, high)| format!("{low:.2} to {high:.2}")).unwrap_or_default()
}

fn configuration(record: &Record) -> String {
    let config = &record.config;
    format!("{} width {}, T = {}, {} epochs", record.network, config.width, config.time_steps, config.epochs)
}

fn but_rule(config: &RunConfig) -> RunConfig {
    RunConfig { neuron: Neuron { rule: Rule::Baseline, ..config.neuron }, seed: 0, ..config.clone() }
}
