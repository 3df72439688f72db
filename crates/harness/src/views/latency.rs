//! Accuracy by simulation length: networks trained for each T (the paper's Table 6), and each of them stopped early.

use bpsta_datasets::DatasetId;
use std::collections::BTreeSet;

use super::curves::{Line, Point};
use super::{Group, row_name};
use crate::block::{Block, Grid};
use crate::{Experiment, Record};

/// One section: trained for each T, and after each time step.
pub(super) fn blocks(experiment: &Experiment, dataset: DatasetId, groups: &[Group<'_>]) -> Vec<Block> {
    let steps: BTreeSet<usize> = groups.iter().map(|group| group.first().time_steps).collect();
    let of_paper = experiment.paper.iter().filter(|value| value.dataset == dataset);
    let paper: BTreeSet<usize> = of_paper.clone().filter_map(|value| value.time_steps).collect();
    let columns: Vec<usize> = steps.union(&paper).copied().collect();
    let mut blocks = Vec::new();

    for (epoch, value) in [
        ("after the last epoch", (|record| record.accuracy.last) as fn(&Record) -> f64),
        ("at the best test epoch, as the paper chose it", |record| record.accuracy.best_test),
    ] {
        blocks.push(Block::Text(format!("Trained and tested at each T, accuracy in % {epoch}:")));
        let mut out = headed("row", columns.iter().map(|steps| format!("T = {steps}")));
        for name in names(groups) {
            let mut row = vec![name.clone()];
            let of_name = groups.iter().filter(|of| row_name(of) == name);
            for steps in &columns {
                let group = of_name.clone().find(|of| of.first().time_steps == *steps);
                row.push(group.map(|group| group.spread(value, 2)).unwrap_or_default());
            }
            out.add(row, of_name.flat_map(|of| of.records().iter().copied()));
        }
        let mut models: Vec<&str> = Vec::new();
        for value in of_paper.clone().filter(|_| epoch.contains("paper")) {
            if !models.contains(&value.model.as_str()) {
                models.push(&value.model);
            }
        }
        for model in models {
            let mut row = vec![format!("paper: {model}")];
            for steps in &columns {
                let value = of_paper.clone().find(|of| of.model == model && of.time_steps == Some(*steps));
                row.push(value.map(|value| format!("{:.2}", value.accuracy)).unwrap_or_default());
            }
            out.add(row, []);
        }
        blocks.push(Block::Grid(out));
    }
    let early = early(groups);
    if early.is_empty() {
        blocks.push(Block::Text("No run recorded its votes after each time step.".to_owned()));
    }
    blocks.extend(early);
    blocks
}

/// The accuracy if the vote were taken after 1, 2, 4 and so on of the time steps, and after all of them: of the runs that
/// recorded it. The ANN twin has but one step.
pub(crate) fn early(groups: &[Group<'_>]) -> Vec<Block> {
    let voted = |group: &&Group<'_>| !group.first().config.ann && group.first().anytime.is_some();
    let groups: Vec<&Group<'_>> = groups.iter().filter(voted).collect();
    if groups.is_empty() {
        return Vec::new();
    }
    let ends: BTreeSet<usize> = groups.iter().map(|group| group.first().time_steps).collect();
    let longest = ends.last().copied().unwrap_or(0);
    let doubled = std::iter::successors(Some(1), |t| Some(2 * t)).take_while(|t| *t < longest);
    let columns: BTreeSet<usize> = ends.into_iter().chain(doubled).collect();
    let about = "Latency: the same networks, voting after t time steps of their T, accuracy in % after the last epoch \
                 (each t stands in the records):";
    let mut out = headed("row", columns.iter().map(|t| format!("t = {t}")));
    for group in groups {
        let mut row = vec![format!("{}, T = {}", row_name(group), group.first().time_steps)];
        row.extend(
            columns.iter().map(|t| {
                after(group, *t).map(|accuracies| super::spread(&accuracies, 2)).unwrap_or_default()
            }),
        );
        out.add(row, group.records().iter().copied());
    }
    vec![Block::Text(about.to_owned()), Block::Grid(out)]
}

/// The accuracy after each time step, where each seed recorded it; none of the ANN twin.
pub(crate) fn line(group: &Group<'_>) -> Option<Line> {
    let points = (1..=group.first().time_steps).map(|t| Some(Point::of(t, &after(group, t)?)));
    let points = points.collect::<Option<Vec<_>>>()?;
    Some(Line { rule: group.first().config.rule()?, points })
}

/// The accuracy of each seed if the vote were taken after `t` time steps, where each recorded it.
fn after(group: &Group<'_>, t: usize) -> Option<Vec<f64>> {
    group.records().iter().map(|record| record.anytime.as_ref()?.get(t - 1).copied()).collect()
}

fn names(groups: &[Group<'_>]) -> Vec<String> {
    let mut names = Vec::new();
    for group in groups {
        let name = row_name(group);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn headed(first: &str, rest: impl Iterator<Item = String>) -> Grid {
    Grid::new(std::iter::once(first.to_owned()).chain(rest), 1)
}
