//! Sections of a table that say what the seeds say: the spread of each configuration, and the rules compared seed by seed.

use std::fmt::Write;

use bpsta_spiking::{Neuron, Rule};
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};

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

/// Writes both sections for the configurations of one data set, each with its runs; nothing where no configuration has two seeds.
pub(crate) fn sections(text: &mut String, groups: &[Group<'_>]) {
    if groups.iter().all(|group| group.records().len() < 2) {
        return;
    }
    spreads(text, groups);
    differences(text, groups);
}

fn spreads(text: &mut String, groups: &[Group<'_>]) {
    text.push_str(
        "Over seeds, accuracy in %. IQM: interquartile mean. Interval: 95 % of the mean, by the percentile bootstrap.\n\n",
    );
    let mut table = table(["configuration", "seeds", "epoch", "mean", "deviation", "IQM", "interval"]);
    for group in groups.iter().filter(|group| group.records().len() > 1) {
        for best in [false, true] {
            let value = |record: &Record| if best { record.accuracy.best_test } else { record.accuracy.last };
            let values: Vec<f64> = group.records().iter().map(|record| value(record)).collect();
            let Some(spread) = Spread::of(&values) else { continue };
            table.add_row([
                format!("{}, {}", group.first().rule, configuration(group.first())),
                spread.count.to_string(),
                if best { "best test" } else { "last" }.to_owned(),
                format!("{:.2}", spread.mean),
                spread.deviation.map(|deviation| format!("{deviation:.2}")).unwrap_or_default(),
                format!("{:.2}", spread.interquartile_mean),
                interval(&spread),
            ]);
        }
    }
    finish(text, table);
}

fn differences(text: &mut String, groups: &[Group<'_>]) {
    let mut table = table([
        "difference",
        "configuration",
        "seeds",
        "accuracy, last epoch",
        "interval",
        "firing rate",
        "interval",
    ]);
    let mut rows = 0;
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
            table.add_row([
                format!("{rule} - {against}"),
                configuration(group.first()),
                accuracy.count.to_string(),
                format!("{:+.2}", accuracy.mean),
                told_apart(&accuracy),
                format!("{:+.4}", rate.mean),
                rate.interval.map(|(low, high)| format!("{low:+.4} to {high:+.4}")).unwrap_or_default(),
            ]);
            rows += 1;
        }
        done.push(key);
    }
    if rows > 0 {
        text.push_str(
            "Rules compared seed by seed: a seed gives both the same initial weights and the same order of samples. An interval that \
             holds 0 does not tell the two apart.\n\n",
        );
        finish(text, table);
    }
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

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header);
    table
}

fn finish(text: &mut String, mut table: Table) {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let _ = writeln!(text, "{table}\n");
}
